"""The pictures of a capture's cameras."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from posekit.capture import Capture
from posekit.errors import PosekitError
from posekit.io.video import VideoReader


def camera_frames(capture: Capture, camera: str, frames: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (place in `frames`, RGB picture nearest to it) of one camera, in the order of the video; `frames` ascends.

    Raises PosekitError where the camera has no picture of one of them.
    """
    numbers = capture.video_frames(camera, frames)
    if (numbers < 0).any():
        raise PosekitError(f"{capture.videos[camera]}: has no picture of frame {frames[numbers < 0][0]}")
    for number, picture in VideoReader(capture.videos[camera]).select(numbers.tolist()):
        for place in np.flatnonzero(numbers == number).tolist():
            yield place, picture
