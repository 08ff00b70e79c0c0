from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posekit.calibration.boards.board import parse_board
from posekit.calibration.formats import read_rig, write_rig
from posekit.calibration.rigs.board_motion import board_motion
from posekit.calibration.rigs.time_offsets import PairLag, TimeOffsets, offsets_from_boards, solve_offsets
from posekit.camera import Rig
from posekit.datasets.synthetic_boards import FilmedBoard, film_board, ring_of_cameras
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


@pytest.fixture(scope="module")
def long_film() -> FilmedBoard:
    return film_board(
        ring_of_cameras(4), parse_board(CHARUCO), 6000, seed=2, fps=30.0, time_offsets_s=np.array((0, 13, 0, -8)) / 30
    )


def test_moments_need_not_be_evenly_apart() -> None:
    rig, late = ring_of_cameras(4), (0, 6, 0, -4)
    film = film_board(rig, parse_board(CHARUCO), 900, seed=2, fps=30.0, time_offsets_s=np.array(late) / 30)
    for chosen in (
        np.linspace(0, 899, 600).round().astype(int),  # one frame apart, or two
        np.union1d(np.arange(0, 900, 3), np.random.default_rng(0).choice(900, 150, replace=False)),
    ):
        found = offsets_from_boards(film.views.at(chosen), rig.cameras)
        # 20 ms, as of all frames of 30 s; 0.3 was seen.
        np.testing.assert_allclose(found.relative_to("cam_1").frames, late, atol=0.6)


def test_moments_far_apart_tell_nothing_but_runs_among_them_do(long_film: FilmedBoard) -> None:
    rig, sparse = long_film.rig, np.arange(0, 6000, 25)
    assert np.isnan(offsets_from_boards(long_film.views.at(sparse), rig.cameras).frames).all()
    runs = np.concatenate([start + np.arange(0, 120, 3) for start in np.linspace(0, 5870, 7).astype(int)])
    found = offsets_from_boards(long_film.views.at(np.union1d(sparse, runs)), rig.cameras)
    # 28 s of motion at 10 pictures/s; 0.1 was seen.
    np.testing.assert_allclose(found.relative_to("cam_1").frames, (0, 13, 0, -8), atol=0.6)


def test_rows_do_not_grow_with_the_time_between_moments(long_film: FilmedBoard) -> None:
    views = long_film.views.at(np.concatenate([np.arange(0, 90), np.arange(3000, 3090)]))
    apart = replace(views, frames=views.frames + 10_000_000 * (views.frames >= 3000))
    near, far = (board_motion(each, long_film.rig.cameras, 2.0) for each in (views, apart))
    assert near is not None
    assert far is not None
    # 2 x 90 frames, each with two seconds of rows that keep them and the end apart, of 10 million.
    assert max(near.signals.shape[1], far.signals.shape[1]) <= 2 * (90 + 62)
    np.testing.assert_allclose(far.signals[:, :90], near.signals[:, :90], atol=1e-6)
    both = [[each.signals[c][np.isfinite(each.signals[c, :, 0])] for c in range(4)] for each in (near, far)]
    for one, other in zip(*both, strict=True):
        np.testing.assert_allclose(
            other, one, atol=1e-3
        )  # a frame's time among 10 million is rounded to 1e-9 of a second


def test_offsets_are_relative_to_the_timestamps() -> None:
    rig = ring_of_cameras(4)
    film = film_board(
        rig, parse_board(CHARUCO), 300, seed=2, fps=10.0, time_offsets_s=LATE / 10, jitter_s=0.02, timestamps=True
    )
    right = offsets_from_boards(film.views, rig.cameras)
    np.testing.assert_allclose(right.relative_to("cam_1").frames, 0, atol=0.2)  # 0.06 was seen
    assert not right.out_of_step.any()
    assert film.views.times_s is not None
    wrong = replace(film.views, times_s=film.views.times_s - np.array((0, 0, 0.25, 0)))
    found = offsets_from_boards(wrong, rig.cameras)
    np.testing.assert_allclose(found.relative_to("cam_1").seconds, (0, 0, 0.25, 0), atol=0.02)
    assert found.out_of_step.tolist() == [False, False, True, False]


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
    assert sigma[0] == 0  # of the two in the middle the lower one; all are relative to it
    # Camera 3 is known through camera 2 alone; the triangle of the others is surer: 0.1 sqrt(2/3).
    assert sigma[1] == pytest.approx(0.1 * np.sqrt(2 / 3), rel=1e-6)
    assert sigma[3] == pytest.approx(0.1 * np.sqrt(2 / 3 + 1), rel=1e-6)
    assert rival[:4].tolist() == [0.2] * 4
    assert np.isnan(solve_offsets([], 3)[0]).all()


def test_the_sigma_is_that_of_the_difference() -> None:
    unknown = np.full(3, np.nan)
    sigma = np.array((0.3, 0.0, 0.4))
    offsets = TimeOffsets(("a", "b", "c"), np.array((-3.0, 0.0, 1.0)), sigma, unknown, 30.0, unknown, unknown)
    beside_a = offsets.relative_to("a")
    assert beside_a.frames.tolist() == [0, 3, 4]
    np.testing.assert_allclose(beside_a.sigma_frames, (0, 0.3, 0.5))
    assert offsets.relative_to("b").sigma_frames.tolist() == sigma.tolist()


def test_cameras_that_are_not_told_keep_their_place_among_the_others() -> None:
    own = (0.0, 0.1, 0.2, 0.0)
    rig = Rig(tuple(replace(camera, time_offset_s=s) for camera, s in zip(ring_rig(4).cameras, own, strict=True)))
    unknown = np.full(4, np.nan)

    def applied(*frames: float) -> list[float]:
        offsets = TimeOffsets(rig.names, np.array(frames), unknown, unknown, 10.0, unknown, unknown)
        return [round(camera.time_offset_s, 12) for camera in offsets.applied_to(rig).cameras]

    # As they are, but with another zero: the camera that is not told need not know.
    assert applied(5, 6, np.nan, 5) == [0, 0.1, 0.2, 0]
    assert applied(-3, 0, np.nan, -1) == [-0.2, 0.1, 0.2, 0]  # changes of -0.3, -0.1 and -0.1 s
    assert applied(-3, 0, 1, -1) == [-0.3, 0, 0.1, -0.1]  # all are told
    assert applied(np.nan, np.nan, np.nan, 7) == list(own)


def test_offsets_go_into_the_rig_and_its_file(tmp_path: Path) -> None:
    unknown = np.full(3, np.nan)
    offsets = TimeOffsets(
        ("cam_3", "cam_1", "cam_9"), np.array([3.0, 0.0, np.nan]), unknown, unknown, 30.0, unknown, unknown
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
