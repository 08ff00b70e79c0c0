import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from posekit.metrics import (
    keypoint_errors,
    mpjpe,
    n_mpjpe_errors,
    pa_mpjpe_errors,
    pck_3d,
    pck_3d_auc,
    pcp,
    relative_to,
)

SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])


def turn_about_z(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def test_mpjpe_leaves_missing_joints_out():
    assert mpjpe(np.array([1.0, 3.0, np.nan])) == pytest.approx(2.0)
    assert np.isnan(mpjpe(np.array([np.nan])))


def test_relative_to_the_middle_of_both_hips():
    relative = relative_to(SQUARE + 5, (0, 1))
    assert np.allclose(relative, SQUARE - (0.5, 0, 0))
    missing = SQUARE.copy()
    missing[1, 2] = np.nan
    assert np.isnan(relative_to(missing, (0, 1))).all(axis=0)[2]
    assert np.isfinite(relative_to(missing, (0, 3))).sum() == 11


def test_n_mpjpe_takes_away_the_scale_and_nothing_else():
    reference = relative_to(SQUARE, (0, 1, 2, 3))
    assert np.allclose(n_mpjpe_errors(3 * reference, reference), 0, atol=1e-12)
    # Two joints at distances 1 and 2, estimated at 1 and 1: the best scale is (1 + 2) / (1 + 1) = 1.5.
    estimate = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    errors = n_mpjpe_errors(estimate, np.array([[1.0, 0, 0], [0, 2.0, 0]]))
    assert errors == pytest.approx([0.5, 0.5])
    # A shift stays an error, and so does a turn: by 90 degrees the two corners at the root's sides have nothing in common.
    assert mpjpe(n_mpjpe_errors(reference + np.array((0, 0, 0.5)), reference)) > 0.3
    assert mpjpe(n_mpjpe_errors(reference @ turn_about_z(np.pi / 2).T, reference)) == pytest.approx(np.sqrt(0.5))


def test_n_mpjpe_is_the_best_of_all_scales():
    rng = np.random.default_rng(0)
    estimate, reference = rng.normal(size=(2, 17, 3))
    found = n_mpjpe_errors(estimate, reference)
    best = minimize_scalar(lambda scale: np.square(scale * estimate - reference).sum())
    # The minimum is flat: its place is known to the root of the precision of its value.
    assert np.allclose(found, keypoint_errors(best.x * estimate, reference), atol=1e-6)


def test_n_mpjpe_of_a_pose_with_missing_joints():
    reference = relative_to(SQUARE, (0, 1, 2, 3))
    estimate = 2 * reference
    estimate[0] = np.nan
    errors = n_mpjpe_errors(estimate, reference)
    assert np.isnan(errors[0])
    assert np.allclose(errors[1:], 0, atol=1e-12)
    assert np.isnan(n_mpjpe_errors(np.full((4, 3), np.nan), reference)).all()


def test_pa_mpjpe_takes_away_the_similarity_of_every_pose_by_itself():
    rng = np.random.default_rng(1)
    reference = rng.normal(size=(5, 17, 3))
    angles, scales, shifts = rng.uniform(-3, 3, 5), rng.uniform(0.2, 5, 5), rng.normal(size=(5, 1, 3))
    turned = np.stack([pose @ turn_about_z(angle).T for pose, angle in zip(reference, angles, strict=True)])
    estimate = scales[:, None, None] * turned + shifts
    assert np.allclose(pa_mpjpe_errors(estimate, reference), 0, atol=1e-12)
    estimate[2, 3] = np.nan
    errors = pa_mpjpe_errors(estimate, reference)
    assert np.isnan(errors[2, 3])
    assert np.isfinite(errors).sum() == 5 * 17 - 1


def test_pa_mpjpe_does_not_reflect():
    rng = np.random.default_rng(2)
    reference = rng.normal(size=(17, 3))
    # A mirror image, which a reflection would lay on the reference without error.
    assert mpjpe(pa_mpjpe_errors(reference * (-1, 1, 1), reference)) > 0.5


def test_3dpck_and_its_area_by_hand():
    # 0 is right at all 31 thresholds, 100 mm at 100, 105, ... 150 (11 of them), 151 mm and a missing joint at none.
    errors = np.array([0.0, 0.1 - 1e-12, 0.151, np.nan])
    assert pck_3d(errors) == 0.5
    assert pck_3d_auc(errors) == pytest.approx((31 + 11) / 31 / 4)
    counted = np.array([True, True, True, False])
    assert pck_3d(errors, counted) == 2 / 3
    assert pck_3d(errors, counted, threshold=0.2) == 1.0
    assert np.isnan(pck_3d_auc(errors, np.zeros(4, dtype=bool)))


def test_parts_by_hand():
    reference = np.array([[[0.0, 0, 0], [1, 0, 0], [1, 2, 0]]] * 3)
    estimate = reference.copy()
    # Frame 0: the first joint is 0.6 off: more than half of the bone of 1 m, but the mean of its ends, 0.3, is not.
    estimate[0, 0, 2] += 0.6
    # Frame 1: the middle joint is 0.8 off: too much for the short bone either way (mean 0.4 is not), fine for the long one.
    estimate[1, 1, 2] += 0.8
    # Frame 2: the last joint is missing.
    estimate[2, 2] = np.nan
    bones = ((0, 1), (1, 2))
    assert pcp(estimate, reference, bones) == pytest.approx([1 / 3, 2 / 3])
    assert pcp(estimate, reference, bones, strict=False) == pytest.approx([1, 2 / 3])
    assert pcp(estimate, reference, bones, alpha=0.7) == pytest.approx([2 / 3, 2 / 3])
    # What the reference lacks is not counted.
    reference[1, 0] = np.nan
    assert pcp(estimate, reference, bones) == pytest.approx([1 / 2, 2 / 3])
    assert np.isnan(pcp(estimate, np.full_like(reference, np.nan), bones)).all()
    assert pcp(estimate, reference, ()).shape == (0,)
