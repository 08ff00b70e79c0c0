"""The ``pose-3d`` CSV files of Anipose: one row per frame, six columns per joint."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.even_frames import check_person
from posekit.io.files import require_file, write_whole
from posekit.keypoints import Keypoints3D

_PER_JOINT = ("x", "y", "z", "error", "ncams", "score")
_AXES_CHANGE = tuple(f"M_{row}{column}" for row in range(3) for column in range(3))
_CENTRE = tuple(f"center_{axis}" for axis in range(3))


@dataclass(frozen=True, eq=False)
class AniposePose:
    """What a pose-3d file holds.

    xyz: (F, J, 3) in the unit of the calibration, in its world, NaN where missing. error: (F, J) px. views: (F, J), the number
    of cameras; score: (F, J), the least confidence of them; both NaN where missing. joints: J names. frames: (F,) ``fnum``.
    """

    xyz: NDArray[np.float64]
    error: NDArray[np.float64]
    views: NDArray[np.float64]
    score: NDArray[np.float64]
    joints: tuple[str, ...]
    frames: NDArray[np.int64]


def write_anipose_csv(path: str | Path, keypoints: Keypoints3D, person: int = 0) -> None:
    """Write one person with Anipose's columns, whole or not at all.

    Per joint: x, y, z in metres (Anipose's own files have the unit of its board); error, the mean reprojection error in
    px over the views that agree; ncams, their number; score, which posekit has no like of and leaves empty, like every
    missing value. Then M_00 ... M_22 and center_0 ... 2, the change of axes, here none; and fnum, the frame number.

    Raises PosekitError where there is no such person, or no frame.
    """
    path = Path(path)
    check_person(path, keypoints, person)
    columns = [f"{joint}_{what}" for joint in keypoints.skeleton.joints for what in _PER_JOINT]
    unchanged = [*np.eye(3).ravel().tolist(), 0.0, 0.0, 0.0]
    with write_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        # Lines end as pandas, with which Anipose writes, ends them here.
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, *_AXES_CHANGE, *_CENTRE, "fnum"])
        for row, frame in enumerate(keypoints.frames.tolist()):
            inliers = keypoints.inliers[row, person]
            count = inliers.sum(axis=-1).astype(np.float64)
            total = np.where(inliers, np.nan_to_num(keypoints.reprojection_px[row, person]), 0).sum(axis=-1)
            views = np.where(count > 0, count, np.nan)
            values = np.column_stack((keypoints.xyz[row, person], total / views, views, np.full(len(count), np.nan)))
            cells = ("" if math.isnan(value) else repr(value) for value in values.ravel().tolist())
            writer.writerow([*cells, *unchanged, frame])


def read_anipose_csv(path: str | Path) -> AniposePose:
    """Read a pose-3d file of Anipose or of posekit; the change of axes M and center, if there is one, is taken back.

    Its unit is that of the calibration, which the file does not say. Raises PosekitError where the file is damaged.
    """
    path = require_file(path, "Anipose's pose-3d CSV")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            names, *rows = list(csv.reader(file)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise PosekitError(f"{path}: is no CSV file that can be read ({error})") from None
    joints = tuple(name.removesuffix("_x") for name in names if name.endswith("_x"))
    if not joints:
        raise PosekitError(f"{path}: is no pose-3d file: no column is called <joint>_x")
    if len(set(names)) != len(names):
        raise PosekitError(f"{path}: two columns have one name")
    table = _numbers(path, names, rows)

    def columns(wanted: list[str]) -> NDArray[np.float64]:
        missing = [name for name in wanted if name not in names]
        if missing:
            raise PosekitError(f"{path}: has no column '{missing[0]}'")
        return table[:, [names.index(name) for name in wanted]]

    values = columns([f"{joint}_{what}" for joint in joints for what in _PER_JOINT]).reshape(len(rows), len(joints), 6)
    xyz = values[..., :3]
    if "M_00" in names and len(rows):
        change = columns([*_AXES_CHANGE, *_CENTRE])[0]
        turn, centre = change[:9].reshape(3, 3), change[9:]
        # Anipose's rows of M are unit vectors at right angles: shown = M point - center.
        if not (np.isfinite(change).all() and np.allclose(turn @ turn.T, np.eye(3), atol=1e-6)):
            raise PosekitError(f"{path}: M_00 ... M_22: are no change of axes")
        xyz = (xyz + centre) @ turn
    frames = columns(["fnum"])[:, 0] if "fnum" in names else np.arange(len(rows), dtype=np.float64)
    if not np.isfinite(frames).all():
        raise PosekitError(f"{path}: fnum: a number was expected in every row")
    xyz = np.where(np.isfinite(xyz).all(axis=-1, keepdims=True), xyz, np.nan)
    return AniposePose(xyz, values[..., 3], values[..., 4], values[..., 5], joints, frames.astype(np.int64))


def _numbers(path: Path, names: list[str], rows: list[list[str]]) -> NDArray[np.float64]:
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise PosekitError(f"{path}: line {number} has {len(row)} columns, {len(names)} were expected")
    try:
        table = [[float(cell) if cell else math.nan for cell in row] for row in rows]
    except ValueError as error:
        raise PosekitError(f"{path}: {error}") from None
    return np.array(table, dtype=np.float64).reshape(len(rows), len(names))
