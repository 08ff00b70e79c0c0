"""Kinematic chain space: a pose as the inner products of its bones (Wandt, Ackermann, Rosenhahn, ECCV 2018).

A pose X (3 x J) becomes bones by one constant matrix, B = X C, and these become Psi = B^T B: squared bone lengths on the
diagonal, and off it the cosines of the angles between bones times both lengths. A critic that sees Psi sees limits of joints
and symmetric lengths, which it would have to work out from coordinates.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from posekit.errors import PosekitError
from posekit.lifting.skeletons import REPNET_16
from posekit.skeleton import Skeleton

Bones = tuple[tuple[int, int], ...]

#: The fifteen of the published script: the hips are joined to each other and the right one to the pelvis, where the skeleton
#: has a bone from the pelvis to each.
REPNET_BONES: Bones = (
    *(
        bone
        for bone in REPNET_16.bones
        if REPNET_16.joints[bone[0]] != "mid_hip" or REPNET_16.joints[bone[1]] == "thorax"
    ),
    (REPNET_16.index("right_hip"), REPNET_16.index("left_hip")),
    (REPNET_16.index("right_hip"), REPNET_16.index("mid_hip")),
)


def bones_of(skeleton: Skeleton) -> Bones:
    """Return the bones that a critic sees: the published ones of `REPNET_16`, a skeleton's own otherwise."""
    return REPNET_BONES if skeleton == REPNET_16 else skeleton.bones


def body_parts(skeleton: Skeleton, bones: Bones) -> tuple[tuple[int, ...], ...]:
    """Return the bones, by number, of five parts of the body: the trunk with the head, and each limb with what joins it.

    Gong, Zhang, Feng, "PoseAug", CVPR 2021, whose critic sees every part by itself, so that a pose may have legs and arms that
    were never seen together.
    """
    limbs = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
    parts = []
    for side in ("left", "right"):
        for limb in limbs:
            names = {f"{side}_{joint}" for joint in limb}
            parts.append(tuple(n for n, bone in enumerate(bones) if names & {skeleton.joints[joint] for joint in bone}))
    ends = {f"{side}_{joint}" for side in ("left", "right") for joint in ("elbow", "wrist", "knee", "ankle")}
    parts.append(tuple(n for n, bone in enumerate(bones) if not ends & {skeleton.joints[joint] for joint in bone}))
    return tuple(parts)


def bone_matrix(bones: Bones, joint_count: int) -> Float[Tensor, "J b"]:
    """Return C: column n has -1 at the first joint of bone n and 1 at its second, so that X C are the bones."""
    matrix = torch.zeros(joint_count, len(bones))
    for number, (first, second) in enumerate(bones):
        if not (0 <= first < joint_count and 0 <= second < joint_count):
            raise PosekitError(f"bone {number}: found joints {first} and {second}, expected two of {joint_count}")
        matrix[first, number] -= 1
        matrix[second, number] += 1
    return matrix


def bone_vectors(poses: Float[Tensor, "B J 3"], matrix: Float[Tensor, "J b"]) -> Float[Tensor, "B b 3"]:
    """Return the bones of poses, the columns of X C, as rows."""
    return matrix.T @ poses


def kcs(bones: Float[Tensor, "B b 3"]) -> Float[Tensor, "B b b"]:
    """Return Psi = B^T B of bones that are rows here."""
    return bones @ bones.transpose(-1, -2)


def upper_entries(psi: Float[Tensor, "B b b"], of: Sequence[int] | None = None) -> Float[Tensor, "B n"]:
    """Return the entries on and above the diagonal, of some bones only where told: the rest is their mirror image."""
    chosen = torch.arange(psi.shape[-1]) if of is None else torch.as_tensor(of)
    row, column = torch.triu_indices(len(chosen), len(chosen))
    return psi[..., chosen[row], chosen[column]]
