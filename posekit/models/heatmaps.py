"""Targets of a heatmap network, and the two grids it lives on: pixels of the crop and cells of the map."""

import torch
from jaxtyping import Float
from torch import Tensor


def cells_from_pixels(xy: Tensor, stride: int) -> Tensor:
    """Crop pixels to map cells, any shape: cell i is centred on pixel stride * i + (stride - 1) / 2."""
    return (xy - (stride - 1) / 2) / stride


def pixels_from_cells(xy: Tensor, stride: int) -> Tensor:
    """Map cells to crop pixels, any shape; the inverse of `cells_from_pixels`."""
    return xy * stride + (stride - 1) / 2


def gaussian_heatmaps(
    xy: Float[Tensor, "B J 2"], size: tuple[int, int], stride: int, sigma: float = 1.5, background: bool = False
) -> Float[Tensor, "B M h w"]:
    """Paint exp(-d^2 / 2 sigma^2) about every joint, d in cells, centres not rounded.

    xy: crop pixels (x, y); NaN where there is no label, which gives a map of zeros: mask it with `joint_weights`.
    size: (height, width) of the maps in cells. sigma: cells. A joint outside the crop gives the part of its bump that reaches
    in.
    background: one more map, 1 - the largest of the joints' maps.

    sigma 1.5 at stride 4 on a 128 px crop is a tenth of a hand's size (2.2 B = 128 px), near the annotators' own spread.
    """
    height, width = size
    centre = cells_from_pixels(xy, stride)
    across = torch.arange(width, dtype=xy.dtype, device=xy.device) - centre[..., :1]
    down = torch.arange(height, dtype=xy.dtype, device=xy.device) - centre[..., 1:]
    scale = -0.5 / sigma**2
    maps = torch.exp(scale * down.square())[..., :, None] * torch.exp(scale * across.square())[..., None, :]
    maps = torch.nan_to_num(maps, nan=0.0)
    if background:
        maps = torch.cat([maps, 1.0 - maps.amax(dim=1, keepdim=True)], dim=1)
    return maps


def joint_weights(
    xy: Float[Tensor, "B J 2"], weight: Float[Tensor, "B J"] | None = None, background: bool = False
) -> Float[Tensor, "B M"]:
    """Return the weight of every map in the loss: 0 where the label is NaN, else `weight` (1 if not given).

    The background's map is only right where every joint is known: its weight is the smallest of the sample's.
    """
    known = torch.isfinite(xy).all(dim=-1).to(xy.dtype)
    result = known if weight is None else known * weight
    if background:
        result = torch.cat([result, result.amin(dim=1, keepdim=True)], dim=1)
    return result
