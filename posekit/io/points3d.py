"""People in 3D from any file that holds them, with the names of their joints: posekit's own and the marker files of others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.axes import UpAxis
from posekit.io.c3d import read_c3d
from posekit.io.files import require_file
from posekit.io.trc import Markers, marker_name, read_trc
from posekit.keypoints import Keypoints3D
from posekit.skeleton import SKELETONS, takes_hands, with_hands

#: Markers whose names do not follow from the joint's by `marker_name`: of other models of Pose2Sim, and of OpenPose.
OTHER_MARKERS: Mapping[str, str] = MappingProxyType(
    {
        "Hip": "mid_hip",
        "MidHip": "mid_hip",
        "RBigtoe": "right_big_toe",
        "LBigtoe": "left_big_toe",
        "RSmalltoe": "right_small_toe",
        "LSmalltoe": "left_small_toe",
    }
)


@dataclass(frozen=True, eq=False)
class Points3D:
    """Named points of people.

    xyz: (F, P, J, 3) metres in the world, NaN where missing. joints: J names, as in `posekit.skeleton`; a marker that is no
    joint known keeps its own name. frames: (F,) numbers as in the file. numbers_rows: they count the rows of a marker file, not
    the video's frames. start: the video's frame in the first row, as the file's time tells it.
    keypoints: the file as it is, where it is posekit's own.
    """

    xyz: NDArray[np.float64]
    joints: tuple[str, ...]
    frames: NDArray[np.int64]
    fps: float | None
    source: str
    numbers_rows: bool
    start: int
    keypoints: Keypoints3D | None = None

    def select(self, joints: tuple[str, ...]) -> NDArray[np.float64]:
        """Return the named joints, (F, P, n, 3); NaN for one that is not there."""
        place = {joint: number for number, joint in enumerate(self.joints)}
        chosen = np.full((*self.xyz.shape[:2], len(joints), 3), np.nan)
        for number, joint in enumerate(joints):
            if joint in place:
                chosen[:, :, number] = self.xyz[:, :, place[joint]]
        return chosen


def joint_of_marker(marker: str) -> str:
    """Joint that a marker of Pose2Sim, OpenPose or OpenSim stands for: RHip is right_hip, CHip mid_hip, Head head_top.

    A name that is not known is returned as it is.
    """
    return _joints_of_markers().get(marker, marker)


@cache
def _joints_of_markers() -> dict[str, str]:
    known = dict(OTHER_MARKERS)
    for skeleton in SKELETONS.values():
        for joint in (with_hands(skeleton) if takes_hands(skeleton) else skeleton).joints:
            known.setdefault(marker_name(joint), joint)
    return known


def read_points3d(path: str | Path, *, up: UpAxis | None = None, world_up: UpAxis = "z") -> Points3D:
    """Read people in 3D from keypoints3d.h5, or one person from a TRC or C3D file; the end of its name says which.

    up: the axis that is up in a marker file: y in a TRC file, what it says in a C3D file, if not given. world_up: the one that
    is up in the world. Raises PosekitError for a file of another kind, and where two of a file's markers are one joint.
    """
    path = require_file(path, "people in 3D")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise PosekitError(f"{path}: '{path.suffix}' is no file of people in 3D that can be read; known are: {known}")
    return reader(path, up, world_up)


def _read_own(path: Path, up: UpAxis | None, world_up: UpAxis) -> Points3D:
    keypoints = Keypoints3D.load(path)
    if keypoints.xyz.shape[1] == 0 or len(keypoints.frames) == 0:
        raise PosekitError(f"{path}: holds nobody")
    return Points3D(
        keypoints.xyz,
        keypoints.skeleton.joints,
        keypoints.frames,
        keypoints.fps,
        str(path),
        numbers_rows=False,
        start=int(keypoints.frames[0]),
        keypoints=keypoints,
    )


def _read_trc(path: Path, up: UpAxis | None, world_up: UpAxis) -> Points3D:
    return _from_markers(path, read_trc(path, up=up or "y", world_up=world_up))


def _read_c3d(path: Path, up: UpAxis | None, world_up: UpAxis) -> Points3D:
    return _from_markers(path, read_c3d(path, up=up, world_up=world_up))


def _from_markers(path: Path, markers: Markers) -> Points3D:
    joints = tuple(joint_of_marker(name) for name in markers.names)
    for number, joint in enumerate(joints):
        if joint in joints[:number]:
            names = [name for name in markers.names if joint_of_marker(name) == joint]
            raise PosekitError(f"{path}: markers {' and '.join(names)} are both the joint {joint}")
    if len(np.unique(markers.numbers)) != len(markers.numbers):
        raise PosekitError(f"{path}: a number stands twice in the column Frame#")
    return Points3D(
        markers.xyz[:, None],
        joints,
        markers.numbers,
        markers.rate,
        str(path),
        numbers_rows=True,
        start=round(float(markers.time[0]) * markers.rate),
    )


#: End of a file's name -> what reads it.
READERS: Mapping[str, Callable[[Path, UpAxis | None, UpAxis], Points3D]] = MappingProxyType(
    {".h5": _read_own, ".hdf5": _read_own, ".trc": _read_trc, ".c3d": _read_c3d}
)
