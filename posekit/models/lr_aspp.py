"""LR-ASPP: the light segmentation head of MobileNetV3, here as a mask of the hand."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from posekit.models.backbones.levels import Backbone, initialise_convolutions
from posekit.models.backbones.mobilenet_v3 import MobileNetV3

#: Side and stride (down, across) of the head's average pool, in cells of stride 16.
_POOL_SIDE = 49
_POOL_STRIDE = (16, 20)


class LrAspp(nn.Module):
    """Lite reduced atrous spatial pyramid pooling, on a backbone's last level (stride 16) and its level of stride 8.

    The deep level goes through a 1x1 convolution, batch norm and ReLU, gated by the sigmoid of a 1x1 convolution of its means
    over 49 x 49 cells (over the whole map where that is smaller), is resized to stride 8, and there its class scores are added
    to those of the fine level. classes: maps that come out; 1 for a mask. filters: of the 1x1 convolution.

    Howard et al., ICCV 2019, figure 10. Raises ValueError where the backbone has no such levels.
    """

    def __init__(self, backbone: Backbone, classes: int = 1, filters: int = 128) -> None:
        super().__init__()
        if 8 not in backbone.strides or backbone.strides[-1] != 16:
            raise ValueError(f"backbone: its levels have strides {backbone.strides}, expected 8 and, for the last, 16")
        self.backbone = backbone
        self.fine_level = backbone.strides.index(8)
        deep, fine = backbone.channels[-1], backbone.channels[self.fine_level]
        self.project = nn.Sequential(
            nn.Conv2d(deep, filters, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(inplace=True)
        )
        self.gate = nn.Conv2d(deep, filters, 1, bias=False)
        self.deep_scores = nn.Conv2d(filters, classes, 1)
        self.fine_scores = nn.Conv2d(fine, classes, 1)
        for part in (self.project, self.gate, self.deep_scores, self.fine_scores):
            initialise_convolutions(part)

    def forward(self, images: Tensor) -> Tensor:
        """Return class scores (logits). images: (B, 3, H, W), normalised. Returns (B, classes, about H / 8, W / 8)."""
        levels = self.backbone.features(images)
        deep, fine = levels[-1], levels[self.fine_level]
        kernel = tuple(min(_POOL_SIDE, side) for side in deep.shape[-2:])
        gate = self.gate(functional.avg_pool2d(deep, kernel, _POOL_STRIDE)).sigmoid()
        gated = self.project(deep) * _resized(gate, deep)
        return self.deep_scores(_resized(gated, fine)) + self.fine_scores(fine)

    def masks(self, images: Tensor) -> Tensor:
        """Return the probability of every class alone in every pixel, (B, classes, H, W). images: (B, 3, H, W), normalised."""
        return _resized(self(images), images).sigmoid()


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    """Bilinear, (B, C, h, w) to the height and width of `like`."""
    if maps.shape[-2:] == like.shape[-2:]:
        return maps
    return functional.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)


def hand_mask_network(size: Literal["large", "small"] = "small", classes: int = 1) -> LrAspp:
    """Build the paper's segmentation network: MobileNetV3 with half of the last level's channels, held at stride 16.

    With 19 classes, as for Cityscapes: 1.51 M parameters (Large) and 0.47 M (Small).
    """
    return LrAspp(MobileNetV3(size, output_stride=16, reduced_tail=True), classes)
