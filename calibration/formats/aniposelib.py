"""The camera file of aniposelib, which posekit's own ``calibration.toml`` is too, with ``units`` added.

One table per camera with ``name, size, matrix, distortions, rotation (Rodrigues), translation`` and, for a fisheye,
``fisheye = true``. Pose2Sim, FreeMoCap and Lightning Pose write it, too. Most of them do not say in which unit translations
are: aniposelib leaves them in the unit of the board (millimetres as a rule), Pose2Sim writes metres, FreeMoCap millimetres.
posekit adds ``time_offset_s`` where a camera is not in step, see `posekit.camera.Camera`.
"""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from scipy.spatial.transform import Rotation

from posekit.calibration.formats.values import NOTHING, Array, CameraFile, Unsaid, text_of, warn_of_skew
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError
from posekit.io.files import require_file, write_whole
from posekit.units import METRES_PER_UNIT

#: Tables that peers keep beside those of the cameras.
_OTHER_TABLES = ("metadata", "capture_volume", "charuco", "checkerboard")

#: What only FreeMoCap writes into ``[metadata]``.
_FREEMOCAPS_KEYS = ("reprojection_error_px", "n_observations_used", "solver_time_seconds")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; raises PosekitError where it is none."""
    try:
        return tomllib.loads(text_of(path, "TOML file"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PosekitError(f"{path}: is no TOML file ({error})") from None


def read_aniposelib(path: str | Path, unsaid: Unsaid = NOTHING) -> Rig:
    """Read a rig; metres unless the file's ``[metadata]`` says ``units``, or has what only FreeMoCap writes there.

    Raises PosekitError naming the camera and the field where a value is missing or cannot be, and where translations without
    a unit are so long that they cannot be metres.
    """
    path = require_file(path, "cameras")
    tables = read_toml(path)
    metadata = tables.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    units = metadata.get("units")
    if units is not None and (not isinstance(units, str) or units not in METRES_PER_UNIT):
        raise PosekitError(f"{path}: [metadata] units: '{units}' is not known; known are: {', '.join(METRES_PER_UNIT)}")
    file = CameraFile(path, unsaid)
    cameras = [
        _camera(file, key, table)
        for key, table in tables.items()
        if key not in _OTHER_TABLES and isinstance(table, dict)
    ]
    if not cameras:
        raise PosekitError(f"{path}: has no camera table")
    usual = "mm" if _is_freemocaps(metadata) else None
    return file.rig(cameras, said=units, usual=usual)


def _is_freemocaps(metadata: dict[str, Any]) -> bool:
    # Older versions write only the board's square, in the unit that a person gave: 5 or more can but be millimetres.
    square = metadata.get("charuco_square_size")
    return any(key in metadata for key in _FREEMOCAPS_KEYS) or (isinstance(square, int | float) and square >= 5)


def _camera(file: CameraFile, key: str, values: dict[str, Any]) -> Camera:
    table = file.table(f"[{key}]", values)
    size = table.key("size", "image_size") or "size"
    table.require(size, "matrix", "rotation", "translation")
    fisheye = values.get("fisheye", False)
    if not isinstance(fisheye, bool):
        raise PosekitError(f"{table.where}: fisheye: {fisheye!r} is neither true nor false")
    distortion = table.coefficients("distortions") if table.key("distortions") else np.zeros(0)
    if _divided_by_64(distortion):
        table.odd(
            "distortions: are Qualisys's divided by 64, as an older Pose2Sim wrote them, and say too little of the lens; read "
            "as they are: take the .qca.txt itself"
        )
    camera = table.camera(
        str(values.get("name", key)),
        table.numbers(size, (2,)),
        table.matrix("matrix"),
        distortion,
        table.rotation("rotation"),
        table.numbers("translation", (3,), (3, 1), (1, 3)),
        fisheye,
    )
    if table.key("time_offset_s"):
        return replace(camera, time_offset_s=float(table.numbers("time_offset_s", ())))
    return camera


def _divided_by_64(distortion: Array) -> bool:
    """Whether all coefficients become numbers of six decimals, as Qualisys writes them, when multiplied by 64.

    By chance one number with more digits does so once in ten thousand times; three of them are asked for.
    """

    def of_six_decimals(values: Array) -> bool:
        millionths = values * 1e6
        return bool((np.abs(millionths - np.round(millionths)) < 1e-4).all())

    some = distortion[distortion != 0]
    return len(some) >= 3 and np.isfinite(some).all() and of_six_decimals(64 * some) and not of_six_decimals(some)


def write_aniposelib(path: str | Path, rig: Rig, made_by: str = "") -> None:
    """Write a rig in metres, with ``units`` and how it was made; whole or not at all."""
    warn_of_skew(Path(path), rig)
    content: dict[str, Any] = {}
    for number, camera in enumerate(rig.cameras):
        # aniposelib itself knows 5 coefficients, 4 of a fisheye; the rational model's 8 are written only where they are needed.
        count = 4 if camera.fisheye else 8 if camera.distortion[5:].any() else 5
        content[f"cam_{number}"] = {
            "name": camera.name,
            "size": list(camera.size),
            "matrix": camera.matrix.tolist(),
            "distortions": camera.distortion[:count].tolist(),
            # cv2.Rodrigues takes an angle within 1e-5 of 0 or of a half turn for 0 or a half turn.
            "rotation": Rotation.from_matrix(camera.rotation).as_rotvec().tolist(),
            "translation": camera.translation.tolist(),
        }
        if camera.fisheye:
            content[f"cam_{number}"]["fisheye"] = True
        if camera.time_offset_s:
            content[f"cam_{number}"]["time_offset_s"] = camera.time_offset_s
    content["metadata"] = {"units": "m", "made_by": made_by or "posekit"}
    with write_whole(path) as temporary:
        temporary.write_text(tomli_w.dumps(content), encoding="utf-8")
