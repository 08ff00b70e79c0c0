"""What every backbone answers: feature maps at several strides, finest first."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional


class Backbone(nn.Module, ABC):
    """A classification network whose inner maps a pose head reads.

    strides: pixels per cell of each level, finest first, such as (4, 8, 16, 32). channels: of each level. Subclasses take
    `classes` (None: no classifier) and `levels` (how many levels are built: 3 leaves out what only stride 32 needs), set
    `classifier` and answer `features`.
    """

    strides: tuple[int, ...]
    channels: tuple[int, ...]
    classifier: nn.Module | None

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """Return the levels of (B, 3, H, W) pictures, finest first: (B, channels[i], about H / strides[i], W / strides[i])."""

    def forward(self, images: Tensor) -> Tensor:
        """Return class scores (B, classes); without a classifier the coarsest level."""
        coarsest = self.features(images)[-1]
        return coarsest if self.classifier is None else self.classifier(coarsest)


def check_levels(levels: int, most: int, classes: int | None) -> None:
    """Raise ValueError for a number of levels that a backbone has not, or for a classifier on a backbone cut short."""
    if not 1 <= levels <= most:
        raise ValueError(f"levels: found {levels}, expected 1 to {most}")
    if classes is not None and levels != most:
        raise ValueError(f"levels: found {levels} with a classifier, which needs all {most}")


def initialise_convolutions(module: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Start convolutions from He's normal distribution for ReLU, biases at 0, batch norms at scale 1 and shift 0.

    mode: "fan_out" (of the ResNets' authors: gradients keep their size) or "fan_in". He et al., ICCV 2015.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


class FusedLevels(nn.Module):
    """A backbone's levels, summed from the coarsest down to one map of stride `stride`.

    Every level goes through a 1x1 convolution to `feature_channels`, is resized (nearest) to the next finer one and added;
    a 3x3 convolution smooths the sum. The top-down path of Lin et al., Feature Pyramid Networks, CVPR 2017.

    Raises ValueError where the backbone has no level of that stride.
    """

    def __init__(self, backbone: Backbone, stride: int = 4, feature_channels: int = 64) -> None:
        super().__init__()
        if stride not in backbone.strides:
            raise ValueError(f"stride: found {stride}, expected one of the backbone's: {backbone.strides}")
        self.backbone = backbone
        self.stride = stride
        self.first = backbone.strides.index(stride)
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels, feature_channels, 1) for channels in backbone.channels[self.first :]
        )
        self.smooth = nn.Sequential(
            nn.Conv2d(feature_channels, feature_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(feature_channels),
            nn.ReLU(inplace=True),
        )
        initialise_convolutions(self.laterals)
        initialise_convolutions(self.smooth)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, feature_channels, about H / stride, W / stride)."""
        return self.smooth(self._top_down(self.backbone.features(images)[self.first :]))

    def _top_down(self, levels: Sequence[Tensor]) -> Tensor:
        total = self.laterals[-1](levels[-1])
        for lateral, level in zip(reversed(self.laterals[:-1]), reversed(levels[:-1]), strict=True):
            total = lateral(level) + functional.interpolate(total, size=level.shape[-2:])
        return total
