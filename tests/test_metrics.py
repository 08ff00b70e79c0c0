import numpy as np
import pytest

from posekit.metrics import keypoint_errors, mpjpe, pck


def test_errors_are_distances_and_missing_stays_missing():
    estimate = np.array([[3.0, 4.0], [np.nan, 0.0], [1.0, 1.0]])
    errors = keypoint_errors(estimate, np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    assert errors[0] == 5.0
    assert np.isnan(errors[1])
    assert errors[2] == 0.0


def test_pck_counts_by_hand():
    errors = np.array([[1.0, 2.0, 3.0, np.nan], [10.0, 0.0, 0.0, 0.0]])
    scale = np.array([10.0, 100.0])
    # Thresholds 2 and 20: 2 of 4 (a joint on the threshold is right, a missing one wrong), then 4 of 4.
    assert pck(errors, scale, 0.2) == 6 / 8
    counted = np.array([[True, True, True, False], [False, False, False, False]])
    assert pck(errors, scale, 0.2, counted) == 2 / 3
    assert np.isnan(pck(errors, scale, 0.2, np.zeros_like(counted)))


def test_pck_does_not_depend_on_the_unit():
    rng = np.random.default_rng(0)
    errors, scale = rng.exponential(1.0, (50, 21)), rng.uniform(3, 8, 50)
    assert pck(errors, scale, 0.2) == pck(errors * 7, scale * 7, 0.2)


def test_mpjpe_leaves_missing_joints_out():
    assert mpjpe(np.array([1.0, 3.0, np.nan])) == pytest.approx(2.0)
    assert np.isnan(mpjpe(np.array([np.nan])))
