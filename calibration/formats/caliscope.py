"""Caliscope's ``camera_array.toml``: tables ``[cameras.<n>]``, metres.

``rotation_count`` (quarter turns) is how Caliscope shows the video; matrix, size and points are those of the video as it was
filmed. ``rotation`` is a rotation vector, in older files the matrix; ``cam_id`` was called ``port``. What Caliscope does not
know is not in the file: a camera without a pose, or that it was told to ignore, is left out.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from posekit.calibration.formats.aniposelib import read_toml
from posekit.calibration.formats.values import NOTHING, CameraFile, CameraTable, Unsaid
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.files import require_file

#: Without one of these, a camera says nothing about where in its picture a point is.
_NEEDED = ("size", "matrix", "rotation", "translation")


def read_caliscope(path: str | Path, unsaid: Unsaid = NOTHING) -> Rig:
    """Read the cameras that have a pose, named ``cam_<cam_id>`` or ``port_<port>`` as Caliscope names their videos."""
    path = require_file(path, "Caliscope's cameras")
    tables = read_toml(path).get("cameras")
    if not isinstance(tables, dict) or not tables or not all(isinstance(table, dict) for table in tables.values()):
        raise PosekitError(f"{path}: has no tables [cameras.<n>]")
    file = CameraFile(path, unsaid)
    cameras = []
    for key, values in tables.items():
        table = file.table(f"[cameras.{key}]", values)
        missing = [field for field in _NEEDED if table.key(field) is None]
        if missing or values.get("ignore"):
            reason = f"has no {', '.join(missing)}" if missing else "is marked as ignored"
            warnings.warn(PosekitWarning(f"{table.where}: {reason}; the camera is left out"), stacklevel=2)
            continue
        cameras.append(_camera(key, values, table))
    if not cameras:
        raise PosekitError(f"{path}: has no camera with a pose; run Caliscope's extrinsic calibration")
    return file.rig(cameras, usual="m")


def _camera(key: str, values: dict[str, Any], table: CameraTable) -> Camera:
    name = (
        f"cam_{values['cam_id']}"
        if "cam_id" in values
        else f"port_{values['port']}"
        if "port" in values
        else f"cam_{key}"
    )
    return table.camera(
        name,
        table.numbers("size", (2,)),
        table.matrix("matrix"),
        table.coefficients("distortions") if table.key("distortions") else np.zeros(0),
        table.rotation("rotation"),
        table.numbers("translation", (3,), (3, 1), (1, 3)),
        bool(values.get("fisheye", False)),
    )
