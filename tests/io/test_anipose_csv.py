import csv
import re
from pathlib import Path

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.io.anipose_csv import read_anipose_csv, write_anipose_csv
from posekit.keypoints import Keypoints3D
from posekit.point_status import PointStatus
from posekit.skeleton import BODY_25


def people() -> Keypoints3D:
    xyz = np.random.default_rng(0).normal(size=(3, 2, 25, 3))
    xyz[1, 1, 4] = np.nan
    present = np.isfinite(xyz).all(-1)
    inliers = np.broadcast_to([True, False, True], (*present.shape, 3)) & present[..., None]
    errors = np.where(present[..., None], [1.0, 90.0, 2.0], np.nan)
    status = np.where(present, PointStatus.OK, PointStatus.TOO_FEW_VIEWS).astype(np.uint8)
    covariance = np.zeros((*present.shape, 6))
    return Keypoints3D(
        xyz, covariance, inliers, errors, status, ("a", "b", "c"), np.array([7, 8, 9]), BODY_25, None, "t"
    )


def test_columns_are_aniposes_in_its_order(tmp_path):
    write_anipose_csv(tmp_path / "a.csv", people())
    with (tmp_path / "a.csv").open(newline="") as file:
        names, first, *_ = list(csv.reader(file))
    # As anipose's triangulate.py appends them to its table.
    assert names[:7] == ["nose_x", "nose_y", "nose_z", "nose_error", "nose_ncams", "nose_score", "neck_x"]
    assert names[-13:] == [
        *("M_00", "M_01", "M_02", "M_10", "M_11", "M_12", "M_20", "M_21", "M_22"),
        *("center_0", "center_1", "center_2", "fnum"),
    ]
    assert len(names) == len(first) == 25 * 6 + 13
    assert first[3:6] == ["1.5", "2.0", ""]
    assert first[-13:] == ["1.0", "0.0", "0.0", "0.0", "1.0", "0.0", "0.0", "0.0", "1.0", "0.0", "0.0", "0.0", "7"]


def test_round_trip_is_exact(tmp_path):
    keypoints = people()
    write_anipose_csv(tmp_path / "a.csv", keypoints, 1)
    read = read_anipose_csv(tmp_path / "a.csv")
    np.testing.assert_array_equal(read.xyz, keypoints.xyz[:, 1])
    assert read.joints == BODY_25.joints
    assert read.frames.tolist() == [7, 8, 9]
    assert np.argwhere(np.isnan(read.views)).tolist() == [[1, 4]]
    assert np.isnan(read.error[1, 4])
    assert np.nanmax(read.error) == 1.5
    assert np.isnan(read.score).all()


def test_aniposes_change_of_axes_is_taken_back(tmp_path):
    """Anipose shows M point - center, M's rows being the new axes."""
    point = np.array([0.3, -1.2, 2.0])
    turn = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    centre = np.array([0.1, 0.2, 0.3])
    shown = turn @ point - centre
    header = ["snout_x", "snout_y", "snout_z", "snout_error", "snout_ncams", "snout_score"]
    header += [f"M_{i}{j}" for i in range(3) for j in range(3)] + ["center_0", "center_1", "center_2", "fnum"]
    values = [*shown, 1.25, 3.0, 0.9, *turn.ravel(), *centre, 0]
    (tmp_path / "a.csv").write_text(",".join(header) + "\n" + ",".join(map(str, values)) + "\n")
    read = read_anipose_csv(tmp_path / "a.csv")
    np.testing.assert_allclose(read.xyz[0, 0], point, atol=1e-15)
    assert (read.error[0, 0], read.views[0, 0], read.score[0, 0]) == (1.25, 3, 0.9)


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"[\s\S]*", "", "no column is called <joint>_x"),
        (r"nose_y", "nose_w", "has no column 'nose_y'"),
        (r"neck_x", "nose_x", "two columns have one name"),
        (r"\n[^,]*,", "\n", "line 2 has 162 columns, 163 were expected"),
        (r"\n[^,]*,", "\nabc,", "'abc'"),
        (r",1\.0,0\.0,0\.0,0\.0,1\.0", ",1.0,0.5,0.0,0.0,1.0", "no change of axes"),
        (r",7\n", ",\n", "fnum: a number"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, pattern: str, replacement: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    write_anipose_csv(path, people())
    path.write_text(re.sub(pattern, replacement, path.read_text(), count=1))
    with pytest.raises(PosekitError, match=message) as caught:
        read_anipose_csv(path)
    assert "bad.csv" in str(caught.value)


def test_who_is_not_there_is_refused(tmp_path):
    with pytest.raises(PosekitError, match="no person 2"):
        write_anipose_csv(tmp_path / "a.csv", people(), 2)
    assert list(tmp_path.iterdir()) == []
