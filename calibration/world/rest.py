"""When a board lay still: in which moments a board that is carried about rests in one place."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from posekit.errors import PosekitError

Array = NDArray[np.float64]
Moments = NDArray[np.int64]

#: A board lies still while none of its outer corners goes further than this (m).
_STILL_M = 0.005

#: A board that nobody named a frame for lay still if it did so for so many moments; where times are known, for so long (s) and
#: in so many: who carries a board slowly holds it within 5 mm for a moment, too.
_STILL_MOMENTS = 5
_STILL_S, _FEWEST_MOMENTS = 1.0, 3

#: A rest goes on over moments in which the board was not placed, or not there: so many, and where times are known for so long
#: (s), or as long as three moments usually are apart.
_MOST_SKIPPED, _LONGEST_SKIPPED_S = 3, 0.5

#: So many moments are named to a person who has to choose one.
_NAMED = 3


def rest_around(
    corners: Float[np.ndarray, "F 4 3"], placed: Bool[np.ndarray, " F"], place: int, times_s: Array | None = None
) -> Moments:
    """The moments on end around one (which is placed) in which the board lies where it lies there: their places, in order.

    times_s: (F,), where they are known. Moments without the board are left out, and do not end the rest if they are few.
    """
    with np.errstate(invalid="ignore"):
        near = placed & (np.linalg.norm(corners - corners[place], axis=-1).max(axis=-1) <= _STILL_M)
    moments = np.flatnonzero(near)
    breaks = np.flatnonzero(_is_apart(moments, times_s)) + 1
    return next(part for part in np.split(moments, breaks) if place in part)


def longest_rest(
    corners: Float[np.ndarray, "F 4 3"],
    placed: Bool[np.ndarray, " F"],
    times_s: Array | None,
    labels: Sequence[str],
    source: str,
    up: Float[np.ndarray, " 3"],
) -> Moments:
    """The moments in which the board lies still longest; times_s: (F,), where they are known.

    Raises PosekitError where it lies still nowhere, naming the moments in which it does so longest, or where there are no two
    on end, those in which it lies flattest. up: about where up is, for that.
    """
    rests: list[Moments] = []
    for place in np.flatnonzero(placed):
        rests.append(rest_around(corners, placed, int(place), times_s))
    rests.sort(key=lambda rest: -_length(rest, times_s))
    if rests and _is_long(rests[0], times_s):
        # Many moments of a rest see all of it; the middle one of them is the least likely to be at its end.
        equal = [rest for rest in rests if _length(rest, times_s) == _length(rests[0], times_s)]
        return equal[len(equal) // 2]
    lasts = f"{_STILL_MOMENTS} moments" if times_s is None else f"{_STILL_S:g} s"
    likely = _longest(rests, labels) or _flattest(corners, placed, labels, up)
    raise PosekitError(
        f"{source}: the board lies still for {lasts} on end nowhere{likely}; name a frame in which it lies on the floor "
        "(--world-frame)"
    )


def _is_apart(moments: Moments, times_s: Array | None) -> NDArray[np.bool_]:
    """Whether a moment and the next are too far apart to be of one rest, (N - 1,)."""
    if times_s is None:
        return np.asarray(np.diff(moments) > _MOST_SKIPPED + 1)
    usual = float(np.median(np.diff(times_s)))
    return np.asarray(np.diff(times_s[moments]) > max(_LONGEST_SKIPPED_S, _MOST_SKIPPED * usual))


def _length(rest: Moments, times_s: Array | None) -> float:
    """How long a rest is: seconds, or moments that have the board."""
    return float(len(rest) if times_s is None else times_s[rest[-1]] - times_s[rest[0]])


def _is_long(rest: Moments, times_s: Array | None) -> bool:
    if times_s is None:
        return len(rest) >= _STILL_MOMENTS
    return len(rest) >= _FEWEST_MOMENTS and _length(rest, times_s) >= _STILL_S


def _longest(rests: Sequence[Moments], labels: Sequence[str]) -> str:
    """Where it lies still longest, in words; rests: the longest first."""
    named: list[Moments] = []
    for rest in rests:
        if len(rest) > 1 and len(named) < _NAMED and not any(np.isin(rest, other).any() for other in named):
            named.append(rest)
    told = ", ".join(f"{labels[rest[0]]} to {labels[rest[-1]]}" for rest in named)
    return f"; it does so longest in {told}" if told else ""


def _flattest(corners: Array, placed: NDArray[np.bool_], labels: Sequence[str], up: Array) -> str:
    """Where it lies flattest and face up, in words."""
    # The outline goes round clockwise from the top left, as seen on the face.
    out = np.cross(corners[:, 3] - corners[:, 0], corners[:, 1] - corners[:, 0])
    moments = np.flatnonzero(placed)
    cosine = out[moments] @ up / np.linalg.norm(out[moments], axis=-1)
    named: list[int] = []
    for place in moments[np.argsort(-cosine)].tolist():
        if len(named) < _NAMED and all(abs(place - other) > _MOST_SKIPPED for other in named):
            named.append(place)
    told = ", ".join(labels[place] for place in named)
    return f"; it lies flattest, as far as the cameras are held upright, in {told}" if told else ""
