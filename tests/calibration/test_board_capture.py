"""Which pictures belong to which camera and moment, in the layouts that people have."""

import shutil
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from posekit.calibration.boards.capture import find_board_capture
from posekit.calibration.boards.folders import find_board_folder
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.video import write_video


def write_still(path: Path, level: int = 100, size: tuple[int, int] = (32, 24)) -> Path:
    """A picture of one grey level, by which it can be told from others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.full((size[1], size[0], 3), level, np.uint8))[1].tobytes())
    return path


def write_levels(path: Path, levels: list[int], fps: float = 10) -> Path:
    """A video whose frames are of one grey level each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, fps, (np.full((32, 48, 3), level, np.uint8) for level in levels))
    return path


def level_of(image: np.ndarray) -> float:
    return float(image.mean())


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["left2.png", "left10.png", "right2.png", "right10.png"], {"left": ["2", "10"], "right": ["2", "10"]}),
        (
            ["cam_0_frame_0200.png", "cam_0_frame_0550.png", "cam_10_frame_0200.png", "cam_2_frame_0550.png"],
            {"cam_0": ["200", "550"], "cam_2": ["550"], "cam_10": ["200"]},
        ),
        (["cam01_ext.png", "cam02_ext.png"], {"cam01": [""], "cam02": [""]}),
        (["ext_cam01.png", "ext_cam02.png"], {"cam01": [""], "cam02": [""]}),
        (["cam1.png", "cam2.png"], {"cam1": [""], "cam2": [""]}),
        (["frame0001_cam1.png", "frame0001_cam2.png"], {"cam1": ["1"], "cam2": ["1"]}),
        (["cam0001.png", "cam0002.png", "cam0003.png"], {"cam": ["1", "2", "3"]}),
        (["0007_left.png", "0007_right.png", "0008_left.png"], {"left": ["7", "8"], "right": ["7"]}),
        (["left.png", "right.png"], {"left": [""], "right": [""]}),
        (["IMG_0001.png", "IMG_0003.png"], {"IMG": ["1", "3"]}),
        (["00_03.png", "01_03.png"], {"00": ["3"], "01": ["3"]}),
        (["1.png", "2.png"], {"capture": ["1", "2"]}),
        (["front frame 3.png", "front frame 4.png"], {"front": ["3", "4"]}),
    ],
)
def test_stills_of_one_folder_are_told_apart(tmp_path: Path, files: list[str], expected: dict[str, list[str]]) -> None:
    for file in files:
        write_still(tmp_path / "capture" / file)
    for other in ("stereo_calib.xml", "notes.txt", ".left99.png"):
        (tmp_path / "capture" / other).write_text("no picture")
    found = find_board_folder(tmp_path / "capture")
    assert {name: [still.moment for still in stills] for name, stills in found.stills.items()} == expected
    assert list(found.stills) == list(expected)
    assert found.simultaneous


def test_a_folder_of_stills_per_camera(tmp_path: Path) -> None:
    for camera in ("cam_2", "cam_10"):
        for number in (9, 10):
            write_still(tmp_path / camera / f"{camera}_img{number}.png")
    found = find_board_folder(tmp_path)
    assert list(found.stills) == ["cam_2", "cam_10"]
    assert [still.moment for still in found.stills["cam_10"]] == ["9", "10"]


def test_pose2sim_folders_for_lenses_are_not_simultaneous(tmp_path: Path) -> None:
    for camera in ("cam01", "cam02"):
        for number in (1, 2, 3):
            write_still(tmp_path / "intrinsics" / f"int_{camera}_img" / f"{camera}_0{number}_int.jpg")
        write_still(tmp_path / "extrinsics" / f"{camera}_ext.png")
    for folder in (tmp_path, tmp_path / "intrinsics"):
        capture = find_board_capture(folder)
        assert capture.cameras == ("cam01", "cam02")
        assert not capture.simultaneous
        # Every photo a moment of its own: three of the one camera, then three of the other one.
        assert capture.pictures.tolist() == [[0, -1], [1, -1], [2, -1], [-1, 0], [-1, 1], [-1, 2]]
        assert "not taken as simultaneous" in capture.notes[0]
        assert capture.label(4) == "cam02_02_int.jpg"
    assert find_board_capture(tmp_path / "extrinsics").pictures.tolist() == [[0, 0]]


def test_stills_of_one_number_are_one_moment(tmp_path: Path) -> None:
    for name, level in (("left1", 10), ("left2", 20), ("left12", 30), ("right2", 120), ("right12", 130)):
        write_still(tmp_path / f"{name}.png", level)
    capture = find_board_capture(tmp_path)
    assert capture.pictures.tolist() == [[0, -1], [1, 0], [2, 1]]
    assert [capture.label(moment) for moment in range(3)] == ["1", "2", "12"]
    assert "1 of 3" in capture.notes[0]
    assert [(moment, level_of(image)) for moment, image in capture.read(1, [0, 1, 2])] == [(1, 120), (2, 130)]
    assert [(moment, level_of(image)) for moment, image in capture.read(0, [0, 2])] == [(0, 10), (2, 30)]


def test_numbers_that_do_not_match_are_moments_of_their_own(tmp_path: Path) -> None:
    for name in ("left1", "left2", "right7", "right8"):
        write_still(tmp_path / f"{name}.png")
    capture = find_board_capture(tmp_path)
    assert not capture.simultaneous
    assert len(capture.pictures) == 4
    assert "numbers do not match" in capture.notes[0]


def test_two_files_of_one_number_are_refused(tmp_path: Path) -> None:
    write_still(tmp_path / "left1.png")
    write_still(tmp_path / "left01.png")
    with pytest.raises(PosekitError, match=r"left01\.png and left1\.png are both picture '1' of camera 'left'"):
        find_board_capture(tmp_path)


def test_sizes_may_differ_between_cameras_but_not_within_one(tmp_path: Path) -> None:
    write_still(tmp_path / "left1.png", size=(32, 24))
    write_still(tmp_path / "right1.png", size=(24, 32))
    write_still(tmp_path / "left2.png", size=(64, 48))
    capture = find_board_capture(tmp_path)
    assert capture.sizes == ((32, 24), (24, 32))
    with pytest.raises(
        PosekitError, match=r"left2\.png: is 64 x 48 px where left1\.png of the same camera 'left' is 32 x 24"
    ):
        list(capture.read(0, [0, 1]))


def test_a_still_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    for name in ("left1", "left3", "right1", "right2", "right3"):
        write_still(tmp_path / f"{name}.png")
    (tmp_path / "left2.png").write_bytes(b"no picture")
    capture = find_board_capture(tmp_path)
    with pytest.warns(PosekitWarning, match=r"left2\.png: cannot be read as a picture"):
        assert [moment for moment, _ in capture.read(0, [0, 1, 2])] == [0, 2]
    (tmp_path / "left1.png").write_bytes(b"")
    (tmp_path / "left3.png").write_bytes(b"")
    with pytest.raises(PosekitError, match=r"left1\.png: cannot be read.*no other still of camera 'left'"):
        find_board_capture(tmp_path)


def test_nothing_to_be_found_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(PosekitError, match="holds no videos"):
        find_board_capture(tmp_path)
    with pytest.raises(PosekitError, match="no such folder"):
        find_board_capture(tmp_path / "missing")


def test_videos_frame_by_frame(tmp_path: Path) -> None:
    levels = [20, 60, 100, 140]
    for camera, up in (("cam_2", 0), ("cam_10", 80)):
        write_levels(tmp_path / "videos" / f"{camera}.mp4", [level + up for level in levels])
    capture = find_board_capture(tmp_path)
    assert capture.cameras == ("cam_2", "cam_10")
    assert capture.fps == 10
    assert capture.pictures.tolist() == [[frame, frame] for frame in range(4)]
    read = list(capture.read(1, [1, 3]))
    assert [moment for moment, _ in read] == [1, 3]
    # 3 grey levels: what the codec makes of an even picture.
    assert [level_of(image) for _, image in read] == pytest.approx([140, 220], abs=3)


def test_a_video_in_a_folder_per_camera(tmp_path: Path) -> None:
    for camera in ("cam01", "cam02"):
        write_levels(tmp_path / f"ext_{camera}_img" / "recording.mp4", [50] * 3)
    assert find_board_capture(tmp_path).cameras == ("cam01", "cam02")


def test_the_only_folder_below_is_used_with_a_word(tmp_path: Path) -> None:
    for camera in ("a", "b"):
        write_levels(tmp_path / "calibration" / "extrinsic" / f"{camera}.mp4", [50] * 3)
    with pytest.warns(PosekitWarning, match=r"holds no videos itself; what is in .*extrinsic is used"):
        assert find_board_capture(tmp_path).cameras == ("a", "b")
    shutil.copytree(tmp_path / "calibration", tmp_path / "second")
    with pytest.raises(PosekitError, match=r"several folders below.*calibration.extrinsic, second.extrinsic"):
        find_board_capture(tmp_path)


def test_videos_of_nearly_one_length_share_their_first_frames(tmp_path: Path) -> None:
    write_levels(tmp_path / "a.mp4", [50] * 12)
    write_levels(tmp_path / "b.mp4", [50] * 10)
    with pytest.warns(PosekitWarning, match=r"a\.mp4 12, b\.mp4 10 frames\); their first 10 are used"):
        assert len(find_board_capture(tmp_path).pictures) == 10


def test_a_video_that_stops_early_is_refused(tmp_path: Path) -> None:
    write_levels(tmp_path / "a.mp4", [50] * 12)
    write_levels(tmp_path / "b.mp4", [50] * 6)
    with pytest.raises(PosekitError, match=r"b\.mp4: has 6 frames.*where a\.mp4 has 12: it stops early"):
        find_board_capture(tmp_path)


def test_videos_of_two_rates_are_refused(tmp_path: Path) -> None:
    write_levels(tmp_path / "a.mp4", [50] * 4, fps=30)
    write_levels(tmp_path / "b.mp4", [50] * 4, fps=25)
    with pytest.raises(PosekitError, match=r"b\.mp4: runs at 25 frames/s where a\.mp4 has 30"):
        find_board_capture(tmp_path)


def test_timestamps_say_which_frames_belong_together(tmp_path: Path) -> None:
    write_levels(tmp_path / "cam_0.mp4", [20, 60, 100, 140])
    write_levels(tmp_path / "cam_1.mp4", [30, 110, 150])
    # Camera 1 dropped its second picture.
    rows = ["sync_index,cam_id,frame_time"]
    rows += [f"{5 + moment},0,{moment / 10}" for moment in range(4)]
    rows += [f"{5 + moment},1,{moment / 10 + 0.01}" for moment in (0, 2, 3)]
    (tmp_path / "timestamps.csv").write_text("\n".join(rows) + "\n")
    capture = find_board_capture(tmp_path)
    assert capture.pictures.tolist() == [[0, 0], [1, -1], [2, 1], [3, 2]]
    assert capture.times_s is not None
    np.testing.assert_allclose(capture.times_s, [[0, 0.01], [0.1, np.nan], [0.2, 0.21], [0.3, 0.31]])
    read = list(capture.read(1, [0, 1, 2]))
    assert [moment for moment, _ in read] == [0, 2]
    assert level_of(read[1][1]) == pytest.approx(110, abs=3)  # the codec's


def test_real_folders(shared_data: Path) -> None:
    chess = find_board_capture(shared_data / "opencv_stereo_chess")
    assert chess.cameras == ("left", "right")
    assert chess.pictures.tolist() == [[place, place] for place in range(13)]
    assert [chess.label(moment) for moment in (8, 9)] == ["9", "11"]
    walk = find_board_capture(shared_data / "caliscope_charuco" / "aruco_extrinsic")
    assert walk.cameras == ("cam_0", "cam_1", "cam_2", "cam_3")
    assert (walk.pictures >= 0).all()
    photos = find_board_capture(shared_data / "pose2sim_balancing" / "calibration_images")
    assert photos.cameras == ("cam01", "cam02", "cam03", "cam04")
    assert photos.pictures.shape == (28, 4)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        desk = find_board_capture(shared_data / "caliscope_charuco" / "desk_4cams")
    assert "extrinsic is used" in str(told[0].message)
    assert desk.pictures.shape == (57, 4)
    assert desk.times_s is not None
    # SOURCE.txt: the cameras of one frame are up to 20 ms apart.
    assert np.ptp(desk.times_s, axis=1).max() == pytest.approx(0.0199, abs=1e-4)
    with pytest.raises(PosekitError, match="several folders below"):
        find_board_capture(shared_data / "caliscope_charuco")
