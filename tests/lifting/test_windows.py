import numpy as np
import pytest

from posekit.lifting.windows import window_rows, windows_in_stretches


def test_the_ends_repeat() -> None:
    assert window_rows(4, 3).tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]
    assert window_rows(0, 3).shape == (0, 3)


def test_a_window_ends_where_time_jumps() -> None:
    joined = np.array([True, True, False, True])  # rows 0 to 2, then 3 and 4
    assert windows_in_stretches(joined, 3, 30.0).tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 2], [3, 3, 4], [3, 4, 4]]
    assert windows_in_stretches(np.zeros(0, dtype=np.bool_), 5, 30.0).tolist() == [[0] * 5]


@pytest.mark.parametrize(("rate", "step"), [(10.0, 1), (25.0, 1), (50.0, 2), (60.0, 2), (120.0, 4)])
def test_windows_are_of_thirty_frames_a_second(rate: float, step: int) -> None:
    windows = windows_in_stretches(np.ones(40, dtype=np.bool_), 3, rate)
    assert windows[20].tolist() == [20 - step, 20, 20 + step]
