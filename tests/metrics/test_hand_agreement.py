import numpy as np
import pytest

from posekit.metrics.hand_agreement import calibration_in_tenths, hand_agreement


def hands(count: int, seed: int = 0) -> np.ndarray:
    """Hands of which B is exactly 100 px: joints 0 and 1 lie on opposite edges of the box."""
    joints = np.random.default_rng(seed).uniform(10, 90, (count, 21, 2))
    joints[:, 0] = [50, 0]
    joints[:, 1] = [50, 100]
    return joints


def test_shares_count_joints_by_hand() -> None:
    reference = hands(2)
    found = reference.copy()
    found[0, 2] += [19, 0]  # within 0.2 B, not within 0.1 B
    found[0, 3] += [0, 21]  # within neither
    found[1, 4] = np.nan  # not found
    reference[1, 5] = np.nan  # does not count
    confidence = np.full((2, 21), 0.9)
    confidence[0, 3] = confidence[1, 4] = 0.0
    figures = hand_agreement(found, confidence, reference, reference)
    assert (figures.hands, figures.joints) == (2, 41)
    assert figures.pck02 == pytest.approx(39 / 41)
    assert figures.pck01 == pytest.approx(38 / 41)
    assert figures.surest_pck02 == 1.0
    assert figures.epe == pytest.approx((0.19 + 0.21) / 40)
    assert figures.mean_confidence == pytest.approx(0.9 * 39 / 41)
    # 2 joints at 0, both wrong, and 39 at 0.9, all right.
    assert figures.calibration_error == pytest.approx(0.1 * 39 / 41)
    assert figures.calibration[0] is not None
    assert (figures.calibration[0].joints, figures.calibration[0].right) == (2, 0.0)
    assert figures.calibration[5] is None


def test_hidden_joints_do_not_count_but_are_of_the_scale() -> None:
    reference = hands(2)
    visible = np.ones((2, 21), dtype=bool)
    visible[:, :2] = False  # the joints on the edges of the box: those that are left are within 80 px
    found = reference + np.array([19.0, 0])  # within 0.2 B of 100 px; more than 0.2 of 80 px
    found[0, 0] += 1000
    figures = hand_agreement(found, np.full((2, 21), 0.9), reference, reference, visible)
    assert (figures.hands, figures.joints) == (2, 38)
    assert figures.pck02 == 1.0
    assert figures.epe == pytest.approx(0.19)
    assert figures.calibration[9] is not None
    assert figures.calibration[9].joints == 38
    # A joint without a label neither counts nor is of the scale, whatever is said of its visibility.
    reference[1, 1] = np.nan
    visible[1, 1] = True
    only = hand_agreement(found, np.full((2, 21), 0.9), reference, reference, visible)
    assert (only.hands, only.joints) == (2, 38)
    smaller = np.ptp(reference[1, [0, *range(2, 21)]], axis=0).max()
    assert only.epe == pytest.approx((0.19 + 19 / smaller) / 2)
    hidden = hand_agreement(found, np.full((2, 21), 0.9), reference, reference, np.zeros((2, 21), dtype=bool))
    assert (hidden.hands, hidden.joints) == (0, 0)


def test_mean_hand_is_that_of_the_crops() -> None:
    reference = hands(1)
    turned = reference[..., ::-1] * (-1, 1) + 300
    both = np.concatenate([reference, turned])
    nothing = np.full_like(both, np.nan)
    # In their own crops the hands are one hand, in the pictures they are not.
    same = hand_agreement(nothing, np.zeros((2, 21)), both, np.concatenate([reference, reference]) / 7)
    assert (same.mean_hand_pck02, same.pck02) == (1.0, 0.0)
    assert np.isnan(same.epe)
    other = hand_agreement(nothing, np.zeros((2, 21)), both, both)
    assert other.mean_hand_pck02 < 0.3


def test_wrong_joints_on_other_joints() -> None:
    reference = np.zeros((1, 21, 2))
    reference[0, :, 0] = np.arange(21) * 30  # B is 600, joints lie 0.05 B apart
    found = reference.copy()
    found[0, 2] = reference[0, 12] + [0, 5]  # on another finger
    found[0, 3] = [90, 400]  # on nothing
    figures = hand_agreement(found, np.ones((1, 21)), reference, reference)
    assert figures.pck02 == pytest.approx(19 / 21)
    assert figures.on_another_joint == 0.5
    assert np.isnan(hand_agreement(reference, np.ones((1, 21)), reference, reference).on_another_joint)


def test_calibration_of_honest_and_of_boastful_confidence() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(size=100_000)
    _, error = calibration_in_tenths(confidence, rng.uniform(size=100_000) < confidence)
    assert error < 0.01  # ten shares of 10,000 draws each: their deviation is 0.004 on average
    bins, error = calibration_in_tenths(np.full(10, 1.0), np.arange(10) < 4)
    assert error == pytest.approx(0.6)
    assert bins[9] is not None
    assert bins[9].joints == 10
    assert np.isnan(calibration_in_tenths(np.array([]), np.array([], dtype=bool))[1])


def test_without_a_reference_there_is_no_figure() -> None:
    nothing = np.full((3, 21, 2), np.nan)
    figures = hand_agreement(nothing, np.zeros((3, 21)), nothing, nothing)
    assert (figures.hands, figures.joints) == (0, 0)
    assert np.isnan(figures.pck02)
    assert np.isnan(figures.mean_confidence)
