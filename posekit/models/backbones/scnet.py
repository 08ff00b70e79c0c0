"""SCNet: ResNets whose 3x3 convolutions calibrate themselves."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from posekit.models.backbones.levels import Backbone, check_levels, initialise_convolutions

#: Every block ends in so many times its inner width.
_EXPANSION = 4
#: Side of the cells over which the calibrating branch averages.
_POOLING = 4


def _convolution(channels_in: int, channels_out: int, kernel_size: int, stride: int = 1) -> list[nn.Module]:
    """Convolution and batch norm."""
    return [
        nn.Conv2d(channels_in, channels_out, kernel_size, stride, kernel_size // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    ]


class SelfCalibratedConvolution(nn.Module):
    """k4(k3(x) sigmoid(x + up(k2(pool(x))))): a 3x3 convolution, gated by what a coarser view of its own input sees.

    pool averages cells of 4 x 4 (the whole map where it is smaller), up repeats the nearest. Three 3x3 convolutions with batch
    norm; ReLU behind k4 only, which also has the stride. Liu et al., CVPR 2020, equations 2 to 4.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.k2 = nn.Sequential(*_convolution(channels, channels, 3))
        self.k3 = nn.Sequential(*_convolution(channels, channels, 3))
        self.k4 = nn.Sequential(*_convolution(channels, channels, 3, stride), nn.ReLU(inplace=True))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / stride, W / stride)."""
        # Plain numbers also where a trace has tensors: pooling is written with no others.
        height, width = (int(side) for side in features.shape[-2:])
        coarse = functional.avg_pool2d(features, (min(_POOLING, height), min(_POOLING, width)))
        gate = torch.sigmoid(features + functional.interpolate(self.k2(coarse), size=(height, width)))
        return self.k4(self.k3(features) * gate)


class ScBottleneck(nn.Module):
    """Two halves, one through a plain 3x3 convolution and one through a self-calibrated one; 1x1 before and behind; a skip.

    channels: inner width, of both halves together; 4 times as many leave the block.
    """

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        half = channels // 2
        self.reduce_a = nn.Sequential(*_convolution(channels_in, half, 1), nn.ReLU(inplace=True))
        self.plain = nn.Sequential(*_convolution(half, half, 3, stride), nn.ReLU(inplace=True))
        self.reduce_b = nn.Sequential(*_convolution(channels_in, half, 1), nn.ReLU(inplace=True))
        self.calibrated = SelfCalibratedConvolution(half, stride)
        self.expand = nn.Sequential(*_convolution(2 * half, channels * _EXPANSION, 1))
        self.shortcut = (
            nn.Identity()
            if stride == 1 and channels_in == channels * _EXPANSION
            else nn.Sequential(*_convolution(channels_in, channels * _EXPANSION, 1, stride))
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 channels, H / stride, W / stride)."""
        plain = self.plain(self.reduce_a(features))
        calibrated = self.calibrated(self.reduce_b(features))
        return functional.relu(self.expand(torch.cat([plain, calibrated], dim=1)) + self.shortcut(features))


class ScNet(Backbone):
    """SCNet; its levels are conv2 to conv5, at strides 4, 8, 16 and 32.

    blocks: of conv2, conv3, ...; as many as there are levels. width: inner channels of conv2, doubled by every next one (even).
    levels: fewer than 4 leave out the coarsest. classes: with a classifier behind the mean of conv5.

    Liu, Hou, Cheng, Wang, Feng, CVPR 2020.
    """

    def __init__(
        self, blocks: Sequence[int] = (3, 4, 6, 3), classes: int | None = None, levels: int = 4, *, width: int = 64
    ) -> None:
        super().__init__()
        check_levels(levels, 4, classes)
        if width % 2 or len(blocks) < levels:
            raise ValueError(f"expected an even width and blocks for {levels} levels, not {width} and {tuple(blocks)}")
        self.stem = nn.Sequential(
            *_convolution(3, width, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
        )
        self.levels = nn.ModuleList()
        channels = width
        for number, count in enumerate(blocks[:levels]):
            inner = width * 2**number
            level = nn.Sequential()
            for block in range(count):
                level.append(ScBottleneck(channels, inner, 2 if number and not block else 1))
                channels = inner * _EXPANSION
            self.levels.append(level)
        self.strides = (4, 8, 16, 32)[:levels]
        self.channels = tuple(width * 2**number * _EXPANSION for number in range(levels))
        self.classifier = None
        if classes is not None:
            self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
        initialise_convolutions(self)

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> conv2, conv3, conv4, conv5."""
        maps = [self.stem(images)]
        for level in self.levels:
            maps.append(level(maps[-1]))
        return maps[1:]


def scnet50(classes: int | None = None, levels: int = 4) -> ScNet:
    """SCNet-50: 25.56 M parameters with 1000 classes, 4.0 G multiplications at 224 px."""
    return ScNet((3, 4, 6, 3), classes, levels)


def scnet101(classes: int | None = None, levels: int = 4) -> ScNet:
    """SCNet-101: 44.57 M parameters with 1000 classes, 7.2 G multiplications at 224 px."""
    return ScNet((3, 4, 23, 3), classes, levels)
