"""How far cameras are out of step: the record of it, and its estimate from a board that is carried about.

The board's motion as each camera saw it (`posekit.calibration.rigs.board_motion`) is shifted against the others' until they
match. Fractions of a frame come from the shape of the match's peak.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import lsq_linear

from posekit.calibration.boards.views import BoardViews
from posekit.calibration.rigs.board_motion import BoardMotion, board_motion
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError

Array = NDArray[np.float64]

#: Cameras are looked for within so many seconds of each other.
LONGEST_OFFSET_S = 2.0

#: Pictures of the board's motion that two cameras must have in common, for their signals to be compared.
_FEWEST_STEPS = 12

#: Signals that agree less than this (correlation) are not the same motion; a board that stands still gives below 0.3.
_LEAST_CORRELATION = 0.5

#: The best shift must stand out from every other that is no neighbour of it: a motion that repeats itself fits more than once.
_MOST_RIVAL = 0.8

#: A peak whose place is known no better than this (steps, one standard deviation) may as well be another one.
_VAGUE = 0.75

#: A camera is out of step from this many frames on, if it is as many standard deviations.
_OUT_OF_STEP_FRAMES, _OUT_OF_STEP_SIGMAS = 0.25, 5.0


@dataclass(frozen=True, eq=False)
class TimeOffsets:
    """How much later each of C cameras took its frame f than the rig took its frame f, in frames, with fractions.

    Only differences can be seen: the camera in the middle (the lower one of two) is put at 0, see `relative_to`.
    frames: (C,), NaN where it cannot be told. sigma_frames: (C,), one standard deviation, NaN there. rival: (C,), how well the
    next best offset fits as a share of the best one's fit: 0 is sure, 1 is a guess; NaN where it was not looked for. before_px,
    after_px: (C,), median error in frames that were not used, in step as filmed and as found here; NaN from boards.
    """

    cameras: tuple[str, ...]
    frames: Array
    sigma_frames: Array
    rival: Array
    fps: float
    before_px: Array
    after_px: Array

    @property
    def seconds(self) -> Array:
        """The offsets in seconds, (C,); NaN where they cannot be told."""
        return self.frames / self.fps

    @property
    def out_of_step(self) -> NDArray[np.bool_]:
        """Which cameras are clearly out of step, (C,): by a quarter of a frame or more, known to a fifth of that."""
        with np.errstate(invalid="ignore"):
            away = np.abs(self.frames)
            return (away > _OUT_OF_STEP_FRAMES) & (away > _OUT_OF_STEP_SIGMAS * self.sigma_frames)

    def relative_to(self, camera: str) -> "TimeOffsets":
        """The same with this camera at 0, and sigma that of the difference to it, both taken for independent.

        Raises PosekitError where its offset cannot be told.
        """
        place = self.cameras.index(camera)
        here = self.frames[place]
        if not np.isfinite(here):
            raise PosekitError(
                f"camera '{camera}': its time offset cannot be told, so that the others cannot be relative to it"
            )
        sigma = np.hypot(self.sigma_frames, self.sigma_frames[place])
        sigma[place] = 0
        return replace(self, frames=self.frames - here, sigma_frames=sigma)

    def applied_to(self, rig: Rig) -> Rig:
        """The rig with these offsets; a camera whose offset cannot be told, or that is not here, keeps its own.

        Only differences are known here: where some cameras keep their own, all the others are moved by as much as leaves the
        one in the middle (the lower one of two) of their changes with its own, too, for most cameras are as they were.
        """
        found = {name: s for name, s in zip(self.cameras, self.seconds, strict=True) if np.isfinite(s)}
        changes = sorted(found[camera.name] - camera.time_offset_s for camera in rig.cameras if camera.name in found)
        zero = changes[(len(changes) - 1) // 2] if 0 < len(changes) < len(rig) else 0.0
        return Rig(
            tuple(
                replace(camera, time_offset_s=float(found[camera.name] - zero)) if camera.name in found else camera
                for camera in rig.cameras
            ),
            rig.source,
        )


@dataclass(frozen=True)
class PairLag:
    """How much later camera b's clock shows the same as camera a's: what a sees in frame f, b sees in frame f + frames."""

    a: int
    b: int
    frames: float
    sigma_frames: float
    rival: float


def offsets_from_boards(views: BoardViews, lenses: Sequence[Camera]) -> TimeOffsets:
    """Estimate how far the cameras are out of step from the motion of a board; no rig is needed.

    lenses: of the views' cameras, in their order; only matrix and distortion are used. Where the views have times, the offsets
    are relative to them: times that are right give 0. Moments may be any, as long as some are close enough in time to show
    how the board moved (`board_motion`). Where cameras never saw the board move at the same time, directly or through others,
    the smaller groups are NaN. Raises PosekitError for stills, which have no rate.
    """
    if views.fps is None:
        raise PosekitError(f"{views.source}: stills have no rate: no time offsets can be told from them")
    unknown = np.full(len(lenses), np.nan)
    motion = board_motion(views, lenses, LONGEST_OFFSET_S)
    lags = [] if motion is None else _lags(motion)
    rows_per_frame = 1.0 if motion is None else 1 / (motion.step_s * views.fps)
    rows, sigma, rival = solve_offsets(lags, len(lenses))
    return TimeOffsets(views.cameras, rows / rows_per_frame, sigma / rows_per_frame, rival, views.fps, unknown, unknown)


def solve_offsets(lags: Sequence[PairLag], camera_count: int) -> tuple[Array, Array, Array]:
    """Find the offsets that fit the lags of pairs best: offsets, their standard deviations and rivals, each (C,) in frames.

    The surest lags form a tree; those that do not fit it within a frame are left out of the least squares. Of groups of cameras
    that no lag links, the largest is told, and the rest is NaN.
    """
    group = np.arange(camera_count)
    rough = np.zeros(camera_count)
    rival = np.full(camera_count, np.nan)
    for lag in sorted(lags, key=lambda lag: (lag.rival, lag.sigma_frames)):
        # A camera seen later shows the same thing in an earlier frame: b = a - lag.
        if group[lag.a] == group[lag.b]:
            continue
        moved = group == group[lag.b]
        rough[moved] += rough[lag.a] - lag.frames - rough[lag.b]
        group[moved] = group[lag.a]
        for camera in (lag.a, lag.b):
            rival[camera] = np.fmin(rival[camera], lag.rival)
    largest = np.bincount(group).argmax()
    linked = np.flatnonzero(group == largest)
    offsets, sigma = np.full(camera_count, np.nan), np.full(camera_count, np.nan)
    if len(linked) < 2:
        return offsets, sigma, np.full(camera_count, np.nan)
    kept = [
        lag
        for lag in lags
        if group[lag.a] == largest == group[lag.b]
        and abs(rough[lag.a] - rough[lag.b] - lag.frames) < max(1.0, 4 * lag.sigma_frames)
    ]
    place = {camera: number for number, camera in enumerate(linked.tolist())}
    design, measured = np.zeros((len(kept) + 1, len(linked))), np.zeros(len(kept) + 1)
    for row, lag in enumerate(kept):
        design[row, place[lag.a]], design[row, place[lag.b]] = 1 / lag.sigma_frames, -1 / lag.sigma_frames
        measured[row] = lag.frames / lag.sigma_frames
    middle = int(np.argsort(rough[linked], kind="stable")[(len(linked) - 1) // 2])
    design[-1, middle] = 1e6  # the gauge
    offsets[linked] = lsq_linear(design, measured).x
    offsets -= offsets[linked[middle]]
    offsets[linked[middle]] = 0.0
    sigma[linked] = np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    sigma[linked[middle]] = 0.0
    rival[group != largest] = np.nan
    return offsets, sigma, rival


def _lags(motion: BoardMotion) -> list[PairLag]:
    """How the signals of all pairs of cameras lie to each other, where they tell, in rows.

    All shifts at once, by the Fourier transform: the sum of products, and of both squares where both are known.
    """
    furthest = min(math.ceil(LONGEST_OFFSET_S / motion.step_s), motion.signals.shape[1] - 1)
    length = next_fast_len(motion.signals.shape[1] + furthest, real=True)
    known = np.asarray(np.isfinite(motion.signals).all(axis=2))
    filled = np.where(known[..., None], motion.signals, 0)
    parts = [rfft(part, length, axis=1) for part in (filled, (filled**2).sum(axis=2), known.astype(np.float64))]
    shifts = np.arange(-furthest, furthest + 1)

    def sums(first: NDArray[np.complex128], second: NDArray[np.complex128]) -> Array:
        return np.asarray(irfft(first.conj() * second, length)[shifts])

    lags = []
    for a, b in combinations(range(len(known)), 2):
        signal, energy, there = ((part[a], part[b]) for part in parts)
        products = sum(sums(first, second) for first, second in zip(signal[0].T, signal[1].T, strict=True))
        squares = sums(energy[0], there[1]) * sums(there[0], energy[1])
        count = np.round(sums(*there)) * min(motion.share[a], motion.share[b])
        # 1e-6 of the most: what is left of 0 by the transform.
        enough = squares > 1e-6 * squares.max(initial=1e-12)
        correlation = np.where(enough, products / np.sqrt(np.where(enough, squares, 1)), 0)
        lag = _pair_lag(a, b, shifts, count, correlation, motion.signals.shape[2])
        lags += [] if lag is None else [lag]
    return lags


def _pair_lag(
    a: int, b: int, shifts: NDArray[np.int64], count: Array, correlation: Array, signals: int
) -> PairLag | None:
    """The shift at which two cameras' signals correlate best, by common pictures and correlation of each; None if untold."""
    # A few pictures fit anything.
    correlation = np.where(count < max(_FEWEST_STEPS, count.max(initial=0) / 3), -1.0, correlation)
    if len(shifts) < 3:
        return None
    best = int(correlation.argmax())
    if (
        not 0 < best < len(shifts) - 1
        or correlation[best] < _LEAST_CORRELATION
        or correlation[best - 1 : best + 2].min() == -1
    ):
        return None
    left = right = best
    while left > 0 and -1 < correlation[left - 1] <= correlation[left]:
        left -= 1
    while right < len(shifts) - 1 and -1 < correlation[right + 1] <= correlation[right]:
        right += 1
    others = np.concatenate((correlation[:left], correlation[right + 1 :]))
    rival = float(np.clip(others.max(initial=0.0), 0, None) / correlation[best])
    if rival > _MOST_RIVAL:
        return None
    before, here, after = correlation[best - 1 : best + 2]
    curvature = before - 2 * here + after
    fraction = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
    # The variance of a shift by least squares: what does not fit, over the energy of the slope.
    sigma = math.sqrt(max(1 - here**2, 1e-6) / max(-curvature * count[best] * signals / 2, 1e-9))
    return PairLag(a, b, float(shifts[best] + fraction), sigma, rival) if sigma < _VAGUE else None
