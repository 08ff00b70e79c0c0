"""Finding a board in whole captures: what is found, how it was read, and what is said where there is none."""

from pathlib import Path

import numpy as np
import pytest

from posekit.calibration.boards.board import parse_board
from posekit.calibration.boards.capture import BoardCapture, find_board_capture
from posekit.calibration.boards.detection import Reading
from posekit.calibration.boards.search import film_views
from posekit.calibration.rigs.time_offsets import offsets_from_boards
from posekit.datasets.rendered_boards import PictureStyle, write_board_stills, write_board_videos
from posekit.datasets.synthetic_boards import FilmedBoard, film_board, ring_of_cameras
from posekit.errors import PosekitError

BOARD = parse_board("charuco:5x4:0.1:0.075:DICT_4X4_50")


def film(frames: int, cameras: int = 2, seed: int = 0, **settings: bool) -> FilmedBoard:
    rig = ring_of_cameras(cameras, radius_m=1.5, arc_rad=1.0, seed=seed, size=(480, 360))
    return film_board(rig, BOARD, frames, seed=seed, spread_m=0.2, noise_px=0.0, **settings)


def test_corners_are_where_they_were_painted(tmp_path: Path) -> None:
    truth = film(8, timestamps=True)
    write_board_videos(tmp_path, truth)
    done: list[tuple[int, int]] = []
    found = film_views(find_board_capture(tmp_path), BOARD, progress=lambda *counts: done.append(counts))
    views = found.views
    assert found.tried == (8, 8)
    assert found.readings == (Reading(), Reading())
    assert views.cameras == truth.rig.names
    assert views.labels is None
    assert views.times_s is not None
    assert truth.views.times_s is not None
    # Written to a microsecond.
    np.testing.assert_allclose(views.times_s, truth.views.times_s[views.frames], atol=1e-6)
    both = views.seen & truth.views.seen[views.frames]
    assert both.sum() > 0.8 * truth.views.seen.sum()
    off = (views.corners_px - truth.views.corners_px[views.frames])[both]
    # A quarter of a pixel: a compressed picture of 480 px, corners refined to a tenth.
    assert np.median(np.linalg.norm(off, axis=-1)) < 0.25
    assert [first for first, _ in done] == list(range(1, 17))
    assert done[-1] == (16, 16)


def test_an_inverted_print_is_read_and_told(tmp_path: Path) -> None:
    truth = film(6)
    inverted = PictureStyle(inverted=True)
    write_board_stills(tmp_path, truth, dict.fromkeys(truth.rig.names, inverted), one_folder=True)
    found = film_views(find_board_capture(tmp_path), BOARD)
    assert found.readings == (Reading(inverted=True),) * 2
    assert sum("inverted" in note for note in found.notes) == 1
    assert min(found.found) >= 1
    assert found.views.labels is not None
    assert set(found.views.labels) <= {str(number) for number in range(1, 7)}


def test_a_camera_without_the_board_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    truth = film(5, cameras=3)
    write_board_stills(tmp_path, truth, {"cam_2": PictureStyle(empty=True)})
    found = film_views(find_board_capture(tmp_path), BOARD)
    assert found.found[1] == 0
    assert found.found[0] > 0
    assert found.found[2] > 0
    note = next(note for note in found.notes if "cam_2" in note)
    assert "no board in 5 pictures" in note
    assert not found.views.seen[:, 1].any()


def test_where_no_camera_sees_it_is_one_line(tmp_path: Path) -> None:
    truth = film(3)
    write_board_stills(tmp_path, truth, dict.fromkeys(truth.rig.names, PictureStyle(black=True)))
    with pytest.raises(
        PosekitError, match=r"charuco:5x4.*was not found: cameras 'cam_1', 'cam_2': no board in 6 pictures: all 3"
    ) as failure:
        film_views(find_board_capture(tmp_path), BOARD)
    assert "\n" not in str(failure.value)
    assert str(failure.value).count("are black") == 1


def test_of_a_long_capture_the_moments_are_the_same_for_all_and_more_where_few_were_seen(tmp_path: Path) -> None:
    truth = film(24)
    write_board_videos(tmp_path, truth)
    capture = find_board_capture(tmp_path)
    found = film_views(capture, BOARD, max_moments=8, reading=Reading())
    # Half as many again: with 8 moments every camera has few views.
    assert found.tried == (12, 12)
    again = film_views(capture, BOARD, max_moments=8, reading=Reading())
    np.testing.assert_array_equal(found.views.frames, again.views.frames)
    np.testing.assert_array_equal(found.views.corners_px, again.views.corners_px)
    assert film_views(capture, BOARD, max_moments=24, reading=Reading()).tried == (24, 24)


def test_half_of_a_long_videos_moments_show_how_the_board_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    rig, late, fps = ring_of_cameras(4), (0, 13, 0, -8), 30.0
    truth = film_board(
        rig,
        parse_board("charuco:5x7:0.06:0.045:DICT_4X4_100"),
        15_000,
        seed=2,
        fps=fps,
        time_offsets_s=np.array(late) / fps,
    ).views
    pictures = np.repeat(np.arange(15_000)[:, None], 4, axis=1)
    capture = BoardCapture(Path("long"), rig.names, truth.sizes, pictures, fps=fps)

    def look_at(self: object, camera: int, moments: np.ndarray, reading: Reading) -> list[tuple[int, np.ndarray]]:
        return [(moment, truth.corners_px[moment, camera]) for moment in moments.tolist()]

    monkeypatch.setattr("posekit.calibration.boards.search._Search._look_at", look_at)
    found = film_views(capture, truth.board, reading=Reading())
    steps = np.diff(found.views.frames)
    assert len(found.views.frames) <= 600
    assert (steps == 3).sum() > 200  # of runs, at 10 pictures/s
    assert (steps >= 40).sum() > 150  # half of the moments, all over the video
    assert found.views.frames[0] < 100
    assert found.views.frames[-1] > 14_900
    # 15 to 20 ms; 0.2 was seen.
    np.testing.assert_allclose(
        offsets_from_boards(found.views, rig.cameras).relative_to("cam_1").frames, late, atol=0.6
    )
    evenly = film_views(capture, truth.board, reading=Reading(), motion=False)
    assert np.isnan(offsets_from_boards(evenly.views, rig.cameras).frames).all()


def test_photos_taken_one_by_one_show_no_moment_twice(tmp_path: Path) -> None:
    truth = film(4)
    for name in truth.rig.names:
        (tmp_path / f"int_{name}_img").mkdir()
    write_board_stills(tmp_path, truth, one_folder=True)
    for path in tmp_path.glob("*.png"):
        path.rename(tmp_path / f"int_{path.stem[:5]}_img" / path.name)
    found = film_views(find_board_capture(tmp_path), BOARD)
    assert found.tried == (4, 4)
    assert (found.views.seen.any(axis=-1).sum(axis=1) == 1).all()
    assert any("not taken as simultaneous" in note for note in found.notes)


def test_a_real_capture_with_an_inverted_board(shared_data: Path) -> None:
    folder = shared_data / "caliscope_charuco" / "desk_4cams" / "calibration" / "extrinsic"
    board = parse_board("charuco:4x5:0.054:0.0405:DICT_4X4_1000")
    found = film_views(find_board_capture(folder), board, max_moments=6)
    assert found.readings == (Reading(inverted=True),) * 4
    # SOURCE.txt: in 57, 48, 57 and 42 of 57 frames.
    assert found.tried == (9, 9, 9, 9)
    assert all(share > 0.6 for share in np.array(found.found) / found.tried)
