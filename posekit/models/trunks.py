"""Image trunks: from a picture to the feature maps that a pose head reads."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


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


class ResidualTrunk(nn.Module):
    """Plain-convolution residual trunk with stride-4, 8 and 16 levels, summed back to stride 4.

    channels, blocks: width and number of residual blocks of the three levels. The stem is one 7x7 convolution of stride 4: two
    3x3 convolutions of stride 2 cost a third more training time for the same multiplications, because of the large first map.
    """

    stride = 4

    def __init__(
        self, channels: Sequence[int] = (48, 96, 160), blocks: Sequence[int] = (1, 2, 2), feature_channels: int = 64
    ) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.level4 = nn.Sequential(ConvBlock(3, fine, 7, 4), *(ResidualBlock(fine) for _ in range(blocks[0])))
        self.level8 = nn.Sequential(ConvBlock(fine, middle, 3, 2), *(ResidualBlock(middle) for _ in range(blocks[1])))
        self.level16 = nn.Sequential(
            ConvBlock(middle, coarse, 3, 2), *(ResidualBlock(coarse) for _ in range(blocks[2]))
        )
        self.lateral4 = nn.Conv2d(fine, feature_channels, 1)
        self.lateral8 = nn.Conv2d(middle, feature_channels, 1)
        self.lateral16 = nn.Conv2d(coarse, feature_channels, 1)
        self.smooth = ConvBlock(feature_channels, feature_channels)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W), H and W multiples of 16 -> (B, feature_channels, H/4, W/4)."""
        fine = self.level4(images)
        middle = self.level8(fine)
        coarse = self.level16(middle)
        total = self.lateral8(middle) + functional.interpolate(self.lateral16(coarse), scale_factor=2.0)
        total = self.lateral4(fine) + functional.interpolate(total, scale_factor=2.0)
        return self.smooth(total)


class VggTrunk(nn.Sequential):
    """VGG-19 up to conv4_4 (three pools, stride 8), then 3x3 convolutions to 512, 512 and 128 channels.

    As in OpenPose's released hand network (``pose_deploy.prototxt``), which goes two 512-channel convolutions beyond the text
    of Simon et al. 2017. ReLU after every convolution, no batch norm.
    """

    stride = 8

    def __init__(self, feature_channels: int = 128) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for width, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 2), (feature_channels, 1)):
            if 64 < width <= 512 and channels < width:
                layers.append(nn.MaxPool2d(2))
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
        super().__init__(*layers)
