import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posekit.apps.main import main
from posekit.io.c3d import read_c3d
from posekit.io.openpose_json_3d import read_openpose_3d
from posekit.io.trc import read_trc
from posekit.keypoints import Keypoints3D
from posekit.point_status import PointStatus
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
    assert written(tmp_path) == ["man.trc", "man.trc.run.json"]
    markers = read_trc(tmp_path / "out/man.trc")
    np.testing.assert_array_equal(markers.xyz, one.xyz[:, 0])
    assert markers.rate == 50


def test_several_people_become_a_file_each_and_who_is_not_there_none(tmp_path, export):
    three = people(3, absent=(1,))
    assert export(three, "all.trc") == 0
    assert written(tmp_path) == ["all.trc.run.json", "all_p0.trc", "all_p2.trc"]
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
    assert rows[2][f"{BODY_25.joints[3]}_ncams"] == ""
    missing = BODY_25.joints[3]
    assert (rows[2][f"{missing}_x"], rows[2][f"{missing}_error"], rows[2][f"{missing}_score"]) == ("", "", "")
    assert [float(rows[0][f"M_{i}{i}"]) for i in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("keypoints", "arguments", "message"),
    [
        (people(1), ("a.fbx",), r"'\.fbx' is no format that can be written"),
        (people(1), ("a.csv", "--up", "y"), "--up y: .csv files have the world's own axes"),
        (people(1), ("a.json", "--unit", "mm"), "--unit mm: .json files"),
        (people(1), ("a.csv", "--world-up", "y"), "--world-up y: .csv files"),
        (people(1), ("a.trc", "--span", "4", "6"), r"--span 4 6: .*in\.h5 has frames 5 to 8"),
        (people(1), ("a.trc", "--json", "f.json"), "only a .bvh file's fit has figures"),
        (people(1, fps=None), ("a.bvh",), "names no frame rate, which BVH needs"),
        (people(1, fps=None), ("a.c3d",), "names no frame rate, which C3D needs"),
        (people(2, absent=(1,)), ("a.bvh", "--person", "1"), "not one point of person 1"),
        (people(1), ("no/a.trc",), "no such folder"),
        (people(2), ("a.trc", "--person", "2"), "has no person 2; it has 2"),
        (people(2, fps=None), ("a.trc",), r"in\.h5: names no frame rate, which TRC needs; give it with --fps"),
        (people(1), ("a.trc", "--fps", "-1"), "--fps: -1 is not a positive number"),
        (people(2), ("a.bvh", "--json", "OUT/a_p1.bvh"), r"a_p1\.bvh: would be written over"),
        (people(1), ("a.bvh", "--json", "OUT/a.bvh.run.json"), r"a\.bvh\.run\.json: would be written over"),
        (people(1, absent=(0,)), ("a.trc",), "holds not one 3D point"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(tmp_path, export, capsys, keypoints, arguments, message):
    assert export(keypoints, *(argument.replace("OUT", str(tmp_path / "out")) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert written(tmp_path) == []


def test_the_record_stands_beside_and_not_on_that_of_the_keypoints(tmp_path, export):
    (tmp_path / "out" / "in.run.json").write_text("of in.h5")
    assert export(people(2), "in.trc", "--person", "1") == 0
    assert (tmp_path / "out" / "in.run.json").read_text() == "of in.h5"
    record = json.loads((tmp_path / "out" / "in.trc.run.json").read_text())
    assert (record["command"], record["settings"]["person"]) == ("export", 1)
    assert [Path(path).name for path in record["files"]] == ["in.trc"]
    assert [Path(path).name for path in record["inputs"]] == ["in.h5"]


def test_what_cannot_be_written_is_named_as_it_was_asked_for(tmp_path, export, capsys):
    two = people(2)
    assert export(replace(two, frames=np.array([0, 1, 2, 10**9])), "all.trc") == 2
    assert f"{tmp_path / 'out' / 'all_p0.trc'}: 4 frames between 0 and 1000000000" in capsys.readouterr().err
    assert written(tmp_path) == []


def test_c3d_holds_everyone_and_says_where_up_is(tmp_path, export):
    three = people(3, absent=(1,))
    assert export(three, "all.c3d", "--span", "6", "7") == 0
    assert written(tmp_path) == ["all.c3d", "all.c3d.run.json"]
    markers = read_c3d(tmp_path / "out/all.c3d")
    assert {name.partition(":")[0] for name in markers.names} == {"person0", "person2"}
    np.testing.assert_allclose(markers.xyz[:, 25:], three.xyz[1:3, 2], atol=3e-7)  # float32
    assert markers.numbers.tolist() == [6, 7]


def test_json_is_a_folder_of_frames(tmp_path, export):
    two = people(2)
    assert export(two, "all.json") == 0
    assert written(tmp_path) == ["all.json.run.json", "all_json"]
    np.testing.assert_array_equal(read_openpose_3d(tmp_path / "out/all_json").xyz, two.xyz)
    assert export(two, "all.json", "--person", "1") == 0
    assert read_openpose_3d(tmp_path / "out/all_json").people == (1,)


def test_bvh_says_how_well_the_bones_fit(tmp_path, export, capsys):
    assert export(people(1), "man.bvh", "--json", str(tmp_path / "out" / "fit.json"), "--unit", "m") == 0
    assert written(tmp_path) == ["fit.json", "man.bvh", "man.bvh.run.json"]
    (figures,) = json.loads((tmp_path / "out" / "fit.json").read_text())["files"].values()
    # 4 frames of 25 joints, of which one is missing once.
    assert (figures["points"], figures["missing"], figures["left_out"]) == (99, 1, [])
    assert f"joints within {figures['mean_mm']:.1f} mm on average" in capsys.readouterr().err
    lines = (tmp_path / "out" / "man.bvh").read_text().splitlines()
    assert lines[lines.index("MOTION") + 1 : lines.index("MOTION") + 3] == ["Frames: 4", "Frame Time: 0.0200000000"]


def test_a_world_with_y_up_stays_upright_in_opensims_files(tmp_path, export):
    one = people(1)
    assert export(one, "man.trc", "--world-up", "y", "--unit", "mm") == 0
    rows = [line.split("\t") for line in (tmp_path / "out/man.trc").read_text().splitlines()]
    assert rows[2][4] == "mm"
    # A Y-up world in a Y-up file: nothing is turned.
    np.testing.assert_allclose([float(cell) for cell in rows[5][2:5]], 1000 * one.xyz[0, 0, 0], rtol=1e-12)


def test_a_file_that_is_no_keypoints_is_named(tmp_path, capsys):
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    assert main(["export", str(tmp_path / "a.h5"), str(tmp_path / "a.trc")]) == 2
    assert main(["export", str(tmp_path / "b.h5"), str(tmp_path / "a.trc")]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "a.h5: is no HDF5 file" in first
    assert "b.h5: no such file" in second
    assert not (tmp_path / "a.trc").exists()
