import json
from pathlib import Path

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.io.openpose_json import OpenPoseFolder, read_openpose_folder
from posekit.skeleton import (
    BLAZEPOSE_33,
    BODY_25,
    BODY_25B,
    COCO_17,
    COCO_18,
    COCO_WHOLEBODY_133,
    HALPE_26,
    HAND_21,
    Skeleton,
    with_hands,
)
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


def projected(order: Skeleton) -> list[float]:
    """A standing person, seen by a camera, in an order of joints."""
    places = dict(
        zip(PERSON.joints, looking_camera("a", (1, 4, 1.5), (0, 0, 1)).project(standing_person()), strict=True)
    )
    places |= {"mid_hip": (places["left_hip"] + places["right_hip"]) / 2}
    return [value for joint in order.joints for value in (*places.get(joint, (0, 0)), 0.9)]


@pytest.mark.parametrize("order", [BODY_25, BODY_25B], ids=lambda order: order.name)
def test_another_order_of_the_joints_is_noticed(tmp_path, order):
    write_frames(tmp_path, people=[{"pose_keypoints_2d": projected(order)}])
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
        (b"[" * 10_000_000, "is damaged"),
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
        (json.dumps({"people": [person(pose_keypoints_2d=["1.5"] * 75)]}).encode(), "something that is not a number"),
        (json.dumps({"people": [person(pose_keypoints_2d=[{}] * 75)]}).encode(), "something that is not a number"),
        (json.dumps({"people": [person(pose_keypoints_2d=[1.5, "1.5", None] * 25)]}).encode(), "is not a number"),
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
        (("a_json/walk_1.json", "a_json/run_2.json"), r"a_json: holds files named 'run_<frame>' and 'walk_<frame>'"),
        (("cam1_000.json", "cam2_000.json"), r"several cameras: one folder each, <camera>_json"),
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


def test_progress_counts_every_file(tmp_path):
    write_frames(tmp_path, "a", range(3))
    write_frames(tmp_path, "b", range(3))
    told = []
    read_openpose_folder(tmp_path, BODY_25, on_file=lambda done, total: told.append((done, total)))
    assert told == [(n, 6) for n in range(1, 7)]


def test_pieces_are_the_whole(tmp_path):
    for frame in range(7):
        for camera, count in (("a", frame % 3), ("b", 1)):
            people = [person(100 * frame + 10 * p, hand_left_keypoints_2d=flat(21, 5)) for p in range(count)]
            write(tmp_path / f"{camera}_json", f"{camera}_{frame:06d}.json", people)
    whole = read_openpose_folder(tmp_path, BODY_25, fps=50)
    source = OpenPoseFolder(tmp_path, BODY_25, fps=50)
    assert (source.cameras, source.skeleton, source.fps) == (whole.cameras, whole.skeleton, 50)
    assert source.frames.tolist() == whole.frames.tolist() == list(range(7))
    assert whole.xy.shape[2] == 2
    for start, stop in ((0, 3), (3, 4), (4, 7), (5, 100), (7, 9)):
        piece = source.read(start, stop)
        P = piece.xy.shape[2]  # as many slots as this piece needs
        assert piece.frames.tolist() == whole.frames[start:stop].tolist()
        assert np.array_equal(piece.xy, whole.xy[start:stop, :, :P], equal_nan=True)
        assert np.array_equal(piece.confidence, whole.confidence[start:stop, :, :P])
        assert not whole.confidence[start:stop, :, P:].any()


def test_only_the_files_of_a_piece_are_read(tmp_path):
    write_frames(tmp_path, frames=range(200), people=[person(hand_left_keypoints_2d=flat(21, 5))])
    source = OpenPoseFolder(tmp_path, BODY_25)
    bad = tmp_path / "a_json" / "a_000000000101_keypoints.json"
    bad.write_bytes(b"")
    assert source.read(90, 101).xy.shape[0] == 11
    with pytest.raises(PosekitError, match=r"a_000000000101_keypoints\.json: is damaged"):
        source.read(101, 102)
    bad.unlink()
    with pytest.raises(PosekitError, match=r"a_000000000101_keypoints\.json: cannot be read"):
        source.read(101, 102)


def test_hands_in_one_file_of_many_are_found(tmp_path):
    write_frames(tmp_path, frames=range(300), people=[person(hand_left_keypoints_2d=[])])
    write(tmp_path / "a_json", "a_000000000201_keypoints.json", [person(hand_right_keypoints_2d=flat(21, 5))])
    source = OpenPoseFolder(tmp_path, BODY_25)
    assert source.skeleton == with_hands(BODY_25)
    assert np.isfinite(source.read(201, 202).xy[0, 0, 0, source.skeleton.part("right_hand")]).all()


def test_hands_can_be_asked_for(tmp_path):
    write_frames(tmp_path)
    found = read_openpose_folder(tmp_path, with_hands(BODY_25))
    assert found.skeleton == with_hands(BODY_25)
    assert np.isnan(found.xy[..., 25:, :]).all()
    assert np.isfinite(found.xy[..., :25, :]).all()


def test_one_folder_of_one_camera(tmp_path):
    write_frames(tmp_path, "cam7")
    found = read_openpose_folder(tmp_path / "cam7_json", BODY_25)
    assert found.cameras == ("cam7",)
    assert found.frames.tolist() == [0, 1]


@pytest.mark.parametrize(
    "order", [COCO_17, COCO_18, HALPE_26, BLAZEPOSE_33, COCO_WHOLEBODY_133], ids=lambda order: order.name
)
def test_other_bodies_are_told_by_their_number_of_joints(tmp_path, order):
    J = order.joint_count
    body = [value for n in range(J) for value in (10 + n, 20 + (7 * n) % J, 0.5)]
    write_frames(tmp_path, people=[{"pose_keypoints_2d": body}])
    for skeleton in (order, None):
        found = read_openpose_folder(tmp_path, skeleton)
        assert found.skeleton == order
        assert found.xy[0, 0, 0, :, 0].tolist() == [10 + n for n in range(J)]
    with pytest.raises(
        PosekitError, match=rf"points of BODY_25, found {3 * J} \(as many as .*{order.name}.* --skeleton"
    ):
        read_openpose_folder(tmp_path, BODY_25)


@pytest.mark.parametrize("order", [BODY_25, BODY_25B], ids=lambda order: order.name)
def test_of_two_orders_the_one_with_the_shorter_bones_is_meant(tmp_path, order):
    write_frames(tmp_path, people=[{"pose_keypoints_2d": projected(order)}])
    assert read_openpose_folder(tmp_path, None).skeleton == order


def test_an_order_that_is_not_told_is_asked_for(tmp_path):
    write_frames(tmp_path)
    with pytest.raises(PosekitError, match=r"BODY_25 and BODY_25B both have 25 points\): name it with --skeleton"):
        read_openpose_folder(tmp_path, None)
    write_frames(tmp_path, people=[])
    with pytest.raises(PosekitError, match=r"nobody is in the frames looked at\): name it with --skeleton"):
        read_openpose_folder(tmp_path, None)
    write_frames(tmp_path, people=[{"pose_keypoints_2d": [1] * 72}])
    with pytest.raises(PosekitError, match=r"none known has the 24 points of a person here\): name it"):
        read_openpose_folder(tmp_path, None)


@pytest.mark.parametrize("skeleton", [HAND_21, None])
def test_a_hand_alone(tmp_path, skeleton):
    zeros = [0.0] * 63
    hand = {"pose_keypoints_2d": [], "hand_left_keypoints_2d": zeros, "hand_right_keypoints_2d": flat(21, 100)}
    write_frames(tmp_path, people=[hand])
    found = read_openpose_folder(tmp_path, skeleton)
    assert found.skeleton == HAND_21
    assert found.xy[0, 0, 0, :, 0].tolist() == [100 + n for n in range(21)]
    write_frames(tmp_path, people=[hand | {"hand_left_keypoints_2d": flat(21, 500)}])
    with pytest.raises(PosekitError, match="holds left and right hands, HAND_21 is one"):
        read_openpose_folder(tmp_path, skeleton)
    both = read_openpose_folder(tmp_path, BODY_25)
    assert np.isfinite(both.xy[..., 25:, :]).all()
    assert np.isnan(both.xy[..., :25, :]).all()


def test_real_hands_are_told_from_real_bodies(shared_data):
    hand = OpenPoseFolder(shared_data / "temugeb_hand_2cams" / "openpose_hands")
    assert (hand.skeleton, hand.cameras, len(hand.frames)) == (HAND_21, ("cam0", "cam1"), 378)
    # One hand of 378 frames, never two people, found in nearly all.
    found = hand.read(0, 100).confidence
    assert found.shape == (100, 2, 1, 21)
    assert (found > 0).mean() > 0.9
    desk = OpenPoseFolder(shared_data / "caliscope_charuco" / "desk_4cams" / "openpose_hands")
    assert desk.skeleton == with_hands(BODY_25)
    balancing = OpenPoseFolder(shared_data / "pose2sim_balancing" / "openpose_hands")
    assert balancing.skeleton == with_hands(BODY_25B)
