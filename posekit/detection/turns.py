"""Which of several turns of a crop showed the hand as it is: a vote of what was found in all of them."""

import numpy as np
from jaxtyping import Float, Int

#: Only nearly certain joints have a say: a vote is the confidence to this power, 0.44 at 0.95 and 0.03 at 0.8. A hand that is
#: seen upside down is found with many middling confidences, which in the mean outweigh a few certain ones.
_POWER = 16

#: Votes are for places within about this of their own, a part of the hand's size.
_NEAR = 0.1


def agreed_turn(xy: Float[np.ndarray, "B T J 2"], confidence: Float[np.ndarray, "B T J"]) -> Int[np.ndarray, " B"]:
    """Choose for every hand the turn that the surest joints of all turns, its own among them, agree with best.

    xy: what was found in T turns of a crop, all in one frame of coordinates, finite. confidence: in [0, 1]; of joints that are
    not known it must be 0. A turn's worth is the sum over its joints, and over all turns, of confidence^16 of the other turn's
    joint times exp(-(d / 0.1 B)^2), d from joint to joint, B the median over the turns of the longer side of the box round the
    joints. The first of several that are worth the same.
    """
    size = np.median(np.ptp(xy, axis=2).max(axis=-1), axis=1)
    reach = np.maximum(_NEAR * size, np.finfo(np.float64).tiny)
    votes = confidence**_POWER
    worth = np.zeros(xy.shape[:2])
    for turn in range(xy.shape[1]):
        apart = np.linalg.norm(xy - xy[:, turn, None], axis=-1) / reach[:, None, None]
        worth += (np.exp(-(apart**2)) * votes[:, turn, None]).sum(axis=-1)
    chosen: Int[np.ndarray, " B"] = worth.argmax(axis=1)
    return chosen
