"""From the joints of a motion capture to those of a lifter.

Joints stand where the capture has them, by name; mid_hip and neck are the middles of hips and shoulders, as detectors have it.
What no capture of markers has is a nose, and many have no top of the head: they are made of the head's own axis and of where
the person looks. The axis runs from the lower end of the head (``upper_neck``; the neck where there is none) to its top;
the person looks at right angles to it and to the line of the shoulders. So a turned head is not seen in the nose:
`posekit.datasets.lifter_poses` turns heads at random.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from posekit.datasets.mocap import MocapClip
from posekit.errors import PosekitError
from posekit.skeleton import Skeleton, apply_joint_map, joint_map

Array = NDArray[np.float64]

#: The nose from the neck, as shares of the shoulders' width, along the head's axis and to the front: OpenPose's of people who
#: look down is at 0.42 and 0.45 along the chest's own axes; a head held up lifts it.
NOSE_UP = 0.55
NOSE_FRONT = 0.42


#: Where they are missing, along the head's axis from the neck, as shares of the shoulders' width: CMU's own upper neck and top.
_UPPER_NECK_UP = 0.3
_HEAD_TOP_UP = 0.6

#: The head's axis: from the first pair that a capture has both of. The neck here is the middle of the shoulders.
_HEAD_AXES = (
    ("upper_neck", "head_top"),
    ("lower_neck", "head_top"),
    ("neck", "head_top"),
    ("lower_neck", "upper_neck"),
    ("neck", "upper_neck"),
    ("neck", "head"),
)


def retarget(clip: MocapClip, target: Skeleton) -> Float[np.ndarray, "F J 3"]:
    """Return a clip's poses (F, J, 3) as the target's joints, metres, Z up; NaN where a joint was not measured.

    target: `posekit.lifting.skeletons.LIFTER_15`, `REPNET_16`, or any skeleton of such joints.

    Raises PosekitError where the clip lacks a joint that cannot be made of others.
    """
    source = clip.skeleton
    mapping = joint_map(source, target, derive=True)
    missing = [joint for joint in mapping.missing if joint not in _MADE]
    if missing:
        raise PosekitError(
            f"clip {clip.name}: lacks {', '.join(missing)} of {target.name}, and has: {', '.join(clip.joints)}"
        )
    derived, _ = apply_joint_map(mapping, source, target, np.asarray(clip.xyz, dtype=np.float64))
    xyz = np.array(derived)
    made = [joint for joint in mapping.missing if joint in _MADE]
    if made:
        neck, up, front, width = head_axes(clip)
        for joint in made:
            along, ahead = _MADE[joint]
            xyz[:, target.index(joint)] = neck + width * (along * up + ahead * front)
    return xyz


def head_axes(clip: MocapClip) -> tuple[Array, Array, Array, float]:
    """Return the neck (F, 3), the head's axis up and where the person looks, (F, 3) of length 1; the shoulders' width, metres.

    Raises PosekitError where the clip has no shoulders, or nothing to tell where the head is.
    """
    skeleton = clip.skeleton
    for joint in ("left_shoulder", "right_shoulder"):
        if joint not in skeleton:
            raise PosekitError(f"clip {clip.name}: has no {joint}, which says where the person looks")
    left, right = (np.asarray(clip[f"{side}_shoulder"], dtype=np.float64) for side in ("left", "right"))
    neck = (left + right) / 2
    ends = next((pair for pair in _HEAD_AXES if all(joint in skeleton or joint == "neck" for joint in pair)), None)
    if ends is None:
        raise PosekitError(
            f"clip {clip.name}: has no head_top, upper_neck or head, one of which says where the head is"
        )
    lower = neck if ends[0] == "neck" else np.asarray(clip[ends[0]], dtype=np.float64)
    up = _unit(np.asarray(clip[ends[1]], dtype=np.float64) - lower)
    front = _unit(np.cross(_unit(left - right), up))
    widths = np.linalg.norm(left - right, axis=-1)
    known = widths[np.isfinite(widths)]
    return neck, up, front, float(np.median(known)) if known.size else float("nan")


def _unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Array = vectors / np.where(lengths > 1e-6, lengths, np.nan)
    return unit


_MADE = {"nose": (NOSE_UP, NOSE_FRONT), "upper_neck": (_UPPER_NECK_UP, 0.0), "head_top": (_HEAD_TOP_UP, 0.0)}
