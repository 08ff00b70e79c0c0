"""Qualisys Track Manager's camera export, ``*.qca.txt`` (XML in spite of its name).

Positions in millimetres; the rotation maps the camera's axes into the world and is stored column by column, for a camera that
looks along its negative z axis with y up (OpenCV's looks along positive z with y down); intrinsics are in 1/64 px; the origin
of the pixels is that of the sensor, of which ``fov_video`` is the part that was filmed.
"""

from pathlib import Path
from typing import Any

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml import ElementTree as Xml

from posekit.calibration.formats.values import NOTHING, CameraFile, Unsaid
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError
from posekit.io.files import require_file

_SUBPIXELS = 64.0


def read_qualisys(path: str | Path, unsaid: Unsaid = NOTHING) -> Rig:
    """Read the active video cameras of a ``.qca.txt``; metres and pixels. Cameras are named by their serial."""
    path = require_file(path, "a Qualisys calibration")
    try:
        root = Xml.fromstring(path.read_bytes())
    except (Xml.ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise PosekitError(f"{path}: is no Qualisys calibration that can be read ({error})") from None
    nodes = [node for node in root.iter("camera") if node.get("active", "1") == "1"]
    if not nodes:
        raise PosekitError(f"{path}: has no active camera")
    return CameraFile(path, unsaid).rig([_camera(path, node) for node in nodes], said="mm")


def _camera(path: Path, node: Any) -> Camera:
    name = node.get("serial")
    if not name:
        raise PosekitError(f"{path}: a camera has no serial")
    where = f"{path}: camera {name}"
    if node.get("viewrotation", "0") != "0":
        raise PosekitError(
            f"{where}: viewrotation is {node.get('viewrotation')}; turned views are not supported yet, "
            "export the video and the calibration unrotated"
        )

    def number(child: str, attribute: str, default: float | None = None) -> float:
        found = node.find(child)
        text = None if found is None else found.get(attribute)
        if text is None and default is not None:
            return default
        try:
            value = float(text)  # type: ignore[arg-type]  # None is caught with the rest
        except (TypeError, ValueError):
            raise PosekitError(f"{where}: {child} {attribute}: {text!r} is not a number") from None
        if not np.isfinite(value):
            raise PosekitError(f"{where}: {child} {attribute}: {text!r} is not finite")
        return value

    left, top = number("fov_video", "left"), number("fov_video", "top")
    size = (int(number("fov_video", "right") - left + 1), int(number("fov_video", "bottom") - top + 1))
    matrix = np.array(
        [
            [
                number("intrinsic", "focalLengthU") / _SUBPIXELS,
                number("intrinsic", "skew", 0.0) / _SUBPIXELS,
                number("intrinsic", "centerPointU") / _SUBPIXELS - left,
            ],
            [
                0,
                number("intrinsic", "focalLengthV") / _SUBPIXELS,
                number("intrinsic", "centerPointV") / _SUBPIXELS - top,
            ],
            [0, 0, 1],
        ]
    )
    distortion = [
        number("intrinsic", "radialDistortion1"),
        number("intrinsic", "radialDistortion2"),
        number("intrinsic", "tangentalDistortion1"),  # the format's own spelling
        number("intrinsic", "tangentalDistortion2"),
        number("intrinsic", "radialDistortion3", 0.0),
    ]
    # r11 r12 r13 is the first column of world_from_camera, which is the first row of camera_from_world.
    rows = np.array([[number("transform", f"r{row}{column}") for column in "123"] for row in "123"])
    camera_from_world = np.diag([1.0, -1.0, -1.0]) @ rows
    centre_world = np.array([number("transform", axis) for axis in "xyz"])
    try:
        return Camera(
            name=name,
            size=size,
            matrix=matrix,
            distortion=np.array(distortion),
            rotation=camera_from_world,
            translation=-camera_from_world @ centre_world,
        )
    except PosekitError as error:
        raise PosekitError(f"{path}: {error}") from None
