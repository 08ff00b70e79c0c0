"""What is particular about hands: how large they appear, and what no hand can be."""

import warnings

import numpy as np
from numpy.typing import NDArray

from posekit.point_status import PointStatus
from posekit.skeleton import HAND_FINGERS, Skeleton

#: A hand's keypoints agree within this share of B, the longer side of the tight box around the hand's keypoints.
HAND_AGREEMENT = 0.2

#: A hand whose wrist lies further than this (metres) from the body's wrist is somebody else's, or the other hand.
MAX_WRIST_GAP = 0.2

#: Longer bones (metres) no hand has: from the wrist to a knuckle, and within a finger. Large men's are 0.12 and 0.06.
LONGEST_PALM_BONE, LONGEST_FINGER_BONE = 0.15, 0.09


def hand_thresholds(hand_xy: NDArray[np.floating], rig_residual_px: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Within how many pixels a hand's keypoints agree: 0.2 B, or what the rig can do, whichever is larger.

    hand_xy: (F, C, P, 21, 2); rig_residual_px: one for all, or (P,). Returns (F, P, C). B is that of the joints that lie
    together, and the median over 31 frames around: a single detection may be a small heap, and a stray joint must not widen the
    threshold that is to reject it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all-NaN hands stay NaN
        middle = np.nanmedian(hand_xy, axis=-2, keepdims=True)
        distance = np.linalg.norm(hand_xy - middle, axis=-1, keepdims=True)
        # In 99 % of real and drawn hands the farthest joint is within 4.8 times the median joint's distance from the middle.
        together = distance <= 5 * np.nanmedian(distance, axis=-2, keepdims=True)
    box = hand_box_sides(np.where(together, hand_xy, np.nan))  # (F, C, P)
    padded = np.pad(box, ((15, 15), (0, 0), (0, 0)), constant_values=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all-NaN windows stay NaN
        smooth = np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, 31, axis=0), axis=-1)
    threshold: NDArray[np.float64] = np.fmax(HAND_AGREEMENT * smooth, rig_residual_px).transpose(0, 2, 1)
    return threshold


def hand_box_sides(hand_xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """B: longer side (px) of the tight box around a hand's keypoints (..., 21, 2); NaN where fewer than two are there."""
    finite = np.isfinite(hand_xy).all(axis=-1, keepdims=True)
    low = np.where(finite, hand_xy, np.inf).min(axis=-2)
    high = np.where(finite, hand_xy, -np.inf).max(axis=-2)
    with np.errstate(invalid="ignore"):
        side = (high - low).max(axis=-1)
    return np.where(finite.sum(axis=(-1, -2)) >= 2, side, np.nan)


def reject_impossible_hands(result: dict[str, NDArray], skeleton: Skeleton, side: str) -> None:
    """Take out of the arrays of a `Keypoints3D` hands that are not at the person's wrist, and fingers that none can have.

    side: ``left_hand`` or ``right_hand``. What is taken out is `PointStatus.IMPLAUSIBLE`.
    """
    hand = skeleton.part(side)
    own = result["xyz"][:, :, hand]
    wrong = _impossible_fingers(own)
    wrist = side.replace("_hand", "_wrist")
    if wrist in skeleton:
        wrong |= _away_from(own, result["xyz"][:, :, skeleton.index(wrist)])
    status = result["status"][:, :, hand]
    wrong &= status == PointStatus.OK
    for name, value in (("xyz", np.nan), ("covariance", np.nan), ("inliers", False), ("reprojection_px", np.nan)):
        values = result[name][:, :, hand]
        values[wrong] = value
        result[name][:, :, hand] = values
    result["status"][:, :, hand] = np.where(wrong, PointStatus.IMPLAUSIBLE, status)


def _away_from(hand: NDArray[np.float64], wrist: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Joints (F, P, 21) of hands (F, P, 21, 3) that are not at the body's wrist (F, P, 3)."""
    with np.errstate(invalid="ignore"):
        far = np.linalg.norm(hand[:, :, :1] - wrist[:, :, None], axis=-1) > MAX_WRIST_GAP
        # Joint by joint as well, for the hand's own wrist may be missing: a fingertip is 0.2 m from the wrist at most.
        away: NDArray[np.bool_] = np.linalg.norm(hand - wrist[:, :, None], axis=-1) > MAX_WRIST_GAP + 0.2
    away[:, :, 0] = False
    return away | far


def _impossible_fingers(hand: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Joints (F, P, 21) of fingers that have a bone too long, or the wrist where most fingers are too far from it."""
    fingers = np.array(HAND_FINGERS)
    with np.errstate(invalid="ignore"):
        within = np.linalg.norm(np.diff(hand[:, :, fingers], axis=3), axis=-1) > LONGEST_FINGER_BONE  # (F, P, 5, 3)
        far = np.linalg.norm(hand[:, :, fingers[:, 0]] - hand[:, :, :1], axis=-1) > LONGEST_PALM_BONE  # (F, P, 5)
    there = np.isfinite(hand[:, :, fingers[:, 0], 0]).sum(axis=-1)
    wrist = 2 * far.sum(axis=-1) > there
    finger = within.any(axis=-1) | (far & ~wrist[..., None])
    wrong = np.zeros(hand.shape[:-1], dtype=np.bool_)
    wrong[:, :, 0] = wrist
    wrong[:, :, fingers] = finger[..., None]
    return wrong
