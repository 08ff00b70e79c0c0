"""2D keypoints of cameras that are not in step, brought to the moments of the capture."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.keypoints import CONFIDENT, Keypoints2D, KeypointSource
from posekit.skeleton import Skeleton
from posekit.synchrony import Synchrony

Floats = NDArray[np.float32]

#: Who is farther from there than this, as a share of the size in the picture, is somebody else. Walking at 1.5 m/s before a
#: camera of 6 frames/s, a person moves 0.14 of the height.
_SAME_PERSON = 0.35

#: A joint that goes farther than this, as a share of the person, from one frame to the next was taken for another one.
_JUMP = 0.25


@dataclass(frozen=True)
class _Neighbours:
    """Rows of the source between which the moments lie, (M, C): nearest, and other, -1 for none; weight (M, C) of the other."""

    nearest: NDArray[np.int64]
    other: NDArray[np.int64]
    weight: Floats


class KeypointsInStep:
    """A `KeypointSource` of what the cameras would have seen at the capture's moments.

    Between the two frames of a camera that a moment lies between, people are joined and their joints interpolated linearly
    where both frames have them, with the lower confidence of the two; elsewhere it is as the nearer frame has it. A camera
    whose frame is of the moment itself is left as it is, bit by bit.

    by_moment: the frames of the source count moments (sync_index), not the frames of each camera's video.

    Raises PosekitError where frames do not ascend, and where the times do not have as many as the keypoints.
    """

    def __init__(self, source: KeypointSource, synchrony: Synchrony, *, by_moment: bool = False) -> None:
        self._source = source
        self.fps = source.fps or (None if synchrony.times is None else synchrony.times.frame_rate)
        numbers = source.frames
        if (np.diff(numbers) <= 0).any():
            raise PosekitError(f"{source.source}: its frames do not ascend: they cannot be brought into step")
        times = synchrony.times
        if times is None or by_moment:
            self.frames = numbers
        else:
            most = int((times.frames >= 0).sum(axis=0).max())
            if len(numbers) and numbers[-1] >= most:
                raise PosekitError(
                    f"{source.source}: has frame {numbers[-1]} where {times.source} has {most} rows of a camera: is it of "
                    "another recording?"
                )
            self.frames = np.arange(len(times.moments))
        # Row of the source -> which picture of each camera it is, (R, C).
        own = np.repeat(numbers[:, None].astype(np.float64), len(source.cameras), axis=1)
        if times is not None and by_moment:
            own = np.where(times.frames >= 0, times.frames, np.nan)[synchrony.rows(numbers)]
        pictures = synchrony.pictures(self.frames)
        if times is not None and not by_moment and len(numbers):
            reached = ((pictures >= numbers[0]) & (pictures <= numbers[-1])).any(axis=1)
            self.frames, pictures = self.frames[reached], pictures[reached]
        self._neighbours = _neighbours(own, pictures)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return self._source.cameras

    @property
    def skeleton(self) -> Skeleton:
        """The order of the joints."""
        return self._source.skeleton

    @property
    def source(self) -> str:
        """Where the keypoints came from."""
        return self._source.source

    def read(self, start: int, stop: int) -> Keypoints2D:
        """Return the moments ``frames[start:stop]``."""
        of = self._neighbours
        nearest, other, weight = of.nearest[start:stop], of.other[start:stop], of.weight[start:stop]
        rows = np.concatenate((nearest[nearest >= 0], other[other >= 0]))
        first, last = (int(rows.min()), int(rows.max())) if len(rows) else (0, -1)
        piece = self._source.read(first, last + 1)
        xy, confidence = _taken(piece, nearest - first, nearest >= 0)
        for c in np.flatnonzero((other >= 0).any(axis=0)):
            moments = np.flatnonzero(other[:, c] >= 0)
            there = other[moments, c] - first
            xy[moments, c], confidence[moments, c] = _between(
                xy[moments, c],
                confidence[moments, c],
                piece.xy[there, c],
                piece.confidence[there, c],
                weight[moments, c],
            )
        return replace(piece, xy=xy, confidence=confidence, frames=self.frames[start:stop], fps=self.fps)


def _neighbours(own: NDArray[np.float64], pictures: NDArray[np.float64]) -> _Neighbours:
    """own: (R, C), which picture every row of the source is, NaN for none. pictures: (M, C), which are wanted."""
    nearest, other = np.full(pictures.shape, -1), np.full(pictures.shape, -1)
    weight = np.zeros(pictures.shape, dtype=np.float32)
    for c in range(pictures.shape[1]):
        rows = np.flatnonzero(np.isfinite(own[:, c]))
        wanted = np.flatnonzero(np.isfinite(pictures[:, c]))
        if not len(rows) or not len(wanted):
            continue
        has, wants = own[rows, c], pictures[wanted, c]
        usual = float(np.median(np.diff(has))) if len(has) > 1 else 1.0
        after = np.clip(np.searchsorted(has, wants, side="right"), 1, max(len(has) - 1, 1))
        before = after - 1
        after = np.minimum(after, len(has) - 1)
        step = np.maximum(has[after] - has[before], 1e-9)
        share = np.where(after > before, (wants - has[before]) / step, 0.0)
        upper = share > 0.5
        near, far = np.where(upper, after, before), np.where(upper, before, after)
        # Half a frame, and what rounding adds to it: beyond, a camera has nothing of this moment.
        close = np.abs(wants - has[near]) <= 0.5 * usual + 1e-6
        # Across a gap nothing is drawn, and beyond the first or the last frame nothing is known.
        inside = (share > 0) & (share < 1) & (step <= 1.5 * usual)
        nearest[wanted, c] = np.where(close | inside, rows[near], -1)
        other[wanted, c] = np.where(inside, rows[far], -1)
        weight[wanted, c] = np.where(inside, np.where(upper, 1 - share, share), 0)
    return _Neighbours(nearest, other, weight)


def _taken(piece: Keypoints2D, rows: NDArray[np.int64], known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Rows (M, C) of a piece, each camera's own; nothing where they are not known."""
    M, C = rows.shape
    xy = np.full((M, C, *piece.xy.shape[2:]), np.nan, dtype=np.float32)
    confidence = np.zeros(xy.shape[:-1], dtype=np.float32)
    for c in range(C):
        moments = np.flatnonzero(known[:, c])
        xy[moments, c], confidence[moments, c] = piece.xy[rows[moments, c], c], piece.confidence[rows[moments, c], c]
    return xy, confidence


def _between(xy: Floats, confidence: Floats, other_xy: Floats, other: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """People (M, P, J, 2) of one camera's nearest frames, moved by `weight` (M,) towards where they are in its other ones."""
    partner, size = match_people(xy, other_xy)
    m = np.arange(len(xy))[:, None]
    there, sure = other_xy[m, partner], np.where((partner >= 0)[..., None], other[m, partner], 0)
    with np.errstate(invalid="ignore"):
        calm = np.linalg.norm(there - xy, axis=-1) <= _JUMP * size[..., None]
    both = (confidence > 0) & (sure > 0) & calm & ((confidence >= CONFIDENT) == (sure >= CONFIDENT))
    blended = xy + weight[:, None, None, None] * (there - xy)
    return np.where(both[..., None], blended, xy), np.where(both, np.minimum(confidence, sure), confidence)


def match_people(xy: Floats, other_xy: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Find who is who between two frames of one view: (M, P, J, 2) and (M, Q, J, 2) px -> slot there (M, P), -1 for nobody.

    Two are one where each is the other's nearest, by the mean distance of the joints that both have, and not too far away. Also
    returns how large the people are, (M, P) px.
    """
    M, P = xy.shape[:2]
    seen = np.isfinite(xy[..., 0])
    anything = np.asarray(seen.any(axis=2))
    low = np.where(seen[..., None], xy, np.inf).min(axis=2)
    high = np.where(seen[..., None], xy, -np.inf).max(axis=2)
    size = np.where(anything, np.linalg.norm(np.where(anything[..., None], high - low, 0), axis=-1), np.nan)
    cost = np.full((M, P, other_xy.shape[1]), np.inf)
    for p in range(P):
        for q in range(other_xy.shape[1]):
            away = np.linalg.norm(xy[:, p] - other_xy[:, q], axis=-1)
            common = np.isfinite(away)
            # No joint counts more than its person is large: left taken for right makes nobody another one.
            away = np.where(common, np.minimum(away, size[:, p, None]), 0).sum(axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                share = away / common.sum(axis=1) / size[:, p]
            cost[:, p, q] = np.where(common.any(axis=1) & (share < _SAME_PERSON), share, np.inf)
    best = cost.argmin(axis=2)
    mutual = np.take_along_axis(cost.argmin(axis=1), best, axis=1) == np.arange(P)
    found = mutual & np.isfinite(np.take_along_axis(cost, best[..., None], axis=2)[..., 0])
    return np.where(found, best, -1), size.astype(np.float32)
