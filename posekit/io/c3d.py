"""C3D, the marker files of motion capture laboratories, through ezc3d.

Several people are several subjects of one file, their markers called ``person0:LWrist``, as Vicon's are. A missing point is
0 0 0 with the residual -1, which readers turn into NaN. No camera masks and no residuals above 0 are written: programs
disagree about which byte of a point's fourth word is which.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from posekit.errors import PosekitError
from posekit.io.axes import UpAxis, turn_up
from posekit.io.even_frames import check_person, even_steps, take_rows
from posekit.io.files import require_file, write_whole
from posekit.io.trc import Markers, marker_name
from posekit.keypoints import Keypoints3D
from posekit.units import METRES_PER_UNIT

#: C3D counts frames and points in 16 bits; ezc3d drops what is beyond without a word.
_MOST = 65535


def write_c3d(
    path: str | Path,
    keypoints: Keypoints3D,
    people: Sequence[int] = (0,),
    *,
    up: UpAxis = "z",
    world_up: UpAxis = "z",
    unit: str = "mm",
) -> None:
    """Write people as a C3D file, whole or not at all; one person's markers have no prefix.

    Rows stand at one rate as in `write_trc`; the first frame is the video's. up: laboratories have "z". world_up: the axis
    of the keypoints' world that points up. unit: a word of METRES_PER_UNIT.

    Raises PosekitError where there is no such person, no frame, no frame rate or too many frames, or without ezc3d.
    """
    path = Path(path)
    ezc3d = _import_ezc3d()
    for person in people:
        check_person(path, keypoints, person, "C3D")
    assert keypoints.fps is not None
    frames, rows = even_steps(path, keypoints.frames)
    markers = [marker_name(joint) for joint in keypoints.skeleton.joints]
    prefixes = [""] if len(people) == 1 else [f"person{person}:" for person in people]
    labels = [prefix + marker for prefix in prefixes for marker in markers]
    for what, count in (("frames", len(frames)), ("points", len(labels))):
        if count > _MOST:
            raise PosekitError(f"{path}: C3D holds at most {_MOST} {what}, these are {count}; write a part of them")
    step = int(frames[1] - frames[0]) if len(frames) > 1 else 1
    turn = turn_up(world_up, up)
    points = np.ones((4, len(labels), len(frames)))
    for place, person in enumerate(people):
        xyz = take_rows(keypoints.xyz[:, person], rows) @ turn.T / METRES_PER_UNIT[unit]
        points[:3, place * len(markers) : (place + 1) * len(markers)] = xyz.transpose(2, 1, 0)
    file = ezc3d.c3d()
    parameters = file["parameters"]
    parameters["POINT"]["RATE"]["value"] = [keypoints.fps / step]
    parameters["POINT"]["LABELS"]["value"] = labels
    parameters["POINT"]["DESCRIPTIONS"]["value"] = [*keypoints.skeleton.joints] * len(people)
    parameters["POINT"]["UNITS"]["value"] = [unit]
    # The axes that a viewer shows to the right and upwards.
    file.add_parameter("POINT", "X_SCREEN", ["+Z" if up[-1] == "y" else "+X" if up[-1] == "z" else "+Y"])
    file.add_parameter("POINT", "Y_SCREEN", [("-" if up.startswith("-") else "+") + up[-1].upper()])
    file.add_parameter("SUBJECTS", "USED", [len(people)])
    file.add_parameter("SUBJECTS", "NAMES", [f"person{person}" for person in people])
    file.add_parameter("SUBJECTS", "LABEL_PREFIXES", prefixes)
    file.add_parameter("SUBJECTS", "USES_PREFIXES", [int(len(people) > 1)])
    file.add_parameter("MANUFACTURER", "SOFTWARE", ["posekit"])
    # Where the video's own number has no place in 16 bits, frames count from 0.
    file["header"]["points"]["first_frame"] = int(frames[0]) if frames[0] + len(frames) < _MOST else 0
    file["data"]["points"] = points
    # Without a residual of -1, ezc3d writes NaN as NaN, which C3D does not know.
    file["data"]["meta_points"]["residuals"] = np.where(np.isnan(points[:1]), -1.0, 0.0)
    with write_whole(path) as temporary:
        file.write(str(temporary))


def read_c3d(path: str | Path, *, up: UpAxis | None = None, world_up: UpAxis = "z") -> Markers:
    """Read the markers of a C3D file of any of its writers into metres and a Z-up world.

    up: the axis that is up in the file; what POINT:Y_SCREEN says if not given, and "z" where there is none. world_up: another
    axis that is to be up in the result. Raises PosekitError where the file is damaged, or without ezc3d.
    """
    path = require_file(path, "a C3D file")
    ezc3d = _import_ezc3d()
    _check_size(path)
    try:
        file = ezc3d.c3d(str(path))
        point = file["parameters"]["POINT"]
        labels = tuple(str(label) for label in point["LABELS"]["value"])
        unit = str(point["UNITS"]["value"][0]) if "UNITS" in point else "mm"
        screen = str(point["Y_SCREEN"]["value"][0]).lower().lstrip("+") if "Y_SCREEN" in point else "z"
        header = file["header"]["points"]
        rate, first = float(header["frame_rate"]), int(header["first_frame"])
        points, residuals = file["data"]["points"], file["data"]["meta_points"]["residuals"][0]
    # ezc3d passes on what C++ raises, under many names.
    except (OSError, RuntimeError, ValueError, IndexError, KeyError, TypeError, MemoryError, AttributeError) as error:
        raise PosekitError(f"{path}: is no C3D file that can be read ({error})") from None
    if unit.lower() not in METRES_PER_UNIT:
        raise PosekitError(f"{path}: POINT:UNITS is '{unit}', one of {', '.join(METRES_PER_UNIT)} was expected")
    if not 0 < rate < math.inf:
        raise PosekitError(f"{path}: POINT:RATE is {rate:g}, a positive number was expected")
    count = points.shape[1]
    # A negative scale says that a coordinate is a float of 4 bytes. Of points that the file has no room for, ezc3d makes some.
    width = 4 if "SCALE" not in point or point["SCALE"]["value"][0] < 0 else 2
    if points.size * width > path.stat().st_size:
        raise PosekitError(f"{path}: is cut short: {points.size * width} bytes of points were expected")
    if len(labels) < count or len(set(labels[:count])) != count:
        raise PosekitError(f"{path}: POINT:LABELS: {count} different names were expected, one for each point")
    xyz = np.asarray(points[:3], dtype=np.float64).transpose(2, 1, 0)
    missing = ~np.isfinite(xyz).all(axis=-1) | (residuals.T < 0)
    named: dict[str, UpAxis] = {axis: axis for axis in get_args(UpAxis)}
    turn = turn_up(up or named.get(screen, "z"), world_up)
    xyz = np.where(missing[..., None], np.nan, xyz * METRES_PER_UNIT[unit.lower()]) @ turn.T
    numbers = first + np.arange(len(xyz))
    return Markers(xyz, labels[:count], rate, numbers, numbers / rate)


def _check_size(path: Path) -> None:
    """A header can promise any size: hold it against the file before ezc3d takes the memory."""
    with path.open("rb") as file:
        header = file.read(512)
    if len(header) < 512 or header[1] != 0x50:
        raise PosekitError(f"{path}: is no C3D file: its first 512 bytes are not C3D's header")
    # Words are 16 bits; files of DEC and Intel have the low byte first, SGI's have it last: the smaller reading is certain.
    words = [np.frombuffer(header, dtype=kind)[[1, 2, 3, 4]].astype(int) for kind in ("<u2", ">u2")]
    least = 2 * min((4 * points + analogs) * max(last - first + 1, 0) for points, analogs, first, last in words)
    if least > path.stat().st_size:
        raise PosekitError(f"{path}: is cut short: its header promises {least} bytes of points or more")


def _import_ezc3d() -> Any:
    try:
        import ezc3d
    except (ImportError, OSError) as error:
        raise PosekitError(f"C3D needs ezc3d, which cannot be imported ({error}): pip install 'posekit[c3d]'") from None
    return ezc3d
