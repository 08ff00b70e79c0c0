"""First rigs by chains of pairs, against the truth."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posekit.calibration.boards.board import parse_board
from posekit.calibration.rigs.board_poses import find_board_poses
from posekit.calibration.rigs.calibration import UnlinkedCamerasError, calibrate_rig
from posekit.calibration.rigs.initialisation import first_rig
from posekit.datasets.synthetic_boards import corridor_of_cameras, film_board, ring_of_cameras

BOARD = parse_board("charuco:5x4:0.08:0.06:DICT_4X4_50")


def ring_film(count: int = 4, frames: int = 60, **settings):
    rig = ring_of_cameras(count, radius_m=1.8, arc_rad=0.6 * count, seed=2)
    return film_board(rig, BOARD, frames, seed=3, spread_m=0.3, fps=1.0, **settings)


def first_of(views, lenses):
    return first_rig(find_board_poses(views, lenses), views.board.symmetries)


def errors(first, rig) -> tuple[np.ndarray, np.ndarray]:
    """How far linked cameras are turned (degrees) and moved (m), in the frame of the first of them."""
    members = np.flatnonzero(first.linked)
    reference = rig.cameras[members[0]]
    turned, moved = [], []
    for c in members:
        rotation = rig.cameras[c].rotation @ reference.rotation.T
        turned.append(np.degrees(Rotation.from_matrix(first.rotation[c] @ rotation.T).magnitude()))
        centre = reference.rotation @ rig.cameras[c].centre_world + reference.translation
        moved.append(np.linalg.norm(-first.rotation[c].T @ first.translation[c] - centre))
    return np.array(turned), np.array(moved)


def without_board(views, hidden: np.ndarray):
    """The same views with some pictures (F, C) empty."""
    return replace(views, corners_px=np.where(hidden[..., None, None], np.nan, views.corners_px))


def test_a_ring_is_near_the_truth():
    film = ring_film()
    first = first_of(film.views, film.rig.cameras)
    assert first.linked.all()
    np.testing.assert_allclose(first.rotation[0], np.eye(3), atol=1e-14)  # rounding
    np.testing.assert_allclose(first.translation[0], 0, atol=1e-14)  # rounding
    turned, moved = errors(first, film.rig)
    assert turned.max() < 1.5  # one board's pose: 0.3 px of 150 px
    assert moved.max() < 0.06  # the same, 1.8 m away


def test_a_chain_links_cameras_that_never_share_a_board():
    rig, stations = corridor_of_cameras(6, seed=1)
    film = film_board(rig, BOARD, 160, seed=4, stations=stations, fps=2.0, farthest_m=2.5)
    seen = film.views.seen.any(axis=-1)
    assert not (seen[:, 0] & seen[:, 5]).any()
    first = first_of(film.views, rig.cameras)
    assert first.linked.all()
    turned, moved = errors(first, rig)
    assert turned.max() < 5  # five links of a degree
    assert moved.max() < 0.3  # of 3.75 m


def test_a_cut_chain_leaves_the_smaller_group_out():
    rig, stations = corridor_of_cameras(5, seed=1)
    film = film_board(rig, BOARD, 160, seed=4, stations=stations, fps=2.0)
    seen = film.views.seen.any(axis=-1)
    hidden = np.zeros_like(seen)
    hidden[seen[:, 3:].all(axis=1), :3] = True  # what the last two see, none of the others sees
    hidden[~seen[:, 3:].all(axis=1), 3:] = True
    views = without_board(film.views, hidden)
    first = first_of(views, rig.cameras)
    assert first.linked.tolist() == [True, True, True, False, False]
    assert np.isnan(first.translation[3:]).all()
    calibration = calibrate_rig(views, rig.cameras)
    assert calibration.rig.names == ("cam_1", "cam_2", "cam_3")
    assert set(calibration.unlinked) == {"cam_4", "cam_5"}
    assert calibration.unlinked["cam_4"] == "is linked with cam_5 alone, in a group of its own"


def test_cameras_without_a_board_are_named_with_the_reason():
    film = ring_film()
    seen = film.views.seen.any(axis=-1)
    hidden = np.zeros_like(seen)
    hidden[:, 3] = True
    calibration = calibrate_rig(without_board(film.views, hidden), film.rig.cameras)
    assert calibration.unlinked == {"cam_4": "saw the board in no picture"}
    assert calibration.rig.names == ("cam_1", "cam_2", "cam_3")
    alone = np.flatnonzero(seen[:, 3])[:4]
    hidden[alone] = (True, True, True, False)
    calibration = calibrate_rig(without_board(film.views, hidden), film.rig.cameras)
    told = f"saw the board in {len(alone)} pictures, but never at the same moment as another camera"
    assert calibration.unlinked == {"cam_4": told}


def test_pictures_of_other_moments_are_not_linked():
    film = ring_film(3, 80)
    corners = film.views.corners_px.copy()
    corners[:, 2] = corners[np.random.default_rng(0).permutation(80), 2]
    views = replace(film.views, corners_px=corners)
    first = first_of(views, film.rig.cameras)
    assert first.linked.tolist() == [True, True, False]
    calibration = calibrate_rig(views, film.rig.cameras)
    assert calibration.rig.names == ("cam_1", "cam_2")
    (name, why), *others = calibration.unlinked.items()
    assert (name, others) == ("cam_3", [])
    assert "were not taken at one time" in why
    assert "shares" in why


def test_no_two_cameras_is_an_error():
    film = ring_film(2, 30)
    seen = film.views.seen.any(axis=-1)
    alone = without_board(film.views, np.stack((~seen[:, 0], seen[:, 0]), axis=1))
    with pytest.raises(
        UnlinkedCamerasError, match=r"no two cameras can be linked: cam_1 saw the board in .* pictures, but"
    ) as told:
        calibrate_rig(alone, film.rig.cameras)
    assert "cam_2" in str(told.value)
    assert "\n" not in str(told.value)


def test_pairs_say_what_they_shared():
    film = ring_film()
    seen = film.views.seen.any(axis=-1)
    for pair in first_of(film.views, film.rig.cameras).pairs:
        assert pair.shared == (seen[:, pair.first] & seen[:, pair.second]).sum()
        assert pair.agreeing <= pair.judged <= pair.shared
        truth = film.rig.cameras[pair.second].rotation @ film.rig.cameras[pair.first].rotation.T
        off = [Rotation.from_matrix(rotation @ truth.T).magnitude() for rotation in pair.rotation]
        assert np.degrees(min(off)) < 10  # one of the proposals is the right one


@pytest.mark.parametrize("spec", ["chessboard:6x4:0.06", "chessboard:7x5:0.05", "chessboard:4x4:0.07"])
def test_boards_that_look_alike_when_turned(spec):
    board = parse_board(spec)
    rig = ring_of_cameras(3, radius_m=1.6, arc_rad=1.6, seed=2)
    film = film_board(rig, board, 40, seed=3, spread_m=0.3, fps=1.0)
    orders = board.symmetries
    shown = np.random.default_rng(1).integers(len(orders), size=film.views.corners_px.shape[:2])
    corners = np.take_along_axis(film.views.corners_px, orders[shown][..., None], axis=2)
    calibration = calibrate_rig(replace(film.views, corners_px=corners), rig.cameras)
    turned, moved = [], []
    first = calibration.rig.cameras[0]
    np.testing.assert_allclose(first.rotation, np.eye(3), atol=1e-14)  # rounding
    for true, found in zip(rig.cameras, calibration.rig.cameras, strict=True):
        rotation = true.rotation @ rig.cameras[0].rotation.T
        turned.append(Rotation.from_matrix(found.rotation @ rotation.T).magnitude())
        centre = rig.cameras[0].rotation @ true.centre_world + rig.cameras[0].translation
        moved.append(np.linalg.norm(found.centre_world - centre))
    assert np.degrees(max(turned)) < 0.2  # 0.3 px of 40 views of 150 px; an order that is wrong is 90 degrees and more
    assert max(moved) < 0.01  # as above
    # All pictures of a moment are numbered alike again.
    for f in np.flatnonzero(film.views.seen.any(axis=-1).sum(axis=1) > 1):
        pictures = np.flatnonzero(film.views.seen[f].any(axis=-1))
        fits = [
            all(
                np.array_equal(calibration.views.corners_px[f, c], film.views.corners_px[f, c, order]) for c in pictures
            )
            for order in orders
        ]
        assert sum(fits) == 1
    assert np.nanmedian(np.linalg.norm(calibration.residual_px, axis=-1)) < 0.5  # 0.3 px per axis
