"""Whether a camera is out of step, and whether it takes left for right: what a shift in time, or an exchange, explains."""

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.gate_records import Alarm, GateSettings
from posekit.bootstrap.gate_views import Array, Explanation, HeldOutView, agreeing, near_px
from posekit.keypoints import Keypoints2D
from posekit.medians import median_of_known

#: The longest shift in time that is tried, frames and share of the frames.
_FURTHEST, _FURTHEST_SHARE = 15, 0.2

#: The gain must be there in nearly all of so many blocks of time: motion that repeats itself fits now and then by chance.
_BLOCKS, _BLOCKS_BETTER = 8, 0.75

#: Joints of a person in a frame that tell left from right, at least.
_FEWEST_SIDED = 2


def late_cameras(detections: Keypoints2D, views: list[HeldOutView], settings: GateSettings) -> list[Explanation]:
    """Find cameras whose detections agree better with the others' points of another moment.

    What is the same all the time, a rig's or a detector's error at a joint, is taken off first: it tells nothing of time.
    """
    near = near_px(views)
    found = []
    for view in views:
        furthest = min(_FURTHEST, int(_FURTHEST_SHARE * len(view.own_px)))
        best = _best_shift(view, detections.frames, furthest, settings)
        if best is None:
            continue
        shift, gain, before, after = best
        if abs(shift) < settings.min_late_frames or gain < settings.min_late_gain:
            continue
        name = view.camera.name
        which = "late" if shift > 0 else "early"
        message = (
            f"camera '{name}' is {abs(shift):.1f} frames {which} (limit {settings.min_late_frames:g}): what it detects lies "
            f"{before:.1f} px from where the others say, and {after:.1f} px once it is shifted; it is left out: calibrate the "
            "rig's time offsets on these people, or shift its video"
        )
        moved = _shifted(view.own_px, detections.frames, round(shift)) - view.expected_px
        # Slow motion may leave no more of them within reach: then the gain itself decides between cameras.
        explained = max(agreeing(moved, near) - agreeing(view.error_px, near), 0) + gain
        found.append(Explanation(Alarm("time", name, None, message, abs(shift), settings.min_late_frames), explained))
    return found


def _best_shift(
    view: HeldOutView, frames: NDArray[np.int64], furthest: int, settings: GateSettings
) -> tuple[float, float, float, float] | None:
    """Shift (frames) that lowers the error most, by which share, and the error (px) before and after; None for none.

    A shift of +3 means: what the others see in frame f, this camera shows in its frame f + 3.
    """
    expected = view.expected_px
    shifts = np.arange(-furthest, furthest + 1)
    errors = {int(s): _steady_free(_shifted(view.own_px, frames, int(s)) - expected) for s in shifts}
    sizes = {s: np.linalg.norm(error, axis=-1) for s, error in errors.items()}
    if np.isfinite(sizes[0]).sum() < settings.min_comparisons:
        return None
    cap = 3 * min(float(np.nanmedian(size)) for size in sizes.values() if np.isfinite(size).any())
    gains = np.full(len(shifts), -np.inf)
    for n, s in enumerate(shifts.tolist()):
        gain = _gain(sizes[0], sizes[s], cap, settings.min_comparisons)
        gains[n] = -np.inf if gain is None else gain
    n = int(gains.argmax())
    if shifts[n] == 0 or not _in_most_blocks(sizes[0], sizes[int(shifts[n])], cap):
        return None
    common = np.isfinite(sizes[0]) & np.isfinite(sizes[int(shifts[n])])
    before, after = (float(np.median(size[common])) for size in (sizes[0], sizes[int(shifts[n])]))
    return float(shifts[n]) + _peak(gains, n), float(gains[n]), before, after


def _shifted(own_px: Array, frames: NDArray[np.int64], shift: int) -> Array:
    """What was detected `shift` frames later, (F, P, J, 2); NaN where that frame is not among these."""
    places = np.searchsorted(frames, frames + shift)
    inside = np.minimum(places, len(frames) - 1)
    there = frames[inside] == frames + shift
    return np.asarray(np.where(there[:, None, None, None], own_px[inside], np.nan))


def _steady_free(error: Array) -> Array:
    """Errors (F, P, J, 2) without what each joint has all the time."""
    steady = median_of_known(error)
    return np.asarray(error - steady)


def _gain(before: Array, after: Array, cap: float, fewest: int) -> float | None:
    """By which share the mean error falls, of what is known in both; None for too little."""
    common = np.isfinite(before) & np.isfinite(after)
    if common.sum() < fewest:
        return None
    was, now = (float(np.minimum(size[common], cap).mean()) for size in (before, after))
    return 1 - now / max(was, 1e-9)


def _in_most_blocks(before: Array, after: Array, cap: float) -> bool:
    block = np.arange(len(before)) * _BLOCKS // len(before)
    gains = [_gain(before[block == b], after[block == b], cap, 5) for b in range(_BLOCKS)]
    known = [gain for gain in gains if gain is not None]
    return len(known) >= 3 and float(np.mean([gain > 0 for gain in known])) >= _BLOCKS_BETTER


def _peak(gains: Array, n: int) -> float:
    """Where between the tried shifts the gain's parabola is highest, from -0.5 to 0.5."""
    if not 0 < n < len(gains) - 1 or not np.isfinite(gains[n - 1 : n + 2]).all():
        return 0.0
    left, middle, right = gains[n - 1 : n + 2]
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def swapped_cameras(detections: Keypoints2D, views: list[HeldOutView], settings: GateSettings) -> list[Explanation]:
    """Find cameras whose left is the others' right, in the body or in the hands."""
    skeleton = detections.skeleton
    mirror = skeleton.mirror
    sided = np.flatnonzero(mirror != np.arange(skeleton.joint_count))
    in_hands = np.isin(sided, [j for part in ("left_hand", "right_hand") for j in skeleton.parts.get(part, ())])
    near = near_px(views)
    found = []
    for view in views:
        for what, joints in (("body", sided[~in_hands]), ("hands", sided[in_hands])):
            right, wrong = _sides(view, joints, mirror, near)
            tells = (right + wrong >= _FEWEST_SIDED) & (right != wrong)
            count = int(tells.sum())
            if count * _FEWEST_SIDED < settings.min_comparisons / 2:
                continue
            share = float((wrong > right)[tells].mean())
            if share <= settings.max_swapped_share:
                continue
            name = view.camera.name
            message = (
                f"camera '{name}' has left and right exchanged in the {what}: in {100 * share:.0f} % of {count} frames its "
                f"left agrees with the others' right (limit {100 * settings.max_swapped_share:.0f} %); they are exchanged back"
            )
            explained = float((wrong - right)[tells].sum())
            found.append(Explanation(Alarm("side", name, None, message, share, settings.max_swapped_share), explained))
    return found


def _sides(
    view: HeldOutView, joints: NDArray[np.int64], mirror: NDArray[np.int64], near: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many joints of everyone in every frame tell that sides are right, and that they are exchanged, each (F, P).

    A joint tells by being within `near` px of one side's place and not a third as far from it as from the other's.
    """
    own = np.linalg.norm(view.own_px[..., joints, :] - view.expected_px[..., joints, :], axis=-1)
    other = np.linalg.norm(view.own_px[..., joints, :] - view.expected_px[..., mirror[joints], :], axis=-1)
    own, other = np.where(np.isfinite(own), own, np.inf), np.where(np.isfinite(other), other, np.inf)
    right = ((own <= near) & (3 * own < other)).sum(axis=-1)
    wrong = ((other <= near) & (3 * other < own)).sum(axis=-1)
    return right, wrong
