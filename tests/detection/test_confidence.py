import numpy as np
import pytest

from posekit.detection.confidence import UNFITTED, ConfidenceCurve, fit_confidence


def test_curve_by_hand():
    curve = ConfidenceCurve(np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.2, 0.9]))
    np.testing.assert_allclose(curve(np.array([-1, 0.25, 0.75, 2.0])), [0, 0.1, 0.55, 0.9])
    assert np.isnan(curve(np.array([np.nan]))).all()
    assert UNFITTED(np.array([0.3])) == pytest.approx(0.3)


def test_a_fit_finds_the_true_probability():
    rng = np.random.default_rng(0)
    score = rng.uniform(0, 1, 40_000)
    truth = score**2
    curve = fit_confidence(score, rng.random(40_000) < truth)
    assert (np.diff(curve.probability) >= 0).all()
    # 2500 joints a knot: standard error at most 0.01. Beyond the last knot, the mean of the highest sixteenth, it is flat.
    assert np.abs(curve(score) - truth).max() < 1 / 16 + 0.03
    fresh = rng.uniform(0, 1, 40_000)
    hits = rng.random(40_000) < fresh**2
    for low in np.arange(0, 1, 0.1):
        chosen = (curve(fresh) >= low) & (curve(fresh) < low + 0.1)
        assert hits[chosen].mean() == pytest.approx(curve(fresh[chosen]).mean(), abs=0.04)


def test_a_score_that_says_nothing_gives_the_mean():
    rng = np.random.default_rng(1)
    curve = fit_confidence(rng.uniform(0.5, 1, 5000), rng.random(5000) < 0.7)
    assert curve(np.array([0.75]))[0] == pytest.approx(0.7, abs=0.06)


def test_a_detector_that_has_seen_nothing_is_never_right():
    curve = fit_confidence(np.zeros(100), np.arange(100) < 3)
    np.testing.assert_array_equal(curve(np.array([0.0, 0.4, 1.0])), 0)


def test_bad_curves_and_too_little_data_are_refused():
    with pytest.raises(ValueError, match="rising"):
        ConfidenceCurve(np.array([0.0, 0.0]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="never fall"):
        ConfidenceCurve(np.array([0.0, 1.0]), np.array([0.5, 0.2]))
    with pytest.raises(ValueError, match="lie in"):
        ConfidenceCurve(np.array([0.0, 1.0]), np.array([0.5, 1.2]))
    with pytest.raises(ValueError, match="at least 32"):
        fit_confidence(np.ones(3), np.ones(3, dtype=bool))
