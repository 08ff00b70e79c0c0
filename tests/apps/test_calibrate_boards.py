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


@pytest.fixture(scope="module")
def lenses(film, tmp_path_factory):
    """A camera file with the true lenses: with them a rig is made at once, and well."""
    from posekit.calibration.formats import write_aniposelib

    path = tmp_path_factory.mktemp("lenses") / "lenses.toml"
    write_aniposelib(path, film.rig, "the truth")
    return path


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


def test_known_lenses_are_kept(film, videos, lenses, tmp_path):
    out = tmp_path / "calibration.toml"
    assert calibrate(videos, out, "--intrinsics", lenses) == 0
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


def test_a_board_of_the_wrong_size_is_told(film, tmp_path, capsys):
    folder = tmp_path / "capture"
    folder.mkdir()
    write_board_videos(folder, first_frames(film, 4), dict.fromkeys(film.rig.names, QUIET))
    before = sorted(tmp_path.rglob("*"))
    assert calibrate(folder, tmp_path / "a.toml", board="charuco:9x7:0.08:0.06:DICT_4X4_50") == 2
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


def test_the_figures_and_the_record(videos, lenses, tmp_path, capsys):
    out, figures_path = tmp_path / "calibration.toml", tmp_path / "figures.json"
    assert calibrate(videos, out, "--intrinsics", lenses, "--json", figures_path, "--time-offsets", "off") == 0
    figures = json.loads(figures_path.read_text())
    assert {"board", "notes", "unlinked", "world", "time_offsets", "moments", "side_mean_m"} <= set(figures)
    assert figures["board"] == SPEC
    assert figures["unlinked"] == {}
    assert figures["side_m"] == 0.08
    assert figures["side_mean_m"] == pytest.approx(0.08, rel=0.01)  # 0.1 px of 25 px, over hundreds of sides
    assert set(figures["cameras"]) == set(figures["time_offsets"]) == {"cam_1", "cam_2", "cam_3"}
    assert [offset["applied_s"] for offset in figures["time_offsets"].values()] == [0, 0, 0]
    for camera in figures["cameras"].values():
        assert 0 < camera["mean_reprojection_px"] < 0.5  # as of the whole rig, above
        assert 0 < camera["predicted_reprojection_px"] < 2  # from boards that but one other camera saw
    record = json.loads((tmp_path / "calibration.toml.run.json").read_text())
    assert record["command"] == "calibrate"
    printed = capsys.readouterr().out
    for name, camera in figures["cameras"].items():
        assert name in printed
        assert f"{camera['mean_reprojection_px']:.2f}" in printed


def test_the_world_is_the_board_in_a_frame(film, videos, lenses, tmp_path):
    out, page = tmp_path / "calibration.toml", tmp_path / "report.html"
    frame = int(np.flatnonzero(film.views.seen.any(axis=-1).sum(axis=1) > 1)[0])
    more = ("--world", "board", "--world-frame", frame, "--report", page, "--time-offsets", "off")
    assert calibrate(videos, out, "--intrinsics", lenses, *more) == 0
    rotation, corner = film.board_rotation[frame], film.board_translation[frame]
    for true, found in zip(film.rig.cameras, read_rig(out).cameras, strict=True):
        # As one looks at the print: x to the right, y up, z towards who looks; from its top left corner.
        expected = np.diag((1.0, -1.0, -1.0)) @ rotation.T @ (true.centre_world - corner)
        assert expected[2] > 0 or not film.views.seen[frame, film.rig.names.index(true.name)].any()
        # One board's pose from two pictures: 0.1 px of 100 px at 1.6 m.
        np.testing.assert_allclose(found.centre_world, expected, atol=0.03)
    assert f"as it lies in frame {frame}" in page.read_text(encoding="utf-8")


def marked(film, metres=None):
    """Points on the floor of the film's own world as every camera shows them, as a person writes them down."""
    places = {"origin": (0, 0, 0), "x": (0.3, 0, 0), "plane": (0.1, 0.25, 0)}
    lines = []
    for name, place in places.items():
        lines.append(f"[points.{name}]")
        lines += [
            f"{camera.name} = {camera.project(np.array(place, dtype=float)).tolist()}" for camera in film.rig.cameras
        ]
    if metres is not None:
        lines += ["[distance]", 'between = ["origin", "x"]', f"metres = {metres}"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("scale", [None, 2.0])
def test_the_world_and_the_scale_are_those_of_marked_points(film, videos, lenses, tmp_path, scale):
    (tmp_path / "points.toml").write_text(marked(film, scale and 0.3 * scale))
    out = tmp_path / "calibration.toml"
    more = ("--world", "points", "--points", tmp_path / "points.toml", "--time-offsets", "off")
    assert calibrate(videos, out, "--intrinsics", lenses, *more) == 0
    for true, found in zip(film.rig.cameras, read_rig(out).cameras, strict=True):
        # Exact points: what the rig is off by, over 0.3 m of floor, carried 1.6 m away.
        np.testing.assert_allclose(found.centre_world, (scale or 1) * true.centre_world, atol=0.02 * (scale or 1))


def test_the_lenses_alone(film, videos, tmp_path, capsys):
    out, figures_path, report = tmp_path / "lenses.toml", tmp_path / "figures.json", tmp_path / "report.html"
    assert calibrate(videos, out, "--lenses-only", "--json", figures_path, "--report", report) == 0
    figures = json.loads(figures_path.read_text())
    assert figures["lenses_only"] == "asked for"
    for true, found in zip(film.rig.cameras, read_rig(out).cameras, strict=True):
        assert found.centre_world.tolist() == [0, 0, 0]
        sigma = figures["cameras"][true.name]["sigma"]["fx"]
        assert (
            abs(found.matrix[0, 0] - true.matrix[0, 0]) < 5 * sigma + 0.002 * true.matrix[0, 0]
        )  # the renderer's corners
        assert figures["cameras"][true.name]["views"] > 5
    assert "stands at the origin" in capsys.readouterr().out
    assert all(name in report.read_text(encoding="utf-8") for name in film.rig.names)


@pytest.fixture
def out_of_step(monkeypatch):
    """Let the command see, instead of what is in the videos, corners of cameras that are out of step, and say by how much."""
    import posekit.calibration.boards.search as search
    from posekit.calibration.boards.detection import Reading

    late = np.array((0.0, 0.4, -1.6))
    rig = ring_of_cameras(3, radius_m=1.6, arc_rad=1.6, seed=2, size=(640, 480))
    film = film_board(rig, parse_board(SPEC), 200, seed=3, spread_m=0.3, fps=10.0, time_offsets_s=late / 10)
    count = (200, 200, 200)
    found = search.FoundBoards(film.views, (Reading(),) * 3, count, count, ())
    monkeypatch.setattr(search, "film_views", lambda *_, **__: found)
    return film, late


@pytest.mark.parametrize("choice", ["on", "auto", "off"])
def test_cameras_out_of_step(videos, out_of_step, tmp_path, capsys, choice):
    from posekit.calibration.formats import write_aniposelib

    film, late = out_of_step
    write_aniposelib(tmp_path / "lenses.toml", film.rig, "the truth")
    out, figures_path = tmp_path / "calibration.toml", tmp_path / "figures.json"
    more = ("--intrinsics", tmp_path / "lenses.toml", "--json", figures_path, "--time-offsets", choice)
    assert calibrate(videos, out, *more) == 0
    applied = np.array([camera.time_offset_s for camera in read_rig(out).cameras])
    figures = json.loads(figures_path.read_text())
    frames = [figures["time_offsets"][name]["applied_frames"] for name in film.rig.names]
    np.testing.assert_allclose(frames, 10 * applied, atol=1e-9)  # 10 frames/s
    if choice == "off":
        assert not applied.any()
        assert figures["mean_reprojection_px"] > 1
        return
    np.testing.assert_allclose(applied - applied[0], late / 10, atol=0.01)  # a tenth of a frame
    assert figures["mean_reprojection_px"] < 0.5  # 0.3 px per axis
    assert "brought into step" in capsys.readouterr().out


def test_a_board_is_drawn_and_nothing_else(tmp_path, capsys):
    path = tmp_path / "board.pdf"
    assert main(["calibrate", "--board", SPEC, "--draw-board", str(path)]) == 0
    assert path.read_bytes().startswith(b"%PDF")
    assert [one.name for one in tmp_path.iterdir()] == ["board.pdf"]
    assert "print it at 100 %" in capsys.readouterr().out


MISTAKES = {
    "a board that is none": ({"board": "charuco:5x4:0.08"}, (), "--board: 'charuco:5x4:0.08' has"),
    "a board in millimetres": ({"board": "charuco:5x4:80:60:DICT_4X4_50"}, (), "25 mm is 0.025"),
    "no folder for the rig": ({"out": "gone/a.toml"}, (), "gone: no such folder"),
    "a rig that is no .toml": ({"out": "a.txt"}, (), "a.txt"),
    "no folder of videos": ({"folder": "gone"}, (), "gone"),
    "no such lenses": ({}, ("--intrinsics", "lenses.toml"), "lenses.toml"),
    "a report that is no page": ({}, ("--report", "a.pdf"), "a.pdf: the report is an .html file"),
    "lenses of other cameras' pictures": ({}, ("--intrinsics", "{big}"), "640"),
    "too few moments": ({}, ("--max-moments", "2"), "--max-moments: 2 are too few"),
    "points that were not marked": ({}, ("--world", "points"), "--world points: takes the marked points"),
    "no such points": ({}, ("--world", "points", "--points", "gone.toml"), "gone.toml"),
    "people who are not there": ({}, ("--world", "people"), "--keypoints: is missing"),
    "a bone of nobody": ({}, ("--bone", "left_hip", "left_knee", "0.43"), "--keypoints: is missing"),
    "keypoints for nothing": ({}, ("--keypoints", "k.h5"), "--keypoints: take part with"),
    "lenses only, and a world": ({}, ("--lenses-only", "--world", "board"), "--lenses-only: leaves nothing to do"),
    "a rate that is none": ({}, ("--fps", "0"), "--fps"),
    "no folder for the report": ({}, ("--report", "gone/a.html"), "gone: no such folder"),
}


@pytest.mark.parametrize(("changed", "more", "line"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_before_the_work(film, videos, tmp_path, capsys, monkeypatch, changed, more, line):
    from posekit.calibration.formats import write_aniposelib

    monkeypatch.chdir(tmp_path)
    if "{big}" in more:
        big = replace(film.rig, cameras=tuple(replace(camera, size=(1280, 960)) for camera in film.rig.cameras))
        write_aniposelib(tmp_path / "big.toml", big, "twice the size")
    more = [word.format(big="big.toml") for word in more]
    before = sorted(tmp_path.rglob("*"))
    given = {"folder": videos, "out": "a.toml", "board": SPEC, **changed}
    assert calibrate(given["folder"], given["out"], *more, board=given["board"]) == 2
    assert_told_in_one_line(capsys, tmp_path, before, line)


COMMANDS = {
    "neither a folder nor a rig": (["--out", "a.toml"], "takes either a FOLDER"),
    "a folder and a rig": (["videos", "--refine", "rig.toml", "--out", "a.toml"], "takes either a FOLDER"),
    "a folder without a board": (["videos", "--out", "a.toml"], "--board: is missing"),
    "no rig to write": (["videos", "--board", SPEC], "--out: is missing"),
    "a drawing of nothing": (["--draw-board", "a.pdf"], "--draw-board: which?"),
    "a drawing of another kind": (["--board", SPEC, "--draw-board", "a.docx"], "a.docx"),
    "a drawing of no board": (["--board", "charuco:5x4", "--draw-board", "a.pdf"], "--board: 'charuco:5x4'"),
    "a drawing into no folder": (["--board", SPEC, "--draw-board", "gone/a.pdf"], "gone: no such folder"),
}


@pytest.mark.parametrize(("words", "line"), COMMANDS.values(), ids=COMMANDS)
def test_commands_that_lack_something(tmp_path, capsys, monkeypatch, words, line):
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", *words]) == 2
    assert_told_in_one_line(capsys, tmp_path, [], line)
