"""What other people's detectors find, picture by picture, as keypoints of one view."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from posekit.keypoints import Keypoints2D
from posekit.skeleton import HAND_21, HAND_JOINTS, Skeleton, hand_joint

_SIDES = ("left", "right")


def _two_hands() -> Skeleton:
    joints = tuple(hand_joint(side, joint) for side in _SIDES for joint in HAND_JOINTS)
    bones = tuple((first + a, first + b) for first in (0, 21) for a, b in HAND_21.bones)
    parts = {f"{side}_hand": tuple(range(first, first + 21)) for side, first in zip(_SIDES, (0, 21), strict=True)}
    return Skeleton("HANDS_42", joints, bones, tuple((joint, 21 + joint) for joint in range(21)), parts)


#: A person of whom there is nothing but the hands: left, right, named as behind a body.
HANDS_42 = _two_hands()


@dataclass(frozen=True, eq=False)
class FoundHand:
    """A hand in one picture. xy: (21, 2) px in hand-21 order. left: the person's own left hand."""

    xy: Float[np.ndarray, "21 2"]
    confidence: float
    left: bool


@dataclass(frozen=True, eq=False)
class FoundPeople:
    """The people in one picture. xy: (P, J, 2) px. confidence: (P, J)."""

    xy: Float[np.ndarray, "P J 2"]
    confidence: Float[np.ndarray, "P J"]


def pair_hands(hands: list[FoundHand]) -> FoundPeople:
    """Put hands into people of `HANDS_42`: the surest left hand beside the surest right one, and so on.

    Where several people are in the picture, who owns a hand is not told by this: what shares a slot may be of two people.
    """
    sides = [
        sorted((hand for hand in hands if hand.left is left), key=lambda hand: -hand.confidence)
        for left in (True, False)
    ]
    P = max(map(len, sides))
    xy, confidence = np.full((P, 42, 2), np.nan), np.zeros((P, 42))
    for first, side in zip((0, 21), sides, strict=True):
        for slot, hand in enumerate(side):
            xy[slot, first : first + 21] = hand.xy
            confidence[slot, first : first + 21] = hand.confidence
    return FoundPeople(xy, confidence)


def keypoints_of_view(
    found: Iterable[FoundPeople], camera: str, skeleton: Skeleton, fps: float | None, source: str
) -> Keypoints2D:
    """Return what was found in one camera's pictures, numbered from 0, as (F, 1, P, J); P is that of the fullest picture."""
    pictures = list(found)
    P = max((len(picture.xy) for picture in pictures), default=0)
    J = skeleton.joint_count
    xy = np.full((len(pictures), 1, P, J, 2), np.nan, dtype=np.float32)
    confidence = np.zeros((len(pictures), 1, P, J), dtype=np.float32)
    for frame, picture in enumerate(pictures):
        xy[frame, 0, : len(picture.xy)] = picture.xy
        confidence[frame, 0, : len(picture.xy)] = picture.confidence
    return Keypoints2D(xy, confidence, (camera,), np.arange(len(pictures)), skeleton, fps, source)
