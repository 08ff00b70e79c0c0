import json
from pathlib import Path

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.io.openpose_json import read_openpose_folder
from posekit.skeleton import BODY_25, BODY_25B, HAND_21, with_hands
from scenes import PERSON, looking_camera, standing_person

NAMINGS = {
    "OpenPose, from video": ("{camera}_json", "{camera}_{frame:012d}_keypoints.json"),
    "Pose2Sim": ("{camera}_json", "{camera}_{frame:06d}.json"),
    "Pose2Sim's older demos": ("{camera}_json", "{camera}.{frame:04d}.json"),
    "plain": ("{camera}", "{frame}.json"),
}


def height(n: int) -> float:
    """Up and down, so that the points lie neither as a BODY_25 nor as a BODY_25B."""
    return 1.0 + 100 * (7 * n % 25)


def flat(count: int, first: float) -> list[float]:
    """Points (first, height(0), 0.5), (first + 1, height(1), 0.5) ..."""
    return [value for n in range(count) for value in (first + n, height(n), 0.5)]


def person(first: float = 100, **lists: list[float]) -> dict:
    return {"person_id": [-1], "pose_keypoints_2d": flat(25, first), **lists}


def write(folder: Path, name: str, people: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps({"version": 1.3, "people": people}))
    return path


def write_frames(folder: Path, camera: str = "a", frames: range = range(2), people: list[dict] | None = None) -> None:
    for frame in frames:
        write(
            folder / f"{camera}_json", f"{camera}_{frame:012d}_keypoints.json", [person()] if people is None else people
        )


@pytest.mark.parametrize("order", [BODY_25, BODY_25B], ids=lambda order: order.name)
def test_another_order_of_the_joints_is_noticed(tmp_path, order):
    body = standing_person()
    places = dict(zip(PERSON.joints, looking_camera("a", (1, 4, 1.5), (0, 0, 1)).project(body), strict=True))
    places |= {"mid_hip": (places["left_hip"] + places["right_hip"]) / 2}
    points = [value for joint in order.joints for value in (*places.get(joint, (0, 0)), 0.9)]
    write_frames(tmp_path, people=[{"pose_keypoints_2d": points}])
    assert read_openpose_folder(tmp_path, order).skeleton == order
    other = BODY_25 if order is BODY_25B else BODY_25B
    with pytest.raises(PosekitError, match=f"lie as those of {order.name}, not of {other.name}: read with --skeleton"):
        read_openpose_folder(tmp_path, other)


@pytest.mark.parametrize(("folder_name", "file_name"), NAMINGS.values(), ids=NAMINGS)
def test_every_naming_in_use(tmp_path, folder_name, file_name):
    cameras = ("cam01", "cam02_side")
    for c, camera in enumerate(cameras):
        for frame in (7, 8, 100):
            place = tmp_path / folder_name.format(camera=camera)
            write(place, file_name.format(camera=camera, frame=frame), [person(1000 * (c + 1) + frame)])
    found = read_openpose_folder(tmp_path, BODY_25B, fps=60)
    assert found.cameras == cameras
    assert found.frames.tolist() == [7, 8, 100]
    assert (found.fps, found.skeleton, found.source) == (60, BODY_25B, str(tmp_path))
    assert found.xy.shape == (3, 2, 1, 25, 2)
    for f, frame in enumerate((7, 8, 100)):
        for c in range(2):
            assert found.xy[f, c, 0, :, 0].tolist() == [1000 * (c + 1) + frame + n for n in range(25)]
            assert found.xy[f, c, 0, :, 1].tolist() == [height(n) for n in range(25)]
    assert (found.confidence == 0.5).all()


def test_cameras_come_in_the_order_of_their_numbers(tmp_path):
    for camera in ("cam_10", "cam_2", "cam_1", "front"):
        write_frames(tmp_path, camera)
    assert read_openpose_folder(tmp_path, BODY_25).cameras == ("cam_1", "cam_2", "cam_10", "front")


def test_people_keep_the_order_of_the_file_and_fill_up_with_missing(tmp_path):
    write(tmp_path / "a", "0.json", [person(100), person(200), person(300)])
    write(tmp_path / "a", "1.json", [person(400)])
    write(tmp_path / "b", "0.json", [])
    write(tmp_path / "b", "1.json", [{"pose_keypoints_2d": []}, person(500)])
    found = read_openpose_folder(tmp_path, BODY_25)
    first = np.array([[[100, 200, 300], [np.nan] * 3], [[400, np.nan, np.nan], [np.nan, 500, np.nan]]])
    assert np.array_equal(found.xy[..., 0, 0], first, equal_nan=True)
    assert np.array_equal(found.confidence[..., 3], np.where(np.isnan(first), 0, 0.5).astype(np.float32))


def test_a_capture_without_anybody_is_a_capture(tmp_path):
    write_frames(tmp_path, people=[])
    found = read_openpose_folder(tmp_path, BODY_25)
    assert found.xy.shape == (2, 1, 0, 25, 2)
    assert found.skeleton == BODY_25


def test_hands_stand_in_their_parts(tmp_path):
    write(
        tmp_path / "a",
        "0.json",
        [person(hand_left_keypoints_2d=flat(21, 500)), person(hand_right_keypoints_2d=flat(21, 700))],
    )
    write(
        tmp_path / "a",
        "1.json",
        [person(hand_left_keypoints_2d=[], hand_right_keypoints_2d=None, face_keypoints_2d=[1, 2])],
    )
    found = read_openpose_folder(tmp_path, BODY_25B)
    assert found.skeleton == with_hands(BODY_25B)
    left, right = found.skeleton.part("left_hand"), found.skeleton.part("right_hand")
    assert found.xy[0, 0, 0, left, 0].tolist() == [500 + n for n in range(21)]
    assert found.xy[0, 0, 1, right, 0].tolist() == [700 + n for n in range(21)]
    assert np.isnan(found.xy[0, 0, 0, right]).all()
    assert np.isnan(found.xy[0, 0, 1, left]).all()
    assert np.isnan(found.xy[1, 0, 0, 25:]).all()
    assert found.xy[1, 0, 0, :25, 0].tolist() == [100 + n for n in range(25)]


def test_missing_points(tmp_path):
    body = flat(25, 100)
    # Not found; a corner with a confidence; no confidence; null; beyond what a float32 holds; on the edge, which is a place.
    body[: 6 * 3] = [0, 0, 0, 0, 0, 0.9, 5, 6, 0, None, None, None, 1e300, 1, 0.5, 0, 7, 0.5]
    write(tmp_path / "a", "0.json", [person(pose_keypoints_2d=body)])
    found = read_openpose_folder(tmp_path, BODY_25)
    assert np.flatnonzero(np.isnan(found.xy[0, 0, 0]).all(axis=-1)).tolist() == [0, 1, 2, 3, 4]
    assert np.flatnonzero(found.confidence[0, 0, 0] == 0).tolist() == [0, 1, 2, 3, 4]
    assert found.xy[0, 0, 0, 5].tolist() == [0, 7]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"is damaged \(0 bytes; "),
        (b'{"version":1.3,"people":[{"pose_keyp', r"is damaged \(36 bytes; "),
        (b"\xff\xfe\x00garbage", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"[]", "people: a list of people was expected"),
        (b'{"version":1.3}', "people: a list of people was expected"),
        (b'{"people":{}}', "people: a list of people was expected"),
        (b'{"people":[[1,2]]}', "people: a list of people was expected"),
        (b'{"people":[{"pose_keypoints_2d":"x"}]}', r"people\[0\]: pose_keypoints_2d: 75 numbers .* found str"),
        (b'{"people":[{"pose_keypoints_2d":{"a":1}}]}', r"people\[0\]: pose_keypoints_2d: 75 numbers .* found dict"),
        (
            b'{"people":[{},{"pose_keypoints_2d":[1,2,3]}]}',
            r"people\[1\]: pose_keypoints_2d: 75 numbers were .*, found 3",
        ),
        (
            json.dumps({"people": [person(hand_left_keypoints_2d=[1] * 60)]}).encode(),
            "hand_left_keypoints_2d: 63 numbers",
        ),
        (json.dumps({"people": [person(pose_keypoints_2d=["x"] * 75)]}).encode(), "something that is not a number"),
        (
            json.dumps({"people": [person(pose_keypoints_2d=[[1, 2, 3]] * 75)]}).encode(),
            "something that is not a number",
        ),
        (json.dumps({"people": [person(pose_keypoints_2d=[{}] * 75)]}).encode(), "something that is not a number"),
        (json.dumps({"people": [person(pose_keypoints_2d=[10**400] * 75)]}).encode(), "something that is not a number"),
    ],
)
def test_damaged_files_are_named_with_what_is_wrong(tmp_path, content, reason):
    write_frames(tmp_path)
    path = tmp_path / "a_json" / "a_000000000001_keypoints.json"
    path.write_bytes(content)
    with pytest.raises(PosekitError, match=rf"a_000000000001_keypoints\.json: .*{reason}") as error:
        read_openpose_folder(tmp_path, BODY_25)
    assert "\n" not in str(error.value)


def test_a_camera_that_lacks_frames_is_named(tmp_path):
    write_frames(tmp_path, "a", range(10))
    write_frames(tmp_path, "b", range(9))
    with pytest.raises(PosekitError, match=r"camera 'b' has 9 of the 10 frames .*; the first it lacks is frame 9"):
        read_openpose_folder(tmp_path, BODY_25)
    (tmp_path / "a_json" / "a_000000000003_keypoints.json").unlink()
    with pytest.raises(PosekitError, match=r"camera 'a' has 9 of the 10 frames .*; the first it lacks is frame 3"):
        read_openpose_folder(tmp_path, BODY_25)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("a_json/keypoints.json",), r"keypoints\.json: has no frame number in its name"),
        (("a_json/a_1.json", "a_json/a_01.json"), r"a_1\.json: frame 1 is there twice \(also a_01\.json\)"),
        (("a_json/a_1.json", "a/a_1.json"), "are both of camera 'a'"),
        (("a_json/99999999999999999999.json",), "has no frame number"),
        ((), "holds no folder with JSON files"),
        (("0.json",), "holds no folder with JSON files"),
    ],
)
def test_folders_that_cannot_be_understood(tmp_path, names, reason):
    for name in names:
        write((tmp_path / name).parent, Path(name).name, [])
    with pytest.raises(PosekitError, match=reason) as error:
        read_openpose_folder(tmp_path, BODY_25)
    assert str(tmp_path) in str(error.value)


def test_what_other_programs_leave_behind_is_passed_over(tmp_path):
    write_frames(tmp_path)
    # Of macOS on a memory card; of Windows; of a person.
    write(tmp_path / "a_json", "._a_000000000000_keypoints.json", [])
    write(tmp_path / "__MACOSX", "._a_000000000000_keypoints.json", [])
    write(tmp_path / ".cache", "1.json", [])
    (tmp_path / "a_json" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "videos").mkdir()
    assert read_openpose_folder(tmp_path, BODY_25).cameras == ("a",)


def test_mistaken_folders_and_skeletons(tmp_path):
    with pytest.raises(PosekitError, match="gone: no such folder"):
        read_openpose_folder(tmp_path / "gone", BODY_25)
    path = write(tmp_path, "0.json", [])
    with pytest.raises(PosekitError, match=r"0\.json: is a file, not a folder .*OpenPose JSON"):
        read_openpose_folder(path, BODY_25)
    for skeleton in (HAND_21, with_hands(BODY_25)):
        with pytest.raises(PosekitError, match="a body without hands was expected"):
            read_openpose_folder(tmp_path, skeleton)


def test_progress_counts_every_file(tmp_path):
    write_frames(tmp_path, "a", range(3))
    write_frames(tmp_path, "b", range(3))
    told = []
    read_openpose_folder(tmp_path, BODY_25, on_file=lambda done, total: told.append((done, total)))
    assert told == [(n, 6) for n in range(1, 7)]
