"""A skeleton of fixed bone lengths and its joints' rotations, fitted to people in 3D.

Bone lengths are medians over time; a piece of bone with several joints has their mean shape. Then the rotations of every frame
are found, see `posekit.motion.tree_pose`. What was not measured is carried over from the frames before and after.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posekit.errors import PosekitError
from posekit.motion.skeleton_tree import SkeletonTree, build_tree
from posekit.motion.tree_pose import TreePose, nearest_rotation
from posekit.skeleton import Skeleton

Array = NDArray[np.float64]

#: Weights say how far a joint can be believed; below this standard deviation the skeleton's own stiffness is the larger error.
_TRUSTED_SD = 0.01
#: Frames that bone lengths are measured on, spread over the recording, and that are fitted at a time.
_MEASURED_FRAMES = 4000
_BATCH = 512
#: A round that leaves more than this share of the weighted squares was the last.
_SETTLED = 0.99
_PROCRUSTES_ROUNDS = 15


@dataclass(frozen=True, eq=False)
class FittedSkeleton:
    """A moving skeleton: N joints in the tree's order.

    offsets: (N, 3) metres from the parent in the rest pose (T-pose, Y up, looking along Z). rotations: (F, N, 4) of each
    joint in its parent's frame, unit quaternions x y z w. translation: (F, 3) metres, where the root is. error: (F, J)
    metres between the skeleton and the joints it was fitted to, NaN where there were none. carried: (F, N) rotations
    that nothing measured determines; they are carried over from the frames before and after.
    left_out: joints of which there is not one point.
    """

    tree: SkeletonTree
    offsets: Array
    rotations: NDArray[np.float32]
    translation: Array
    error: NDArray[np.float32]
    carried: NDArray[np.bool_]
    left_out: tuple[str, ...]


def believability(covariance: NDArray[np.floating], present: NDArray[np.bool_]) -> Array:
    """Weight in 0..1 of points with covariances (..., 6) m^2 (xx, xy, xz, yy, yz, zz): 0 where missing.

    A point of unknown covariance, such as one that was filled in, counts as one of 5 cm.
    """
    variance = covariance[..., [0, 3, 5]].mean(axis=-1).astype(np.float64)
    variance = np.where(np.isfinite(variance), variance, 0.05**2)
    return np.where(present, _TRUSTED_SD**2 / (_TRUSTED_SD**2 + variance), 0.0)


def fit_skeleton(
    xyz: Array,
    weight: Array,
    skeleton: Skeleton,
    *,
    rounds: int = 12,
    on_frames: Callable[[int, int], None] | None = None,
) -> FittedSkeleton:
    """Fit one person's skeleton to joints (F, J, 3) in metres and a Y-up world; NaN is missing. weight: (F, J) >= 0.

    rounds: of Gauss-Newton steps after the closed form, at most; a batch of frames that hardly gains any more is done.
    on_frames: called with (frames fitted, frames in all).

    Raises PosekitError where there is not one point.
    """
    weight = np.where(np.isfinite(xyz).all(axis=-1), weight, 0.0)
    seen = np.asarray((weight > 0).any(axis=0))
    if not seen.any():
        raise PosekitError("there is not one point that a skeleton could be fitted to")
    tree = build_tree(skeleton, seen)
    picked = np.unique(np.linspace(0, len(xyz) - 1, min(len(xyz), _MEASURED_FRAMES)).astype(int))
    # Of a joint that is rarely seen, the few frames that have it.
    rare = [np.flatnonzero(weight[:, joint])[:20] for joint in np.flatnonzero(seen)]
    picked = np.unique(np.concatenate((picked, *rare)))
    offsets = _measure_offsets(tree, *_with_midpoints(tree, xyz[picked], weight[picked]))
    F, N = len(xyz), len(tree.joints)
    rotations, translation = np.empty((F, N, 4), dtype=np.float32), np.empty((F, 3))
    error, carried = np.full((F, skeleton.joint_count), np.nan, dtype=np.float32), np.zeros((F, N), dtype=bool)
    for start in range(0, F, _BATCH):
        rows = slice(start, start + _BATCH)
        points, weights = _with_midpoints(tree, xyz[rows], weight[rows])
        pose = TreePose(tree, offsets, points, weights)
        pose.descend()
        for _ in range(rounds):
            if pose.improve() > _SETTLED:
                break
        rotations[rows], translation[rows], carried[rows] = pose.local(), pose.place[:, 0], ~pose.known
        if on_frames:
            on_frames(min(start + _BATCH, F), F)
    _carry_over(rotations, translation, carried, np.asarray((weight > 0).any(axis=1)))
    for start in range(0, F, _BATCH):
        rows = slice(start, start + _BATCH)
        places = forward_kinematics(tree, offsets, rotations[rows], translation[rows])
        for number, joint in enumerate(tree.joints):
            if joint.point < skeleton.joint_count and not joint.helper:
                error[rows, joint.point] = np.linalg.norm(places[:, number] - xyz[rows, joint.point], axis=-1)
    error[weight <= 0] = np.nan
    left_out = tuple(name for name, there in zip(skeleton.joints, seen, strict=True) if not there)
    return FittedSkeleton(tree, offsets, rotations, translation, error, carried, left_out)


def forward_kinematics(
    tree: SkeletonTree, offsets: Array, rotations: NDArray[np.floating], translation: Array
) -> Array:
    """Return where the joints are, (F, N, 3) metres; shapes as in `FittedSkeleton`."""
    F, N = rotations.shape[:2]
    local = Rotation.from_quat(rotations.reshape(-1, 4)).as_matrix().reshape(F, N, 3, 3)
    turned, place = np.empty((F, N, 3, 3)), np.empty((F, N, 3))
    for number, joint in enumerate(tree.joints):
        if joint.parent == -1:
            turned[:, number], place[:, number] = local[:, number], translation
        else:
            turned[:, number] = turned[:, joint.parent] @ local[:, number]
            place[:, number] = place[:, joint.parent] + turned[:, joint.parent] @ offsets[number]
    return place


def _with_midpoints(tree: SkeletonTree, xyz: Array, weight: Array) -> tuple[Array, Array]:
    """Points (F, J + midpoints, 3) with zeros where missing, and their weights; a midpoint has the lesser of its ends'."""
    ends = [np.minimum(weight[:, a], weight[:, b])[:, None] for _, a, b in tree.midpoints]
    weights = np.concatenate((weight, *ends), axis=1)
    return np.where(weights[..., None] > 0, tree.points(xyz), 0.0), weights


def _measure_offsets(tree: SkeletonTree, points: Array, weights: Array) -> Array:
    """Offsets of the rest pose: the shapes and median lengths of the person's bones, in the directions of a T-pose."""
    offsets = np.zeros((len(tree.joints), 3))
    for number, joint in enumerate(tree.joints):
        members = tree.moved(number)
        if not members:
            continue
        places = [tree.joints[member].point for member in members]
        vectors = points[:, places] - points[:, [joint.point]]
        weight = np.minimum(weights[:, places], weights[:, [joint.point]])
        rest = np.array([tree.rest_direction(place) for place in places])
        lengths = np.array([_median_length(v, w) for v, w in zip(vectors.swapaxes(0, 1), weight.T, strict=True)])
        lengths = np.where(np.isfinite(lengths), lengths, np.linalg.norm(rest, axis=1))
        shape = (
            _mean_shape(vectors, weight, rest) if len(members) > 1 else rest if rest.any() else np.array([[0, 1.0, 0]])
        )
        norm = np.linalg.norm(shape, axis=1, keepdims=True)
        shape = np.where(norm > 1e-9, shape / np.maximum(norm, 1e-9), 0.0) * lengths[:, None]
        for member, offset in zip(members, shape, strict=True):
            offsets[member] = offset
    # What stands at the same place as another joint has that one's offset, unless it hangs on it.
    at = {joint.point: offsets[number] for number, joint in enumerate(tree.joints) if not joint.helper}
    for number, joint in enumerate(tree.joints):
        if joint.helper and tree.joints[joint.parent].point != joint.point:
            offsets[number] = at[joint.point]
    return offsets


def _median_length(vectors: Array, weight: Array) -> float:
    length = np.linalg.norm(vectors[weight > 0], axis=-1)
    return float(np.median(length)) if len(length) else np.nan


def _mean_shape(vectors: Array, weight: Array, rest: Array) -> Array:
    """Mean of turned copies (F, n, 3) of one shape, (n, 3), turned as the rest pose has it (generalized Procrustes)."""
    fullest = int((weight > 0).sum(axis=1).argmax())
    shape = np.where(weight[fullest][:, None] > 0, vectors[fullest], 0.0)
    known = weight[fullest] > 0
    for _ in range(_PROCRUSTES_ROUNDS):
        used = weight * known
        turn = nearest_rotation(np.einsum("fn,fni,nj->fij", used, vectors, shape))
        back = np.einsum("fni,fij->fnj", vectors, turn)
        # Two directions fix a rotation; what one alone would say is arbitrary.
        rows = (used > 0).sum(axis=1) >= 2 if known.sum() >= 2 else (used > 0).any(axis=1)
        total = (weight * rows[:, None]).sum(axis=0)
        mean = np.einsum("fn,fni->ni", weight * rows[:, None], back) / np.maximum(total, 1e-12)[:, None]
        shape, known = np.where(total[:, None] > 0, mean, rest), known | (total > 0)
    turned: Array = shape @ nearest_rotation(np.einsum("ni,nj->ij", rest, shape) + 1e-6 * np.eye(3)).T
    return turned


def _carry_over(
    rotations: NDArray[np.float32], translation: Array, carried: NDArray[np.bool_], seen: NDArray[np.bool_]
) -> None:
    """Between known frames turn and move evenly, before the first and after the last hold still; in place.

    seen: (F,), the frames that have any point.
    """
    rows = np.arange(len(rotations))
    for joint in range(rotations.shape[1]):
        known = np.flatnonzero(~carried[:, joint])
        gaps = np.flatnonzero(carried[:, joint])
        if not len(gaps):
            continue
        if not len(known):
            rotations[:, joint] = (0, 0, 0, 1)
            continue
        after = (
            np.clip(np.searchsorted(known, gaps), 1, max(len(known) - 1, 1))
            if len(known) > 1
            else np.zeros(len(gaps), int)
        )
        before = np.maximum(after - 1, 0)
        start, end = known[before], known[after]
        share = np.clip((gaps - start) / np.maximum(end - start, 1), 0, 1)
        first = Rotation.from_quat(rotations[start, joint])
        way = (first.inv() * Rotation.from_quat(rotations[end, joint])).as_rotvec()
        rotations[gaps, joint] = (first * Rotation.from_rotvec(share[:, None] * way)).as_quat()
    root = np.flatnonzero(seen)
    if 0 < len(root) < len(rows):
        for axis in range(3):
            translation[:, axis] = np.interp(rows, root, translation[root, axis])
