import json

import pytest

from calibration_scenes import shaken
from posekit.apps.main import main
from posekit.calibration.formats import read_rig, write_aniposelib
from scenes import observe, ring_rig, walk


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A folder with the keypoints of a person, the rig they were filmed by, and one that is a little off."""
    folder = tmp_path_factory.mktemp("filmed")
    rig = ring_rig(4)
    observe(rig, [walk(50, (-1.0, -0.5), (1.0, 0.6))], noise_px=2.0).keypoints.save(folder / "k.h5")
    write_aniposelib(folder / "right.toml", rig)
    write_aniposelib(folder / "rough.toml", shaken(rig, 0.5, 0.03))
    return folder


def calibrate(folder, rig: str, out, *more: str) -> int:
    return main(
        ["calibrate", "--refine", str(folder / rig), "--keypoints", str(folder / "k.h5"), "--out", str(out), *more]
    )


def test_a_rough_rig_is_refined_and_told(filmed, tmp_path, capsys):
    assert calibrate(filmed, "rough.toml", tmp_path / "out.toml", "--json", str(tmp_path / "figures.json")) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["improved"]
    assert figures["heldout_after"]["median_px"] < 0.5 * figures["heldout_before"]["median_px"]
    assert set(figures["cameras"]) == {"cam_1", "cam_2", "cam_3", "cam_4"}
    printed = capsys.readouterr().out
    assert f"{figures['heldout_after']['median_px']:.2f}" in printed
    assert "left as it is" not in printed
    assert read_rig(tmp_path / "out.toml").names == ("cam_1", "cam_2", "cam_3", "cam_4")
    assert json.loads((tmp_path / "out.toml.run.json").read_text())["command"] == "calibrate"


def test_a_right_rig_is_left_as_it_is(filmed, tmp_path, capsys):
    assert calibrate(filmed, "right.toml", tmp_path / "out.toml") == 0
    assert "the rig was left as it is" in capsys.readouterr().out
    before, after = read_rig(filmed / "right.toml"), read_rig(tmp_path / "out.toml")
    for a, b in zip(before.cameras, after.cameras, strict=True):
        assert a.centre_world == pytest.approx(b.centre_world, abs=1e-12)


@pytest.mark.parametrize(
    ("rig", "out", "line"),
    [
        ("gone.toml", "out.toml", "gone.toml: no such file"),
        ("rough.toml", "out.json", "out.json: a rig is written as .toml"),
        ("rough.toml", "below/out.toml", "below: no such folder"),
        ("rough.toml", "rough.toml", "rough.toml: would be written over"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(filmed, tmp_path, capsys, rig, out, line):
    place = filmed / out if out == "rough.toml" else tmp_path / out
    before = (filmed / "rough.toml").read_bytes()
    assert calibrate(filmed, rig, place) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert (filmed / "rough.toml").read_bytes() == before
