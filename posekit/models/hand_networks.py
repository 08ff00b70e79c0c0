"""The hand networks that posekit trains, runs and stores, by name."""

from collections.abc import Callable

from posekit.models.backbones.clcnet import clcnet_a
from posekit.models.backbones.mobilenet_v3 import MobileNetV3
from posekit.models.backbones.plain_residual import PlainResidual
from posekit.models.backbones.resnet import ResNet
from posekit.models.backbones.scnet import ScNet
from posekit.models.backbones.vgg import VggTrunk
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.models.pose_machine import initialise_stages, light_pose_machine
from posekit.skeleton import HAND_21, Skeleton


def openpose_hand_cpm() -> ConvolutionalPoseMachine:
    """The released hand network of Simon et al. 2017: 6 stages on VGG-19, for 368 px crops; 36.8 M parameters, 103 GMAC.

    The paper starts from VGG-19's weights: `posekit.models.pretrained.load_pretrained` puts a file of them into the network.
    """
    machine = ConvolutionalPoseMachine(
        VggTrunk(128), feature_channels=128, joints=HAND_21.joint_count, stages=6, stride=VggTrunk.stride
    )
    initialise_stages(machine)
    return machine


def light_hand_cpm() -> ConvolutionalPoseMachine:
    """The light hand network, for a laptop in real time: 1.73 M parameters, 202 M multiplications a crop."""
    return light_pose_machine(HAND_21, PlainResidual())


def deep_light_hand_cpm() -> ConvolutionalPoseMachine:
    """The light hand network with twice the depth where the hand is seen whole and a third stage.

    3.04 M parameters, 283 M multiplications a crop. The light one's weights grow into it (`posekit.models.growing`).
    """
    return light_pose_machine(HAND_21, PlainResidual(blocks=(2, 4, 3)), stages=3)


def wide_light_hand_cpm() -> ConvolutionalPoseMachine:
    """The hand network that posekit ships: the deep light one, wider where the hand is seen whole and in its stages.

    5.29 M parameters, 426 M multiplications a crop. The tiny, light and deep light ones' weights
    grow into it (`posekit.models.growing`).
    """
    return light_pose_machine(HAND_21, PlainResidual(channels=(96, 160, 192), blocks=(2, 4, 3)), width=96, stages=3)


def tiny_hand_cpm() -> ConvolutionalPoseMachine:
    """The light one at half its width, for devices that have no time: 0.38 M parameters, 51 M multiplications a crop."""
    return light_pose_machine(HAND_21, PlainResidual(24, (48, 64, 64), (2, 1, 1)), width=32)


def mobilenet_v3_hand_cpm() -> ConvolutionalPoseMachine:
    """The light hand network on MobileNetV3-Large: 3.22 M parameters, 119 M multiplications a crop."""
    return light_pose_machine(HAND_21, MobileNetV3("large"))


def scnet_hand_cpm() -> ConvolutionalPoseMachine:
    """The light hand network on an SCNet-50 of half the width: 6.19 M parameters, 383 M multiplications a crop."""
    return light_pose_machine(HAND_21, ScNet(width=32))


def clcnet_hand_cpm() -> ConvolutionalPoseMachine:
    """The light hand network on clcNet-A: 2.52 M parameters, 165 M multiplications a crop."""
    return light_pose_machine(HAND_21, clcnet_a())


def resnet_dcnv2_hand_cpm() -> ConvolutionalPoseMachine:
    """The light hand network on a ResNet-50 of half the width, deformable from conv3 on: 6.62 M parameters, 427 M a crop."""
    return light_pose_machine(HAND_21, ResNet(width=32, deformable=True))


#: Name, as `--network` and a weight file say it -> what builds it with fresh weights. All take 128 px crops, and others.
HAND_NETWORKS: dict[str, Callable[[], ConvolutionalPoseMachine]] = {
    "light_hand_cpm": light_hand_cpm,
    "deep_light_hand_cpm": deep_light_hand_cpm,
    "wide_light_hand_cpm": wide_light_hand_cpm,
    "tiny_hand_cpm": tiny_hand_cpm,
    "openpose_hand_cpm": openpose_hand_cpm,
    "mobilenet_v3_hand_cpm": mobilenet_v3_hand_cpm,
    "scnet_hand_cpm": scnet_hand_cpm,
    "clcnet_hand_cpm": clcnet_hand_cpm,
    "resnet_dcnv2_hand_cpm": resnet_dcnv2_hand_cpm,
}


def light_skeleton_network(skeleton: Skeleton) -> ConvolutionalPoseMachine:
    """The light hand network for the joints of anything else."""
    return light_pose_machine(skeleton, PlainResidual())


#: Networks for skeletons that users define, by name -> what builds it for one.
SKELETON_NETWORKS: dict[str, Callable[[Skeleton], ConvolutionalPoseMachine]] = {
    "light_pose_machine": light_skeleton_network
}
