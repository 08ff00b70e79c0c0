"""People whom a detector found in two pieces, put together again."""

import itertools

import numpy as np
from numpy.typing import NDArray

#: Of the joints of the smaller piece, so many may be in the other one, too.
_SHARED = 0.25
#: Metres (by a person's usual extent) within which a piece's joints lie from where the frame before had that person's.
_NEAR = 0.3


def join_pieces(
    place: NDArray[np.int64], xy: NDArray[np.float64], confidence: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Join detections of one frame that have different joints of the same person of the frame before.

    OpenPose sometimes gives somebody's trunk and legs as two people, for a frame or two; taken one by one, the track of the
    person would go on with half of them. place: (M,) frame of each detection, ascending. xy: (M, J, 2) px. confidence: (M, J).
    scale: metres per pixel, about. Returns the three without the pieces that were put into others.
    """
    xy, confidence = xy.copy(), confidence.copy()
    kept = np.ones(len(place), dtype=np.bool_)
    bounds = np.searchsorted(place, np.arange(place[0], place[-1] + 2)) if len(place) else np.zeros(1, dtype=np.int64)
    before: list[int] = []
    for low, high in itertools.pairwise(bounds.tolist()):
        here = list(range(low, high))
        for a, b in _pairs(here, confidence) if before else ():
            if kept[a] and kept[b] and _owner(a, before, xy, scale) == _owner(b, before, xy, scale) is not None:
                better = confidence[b] > confidence[a]
                xy[a, better], confidence[a, better] = xy[b, better], confidence[b, better]
                kept[b] = False
        before = [one for one in here if kept[one]] or before
    return place[kept], xy[kept], confidence[kept]


def _pairs(here: list[int], confidence: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Detections that have hardly a joint in common, and together no more than a person has."""
    seen = confidence > 0
    return [
        (a, b)
        for a, b in itertools.combinations(here, 2)
        if (seen[a] & seen[b]).sum() <= _SHARED * min(seen[a].sum(), seen[b].sum())
    ]


def _owner(one: int, before: list[int], xy: NDArray[np.float64], scale: float) -> int | None:
    """Whose joints of the frame before a piece lies on; None where on nobody's."""
    distances = []
    for other in before:
        distance = np.linalg.norm(xy[one] - xy[other], axis=-1)
        common = distance[np.isfinite(distance)]
        distances.append(float(np.median(common)) * scale if len(common) else np.inf)
    nearest = int(np.argmin(distances))
    return before[nearest] if distances[nearest] < _NEAR else None
