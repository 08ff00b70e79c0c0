"""Measures of keypoints in pictures (and, where nothing says otherwise, of any points)."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from posekit.errors import PosekitError


def keypoint_errors(
    estimate: Float[np.ndarray, "*batch J D"], reference: Float[np.ndarray, "*batch J D"]
) -> Float[np.ndarray, "*batch J"]:
    """Distance of every joint to its reference, in their unit; NaN where either is missing."""
    distance: NDArray[np.float64] = np.linalg.norm(np.asarray(estimate) - np.asarray(reference), axis=-1)
    return distance


def end_point_error(errors: Float[np.ndarray, "*batch J"]) -> tuple[float, float]:
    """EPE: mean and median of the errors, in their unit, over the joints that have one; NaN where none has.

    Both, as papers on hands do (Zimmermann & Brox, "Learning to estimate 3D hand pose from single RGB images", ICCV 2017).
    """
    finite = errors[np.isfinite(errors)]
    return (float(finite.mean()), float(np.median(finite))) if finite.size else (float("nan"), float("nan"))


def box_scale(reference: Float[np.ndarray, "*batch J 2"]) -> Float[np.ndarray, "*batch"]:
    """Longer side of the tight box around the reference keypoints (Yang & Ramanan, PAMI 2013); for hands this is B.

    NaN where fewer than two keypoints are there: one has no size.
    """
    reference = np.asarray(reference, dtype=np.float64)
    there = np.isfinite(reference).all(axis=-1, keepdims=True)
    low = np.where(there, reference, np.inf).min(axis=-2)
    high = np.where(there, reference, -np.inf).max(axis=-2)
    with np.errstate(invalid="ignore"):
        side = (high - low).max(axis=-1)
    return np.where(there.sum(axis=(-1, -2)) >= 2, side, np.nan)


def segment_scale(reference: Float[np.ndarray, "*batch J D"], joints: tuple[int, int]) -> Float[np.ndarray, "*batch"]:
    """Length of the segment between two reference joints; NaN where either is missing.

    Top of the head to neck makes PCK the PCKh of Andriluka et al., CVPR 2014 (whose head box, 0.6 of its diagonal, is about
    this segment); the left shoulder to the right hip is the torso of Sapp & Taskar, CVPR 2013.
    """
    first, second = joints
    length: NDArray[np.float64] = np.linalg.norm(reference[..., first, :] - reference[..., second, :], axis=-1)
    return length


def pck(
    errors: Float[np.ndarray, "*batch J"],
    scale: Float[np.ndarray, "*batch"] | float,
    threshold: float,
    counted: NDArray[np.bool_] | None = None,
) -> float:
    """Percentage of correct keypoints, as a share: counted joints whose error is at most threshold * scale.

    scale: what errors are measured by, in their unit (`box_scale`, `segment_scale`); 1 has the threshold in the errors' own
    unit, such as pixels. counted: (..., J), the joints that have a reference; all if not given. A counted joint without an
    estimate (NaN) is wrong, and so is one whose scale is NaN: leave those out by `counted`. NaN where nothing is counted.
    """
    return float(_shares_correct(errors, scale, np.array([threshold]), counted)[0])


def pck_auc(
    errors: Float[np.ndarray, "*batch J"],
    scale: Float[np.ndarray, "*batch"] | float,
    thresholds: ArrayLike,
    counted: NDArray[np.bool_] | None = None,
) -> float:
    """Area under the curve of `pck` over the thresholds, divided by their span: 1 is perfect.

    thresholds: two or more, ascending; the curve is straight between them (Zimmermann & Brox, ICCV 2017, take it from
    20 to 50 mm). Raises PosekitError where they are not.
    """
    ascending = np.asarray(thresholds, dtype=np.float64)
    if ascending.ndim != 1 or len(ascending) < 2 or not (np.diff(ascending) > 0).all():
        raise PosekitError(f"AUC: thresholds {ascending.tolist()}: two or more were expected, ascending")
    share = _shares_correct(errors, scale, ascending, counted)
    return float(np.trapezoid(share, ascending) / (ascending[-1] - ascending[0]))


def _shares_correct(
    errors: NDArray[np.floating],
    scale: NDArray[np.floating] | float,
    thresholds: NDArray[np.float64],
    counted: NDArray[np.bool_] | None,
) -> NDArray[np.float64]:
    """Share of the counted joints within each threshold, (T,)."""
    counted = np.ones(errors.shape, dtype=np.bool_) if counted is None else counted
    if not counted.any():
        return np.full(len(thresholds), np.nan)
    limit = np.broadcast_to(np.asarray(scale)[..., None], errors.shape)[counted]
    with np.errstate(invalid="ignore"):
        return np.array([(errors[counted] <= threshold * limit).mean() for threshold in thresholds])
