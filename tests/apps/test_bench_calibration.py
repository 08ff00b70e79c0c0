import json
import re
import stat
import sys

import numpy as np
import pytest

from posekit.apps.bench_captures import free_errors
from posekit.apps.bench_synthetic_rigs import RigErrors, calibrate_film, film_rig, summarise
from posekit.apps.main import main
from posekit.calibration.boards.board import parse_board
from posekit.camera import Rig
from posekit.datasets.rendered_boards import PictureStyle, write_board_videos
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras

SPEC = "charuco:5x4:0.08:0.06:DICT_4X4_50"

# A stand-in for the peer, which knows the truth but for a turn of one camera by a thousandth.
STAND_IN = """
import json, pathlib
import numpy as np
import torch

TRUTH = json.loads((pathlib.Path(__file__).parent / "truth.json").read_text())


class Camera:
    def __init__(self, name):
        self.truth = dict(TRUTH[name])
        if name == "cam_3":
            self.truth["turn"] = list(np.array(self.truth["turn"]) + 1e-3)

    def get_camera_matrix(self):
        return torch.tensor(self.truth["matrix"], dtype=torch.float64).requires_grad_()

    def get_distortions(self):
        return np.array(self.truth["distortion"])

    def get_rotation(self):
        return np.array(self.truth["turn"])

    def get_translation(self):
        return np.array(self.truth["translation"])


class CameraGroup:
    @staticmethod
    def from_names(names):
        group = CameraGroup()
        group.cameras = [Camera(name) for name in names]
        return group

    def calibrate_videos(self, videos, board, verbose):
        assert not verbose
        assert torch.get_num_threads() == 1
        assert all(pathlib.Path(video).is_file() for (video,) in videos)
        assert board == (5, 4, 0.08, 0.06, "DICT_4X4_50", False)
        return 0.25, None
"""
BOARDS = """
def CharucoBoard(columns, rows, square, marker, aruco_dict, legacy_pattern):
    return (columns, rows, square, marker, aruco_dict, legacy_pattern)
"""


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """Three cameras of 640 x 480 px, 30 frames, as videos; and the interpreter of a peer that knows the truth."""
    import cv2

    folder = tmp_path_factory.mktemp("videos")
    rig = ring_of_cameras(3, radius_m=1.6, arc_rad=1.6, seed=2, size=(640, 480))
    film = film_board(rig, parse_board(SPEC), 30, seed=3, noise_px=0.2, spread_m=0.3)
    write_board_videos(folder, film, dict.fromkeys(rig.names, PictureStyle(noise=0.0)))  # noise is slow to encode
    peer = tmp_path_factory.mktemp("peer")
    (peer / "aniposelib").mkdir()
    (peer / "aniposelib" / "__init__.py").write_text(STAND_IN)
    (peer / "aniposelib" / "boards.py").write_text(BOARDS)
    (peer / "aniposelib" / "truth.json").write_text(
        json.dumps(
            {
                camera.name: {
                    "matrix": camera.matrix.tolist(),
                    "distortion": camera.distortion[:5].tolist(),
                    "turn": cv2.Rodrigues(np.array(camera.rotation))[0].ravel().tolist(),
                    "translation": camera.translation.tolist(),
                }
                for camera in rig.cameras
            }
        )
    )
    (peer / "aniposelib_pytorch-9.0.dist-info").mkdir()
    (peer / "aniposelib_pytorch-9.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: aniposelib_pytorch\nVersion: 9.0\n"
    )
    python = peer / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{peer}" exec "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return folder, film, python


def test_beside_a_peer(tmp_path, filmed, capsys):
    folder, _, python = filmed
    arguments = ["--peer", str(python), "--videos", str(folder), "--board", SPEC, "--threads", "1"]
    assert main(["bench", "calibration", *arguments, "--json", str(tmp_path / "a.json")]) == 0
    figures = json.loads((tmp_path / "a.json").read_text())
    assert figures["peer"] == "aniposelib-pytorch 9.0"
    assert figures["peer_printed_px"] == 0.25
    assert figures["cameras"] == figures["cameras_placed"] == figures["peer_cameras_placed"] == 3
    # Both are judged over the same corners: all of 3 cameras that see 12 corners in most of 30 frames.
    assert figures["detections"] == figures["peer_detections"] > 3 * 12 * 15
    # The detector's own error is about 0.1 px; a thousandth of a turn is half a pixel in one of three cameras.
    assert figures["mean_px"] < 0.25
    assert figures["mean_px"] < figures["peer_mean_px"] < 1
    assert figures["ratio_seconds"] == pytest.approx(figures["peer_seconds"] / figures["seconds"])
    assert figures["process_seconds"] > figures["seconds"] > 0
    printed = capsys.readouterr().out
    assert f"{figures['peer_mean_px']:.3f}" in printed
    assert f"{figures['mean_px']:.3f}" in printed
    assert max(len(line) for line in printed.splitlines()) <= 80


def test_corners_are_judged_over_all_views_and_none_is_dropped(filmed):
    _, film, _ = filmed
    pixels = film.views.corners_px.copy()
    truth = Rig(tuple(film.rig.cameras[::-1]))
    errors = free_errors(truth, film.views)
    shared = np.isfinite(pixels[..., 0]).sum(axis=1) >= 2
    assert len(errors) == np.isfinite(pixels[..., 0]).sum(axis=1)[shared].sum()
    # 0.2 px per axis, of which 3 of 2 x (2 or 3) numbers are taken by the point.
    assert 0.1 < np.median(errors) < 0.25
    pixels[:, 1] += 30
    from dataclasses import replace

    assert free_errors(truth, replace(film.views, corners_px=pixels)).max() > 5


def test_errors_of_a_synthetic_rig_are_those_of_its_cameras():
    film = film_rig("ring", 3, 40, 1)
    known = calibrate_film(film, 1, free_lens=False)
    assert known.linked
    assert known.position_m.shape == known.turn_rad.shape == known.inside.shape == (2,)
    # 0.3 px at 930 px and 2.5 m is 0.8 mm at the board; a dozen shared frames make it ten times better or worse.
    assert 0.0001 < known.position_m.max() < 0.02
    assert known.board_views == film.views.seen.any(axis=-1).sum()
    assert film.views.board.square_m == 0.054


def test_summary_counts_what_failed():
    def errors(seed, linked, position, inside):
        position = np.array(position)
        return RigErrors(seed, linked, position, position / 10, np.array(inside), 2.0, 50)

    figures = summarise(
        [
            errors(4, True, (0.001, 0.003), (True, True)),
            errors(5, True, (0.002, 0.5), (True, False)),
            errors(6, False, (np.nan, np.nan), (False, False)),
        ]
    )
    assert figures["rigs"] == 3
    assert figures["rigs_linked"] == 2
    assert figures["seeds_not_linked"] == [6]
    assert figures["seeds_astray"] == [5]
    assert figures["position_mm_median"] == pytest.approx(2.5)
    assert figures["position_mm_max"] == pytest.approx(500)
    assert figures["coverage"] == 0.75
    assert figures["poses"] == 4


def test_own_table(tmp_path, capsys, monkeypatch):
    import posekit.apps.bench_calibration as bench

    monkeypatch.setenv("COLUMNS", "80")
    # The largest rig takes too long for a test: a small one goes the same way, in a process of its own.
    monkeypatch.setattr(bench, "_LARGE_CAMERAS", 3)
    monkeypatch.setattr(bench, "_LARGE_FRAMES", 40)
    monkeypatch.setattr(bench, "_RING_FRAMES", 50)
    arguments = ["--rigs", "1", "--cameras", "3", "--threads", "1", "--json", str(tmp_path / "a.json")]
    assert main(["bench", "calibration", *arguments]) == 0
    figures = json.loads((tmp_path / "a.json").read_text())
    about = [(row["layout"], row["cameras"], row["lenses"]) for row in figures["rigs"]]
    assert about == [("ring", 3, "known"), ("ring", 3, "free"), ("corridor", 3, "known"), ("corridor", 3, "free")]
    assert figures["rigs"][0]["rigs_linked"] == 1
    assert figures["large"]["linked"]
    # What Python and torch take, and not more than that for 40 frames.
    assert 100 < figures["large"]["memory_mb"] < 2000
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert max(len(line) for line in printed.splitlines()) <= 100
    assert "corridor" in printed


MISTAKES = {
    "videos without a board": (("--videos", "."), "--videos and --board belong together"),
    "a board without videos": (("--board", SPEC), "--videos and --board belong together"),
    "videos without a peer": (("--videos", ".", "--board", SPEC), "--videos: they are calibrated beside a peer"),
    "inverted nothing": (("--inverted",), "--inverted: belongs to --videos"),
    "less than no rig": (("--rigs", "-1"), "--rigs: -1 is less than none"),
    "no board": (("--peer", "text", "--videos", ".", "--board", "dice"), "--board: 'dice' is no board"),
    "a grid": (
        ("--peer", "text", "--videos", ".", "--board", "aruco:2x2:0.05:0.01:DICT_4X4_50"),
        "no grids of markers",
    ),
    "no videos": (("--peer", "text", "--videos", "gone", "--board", SPEC), "gone"),
}


@pytest.mark.parametrize(("arguments", "line"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_one_line(tmp_path, capsys, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("hello")
    assert main(["bench", "calibration", *arguments]) == 2
    told = capsys.readouterr().err
    assert told.startswith("posekit: error: ")
    assert told.count("\n") == 1
    assert re.search(re.escape(line), told)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
