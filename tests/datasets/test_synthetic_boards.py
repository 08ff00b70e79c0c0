from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from posekit.calibration.boards.board import parse_board
from posekit.datasets.rendered_boards import (
    BoardPainter,
    PictureStyle,
    paint_film,
    write_board_stills,
    write_board_videos,
)
from posekit.datasets.synthetic_boards import corridor_of_cameras, film_board, ring_of_cameras
from posekit.io.video import VideoReader

CHARUCO = parse_board("charuco:5x4:0.08:0.06:DICT_4X4_50")
#: 120 frames at 2 a second are a minute.
FRAMES = 120


@pytest.fixture(scope="module")
def small():
    """Three cameras of 640 x 480 px on an arc, 24 frames without noise."""
    rig = ring_of_cameras(3, radius_m=1.6, arc_rad=1.6, seed=2, size=(640, 480))
    return film_board(rig, CHARUCO, 24, seed=3, noise_px=0, spread_m=0.3)


def opencv_pixels(camera, points_world):
    rotation = cv2.Rodrigues(np.array(camera.rotation))[0]
    if camera.fisheye:
        project, distortion = cv2.fisheye.projectPoints, camera.distortion[:4]
        points = np.array(points_world)[:, None]
        return project(points, rotation, np.array(camera.translation), np.array(camera.matrix), np.array(distortion))[
            0
        ][:, 0]
    found, _ = cv2.projectPoints(
        points_world, rotation, np.array(camera.translation), np.array(camera.matrix), np.array(camera.distortion)
    )
    return found[:, 0]


@pytest.mark.parametrize("lens", ["pinhole5", "pinhole8", "fisheye"])
def test_corners_are_where_opencv_projects_the_true_board(lens):
    rig = ring_of_cameras(4, seed=1, lens=lens)
    film = film_board(rig, CHARUCO, 30, seed=2, noise_px=0, jitter_s=0.02)
    compared = 0
    for f, c in np.argwhere(film.views.seen.all(axis=-1)):
        points = CHARUCO.points_m @ film.picture_rotation[f, c].T + film.picture_translation[f, c]
        expected = opencv_pixels(rig.cameras[c], points)
        # Both are float64: what differs is the order of the operations.
        np.testing.assert_allclose(film.views.corners_px[f, c], expected, atol=1e-8)
        compared += 1
    assert compared > 30


def test_noise_and_outliers_are_what_was_asked_for():
    rig = ring_of_cameras(6, seed=1)
    clean, noisy = (
        film_board(rig, CHARUCO, 400, seed=4, noise_px=noise, outliers=share).views.corners_px
        for noise, share in ((0, 0), (0.5, 0.1))
    )
    off = np.linalg.norm((noisy - clean)[np.isfinite(clean[..., 0])], axis=-1)
    wrong = off > 3.5  # 0.5 px of noise goes that far once in 4e10
    # About 10,000 corners: standard deviations 0.3 % of the share, 0.7 % of the noise.
    assert len(off) > 8_000
    assert wrong.mean() == pytest.approx(0.1, abs=0.015)
    assert np.sqrt(np.square(off[~wrong]).mean() / 2) == pytest.approx(0.5, rel=0.03)
    assert off[wrong].max() < 53
    assert np.isnan(clean).any()


def test_a_camera_out_of_step_sees_the_board_as_it_is_later():
    rig = ring_of_cameras(3, arc_rad=1.0, seed=0)
    offsets = np.array([0, 0.5, 0.13])
    in_step = film_board(rig, CHARUCO, 60, seed=7, noise_px=0, fps=10)
    late = film_board(rig, CHARUCO, 60, seed=7, noise_px=0, fps=10, time_offsets_s=offsets, timestamps=True)
    assert in_step.views.times_s is None
    np.testing.assert_allclose(late.views.times_s, np.arange(60)[:, None] / 10 + offsets, atol=1e-12)
    # Half a second is five frames.
    np.testing.assert_array_equal(late.views.corners_px[:-5, 1], in_step.views.corners_px[5:, 1])
    np.testing.assert_array_equal(late.views.corners_px[:, 0], in_step.views.corners_px[:, 0])
    np.testing.assert_array_equal(late.board_translation, in_step.board_translation)
    np.testing.assert_array_equal(late.picture_rotation[:, 0], late.board_rotation)
    moved = np.linalg.norm(late.picture_translation[:, 2] - late.board_translation, axis=-1)
    # 0.13 s at 0.2 to 0.5 m/s.
    assert 0.01 < np.median(moved) < 0.09


@pytest.mark.parametrize("cameras", [4, 16])
def test_the_board_moves_as_a_person_moves_it(cameras):
    film = film_board(ring_of_cameras(cameras, seed=5), CHARUCO, 3000, seed=5, fps=50)
    speed = 50 * np.linalg.norm(np.diff(film.picture_translation[:, 0], axis=0), axis=-1)
    turns = Rotation.from_matrix(film.board_rotation)
    turning = 50 * (turns[1:] * turns[:-1].inv()).magnitude()
    assert 0.2 < np.median(speed) < 0.5
    assert speed.max() < 1.0
    assert 0.3 < np.median(turning) < 1.0
    assert turning.max() < 1.8


def links(film, least):
    seen = film.views.seen.any(axis=-1).astype(int)
    shared = seen.T @ seen
    np.fill_diagonal(shared, 0)
    return shared, connected_components(shared >= least)[0]


@pytest.mark.parametrize(("cameras", "frames"), [(4, 60), (8, 120), (31, 400)])
def test_cameras_of_a_ring_see_the_board_often_and_together(cameras, frames):
    for seed in range(3):
        film = film_board(ring_of_cameras(cameras, seed=seed), CHARUCO, frames, seed=seed)
        shared, groups = links(film, 3)
        assert groups == 1
        assert film.views.seen.any(axis=-1).sum(axis=0).min() >= frames / 10
        # A camera has more than one neighbour that it can be linked by (a ring's other end is a neighbour, too).
        assert (shared > 0).sum(axis=1).min() >= 2


@pytest.mark.parametrize(("cameras", "frames"), [(4, 60), (8, 150), (31, 700)])
def test_cameras_of_a_corridor_are_linked_through_their_neighbours_only(cameras, frames):
    for seed in range(2):
        rig, stations = corridor_of_cameras(cameras, seed=seed)
        film = film_board(rig, CHARUCO, frames, seed=seed, stations=stations)
        shared, groups = links(film, 3)
        assert groups == 1
        first, second = np.nonzero(shared)
        # It sees 4.5 m far and stands 0.75 m from the next one.
        assert np.abs(first - second).max() <= 8


def test_lenses_are_reached_in_every_corner_and_tilted_at():
    film = film_board(ring_of_cameras(4, seed=1), CHARUCO, 800, seed=1)
    for c, camera in enumerate(film.rig.cameras):
        pixels = film.views.corners_px[:, c][film.views.seen[:, c].all(axis=-1)]
        cells = set(map(tuple, np.floor(pixels.reshape(-1, 2) / np.array(camera.size) * 4).astype(int)))
        assert len(cells) >= 15  # of 16; a corner may lie where the board would be too far from the middle
        normal = (camera.rotation @ film.picture_rotation[:, c])[film.views.seen[:, c].any(axis=-1)][:, :, 2]
        tilt = np.degrees(np.arccos(normal[:, 2]))
        assert np.quantile(tilt, 0.1) < 30
        assert np.quantile(tilt, 0.9) > 45


def test_of_one_seed_there_is_one_film():
    rig = ring_of_cameras(4, seed=3)
    first, again, other = (film_board(rig, CHARUCO, FRAMES, seed=seed).views.corners_px for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)


@pytest.mark.parametrize("lens", ["pinhole5", "pinhole8", "fisheye"])
def test_a_detector_finds_the_painted_corners_where_they_are(lens):
    rig = ring_of_cameras(2, radius_m=1.4 if lens != "fisheye" else 0.9, arc_rad=1, seed=2, size=(640, 480), lens=lens)
    film = film_board(rig, CHARUCO, 24, seed=3, noise_px=0, spread_m=0.3)
    detector = charuco_detector()
    off = []
    for c, name in enumerate(rig.names):
        for f, picture in enumerate(paint_film(film, name, PictureStyle(noise=1))):
            assert picture.shape == (480, 640, 3)
            corners, ids, _, _ = detector.detectBoard(picture[..., 0])
            if ids is not None and film.views.seen[f, c].all():
                off.append(corners.reshape(-1, 2) - film.views.corners_px[f, c, ids.ravel()])
    assert len(off) > 20
    off = np.concatenate(off)
    # The detector's own error is about 0.1 px on squares of 20 px; a fault of a quarter of a pixel's shift would show.
    assert np.abs(off.mean(axis=0)).max() < 0.02
    assert np.median(np.abs(off)) < 0.1


def charuco_detector():
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    return cv2.aruco.CharucoDetector(cv2.aruco.CharucoBoard((5, 4), 0.08, 0.06, dictionary))


def facing():
    camera = replace(ring_of_cameras(1, size=(640, 480)).cameras[0], rotation=np.eye(3), translation=np.zeros(3))
    return camera, np.eye(3), np.array((-0.2, -0.16, 0.7))


def corners_found(picture):
    _, ids, _, _ = charuco_detector().detectBoard(np.ascontiguousarray(picture[..., 0]))
    return 0 if ids is None else len(ids)


def test_styles():
    camera, rotation, translation = facing()

    def paint(**style):
        return BoardPainter(camera, CHARUCO, PictureStyle(noise=0, **style)).picture(rotation, translation)

    plain = paint()
    assert corners_found(plain) == 12
    inverted = paint(inverted=True)
    assert corners_found(inverted) == 0
    assert corners_found(255 - inverted) == 12
    np.testing.assert_array_equal(paint(mirrored=True), plain[:, ::-1])
    turned = paint(quarter_turns=1)
    assert turned.shape == (640, 480, 3)
    np.testing.assert_array_equal(np.rot90(turned, -1), plain)
    assert paint(black=True).max() < 10
    assert corners_found(paint(empty=True)) == 0
    assert paint(empty=True).mean() > 90
    assert corners_found(paint(blur_px=8)) < 12


def test_a_board_is_not_seen_from_behind_or_behind():
    camera, rotation, translation = facing()
    painter = BoardPainter(camera, CHARUCO)
    from_behind = rotation @ np.diag((-1.0, 1, -1))
    assert corners_found(painter.picture(from_behind, translation + np.array((0.4, 0, 0)))) == 0
    wall = painter.picture(rotation, -translation)
    assert corners_found(wall) == 0
    # Half behind the camera, half before it: an edge that passes the camera's own plane.
    picture = painter.picture(Rotation.from_euler("y", 80, degrees=True).as_matrix(), np.array((-0.05, -0.16, 0.1)))
    assert picture.shape == (480, 640, 3)


def first_frames(film, count):
    return replace(
        film,
        views=film.views.at(np.arange(count)),
        picture_rotation=film.picture_rotation[:count],
        picture_translation=film.picture_translation[:count],
    )


def test_videos_and_stills_are_written(tmp_path, small):
    times = np.add.outer(np.arange(6) / 2, (0, 0.01, 0.02))
    film = replace(first_frames(small, 6), views=replace(small.views.at(np.arange(6)), times_s=times))
    write_board_videos(tmp_path, film, {"cam_2": PictureStyle(quarter_turns=1)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cam_1.mp4", "cam_2.mp4", "cam_3.mp4", "timestamps.csv"]
    videos = [VideoReader(tmp_path / f"cam_{c}.mp4") for c in (1, 2, 3)]
    assert [video.size for video in videos] == [(640, 480), (480, 640), (640, 480)]
    assert {video.frame_count for video in videos} == {6}
    assert {video.fps for video in videos} == {2.0}
    lines = (tmp_path / "timestamps.csv").read_text().splitlines()
    assert lines[0] == "sync_index,cam_id,frame_time"
    assert lines[5] == "1,2,0.510000"
    assert len(lines) == 1 + 3 * 6
    few = first_frames(film, 2)
    for one_folder in (False, True):
        folder = tmp_path / str(one_folder)
        folder.mkdir()
        write_board_stills(folder, few, one_folder=one_folder)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png"))
    assert names[:2] == ["False/cam_1/0001.png", "False/cam_1/0002.png"]
    assert names[-1] == "True/cam_3_0002.png"
    (first,) = paint_film(first_frames(few, 1), "cam_1")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / names[0])), first)
