"""What commands check before they work, so that a mistake is told at once and not after minutes."""

import math
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from posekit.errors import PosekitError, PosekitWarning
from posekit.io.files import require_file, require_folder

if TYPE_CHECKING:
    from posekit.keypoints import Keypoints3D


def require_places(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Refuse an output that has no folder, or none that can be written, that is a folder, an input, or another output.

    None, in either, is an option that was not given.
    """
    taken = {path.resolve() for path in inputs if path is not None}
    for path in outputs:
        if path is None:
            continue
        require_folder(path.parent, "the folder to write into")
        if path.is_dir():
            raise PosekitError(f"{path}: cannot be written: it is a folder, a file was expected")
        if not os.access(path.parent, os.W_OK):
            raise PosekitError(f"{path}: cannot be written: the folder {path.parent} is not for writing")
        if path.resolve() in taken:
            raise PosekitError(f"{path}: would be written over; every output needs a name of its own")
        taken.add(path.resolve())


def in_capture(capture: Path, path: Path) -> Path:
    """Return what `path` names in the capture's folder where there is such a thing, else the path as it is."""
    inside = capture / path
    if not inside.exists():
        return path
    if path.exists() and not path.samefile(inside):
        warnings.warn(
            PosekitWarning(f"{inside} is read, the capture's own; {path.absolute()} is another of this name"),
            stacklevel=2,
        )
    return inside


def load_people(path: Path) -> "Keypoints3D":
    """Read keypoints3d.h5; refuse a file of another kind altogether, and one without a single point."""
    import h5py
    import numpy as np

    from posekit.keypoints import Keypoints3D

    require_file(path, "keypoints3d.h5, as posekit triangulate writes it")
    if not h5py.is_hdf5(path):
        raise PosekitError(f"{path}: is no HDF5 file; keypoints3d.h5, as posekit triangulate writes it, was expected")
    people = Keypoints3D.load(path)
    if not np.isfinite(people.xyz).any():
        raise PosekitError(f"{path}: holds not one 3D point")
    return people


def require_positive(option: str, value: float | None) -> None:
    """Refuse a number that is not positive and finite; None is an option that was not given."""
    if value is not None and not 0 < value < math.inf:
        raise PosekitError(f"{option}: {value:g} is not a positive number")


def require_counts(**counts: int) -> None:
    """Refuse an option that is not a positive number; each is named as its field is."""
    for name, value in counts.items():
        if value < 1:
            raise PosekitError(f"--{name.replace('_', '-')}: {value} is not a positive number")


def require_seed(value: int) -> None:
    """Refuse a seed that NumPy's or PyTorch's generators would refuse, those that are counted on from it included."""
    if not 0 <= value < 2**62:
        raise PosekitError(f"--seed: found {value}, expected 0 or more, and less than 2^62")


def require_networks(option: str, names: Iterable[str]) -> None:
    """Refuse a name that no hand network has."""
    from posekit.models.hand_networks import HAND_NETWORKS

    for name in names:
        if name not in HAND_NETWORKS:
            raise PosekitError(f"{option}: found '{name}', expected one of: {', '.join(HAND_NETWORKS)}")
