"""Others' detectors for ``posekit detect``: each camera's video through them, joined into one capture's keypoints."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.apps.detect_inputs import Progress
from posekit.capture import Capture
from posekit.detection.adapters import mediapipe_hands, rtmpose
from posekit.errors import PosekitError
from posekit.io.video import VideoReader
from posekit.keypoints import Keypoints2D, KeypointSource

#: Hands that MediaPipe looks for in a picture unless more people are expected: those of one.
MEDIAPIPE_HANDS = 2


def open_peer(
    capture: Capture,
    name: str,
    variant: str | None,
    device: str,
    python: Path | None,
    progress: Progress,
    *,
    hands: int = MEDIAPIPE_HANDS,
) -> KeypointSource:
    """Return what one of others' detectors finds in every video; it is read once, from the first frame to the last.

    variant: MediaPipe's model file, or which of RTMPose's networks. hands: that MediaPipe looks for in a picture.

    Raises PosekitError where the detector is not installed, or has no such variant.
    """
    if name == "rtmpose":
        kind: Any = variant or "wholebody"
        if kind not in rtmpose.SOLUTIONS:
            raise PosekitError(f"--detector rtmpose:{kind}: known are: {', '.join(rtmpose.SOLUTIONS)}")
        return _PeopleInPictures(
            capture, rtmpose.Rtmpose(kind, "cuda" if device.startswith("cuda") else "cpu"), progress
        )
    model = None if variant is None else Path(variant)
    # MediaPipe follows hands through a video in a process of its own: one after the other, not as many as there are cameras.
    views = [
        mediapipe_hands.detect_hands(
            _told(capture, camera, progress), camera, capture.fps, model=model, python=python, hands=hands
        )
        for camera in capture.videos
    ]
    return _joined(views, np.arange(max(len(view.frames) for view in views)), capture, progress)


def detect_by_peer(
    capture: Capture, name: str, variant: str | None, device: str, python: Path | None, progress: Progress
) -> Keypoints2D:
    """Return all of `open_peer` at once."""
    source = open_peer(capture, name, variant, device, python, progress)
    return source.read(0, len(source.frames))


class _PeopleInPictures:
    """A `KeypointSource` of RTMPose's people: whole bodies in an hour of video are more than fit into memory."""

    def __init__(self, capture: Capture, network: rtmpose.Rtmpose, progress: Progress) -> None:
        self._capture, self._network, self._progress = capture, network, progress
        self.cameras, self.frames = tuple(capture.videos), np.arange(max(capture.frame_counts.values()))
        self.skeleton, self.fps, self.source = network.skeleton, capture.fps, f"RTMPose {network.kind}"
        self._pictures = {camera: _told(capture, camera, progress) for camera in self.cameras}

    def read(self, start: int, stop: int) -> Keypoints2D:
        """Detect everybody in ``frames[start:stop]``, which must be the next ones."""
        views = [
            rtmpose.detect_people(islice(pictures, stop - start), camera, self.fps, self._network)
            for camera, pictures in self._pictures.items()
        ]
        return _joined(views, self.frames[start:stop], self._capture, self._progress)


def _told(capture: Capture, camera: str, progress: Progress) -> Iterator[np.ndarray]:
    count = capture.frame_counts[camera]
    for number, picture in enumerate(VideoReader(capture.videos[camera]).frames(stop=count)):
        progress.tell(f"detecting in {camera}", number + 1, count)
        yield picture


def _joined(views: list[Keypoints2D], frames: NDArray[np.int64], capture: Capture, progress: Progress) -> Keypoints2D:
    """Join the views; those of shorter videos end with nothing found."""
    F = len(frames)
    P = max(view.confidence.shape[2] for view in views)
    J = views[0].skeleton.joint_count
    xy = np.full((F, len(views), P, J, 2), np.nan, dtype=np.float32)
    confidence = np.zeros((F, len(views), P, J), dtype=np.float32)
    for c, view in enumerate(views):
        rows, slots = len(view.frames), view.confidence.shape[2]
        xy[:rows, c, :slots], confidence[:rows, c, :slots] = view.xy[:, 0], view.confidence[:, 0]
    cameras = tuple(capture.videos)
    progress.count(cameras, confidence, None)
    return Keypoints2D(
        xy, confidence, cameras, frames, views[0].skeleton, capture.fps, views[0].source.rpartition(",")[0]
    )
