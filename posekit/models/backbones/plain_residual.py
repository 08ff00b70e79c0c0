"""Plain 3x3 convolutions, most of them at stride 8 and 16, where a processor's convolutions pay most."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from posekit.models.backbones.levels import Backbone, check_levels


class ConvBlock(nn.Sequential):
    """Convolution, batch norm, ReLU; same size at stride 1 (odd kernels)."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip (He et al. 2016, basic block); the last batch norm starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return functional.relu(features + self.norm(self.second(self.first(features))))


class PlainResidual(Backbone):
    """Plain 3x3 convolutions in residual blocks, strides 8, 16 and 32, behind one 7x7 convolution of stride 4.

    channels, blocks: width and number of residual blocks of each level; fewer than three leave out the coarse ones. On
    processors without fast half precision such a network trains twice as fast as one of depthwise convolutions with a third of
    its multiplications, and one of stride 4 costs twice as much for the same depth.
    """

    def __init__(
        self, stem: int = 48, channels: Sequence[int] = (96, 128, 128), blocks: Sequence[int] = (2, 2, 1)
    ) -> None:
        super().__init__()
        check_levels(len(channels), 3, None)
        self.strides = (8, 16, 32)[: len(channels)]
        self.channels = tuple(channels)
        self.classifier = None
        self.stem = ConvBlock(3, stem, 7, 4)
        self.levels = nn.ModuleList()
        before = stem
        for width, count in zip(channels, blocks, strict=True):
            self.levels.append(
                nn.Sequential(ConvBlock(before, width, 3, 2), *(ResidualBlock(width) for _ in range(count)))
            )
            before = width

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the levels, finest first. images: (B, 3, H, W), H and W multiples of 32."""
        features = self.stem(images)
        levels = []
        for level in self.levels:
            features = level(features)
            levels.append(features)
        return levels
