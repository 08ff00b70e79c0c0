"""From heatmaps to joints: sub-pixel peaks that together make a hand."""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posekit.detection.hand_box import BOX_FACTOR
from posekit.detection.hand_shapes import HandShapes, shape_prior
from posekit.models.heatmaps import pixels_from_cells

#: Heights below this are all the same: nothing was seen.
_LEAST_SCORE = 1e-3

#: A map is smoothed by a Gaussian of this part of its side before its peak is looked for, about half of the distance within
#: which a joint is right: the place wanted is the one with most of the map about it, not the highest cell.
SMOOTHING = 0.04

#: What a place in no shape of a hand still counts.
_PRIOR_FLOOR = 0.05

#: Shapes choose which top of a map is the joint's; from there the map is climbed alone, in steps each within a Gaussian window
#: of this part of its side about the last. Where a step stays, the window has no slope, so the top is the map's own. Placed by
#: the shapes too, hands came out 3 % smaller: what is not sure is drawn to their middle.
_WINDOW = 3.0 / 32.0
_STEPS = 3

#: Columns and rows from a cell to itself, to its left and upper neighbour, and to its right and lower one.
_CROSS = ((0, -1, 0, 1, 0), (0, 0, -1, 0, 1))

#: 0.2 B, within which a joint is right, as a part of a crop of 2.2 B.
_RIGHT_WITHIN = 0.2 / BOX_FACTOR


def find_peaks(heatmaps: Float[Tensor, "B J h w"]) -> tuple[Float[Tensor, "B J 2"], Float[Tensor, "B J"]]:
    """Return the highest place of every map in cells (x, y), and its height.

    The place between cells is where a parabola through the logarithms of the cell and its neighbours has its top: exact for a
    Gaussian bump. On the border of the map the cell's centre is kept in that direction.
    """
    height, width = heatmaps.shape[-2:]
    # The row first, then the place in it: several times faster than one search for the place in the whole map.
    row = heatmaps.amax(dim=-1).argmax(dim=-1)
    score, column = heatmaps.take_along_dim(row[..., None, None], dim=2)[:, :, 0].max(dim=-1)
    across, down = torch.tensor(_CROSS, device=heatmaps.device)
    x = (column[..., None] + across).clamp_(0, width - 1)
    y = (row[..., None] + down).clamp_(0, height - 1)
    logs = heatmaps.flatten(2).gather(2, y * width + x).clamp_min_(_LEAST_SCORE).log_()
    middle, before, after = logs[..., :1], logs[..., 1:3], logs[..., 3:]
    cell, last = torch.stack([column, row], dim=-1), torch.tensor([width - 1, height - 1], device=heatmaps.device)
    curvature = 2.0 * middle - before - after
    shift = (0.5 * (after - before) / curvature.clamp_min(1e-6)).clamp_(-0.5, 0.5)
    inside = (cell > 0) & (cell < last) & (curvature > 1e-6)
    return cell + torch.where(inside, shift, 0.0), score.clamp_min(0.0)


def smooth_heatmaps(heatmaps: Float[Tensor, "B J h w"], sigma: float) -> Float[Tensor, "B J h w"]:
    """Blur every map by a Gaussian of `sigma` cells; what is beyond the border is 0. sigma 0 changes nothing."""
    if sigma <= 0:
        return heatmaps
    across, down = (_blur_matrix(side, sigma, heatmaps.dtype, heatmaps.device) for side in heatmaps.shape[:-3:-1])
    return down @ heatmaps @ across


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _blur_matrix(side: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "side side"]:
    """A Gaussian, cut off at three sigma, along an axis of maps, as a symmetric matrix: the fastest for maps of this size."""
    radius = math.ceil(3 * sigma)
    reach = torch.arange(-radius, radius + 1, dtype=dtype, device=device)
    places = torch.arange(side, dtype=dtype, device=device)
    apart = places[:, None] - places
    kernel = torch.exp(-0.5 * (apart / sigma).square()) * (apart.abs() <= radius)
    return kernel / torch.exp(-0.5 * (reach / sigma).square()).sum()


def _windows(centre: Float[Tensor, "B J 2"], side: int) -> Float[Tensor, "B J side side"]:
    """Gaussians of height 1 about places in cells, as wide as `_WINDOW` says."""
    cells = torch.arange(side, dtype=centre.dtype, device=centre.device)
    along = torch.exp(-0.5 * ((cells - centre[..., None]) / (_WINDOW * side)).square())  # (B, J, 2, side)
    return along[..., 1, :, None] * along[..., 0, None, :]


def share_about(heatmaps: Float[Tensor, "B J h w"], xy: Float[Tensor, "B J 2"], radius: float) -> Float[Tensor, "B J"]:
    """Return the share of every map that lies within `radius` cells of its joint; 0 of a map of zeros."""
    height, width = heatmaps.shape[-2:]
    across = (torch.arange(width, dtype=xy.dtype, device=xy.device) - xy[..., :1]).square()
    down = (torch.arange(height, dtype=xy.dtype, device=xy.device) - xy[..., 1:]).square()
    near = across[..., None, :] + down[..., :, None] <= radius**2
    return torch.where(near, heatmaps, 0.0).sum(dim=(-2, -1)) / heatmaps.sum(dim=(-2, -1)).clamp_min(1e-6)


def decode_heatmaps(
    heatmaps: Float[Tensor, "B J h w"], stride: int, shapes: HandShapes | None = None, smoothing: float = SMOOTHING
) -> tuple[Float[np.ndarray, "B J 2"], Float[np.ndarray, "B J"]]:
    """Return the joints in crop pixels and their scores in [0, 1], float64.

    heatmaps: of any scale. shapes: with them, a top of a map counts less where no hand that explains the other maps has the
    joint; without, every joint stands alone. smoothing: see `SMOOTHING`. The score is the share of the network's own map within
    0.2 B of the joint: what it holds to be the probability that the joint is right, but for its optimism, which a confidence
    curve takes away. The height of the peak says less: a low, narrow peak may be all there is, a high one be one of several.

    Independent maxima put two fingers on one and mix the hand's two readings, palm and back; shapes that hands can have
    do not allow it.
    """
    own = heatmaps.float().clamp_min(0.0)
    side = own.shape[-1]
    maps = smooth_heatmaps(own, smoothing * side)
    xy, height = find_peaks(maps)
    if shapes is not None:
        xy, _ = find_peaks(shape_prior(maps, xy, height, shapes).add_(_PRIOR_FLOOR).mul_(maps))
        for _ in range(_STEPS):
            xy, _ = find_peaks(_windows(xy, side).mul_(maps))
    score = share_about(own, xy, _RIGHT_WITHIN * side)
    return pixels_from_cells(xy, stride).double().cpu().numpy(), score.double().cpu().numpy()
