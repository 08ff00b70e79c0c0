"""Progressive resizing: small crops first, for they cost less, and as many more of them in a batch."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posekit.errors import PosekitError


@dataclass(frozen=True)
class SizeSchedule:
    """Which crops a step sees.

    stages: (share of the run, side in px), one after the other; shares > 0, need not sum to 1. blend: part of the run about
    every border in which both sizes occur, by a chance that moves evenly from one to the other, so that the network does not
    meet a new size all at once.
    """

    stages: Sequence[tuple[float, int]]
    blend: float = 0.06

    def __post_init__(self) -> None:
        if not self.stages or any(not share > 0 or size < 1 for share, size in self.stages):
            raise PosekitError(f"crop sizes: found {list(self.stages)}, expected pairs of a share > 0 and a size in px")
        if not 0 <= self.blend <= 1:
            raise PosekitError(f"crop sizes: blend: found {self.blend:g}, expected 0 to 1")

    def size(self, fraction: float, chance: float) -> int:
        """Return the side in px where `fraction` of the run is done; chance: in [0, 1), drawn by the caller."""
        total = sum(share for share, _ in self.stages)
        ends = list(itertools.accumulate(share / total for share, _ in self.stages))
        # Each border is where the draw says, within half a blend of its place.
        moved = fraction + (chance - 0.5) * self.blend
        for end, (_, size) in zip(ends[:-1], self.stages[:-1], strict=True):
            if moved < end:
                return size
        return self.stages[-1][1]

    def draw(self, fraction: float, rng: np.random.Generator) -> int:
        """`size` by a chance of `rng`."""
        return self.size(fraction, float(rng.random()))


def batch_of_equal_cost(batch_size: int, full_size: int, size: int) -> int:
    """Return how many crops of `size` px have as many pixels as `batch_size` crops of `full_size` px."""
    return max(1, round(batch_size * (full_size / size) ** 2))
