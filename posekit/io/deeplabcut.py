"""DeepLabCut's 2D points, and Lightning Pose's, which are the same: HDF5 or CSV, one file per camera.

A table with one row per frame; the columns' names have the levels scorer, individuals (with several animals), bodyparts and
coords (x, y, likelihood).
"""

import csv
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError, PosekitWarning
from posekit.io.camera_files import common_frames, files_of_cameras
from posekit.io.pytables import DataTable, read_pandas_table
from posekit.keypoints import Keypoints2D
from posekit.skeleton import SKELETONS, Skeleton, matching_joints, skeleton_of_names

_LEVELS = ("scorer", "individuals", "bodyparts", "coords")


@dataclass(frozen=True, eq=False)
class _View:
    """One camera's file. values: (F, P, K, 3) x, y, likelihood; frames: (F,); bodyparts: K names."""

    values: NDArray[np.float32]
    frames: NDArray[np.int64]
    bodyparts: tuple[str, ...]
    labelled: bool  # by hand: without likelihood, and not in every frame


def read_deeplabcut(source: str | Path, skeleton: Skeleton | None = None, fps: float | None = None) -> Keypoints2D:
    """Read a folder with one ``.h5`` or ``.csv`` per camera, or the file of one camera.

    The camera is the part of the file's name before ``DLC``. skeleton: whose joints the bodyparts are, matched by name
    (LWrist, wrist_l and left_wrist are left_wrist); bodyparts that are none of its joints are named in a PosekitWarning. None:
    the known skeleton that has just these joints, or one made of the bodyparts, which has no bones. Individuals are slots.
    Points labelled by hand, which have no likelihood, have confidence 1.

    Raises PosekitError for damaged files, for files of different bodyparts, where no bodypart is a joint of the skeleton, and
    where a camera lacks frames that others have.
    """
    source = Path(source)
    files = files_of_cameras(source, (".h5", ".hdf5")) or files_of_cameras(source, (".csv",))
    if not files:
        raise PosekitError(f"{source}: holds neither .h5 nor .csv (one of DeepLabCut's per camera was expected)")
    views = {camera: _read_view(path) for camera, path in files.items()}
    first = next(iter(views.values()))
    for camera, view in views.items():
        if view.bodyparts != first.bodyparts:
            different = sorted(set(view.bodyparts) ^ set(first.bodyparts))
            raise PosekitError(
                f"{files[camera]}: its bodyparts are not those of {next(iter(files.values())).name}"
                f" ({', '.join(different) if different else 'another order'})"
            )
    order, places = _order(source, first.bodyparts, skeleton)
    if any(view.labelled for view in views.values()):
        frames = np.unique(np.concatenate([view.frames for view in views.values()]))
    else:
        frames = common_frames(source, {camera: view.frames for camera, view in views.items()})
    P = max(view.values.shape[1] for view in views.values())
    values = np.full((len(frames), len(views), P, order.joint_count, 3), np.nan, dtype=np.float32)
    for c, view in enumerate(views.values()):
        rows = np.searchsorted(frames, view.frames)
        kept = [place for place in places if place is not None]
        joints = [joint for joint, place in enumerate(places) if place is not None]
        for p in range(view.values.shape[1]):
            values[rows[:, None], c, p, np.array(kept)[None]] = view.values[:, p, joints]
    return Keypoints2D(values[..., :2], values[..., 2], tuple(views), frames, order, fps, str(source))


def _order(source: Path, bodyparts: tuple[str, ...], skeleton: Skeleton | None) -> tuple[Skeleton, list[int | None]]:
    """The skeleton, and the place in it of every bodypart; None for one that is no joint of it."""
    if skeleton is None:
        fitting = [order for order in SKELETONS.values() if order.joint_count == len(bodyparts)]
        fitting = [order for order in fitting if len(matching_joints(bodyparts, order)) == len(bodyparts)]
        if not fitting:
            return skeleton_of_names("custom", bodyparts), list(range(len(bodyparts)))
        skeleton = fitting[0]
    try:
        joints = matching_joints(bodyparts, skeleton)
    except PosekitError as error:
        raise PosekitError(f"{source}: {error}") from None
    if not joints:
        raise PosekitError(
            f"{source}: none of its bodyparts is a joint of {skeleton.name}; they are: {', '.join(bodyparts[:20])}"
        )
    unknown = [name for name in bodyparts if name not in joints]
    lacking = [joint for joint in skeleton.joints if joint not in joints.values()]
    if unknown or lacking:
        parts = [f"no joints of {skeleton.name}: {', '.join(unknown)}"] if unknown else []
        parts += [f"joints that it lacks: {', '.join(lacking)}"] if lacking else []
        warnings.warn(PosekitWarning(f"{source}: {'; '.join(parts)}"), stacklevel=3)
    return skeleton, [skeleton.index(joints[name]) if name in joints else None for name in bodyparts]


def _read_view(path: Path) -> _View:
    table = _read_csv(path) if path.suffix.casefold() == ".csv" else read_pandas_table(path)
    depth = {len(column) for column in table.columns}
    if depth not in ({3}, {4}):
        raise PosekitError(
            f"{path}: columns with the levels {', '.join(_LEVELS)} were expected; this is no DeepLabCut file"
        )
    # Without individuals, everything is of one.
    columns = [(column[1] if len(column) == 4 else "", column[-2], column[-1]) for column in table.columns]
    individuals = tuple(dict.fromkeys(column[0] for column in columns))
    bodyparts = tuple(dict.fromkeys(column[1] for column in columns))
    place = {column: number for number, column in enumerate(columns)}
    if len(place) != len(columns):
        raise PosekitError(f"{path}: has columns of several scorers, one was expected")
    labelled = not any(column[2] == "likelihood" for column in columns)
    values = np.full((len(table.values), len(individuals), len(bodyparts), 3), np.nan, dtype=np.float32)
    for p, individual in enumerate(individuals):
        for k, bodypart in enumerate(bodyparts):
            for n, coordinate in enumerate(("x", "y", "likelihood")):
                column = place.get((individual, bodypart, coordinate))
                if column is not None:
                    with np.errstate(over="ignore"):  # beyond what float32 holds: infinite, and so missing
                        values[:, p, k, n] = table.values[:, column]
                elif coordinate == "likelihood" and labelled:
                    values[:, p, k, n] = 1
                elif (individual, bodypart, "x") in place or (individual, bodypart, "y") in place:
                    raise PosekitError(f"{path}: {bodypart} has no column '{coordinate}'")
    return _View(values, _frames(path, table.index), bodyparts, labelled)


def _frames(path: Path, index: NDArray[Any]) -> NDArray[np.int64]:
    """Frame numbers: the index itself, or the last number in the names of pictures (img0012.png)."""
    if index.dtype.kind in "iu":
        frames = index.astype(np.int64)
    else:
        digits = [re.findall(r"[0-9]+", Path(str(name)).stem) for name in index]
        if not all(digits):
            name = next(name for name, found in zip(index, digits, strict=True) if not found)
            raise PosekitError(f"{path}: the row '{str(name)[:40]}' has no frame number")
        frames = np.array([int(found[-1]) for found in digits], dtype=np.int64)
    if (np.diff(frames) <= 0).any():
        raise PosekitError(f"{path}: the rows do not go forward in frames")
    return frames


def _read_csv(path: Path) -> DataTable:
    header: dict[str, list[str]] = {}
    index: list[str] = []
    rows: list[NDArray[np.float64]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if row and row[0] in _LEVELS and not rows:
                    header[row[0]] = row
                elif row:
                    # Labels by hand have folder, video and picture in columns of their own.
                    first = _first_column(path, header)
                    if len(row) != len(header["coords"]):
                        raise PosekitError(
                            f"{path}: line {number}: {len(header['coords'])} columns were expected, found {len(row)}"
                        )
                    index.append(row[first - 1])
                    rows.append(_numbers(path, number, row[first:]))
    except (ValueError, csv.Error) as error:
        raise PosekitError(f"{path}: is no table that can be read ({error})") from None
    first = _first_column(path, header)
    columns = tuple(zip(*(header[level][first:] for level in _LEVELS if level in header), strict=True))
    values = np.stack(rows) if rows else np.zeros((0, len(columns)))
    whole = all(re.fullmatch(r"[0-9]{1,18}", name) for name in index)
    return DataTable(values, columns, np.array(index, dtype=np.int64) if whole else np.array(index))


def _numbers(path: Path, line: int, cells: list[str]) -> NDArray[np.float64]:
    try:
        return np.array([cell.strip() or "nan" for cell in cells], dtype=np.float64)
    except ValueError as error:
        raise PosekitError(f"{path}: line {line}: {error}") from None


def _first_column(path: Path, header: dict[str, list[str]]) -> int:
    """Where the numbers begin: behind the index, which has no names in the header."""
    if not {"scorer", "bodyparts", "coords"} <= set(header) or len({len(row) for row in header.values()}) != 1:
        raise PosekitError(
            f"{path}: the header lines scorer, bodyparts and coords were expected; this is no DeepLabCut file"
        )
    coords = header["coords"]
    return next((number for number, name in enumerate(coords) if number and name), len(coords))
