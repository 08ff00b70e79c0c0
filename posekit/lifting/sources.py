"""What a lifter's training draws from: poses in 3D, and views in 2D that have nothing to do with them.

`PosePool` and `ViewPool` are drawn once and drawn from again: many poses at once come ten times as fast as a few.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

#: Drawn at once: what bounds the memory while a pool is filled.
_PIECE = 4096


@dataclass(frozen=True, eq=False)
class Views:
    """2D poses as a detector would give them, of nobody's 3D.

    xy: (B, J, 2) px, y down, any scale and offset, NaN where the detector missed the joint; for a temporal lifter
    (B, T, J, 2), windows of T consecutive frames of one person each. weight: (B, J) or (B, T, J), 0 to 1, the detector's
    confidence; 0 where missing.
    """

    xy: Float[np.ndarray, "B *T J 2"]
    weight: Float[np.ndarray, "B *T J"]


class PoseSource(Protocol):
    """What people look like in 3D."""

    def draw(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, "B J 3"]:
        """Return poses in metres; no NaN."""


class ViewSource(Protocol):
    """What people look like in 2D; its draws are never of the poses that a `PoseSource` draws beside them."""

    def draw(self, count: int, rng: np.random.Generator) -> Views:
        """Return views of people, upright in the picture as cameras are usually held, or nearly so."""


class PosePool:
    """A `PoseSource` of `count` poses of another one. seed: of the poses in it."""

    def __init__(self, source: PoseSource, count: int, seed: int) -> None:
        pieces = (source.draw(size, rng) for size, rng in _pieces(count, seed))
        self.poses = np.concatenate([np.asarray(piece, dtype=np.float32) for piece in pieces])

    def draw(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, "B J 3"]:
        """Return some of the poses, any of them more than once."""
        return self.poses[rng.integers(len(self.poses), size=count)]


class ViewPool:
    """A `ViewSource` of `count` views of another one. seed: of the views in it; not the one of a `PosePool` beside it."""

    def __init__(self, source: ViewSource, count: int, seed: int) -> None:
        pieces = [source.draw(size, rng) for size, rng in _pieces(count, seed)]
        self.views = Views(
            np.concatenate([np.asarray(piece.xy, dtype=np.float32) for piece in pieces]),
            np.concatenate([np.asarray(piece.weight, dtype=np.float32) for piece in pieces]),
        )

    def draw(self, count: int, rng: np.random.Generator) -> Views:
        """Return some of the views, any of them more than once."""
        rows = rng.integers(len(self.views.xy), size=count)
        return Views(self.views.xy[rows], self.views.weight[rows])


def _pieces(count: int, seed: int) -> list[tuple[int, np.random.Generator]]:
    """How many to draw at once, and with which numbers."""
    starts = range(0, count, _PIECE)
    return [(min(_PIECE, count - start), np.random.default_rng((seed, start))) for start in starts]
