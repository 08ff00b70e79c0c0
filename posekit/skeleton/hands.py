"""Hands of 21 joints: alone, and behind a body."""

from functools import cache

from posekit.skeleton.record import Skeleton, mirror_pairs, named_bones

FINGERS = ("thumb", "index", "middle", "ring", "little")

HAND_JOINTS = ("wrist", *(f"{finger}_{number}" for finger in FINGERS for number in range(1, 5)))
_FINGER_CHAINS = tuple(f"wrist {finger}_1 {finger}_2 {finger}_3 {finger}_4" for finger in FINGERS)

#: Wrist, then thumb to little finger, each base to tip: OpenPose, MediaPipe, FreiHAND, COCO-WholeBody, Panoptic.
HAND_21 = Skeleton("HAND_21", HAND_JOINTS, named_bones(HAND_JOINTS, _FINGER_CHAINS), (), {"hand": tuple(range(21))})

#: The joints of each finger in hand-21 order, base to tip: they stand or fall together in a triangulation.
HAND_FINGERS = tuple(tuple(range(first, first + 4)) for first in range(1, 21, 4))

_TIP_FIRST = (*(f"{finger}_{number}" for finger in FINGERS for number in range(4, 0, -1)), "wrist")

#: The same joints as InterHand2.6M orders them: each finger tip to base, the wrist last.
INTERHAND_21 = Skeleton(
    "INTERHAND_21", _TIP_FIRST, named_bones(_TIP_FIRST, _FINGER_CHAINS), (), {"hand": tuple(range(21))}
)


def hand_joint(side: str, joint: str) -> str:
    """Return the name that a joint of a hand has beside a body's: ``left_thumb_1``; but ``left_hand_wrist``.

    The wrist is the hand detector's, which is not the body detector's.
    """
    return f"{side}_hand_{joint}" if joint == "wrist" else f"{side}_{joint}"


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
        joints += [hand_joint(side, joint) for joint in HAND_JOINTS]
        bones.append((body.index(f"{side}_wrist"), first))
        bones += [(first + a, first + b) for a, b in HAND_21.bones]
        parts[f"{side}_hand"] = tuple(range(first, first + 21))
    names = tuple(joints)
    hands = tuple(pair for pair in mirror_pairs(names) if pair[0] >= body.joint_count)
    return Skeleton(f"{body.name}+hands", names, tuple(bones), (*body.left_right, *hands), parts)
