"""Modulated deformable convolution (Zhu, Hu, Lin, Dai, CVPR 2019: "Deformable ConvNets v2").

The samples of a few thousand output pixels at a time are gathered into columns, which meet the weights in one matrix product.
The other order, first the product of the whole map with all weights, then a gather among K times as many rows, takes the same
time at stride 1, and at stride 2 four times the product.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from posekit.ops.autocast import cast_by_autocast, without_autocast
from posekit.ops.bilinear import RowMap, Samples, stored_as, working_dtype
from posekit.ops.library import LIBRARY, implements

#: Numbers in the columns of a chunk: 8 MB of float32. Half and twice as many took up to a tenth longer.
_CHUNK_NUMBERS = 1 << 21


def modulated_deform_conv2d(
    x: Float[Tensor, "B C H W"],
    offset: Float[Tensor, "B 2*G*K h w"],
    mask: Float[Tensor, "B G*K h w"],
    weight: Float[Tensor, "D C/groups kh kw"],
    bias: Float[Tensor, " D"] | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Float[Tensor, "B D h w"]:
    """Convolve with kernel points that are moved by `offset` and scaled by `mask`, each at every output pixel.

    y(p) = bias + sum_k weight_k x(p + p_k + offset_k(p)) mask_k(p), x sampled bilinearly. K = kh kw kernel points, row by row;
    the deformable group g in 0..G-1 moves the channels from g C / G on. offset: in cells of x, channel 2 (g K + k) is y and the
    next one x; mask: channel g K + k, any number (a sigmoid's, by the paper). G is read from mask's channels. stride, padding,
    dilation: one number, or y and x. That is the layout of mmcv and of torchvision, whose tensors give the same result.

    Beyond the border x is 0: a sample less than one cell outside blends with it, so its offset still has a gradient, as in the
    authors' implementation; one that is further out is 0, with gradient 0. A NaN or an infinity of x spreads to every sample
    that has it as a corner; a NaN offset gives NaN at its own output pixel and in the gradients of its mask and of `weight`.

    x, weight and bias share a type; it is the result's, which is computed in float32 (in float64 for float64). Under
    `torch.autocast` they are cast; offset and mask may be of any floating type and are never rounded to 16 bits. Memory format
    as x's. Differentiable once, with respect to all tensors; the same input gives the same result and gradients.

    Raises ValueError if shapes or types do not fit.
    """
    if bias is None:
        x, weight = cast_by_autocast(x, weight)
    else:
        x, weight, bias = cast_by_autocast(x, weight, bias)
    geometry = (_pair(stride), _pair(padding), _pair(dilation), groups)
    _check(x, offset, mask, weight, bias, *geometry)
    return torch.ops.posekit.modulated_deform_conv2d(x, offset, mask, weight, bias, *geometry)


def _pair(size: int | Sequence[int]) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)


def _size_out(x: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]) -> list[int]:
    return [
        (x.shape[2 + axis] + 2 * padding[axis] - dilation[axis] * (weight.shape[2 + axis] - 1) - 1) // stride[axis] + 1
        for axis in range(2)
    ]


def _check(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> None:
    """Refuse what the operator could not do, or would read as something else."""
    if x.dim() != 4 or offset.dim() != 4 or mask.dim() != 4 or weight.dim() != 4:
        raise ValueError("a deformable convolution takes x, offset, mask and weight of 4 axes each")
    if min(stride) < 1 or min(dilation) < 1 or min(padding) < 0:
        raise ValueError(f"stride {stride} and dilation {dilation} must be at least 1, padding {padding} at least 0")
    if not x.is_floating_point() or weight.dtype != x.dtype or (bias is not None and bias.dtype != x.dtype):
        raise ValueError(f"x, weight and bias must have one floating type; x has {x.dtype}, weight {weight.dtype}")
    if not offset.is_floating_point() or not mask.is_floating_point():
        raise ValueError(f"offset and mask must be of floating types, not {offset.dtype} and {mask.dtype}")
    channels, (channels_out, channels_per_group, height, width) = x.shape[1], weight.shape
    if groups < 1 or channels != channels_per_group * groups or channels_out % groups:
        raise ValueError(f"weight {tuple(weight.shape)} does not fit {channels} channels in {groups} groups")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias {tuple(bias.shape)} must have the {channels_out} channels of the result")
    kernel_points = height * width
    moved_groups = mask.shape[1] // kernel_points
    if moved_groups < 1 or channels % moved_groups or mask.shape[1] != moved_groups * kernel_points:
        raise ValueError(
            f"mask has {mask.shape[1]} channels: not {kernel_points} kernel points times a divisor of {channels} channels"
        )
    size_out = _size_out(x, weight, stride, padding, dilation)
    if min(size_out) < 1:
        raise ValueError(f"a map of {tuple(x.shape[2:])} is too small for the kernel: the result would be {size_out}")
    expected = (x.shape[0], mask.shape[1], *size_out)
    if tuple(mask.shape) != expected:
        raise ValueError(f"mask must be {expected}, not {tuple(mask.shape)}")
    if tuple(offset.shape) != (expected[0], 2 * expected[1], *size_out):
        raise ValueError(f"offset must be {(expected[0], 2 * expected[1], *size_out)}, not {tuple(offset.shape)}")


@dataclass(frozen=True)
class _Convolution:
    """What the result and its gradients have in common."""

    x: Tensor
    offset: Tensor
    mask: Tensor
    weight: Tensor
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int

    @property
    def size_out(self) -> list[int]:
        return _size_out(self.x, self.weight, self.stride, self.padding, self.dilation)

    @property
    def pixels(self) -> int:
        return self.size_out[0] * self.size_out[1]

    @property
    def kernel_points(self) -> int:
        return self.weight.shape[2] * self.weight.shape[3]

    @property
    def moved_groups(self) -> int:
        return self.mask.shape[1] // self.kernel_points

    @property
    def dtype(self) -> torch.dtype:
        return working_dtype(torch.promote_types(self.x.dtype, self.offset.dtype))

    def grouped_weight(self) -> Tensor:
        """Return (groups, K C / groups, D / groups)."""
        weight = self.weight.to(self.dtype).reshape(self.groups, -1, self.weight.shape[1], self.kernel_points)
        return weight.permute(0, 3, 2, 1).reshape(self.groups, -1, weight.shape[1])

    def grid(self) -> Tensor:
        """Return where the kernel points are before they are moved: (2, h w, K)."""
        axes = []
        for axis in range(2):
            pixel = torch.arange(self.size_out[axis], device=self.x.device) * self.stride[axis] - self.padding[axis]
            point = torch.arange(self.weight.shape[2 + axis], device=self.x.device) * self.dilation[axis]
            axes.append(pixel[:, None] + point)
        y, x = axes[0][:, None, :, None], axes[1][:, None, :]
        grid = torch.stack(torch.broadcast_tensors(y, x))
        return grid.reshape(2, -1, self.kernel_points).to(self.dtype)

    def chunks(self) -> Iterator[tuple[slice, list[slice]]]:
        """Cut the work into several images, or into one image and pieces of its pixels, by the size of their columns."""
        at_once = max(_CHUNK_NUMBERS // max(self.kernel_points * self.x.shape[1], 1), 1)
        for images in _slices(self.x.shape[0], max(at_once // self.pixels, 1)):
            yield images, _slices(self.pixels, at_once)

    def samples(self, source: RowMap, grid: Tensor, images: slice, pixels: slice) -> Samples:
        """Return the samples of these pixels, in the order image, pixel, kernel point, deformable group."""
        batch, groups, points = self.x.shape[0], self.moved_groups, self.kernel_points
        offset = self.offset.reshape(batch, groups, points, 2, self.pixels)[images, ..., pixels].permute(3, 0, 4, 2, 1)
        mask = self.mask.reshape(batch, groups, points, self.pixels)[images, ..., pixels].permute(0, 3, 2, 1)
        image = torch.arange(source.batch, dtype=torch.int32, device=grid.device)[:, None, None, None]
        group = torch.arange(groups, dtype=torch.int32, device=grid.device)
        position = offset.to(self.dtype) + grid[:, None, pixels, :, None]
        return Samples.at(position, image, group, mask.to(self.dtype), source)

    def columns(self, rows: Tensor) -> Tensor:
        """(pixels K G, C / G) -> (groups, pixels, K C / groups): one group is a view, several are a copy."""
        columns = rows.view(-1, self.kernel_points, self.groups, self.weight.shape[1]).permute(2, 0, 1, 3)
        return columns.reshape(self.groups, columns.shape[1], -1)

    def rows(self, columns: Tensor) -> Tensor:
        """Undo `columns`."""
        rows = columns.view(self.groups, -1, self.kernel_points, self.weight.shape[1]).permute(1, 2, 0, 3)
        return rows.reshape(-1, self.x.shape[1] // self.moved_groups)


def _slices(total: int, size: int) -> list[slice]:
    """Cut into slices of one size, at most `size`, and a last one that may be smaller."""
    count = max(-(-total // size), 1)
    size = max(-(-total // count), 1)
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def _memory_format(x: Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _conv_shape(x: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]) -> list[int]:
    return [x.shape[0], weight.shape[0], *_size_out(x, weight, stride, padding, dilation)]


_GEOMETRY = "SymInt[2] stride, SymInt[2] padding, SymInt[2] dilation, SymInt groups"


@implements(
    f"modulated_deform_conv2d(Tensor x, Tensor offset, Tensor mask, Tensor weight, Tensor? bias, {_GEOMETRY}) -> Tensor"
)
@without_autocast
def _conv(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    work = _Convolution(x, offset, mask, weight, stride, padding, dilation, groups)
    result = torch.empty(
        _conv_shape(x, weight, stride, padding, dilation),
        dtype=x.dtype,
        device=x.device,
        memory_format=_memory_format(x),
    )
    pixelwise = result.view(*result.shape[:2], work.pixels)
    matrix, grid = work.grouped_weight(), work.grid()
    # A bias of zeros costs less than a second way to write the product.
    start = matrix.new_zeros(len(weight)) if bias is None else bias.to(matrix.dtype)
    for images, pieces in work.chunks():
        source = RowMap.of(x[images], work.moved_groups, work.dtype)
        for pixels in pieces:
            columns = work.columns(work.samples(source, grid, images, pixels).summed(source))
            sums = torch.baddbmm(start.view(groups, 1, -1), columns, matrix)
            sums = sums.view(groups, source.batch, -1, sums.shape[2]).permute(1, 0, 3, 2)
            pixelwise[images, :, pixels] = sums.reshape(source.batch, len(weight), -1)
    return result


def _fake_conv(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    shape = _conv_shape(x, weight, stride, padding, dilation)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=_memory_format(x))


@implements(
    f"modulated_deform_conv2d_backward(Tensor grad, Tensor x, Tensor offset, Tensor mask, Tensor weight, {_GEOMETRY}) "
    "-> (Tensor, Tensor, Tensor, Tensor)"
)
@without_autocast
def _conv_backward(
    grad: Tensor,
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, offset, mask and weight. The columns are gathered again, not kept from the forward pass."""
    work = _Convolution(x, offset, mask, weight, stride, padding, dilation, groups)
    grad_x, grad_offset, grad_mask = (_empty_like(tensor) for tensor in (x, offset, mask))
    batch, moved, points, total = x.shape[0], work.moved_groups, work.kernel_points, work.pixels
    offset_pixelwise = grad_offset.view(batch, moved, points, 2, total)
    mask_pixelwise = grad_mask.view(batch, moved, points, total)
    grad = grad.reshape(batch, groups, len(weight) // groups, total)
    matrix, grid = work.grouped_weight(), work.grid()
    grad_matrix = torch.zeros_like(matrix)
    for images, pieces in work.chunks():
        source = RowMap.of(x[images], moved, work.dtype)
        grad_rows = torch.zeros_like(source.rows)
        for pixels in pieces:
            samples = work.samples(source, grid, images, pixels)
            grad_sums = (
                grad[images, ..., pixels].permute(1, 0, 3, 2).to(work.dtype).reshape(groups, -1, matrix.shape[2])
            )
            grad_matrix.baddbmm_(work.columns(samples.summed(source)).transpose(1, 2), grad_sums)
            grad_columns = work.rows(torch.bmm(grad_sums, matrix.transpose(1, 2)))
            of_position, of_scale = samples.derivatives(grad_columns, source)
            grad_rows += samples.spread(grad_columns, source)
            shape = (source.batch, -1, points, moved)
            offset_pixelwise[images, ..., pixels] = of_position.view(2, *shape).permute(1, 4, 3, 0, 2)
            mask_pixelwise[images, ..., pixels] = of_scale.view(shape).permute(0, 3, 2, 1)
        grad_x[images] = source.like(grad_rows)
    grad_weight = grad_matrix.view(groups, points, -1, matrix.shape[2]).permute(0, 3, 2, 1)
    return grad_x, grad_offset, grad_mask, stored_as(grad_weight.reshape(weight.shape), weight)


def _fake_conv_backward(
    grad: Tensor, x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, *geometry: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _empty_like(x), _empty_like(offset), _empty_like(mask), _empty_like(weight)


def _empty_like(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, offset, mask, weight, _, *ctx.geometry = inputs
    ctx.save_for_backward(x, offset, mask, weight)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grad_bias = grad.sum((0, 2, 3)) if ctx.needs_input_grad[4] else None
    gradients = torch.ops.posekit.modulated_deform_conv2d_backward(grad, *ctx.saved_tensors, *ctx.geometry)
    return (*gradients, grad_bias, *[None] * len(ctx.geometry))


def _refuse_second_derivative(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    raise NotImplementedError("modulated deformable convolution can be differentiated once, not twice")


torch.library.register_fake("posekit::modulated_deform_conv2d", _fake_conv, lib=LIBRARY)
torch.library.register_autograd(
    "posekit::modulated_deform_conv2d", _differentiate, setup_context=_keep_for_backward, lib=LIBRARY
)
torch.library.register_fake("posekit::modulated_deform_conv2d_backward", _fake_conv_backward, lib=LIBRARY)
torch.library.register_autograd("posekit::modulated_deform_conv2d_backward", _refuse_second_derivative, lib=LIBRARY)


@register_flop_formula(torch.ops.posekit.modulated_deform_conv2d)
def _flops(x: Any, offset: Any, mask: Any, weight: Any, *args: Any, out_shape: Any, **kwargs: Any) -> int:
    """Count as torch counts convolutions: two for every multiplication with a weight."""
    batch, channels_out, height, width = out_shape
    return 2 * batch * channels_out * height * width * weight[1] * weight[2] * weight[3]
