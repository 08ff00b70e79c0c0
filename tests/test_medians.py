import numpy as np
import pytest

from posekit.medians import median_of_known


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_median_without_what_is_not_finite(axis, dtype):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(9, 6, 7)).astype(dtype)
    values[rng.random(values.shape) < 0.4] = np.nan
    finite = values.copy()
    values[rng.random(values.shape) < 0.1] = np.inf
    finite[~np.isfinite(values)] = np.nan
    found = median_of_known(values, axis)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.nanmedian(finite, axis=axis))


def test_of_nothing_it_is_nan_without_a_warning():
    values = np.full((3, 2), np.nan)
    values[1, 1] = 5.0
    np.testing.assert_array_equal(median_of_known(values), [np.nan, 5.0])
    np.testing.assert_array_equal(median_of_known(values, 1), [np.nan, 5.0, np.nan])
    np.testing.assert_array_equal(median_of_known(np.zeros((0, 2))), [np.nan, np.nan])
    assert median_of_known(np.zeros((4, 0)), 1).tolist() == pytest.approx([np.nan] * 4, nan_ok=True)
    assert np.isnan(median_of_known(np.zeros(0)))
