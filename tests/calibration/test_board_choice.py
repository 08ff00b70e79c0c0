"""Which of a picture's answers is right, by what other cameras saw."""

from dataclasses import replace

import numpy as np
import pytest

from posekit.calibration.boards.board import parse_board
from posekit.calibration.rigs.board_choice import (
    MISFIT_LIMIT,
    board_sizes,
    choose_boards,
    mean_misfit,
    some_corners,
)
from posekit.calibration.rigs.board_poses import find_board_poses
from posekit.camera import CameraBatch
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras

CHARUCO = parse_board("charuco:5x4:0.08:0.06:DICT_4X4_50")


def scene(board=CHARUCO, **settings):
    rig = ring_of_cameras(3, radius_m=1.8, arc_rad=1.8, seed=2)
    film = film_board(rig, board, 30, seed=3, spread_m=0.3, fps=1.0, **settings)
    batch = CameraBatch.from_rig(rig)
    return film, batch.rotation.numpy(), batch.translation.numpy()


def swapped(poses, rng):
    """The two answers of every picture in a random order, so that which fits better by itself says nothing."""
    rotation, translation = poses.rotation.copy(), poses.translation.copy()
    swap = rng.random(poses.found.shape) < 0.5
    swap &= np.isfinite(translation[..., 1, 0])
    rotation[swap], translation[swap] = rotation[swap][:, ::-1], translation[swap][:, ::-1]
    return replace(poses, rotation=rotation, translation=translation)


def turned_by(first, second):
    cosine = (np.einsum("fij,fij->f", first, second) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def test_a_second_camera_tells_the_right_flip():
    board = parse_board("charuco:5x4:0.03:0.022:DICT_4X4_50")
    film, rotation, translation = scene(board, noise_px=0.6)
    poses = swapped(find_board_poses(film.views, film.rig.cameras), np.random.default_rng(0))
    chosen = choose_boards(poses, rotation, translation, board.symmetries)
    together = poses.found.sum(axis=1) > 1
    assert together.sum() > 8
    # 0.6 px of a board of 60 px tilts it by some degrees; the other flip is 40 degrees off as a rule.
    turned = turned_by(chosen.rotation, film.board_rotation)[together]
    assert np.median(turned) < 5
    assert turned.max() < 25
    middle = film.board_translation + film.board_rotation @ board.points_m.mean(axis=0)
    assert (
        np.linalg.norm(chosen.translation - middle, axis=1)[together].max() < 0.1
    )  # 1 px of 60, at 2 m, three times that
    # One camera alone could not have told.
    alone = choose_boards(
        replace(poses, translation=np.where(np.arange(3)[:, None, None] == 0, poses.translation, np.nan)),
        rotation,
        translation,
        board.symmetries,
    )
    assert np.nanmax(turned_by(alone.rotation, film.board_rotation)) > 30
    assert np.isnan(alone.translation[:, 0]).tolist() == (~poses.found[:, 0]).tolist()


def test_a_camera_in_the_wrong_place_does_not_fit():
    film, rotation, translation = scene()
    poses = find_board_poses(film.views, film.rig.cameras)
    right = choose_boards(poses, rotation, translation, CHARUCO.symmetries)
    moved = translation.copy()
    moved[2] += (0.3, 0, 0)
    wrong = choose_boards(poses, rotation, moved, CHARUCO.symmetries)
    assert wrong.misfit > 5 * right.misfit
    assert wrong.camera_misfit[2] > 5 * right.camera_misfit[2]
    assert wrong.camera_misfit.max() <= MISFIT_LIMIT


def test_cameras_that_take_no_part():
    film, rotation, translation = scene()
    poses = find_board_poses(film.views, film.rig.cameras)
    without = np.where(np.arange(3)[:, None] == 1, np.nan, translation)
    chosen = choose_boards(poses, rotation, without, CHARUCO.symmetries)
    assert np.isnan(chosen.translation[:, 0]).tolist() == (~poses.found[:, [0, 2]].any(axis=1)).tolist()
    assert chosen.camera_misfit[1] == 0


@pytest.mark.parametrize("spec", ["chessboard:6x4:0.06", "chessboard:7x5:0.05", "chessboard:4x4:0.07"])
def test_the_order_that_each_picture_shows(spec):
    board = parse_board(spec)
    film, rotation, translation = scene(board)
    orders = board.symmetries
    rng = np.random.default_rng(1)
    shown = rng.integers(len(orders), size=film.views.corners_px.shape[:2])
    # A picture that shows order s has corner orders[s][k] at place k.
    corners = np.take_along_axis(film.views.corners_px, orders[shown][..., None], axis=2)
    poses = find_board_poses(replace(film.views, corners_px=corners), film.rig.cameras)
    chosen = choose_boards(poses, rotation, translation, orders)
    seen = poses.found
    # Put back by what was found, all pictures of a moment agree, up to the one order that the moment as a whole is in.
    back = np.empty_like(corners)
    np.put_along_axis(back, orders[chosen.shown][..., None], corners, axis=2)
    together = np.flatnonzero(seen.sum(axis=1) > 1)
    assert len(together) > 5
    for f in together:
        fits = [
            all(np.array_equal(back[f, c], film.views.corners_px[f, c, order]) for c in np.flatnonzero(seen[f]))
            for order in orders
        ]
        assert sum(fits) == 1


def test_some_corners_are_spread_and_seen():
    seen = np.zeros((2, 9, 2))
    seen[1, [0, 1, 2, 5, 6, 7, 8]] = np.nan
    assert some_corners(seen, 5).tolist() == [[0, 2, 4, 6, 8], [3, 3, 3, 4, 4]]


def test_sizes_and_misfits_by_hand():
    seen = np.array([[(0.0, 0.0), (0.3, 0.0), (np.nan, np.nan), (0.0, 0.4)]])
    assert board_sizes(seen) == pytest.approx([0.5])
    points = np.array([[(0, 0, 2.0), (0.7, 0, 2.0), (9.0, 0, 2.0), (0, 0.8, -2.0)]])
    target = np.array([[(0.0, 0.0), (0.3, 0.0), (0.3, 0.0), (0.0, 0.4)]])
    # 0; 0.05 of 0.5; as far as any; behind the camera.
    assert mean_misfit(points, target, np.array([0.5])) == pytest.approx([(0 + 0.1 + 0.5 + 0.5) / 4])
