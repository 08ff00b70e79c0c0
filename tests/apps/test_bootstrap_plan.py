import json

import pytest

from posekit.apps.main import main


def test_plan_needs_no_capture_and_says_how_many_cameras(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["bootstrap", "--plan", "--pck", "0.6", "0.8", "--views", "4", "8", "--visibility", "1"]
    assert main([*arguments, "--json", str(tmp_path / "plan.json")]) == 0
    told = capsys.readouterr().out
    rows = [line.split() for line in told.splitlines() if line.strip().startswith(("0.6", "0.8"))]
    # Points, then fingers. Of 4 and 8 cameras at PCK 0.6 the paper's analysis has 47.5 % and 95 %; accidents take 2 %.
    assert [row[0] for row in rows] == ["0.6", "0.8", "0.6", "0.8"]
    assert rows[0][1].startswith("48/")
    assert rows[0][2].startswith("93/")
    points, fingers = (json.loads((tmp_path / "plan.json").read_text())[what] for what in ("points", "fingers"))
    assert rows[1][3] == str(points[1]["cameras_needed"])
    assert points[1]["cameras_needed"] < points[0]["cameras_needed"]
    assert points[1]["cameras_needed"] < fingers[1]["cameras_needed"]
    assert max(len(line) for line in told.splitlines() if "/" in line) <= 80


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pck", "60"], "--pck: 60 was given, a probability from 0 to 1"),
        (["--views", "1"], "--views: 1 was given"),
        (["--most", "1000"], "--most: 1000 was given"),
        (["--threshold", "2"], "threshold: 2 B was given"),
        (["--finger", "2"], "--finger: 2 was given, 0 to 1 was expected"),
        (["--right", "95"], "--right: 95 was given"),
        (["--json", "nowhere/plan.json"], "nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, words, capsys):
    assert main(["bootstrap", "--plan", *arguments]) == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith("posekit: error: ")
    assert words in line
    assert "\n" not in line
