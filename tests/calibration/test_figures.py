import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from posekit.calibration.boards.board import parse_board
from posekit.calibration.boards.views import BoardViews
from posekit.calibration.report.advice import advice, verdict
from posekit.calibration.report.figures import (
    COVERAGE_COLUMNS,
    COVERAGE_ROWS,
    CalibrationFigures,
    CameraFigures,
    Errors,
    ScaleCheck,
    coverage_of,
    measure_calibration,
    shared_moments,
)
from posekit.calibration.report.held_out import hold_out, middle_block
from posekit.calibration.rigs.calibration import RigCalibration
from posekit.calibration.rigs.placed_boards import board_residuals, place_boards
from posekit.calibration.rigs.uncertainty import RigUncertainty
from posekit.camera import Rig
from posekit.datasets.synthetic_boards import FilmedBoard, film_board, ring_of_cameras
from posekit.errors import PosekitError
from posekit.io.files import write_json

BOARD = parse_board("charuco:5x7:0.05:0.035:DICT_4X4_50")
NOISE_PX = 0.3


@cache
def filmed() -> FilmedBoard:
    return film_board(ring_of_cameras(4), BOARD, 80, seed=1, noise_px=NOISE_PX)


def calibration_of(rig: Rig, views: BoardViews, **more: Any) -> RigCalibration:
    """What a calibration that ended with this rig would say."""
    boards = place_boards(rig, views)
    uncertainty = RigUncertainty(np.zeros((len(rig), 6, 6)), ({},) * len(rig), np.full(len(rig), np.nan), NOISE_PX, 1.0)
    calibration = RigCalibration(
        rig,
        views,
        boards,
        NOISE_PX,
        board_residuals(rig, views, boards),
        views.seen,
        uncertainty,
        {},
        shared_moments(views),
    )
    return replace(calibration, **more)


def measured(calibration: RigCalibration) -> CalibrationFigures:
    return measure_calibration(
        calibration.rig, calibration.views, calibration.residual_px, calibration.used, lambda _: calibration.rig
    )


@cache
def good() -> tuple[RigCalibration, CalibrationFigures]:
    calibration = calibration_of(filmed().rig, filmed().views)
    return calibration, measured(calibration)


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
    assert "(too few moments to hold any out)" in verdict(figures, calibration)

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


def told(change: dict[str, Any] | None = None, calibration: dict[str, Any] | None = None, **camera: Any) -> str:
    """Advice on good figures, of which some are changed: of the whole, of the calibration, of the camera cam_2."""
    base, figures = good()
    full = np.ones((COVERAGE_ROWS, COVERAGE_COLUMNS), dtype=np.int64)
    enough = replace(figures.cameras[0].fitted, mean_px=0.4, median_px=0.35, pictures=60, corners=1440)
    cameras = [
        CameraFigures(name, enough, enough, enough, 0.0, full, enough, enough, enough) for name in filmed().rig.names
    ]
    cameras[1] = replace(cameras[1], **camera)
    shared = np.full((4, 4), 40)
    changed = {
        "cameras": tuple(cameras),
        "shared": shared,
        "scale": ScaleCheck(0.05, np.array([0.05])),
        **(change or {}),
    }
    return "\n".join(advice(replace(figures, **changed), replace(base, **(calibration or {}))))


def test_a_good_calibration_gets_no_advice() -> None:
    assert told() == ""


def errors(median_px: float, pictures: int = 60, corners: int = 1440) -> Errors:
    return Errors(1.1 * median_px, median_px, 1.2 * median_px, 2.5 * median_px, corners, pictures)


def cells_without(*empty: tuple[slice, slice]) -> NDArray[np.int64]:
    counts = np.ones((COVERAGE_ROWS, COVERAGE_COLUMNS), dtype=np.int64)
    for rows, columns in empty:
        counts[rows, columns] = 0
    return counts


LEFT, TOP, ALL = slice(0, 4), slice(0, 3), slice(None)


@pytest.mark.parametrize(
    ("camera", "expected"),
    [
        (
            {"fitted": errors(0.35, pictures=7, corners=160)},
            "cam_2 has 7 pictures of the board, where cameras have 60 as a rule",
        ),
        (
            {"coverage": cells_without((ALL, LEFT), (TOP, ALL))},
            "is not measured there: cam_2 at the top and left. Carry",
        ),
        (
            {"coverage": cells_without((TOP, LEFT), (slice(3, 6), slice(4, 8)))},
            "cam_2 at the top left and middle. Carry",
        ),
        ({"outlier_share": 0.12}, "12 % of cam_2's corners do not fit"),
        ({"fitted": errors(1.4)}, "cam_2's errors are 4.0 times those of the others (1.40 px, median)"),
        ({"outer": errors(0.9)}, "cam_2's errors grow towards the edge of its picture, from 0.35 to 0.90 px"),
        ({"outer": errors(0.9, corners=20)}, ""),
        ({"predicted": errors(6.0)}, "cam_2 is told badly by the others: boards placed without it are 6.0 px off"),
    ],
)
def test_a_weak_camera_is_told(camera: dict[str, Any], expected: str) -> None:
    found = told(**camera)
    assert expected in found
    assert bool(found) == bool(expected)


def test_weak_links_are_told() -> None:
    shared = np.full((4, 4), 40)
    shared[1] = shared[:, 1] = 0
    shared[1, 2] = shared[2, 1] = 6
    assert "cam_2 hangs on cam_3 alone, by 6 moments" in told({"shared": shared})
    shared = np.full((4, 4), 40)
    shared[:2, 2:] = shared[2:, :2] = 0
    shared[1, 2] = shared[2, 1] = 9
    assert "Only 9 moments that cam_2 and cam_3 share hold cam_1, cam_2 and cam_3, cam_4 together" in told(
        {"shared": shared}
    )
    shared[0, 3] = shared[3, 0] = 9  # a second link holds, too
    assert told({"shared": shared}) == ""


def test_what_is_wrong_on_the_whole_is_told() -> None:
    assert "The board's sides are measured 2.0 % too long" in told({"scale": ScaleCheck(0.05, np.full(9, 0.051))})
    assert "every fourth moment has errors of 1.10 px" in told({"fitted": errors(0.3), "heldout": errors(1.0)})
    assert "cam_9 is not in the rig: it saw the board in no picture." in told(
        calibration={"unlinked": {"cam_9": "saw the board in no picture"}}
    )
    rig = filmed().rig
    late = Rig((rig.cameras[0], replace(rig.cameras[1], time_offset_s=0.012), *rig.cameras[2:]))
    assert "cam_2 is out of step: it takes its pictures 12 ms, 0.36 frames after cam_1." in told(
        calibration={"rig": late, "views": replace(filmed().views, fps=30.0)}
    )
    pose = np.zeros((4, 6, 6))
    pose[2] = np.diag([0.01**2, 0, 0, 0, 0, 0.03**2])
    loose = replace(good()[0].uncertainty, pose=pose)
    assert "known loosely (one standard deviation): cam_3 to 30 mm and 0.57 degrees." in told(
        calibration={"uncertainty": loose}
    )
