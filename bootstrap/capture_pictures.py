"""The pictures of a capture's cameras."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from posekit.capture import Capture
from posekit.errors import PosekitError
from posekit.io.video import KeyFrame, VideoReader


def picture_numbers(capture: Capture, camera: str, frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which pictures of one camera's video are nearest to frames, (n,) each; `frames` ascends.

    Raises PosekitError where the camera has no picture of one of them.
    """
    numbers = capture.video_frames(camera, frames)
    if (numbers < 0).any():
        raise PosekitError(f"{capture.videos[camera]}: has no picture of frame {frames[numbers < 0][0]}")
    return numbers


def numbered_pictures(
    capture: Capture, camera: str, numbers: NDArray[np.int64], key_frame: KeyFrame | None = None
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (place in `numbers`, RGB picture of that number) of one camera's video, in its order; `numbers` ascends.

    key_frame: where decoding begins; None for the start of the video.
    """
    for number, picture in VideoReader(capture.videos[camera]).select(numbers.tolist(), key_frame):
        for place in np.flatnonzero(numbers == number).tolist():
            yield place, picture


def camera_frames(capture: Capture, camera: str, frames: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (place in `frames`, RGB picture nearest to it) of one camera, in the order of the video; `frames` ascends.

    Raises PosekitError where the camera has no picture of one of them.
    """
    return numbered_pictures(capture, camera, picture_numbers(capture, camera, frames))
