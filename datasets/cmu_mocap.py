"""CMU's motion capture as arrays of joints.

Source: the Graphics Lab Motion Capture Database of Carnegie Mellon University, mocap.cs.cmu.edu (NSF EIA-0196217). Free for
research and commercial use; may be copied, modified and redistributed, and models may be derived of it; only the data
itself may not be sold. Clips of the database itself (ASF/AMC) are read by `posekit.datasets.asf_amc`.

Here: one ``.npz`` of joints at 30 Hz, metres, Y up. ``amc/<subject>_<clip>`` (F, 31, 3) has the 31 bones' ends of ASF/AMC
files, named by ``amc_joint_names``. ``exp/<split>_<action>_<action>_<clip>`` (F, 38, 3) has the joints of the exponential-map
files that motion prediction trains on (eight actions; who did them is not told), relative to the root, all of one skeleton,
whose thorax has lost its length: it is put back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.datasets.array_files import read_npz
from posekit.datasets.mocap import MocapClip
from posekit.errors import PosekitError
from posekit.io.axes import turn_up
from posekit.skeleton import CMU_MOCAP

_FPS = 30.0

_ASF_BONES = (
    "root head lclavicle lfemur lfingers lfoot lhand lhipjoint lhumerus lowerback lowerneck lradius lthumb ltibia ltoes "
    "lwrist rclavicle rfemur rfingers rfoot rhand rhipjoint rhumerus rradius rthumb rtibia rtoes rwrist thorax upperback "
    "upperneck"
)
#: Bone of an ASF file of CMU -> the joint at its end.
CMU_BONE_ENDS: Mapping[str, str] = MappingProxyType(dict(zip(_ASF_BONES.split(), CMU_MOCAP.joints, strict=True)))

# Places of the exponential-map skeleton; the others are second names of these points, and ends of hands.
_EXP_JOINTS = (
    {0: "pelvis", 14: "lower_back", 15: "upper_back", 16: "thorax", 17: "lower_neck", 18: "upper_neck", 19: "head_top"}
    | {2: "left_hip", 3: "left_knee", 4: "left_ankle", 5: "left_foot_ball", 6: "left_toe_end"}
    | {8: "right_hip", 9: "right_knee", 10: "right_ankle", 11: "right_foot_ball", 12: "right_toe_end"}
    | {21: "left_shoulder", 22: "left_elbow", 23: "left_wrist"}
    | {30: "right_shoulder", 31: "right_elbow", 32: "right_wrist"}
)
_EXP_COUNT = 38
_EXP_BELOW_THORAX = ("pelvis", "lower_back", "upper_back")
_NO_LENGTH = 1e-4
#: Who did the actions of the exponential-map files is not told: they are one subject here, so that nobody holds out half.
UNKNOWN_SUBJECT = "unknown"

# What the database's index says of its first three subjects.
_ACTIONS = {
    "01": "playground",
    "03": "uneven_terrain",
    "02_01": "walking",
    "02_02": "walking",
    "02_03": "running",
    "02_04": "jumping",
    "02_05": "punching",
    "02_06": "picking_up",
    "02_07": "swordplay",
    "02_08": "swordplay",
    "02_09": "swordplay",
    "02_10": "washing_self",
}


def read_cmu_arrays(path: str | Path) -> list[MocapClip]:
    """Read the clips, Z up and of one scale.

    The exponential-map skeleton is about 1.2 times as large as a person: its clips are scaled so that its legs are as long as
    the mean of the other clips' (as a grown-up's of 0.85 m where there are none).

    Raises PosekitError for a file that is damaged or holds other arrays.
    """
    path = Path(path)
    arrays = read_npz(path, "an .npz of CMU's motion capture")
    clips = [_amc_clip(path, key, arrays) for key in arrays if key.startswith("amc/")]
    exp = [_exp_clip(path, key, arrays) for key in arrays if key.startswith("exp/")]
    if not clips and not exp:
        raise PosekitError(
            f"{path}: found no arrays amc/<clip> or exp/<clip>, expected those of CMU's motion capture at 30 Hz"
        )
    wanted = float(np.mean([leg_length(clip) for clip in clips])) if clips else 0.85
    return [*clips, *scaled_by_legs(exp, wanted)]


def leg_length(clip: MocapClip) -> float:
    """Median length of thigh and shank together, metres, of both sides."""
    spans = [("left_hip", "left_knee", "left_ankle"), ("right_hip", "right_knee", "right_ankle")]
    lengths = [
        np.linalg.norm(clip[knee] - clip[hip], axis=-1) + np.linalg.norm(clip[ankle] - clip[knee], axis=-1)
        for hip, knee, ankle in spans
    ]
    measured = np.concatenate(lengths)
    measured = measured[np.isfinite(measured)]
    if not measured.size or not np.median(measured) > 0:
        raise PosekitError(f"clip {clip.name}: has no leg that was measured, so that its scale cannot be told")
    return float(np.median(measured))


def scaled_by_legs(clips: Sequence[MocapClip], wanted: float) -> list[MocapClip]:
    """Scale clips, all of one subject by the same factor, so that legs are `wanted` metres long."""
    subjects = {clip.subject for clip in clips}
    factors = {
        subject: wanted / float(np.mean([leg_length(clip) for clip in clips if clip.subject == subject]))
        for subject in subjects
    }
    return [replace(clip, xyz=clip.xyz * np.float32(factors[clip.subject])) for clip in clips]


def _checked(path: Path, key: str, array: NDArray[Any], joints: int) -> NDArray[np.float32]:
    if array.ndim != 3 or array.shape[1:] != (joints, 3) or array.dtype.kind != "f" or not len(array):
        raise PosekitError(f"{path}: '{key}': found {array.dtype} {array.shape}, expected float (frames, {joints}, 3)")
    turned: NDArray[np.float32] = (array.astype(np.float64) @ turn_up("y", "z").T).astype(np.float32)
    return turned


def _amc_clip(path: Path, key: str, arrays: dict[str, NDArray[Any]]) -> MocapClip:
    names = arrays.get("amc_joint_names")
    if names is None or names.dtype.kind != "U" or names.ndim != 1:
        raise PosekitError(
            f"{path}: 'amc_joint_names': not found as an array of texts, expected the names of the joints"
        )
    unknown = [str(name) for name in names if str(name) not in CMU_BONE_ENDS]
    if unknown:
        raise PosekitError(f"{path}: 'amc_joint_names': found '{unknown[0]}', expected bones of CMU's ASF files")
    name = key.removeprefix("amc/")
    subject = name.partition("_")[0]
    return MocapClip(
        name=name,
        subject=subject,
        action=_ACTIONS.get(name, _ACTIONS.get(subject, "")),
        fps=_FPS,
        joints=tuple(CMU_BONE_ENDS[str(bone)] for bone in names),
        xyz=_checked(path, key, arrays[key], len(names)),
    )


def _exp_clip(path: Path, key: str, arrays: dict[str, NDArray[Any]]) -> MocapClip:
    xyz = _checked(path, key, arrays[key], _EXP_COUNT)
    # <split>_<action>_<action>_<clip>, and an action may have underscores.
    words = key.removeprefix("exp/").split("_")[1:-1]
    action = "_".join(words[: len(words) // 2])
    joints = tuple(_EXP_JOINTS.values())
    return MocapClip(
        name=key.removeprefix("exp/"),
        subject=UNKNOWN_SUBJECT,
        action=action,
        fps=_FPS,
        joints=joints,
        xyz=_with_thorax(xyz[:, list(_EXP_JOINTS)], joints),
    )


def _with_thorax(xyz: NDArray[np.float32], joints: tuple[str, ...]) -> NDArray[np.float32]:
    """Lift neck, head and arms by the thorax that the files have no length for, unless they have one.

    In ASF files of CMU it is as long as the bone of the upper back below it. How it was turned is lost with it; it goes on as
    the upper back does. Hips to shoulders are then 0.59 of a leg, as they are of the other clips (0.59 to 0.64), not 0.46.
    """
    legs_and_back = {joint for joint in joints if joint.endswith(("hip", "knee", "ankle", "foot_ball", "toe_end"))}
    above = [n for n, joint in enumerate(joints) if joint not in legs_and_back and joint not in _EXP_BELOW_THORAX]
    lower, upper, thorax = (joints.index(joint) for joint in ("lower_back", "upper_back", "thorax"))
    if np.abs(xyz[:, thorax] - xyz[:, upper]).max() > _NO_LENGTH:
        return xyz
    moved = xyz.copy()
    moved[:, above] += (xyz[:, upper] - xyz[:, lower])[:, None]
    return moved
