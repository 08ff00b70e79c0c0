"""Skeletons: names and order of joints, bones, left/right pairs and parts; and maps between them by joint name.

The orders are those of the files of the field (OpenPose's ``poseParameters.cpp`` and ``handParameters.hpp``). Names say the
person's own side: ``left_wrist`` is the left wrist of the person in the picture.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from posekit.errors import PosekitError

FINGERS = ("thumb", "index", "middle", "ring", "little")


@dataclass(frozen=True)
class Skeleton:
    """Joint names in the order of the arrays, the bones between them, the pairs that are each other's mirror image.

    joints: J names. bones: pairs of joint indices, parent first. left_right: pairs (left index, right index).
    parts: name of a part -> indices of its joints, each ascending; together they hold every joint once.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    left_right: tuple[tuple[int, int], ...]
    parts: Mapping[str, tuple[int, ...]] = field(hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))
        if len(set(self.joints)) != len(self.joints):
            raise PosekitError(f"skeleton {self.name}: two joints have one name")
        if any(list(part) != sorted(part) for part in self.parts.values()):
            raise PosekitError(f"skeleton {self.name}: the joints of a part must ascend")
        if sorted(joint for part in self.parts.values() for joint in part) != list(range(len(self.joints))):
            raise PosekitError(f"skeleton {self.name}: every joint must be in exactly one part")
        for pair in (*self.bones, *self.left_right):
            if not all(0 <= joint < len(self.joints) for joint in pair) or pair[0] == pair[1]:
                raise PosekitError(f"skeleton {self.name}: {pair} is no pair of joints")

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy does not travel to another process by itself.
        return Skeleton, (self.name, self.joints, self.bones, self.left_right, dict(self.parts))

    @property
    def joint_count(self) -> int:
        """J, the number of joints."""
        return len(self.joints)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {joint: number for number, joint in enumerate(self.joints)}

    def __contains__(self, joint: object) -> bool:
        return joint in self._index

    def index(self, joint: str) -> int:
        """Return the place of a joint in the arrays."""
        try:
            return self._index[joint]
        except KeyError:
            raise PosekitError(
                f"skeleton {self.name} has no joint '{joint}'; it has: {', '.join(self.joints)}"
            ) from None

    def indices(self, joints: tuple[str, ...]) -> np.ndarray:
        """Return the places of several joints, (n,) int."""
        return np.array([self.index(joint) for joint in joints], dtype=np.int64)

    def part(self, name: str) -> np.ndarray:
        """Return the places of a part's joints, (n,) int; ``left_hand`` comes in hand-21 order."""
        try:
            return np.array(self.parts[name], dtype=np.int64)
        except KeyError:
            raise PosekitError(f"skeleton {self.name} has no part '{name}'; it has: {', '.join(self.parts)}") from None

    def side(self, joint: int) -> str:
        """Return ``left``, ``right`` or ``middle``."""
        if self.joints[joint].startswith("left_"):
            return "left"
        return "right" if self.joints[joint].startswith("right_") else "middle"


@dataclass(frozen=True)
class JointMap:
    """How the joints of one skeleton stand in another, by name.

    source, target: indices of equal length, ``array_target[..., target, :] = array_source[..., source, :]``.
    missing: joints of the target that the source lacks. unused: joints of the source that the target lacks.
    """

    source: np.ndarray
    target: np.ndarray
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def joint_map(source: Skeleton, target: Skeleton) -> JointMap:
    """Map joints by name; nothing is guessed: a joint without a counterpart of the same name is listed, not filled."""
    common = [joint for joint in target.joints if joint in source]
    return JointMap(
        source=source.indices(tuple(common)),
        target=target.indices(tuple(common)),
        missing=tuple(joint for joint in target.joints if joint not in source),
        unused=tuple(joint for joint in source.joints if joint not in target),
    )


def _named_bones(joints: tuple[str, ...], chains: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Bones from chains such as ``neck nose left_eye``."""
    bones = []
    for chain in chains:
        names = chain.split()
        bones += [(joints.index(a), joints.index(b)) for a, b in itertools.pairwise(names)]
    return tuple(bones)


def _mirror_pairs(joints: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(
        (number, joints.index("right_" + joint.removeprefix("left_")))
        for number, joint in enumerate(joints)
        if joint.startswith("left_")
    )


def _body(name: str, joints: str, chains: tuple[str, ...]) -> Skeleton:
    names = tuple(joints.split())
    return Skeleton(name, names, _named_bones(names, chains), _mirror_pairs(names), {"body": tuple(range(len(names)))})


HAND_JOINTS = ("wrist", *(f"{finger}_{number}" for finger in FINGERS for number in range(1, 5)))
_HAND_BONES = tuple(
    (0 if number == 1 else first + number - 2, first + number - 1)
    for first in range(1, 21, 4)
    for number in range(1, 5)
)
HAND_21 = Skeleton("HAND_21", HAND_JOINTS, _HAND_BONES, (), {"hand": tuple(range(21))})

#: The joints of each finger in hand-21 order, base to tip: they stand or fall together in a triangulation.
HAND_FINGERS = tuple(tuple(range(first, first + 4)) for first in range(1, 21, 4))

_LIMBS = (
    "{side}_shoulder {side}_elbow {side}_wrist",
    "{side}_hip {side}_knee {side}_ankle {side}_heel",
    "{side}_ankle {side}_big_toe {side}_small_toe",
    "nose {side}_eye {side}_ear",
)
_BOTH_SIDES = tuple(chain.format(side=side) for side in ("left", "right") for chain in _LIMBS)

BODY_25 = _body(
    "BODY_25",
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip right_hip right_knee "
    "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe left_small_toe "
    "left_heel right_big_toe right_small_toe right_heel",
    (
        "mid_hip neck nose",
        "neck left_shoulder",
        "neck right_shoulder",
        "mid_hip left_hip",
        "mid_hip right_hip",
        *_BOTH_SIDES,
    ),
)

# OpenPose draws no bone from shoulder to hip in BODY_25B (it has no mid-hip); without one the trunk would be open.
BODY_25B = _body(
    "BODY_25B",
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle neck head_top left_big_toe "
    "left_small_toe left_heel right_big_toe right_small_toe right_heel",
    (
        "neck nose",
        "neck head_top",
        "neck left_shoulder left_hip",
        "neck right_shoulder right_hip",
        "left_hip right_hip",
        *_BOTH_SIDES,
    ),
)

SKELETONS: Mapping[str, Skeleton] = MappingProxyType(
    {skeleton.name: skeleton for skeleton in (BODY_25, BODY_25B, HAND_21)}
)


@cache
def with_hands(body: Skeleton) -> Skeleton:
    """Return `body` with both hands behind it: body, left hand (21), right hand (21).

    A hand has a wrist of its own, ``left_hand_wrist``: the hand detector's, which is not the body detector's.
    A bone joins the two.
    """
    joints = list(body.joints)
    bones = list(body.bones)
    parts = dict(body.parts)
    for side in ("left", "right"):
        first = len(joints)
        joints += [f"{side}_hand_{joint}" if joint == "wrist" else f"{side}_{joint}" for joint in HAND_JOINTS]
        bones.append((body.index(f"{side}_wrist"), first))
        bones += [(first + a, first + b) for a, b in _HAND_BONES]
        parts[f"{side}_hand"] = tuple(range(first, first + 21))
    names = tuple(joints)
    return Skeleton(f"{body.name}+hands", names, tuple(bones), _mirror_pairs(names), parts)


def get_skeleton(name: str) -> Skeleton:
    """Return a skeleton by its name; ``BODY_25B+hands`` is BODY_25B with both hands."""
    base = name.removesuffix("+hands")
    if name in SKELETONS:
        return SKELETONS[name]
    if base in SKELETONS and "body" in SKELETONS[base].parts:
        return with_hands(SKELETONS[base])
    raise PosekitError(f"skeleton '{name}' is not known; known are: {', '.join(SKELETONS)} (and BODY_25B+hands)")
