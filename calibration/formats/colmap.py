"""COLMAP's text model: ``cameras.txt`` and ``images.txt`` in one folder.

Every picture with a pose becomes a camera. COLMAP's pixel (0, 0) is the top-left pixel's corner, half a pixel away from its
centre. Its world has no scale: lengths come out in a unit of the reconstruction's own.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.spatial.transform import Rotation

from posekit.calibration.formats.values import NOTHING, Array, CameraFile, Unsaid
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError, PosekitWarning

FILES = ("cameras.txt", "images.txt")

#: Parameters of the models of which OpenCV has the same; COLMAP, src/colmap/sensor/models.h. f stands for both axes.
_MODELS = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
    "SIMPLE_RADIAL_FISHEYE": "f cx cy k1",
    "RADIAL_FISHEYE": "f cx cy k1 k2",
}
_BROWN = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")


def read_colmap(path: str | Path, unsaid: Unsaid = NOTHING) -> Rig:
    """Read the folder, given as such or by either of its two files; the cameras have their pictures' names.

    Where several pictures have one name, that of their folders counts. Warns that lengths have no scale.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    for name in FILES:
        if not (folder / name).is_file():
            raise PosekitError(f"{folder / name}: no such file; COLMAP's text model is cameras.txt and images.txt")
    lenses = _lenses(folder / FILES[0])
    pictures = list(_pictures(folder / FILES[1]))
    names = _camera_names(folder / FILES[1], [picture for picture, _, _ in pictures])
    file = CameraFile(folder, unsaid)
    cameras = []
    for name, (_, lens, pose) in zip(names, pictures, strict=True):
        if lens not in lenses:
            raise PosekitError(f"{folder / FILES[1]}: picture of {name}: its camera {lens} is not in cameras.txt")
        cameras.append(_camera(file, name, lenses[lens], pose))
    if not cameras:
        raise PosekitError(f"{folder / FILES[1]}: holds no picture")
    if unsaid.units is None:
        warnings.warn(
            PosekitWarning(
                f"{folder}: COLMAP's reconstructions have no scale: its lengths are read as metres, and are not"
            ),
            stacklevel=2,
        )
    return file.rig(cameras, usual="m")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.startswith("#"):
                    yield number, line.strip()
    except UnicodeDecodeError as error:
        raise PosekitError(f"{path}: is no text ({error})") from None


def _floats(path: Path, number: int, words: list[str]) -> Array:
    try:
        return np.array([float(word) for word in words])
    except ValueError:
        raise PosekitError(f"{path}: line {number}: {' '.join(words)[:60]!r} are not numbers") from None


def _lenses(path: Path) -> dict[str, tuple[str, Array]]:
    """Return camera id -> model, and width, height and parameters."""
    found = {}
    for number, line in _lines(path):
        words = line.split()
        if not words:
            continue
        if len(words) < 5:
            raise PosekitError(f"{path}: line {number}: CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[] were expected")
        model = words[1]
        if model not in _MODELS:
            raise PosekitError(
                f"{path}: line {number}: the model {model} is not supported; known are: {', '.join(_MODELS)}"
            )
        values = _floats(path, number, words[2:])
        if len(values) != 2 + len(_MODELS[model].split()):
            raise PosekitError(
                f"{path}: line {number}: {model} has the parameters {_MODELS[model]}, found {len(values) - 2}"
            )
        found[words[0]] = (model, values)
    return found


def _pictures(path: Path) -> Iterator[tuple[str, str, Array]]:
    """Yield name, camera id and pose (qw qx qy qz tx ty tz); every picture's second line, its points, is passed over."""
    lines = _lines(path)
    for number, line in lines:
        if not line:
            continue
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise PosekitError(
                f"{path}: line {number}: IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME were expected"
            )
        yield words[9], words[8], _floats(path, number, words[1:8])
        number, points = next(lines, (number, ""))
        if len(points.split()) % 3:
            raise PosekitError(
                f"{path}: line {number}: a picture's points (X, Y, POINT3D_ID) or an empty line were expected"
            )


def _camera_names(path: Path, pictures: list[str]) -> list[str]:
    places = [PurePosixPath(picture.replace("\\", "/")) for picture in pictures]
    for names in ([place.stem for place in places], [str(place.parent) for place in places]):
        if len(set(names)) == len(names):
            return names
    raise PosekitError(f"{path}: several pictures of one camera: one picture per camera was expected")


def _camera(file: CameraFile, name: str, lens: tuple[str, Array], pose: Array) -> Camera:
    model, (width, height, *parameters) = lens
    values = dict(zip(_MODELS[model].split(), parameters, strict=True))
    fx, fy = (values.get(key, values.get("f", 0.0)) for key in ("fx", "fy"))
    fisheye = model.endswith("FISHEYE")
    order = ("k1", "k2", "k3", "k4") if fisheye else _BROWN
    table = file.table(f"camera {name}", {})
    if not abs(np.linalg.norm(pose[:4]) - 1) < 1e-3:
        raise PosekitError(f"{table.where}: its quaternion {pose[:4].tolist()} is not of length 1, and no rotation")
    return table.camera(
        name,
        (width, height),
        np.array([[fx, 0, values["cx"] - 0.5], [0, fy, values["cy"] - 0.5], [0, 0, 1]]),
        np.array([values.get(key, 0.0) for key in order]),
        np.asarray(Rotation.from_quat(pose[:4], scalar_first=True).as_matrix()),
        pose[4:],
        fisheye,
    )
