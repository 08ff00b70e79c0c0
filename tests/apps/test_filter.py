import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posekit.apps.main import main
from posekit.keypoints import Keypoints3D
from posekit.motion.filters import Butterworth, Median, OneEuro, filter_people
from posekit.motion.gaps import GapSettings, fill_people
from posekit.point_status import PointStatus
from scenes import PERSON, walk

KNEE, ELBOW = PERSON.index("left_knee"), PERSON.index("left_elbow")


def noisy_people(fps: float | None = 30.0) -> Keypoints3D:
    """Return two people of 60 frames, noise 10 mm; of the first, 4 frames of a knee and 20 of an elbow are missing."""
    xyz = np.stack((walk(60, (-1, 0), (1, 0)), walk(60, (1, 1), (-1, 1))), axis=1)
    xyz += np.random.default_rng(0).normal(0, 0.01, xyz.shape)
    status = np.zeros(xyz.shape[:3], dtype=np.uint8)
    status[20:24, 0, KNEE] = PointStatus.TOO_FEW_VIEWS
    status[20:40, 0, ELBOW] = PointStatus.NO_AGREEMENT
    xyz[status > 0] = np.nan
    F, P, J = status.shape
    return Keypoints3D(
        xyz=xyz,
        covariance=np.where(status[..., None] > 0, np.nan, 1e-4 * np.array([1, 0, 0, 1, 0, 1])),
        inliers=np.ones((F, P, J, 2), dtype=bool),
        reprojection_px=np.full((F, P, J, 2), 3.0),
        status=status,
        cameras=("a", "b"),
        frames=np.arange(F),
        skeleton=PERSON,
        fps=fps,
        source="two people",
    )


@pytest.fixture
def given(tmp_path) -> Path:
    noisy_people().save(tmp_path / "in.h5")
    return tmp_path / "in.h5"


def run(given: Path, *more: str) -> int:
    return main(["filter", str(given), str(given.with_name("out.h5")), *more])


def test_gaps_are_filled_noise_is_removed_and_figures_say_so(given, tmp_path, capsys):
    assert run(given, "--json", str(tmp_path / "figures.json")) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "in.h5", "out.h5", "out.run.json"]
    people, found = Keypoints3D.load(given), Keypoints3D.load(tmp_path / "out.h5")
    expected = filter_people(fill_people(people, 30, GapSettings(0.2)), 30, Butterworth(6, 4)).people
    np.testing.assert_array_equal(found.xyz, expected.xyz)
    np.testing.assert_array_equal(found.status, expected.status)
    assert (found.fps, found.source) == (30, "two people")

    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [person["points_filled"] for person in figures["persons"]] == [4, 0]
    assert [person["points_missing"] for person in figures["persons"]] == [20, 0]
    assert [person["longest_gap_left_s"] for person in figures["persons"]] == pytest.approx([20 / 30, 0])
    assert figures["persons"][1]["points"] == figures["persons"][1]["points_filtered"] == 60 * 67
    moved = np.linalg.norm(found.xyz[:, 1] - people.xyz[:, 1], axis=-1)
    assert figures["persons"][1]["change_rms_m"] == pytest.approx(np.sqrt((moved**2).mean()))
    record = json.loads((tmp_path / "out.run.json").read_text())
    assert record["command"] == "filter"
    assert record["figures"] == figures
    table = capsys.readouterr().out
    assert re.search(r"0 +4000 +4 +20 +0\.67 +4000", table), table
    assert max(map(len, table.splitlines())) <= 80

    truth = np.stack((walk(60, (-1, 0), (1, 0)), walk(60, (1, 1), (-1, 1))), axis=1)
    before = np.sqrt(np.nanmean((people.xyz - truth) ** 2))
    after = np.sqrt(np.nanmean((found.xyz - truth) ** 2))
    assert after < 0.8 * before  # a fifth of the band to 15 Hz would be 0.65; the arms swing, too


@pytest.mark.parametrize(
    ("arguments", "settings", "gaps"),
    [
        (("--filter", "one-euro", "--min-cutoff-hz", "2", "--speed-coefficient", "3"), OneEuro(2, 3), 0.2),
        (("--filter", "median", "--window", "7", "--fill-gaps", "0"), Median(7), 0),
        (("--cutoff-hz", "4", "--order", "2", "--cutoff-each-pass"), Butterworth(4, 2, each_pass=True), 0.2),
        (("--filter", "none", "--fill-gaps", "1", "--interpolation", "pchip"), None, 1),
    ],
)
def test_options_reach_the_filter(given, arguments, settings, gaps):
    assert run(given, *arguments) == 0
    expected = fill_people(Keypoints3D.load(given), 30, GapSettings(gaps, "pchip" if gaps == 1 else "linear"))
    if settings:
        expected = filter_people(expected, 30, settings).people
    found = Keypoints3D.load(given.with_name("out.h5"))
    for name in ("xyz", "status", "covariance", "reprojection_px"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_short_pieces_are_told(given, capsys):
    assert run(given, "--order", "16", "--fill-gaps", "0") == 0
    # Padded by 27 frames, pieces of 28 and more are filtered: the knee's of 20, and the elbow's two of 20 are not.
    assert "3 pieces between gaps are too short for the filter" in capsys.readouterr().out


def test_a_frame_rate_may_be_given(tmp_path, capsys):
    noisy_people(fps=None).save(tmp_path / "in.h5")
    assert run(tmp_path / "in.h5") == 2
    assert "in.h5: names no frame rate, which a filter needs; give it with --fps" in capsys.readouterr().err
    assert run(tmp_path / "in.h5", "--fps", "50") == 0
    assert Keypoints3D.load(tmp_path / "out.h5").fps == 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cutoff-hz", "15"), r"in\.h5: butterworth: a cutoff of 15 Hz is not below half the frame rate, 15 Hz"),
        (("--cutoff-hz", "-1"), "butterworth: cutoff -1 Hz is not a positive number"),
        (("--order", "3"), "butterworth: order 3: an even number was expected"),
        (("--filter", "median", "--window", "4"), "median: window 4: an odd number"),
        (("--fill-gaps", "-1"), "--fill-gaps: -1 is no length of time"),
        (("--filter", "none", "--fill-gaps", "0"), "leaves nothing to do"),
        (("--fps", "0"), "--fps: 0 is not a positive number"),
        (("--json", "no/figures.json"), "no such folder"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(given, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(given.parent)
    assert run(given, *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert [path.name for path in given.parent.iterdir()] == ["in.h5"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("in.h5", r"in\.h5: would be written over"),
        ("out.csv", r"out\.csv: the result is an HDF5 file"),
        ("no/out.h5", "no: no such folder"),
    ],
)
def test_an_output_that_cannot_be_is_said(given, capsys, out, message):
    content = given.read_bytes()
    assert main(["filter", str(given), str(given.with_name("x").parent / out)]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert given.read_bytes() == content


@pytest.mark.parametrize("rows", [np.s_[:0, :], np.s_[:, :0]])
def test_nothing_to_filter_is_said(tmp_path, capsys, rows):
    people = noisy_people()
    arrays = {
        name: getattr(people, name)[rows] for name in ("xyz", "covariance", "inliers", "reprojection_px", "status")
    }
    replace(people, **arrays, frames=people.frames[rows[0]]).save(tmp_path / "in.h5")
    assert run(tmp_path / "in.h5") == 2
    assert re.search(r"in\.h5: holds not one 3D point\n$", capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5"]


def test_frames_that_do_not_ascend_are_said_with_the_file(tmp_path, capsys):
    people = noisy_people()
    Keypoints3D(**{**people.__dict__, "frames": people.frames[::-1]}).save(tmp_path / "in.h5")
    assert run(tmp_path / "in.h5") == 2
    assert "in.h5: frames: must ascend, but 59 is followed by 58" in capsys.readouterr().err
