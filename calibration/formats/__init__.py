"""Camera files of the field: one module per format; `read_rig` and `write_rig` know them by their names and contents."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from posekit.calibration.formats.aniposelib import read_aniposelib, read_toml, write_aniposelib
from posekit.calibration.formats.caliscope import read_caliscope
from posekit.calibration.formats.colmap import FILES as COLMAP_FILES
from posekit.calibration.formats.colmap import read_colmap
from posekit.calibration.formats.easymocap import FILES as EASYMOCAP_FILES
from posekit.calibration.formats.easymocap import read_easymocap, write_easymocap
from posekit.calibration.formats.handpose3d import read_handpose3d
from posekit.calibration.formats.opencv import SUFFIXES as OPENCV_SUFFIXES
from posekit.calibration.formats.opencv import has_camera, read_opencv, write_opencv
from posekit.calibration.formats.opencv_storage import read_storage
from posekit.calibration.formats.openpose_xml import read_openpose_xml
from posekit.calibration.formats.panoptic import read_panoptic, write_panoptic
from posekit.calibration.formats.qualisys import read_qualisys
from posekit.calibration.formats.values import NOTHING, Unsaid
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError, PosekitWarning

__all__ = [
    "READERS",
    "Unsaid",
    "find_format",
    "read_aniposelib",
    "read_qualisys",
    "read_rig",
    "write_aniposelib",
    "write_rig",
]

#: By the names that a person may call a format by.
READERS: dict[str, Callable[[Path, Unsaid], Rig]] = {
    "aniposelib": read_aniposelib,
    "caliscope": read_caliscope,
    "colmap": read_colmap,
    "easymocap": read_easymocap,
    "handpose3d": read_handpose3d,
    "opencv": read_opencv,
    "openpose": read_openpose_xml,
    "panoptic": read_panoptic,
    "qualisys": read_qualisys,
}

#: For the message about a file that is none of them.
_KNOWN = (
    "*.toml (aniposelib, posekit, Pose2Sim, FreeMoCap, Caliscope), *.qca.txt (Qualisys), calibration_*.json (Panoptic), "
    "intri.yml + extri.yml (EasyMocap), *.xml (OpenPose), *.yml (OpenCV), cameras.txt + images.txt (COLMAP)"
)

#: A smaller part of a picture, in its outermost corners, is lost to lenses that are otherwise good: no word about it.
_LOST_SHARE = 0.01


def read_rig(path: str | Path, format: str | None = None, unsaid: Unsaid = NOTHING) -> Rig:  # noqa: A002
    """Read a rig in any format that posekit knows; where it is not given, names and contents tell. Metres and pixels.

    format: one of `READERS`. unsaid: what the file does not say itself. Warns of what is odd in the file, and of every camera
    whose lens model folds inside its own picture. Raises PosekitError where the file is missing, of no known name, or holds no
    rig that can be read.
    """
    path = Path(path)
    if not path.exists():
        raise PosekitError(f"{path}: no such file or folder (expected: a rig)")
    if format is not None and format not in READERS:
        raise PosekitError(f"'{format}' is no format of camera files; known are: {', '.join(READERS)}")
    found = format or find_format(path)
    if found is None:
        what = (
            "holds no cameras of a known format" if path.is_dir() else "is no camera file of a known name and content"
        )
        raise PosekitError(f"{path}: {what}; known are: {_KNOWN}")
    return _warned_of_folds(READERS[found](path, unsaid))


def find_format(path: Path) -> str | None:
    """Return which of `READERS` reads a file or folder, by its name and content; None where it is no camera file.

    Raises PosekitError where the name promises a format that the content is not.
    """
    if path.is_dir():
        return _format_of_folder(path)
    name, suffix = path.name.lower(), path.suffix.lower()
    if name.endswith((".qca.txt", ".qca.xml", ".qca")):
        return "qualisys"
    if name in EASYMOCAP_FILES:
        return "easymocap"
    if name in COLMAP_FILES:
        return "colmap"
    if suffix == ".toml":
        return "caliscope" if isinstance(read_toml(path).get("cameras"), dict) else "aniposelib"
    if suffix == ".json":
        # Keypoints are JSON, too, and sometimes gigabytes of it: the first camera tells.
        return "panoptic" if b'"distCoef"' in _beginning(path) else None
    if suffix == ".xml" and b"<opencv_storage" not in _beginning(path):
        return "qualisys"
    if suffix in OPENCV_SUFFIXES:
        return "openpose" if "Intrinsics" in read_storage(path) else "opencv"
    return None


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2**20)


def _format_of_folder(folder: Path) -> str | None:
    for format_, files in (("easymocap", EASYMOCAP_FILES), ("colmap", COLMAP_FILES)):
        if all((folder / name).is_file() for name in files):
            return format_
    if any(folder.glob("rot_trans_c[0-9]*.dat")):
        return "handpose3d"
    # Other files of these endings may lie there: lists of pictures, settings.
    found = {_format_of_storage(file) for file in folder.iterdir() if file.suffix.lower() in OPENCV_SUFFIXES}
    return next((format_ for format_ in ("openpose", "opencv") if format_ in found), None)


def _format_of_storage(path: Path) -> str | None:
    try:
        content = read_storage(path)
    except PosekitError:
        return None
    if {"CameraMatrix", "Intrinsics"} <= content.keys():
        return "openpose"
    return "opencv" if has_camera(content) else None


def write_rig(path: str | Path, rig: Rig) -> None:
    """Write a rig; the name tells the format.

    ``.toml`` aniposelib's; ``.json`` Panoptic's; a folder's name, ``intri.yml`` or ``extri.yml`` EasyMocap's; any other
    ``.yml`` or ``.yaml`` OpenCV's. Warns where the cameras' time offsets are lost: only ``.toml`` holds them. Raises
    PosekitError for another name, and for a lens that the format cannot hold.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.name in EASYMOCAP_FILES or path.is_dir() or not suffix:
        write_easymocap(path, rig)
    elif suffix == ".toml":
        write_aniposelib(path, rig)
    elif suffix == ".json":
        write_panoptic(path, rig)
    elif suffix in (".yml", ".yaml"):
        write_opencv(path, rig)
    else:
        raise PosekitError(
            f"{path}: '{path.suffix}' is no format of cameras that can be written; known are: .toml (aniposelib), .json "
            "(Panoptic), .yml (OpenCV), a folder (EasyMocap)"
        )
    late = [camera.name for camera in rig.cameras if camera.time_offset_s]
    if late and suffix != ".toml":
        warnings.warn(
            PosekitWarning(
                f"{path}: this format holds no time offsets; those of {', '.join(late)} are lost (.toml holds them)"
            ),
            stacklevel=2,
        )


def _warned_of_folds(rig: Rig) -> Rig:
    for camera in rig.cameras:
        lost = _lost_share(camera)
        if lost > _LOST_SHARE:
            why = "beyond 90 degrees or " if camera.fisheye else ""
            warnings.warn(
                PosekitWarning(
                    f"{rig.source}: camera '{camera.name}': its distortion cannot be undone in {100 * lost:.0f} % of its "
                    f"picture, {why}where the lens model has folded back; keypoints there are left out"
                ),
                stacklevel=3,
            )
    return rig


def _lost_share(camera: Camera) -> float:
    """Share of the picture whose pixels no ray reaches through the lens model."""
    # 64 x 64 places: the share is good to half a percent, and costs 10 ms a camera.
    column, row = (size * (np.arange(64) + 0.5) / 64 - 0.5 for size in camera.size)
    places = np.stack(np.meshgrid(column, row), axis=-1)
    return float(np.isnan(camera.undistort(places)[..., 0]).mean())
