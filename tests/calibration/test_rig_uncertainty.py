"""What a calibration says of its own errors, against errors that are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from posekit.calibration.boards.board import parse_board
from posekit.calibration.rigs.calibration import RigSettings, calibrate_rig
from posekit.camera import Rig
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras

BOARD = parse_board("charuco:5x4:0.08:0.06:DICT_4X4_50")


def ring(seed: int = 2) -> Rig:
    return ring_of_cameras(3, radius_m=1.6, arc_rad=1.6, seed=seed, size=(640, 480))


def film_of(rig: Rig, frames: int = 30, **settings):
    return film_board(rig, BOARD, frames, **{"seed": 3, "spread_m": 0.3, "fps": 1.0, **settings})


def sigmas(calibration) -> np.ndarray:
    return np.sqrt(np.diagonal(calibration.uncertainty.pose, axis1=1, axis2=2))[1:]


def mahalanobis(calibration, truth: Rig) -> list[float]:
    """Squared distances of the cameras but the first from the truth, by their covariances, 6 degrees of freedom each."""
    distances = []
    first, true_first = calibration.rig.cameras[0], truth.cameras[0]
    for c in range(1, len(truth)):
        one, other = calibration.rig.cameras[c], truth.cameras[c]
        turn, true_turn = one.rotation @ first.rotation.T, other.rotation @ true_first.rotation.T
        shift = one.translation - turn @ first.translation
        true_shift = other.translation - true_turn @ true_first.translation
        off = Rotation.from_matrix(turn @ true_turn.T)
        error = np.concatenate((off.as_rotvec(), shift - off.apply(true_shift)))
        distances.append(float(error @ np.linalg.solve(calibration.uncertainty.pose[c], error)))
    return distances


def test_errors_are_as_large_as_they_are_said_to_be():
    distances = []
    for seed in range(20):
        rig = ring(seed)
        calibration = calibrate_rig(film_of(rig, 14, seed=100 + seed).views, rig.cameras)
        assert calibration.unlinked == {}
        distances += mahalanobis(calibration, rig)
    for share, low, high in ((0.95, 0.85, 0.99), (0.5, 0.3, 0.7)):  # of 40, one standard deviation is 3.5 % and 8 %
        within = np.mean(np.array(distances) < chi2.ppf(share, 6))
        assert low <= within <= high
    # 6 are meant, +- 0.55; clustering only ever makes covariances larger, so they are rather too large.
    assert 4 < np.mean(distances) < 7.5


@pytest.mark.parametrize("free", [None, "pinhole5"])
def test_covariances_are_covariances(free):
    rig = ring()
    calibration = calibrate_rig(film_of(rig, 40).views, rig.cameras, RigSettings(free_lens=free))
    pose = calibration.uncertainty.pose
    assert pose.shape == (3, 6, 6)
    assert not pose[0].any()
    for block in pose[1:]:
        np.testing.assert_allclose(block, block.T, atol=1e-12 * block.max())  # rounding of an inverse
        assert np.linalg.eigvalsh(block).min() > 0
    names = {"fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3"} if free else set()
    for sigma in calibration.uncertainty.lens_sigma:
        assert set(sigma) == names
        assert all(value > 0 for value in sigma.values())


def test_free_lenses_leave_poses_less_sure():
    rig = ring()
    views = film_of(rig, 40).views
    kept, free = (calibrate_rig(views, rig.cameras, RigSettings(free_lens=lens)) for lens in (None, "pinhole5"))
    assert (sigmas(free) > sigmas(kept)).all()


def test_twice_the_noise_is_twice_the_sigma():
    rig = ring()
    quiet, loud = (calibrate_rig(film_of(rig, 40, noise_px=noise).views, rig.cameras) for noise in (0.2, 0.4))
    ratio = np.sqrt(
        quiet.uncertainty.clustering / loud.uncertainty.clustering
    )  # apart from what corners have in common
    assert np.median(sigmas(loud) / sigmas(quiet)) * ratio == pytest.approx(2, rel=0.1)  # noise of some 1,000 corners


def test_four_times_the_pictures_are_half_the_sigma():
    rig = ring()
    # The same path at four times the rate: the same places, four times as densely.
    few = calibrate_rig(film_of(rig, 40, fps=1.0).views, rig.cameras)
    many = calibrate_rig(film_of(rig, 160, fps=4.0).views, rig.cameras)
    ratio = np.sqrt(few.uncertainty.clustering / many.uncertainty.clustering)
    assert np.median(sigmas(many) / sigmas(few)) / (1 / ratio) == pytest.approx(
        0.5, rel=0.2
    )  # not quite the same places


def test_pictures_that_err_as_a_whole():
    rig = ring()
    views = film_of(rig, 60, noise_px=0.2).views
    rng = np.random.default_rng(0)
    apart = calibrate_rig(views, rig.cameras)
    shifted = views.corners_px + rng.normal(0, 0.4, views.corners_px.shape[:2])[..., None, None] * (1.0, 0.5)
    together = calibrate_rig(replace(views, corners_px=shifted), rig.cameras)
    assert 1 <= apart.uncertainty.clustering < 1.6  # 1 is meant; of 12 unknowns and 60 moments, 1.4 is not rare
    assert together.uncertainty.clustering > 2
    # And that makes the errors as large as they are.
    assert max(mahalanobis(together, rig)) < chi2.ppf(0.999, 6)
