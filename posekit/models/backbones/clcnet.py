"""clcNet: channel local convolutions, interlaced grouped convolution and grouped 1x1 convolution in turn."""

from typing import NamedTuple

from torch import Tensor, nn

from posekit.models.backbones.levels import Backbone, check_levels, initialise_convolutions

_STEM_CHANNELS = 32


class ChannelInterlace(nn.Module):
    """Put channels that lie in one group side by side with their like from every other group.

    Output channel i + k * groups is input channel i * (C / groups) + k: any `groups` neighbours come from all groups.
    Zhang, 2017, section 3; the channel shuffle of ShuffleNet.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), C a multiple of `groups`."""
        return features.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)

    def extra_repr(self) -> str:
        """Return the number of groups."""
        return f"groups={self.groups}"


class ClcBlock(nn.Sequential):
    """3x3 convolution in `g1` groups, batch norm, interlace, 1x1 convolution in `g2` groups, batch norm, ReLU.

    Every output channel sees every input channel where g1 * g2 <= channels_in (see `posekit.models.channels`).
    """

    def __init__(self, channels_in: int, channels_out: int, g1: int, g2: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_in, 3, stride, 1, groups=g1, bias=False),
            nn.BatchNorm2d(channels_in),
            ChannelInterlace(g1),
            nn.Conv2d(channels_in, channels_out, 1, groups=g2, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class Stage(NamedTuple):
    """The groups of the block that enters a stage, of those that follow, and how many those are."""

    channels: int
    entry_g1: int
    g1: int
    blocks: int


class ClcNet(Backbone):
    """clcNet; its levels have strides 4, 8, 16 and 32.

    a, b, c, d: blocks that follow the entry of each stage. levels: fewer than 4 leave out the coarsest. classes: with a
    classifier behind the mean of the last level.

    Zhang, 2017 (arXiv 1712.06145), table 2, and the groups of the author's code: g2 = 2 everywhere.
    """

    def __init__(
        self, a: int = 1, b: int = 1, c: int = 5, d: int = 2, classes: int | None = None, levels: int = 4
    ) -> None:
        super().__init__()
        check_levels(levels, 4, classes)
        stages = (Stage(128, 32, 64, a), Stage(256, 64, 128, b), Stage(512, 128, 256, c), Stage(1024, 256, 512, d))
        self.stem = nn.Sequential(
            nn.Conv2d(3, _STEM_CHANNELS, 3, 2, 1, bias=False),
            nn.BatchNorm2d(_STEM_CHANNELS),
            nn.ReLU(inplace=True),
            ClcBlock(_STEM_CHANNELS, 64, 16, 2),
        )
        self.levels = nn.ModuleList()
        channels = 64
        for stage in stages[:levels]:
            level = nn.Sequential(ClcBlock(channels, stage.channels, stage.entry_g1, 2, stride=2))
            channels = stage.channels
            level.extend(ClcBlock(channels, channels, stage.g1, 2) for _ in range(stage.blocks))
            self.levels.append(level)
        self.strides = (4, 8, 16, 32)[:levels]
        self.channels = tuple(stage.channels for stage in stages[:levels])
        self.classifier = None
        if classes is not None:
            scores = nn.Linear(channels, classes)
            nn.init.zeros_(scores.bias)
            self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), scores)
        initialise_convolutions(self)

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps at strides 4, 8, 16 and 32."""
        maps = [self.stem(images)]
        for level in self.levels:
            maps.append(level(maps[-1]))
        return maps[1:]


def clcnet_a(classes: int | None = None, levels: int = 4) -> ClcNet:
    """clcNet-A: 3.25 M parameters with 1000 classes, 343 M multiplications at 224 px."""
    return ClcNet(1, 1, 5, 2, classes, levels)


def clcnet_b(classes: int | None = None, levels: int = 4) -> ClcNet:
    """clcNet-B: 4.09 M parameters with 1000 classes, 425 M multiplications at 224 px."""
    return ClcNet(1, 1, 7, 3, classes, levels)
