import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.metrics import box_scale, end_point_error, keypoint_errors, pck, pck_auc, segment_scale


def test_errors_are_distances_and_missing_stays_missing():
    estimate = np.array([[3.0, 4.0], [np.nan, 0.0], [1.0, 1.0]])
    errors = keypoint_errors(estimate, np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    assert errors[0] == 5.0
    assert np.isnan(errors[1])
    assert errors[2] == 0.0


def test_end_point_error_is_mean_and_median_of_what_is_there():
    assert end_point_error(np.array([[1.0, np.nan], [2.0, 9.0]])) == (4.0, 2.0)
    assert np.isnan(end_point_error(np.full((2, 3), np.nan))).all()


def test_pck_counts_by_hand():
    errors = np.array([[1.0, 2.0, 3.0, np.nan], [10.0, 0.0, 0.0, 0.0]])
    scale = np.array([10.0, 100.0])
    # Thresholds 2 and 20: 2 of 4 (a joint on the threshold is right, a missing one wrong), then 4 of 4.
    assert pck(errors, scale, 0.2) == 6 / 8
    counted = np.array([[True, True, True, False], [False, False, False, False]])
    assert pck(errors, scale, 0.2, counted) == 2 / 3
    assert np.isnan(pck(errors, scale, 0.2, np.zeros_like(counted)))


def test_pck_in_plain_pixels():
    errors = np.array([[1.0, 2.0, 3.0, np.nan], [10.0, 0.0, 0.0, 0.0]])
    assert pck(errors, 1.0, 2.5) == 5 / 8


def test_pck_does_not_depend_on_the_unit():
    rng = np.random.default_rng(0)
    errors, scale = rng.exponential(1.0, (50, 21)), rng.uniform(3, 8, 50)
    assert pck(errors, scale, 0.2) == pck(errors * 7, scale * 7, 0.2)


def test_a_person_without_a_size_is_wrong():
    assert pck(np.zeros((2, 3)), np.array([1.0, np.nan]), 0.5) == 0.5


def test_scales_by_hand():
    person = np.array([[0.0, 0.0], [3.0, 4.0], [np.nan, 1.0], [1.0, 10.0]])
    lone = np.array([[np.nan, 0.0], [3.0, 4.0], [np.nan, 1.0], [1.0, np.nan]])
    both = np.stack((person, lone))
    assert np.array_equal(box_scale(both), [10.0, np.nan], equal_nan=True)
    assert np.array_equal(segment_scale(both, (0, 1)), [5.0, np.nan], equal_nan=True)
    # PCKh and the torso's PCK are pck by a segment: 2 px of 5 px are within half of it, 3 px are not.
    assert pck(np.array([[2.0, 3.0]]), segment_scale(person[None], (0, 1)), 0.5) == 0.5


def test_area_under_the_curve_by_hand():
    # Right from 1 on, from 3 on, never: shares 0, 1/3, 1/3, 2/3 at 0, 1, 2, 3 px.
    errors = np.array([[1.0, 3.0, np.nan]])
    area = (0 + 1 / 3) / 2 + 1 / 3 + (1 / 3 + 2 / 3) / 2
    assert pck_auc(errors, 1.0, (0, 1, 2, 3)) == pytest.approx(area / 3)
    # Thresholds need not be even: the curve from 1 to 3 is then one straight line.
    assert pck_auc(errors, 1.0, (1, 3)) == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert pck_auc(np.zeros((1, 3)), 1.0, (0, 1, 2)) == 1.0
    assert np.isnan(pck_auc(errors, 1.0, (0, 1), np.zeros((1, 3), dtype=bool)))


@pytest.mark.parametrize("thresholds", [(), (1.0,), (2.0, 1.0), (1.0, 1.0)])
def test_a_curve_needs_ascending_thresholds(thresholds):
    with pytest.raises(PosekitError, match="two or more were expected, ascending"):
        pck_auc(np.zeros((1, 3)), 1.0, thresholds)
