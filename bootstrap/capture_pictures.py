"""The pictures of a capture's cameras."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.capture import Capture
from posekit.errors import PosekitError
from posekit.io.video import KeyFrame, VideoReader

#: A video is opened again behind more pictures than these that nobody wants: decoding them takes longer than that.
_WORTH_A_JUMP = 48


def picture_numbers(capture: Capture, camera: str, frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which pictures of one camera's video are nearest to frames, (n,) each; `frames` ascends.

    Raises PosekitError where the camera has no picture of one of them.
    """
    numbers = capture.video_frames(camera, frames)
    if (numbers < 0).any():
        raise PosekitError(f"{capture.videos[camera]}: has no picture of frame {frames[numbers < 0][0]}")
    return numbers


def numbered_pictures(
    capture: Capture,
    camera: str,
    numbers: NDArray[np.int64],
    key_frame: KeyFrame | None = None,
    threads: int | None = None,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (place in `numbers`, RGB picture of that number) of one camera's video, in its order; `numbers` ascends.

    key_frame: where decoding begins; None for the start of the video. threads: as of `VideoReader`.
    """
    for number, picture in VideoReader(capture.videos[camera], threads).select(numbers.tolist(), key_frame):
        for place in np.flatnonzero(numbers == number).tolist():
            yield place, picture


@lru_cache(maxsize=64)
def _key_frames(path: Path, size: int, changed_ns: int) -> tuple[KeyFrame, ...]:
    """Key frames of a file, for which all of it is read, as long as it stays as it is."""
    return VideoReader(path).key_frames()


def passes(
    capture: Capture, camera: str, numbers: NDArray[np.int64], longest: int | None = None
) -> list[tuple[slice, KeyFrame | None]]:
    """Divide pictures of a camera, their numbers (n,) ascending, into passes, each with the key frame where decoding begins.

    A new pass begins where a key frame lets many pictures be left undecoded that nobody wants, and after `longest` pictures.
    None for the key frame: the start of the video.
    """
    n = len(numbers)
    if n == 0:
        return []
    if (np.diff(numbers, prepend=-1) <= _WORTH_A_JUMP).all() and (longest is None or n <= longest):
        return [(slice(0, n), None)]
    path = capture.videos[camera]
    status = path.stat()
    keys = _key_frames(path, status.st_size, status.st_mtime_ns)
    key_numbers = np.array([key.number for key in keys], dtype=np.int64)
    before = np.searchsorted(key_numbers, numbers, side="right") - 1  # the last key frame up to each; -1 for none
    starts = [0]
    for place in range(1, n):
        undecoded = key_numbers[before[place]] - numbers[place - 1] if before[place] >= 0 else 0
        if undecoded > _WORTH_A_JUMP or (longest is not None and place - starts[-1] == longest):
            starts.append(place)
    return [
        (slice(first, end), keys[before[first]] if before[first] >= 0 else None)
        for first, end in zip(starts, [*starts[1:], n], strict=True)
    ]


def camera_frames(capture: Capture, camera: str, frames: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (place in `frames`, RGB picture nearest to it) of one camera, in the order of the video; `frames` ascends.

    Of frames far apart, what lies between is not decoded. Raises PosekitError where the camera has no picture of one of them.
    """
    # Not only when the first picture is asked for: mistakes are told now.
    numbers = picture_numbers(capture, camera, frames)

    def pictures() -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for part, key_frame in passes(capture, camera, numbers):
            for place, picture in numbered_pictures(capture, camera, numbers[part], key_frame):
                yield part.start + place, picture

    return pictures()
