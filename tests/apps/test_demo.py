import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from posekit.apps.demo_people import PEOPLE_FILES, count_swaps, mahalanobis, match_identities, measure_people
from posekit.apps.main import main
from posekit.calibration.formats import read_rig
from posekit.keypoints import Keypoints2D, Keypoints3D

SMALL = (
    "--cameras", "3", "--frames", "8", "--steps", "1", "--rounds", "1", "--seed", "1",
    "--people-cameras", "4", "--people-frames", "20",
)  # fmt: skip


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """Run the demo on a capture that is too small to learn from, where Open3D cannot be imported."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        without_open3d(patch, tmp_path_factory.mktemp("path"))
        assert run(folder / "out", "--json", str(folder / "figures.json")) == 0
    return folder / "out"


def without_open3d(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let Open3D fail to be imported where pictures are rendered, in a process of its own."""
    (folder / "open3d.py").write_text("raise ImportError('none here')\n")
    patch.setenv("PYTHONPATH", str(folder))


def run(out: Path, *more: str) -> int:
    return main(["demo", "--out", str(out), *SMALL, *more])


def test_it_leaves_pictures_figures_and_a_run(demo):
    made = sorted(path.name for path in demo.iterdir())
    assert made == [
        "capture", "demo.json", "labels.png", "outside", "overlay-after.png", "overlay-before.png", "people", "report.html",
        "run", "run.json", "truth.h5",
    ]  # fmt: skip
    for picture in demo.glob("*.png"):
        image = cv2.imread(str(picture))
        assert min(image.shape[:2]) > 200
        assert image.std() > 10
    figures = json.loads((demo / "demo.json").read_text())
    assert len(figures["rounds"]) == 2
    assert figures["rounds"][-1]["label_error_px"]["joints"] > 50
    assert json.loads((demo.parent / "figures.json").read_text()) == figures
    # Nothing of the truth is where the rounds read.
    assert sorted(path.name for path in (demo / "capture").iterdir()) == [
        "calibration.toml", "keypoints2d.h5", "videos",
    ]  # fmt: skip
    # Nothing is left of the folder in which it was made, beside it or in what it wrote.
    assert sorted(path.name for path in demo.parent.iterdir()) == ["figures.json", "out"]
    assert Keypoints3D.load(demo / "run" / "round_0" / "keypoints3d.h5").source == (
        "detector of hands on capture + capture/calibration.toml"
    )


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


def test_its_people_are_where_they_are(demo):
    figures = json.loads((demo / "demo.json").read_text())["people"]
    truth = Keypoints3D.load(demo / "people" / "truth3d.h5")
    people = Keypoints3D.load(demo / "people" / "keypoints3d.h5")
    assert people.xyz.shape == truth.xyz.shape == (20, 2, 67, 3)
    distance = np.linalg.norm(people.xyz[:, :, None] - truth.xyz[:, None], axis=-1)
    who = np.nanmedian(distance, axis=(0, 3)).argmin(axis=1)
    assert sorted(who) == [0, 1]
    error = 1000 * distance[:, [0, 1], who]
    for part, row in figures["parts"].items():
        joints = people.skeleton.part(part)
        assert row["median_mm"] == pytest.approx(np.nanmedian(error[..., joints]))
        assert row["p95_mm"] == pytest.approx(np.nanpercentile(error[..., joints], 95))
        assert row["found"] == pytest.approx(np.isfinite(error[..., joints]).mean())
        assert row["median_mm"] < 15
        assert row["found"] > 0.9
        assert 0.5 < row["within_3_sigma"] <= 1
    assert figures["identities_kept"] == 1
    assert figures["frames_with_all_people"] == 20
    # What it was made of can be read as anybody's files are.
    detections = Keypoints2D.load(demo / "people" / "keypoints2d.h5")
    assert detections.cameras == read_rig(demo / "people" / "calibration.toml").names == people.cameras


def test_coverage_is_that_of_the_covariance():
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(3, 3))
    covariance = spread @ spread.T
    offset = rng.multivariate_normal(np.zeros(3), covariance, 20000)
    six = np.tile(covariance[[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]], (20000, 1))
    # The share of three degrees of freedom within 9, good to 0.1 % with 20000 draws.
    assert (mahalanobis(offset, six) <= 3).mean() == pytest.approx(0.9707, abs=0.004)
    assert mahalanobis(np.array([[2.0, 0, 0]]), np.array([[4.0, 0, 0, 1, 0, 1]])) == pytest.approx(1)
    six[0] = np.nan
    assert np.isnan(mahalanobis(offset, six)[0])


def test_identities_are_told_by_the_nearest_truth():
    truth = np.zeros((10, 2, 5, 3))
    truth[:, 1] += 1.0
    found = truth[:, ::-1] + 0.01
    found[7, [0, 1]] = found[7, [1, 0]]  # exchanged in one frame
    found[3, 0, :3] = np.nan  # hardly there
    found[4, 1, :2] = np.nan
    who, nearest = match_identities(found, truth)
    assert who.tolist() == [1, 0]
    assert nearest[:, 0].tolist() == [1, 1, 1, -1, 1, 1, 1, 0, 1, 1]
    assert nearest[:, 1].tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]
    who, nearest = match_identities(np.full((2, 1, 5, 3), np.nan), truth[:2])
    assert who.tolist() == [-1]
    assert (nearest == -1).all()


def test_swaps_are_counted_by_what_was_given_back():
    from posekit.datasets.synthetic_people import PeopleSettings, film_people
    from posekit.people.reconstruction import reconstruct_people

    scene = film_people(PeopleSettings(seed=3, frames=12, cameras=5, people=1))
    found = reconstruct_people(scene.keypoints, scene.rig)
    swapped = int(scene.swapped.any(axis=-1).sum())
    assert swapped >= 3
    slots = scene.slots[..., 0]
    frames, cameras = np.indices(slots.shape)
    given = scene.keypoints.xy[frames, cameras, slots][:, :, None]
    mirror = np.arange(67)
    for left, right in scene.keypoints.skeleton.left_right:
        mirror[[left, right]] = right, left

    def count(xy: np.ndarray) -> dict[str, int]:
        detections = replace(found.detections, xy=xy, confidence=np.isfinite(xy[..., 0]).astype(np.float32))
        return count_swaps(scene, replace(found, detections=detections), {0: 0})

    assert count(given) == {"swapped": swapped, "mended": 0, "wrongly_exchanged": 0}
    mended = np.where(scene.swapped[..., None], given[..., mirror, :], given)
    assert count(mended) == {"swapped": swapped, "mended": swapped, "wrongly_exchanged": 0}
    untouched = slots.size - swapped
    assert count(given[..., mirror, :]) == {"swapped": swapped, "mended": swapped, "wrongly_exchanged": untouched}
    assert measure_people(scene, found)["swaps"]["swapped"] == swapped


def test_it_replaces_an_earlier_demo_and_nothing_else(demo, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    assert run(tmp_path / "mine") == 2
    assert re.search(r"mine: holds other things than an earlier demo", capsys.readouterr().err)
    (tmp_path / "mine" / "demo.json").write_text("{}")
    assert run(tmp_path / "mine") == 2
    assert "notes.txt" in [path.name for path in (tmp_path / "mine").iterdir()]
    assert main(["demo", "--out", str(tmp_path / "demo"), "--rounds", "0"]) == 2
    assert "--people-cameras 1: 2 or more" in _refusal(capsys, "--out", str(tmp_path / "demo"), "--people-cameras", "1")
    inside = _refusal(capsys, "--out", str(tmp_path / "demo"), "--json", str(tmp_path / "demo" / "figures.json"))
    assert "figures.json" in inside
    assert not (tmp_path / "demo").exists()
    assert run(tmp_path / "no" / "demo") == 2
    assert "no such folder" in capsys.readouterr().err


def _refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["demo", *arguments]) == 2
    return capsys.readouterr().err


def test_the_people_alone_and_a_failure_that_loses_nothing(tmp_path, tmp_path_factory, capsys, monkeypatch):
    without_open3d(monkeypatch, tmp_path_factory.mktemp("path"))
    out = tmp_path / "out"
    assert run(out, "--only", "people", "--people-frames", "6") == 0
    made = {path.name for path in out.iterdir()}
    assert {"demo.json", "people", "run.json"} <= made <= {"demo.json", "run.json", *PEOPLE_FILES}
    table = capsys.readouterr().out
    assert re.search(r"left hand +\d+\.\d +\d+\.\d +\d+\.\d", table)
    assert "2 people in 6 of 6 frames" in table
    before = (out / "demo.json").read_text()
    for killed in (KeyboardInterrupt, RuntimeError):
        with monkeypatch.context() as patch:

            def fail(*_: object, error: type[BaseException] = killed) -> None:
                raise error

            patch.setattr("posekit.apps.demo_people.measure_people", fail)
            if killed is KeyboardInterrupt:
                assert run(out, "--only", "people", "--people-frames", "6") == 130
            else:
                with pytest.raises(RuntimeError):
                    run(out, "--only", "people", "--people-frames", "6")
        assert (out / "demo.json").read_text() == before
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_demo_left_is_cleared_or_put_back(tmp_path, tmp_path_factory, monkeypatch):
    without_open3d(monkeypatch, tmp_path_factory.mktemp("path"))
    out = tmp_path / "out"
    (tmp_path / ".out.building" / "people").mkdir(parents=True)
    # Killed when the earlier demo had just made place for the new one.
    (tmp_path / ".out.earlier").mkdir()
    (tmp_path / ".out.earlier" / "demo.json").write_text('{"seconds": 1}\n')
    assert run(out, "--only", "people", "--people-frames", "0") == 2
    assert run(out, "--only", "people", "--people-frames", "6") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert json.loads((out / "demo.json").read_text())["people"]["frames"] == 6
