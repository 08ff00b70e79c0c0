"""Camera files of the field: one module per format, and `read_rig`, which knows them by their names."""

from pathlib import Path

from posekit.calibration.formats.aniposelib import read_aniposelib, write_aniposelib
from posekit.calibration.formats.qualisys import read_qualisys
from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.io.files import require_file

__all__ = ["read_aniposelib", "read_qualisys", "read_rig", "write_aniposelib"]


def read_rig(path: str | Path) -> Rig:
    """Read a rig in any format that posekit knows; the format is told by the file's name."""
    path = require_file(path, "a rig")
    if path.suffix == ".toml":
        return read_aniposelib(path)
    if path.name.endswith((".qca.txt", ".qca.xml", ".qca")):
        return read_qualisys(path)
    raise PosekitError(
        f"{path}: is no camera file of a known name; known are: *.toml (aniposelib, posekit), *.qca.txt (Qualisys)"
    )
