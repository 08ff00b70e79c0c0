"""What a real 2D detector does, measured against a triangulation of what several of its views agree on.

That is no truth, but one view's mistakes are not in it: points on which two or more views agree, reprojected into every view.
What all views get wrong alike is not seen. Lengths are shares of the person's leg at the person's distance, the measure that
`posekit.datasets.detector_noise` draws in.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from posekit.camera import Camera, Rig, match_camera_names
from posekit.datasets.body_shapes import measure_proportions
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.skeleton import Skeleton

Array = NDArray[np.float64]

#: A detection farther off, in legs, is an outlier: 12 cm of a grown-up.
OUTLIER = 0.15
#: A detected person whose median joint is farther off is somebody else.
_SAME_PERSON = 0.25
#: Both arms together, as a share of the leg, of somebody whose legs are not seen.
_ARM_OF_LEG = 0.66
#: Detections with less confidence count as missing: most readers drop them.
_LEAST_CONFIDENCE = 0.05
#: An outlier that lies at its mirror image's place, nearer than this share of its error, was exchanged.
_SWAPPED_SHARE = 1 / 3


@dataclass(frozen=True)
class DetectorFigures:
    """Lengths are shares of a leg; shares are of the joints that the triangulation has, of people found in a view.

    views: people in views in frames that were looked at. jitter: robust standard deviation an axis of joints that are no
    outliers; slow, fast: its parts that stay and that change from frame to frame. pose_spread: standard deviation of the
    logarithm of the mean error from one person in a view to the next. outlier, missing, swapped: shares; outlier_size: median
    length. confidence: of joints within half of `OUTLIER`, from there to it, and beyond. habits: jitter of a joint against
    the mean, left and right together.
    """

    views: int
    jitter: float
    slow: float
    fast: float
    pose_spread: float
    outlier: float
    outlier_size: float
    missing: float
    swapped: float
    confidence: tuple[float, float, float]
    habits: dict[str, float]


def measure_detector_noise(
    found: Keypoints2D, truth: Keypoints3D, rig: Rig, joints: tuple[str, ...]
) -> DetectorFigures:
    """Measure a detector on a capture that was triangulated.

    found: as detected. truth: its triangulation, better still with a rig that was refined on it. joints: which to look at, of
    both.

    Raises PosekitError where frames, cameras or joints do not match, or nobody is found twice.
    """
    if not np.array_equal(found.frames, truth.frames):
        raise PosekitError("detector noise: 2D and 3D keypoints are not of the same frames")
    rig = match_camera_names(rig, found.cameras)
    own, other = found.skeleton.indices(joints), truth.skeleton.indices(joints)
    twins = _twins(found.skeleton, joints)
    views = []
    for person in range(truth.xyz.shape[1]):
        xyz = truth.xyz[:, person]
        leg = _leg(truth.skeleton, xyz)
        if not np.isfinite(leg):
            continue
        for number, camera in enumerate(rig.cameras):
            expected, leg_px = _expected(camera, xyz, leg)
            detected = found.xy[:, number][:, :, own]
            expected = expected[:, None, other]
            error = (detected - expected) / leg_px[:, None, None, None]
            slot = _nearest(error)
            rows = np.flatnonzero(slot >= 0)
            if len(rows):
                crossed = (detected - expected[:, :, twins]) / leg_px[:, None, None, None]
                here = rows, slot[rows]
                views.append(
                    _View(
                        _in_place(error[here], rows, len(xyz)),
                        _in_place(crossed[here], rows, len(xyz)),
                        _in_place(found.confidence[:, number][:, :, own][here], rows, len(xyz)),
                        _in_place(np.isfinite(expected[rows, 0]).all(axis=-1), rows, len(xyz)),
                    )
                )
    if not views:
        raise PosekitError("detector noise: nobody of the triangulation was found in any view")
    return _figures(views, joints, twins)


@dataclass(frozen=True, eq=False)
class _View:
    """One person in one view. error, crossed: (F, J, 2) legs, from the joint's own and from its mirror image's place."""

    error: Array
    crossed: Array
    confidence: Array
    expected: Array


def _leg(skeleton: Skeleton, xyz: Array) -> float:
    """Length of a leg, told by the arms where legs are not seen; NaN where neither is."""
    shares = measure_proportions(skeleton, xyz)
    if np.isfinite(shares["leg"]):
        return shares["leg"]
    lengths = []
    for side in ("left", "right"):
        shoulder, elbow, wrist = (xyz[:, skeleton.index(f"{side}_{word}")] for word in ("shoulder", "elbow", "wrist"))
        arm = np.linalg.norm(elbow - shoulder, axis=-1) + np.linalg.norm(wrist - elbow, axis=-1)
        lengths.append(arm[np.isfinite(arm)])
    measured = np.concatenate(lengths)
    return float(np.median(measured)) / _ARM_OF_LEG if measured.size else float("nan")


def _expected(camera: Camera, xyz: Array, leg: float) -> tuple[Array, Array]:
    """Projections (F, J, 2) and a leg's length (F,) px at the depth of the joints' middle."""
    known: NDArray[np.bool_] = np.asarray(np.isfinite(xyz).all(axis=-1))
    filled = np.where(known[..., None], xyz, 0)
    middle = filled.sum(axis=1) / np.maximum(known.sum(axis=1), 1)[:, None]
    depth = middle @ camera.rotation[2] + camera.translation[2]
    leg_px = np.where(known.any(axis=1) & (depth > 0), camera.matrix[0, 0] * leg / np.maximum(depth, 1e-3), np.nan)
    return np.asarray(camera.project(xyz)), leg_px


def _nearest(error: Float[np.ndarray, "F P J 2"]) -> NDArray[np.int64]:
    """Which detected person it is in every frame, -1 where none."""
    length = np.linalg.norm(error, axis=-1)
    counted = np.isfinite(length)
    middle = np.full(length.shape[:2], np.inf)
    # Fewer joints say nothing of whose they are.
    enough = counted.sum(axis=-1) >= 4
    middle[enough] = np.nanmedian(np.where(counted, length, np.nan)[enough], axis=-1)
    best = middle.argmin(axis=1)
    return np.where(middle[np.arange(len(best)), best] < _SAME_PERSON, best, -1)


def _in_place(values: NDArray[np.generic], rows: NDArray[np.int64], frames: int) -> Array:
    placed = np.full((frames, *values.shape[1:]), np.nan)
    placed[rows] = values
    return placed


def _twins(skeleton: Skeleton, joints: tuple[str, ...]) -> NDArray[np.int64]:
    mirrored = [skeleton.joints[int(skeleton.mirror[skeleton.index(joint)])] for joint in joints]
    return np.array([joints.index(name) if name in joints else n for n, name in enumerate(mirrored)], dtype=np.int64)


def _figures(views: list[_View], joints: tuple[str, ...], twins: NDArray[np.int64]) -> DetectorFigures:
    error = np.stack([view.error for view in views])
    confidence = np.stack([view.confidence for view in views])
    seen = np.stack([view.expected for view in views]) == 1
    length = np.linalg.norm(error, axis=-1)
    crossed = np.linalg.norm(np.stack([view.crossed for view in views]), axis=-1)
    there = seen & np.isfinite(length) & (confidence >= _LEAST_CONFIDENCE)
    near, far = there & (length < OUTLIER), there & (length >= OUTLIER)
    exchanged = far & (crossed < OUTLIER) & (crossed < _SWAPPED_SHARE * length)
    far &= ~exchanged
    calm = np.where(near[..., None], error, np.nan)
    change = np.diff(calm, axis=1)
    poses = [float(np.log(length[v, f][near[v, f]].mean())) for v, f in np.argwhere(near.sum(axis=-1) >= 8)]
    low, middle, high = (
        float(np.median(confidence[band])) if band.any() else float("nan")
        for band in (near & (length < OUTLIER / 2), near & (length >= OUTLIER / 2), far)
    )
    return DetectorFigures(
        views=int(seen.any(axis=-1).sum()),
        jitter=_robust(error[near]),
        slow=_robust(_over_time(calm)),
        fast=_robust(change[np.isfinite(change)]) / np.sqrt(2),
        pose_spread=float(np.std(poses)) if poses else float("nan"),
        outlier=float(far.sum() / max(there.sum(), 1)),
        outlier_size=float(np.median(length[far])) if far.any() else float("nan"),
        missing=float((seen & ~there).sum() / max(seen.sum(), 1)),
        swapped=float(exchanged.sum() / max(there.sum(), 1)),
        confidence=(low, middle, high),
        habits=_habits(calm, joints, twins),
    )


def _over_time(error: Float[np.ndarray, "V F J 2"]) -> Array:
    """Medians over the frames of every view's joints: what stays."""
    known = np.isfinite(error).any(axis=1)
    medians: Array = np.nanmedian(np.moveaxis(error, 1, 0)[:, known], axis=0)
    return medians


def _habits(error: Float[np.ndarray, "V F J 2"], joints: tuple[str, ...], twins: NDArray[np.int64]) -> dict[str, float]:
    habits = {}
    for number, joint in enumerate(joints):
        if not joint.startswith("right_"):
            both = error[..., [number, twins[number]], :]
            habits[joint.removeprefix("left_")] = _robust(both[np.isfinite(both)])
    mean = float(np.nanmean(list(habits.values())))
    return {joint: value / mean for joint, value in habits.items()}


def _robust(values: Array) -> float:
    """Standard deviation of the normal distribution of the same median length; NaN of nothing."""
    return float(1.4826 * np.median(np.abs(values))) if values.size else float("nan")
