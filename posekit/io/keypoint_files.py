"""2D keypoints of any supported kind, told apart by the names and the content of the files."""

import gzip
import os
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import h5py

from posekit.errors import PosekitError
from posekit.io.caliscope_points import read_caliscope_points
from posekit.io.coco import read_coco
from posekit.io.deeplabcut import read_deeplabcut
from posekit.io.keypoint_streams import Keypoints2DFile
from posekit.io.mediapipe import read_landmark_arrays
from posekit.io.openpose_json import OpenPoseFolder, holds_frame_files
from posekit.io.pytables import is_pandas_file
from posekit.keypoints import KeypointSource
from posekit.skeleton import Skeleton, get_skeleton

#: What can be read, for people who gave something else.
KNOWN_FORMATS = (
    "posekit's keypoints2d.h5, OpenPose JSON (<camera>_json/*.json), COCO JSON (<camera>.json), DeepLabCut .h5 or .csv, "
    "Caliscope's xy_HOLISTIC.csv, MediaPipe arrays .npy or .npz"
)

_TABLE_ENDINGS = (".h5", ".hdf5", ".csv")
_ARRAY_ENDINGS = (".npy", ".npz")

#: Where the kind of a JSON file is looked for: its first bytes, before which OpenPose has its version and nothing else.
_FIRST_BYTES = 4096
_COCO_KEYS = (b'"images"', b'"annotations"', b'"categories"', b'"info"', b'"licenses"')


def open_keypoints(
    path: str | Path,
    skeleton: str | Skeleton | None = None,
    fps: float | None = None,
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> KeypointSource:
    """Open 2D keypoints of any kind in `KNOWN_FORMATS`, a file or a folder.

    skeleton: the order of the joints or its name, for files that do not say theirs; None to have it told by what is in them.
    fps: frames per second, in place of what the file says. sizes: camera -> (width, height) px of its pictures; needed by
    coordinates that are parts of the picture only.

    ``keypoints2d.h5`` and folders of OpenPose JSON are read piece by piece; everything else is in memory when this returns.
    Raises PosekitError where nothing known is found, and whatever the formats' readers raise.
    """
    path = Path(path)
    if not path.exists():
        raise PosekitError(f"{path}: no such file or folder (2D keypoints were expected)")
    order = get_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    return _open_folder(path, order, fps, sizes) if path.is_dir() else _open_file(path, order, fps, sizes)


def _open_file(
    path: Path, order: Skeleton | None, fps: float | None, sizes: Mapping[str, tuple[int, int]] | None
) -> KeypointSource:
    name = path.name.casefold()
    if name.endswith((".h5", ".hdf5")):
        return read_deeplabcut(path, order, fps) if _is_pandas(path) else _open_own(path, order, fps)
    if name.endswith((".csv", ".csv.gz")):
        kind = _kind_of_table(path)
        if kind == "caliscope":
            return read_caliscope_points(path, order, fps)
        if kind == "deeplabcut" and not name.endswith(".gz"):
            return read_deeplabcut(path, order, fps)
    if name.endswith(".json"):
        if _kind_of_json(path) == "openpose":
            raise PosekitError(f"{path}: is one frame of OpenPose JSON; give the folder")
        return read_coco(path, order, fps)
    if name.endswith(_ARRAY_ENDINGS):
        return read_landmark_arrays(path, order, fps, sizes)
    raise PosekitError(f"{path}: holds no 2D keypoints that are known; known are: {KNOWN_FORMATS}")


def _open_folder(
    path: Path, order: Skeleton | None, fps: float | None, sizes: Mapping[str, tuple[int, int]] | None
) -> KeypointSource:
    names = sorted(entry.name for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
    if _holds_openpose(path):
        return OpenPoseFolder(path, order, fps)
    if holds_frame_files(path):
        first = next(path / name for name in names if name.endswith(".json"))
        if _kind_of_json(first) == "coco":
            return read_coco(path, order, fps)
        return OpenPoseFolder(path, order, fps)
    of_caliscope = [name for name in names if name.startswith("xy_") and name.endswith((".csv", ".csv.gz"))]
    if len(of_caliscope) == 1:
        return _open_file(path / of_caliscope[0], order, fps, sizes)
    tables = [name for name in names if name.casefold().endswith(_TABLE_ENDINGS)]
    if tables:
        return read_deeplabcut(path, order, fps) if len(tables) > 1 else _open_file(path / tables[0], order, fps, sizes)
    if any(name.casefold().endswith(_ARRAY_ENDINGS) for name in names):
        return read_landmark_arrays(path, order, fps, sizes)
    inside = [place.name for place in sorted(path.iterdir()) if place.is_dir() and _holds_openpose(place)]
    hint = f"; {' and '.join(inside)} in it do{'' if len(inside) > 1 else 'es'}: name one" if inside else ""
    empty = [place.name for place in sorted(path.glob("*_json")) if place.is_dir() and not any(place.iterdir())]
    if empty and not hint:
        hint = f"; {', '.join(empty)}: empty"
    raise PosekitError(f"{path}: holds no 2D keypoints that are known{hint or f'; known are: {KNOWN_FORMATS}'}")


def _holds_openpose(path: Path) -> bool:
    """Tell a folder with folders of JSON files."""
    try:
        return any(
            entry.is_dir() and not entry.name.startswith(".") and holds_frame_files(entry) for entry in path.iterdir()
        )
    except OSError:
        return False


def _open_own(path: Path, order: Skeleton | None, fps: float | None) -> KeypointSource:
    keypoints = Keypoints2DFile.open(path)
    if order is not None and order.name not in (
        keypoints.skeleton.name,
        keypoints.skeleton.name.removesuffix("+hands"),
    ):
        raise PosekitError(f"{path}: its joints are those of {keypoints.skeleton.name}, not of {order.name}")
    return replace(keypoints, fps=fps) if fps else keypoints


def _is_pandas(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return "schema" not in file.attrs and is_pandas_file(file)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError):
        return False  # whoever reads it says what is wrong with it


def _kind_of_table(path: Path) -> str:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            first = file.readline(_FIRST_BYTES).decode("utf-8-sig", "replace")
    except (OSError, EOFError, zlib.error) as error:
        raise PosekitError(f"{path}: cannot be read ({error})") from None
    return "deeplabcut" if first.startswith("scorer,") else "caliscope" if "img_loc_x" in first else ""


def _kind_of_json(path: Path) -> str:
    """A list, or whatever has images and annotations, is COCO's; the rest is for the reader of OpenPose JSON to judge."""
    try:
        with path.open("rb") as file:
            first = file.read(_FIRST_BYTES)
    except OSError as error:
        raise PosekitError(f"{path}: cannot be read ({os.strerror(error.errno or 0)})") from None
    is_coco = first.lstrip()[:1] == b"[" or any(key in first for key in _COCO_KEYS)
    return "coco" if is_coco else "openpose"
