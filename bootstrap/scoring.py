"""Which frames of a triangulated hand are worth learning from (Simon et al., CVPR 2017, section 3.2, equation 7)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posekit.point_status import PointStatus
from posekit.skeleton import HAND_21


@dataclass(frozen=True)
class SelectionSettings:
    """How frames are chosen; the paper names the checks but not their thresholds, these are posekit's.

    frames: the N best frames of each hand are kept. window: frames (at the capture's rate) of which only the best is kept; None
    takes half a second, or less where the capture is too short to fill `frames` that way.
    min_joints: fewer triangulated joints teach too little. max_speed_ratio: a joint that moves this many times as fast as the
    hand's median joint (and more than 1 cm in a frame) is wrong. bone_tolerance: a bone further than this share from the
    hand's own median length is wrong.
    """

    frames: int = 100
    window: int | None = None
    min_joints: int = 5
    max_speed_ratio: float = 5.0
    bone_tolerance: float = 0.35


def frame_scores(
    inliers: NDArray[np.bool_], confidence: NDArray[np.floating], xyz: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Score of every frame: sum over the points and over their inlier views of the detections' confidence (eq. 7).

    inliers: (F, 21, C). confidence: (F, C, 21). xyz: (F, 21, 3); a point that is NaN counts nothing. Returns (F,).
    """
    there = np.isfinite(xyz).all(axis=-1)
    scores: NDArray[np.float64] = (confidence.transpose(0, 2, 1) * inliers * there[..., None]).sum(axis=(1, 2))
    return scores


def implausible_joints(
    xyz: NDArray[np.floating], status: NDArray[np.integer], settings: SelectionSettings
) -> NDArray[np.bool_]:
    """Joints (F, 21) of one hand that move or stretch as no hand does.

    xyz: (F, 21, 3) metres of consecutive frames. A wrong bone condemns the joint at its far end, and all beyond it.
    """
    F = len(xyz)
    wrong = np.zeros((F, 21), dtype=np.bool_)
    lengths = np.full((F, len(HAND_21.bones)), np.nan)
    for b, (parent, child) in enumerate(HAND_21.bones):
        lengths[:, b] = np.linalg.norm(xyz[:, child] - xyz[:, parent], axis=-1)
    seen = np.isfinite(lengths)
    median = np.ma.median(np.ma.masked_invalid(lengths), axis=0).filled(np.nan)
    off = seen & (np.abs(lengths - median) > settings.bone_tolerance * median)
    for b, (parent, child) in enumerate(HAND_21.bones):
        wrong[:, child] |= off[:, b]
        if parent != 0:
            wrong[:, child] |= wrong[:, parent]
    step = np.full((F, 21), np.nan)
    step[1:] = np.linalg.norm(np.diff(xyz, axis=0), axis=-1)
    typical = np.ma.median(np.ma.masked_invalid(step), axis=1).filled(np.nan)
    with np.errstate(invalid="ignore"):
        jumps = (step > 0.01) & (step > settings.max_speed_ratio * typical[:, None])
    # A jump is seen at both of its ends, and which of them is wrong is not known: neither is learnt from.
    wrong |= jumps
    wrong[:-1] |= jumps[1:]
    return wrong & (status == PointStatus.OK)


def select_frames(scores: NDArray[np.float64], window: int, count: int) -> NDArray[np.int64]:
    """Take the best frame of every window, then the `count` best of those with a score above 0; ascending frame places."""
    best = []
    for start in range(0, len(scores), window):
        place = start + int(np.argmax(scores[start : start + window]))
        if scores[place] > 0:
            best.append(place)
    best.sort(key=lambda place: -scores[place])
    return np.array(sorted(best[:count]), dtype=np.int64)


def choose_window(frame_count: int, fps: float | None, settings: SelectionSettings) -> int:
    """Frames per window: half a second, or what leaves `settings.frames` windows where the capture is short."""
    if settings.window is not None:
        return max(1, settings.window)
    return int(np.clip(frame_count // settings.frames, 1, max(1, round((fps or 30.0) / 2))))
