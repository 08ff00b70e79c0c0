"""Motion capture of the data sets that people have, by ``KIND:PATH``."""

from collections.abc import Callable
from pathlib import Path

from posekit.datasets.amass_joints import read_amass_joints
from posekit.datasets.asf_amc import read_asf_amc
from posekit.datasets.bvh_mocap import read_bvh_folder
from posekit.datasets.cmu_mocap import read_cmu_arrays
from posekit.datasets.human36m import read_human36m
from posekit.datasets.humaneva import read_humaneva
from posekit.datasets.mocap import MocapClip
from posekit.datasets.mpi_inf_3dhp import read_mpi_inf_3dhp
from posekit.errors import PosekitError

#: Kind -> how its file or folder is read.
READERS: dict[str, Callable[[str | Path], list[MocapClip]]] = {
    "cmu": read_cmu_arrays,
    "amc": read_asf_amc,
    "bvh": read_bvh_folder,
    "h36m": read_human36m,
    "3dhp": read_mpi_inf_3dhp,
    "humaneva": read_humaneva,
    "amass": read_amass_joints,
}
KINDS = tuple(READERS)


def load_mocap(spec: str) -> list[MocapClip]:
    """Read the clips of ``KIND:PATH``, such as ``amc:cmu/subjects``, ``bvh:lafan1`` or ``h36m:data_3d_h36m.npz``.

    Raises PosekitError for a kind that is not known, and where there is nothing to read or it is damaged.
    """
    kind, colon, path = spec.partition(":")
    if not colon or kind not in READERS or not path:
        raise PosekitError(f"mocap '{spec}': expected KIND:PATH with a kind of {', '.join(KINDS)}")
    return READERS[kind](path)
