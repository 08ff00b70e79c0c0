"""What is particular about hands: how large they appear, and what no hand can be."""

import numpy as np
from numpy.typing import NDArray

from posekit.medians import median_of_known
from posekit.point_status import PointStatus
from posekit.skeleton import HAND_FINGERS, Skeleton

#: A hand's keypoints agree within this share of B, the longer side of the tight box around the hand's keypoints.
HAND_AGREEMENT = 0.2

#: B is the median of the frames whose numbers are at most so many apart, 31 of them.
_STEADY_REACH = 15

#: Frames whose windows are sorted at once: those of a whole capture would take 31 times the memory of its boxes.
_FRAMES_AT_ONCE = 512

#: A hand whose wrist lies further than this (metres) from the body's wrist is somebody else's, or the other hand.
MAX_WRIST_GAP = 0.2

#: Longer bones (metres) no hand has: from the wrist to a knuckle, and within a finger. Large men's are 0.12 and 0.06.
LONGEST_PALM_BONE, LONGEST_FINGER_BONE = 0.15, 0.09


def hand_thresholds(
    hand_xy: NDArray[np.floating],
    rig_residual_px: float | NDArray[np.float64],
    frames: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Within how many pixels a hand's keypoints agree: 0.2 B, or what the rig can do, whichever is larger.

    hand_xy: (F, C, P, 21, 2); rig_residual_px: one for all, or (P,). Returns (F, P, C). B and frames: `steady_box_sides`.
    """
    sides = steady_box_sides(hand_xy, frames)
    threshold: NDArray[np.float64] = np.fmax(HAND_AGREEMENT * sides, rig_residual_px).transpose(0, 2, 1)
    return threshold


def steady_box_sides(xy: NDArray[np.floating], frames: NDArray[np.int64] | None = None) -> NDArray[np.floating]:
    """B of hands, or of whatever has K joints, steady over time: xy (F, C, P, K, 2) px to (F, C, P) px, in the type of xy.

    B is that of the joints that lie together, and the median over 31 frames around: a single detection may be a small heap, and
    a stray joint must not widen the threshold that is to reject it. NaN where nothing is near.

    frames: (F,), their numbers, rising; one after the other if not given.
    """
    middle = median_of_known(xy, axis=-2)[..., None, :].astype(xy.dtype)
    distance = np.hypot(xy[..., 0] - middle[..., 0], xy[..., 1] - middle[..., 1])
    # In 99 % of real and drawn hands the farthest joint is within 4.8 times the median joint's distance from the middle.
    together = distance <= 5 * median_of_known(distance, axis=-1)[..., None].astype(xy.dtype)
    box = hand_box_sides(np.where(together[..., None], xy, np.nan))
    F = len(box)
    number = np.arange(F) if frames is None else np.asarray(frames)
    columns = np.ascontiguousarray(box.reshape(F, int(np.prod(box.shape[1:]))).T)  # (C P, F)
    steady = np.empty_like(columns)
    around = np.arange(-_STEADY_REACH, _STEADY_REACH + 1)
    # No two frames have one number: whatever is within reach by its number is so by its place.
    for start in range(0, F, _FRAMES_AT_ONCE):
        places = np.arange(start, min(start + _FRAMES_AT_ONCE, F))
        near = places[:, None] + around
        inside = np.clip(near, 0, F - 1)
        away = (near != inside) | (np.abs(number[inside] - number[places, None]) > _STEADY_REACH)
        steady[:, places] = median_of_known(np.where(away, np.nan, columns[:, inside]), axis=-1)
    return steady.T.reshape(box.shape)


def hand_box_sides(hand_xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """B: longer side (px) of the tight box around a hand's keypoints (..., 21, 2); NaN where fewer than two are there."""
    finite = np.isfinite(hand_xy[..., 0]) & np.isfinite(hand_xy[..., 1])
    # x and y one after the other: a minimum over the axis before one of two takes five times as long.
    extents = []
    for axis in (0, 1):
        values = hand_xy[..., axis]
        high, low = np.where(finite, values, -np.inf).max(axis=-1), np.where(finite, values, np.inf).min(axis=-1)
        extents.append(high - low)
    return np.where(finite.sum(axis=-1) >= 2, np.maximum(*extents), np.nan)


def whole_box_sides(xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """B (px) of hands (..., K, 2) of which three quarters of the joints are there; NaN of others.

    A lone finger's box would be a fraction of B, and 0.2 of it a needle's eye.
    """
    most = np.isfinite(xy).all(axis=-1).sum(axis=-1) * 4 >= 3 * xy.shape[-2]
    return np.where(most, hand_box_sides(xy), np.nan)


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
