from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posekit.calibration.boards.board import parse_board
from posekit.calibration.formats import read_rig, write_rig
from posekit.calibration.rigs.time_offsets import PairLag, TimeOffsets, offsets_from_boards, solve_offsets
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras
from posekit.errors import PosekitError, PosekitWarning
from scenes import ring_rig

CHARUCO = "charuco:5x7:0.06:0.045:DICT_4X4_100"
LATE = np.array((0, 2, -3.5, 0.4))


@pytest.mark.parametrize(
    ("board", "fps", "frame_count", "within"),
    [
        # A pose is known to a degree: 30 s of it at 10 frames/s tell a tenth of a frame, 40 s at 30 three times as much.
        (CHARUCO, 10.0, 300, 0.3),
        (CHARUCO, 30.0, 1200, 0.6),
        # It looks the same upside down, so that only angle and distance are left of its motion.
        ("chessboard:6x8:0.04", 10.0, 300, 0.5),
    ],
)
def test_a_moving_board_tells_the_offsets(board: str, fps: float, frame_count: int, within: float) -> None:
    rig = ring_of_cameras(4)
    film = film_board(rig, parse_board(board), frame_count, seed=2, fps=fps, time_offsets_s=LATE / fps, outliers=0.005)
    found = offsets_from_boards(film.views, rig.cameras)
    assert found.fps == fps
    np.testing.assert_allclose(found.relative_to("cam_1").frames, LATE, atol=within)
    np.testing.assert_allclose(found.seconds, found.frames / fps)
    assert np.sort(found.frames)[1] == 0  # the lower of the two in the middle
    assert (found.sigma_frames < within).all()
    assert (found.rival < 0.9).all()
    # Every other frame alone tells the same, in frames of the video.
    half = offsets_from_boards(film.views.at(np.arange(0, frame_count, 2)), rig.cameras)
    np.testing.assert_allclose(half.relative_to("cam_1").frames, LATE, atol=1.5 * within)  # with half of the views


def test_a_board_that_stands_still_tells_nothing() -> None:
    rig = ring_of_cameras(3)
    film = film_board(rig, parse_board(CHARUCO), 5, seed=0, fps=2.0)
    seen = film.views.seen.all(axis=2).sum(axis=1)
    still = np.repeat(film.views.corners_px[[int(seen.argmax())]], 200, axis=0)
    still = still + np.random.default_rng(0).normal(0, 0.3, still.shape)
    views = replace(film.views, corners_px=still, frames=np.arange(200), fps=30.0)
    found = offsets_from_boards(views, rig.cameras)
    assert np.isnan(found.frames).all()
    assert np.isnan(found.sigma_frames).all()


def test_a_camera_without_a_board_is_not_told() -> None:
    rig = ring_of_cameras(4)
    film = film_board(rig, parse_board(CHARUCO), 300, seed=2, fps=10.0, time_offsets_s=LATE / 10)
    corners = film.views.corners_px.copy()
    corners[:, 3] = np.nan
    found = offsets_from_boards(replace(film.views, corners_px=corners), rig.cameras)
    assert np.isnan(found.frames).tolist() == [False, False, False, True]
    np.testing.assert_allclose(found.relative_to("cam_1").frames[:3], LATE[:3], atol=0.5)  # twice what it says itself
    with pytest.raises(PosekitError, match="camera 'cam_4': its time offset cannot be told"):
        found.relative_to("cam_4")


def test_stills_have_no_offsets() -> None:
    rig = ring_of_cameras(2)
    views = replace(film_board(rig, parse_board(CHARUCO), 5, seed=0).views, fps=None)
    with pytest.raises(PosekitError, match="synthetic boards: stills have no rate"):
        offsets_from_boards(views, rig.cameras)


def test_lags_of_pairs_become_offsets() -> None:
    truth = np.array([0.0, 1.5, -2.25, 4.0])
    pairs = [(0, 1), (0, 2), (1, 2), (2, 3)]
    lags = [PairLag(a, b, float(truth[a] - truth[b]), 0.1, 0.2) for a, b in pairs]
    wrong = PairLag(0, 3, 7.0, 0.5, 0.8)  # of a motion that repeats itself: the least sure, and 11 frames off
    frames, sigma, rival = solve_offsets([wrong, *lags], 5)
    np.testing.assert_allclose(frames[:4], truth, atol=1e-6)  # least squares of lags that agree
    assert np.isnan([frames[4], sigma[4], rival[4]]).all()
    # Camera 3 is known through camera 2 alone; the triangle of the others is surer: 0.1 sqrt(2/3).
    assert sigma[1] == pytest.approx(0.1 * np.sqrt(2 / 3), rel=1e-6)
    assert sigma[3] == pytest.approx(0.1 * np.sqrt(2 / 3 + 1), rel=1e-6)
    assert rival[:4].tolist() == [0.2] * 4
    assert np.isnan(solve_offsets([], 3)[0]).all()


def test_offsets_go_into_the_rig_and_its_file(tmp_path: Path) -> None:
    unknown = np.full(3, np.nan)
    offsets = TimeOffsets(
        ("cam_3", "cam_1", "cam_9"), np.array([3, np.nan, 1]), unknown, unknown, 30.0, unknown, unknown
    )
    rig = offsets.applied_to(ring_rig(3))
    assert [camera.time_offset_s for camera in rig.cameras] == [0, 0, 0.1]
    write_rig(tmp_path / "calibration.toml", rig)
    assert (tmp_path / "calibration.toml").read_text().count("time_offset_s") == 1  # only where it is not 0
    assert [camera.time_offset_s for camera in read_rig(tmp_path / "calibration.toml").cameras] == [0, 0, 0.1]
    with pytest.warns(PosekitWarning, match=r"rig.yml: this format holds no time offsets; those of cam_3 are lost"):
        write_rig(tmp_path / "rig.yml", rig)
    damaged = (tmp_path / "calibration.toml").read_text().replace("time_offset_s = 0.1", 'time_offset_s = "soon"')
    (tmp_path / "calibration.toml").write_text(damaged)
    with pytest.raises(PosekitError, match=r"calibration.toml: \[cam_2\]: time_offset_s: 'soon' are not numbers"):
        read_rig(tmp_path / "calibration.toml")
    with pytest.raises(PosekitError, match="camera cam_1: time_offset_s: has values that are not finite"):
        replace(rig.cameras[0], time_offset_s=float("nan"))
