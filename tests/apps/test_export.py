import csv
import re

import numpy as np
import pytest

from posekit.apps.main import main
from posekit.io.trc import read_trc
from posekit.keypoints import Keypoints3D, PointStatus
from posekit.skeleton import BODY_25


def people(count: int, fps: float | None = 50.0, absent: tuple[int, ...] = ()) -> Keypoints3D:
    xyz = np.random.default_rng(1).normal(size=(4, count, 25, 3))
    xyz[:, list(absent)] = np.nan
    xyz[2, 0, 3] = np.nan
    shape = xyz.shape[:3]
    inliers = np.zeros((*shape, 3), bool)
    inliers[..., :2] = np.isfinite(xyz).all(-1)[..., None]
    errors = np.where(inliers, [1.5, 2.5, 40.0], np.nan)
    status = np.where(np.isfinite(xyz).all(-1), PointStatus.OK, PointStatus.TOO_FEW_VIEWS).astype(np.uint8)
    return Keypoints3D(
        xyz,
        np.zeros((*shape, 6)),
        inliers,
        errors.astype(np.float32),
        status,
        ("a", "b", "c"),
        np.arange(5, 9),
        BODY_25,
        fps,
        "t",
    )


@pytest.fixture
def export(tmp_path):
    (tmp_path / "out").mkdir()

    def run(keypoints: Keypoints3D, name: str, *more: str) -> int:
        keypoints.save(tmp_path / "in.h5")
        return main(["export", str(tmp_path / "in.h5"), str(tmp_path / "out" / name), *more])

    return run


def written(tmp_path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "out").iterdir())


def test_one_person_becomes_one_file(tmp_path, export):
    one = people(1)
    assert export(one, "man.trc") == 0
    assert written(tmp_path) == ["man.trc"]
    markers = read_trc(tmp_path / "out/man.trc")
    np.testing.assert_array_equal(markers.xyz, one.xyz[:, 0])
    assert markers.rate == 50


def test_several_people_become_a_file_each_and_who_is_not_there_none(tmp_path, export):
    three = people(3, absent=(1,))
    assert export(three, "all.trc") == 0
    assert written(tmp_path) == ["all_p0.trc", "all_p2.trc"]
    np.testing.assert_array_equal(read_trc(tmp_path / "out/all_p2.trc").xyz, three.xyz[:, 2])
    assert export(three, "two.trc", "--person", "2", "--up", "z", "--fps", "25") == 0
    markers = read_trc(tmp_path / "out/two.trc", up="z")
    np.testing.assert_array_equal(markers.xyz, three.xyz[:, 2])
    assert markers.rate == 25


def test_csv_has_aniposes_columns(tmp_path, export):
    one = people(1)
    assert export(one, "man.csv") == 0
    with (tmp_path / "out/man.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["fnum"] for row in rows] == ["5", "6", "7", "8"]
    joint = BODY_25.joints[7]
    assert [float(rows[1][f"{joint}_{axis}"]) for axis in "xyz"] == one.xyz[1, 0, 7].tolist()
    assert (float(rows[1][f"{joint}_error"]), float(rows[1][f"{joint}_ncams"])) == (2.0, 2.0)
    missing = BODY_25.joints[3]
    assert (rows[2][f"{missing}_x"], rows[2][f"{missing}_error"], rows[2][f"{missing}_score"]) == ("", "", "")
    assert [float(rows[0][f"M_{i}{i}"]) for i in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("keypoints", "arguments", "message"),
    [
        (people(1), ("a.c3d",), r"'\.c3d' is no format that can be written"),
        (people(1), ("no/a.trc",), "no such folder"),
        (people(2), ("a.trc", "--person", "2"), "has no person 2; it has 2"),
        (people(2, fps=None), ("a.trc",), r"in\.h5: names no frame rate, which TRC needs; give it with --fps"),
        (people(1), ("a.trc", "--fps", "-1"), "--fps: -1 is not a positive number"),
        (people(1, absent=(0,)), ("a.trc",), "holds not one 3D point"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(tmp_path, export, capsys, keypoints, arguments, message):
    assert export(keypoints, *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert written(tmp_path) == []


def test_a_file_that_is_no_keypoints_is_named(tmp_path, capsys):
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    assert main(["export", str(tmp_path / "a.h5"), str(tmp_path / "a.trc")]) == 2
    assert main(["export", str(tmp_path / "b.h5"), str(tmp_path / "a.trc")]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "a.h5" in first
    assert "b.h5: no such file" in second
    assert not (tmp_path / "a.trc").exists()
