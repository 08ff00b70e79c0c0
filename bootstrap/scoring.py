"""Which frames of a triangulated instance are worth learning from (Simon et al., CVPR 2017, section 3.2, equation 7).

An instance is a hand, a body, or whatever skeleton is learnt, followed through the frames. The paper names five checks on bad
frames: the average number of inliers, the average confidence, the velocity against the median, the lengths of the bones, and
complete occlusion. Every frame gets its score and, where it is not chosen, the first reason why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.medians import median_of_known
from posekit.point_status import PointStatus
from posekit.skeleton import Skeleton

#: Why a frame is not chosen.
HELD_OUT, REJECTED = "held out", "rejected by review"
FEW_INLIERS, LOW_CONFIDENCE, OCCLUDED = "few inliers", "low confidence", "occluded"
VELOCITY, BONE_LENGTH = "velocity", "bone length"
NOT_BEST_OF_WINDOW, NOT_AMONG_BEST = "not the best of its window", "not among the best"


@dataclass(frozen=True)
class SelectionSettings:
    """How frames are chosen; the paper names the checks but not their thresholds, these are posekit's.

    frames: the N best frames of each instance are kept. window: frames (at the capture's rate) of which only the best is kept;
    None takes half a second, or less where the capture is too short to fill `frames` that way.
    min_joints: fewer triangulated joints teach too little; of a skeleton of fewer than twice as many, half of its joints.
    min_inlier_share: a frame whose joints have fewer inlier views on average (a joint without a point has none), as a share
    of the rig's cameras, rests on too little: 0.2 is 1.6 of 8 cameras, as when half of the joints have the 3 views that they
    need at least. enough_inliers: so many are enough however many cameras there are, of which few may see a place: 2 views a
    joint, as when two thirds of the joints have 3.
    min_mean_confidence: of the inlier detections; detections below 0.2 take no part at all, so that 0.3 asks that they are not
    all just above it.
    max_speed_ratio: a joint that moves this many times as fast as the instance's median joint, and more than min_jump (metres a
    frame; 0.01 m is beyond what noise does to a hand), is wrong. Speeds are compared, not the velocities' difference as in the
    paper: of a hand that turns, joints move in all directions.
    bone_tolerance: a bone further than this share from the instance's own median length is wrong: fingers' bones come out
    within a tenth of theirs in the median frame, noise included, and a wrong tip off by a half and more.
    max_wrong_share: where more than this share of a frame's points is wrong by speed or length, the others are not trusted.
    """

    frames: int = 100
    window: int | None = None
    min_joints: int = 5
    min_inlier_share: float = 0.2
    enough_inliers: float = 2.0
    min_mean_confidence: float = 0.3
    max_speed_ratio: float = 5.0
    min_jump: float = 0.01
    bone_tolerance: float = 0.35
    max_wrong_share: float = 0.34

    def joints_needed(self, joint_count: int) -> int:
        """How many triangulated joints a frame needs, of a skeleton of so many."""
        return max(1, min(self.min_joints, joint_count // 2))


@dataclass(frozen=True, eq=False)
class Instance3D:
    """One instance in all frames: xyz (F, K, 3) metres, status (F, K), and what it is made of.

    inliers: (F, K, C), the views that made each point. confidence: (F, C, K), of the detections. hidden: (F, C, K), joints
    that a body or another hand surely hides from a camera. skeleton: of one instance, K joints. frames: (F,), their numbers in
    the capture, ascending; without them they follow each other.
    """

    xyz: NDArray[np.float64]
    status: NDArray[np.integer]
    inliers: NDArray[np.bool_]
    confidence: NDArray[np.floating]
    hidden: NDArray[np.bool_]
    skeleton: Skeleton
    frames: NDArray[np.int64] | None = None

    @property
    def known(self) -> NDArray[np.bool_]:
        """Joints (F, K) that have a point."""
        return np.array(np.isfinite(self.xyz).all(axis=-1))

    @property
    def seen_inliers(self) -> NDArray[np.bool_]:
        """Inlier views (F, K, C) that can see the joint: what is found where nothing can be seen was guessed."""
        return self.inliers & self.known[..., None] & ~self.hidden.swapaxes(1, 2)


@dataclass(frozen=True, eq=False)
class FrameSelection:
    """What became of F frames: score (F,) of equation 7, reason (F,) why it is not chosen, None for those that are.

    usable: (F, K), joints that labels may be made of.
    """

    score: NDArray[np.float64]
    reason: NDArray[np.object_]
    usable: NDArray[np.bool_]

    @property
    def chosen(self) -> NDArray[np.bool_]:
        """The chosen frames, (F,)."""
        return np.array([reason is None for reason in self.reason], dtype=np.bool_)


def judge_frames(
    instance: Instance3D,
    settings: SelectionSettings,
    window: int,
    held_out: NDArray[np.bool_] | None = None,
    rejected: NDArray[np.bool_] | None = None,
) -> FrameSelection:
    """Score all frames of an instance, check them, and choose the N best of the best of each window.

    window: frames of which only the best is kept (`choose_window`). held_out, rejected: (F,), frames that no label may be made
    of, because rounds are judged by them, and because a person said so.
    """
    F, K = instance.known.shape
    wrong_speed, wrong_length = implausible_by(
        instance.xyz, instance.status, settings, instance.skeleton, instance.frames
    )
    wrong = wrong_speed | wrong_length
    usable = instance.known & ~wrong
    seen = instance.seen_inliers
    score = frame_scores(seen, instance.confidence, np.where(usable[..., None], instance.xyz, np.nan))
    needed = settings.joints_needed(K)
    too_many_wrong = (usable.sum(axis=1) < needed) | (
        wrong.sum(axis=1) > settings.max_wrong_share * instance.known.sum(axis=1)
    )
    faster = wrong_speed.sum(axis=1) > wrong_length.sum(axis=1)
    cameras = instance.inliers.shape[2]
    inlier_count = seen.sum(axis=(1, 2))
    confidence = (instance.confidence.swapaxes(1, 2) * seen).sum(axis=(1, 2)) / np.maximum(inlier_count, 1)
    nothing = np.zeros(F, dtype=np.bool_)
    checks: tuple[tuple[str, NDArray[np.bool_]], ...] = (
        (REJECTED, nothing if rejected is None else rejected),
        (HELD_OUT, nothing if held_out is None else held_out),
        (OCCLUDED, completely_hidden(instance)),
        (FEW_INLIERS, instance.known.sum(axis=1) < needed),
        (FEW_INLIERS, inlier_count < min(settings.min_inlier_share * cameras, settings.enough_inliers) * K),
        (LOW_CONFIDENCE, confidence < settings.min_mean_confidence),
        (VELOCITY, too_many_wrong & wrong.any(axis=1) & faster),
        (BONE_LENGTH, too_many_wrong & wrong.any(axis=1) & ~faster),
    )
    reason = np.full(F, None, dtype=object)
    for name, failed in reversed(checks):
        reason[failed] = name
    return FrameSelection(score, _take_the_best(score, reason, window, settings.frames), usable)


def _take_the_best(
    score: NDArray[np.float64], reason: NDArray[np.object_], window: int, count: int
) -> NDArray[np.object_]:
    """Give the frames that passed the checks but are not among the best their reason."""
    fine = np.array([why is None for why in reason], dtype=np.bool_)
    passed = np.where(fine, score, 0)
    best = select_frames(passed, window, len(passed))
    chosen = select_frames(passed, window, count)
    result = reason.copy()
    result[fine & (passed > 0)] = NOT_BEST_OF_WINDOW
    # A frame that passes the checks has inliers, and a score; one that has none has no joint to learn from.
    result[fine & (passed == 0)] = FEW_INLIERS
    result[best] = NOT_AMONG_BEST
    result[chosen] = None
    return result


def completely_hidden(instance: Instance3D) -> NDArray[np.bool_]:
    """Frames (F,) in which no two of the cameras that the points were made of can see any of the instance."""
    used = np.any(instance.inliers, axis=1)  # (F, C)
    known = instance.known
    hidden = np.all(instance.hidden | ~known[:, None], axis=2)
    return np.asarray(np.any(known, axis=1) & ((used & ~hidden).sum(axis=1) < 2) & (used & hidden).any(axis=1))


def frame_scores(
    inliers: NDArray[np.bool_], confidence: NDArray[np.floating], xyz: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Score of every frame: sum over the points and over their inlier views of the detections' confidence (eq. 7).

    inliers: (F, K, C). confidence: (F, C, K). xyz: (F, K, 3); a point that is NaN counts nothing. Returns (F,).
    """
    there = np.isfinite(xyz).all(axis=-1)
    scores: NDArray[np.float64] = (confidence.transpose(0, 2, 1) * inliers * there[..., None]).sum(axis=(1, 2))
    return scores


def implausible_by(
    xyz: NDArray[np.floating],
    status: NDArray[np.integer],
    settings: SelectionSettings,
    skeleton: Skeleton,
    frames: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Joints (F, K) that move, and joints that stretch, as none does.

    xyz: (F, K, 3) metres. frames: (F,), their numbers, by which ways become speeds; each the next after the one before, if not
    given. A wrong bone condemns the joint at its far end, and all beyond it. A jump is
    seen at both of its ends, and which of them is wrong is not known: neither is learnt from.
    """
    there = status == PointStatus.OK
    parent, child = np.array(skeleton.bones, dtype=np.int64).reshape(-1, 2).T
    length = np.linalg.norm(xyz[:, child] - xyz[:, parent], axis=-1)  # (F, B)
    median = median_of_known(length, axis=0)
    with np.errstate(invalid="ignore"):
        off = np.abs(length - median) > settings.bone_tolerance * median
    stretched = np.zeros(there.shape, dtype=np.bool_)
    for b in _from_the_root(skeleton.bones):
        stretched[:, child[b]] |= off[:, b] | stretched[:, parent[b]]
    step = np.full(there.shape, np.nan)
    since = 1 if frames is None else np.diff(frames)[:, None]
    step[1:] = np.linalg.norm(np.diff(xyz, axis=0), axis=-1) / since  # metres a frame
    with np.errstate(invalid="ignore"):
        jumps = (step > settings.min_jump) & (step > settings.max_speed_ratio * median_of_known(step, axis=1)[:, None])
    jumps[:-1] |= jumps[1:].copy()
    return jumps & there, stretched & there


def _from_the_root(bones: Sequence[tuple[int, int]]) -> list[int]:
    """Places of the bones in such an order that a bone comes after those that its parent is the far end of."""
    children = {child for _, child in bones}
    reached = {parent for parent, _ in bones} - children
    waiting, order = list(range(len(bones))), []
    while waiting:
        # Bones that form a ring have no root: they are taken as they come.
        next_ones = [b for b in waiting if bones[b][0] in reached] or waiting
        order += next_ones
        reached |= {bones[b][1] for b in next_ones}
        waiting = [b for b in waiting if b not in next_ones]
    return order


def select_frames(scores: NDArray[np.float64], window: int, count: int) -> NDArray[np.int64]:
    """Take the best frame of every window, then the `count` best of those with a score above 0; ascending frame places."""
    padded = np.zeros(-(-len(scores) // window) * window)
    padded[: len(scores)] = scores
    by_window = padded.reshape(-1, window)
    best = np.arange(len(by_window)) * window + by_window.argmax(axis=1)
    best = best[padded[best] > 0]
    return np.sort(best[np.argsort(-padded[best], kind="stable")[:count]])


def rate_of(frames: NDArray[np.int64], fps: float | None) -> float | None:
    """How many of these frames (F,) there are in a second: keypoints may be of every tenth frame only; None for no known rate.

    fps: at which the frames are numbered.
    """
    return fps if fps is None or len(frames) < 2 else fps / float(np.median(np.diff(frames)))


def choose_window(frame_count: int, fps: float | None, settings: SelectionSettings) -> int:
    """Frames per window: half a second, or what leaves `settings.frames` windows where the capture is short.

    fps: how many of the frames a second has, see `rate_of`.
    """
    if settings.window is not None:
        return max(1, settings.window)
    return int(np.clip(frame_count // settings.frames, 1, max(1, round((fps or 30.0) / 2))))


def selection_rows(
    selection: FrameSelection, frames: NDArray[np.int64], had_points: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Write a selection down: a record for every frame that had a point at all, chosen or not.

    frames: (F,), their numbers in the capture. had_points: (F,).
    """
    return [
        {
            "frame": int(frames[f]),
            "score": float(selection.score[f]),
            "chosen": selection.reason[f] is None,
            "reason": selection.reason[f],
        }
        for f in np.flatnonzero(had_points)
    ]
