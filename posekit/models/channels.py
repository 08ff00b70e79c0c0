"""Which input channels reach which output channels through a stack of grouped and interlaced convolutions.

The analysis of Zhang, "clcNet: Improving the Efficiency of Convolutional Neural Network using Channel Local Convolutions",
2017: the channel dependency graph has the channels between layers as its nodes, and an edge where a channel is computed from
another. A channel receptive field is what an output channel reaches, going back through the graph.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from posekit.models.backbones.clcnet import ChannelInterlace

_Edges = Bool[Tensor, "channels_out channels_in"]

#: Layers that compute every channel from itself alone.
_CHANNEL_BY_CHANNEL = (
    nn.BatchNorm2d,
    nn.ReLU,
    nn.ReLU6,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Sigmoid,
    nn.LeakyReLU,
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Upsample,
)


@dataclass(frozen=True)
class ChannelLayer:
    """One layer of the graph. name: in the stack. edges: whether an output channel (row) is computed from an input channel."""

    name: str
    edges: _Edges


def channel_dependencies(stack: nn.Module, channels: int) -> list[ChannelLayer]:
    """Return the layers of the channel dependency graph, first to last.

    stack: an `nn.Sequential`, of such, of 2D convolutions, interlaces, or layers that work channel by channel, which make no
    edge but from a channel to itself and are left out. channels: that enter the stack.

    Raises ValueError where a layer takes another number of channels than it gets, TypeError for a layer whose channels'
    dependencies are not known.
    """
    layers = []
    for name, layer in _leaves(stack):
        edges = _edges_of(name, layer, channels)
        if edges is not None:
            layers.append(ChannelLayer(name, edges))
            channels = len(edges)
    return layers


def channel_receptive_field(stack: nn.Module, channels: int) -> _Edges:
    """Return which input channels (columns) every output channel (rows) depends on, through the whole stack."""
    reached = torch.eye(channels, dtype=torch.bool)
    for layer in channel_dependencies(stack, channels):
        # Products of up to 1024 x 1024 matrices: as float32 they count paths exactly enough, any path being at least 1.
        reached = (layer.edges.float() @ reached.float()) > 0
    return reached


def channel_receptive_field_sizes(stack: nn.Module, channels: int) -> Tensor:
    """Return the number of input channels that every output channel depends on, (channels out,) int64."""
    return channel_receptive_field(stack, channels).sum(dim=1)


def has_full_channel_receptive_field(stack: nn.Module, channels: int) -> bool:
    """Tell whether every output channel depends on every input channel."""
    return bool(channel_receptive_field(stack, channels).all())


@dataclass(frozen=True)
class ClcGroups:
    """Groups of a block: `g1` of its interlaced convolution, `g2` of the 1x1 behind it. cost: multiplications per position."""

    g1: float
    g2: float
    cost: float


def clc_cost(
    channels_in: int, channels_between: int, channels_out: int, g1: float, g2: float, kernel_area: int = 9
) -> float:
    """Return a block's multiplications per position, A M L / g1 + L N / g2.

    M channels in, L between the two convolutions, N out; A = kernel_area of the first.
    """
    return kernel_area * channels_in * channels_between / g1 + channels_between * channels_out / g2


def cheapest_groups(channels_in: int, channels_between: int, channels_out: int, kernel_area: int = 9) -> ClcGroups:
    """Return the real g1, g2 of least cost among those with a full channel receptive field.

    An output channel sees L / g2 of the channels between, and those come from all g1 groups if L / g2 >= g1. Cost falls with
    both, so g1 g2 = L at the best; there g1 = sqrt(A M L / N), g2 = sqrt(L N / (A M)), and the cost is 2 sqrt(A M N L).
    """
    M, L, N, A = channels_in, channels_between, channels_out, kernel_area
    return ClcGroups(math.sqrt(A * M * L / N), math.sqrt(L * N / (A * M)), 2.0 * math.sqrt(A * M * N * L))


def cheapest_integer_groups(
    channels_in: int, channels_between: int, channels_out: int, kernel_area: int = 9
) -> ClcGroups:
    """Return the integers g1, g2 of least cost that can be built and have a full channel receptive field.

    g1 divides M and L, g2 divides L and N, g1 g2 <= L. Of equally cheap ones the smallest g1.
    """
    M, L, N = channels_in, channels_between, channels_out
    return min(
        (
            ClcGroups(g1, g2, clc_cost(M, L, N, g1, g2, kernel_area))
            for g1 in _divisors(math.gcd(M, L))
            for g2 in _divisors(math.gcd(L, N))
            if g1 * g2 <= L
        ),
        key=lambda groups: (groups.cost, groups.g1),
    )


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def _leaves(stack: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    if not isinstance(stack, nn.Sequential):
        yield prefix, stack
        return
    for name, layer in stack.named_children():
        yield from _leaves(layer, f"{prefix}.{name}" if prefix else name)


def _edges_of(name: str, layer: nn.Module, channels: int) -> _Edges | None:
    """Return a layer's edges, or None where every channel comes from itself alone."""
    if isinstance(layer, _CHANNEL_BY_CHANNEL):
        return None
    if isinstance(layer, nn.Conv2d):
        if layer.in_channels != channels:
            raise ValueError(f"layer {name} takes {layer.in_channels} channels and gets {channels}")
        block = torch.ones(layer.out_channels // layer.groups, channels // layer.groups, dtype=torch.bool)
        return torch.block_diag(*[block] * layer.groups)
    if isinstance(layer, ChannelInterlace):
        if channels % layer.groups:
            raise ValueError(f"layer {name} interlaces {layer.groups} groups and gets {channels} channels")
        source = torch.arange(channels).view(layer.groups, -1).T.flatten()
        return source[:, None] == torch.arange(channels)
    raise TypeError(f"layer {name}: it is not known which channels of a {type(layer).__name__} depend on which")
