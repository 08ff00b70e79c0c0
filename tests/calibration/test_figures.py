import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from board_calibrations import BOARD, NOISE_PX, calibration_of, filmed, good, measured
from posekit.calibration.boards.views import BoardViews
from posekit.calibration.report.advice import advice, verdict
from posekit.calibration.report.figures import (
    Errors,
    ScaleCheck,
    coverage_of,
    measure_calibration,
    shared_moments,
    uncertainty_figures,
)
from posekit.calibration.report.held_out import hold_out, middle_block
from posekit.calibration.rigs.placed_boards import board_residuals, place_boards
from posekit.calibration.rigs.uncertainty import RigUncertainty
from posekit.camera import Rig
from posekit.datasets.synthetic_boards import film_board
from posekit.errors import PosekitError
from posekit.io.files import write_json


def test_figures_of_errors_are_those_computed_by_hand() -> None:
    errors = Errors.of(np.array([[1.0, 2.0, np.nan], [np.nan, np.nan, np.nan], [3.0, 10.0, np.nan]]))
    assert errors == Errors(4.0, 2.5, np.sqrt(114 / 4), pytest.approx(8.95), 4, 2)  # 95 %: 3 + 0.85 * 7
    assert Errors.of(np.full((2, 3), np.nan)).corners == 0


def test_noise_is_what_the_true_rig_leaves() -> None:
    calibration, figures = good()
    seen = filmed().views.seen
    shared = seen.any(axis=-1).sum(axis=1) >= 2
    # A Rayleigh mean, less what the six unknowns of a board take of the coordinates that it was seen in.
    corners = seen.sum(axis=(1, 2))
    left = np.sqrt(1 - 6 / (2 * corners[corners > 0]))
    expected = NOISE_PX * np.sqrt(np.pi / 2) * np.average(left, weights=corners[corners > 0])
    # The mean of 3,700 errors, each of which varies by half of itself: 0.9 % is one standard deviation.
    assert figures.fitted.mean_px == pytest.approx(expected, rel=0.03)
    assert figures.heldout is not None
    # Of 900 errors: 1.7 %.
    assert figures.heldout.mean_px == pytest.approx(expected, rel=0.05)
    assert figures.heldout.corners == seen[shared & (np.arange(80) % 4 == 3)].sum()
    assert figures.heldout_block is not None
    assert figures.heldout_block.corners == seen[shared & middle_block(80)].sum()
    # A board placed without a camera carries its own errors into that picture.
    assert figures.predicted is not None
    assert expected < figures.predicted.median_px < 20 * expected
    assert figures.fitted.corners == seen.sum()
    assert verdict(figures, calibration).startswith(
        "The calibration is good: corners that were not used for it lie 0.3"
    )


def test_free_points_and_known_lengths_are_measured() -> None:
    rig, film = filmed().rig, film_board(filmed().rig, BOARD, 30, seed=1, noise_px=0.0)
    figures = measure_calibration(rig, film.views, np.zeros_like(film.views.corners_px), film.views.seen, None)
    # 1e-6 px, 1e-7 m: where the refinement of a point stops.
    assert figures.triangulated.p95_px < 1e-6
    assert figures.scale.mean_m == pytest.approx(0.05, abs=1e-7)
    assert figures.scale.mean_absolute_error_m < 1e-7
    together = (film.views.seen.sum(axis=1) >= 2).all(axis=-1).sum()
    assert len(figures.scale.lengths_m) == together * len(BOARD.sides[0])
    assert figures.heldout is None
    assert ScaleCheck(0.05, np.array([0.049, 0.053])).mean_absolute_error_m == pytest.approx(0.002)


def test_a_moving_board_is_measured_with_its_corners_brought_to_one_time() -> None:
    """Cameras up to 20 ms apart: exact corners of a board whose motion is known meet in one point."""
    rig = filmed().rig
    film = film_board(rig, BOARD, 40, seed=3, noise_px=0.0, fps=30.0, jitter_s=0.01, timestamps=True)
    boards = place_boards(rig, film.views)
    residual = board_residuals(rig, film.views, boards)
    figures = measure_calibration(rig, film.views, residual, film.views.seen, None, boards)
    assert figures.triangulated_in_step is not None
    # The path is curved, the model of it is straight: 0.5 * 3 m/s^2 * (10 ms)^2 at 400 px/m is 0.06 px.
    assert figures.triangulated_in_step.mean_px < 0.06
    assert figures.triangulated.mean_px > 5 * figures.triangulated_in_step.mean_px
    # 0.06 px over 5 cm of 20 px.
    assert figures.scale.mean_absolute_error_m < 0.05 * 0.06 / 20
    as_detected = measure_calibration(rig, film.views, residual, film.views.seen, None)
    assert as_detected.triangulated_in_step is None
    assert as_detected.scale.mean_absolute_error_m > 3 * figures.scale.mean_absolute_error_m


def test_the_held_out_moments_are_kept_from_the_calibration() -> None:
    views, rig = filmed().views, filmed().rig
    given: list[NDArray[np.int64]] = []

    def calibrate(some: BoardViews) -> Rig:
        given.append(some.frames)
        return rig

    held_out = middle_block(80)
    found = hold_out(views, held_out, calibrate)
    assert given[0].tolist() == [frame for frame in range(80) if not 32 <= frame < 48]
    assert np.isnan(found.fitted_px[~held_out]).all()
    assert np.isfinite(found.fitted_px[held_out]).any()


def test_a_camera_that_is_turned_is_told_by_the_others() -> None:
    """The boards' poses hide it in the fit of boards that only two cameras see; the prediction does not."""
    rig = filmed().rig
    camera = rig.cameras[2]
    turn = np.array([[1, 0, 0.004], [0, 1, 0], [-0.004, 0, 1]])
    turned = replace(camera, rotation=turn @ camera.rotation, translation=turn @ camera.translation)
    bad = Rig((*rig.cameras[:2], turned, rig.cameras[3]), rig.source)
    views = film_board(rig, BOARD, 80, seed=1, noise_px=0.0).views
    straight, found = (hold_out(views, np.arange(80) % 4 == 3, lambda _, one=one: one) for one in (rig, bad))
    # 1e-3 px: where the boards' fit stops.
    assert np.nanmax(straight.predicted_px) < 1e-3
    # Across the picture it is 0.004 rad of the focal length; away from the middle the lens bends it by a few percent.
    assert np.nanmedian(found.predicted_px[:, 2]) == pytest.approx(0.004 * camera.matrix[0, 0], rel=0.1)


def test_a_rig_without_one_camera_is_measured_in_the_others() -> None:
    rig = filmed().rig
    found = hold_out(filmed().views, middle_block(80), lambda _: rig.select(rig.names[1:]))
    assert np.isnan(found.fitted_px[:, 0]).all()
    assert np.isfinite(found.fitted_px[:, 1:]).any()
    assert ((np.isfinite(found.fitted_px).any(axis=-1)).sum(axis=1) != 1).all()


def test_too_few_moments_are_told_and_none_held_out() -> None:
    calibration = calibration_of(filmed().rig, filmed().views.at(np.arange(8)))
    figures = measured(calibration)
    assert figures.heldout is None
    assert "moments are shared by two cameras, none to spare for checking" in figures.not_held_out
    assert any(line.startswith("Nothing could be held out") for line in advice(figures, calibration))
    assert verdict(figures, calibration).startswith(
        "The calibration could not be checked, for no moments could be spared: corners that it was made from lie 0."
    )
    assert not any(filmed().views.source in line for line in advice(figures, calibration))

    def refuse(_: BoardViews) -> Rig:
        raise PosekitError("no two cameras can be linked")

    with pytest.raises(PosekitError, match="no two cameras"):
        hold_out(filmed().views, middle_block(80), refuse)


def test_shared_moments_and_coverage_are_counted() -> None:
    corners = np.full((3, 2, len(BOARD.points_m), 2), np.nan)
    corners[0] = 1.0
    corners[1, 0, 3] = 1.0
    views = BoardViews(BOARD, ("a", "b"), ((12, 9), (12, 9)), np.arange(3), corners)
    assert shared_moments(views).tolist() == [[2, 1], [1, 1]]
    counts = coverage_of(np.array([(0.0, 0.0), (0.4, 0.2), (11.0, 8.0), (3.0, 4.0)]), (12, 9))
    assert (counts[0, 0], counts[8, 11], counts[4, 3], counts.sum()) == (2, 1, 1, 4)


def test_the_figures_are_written_as_json(tmp_path: Any) -> None:
    _, figures = good()
    write_json(tmp_path / "figures.json", figures.as_json())
    read = json.loads((tmp_path / "figures.json").read_text())
    assert read["mean_reprojection_px"] == pytest.approx(figures.fitted.mean_px)
    assert figures.heldout is not None
    assert read["heldout_reprojection_px"] == pytest.approx(figures.heldout.mean_px)
    assert set(read["cameras"]) == set(filmed().rig.names)
    assert read["cameras"]["cam_2"]["mean_reprojection_px"] == pytest.approx(figures.cameras[1].fitted.mean_px)


def test_uncertainties_are_figures_of_each_camera() -> None:
    calibration, _ = good()
    pose = np.zeros((4, 6, 6))
    pose[1] = np.diag([1e-6, 4e-6, 9e-6, 0.003**2, 0, 0.004**2])
    lens = ({}, {"fx": 1.5}, {}, {})
    uncertainty = replace(calibration.uncertainty, pose=pose, lens_sigma=lens, time_offset_sigma_s=np.full(4, 0.001))
    found = uncertainty_figures(calibration.rig, uncertainty.scaled(10.0))
    assert list(found) == list(calibration.rig.names)
    assert found["cam_2"]["position_sigma_m"] == pytest.approx([0.03, 0, 0.04])
    assert found["cam_2"]["position_sigma_norm_m"] == pytest.approx(0.05)
    assert found["cam_2"]["turn_sigma_rad"] == pytest.approx([0.001, 0.002, 0.003])
    assert found["cam_2"]["lens_sigma"] == {"fx": 1.5}
    assert found["cam_2"]["time_offset_sigma_s"] == 0.001
    assert found["cam_1"]["position_sigma_norm_m"] == 0


def test_a_scale_multiplies_lengths_and_leaves_turns() -> None:
    pose = np.random.default_rng(0).normal(size=(2, 6, 6))
    uncertainty = RigUncertainty(pose, ({"fx": 1.0}, {}), np.array([np.nan, 0.002]), NOISE_PX, 1.5)
    scaled = uncertainty.scaled(3.0)
    np.testing.assert_allclose(scaled.pose[:, :3, :3], pose[:, :3, :3])
    np.testing.assert_allclose(scaled.pose[:, :3, 3:], 3 * pose[:, :3, 3:])
    np.testing.assert_allclose(scaled.pose[:, 3:, 3:], 9 * pose[:, 3:, 3:])
    assert (scaled.lens_sigma, scaled.noise_px, scaled.clustering) == (({"fx": 1.0}, {}), NOISE_PX, 1.5)
