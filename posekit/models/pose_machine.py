"""Pose machines for any skeleton on any backbone."""

from torch import nn

from posekit.models.backbones.levels import Backbone, FusedLevels
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.skeleton import Skeleton


def pose_machine(
    skeleton: Skeleton,
    backbone: Backbone,
    *,
    stride: int = 8,
    feature_channels: int = 128,
    stages: int = 6,
    batch_norm: bool = False,
) -> ConvolutionalPoseMachine:
    """Build the published pose machine for a skeleton: 7x7 stages of 128 channels, a map per joint and one of the background.

    backbone: its levels of `stride` and coarser are fused (see `FusedLevels`). Without `batch_norm`, as published, the stages
    start from a normal distribution of 0.01 (Wei et al. 2016, their training's Caffe file).

    Raises ValueError where the backbone has no level of that stride.
    """
    machine = ConvolutionalPoseMachine(
        FusedLevels(backbone, stride, feature_channels),
        feature_channels,
        skeleton.joint_count,
        stages,
        stride=stride,
        batch_norm=batch_norm,
    )
    if not batch_norm:
        initialise_stages(machine)
    return machine


def light_pose_machine(
    skeleton: Skeleton, backbone: Backbone, width: int = 64, stages: int = 2
) -> ConvolutionalPoseMachine:
    """Build a pose machine for a processor: stages at stride 8, whose maps have stride 4, and no background.

    width: channels of the fused features and of the stages, which are 3x3 convolutions with batch norm; the maps are
    distributions over their cells.
    """
    return ConvolutionalPoseMachine(
        FusedLevels(backbone, stride=8, feature_channels=width),
        feature_channels=width,
        joints=skeleton.joint_count,
        stages=stages,
        stride=8,
        background=False,
        first_channels=width,
        stage_convolutions=2,
        kernel_size=3,
        stage_channels=width,
        batch_norm=True,
        distribution_sigma=1.5,
        subcells=2,
    )


def initialise_stages(machine: ConvolutionalPoseMachine, spread: float = 0.01) -> None:
    """Start the stages' convolutions from a normal distribution of this standard deviation, their biases at 0."""
    for layer in machine.stages.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0.0, spread)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
