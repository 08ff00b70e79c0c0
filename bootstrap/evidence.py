"""What the other cameras say of a camera's detections: the evidence that no label is needed for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from posekit.bootstrap.hand_views import hands_of
from posekit.bootstrap.occlusion import hidden_by_anyone
from posekit.camera import CameraBatch, Rig
from posekit.geometry.triangulation import triangulate_robust
from posekit.people.hands import HAND_AGREEMENT, hand_box_sides, hand_thresholds
from posekit.people.reconstruction import Reconstruction
from posekit.skeleton import HAND_FINGERS

#: A reference of fewer joints says too little about a whole crop.
MIN_JOINTS = 4


@dataclass(frozen=True, eq=False)
class HeldOutEvidence:
    """Every camera held out in turn: its hands as the other cameras triangulate them, and how far its own detections lie off.

    reference_px: (F, C, H, 21, 2), NaN where the others do not agree on a joint, and where the camera surely cannot see it:
    outside its picture, or behind a body. error_px: (F, C, H, 21), NaN where reference
    or detection is missing. box_px: (F, C, H), B of the reference.
    """

    reference_px: NDArray[np.float64]
    error_px: NDArray[np.float64]
    box_px: NDArray[np.float64]

    @property
    def agrees(self) -> NDArray[np.bool_]:
        """Detections within 0.2 B of the reference, (F, C, H, 21)."""
        with np.errstate(invalid="ignore"):
            close: NDArray[np.bool_] = self.error_px <= HAND_AGREEMENT * self.box_px[..., None]
        return close

    @property
    def detected(self) -> NDArray[np.bool_]:
        """Crops (F, C, H) that have a detection: at least half of what the other cameras triangulate is within 0.2 B of it.

        The denominator is the reference's, so that a detector which gives every joint at a low confidence gains nothing by it.
        """
        known = np.isfinite(self.reference_px).all(axis=-1).sum(axis=-1)
        found: NDArray[np.bool_] = (known >= MIN_JOINTS) & (self.agrees.sum(axis=-1) * 2 >= known)
        return found


def held_out_evidence(result: Reconstruction, rig: Rig) -> HeldOutEvidence:
    """Triangulate every hand from all cameras but one, project it into that one, and compare; each camera in turn.

    At least two of the other cameras must agree on a joint, three where there are five others or more. result: people with
    hands, whose cameras are the rig's.
    """
    hands, people = hands_of(result.detections), result.people
    F, C, H = hands.confidence.shape[:3]
    limit = hand_thresholds(hands.xy, result.rig_residual_px).reshape(F * H, C)
    xy = torch.from_numpy(hands.xy.transpose(0, 2, 3, 1, 4).reshape(F * H, 21, C, 2))
    confidence = torch.from_numpy(hands.confidence.transpose(0, 2, 3, 1).reshape(F * H, 21, C))
    min_views = 3 if C - 1 >= 5 else 2
    reference = np.full((F, C, H, 21, 2), np.nan)
    for c, camera in enumerate(rig.cameras):
        others = [other for other in range(C) if other != c]
        batch = CameraBatch.from_rig(rig.select([rig.names[other] for other in others]))
        for group in ((0,), *HAND_FINGERS):
            joints = list(group)
            found = triangulate_robust(
                xy[:, joints][:, :, others],
                confidence[:, joints][:, :, others],
                batch,
                torch.from_numpy(limit[:, others]),
                min_views,
            )
            points = found.points_world.numpy().reshape(F, -1, 3)
            projected = camera.project(points)
            projected[hidden_by_anyone(points, people.xyz, people.skeleton, camera.centre_world)] = np.nan
            reference[:, c][:, :, joints] = projected.reshape(F, H, len(joints), 2)
        reference[:, c][~camera.in_picture(reference[:, c])] = np.nan
    error = np.linalg.norm(hands.xy - reference, axis=-1)
    error[hands.confidence <= 0] = np.nan
    return HeldOutEvidence(reference, error, _reference_box(reference))


def _reference_box(reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """B of the reference (F, C, H): of its own box where most of the hand is known, else the camera's median of those.

    A lone finger's box would be a fraction of B, and 0.2 of it a needle's eye.
    """
    whole: NDArray[np.bool_] = np.isfinite(reference).all(axis=-1).sum(axis=-1) >= 16
    side = np.where(whole, hand_box_sides(reference), np.nan)
    typical = np.ma.median(np.ma.masked_invalid(side), axis=0).filled(np.nan)
    anywhere = np.ma.median(np.ma.masked_invalid(side)) if whole.any() else np.nan
    typical = np.where(np.isfinite(typical), typical, anywhere)
    return np.where(np.isfinite(side), side, typical)


def summarise(evidence: HeldOutEvidence, frames: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """Figures over the frames in `frames` (F,) bool, all if not given.

    crops: hands that the other cameras know (MIN_JOINTS joints or more). crops_detected: of those with a detection.
    heldout_reprojection_px: median error of the compared joints. heldout_pck: compared joints within 0.2 B, over the joints
    that the other cameras know (a joint without a detection counts as wrong). heldout_joints: how many those are.
    """
    chosen = np.ones(len(evidence.error_px), dtype=np.bool_) if frames is None else frames
    known = np.asarray(np.isfinite(evidence.reference_px[chosen]).all(axis=-1))
    error = evidence.error_px[chosen]
    compared = np.isfinite(error)
    return {
        "crops": int((known.sum(axis=-1) >= MIN_JOINTS).sum()),
        "crops_detected": int(evidence.detected[chosen].sum()),
        "heldout_reprojection_px": float(np.median(error[compared])) if compared.any() else None,
        "heldout_pck": float(evidence.agrees[chosen][known].mean()) if known.any() else None,
        "heldout_joints": int(known.sum()),
    }
