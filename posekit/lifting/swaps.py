"""Left and right of a limb that a detector exchanged in one view for a while: told by the motion, and mended.

With several views geometry tells (`posekit.people.swaps`); one view has time alone. An exchange turns the difference of a left
and a right joint round from one frame to the next, which no motion does unless the two are in one place. Which frames are
exchanged is the cheapest path through the video: accelerations of these differences cost what they are unlikely, and every
change, and every moment that a limb is called what the detector did not call it, costs something, so that a doubtful one is
left as it is.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from posekit.lifting.body_tree import MEAN_HEIGHT
from posekit.skeleton import Skeleton

#: Limbs whose pairs are exchanged together, from the trunk outwards.
_LIMBS = (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist"))
#: What may be: nothing exchanged, the whole limb, all but its root. A single wrist is not told from a bad detection.
_STATES = np.array(((0, 0, 0), (1, 1, 1), (0, 1, 1)))
#: Metres of noise in a second difference of (left - right): 1.5 cm for each coordinate of a detection, times sqrt(2 * 6).
_NOISE = 0.05
#: Acceleration of a left joint against its right one, m/s^2: half a foot's at the ground.
_ACCELERATION = 30.0
#: The most that one pair's acceleration may count (nats): a detection that is elsewhere for a frame is no exchange.
_CAP = 8.0
#: What a change between exchanged and not must have in evidence (nats).
_CHANGE = 6.0
#: What a limb's being exchanged costs a second (nats): detectors are right most of the time. A little more for a part of it.
_STAY = 20.0 * np.array((0.0, 1.0, 1.25))


def find_swaps(
    xy: Float[np.ndarray, "N J 2"],
    confidence: Float[np.ndarray, "N J"],
    joined: Bool[np.ndarray, " N-1"],
    skeleton: Skeleton,
    rate: float,
) -> Bool[np.ndarray, "N J"]:
    """Find the joints of one person that should be given their partner's detection.

    xy: px, NaN where missing. confidence: 0 to 1. joined: whether a row and the next follow each other in time. rate: rows per
    second. Of a stretch that ends where nothing is known, the shorter side counts as exchanged; one that lasts longer than
    about three seconds is left, as time alone does not tell which side is right; and where rows are so far apart that
    limbs may have passed each other in between (fewer than about fifteen a second), nothing is.
    """
    swapped = np.zeros(confidence.shape, dtype=np.bool_)
    if len(xy) < 3:
        return swapped
    metre = MEAN_HEIGHT / _extents(xy)
    for names in _LIMBS:
        pairs = [(f"left_{name}", f"right_{name}") for name in names]
        if not all(joint in skeleton for pair in pairs for joint in pair):
            continue
        left, right = (skeleton.indices(side) for side in zip(*pairs, strict=True))
        difference = (xy[:, left] - xy[:, right]) * metre[:, None, None]
        sure = np.minimum(confidence[:, left], confidence[:, right]).clip(0, 1)
        states = _cheapest_states(_costs(difference, sure, joined, rate), joined, rate)
        swapped[:, left] = swapped[:, right] = _STATES[states]
    # A joint of which the detector has one side only goes to the other.
    there = np.isfinite(xy).all(axis=-1)
    return swapped & (there | there[:, skeleton.mirror])


def _extents(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """About a person's height in px in each row, (N,): the box's longer side, or the median one where that is larger."""
    masked = np.ma.masked_invalid(xy)
    sides = (masked.max(axis=1) - masked.min(axis=1)).max(axis=-1)
    # Of somebody who is half hidden, or sits, the box is small; motions must not seem large for it.
    usual = np.ma.median(sides)
    extents: NDArray[np.float64] = np.ma.maximum(sides, usual).filled(1.0).clip(1.0)
    return extents


def _costs(
    difference: NDArray[np.float64], sure: NDArray[np.float64], joined: NDArray[np.bool_], rate: float
) -> NDArray[np.float64]:
    """Return what the states of three rows that follow each other cost, (N - 2, S, S, S); differences (N, 3, 2) in metres."""
    variance = _NOISE**2 + (_ACCELERATION / rate**2) ** 2
    weight = np.minimum(np.minimum(sure[:-2], sure[1:-1]), sure[2:]) * (joined[:-1] & joined[1:])[:, None]
    before, here, after = difference[:-2], difference[1:-1], difference[2:]
    # Whether the pair changes between the first and the second row, and between the second and the third.
    costs = np.empty((len(here), 3, 2, 2))
    for first in (0, 1):
        for second in (0, 1):
            bend = (1 - 2 * first) * before - 2 * here + (1 - 2 * second) * after
            cost = weight * np.minimum(np.square(bend).sum(axis=-1) / (2 * variance), _CAP)
            costs[:, :, first, second] = np.where(np.isfinite(cost), cost, 0)
    S = len(_STATES)
    total = np.zeros((len(here), S, S, S))
    changes = _STATES[:, None] ^ _STATES  # (S, S, 3)
    for pair in range(3):
        change = changes[..., pair]
        total += costs[:, pair][:, change[:, :, None], change[None, :, :]]
    return total


def _cheapest_states(costs: NDArray[np.float64], joined: NDArray[np.bool_], rate: float) -> NDArray[np.int64]:
    """States (N,) of all rows: Viterbi's path over pairs of rows, where anything speaks for an exchange."""
    states = np.zeros(len(costs) + 2, dtype=np.int64)
    gain = costs[:, 0, 0, 0] - costs.reshape(len(costs), -1).min(axis=1)
    # An exchange begins and ends in one or two triples of rows each, so that one of them gains half of what an end costs. It
    # lasts no longer than its two ends' greatest gain pays for.
    longest = int(np.ceil(2 * 2 * 3 * _CAP / _STAY[1] * rate))
    for low, high in _windows(np.flatnonzero(gain > _CHANGE / 2), longest, len(states)):
        states[low:high] = _path(costs[low : high - 2], joined[low : high - 1], rate)
    return states


def _windows(places: NDArray[np.int64], reach: int, count: int) -> Iterator[tuple[int, int]]:
    """Rows (low, high) that lie within `reach` of any of the places, as few stretches as there are."""
    for some in np.split(places, np.flatnonzero(np.diff(places) > 2 * reach) + 1):
        if len(some):
            yield max(0, int(some[0]) - reach), min(count, int(some[-1]) + 3 + reach)


def _path(costs: NDArray[np.float64], joined: NDArray[np.bool_], rate: float) -> NDArray[np.int64]:
    """Viterbi's path (n + 2,) for the costs (n, S, S, S) of three rows' states."""
    S = len(_STATES)
    stay = _STAY / rate
    change = _CHANGE * (1 - np.eye(S))
    value = stay[:, None] + stay + change * joined[0]
    back = np.empty((len(costs), S, S), dtype=np.int64)
    for n, cost in enumerate(costs):
        ways = value[:, :, None] + cost
        back[n] = ways.argmin(axis=0)
        value = ways.min(axis=0) + stay + change * joined[n + 1]
    states = np.empty(len(costs) + 2, dtype=np.int64)
    states[-2], states[-1] = np.unravel_index(int(value.argmin()), value.shape)
    for n in range(len(costs) - 1, -1, -1):
        states[n] = back[n, states[n + 1], states[n + 2]]
    return states
