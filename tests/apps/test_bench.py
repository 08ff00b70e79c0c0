import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from posekit.apps.bench import BENCHMARKS
from posekit.apps.bench_triangulation import make_scene
from posekit.apps.main import main

# A stand-in for the peer: the least-squares point of all rays, which is right where there are no outliers, a little late.
STAND_IN = """
import time
from types import SimpleNamespace

import cv2
import numpy as np
import torch

print("a library that talks")


class Camera:
    def __init__(self, matrix, dist, size, rvec, tvec, name):
        assert dist.shape == (5,) and size == (1920, 1080)
        self.matrix, self.dist, self.name = matrix, dist, name
        self.rotation, self.tvec = cv2.Rodrigues(rvec)[0], tvec


class CameraGroup:
    def __init__(self, cameras):
        self.cameras = cameras
        assert [camera.name for camera in cameras] == [f"cam_{c + 1}" for c in range(8)]

    def triangulate_robust(self, points, tau):
        assert tau == 7.5 and torch.get_num_threads() == 1
        time.sleep(0.05)
        A, b = np.zeros((points.shape[1], 3, 3)), np.zeros((points.shape[1], 3))
        for camera, pixels in zip(self.cameras, points.numpy(), strict=True):
            xy = cv2.undistortPoints(pixels[:, None], camera.matrix, camera.dist)[:, 0]
            rays = np.concatenate((xy, np.ones_like(xy[:, :1])), axis=1) @ camera.rotation
            rays /= np.linalg.norm(rays, axis=1, keepdims=True)
            across = np.eye(3) - rays[:, :, None] * rays[:, None]
            A += across
            b += across @ (-camera.rotation.T @ camera.tvec)
        found = np.linalg.solve(A, b[..., None])[..., 0]
        found[0] = np.nan
        return SimpleNamespace(p3d=torch.from_numpy(found))
"""


def make_interpreter(folder: Path, library: str | None, name: str = "aniposelib_pytorch") -> Path:
    """Return something that runs like the interpreter of an environment that has the library."""
    if library is not None:
        (folder / "aniposelib.py").write_text(library)
        (folder / f"{name}-9.0.dist-info").mkdir()
        (folder / f"{name}-9.0.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.0\n"
        )
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python


def bench(*arguments: str) -> int:
    return main(["bench", "triangulation", "--points", "500", "--repeats", "2", "--threads", "1", *arguments])


def test_a_scene_is_what_it_says():
    scene = make_scene(8, 5000, 0)
    truth = np.stack([camera.project(scene.points_world) for camera in scene.rig.cameras], axis=1)
    assert all(camera.in_picture(truth[:, c]).all() for c, camera in enumerate(scene.rig.cameras))
    off = np.linalg.norm(scene.keypoints_px - truth, axis=-1)
    wrong = off > 40
    # Standard deviations: 0.18 % of the share, and 1 / sqrt(2 * 68,000) = 0.3 % of the noise.
    assert wrong.mean() == pytest.approx(0.15, abs=0.006)
    assert np.sqrt(np.square(off[~wrong]).mean() / 2) == pytest.approx(1, rel=0.01)
    assert off[wrong].mean() == pytest.approx(80, abs=0.1)
    assert np.array_equal(make_scene(8, 5000, 0).keypoints_px, scene.keypoints_px)
    assert not np.array_equal(make_scene(8, 5000, 1).keypoints_px, scene.keypoints_px)


def test_posekits_own_table(tmp_path, capsys):
    assert bench("--cameras", "4", "6", "--json", str(tmp_path / "a.json")) == 0
    figures = json.loads((tmp_path / "a.json").read_text())
    assert [one["cameras"] for one in figures["cameras"]] == [4, 6]
    for one in (figures, *figures["cameras"]):
        # 1 px is 3.1 mm at 4 m; with 4 cameras or more the median is about as good as one view, and no better than a third.
        assert 0.9 < one["median_mm"] < 5
        assert one["median_mm"] < one["p99_mm"]
        assert one["points_per_second"] >= one["points_per_second_median"] > 0
    assert figures["points_missing"] == 0
    assert not any(name.startswith(("peer", "ratio")) for name in figures)
    for one in figures["cameras"]:
        seconds = figures["points"] / one["points_per_second"]
        assert one["microseconds_per_view"] == pytest.approx(1e6 * seconds / figures["points"] / one["cameras"])
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines()) <= 80
    assert f"{figures['cameras'][1]['median_mm']:.2f}" in printed


def test_beside_a_peer(tmp_path, capsys):
    python = make_interpreter(tmp_path, STAND_IN)
    more = ("--threshold-px", "7.5", "--cameras", "8", "--json", str(tmp_path / "a.json"))
    assert bench("--peer", str(python), *more) == 0
    figures = json.loads((tmp_path / "a.json").read_text())
    assert figures["peer"] == "aniposelib-pytorch 9.0"
    assert figures["peer_points_per_second"] < 500 / 0.05
    assert figures["ratio_points_per_second"] == figures["points_per_second"] / figures["peer_points_per_second"]
    # Without any regard to outliers, 80 px / 8 views is about 10 px: 30 mm. The point that is missing counts.
    assert 5 < figures["peer_median_mm"] < 100
    assert figures["peer_points_missing"] == 1
    assert figures["median_mm"] < 5
    assert "aniposelib-pytorch 9.0" in capsys.readouterr().out


LIBRARIES = {
    "none at all": (None, r"has no aniposelib-pytorch that can be used .*pip install aniposelib-pytorch==1\.0\.0"),
    "one that breaks": ("raise ImportError('no such thing')", r"aniposelib-pytorch that can be used \(no such thing\)"),
    "another one": ("x = 1", "module 'aniposelib' has no attribute 'Camera'"),
    "one that ends the process": ("import os\nos._exit(3)", "ended without a word"),
}


@pytest.mark.parametrize(("library", "line"), LIBRARIES.values(), ids=LIBRARIES)
def test_a_peer_that_cannot_be_used_is_told_in_one_line(tmp_path, capsys, library, line):
    python = make_interpreter(tmp_path, library)
    assert bench("--peer", str(python), "--json", str(tmp_path / "a.json")) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert told.count("\n") == 1
    assert re.search(r"posekit: error: --peer: .*python: .*" + line, told)
    assert not (tmp_path / "a.json").exists()


MISTAKES = {
    "no such interpreter": (("--peer", "gone/python"), "gone/python: no such file"),
    "an interpreter that is none": (("--peer", "text"), "--peer: text cannot be run: "),
    "a folder": (("--peer", "."), "is a folder, not a file"),
    "a peer beside a GPU": (("--peer", "text", "--device", "cuda"), "--device: is 'cuda'; beside a peer"),
    "one camera": (("--cameras", "1", "8"), "--cameras: 1 cannot place a point"),
    "no point": (("--points", "0"), "--points: 0 is not a positive number"),
    "no threshold": (("--threshold-px", "nan"), "--threshold-px: nan is not a positive number"),
    "figures to no such place": (("--json", "below/a.json"), "below: no such folder"),
    "figures over a folder": (("--json", "."), "cannot be written: it is a folder"),
}


@pytest.mark.parametrize(("arguments", "line"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_one_line(tmp_path, capsys, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("hello")
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
    assert bench(*arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("posekit: error: ")
    assert told.count("\n") == 1
    assert line in told
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_every_benchmark_is_a_subcommand_that_is_listed_without_heavy_imports():
    program = (
        "import sys; from posekit.apps.main import main; main(['bench', '--help']);"
        "print('heavy:', sorted({'torch', 'cv2', 'kornia', 'onnxruntime', 'scipy.optimize'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    listed = re.findall(r"\u2022 (\S+)", done.stdout)
    assert listed == list(BENCHMARKS)
    assert "heavy: []" in done.stdout


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_explains_itself(capsys, name):
    assert main(["bench", name, "--help"]) == 0
    told = capsys.readouterr().out
    assert f"posekit bench {name}" in told
    assert "--json" in told
