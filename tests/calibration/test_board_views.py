"""What cameras saw of a board, as a record."""

from dataclasses import replace

import numpy as np
import pytest

from posekit.calibration.boards.board import parse_board
from posekit.calibration.boards.views import BoardViews
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras
from posekit.errors import PosekitError

BOARD = parse_board("chessboard:3x3:0.05")
FPS = 10.0


def numbered(frames: int = 8, cameras: int = 2, **changes) -> BoardViews:
    """Views whose corners say which picture they are of: all are 100 c + f."""
    number = 100 * np.arange(cameras) + np.arange(frames)[:, None]
    values = {
        "board": BOARD,
        "cameras": tuple(f"cam_{c + 1}" for c in range(cameras)),
        "sizes": tuple((640 + c, 480) for c in range(cameras)),
        "frames": np.arange(frames),
        "corners_px": np.broadcast_to(number[..., None, None], (frames, cameras, 9, 2)).astype(float),
        "source": "numbers",
        "fps": FPS,
        **changes,
    }
    return BoardViews(**values)


def pictures(views: BoardViews) -> np.ndarray:
    return views.corners_px[:, :, 0, 0]


def test_shapes_are_checked():
    with pytest.raises(PosekitError, match=r"numbers: corners: have shape \(8, 2, 9, 2\), \(7, 2, 9, 2\) was expected"):
        replace(numbered(), frames=np.arange(7))
    with pytest.raises(PosekitError, match="numbers: sizes: 1 for 2 cameras"):
        replace(numbered(), sizes=((640, 480),))
    with pytest.raises(PosekitError, match=r"numbers: times: have shape \(8, 3\), \(8, 2\) was expected"):
        replace(numbered(), times_s=np.zeros((8, 3)))


def test_a_corner_with_one_coordinate_was_not_seen():
    views = numbered()
    views.corners_px[2, 1, 4, 1] = np.nan
    assert views.seen.sum() == 8 * 2 * 9 - 1
    assert not views.seen[2, 1, 4]


def test_moments_by_mask_and_by_place():
    times = np.arange(16.0).reshape(8, 2)
    views = numbered(times_s=times, labels=tuple("abcdefgh"))
    some = views.at(np.array([1, 5]))
    mask = views.at(np.isin(np.arange(8), (1, 5)))
    for one in (some, mask):
        assert one.frames.tolist() == [1, 5]
        assert pictures(one).tolist() == [[1, 101], [5, 105]]
        assert one.times_s.tolist() == [[2, 3], [10, 11]]
        assert one.labels == ("b", "f")


def test_cameras_by_name_in_the_order_asked_for():
    views = numbered(cameras=3, times_s=np.arange(24.0).reshape(8, 3)).of(("cam_3", "cam_1"))
    assert views.cameras == ("cam_3", "cam_1")
    assert views.sizes == ((642, 480), (640, 480))
    assert pictures(views)[4].tolist() == [204, 4]
    assert views.times_s[1].tolist() == [5, 3]


def test_whole_frames_late():
    # The second camera's frame 0 was taken when the first took its frame 2.
    stepped = numbered().in_step((0.0, 2 / FPS))
    assert pictures(stepped)[:, 0].tolist() == list(range(8))
    np.testing.assert_array_equal(pictures(stepped)[:, 1], [np.nan, np.nan, 100, 101, 102, 103, 104, 105])
    # Times go with the pictures, by the camera's own clock.
    np.testing.assert_allclose(stepped.times_s[2:, 1], np.arange(6) / FPS)
    assert np.isnan(stepped.times_s[:2, 1]).all()
    np.testing.assert_allclose(stepped.times_s[:, 0], np.arange(8) / FPS)
    early = numbered().in_step((0.0, -3 / FPS))
    np.testing.assert_array_equal(pictures(early)[:, 1], [103, 104, 105, 106, 107, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("frames", [0.0, 0.3, -0.4])
def test_parts_of_a_frame_move_nothing(frames):
    stepped = numbered().in_step((0.0, frames / FPS))
    np.testing.assert_array_equal(stepped.corners_px, numbered().corners_px)
    np.testing.assert_allclose(stepped.times_s, np.repeat(np.arange(8)[:, None] / FPS, 2, axis=1))


def test_a_picture_that_two_moments_ask_for_is_the_nearer_ones():
    times = np.repeat(np.arange(8)[:, None] / FPS, 3, axis=1)
    times[4, 2] = 0.33  # the frame that was due at 0.4 came early: both are nearest to the moment at 0.3
    stepped = numbered(cameras=3, times_s=times).in_step((0.0, 0.0, 0.0))
    np.testing.assert_array_equal(pictures(stepped)[:, 2], [200, 201, 202, 203, np.nan, 205, 206, 207])
    assert stepped.times_s[3, 2] == pytest.approx(0.3)


def test_pictures_far_from_every_moment_are_nobodys():
    sparse = replace(numbered(4), frames=np.array([0, 1, 2, 50]))
    stepped = sparse.in_step((0.0, 25 / FPS))  # right between the third moment and the fourth
    assert np.isnan(pictures(stepped)[:, 1]).all()
    assert pictures(stepped)[:, 0].tolist() == [0, 1, 2, 3]


def test_pictures_a_tenth_of_a_second_away_are_of_another_moment():
    sparse = replace(numbered(8), frames=np.arange(0, 80, 10))  # one moment a second
    near, far = (sparse.in_step((0.0, offset)) for offset in (0.09, 0.11))
    np.testing.assert_array_equal(pictures(near)[:, 1], pictures(sparse)[:, 1])
    assert np.isnan(pictures(far)[:, 1]).all()
    # Runs of frames among them: what is 0.4 s late finds a moment there.
    runs = replace(numbered(8), frames=np.array([0, 20, 40, 41, 42, 43, 44, 60]))
    np.testing.assert_array_equal(
        pictures(runs.in_step((0.0, 0.4)))[:, 1], [np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, 102, np.nan]
    )


def test_a_day_of_moments_is_brought_into_step():
    # 100,000 x 100,000 distances would not fit into any memory.
    count = 100_000
    corners = np.arange(float(count))[:, None, None, None] + np.zeros((1, 2, 9, 2))
    stepped = numbered(frames=count, corners_px=corners).in_step((0.0, 3 / FPS))
    np.testing.assert_array_equal(pictures(stepped)[3:, 1], np.arange(count - 3))


def test_in_step_is_what_cameras_in_step_would_have_seen():
    rig = ring_of_cameras(3)
    late = np.array((0, 2, -3)) / FPS
    settings = {"seed": 5, "noise_px": 0.0, "fps": FPS}
    board = parse_board("charuco:5x4:0.08:0.06:DICT_4X4_50")
    off = film_board(rig, board, 60, **settings, time_offsets_s=late).views.in_step(late.tolist())
    truth = film_board(rig, board, 60, **settings).views
    inner = slice(3, -3)
    np.testing.assert_allclose(off.corners_px[inner], truth.corners_px[inner], atol=1e-6)  # one spline at one time


def test_stills_cannot_be_out_of_step():
    with pytest.raises(PosekitError, match="numbers: stills have no times"):
        replace(numbered(), fps=None).in_step((0.0, 0.1))
