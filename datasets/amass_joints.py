"""Joints of SMPL bodies, as people save them from AMASS: an ``.npz`` or ``.npy`` per motion.

How to get it: amass.is.tue.mpg.de (registration; not for commercial use; SMPL's own licence besides). Mahmood et al.,
ICCV 2019. AMASS stores SMPL's parameters; the joints are what SMPL's own code makes of them. Nothing of SMPL is here.

Read: (F, N, 3) metres with the first 22 joints in SMPL's order (22, 24, or the 52 of SMPL-H; also the 55 of SMPL-X and the
144 that its layer puts out), by the name joints, Jtr, joints3d or keypoints3d; the rate by mocap_framerate or fps, 30 if not
told. AMASS is Z up; the .npy files of HumanML3D and others after it are Y up, of 20 frames/s. Which axis it is, is told by
where the heads are.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.datasets.array_files import read_npz
from posekit.datasets.mocap import MocapClip
from posekit.datasets.upright import up_of_people
from posekit.errors import PosekitError
from posekit.io.axes import turn_up
from posekit.io.files import natural_order, require_file

_FPS, _NPY_FPS = 30.0, 20.0
_KEYS = ("joints", "Jtr", "joints3d", "keypoints3d")
_RATES = ("mocap_framerate", "mocap_frame_rate", "fps")

# SMPL's "head" is where the head turns on the neck, its "foot" the ball of the foot, its collars begin at the chest.
_NAMES = (
    "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot_ball "
    "right_foot_ball lower_neck left_collar right_collar upper_neck left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist"
)
_JOINTS = _NAMES.split()


def read_amass_joints(path: str | Path) -> list[MocapClip]:
    """Read one motion, or all ``.npz`` and ``.npy`` in a folder and below it; a file's folder is the subject.

    Raises PosekitError where there is none, or a file is damaged or holds other arrays.
    """
    path = Path(path)
    if not path.is_dir():
        return [_read(path)]
    files = [file for file in path.rglob("*") if file.suffix in (".npz", ".npy")]
    if not files:
        raise PosekitError(f"{path}: has no .npz or .npy, expected joints of SMPL bodies")
    return [_read(file) for file in sorted(files, key=lambda file: natural_order(str(file)))]


def _read(path: Path) -> MocapClip:
    what = f"joints of SMPL bodies (frames, 22 or more, 3), by the name {', '.join(_KEYS)}"
    fps = _FPS
    if path.suffix == ".npy":
        joints, fps = _single(require_file(path, what), what), _NPY_FPS
    else:
        arrays = read_npz(path, what)
        key = next((key for key in _KEYS if key in arrays), None)
        if key is None:
            raise PosekitError(f"{path}: holds {', '.join(arrays) or 'nothing'}, expected {what}")
        joints = arrays[key]
        rate = next((arrays[key] for key in _RATES if key in arrays), None)
        fps = float(rate) if rate is not None and rate.size == 1 and rate.dtype.kind in "iuf" else _FPS
    if joints.dtype.kind != "f" or joints.ndim != 3 or joints.shape[1] < len(_JOINTS) or joints.shape[2] != 3:
        raise PosekitError(f"{path}: found {joints.dtype} {joints.shape}, expected {what}")
    xyz = joints[:, : len(_JOINTS)].astype(np.float64)
    head, pelvis = xyz[:, _JOINTS.index("upper_neck")], xyz[:, 0]
    xyz = xyz @ turn_up(up_of_people(head - pelvis, str(path)), "z").T
    name = path.stem.removesuffix("_poses")
    return MocapClip(name, path.resolve().parent.name, "", fps, tuple(_JOINTS), xyz.astype(np.float32))


def _single(path: Path, what: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise PosekitError(f"{path}: is no whole .npy of numbers ({type(error).__name__}), expected {what}") from None
    return array
