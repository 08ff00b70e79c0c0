"""How far the cameras of a rig are out of step, from the people who move among them.

Where two cameras are in step, a joint in one picture lies on its epipolar line in the other. Cameras are shifted in time, first
by whole frames, then by fractions, until all pairs agree best; the people themselves need not be triangulated or told apart.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from posekit.calibration.people.views import (
    FEWEST_JOINTS,
    PERIODS,
    PeopleViews,
    ViewPair,
    pairs_of_views,
    sample_frames,
)
from posekit.calibration.rigs.time_offsets import LONGEST_OFFSET_S, TimeOffsets
from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.keypoints import KeypointSource

Array = NDArray[np.float64]

#: Every third block of time is not used for the estimate, but judges it.
_HELD_OUT = 3

#: Moments at which the whole frames are tried.
_COARSE_MOMENTS = 400

#: How far (frames) to both sides the error's derivative is taken.
_DERIVATIVE = 2

#: An offset is believed that is so many of its standard deviations from 0, and lowers what is left of the held-out error by
#: this share. Captures in step, on rigs that leave 6 to 18 px, gave offsets of up to 1.2 frames that lowered it by up to 1.8 %;
#: three frames lowered it by 8 to 30 %, and four tenths of one by 2.2 % at 3 px of noise and slow motion.
_SURE, _BETTER = 3.0, 0.02

#: Seconds of film that say anything. Of half a second to one second of a capture in step, on a rig that leaves 10 px, offsets
#: of a frame lowered the held-out error by 2 to 9 %: where people move so little, errors by place look like errors by time.
_SHORTEST_S = 1.5

#: A camera whose offset is known no better than this (frames) is not told.
_VAGUE = 2.0


def offsets_from_people(detections: KeypointSource, rig: Rig, *, fps: float | None = None) -> TimeOffsets:
    """Estimate how far the cameras of a rig are out of step, within two seconds, from the keypoints of people.

    detections: as they were filmed; time offsets that the rig has already take no part. fps: where the detections name no rate.

    An offset that does not lower the error clearly in the blocks of time that were not used is 0; a camera that shares too
    little with the others, or sees nothing that moves, is NaN, and all are in a film of less than a second and a half.
    before_px and after_px are the mean distance of the held-out joints from their epipolar lines (Sampson's; Hartley &
    Zisserman 11.4.3), what is farther off than three standard deviations counted as three. Raises PosekitError where fewer than
    two cameras are in the rig, or there is no rate.
    """
    rig = rig.select(detections.cameras)
    rate = fps or detections.fps
    if rate is None:
        raise PosekitError(
            f"{detections.source}: names no rate, without which time offsets are not seconds: give --fps"
        )
    if len(rig) < 2:
        raise PosekitError(f"{detections.source}: has one camera; two or more can be out of step")
    step = int(np.median(np.diff(detections.frames))) if len(detections.frames) > 1 else 1
    furthest = math.ceil(LONGEST_OFFSET_S * rate / step)
    views = PeopleViews.of(sample_frames(detections, furthest), rig, step, furthest)
    pairs = pairs_of_views(views)
    frames = detections.frames
    if not pairs or (frames[-1] - frames[0] + step) / rate < _SHORTEST_S:
        unknown = np.full(len(rig), np.nan)
        return TimeOffsets(rig.names, unknown, unknown, unknown, rate, unknown, unknown)
    whole, rival = _whole_frames(views, pairs, furthest)
    used = views.period % _HELD_OUT != _HELD_OUT - 1
    offsets, sigma = _refined(views, pairs, whole, used)
    offsets = _in_the_middle(offsets, sigma)
    offsets, before, after = _judged(views, pairs, offsets, sigma, ~used)
    vague = ~(sigma < _VAGUE)
    offsets, sigma, rival = (np.where(vague, np.nan, values) for values in (offsets, sigma, rival))
    return TimeOffsets(rig.names, step * offsets, step * sigma, rival, rate, before, after)


def _whole_frames(views: PeopleViews, pairs: Sequence[ViewPair], furthest: int) -> tuple[Array, Array]:
    """Offsets in whole frames, by coordinate descent over the cameras, and how well the next best one fits, each (C,).

    rival: 0 where everything else fits as badly as usual, 1 where something else fits as well.
    """
    count, rows = views.rays.shape[:2]
    moments = np.unique(np.linspace(0, rows - 1, min(rows, _COARSE_MOMENTS)).astype(np.int64))
    shifts = np.arange(-2 * furthest, 2 * furthest + 1)
    # curve[s]: error where a is shifts[s] later than b.
    near = np.abs(shifts) <= furthest
    curves = np.full((len(pairs), len(shifts)), np.nan)
    for number, pair in enumerate(pairs):
        second = views.at(pair.b, 0, moments)
        curves[number, near] = [pair.capped(views.at(pair.a, shift, moments), second) for shift in shifts[near]]
        usual = np.nanmedian(curves[number]) if np.isfinite(curves[number]).any() else 0.0
        curves[number] = np.where(np.isfinite(curves[number]), curves[number], usual)
    best, least = np.zeros(count, dtype=np.int64), np.inf
    for start in (np.zeros(count, dtype=np.int64), _grown(pairs, curves, shifts, count)):
        offsets = start
        for _ in range(20):
            turned = offsets.copy()
            for camera in range(count):
                cost = _cost_of(camera, turned, pairs, curves, furthest)
                turned[camera] = cost.argmin() - furthest
            if (turned == offsets).all():
                break
            offsets = turned
        total = sum(curves[n, offsets[pair.a] - offsets[pair.b] + 2 * furthest] for n, pair in enumerate(pairs))
        if total < least:
            best, least = offsets, float(total)
    rivals = np.array([_rival(_cost_of(camera, best, pairs, curves, furthest)) for camera in range(count)])
    return best.astype(np.float64), rivals


def _grown(pairs: Sequence[ViewPair], curves: Array, shifts: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Offsets from the pairs whose curves are deepest, one camera after the other; kept within half of the shifts."""
    depth = np.median(curves, axis=1) - curves.min(axis=1)
    offsets = np.zeros(count, dtype=np.int64)
    group = np.arange(count)
    for number in np.argsort(-depth, kind="stable"):
        a, b = pairs[number].a, pairs[number].b
        if group[a] != group[b]:
            moved = group == group[a]
            offsets[moved] += offsets[b] + shifts[curves[number].argmin()] - offsets[a]
            group[moved] = group[b]
    offsets = offsets - int(np.median(offsets))
    return np.clip(offsets, shifts[0] // 2, shifts[-1] // 2)


def _cost_of(camera: int, offsets: NDArray[np.int64], pairs: Sequence[ViewPair], curves: Array, furthest: int) -> Array:
    """Error of one camera's pairs for each offset of it, the others staying: (2 furthest + 1,)."""
    tried = np.arange(-furthest, furthest + 1)
    cost = np.zeros(len(tried))
    for number, pair in enumerate(pairs):
        if pair.a == camera:
            cost += curves[number, tried - offsets[pair.b] + 2 * furthest]
        elif pair.b == camera:
            cost += curves[number, offsets[pair.a] - tried + 2 * furthest]
    return cost


def _rival(cost: Array) -> float:
    best = int(cost.argmin())
    left = right = best
    while left > 0 and cost[left - 1] >= cost[left]:
        left -= 1
    while right < len(cost) - 1 and cost[right + 1] >= cost[right]:
        right += 1
    others = np.concatenate((cost[:left], cost[right + 1 :]))
    usual = float(np.median(cost))
    if usual <= cost[best]:
        return float("nan")
    return float(np.clip((usual - others.min(initial=usual)) / (usual - cost[best]), 0, 1))


def _refined(
    views: PeopleViews, pairs: Sequence[ViewPair], start: Array, used: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Gauss-Newton on the offsets (C,) with Cauchy's weights; and their standard deviations, by how blocks of time differ."""
    moments = np.flatnonzero(used)
    periods = views.period[moments]
    offsets = start.copy()
    count = len(start)
    for _ in range(20):
        normal, slope = np.zeros((count, count)), np.zeros((PERIODS, count))
        for pair in pairs:
            _add_pair(views, pair, offsets, moments, periods, normal, slope)
        # The gauge: of a change that is the same for all, none.
        inverse = np.linalg.pinv(normal, rcond=1e-9, hermitian=True)
        change = np.clip(-inverse @ slope.sum(axis=0), -1, 1)
        offsets = offsets + change
        if np.abs(change).max() < 1e-3:
            break
    spread = inverse @ (slope.T @ slope) @ inverse
    sigma = np.sqrt(np.diag(spread))
    return offsets, np.where(np.diag(normal) > 0, sigma, np.inf)


def _add_pair(
    views: PeopleViews,
    pair: ViewPair,
    offsets: Array,
    moments: NDArray[np.int64],
    periods: NDArray[np.int64],
    normal: Array,
    slope: Array,
) -> None:
    """Add a pair's part of the normal equations (C, C), and of their right side by periods (periods, C)."""
    first, second = (views.at(camera, offsets[camera], moments) for camera in (pair.a, pair.b))
    partner = pair.partners(first, second)
    error = pair.errors(first, partner)
    # From frames that the error itself is not made of: else their noise would be in both, and draw the offset to whole frames.
    derivative = []
    for camera in (pair.a, pair.b):
        ends = []
        for moved in (offsets[camera] + _DERIVATIVE, offsets[camera] - _DERIVATIVE):
            other = views.at(camera, moved, moments)
            if camera == pair.a:
                ends.append(pair.errors(other, pair.partners(first, second)))
            else:
                ends.append(pair.errors(first, pair.partners(first, other)))
        derivative.append((ends[0] - ends[1]) / (2 * _DERIVATIVE))
    known = np.isfinite(error) & np.isfinite(derivative[0]) & np.isfinite(derivative[1]) & (np.abs(error) < pair.cap)
    if known.sum() < FEWEST_JOINTS:
        return
    residual = error[known]
    scale = max(1.4826 * float(np.median(np.abs(residual))), 0.1)
    weight = 1 / (1 + (residual / scale) ** 2) / scale**2
    period = np.broadcast_to(periods[:, None, None], error.shape)[known]
    trend = _trend(first, partner, known)
    residual, *slopes = _detrended([residual, *(values[known] for values in derivative)], trend, weight)
    for one, camera in zip(slopes, (pair.a, pair.b), strict=True):
        slope[:, camera] += np.bincount(period, weight * residual * one, minlength=PERIODS)
        for other, beside in zip(slopes, (pair.a, pair.b), strict=True):
            normal[camera, beside] += float((weight * one * other).sum())


def _trend(first: Array, second: Array, known: NDArray[np.bool_]) -> Array:
    """What an error (N,) may come from besides time, (N, T): where in the pictures it is, to the second order, and which joint.

    A rig that is a little wrong errs by place, a detector by joint; both look like time to whoever walks one way only.
    """
    columns = []
    for seen in (first, second):
        # Of the person, not of the joint: the error itself is made of the joint's places, its noise included.
        there = known[..., None]
        middle = np.where(there, seen, 0).sum(axis=2, keepdims=True) / np.maximum(there.sum(axis=2, keepdims=True), 1)
        x, y = (np.broadcast_to(middle[..., axis], known.shape)[known] for axis in (0, 1))
        columns += [x, y, x * x, x * y, y * y]
    joint = np.broadcast_to(np.arange(known.shape[2]), known.shape)[known]
    return np.stack([*columns, *(joint == number for number in np.unique(joint))], axis=-1).astype(np.float64)


def _detrended(values: Sequence[Array], trend: Array, weight: Array) -> list[Array]:
    """What a weighted least squares fit of the trend (N, T) leaves of values, each (N,)."""
    weighted = trend * weight[:, None]
    # 1e-9 of it: joints that one pair of cameras sees at one place only leave the trend without full rank.
    normal = trend.T @ weighted
    normal[np.diag_indices_from(normal)] *= 1 + 1e-9
    inverse = np.linalg.pinv(normal, hermitian=True)
    return [value - trend @ (inverse @ (weighted.T @ value)) for value in values]


def _in_the_middle(offsets: Array, sigma: Array) -> Array:
    """Offsets with the middle camera (the lower of two) at 0."""
    known = np.flatnonzero(np.isfinite(sigma))
    if not len(known):
        return offsets
    return np.asarray(offsets - np.sort(offsets[known])[(len(known) - 1) // 2])


def _judged(
    views: PeopleViews, pairs: Sequence[ViewPair], offsets: Array, sigma: Array, held_out: NDArray[np.bool_]
) -> tuple[Array, Array, Array]:
    """Put to 0 what is not clearly better in the held-out moments; and the errors before and after, each (C,)."""
    moments = np.flatnonzero(held_out)
    kept = np.where(np.abs(offsets) > _SURE * sigma, offsets, 0.0)
    for camera in np.argsort(np.abs(kept)):
        if not kept[camera]:
            continue
        # Between two frames noise is less, which is no merit of an offset: equals are compared. The error's square grows with
        # the square of what is amiss, so that it is four times as much for the offset's opposite as for none.
        whole = abs(kept[camera]) >= 1
        rival, tried = kept.copy(), kept.copy()
        rival[camera], tried[camera] = (0, np.round(kept[camera])) if whole else (-kept[camera], kept[camera])
        without, with_it = _camera_errors(views, pairs, (rival, tried), moments, detrended=True)[:, camera]
        gain = (without**2 - with_it**2) / (1 if whole else 4)
        if not with_it < (1 - _BETTER) * math.sqrt(max(with_it**2 + gain, 0)):
            kept[camera] = 0
    before, after = _camera_errors(views, pairs, (np.zeros_like(kept), kept), moments)
    return kept, before, after


def _camera_errors(
    views: PeopleViews,
    pairs: Sequence[ViewPair],
    candidates: Sequence[Array],
    moments: NDArray[np.int64],
    *,
    detrended: bool = False,
) -> Array:
    """Mean error of every camera's pairs for each of some offsets, (candidates, C) px; three standard deviations at most.

    detrended: what `_trend` cannot explain of it.
    """
    sums = np.zeros((len(candidates), len(views.cameras)))
    counts = np.zeros_like(sums)
    for pair in pairs:
        seen = []
        for offsets in candidates:
            first, second = (views.at(camera, offsets[camera], moments) for camera in (pair.a, pair.b))
            seen.append((first, pair.partners(first, second)))
        errors = np.stack([pair.errors(first, second) for first, second in seen])
        # The same joints for all of them.
        known = np.asarray(np.isfinite(errors).all(axis=0))
        if known.sum() < FEWEST_JOINTS:
            continue
        remaining = np.abs(errors[:, known])
        if detrended:
            weights = [1 / (1 + (one / max(float(np.median(one)), 0.1)) ** 2) for one in remaining]
            remaining = np.abs(
                [
                    _detrended([error[known]], _trend(*places, known), weight)[0]
                    for error, places, weight in zip(errors, seen, weights, strict=True)
                ]
            )
        cap = 3 * 1.4826 * float(np.median(remaining, axis=1).min())
        for camera in (pair.a, pair.b):
            sums[:, camera] += np.minimum(remaining, cap).sum(axis=1)
            counts[:, camera] += known.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums / counts)
