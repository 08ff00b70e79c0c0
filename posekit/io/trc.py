"""TRC, the marker files of OpenSim and Pose2Sim: tab-separated text, one row per frame, three columns per marker.

Header as Pose2Sim writes it and OpenSim's ``TRCFileAdapter`` checks it: five lines; a missing marker is ``NaN`` in all
three columns. OpenSim also takes empty columns, but a row that ends in them has counted as too short, which is
why Pose2Sim came to write ``NaN``, too.

OpenSim and Pose2Sim have Y up: of a Z-up world, the columns of a file hold (Y, Z, X). TRC itself does not say which axis is up.
"""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError, PosekitWarning
from posekit.io.axes import UpAxis, turn_up
from posekit.io.even_frames import check_person, even_steps, take_rows
from posekit.io.files import require_file, write_whole
from posekit.keypoints import Keypoints3D
from posekit.units import METRES_PER_UNIT

_HEADER = "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames"
#: Rows that are turned into text at a time.
_ROWS_AT_ONCE = 1000
#: Joints whose markers in Pose2Sim's OpenSim models are not called by the joint's own words.
_MARKERS = {"mid_hip": "CHip", "head_top": "Head"}


@dataclass(frozen=True, eq=False)
class Markers:
    """What a TRC file holds.

    xyz: (F, M, 3) metres in a Z-up world, NaN where missing. names: M markers. rate: frames per second.
    numbers: (F,) the column Frame#, which counts from 1. time: (F,) seconds.
    """

    xyz: NDArray[np.float64]
    names: tuple[str, ...]
    rate: float
    numbers: NDArray[np.int64]
    time: NDArray[np.float64]


def marker_name(joint: str) -> str:
    """Name a joint as Pose2Sim's OpenSim models do: ``left_wrist`` is LWrist, ``right_little_4`` RPinky4."""
    if joint in _MARKERS:
        return _MARKERS[joint]
    words = joint.replace("little", "pinky").split("_")
    side = words.pop(0)[0].upper() if words[0] in ("left", "right") else ""
    return side + "".join(word.capitalize() for word in words)


def write_trc(
    path: str | Path,
    keypoints: Keypoints3D,
    person: int = 0,
    *,
    up: UpAxis = "y",
    world_up: UpAxis = "z",
    unit: str = "m",
) -> None:
    """Write one person as a TRC file, whole or not at all.

    Rows follow the video's time (frame / fps) at one rate: a frame that is not in `keypoints` between others that are
    becomes a row of NaN. Markers are called as in `marker_name`. up: "y" for OpenSim and Pose2Sim. world_up: the axis of the
    keypoints' world that points up. unit: a word of METRES_PER_UNIT.

    Raises PosekitError where there is no such person, no frame, or no frame rate.
    """
    path = Path(path)
    check_person(path, keypoints, person, "TRC")
    assert keypoints.fps is not None
    frames, rows = even_steps(path, keypoints.frames)
    rate = keypoints.fps / (frames[1] - frames[0]) if len(frames) > 1 else keypoints.fps
    names = [marker_name(joint) for joint in keypoints.skeleton.joints]
    values = [rate, keypoints.fps, len(frames), len(names), unit, keypoints.fps, int(frames[0]), len(frames)]
    header = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        _HEADER,
        "\t".join(f"{value:.10g}" if isinstance(value, float) else str(value) for value in values),
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{number}" for number in range(1, len(names) + 1) for axis in "XYZ"),
    ]
    turn = turn_up(world_up, up)
    with write_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(header) + "\n")
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            xyz = (
                take_rows(keypoints.xyz[:, person], rows[start : start + _ROWS_AT_ONCE])
                @ turn.T
                / METRES_PER_UNIT[unit]
            )
            table = xyz.reshape(len(xyz), -1).tolist()
            for number, row in enumerate(table, start=start):
                # repr() of a float is the shortest text that reads back as the same number.
                numbers = "\t".join("NaN" if math.isnan(value) else repr(value) for value in row)
                file.write(f"{number + 1}\t{int(frames[number]) / keypoints.fps!r}\t{numbers}\n")


def read_trc(path: str | Path, *, up: UpAxis = "y", world_up: UpAxis = "z") -> Markers:
    """Read a TRC file of any of its writers into metres and a Z-up world.

    up: the axis that is up in the file, of which TRC says nothing; OpenSim and Pose2Sim have "y". world_up: another axis that
    is to be up in the result.
    Empty columns and NaN in any spelling are missing markers. A number of frames that disagrees with the
    rows is told in a PosekitWarning, and the rows are believed. Raises PosekitError where the file is damaged.
    """
    path = require_file(path, "TRC markers")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise PosekitError(f"{path}: is no TRC file: it is not text") from None
    if not lines or not lines[0].startswith("PathFileType"):
        raise PosekitError(f"{path}: is no TRC file: line 1 must start with 'PathFileType'")
    if len(lines) < 5:
        raise PosekitError(f"{path}: is cut short: it has {len(lines)} lines, its header alone has 5")
    header = _read_header(path, lines)
    names = tuple(name.strip() for name in lines[3].split("\t")[2:] if name.strip())
    promised = _header_number(path, header, "NumMarkers")
    if len(names) != promised:
        raise PosekitError(f"{path}: line 4 names {len(names)} markers, NumMarkers says {promised:g}")
    if len(set(names)) != len(names):
        raise PosekitError(f"{path}: line 4 names a marker twice")
    rows = [_read_row(path, number, line, len(names)) for number, line in enumerate(lines[5:], start=6) if line.strip()]
    if not rows:
        raise PosekitError(f"{path}: has no row of data")
    if len(rows) != (frame_count := _header_number(path, header, "NumFrames")):
        warnings.warn(
            PosekitWarning(f"{path}: NumFrames says {frame_count:g}, it has {len(rows)} rows, which are used"),
            stacklevel=2,
        )
    table = np.array(rows)
    xyz = table[:, 2:].reshape(len(rows), len(names), 3)
    missing = ~np.isfinite(xyz).all(axis=-1, keepdims=True)
    xyz = np.where(missing, np.nan, xyz * _metres_per_unit(path, header)) @ turn_up(up, world_up).T
    rate = _header_number(path, header, "DataRate")
    if not rate > 0:
        raise PosekitError(f"{path}: DataRate is {rate:g}, a positive number was expected")
    return Markers(xyz, names, rate, table[:, 0].astype(np.int64), table[:, 1])


def _read_header(path: Path, lines: list[str]) -> dict[str, str]:
    keys, values = lines[1].split(), lines[2].split()
    if len(keys) != len(values):
        raise PosekitError(f"{path}: line 2 names {len(keys)} fields, line 3 has {len(values)} values")
    return dict(zip(keys, values, strict=True))


def _header_number(path: Path, header: dict[str, str], key: str) -> float:
    try:
        number = float(header[key])
    except KeyError:
        raise PosekitError(f"{path}: line 2 has no field {key}") from None
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise PosekitError(f"{path}: {key} is '{header[key]}', a number was expected")
    return number


def _metres_per_unit(path: Path, header: dict[str, str]) -> float:
    unit = header.get("Units", "none")
    try:
        return METRES_PER_UNIT[unit.lower()]
    except KeyError:
        raise PosekitError(f"{path}: Units is '{unit}', one of {', '.join(METRES_PER_UNIT)} was expected") from None


def _read_row(path: Path, number: int, line: str, marker_count: int) -> list[float]:
    cells = [cell.strip() for cell in line.split("\t")]
    expected = 2 + 3 * marker_count
    # Some writers end each row with a tab, others drop the empty columns at a row's end.
    cells = cells[:expected] + [cell for cell in cells[expected:] if cell]
    if not 2 < len(cells) <= expected:
        raise PosekitError(f"{path}: line {number} has {len(cells)} columns, {expected} were expected")
    cells += [""] * (expected - len(cells))
    try:
        row = [float(cell) if cell else math.nan for cell in cells]
    except ValueError as error:
        raise PosekitError(f"{path}: line {number}: {error}") from None
    if not (math.isfinite(row[0]) and math.isfinite(row[1])):
        raise PosekitError(f"{path}: line {number} has no frame number or no time")
    return row
