"""Least squares over time: every unknown is tied to its neighbours by its second differences, all else is its frame's own."""

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

_SECOND_DIFFERENCE = np.array((1.0, -2.0, 1.0))


def smoothness_bands(joined: NDArray[np.bool_], weight: float) -> NDArray[np.float64]:
    """Return weight * D^T D of the second differences D, upper bands (3, N) as scipy.linalg.solveh_banded takes them.

    joined: (N - 1,), whether a row and the next follow each other in time; differences across a break take no part.
    """
    N = len(joined) + 1
    bands = np.zeros((3, N))
    if N >= 3:
        whole = weight * (joined[:-1] & joined[1:])
        for a in range(3):
            for b in range(a, 3):
                bands[2 - (b - a), b : N - 2 + b] += whole * _SECOND_DIFFERENCE[a] * _SECOND_DIFFERENCE[b]
    return bands


def second_difference_pull(
    values: NDArray[np.float64], joined: NDArray[np.bool_], weight: float
) -> NDArray[np.float64]:
    """Return weight * D^T D values, (N, ...): half the gradient of the weighted squared second differences."""
    pull = np.zeros_like(values)
    if len(values) >= 3:
        whole = (weight * (joined[:-1] & joined[1:])).reshape(-1, *([1] * (values.ndim - 1)))
        bend = whole * (values[:-2] - 2 * values[1:-1] + values[2:])
        pull[:-2] += bend
        pull[1:-1] -= 2 * bend
        pull[2:] += bend
    return pull


def solve_translations(
    normal: NDArray[np.float64],
    right: NDArray[np.float64],
    joined: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Minimise the sum over rows of x^T A x - 2 b^T x and of weights * squared second differences; x is (N, 3).

    normal: A (N, 3, 3), symmetric. right: b (N, 3). weights: (3,), one for each unknown of a row.
    """
    N = len(right)
    # Unknown 3 n + i; second differences reach 6 to the right, blocks 2.
    bands = np.zeros((7, 3 * N))
    for i in range(3):
        for j in range(i, 3):
            bands[6 - (j - i), j::3] += normal[:, i, j]
        smooth = smoothness_bands(joined, float(weights[i]))
        for reach in range(3):
            bands[6 - 3 * reach, i::3] += smooth[2 - reach]
    # A whiff of weight for rows of which nothing is known and that no neighbour holds: little against what is known, and as
    # much as rounding needs against the smoothness, whose weight goes with the fourth power of the rate.
    bands[6] += 1e-9 * (1 + normal.max(initial=0.0)) + 1e-14 * bands[6].max()
    solution: NDArray[np.float64] = scipy.linalg.solveh_banded(bands, right.reshape(-1), check_finite=False)
    return solution.reshape(N, 3)
