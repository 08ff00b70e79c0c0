"""Lengths of bones: a skeleton's do not change from frame to frame, and its left is as long as its right."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from posekit.medians import median_of_known
from posekit.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class BoneSpread:
    """How a bone's length varies over time: of B bones and any batch, in metres; NaN where fewer than two frames have it.

    coefficient: of variation, std / mean; it compares bones of different lengths. frames: in how many the bone is.
    """

    mean: Float[np.ndarray, "*batch B"]
    median: Float[np.ndarray, "*batch B"]
    std: Float[np.ndarray, "*batch B"]
    coefficient: Float[np.ndarray, "*batch B"]
    frames: NDArray[np.int64]


def bone_lengths(
    xyz: Float[np.ndarray, "*batch J D"], bones: tuple[tuple[int, int], ...]
) -> Float[np.ndarray, "*batch B"]:
    """Length of every bone, in the points' unit; NaN where either end is missing."""
    first, second = np.array(bones, dtype=np.int64).reshape(-1, 2).T
    length: NDArray[np.float64] = np.linalg.norm(xyz[..., first, :] - xyz[..., second, :], axis=-1)
    return length


def bone_length_errors(
    estimate: Float[np.ndarray, "*batch J D"],
    reference: Float[np.ndarray, "*batch J D"],
    bones: tuple[tuple[int, int], ...],
) -> Float[np.ndarray, "*batch B"]:
    """How much longer (less, where negative) than in the reference every bone is; NaN where either lacks it.

    Unlike errors of joints, it does not depend on where and how turned the pose stands.
    """
    return bone_lengths(estimate, bones) - bone_lengths(reference, bones)


def bone_spread(lengths: Float[np.ndarray, "F *batch B"]) -> BoneSpread:
    """Mean, median, standard deviation (n - 1) and coefficient of variation of bones' lengths over frames, the first axis."""
    there = np.isfinite(lengths)
    frames = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, lengths, 0).sum(axis=0) / np.where(frames >= 2, frames, np.nan)
        std = np.sqrt(np.where(there, np.square(lengths - mean), 0).sum(axis=0) / (frames - 1)) + 0 * mean
        coefficient = std / mean
    median = np.where(frames >= 2, median_of_known(lengths), np.nan)
    return BoneSpread(mean, median, std, coefficient, frames)


def mirrored_bones(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    """Pairs (left bone, right bone) of places in `skeleton.bones` that are each other's mirror image."""
    mirror = dict(skeleton.left_right)
    place = {frozenset(bone): number for number, bone in enumerate(skeleton.bones)}
    pairs = []
    for number, (first, second) in enumerate(skeleton.bones):
        if first in mirror or second in mirror:
            other = place.get(frozenset((mirror.get(first, first), mirror.get(second, second))))
            if other is not None and other != number:
                pairs.append((number, other))
    return tuple(pairs)


def symmetry_errors(xyz: Float[np.ndarray, "*batch J 3"], skeleton: Skeleton) -> Float[np.ndarray, "*batch S"]:
    """Difference of length between every bone of the left and its mirror image, absolute, in the points' unit.

    S pairs as `mirrored_bones` lists them; NaN where either bone is missing. No reference is needed: people are alike on both
    sides to about a centimetre, so that this bounds what is due to the reconstruction.
    """
    lengths = bone_lengths(xyz, skeleton.bones)
    left, right = np.array(mirrored_bones(skeleton), dtype=np.int64).reshape(-1, 2).T
    difference: NDArray[np.float64] = np.abs(lengths[..., left] - lengths[..., right])
    return difference
