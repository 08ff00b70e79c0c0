"""How much a triangulated instance is to be doubted: by what order a person looks at the frames that a run chose."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.scoring import SelectionSettings
from posekit.medians import median_of_known
from posekit.people.hands import HAND_AGREEMENT, hand_box_sides

#: The reasons for doubt, in the order of `Doubt.shares`, in words.
REASONS = ("far from the detections", "few views", "low confidence", "uncertain in space", "jumps", "odd bones")

#: A reason that cannot be judged, such as the speed in a frame whose neighbours have no hand, counts half.
_UNKNOWN = 0.5


@dataclass(frozen=True, eq=False)
class InstanceTrack:
    """One instance of K joints over the frames of a capture, with the detections that it was made of.

    xyz: (F, K, 3) metres, NaN where there is no point. covariance: (F, K, 6) m^2 as xx, xy, xz, yy, yz, zz. inliers: (F, K, C).
    reprojection_px: (F, K, C), NaN where a view has no detection. confidence: (F, C, K). projected_px: (F, C, K, 2), where the
    points lie in the views. bones: pairs of joints. frames: (F,), their numbers, rising; one after the other if not given.
    """

    xyz: NDArray[np.float64]
    covariance: NDArray[np.floating]
    inliers: NDArray[np.bool_]
    reprojection_px: NDArray[np.floating]
    confidence: NDArray[np.floating]
    projected_px: NDArray[np.float64]
    bones: tuple[tuple[int, int], ...]
    frames: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Doubt:
    """shares: (F, 6), each reason of `REASONS` from 0 to 1, which is as bad as can be. score: (F,), their root mean square."""

    shares: NDArray[np.float64]

    @property
    def score(self) -> NDArray[np.float64]:
        """From 0, nothing speaks against it, to 1. The square lets one glaring fault count more than many slight ones."""
        score: NDArray[np.float64] = np.sqrt((self.shares**2).mean(axis=-1))
        return score


def doubt_of(track: InstanceTrack) -> Doubt:
    """Judge every frame by six reasons, each a mean over the joints (or bones) that have a point.

    - Distance of the views' own detections from the label, in units of 0.2 B (beyond which a joint counts as wrong).
    - Share of the cameras that are no inliers, over all joints: one without a point has none.
    - One less the mean confidence of the inliers.
    - Standard deviation of the point along its worst direction, in units of 0.2 of the instance's size in space.
    - How much further a joint moved from frame to frame than the instance's median joint, in the same units.
    - Difference of a bone's length from its median over the capture, in units of what selection allows.
    """
    there = np.asarray(np.isfinite(track.xyz).all(axis=-1))
    size = HAND_AGREEMENT * _extent(track.xyz)[:, None]
    box = HAND_AGREEMENT * hand_box_sides(track.projected_px)  # (F, C)
    with np.errstate(invalid="ignore", divide="ignore"):
        residual = np.minimum(track.reprojection_px / box[:, None], 1)
        spread = np.minimum(np.sqrt(_largest_variance(track.covariance)) / size, 1)
        jump = np.minimum(_jumps(track.xyz, track.frames) / size, 1)
    confidence = np.where(track.inliers, track.confidence.transpose(0, 2, 1), np.nan)
    shares = np.stack(
        [
            _mean(np.where(there[..., None], residual, np.nan), (1, 2)),
            1 - (track.inliers & there[..., None]).mean(axis=(1, 2)),
            1 - _mean(confidence, (1, 2)),
            _mean(np.where(there, spread, np.nan), (1,)),
            _mean(jump, (1,)),
            _mean(_bone_errors(track.xyz, track.bones), (1,)),
        ],
        axis=-1,
    )
    return Doubt(np.clip(np.where(np.isfinite(shares), shares, _UNKNOWN), 0, 1))


def _mean(values: NDArray[np.floating], axes: tuple[int, ...]) -> NDArray[np.float64]:
    """Mean of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: NDArray[np.float64] = np.where(known, values, 0).sum(axis=axes) / known.sum(axis=axes)
    return mean


def _extent(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longest side (F,) of the box around the points, the median over the capture where a frame has few of them."""
    known = np.isfinite(xyz).all(axis=-1, keepdims=True)
    low, high = np.where(known, xyz, np.inf).min(axis=1), np.where(known, xyz, -np.inf).max(axis=1)
    side = np.where(known.sum(axis=(1, 2)) > xyz.shape[1] / 2, (high - low).max(axis=-1), np.nan)
    usual = median_of_known(side)
    extent: NDArray[np.float64] = np.where(np.isfinite(side), side, usual)
    return extent


def _largest_variance(covariance: NDArray[np.floating]) -> NDArray[np.float64]:
    """Largest eigenvalue (F, K) of covariances (F, K, 6); NaN where one is unknown."""
    known = np.isfinite(covariance).all(axis=-1)
    xx, xy, xz, yy, yz, zz = np.moveaxis(np.where(known[..., None], covariance, 0).astype(np.float64), -1, 0)
    matrix = np.stack([np.stack(row, -1) for row in ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))], -2)
    return np.where(known, np.maximum(np.linalg.eigvalsh(matrix)[..., -1], 0), np.nan)


def _jumps(xyz: NDArray[np.float64], frames: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """How much further (F, K) a joint moved than the median joint, to the frame or from it, whichever is more.

    Where frames are missing in between, it is how much further on average in one of them.
    """
    since = 1 if frames is None else np.diff(frames)[:, None, None]
    step = np.diff(xyz, axis=0) / since
    median = median_of_known(step, axis=1)[:, None]
    off = np.linalg.norm(step - median, axis=-1)
    gap = np.full((1, xyz.shape[1]), np.nan)
    return np.fmax(np.concatenate((gap, off)), np.concatenate((off, gap)))


def _bone_errors(xyz: NDArray[np.float64], bones: tuple[tuple[int, int], ...]) -> NDArray[np.float64]:
    """Relative difference (F, bones) of each bone from its median length, in units of the selection's tolerance."""
    ends = np.array(bones, dtype=np.int64).reshape(-1, 2)
    length = np.linalg.norm(xyz[:, ends[:, 1]] - xyz[:, ends[:, 0]], axis=-1)
    usual = median_of_known(length)
    with np.errstate(invalid="ignore", divide="ignore"):
        error: NDArray[np.float64] = np.minimum(np.abs(length / usual - 1) / SelectionSettings().bone_tolerance, 1)
    return error
