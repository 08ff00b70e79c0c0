"""Finding skeletons and joints by the names that people type and files carry."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from posekit.errors import PosekitError
from posekit.skeleton.bodies import (
    BLAZEPOSE_33,
    BODY_25,
    BODY_25B,
    CMU_MOCAP,
    COCO_17,
    COCO_18,
    COCO_WHOLEBODY_133,
    H36M_16,
    H36M_17,
    HALPE_26,
    PANOPTIC_19,
)
from posekit.skeleton.hands import HAND_21, INTERHAND_21, with_hands
from posekit.skeleton.record import Skeleton

SKELETONS: Mapping[str, Skeleton] = MappingProxyType(
    {
        skeleton.name: skeleton
        for skeleton in (
            BODY_25,
            BODY_25B,
            COCO_17,
            COCO_18,
            HALPE_26,
            COCO_WHOLEBODY_133,
            H36M_17,
            H36M_16,
            PANOPTIC_19,
            BLAZEPOSE_33,
            HAND_21,
            INTERHAND_21,
            CMU_MOCAP,
        )
    }
)

# Besides the names above in any case, with any or no separators.
_OTHER_NAMES = {
    "coco": COCO_17,
    "halpe": HALPE_26,
    "bodywithfeet": HALPE_26,
    "cocowholebody": COCO_WHOLEBODY_133,
    "wholebody": COCO_WHOLEBODY_133,
    "wholebody133": COCO_WHOLEBODY_133,
    "coco133": COCO_WHOLEBODY_133,
    "h36m": H36M_17,
    "human36m": H36M_17,
    "mpii": H36M_16,
    "mpii16": H36M_16,
    "panoptic": PANOPTIC_19,
    "blazepose": BLAZEPOSE_33,
    "mediapipe": BLAZEPOSE_33,
    "mediapipe33": BLAZEPOSE_33,
    "hand": HAND_21,
    "interhand": INTERHAND_21,
    "cmu": CMU_MOCAP,
}


def _squeezed(name: str) -> str:
    return re.sub(r"[-_ .]", "", name).casefold()


_BY_NAME = {_squeezed(name): skeleton for name, skeleton in SKELETONS.items()} | _OTHER_NAMES


def get_skeleton(name: str) -> Skeleton:
    """Return a skeleton by its name as people type it: ``BODY_25B``, ``body25b``, ``coco-17``, ``halpe26``, ``blazepose``.

    ``BODY_25B+hands`` is BODY_25B with both hands. Raises PosekitError for a name that is not known.
    """
    plain = name.casefold().removesuffix("+hands").strip()
    skeleton = _BY_NAME.get(_squeezed(plain))
    if skeleton is not None and plain == name.casefold().strip():
        return skeleton
    if skeleton is not None and takes_hands(skeleton):
        return with_hands(skeleton)
    raise PosekitError(
        f"skeleton '{name}' is not known; known are: {', '.join(SKELETONS)} (and BODY_25+hands, and the like)"
    )


def takes_hands(skeleton: Skeleton) -> bool:
    """Tell whether it is a body that hands can be put behind."""
    return "body" in skeleton.parts and "left_hand" not in skeleton.parts


def skeletons_of(joint_count: int) -> tuple[Skeleton, ...]:
    """Return the known skeletons, without those that are put together by `with_hands`, of so many joints."""
    return tuple(skeleton for skeleton in SKELETONS.values() if skeleton.joint_count == joint_count)


# What files write, word by word, and the word that the skeletons here use.
_WORDS = {
    "l": "left",
    "r": "right",
    "pinky": "little",
    "pinkie": "little",
    "finger": "",
    "forefinger": "index",
    "pointer": "index",
    "center": "mid",
    "middle": "mid",
    "midhip": "mid hip",
    "bigtoe": "big toe",
    "smalltoe": "small toe",
    "headtop": "head top",
}
# The joints of a finger by their anatomy; the thumb, which has a metacarpal of its own, counts from that.
_FINGER_JOINTS = {"mcp": "1", "pip": "2", "dip": "3", "tip": "4"}
_THUMB_JOINTS = {"cmc": "1", "mcp": "2", "ip": "3", "tip": "4"}
_SIDE_AND_JOINT = re.compile(r"^(left|right|l|r)(eye|ear|shoulder|elbow|wrist|hip|knee|ankle|heel)$")


def _words(joint: str) -> frozenset[str]:
    """The words of a joint's name without their order: LWrist, wrist_l, left-wrist and left_wrist are one."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[0-9])(?=[A-Za-z])|[^A-Za-z0-9]+", " ", joint)
    words = " ".join(_SIDE_AND_JOINT.sub(r"\1 \2", word) for word in parted.casefold().split())
    plain = " ".join(_WORDS.get(word, word) for word in words.split()).split()
    joints = _THUMB_JOINTS if "thumb" in plain else _FINGER_JOINTS
    return frozenset(joints.get(word, word) for word in plain)


def matching_joints(names: tuple[str, ...], skeleton: Skeleton) -> dict[str, str]:
    """Return which joint of the skeleton each name spells, for those that spell one: {"LWrist": "left_wrist"}.

    Raises PosekitError where two names spell one joint.
    """
    known = {_words(joint): joint for joint in skeleton.joints}
    found: dict[str, str] = {}
    for name in names:
        joint = name if name in skeleton else known.get(_words(name))
        if joint is not None:
            if joint in found.values():
                other = next(key for key, value in found.items() if value == joint)
                raise PosekitError(f"'{other}' and '{name}' are both {joint} of {skeleton.name}")
            found[name] = joint
    return found


def skeleton_of_names(name: str, joints: tuple[str, ...]) -> Skeleton:
    """Return a skeleton of somebody's own joints: one part, ``body``, no bones, left and right paired by their names."""
    words = [_words(joint) for joint in joints]
    pairs = [
        (left, words.index(mirrored))
        for left, spelled in enumerate(words)
        if "left" in spelled and (mirrored := spelled - {"left"} | {"right"}) in words
    ]
    return Skeleton(name, joints, (), tuple(pairs), {"body": tuple(range(len(joints)))})
