"""Which of its own pictures a camera took at a moment of the capture, where cameras are not in step or dropped pictures.

Two things can tell it: the times of all pictures (`posekit.io.timestamps`), and the offsets in time that were calibrated
(`Camera.time_offset_s`). Where there are both, they add: a picture is stamped when it arrives, and of the webcams of one
capture one took it 0.1 s earlier than the others, by what the board in its pictures did.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.io.timestamps import FrameTimes

#: Cameras that are farther out of step than this (frames) should be heard of: half a frame cannot be mended by renumbering.
_HALF_A_FRAME = 0.5


@dataclass(frozen=True, eq=False)
class Synchrony:
    """Where the moments of a capture lie among the pictures of C cameras.

    late_frames: (C,), how much later each camera took its frame f than the rig its frame f, or than its times say. times: of
    these cameras' pictures, the offsets added. A moment is then a row of them, and it was when their mean time was.
    """

    cameras: tuple[str, ...]
    late_frames: Float[np.ndarray, " C"]
    times: FrameTimes | None = None
    _pictures: NDArray[np.float64] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.times is None:
            return
        moment = self.times.mean_time_s
        pictures = np.full(self.times.frames.shape, np.nan)
        for c in range(len(self.cameras)):
            there = np.flatnonzero(self.times.frames[:, c] >= 0)
            if not len(there):
                continue
            taken = self.times.times_s[there, c]
            pictures[there, c] = np.interp(moment[there], taken, np.arange(len(there)))
            # A little before its first picture, and after its last, that one is still the nearest.
            margin = _HALF_A_FRAME / self.times.frame_rate
            beyond = (moment[there] < taken[0] - margin) | (moment[there] > taken[-1] + margin)
            pictures[there[beyond], c] = np.nan
        object.__setattr__(self, "_pictures", pictures)

    def of(self, cameras: Sequence[str]) -> "Synchrony":
        """The named cameras, in that order."""
        places = [self.cameras.index(name) for name in cameras]
        return Synchrony(
            tuple(cameras), self.late_frames[places], None if self.times is None else self.times.of(cameras)
        )

    def rows(self, frames: Int[np.ndarray, " M"]) -> NDArray[np.int64]:
        """Which rows of the times moments are, (M,): they count the rows from 0, or are sync_index where rows do not go so far.

        Where no camera ever drops a picture and sync_index begins with 0, the two are one. Raises PosekitError where they are
        neither.
        """
        assert self.times is not None
        moments = self.times.moments
        if not len(frames) or (frames.min() >= 0 and frames.max() < len(moments)):
            return np.asarray(frames, dtype=np.int64)
        rows = np.minimum(np.searchsorted(moments, frames), len(moments) - 1)
        unknown = frames[moments[rows] != frames]
        if len(unknown):
            raise PosekitError(
                f"{self.times.source}: has {len(moments)} moments, sync_index {moments[0]} to {moments[-1]}; frame "
                f"{unknown[0]} is none of them"
            )
        return rows

    def pictures(self, frames: Int[np.ndarray, " M"]) -> NDArray[np.float64]:
        """Number of each camera's own picture at these moments, (M, C), with fractions; NaN where it dropped the moment."""
        if self._pictures is None:
            return np.asarray(frames[:, None] - self.late_frames)
        return self._pictures[self.rows(frames)]

    def nearest_pictures(self, frames: Int[np.ndarray, " M"], camera: str, count: int) -> NDArray[np.int64]:
        """Number of the picture that one camera, whose video has `count`, took nearest to these moments, (M,).

        -1 where it took none within a frame: it dropped it, or had not begun, or had ended.
        """
        pictures = self.pictures(frames)[:, self.cameras.index(camera)]
        nearest = np.round(np.nan_to_num(pictures, nan=-1.0)).astype(np.int64)
        return np.where((nearest >= 0) & (nearest < count), nearest, -1)

    def off_by(self) -> NDArray[np.float64]:
        """How far (frames) the nearest picture of each camera is from a moment, at most, (C,)."""
        pictures = -self.late_frames[None] if self._pictures is None else self._pictures
        return np.asarray(np.nanmax(np.abs(pictures - np.round(pictures)), axis=0, initial=0))

    def remarks(self) -> list[str]:
        """What the cameras' steps are, for a person: one line each, empty where all are in step."""
        beside = "" if self.times is None else " by the rig"
        late_ones = [
            f"{name} is {abs(late):.2g} frames {'late' if late > 0 else 'early'}{beside}"
            for name, late in zip(self.cameras, self.late_frames, strict=True)
            if late
        ]
        if self.times is None:
            return late_ones
        lacking = (self.times.frames < 0).sum(axis=0)
        dropped = [f"{name} {count}" for name, count in zip(self.cameras, lacking, strict=True) if count]
        apart = np.nanmax(np.abs(self.times.times_s - self.times.mean_time_s[:, None]), initial=0)
        return [
            f"{self.times.source}: {len(self.times.moments)} moments, pictures up to {1000 * apart:.0f} ms from them"
            + (f"; dropped: {', '.join(dropped)}" if dropped else "")
            + "".join(f"; {line}" for line in late_ones)
        ]

    @property
    def within_half_a_frame(self) -> bool:
        """Whether every picture is the nearest one of its camera to the moment that has its number."""
        if self.times is None:
            return bool((np.abs(self.late_frames) <= _HALF_A_FRAME).all())
        apart = np.abs(self.times.times_s - self.times.mean_time_s[:, None])
        return not bool(np.nanmax(apart, initial=0) * self.times.frame_rate > _HALF_A_FRAME)


def synchrony_of(rig: Rig, cameras: Sequence[str], fps: float | None, times: FrameTimes | None) -> Synchrony | None:
    """Return how a capture's cameras are in step: by the times of its pictures and the rig's offsets; None for in step.

    fps: of the capture. Raises PosekitError where the times lack a camera, and where there are offsets but no rate.
    """
    names = tuple(cameras)
    seconds = np.array([rig[name].time_offset_s for name in names])
    if times is not None:
        times = times.of(names)
        return Synchrony(names, seconds * times.frame_rate, replace(times, times_s=times.times_s + seconds))
    if not seconds.any():
        return None
    if fps is None:
        raise PosekitError(
            f"{rig.source}: its cameras have time offsets in seconds, and the capture names no rate: give --fps"
        )
    return Synchrony(names, seconds * fps)
