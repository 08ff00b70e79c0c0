"""What several cameras saw of a board: its corners in their pictures, frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from posekit.calibration.boards.board import Board
from posekit.errors import PosekitError

#: A picture belongs to a moment that it was taken within so many seconds of, and within this share of the time between two.
_FARTHEST_S, _FARTHEST_SHARE = 0.1, 0.6


@dataclass(frozen=True, eq=False)
class BoardViews:
    """Corners of one board in the pictures of C cameras at F moments; K corners, in the order of `Board.points_m`.

    frames: number of each moment's frame, ascending. corners_px: NaN where a corner was not seen. times_s: when each picture
    was taken, by one clock, NaN where that is not known; None where it is known of none. labels: what a person calls the
    moments, where that is not the frame's number (a still's file name). fps: of the videos; None for stills.
    """

    board: Board
    cameras: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    frames: Int[np.ndarray, " F"]
    corners_px: Float[np.ndarray, "F C K 2"]
    times_s: Float[np.ndarray, "F C"] | None = None
    source: str = field(default="")
    labels: tuple[str, ...] | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        expected = (len(self.frames), len(self.cameras), len(self.board.points_m), 2)
        if self.corners_px.shape != expected:
            raise PosekitError(f"{self.source}: corners: have shape {self.corners_px.shape}, {expected} was expected")
        if len(self.sizes) != len(self.cameras):
            raise PosekitError(f"{self.source}: sizes: {len(self.sizes)} for {len(self.cameras)} cameras")
        if self.times_s is not None and self.times_s.shape != expected[:2]:
            raise PosekitError(f"{self.source}: times: have shape {self.times_s.shape}, {expected[:2]} was expected")

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which corners were seen, (F, C, K)."""
        return np.isfinite(self.corners_px).all(axis=-1)

    def at(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "BoardViews":
        """The moments that are chosen, by a mask (F,) or by their places."""
        places = np.arange(len(self.frames))[chosen]
        return replace(
            self,
            frames=self.frames[places],
            corners_px=self.corners_px[places],
            times_s=None if self.times_s is None else self.times_s[places],
            labels=None if self.labels is None else tuple(self.labels[place] for place in places),
        )

    def of(self, cameras: tuple[str, ...]) -> "BoardViews":
        """The named cameras' views, in that order."""
        places = [self.cameras.index(name) for name in cameras]
        return replace(
            self,
            cameras=cameras,
            sizes=tuple(self.sizes[place] for place in places),
            corners_px=self.corners_px[:, places],
            times_s=None if self.times_s is None else self.times_s[:, places],
        )

    def in_step(self, time_offset_s: Sequence[float]) -> "BoardViews":
        """Put every picture to the moment that it was nearest to, where cameras' clocks are off by so much, (C,) s.

        A camera's pictures were taken that much later than their times say. Those go with the pictures, as they are; without
        any, the frames' are written down. A moment of which a camera has two pictures keeps the nearer one; a picture farther
        from every moment than 0.6 of the usual time between two, or 0.1 s, is left out: a board that is carried was elsewhere.
        """
        if self.fps is None and self.times_s is None:
            raise PosekitError(f"{self.source}: stills have no times, so no camera's clock can be off")
        times = (
            self.times_s
            if self.times_s is not None
            else np.repeat((self.frames / (self.fps or 1))[:, None], len(self.sizes), 1)
        )
        known = np.isfinite(times)
        moment = np.where(known, times, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        dated = np.flatnonzero(known.any(axis=1))
        dated = dated[np.argsort(moment[dated], kind="stable")]
        ordered = moment[dated]
        limit = (
            min(_FARTHEST_S, _FARTHEST_SHARE * float(np.median(np.diff(ordered)))) if len(dated) > 1 else _FARTHEST_S
        )
        corners, moved = np.full_like(self.corners_px, np.nan), np.full_like(times, np.nan)
        for c, offset in enumerate(time_offset_s):
            pictures = np.flatnonzero(known[:, c])
            taken = times[pictures, c] + offset
            after = np.searchsorted(ordered, taken).clip(1, max(len(ordered) - 1, 1))
            before = after - 1
            after = np.minimum(after, len(ordered) - 1)
            nearest = np.where(taken - ordered[before] <= ordered[after] - taken, before, after)
            away = np.abs(ordered[nearest] - taken)
            # The nearest comes last, and stays.
            chosen = np.argsort(-away, kind="stable")
            chosen = chosen[away[chosen] <= limit]
            corners[dated[nearest[chosen]], c] = self.corners_px[pictures[chosen], c]
            moved[dated[nearest[chosen]], c] = times[pictures[chosen], c]
        return replace(self, corners_px=corners, times_s=moved)
