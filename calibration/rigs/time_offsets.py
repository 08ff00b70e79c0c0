"""How far cameras are out of step: the record of it, and its estimate from a board that is carried about.

The motion of a board in its own frame is the same whichever camera sees it, whether or not it is known where the cameras stand:
its signals are shifted against each other until they match. Fractions of a frame come from the shape of the match's peak.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear
from scipy.spatial.transform import Rotation

from posekit.calibration.boards.views import BoardViews
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError

Array = NDArray[np.float64]

#: Cameras are looked for within so many seconds of each other.
LONGEST_OFFSET_S = 2.0

#: Steps of the board that two cameras must have seen both, for their signals to be compared.
_FEWEST_STEPS = 12

#: The board's motion is taken from so long before a frame to as long after it: a pose is known to a degree or two, and from one
#: frame to the next a hand turns no more than that.
_HALF_STEP_S = 0.15

#: A corner this far (px) from the others' homography is none of the board's.
_OFF_BOARD_PX = 4.0

#: Signals that agree less than this (correlation) are not the same motion; a board that stands still gives below 0.3.
_LEAST_CORRELATION = 0.5

#: The best shift must stand out from every other that is no neighbour of it: a motion that repeats itself fits more than once.
_MOST_RIVAL = 0.8

#: A peak whose place is known no better than this (steps, one standard deviation) may as well be another one.
_VAGUE = 0.75

#: A view in which the second pose of a flat board (Schweighofer and Pinz, PAMI 2006) fits nearly as well tells no turn.
_AMBIGUOUS = 1.5

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
        """The same with this camera at 0. Raises PosekitError where its offset cannot be told."""
        here = self.frames[self.cameras.index(camera)]
        if not np.isfinite(here):
            raise PosekitError(
                f"camera '{camera}': its time offset cannot be told, so that the others cannot be relative to it"
            )
        return replace(self, frames=self.frames - here)

    def applied_to(self, rig: Rig) -> Rig:
        """The rig with these offsets; a camera whose offset cannot be told, or that is not here, keeps its own."""
        found = {name: s for name, s in zip(self.cameras, self.seconds, strict=True) if np.isfinite(s)}
        return Rig(
            tuple(
                replace(camera, time_offset_s=float(found.get(camera.name, camera.time_offset_s)))
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

    lenses: of the views' cameras, in their order; only matrix and distortion are used. Frames that are evenly left out (every
    third one is read) are fine. Where cameras never saw the board move at the same time, directly or through others, the
    smaller groups are NaN. Raises PosekitError for stills, which have no rate.
    """
    if views.fps is None:
        raise PosekitError(f"{views.source}: stills have no rate: no time offsets can be told from them")
    step = int(np.median(np.diff(views.frames))) if len(views.frames) > 1 else 1
    rows = (views.frames - views.frames[:1]) // step
    count = int(rows[-1]) + 1 if len(rows) else 0
    signals = np.full((len(lenses), count, 6 if len(views.board.symmetries) == 1 else 2), np.nan)
    for c, lens in enumerate(lenses):
        rotation = np.full((count, 3, 3), np.nan)
        middle = np.full((count, 3), np.nan)
        rotation[rows], middle[rows] = _board_poses(views, c, lens)
        signals[c] = _motion(rotation, middle, max(1, round(_HALF_STEP_S * views.fps / step)), signals.shape[2])
    furthest = math.ceil(LONGEST_OFFSET_S * views.fps / step)
    signals = _bounded(signals)
    pairs = [(a, b) for a in range(len(lenses)) for b in range(a + 1, len(lenses))]
    lags = [lag for a, b in pairs if (lag := _pair_lag(a, b, signals[a], signals[b], furthest))]
    frames, sigma, rival = solve_offsets(lags, len(lenses))
    unknown = np.full(len(lenses), np.nan)
    return TimeOffsets(views.cameras, step * frames, step * sigma, rival, views.fps, unknown, unknown)


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
    rival[group != largest] = np.nan
    return offsets, sigma, rival


def _board_poses(views: BoardViews, camera: int, lens: Camera) -> tuple[Array, Array]:
    """cam_from_board of every frame of one camera: rotation (F, 3, 3) and where the board's middle is (F, 3); NaN if untold."""
    rotation, middle = np.full((len(views.frames), 3, 3), np.nan), np.full((len(views.frames), 3), np.nan)
    points = views.board.points_m
    normalised = lens.undistort(views.corners_px[:, camera])
    limit = _OFF_BOARD_PX / lens.matrix[0, 0]
    for f in np.flatnonzero(np.isfinite(normalised).all(axis=-1).sum(axis=-1) >= 6):
        seen = np.flatnonzero(np.isfinite(normalised[f]).all(axis=-1))
        flat = points[seen, :2] - points[seen, :2].mean(axis=0)
        if np.linalg.matrix_rank(flat, tol=0.5 * np.abs(flat).max()) < 2:
            continue  # a row of corners has no pose
        homography, fitting = cv2.findHomography(points[seen, :2], normalised[f, seen], cv2.RANSAC, limit)
        seen = seen[np.ravel(fitting).astype(bool)] if homography is not None else seen[:0]
        if len(seen) < 6:
            continue
        found, turns, shifts, errors = cv2.solvePnPGeneric(
            points[seen], normalised[f, seen], np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
        )
        if not found or (found > 1 and float(errors[1][0]) < _AMBIGUOUS * float(errors[0][0])):
            continue
        turn, shift = cv2.solvePnPRefineLM(points[seen], normalised[f, seen], np.eye(3), None, turns[0], shifts[0])
        rotation[f] = Rotation.from_rotvec(np.ravel(turn)).as_matrix()
        middle[f] = rotation[f] @ points.mean(axis=0) + np.ravel(shift)
    return rotation, middle


def _motion(rotation: Array, middle: Array, half: int, size: int) -> Array:
    """The board's motion from `half` frames before to as many after, as it sees it itself, (F, 6): turn (rad) and step (m).

    NaN where it is not known. size: 2 gives but the angle and the distance, for boards that look alike when they are turned:
    which way is x is not known of them.
    """
    motion = np.full((len(middle), 6), np.nan)
    here = np.arange(half, len(middle) - half)
    here = here[np.isfinite(middle[here - half, 0]) & np.isfinite(middle[here + half, 0])]
    if len(here):
        before, after = here - half, here + half
        turn = np.einsum("fji,fjk->fik", rotation[before], rotation[after])
        motion[here, :3] = Rotation.from_matrix(turn).as_rotvec()
        motion[here, 3:] = np.einsum("fji,fj->fi", rotation[before], middle[after] - middle[before])
    if size == 2:
        motion = np.stack((np.linalg.norm(motion[:, :3], axis=1), np.linalg.norm(motion[:, 3:], axis=1)), axis=1)
    return motion


def _bounded(signals: Array) -> Array:
    """Turns and steps (C, F, S) in units of their usual size, no farther out than four of it: a wrong pose is no motion."""
    half = signals.shape[2] // 2
    signals = signals - (np.nanmedian(signals, axis=(0, 1)) if half == 1 and np.isfinite(signals).any() else 0)
    for part in (slice(0, half), slice(half, None)):
        known = np.abs(signals[..., part])[np.isfinite(signals[..., part])]
        usual = float(np.median(known)) / 0.6745 if len(known) else 1.0
        signals[..., part] /= max(usual, 1e-12)
    return np.clip(signals, -4, 4)


def _pair_lag(a: int, b: int, first: Array, second: Array, furthest: int) -> PairLag | None:
    """Shift one camera's signals (F, S) over the other's; None where they do not tell."""
    furthest = min(furthest, len(first) - 1)
    shifts = np.arange(-furthest, furthest + 1)
    matches = [_match(first, second, shift) for shift in shifts.tolist()]
    count = np.array([match[0] for match in matches])
    correlation = np.array([match[1] for match in matches])
    # A few steps fit anything.
    correlation[count < max(_FEWEST_STEPS, count.max(initial=0) / 3)] = -1
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
    sigma = math.sqrt(max(1 - here**2, 1e-6) / max(-curvature * count[best] * first.shape[1] / 2, 1e-9))
    return PairLag(a, b, float(shifts[best] + fraction), sigma, rival) if sigma < _VAGUE else None


def _match(first: Array, second: Array, shift: int) -> tuple[int, float]:
    """How many steps two cameras have in common if frame f of the first is f + shift of the second, and their correlation."""
    low, high = max(0, -shift), min(len(first), len(first) - shift)
    x, y = first[low:high], second[low + shift : high + shift]
    both = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    x, y = x[both], y[both]
    energy = math.sqrt(float((x**2).sum() * (y**2).sum()))
    return len(x), float((x * y).sum()) / energy if energy > 0 else 0.0
