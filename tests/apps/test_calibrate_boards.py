"""`posekit calibrate --board` from videos and stills to a rig, and what it says where that cannot be."""

import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest

from posekit.apps.main import main
from posekit.calibration.boards.board import parse_board
from posekit.calibration.formats import read_rig
from posekit.datasets.rendered_boards import PictureStyle, paint_film, write_board_videos
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras
from posekit.io.video import write_video

SPEC = "charuco:5x4:0.08:0.06:DICT_4X4_50"
#: Noise is slow to encode, and adds nothing here.
QUIET = PictureStyle(noise=0.0)
FRAMES = 36


@pytest.fixture(scope="module")
def film():
    """Three cameras of 640 x 480 px that see a board for 18 seconds."""
    rig = ring_of_cameras(3, radius_m=1.6, arc_rad=1.6, seed=2, size=(640, 480))
    return film_board(rig, parse_board(SPEC), FRAMES, seed=3, noise_px=0, spread_m=0.3)


@pytest.fixture(scope="module")
def videos(film, tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_board_videos(folder, film, dict.fromkeys(film.rig.names, QUIET))
    return folder


@pytest.fixture
def capture(videos, tmp_path):
    """A copy of the videos that a test may spoil."""
    return shutil.copytree(videos, tmp_path / "capture")


def calibrate(folder, out, *more, board=SPEC):
    return main(["calibrate", str(folder), "--board", board, "--out", str(out), *map(str, more)])


def first_frames(film, count):
    return replace(
        film,
        views=film.views.at(np.arange(count)),
        picture_rotation=film.picture_rotation[:count],
        picture_translation=film.picture_translation[:count],
    )


def assert_told_in_one_line(capsys, tmp_path, before, *words):
    """One line on stderr with all the words, and nothing written."""
    told = capsys.readouterr().err
    errors = [line for line in told.splitlines() if line.startswith("posekit: error: ")]
    assert len(errors) == 1, told
    known = ("posekit: error: ", "posekit: warning: ", "pictures: ")  # the last is the progress
    assert all(line.startswith(known) for line in told.splitlines()), told
    for word in words:
        assert word in errors[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_rig_from_videos_is_near_the_truth(film, videos, tmp_path):
    out, figures_path, report = tmp_path / "calibration.toml", tmp_path / "figures.json", tmp_path / "report.html"
    assert calibrate(videos, out, "--json", figures_path, "--report", report) == 0
    rig = read_rig(out)
    assert rig.names == film.rig.names
    figures = json.loads(figures_path.read_text())
    # The detector errs by 0.03 px in the median, 0.1 px on average.
    assert figures["mean_reprojection_px"] < 0.3
    assert figures["heldout_reprojection_px"] < 0.5
    assert figures["seconds"] > 0
    for first, second in ((0, 1), (0, 2), (1, 2)):
        true, found = (
            np.linalg.norm(one.cameras[first].centre_world - one.cameras[second].centre_world)
            for one in (film.rig, rig)
        )
        # 0.1 px at 450 px and 1.6 m is 0.4 mm; the lens, from 36 views of 640 px, is known to about half a percent.
        assert found == pytest.approx(true, rel=0.02)
    for true, found in zip(film.rig.cameras, rig.cameras, strict=True):
        assert found.size == (640, 480)
        assert found.matrix[0, 0] == pytest.approx(true.matrix[0, 0], rel=0.02)
    page = report.read_text(encoding="utf-8")
    assert all(name in page for name in rig.names)


def test_known_lenses_are_kept(film, videos, tmp_path):
    from posekit.calibration.formats import write_aniposelib

    write_aniposelib(tmp_path / "lenses.toml", film.rig, "the truth")
    out = tmp_path / "calibration.toml"
    assert calibrate(videos, out, "--intrinsics", tmp_path / "lenses.toml") == 0
    rig = read_rig(out)
    for true, found in zip(film.rig.cameras, rig.cameras, strict=True):
        np.testing.assert_allclose(found.matrix, true.matrix, rtol=1e-9)
        np.testing.assert_allclose(found.distortion, true.distortion, atol=1e-12)
    true, found = (np.linalg.norm(one.cameras[0].centre_world - one.cameras[2].centre_world) for one in (film.rig, rig))
    # 0.1 px at 450 px and 1.6 m is 0.4 mm in one view; of 2 m that is 0.02 %.
    assert found == pytest.approx(true, rel=0.003)


@pytest.mark.parametrize("style", ["empty", "black"])
def test_a_camera_without_any_board_is_named_and_left_out(film, capture, tmp_path, capsys, style):
    with_style = replace(QUIET, **{style: True})
    write_video(capture / "cam_3.mp4", 2.0, paint_film(first_frames(film, FRAMES), "cam_3", with_style))
    out = tmp_path / "calibration.toml"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert calibrate(capture, out) == 0
    assert read_rig(out).names == ("cam_1", "cam_2")
    printed, told = capsys.readouterr()
    assert "cam_3" in printed + told


def test_a_board_of_the_wrong_size_is_told(videos, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert calibrate(videos, tmp_path / "a.toml", board="charuco:9x7:0.08:0.06:DICT_4X4_50") == 2
    # What was asked for, and what was seen.
    assert_told_in_one_line(capsys, tmp_path, before, "charuco:9x7", "give --board the size 5x4")


def test_a_video_that_is_cut_off_is_told(capture, tmp_path, capsys):
    whole = (capture / "cam_2.mp4").read_bytes()
    (capture / "cam_2.mp4").write_bytes(whole[: len(whole) // 2])
    before = sorted(tmp_path.rglob("*"))
    assert calibrate(capture, tmp_path / "a.toml", "--json", tmp_path / "a.json") == 2
    assert_told_in_one_line(capsys, tmp_path, before, "cam_2.mp4", "cut short")


def test_a_video_that_stops_early_is_told(film, capture, tmp_path, capsys):
    write_video(capture / "cam_2.mp4", 2.0, paint_film(first_frames(film, 10), "cam_2", QUIET))
    before = sorted(tmp_path.rglob("*"))
    assert calibrate(capture, tmp_path / "a.toml") == 2
    assert_told_in_one_line(capsys, tmp_path, before, "cam_2", "10", "36")


def test_three_frames_are_too_few(film, tmp_path, capsys):
    folder = tmp_path / "capture"
    folder.mkdir()
    write_board_videos(folder, first_frames(film, 3), dict.fromkeys(film.rig.names, QUIET))
    before = sorted(tmp_path.rglob("*"))
    assert calibrate(folder, tmp_path / "a.toml", "--report", tmp_path / "a.html") == 2
    assert_told_in_one_line(capsys, tmp_path, before, "3")


def test_stills_of_different_sizes_in_one_folder_are_told(film, tmp_path, capsys):
    import cv2

    for name in film.rig.names:
        (tmp_path / "capture" / name).mkdir(parents=True)
        for frame, picture in enumerate(paint_film(first_frames(film, 6), name, QUIET)):
            odd = name == "cam_2" and frame == 4
            cv2.imwrite(str(tmp_path / "capture" / name / f"{frame:04d}.png"), picture[::2, ::2] if odd else picture)
    before = sorted(tmp_path.rglob("*"))
    assert calibrate(tmp_path / "capture", tmp_path / "a.toml") == 2
    assert_told_in_one_line(capsys, tmp_path, before, "0004.png", "320 x 240", "640 x 480")


def test_videos_of_different_sizes_are_different_cameras(film, capture, tmp_path):
    smaller = (picture[::2, ::2].copy() for picture in paint_film(film, "cam_1", QUIET))
    write_video(capture / "cam_1.mp4", 2.0, smaller)
    out = tmp_path / "calibration.toml"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert calibrate(capture, out) == 0
    assert [camera.size for camera in read_rig(out).cameras] == [(320, 240), (640, 480), (640, 480)]


MISTAKES = {
    "a board that is none": ({"board": "charuco:5x4:0.08"}, (), "--board: 'charuco:5x4:0.08' has"),
    "a board in millimetres": ({"board": "charuco:5x4:80:60:DICT_4X4_50"}, (), "25 mm is 0.025"),
    "no folder for the rig": ({"out": "gone/a.toml"}, (), "gone: no such folder"),
    "a rig that is no .toml": ({"out": "a.txt"}, (), "a.txt"),
    "no folder of videos": ({"folder": "gone"}, (), "gone"),
    "no such lenses": ({}, ("--intrinsics", "lenses.toml"), "lenses.toml"),
    "no folder for the report": ({}, ("--report", "gone/a.html"), "gone: no such folder"),
}


@pytest.mark.parametrize(("changed", "more", "line"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_before_the_work(videos, tmp_path, capsys, monkeypatch, changed, more, line):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    given = {"folder": videos, "out": "a.toml", "board": SPEC, **changed}
    assert calibrate(given["folder"], given["out"], *more, board=given["board"]) == 2
    assert_told_in_one_line(capsys, tmp_path, before, line)
