import json

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.io.openpose_json_3d import read_openpose_3d, write_openpose_3d
from posekit.keypoints import Keypoints3D
from posekit.point_status import PointStatus
from posekit.skeleton import BODY_25, HAND_21, Skeleton
from scenes import PERSON


def people(skeleton: Skeleton = PERSON) -> Keypoints3D:
    """Two people in frames 3 and 11; the second is only in the first of them."""
    xyz = np.random.default_rng(0).normal(size=(2, 2, skeleton.joint_count, 3))
    xyz[1, 1] = np.nan
    xyz[0, 0, 5] = np.nan
    present = np.isfinite(xyz).all(-1)
    inliers = np.broadcast_to([True, False, True, True], (*present.shape, 4)) & present[..., None]
    errors = np.where(present[..., None], [1.0, 90.0, 2.0, 3.0], np.nan)
    status = np.where(present, PointStatus.OK, PointStatus.TOO_FEW_VIEWS).astype(np.uint8)
    status[0, 0, 6] = PointStatus.FILLED
    covariance = np.zeros((*present.shape, 6))
    return Keypoints3D(
        xyz, covariance, inliers, errors, status, ("a", "b", "c", "d"), np.array([3, 11]), skeleton, 60.0, "t"
    )


def test_a_file_is_what_openpose_writes(tmp_path):
    keypoints = people()
    write_openpose_3d(tmp_path / "man_json", keypoints)
    names = sorted(path.name for path in (tmp_path / "man_json").iterdir())
    assert names == ["man_json_000000000003_keypoints.json", "man_json_000000000011_keypoints.json"]
    content = json.loads((tmp_path / "man_json" / names[0]).read_text())
    assert [person["person_id"] for person in content["people"]] == [[0], [1]]
    man = content["people"][0]
    assert {field: len(values) for field, values in man.items() if field.endswith("_3d")} == {
        "pose_keypoints_3d": 100,
        "face_keypoints_3d": 0,
        "hand_left_keypoints_3d": 84,
        "hand_right_keypoints_3d": 84,
    }
    assert man["pose_keypoints_2d"] == []
    assert man["pose_keypoints_3d"][:4] == [*keypoints.xyz[0, 0, 0].tolist(), 0.75]  # three of four views agree
    assert man["pose_keypoints_3d"][20:24] == [0, 0, 0, 0]
    assert man["pose_keypoints_3d"][27] == 0.1  # filled in
    assert man["hand_right_keypoints_3d"][:3] == keypoints.xyz[0, 0, PERSON.index("right_hand_wrist")].tolist()
    assert len(json.loads((tmp_path / "man_json" / names[1]).read_text())["people"]) == 1


def test_round_trip_is_exact(tmp_path):
    keypoints = people()
    write_openpose_3d(tmp_path / "man", keypoints)
    read = read_openpose_3d(tmp_path / "man")
    np.testing.assert_array_equal(read.xyz, keypoints.xyz)
    assert (read.frames.tolist(), read.people, read.fps) == ([3, 11], (0, 1), 60.0)
    assert read.skeleton == PERSON
    assert read.confidence[0, 0, 5] == 0
    write_openpose_3d(tmp_path / "man", keypoints, (1,))
    assert read_openpose_3d(tmp_path / "man").people == (1,)
    assert [path.name for path in tmp_path.iterdir()] == ["man"]  # the earlier one is gone, and nothing else is there


def test_openposes_own_files_need_a_skeleton(tmp_path):
    person = {"person_id": [-1], "pose_keypoints_3d": [0.5, 1.0, 2.0, 0.8] + 24 * [0.0, 0.0, 0.0, 0.0]}
    (tmp_path / "video_000000000000_keypoints.json").write_text(json.dumps({"version": 1.3, "people": [person]}))
    with pytest.raises(PosekitError, match="name 0 skeletons"):
        read_openpose_3d(tmp_path)
    read = read_openpose_3d(tmp_path, BODY_25)
    np.testing.assert_array_equal(read.xyz[0, 0, :2], [[0.5, 1, 2], [np.nan] * 3])
    with pytest.raises(PosekitError, match=r"pose_keypoints_3d: 84 numbers|hand.*84"):
        read_openpose_3d(
            tmp_path, HAND_21.__class__("X", HAND_21.joints, HAND_21.bones, (), {"body": tuple(range(21))})
        )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is damaged"),
        ("{}", "people: a list"),
        ('{"people": [{"pose_keypoints_3d": [1, 2]}]}', "100 numbers were expected for 25 points, found 2"),
        ('{"people": [{"pose_keypoints_3d": ' + json.dumps(["x"] * 100) + "}]}", "not a number"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    (tmp_path / "v_000000000000_keypoints.json").write_text(content)
    with pytest.raises(PosekitError, match=message) as caught:
        read_openpose_3d(tmp_path, BODY_25)
    assert "v_000000000000_keypoints.json" in str(caught.value)


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(PosekitError, match="no place for the part 'hand'"):
        write_openpose_3d(tmp_path / "a", people(HAND_21))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(PosekitError, match="holds something else"):
        write_openpose_3d(tmp_path / "mine", people())
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    write_openpose_3d(tmp_path / "good", people())
    before = sorted(path.read_text() for path in (tmp_path / "good").iterdir())
    written = []

    def full(*arguments: object, **_: object) -> str:
        written.append(arguments)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        return "{}"

    monkeypatch.setattr("posekit.io.openpose_json_3d.json.dumps", full)
    with pytest.raises(OSError, match="No space"):
        write_openpose_3d(tmp_path / "good", people())
    assert sorted(path.read_text() for path in (tmp_path / "good").iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good", "mine"]
    with pytest.raises(PosekitError, match="does not exist"):
        write_openpose_3d(tmp_path / "no" / "a", people())
    with pytest.raises(PosekitError, match="holds no file called"):
        read_openpose_3d(tmp_path / "mine")
