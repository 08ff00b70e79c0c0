"""How a board moved, as each camera saw it by itself: signals of one kind on one grid of time, for clocks to be compared by.

A board's motion in its own frame is the same whichever camera sees it, whether or not it is known where the cameras stand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from posekit.calibration.boards.views import BoardViews
from posekit.calibration.rigs.board_poses import BoardPoses, find_board_poses
from posekit.camera import Camera

Array = NDArray[np.float64]

#: The board's motion is taken from so long before a moment to as long after it: a pose is known to a degree or two, and a hand
#: turns no more than that from one frame to the next.
_HALF_STEP_S = 0.15

#: Between two pictures this far apart a hand has turned round: what it did meanwhile cannot be told.
LONGEST_GAP_S = 0.35

#: Nobody moves a board in less than this; the grid is no finer.
_SHORTEST_STEP_S = 1 / 60

#: A corner this far (px) from where the board's pose has it is none of the board's.
_OFF_BOARD_PX = 4.0

#: A view in which the second pose of a flat board (Schweighofer and Pinz, PAMI 2006) fits nearly as well tells no turn.
_AMBIGUOUS = 1.5


@dataclass(frozen=True, eq=False)
class BoardMotion:
    """The board's motion by every camera's clock, on a grid of R rows that are step_s apart.

    signals: (C, R, S) turns and steps in units of their usual size; NaN where a camera does not tell, and in so many rows
    between stretches of time without motion that no shift brings two of them together. share: (C,), pictures per row that is
    known: below 1, what lies between pictures was interpolated.
    """

    signals: Array
    step_s: float
    share: Array


@dataclass(frozen=True, eq=False)
class _Track:
    """Where a board was in one camera's frame: times (N,) s, ascending, rotations (N, 3, 3), the board's middle (N, 3)."""

    times: Array
    rotation: Array
    middle: Array

    @classmethod
    def of(cls, times: Array, rotation: Array, middle: Array) -> "_Track":
        """The pictures that have a time and a pose, each time once."""
        known = np.flatnonzero(np.isfinite(times) & np.isfinite(middle[:, 0]))
        taken, first = np.unique(times[known], return_index=True)
        return cls(taken, rotation[known[first]], middle[known[first]])

    def stretches(self) -> Array:
        """From when to when pictures follow each other closely, (N, 2) s."""
        if not len(self.times):
            return np.zeros((0, 2))
        ends = np.flatnonzero(np.diff(self.times) > LONGEST_GAP_S)
        return np.stack((self.times[np.append(0, ends + 1)], self.times[np.append(ends, -1)]), axis=1)

    def at(self, grid: Array) -> "_Track":
        """Interpolated to a grid (R,); NaN where the pictures on both sides are too far apart."""
        rotation, middle = np.full((len(grid), 3, 3), np.nan), np.full((len(grid), 3), np.nan)
        if len(self.times) > 1:
            place = np.clip(np.searchsorted(self.times, grid, side="right") - 1, 0, len(self.times) - 2)
            before, after = grid - self.times[place], self.times[place + 1] - grid
            close = np.isclose(np.minimum(before, after), 0) | (before + after <= LONGEST_GAP_S)
            rows = np.flatnonzero(close & (before > -1e-9) & (after > -1e-9))
            within = np.clip(grid[rows], self.times[0], self.times[-1])
            rotation[rows] = Slerp(self.times, Rotation.from_matrix(self.rotation))(within).as_matrix()
            middle[rows] = np.stack([np.interp(within, self.times, axis) for axis in self.middle.T], axis=1)
        return _Track(grid, rotation, middle)


def board_motion(views: BoardViews, lenses: Sequence[Camera], furthest_s: float) -> BoardMotion | None:
    """Signals of the board's motion, by `times_s` or, without them, by the frames' numbers; None where there is no motion.

    Moments may be any: what lies between two pictures of a camera that are close in time is interpolated. furthest_s: the
    largest shift between two cameras that is to be tried. Memory is bounded by the number of moments, not by their times.
    """
    assert views.fps is not None
    times = views.times_s
    if times is None:
        times = np.repeat((views.frames / views.fps)[:, None], len(views.cameras), axis=1)
    gaps = np.diff(times, axis=0).ravel()
    gaps = gaps[(gaps > 1e-6) & (gaps <= LONGEST_GAP_S)]
    if not len(gaps):
        return None
    # Of several strides the smaller ones; not the smallest of all, for clocks jitter.
    step = max(float(np.quantile(gaps, 0.25, method="lower")), _SHORTEST_STEP_S)
    half = max(1, round(max(_HALF_STEP_S, float(np.median(gaps))) / step))
    poses = _told_poses(views, lenses)
    tracks = [_Track.of(times[:, c], poses[0][:, c], poses[1][:, c]) for c in range(len(lenses))]
    grid = _grid(tracks, step, 2 * half * step, furthest_s)
    if not len(grid):
        return None
    size = 6 if len(views.board.symmetries) == 1 else 2
    signals, share = np.empty((len(lenses), len(grid), size)), np.ones(len(lenses))
    for c, track in enumerate(tracks):
        there = track.at(grid)
        rows = np.flatnonzero(np.isfinite(there.middle[:, 0]))
        # Rows before the same picture count once.
        share[c] = len(np.unique(np.searchsorted(track.times, grid[rows] - 1e-9))) / max(len(rows), 1)
        signals[c] = _motion(there.rotation, there.middle, half, size)
    return BoardMotion(_bounded(signals), step, share)


def _grid(tracks: Sequence[_Track], step: float, shortest: float, furthest_s: float) -> Array:
    """Times (R,) of the rows: blocks of time in which some camera tells of motion, and NaN between them."""
    stretches = np.concatenate([track.stretches() for track in tracks])
    stretches = stretches[stretches[:, 1] - stretches[:, 0] >= shortest - 1e-9]
    blocks: list[list[float]] = []
    for start, end in stretches[np.argsort(stretches[:, 0], kind="stable")].tolist():
        if blocks and start <= blocks[-1][1] + furthest_s:
            blocks[-1][1] = max(end, blocks[-1][1])
        else:
            blocks.append([start, end])
    between = np.full(int(np.ceil(furthest_s / step)) + 1, np.nan)
    parts = [
        part for start, end in blocks for part in (start + step * np.arange(round((end - start) / step) + 1), between)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _told_poses(views: BoardViews, lenses: Sequence[Camera]) -> tuple[Array, Array]:
    """cam_from_board: rotation (F, C, 3, 3), and where the board's middle is (F, C, 3); NaN where the picture does not tell."""
    poses = find_board_poses(views, lenses)
    away = _away_px(poses, lenses)
    # A corner that is none of the board's draws the others with it: those that are off the most go first.
    most = np.nanmax(np.nan_to_num(away[:, :, 0], nan=-1), axis=-1, keepdims=True)
    wrong = (away[:, :, 0] > _OFF_BOARD_PX) & (away[:, :, 0] > most / 2)
    again = np.flatnonzero(wrong.any(axis=(1, 2)))
    if len(again):
        corners = np.where(wrong[..., None], np.nan, views.corners_px)
        mended = find_board_poses(replace(views, corners_px=corners).at(again), lenses)
        poses.rotation[again], poses.translation[again] = mended.rotation, mended.translation
        away[again] = np.where(wrong[again][:, :, None], np.nan, _away_px(poses.at(again), lenses))
    known = np.isfinite(away)
    error = np.where(known, away, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    error[~known.any(axis=-1)] = np.inf
    off = (np.where(known, away, 0)[:, :, 0] > _OFF_BOARD_PX).any(axis=-1)
    told = poses.found & ~off & (error[:, :, 1] > _AMBIGUOUS * error[:, :, 0])
    rotation = np.where(told[..., None, None], poses.rotation[:, :, 0], np.nan)
    return rotation, np.where(told[..., None], poses.translation[:, :, 0], np.nan)


def _away_px(poses: BoardPoses, lenses: Sequence[Camera]) -> Array:
    """How far (px) corners are from where the two poses of each picture have them, (F, C, 2, K)."""
    away = []
    for c, lens in enumerate(lenses):
        shown = np.einsum("fpij,kj->fpki", poses.rotation[:, c], poses.points) + poses.translation[:, c, :, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            off = shown[..., :2] / shown[..., 2:] - poses.normalised[:, c, None]
        away.append(np.linalg.norm(off, axis=-1) * lens.matrix[0, 0])
    return np.stack(away, axis=1)


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
