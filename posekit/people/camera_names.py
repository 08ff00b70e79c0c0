"""2D keypoints whose cameras the capture calls by other names."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

from posekit.camera import pair_camera_names
from posekit.errors import PosekitWarning
from posekit.keypoints import Keypoints2D, KeypointSource


class RenamedKeypoints:
    """A `KeypointSource` whose cameras, in the same order, have other names."""

    def __init__(self, source: KeypointSource, cameras: Sequence[str]) -> None:
        self._source, self.cameras = source, tuple(cameras)
        self.frames, self.skeleton, self.fps, self.source = source.frames, source.skeleton, source.fps, source.source

    def read(self, start: int, stop: int) -> Keypoints2D:
        """Return the frames ``frames[start:stop]``."""
        return replace(self._source.read(start, stop), cameras=self.cameras)


def match_keypoint_cameras(keypoints: KeypointSource, names: Sequence[str]) -> KeypointSource:
    """Call the cameras of 2D keypoints by the names of the capture, by the rule of `posekit.camera.match_camera_names`.

    cam0 and cam1 are cam0_test.mp4 and cam1_test.mp4, of which there may be more. Warns, naming the pairs; returned as they are
    where it is not clear.
    """
    # Asked the other way round: a capture may have more cameras than the keypoints, which are of some of its videos.
    pairs = {own: name for name, own in pair_camera_names(names, keypoints.cameras).items()}
    if not pairs:
        return keypoints
    told = ", ".join(f"{old} is taken for {new}" for old, new in pairs.items())
    warnings.warn(
        PosekitWarning(f"{keypoints.source}: its cameras have other names than the capture's: {told}"), stacklevel=2
    )
    return RenamedKeypoints(keypoints, [pairs.get(camera, camera) for camera in keypoints.cameras])
