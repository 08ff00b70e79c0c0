"""MobileNetV3, Large and Small."""

from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from posekit.models.backbones.levels import Backbone, check_levels, initialise_convolutions


class HardSwish(nn.Module):
    """x relu6(x + 3) / 6: swish without an exponential."""

    def forward(self, features: Tensor) -> Tensor:
        """Any shape."""
        return functional.hardswish(features)


class BlockShape(NamedTuple):
    """One row of the paper's tables 1 and 2."""

    kernel_size: int
    expanded: int
    channels: int
    squeeze: bool
    hard_swish: bool
    stride: int


_R, _H = False, True
_Level = tuple[BlockShape, ...]
#: The blocks up to strides 4, 8, 16 and 32.
_BLOCKS: dict[str, tuple[_Level, ...]] = {
    "large": (
        (
            BlockShape(3, 16, 16, False, _R, 1),
            BlockShape(3, 64, 24, False, _R, 2),
            BlockShape(3, 72, 24, False, _R, 1),
        ),
        (
            BlockShape(5, 72, 40, True, _R, 2),
            BlockShape(5, 120, 40, True, _R, 1),
            BlockShape(5, 120, 40, True, _R, 1),
        ),
        (
            BlockShape(3, 240, 80, False, _H, 2),
            BlockShape(3, 200, 80, False, _H, 1),
            BlockShape(3, 184, 80, False, _H, 1),
            BlockShape(3, 184, 80, False, _H, 1),
            BlockShape(3, 480, 112, True, _H, 1),
            BlockShape(3, 672, 112, True, _H, 1),
        ),
        (
            BlockShape(5, 672, 160, True, _H, 2),
            BlockShape(5, 960, 160, True, _H, 1),
            BlockShape(5, 960, 160, True, _H, 1),
        ),
    ),
    "small": (
        (BlockShape(3, 16, 16, True, _R, 2),),
        (
            BlockShape(3, 72, 24, False, _R, 2),
            BlockShape(3, 88, 24, False, _R, 1),
        ),
        (
            BlockShape(5, 96, 40, True, _H, 2),
            BlockShape(5, 240, 40, True, _H, 1),
            BlockShape(5, 240, 40, True, _H, 1),
            BlockShape(5, 120, 48, True, _H, 1),
            BlockShape(5, 144, 48, True, _H, 1),
        ),
        (
            BlockShape(5, 288, 96, True, _H, 2),
            BlockShape(5, 576, 96, True, _H, 1),
            BlockShape(5, 576, 96, True, _H, 1),
        ),
    ),
}
_STEM_CHANNELS = 16
#: Width of the layer between the pool and the classes.
_HEAD_CHANNELS = {"large": 1280, "small": 1024}


def rounded_channels(channels: float, divisor: int = 8) -> int:
    """Round to the nearest multiple of `divisor`, never by more than a tenth downwards (as all MobileNets do)."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest


class ConvNorm(nn.Sequential):
    """Convolution, batch norm (running averages of 0.99, epsilon 1e-3, as in the paper), activation."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_size: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        dilation: int = 1,
        activation: nn.Module | None = None,
    ) -> None:
        padding = kernel_size // 2 * dilation
        super().__init__(
            nn.Conv2d(
                channels_in, channels_out, kernel_size, stride, padding, dilation=dilation, groups=groups, bias=False
            ),
            nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01),
            *([] if activation is None else [activation]),
        )


class SqueezeExcite(nn.Module):
    """Scales every channel by hard-sigmoid(W2 relu(W1 mean)), hard-sigmoid(x) = relu6(x + 3) / 6.

    The bottleneck has a quarter of the channels, rounded to a multiple of 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = rounded_channels(channels / 4)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        mean = functional.adaptive_avg_pool2d(features, 1)
        return features * functional.hardsigmoid(self.expand(functional.relu(self.reduce(mean))))


class InvertedResidual(nn.Module):
    """Expand by 1x1, depthwise convolution, squeeze-excite, project by 1x1 without activation; skip where shapes agree.

    dilation: of the depthwise convolution. The parts that a block does without are None: `expand` where nothing is expanded.
    """

    def __init__(self, channels: int, shape: BlockShape, *, dilation: int = 1) -> None:
        super().__init__()

        def activation() -> nn.Module:
            return HardSwish() if shape.hard_swish else nn.ReLU(inplace=True)

        expanded = shape.expanded
        self.expand = None if expanded == channels else ConvNorm(channels, expanded, activation=activation())
        self.depthwise = ConvNorm(
            expanded,
            expanded,
            shape.kernel_size,
            shape.stride,
            groups=expanded,
            dilation=dilation,
            activation=activation(),
        )
        self.squeeze = SqueezeExcite(expanded) if shape.squeeze else None
        self.project = ConvNorm(expanded, shape.channels)
        self.channels_out = shape.channels
        self.skips = shape.stride == 1 and channels == shape.channels

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        inner = features if self.expand is None else self.expand(features)
        inner = self.depthwise(inner)
        if self.squeeze is not None:
            inner = self.squeeze(inner)
        inner = self.project(inner)
        return features + inner if self.skips else inner


class MobileNetV3(Backbone):
    """MobileNetV3: 5.483 M parameters and 217 M multiplications at 224 px (Large), 2.543 M and 57 M (Small).

    size: "large" or "small". levels: 4 give strides 4, 8, 16 and 32, the last of them behind the closing 1x1 convolution;
    fewer leave out what only the coarser ones need. output_stride: 16 keeps the last level at stride 16 by dilation, for
    segmentation. reduced_tail: halves the channels of the last level's blocks, the paper's choice for segmentation.

    Howard et al., ICCV 2019, tables 1 and 2. (The first arXiv version gave Small a head of 1280 channels, the last 1024.)
    """

    def __init__(
        self,
        size: Literal["large", "small"],
        classes: int | None = None,
        levels: int = 4,
        *,
        output_stride: Literal[32, 16] = 32,
        reduced_tail: bool = False,
    ) -> None:
        super().__init__()
        check_levels(levels, 4, classes)
        if classes is not None and (output_stride != 32 or reduced_tail):
            raise ValueError("a classifier needs the plain network: output_stride 32 and no reduced_tail")
        self.size = size
        self.stem = ConvNorm(3, _STEM_CHANNELS, 3, 2, activation=HardSwish())
        shapes = list(_BLOCKS[size][:levels])
        dilation = 32 // output_stride
        if levels == 4:
            shapes[3] = _tail(shapes[3], 2 if reduced_tail else 1, dilated=dilation > 1)
        self.levels = nn.ModuleList()
        channels = _STEM_CHANNELS
        for number, level in enumerate(shapes):
            blocks = nn.Sequential()
            for shape in level:
                blocks.append(InvertedResidual(channels, shape, dilation=dilation if number == 3 else 1))
                channels = shape.channels
            if number == 3:
                # Six times the last block's width, as that block's own expansion.
                blocks.append(ConvNorm(channels, 6 * channels, activation=HardSwish()))
            self.levels.append(blocks)
        widths = [level[-1].channels for level in shapes]
        if levels == 4:
            widths[3] *= 6
        self.strides, self.channels = (4, 8, 16, output_stride)[:levels], tuple(widths)
        self.classifier = None
        if classes is not None:
            head = _HEAD_CHANNELS[size]
            self.classifier = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(6 * channels, head),
                HardSwish(),
                nn.Dropout(0.2),
                nn.Linear(head, classes),
            )
        _initialise(self)

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps at strides 4, 8, 16 and 32."""
        maps = [self.stem(images)]
        for level in self.levels:
            maps.append(level(maps[-1]))
        return maps[1:]


def _tail(level: _Level, divisor: int, *, dilated: bool) -> _Level:
    """Return the last level's blocks with a `divisor`-th of the channels that are made in them, at stride 1 if dilated."""
    halved = [shape._replace(expanded=shape.expanded // divisor, channels=shape.channels // divisor) for shape in level]
    return (halved[0]._replace(stride=1 if dilated else level[0].stride), *halved[1:])


def _initialise(model: MobileNetV3) -> None:
    initialise_convolutions(model)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.01)
            nn.init.zeros_(layer.bias)
