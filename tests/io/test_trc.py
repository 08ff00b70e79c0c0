import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posekit.errors import PosekitError, PosekitWarning
from posekit.io.trc import marker_name, read_trc, write_trc
from posekit.keypoints import Keypoints3D
from posekit.point_status import PointStatus
from posekit.skeleton import BODY_25, BODY_25B, with_hands


def people_in_3d(frames: tuple[int, ...] = (0, 1, 2), fps: float | None = 60.0) -> Keypoints3D:
    xyz = np.random.default_rng(0).normal(size=(len(frames), 2, 25, 3))
    xyz[0, 0, 24] = np.nan
    xyz[1, 0, 3] = np.nan
    shape = xyz.shape[:3]
    status = np.where(np.isfinite(xyz).all(-1), PointStatus.OK, PointStatus.TOO_FEW_VIEWS)
    return Keypoints3D(
        xyz,
        np.zeros((*shape, 6)),
        np.zeros((*shape, 2), bool),
        np.zeros((*shape, 2)),
        status.astype(np.uint8),
        ("a", "b"),
        np.array(frames),
        BODY_25B,
        fps,
        "test",
    )


def test_the_file_is_what_opensim_checks(tmp_path: Path) -> None:
    keypoints = people_in_3d()
    write_trc(tmp_path / "out.trc", keypoints)
    lines = (tmp_path / "out.trc").read_text().splitlines()
    assert lines[0] == "PathFileType\t4\t(X/Y/Z)\tout.trc"
    assert lines[1] == (
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames"
    )
    assert lines[2] == "60\t60\t3\t25\tm\t60\t0\t3"
    # OpenSim's TRCFileAdapter drops the empty cells of lines 4 and 5 and compares what remains.
    assert [cell for cell in lines[3].split("\t") if cell][:4] == ["Frame#", "Time", "Nose", "LEye"]
    assert [cell for cell in lines[4].split("\t") if cell][-3:] == ["X25", "Y25", "Z25"]
    row = lines[6].split("\t")
    assert len(row) == 2 + 3 * 25
    assert row[:2] == ["2", repr(1 / 60)]
    x, y, z = keypoints.xyz[1, 0, 0]
    assert [float(cell) for cell in row[2:5]] == [y, z, x]  # up is the second column
    assert row[2 + 9 : 2 + 12] == ["NaN"] * 3


def test_round_trip_is_exact_and_keeps_the_world(tmp_path: Path) -> None:
    keypoints = people_in_3d()
    for up in ("y", "z"):
        write_trc(tmp_path / "out.trc", keypoints, person=1, up=up)
        markers = read_trc(tmp_path / "out.trc", up=up)
        np.testing.assert_array_equal(markers.xyz, keypoints.xyz[:, 1])
        assert markers.rate == 60
        assert markers.numbers.tolist() == [1, 2, 3]
        assert markers.names[17:19] == ("Neck", "Head")


def test_left_out_frames_become_rows_of_nan_at_an_even_rate(tmp_path: Path) -> None:
    keypoints = people_in_3d(frames=(30, 10, 14))
    write_trc(tmp_path / "out.trc", keypoints)
    markers = read_trc(tmp_path / "out.trc")
    assert markers.rate == 15  # every fourth frame of 60 per second: 10, 14, 18, 22, 26, 30
    np.testing.assert_array_equal(markers.time * 60, [10, 14, 18, 22, 26, 30])
    np.testing.assert_array_equal(np.isfinite(markers.xyz).any(axis=(1, 2)), [1, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(markers.xyz[5], keypoints.xyz[0, 0])
    with pytest.raises(PosekitError, match="too uneven"):
        write_trc(tmp_path / "out.trc", people_in_3d(frames=(0, 1, 1_000_000)))


def test_markers_are_called_as_pose2sim_calls_them() -> None:
    names = [marker_name(joint) for joint in with_hands(BODY_25).joints]
    assert len(set(names)) == 25 + 42
    assert names[:3] == ["Nose", "Neck", "RShoulder"]
    assert names[8] == "CHip"
    assert marker_name("left_small_toe") == "LSmallToe"
    assert marker_name("right_little_4") == "RPinky4"
    assert marker_name("left_hand_wrist") == "LHandWrist"


def test_pose2sims_own_files_are_read(shared_data: Path) -> None:
    markers = read_trc(shared_data / "pose2sim_balancing/peer_3d/balancing_raw_0-100.trc")
    assert markers.xyz.shape == (100, 21, 3)
    assert markers.rate == 60
    # A standing man: his head above his hips, above his knees, above his heels, in metres and along Z.
    heights = [
        np.nanmedian(markers.xyz[:, markers.names.index(name), 2]) for name in ("Head", "RHip", "RKnee", "RHeel")
    ]
    assert heights == sorted(heights, reverse=True)
    assert 1.2 < heights[0] - heights[3] < 1.9  # he bends forward
    assert set(markers.names) <= {marker_name(joint) for joint in BODY_25B.joints}


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"PathFileType", "Path", "line 1 must start"),
        (r"\A(.*\n)(.*\n)[\s\S]*", r"\1\2", "has 2 lines"),
        (r"\t25\tm", "\t24\tm", "names 25 markers, NumMarkers says 24"),
        (r"\t25\tm", "\tmany\tm", "NumMarkers is 'many'"),
        (r"\tm\t", "\tfoot\t", "Units is 'foot'"),
        (r"60\t60\t3", "0\t60\t3", "DataRate is 0"),
        (r"60\t60\t3", "60\t3", "line 3 has 7 values"),
        (r"\tLEye\t", "\tNose\t", "names a marker twice"),
        (r"\n3\t.*", "\n3\t0.1\t1.0,5\t2\t3", r"line 8.*1\.0,5"),
        (r"\n3\t", "\n3\t1\t2\t3\t", "line 8 has 80 columns, 77 were expected"),
        (r"\n3\t", "\n\t", "line 8 has no frame number"),
        (r"\nFrame#[\s\S]*", r"\nFrame#\tTime\tNose\n\t\tX1\tY1\tZ1\n", "names 1 markers"),
    ],
)
def test_damaged_files_are_named_with_line_and_field(
    tmp_path: Path, pattern: str, replacement: str, message: str
) -> None:
    path = tmp_path / "bad.trc"
    write_trc(path, people_in_3d())
    changed, count = re.subn(pattern, replacement, path.read_text(), count=1)
    assert count == 1
    path.write_text(changed)
    with pytest.raises(PosekitError, match=message) as caught:
        read_trc(path)
    assert "bad.trc" in str(caught.value)


def test_other_writers_habits_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "other.trc"
    path.write_bytes(
        b"PathFileType\t4\t(X/Y/Z)\tother.trc\t\r\n"
        b"DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames\r\n"
        b"120.00\t120.00\t9\t2\tmm\t120.00\t1\t9\r\n"
        b"Frame#\tTime\tR.ASIS\t\t\tSternum\t\t\t\r\n"
        b"\t\tX1\tY1\tZ1\tX2\tY2\tZ2\t\r\n"
        b"\r\n"
        b"1\t0.000\t1000\t2000\t3000\tnan\tNAN\tNaN\t\r\n"
        b"2\t0.008\t\t\t\t10\t20\t30\r\n"
        b"3\t0.017\t1\t2\t3\r\n"
    )
    with pytest.warns(PosekitWarning, match="NumFrames says 9, it has 3 rows"):
        markers = read_trc(path)
    np.testing.assert_array_equal(markers.xyz[0], [[3, 1, 2], [np.nan] * 3])
    np.testing.assert_array_equal(np.isfinite(markers.xyz[..., 0]), [[1, 0], [0, 1], [1, 0]])
    (tmp_path / "binary.trc").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(PosekitError, match="not text"):
        read_trc(tmp_path / "binary.trc")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    keypoints = people_in_3d()
    with pytest.raises(PosekitError, match="no person 2"):
        write_trc(tmp_path / "out.trc", keypoints, person=2)
    with pytest.raises(PosekitError, match="frame rate"):
        write_trc(tmp_path / "out.trc", replace(keypoints, fps=None))
    with pytest.raises(PosekitError, match="hold no frame"):
        write_trc(tmp_path / "out.trc", _without_frames(keypoints))
    assert list(tmp_path.iterdir()) == []


def _without_frames(keypoints: Keypoints3D) -> Keypoints3D:
    names = ("xyz", "covariance", "inliers", "reprojection_px", "status", "frames")
    return replace(keypoints, **{name: getattr(keypoints, name)[:0] for name in names})
