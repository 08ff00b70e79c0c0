"""Boards in single pictures against the truth."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posekit.calibration.boards.board import parse_board
from posekit.calibration.boards.views import BoardViews
from posekit.calibration.rigs.board_poses import MIN_CORNERS, find_board_poses
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras
from scenes import looking_camera

BOARD = parse_board("charuco:5x4:0.08:0.06:DICT_4X4_50")
MIDDLE = BOARD.points_m.mean(axis=0)


def views_of(camera, corners: np.ndarray) -> BoardViews:
    return BoardViews(
        BOARD, (camera.name,), (camera.size,), np.arange(len(corners)), corners[:, None], source="made up"
    )


@pytest.mark.parametrize("lens", ["pinhole5", "pinhole8", "fisheye"])
def test_one_of_the_two_answers_is_the_truth(lens):
    rig = ring_of_cameras(3, lens=lens)
    film = film_board(rig, BOARD, 30, seed=1, noise_px=0)
    poses = find_board_poses(film.views, rig.cameras)
    seen = film.views.seen.any(axis=-1)
    assert np.array_equal(poses.found, seen)
    assert seen.sum(axis=0).min() > 3
    for f, c in np.argwhere(seen):
        camera = rig.cameras[c]
        rotation = camera.rotation @ film.board_rotation[f]
        place = camera.rotation @ (film.board_translation[f] + film.board_rotation[f] @ MIDDLE) + camera.translation
        # Exact corners: the first answer is the one without any error.
        np.testing.assert_allclose(
            poses.rotation[f, c, 0], rotation, atol=1e-5
        )  # the homography's rounding, 1e-12, squared
        np.testing.assert_allclose(poses.translation[f, c, 0], place, atol=1e-5)  # as above
    np.testing.assert_allclose(poses.points.mean(axis=0), 0, atol=1e-15)  # rounding


def test_both_answers_are_turns_in_front_of_the_camera():
    rig = ring_of_cameras(2)
    film = film_board(rig, BOARD, 20, seed=3, noise_px=0.5)
    poses = find_board_poses(film.views, rig.cameras)
    known = np.isfinite(poses.translation[..., 0])
    assert known.sum() > poses.found.sum()  # some have a second one
    turns = poses.rotation[known]
    np.testing.assert_allclose(
        turns @ turns.swapaxes(-1, -2), np.tile(np.eye(3), (len(turns), 1, 1)), atol=1e-9
    )  # rounding
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-9)  # rounding
    assert (poses.translation[known][:, 2] > 0).all()


@pytest.fixture
def exact():
    """A camera two metres in front of a tilted board, and the board's corners in its picture."""
    camera = looking_camera("cam_1", (0, -2, 0), (0, 0, 0))
    upright = Rotation.from_euler("xy", (95, 20), degrees=True).as_matrix()
    return camera, camera.project((BOARD.points_m - MIDDLE) @ upright.T)


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        (range(MIN_CORNERS), True),  # a row of four, and two of the next
        (range(MIN_CORNERS - 1), False),
        ((0, 1, 2, 3), False),  # a row
        ((0, 4, 8), False),  # a column
        ((), False),
        (range(12), True),
    ],
)
def test_a_pose_takes_corners_that_span_the_board(exact, kept, found):
    camera, corners = exact
    some = np.full((1, 12, 2), np.nan)
    some[0, list(kept)] = corners[list(kept)]
    poses = find_board_poses(views_of(camera, some), [camera])
    assert poses.found.tolist() == [[found]]
    assert np.isfinite(poses.rotation[0, 0, 0]).all() == found


def test_six_corners_in_a_row_have_no_pose():
    board = parse_board("chessboard:7x3:0.05")
    camera = looking_camera("cam_1", (0, -2, 0), (0, 0, 0))
    upright = Rotation.from_euler("x", 95, degrees=True).as_matrix()
    corners = camera.project((board.points_m - board.points_m.mean(axis=0)) @ upright.T)
    row = np.where(np.arange(21)[:, None] < 7, corners, np.nan)
    stack = np.stack((row, corners))[:, None]
    views = BoardViews(board, ("cam_1",), (camera.size,), np.arange(2), stack, source="a row")
    assert find_board_poses(views, [camera]).found.tolist() == [[False], [True]]


def test_corners_without_an_order_have_a_pose_or_none_but_no_error(exact):
    camera, corners = exact
    rng = np.random.default_rng(0)
    odd = np.stack([rng.permutation(corners) for _ in range(5)] + [np.full_like(corners, 300.0)])
    poses = find_board_poses(views_of(camera, odd), [camera])
    known = np.isfinite(poses.translation[..., 0])
    assert (poses.translation[known][:, 2] > 0).all()  # nothing stands behind the camera
    assert not poses.found[-1, 0]  # all corners in one point


def test_moments_can_be_chosen():
    rig = ring_of_cameras(2)
    poses = find_board_poses(film_board(rig, BOARD, 6, seed=3).views, rig.cameras)
    some = poses.at(np.array([4, 1]))
    np.testing.assert_array_equal(some.translation, poses.translation[[4, 1]])
    np.testing.assert_array_equal(some.normalised, poses.normalised[[4, 1]])
    np.testing.assert_array_equal(some.found, poses.found[[4, 1]])
