"""The folder ``camera_parameters`` of the handpose3d and bodypose3d examples: ``c<n>.dat`` and ``rot_trans_c<n>.dat``.

Blocks of numbers under headings: ``intrinsic:`` and ``distortion:`` in the first, ``R:`` and ``T:`` (world to camera) in the
second, in a unit that they do not say. More blocks may follow, with poses between cameras.
"""

import re
from pathlib import Path

from posekit.calibration.formats.values import NOTHING, CameraFile, Unsaid, text_of
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError
from posekit.io.files import natural_order


def read_handpose3d(path: str | Path, unsaid: Unsaid = NOTHING) -> Rig:
    """Read the folder; camera n is called ``cam<n>``, as the examples' videos are."""
    path = Path(path)
    files = sorted(path.glob("c[0-9]*.dat"), key=lambda file: natural_order(file.name))
    if not files:
        raise PosekitError(f"{path}: has no c<n>.dat")
    folder = CameraFile(path, unsaid)
    return folder.rig([_camera(folder, file) for file in files])


def _camera(folder: CameraFile, path: Path) -> Camera:
    pose = path.with_name(f"rot_trans_{path.name}")
    if not pose.is_file():
        raise PosekitError(f"{pose}: no such file; it is the pose of {path.name}")
    # The first block of a name counts: what follows in the second camera's file is its pose from the first one.
    table = folder.table(f"camera {path.stem}", _blocks(pose) | _blocks(path))
    table.require("intrinsic", "distortion", "R", "T")
    return table.camera(
        f"cam{path.stem.removeprefix('c')}",
        None,
        table.matrix("intrinsic"),
        table.coefficients("distortion"),
        table.numbers("R", (3, 3)),
        table.numbers("T", (3,), (3, 1), (1, 3)),
    )


def _blocks(path: Path) -> dict[str, list[list[str]]]:
    """Return heading -> rows of words; numbers are told from words where they are asked for."""
    blocks: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in text_of(path, "text").splitlines():
        heading = re.fullmatch(r"(\w+):", line.strip())
        if heading:
            rows = []
            blocks.setdefault(heading[1], rows)
        elif line.strip() and not line.startswith("#"):
            rows.append(line.split())
    return blocks
