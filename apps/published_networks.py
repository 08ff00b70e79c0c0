"""What others count for the networks that posekit has too."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import nn


class Published(NamedTuple):
    """A network as others count it: nothing where no count of exactly this network was found.

    size: side of the picture, px, of which `macs` are. source: where the figures stand.
    """

    name: str
    build: Callable[[], "nn.Module"]
    size: int
    parameters: float | None = None
    macs: float | None = None
    source: str | None = None


def published_networks() -> tuple[Published, ...]:
    """Return posekit's backbones and the published hand network, with what others count for each."""
    from posekit.models.backbones.clcnet import clcnet_a, clcnet_b
    from posekit.models.backbones.mobilenet_v3 import MobileNetV3
    from posekit.models.backbones.resnet import resnet50, resnet101
    from posekit.models.backbones.scnet import scnet50, scnet101
    from posekit.models.backbones.vgg import Vgg19
    from posekit.models.hand_networks import openpose_hand_cpm

    clcnet = "calculated from the author's definition, clcnet.lua"
    mobilenet = "d-li14's implementation; the paper rounds (5.4 M, 219 M; 2.5 M, 56 M)"
    scnet = "the authors' list, CVPR 2020"
    torchvision = "torchvision's list"
    return (
        Published("VGG-19", lambda: Vgg19(1000), 224, 143.67e6, 19.63e9, torchvision),
        Published(
            "OpenPose hand CPM",
            openpose_hand_cpm,
            368,
            36.8e6,
            103e9,
            "calculated from OpenPose's pose_deploy.prototxt",
        ),
        Published("MobileNetV3-Large", lambda: MobileNetV3("large", 1000), 224, 5.483e6, 216.6e6, mobilenet),
        Published("MobileNetV3-Small", lambda: MobileNetV3("small", 1000), 224, 2.543e6, 56.5e6, mobilenet),
        Published("SCNet-50", lambda: scnet50(1000), 224, 25.56e6, 4.0e9, scnet),
        Published("SCNet-101", lambda: scnet101(1000), 224, 44.57e6, 7.2e9, scnet),
        Published("clcNet-A", lambda: clcnet_a(1000), 224, 3.25e6, 343e6, clcnet),
        Published("clcNet-B", lambda: clcnet_b(1000), 224, 4.09e6, 425e6, clcnet),
        Published("ResNet-50", lambda: resnet50(1000), 224, 25.557e6, 4.09e9, torchvision),
        Published("ResNet-101", lambda: resnet101(1000), 224, 44.549e6, 7.80e9, torchvision),
        Published("ResNet-50 DCNv2", lambda: resnet50(1000, deformable=True), 224),
        Published("ResNet-101 DCNv2", lambda: resnet101(1000, deformable=True), 224),
    )
