"""Frames at one rate, as marker and animation files have them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.keypoints import Keypoints3D


def check_person(path: Path, keypoints: Keypoints3D, person: int, rate_for: str | None = None) -> None:
    """Raise PosekitError where there is no such person, no frame, or no frame rate for the format `rate_for`."""
    source, people = keypoints.source or "the keypoints", keypoints.xyz.shape[1]
    if not 0 <= person < people:
        raise PosekitError(f"{path}: there is no person {person}; {source} hold {people}")
    if len(keypoints.frames) == 0:
        raise PosekitError(f"{path}: {source} hold no frame")
    if rate_for is not None and keypoints.fps is None:
        raise PosekitError(f"{path}: {rate_for} needs a frame rate, and {source} name none")


def even_steps(path: Path, frames: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the frame numbers from first to last at one step, and for each the row of `frames` or -1.

    Raises PosekitError where hardly any of them would be there.
    """
    order = np.argsort(frames)
    ordered = frames[order]
    step = int(np.gcd.reduce(np.diff(ordered))) if len(frames) > 1 else 1
    count = int(ordered[-1] - ordered[0]) // step + 1
    if count > 100 * len(frames):
        raise PosekitError(
            f"{path}: {len(frames)} frames between {ordered[0]} and {ordered[-1]} are too uneven for one frame rate"
        )
    rows = np.full(count, -1)
    rows[(ordered - ordered[0]) // step] = order
    return ordered[0] + step * np.arange(count), rows


def take_rows(values: NDArray[np.floating], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values (F, ...) at the rows of `even_steps`, float64, NaN where a row is -1."""
    taken = np.full((len(rows), *values.shape[1:]), np.nan)
    taken[rows >= 0] = values[rows[rows >= 0]]
    return taken
