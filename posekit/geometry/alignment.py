"""Procrustes alignment: the similarity that lays one set of points on another."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

#: Points whose second direction is this much shorter than their first lie on one line, about which any turn fits as well.
_LINE = 1e-9


@dataclass(frozen=True, eq=False)
class Similarity:
    """``scale * rotation @ point + translation``, one per batch element; all NaN where none is determined."""

    scale: Float[np.ndarray, "*batch"]
    rotation: Float[np.ndarray, "*batch 3 3"]
    translation: Float[np.ndarray, "*batch 3"]

    def apply(self, points: Float[np.ndarray, "*batch N 3"]) -> Float[np.ndarray, "*batch N 3"]:
        """Move the points of every batch element."""
        turned = np.asarray(points, dtype=np.float64) @ self.rotation.swapaxes(-1, -2)
        moved: NDArray[np.float64] = self.scale[..., None, None] * turned + self.translation[..., None, :]
        return moved


def align_similarity(
    source: Float[np.ndarray, "*batch N 3"], target: Float[np.ndarray, "*batch N 3"], *, with_scale: bool = True
) -> Similarity:
    """Find the similarity of least squared distance from source to target; a reflection is never taken.

    Points that are NaN in either set take no part. NaN where fewer than three are common to both, and where they lie on one
    line in either: the turn about it is not determined. with_scale: False keeps the scale at 1.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991.
    """
    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    common = (np.isfinite(source) & np.isfinite(target)).all(axis=-1, keepdims=True)
    count = common.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        source_mean = np.where(common, source, 0).sum(axis=-2) / count
        target_mean = np.where(common, target, 0).sum(axis=-2) / count
    source_centred = np.where(common, source - source_mean[..., None, :], 0)
    target_centred = np.where(common, target - target_mean[..., None, :], 0)
    left, stretch, right = np.linalg.svd(target_centred.swapaxes(-1, -2) @ source_centred)
    # The last direction is turned round where the best orthogonal matrix would be a reflection.
    sign = np.ones_like(stretch)
    sign[..., 2] = np.where(np.linalg.det(left @ right) < 0, -1, 1)
    rotation = (left * sign[..., None, :]) @ right
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = (stretch * sign).sum(axis=-1) / np.square(source_centred).sum(axis=(-1, -2))
    scale = scale if with_scale else np.ones_like(scale)
    determined = (count[..., 0] >= 3) & (stretch[..., 1] > _LINE * stretch[..., 0])
    scale = np.where(determined, scale, np.nan)
    rotation = np.where(determined[..., None, None], rotation, np.nan)
    translation = target_mean - scale[..., None] * (rotation @ source_mean[..., None])[..., 0]
    return Similarity(scale, rotation, translation)
