"""Others' detectors for ``posekit detect``: each camera's video through them, joined into one capture's keypoints."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from posekit.apps.detect_inputs import Progress
from posekit.capture import Capture
from posekit.detection.adapters import mediapipe_hands, rtmpose
from posekit.errors import PosekitError
from posekit.io.video import VideoReader
from posekit.keypoints import Keypoints2D


def detect_by_peer(
    capture: Capture, name: str, variant: str | None, device: str, python: Path | None, progress: Progress
) -> Keypoints2D:
    """Run one of others' detectors on every video. variant: MediaPipe's model file, or which of RTMPose's networks.

    Raises PosekitError where the detector is not installed, or has no such variant.
    """
    if name == "rtmpose":
        kind: Any = variant or "wholebody"
        if kind not in rtmpose.SOLUTIONS:
            raise PosekitError(f"--detector rtmpose:{kind}: known are: {', '.join(rtmpose.SOLUTIONS)}")
        network = rtmpose.Rtmpose(kind, "cuda" if device.startswith("cuda") else "cpu")
    views = []
    for camera, path in capture.videos.items():
        pictures = _told(VideoReader(path), camera, capture.frame_counts[camera], progress)
        if name == "rtmpose":
            views.append(rtmpose.detect_people(pictures, camera, capture.fps, network))
        else:
            model = None if variant is None else Path(variant)
            views.append(mediapipe_hands.detect_hands(pictures, camera, capture.fps, model=model, python=python))
    return _joined(views, capture, progress)


def _told(video: VideoReader, camera: str, count: int, progress: Progress) -> Iterator[np.ndarray]:
    for number, picture in enumerate(video.frames(stop=count)):
        yield picture
        progress.tell(f"detecting in {camera}", number + 1, count)


def _joined(views: list[Keypoints2D], capture: Capture, progress: Progress) -> Keypoints2D:
    """Join the views; those of shorter videos end with nothing found."""
    F = max(len(view.frames) for view in views)
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
        xy, confidence, cameras, np.arange(F), views[0].skeleton, capture.fps, views[0].source.rpartition(",")[0]
    )
