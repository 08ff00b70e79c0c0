"""From the joints of one skeleton to those of another, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.skeleton.record import Skeleton

#: Joints that the field makes of others where a detector lacks them, as their mean; the first row that can be had counts.
#: mid_hip and neck are OpenPose's and Halpe's own definitions, thorax, spine and upper_neck are how MMPose makes Human3.6M of
#: COCO, and a detector that has one wrist has it for body and hand.
_MEANS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("mid_hip", ("left_hip", "right_hip")),
    ("neck", ("left_shoulder", "right_shoulder")),
    ("thorax", ("left_shoulder", "right_shoulder")),
    ("spine", ("mid_hip", "thorax")),
    ("spine", ("left_hip", "right_hip", "left_shoulder", "right_shoulder")),
    ("upper_neck", ("nose",)),
    ("left_hand_wrist", ("left_wrist",)),
    ("right_hand_wrist", ("right_wrist",)),
    ("left_wrist", ("left_hand_wrist",)),
    ("right_wrist", ("right_hand_wrist",)),
)


@dataclass(frozen=True, eq=False)
class JointMap:
    """How the joints of one skeleton stand in another, by name.

    source, target: indices of equal length, ``array_target[..., target, :] = array_source[..., source, :]``.
    missing: joints of the target that the source lacks. unused: joints of the source that the target lacks.
    derived: joints of the target that are the mean of joints of the source -> the names of these; empty unless asked for.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    derived: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))


def joint_map(source: Skeleton, target: Skeleton, derive: bool = False) -> JointMap:
    """Map joints by name; nothing is guessed: a joint without a counterpart of the same name is listed, not filled.

    derive: make joints that the source lacks of others, as the field does: mid_hip of the hips, neck and thorax of the
    shoulders, spine of both, upper_neck of the nose, a hand's wrist of the body's and the other way round. They are listed
    in ``derived`` and no longer in ``missing``.
    """
    common = tuple(joint for joint in target.joints if joint in source)
    derived: dict[str, tuple[str, ...]] = {}
    for joint, others in _MEANS if derive else ():
        if (
            joint in target
            and joint not in source
            and joint not in derived
            and all(other in source for other in others)
        ):
            derived[joint] = others
    used = {*common, *(other for others in derived.values() for other in others)}
    return JointMap(
        source=source.indices(common),
        target=target.indices(common),
        missing=tuple(joint for joint in target.joints if joint not in source and joint not in derived),
        unused=tuple(joint for joint in source.joints if joint not in used),
        derived=MappingProxyType(derived),
    )


def apply_joint_map(
    mapping: JointMap,
    source: Skeleton,
    target: Skeleton,
    points: NDArray[np.floating],
    confidence: NDArray[np.floating] | None = None,
) -> tuple[NDArray[np.floating], NDArray[np.floating] | None]:
    """Return the points, and their confidence, of the target's joints.

    points: (..., J, D) in any unit, NaN where there is none. confidence: (..., J) or None. A derived joint is there where all
    joints are that it is the mean of, with the least of their confidences; what is missing is NaN with confidence 0.

    Raises PosekitError where the arrays do not hold the joints of the source.
    """
    if points.ndim < 2 or points.shape[-2] != source.joint_count:
        raise PosekitError(
            f"points of shape {points.shape} do not hold the {source.joint_count} joints of {source.name}"
        )
    if confidence is not None and confidence.shape != points.shape[:-1]:
        raise PosekitError(f"confidence has shape {confidence.shape}, {points.shape[:-1]} was expected")
    moved = np.full((*points.shape[:-2], target.joint_count, points.shape[-1]), np.nan, dtype=points.dtype)
    moved[..., mapping.target, :] = points[..., mapping.source, :]
    for joint, others in mapping.derived.items():
        moved[..., target.index(joint), :] = points[..., source.indices(others), :].mean(axis=-2)
    if confidence is None:
        return moved, None
    weights = np.zeros(moved.shape[:-1], dtype=confidence.dtype)
    weights[..., mapping.target] = confidence[..., mapping.source]
    for joint, others in mapping.derived.items():
        weights[..., target.index(joint)] = confidence[..., source.indices(others)].min(axis=-1)
    return moved, weights
