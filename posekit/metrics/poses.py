"""Measures of 3D poses against a reference, in metres."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from posekit.geometry.alignment import align_similarity
from posekit.metrics.keypoints import keypoint_errors, pck

#: A joint of a 3D pose is right within so many metres: about half a head (Mehta et al., 3DV 2017).
PCK_3D_THRESHOLD = 0.15
#: Thresholds of the 3DPCK curve: 0 to 150 mm in steps of 5 mm, as MPI-INF-3DHP's own evaluation takes them.
_PCK_3D_CURVE = np.linspace(0, PCK_3D_THRESHOLD, 31)


def mpjpe(errors: Float[np.ndarray, "*batch J"]) -> float:
    """Mean per-joint position error, in the errors' unit, over the joints that have one; NaN where none has.

    Ionescu et al., "Human3.6M", PAMI 2014. errors: of `keypoint_errors` on poses as they stand in the world, or on
    poses relative to their root (`relative_to`), which is the protocol of papers on a single view.
    """
    finite = errors[np.isfinite(errors)]
    return float(finite.mean()) if finite.size else float("nan")


def relative_to(xyz: Float[np.ndarray, "*batch J 3"], root: tuple[int, ...]) -> Float[np.ndarray, "*batch J 3"]:
    """Poses relative to the mean of some of their joints (both hips are a pelvis); all NaN where one of those is missing."""
    relative: NDArray[np.float64] = xyz - xyz[..., list(root), :].mean(axis=-2, keepdims=True)
    return relative


def n_mpjpe_errors(
    estimate: Float[np.ndarray, "*batch J 3"], reference: Float[np.ndarray, "*batch J 3"]
) -> Float[np.ndarray, "*batch J"]:
    """Errors (..., J) after each pose was given the scale that fits its reference best; their `mpjpe` is N-MPJPE.

    Scale only, about the origin, so that both must be relative to a root (`relative_to`). NaN where estimate or reference
    is missing, and for a pose of which nothing is left but its root. Rhodin et al., "Learning monocular 3D human
    pose estimation from multi-view images", CVPR 2018; the scale is that of least squared distance.
    """
    estimate, reference = np.asarray(estimate, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    common = (np.isfinite(estimate) & np.isfinite(reference)).all(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        along = np.where(common, estimate * reference, 0).sum(axis=(-1, -2))
        scale = along / np.where(common, np.square(estimate), 0).sum(axis=(-1, -2))
    return keypoint_errors(scale[..., None, None] * estimate, reference)


def pa_mpjpe_errors(
    estimate: Float[np.ndarray, "*batch J 3"], reference: Float[np.ndarray, "*batch J 3"]
) -> Float[np.ndarray, "*batch J"]:
    """Errors (..., J) after each pose was laid on its reference; their `mpjpe` is PA-MPJPE.

    Rotation, translation and scale of least squared distance, every pose by itself, no reflection: a pose with left and right
    exchanged must not become a good one. NaN where estimate or reference is missing, and for poses that `align_similarity`
    cannot align. As in Bogo et al., "Keep it SMPL", ECCV 2016, and since then on most data of single people.
    """
    return keypoint_errors(align_similarity(estimate, reference).apply(estimate), reference)


def pa_mpjpe_reflected_errors(
    estimate: Float[np.ndarray, "*batch J 3"], reference: Float[np.ndarray, "*batch J 3"]
) -> Float[np.ndarray, "*batch J"]:
    """Errors (..., J) as `pa_mpjpe_errors`, but where its mirror image fits a pose better, those of that.

    RepNet's published evaluation allows it: a depth of the wrong sign costs nothing then. For comparison with its figures only.
    """
    direct = pa_mpjpe_errors(estimate, reference)
    mirrored = pa_mpjpe_errors(np.asarray(estimate, dtype=np.float64) * (-1.0, 1.0, 1.0), reference)
    better = np.nansum(np.square(mirrored), axis=-1) < np.nansum(np.square(direct), axis=-1)
    return np.where(better[..., None], mirrored, direct)


def turned_as_one(
    estimate: Float[np.ndarray, "F *batch J 3"], reference: Float[np.ndarray, "F *batch J 3"]
) -> Float[np.ndarray, "F *batch J 3"]:
    """Turn estimates that are relative to their root by one rotation for all frames, the one of least squared distance.

    What a single camera sees stands in that camera's axes; this brings it into the reference's without taking an error of any
    frame away. The rest of the batch has a rotation each. NaN where none is determined.
    """
    estimate, reference = np.asarray(estimate, dtype=np.float64), np.asarray(reference, dtype=np.float64)

    def points(poses: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = np.moveaxis(poses, 0, -3).reshape(*poses.shape[1:-2], -1, 3)
        # With their mirror images about the root the points' mean is the root, about which they are to be turned.
        return np.concatenate((flat, -flat), axis=-2)

    rotation = align_similarity(points(estimate), points(reference), with_scale=False).rotation
    turned: NDArray[np.float64] = estimate @ rotation.swapaxes(-1, -2)
    return turned


def pck_3d(
    errors: Float[np.ndarray, "*batch J"],
    counted: NDArray[np.bool_] | None = None,
    threshold: float = PCK_3D_THRESHOLD,
) -> float:
    """3DPCK: share of the counted joints within 150 mm; errors in metres. A counted joint without an estimate is wrong.

    counted: (..., J), the joints that have a reference; all if not given. NaN where nothing is counted.
    Mehta et al., "Monocular 3D human pose estimation in the wild", 3DV 2017.
    """
    return pck(errors, 1.0, threshold, counted)


def pck_3d_auc(errors: Float[np.ndarray, "*batch J"], counted: NDArray[np.bool_] | None = None) -> float:
    """Area under `pck_3d` over the thresholds 0, 5, ... 150 mm, as the mean of the 31 shares; joints are counted as there.

    1 is perfect. The mean, not an integral, since that is what MPI-INF-3DHP's own evaluation takes (Mehta et al., 3DV 2017).
    """
    return float(np.mean([pck_3d(errors, counted, threshold) for threshold in _PCK_3D_CURVE]))


def pcp(
    estimate: Float[np.ndarray, "*batch J D"],
    reference: Float[np.ndarray, "*batch J D"],
    bones: tuple[tuple[int, int], ...],
    alpha: float = 0.5,
    *,
    strict: bool = True,
) -> Float[np.ndarray, " B"]:
    """Percentage of correct parts, as a share per bone: bones whose ends lie within alpha of the bone's length, (B,).

    strict: each end must (Ferrari et al., CVPR 2008); otherwise their mean distance (Burenius et al., CVPR 2013, which is how
    Campus and Shelf are measured). Counted are bones of which the reference has both ends; one without an estimate is wrong.
    NaN for a bone that is never counted.
    """
    first, second = np.array(bones, dtype=np.int64).reshape(-1, 2).T
    errors = keypoint_errors(estimate, reference)
    length = np.linalg.norm(reference[..., first, :] - reference[..., second, :], axis=-1)
    ends = np.stack((errors[..., first], errors[..., second]))
    off = ends.max(axis=0) if strict else ends.mean(axis=0)
    frames = tuple(range(off.ndim - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        correct = (off <= alpha * length).sum(axis=frames)
        share: NDArray[np.float64] = correct / np.isfinite(length).sum(axis=frames)
    return share
