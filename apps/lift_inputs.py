"""What ``posekit lift`` reads: 2D keypoints of one view, from a file or a video, its lens, and the lifter."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from posekit.apps.lift import LiftConfig
    from posekit.camera import Camera, Rig
    from posekit.keypoints import Keypoints2D, KeypointSource


def is_video(path: Path) -> bool:
    """Tell a video's name."""
    from posekit.capture import VIDEO_SUFFIXES

    return path.suffix.lower() in VIDEO_SUFFIXES


def open_people(config: "LiftConfig", show: "Callable[[str, int, int], None]") -> "KeypointSource":
    """Open the 2D keypoints that are given, or detect them in the video that is given."""
    from posekit.apps.triangulate import videos_beside
    from posekit.errors import PosekitError
    from posekit.io.keypoint_files import open_keypoints

    path = config.keypoints
    if not is_video(path):
        if config.detector is not None:
            raise PosekitError(f"--detector {config.detector}: {path} is no video; keypoints are lifted as they are")
        sizes = _sizes(config)
        videos = videos_beside(path)
        rate = next((video.fps for video in videos.values()), None)
        sizes |= {name: video.size for name, video in videos.items() if name not in sizes}
        return open_keypoints(path, config.skeleton, config.fps or rate, sizes)
    if config.detector is None:
        raise PosekitError(
            f"{path}: is a video: --detector rtmpose:body-with-feet finds the people in it; or give a file of their 2D "
            "keypoints in its place"
        )
    return _detected(config, show)


def _sizes(config: "LiftConfig") -> dict[str, tuple[int, int]]:
    from posekit.calibration.formats import read_rig

    return {} if config.rig is None else {camera.name: camera.size for camera in read_rig(config.rig).cameras}


def _detected(config: "LiftConfig", show: "Callable[[str, int, int], None]") -> "Keypoints2D":
    """Run another's detector on the video, picture by picture."""
    from posekit.apps.detect_inputs import Progress, open_capture
    from posekit.apps.detect_peers import detect_by_peer
    from posekit.errors import PosekitError

    name, _, variant = (config.detector or "").partition(":")
    if name != "rtmpose" or variant == "hand":
        raise PosekitError(
            f"--detector {config.detector}: found no detector of bodies of that name, expected rtmpose, rtmpose:body, "
            "rtmpose:body-with-feet or rtmpose:wholebody; of any other, give the 2D keypoints that it wrote"
        )
    capture = open_capture(config.keypoints)
    found = detect_by_peer(capture, name, variant or "body-with-feet", config.device, None, Progress(show))
    return replace(found, fps=config.fps) if config.fps else found


def lens_of(config: "LiftConfig", camera: str, source: "KeypointSource") -> tuple["Camera | None", bool]:
    """Return the camera that saw the people and whether its place in the world is known.

    From --rig with its place; from --focal and the picture's size without one, the smallest usual size that holds every
    keypoint where it is not known either; None where there is no keypoint.
    """
    import warnings

    from posekit.calibration.formats import read_rig
    from posekit.camera import match_camera_names
    from posekit.errors import PosekitWarning

    if config.rig is not None:
        rig: Rig = match_camera_names(read_rig(config.rig), source.cameras)
        if config.camera is None and len(source.cameras) == 1 and len(rig) == 1:
            return replace(rig.cameras[0], name=camera), True
        return rig[camera], True
    size = config.size or _video_size(config, camera)
    focal = config.focal
    if size is None:
        size = usual_size(source, camera)
        if size is None:
            return None, False
        guess = f"{size[0]} x {size[1]}"
        told = f"{config.keypoints}: the picture's size is not known: taken for {guess}; --size WIDTH HEIGHT says it"
        warnings.warn(PosekitWarning(told), stacklevel=2)
    # Most cameras of phones, and webcams, see about as wide as this.
    return simple_camera(camera, size, focal or float(max(size))), False


def simple_camera(name: str, size: tuple[int, int], focal: float) -> "Camera":
    """A camera without distortion that looks through the middle of its picture, level, from the origin along Y; Z is up."""
    import numpy as np

    from posekit.camera import Camera
    from posekit.lifting.result import LEVEL_WORLD_FROM_CAM

    centre = (np.array(size) - 1) / 2
    matrix: NDArray[np.float64] = np.array(((focal, 0, centre[0]), (0, focal, centre[1]), (0, 0, 1.0)))
    return Camera(name, size, matrix, np.zeros(0), LEVEL_WORLD_FROM_CAM.T, np.zeros(3))


def _video_size(config: "LiftConfig", camera: str) -> tuple[int, int] | None:
    from posekit.apps.triangulate import videos_beside
    from posekit.io.video import VideoReader

    if is_video(config.keypoints):
        return VideoReader(config.keypoints).size
    # The capture's folder of JSON, or the one camera's in it.
    for folder in (config.keypoints, config.keypoints.resolve().parent):
        video = videos_beside(folder).get(camera)
        if video is not None:
            return video.size
    return None


#: Width and height in px of the pictures that most cameras take; each may stand upright.
_USUAL_SIZES = ((640, 480), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160), (5312, 2988), (7680, 4320))

#: Pieces of so many frames, spread over the whole, are looked at for the largest coordinates: people come nearer later, too.
_PIECES, _LOOKED_AT = 32, 128


def usual_size(source: "KeypointSource", camera: str) -> tuple[int, int] | None:
    """Return the smallest usual size of a picture that holds the camera's keypoints; None where it has none, or none does."""
    import numpy as np

    F = len(source.frames)
    starts = (
        range(0, F, _LOOKED_AT) if F <= _PIECES * _LOOKED_AT else np.linspace(0, F - _LOOKED_AT, _PIECES).astype(int)
    )
    largest = []
    for start in starts:
        seen = source.read(int(start), min(int(start) + _LOOKED_AT, F)).select_cameras((camera,)).xy.reshape(-1, 2)
        seen = seen[np.isfinite(seen).all(axis=-1)]
        if len(seen):
            largest.append(seen.max(axis=0))
    if not largest:
        return None
    right, below = np.max(largest, axis=0)
    sizes = [size for wide in _USUAL_SIZES for size in (wide, wide[::-1]) if right < size[0] and below < size[1]]
    return min(sizes, key=lambda size: size[0] * size[1], default=None)


def choose_lifter(weights: Path | None) -> Any:
    """Load the lifter that ships, or the one that is given."""
    from posekit.lifting.lifter import load_lifter

    return load_lifter() if weights is None else load_lifter(weights)
