"""Camera files of the field: one module per format, and `read_rig`, which knows them by their names."""

import warnings
from pathlib import Path

import numpy as np

from posekit.calibration.formats.aniposelib import read_aniposelib, write_aniposelib
from posekit.calibration.formats.qualisys import read_qualisys
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.files import require_file

__all__ = ["read_aniposelib", "read_qualisys", "read_rig", "write_aniposelib"]

#: A smaller part of a picture, in its outermost corners, is lost to lenses that are otherwise good: no word about it.
_LOST_SHARE = 0.01


def read_rig(path: str | Path) -> Rig:
    """Read a rig in any format that posekit knows; the format is told by the file's name. Metres and pixels.

    Warns of every camera whose lens model folds inside its own picture. Raises PosekitError where the file is missing, of no
    known name, or holds no rig that can be read.
    """
    path = require_file(path, "a rig")
    if path.suffix == ".toml":
        return _warned_of_folds(read_aniposelib(path))
    if path.name.endswith((".qca.txt", ".qca.xml", ".qca")):
        return _warned_of_folds(read_qualisys(path))
    raise PosekitError(
        f"{path}: is no camera file of a known name; known are: *.toml (aniposelib, posekit), *.qca.txt (Qualisys)"
    )


def _warned_of_folds(rig: Rig) -> Rig:
    for camera in rig.cameras:
        lost = _lost_share(camera)
        if lost > _LOST_SHARE:
            warnings.warn(
                PosekitWarning(
                    f"{rig.source}: camera '{camera.name}': its distortion cannot be undone in {100 * lost:.0f} % of its "
                    "picture, where the lens model has folded back; keypoints there are left out"
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
