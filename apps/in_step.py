"""Cameras that are not in step: what commands do about them, and say of it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from posekit.camera import Rig
    from posekit.capture import Capture
    from posekit.keypoints import Keypoints2D, KeypointSource
    from posekit.synchrony import Synchrony


def in_step(path: Path, keypoints: "KeypointSource", rig: "Rig", *, say: bool = True) -> "KeypointSource":
    """Bring 2D keypoints of cameras that are not in step to the capture's moments, and say so unless they were read before.

    By the timestamps.csv beside `path` and the rig's time offsets; where there is neither, they are returned as they are.
    """
    from posekit.io.timestamps import counts_moments, find_timestamps_of_keypoints, read_timestamps
    from posekit.people.in_step import KeypointsInStep
    from posekit.synchrony import synchrony_of

    found = find_timestamps_of_keypoints(path)
    times = None if found is None else read_timestamps(found)
    synchrony = synchrony_of(rig, keypoints.cameras, keypoints.fps, times)
    if synchrony is None:
        return keypoints
    if say:
        tell(synchrony, "brought into step")
    return KeypointsInStep(keypoints, synchrony, by_moment=counts_moments(keypoints.source))


def has_timestamps(path: Path) -> bool:
    """Whether a timestamps.csv says when the pictures were taken that 2D keypoints were found in."""
    from posekit.io.timestamps import find_timestamps_of_keypoints

    return find_timestamps_of_keypoints(path) is not None


def keypoints_of_capture(keypoints: "KeypointSource", capture: "Capture") -> "Keypoints2D":
    """Read 2D keypoints, at those moments of which every camera has a picture if the capture's cameras are not in step."""
    from dataclasses import replace

    from posekit.io.timestamps import counts_moments
    from posekit.people.in_step import KeypointsInStep

    # Cameras without a video, or the other way round, are told of by whoever needs both.
    if capture.synchrony is None or set(keypoints.cameras) != set(capture.synchrony.cameras):
        return keypoints.read(0, len(keypoints.frames))
    by_moment = counts_moments(keypoints.source)
    stepped = KeypointsInStep(keypoints, capture.synchrony.of(keypoints.cameras), by_moment=by_moment)
    found = stepped.read(0, len(stepped.frames))
    frames = capture.synchrony.rows(found.frames) if by_moment and capture.times is not None else found.frames
    filmed = filmed_by_all(capture, frames)
    off = capture.synchrony.off_by().max()
    tell(capture.synchrony, f"brought into step; pictures are taken as they are, up to {off:.2g} frames off")
    return replace(found, xy=found.xy[filmed], confidence=found.confidence[filmed], frames=frames[filmed])


def filmed_by_all(capture: "Capture", moments: "NDArray[np.int64]") -> "NDArray[np.bool_]":
    """At which of the moments (M,) of a capture every camera took a picture; raises PosekitError where there is none."""
    import numpy as np

    from posekit.errors import PosekitError

    filmed: NDArray[np.bool_] = np.all([capture.video_frames(name, moments) >= 0 for name in capture.videos], axis=0)
    if not filmed.any():
        raise PosekitError(f"{capture.folder}: there is no moment at which all cameras took a picture")
    return filmed


def tell(synchrony: "Synchrony", what_was_done: str) -> None:
    """Say how cameras are out of step: as a warning where it is more than half a frame."""
    import warnings

    from rich.console import Console

    from posekit.errors import PosekitWarning

    console = Console(markup=False, highlight=False, soft_wrap=True)
    for remark in synchrony.remarks():
        line = f"{remark}: {what_was_done}"
        if synchrony.within_half_a_frame:
            console.print(line)
        else:
            warnings.warn(PosekitWarning(line), stacklevel=2)
