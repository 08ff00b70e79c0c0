import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from posekit.apps.main import main
from posekit.keypoints import Keypoints3D
from posekit.motion.angles import joint_angles
from posekit.point_status import PointStatus
from scenes import PERSON, walk


def walking(count: int, *, absent: tuple[int, ...] = (), fps: float | None = 50.0) -> Keypoints3D:
    """Return people of 8 frames; their left ankle is missing in frame 2 and was filled in frame 3."""
    xyz = np.stack([walk(8, (person, 0), (person, 1)) for person in range(count)], axis=1)
    status = np.zeros(xyz.shape[:3], dtype=np.uint8)
    status[2, :, PERSON.index("left_ankle")] = PointStatus.TOO_FEW_VIEWS
    status[3, :, PERSON.index("left_ankle")] = PointStatus.FILLED
    status[:, list(absent)] = PointStatus.TOO_FEW_VIEWS
    xyz[(status != PointStatus.OK) & (status != PointStatus.FILLED)] = np.nan
    F, P, J = status.shape
    return Keypoints3D(
        xyz=xyz,
        covariance=np.zeros((F, P, J, 6)),
        inliers=np.ones((F, P, J, 2), dtype=bool),
        reprojection_px=np.zeros((F, P, J, 2)),
        status=status,
        cameras=("a", "b"),
        frames=10 + np.arange(F),
        skeleton=PERSON,
        fps=fps,
    )


def run(folder: Path, keypoints: Keypoints3D, *arguments: str) -> int:
    keypoints.save(folder / "in.h5")
    return main(["angles", str(folder / "in.h5"), *arguments])


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_table_in_degrees_its_record_and_its_figures(tmp_path, capsys):
    keypoints = walking(1)
    assert run(tmp_path, keypoints, "a.csv", "--json", "a.json") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.csv.run.json", "a.json", "in.h5"]
    with Path("a.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    angles = joint_angles(keypoints)
    assert header == ["frame", "time_s", "filled_points", *(f"{name}_deg" for name in angles.names)]
    assert [row[0] for row in rows] == [str(frame) for frame in range(10, 18)]
    assert [float(row[1]) for row in rows] == pytest.approx(np.arange(10, 18) / 50)
    assert [row[2] for row in rows] == ["0", "0", "0", "1", "0", "0", "0", "0"]
    values = np.array([[float(cell or "nan") for cell in row[3:]] for row in rows])
    # Written with four digits of a degree.
    np.testing.assert_allclose(values, np.rad2deg(angles.values[:, 0]), atol=5.1e-5)
    assert rows[2][header.index("left_knee_flexion_deg")] == ""

    figures = json.loads(Path("a.json").read_text())
    knee = np.rad2deg(angles.values[:, 0, angles.names.index("left_knee_flexion")])
    assert figures["persons"]["0"]["left_knee_flexion"] == pytest.approx(
        {"frames": 7, "min_deg": np.nanmin(knee), "median_deg": np.nanmedian(knee), "max_deg": np.nanmax(knee)}
    )
    assert figures["frames"] == 8
    record = json.loads(Path("a.csv.run.json").read_text())
    assert (record["command"], record["figures"]) == ("angles", figures["persons"]["0"])
    assert re.search(r"left_knee_flexion +7 ", capsys.readouterr().out)


def test_several_people_make_a_file_each_and_one_may_be_chosen(tmp_path):
    assert run(tmp_path, walking(3, absent=(1,)), "a.csv") == 0
    assert sorted(path.name for path in tmp_path.glob("a*")) == [
        "a_p0.csv",
        "a_p0.csv.run.json",
        "a_p2.csv",
        "a_p2.csv.run.json",
    ]
    assert run(tmp_path, walking(3, absent=(1,)), "b.csv", "--person", "2") == 0
    assert Path("b.csv").read_text() == Path("a_p2.csv").read_text()


@pytest.mark.parametrize(("up", "inclination"), [("z", 0), ("-z", 180), ("y", 90), ("x", 90)])
def test_up_is_what_inclinations_are_measured_from(tmp_path, up, inclination):
    assert run(tmp_path, walking(1), "a.csv", f"--up={up}") == 0
    with Path("a.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert float(row["trunk_inclination_deg"]) == pytest.approx(inclination, abs=1e-4)


@pytest.mark.parametrize(
    ("keypoints", "arguments", "message"),
    [
        (walking(1), ("a.txt",), r"a\.txt: the result is a table, a name ending in \.csv was expected"),
        (walking(1), ("no/a.csv",), "no: no such folder"),
        (walking(2), ("a.csv", "--person", "2"), r"in\.h5: has no person 2; it has 2, counted from 0"),
        (walking(1, absent=(0,)), ("a.csv",), r"in\.h5: holds not one 3D point"),
        (walking(1, fps=None), ("a.csv",), r"in\.h5: names no frame rate, which the times need; give it with --fps"),
        (walking(1), ("a.csv", "--fps", "-2"), "--fps: -2 is not a positive number"),
        (walking(1), ("a.csv", "--json", "a.csv"), r"a\.csv: would be written over"),
        (walking(2), ("a.csv", "--json", "a_p1.csv.run.json"), r"a_p1\.csv\.run\.json: would be written over"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(tmp_path, capsys, keypoints, arguments, message):
    assert run(tmp_path, keypoints, *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5"]
