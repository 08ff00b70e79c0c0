import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from posekit.errors import PosekitError, PosekitWarning
from posekit.io.timestamps import find_timestamps, read_timestamps
from posekit.io.video import VideoReader

TABLE = """sync_index,cam_id,frame_time
7,1,10.001
7,0,10.000
8,0,10.040
9,0,10.080
9,1,10.083
"""


def write(folder: Path, text: str = TABLE, name: str = "timestamps.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["timestamps.csv", "timestamps.csv.gz"])
def test_rows_count_the_frames_of_each_camera(tmp_path: Path, name: str) -> None:
    times = read_timestamps(write(tmp_path, name=name))
    assert times.cameras == ("cam_0", "cam_1")
    assert times.moments.tolist() == [7, 8, 9]
    # Camera 1 dropped moment 8, so that its frame 1 is of moment 9.
    assert times.frames.tolist() == [[0, 0], [1, -1], [2, 1]]
    np.testing.assert_array_equal(times.times_s, [[10.0, 10.001], [10.04, np.nan], [10.08, 10.083]])
    # Sums of numbers of this size are exact to 1e-14.
    np.testing.assert_allclose(times.mean_time_s, [10.0005, 10.04, 10.0815], rtol=1e-14)
    assert times.frame_rate == pytest.approx(1 / 0.0405, rel=1e-9)  # the median of 39.5 and 41.5 ms


def test_cameras_are_found_by_name(tmp_path: Path) -> None:
    times = read_timestamps(write(tmp_path)).of(("port_1", "port_0"))
    assert times.cameras == ("port_1", "port_0")
    assert times.frames.tolist() == [[0, 0], [-1, 1], [1, 2]]
    assert read_timestamps(write(tmp_path)).of(("cam_1",)).frames.tolist() == [[0], [-1], [1]]
    with pytest.raises(PosekitError, match=r"timestamps.csv: has no camera 'left'; it has: cam_0, cam_1"):
        read_timestamps(write(tmp_path)).of(("left", "right"))


def test_older_files_call_a_camera_a_port_and_others_by_name(tmp_path: Path) -> None:
    assert read_timestamps(write(tmp_path, TABLE.replace("cam_id", "port"))).cameras == ("port_0", "port_1")
    named = TABLE.replace(",1,", ",left,").replace(",0,", ",right,")
    assert read_timestamps(write(tmp_path, named)).cameras == ("left", "right")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "sync_index,frame_time\n0,1\n",
            "has the columns sync_index, frame_time; sync_index, cam_id or port, and frame_time",
        ),
        ("", "has the columns (none)"),
        ("sync_index,cam_id,frame_time\n", "holds no rows"),
        (TABLE + "ten,1,10.2\n", "line 7: sync_index 'ten' and frame_time '10.2': numbers were expected"),
        (TABLE + "10,1\n", "line 7: sync_index '10' and frame_time 'None': numbers were expected"),
        (TABLE + "10,1,nan\n", "line 7: sync_index 10, cam_id '1', frame_time nan: a whole number"),
        (TABLE + "9.5,1,11\n", "line 7: sync_index 9.5, cam_id '1', frame_time 11: a whole number"),
        (TABLE + "10,,11\n", "line 7: sync_index 10, cam_id '', frame_time 11: a whole number"),
        (TABLE + "9,1,11\n", "has sync_index 9 of camera 1 twice"),
        (TABLE + "10,1,10.0\n", "the frame_time of camera 'cam_1' does not go on at sync_index 10"),
    ],
)
def test_damaged_files_are_named_with_the_line(tmp_path: Path, text: str, line: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(PosekitError, match=re.escape(f"{path}: {line}")):
        read_timestamps(path)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PosekitError, match="no such file"):
        read_timestamps(tmp_path / "timestamps.csv")
    (tmp_path / "timestamps.csv.gz").write_bytes(b"not compressed at all")
    with pytest.raises(PosekitError, match="is no table that can be read"):
        read_timestamps(tmp_path / "timestamps.csv.gz")
    (tmp_path / "timestamps.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PosekitError, match="is no table that can be read"):
        read_timestamps(tmp_path / "timestamps.csv")


def test_rows_are_held_against_the_video(tmp_path: Path) -> None:
    times = read_timestamps(write(tmp_path))
    times.check_frame_count("cam_1", 2, "cam_1.mp4")
    with pytest.warns(
        PosekitWarning, match=r"cam_1.mp4: has 5 frames where .*timestamps.csv has 2 rows .*the last 3 are not"
    ):
        times.check_frame_count("cam_1", 5, "cam_1.mp4")
    with pytest.raises(
        PosekitError, match=r"cam_0.mp4: has 2 frames where .*timestamps.csv has 3 rows of camera 'cam_0'"
    ):
        times.check_frame_count("cam_0", 2, "cam_0.mp4")


def test_they_are_found_beside_the_videos(tmp_path: Path) -> None:
    assert find_timestamps(tmp_path) is None
    (tmp_path / "videos").mkdir()
    inner = write(tmp_path / "videos", name="timestamps.csv.gz")
    assert find_timestamps(tmp_path) == inner
    outer = write(tmp_path)
    assert find_timestamps(tmp_path) == outer


@pytest.mark.parametrize("name", ["desk_4cams", "rotated_4cams", "intrinsics_4cams"])
def test_caliscopes_rows_are_its_videos_frames(shared_data: Path, name: str) -> None:
    folder = shared_data / "caliscope_charuco" / name / "calibration/extrinsic"
    found = find_timestamps(folder)
    assert found is not None
    times = read_timestamps(found)
    for camera in times.cameras:
        count = VideoReader(folder / f"{camera}.mp4").frame_count
        times.check_frame_count(camera, count, camera)  # a warning would be an error here
    apart = np.abs(times.times_s - times.mean_time_s[:, None])
    assert times.frame_rate == pytest.approx(6, rel=0.01)  # filmed at 6 frames/s
    assert 0.005 < np.nanmax(apart) < 0.035  # as the data's notes have it: tens of milliseconds apart
    assert times.of(("port_3", "port_0")).frames.shape == (len(times.moments), 2)


def test_caliscopes_dropped_frames_are_left_out(shared_data: Path) -> None:
    times = read_timestamps(shared_data / "caliscope_holistic/recording_1/timestamps.csv.gz")
    assert (times.frames >= 0).sum(axis=0).tolist() == [267, 262, 267, 266]
    assert (np.isnan(times.times_s) == (times.frames < 0)).all()
    assert times.frames.max(axis=0).tolist() == [266, 261, 266, 265]
