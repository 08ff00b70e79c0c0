"""Links between cameras that hold a rig together badly."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from posekit.calibration.report.lists import listed

#: Two parts of a rig that share fewer moments than this are weakly linked.
_FEW_SHARED = 15

#: A person reads of so many.
_MOST_LINKS = 2


def weak_links(shared: Int[np.ndarray, "C C"], names: Sequence[str]) -> Iterator[str]:
    """Say which links alone hold two parts of the rig together, and hold them by few moments; the weakest two.

    shared: in how many moments two cameras saw the board both.
    """
    shared = shared - np.diag(np.diag(shared))
    told = 0
    for a, b in sorted(
        np.argwhere(np.triu((shared > 0) & (shared < _FEW_SHARED))).tolist(), key=lambda pair: shared[*pair]
    ):
        count = shared[a, b]
        if len(names) == 2:
            yield (
                f"{names[0]} and {names[1]} saw the board together in {count} moments: film {_FEW_SHARED} or more, "
                "near and far and tilted."
            )
            return
        without = shared.copy()
        without[a, b] = without[b, a] = 0
        part = _reached(without, int(a))
        if part[b]:
            continue
        told += 1
        if told > _MOST_LINKS:
            return
        lone = names[a] if part.sum() == 1 else names[b] if (~part).sum() == 1 else None
        other = names[b] if lone == names[a] else names[a]
        if lone is not None:
            yield (
                f"{lone} hangs on {other} alone, by {count} moments in which both saw the board: film the board again where "
                f"{lone} and others see it at once."
            )
        else:
            groups = " and ".join(
                f"({listed([name for name, at in zip(names, side, strict=True) if at])})" for side in (part, ~part)
            )
            yield (
                f"Only {count} moments that {names[a]} and {names[b]} share hold {groups} together: film the board where "
                "cameras of both see it at once."
            )


def _reached(links: NDArray[np.int64], start: int) -> NDArray[np.bool_]:
    reached = np.zeros(len(links), dtype=bool)
    reached[start] = True
    for _ in range(len(links)):
        reached = reached | (links[reached] > 0).any(axis=0)
    return reached
