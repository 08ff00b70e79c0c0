"""Which axis points up: worlds and files differ, and few files say it."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError

UpAxis = Literal["z", "y", "x", "-z", "-y", "-x"]


def z_up_from(up: UpAxis) -> NDArray[np.float64]:
    """Rotation (3, 3) that turns the named axis of a world to Z; it only swaps axes and signs, so no number changes."""
    if up not in get_args(UpAxis):
        raise PosekitError(f"axis '{up}' is not known; known are: {', '.join(get_args(UpAxis))}")
    turn: NDArray[np.float64] = np.roll(np.eye(3), 2 - "xyz".index(up[-1]), axis=0)
    if up.startswith("-"):
        turn = np.diag([1.0, -1.0, -1.0]) @ turn
    return turn


def turn_up(world_up: UpAxis, file_up: UpAxis) -> NDArray[np.float64]:
    """Rotation (3, 3) from a world in which one axis is up to a file in which another one is."""
    turn: NDArray[np.float64] = z_up_from(file_up).T @ z_up_from(world_up)
    return turn
