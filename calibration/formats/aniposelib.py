"""The camera file of aniposelib, which posekit's own ``calibration.toml`` is too, with ``units`` added.

One table per camera with ``name, size, matrix, distortions, rotation (Rodrigues), translation``. The file does not say in which
unit translations are: aniposelib leaves them in the unit of the board (millimetres as a rule), Pose2Sim writes metres.
"""

import tomllib
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tomli_w
from scipy.spatial.transform import Rotation

from posekit.camera import Camera, Rig
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.files import require_file, write_whole
from posekit.units import METRES_PER_UNIT

#: Tables that peers keep beside those of the cameras.
_OTHER_TABLES = ("metadata", "capture_volume", "charuco", "checkerboard")

#: A camera further than this from the origin, read as metres, is taken for millimetres that nobody declared.
_FAR_METRES = 200.0


def read_aniposelib(path: str | Path) -> Rig:
    """Read a rig; metres unless the file's ``[metadata] units`` says ``mm`` or ``cm``.

    Raises PosekitError naming the camera and the field where a value is missing or cannot be, and where translations without
    a unit are so long that they cannot be metres.
    """
    path = require_file(path, "cameras")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PosekitError(f"{path}: is no TOML file ({error})") from None
    metadata = tables.get("metadata", {})
    units = metadata.get("units") if isinstance(metadata, dict) else None
    if units is not None and (not isinstance(units, str) or units not in METRES_PER_UNIT):
        raise PosekitError(f"{path}: [metadata] units: '{units}' is not known; known are: {', '.join(METRES_PER_UNIT)}")
    cameras = []
    for key, table in tables.items():
        if key in _OTHER_TABLES or not isinstance(table, dict):
            continue
        cameras.append(_camera(path, key, table, METRES_PER_UNIT[units or "m"]))
    if not cameras:
        raise PosekitError(f"{path}: has no camera table")
    rig = Rig(tuple(cameras), str(path))
    farthest = max(float(np.linalg.norm(camera.translation)) for camera in cameras)
    if units is None and farthest > _FAR_METRES:
        raise PosekitError(
            f"{path}: translations up to {farthest:.0f} are too long to be metres; "
            'add units = "mm" (or "cm", "m") to its [metadata] table'
        )
    if units is None:
        warnings.warn(PosekitWarning(f"{path}: does not say its units; read as metres"), stacklevel=2)
    return rig


def _camera(path: Path, key: str, table: dict[str, Any], metres: float) -> Camera:
    where = f"{path}: [{key}]"
    missing = [name for name in ("size", "matrix", "rotation", "translation") if name not in table]
    if missing:
        raise PosekitError(f"{where}: lacks {', '.join(missing)}")
    if table.get("fisheye"):
        raise PosekitError(f"{where}: fisheye: lenses of this kind are not supported yet; undistort the video first")
    values = {
        "size": _numbers(where, table, "size", (2,)),
        "matrix": _numbers(where, table, "matrix", (3, 3)),
        "rotation": _numbers(where, table, "rotation", (3,)),
        "translation": _numbers(where, table, "translation", (3,)),
    }
    try:
        distortion = np.asarray(table.get("distortions", []), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise PosekitError(f"{where}: distortions: {table['distortions']!r} are not numbers") from None
    if distortion.ndim != 1:
        raise PosekitError(f"{where}: distortions: has shape {distortion.shape}, a list of numbers was expected")
    try:
        return Camera(
            name=str(table.get("name", key)),
            size=(values["size"][0], values["size"][1]),
            matrix=values["matrix"],
            distortion=distortion,
            rotation=np.asarray(cv2.Rodrigues(values["rotation"])[0], dtype=np.float64),
            translation=values["translation"] * metres,
        )
    except PosekitError as error:
        raise PosekitError(f"{path}: {error}") from None


def _numbers(where: str, table: dict[str, Any], field: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(table[field], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise PosekitError(f"{where}: {field}: {table[field]!r} are not numbers") from None
    if array.shape != shape or not np.isfinite(array).all():
        raise PosekitError(
            f"{where}: {field}: finite numbers of shape {shape} were expected, found shape {array.shape}"
        )
    return array


def write_aniposelib(path: str | Path, rig: Rig, made_by: str = "") -> None:
    """Write a rig in metres, with ``units`` and how it was made; whole or not at all."""
    content: dict[str, Any] = {}
    for number, camera in enumerate(rig.cameras):
        # aniposelib itself knows 5 coefficients; the rational model's 8 are written only where they are needed.
        distortion = camera.distortion if camera.distortion[5:].any() else camera.distortion[:5]
        content[f"cam_{number}"] = {
            "name": camera.name,
            "size": list(camera.size),
            "matrix": camera.matrix.tolist(),
            "distortions": distortion.tolist(),
            # cv2.Rodrigues takes an angle within 1e-5 of 0 or of a half turn for 0 or a half turn.
            "rotation": Rotation.from_matrix(camera.rotation).as_rotvec().tolist(),
            "translation": camera.translation.tolist(),
        }
    content["metadata"] = {"units": "m", "made_by": made_by or "posekit"}
    with write_whole(path) as temporary:
        temporary.write_text(tomli_w.dumps(content), encoding="utf-8")
