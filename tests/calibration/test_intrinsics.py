"""Lenses from views of a board: against known lenses, against OpenCV, and on what is missing or wrong."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from posekit.calibration.boards.board import Board, parse_board
from posekit.calibration.boards.capture import find_board_capture
from posekit.calibration.boards.detection import BoardDetector
from posekit.calibration.boards.views import BoardViews
from posekit.calibration.formats import read_rig
from posekit.calibration.lenses.fit import PARAMETERS, LensModel, project_board
from posekit.calibration.lenses.intrinsics import LensCalibration, calibrate_lens
from posekit.camera import Camera, Rig
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras
from posekit.errors import PosekitError

BOARD = parse_board("chessboard:9x6:0.06")


def film(model: LensModel, seed: int, frames: int = 40, **settings: float) -> tuple[BoardViews, Rig]:
    """A board carried about in front of three cameras with lenses of a model."""
    rig = ring_of_cameras(3, radius_m=1.2, seed=seed, lens=model)
    return film_board(rig, BOARD, frames, seed=seed, spread_m=0.35, **settings).views, rig


def still_views(camera: Camera, turns: np.ndarray, places: np.ndarray, noise_px: float = 0.1) -> BoardViews:
    """Views of BOARD at given turns (V, 3) and places (V, 3) of its middle before a camera at the origin."""
    rng = np.random.default_rng(5)
    middle = BOARD.points_m.mean(axis=0)
    parameters = np.array((*camera.matrix[(0, 1, 0, 1), (0, 1, 2, 2)], *camera.distortion[:5]))
    corners = []
    for turn, place in zip(turns, places, strict=True):
        pose = np.concatenate((turn, place - cv2.Rodrigues(turn)[0] @ middle))
        corners.append(project_board("pinhole5", parameters, pose, BOARD.points_m)[0])
    pixels = np.stack(corners)[:, None] + rng.normal(0, noise_px, (len(turns), 1, len(BOARD.points_m), 2))
    return BoardViews(BOARD, (camera.name,), (camera.size,), np.arange(len(turns)), pixels, source="still views")


def plain_camera(size: tuple[int, int] = (1280, 960)) -> Camera:
    matrix = np.array([[900.0, 0, size[0] / 2], [0, 900, size[1] / 2], [0, 0, 1]])
    return Camera("cam", size, matrix, np.array((-0.2, 0.05, 0, 0, 0)), np.eye(3), np.zeros(3))


def parameters_of(camera: Camera, model: LensModel) -> np.ndarray:
    return np.array((*camera.matrix[(0, 1, 0, 1), (0, 1, 2, 2)], *camera.distortion))[: len(PARAMETERS[model])]


@pytest.mark.parametrize("model", ["pinhole5", "pinhole8", "fisheye"])
def test_the_truth_lies_within_the_stated_uncertainty(model: LensModel) -> None:
    scores = []
    for seed in range(3):
        views, rig = film(model, seed)
        for place, camera in enumerate(rig.cameras):
            if views.seen[:, place].any(axis=-1).sum() < 5:
                continue
            found = calibrate_lens(views, place, model)
            error = parameters_of(found.camera, model) - parameters_of(camera, model)
            scores.append(error / np.array([found.sigma[name] for name in PARAMETERS[model]]))
    score = np.stack(scores)
    assert len(score) >= 8
    # Some 10 cameras: of a normal score the mean square of 40 numbers is 1 with a deviation of 0.22; four of these either way.
    assert 0.2 < (score[:, :4] ** 2).mean() < 1.9
    # Priors hold what the views leave open, so that its score is smaller than normal; 3.5 is one of 2,000 of a normal one.
    assert np.abs(score).max() < 3.5


@pytest.mark.parametrize("model", ["pinhole5", "fisheye"])
def test_corners_without_noise_give_the_lens_itself(model: LensModel) -> None:
    views, rig = film(model, 3, frames=60, noise_px=0.0)
    place = int(views.seen.any(axis=-1).sum(axis=0).argmax())
    found = calibrate_lens(views, place, model)
    # film_board's detected corners hold rounding only where no noise is asked for: what is left is the priors' pull.
    assert found.rms_px < 0.05
    np.testing.assert_allclose(
        parameters_of(found.camera, model)[:4], parameters_of(rig.cameras[place], model)[:4], rtol=1e-3
    )


def test_opencv_finds_the_same_lens_and_the_same_uncertainty() -> None:
    views, _ = film("pinhole5", 1, frames=60)
    place = int(views.seen.any(axis=-1).sum(axis=0).argmax())
    found = calibrate_lens(views, place)
    shown = found.frames
    assert found.used[shown].all()
    points = [BOARD.points_m.astype(np.float32)] * len(shown)
    pixels = [views.corners_px[frame, place].astype(np.float32) for frame in shown]
    rms, matrix, distortion, _, _, deviation, _, _ = cv2.calibrateCameraExtended(
        points, pixels, views.sizes[place], np.eye(3), np.zeros(5)
    )
    ours = parameters_of(found.camera, "pinhole5")
    theirs = np.array((matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *distortion.ravel()[:5]))
    sigma = np.array([found.sigma[name] for name in PARAMETERS["pinhole5"]])
    # 0.2 %: the priors cost next to nothing.
    assert found.rms_px == pytest.approx(rms, rel=2e-3)
    # The priors, and OpenCV's single precision, move the lens by a fraction of what is known of it.
    assert (np.abs(ours - theirs) < 0.5 * sigma).all()
    # 20 %: with the priors a little more is known of the lens; OpenCV counts its degrees of freedom in another way.
    np.testing.assert_allclose(sigma, deviation.ravel()[:9], rtol=0.2)


def test_wrong_corners_and_wrong_views_are_left_out() -> None:
    clean, rig = film("pinhole5", 1, frames=60)
    place = int(clean.seen.any(axis=-1).sum(axis=0).argmax())
    shown = np.flatnonzero(clean.seen[:, place].all(axis=-1))
    corners = clean.corners_px.copy()
    corners[shown[3], place] = corners[shown[3], place, ::-1] + np.array(
        (0, 300)
    )  # no picture of this board by this lens
    corners[shown[3], place, ::2] *= 0.8
    corners[shown[5], place, :4] += (9.0, -7.0)
    found = calibrate_lens(replace(clean, corners_px=corners), place)
    assert shown[3] in found.refused
    assert not found.used[shown[5], :4].any()
    assert found.used[shown[5], 4:].all()
    assert found.used.sum() >= 54 * (len(shown) - 1) - 4
    truth = parameters_of(rig.cameras[place], "pinhole5")[:4]
    # Four standard deviations, as for clean views.
    sigma = np.array([found.sigma[name] for name in ("fx", "fy", "cx", "cy")])
    assert (np.abs(parameters_of(found.camera, "pinhole5")[:4] - truth) < 4 * sigma).all()


def test_boards_that_face_the_camera_say_little_of_the_focal_length() -> None:
    rng = np.random.default_rng(2)
    count = 12
    turns = rng.normal(0, 0.02, (count, 3))
    places = np.column_stack((rng.uniform(-0.4, 0.4, (count, 2)), rng.uniform(1.0, 1.6, count)))
    facing = calibrate_lens(still_views(plain_camera(), turns, places, 0.3), 0)
    assert any("faces it in all views" in sentence for sentence in facing.warnings)
    tilted = calibrate_lens(still_views(plain_camera(), rng.normal(0, 0.5, (count, 3)), places, 0.3), 0)
    assert not any("faces it" in sentence for sentence in tilted.warnings)
    # Tilted boards fix the focal length several times better.
    assert facing.sigma["fx"] > 3 * tilted.sigma["fx"]
    assert abs(tilted.camera.matrix[0, 0] - 900) < 4 * tilted.sigma["fx"]


def test_corners_of_the_picture_that_the_board_never_reached_are_named() -> None:
    rng = np.random.default_rng(3)
    turns = rng.normal(0, 0.4, (15, 3))
    # Left half of the picture only.
    places = np.column_stack((rng.uniform(-0.7, -0.3, 15), rng.uniform(-0.5, 0.5, 15), rng.uniform(1.1, 1.5, 15)))
    told = calibrate_lens(still_views(plain_camera(), turns, places), 0).warnings
    sentence = next(each for each in told if "never came near" in each)
    assert "top right and bottom right corners" in sentence
    assert "left" not in sentence


def test_four_views_do_with_a_warning_and_three_do_not() -> None:
    turns = np.array([(0.5, 0, 0), (0, 0.5, 0), (-0.4, -0.3, 0.2), (0.1, -0.5, 0.4)])
    places = np.array([(0, 0, 1.0), (-0.2, 0.1, 1.1), (0.2, -0.1, 0.9), (0.1, 0.2, 1.2)])
    four = calibrate_lens(still_views(plain_camera((960, 1280)), turns, places), 0)
    assert any("4 views only" in sentence for sentence in four.warnings)
    # Four standard deviations: few views are told by a wide one, and a wild lens would be off by hundreds.
    assert abs(four.camera.matrix[0, 0] - 900) < 4 * four.sigma["fx"] < 200
    assert np.abs(four.camera.matrix[:2, 2] - (480, 640)).max() < 60
    with pytest.raises(PosekitError, match=r"camera 'cam': 3 views of the board.*needs 4.*film the board nearer"):
        calibrate_lens(still_views(plain_camera(), turns[:3], places[:3]), 0)


@pytest.mark.parametrize(
    "seed", [0, 2]
)  # without what is known of a lens's growth these fold in 5 and 13 % of the picture
def test_a_lens_whose_edges_were_never_seen_does_not_fold_in_the_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    barrel = replace(plain_camera(), distortion=np.array((-0.34, 0.12, 0, 0, 0, 0, 0, 0.0)))
    places = np.column_stack((rng.uniform(-0.3, 0.3, (12, 2)), rng.uniform(1.3, 1.6, 12)))
    found = calibrate_lens(still_views(barrel, rng.normal(0, 0.4, (12, 3)), places, noise_px=0.3), 0)
    across, down = np.meshgrid(np.linspace(0, 1279, 17), np.linspace(0, 959, 17))
    assert np.isfinite(found.camera.undistort(np.column_stack((across.ravel(), down.ravel())))).all()
    # Four standard deviations.
    assert abs(found.camera.matrix[0, 0] - 900) < 4 * found.sigma["fx"]


def test_of_a_weak_lens_the_camera_is_named_once() -> None:
    rng = np.random.default_rng(9)
    places = np.column_stack((rng.uniform(-0.1, 0.1, (4, 2)), rng.uniform(1.2, 1.5, 4)))
    (told,) = calibrate_lens(still_views(plain_camera(), rng.normal(0, 0.05, (4, 3)), places, 0.5), 0).warnings
    assert told.startswith("camera 'cam': its lens rests on 4 views only")
    assert told.count("camera 'cam'") == 1
    assert "never came near the corners" in told or "folds" in told


def test_a_camera_without_any_view_is_one_line() -> None:
    views, _ = film("pinhole5", 1)
    blind = replace(views, corners_px=np.full_like(views.corners_px, np.nan))
    with pytest.raises(PosekitError, match="0 views of the board"):
        calibrate_lens(blind, 0)


def test_a_bent_board_is_told() -> None:
    rng = np.random.default_rng(6)
    places = np.column_stack((rng.uniform(-0.3, 0.3, (10, 2)), rng.uniform(0.9, 1.3, 10)))
    views = still_views(plain_camera(), rng.normal(0, 0.4, (10, 3)), places, noise_px=2.5)
    assert any("may be bent" in sentence for sentence in calibrate_lens(views, 0).warnings)


def test_corners_of_no_board_are_one_line() -> None:
    rng = np.random.default_rng(7)
    pixels = rng.uniform(0, 900, (12, 1, 54, 2))
    nonsense = BoardViews(BOARD, ("cam",), ((1280, 960),), np.arange(12), pixels, source="nonsense")
    with pytest.raises(PosekitError, match=r"nonsense: camera 'cam': no lens fits its \d+ views of the board"):
        calibrate_lens(nonsense, 0)


def test_of_many_views_those_are_chosen_that_differ() -> None:
    rng = np.random.default_rng(4)
    # 150 nearly alike, and 20 all over the picture: a random choice of 25 would take three of these.
    turns = np.concatenate((rng.normal(0, 0.01, (150, 3)), rng.normal(0, 0.4, (20, 3))))
    alike = np.array((0.0, 0, 1.2)) + rng.normal(0, 0.005, (150, 3))
    spread = np.column_stack((rng.uniform(-0.5, 0.5, 20), rng.uniform(-0.35, 0.35, 20), rng.uniform(0.9, 1.6, 20)))
    views = still_views(plain_camera(), turns, np.concatenate((alike, spread)))
    found = calibrate_lens(views, 0, most_views=25)
    assert len(found.chosen) == 25
    assert (found.chosen >= 150).sum() >= 18
    assert abs(found.camera.matrix[0, 0] - 900) < 4 * found.sigma["fx"]


def detect(folder: Path, board: Board) -> BoardViews:
    capture = find_board_capture(folder)
    detector = BoardDetector(board)
    corners = np.full((len(capture.pictures), len(capture.cameras), len(board.points_m), 2), np.nan)
    for camera in range(len(capture.cameras)):
        for moment, image in capture.read(camera, range(len(capture.pictures))):
            corners[moment, camera] = detector.detect(image)
    return BoardViews(board, capture.cameras, capture.sizes, np.arange(len(corners)), corners, source=str(folder))


def test_the_stereo_chessboards_of_opencv(shared_data: Path) -> None:
    views = detect(shared_data / "opencv_stereo_chess", parse_board("chessboard:9x6:0.025"))
    lenses: list[LensCalibration] = [calibrate_lens(views, camera) for camera in (0, 1)]
    assert all(len(lens.frames) == 13 for lens in lenses)
    # OpenCV's own figures on these pictures; corners refined in another window are up to 3 % better.
    assert [lens.rms_px for lens in lenses] == pytest.approx([0.196, 0.207], rel=0.03)
    # The stored calibration's; fy is left out, which is off there itself.
    assert [lens.camera.matrix[0, 0] for lens in lenses] == pytest.approx([533.92, 533.92], rel=0.01)


@pytest.mark.parametrize("camera", range(4))
def test_seven_photos_give_the_focal_length_of_qualisys(shared_data: Path, camera: int) -> None:
    folder = shared_data / "pose2sim_balancing"
    capture = find_board_capture(folder / "calibration_images")
    rig = read_rig(folder / "Calib.qca.txt")
    moments = np.flatnonzero(capture.pictures[:, camera] >= 0).tolist()
    detector = BoardDetector(parse_board("chessboard:4x7:0.06"))
    corners = np.stack([detector.detect(image) for _, image in capture.read(camera, moments)])[:, None]
    name = capture.cameras[camera]
    views = BoardViews(detector.board, (name,), (capture.sizes[camera],), np.arange(7), corners, source="photos")
    found = calibrate_lens(views, 0)
    assert len(found.frames) >= 6
    assert found.rms_px < 0.5
    assert found.camera.matrix[0, 0] == pytest.approx(rig[name].matrix[0, 0], rel=0.01)
