"""What the other cameras say of a camera's detections: the evidence that no label is needed for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.instances import Hidden, InstanceDetections, InstancePoints, triangulate_instances
from posekit.camera import Rig
from posekit.medians import median_of_known
from posekit.people.hands import HAND_AGREEMENT, whole_box_sides

#: A reference of fewer joints says too little about a whole crop.
MIN_JOINTS = 4

#: Of more cameras than this, each is held out in a part of the frames only.
_EVERY_FRAME = 8

#: Shares of B within which a joint may be counted as right.
CURVE_THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


def least_joints(joint_count: int) -> int:
    """How many joints a reference must have to say something about a whole crop; half of a small skeleton is enough."""
    return min(MIN_JOINTS, max(1, (joint_count + 1) // 2))


@dataclass(frozen=True, eq=False)
class HeldOutEvidence:
    """Every camera held out in turn: instances as the other cameras triangulate them, and how far its own detections lie off.

    reference_px: (F, C, H, K, 2), NaN where the others do not agree on a joint, and where the camera surely cannot see it:
    outside its picture, or behind a body. error_px: (F, C, H, K), NaN where reference
    or detection is missing. box_px: (F, C, H), B of the reference. asked: (F, C), where a camera was held out at all.
    """

    reference_px: NDArray[np.float64]
    error_px: NDArray[np.float64]
    box_px: NDArray[np.float64]
    asked: NDArray[np.bool_]

    @property
    def agrees(self) -> NDArray[np.bool_]:
        """Detections within 0.2 B of the reference, (F, C, H, K)."""
        with np.errstate(invalid="ignore"):
            close: NDArray[np.bool_] = self.error_px <= HAND_AGREEMENT * self.box_px[..., None]
        return close

    @property
    def detected(self) -> NDArray[np.bool_]:
        """Crops (F, C, H) that have a detection: at least half of what the other cameras triangulate is within 0.2 B of it.

        The denominator is the reference's, so that a detector which gives every joint at a low confidence gains nothing by it.
        """
        known = np.isfinite(self.reference_px).all(axis=-1).sum(axis=-1)
        found: NDArray[np.bool_] = (known >= least_joints(self.error_px.shape[-1])) & (
            self.agrees.sum(axis=-1) * 2 >= known
        )
        return found


def held_out_evidence(
    found: InstanceDetections,
    limits: NDArray[np.float64],
    rig: Rig,
    groups: Sequence[Sequence[int]],
    hidden: Hidden | None = None,
    left_out: Sequence[str] = (),
) -> HeldOutEvidence:
    """Triangulate every instance from all cameras but one, project it into that one, and compare; each camera in turn.

    At least two of the other cameras must agree on a joint, three where there are five others or more. found: of the rig's
    cameras. limits: (F, H, C) px, within which views agree. groups: joints that stand or fall together. hidden: says which
    points a camera surely cannot see. left_out: cameras that neither judge nor are judged. Of more than `_EVERY_FRAME` cameras
    each is held out in some of the frames only, so that the work does not grow with the square of their number.
    """
    F, C, H, K = found.confidence.shape
    reference = np.full((F, C, H, K, 2), np.nan)
    asked = np.zeros((F, C), dtype=np.bool_)
    judging = [c for c, name in enumerate(rig.names) if name not in left_out]
    min_views = 3 if len(judging) > 5 else 2
    stride = -(-len(judging) // _EVERY_FRAME)
    for turn, c in enumerate(judging):
        others = [other for other in judging if other != c]
        if len(others) < 2:
            break
        camera, frames = rig.cameras[c], slice(turn % stride, F, stride)
        asked[frames, c] = True
        seen_by_others = InstanceDetections(found.xy[frames, others], found.confidence[frames, others])
        other_rig = rig.select([rig.names[other] for other in others])
        points = np.full((F, H, K, 3), np.nan)
        points[frames] = triangulate_instances(
            seen_by_others, groups, limits[frames][..., others], other_rig, min_views
        ).xyz
        reference[:, c] = camera.project(points)
        if hidden is not None:
            reference[:, c][hidden(points.reshape(F, H * K, 3), camera.centre_world).reshape(F, H, K)] = np.nan
        reference[:, c][~camera.in_picture(reference[:, c])] = np.nan
    error = np.linalg.norm(found.xy - reference, axis=-1)
    error[found.confidence <= 0] = np.nan
    return HeldOutEvidence(reference, error, _reference_box(reference), asked)


def _reference_box(reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """B of the reference (F, C, H): of its own box where most of the hand is known, else the camera's median of those."""
    side = whole_box_sides(reference)
    typical = median_of_known(side)
    typical = np.where(np.isfinite(typical), typical, median_of_known(side, axis=(0, 1, 2)))
    return np.where(np.isfinite(side), side, typical)


def summarise(evidence: HeldOutEvidence, frames: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """Figures over the frames in `frames` (F,) bool, all if not given.

    crops: instances of which the other cameras know enough (`least_joints`). crops_detected: of those with a detection.
    heldout_reprojection_px: median error of the compared joints. heldout_pck: compared joints within 0.2 B, over the joints
    that the other cameras know (a joint without a detection counts as wrong). heldout_joints: how many those are.
    heldout_pck_curve: the same within other shares of B.
    """
    chosen = np.ones(len(evidence.error_px), dtype=np.bool_) if frames is None else frames
    known = np.asarray(np.isfinite(evidence.reference_px[chosen]).all(axis=-1))
    error = evidence.error_px[chosen]
    compared = np.isfinite(error)
    return {
        "crops": int((known.sum(axis=-1) >= least_joints(known.shape[-1])).sum()),
        "crops_detected": int(evidence.detected[chosen].sum()),
        "heldout_reprojection_px": float(np.median(error[compared])) if compared.any() else None,
        "heldout_pck": float(evidence.agrees[chosen][known].mean()) if known.any() else None,
        "heldout_joints": int(known.sum()),
        "heldout_pck_curve": _curve(evidence, chosen, known),
    }


@dataclass(frozen=True)
class AgreementChange:
    """How many detected joints agree with the other cameras in the same frames before and now.

    chance: standard error of the difference: the root of the frames' summed squared differences, as if frames were drawn anew.
    Of one capture alone that says nothing of another, and neighbouring frames err alike, so that it is rather too small.
    """

    before: int
    now: int
    chance: float

    @property
    def is_loss(self) -> bool:
        """Whether fewer agree now, by one standard error or more; of a single frame every loss is one."""
        return self.now < self.before and self.before - self.now >= self.chance


def agreement_change(
    before: HeldOutEvidence, now: HeldOutEvidence, frames: NDArray[np.bool_] | None = None
) -> AgreementChange:
    """Compare the evidence of two rounds over the frames in `frames` (F,) bool, all if not given."""
    chosen = np.ones(len(now.error_px), dtype=np.bool_) if frames is None else frames
    was, is_now = (evidence.agrees[chosen].sum(axis=(1, 2, 3)) for evidence in (before, now))
    return AgreementChange(int(was.sum()), int(is_now.sum()), float(np.sqrt(np.square(is_now - was).sum())))


def _curve(
    evidence: HeldOutEvidence, frames: NDArray[np.bool_], known: NDArray[np.bool_]
) -> dict[str, list[float]] | None:
    """PCK within several shares of B, of the joints that the other cameras know; None where they know none."""
    if not known.any():
        return None
    with np.errstate(invalid="ignore"):
        share = (evidence.error_px[frames] / evidence.box_px[frames][..., None])[known]
        pck = [float((share <= threshold).mean()) for threshold in CURVE_THRESHOLDS]
    return {"thresholds_b": list(CURVE_THRESHOLDS), "pck": pck}


def by_camera_and_joint(
    evidence: HeldOutEvidence,
    points: InstancePoints,
    found: InstanceDetections,
    cameras: Sequence[str],
    joints: Sequence[str],
) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Figures ``per_camera`` and ``per_joint``: held-out error and PCK, detections, and how many of them agree with a point."""
    known = np.array(np.isfinite(evidence.reference_px).all(axis=-1))  # (F, C, H, K)
    detected = found.confidence > 0
    inliers = points.inliers.transpose(0, 3, 1, 2)

    def figures(places: tuple[slice | int, ...]) -> dict[str, float | int | None]:
        error, of = evidence.error_px[places], known[places]
        compared = error[np.isfinite(error)]
        return {
            "heldout_reprojection_px": float(np.median(compared)) if compared.size else None,
            "heldout_pck": float(evidence.agrees[places][of].mean()) if of.any() else None,
            "heldout_joints": int(of.sum()),
            "detections": int(detected[places].sum()),
            "inliers": int(inliers[places].sum()),
        }

    everything = slice(None)
    per_joint = {name: figures((everything, everything, everything, k)) for k, name in enumerate(joints)}
    for k, name in enumerate(joints):
        per_joint[name]["points"] = int(np.isfinite(points.xyz[:, :, k, 0]).sum())
    return {
        "per_camera": {name: figures((everything, c)) for c, name in enumerate(cameras)},
        "per_joint": per_joint,
    }


def yield_figures(points: InstancePoints) -> dict[str, float | int | None]:
    """How much was triangulated: points, of how many, frames of an instance with half of its joints, views per point."""
    there = np.isfinite(points.xyz[..., 0])
    views = points.inliers.sum(axis=-1)[there]
    return {
        "points": int(there.sum()),
        "points_of": int(there.size),
        "instance_frames": int((2 * there.sum(axis=-1) >= there.shape[-1]).sum()),
        "views_per_point": float(views.mean()) if views.size else None,
    }


def finds_by_camera(
    evidence: HeldOutEvidence, missed: NDArray[np.bool_], cameras: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Count, for every camera, the instances that the start missed in it.

    missed: (F, C, H), where the start's detections had nothing; counted are the frames in which the camera is held out, which
    of many cameras are not all. known: of those, how many the other cameras triangulate.
    found: how many of these have a detection now, in the sense of `HeldOutEvidence.detected`: near what the others say, so that
    a lower threshold of confidence finds no more.
    """
    joints = evidence.error_px.shape[-1]
    known = np.isfinite(evidence.reference_px).all(axis=-1).sum(axis=-1) >= least_joints(joints)
    missed = missed & evidence.asked[..., None]
    return {
        name: {
            "missed": int(missed[:, c].sum()),
            "known": int((missed & known)[:, c].sum()),
            "found": int((missed & evidence.detected)[:, c].sum()),
        }
        for c, name in enumerate(cameras)
    }
