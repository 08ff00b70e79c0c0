"""Human3.6M's joints, in the two layouts that people have.

How to get it: register at vision.imar.ro/human3.6m (academic use only, no redistribution; models derived of it fall under the
same terms: nothing that ships with posekit is trained on it). Ionescu et al., PAMI 2014. ``data_3d_h36m.npz`` is made of it by
VideoPose3D's prepare_data_h36m.py; ``<subject>/MyPoses/3D_positions/<action>.h5`` is Martinez et al.'s (ICCV 2017).

Both: Z up, 50 frames/s; metres in the first, millimetres in the second. Joints: 32, many of them twice; or the 17 that remain.
Some subjects' files have TakingPhoto and WalkingDog for the Photo and WalkDog of the others: here they are one action each.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from posekit.datasets.mocap import MocapClip
from posekit.datasets.positions_npz import action_of, read_positions
from posekit.errors import PosekitError
from posekit.io.files import natural_order
from posekit.skeleton import H36M_17

FPS = 50.0
#: Subjects of the protocols: the paper's critic and generator see S1 S5 S6 S7 S8, figures are of S9 and S11.
TEST_SUBJECTS = ("S9", "S11")

_PLACES_OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
_LAYOUTS = {32: dict(zip(_PLACES_OF_32, H36M_17.joints, strict=True)), 17: dict(enumerate(H36M_17.joints))}
_DATASET = "3D_positions"
_MILLIMETRE = 0.001
# As VideoPose3D's prepare_data_h36m.py has it.
_ACTIONS = {"takingphoto": "photo", "walkingdog": "walkdog"}


def read_human36m(path: str | Path) -> list[MocapClip]:
    """Read ``data_3d_h36m.npz``, or a folder that has ``<subject>/.../3D_positions/<action>.h5`` below it.

    Raises PosekitError where there is neither, or a file is damaged.
    """
    return [replace(clip, action=_ACTIONS.get(clip.action, clip.action)) for clip in _read(Path(path))]


def _read(path: Path) -> list[MocapClip]:
    if not path.is_dir():
        return read_positions(path, _LAYOUTS, FPS, "Human3.6M's data_3d_h36m.npz, or a folder of its .h5 files")
    files = sorted(path.rglob(f"{_DATASET}/*.h5"), key=lambda file: natural_order(str(file)))
    if not files:
        raise PosekitError(
            f"{path}: has no 3D_positions/<action>.h5 below it, expected Human3.6M as S1/MyPoses/3D_positions"
        )
    return [_read_h5(file) for file in files]


def _read_h5(path: Path) -> MocapClip:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            node = file.get(_DATASET)
            if not isinstance(node, h5py.Dataset):
                raise PosekitError(f"{path}: holds {', '.join(file) or 'nothing'}, expected the array {_DATASET}")
            values = np.asarray(node)
    except OSError:
        raise PosekitError(f"{path}: is damaged or no HDF5 file") from None
    if values.ndim != 2 or values.dtype.kind != "f" or len(values) not in (3 * 32, 3 * 17) or not values.shape[1]:
        raise PosekitError(f"{path}: {_DATASET}: found {values.dtype} {values.shape}, expected (96, frames)")
    xyz = values.T.reshape(values.shape[1], -1, 3) * _MILLIMETRE
    places = _LAYOUTS[xyz.shape[1]]
    subject = next((part for part in reversed(path.parts) if part[:1] == "S" and part[1:].isdigit()), "")
    return MocapClip(
        f"{subject}/{path.stem}",
        subject,
        action_of(path.stem),
        FPS,
        tuple(places.values()),
        xyz[:, list(places)].astype(np.float32),
    )
