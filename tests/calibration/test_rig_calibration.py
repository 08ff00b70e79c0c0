"""Rigs from boards against the truth, and against OpenCV."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calibration_scenes import shaken
from posekit.calibration.boards.board import parse_board
from posekit.calibration.rigs.calibration import RigSettings, calibrate_rig
from posekit.camera import Rig
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras
from posekit.errors import PosekitError

BOARD = parse_board("charuco:5x4:0.08:0.06:DICT_4X4_50")
SIZE = (640, 480)


def ring(count: int = 3, lens: str = "pinhole5", seed: int = 2) -> Rig:
    return ring_of_cameras(count, radius_m=1.6, arc_rad=0.55 * count, seed=seed, size=SIZE, lens=lens)


def film_of(rig: Rig, frames: int = 30, **settings):
    return film_board(rig, BOARD, frames, **{"seed": 3, "spread_m": 0.3, "fps": 1.0, **settings})


def pose_errors(found: Rig, truth: Rig) -> np.ndarray:
    """Turn (rad) and shift (m) of every camera from the truth to what was found, in the first camera's frame, (C, 6)."""
    errors = []
    a, b = found.cameras[0], truth.cameras[0]
    for one, other in zip(found.cameras, truth.cameras, strict=True):
        turn, true_turn = one.rotation @ a.rotation.T, other.rotation @ b.rotation.T
        shift, true_shift = one.translation - turn @ a.translation, other.translation - true_turn @ b.translation
        off = Rotation.from_matrix(turn @ true_turn.T)
        errors.append(np.concatenate((off.as_rotvec(), shift - off.apply(true_shift))))
    return np.array(errors)


def assert_within_sigmas(calibration, truth: Rig, sigmas: float) -> None:
    errors = pose_errors(calibration.rig, truth)[1:]
    sigma = np.sqrt(np.diagonal(calibration.uncertainty.pose, axis1=1, axis2=2))[1:]
    assert (np.abs(errors) < sigmas * sigma).all(), errors / sigma


@pytest.mark.parametrize("lens", ["pinhole5", "fisheye"])
def test_exact_corners_give_the_truth(lens):
    rig = ring(lens=lens)
    film = film_of(rig, noise_px=0)
    found = calibrate_rig(film.views, rig.cameras)
    assert np.abs(pose_errors(found.rig, rig)).max() < 1e-6  # steps end at 1e-7 of the cost
    assert found.reference == "cam_1"
    assert found.unlinked == {}
    seen = film.views.seen.any(axis=-1).astype(int)
    np.testing.assert_array_equal(found.links, seen.T @ seen)
    np.testing.assert_array_equal(found.used, film.views.seen)
    np.testing.assert_array_equal(np.isfinite(found.residual_px).all(axis=-1), film.views.seen)
    assert np.nanmax(np.abs(found.residual_px)) < 1e-3  # of 1e-6 m
    # Boards are in the first camera's frame.
    first, some = rig.cameras[0], found.boards.found
    place = film.board_translation @ first.rotation.T + first.translation
    np.testing.assert_allclose(found.boards.translation[some], place[some], atol=1e-5)  # lever of 0.3 m, one picture
    # Kept lenses are kept, to the last bit.
    for before, after in zip(rig.cameras, found.rig.cameras, strict=True):
        assert before.matrix.tobytes() == after.matrix.tobytes()
        assert before.distortion.tobytes() == after.distortion.tobytes()
        assert (before.fisheye, before.size) == (after.fisheye, after.size)


@pytest.mark.parametrize("lens", ["pinhole5", "pinhole8", "fisheye"])
def test_noise_and_free_lenses(lens):
    rig = ring(lens=lens)
    found = calibrate_rig(film_of(rig, 50).views, rig.cameras, RigSettings(free_lens=lens))
    assert found.noise_px == pytest.approx(0.3, rel=0.08)
    assert_within_sigmas(found, rig, 3.5)  # of 12 values
    for true, one, sigma in zip(rig.cameras, found.rig.cameras, found.uncertainty.lens_sigma, strict=True):
        assert abs(one.matrix[0, 0] - true.matrix[0, 0]) < 3.5 * sigma["fx"]
        assert abs(one.matrix[1, 2] - true.matrix[1, 2]) < 3.5 * sigma["cy"]
        assert sigma["fx"] < 0.02 * true.matrix[0, 0]
        assert not np.array_equal(one.distortion, true.distortion)


def test_bad_lenses_to_start_from():
    rig = ring()
    film = film_of(rig, 50)
    start = shaken(rig, 0, 0, seed=1, focal=0.03)
    plain = [replace(camera, distortion=np.zeros(5)) for camera in start.cameras]
    settings = RigSettings(free_lens="pinhole5")
    from_bad, from_truth = (calibrate_rig(film.views, lenses, settings) for lenses in (plain, rig.cameras))
    assert from_bad.noise_px == pytest.approx(
        from_truth.noise_px, rel=0.01
    )  # the same minimum, but for a corner or two
    sigma = np.sqrt(np.diagonal(from_truth.uncertainty.pose, axis1=1, axis2=2))[1:]
    off = pose_errors(from_bad.rig, from_truth.rig)[1:]
    assert np.abs(off / sigma).max() < 0.5  # as above


def test_wrong_corners_do_not_matter():
    rig = ring()
    clean, spoiled = (film_of(rig, outliers=share).views for share in (0.0, 0.02))
    found, without = calibrate_rig(spoiled, rig.cameras), calibrate_rig(clean, rig.cameras)
    assert_within_sigmas(found, rig, 3.5)  # of 12 values
    assert found.noise_px == pytest.approx(without.noise_px, rel=0.1)  # the same noise, fewer corners
    wrong = np.linalg.norm(spoiled.corners_px - clean.corners_px, axis=-1) > 4
    seen = spoiled.seen
    assert wrong[seen].sum() > 5
    assert not found.used[wrong & seen].any()
    assert found.used[seen & ~wrong].mean() > 0.995  # one in 4,000 lies beyond four sigma
    # What is not used still has its residual.
    assert np.isfinite(found.residual_px[seen]).all()
    assert (np.linalg.norm(found.residual_px[wrong & seen], axis=-1) > 3).all()


def test_two_cameras_as_opencv_has_them():
    rig = ring(2)
    views = film_of(rig, 40).views
    found = calibrate_rig(views, rig.cameras)
    # OpenCV takes the moments that both saw; of those that one camera saw, posekit learns nothing while lenses are kept.
    both = np.flatnonzero(views.seen.all(axis=(1, 2)))
    assert len(both) > 10
    points = [BOARD.points_m.astype(np.float32)] * len(both)
    first, second = rig.cameras
    left, right = ([views.corners_px[f, c].astype(np.float32) for f in both] for c in (0, 1))
    flags = cv2.CALIB_FIX_INTRINSIC
    criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 200, 1e-12)
    _, *_, turn, shift, _, _ = cv2.stereoCalibrate(
        points,
        left,
        right,
        *(values.copy() for camera in (first, second) for values in (camera.matrix, camera.distortion)),
        SIZE,
        flags=flags,
        criteria=criteria,
    )
    theirs = Rig(
        (
            replace(first, rotation=np.eye(3), translation=np.zeros(3)),
            replace(second, rotation=turn, translation=shift.ravel()),
        ),
        "OpenCV",
    )
    sigma = np.sqrt(np.diag(found.uncertainty.pose[1]))
    # The same minimum, but for corners beyond four sigma, which take no part here.
    np.testing.assert_allclose(pose_errors(found.rig, theirs)[1] / sigma, 0, atol=0.3)


def test_a_board_that_two_cameras_saw_out_of_step():
    rig = ring(3)
    fps = 10.0
    late = np.array((0.0, 0.3, -0.6)) / fps
    film = film_of(rig, 150, fps=fps, time_offsets_s=late)
    in_step = calibrate_rig(film.views, rig.cameras)
    assert in_step.noise_px > 1.5 * 0.3
    found = calibrate_rig(film.views, rig.cameras, RigSettings(time_sigma_s=(0.1, 0.1, 0.1)))
    offsets = np.array([camera.time_offset_s for camera in found.rig.cameras])
    assert offsets[0] == 0
    np.testing.assert_allclose(offsets, late, atol=0.05 / fps)
    sigma = found.uncertainty.time_offset_sigma_s
    assert np.isnan(sigma[0])
    assert (np.abs(offsets - late)[1:] < 3.5 * sigma[1:]).all()
    assert (sigma[1:] < 0.05 / fps).all()
    assert found.noise_px == pytest.approx(0.3, rel=0.1)  # the board's path between frames is no straight line
    assert_within_sigmas(found, rig, 4)  # of 12 values, and as above
    # Known from the beginning, they are kept to the last bit.
    lenses = [replace(camera, time_offset_s=float(s)) for camera, s in zip(rig.cameras, late, strict=True)]
    known = calibrate_rig(film.views, lenses)
    assert [camera.time_offset_s for camera in known.rig.cameras] == late.tolist()
    assert known.noise_px == pytest.approx(0.3, rel=0.1)  # as above
    assert np.isnan(known.uncertainty.time_offset_sigma_s).all()


def test_whole_frames_out_of_step():
    rig = ring()
    fps = 10.0
    late = np.array((0.0, 3.3, -1.6)) / fps
    film = film_of(rig, 150, fps=fps, time_offsets_s=late)
    guess = (0.0, 3 / fps, -2 / fps)
    lenses = [replace(camera, time_offset_s=s) for camera, s in zip(rig.cameras, guess, strict=True)]
    found = calibrate_rig(film.views.in_step(guess), lenses, RigSettings(time_sigma_s=(0.1, 0.1, 0.1)))
    # A tenth of a frame: rates over three frames at 10 frames/s are those of chords, some percent low.
    np.testing.assert_allclose([camera.time_offset_s for camera in found.rig.cameras], late, atol=0.12 / fps)
    assert_within_sigmas(found, rig, 4)  # of 12 values; the board's path between frames is no straight line


def test_times_that_are_known_take_the_motion_out():
    rig = ring(3)
    film = film_of(rig, 150, fps=10.0, jitter_s=0.03, timestamps=True)
    with_times = calibrate_rig(film.views, rig.cameras)
    without = calibrate_rig(replace(film.views, times_s=None), rig.cameras)
    assert with_times.noise_px == pytest.approx(0.3, rel=0.1)  # the board's path between frames is no straight line
    assert without.noise_px > 1.5 * with_times.noise_px
    assert_within_sigmas(with_times, rig, 4)  # of 12 values, and as above
    still = calibrate_rig(film.views, rig.cameras, RigSettings(moving=False))
    assert still.noise_px == pytest.approx(without.noise_px, rel=1e-6)
    assert not still.boards.rates.any()
    assert with_times.boards.rates.any()


def test_one_camera_is_no_rig():
    rig = ring(2)
    views = film_of(rig, 5).views.of(("cam_1",))
    with pytest.raises(PosekitError, match="one camera is no rig; two or more were expected"):
        calibrate_rig(views, rig.cameras[:1])


def test_lenses_poses_do_not_count():
    rig = ring()
    views = film_of(rig).views
    once = calibrate_rig(views, rig.cameras)
    again = calibrate_rig(views, shaken(rig, 90, 5).cameras)
    np.testing.assert_array_equal(pose_errors(once.rig, again.rig), 0)


def test_names_and_order_are_the_views():
    rig = ring()
    views = film_of(rig).views
    turned = ("cam_3", "cam_1", "cam_2")
    found = calibrate_rig(views.of(turned), [rig[name] for name in turned])
    assert found.rig.names == turned
    assert found.reference == "cam_3"
    assert_within_sigmas(found, rig.select(turned), 3.5)  # of 12 values
