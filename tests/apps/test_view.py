import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from posekit.apps.main import main
from posekit.calibration.formats import write_aniposelib
from posekit.io.video import VideoReader, write_video
from posekit.keypoints import Keypoints3D
from posekit.point_status import PointStatus
from scenes import PERSON, ring_rig, walk


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    """Return a folder with people.h5 (frames 2, 4, 6), calibration.toml and videos of three cameras."""
    folder = tmp_path_factory.mktemp("capture")
    rig = ring_rig(3)
    xyz = walk(3, (0, 0), (0.1, 0))[:, None]
    xyz[:2, :, PERSON.part("right_hand")] = np.nan
    shape = xyz.shape[:3]
    Keypoints3D(
        xyz,
        np.zeros((*shape, 6)),
        np.isfinite(xyz).all(-1, keepdims=True).repeat(3, -1),
        np.zeros((*shape, 3)),
        np.where(np.isfinite(xyz).all(-1), PointStatus.OK, PointStatus.TOO_FEW_VIEWS).astype(np.uint8),
        rig.names,
        np.array([2, 4, 6]),
        PERSON,
        30.0,
        "people",
    ).save(folder / "people.h5")
    write_aniposelib(folder / "calibration.toml", rig)
    (folder / "videos").mkdir()
    picture = np.full((960, 1280, 3), 90, np.uint8)
    for name in rig.names:
        write_video(folder / "videos" / f"{name}.mp4", 30, [picture] * 8, crf=40)
    return folder


def view(capture: Path, *more: str) -> int:
    return main(["view", str(capture / "people.h5"), *more])


def overlay(capture: Path, out: Path, *more: str) -> int:
    rig, videos = str(capture / "calibration.toml"), str(capture)
    return view(capture, "--rig", rig, "--videos", videos, "--overlay", str(out), *more)


def test_an_overlay_picture_shows_the_fullest_frame(capture, tmp_path, capsys):
    assert overlay(capture, tmp_path / "a.png", "--size", "1200", "300", "--focus", "right_hand") == 0
    assert "frame 6" in capsys.readouterr().err
    sheet = cv2.imread(str(tmp_path / "a.png"))
    assert (sheet.shape[0], sheet.shape[1]) == (300, pytest.approx(908, abs=2))  # three squares and two gaps
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.png.run.json"]
    record = json.loads((tmp_path / "a.png.run.json").read_text())
    assert (record["command"], record["frames"], record["settings"]["focus"]) == ("view", [6, 6], "right_hand")
    assert sorted(Path(path).name for path in record["inputs"]) == ["calibration.toml", "people.h5"]


def test_an_overlay_video_plays_as_fast_as_the_frames_were_filmed(capture, tmp_path):
    assert overlay(capture, tmp_path / "a.mp4", "--size", "640", "200") == 0
    assert (VideoReader(tmp_path / "a.mp4").frame_count, VideoReader(tmp_path / "a.mp4").fps) == (3, 15)
    assert overlay(capture, tmp_path / "b.mp4", "--size", "640", "200", "--span", "3", "6") == 0
    assert VideoReader(tmp_path / "b.mp4").frame_count == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--overlay", "OUT/a.png"), "an overlay needs --rig and --videos"),
        (("--png", "OUT/a.mp4"), "--png writes a picture"),
        (("--mp4", "OUT/a.png"), "--mp4 writes a video"),
        (("--png", "OUT/a.tiff"), r"'\.tiff' is not known"),
        (("--png", "OUT/no/a.png"), "no such folder"),
        (("--png", "OUT/a.png", "--size", "8", "8"), "at least 16 pixels"),
        (("--png", "OUT/a.png", "--frame", "3"), r"people\.h5: have no frame 3"),
        (("--mp4", "OUT/a.mp4", "--span", "7", "9"), "--span 7 9: .*people.h5 has 3 frames, 2 to 6"),
        (("--mp4", "OUT/a.mp4", "--span", "4", "9"), "--span 4 9: .*people.h5 has 3 frames, 2 to 6"),
        (("--png", "OUT/a.png", "--span", "2", "4"), "--span 2 4: belongs to a video"),
        (("--mp4", "OUT/a.mp4", "--frame", "4"), "--frame 4: belongs to a picture"),
        (("--png", "OUT/a.png", "--videos", "CAPTURE"), "--videos .*: is for an --overlay"),
        (("--png", "OUT/a.png", "--rig", "CAPTURE/no.toml"), "no.toml: no such file"),
        (("--png", "OUT/a.png", "--frame", "2", "--focus", "right_hand"), "no point of 'right_hand' in frame 2"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(capture, tmp_path, capsys, arguments, message):
    places = [argument.replace("OUT", str(tmp_path)).replace("CAPTURE", str(capture)) for argument in arguments]
    assert view(capture, *places) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert list(tmp_path.iterdir()) == []


def test_cameras_of_other_spelling_are_matched_and_one_without_video_is_named(capture, tmp_path, capsys):
    rig = (capture / "calibration.toml").read_text().replace('"cam_', '"cam0')
    (tmp_path / "other.toml").write_text(rig)
    (tmp_path / "videos").mkdir()
    for name in ("cam_1", "cam_2"):
        shutil.copy(capture / "videos" / f"{name}.mp4", tmp_path / "videos")
    arguments = ("--rig", str(tmp_path / "other.toml"), "--videos", str(tmp_path), "--overlay", str(tmp_path / "a.png"))
    assert view(capture, *arguments) == 0
    error = capsys.readouterr().err
    assert "cam01 is taken for cam_1" in error
    assert re.search("left out of the overlay, without a video or without a calibration: cam_3\n", error)
    assert (tmp_path / "a.png").is_file()


def test_an_overlay_never_takes_the_place_of_a_video(capture, capsys):
    video = capture / "videos" / "cam_1.mp4"
    content = video.read_bytes()
    assert overlay(capture, video) == 2
    assert re.search(r"cam_1\.mp4: would be written over", capsys.readouterr().err)
    assert video.read_bytes() == content


def test_people_without_a_point_are_named_by_their_file(capture, tmp_path, capsys):
    people = Keypoints3D.load(capture / "people.h5")
    status = np.full_like(people.status, PointStatus.TOO_FEW_VIEWS)
    replace(people, xyz=np.full_like(people.xyz, np.nan), status=status).save(tmp_path / "none.h5")
    assert main(["view", str(tmp_path / "none.h5"), "--png", str(tmp_path / "a.png")]) == 2
    assert re.search(r"none\.h5: holds not one 3D point\n$", capsys.readouterr().err)


def test_a_file_of_another_kind_is_named(tmp_path, capsys):
    (tmp_path / "a.h5").write_text("no HDF5")
    assert main(["view", str(tmp_path / "a.h5"), "--png", str(tmp_path / "a.png")]) == 2
    assert re.search(r"a\.h5: is no HDF5 file; keypoints3d\.h5.* was expected\n$", capsys.readouterr().err)
    assert not (tmp_path / "a.png").exists()


def test_a_video_that_is_too_short_is_named_and_no_half_overlay_is_left(capture, tmp_path, capsys):
    (tmp_path / "videos").mkdir()
    for video in (capture / "videos").iterdir():
        frames = list(VideoReader(video).frames())[: 4 if video.stem == "cam_2" else 8]
        write_video(tmp_path / "videos" / video.name, 30, frames, crf=40)
    (tmp_path / "out").mkdir()
    rig = str(capture / "calibration.toml")
    arguments = ("--rig", rig, "--videos", str(tmp_path), "--overlay", str(tmp_path / "out/a.mp4"))
    assert view(capture, *arguments) == 2
    assert "cam_2.mp4" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_without_open3d_an_overlay_works_and_a_scene_says_how_to_get_it(capture, tmp_path, capsys, monkeypatch):
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "open3d.py").write_text("raise ImportError('none here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    assert overlay(capture, tmp_path / "a.png") == 0
    capsys.readouterr()
    assert view(capture, "--png", str(tmp_path / "b.png")) == 2
    assert re.fullmatch(r"posekit: error: the 3D view needs Open3D.*none here.*\n", capsys.readouterr().err)
    assert not (tmp_path / "b.png").exists()
