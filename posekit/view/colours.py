"""One set of colours for scenes and overlays: the person's left is blue, the right is orange, what is neither is yellow.

A point that was filled in, not triangulated, has the same colour, paler.
"""

import numpy as np
from numpy.typing import NDArray

from posekit.skeleton import HAND_FINGERS, Skeleton

# Blue and orange stay apart for every kind of colour blindness (Okabe and Ito's palette), and from skin and floors.
LEFT = (0, 114, 178)
RIGHT = (230, 97, 0)
MIDDLE = (240, 200, 40)
#: A hand is lighter than its arm, so that a hand before the body can be told from it; so is a face's half.
LEFT_HAND = (86, 180, 233)
RIGHT_HAND = (255, 176, 90)
#: Thumb to little finger, for a hand alone, where side says nothing.
FINGERS = ((204, 51, 63), (237, 161, 37), (88, 170, 76), (52, 138, 201), (150, 86, 178))
WRIST = (240, 240, 240)
#: How far towards white the colour of a filled point goes.
_PALE = 0.6

_BODY = {"left": LEFT, "right": RIGHT, "middle": MIDDLE}
_HAND = {"left": LEFT_HAND, "right": RIGHT_HAND, "middle": MIDDLE}


def fine_joint_mask(skeleton: Skeleton) -> NDArray[np.bool_]:
    """Tell which joints stand so close together that they are drawn thin, (J,): those of hands and of a face."""
    found = np.zeros(skeleton.joint_count, dtype=bool)
    for name, joints in skeleton.parts.items():
        if name != "body":
            found[list(joints)] = True
    return found


def paler(colours: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Mix the colours (n, 3) with white `where` they are of something filled in, (n,)."""
    mixed = np.round(colours + _PALE * (255.0 - colours)).astype(np.uint8)
    return np.where(where[:, None], mixed, colours)


def joint_colours(skeleton: Skeleton) -> NDArray[np.uint8]:
    """Colour of every joint, (J, 3) RGB: by side; by finger where the skeleton is one hand."""
    if tuple(skeleton.parts) == ("hand",):
        finger_of = {joint: finger for finger, joints in enumerate(HAND_FINGERS) for joint in joints}
        colours = [FINGERS[finger_of[joint]] if joint in finger_of else WRIST for joint in range(skeleton.joint_count)]
    else:
        fine = fine_joint_mask(skeleton)
        colours = [(_HAND if fine[joint] else _BODY)[skeleton.side(joint)] for joint in range(skeleton.joint_count)]
    return np.array(colours, dtype=np.uint8)


def bone_colours(skeleton: Skeleton) -> NDArray[np.uint8]:
    """Colour of every bone, (bones, 3) RGB: that of its far end, or of the sided end where the far one is in the middle."""
    joints = joint_colours(skeleton)
    chosen = [
        parent if skeleton.side(child) == "middle" and skeleton.side(parent) != "middle" else child
        for parent, child in skeleton.bones
    ]
    # A bone across the body, such as hip to hip, belongs to neither side.
    across = [{skeleton.side(a), skeleton.side(b)} == {"left", "right"} for a, b in skeleton.bones]
    colours = joints[chosen]
    colours[across] = MIDDLE
    return colours
