"""Windows of consecutive frames, as a temporal lifter is shown them."""

import numpy as np
from jaxtyping import Bool, Int

#: Pictures a second that temporal lifters are trained on.
_TRAINED_FPS = 30.0


def window_rows(count: int, frames: int) -> Int[np.ndarray, "N T"]:
    """Return the rows of the window about each of `count` consecutive frames: the first and the last repeat beyond the ends.

    frames: of a window, odd; each row of the result has its own number in the middle.
    """
    around = np.arange(frames) - frames // 2
    return np.clip(np.arange(count)[:, None] + around, 0, max(count - 1, 0))


def windows_in_stretches(joined: Bool[np.ndarray, " M"], frames: int, rate: float) -> Int[np.ndarray, "N T"]:
    """Return the rows of the window about each row of a video, as near to 30 a second as whole rows are.

    joined: of each pair of neighbouring rows, whether they follow each other in time; a window ends where they do not, and
    repeats its last row there. frames: of a window, odd. rate: rows a second.
    """
    count = len(joined) + 1
    stretch = np.concatenate(([0], np.cumsum(~joined)))
    first = np.searchsorted(stretch, stretch, side="left")
    last = np.searchsorted(stretch, stretch, side="right") - 1
    around = max(1, round(rate / _TRAINED_FPS)) * (np.arange(frames) - frames // 2)
    return np.clip(np.arange(count)[:, None] + around, first[:, None], last[:, None])
