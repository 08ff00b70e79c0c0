"""The median of what is known."""

import numpy as np
from numpy.typing import NDArray


def median_of_known(values: NDArray[np.floating], axis: int | tuple[int, ...] = 0) -> NDArray[np.float64]:
    """Median along an axis without NaN and infinities; NaN, and no warning, where there is nothing else."""
    median = np.ma.median(np.ma.masked_invalid(values), axis=axis)
    return np.asarray(np.ma.filled(median, np.nan), dtype=np.float64)
