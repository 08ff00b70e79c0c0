"""EasyMocap's cameras: ``intri.yml`` and ``extri.yml`` in one folder, metres, world to camera.

``names``, then for each name n ``K_n`` (3 x 3), ``dist_n`` (or ``D_n``; 1 x 5), ``H_n`` and ``W_n`` in the first file;
``Rot_n`` (3 x 3), ``R_n`` (rotation vector) and ``T_n`` in the second.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from posekit.calibration.formats.opencv_storage import read_storage, storage_text
from posekit.calibration.formats.values import (
    NOTHING,
    CameraFile,
    Unsaid,
    refuse_what_cannot_be_written,
    warn_of_skew,
)
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError
from posekit.io.files import write_whole

FILES = ("intri.yml", "extri.yml")


def read_easymocap(path: str | Path, unsaid: Unsaid = NOTHING) -> Rig:
    """Read the folder, given as such or by either of its two files."""
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    for name in FILES:
        if not (folder / name).is_file():
            raise PosekitError(f"{folder / name}: no such file; EasyMocap's cameras are intri.yml and extri.yml")
    intrinsics, extrinsics = (read_storage(folder / name) for name in FILES)
    names = _names(folder / FILES[0], intrinsics)
    if set(_names(folder / FILES[1], extrinsics)) != set(names):
        raise PosekitError(f"{folder}: the names in intri.yml and extri.yml are not the same")
    file = CameraFile(folder, unsaid)
    return file.rig([_camera(file, name, {**intrinsics, **extrinsics}) for name in names], usual="m")


def _names(path: Path, content: dict[str, Any]) -> list[str]:
    names = content.get("names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int) for name in names):
        raise PosekitError(f"{path}: has no list of names")
    return [str(name) for name in names]


def _camera(file: CameraFile, name: str, values: dict[str, Any]) -> Camera:
    table = file.table(f"camera {name}", values)
    distortion = table.key(f"dist_{name}", f"D_{name}")
    rotation = table.key(f"Rot_{name}", f"R_{name}") or f"Rot_{name}"
    table.require(f"K_{name}", rotation, f"T_{name}")
    has_size = table.key(f"W_{name}") and table.key(f"H_{name}")
    return table.camera(
        name,
        np.array([table.numbers(f"{axis}_{name}", ()) for axis in "WH"]) if has_size else None,
        table.matrix(f"K_{name}"),
        table.coefficients(distortion) if distortion else np.zeros(0),
        table.rotation(rotation),
        table.numbers(f"T_{name}", (3,), (3, 1), (1, 3)),
    )


def write_easymocap(path: str | Path, rig: Rig) -> None:
    """Write the folder (made where there is none), given as such or by either of its two files.

    Refuses fisheye lenses, more than 5 distortion coefficients, and names that are none in OpenCV's YAML.
    """
    path = Path(path)
    folder = path.parent if path.name in FILES else path
    refuse_what_cannot_be_written(folder, rig, "EasyMocap's intri.yml")
    for name in rig.names:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise PosekitError(f"{folder}: camera '{name}': EasyMocap's names are of letters, digits, - and _ only")
    warn_of_skew(folder, rig)
    intrinsics: dict[str, Any] = {"names": list(rig.names)}
    extrinsics: dict[str, Any] = {"names": list(rig.names)}
    for camera in rig.cameras:
        intrinsics[f"K_{camera.name}"] = camera.matrix
        intrinsics[f"dist_{camera.name}"] = camera.distortion[None, :5]
        intrinsics[f"W_{camera.name}"], intrinsics[f"H_{camera.name}"] = camera.size
        extrinsics[f"R_{camera.name}"] = Rotation.from_matrix(camera.rotation).as_rotvec()[:, None]
        extrinsics[f"Rot_{camera.name}"] = camera.rotation
        extrinsics[f"T_{camera.name}"] = camera.translation[:, None]
    if folder.is_file():
        raise PosekitError(f"{folder}: cannot be written: it is a file, EasyMocap's cameras are a folder")
    if not folder.parent.is_dir():
        raise PosekitError(f"{folder}: cannot be written: the folder {folder.parent} does not exist")
    folder.mkdir(exist_ok=True)
    with write_whole(folder / FILES[0]) as intri, write_whole(folder / FILES[1]) as extri:
        intri.write_text(storage_text(intrinsics), encoding="utf-8")
        extri.write_text(storage_text(extrinsics), encoding="utf-8")
