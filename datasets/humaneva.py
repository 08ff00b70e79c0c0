"""HumanEva-I's joints, as VideoPose3D's prepare_data_humaneva.py makes them: ``data_3d_humaneva15.npz``.

How to get it: register at humaneva.is.tue.mpg.de (research only). Sigal, Balan and Black, IJCV 2010. Metres, Z up, 60 frames/s,
15 joints; its head is the middle of the head, not its top. Chunks are parts of a take without gaps.
"""

from pathlib import Path

from posekit.datasets.mocap import MocapClip
from posekit.datasets.positions_npz import read_positions

FPS = 60.0

_ARM, _LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
_LIMBS = (("left", _ARM), ("right", _ARM), ("left", _LEG), ("right", _LEG))
_JOINTS = ("mid_hip", "thorax", *(f"{side}_{joint}" for side, limb in _LIMBS for joint in limb), "head")


def read_humaneva(path: str | Path) -> list[MocapClip]:
    """Read the file; raises PosekitError where it is damaged or another one."""
    return read_positions(path, {15: dict(enumerate(_JOINTS))}, FPS, "HumanEva's data_3d_humaneva15.npz")
