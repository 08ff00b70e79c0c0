import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from posekit.apps.main import main
from posekit.keypoints import Keypoints3D


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """Run the demo on a capture that is too small to learn from, where Open3D cannot be imported."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "path").mkdir()
    (folder / "path" / "open3d.py").write_text("raise ImportError('none here')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "path"))
        assert run(folder / "out") == 0
    return folder / "out"


def run(out: Path) -> int:
    return main(["demo", "--out", str(out), "--cameras", "3", "--frames", "8", "--steps", "1"])


def test_it_leaves_pictures_figures_and_a_run(demo):
    made = sorted(path.name for path in demo.iterdir())
    assert made == [
        "capture", "demo.json", "labels.png", "overlay-after.png", "overlay-before.png", "run", "run.json", "truth.h5",
    ]  # fmt: skip
    for picture in demo.glob("*.png"):
        image = cv2.imread(str(picture))
        assert min(image.shape[:2]) > 200
        assert image.std() > 10
    figures = json.loads((demo / "demo.json").read_text())
    assert len(figures["rounds"]) == 2
    assert figures["label_error_px"]["joints"] > 50
    # Nothing of the truth is where the rounds read.
    assert sorted(path.name for path in (demo / "capture").iterdir()) == [
        "calibration.toml", "keypoints2d.h5", "videos",
    ]  # fmt: skip


def test_its_figures_are_errors_against_the_truth(demo):
    from posekit.datasets.synthetic_capture import CaptureTruth

    truth = CaptureTruth.load(demo / "truth.h5")
    for number, row in enumerate(json.loads((demo / "demo.json").read_text())["rounds"]):
        people = Keypoints3D.load(demo / "run" / f"round_{number}" / "keypoints3d.h5")
        hand = people.skeleton.part("right_hand")
        error = 1000 * np.linalg.norm(people.xyz[:, 0, hand] - truth.joints_world, axis=-1)
        assert row["points_3d"] == np.isfinite(error).sum()
        assert row["median_3d_mm"] == pytest.approx(np.nanmedian(error))
        assert row["median_3d_mm"] < 100


def test_it_replaces_an_earlier_demo_and_nothing_else(demo, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    assert run(tmp_path / "mine") == 2
    assert re.search(r"mine: holds other things than an earlier demo", capsys.readouterr().err)
    (tmp_path / "mine" / "demo.json").write_text("{}")
    assert run(tmp_path / "mine") == 2
    assert "notes.txt" in [path.name for path in (tmp_path / "mine").iterdir()]
    assert main(["demo", "--out", str(tmp_path / "demo"), "--rounds", "0"]) == 2
    assert not (tmp_path / "demo").exists()
    assert run(tmp_path / "no" / "demo") == 2
    assert "no such folder" in capsys.readouterr().err
