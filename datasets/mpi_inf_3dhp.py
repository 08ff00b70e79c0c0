"""MPI-INF-3DHP's training joints: ``S1/Seq1/annot.mat`` and so on.

How to get it: vcai.mpi-inf.mpg.de/3dhp-dataset (registration, research only). Mehta et al., "Monocular 3D human pose estimation
in the wild", 3DV 2017. ``annot3`` has, for each of 14 cameras, the 28 joints in that camera's axes, mm; all cameras saw the
same poses, so that one is read. ``camera.calibration`` beside it turns them into the world (mm, Y up); without it, up is
told by the people in a chest-high camera. The files say no rate: it is told by their length.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.datasets.mocap import MocapClip
from posekit.datasets.upright import up_of_people
from posekit.errors import PosekitError
from posekit.io.axes import turn_up
from posekit.io.files import natural_order, require_file
from posekit.io.json_values import read_bytes

#: Sequences last about four minutes: 6,000 frames at 25 frames/s, 12,000 at 50.
_FPS, _MANY_FRAMES = 25.0, 9000
_MILLIMETRE = 0.001
_COUNT = 28

# As the data set's own mpii_get_joint_set.m has it; its spine points and clavicles' ends are left out.
_JOINTS = {3: "spine", 4: "mid_hip", 5: "thorax", 6: "upper_neck", 7: "head_top"} | {
    first + step: f"{side}_{joint}"
    for side, first, names in (
        ("left", 9, ("shoulder", "elbow", "wrist")),
        ("right", 14, ("shoulder", "elbow", "wrist")),
        ("left", 18, ("hip", "knee", "ankle")),
        ("right", 23, ("hip", "knee", "ankle")),
    )
    for step, joint in enumerate(names)
}


def read_mpi_inf_3dhp(path: str | Path) -> list[MocapClip]:
    """Read one ``annot.mat``, or all below a folder; subject and sequence are the names of the folders.

    Raises PosekitError where there is none, or a file is damaged or another one.
    """
    path = Path(path)
    files = sorted(path.rglob("annot.mat"), key=lambda file: natural_order(str(file))) if path.is_dir() else [path]
    if not files:
        raise PosekitError(f"{path}: has no annot.mat below it, expected MPI-INF-3DHP as S1/Seq1/annot.mat")
    return [_read(require_file(file, "MPI-INF-3DHP's annot.mat")) for file in files]


def _read(path: Path) -> MocapClip:
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["annot3"])
    # A damaged file makes the reader stumble in many ways; one of MATLAB 7.3 is HDF5, which it does not read.
    except (ValueError, TypeError, KeyError, OSError, EOFError, IndexError, NotImplementedError, MemoryError) as error:
        raise PosekitError(f"{path}: is damaged or no .mat file of MATLAB 5 ({type(error).__name__})") from None
    except Exception as error:
        if type(error).__module__.startswith(("scipy.io", "zlib")):
            raise PosekitError(f"{path}: is damaged or no .mat file ({type(error).__name__})") from None
        raise
    values = _first_camera(path, content.get("annot3"))
    xyz = values.reshape(len(values), _COUNT, 3)[:, list(_JOINTS)] * _MILLIMETRE
    names = list(_JOINTS.values())
    calibration = path.with_name("camera.calibration")
    if calibration.is_file():
        rotation = _world_from_camera(calibration)
        xyz = xyz @ rotation.T
    trunk = xyz[:, names.index("head_top")] - xyz[:, names.index("mid_hip")]
    xyz = xyz @ turn_up(up_of_people(trunk, str(path)), "z").T
    subject, sequence = path.resolve().parts[-3:-1]
    fps = 2 * _FPS if len(xyz) > _MANY_FRAMES else _FPS
    return MocapClip(f"{subject}/{sequence}", subject, sequence, fps, tuple(names), xyz.astype(np.float32))


def _first_camera(path: Path, cells: Any) -> NDArray[np.float64]:
    if not isinstance(cells, np.ndarray) or cells.dtype != object or not cells.size:
        raise PosekitError(f"{path}: annot3: not found as one table per camera, expected those of a training sequence")
    values = np.asarray(cells.ravel()[0])
    if values.dtype.kind != "f" or values.ndim != 2 or values.shape[1] != 3 * _COUNT or not len(values):
        raise PosekitError(f"{path}: annot3: found {values.dtype} {values.shape}, expected (frames, {3 * _COUNT})")
    return values.astype(np.float64)


def _world_from_camera(path: Path) -> NDArray[np.float64]:
    """The first camera's rotation to the world: the transposed one of its ``extrinsic``, 16 numbers by rows."""
    for line in read_bytes(str(path)).decode("latin1").splitlines():
        words = line.split()
        if words[:1] == ["extrinsic"]:
            try:
                matrix = np.array([float(word) for word in words[1:]]).reshape(4, 4)
            except ValueError:
                break
            rotation: NDArray[np.float64] = matrix[:3, :3].T
            if np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-2:  # written with few digits
                return rotation
            break
    raise PosekitError(f"{path}: the first camera has no extrinsic of 16 numbers, expected MPI-INF-3DHP's calibration")
