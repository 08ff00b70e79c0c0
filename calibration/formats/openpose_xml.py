"""OpenPose's cameras: a folder with one ``<serial>.xml`` each (OpenCV's XML), metres.

``CameraMatrix`` is [R|t] (3 x 4, world to camera), ``Intrinsics`` (3 x 3), ``Distortion`` a column of up to 14.
"""

from pathlib import Path

import numpy as np

from posekit.calibration.formats.opencv_storage import read_storage
from posekit.calibration.formats.values import NOTHING, CameraFile, Unsaid
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError
from posekit.io.files import natural_order


def read_openpose_xml(path: str | Path, unsaid: Unsaid = NOTHING) -> Rig:
    """Read all cameras of a folder, or one file; their names are the files'."""
    path = Path(path)
    files = sorted(path.glob("*.xml"), key=lambda file: natural_order(file.name)) if path.is_dir() else [path]
    if not files:
        raise PosekitError(f"{path}: has no .xml file")
    rig = CameraFile(path, unsaid)
    return rig.rig([_camera(rig, file) for file in files], usual="m")


def _camera(rig: CameraFile, path: Path) -> Camera:
    table = rig.table(f"camera {path.stem}", read_storage(path))
    table.require("CameraMatrix", "Intrinsics")
    camera_from_world = table.numbers("CameraMatrix", (3, 4))
    return table.camera(
        path.stem,
        None,
        table.matrix("Intrinsics"),
        table.coefficients("Distortion") if table.key("Distortion") else np.zeros(0),
        camera_from_world[:, :3],
        camera_from_world[:, 3],
    )
