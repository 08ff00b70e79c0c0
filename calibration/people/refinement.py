"""Refining a rig on the people who move in it: their joints are the points that all cameras saw."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from posekit.calibration.people.bundle_adjustment import Freedom, adjust_bundle
from posekit.calibration.world.frame import transform_rig
from posekit.camera import CameraBatch, Rig, rig_of_batch
from posekit.errors import PosekitError
from posekit.geometry.alignment import align_similarity
from posekit.keypoints import CONFIDENT, Keypoints2D
from posekit.people.reconstruction import Reconstruction, ReconstructionSettings, triangulate_people

#: The capture is cut into so many blocks of time, of which these are held out.
_BLOCKS, _HELD_OUT = 10, (2, 7)

#: Fewer frames than this cannot be cut so that a block says anything.
MIN_FRAMES = 30

#: Points of people that are adjusted at most, from frames all over the capture: more say nothing new of a few cameras.
_MOST_POINTS = 12000

#: Adjusting and judging the views anew by turns: after a better rig, more of them agree.
_TURNS = 3

#: A rig is better where the median error in held-out frames falls by this share or more.
_BETTER = 0.01


@dataclass(frozen=True)
class RigFigures:
    """How well a rig fits detections: errors (px) of all confident ones, kept or not, against what all views make of the joint.

    Of joints that three views or more are confident of (or two, where there are no more): two rays nearly always meet, whatever
    the rig. points: how many of these there are; points_found: how many of them the views agree on.
    """

    median_px: float
    mean_px: float
    points: int
    points_found: int
    camera_median_px: dict[str, float]
    person_median_px: tuple[float, ...]


@dataclass(frozen=True)
class Refinement:
    """What became of a rig; before and after are measured on the held-out frames, the used ones likewise.

    rig: the refined one, or the given one where that is not worse in the held-out frames (improved is False then).
    held_out: (F,) bool.
    """

    rig: Rig
    improved: bool
    before: RigFigures
    after: RigFigures
    used_before: RigFigures
    used_after: RigFigures
    held_out: NDArray[np.bool_]


def refine_rig(detections: Keypoints2D, rig: Rig, free: Freedom = "pose") -> Refinement:
    """Adjust a rig's cameras to people's keypoints; scale and place of the world stay, by where the people were in it.

    detections: slot p is person p in every view and frame (`posekit.people.reconstruction.identify_people`). rig: the same
    cameras in the same order. Raises PosekitError where there are too few frames, or too few points seen by several cameras.
    """
    frame_count = len(detections.frames)
    if frame_count < MIN_FRAMES:
        raise PosekitError(
            f"{detections.source}: has {frame_count} frames; to refine a rig and to judge it takes {MIN_FRAMES} or more"
        )
    held_out = np.isin(np.arange(frame_count) * _BLOCKS // frame_count, _HELD_OUT)
    # Who is who and left from right are as good as they get with the rig as it is; both ask for far less than joints do.
    mended = triangulate_people(detections, rig, ReconstructionSettings()).detections
    used, unused = _frames(mended, ~held_out), _frames(mended, held_out)
    refined = rig
    for _ in range(_TURNS):
        refined = _adjusted(used, refined, free)
    refined = _aligned(refined, rig, used)
    before, after = rig_figures(unused, rig), rig_figures(unused, refined)
    improved = after.median_px < (1 - _BETTER) * before.median_px and after.points_found >= 0.98 * before.points_found
    return Refinement(
        refined if improved else rig,
        improved,
        before,
        after,
        rig_figures(used, rig),
        rig_figures(used, refined),
        held_out,
    )


def rig_figures(detections: Keypoints2D, rig: Rig) -> RigFigures:
    """Triangulate people's bodies and measure how far all confident detections lie from the points."""
    result = _triangulated(detections, rig)
    body = detections.skeleton.body_joints
    error = result.people.reprojection_px[:, :, body].transpose(0, 3, 1, 2)  # (F, C, P, J)
    confident = detections.confidence[..., body] >= CONFIDENT
    shared = confident.sum(axis=1, keepdims=True) >= min(3, len(rig))
    counted = confident & shared & np.isfinite(error)
    if not counted.any():
        raise PosekitError(f"{detections.source}: nobody is seen well by several cameras of {rig.source} at once")

    def median(of: tuple[slice | int, ...]) -> float:
        return float(np.median(error[of][counted[of]])) if counted[of].any() else float("nan")

    everything = slice(None)
    by_camera = {name: median((everything, c)) for c, name in enumerate(rig.names)}
    by_person = tuple(median((everything, everything, p)) for p in range(error.shape[2]))
    found = np.isfinite(result.people.xyz[:, :, body, 0])
    return RigFigures(
        float(np.median(error[counted])),
        float(error[counted].mean()),
        int(shared.sum()),
        int((shared[:, 0] & found).sum()),
        by_camera,
        by_person,
    )


def _triangulated(detections: Keypoints2D, rig: Rig) -> Reconstruction:
    return triangulate_people(detections, rig, ReconstructionSettings(mend_swaps=False))


def _frames(detections: Keypoints2D, chosen: NDArray[np.bool_]) -> Keypoints2D:
    return replace(
        detections,
        xy=detections.xy[chosen],
        confidence=detections.confidence[chosen],
        frames=detections.frames[chosen],
    )


def _adjusted(detections: Keypoints2D, rig: Rig, free: Freedom) -> Rig:
    """One bundle adjustment of the rig on points of all over the capture that three views or more (or all) agree on."""
    result = _triangulated(detections, rig)
    body = detections.skeleton.body_joints
    views = result.people.inliers[:, :, body].sum(axis=-1)
    rows = np.argwhere(views >= 2)
    if (views >= min(3, len(rig))).sum() < 10 * len(rig):
        raise PosekitError(
            f"{detections.source}: {len(rows)} points are seen alike by {min(3, len(rig))} cameras; too few to refine a rig"
        )
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST_POINTS)).astype(np.int64)]
    f, p, j = rows[:, 0], rows[:, 1], body[rows[:, 2]]
    adjustment = adjust_bundle(
        CameraBatch.from_rig(rig),
        torch.from_numpy(result.people.xyz[f, p, j]),
        torch.from_numpy(detections.xy[f, :, p, j].astype(np.float64)),
        torch.from_numpy(detections.confidence[f, :, p, j].astype(np.float64)),
        max(result.rig_residual_px, 0.5),
        free,
    )
    return rig_of_batch(adjustment.cameras, rig)


def _aligned(refined: Rig, rig: Rig, detections: Keypoints2D) -> Rig:
    """Lay the refined rig's world on the given one, by where the people are in each."""
    body = detections.skeleton.body_joints
    now, before = (_triangulated(detections, one).people.xyz[:, :, body].reshape(-1, 3) for one in (refined, rig))
    distance = np.linalg.norm(now - before, axis=-1)
    # Points that one of the rigs has wrong are no guide: those that went furthest are left out.
    kept = distance <= np.nanquantile(distance, 0.8)
    similarity = align_similarity(now[kept], before[kept])
    return transform_rig(refined, similarity)
