"""HumanEva-I's joints, as VideoPose3D's prepare_data_humaneva.py makes them: ``data_3d_humaneva15.npz``.

How to get it: register at humaneva.is.tue.mpg.de (research only). Sigal, Balan and Black, IJCV 2010. Metres, Z up, 60 frames/s,
15 joints; its head is the middle of the head, not its top. Chunks are parts of a take without gaps. The file's ``Train/S1`` and
``Validate/S1`` are one person, and one subject here, so that nobody is trained on and held out.
"""

from dataclasses import replace
from pathlib import Path

from posekit.datasets.mocap import MocapClip
from posekit.datasets.positions_npz import read_positions

FPS = 60.0

_ARM, _LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
_LIMBS = (("left", _ARM), ("right", _ARM), ("left", _LEG), ("right", _LEG))
_JOINTS = ("mid_hip", "thorax", *(f"{side}_{joint}" for side, limb in _LIMBS for joint in limb), "head")


def read_humaneva(path: str | Path) -> list[MocapClip]:
    """Read the file; raises PosekitError where it is damaged or another one."""
    clips = read_positions(path, {15: dict(enumerate(_JOINTS))}, FPS, "HumanEva's data_3d_humaneva15.npz")
    return [replace(clip, subject=clip.subject.rpartition("/")[2]) for clip in clips]
