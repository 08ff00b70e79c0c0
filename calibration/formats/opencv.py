"""Cameras in plain files of OpenCV's FileStorage, YAML or XML; the keys are those of OpenCV's samples.

One camera: ``camera_matrix``, ``distortion_coefficients``, ``image_width``, ``image_height``, ``R`` (matrix or rotation vector)
and ``T``, world to camera; ``camera_name`` (else the file's name), ``distortion_model`` (``fisheye`` or ``equidistant`` for a
fisheye), ``units``. Several cameras: a folder of such files, or one file with a list ``cameras`` of them, which is what
posekit writes. OpenCV's sample stereo_calib writes two files, intrinsics (``M1 D1 M2 D2``) and extrinsics (``R T``, from the
first camera to the second): the cameras ``left``, which stands in the world's origin, and ``right``.
"""

from pathlib import Path
from typing import Any

import numpy as np

from posekit.calibration.formats.opencv_storage import read_storage, storage_text
from posekit.calibration.formats.values import NOTHING, CameraFile, CameraTable, Unsaid, warn_of_skew
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError
from posekit.io.files import natural_order, write_whole

SUFFIXES = (".yml", ".yaml", ".xml")

#: The names that OpenCV's samples and ROS give to one thing; the first is the one that posekit writes.
_MATRIX = ("camera_matrix", "cameraMatrix", "CameraMatrix", "K", "M", "mtx")
_DISTORTION = ("distortion_coefficients", "distCoeffs", "dist_coeffs", "dist_coeff", "dist", "D")
_ROTATION = ("R", "rotation", "rotation_matrix", "rvec")
_TRANSLATION = ("T", "t", "translation", "translation_vector", "tvec")
_FISHEYES = ("fisheye", "equidistant", "kannala_brandt")


def read_opencv(path: str | Path, unsaid: Unsaid = NOTHING) -> Rig:
    """Read one file, or all of a folder. Metres, unless the file says its ``units``.

    Raises PosekitError where a camera of several has no pose; a single one is put into the world's origin, with a warning.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, unsaid)
    content = read_storage(path)
    if is_stereo_part(content):
        return _read_stereo(path, content, unsaid)
    nodes = content.get("cameras", [content])
    if not isinstance(nodes, list) or not nodes or not all(isinstance(node, dict) for node in nodes):
        raise PosekitError(f"{path}: cameras: a list of cameras was expected")
    file, alone = CameraFile(path, unsaid), len(nodes) == 1
    cameras = [
        _camera(file, str(node.get("camera_name", node.get("name", path.stem))), node, alone=alone) for node in nodes
    ]
    return file.rig(cameras, said=_units(path, content))


def _units(path: Path, content: dict[str, Any]) -> str | None:
    units = content.get("units")
    if units is not None and not isinstance(units, str):
        raise PosekitError(f"{path}: units: {units!r} is no unit, m, cm or mm was expected")
    return units


def _read_folder(path: Path, unsaid: Unsaid) -> Rig:
    contents: dict[Path, dict[str, Any]] = {}
    for file in sorted(path.iterdir(), key=lambda file: natural_order(file.name)):
        if file.suffix.lower() in SUFFIXES and file.is_file():
            contents[file] = read_storage(file)
    for file, content in contents.items():
        if is_stereo_part(content):
            return _read_stereo(file, content, unsaid)
    # Lists of pictures and the like lie beside the cameras.
    found = {file: content for file, content in contents.items() if has_camera(content)}
    if not found:
        raise PosekitError(f"{path}: no file in it has a camera_matrix")
    folder = CameraFile(path, unsaid)
    cameras = [
        _camera(folder, str(content.get("camera_name", file.stem)), content, alone=len(found) == 1)
        for file, content in found.items()
    ]
    units = {_units(file, content) for file, content in found.items()}
    if len(units) > 1:
        raise PosekitError(f"{path}: its files have different units: {', '.join(sorted(str(unit) for unit in units))}")
    return folder.rig(cameras, said=units.pop())


def _camera(file: CameraFile, name: str, content: dict[str, Any], *, alone: bool) -> Camera:
    table = file.table(f"camera {name}", content)
    matrix, distortion = table.key(*_MATRIX), table.key(*_DISTORTION)
    rotation, translation = table.key(*_ROTATION), table.key(*_TRANSLATION)
    if matrix is None:
        jarvis = "; intrinsicMatrix is JARVIS's, stored transposed" if "intrinsicMatrix" in content else ""
        raise PosekitError(f"{table.where}: lacks {_MATRIX[0]}{jarvis}")
    if rotation is None or translation is None:
        if not alone or rotation is not None or translation is not None:
            raise PosekitError(f"{table.where}: has no pose (R and T, world to camera)")
        table.odd("has no pose (R and T); it is put into the origin and looks along the world's z axis")
    return table.camera(
        name,
        _size(table),
        table.matrix(matrix),
        table.coefficients(distortion) if distortion else np.zeros(0),
        table.rotation(rotation) if rotation else np.eye(3),
        table.numbers(translation, (3,), (3, 1), (1, 3)) if translation else np.zeros(3),
        _is_fisheye(table, content),
    )


def _size(table: CameraTable) -> np.ndarray | None:
    if table.key("image_width") and table.key("image_height"):
        return np.array([table.numbers(key, ()) for key in ("image_width", "image_height")])
    size = table.key("image_size", "size")
    return table.numbers(size, (2,), (2, 1), (1, 2)) if size else None


def _is_fisheye(table: CameraTable, content: dict[str, Any]) -> bool:
    model = str(content.get("distortion_model", "")).lower()
    return model in _FISHEYES or any(bool(content.get(key)) for key in ("fisheye", "fisheye_model") if table.key(key))


def has_camera(content: dict[str, Any]) -> bool:
    """Whether a file's content is a camera, or stereo_calib's."""
    return any(key in content for key in _MATRIX) or is_stereo_part(content)


def is_stereo_part(content: dict[str, Any]) -> bool:
    """Whether a file's content is one of the two files of stereo_calib, or both in one."""
    return {"M1", "M2"} <= content.keys() or {"R", "T", "R1", "R2"} <= content.keys()


def _read_stereo(path: Path, content: dict[str, Any], unsaid: Unsaid) -> Rig:
    """Read stereo_calib's pair of files from either of them; both lie in one folder."""
    intrinsics, extrinsics = content, content
    if not ("M1" in content and "R" in content):
        has = "M1" if "M1" in content else "R"
        name = (
            path.name.replace("intrinsic", "extrinsic") if has == "M1" else path.name.replace("extrinsic", "intrinsic")
        )
        other = path.with_name(name)
        if other == path or not other.is_file():
            raise PosekitError(
                f"{path}: is one of stereo_calib's two files, intrinsics and extrinsics; the other one is not beside it"
            )
        partner = read_storage(other)
        intrinsics, extrinsics = (content, partner) if has == "M1" else (partner, content)
    file = CameraFile(path, unsaid)
    cameras = []
    for number, name in ((1, "left"), (2, "right")):
        table = file.table(f"camera {name}", {**intrinsics, **extrinsics})
        table.require(f"M{number}", f"D{number}", "R", "T")
        cameras.append(
            table.camera(
                name,
                _size(table),
                table.matrix(f"M{number}"),
                table.coefficients(f"D{number}"),
                table.rotation("R") if number == 2 else np.eye(3),
                table.numbers("T", (3,), (3, 1), (1, 3)) if number == 2 else np.zeros(3),
            )
        )
    return file.rig(cameras, said=_units(path, {**intrinsics, **extrinsics}))


def write_opencv(path: str | Path, rig: Rig) -> None:
    """Write a rig in metres to one YAML file with a list ``cameras``; whole or not at all."""
    path = Path(path)
    for camera in rig.cameras:
        if not camera.name.isprintable() or set(camera.name) & set("\"'\\"):
            raise PosekitError(f"{path}: the camera name {camera.name!r} has signs that do not go into OpenCV's YAML")
    warn_of_skew(path, rig)
    text = storage_text({"units": "m", "cameras": [_node(camera) for camera in rig.cameras]})
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _node(camera: Camera) -> dict[str, Any]:
    count = 4 if camera.fisheye else 8 if camera.distortion[5:].any() else 5
    return {
        "camera_name": camera.name,
        "image_width": camera.size[0],
        "image_height": camera.size[1],
        "distortion_model": "fisheye" if camera.fisheye else "rational_polynomial" if count == 8 else "plumb_bob",
        "camera_matrix": camera.matrix,
        "distortion_coefficients": camera.distortion[None, :count],
        "R": camera.rotation,
        "T": camera.translation[:, None],
    }
