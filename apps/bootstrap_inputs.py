"""What ``posekit bootstrap`` opens, whatever it learns: the capture with its rig, in step, and the 2D keypoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posekit.camera import Rig
    from posekit.capture import Capture
    from posekit.keypoints import Keypoints2D, KeypointSource
    from posekit.skeleton import Skeleton


def open_capture(folder: Path, rig_path: Path) -> "tuple[Capture, Rig]":
    """Open a capture with its rig, whose cameras bear the names of the videos, and check that they belong together."""
    from posekit.calibration.formats import read_rig
    from posekit.camera import match_camera_names
    from posekit.capture import Capture

    capture = Capture.open(folder)
    rig = match_camera_names(read_rig(rig_path), tuple(capture.videos))
    capture.check_rig(rig)
    return capture.in_step_with(rig), rig


def open_in_some_order(
    path: Path, orders: "Sequence[str | Skeleton | None]", capture: "Capture", rig: "Rig"
) -> "KeypointSource":
    """Open 2D keypoints in the first of these orders of joints that they can have; raises what the first one raises.

    An order may be a skeleton's name. None: what the files tell.
    """
    from posekit.errors import PosekitError
    from posekit.io.keypoint_files import open_keypoints

    sizes = {camera.name: camera.size for camera in rig.cameras}
    refused: list[PosekitError] = []
    for order in orders:
        try:
            return open_keypoints(path, order, capture.fps, sizes)
        except PosekitError as error:
            refused.append(error)
    raise refused[0]


def read_keypoints(
    path: Path, orders: "Sequence[str | Skeleton | None]", capture: "Capture", rig: "Rig"
) -> "Keypoints2D":
    """Read the 2D keypoints of a capture, in step; orders: as `open_in_some_order` tries them."""
    from posekit.apps.in_step import keypoints_of_capture
    from posekit.people.camera_names import match_keypoint_cameras

    source = open_in_some_order(path, orders, capture, rig)
    keypoints = keypoints_of_capture(match_keypoint_cameras(source, tuple(capture.videos)), capture)
    check_against_capture(path, keypoints, capture.videos, capture.frame_count)
    return keypoints


def check_against_capture(path: Path, keypoints: "Keypoints2D", videos: dict[str, Path], frame_count: int) -> None:
    """Raise PosekitError where keypoints are of cameras or frames that the videos do not have."""
    from posekit.errors import PosekitError

    for camera in keypoints.cameras:
        if camera not in videos:
            raise PosekitError(
                f"{path}: has keypoints of camera '{camera}', for which there is no video; "
                f"there are: {', '.join(videos)}"
            )
    for camera in videos:
        if camera not in keypoints.cameras:
            raise PosekitError(f"{path}: has no keypoints of camera '{camera}' ({videos[camera]})")
    if len(keypoints.frames) == 0 or int(keypoints.frames.max()) >= frame_count or int(keypoints.frames.min()) < 0:
        raise PosekitError(
            f"{path}: has frames {keypoints.frames.min() if len(keypoints.frames) else '-'} to "
            f"{keypoints.frames.max() if len(keypoints.frames) else '-'}, the videos have 0 to {frame_count - 1}"
        )
