"""Modulated deformable RoI pooling (Zhu, Hu, Lin, Dai, CVPR 2019: "Deformable ConvNets v2", section 3.2)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from posekit.ops.autocast import cast_by_autocast, without_autocast
from posekit.ops.bilinear import RowMap, Samples, stored_as, working_dtype
from posekit.ops.library import LIBRARY, implements


def modulated_deform_roi_pool(
    x: Float[Tensor, "B C H W"],
    rois: Float[Tensor, "R 5"],
    offset: Float[Tensor, "R 2 bins_y bins_x"],
    mask: Float[Tensor, "R bins_y bins_x"],
    spatial_scale: float,
    samples: int = 4,
) -> Float[Tensor, "R C bins_y bins_x"]:
    """Average x over the bins of boxes, each bin moved by `offset` and scaled by `mask`.

    y(k) = mask_k / n sum_j x(p_kj + offset_k) over n = samples^2 places on an even grid within the bin, x sampled bilinearly
    and 0 beyond the border, as in `modulated_deform_conv2d`.

    rois: number of the picture in the batch, then left, top, right, bottom in pixels of the picture, (0, 0) the centre of its
    first pixel (torchvision's `roi_align` with aligned=True takes boxes that are half a pixel more). spatial_scale: cells of x
    per pixel, 1 / stride. offset: (y, x), in heights and widths of the RoI, so that what is learnt on small boxes holds for
    large ones. mask: any number (a sigmoid's, by the paper).

    Returns x's type, computed in float32 (float64 for float64); contiguous. Differentiable once, with respect to x, offset and
    mask; `rois` gets no gradient. Under `torch.autocast` x is cast, places never are.

    Raises ValueError if shapes or types do not fit, or a RoI names a picture that is not there.
    """
    (x,) = cast_by_autocast(x)
    _check(x, rois, offset, mask, samples)
    return torch.ops.posekit.modulated_deform_roi_pool(x, rois.detach(), offset, mask, spatial_scale, samples)


def _check(x: Tensor, rois: Tensor, offset: Tensor, mask: Tensor, samples: int) -> None:
    if x.dim() != 4 or rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(f"x must be (B, C, H, W) and rois (R, 5), not {tuple(x.shape)} and {tuple(rois.shape)}")
    if mask.dim() != 3 or mask.shape[0] != rois.shape[0]:
        raise ValueError(f"mask must be ({rois.shape[0]}, bins, bins), not {tuple(mask.shape)}")
    if tuple(offset.shape) != (mask.shape[0], 2, *mask.shape[1:]):
        raise ValueError(f"offset must be {(mask.shape[0], 2, *mask.shape[1:])}, not {tuple(offset.shape)}")
    if not all(tensor.is_floating_point() for tensor in (x, rois, offset, mask)):
        raise ValueError("x, rois, offset and mask must be of floating types")
    if samples < 1:
        raise ValueError(f"a bin needs at least one sample a side, not {samples}")


def _samples(
    x: Tensor, rois: Tensor, offset: Tensor, mask: Tensor, spatial_scale: float, samples: int
) -> tuple[RowMap, Samples, Tensor]:
    """Return the map, its samples in the order RoI, bin, place in the bin, and the RoIs' sizes (2, R) in cells."""
    dtype = working_dtype(torch.promote_types(x.dtype, torch.promote_types(rois.dtype, offset.dtype)))
    source = RowMap.of(x, 1, dtype)
    image = rois[:, 0].to(torch.int32)
    if image.numel() and not bool(((image >= 0) & (image < x.shape[0])).all()):
        raise ValueError(f"a RoI names a picture outside 0 to {x.shape[0] - 1}")
    edges = (rois[:, [2, 1, 4, 3]].to(dtype) + 0.5) * spatial_scale - 0.5
    begin, size = edges[:, :2].t(), (edges[:, 2:] - edges[:, :2]).t()
    places = []
    for axis, bins in enumerate(mask.shape[1:]):
        shape = [1, 1, 1, 1]
        shape[axis], shape[2 + axis] = bins, samples
        part = (torch.arange(bins * samples, dtype=dtype, device=x.device) + 0.5) / (bins * samples)
        moved = (offset[:, axis].to(dtype) * size[axis, :, None, None])[..., None, None]
        places.append(begin[axis].view(-1, 1, 1, 1, 1) + part.view(shape) * size[axis].view(-1, 1, 1, 1, 1) + moved)
    position = torch.stack(torch.broadcast_tensors(*places))
    scale = (mask.to(dtype) / samples**2)[..., None, None]
    first = torch.zeros((), dtype=torch.int32, device=x.device)
    return source, Samples.at(position, image.view(-1, 1, 1, 1, 1), first, scale, source, samples**2), size


@implements(
    "modulated_deform_roi_pool(Tensor x, Tensor rois, Tensor offset, Tensor mask, float spatial_scale, SymInt samples) "
    "-> Tensor"
)
@without_autocast
def _pool(x: Tensor, rois: Tensor, offset: Tensor, mask: Tensor, spatial_scale: float, samples: int) -> Tensor:
    source, places, _ = _samples(x, rois, offset, mask, spatial_scale, samples)
    sums = places.summed(source).view(*mask.shape, x.shape[1]).permute(0, 3, 1, 2)
    result = torch.empty(sums.shape, dtype=x.dtype, device=x.device)
    return result.copy_(sums)


def _fake_pool(x: Tensor, rois: Tensor, offset: Tensor, mask: Tensor, spatial_scale: float, samples: int) -> Tensor:
    return torch.empty((mask.shape[0], x.shape[1], *mask.shape[1:]), dtype=x.dtype, device=x.device)


@implements(
    "modulated_deform_roi_pool_backward(Tensor grad, Tensor x, Tensor rois, Tensor offset, Tensor mask, "
    "float spatial_scale, SymInt samples) -> (Tensor, Tensor, Tensor)"
)
@without_autocast
def _pool_backward(
    grad: Tensor, x: Tensor, rois: Tensor, offset: Tensor, mask: Tensor, spatial_scale: float, samples: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, offset and mask."""
    source, places, size = _samples(x, rois, offset, mask, spatial_scale, samples)
    grad_sums = grad.permute(0, 2, 3, 1).to(source.rows.dtype).reshape(-1, x.shape[1])
    of_position, of_scale = places.derivatives(grad_sums, source)
    grad_offset = of_position.view(2, *mask.shape, samples**2).sum(-1).mul_(size[..., None, None]).transpose(0, 1)
    grad_mask = of_scale.view(*mask.shape, samples**2).sum(-1) / samples**2
    grad_x = source.like(places.spread(grad_sums, source))
    return stored_as(grad_x, x), stored_as(grad_offset, offset), stored_as(grad_mask, mask)


def _fake_pool_backward(
    grad: Tensor, x: Tensor, rois: Tensor, offset: Tensor, mask: Tensor, spatial_scale: float, samples: int
) -> tuple[Tensor, ...]:
    return tuple(torch.empty(like.shape, dtype=like.dtype, device=like.device) for like in (x, offset, mask))


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.spatial_scale, ctx.samples = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grad_x, grad_offset, grad_mask = torch.ops.posekit.modulated_deform_roi_pool_backward(
        grad, *ctx.saved_tensors, ctx.spatial_scale, ctx.samples
    )
    return grad_x, None, grad_offset, grad_mask, None, None


def _refuse_second_derivative(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    raise NotImplementedError("modulated deformable RoI pooling can be differentiated once, not twice")


torch.library.register_fake("posekit::modulated_deform_roi_pool", _fake_pool, lib=LIBRARY)
torch.library.register_autograd(
    "posekit::modulated_deform_roi_pool", _differentiate, setup_context=_keep_for_backward, lib=LIBRARY
)
torch.library.register_fake("posekit::modulated_deform_roi_pool_backward", _fake_pool_backward, lib=LIBRARY)
torch.library.register_autograd("posekit::modulated_deform_roi_pool_backward", _refuse_second_derivative, lib=LIBRARY)
