"""From heatmaps to joints: sub-pixel peaks, and of several peaks those that make a hand."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

from posekit.models.heatmaps import pixels_from_cells
from posekit.skeleton import HAND_21, Skeleton

#: Scores below this are all the same: nothing was seen.
_LEAST_SCORE = 1e-3


@dataclass(frozen=True)
class BoneLengths:
    """How long the bones of a skeleton may look, as parts of the crop's side.

    longest: (number of bones,). Foreshortening makes any shorter length possible, so only excess is held against a pair.
    spread: the excess, as a part of the longest, that costs half a unit of log score.
    """

    skeleton: Skeleton
    longest: np.ndarray
    spread: float = 0.15

    def __post_init__(self) -> None:
        longest = np.asarray(self.longest, dtype=np.float64)
        if longest.shape != (len(self.skeleton.bones),) or not np.all(longest > 0):
            raise ValueError(
                f"{self.skeleton.name} has {len(self.skeleton.bones)} bones, not lengths of shape {longest.shape}"
            )
        object.__setattr__(self, "longest", longest)


def fit_bone_lengths(
    joints: Float[np.ndarray, "N J 2"], size: ArrayLike, skeleton: Skeleton = HAND_21, percentile: float = 99.0
) -> BoneLengths:
    """Learn the longest bones from labelled crops. joints: px, NaN where missing. size: the crops' side in px."""
    parent, child = np.array(skeleton.bones).T
    lengths = np.linalg.norm(joints[:, parent] - joints[:, child], axis=-1) / np.asarray(size, dtype=np.float64)
    return BoneLengths(skeleton, np.nanpercentile(lengths, percentile, axis=0))


def find_peaks(
    heatmaps: Float[Tensor, "B J h w"], count: int = 1
) -> tuple[Float[Tensor, "B J K 2"], Float[Tensor, "B J K"]]:
    """Return the highest local maxima of every map in cells (x, y), best first, and their heights.

    The place between cells is where a parabola through the logarithms of the cell and its neighbours has its top: exact for a
    Gaussian bump. On the border of the map the cell's centre is kept in that direction. Where a map has fewer maxima than
    `count`, the rest repeat low cells with height 0.
    """
    height, width = heatmaps.shape[-2:]
    # A plateau (a map cut off at zero, say) would count every cell as a peak; a lone cell must rise above its neighbours.
    around = functional.max_pool2d(heatmaps, 3, stride=1, padding=1)
    flat = torch.where(heatmaps >= around, heatmaps, torch.full_like(heatmaps, -1.0)).flatten(2)
    score, place = flat.topk(count, dim=-1)
    column, row = place % width, torch.div(place, width, rounding_mode="floor")
    logs = heatmaps.clamp_min(_LEAST_SCORE).log().flatten(2)

    def neighbour(across: int, down: int) -> Tensor:
        x, y = (column + across).clamp(0, width - 1), (row + down).clamp(0, height - 1)
        return logs.gather(2, y * width + x)

    middle = neighbour(0, 0)
    shift_x = _parabola_top(neighbour(-1, 0), middle, neighbour(1, 0), (column > 0) & (column < width - 1))
    shift_y = _parabola_top(neighbour(0, -1), middle, neighbour(0, 1), (row > 0) & (row < height - 1))
    xy = torch.stack([column + shift_x, row + shift_y], dim=-1)
    return xy, score.clamp_min(0.0)


def _parabola_top(before: Tensor, middle: Tensor, after: Tensor, inside: Tensor) -> Tensor:
    curvature = 2.0 * middle - before - after
    shift = 0.5 * (after - before) / curvature.clamp_min(1e-6)
    return torch.where(inside & (curvature > 1e-6), shift.clamp(-0.5, 0.5), 0.0)


def choose_peaks(
    xy: Float[Tensor, "B J K 2"], score: Float[Tensor, "B J K"], lengths: BoneLengths, size: float
) -> Int[Tensor, "B J"]:
    """Choose one peak per joint so that together they make a hand.

    Maximises the sum of log scores minus the excess lengths of all bones, exactly, by dynamic programming over the skeleton's
    tree (max-product). Independent maxima put two fingers on one, which is how a hand network fails most.
    xy: cells, score: heights, size: the crop's side in cells.
    """
    bones = lengths.skeleton.bones
    belief = list(score.clamp_min(_LEAST_SCORE).log().unbind(dim=1))
    best_child: list[Tensor] = []
    for (parent, child), longest in zip(reversed(bones), reversed(lengths.longest.tolist()), strict=True):
        length = torch.linalg.vector_norm(xy[:, parent, :, None] - xy[:, child, None, :], dim=-1) / size
        excess = (length / longest - 1.0).clamp_min(0.0) / lengths.spread
        message, best = (belief[child][:, None, :] - 0.5 * excess.square()).max(dim=-1)
        belief[parent] = belief[parent] + message
        best_child.append(best)
    chosen = torch.zeros(xy.shape[:2], dtype=torch.int64, device=xy.device)
    roots = set(range(xy.shape[1])) - {child for _, child in bones}
    for root in roots:
        chosen[:, root] = belief[root].argmax(dim=-1)
    for (parent, child), best in zip(bones, reversed(best_child), strict=True):
        chosen[:, child] = best.gather(1, chosen[:, parent, None])[:, 0]
    return chosen


def decode_heatmaps(
    heatmaps: Float[Tensor, "B J h w"], stride: int, lengths: BoneLengths | None = None, candidates: int = 4
) -> tuple[Float[np.ndarray, "B J 2"], Float[np.ndarray, "B J"]]:
    """Return the joints in crop pixels and the heights of their peaks, float64.

    lengths: with it, the joints are chosen together from `candidates` peaks each; without, every map's highest peak is taken.
    """
    xy, score = find_peaks(heatmaps.float(), candidates if lengths is not None else 1)
    if lengths is not None:
        chosen = choose_peaks(xy, score, lengths, float(heatmaps.shape[-1]))[..., None]
    else:
        chosen = torch.zeros((*xy.shape[:2], 1), dtype=torch.int64, device=xy.device)
    xy = xy.gather(2, chosen[..., None].expand(-1, -1, -1, 2))[:, :, 0]
    score = score.gather(2, chosen)[:, :, 0]
    return pixels_from_cells(xy, stride).double().cpu().numpy(), score.double().cpu().numpy()
