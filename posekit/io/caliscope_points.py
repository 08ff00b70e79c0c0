"""Caliscope's 2D points of people, ``xy_HOLISTIC.csv``: MediaPipe Holistic, all cameras in one table."""

import contextlib
import gzip
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D
from posekit.skeleton import BLAZEPOSE_33, Skeleton, with_hands

#: Number of a part's first point -> how many it has. Points from 500 on are the face's, which has no joints here.
_PARTS = {"body": (0, 33), "right_hand": (100, 21), "left_hand": (200, 21)}
_FACE = 500


def read_caliscope_points(path: str | Path, skeleton: Skeleton | None = None, fps: float | None = None) -> Keypoints2D:
    """Read ``xy_HOLISTIC.csv`` (or ``.csv.gz``): BLAZEPOSE_33 with hands, one person, confidence 1.

    The frame is the sync_index. The cameras are ``cam_<n>`` or ``port_<n>``, as the camera_array.toml beside or above the table
    calls them, and as the table's own column does where there is none. The face is left out.

    Raises PosekitError for damaged files, for tables of a board's corners, and for points that are none of Holistic's.
    """
    path = Path(path)
    order = with_hands(BLAZEPOSE_33)
    if skeleton not in (None, BLAZEPOSE_33, order):
        raise PosekitError(f"{path}: holds joints of {order.name}, not of {skeleton.name}")
    with _opened(path) as file:
        columns = file.readline().strip().split(",")
        number = next((name for name in ("cam_id", "port") if name in columns), None)
        point = next((name for name in ("point_id", "keypoint_id") if name in columns), None)
        if number is None or point is None or not {"sync_index", "img_loc_x", "img_loc_y"} <= set(columns):
            raise PosekitError(
                f"{path}: columns sync_index, cam_id or port, point_id, img_loc_x and img_loc_y were expected; this is no "
                "table of Caliscope's points"
            )
        wanted = [columns.index(name) for name in ("sync_index", number, point, "img_loc_x", "img_loc_y")]
        first_row = file.readline()
        if not first_row.strip():
            raise PosekitError(f"{path}: holds no points")
        on_board = [columns.index(name) for name in ("obj_loc_x", "board_loc_x") if name in columns]
        if any(first_row.split(",")[place : place + 1] not in ([], [""]) for place in on_board):
            raise PosekitError(f"{path}: holds the corners of a board, not the joints of a person")
        rows = np.loadtxt(itertools.chain((first_row,), file), delimiter=",", usecols=wanted, ndmin=2)
    counts = rows[:, :3]
    if (counts != np.round(counts)).any() or counts.min() < 0 or counts.max() >= 2**53:
        raise PosekitError(f"{path}: sync_index, {number} and {point}: whole numbers were expected")
    frames, f = np.unique(rows[:, 0].astype(np.int64), return_inverse=True)
    cameras, c = np.unique(rows[:, 1].astype(np.int64), return_inverse=True)
    joint = np.full(_FACE, -1)
    for part, (first, count) in _PARTS.items():
        joint[first : first + count] = order.part(part)
    points = rows[:, 2].astype(np.int64)
    j = np.where(points < _FACE, joint[np.minimum(points, _FACE - 1)], -1)
    if ((points < _FACE) & (j < 0)).any():
        strange = points[(points < _FACE) & (j < 0)][0]
        raise PosekitError(
            f"{path}: {point} {strange} is none of Holistic's (0-32 body, 100-120 and 200-220 hands, face from 500)"
        )
    xy = np.full((len(frames), len(cameras), 1, order.joint_count, 2), np.nan, dtype=np.float32)
    kept = j >= 0
    with np.errstate(over="ignore"):  # beyond what float32 holds: infinite, and so missing
        xy[f[kept], c[kept], 0, j[kept]] = rows[kept, 3:]
    prefix = _camera_prefix(path, number)
    names = tuple(f"{prefix}_{camera}" for camera in cameras)
    confidence = np.isfinite(xy[..., 0]).astype(np.float32)
    return Keypoints2D(xy, confidence, names, frames, order, fps, str(path))


def _camera_prefix(path: Path, column: str) -> str:
    """``cam`` or ``port``: an old table may stand beside a rig of today."""
    for folder in list(path.resolve().parents)[:4]:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return "cam" if "cam_id" in (folder / "camera_array.toml").read_text(encoding="utf-8") else "port"
    return "cam" if column == "cam_id" else "port"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            yield file
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise PosekitError(f"{path}: is no table that can be read ({' '.join(str(error).split())[:200]})") from None
