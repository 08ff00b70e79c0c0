import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.c3d import read_c3d, write_c3d
from posekit.keypoints import Keypoints3D
from posekit.point_status import PointStatus
from posekit.skeleton import BODY_25


def people(count: int = 2, frames: tuple[int, ...] = (4, 5, 6), fps: float | None = 60.0) -> Keypoints3D:
    xyz = np.random.default_rng(0).normal(size=(len(frames), count, 25, 3))
    xyz[1, 0, 3] = np.nan
    shape = xyz.shape[:3]
    status = np.where(np.isfinite(xyz).all(-1), PointStatus.OK, PointStatus.TOO_FEW_VIEWS).astype(np.uint8)
    inliers = np.zeros((*shape, 2), bool)
    return Keypoints3D(
        xyz,
        np.zeros((*shape, 6)),
        inliers,
        np.zeros((*shape, 2)),
        status,
        ("a", "b"),
        np.array(frames),
        BODY_25,
        fps,
        "t",
    )


def raw_points(content: bytes) -> NDArray[np.float32]:
    """The points of a C3D file of floats, (F, M, 4), taken from its bytes as the format's manual describes them."""
    words = np.frombuffer(content[:512], "<u2")
    assert words[0] == 0x5002  # parameters in block 2, the key of C3D
    points, first, last, data_block = int(words[1]), int(words[3]), int(words[4]), int(words[8])
    scale, rate = np.frombuffer(content[12:16], "<f4")[0], np.frombuffer(content[20:24], "<f4")[0]
    assert scale < 0  # coordinates are floats
    assert rate == 60
    assert first == 5  # C3D counts from 1
    start, count = 512 * (data_block - 1), (last - first + 1) * points * 4
    return np.frombuffer(content[start : start + 4 * count], "<f4").reshape(-1, points, 4)


def test_the_bytes_are_what_the_format_says(tmp_path):
    keypoints = people(1)
    write_c3d(tmp_path / "a.c3d", keypoints)
    points = raw_points((tmp_path / "a.c3d").read_bytes())
    present = np.isfinite(keypoints.xyz[:, 0, :, 0])
    # mm as float32: 3 m are good to 0.0002 mm.
    np.testing.assert_allclose(points[present][:, :3], 1000 * keypoints.xyz[:, 0][present], atol=3e-4)
    np.testing.assert_array_equal(points[1, 3], [0, 0, 0, -1])
    assert (points[present][:, 3] == 0).all()


def test_round_trip_of_one_person(tmp_path):
    keypoints = people(1)
    for up, world_up, unit in (("z", "z", "mm"), ("y", "z", "m"), ("-x", "y", "cm")):
        write_c3d(tmp_path / "a.c3d", keypoints, up=up, world_up=world_up, unit=unit)
        # Of -x the file says as much as of x, y, z: read_c3d takes it from Y_SCREEN.
        markers = read_c3d(tmp_path / "a.c3d", world_up=world_up)
        np.testing.assert_allclose(markers.xyz, keypoints.xyz[:, 0], atol=3e-7)  # float32
        assert markers.names[:3] == ("Nose", "Neck", "RShoulder")
        assert markers.rate == 60
        assert markers.numbers.tolist() == [4, 5, 6]


def test_several_people_are_subjects_of_one_file(tmp_path):
    import ezc3d

    keypoints = people(3)
    write_c3d(tmp_path / "a.c3d", keypoints, (0, 2))
    markers = read_c3d(tmp_path / "a.c3d")
    assert markers.names[0] == "person0:Nose"
    assert markers.names[25] == "person2:Nose"
    np.testing.assert_allclose(markers.xyz[:, 25:], keypoints.xyz[:, 2], atol=3e-7)
    subjects = ezc3d.c3d(str(tmp_path / "a.c3d"))["parameters"]["SUBJECTS"]
    assert subjects["NAMES"]["value"] == ["person0", "person2"]
    assert subjects["LABEL_PREFIXES"]["value"] == ["person0:", "person2:"]


def test_left_out_frames_are_rows_without_points(tmp_path):
    write_c3d(tmp_path / "a.c3d", people(1, (8, 2, 4)))
    markers = read_c3d(tmp_path / "a.c3d")
    assert markers.rate == 30  # 2, 4, 6, 8 of 60 per second
    assert np.isfinite(markers.xyz).any(axis=(1, 2)).tolist() == [True, True, False, True]


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    with pytest.raises(PosekitError, match="no person 2"):
        write_c3d(tmp_path / "a.c3d", people(), (0, 2))
    with pytest.raises(PosekitError, match="C3D needs a frame rate"):
        write_c3d(tmp_path / "a.c3d", people(fps=None))
    with pytest.raises(PosekitError, match="at most 65535 frames, these are 65536"):
        write_c3d(tmp_path / "a.c3d", _long())
    monkeypatch.setitem(sys.modules, "ezc3d", None)
    with pytest.raises(PosekitError, match=r"pip install 'posekit\[c3d\]'"):
        write_c3d(tmp_path / "a.c3d", people())
    assert list(tmp_path.iterdir()) == []


def _long() -> Keypoints3D:
    """65536 frames of which every 64th is there."""
    return people(1, (*range(0, 65536, 64), 65535))


def test_damaged_files_are_named(tmp_path):
    write_c3d(tmp_path / "a.c3d", people(), (0, 1))
    content = (tmp_path / "a.c3d").read_bytes()
    path = tmp_path / "b.c3d"
    for damaged, message in (
        (b"", "not C3D's header"),
        (b"HIERARCHY" * 100, "not C3D's header"),
        (content[:600], "cut short|no C3D file that can be read"),
        (content[: len(content) * 3 // 5], "cut short|no C3D file that can be read"),
        (content.replace(b"mm", b"ft"), "POINT:UNITS is 'ft'"),
        (content.replace(b"person1:Nose", b"person0:Nose"), "50 different names"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(PosekitError, match=message) as caught:
            read_c3d(path)
        assert "b.c3d" in str(caught.value)
