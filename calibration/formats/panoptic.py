"""The calibration of the CMU Panoptic studio, ``calibration_<sequence>.json``: centimetres, world to camera.

``{"cameras": [{"name": "00_05", "type": "hd", "resolution": [1920, 1080], "panel": 0, "node": 5, "K", "distCoef", "R", "t"}]}``
"""

import json
import re
from pathlib import Path
from typing import Any

from posekit.calibration.formats.values import (
    NOTHING,
    CameraFile,
    Unsaid,
    refuse_what_cannot_be_written,
    text_of,
)
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError
from posekit.io.files import require_file, write_json
from posekit.units import METRES_PER_UNIT


def read_panoptic(path: str | Path, unsaid: Unsaid = NOTHING) -> Rig:
    """Read all cameras, HD, VGA and Kinect, by their names (``<panel>_<node>`` where they have none); cm become metres."""
    path = require_file(path, "a Panoptic calibration")
    content = _read_json(path)
    nodes = content.get("cameras") if isinstance(content, dict) else None
    if not isinstance(nodes, list) or not nodes or not all(isinstance(node, dict) for node in nodes):
        raise PosekitError(f'{path}: has no list "cameras"')
    file = CameraFile(path, unsaid)
    return file.rig([_camera(file, number, node) for number, node in enumerate(nodes)], usual="cm")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(text_of(path, "JSON file"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise PosekitError(f"{path}: is no JSON file ({error})") from None


def _camera(file: CameraFile, number: int, node: dict[str, Any]) -> Camera:
    name = node.get("name")
    if name is None:
        try:
            name = f"{int(node['panel']):02d}_{int(node['node']):02d}"
        except (KeyError, TypeError, ValueError):
            raise PosekitError(f"{file.path}: camera {number} has neither a name nor panel and node") from None
    table = file.table(f"camera {name}", node)
    table.require("K", "distCoef", "R", "t")
    return table.camera(
        str(name),
        table.numbers("resolution", (2,)) if table.key("resolution") else None,
        table.matrix("K"),
        table.coefficients("distCoef"),
        table.numbers("R", (3, 3)),
        table.numbers("t", (3,), (3, 1), (1, 3)),
    )


def write_panoptic(path: str | Path, rig: Rig) -> None:
    """Write a rig in centimetres. Refuses fisheye lenses and more than 5 distortion coefficients, which do not fit."""
    path = Path(path)
    refuse_what_cannot_be_written(path, rig, "Panoptic's JSON")
    write_json(path, {"cameras": [_node(number, camera) for number, camera in enumerate(rig.cameras)]})


def _node(number: int, camera: Camera) -> dict[str, Any]:
    place = re.fullmatch(r"([0-9]{2})_([0-9]{2})", camera.name)
    panel, node = (int(place[1]), int(place[2])) if place else (0, number)
    return {
        "name": camera.name,
        "type": "hd",
        "resolution": list(camera.size),
        "panel": panel,
        "node": node,
        "K": camera.matrix,
        "distCoef": camera.distortion[:5],
        "R": camera.rotation,
        "t": camera.translation[:, None] / METRES_PER_UNIT["cm"],
    }
