"""Boards in the world of a rig that is known, against the truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from posekit.calibration.boards.board import parse_board
from posekit.calibration.rigs.placed_boards import (
    board_residuals,
    is_moving,
    mean_times,
    place_boards,
    robust_noise_px,
)
from posekit.camera import Rig
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras

BOARD = parse_board("charuco:5x4:0.08:0.06:DICT_4X4_50")
RIG = ring_of_cameras(3, radius_m=1.6, arc_rad=1.6, seed=2)


def film_of(frames: int = 30, **settings):
    return film_board(RIG, BOARD, frames, **{"seed": 3, "spread_m": 0.3, "fps": 1.0, **settings})


def test_exact_corners_give_the_truth():
    film = film_of(noise_px=0)
    boards = place_boards(RIG, film.views)
    seen = film.views.seen.any(axis=(1, 2))
    assert np.array_equal(boards.found, seen)
    np.testing.assert_allclose(
        boards.rotation[seen], film.board_rotation[seen], atol=1e-6
    )  # steps end at 1e-7 of the cost
    np.testing.assert_allclose(boards.translation[seen], film.board_translation[seen], atol=1e-6)  # as above
    assert not boards.rates.any()
    residual = board_residuals(RIG, film.views, boards)
    assert np.array_equal(np.isfinite(residual).all(axis=-1), film.views.seen)
    assert np.nanmax(np.abs(residual)) < 1e-3  # of 1e-6 m at 600 px/m


def test_noise_and_wrong_corners():
    film = film_of(outliers=0.05)
    boards = place_boards(RIG, film.views)
    together = film.views.seen.any(axis=-1).sum(axis=1) > 1
    off = np.linalg.norm(boards.translation - film.board_translation, axis=1)
    # 0.3 px at 600 px/m is 0.5 mm a corner; two cameras, 12 corners, and the corner of the board that is its origin.
    assert np.median(off[together]) < 0.002
    residual = np.linalg.norm(board_residuals(RIG, film.views, boards), axis=-1)
    assert np.nanmedian(residual) == pytest.approx(0.3 * 1.1774, rel=0.15)  # the median of a 2D Gaussian's distances
    assert (residual[np.isfinite(residual)] > 4).mean() == pytest.approx(0.05, abs=0.03)


def test_residuals_are_projections_less_corners():
    film = film_of(6)
    boards = place_boards(RIG, film.views)
    residual = board_residuals(RIG, film.views, boards)
    for f in np.flatnonzero(boards.found):
        points = BOARD.points_m @ boards.rotation[f].T + boards.translation[f]
        for c, camera in enumerate(RIG.cameras):
            expected = camera.project(points) - film.views.corners_px[f, c]
            seen = film.views.seen[f, c]
            np.testing.assert_allclose(residual[f, c, seen], expected[seen], atol=1e-9)  # rounding of 1,000 px
            assert np.isnan(residual[f, c, ~seen]).all()


def test_a_camera_that_is_left_out_is_predicted():
    film = film_of(outliers=0.0)
    corners = film.views.corners_px.copy()
    corners[:, 2] += 40.0  # wrong throughout: if it took part it would show
    spoiled = replace(film.views, corners_px=corners)
    chosen = np.ones(corners.shape[:2], dtype=bool)
    chosen[:, 2] = False
    boards = place_boards(RIG, spoiled, chosen=chosen)
    assert np.array_equal(boards.found, film.views.seen[:, :2].any(axis=(1, 2)))
    by_two = film.views.seen.any(axis=-1).all(axis=1)
    assert by_two.any()
    residual = board_residuals(RIG, spoiled, boards)
    np.testing.assert_allclose(
        np.median(residual[by_two, 2], axis=1), -40, atol=2
    )  # 0.3 px, three times that at the side
    # A moment that the others did not see has no board, and nothing is said of it.
    others_blind = ~film.views.seen[:, :2].any(axis=(1, 2))
    assert np.isnan(residual[others_blind]).all()


def test_one_camera_alone():
    film = film_of(noise_px=0)
    alone = place_boards(Rig((RIG.cameras[1],), "one"), film.views.of(("cam_2",)))
    seen = film.views.seen[:, 1].any(axis=-1)
    assert np.array_equal(alone.found, seen)
    np.testing.assert_allclose(
        alone.translation[seen], film.board_translation[seen], atol=1e-5
    )  # exact corners, one view


def test_nothing_seen():
    film = film_of(4)
    views = replace(film.views, corners_px=np.full_like(film.views.corners_px, np.nan))
    for moving in (False, True):
        boards = place_boards(RIG, views, moving=moving)
        assert not boards.found.any()
        assert np.isnan(boards.rotation).all()
        assert np.isnan(board_residuals(RIG, views, boards)).all()


def test_no_moments_at_all():
    boards = place_boards(RIG, film_of(4).views.at(np.zeros(4, dtype=bool)))
    assert boards.translation.shape == (0, 3)


def test_pictures_taken_at_different_times():
    film = film_of(120, fps=10.0, jitter_s=0.03, timestamps=True)
    assert is_moving(film.views, RIG)
    moving, still = (place_boards(RIG, film.views, moving=moving) for moving in (None, False))
    together = film.views.seen.any(axis=-1).sum(axis=1) > 1
    with_rates, without = (
        np.nanmedian(np.linalg.norm(board_residuals(RIG, film.views, boards)[together], axis=-1))
        for boards in (moving, still)
    )
    assert with_rates == pytest.approx(0.3 * 1.1774, rel=0.15)  # the noise; each pair's own rates take a little of it
    assert without > 2 * with_rates
    assert not still.rates.any()
    # 0.35 m/s is what it is carried at.
    carried = np.linalg.norm(moving.rates[together, 3:], axis=1)
    assert 0.05 < np.median(carried) < 0.8


def test_times_of_moments():
    film = film_of(5, fps=4.0)
    assert mean_times(film.views).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert mean_times(replace(film.views, fps=None)) is None
    times = np.array([(0, 0.2, np.nan)] * 5)
    np.testing.assert_allclose(mean_times(replace(film.views, times_s=times)), 0.1)
    assert not is_moving(film.views, RIG)
    late = Rig((RIG.cameras[0], replace(RIG.cameras[1], time_offset_s=0.1), RIG.cameras[2]), "late")
    assert is_moving(film.views, late)


def test_the_noise_by_the_median():
    rng = np.random.default_rng(0)
    residual = torch.from_numpy(rng.normal(0, 0.5, (400, 12, 2)))
    weight = torch.ones(400, 12, dtype=torch.float64)
    assert robust_noise_px(residual, weight) == pytest.approx(0.5, rel=0.03)  # of 4,800
    residual[:40] += 100
    assert robust_noise_px(residual, weight) == pytest.approx(0.5, rel=0.12)  # a tenth moves the median a little
    weight[:40] = 0
    assert robust_noise_px(residual, weight) == pytest.approx(0.5, rel=0.03)
    assert robust_noise_px(0 * residual, weight) == 0.01
    assert robust_noise_px(residual, 0 * weight) == 1.0
