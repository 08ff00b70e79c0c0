"""Poses taken apart into what can be mixed: directions of bones in the frames of pelvis and chest.

A frame's axes are to the person's left, up along the trunk and to the front (columns of a rotation). Legs, hips and the trunk
are told in the pelvis' frame, arms, shoulders and head in the chest's; lengths are left to whoever puts a pose together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.skeleton import Skeleton

_MIRROR = np.array([-1.0, 1.0, 1.0], dtype=np.float32)


@dataclass(frozen=True)
class BodyPlan:
    """Which bone of a lifter's skeleton belongs where.

    chest: the joint at the trunk's upper end, ``neck`` or ``thorax``. bones: (parent, child), parents first. groups: name ->
    numbers of its bones; a group comes from one pose. in_chest: whether a bone is told in the chest's frame.
    """

    skeleton: Skeleton
    chest: int
    bones: tuple[tuple[int, int], ...]
    groups: dict[str, tuple[int, ...]]
    in_chest: NDArray[np.bool_]

    @classmethod
    def of(cls, skeleton: Skeleton) -> "BodyPlan":
        """Raises PosekitError for a skeleton without mid_hip, hips, shoulders, or a neck or thorax, and for one in pieces."""
        chest = next((joint for joint in ("thorax", "neck") if joint in skeleton), None)
        for joint in ("mid_hip", "left_hip", "right_hip", "left_shoulder", "right_shoulder"):
            if joint not in skeleton or chest is None:
                raise PosekitError(
                    f"skeleton {skeleton.name}: lacks {joint if chest else 'a neck or thorax'}, which poses are taken apart by"
                )
        assert chest is not None
        bones = _parents_first(skeleton)
        names = [skeleton.joints[child] for _, child in bones]
        groups: dict[str, list[int]] = {}
        for number, name in enumerate(names):
            groups.setdefault(_group(name, chest), []).append(number)
        in_chest = np.array([_group(name, chest) in ("left_arm", "right_arm", "head", "shoulders") for name in names])
        fixed = {name: tuple(members) for name, members in groups.items()}
        return cls(skeleton, skeleton.index(chest), bones, fixed, in_chest)

    @cached_property
    def children(self) -> tuple[str, ...]:
        """The joint at every bone's end."""
        return tuple(self.skeleton.joints[child] for _, child in self.bones)

    @cached_property
    def mirror(self) -> NDArray[np.int64]:
        """The bone that each bone is in a mirror."""
        joints = [child for _, child in self.bones]
        return np.array([joints.index(int(self.skeleton.mirror[child])) for child in joints], dtype=np.int64)


def _group(joint: str, chest: str) -> str:
    side, _, word = joint.partition("_")
    if word in ("elbow", "wrist"):
        return f"{side}_arm"
    if word in ("knee", "ankle"):
        return "legs"
    if word == "shoulder":
        return "shoulders"
    return "trunk" if word == "hip" or joint == chest else "head"


def _parents_first(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    reached, left, ordered = {skeleton.index("mid_hip")}, list(skeleton.bones), []
    while left:
        bone = next((bone for bone in left if bone[0] in reached), None)
        if bone is None:
            raise PosekitError(f"skeleton {skeleton.name}: its bones do not all hang on mid_hip, parents first")
        left.remove(bone)
        reached.add(bone[1])
        ordered.append(bone)
    if len(ordered) != skeleton.joint_count - 1 or len(reached) != skeleton.joint_count:
        raise PosekitError(f"skeleton {skeleton.name}: its bones are no tree of all {skeleton.joint_count} joints")
    return tuple(ordered)


@dataclass(frozen=True, eq=False)
class BodyTable:
    """N poses of L bones, taken apart.

    pelvis: (N, 3, 3) rotations from the pelvis' frame to the world. chest: (N, 3, 3) from the chest's frame to the pelvis'.
    directions: (N, L, 3) of length 1, told in their frame. lengths: (N, L) metres. clip: (N,) number of the recording;
    frames of one stand one after the other.
    """

    plan: BodyPlan
    pelvis: Float[np.ndarray, "N 3 3"]
    chest: Float[np.ndarray, "N 3 3"]
    directions: Float[np.ndarray, "N L 3"]
    lengths: Float[np.ndarray, "N L"]
    clip: Int[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.pelvis)

    @classmethod
    def of(cls, plan: BodyPlan, poses: Sequence[Float[np.ndarray, "F J 3"]]) -> "BodyTable":
        """Take recordings apart; poses in which a joint is missing, or two ends of a bone are one point, are left out."""
        clip = np.concatenate([np.full(len(xyz), number) for number, xyz in enumerate(poses)])
        xyz = np.concatenate([np.asarray(xyz, dtype=np.float64) for xyz in poses])
        vectors = np.stack([xyz[:, child] - xyz[:, parent] for parent, child in plan.bones], axis=1)
        lengths = np.linalg.norm(vectors, axis=-1)
        whole = np.isfinite(lengths).all(axis=-1) & (lengths > 1e-4).all(axis=-1)
        if not whole.any():
            raise PosekitError("mocap: there is not one pose with every joint of the lifter's skeleton")
        xyz, vectors, lengths, clip = xyz[whole], vectors[whole], lengths[whole], clip[whole]
        pelvis = body_frame(plan, xyz, "hip")
        chest = body_frame(plan, xyz, "shoulder")
        frames = np.where(plan.in_chest[:, None, None], chest[:, None], pelvis[:, None])
        directions = np.einsum("nlji,nlj->nli", frames, vectors / lengths[..., None])
        relative = np.swapaxes(pelvis, -1, -2) @ chest
        single = [part.astype(np.float32) for part in (pelvis, relative, directions, lengths)]
        return cls(plan, single[0], single[1], single[2], single[3], clip)

    def with_mirrored(self) -> "BodyTable":
        """Return the poses, and behind them each as a mirror shows it: left is right, and turns go the other way."""
        turn = _MIRROR[:, None] * _MIRROR
        # The world's y is turned over; the axis to the left is then to the right and is turned, too.
        world = np.array([1.0, -1.0, 1.0], dtype=np.float32)[:, None] * _MIRROR
        order = self.plan.mirror
        return BodyTable(
            self.plan,
            np.concatenate((self.pelvis, self.pelvis * world)),
            np.concatenate((self.chest, self.chest * turn)),
            np.concatenate((self.directions, self.directions[:, order] * _MIRROR)),
            np.concatenate((self.lengths, self.lengths[:, order])),
            np.concatenate((self.clip, self.clip + self.clip.max() + 1)),
        )


def body_frame(plan: BodyPlan, xyz: Float[np.ndarray, "*N J 3"], across: str) -> Float[np.ndarray, "*N 3 3"]:
    """Rotation to the world from the frame of the pelvis (across: ``hip``) or of the chest (``shoulder``)."""
    joint = plan.skeleton.index
    lateral = xyz[..., joint(f"left_{across}"), :] - xyz[..., joint(f"right_{across}"), :]
    lateral = lateral / np.maximum(np.linalg.norm(lateral, axis=-1, keepdims=True), 1e-9)
    up = xyz[..., plan.chest, :] - xyz[..., joint("mid_hip"), :]
    up = up - lateral * (up * lateral).sum(axis=-1, keepdims=True)
    up = up / np.maximum(np.linalg.norm(up, axis=-1, keepdims=True), 1e-9)
    return np.stack((lateral, up, np.cross(lateral, up)), axis=-1)


def assemble(
    plan: BodyPlan,
    pelvis: Float[np.ndarray, "N 3 3"],
    chest: Float[np.ndarray, "N 3 3"],
    directions: Float[np.ndarray, "N L 3"],
    lengths: Float[np.ndarray, "N L"],
) -> Float[np.ndarray, "N J 3"]:
    """Put poses together, centred on mid_hip; the inverse of taking apart."""
    vectors = directions * lengths[..., None]
    chest_in_world = pelvis @ chest
    turned = np.empty_like(vectors)
    # A row vector times the transposed rotation: one product of matrices for all bones of a frame.
    for rows, frame in ((~plan.in_chest, pelvis), (plan.in_chest, chest_in_world)):
        turned[:, rows] = vectors[:, rows] @ np.swapaxes(frame, -1, -2)
    xyz = np.zeros((len(vectors), plan.skeleton.joint_count, 3), dtype=vectors.dtype)
    for number, (parent, child) in enumerate(plan.bones):
        xyz[:, child] = xyz[:, parent] + turned[:, number]
    return xyz
