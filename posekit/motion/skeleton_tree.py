"""A skeleton's joints as a tree of rotations from the pelvis, as animation programs have it, and its rest pose.

A joint of an animation file turns everything that hangs on it as one rigid piece. Where joints that do not move as one
hang on one place (the head and both shoulders on the neck), the tree has a joint of its own at that place for each of them:
``left_clavicle``, ``right_clavicle``, ``spine``. What is one piece of bone hangs on one joint: hips on the pelvis, the head
on the neck, the foot on the ankle, the palm on the wrist.
"""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posekit.skeleton import FINGERS, Skeleton

_HEAD = re.compile(r"nose|eye|ear$|mouth|head|face|brow|jaw|lip|chin|contour")
_FOOT = re.compile(r"heel|toe$|foot")
_PALM = re.compile(rf"hand_wrist|palm|_knuckle$|({'|'.join(FINGERS)})_1$")

#: A standing person in T-pose, Y up, looking along Z: metres from each joint's parent in the tree. The right side is
#: the mirror image. Only directions matter: lengths are measured on the person.
_REST: Mapping[str, tuple[float, float, float]] = {
    "hip": (0.10, 0.0, 0.0),
    "knee": (0.0, -0.42, 0.0),
    "ankle": (0.0, -0.41, 0.0),
    "heel": (0.0, -0.06, -0.05),
    "big_toe": (-0.01, -0.06, 0.16),
    "small_toe": (0.05, -0.06, 0.13),
    "foot_index": (0.0, -0.06, 0.16),
    "shoulder": (0.18, 0.0, 0.0),
    "elbow": (0.28, 0.0, 0.0),
    "wrist": (0.25, 0.0, 0.0),
    "hand_wrist": (0.01, 0.0, 0.0),
    "nose": (0.0, 0.13, 0.12),
    "eye": (0.03, 0.17, 0.10),
    "ear": (0.08, 0.15, 0.02),
    "mouth": (0.03, 0.09, 0.10),
    "head_top": (0.0, 0.28, 0.02),
    "thumb_1": (0.03, -0.01, 0.03),
    "index_1": (0.09, 0.0, 0.025),
    "middle_1": (0.09, 0.0, 0.005),
    "ring_1": (0.085, 0.0, -0.012),
    "little_1": (0.08, 0.0, -0.03),
    "thumb": (0.02, -0.01, 0.025),
    "foot_ball": (0.0, -0.06, 0.12),
    "toe_end": (0.0, -0.01, 0.06),
    "palm": (0.05, 0.0, 0.0),
    "knuckles": (0.04, 0.0, 0.0),
    "fingertips": (0.08, 0.0, 0.0),
    "thumb_end": (0.04, -0.01, 0.05),
    "pinky_knuckle": (0.08, 0.0, -0.03),
    "index_knuckle": (0.09, 0.0, 0.025),
    "thumb_knuckle": (0.04, -0.01, 0.03),
}
#: What other skeletons have in the place of these.
_OTHER_NAMES: Mapping[str, tuple[str, ...]] = {"mid_hip": ("pelvis",), "neck": ("lower_neck", "thorax")}
_UP = (0.0, 0.1, 0.0)
_FINGER = (0.03, 0.0, 0.0)


@dataclass(frozen=True)
class Aim:
    """What tells how far a joint is turned about its own bone, which the bone's far end does not say.

    rest: (3,) a direction of the rest pose at right angles to the bone. points: two, the measured direction is from the
    first to the second; or three of a hinge, and it is the hinge's axis, (b - a) x (c - b).
    """

    rest: tuple[float, float, float]
    points: tuple[int, ...]


@dataclass(frozen=True)
class TreeJoint:
    """A joint of the tree.

    point: where it stands, an index into `SkeletonTree.points`. parent: index of the joint that turns it, -1 for the root.
    helper: it stands where another joint stands, too, to turn something of its own.
    """

    name: str
    point: int
    parent: int
    helper: bool = False
    aim: Aim | None = None


@dataclass(frozen=True)
class SkeletonTree:
    """joints: parents before children. midpoints: (name, a, b), points that are put behind the skeleton's J joints."""

    skeleton: Skeleton
    joints: tuple[TreeJoint, ...]
    midpoints: tuple[tuple[str, int, int], ...]

    @property
    def point_names(self) -> tuple[str, ...]:
        """Names of the joints and of the midpoints."""
        return (*self.skeleton.joints, *(name for name, _, _ in self.midpoints))

    def points(self, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put the midpoints behind the joints: (..., J, n) to (..., J + midpoints, n)."""
        middles = [(xyz[..., a, :] + xyz[..., b, :]) / 2 for _, a, b in self.midpoints]
        return np.concatenate((xyz, *(middle[..., None, :] for middle in middles)), axis=-2)

    def children(self, joint: int) -> list[int]:
        """Joints that this one turns, in the tree's order."""
        return [number for number, other in enumerate(self.joints) if other.parent == joint]

    def moved(self, joint: int) -> list[int]:
        """Joints whose place this one's rotation changes: one joint for each place that is not its own."""
        found: dict[int, int] = {}
        for child in self.children(joint):
            if self.joints[child].point != self.joints[joint].point:
                found.setdefault(self.joints[child].point, child)
        return list(found.values())

    def rest_direction(self, point: int) -> NDArray[np.float64]:
        """Return where the point lies from its parent in the rest pose, (3,); its length is only a guess."""
        return rest_direction(self.point_names[point])


def rest_direction(name: str) -> NDArray[np.float64]:
    """Return where the joint of this name lies from its parent in the rest pose, (3,) metres.

    A joint of another name points up; zero where it is one of many of a piece of bone, whose shape is measured.
    """
    side, word = _split(name)
    if word in _REST:
        direction = np.array(_REST[word])
    elif (finger := re.fullmatch(rf"({'|'.join(FINGERS)})_\d", word)) is not None:
        direction = np.array(_REST["thumb"] if finger[1] == "thumb" else _FINGER)
    else:
        direction = np.array(_UP if _piece(name) is None else (0.0, 0.0, 0.0))
    if side == "right":
        direction[0] *= -1
    return direction


def build_tree(skeleton: Skeleton, seen: ArrayLike) -> SkeletonTree:
    """Build the tree of the joints that were `seen` at all, (J,) bool.

    Its root is mid_hip, or the middle of the hips where the skeleton has none; where the hips were never seen, the neck;
    of a hand alone, the wrist.
    """
    present = np.asarray(seen, dtype=bool)
    names = list(skeleton.joints)
    midpoints: list[tuple[str, int, int]] = []

    def middle(name: str, pair: str) -> int | None:
        """The joint of this name, or else the middle of the pair, or else nothing."""
        for known in (name, *_OTHER_NAMES.get(name, ())):
            if known in names:
                return names.index(known)
        ends = [names.index(f"{side}_{pair}") for side in ("left", "right") if f"{side}_{pair}" in names]
        if len(ends) < 2 or not present[ends].all():
            return None
        midpoints.append((name, ends[0], ends[1]))
        names.append(name)
        return len(names) - 1

    pelvis = middle("mid_hip", "hip")
    chest = _chest(skeleton)
    if chest is None:
        chest = middle("neck", "shoulder")
    parents = _parents(skeleton, names, pelvis, chest, present)
    return _as_rotations(SkeletonTree(skeleton, (), tuple(midpoints)), names, parents, pelvis, chest)


def _split(name: str) -> tuple[str, str]:
    """``left_big_toe`` is ("left", "big_toe"), ``neck`` ("", "neck")."""
    side, _, word = name.partition("_")
    return (side, word) if side in ("left", "right") else ("", name)


def _piece(name: str) -> str | None:
    """Name the piece of bone a joint belongs to, if it is one of those that are more than a line."""
    word = _split(name)[1]
    for piece, pattern in (("palm", _PALM), ("head", _HEAD), ("foot", _FOOT)):
        if pattern.search(word):
            return piece
    return "pelvis" if word == "hip" else None


def _chest(skeleton: Skeleton) -> int | None:
    """The joint in the middle of the body that a bone joins to the left shoulder."""
    for a, b in skeleton.bones:
        for end, other in ((a, b), (b, a)):
            if skeleton.joints[end] == "left_shoulder" and skeleton.side(other) == "middle":
                return other
    return skeleton.index("neck") if "neck" in skeleton else None


def _parents(
    skeleton: Skeleton, names: list[str], pelvis: int | None, chest: int | None, seen: NDArray[np.bool_]
) -> dict[int, int]:
    """Point -> parent, root first; every joint that was seen and the midpoints."""
    links = _links(skeleton, names, pelvis, chest)
    wrist = names.index("wrist") if "wrist" in names else None
    start = next((p for p in (pelvis, chest, wrist) if p is not None and (p >= len(seen) or seen[p])), None)
    roots = [point for point in (start, *np.flatnonzero(seen).tolist()) if point is not None]
    tree: dict[int, int] = {}
    for root in roots:
        if root not in tree:
            tree |= _spread(links, root, _holder(names, root, tree, chest) if tree else -1)
    return _without(tree, {point for point in tree if point < len(seen) and not seen[point]})


def _links(skeleton: Skeleton, names: list[str], pelvis: int | None, chest: int | None) -> dict[int, list[int]]:
    """Point -> its neighbours: the skeleton's bones, and those of the trunk that it lacks."""
    links: dict[int, list[int]] = {point: [] for point in range(len(names))}

    def join(a: int, b: int) -> None:
        links[a].append(b)
        links[b].append(a)

    for a, b in skeleton.bones:
        if not _closes_a_ring(names[a], names[b]):
            join(a, b)
    for centre, word in ((pelvis, "hip"), (chest, "shoulder")):
        for name in (f"left_{word}", f"right_{word}"):
            if centre is None or name not in names:
                continue
            point = names.index(name)
            if all(_split(names[other])[0] for other in links[point]):  # no bone leads to the body's middle
                join(centre, point)
    if pelvis is not None and chest is not None and chest not in _spread(links, pelvis, -1):
        join(pelvis, chest)
    return links


def _closes_a_ring(a: str, b: str) -> bool:
    """Bones that picture programs draw across the trunk and the face, which would close rings in the tree."""
    (side_a, word_a), (side_b, word_b) = _split(a), _split(b)
    trunk = {"shoulder", "hip"}
    across = {side_a, side_b} == {"left", "right"}
    to_head = {_piece(a), _piece(b)} & {"head"} and {word_a, word_b} & {"shoulder"}
    return across or {word_a, word_b} == trunk or bool(to_head)


def _spread(links: dict[int, list[int]], root: int, parent: int) -> dict[int, int]:
    """Breadth first from the root: point -> parent."""
    tree = {root: parent}
    queue = deque([root])
    while queue:
        point = queue.popleft()
        for other in links[point]:
            if other not in tree:
                tree[other] = point
                queue.append(other)
    return tree


def _holder(names: list[str], point: int, tree: dict[int, int], chest: int | None) -> int:
    """What a joint hangs on that no bone joins to the tree: a hand on its wrist, what is of the head on the chest."""
    side, _ = _split(names[point])
    wanted = {"palm": f"{side}_wrist", "foot": f"{side}_ankle"}.get(_piece(names[point]) or "")
    if wanted in names and names.index(wanted) in tree:
        return names.index(wanted)
    return chest if chest is not None and chest in tree else next(iter(tree))


def _without(tree: dict[int, int], left_out: set[int]) -> dict[int, int]:
    """Take points out; what hung on them hangs on what they hung on."""
    kept: dict[int, int] = {}
    for point, parent in tree.items():
        while parent in left_out:
            parent = tree[parent]
        if point not in left_out:
            kept[point] = parent
    # Where the root itself is gone, all of its children hang on the first of them.
    orphans = [point for point, parent in kept.items() if parent == -1]
    return {point: -1 if point == orphans[0] else orphans[0] if point in orphans else kept[point] for point in kept}


def _as_rotations(
    tree: SkeletonTree, names: list[str], parents: dict[int, int], pelvis: int | None, chest: int | None
) -> SkeletonTree:
    """Give every group of points that moves as one a joint to turn it."""
    holder = {point: _group_root(names, parents, point) for point in parents}
    joints: list[TreeJoint] = []
    joint_at: dict[int, int] = {}
    queue = deque(point for point, parent in holder.items() if parent == -1)
    while queue:
        point = queue.popleft()
        below = [other for other, parent in holder.items() if parent == point]
        queue += below
        if holder[point] == -1:
            joint_at[point] = 0
            joints.append(TreeJoint(names[point], point, -1))
        free = [other for other in below if _piece(names[other]) is None]
        own = [other for other in below if other not in free]
        # Without a piece of its own the joint turns what goes on in its middle, or its only bone.
        first = [] if own else ([o for o in free if _split(names[o])[0] == ""] or (free if len(free) == 1 else []))[:1]
        for other in [*own, *first]:
            joint_at[other] = len(joints)
            joints.append(TreeJoint(names[other], other, joint_at[point]))
        for other in free:
            if other in first:
                continue
            parent = max(0, joints[joint_at[point]].parent)
            helper = len(joints)
            joints.append(TreeJoint(_helper_name(names, point, other), point, parent, helper=True))
            joint_at[other] = len(joints)
            joints.append(TreeJoint(names[other], other, helper))
    finished = replace(tree, joints=tuple(joints))
    aims = {number: _aim(finished, names, parents, number, pelvis, chest) for number in range(len(joints))}
    return replace(finished, joints=tuple(replace(joint, aim=aims[n]) for n, joint in enumerate(joints)))


def _group_root(names: list[str], parents: dict[int, int], point: int) -> int:
    """The parent, or for a joint of a piece of bone the first joint above that is not of the piece."""
    piece, parent = _piece(names[point]), parents[point]
    while piece is not None and parent != -1 and _piece(names[parent]) == piece and parents[parent] != -1:
        parent = parents[parent]
    return parent


def _helper_name(names: list[str], point: int, child: int) -> str:
    side, word = _split(names[child])
    wanted = (
        f"{side}_clavicle" if word == "shoulder" else "spine" if side == "" else f"{names[point]}_to_{names[child]}"
    )
    while wanted in names:
        wanted = f"lower_{wanted}"
    return wanted


def _aim(
    tree: SkeletonTree, names: list[str], parents: dict[int, int], joint: int, pelvis: int | None, chest: int | None
) -> Aim | None:
    """The trunk's front for pelvis and spine, the hinge's axis for upper arm, thigh and finger."""
    here = tree.joints[joint]
    ends = [tree.joints[other].point for other in tree.moved(joint)]
    if here.parent == -1 and here.point == pelvis and chest in parents and ends:
        return Aim((0.0, 1.0, 0.0), (pelvis, chest)) if pelvis is not None and chest is not None else None
    shoulders = tuple(names.index(name) for name in ("right_shoulder", "left_shoulder") if name in names)
    if ends == [chest] and len(shoulders) == 2 and all(point in parents for point in shoulders):
        return Aim((1.0, 0.0, 0.0), shoulders)
    if len(ends) != 1:
        return None
    after = [point for point, parent in parents.items() if parent == ends[0] and _piece(names[point]) is None]
    side, word = _split(names[here.point])
    sign = -1.0 if side == "right" else 1.0
    axis = {"hip": (1.0, 0.0, 0.0), "shoulder": (0.0, -sign, 0.0)}.get(word)
    if side and re.fullmatch(r"(index|middle|ring|little)_1", word):
        axis = (0.0, 0.0, -sign)
    return Aim(axis, (here.point, ends[0], after[0])) if axis and len(after) == 1 else None
