from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from board_calibrations import BOARD, NOISE_PX, calibration_of, filmed, good, measured
from posekit.calibration.report.advice import advice, verdict
from posekit.calibration.report.figures import (
    COVERAGE_COLUMNS,
    COVERAGE_ROWS,
    CalibrationFigures,
    CameraFigures,
    Errors,
    ScaleCheck,
    measure_calibration,
)
from posekit.calibration.rigs.calibration import RigCalibration
from posekit.calibration.world.frame import WorldFrame
from posekit.camera import Rig
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras
from posekit.geometry.alignment import Similarity


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
            "Few pictures of the board, where cameras have 60 as a rule: cam_2 has 7. Film it there again",
        ),
        (
            {"coverage": cells_without((ALL, LEFT), (TOP, ALL))},
            "not measured where no corner was seen: cam_2 at the top and left. Carry",
        ),
        (
            {"coverage": cells_without((TOP, LEFT), (slice(3, 6), slice(4, 8)))},
            "cam_2 at the top left and middle. Carry",
        ),
        ({"outlier_share": 0.12}, "12 % of cam_2's corners do not fit: pictures blurred by motion"),
        ({"fitted": errors(1.4)}, "Errors are 1.40 px in cam_2 (median), 0.35 px in others: is it"),
        ({"outer": errors(0.9)}, "towards the picture's edge (median): cam_2 from 0.35 to 0.90 px. The"),
        ({"outer": errors(0.9, corners=20)}, ""),
        ({"predicted": errors(6.0)}, "placed by the other cameras are 6.0 px off in cam_2 (median), 0.3 px"),
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
    assert "Only 9 moments that cam_2 and cam_3 share hold (cam_1 and cam_2) and (cam_3 and cam_4)" in told(
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
    pose = np.zeros((4, 6, 6))
    pose[2] = np.diag([0.01**2, 0, 0, 0.02**2, 0.02**2, 0.01**2])
    loose = replace(good()[0].uncertainty, pose=pose)
    assert told(calibration={"uncertainty": loose}).startswith(
        "Known loosely beside cam_1 (one standard deviation): cam_3 to 30.0 mm and 0.57 degrees. Film"
    )


def late_by(offset_s: float, sigma_s: float, fps: float | None) -> dict[str, Any]:
    """A calibration whose second camera is late."""
    rig = filmed().rig
    late = Rig((rig.cameras[0], replace(rig.cameras[1], time_offset_s=offset_s), *rig.cameras[2:]))
    sigma = np.array([np.nan, sigma_s, sigma_s, sigma_s])
    uncertainty = replace(good()[0].uncertainty, time_offset_sigma_s=sigma)
    return {"rig": late, "views": replace(filmed().views, fps=fps), "uncertainty": uncertainty}


@pytest.mark.parametrize(
    ("offset_s", "sigma_s", "fps", "expected"),
    [
        (0.012, 0.0005, 30.0, "cam_2 12 ms (0.36 frames) after it."),
        (-0.012, np.nan, 30.0, "cam_2 12 ms (0.36 frames) before it."),
        (0.012, 0.003, 30.0, ""),  # 4 sigma
        (0.005, 0.0001, 6.0, ""),  # 0.03 frames
        (0.008, 0.0001, 30.0, ""),  # 0.24 frames
        (0.012, 0.0005, None, "cam_2 12 ms after it."),
        (0.005, 0.0005, None, ""),
    ],
)
def test_cameras_are_out_of_step_by_a_quarter_of_a_frame_and_five_sigma(
    offset_s: float, sigma_s: float, fps: float | None, expected: str
) -> None:
    said = f"Out of step with cam_1, which the rig allows for: {expected}" if expected else ""
    assert told(calibration=late_by(offset_s, sigma_s, fps)) == said


def test_corners_that_do_not_fit_are_laid_to_the_clocks_where_there_are_some() -> None:
    assert "12 % of cam_2's corners do not fit: pictures were not taken at one time" in told(
        calibration=late_by(0.02, 0.0005, 30.0), outlier_share=0.12
    )
    boards = replace(good()[0].boards, rates=np.ones((80, 6)))  # timestamps that differ, and no offset
    assert "corners do not fit: pictures were not taken at one time" in told(
        calibration={"boards": boards}, outlier_share=0.12
    )


def of_two() -> tuple[RigCalibration, CalibrationFigures]:
    """Two cameras that saw a board together 13 times, and more often alone."""
    film = film_board(ring_of_cameras(2, arc_rad=0.6), BOARD, 60, seed=1, noise_px=NOISE_PX)
    together = np.flatnonzero(film.views.seen.any(axis=-1).all(axis=1))[:13]
    calibration = calibration_of(film.rig, film.views.at(together))
    return calibration, measured(calibration)


def test_two_cameras_are_spoken_of_as_two() -> None:
    calibration, figures = of_two()
    pose = np.zeros((2, 6, 6))
    pose[1] = np.diag([0.004**2, 0, 0, 0.0006**2, 0, 0])
    calibration = replace(calibration, uncertainty=replace(calibration.uncertainty, pose=pose))
    lines = advice(figures, calibration)
    assert lines[0] == "cam_1 and cam_2 saw the board together in 13 moments: film 15 or more, near and far and tilted."
    assert "cam_2 to 0.6 mm and 0.23 degrees. Film more boards that both see" in lines[1]
    assert not any(words in line for line in lines for words in ("alone", "others", "as a rule"))


def test_few_pictures_of_all_cameras_are_not_compared_with_themselves() -> None:
    base, figures = good()
    few = tuple(replace(camera, fitted=errors(0.35, pictures=13)) for camera in figures.cameras)
    lines = advice(replace(figures, cameras=few), base)
    assert "Cameras have 13 pictures of the board as a rule: film 15 or more for each, near and far." in lines
    assert not any("cam_1 has 13" in line for line in lines)


def test_a_lens_of_few_pictures_or_a_camera_without_a_check_is_never_called_good() -> None:
    base, figures = good()
    assert verdict(figures, base).startswith("The calibration is good")
    assert verdict(figures, base, out_of_step=True).startswith("Do not use this rig as it is")
    # Half of a hundredth of the way in each of three axes is 0.9 hundredths, a whole one 1.7.
    away = np.linalg.norm(base.rig.cameras[1].centre_world - base.rig.cameras[0].centre_world)
    for share, word in ((0.005, "good"), (0.01, "usable")):
        pose = np.zeros_like(base.uncertainty.pose)
        pose[1, 3:, 3:] = (share * away) ** 2 * np.eye(3)
        loose = replace(base, uncertainty=replace(base.uncertainty, pose=pose))
        assert verdict(figures, loose).startswith(f"The calibration is {word}")
    used = base.used.copy()
    used[np.flatnonzero(used[:, 1].any(axis=-1))[4:], 1] = False
    adjusted = replace(base.uncertainty, lens_sigma=({"fx": 1.0},) * 4)
    few = replace(base, used=used, uncertainty=adjusted)
    assert verdict(figures, few).startswith(
        "The calibration could not be checked as a whole: the lens of cam_2 rests on 4 pictures. Corners"
    )
    assert any(
        line.startswith("Not checked by held-out moments: the lens of cam_2 rests") for line in advice(figures, few)
    )
    assert "good" in verdict(figures, replace(few, uncertainty=base.uncertainty))  # a lens that was given and kept
    without = (*figures.cameras[:3], replace(figures.cameras[3], heldout=Errors.of(np.zeros((0, 24)))))
    assert "as a whole: cam_4 saw the board in no held-out moment. Corners" in verdict(
        replace(figures, cameras=without), base
    )
    blurred = (replace(figures.cameras[0], fitted=replace(figures.cameras[0].fitted, p95_px=4.3)), *figures.cameras[1:])
    assert verdict(replace(figures, cameras=blurred), base).startswith(
        "The calibration is usable: corners that were not"
    )
    assert "is poor: corners that it was made from" in verdict(replace(figures, heldout=None, fitted=errors(5.0)), base)


def test_a_known_length_that_the_board_contradicts_is_told() -> None:
    calibration, figures = good()
    for times, expected in (
        (
            2.0,
            "By the known length that gave the rig its scale they are 100 mm, 100 % longer than --board says: measure",
        ),
        (0.97, "they are 48.5 mm, 3 % shorter than --board says"),
    ):
        world = WorldFrame(calibration.rig, Similarity(np.array(times), np.eye(3), np.zeros(3)), (), z_up=False)
        assert expected in verdict(figures, calibration, world)
    world = WorldFrame(calibration.rig, Similarity(np.array(1.008), np.eye(3), np.zeros(3)), ())
    assert verdict(figures, calibration, world) == verdict(figures, calibration)


def test_uncertain_places_are_told_in_the_world_s_metres() -> None:
    calibration, figures = good()
    pose = np.zeros((4, 6, 6))
    pose[2] = np.diag([0.01**2, 0, 0, 0, 0, 0.03**2])
    loose = replace(calibration, uncertainty=replace(calibration.uncertainty, pose=pose))
    world = WorldFrame(calibration.rig, Similarity(np.array(2.0), np.eye(3), np.zeros(3)), (), z_up=False)
    assert any("cam_3 to 60.0 mm and 0.57 degrees" in line for line in advice(figures, loose, world))


def test_advice_is_six_short_sentences_at_most() -> None:
    """A rig of 31 cameras in which everything is wrong; cameras that are not in it come first."""
    rig = ring_of_cameras(31)
    film = film_board(rig, BOARD, 40, seed=1)
    calibration = calibration_of(rig, film.views)
    rng = np.random.default_rng(0)
    whole = np.zeros((COVERAGE_ROWS, COVERAGE_COLUMNS), dtype=np.int64)
    # Two of three cameras are bad, so that the others have a median that they are worse than.
    cameras = tuple(
        CameraFigures(
            name,
            errors(0.3 + 9 * (n % 3 == 0), pictures=int(rng.integers(3, 40))),
            errors(0.3),
            errors(2.0),
            0.3,
            whole,
            errors(0.3),
            errors(0.3),
            errors(0.3 + 9 * (n % 3 == 0)),
        )
        for n, name in enumerate(rig.names)
    )
    shared = np.diag(np.full(30, 6), 1)
    bad = replace(
        measure_calibration(rig, film.views, calibration.residual_px, film.views.seen, None),
        cameras=cameras,
        shared=shared + shared.T,
        heldout=errors(9.0),
    )
    unlinked = {
        f"cam_{n}": "saw the board in 7 pictures, but never at the same moment as another camera" for n in range(40, 46)
    }
    lines = advice(bad, replace(calibration, unlinked=unlinked))
    assert len(lines) == 6
    assert lines[0].startswith("cam_40 is not in the rig: it saw the board in 7 pictures")
    assert lines[2] == "cam_42, cam_43, cam_44 and cam_45 are not in the rig, either."
    every = [line for kind in (bad, replace(bad, shared=np.full((31, 31), 40))) for line in advice(kind, calibration)]
    assert max(len(line) for line in every) <= 210
