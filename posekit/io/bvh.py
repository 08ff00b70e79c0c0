"""BVH, the motion files that Blender, MotionBuilder and their kin open: a skeleton of fixed bones and its rotations.

The skeleton is fitted to the joints (`posekit.motion.skeleton_fit`). Every joint has three rotations in the order Z X Y: it is
turned by Rz Rx Ry in its parent's frame, degrees; the root has a position, too. The rest pose is a T-pose, looking
along Z where Y is up. Joints at the ends of limbs are JOINTs, too, so that they keep their names, with a short End Site.

BVH knows no missing values: what was not measured is carried over from the frames before and after, and counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posekit.errors import PosekitError
from posekit.io.axes import UpAxis, turn_up
from posekit.io.even_frames import check_person, even_steps, take_rows
from posekit.io.files import write_whole
from posekit.keypoints import Keypoints3D
from posekit.motion.skeleton_fit import FittedSkeleton, believability, fit_skeleton
from posekit.motion.skeleton_tree import SkeletonTree
from posekit.units import METRES_PER_UNIT

_ROWS_AT_ONCE = 2000
#: Length of an End Site beside its own bone.
_END = 0.25
#: In metres; Blender makes a bone of no length 10 cm long.
_SHORTEST_END = 0.003


@dataclass(frozen=True)
class FitFigures:
    """How near the skeleton is to the joints it was fitted to.

    mean_mm, median_mm, p95_mm: distance between the file's joints and the measured ones. points: how many of those.
    missing: places of joints that nobody measured, of `points` + `missing`. left_out: joints that were never measured.
    """

    mean_mm: float
    median_mm: float
    p95_mm: float
    points: int
    missing: int
    left_out: tuple[str, ...]


def write_bvh(
    path: str | Path,
    keypoints: Keypoints3D,
    person: int = 0,
    *,
    up: UpAxis = "y",
    world_up: UpAxis = "z",
    unit: str = "cm",
    on_frames: Callable[[int, int], None] | None = None,
) -> FitFigures:
    """Write one person as a BVH file, whole or not at all.

    Rows stand at one rate; frames that are not in `keypoints` between others that are, are carried over. up: animation
    programs have "y". world_up: the axis of the keypoints' world that points up. unit: a word of METRES_PER_UNIT.
    on_frames: called with (frames fitted, frames in all).

    Raises PosekitError where there is no such person, no frame, no frame rate, or not one point of the person.
    """
    path = Path(path)
    check_person(path, keypoints, person, "BVH")
    assert keypoints.fps is not None
    frames, rows = even_steps(path, keypoints.frames)
    xyz = take_rows(keypoints.xyz[:, person], rows)
    present = np.asarray(np.isfinite(xyz).all(axis=-1))
    if not present.any():
        raise PosekitError(f"{path}: there is not one point of person {person}")
    weight = believability(take_rows(keypoints.covariance[:, person], rows), present)
    fitted = fit_skeleton(xyz @ turn_up(world_up, "y").T, weight, keypoints.skeleton, on_frames=on_frames)
    turn, scale = turn_up("y", up), 1 / METRES_PER_UNIT[unit]
    step = int(frames[1] - frames[0]) if len(frames) > 1 else 1
    header = [
        "HIERARCHY",
        *_hierarchy(fitted.tree, scale * fitted.offsets @ turn.T, scale * _end_sites(fitted) @ turn.T),
        "MOTION",
        f"Frames: {len(rows)}",
        f"Frame Time: {step / keypoints.fps:.10f}",
    ]
    table = _channels(fitted, turn, scale)
    with write_whole(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        file.write("\n".join(header) + "\n")
        for start in range(0, len(table), _ROWS_AT_ONCE):
            np.savetxt(file, table[start : start + _ROWS_AT_ONCE], fmt="%.6f")
    return _figures(fitted, present)


def _figures(fitted: FittedSkeleton, present: NDArray[np.bool_]) -> FitFigures:
    error = 1000 * fitted.error[np.isfinite(fitted.error)]
    used = present.any(axis=0)
    return FitFigures(
        float(error.mean()),
        float(np.median(error)),
        float(np.percentile(error, 95)),
        len(error),
        int((~present[:, used]).sum()),
        fitted.left_out,
    )


def _end_sites(fitted: FittedSkeleton) -> NDArray[np.float64]:
    """Where a joint's End Site would be, (N, 3): on along the bone, or up where the bone has hardly a length."""
    ends = _END * fitted.offsets
    ends[np.linalg.norm(ends, axis=1) < _SHORTEST_END] = (0.0, _SHORTEST_END, 0.0)
    return ends


def _hierarchy(tree: SkeletonTree, offsets: NDArray[np.float64], ends: NDArray[np.float64]) -> list[str]:
    """Lines of the tree in the order of `_depth_first`."""
    lines: list[str] = []

    def vector(values: NDArray[np.float64]) -> str:
        return "OFFSET " + " ".join(f"{value + 0.0:.6f}" for value in values)

    def add(number: int, depth: int) -> None:
        joint, indent = tree.joints[number], "\t" * depth
        rotations = "Zrotation Xrotation Yrotation"
        root = joint.parent == -1
        lines.append(f"{indent}{'ROOT' if root else 'JOINT'} {joint.name}")
        lines.append(indent + "{")
        lines.append(f"{indent}\t{vector(offsets[number])}")
        lines.append(
            f"{indent}\tCHANNELS " + (f"6 Xposition Yposition Zposition {rotations}" if root else f"3 {rotations}")
        )
        children = tree.children(number)
        for child in children:
            add(child, depth + 1)
        if not children:
            lines.extend(f"{indent}\t{line}" for line in ("End Site", "{", f"\t{vector(ends[number])}", "}"))
        lines.append(indent + "}")

    add(0, 0)
    return lines


def _depth_first(tree: SkeletonTree, number: int = 0) -> list[int]:
    """Joints in the order in which a BVH file names them, which is that of its columns."""
    return [number, *(other for child in tree.children(number) for other in _depth_first(tree, child))]


def _channels(fitted: FittedSkeleton, turn: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Columns of the motion, (F, 3 + 3 N): the root's place, then all rotations in degrees."""
    order = _depth_first(fitted.tree)
    table = np.empty((len(fitted.rotations), 3 + 3 * len(order)), dtype=np.float64)
    table[:, :3] = scale * fitted.translation @ turn.T
    for start in range(0, len(table), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        quaternions = fitted.rotations[rows][:, order]
        matrices = turn @ Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix() @ turn.T
        angles = euler_zxy(matrices).reshape(*quaternions.shape[:2], 3)
        before = table[start - 1, 3:].reshape(-1, 3) if start else None
        table[rows, 3:] = unwrap_zxy(angles, before).reshape(len(angles), -1)
    table[:, 3:] *= 180 / np.pi
    return table


def euler_zxy(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles z, x, y (..., 3) in radians with rotation = Rz Rx Ry, (..., 3, 3); at x = +-90 degrees, y is 0."""
    sine = np.clip(rotation[..., 2, 1], -1, 1)
    x = np.arcsin(sine)
    locked = 1 - np.abs(sine) < 1e-12
    z = np.where(
        locked,
        np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0]),
        np.arctan2(-rotation[..., 0, 1], rotation[..., 1, 1]),
    )
    y = np.where(locked, 0.0, np.arctan2(-rotation[..., 2, 0], rotation[..., 2, 2]))
    return np.stack((z, x, y), axis=-1)


def unwrap_zxy(angles: NDArray[np.float64], before: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Of the angles (F, N, 3) that mean the same rotation, take in every frame those nearest to the frame before.

    Whole turns mean the same, and so do z + 180, 180 - x, y + 180 degrees. before: (N, 3), the frame before the first.
    """
    unwrapped = np.empty_like(angles)
    last = angles[0] if before is None else before
    twin = np.stack((angles[..., 0] + np.pi, np.pi - angles[..., 1], angles[..., 2] + np.pi), axis=-1)
    for row in range(len(angles)):
        near = [last + np.remainder(choice[row] - last + np.pi, 2 * np.pi) - np.pi for choice in (angles, twin)]
        away = [np.abs(choice - last).sum(axis=-1) for choice in near]
        last = np.where((away[0] <= away[1])[:, None], near[0], near[1])
        unwrapped[row] = last
    return unwrapped
