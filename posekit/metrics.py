"""How far estimates lie from a reference, in the field's measures. NaN in an error means: not estimated, or no reference."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray


def keypoint_errors(
    estimate: Float[np.ndarray, "*batch J D"], reference: Float[np.ndarray, "*batch J D"]
) -> Float[np.ndarray, "*batch J"]:
    """Distance of every joint to its reference; NaN where either is missing."""
    distance: NDArray[np.float64] = np.linalg.norm(np.asarray(estimate) - np.asarray(reference), axis=-1)
    return distance


def pck(
    errors: Float[np.ndarray, "*batch J"],
    scale: Float[np.ndarray, "*batch"],
    threshold: float,
    counted: NDArray[np.bool_] | None = None,
) -> float:
    """Percentage of correct keypoints, as a share: counted joints whose error is at most threshold * scale.

    scale: what errors are measured by, in their unit; for hands B, the longer side of the tight box around the reference
    keypoints. counted: (..., J), the joints that have a reference; all if not given. A counted joint without an estimate
    (NaN) is wrong. NaN where nothing is counted.
    """
    counted = np.ones(errors.shape, dtype=np.bool_) if counted is None else counted
    if not counted.any():
        return float("nan")
    with np.errstate(invalid="ignore"):
        correct = errors <= threshold * np.asarray(scale)[..., None]
    return float(correct[counted].mean())


def mpjpe(errors: Float[np.ndarray, "*batch J"]) -> float:
    """Mean per-joint position error, in the errors' unit, over the joints that have one; NaN where none has."""
    finite = errors[np.isfinite(errors)]
    return float(finite.mean()) if finite.size else float("nan")
