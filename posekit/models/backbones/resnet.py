"""ResNet, plain or with modulated deformable convolutions in conv3 to conv5."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from posekit.models.backbones.levels import Backbone, check_levels, initialise_convolutions
from posekit.ops.layers import ModulatedDeformConv2d

#: Every block ends in so many times its inner width.
_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 (which has the stride, and may be deformable) and 1x1 convolutions around a skip, each with batch norm.

    He, Zhang, Ren, Sun, CVPR 2016, with the stride on the 3x3 convolution as in torchvision, whose names the layers have.
    """

    def __init__(self, channels_in: int, channels: int, stride: int = 1, *, deformable: bool = False) -> None:
        super().__init__()
        convolution = ModulatedDeformConv2d if deformable else nn.Conv2d
        channels_out = channels * _EXPANSION
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = convolution(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, 4 channels, H / stride, W / stride)."""
        inner = functional.relu(self.bn1(self.conv1(features)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        return functional.relu(self.bn3(self.conv3(inner)) + self.downsample(features))


class ResNet(Backbone):
    """ResNet; its levels are conv2 to conv5, at strides 4, 8, 16 and 32.

    blocks: of conv2, conv3, ...; as many as there are levels. width: inner channels of conv2, doubled by every next one.
    levels: fewer than 4 leave out the coarsest. classes: with a classifier behind the mean of conv5. deformable: every 3x3
    convolution from conv3 on is a `ModulatedDeformConv2d` (13 layers in a ResNet-50; the paper counts 12).

    He, Zhang, Ren, Sun, CVPR 2016; deformable: Zhu, Hu, Lin, Dai, CVPR 2019.
    """

    def __init__(
        self,
        blocks: Sequence[int] = (3, 4, 6, 3),
        classes: int | None = None,
        levels: int = 4,
        *,
        width: int = 64,
        deformable: bool = False,
    ) -> None:
        super().__init__()
        check_levels(levels, 4, classes)
        if len(blocks) < levels:
            raise ValueError(f"expected blocks for {levels} levels, not {tuple(blocks)}")
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages: list[str] = []
        channels = width
        for number, count in enumerate(blocks[:levels]):
            inner = width * 2**number
            stage = nn.Sequential()
            for block in range(count):
                stride = 2 if number and not block else 1
                stage.append(Bottleneck(channels, inner, stride, deformable=deformable and number > 0))
                channels = inner * _EXPANSION
            self.stages.append(f"layer{number + 1}")
            self.add_module(self.stages[-1], stage)
        self.strides = (4, 8, 16, 32)[:levels]
        self.channels = tuple(width * 2**number * _EXPANSION for number in range(levels))
        self.classifier = None
        if classes is not None:
            self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
        initialise_convolutions(self)
        for layer in self.modules():
            if isinstance(layer, ModulatedDeformConv2d):
                layer.reset_offsets()

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> conv2, conv3, conv4, conv5."""
        stem = functional.relu(self.bn1(self.conv1(images)))
        maps = [functional.max_pool2d(stem, 3, stride=2, padding=1)]
        for stage in self.stages:
            maps.append(self.get_submodule(stage)(maps[-1]))
        return maps[1:]


def resnet50(classes: int | None = None, levels: int = 4, *, deformable: bool = False) -> ResNet:
    """ResNet-50: 25.557 M parameters with 1000 classes, 4.09 G multiplications at 224 px."""
    return ResNet((3, 4, 6, 3), classes, levels, deformable=deformable)


def resnet101(classes: int | None = None, levels: int = 4, *, deformable: bool = False) -> ResNet:
    """ResNet-101: 44.549 M parameters with 1000 classes, 7.8 G multiplications at 224 px."""
    return ResNet((3, 4, 23, 3), classes, levels, deformable=deformable)
