"""The record of a skeleton, and how one is written down."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from posekit.errors import PosekitError


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

    @cached_property
    def _side(self) -> dict[int, str]:
        pairs = {joint: side for pair in self.left_right for joint, side in zip(pair, ("left", "right"), strict=True)}
        named = ((number, joint.partition("_")[0]) for number, joint in enumerate(self.joints))
        return {number: side for number, side in named if side in ("left", "right")} | pairs

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

    @property
    def body_joints(self) -> np.ndarray:
        """Return the places of the body's joints, (n,) int; of all joints where the skeleton has no body."""
        return self.part("body") if "body" in self.parts else np.arange(self.joint_count)

    @cached_property
    def mirror(self) -> np.ndarray:
        """The joint that each joint is in a mirror, (J,) int: its partner in `left_right`, or itself."""
        mirror = np.arange(self.joint_count)
        for left, right in self.left_right:
            mirror[left], mirror[right] = right, left
        mirror.flags.writeable = False
        return mirror

    def side(self, joint: int) -> str:
        """Return ``left``, ``right`` or ``middle``: the person's own side."""
        return self._side.get(joint, "middle")


def named_bones(joints: tuple[str, ...], chains: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Bones from chains such as ``neck nose left_eye``; a chain with ``{side}`` stands for two."""
    bones = []
    for chain in chains:
        for side in ("left", "right") if "{side}" in chain else ("",):
            names = chain.format(side=side).split()
            bones += [(joints.index(a), joints.index(b)) for a, b in itertools.pairwise(names)]
    return tuple(bones)


def mirror_pairs(joints: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Pair every ``left_...`` with its ``right_...``."""
    return tuple(
        (number, joints.index("right_" + joint.removeprefix("left_")))
        for number, joint in enumerate(joints)
        if joint.startswith("left_")
    )


def body_skeleton(name: str, joints: str, chains: tuple[str, ...]) -> Skeleton:
    """Make a skeleton of one part, ``body``, from the joints' names in order and the chains of its bones."""
    names = tuple(joints.split())
    return Skeleton(name, names, named_bones(names, chains), mirror_pairs(names), {"body": tuple(range(len(names)))})
