import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.io.points3d import joint_of_marker, read_points3d
from posekit.io.trc import marker_name, write_trc
from posekit.keypoints import Keypoints3D
from posekit.skeleton import BODY_25, BODY_25B, Skeleton, with_hands
from scenes import PERSON, walk


def as_keypoints(xyz: np.ndarray, first: int = 0, skeleton: Skeleton = PERSON, fps: float | None = 50.0) -> Keypoints3D:
    F, P, J = xyz.shape[:3]
    return Keypoints3D(
        xyz=xyz,
        covariance=np.zeros((F, P, J, 6)),
        inliers=np.zeros((F, P, J, 0), dtype=bool),
        reprojection_px=np.zeros((F, P, J, 0)),
        status=np.where(np.isfinite(xyz).all(axis=-1), 0, 1),
        cameras=(),
        frames=first + np.arange(F),
        skeleton=skeleton,
        fps=fps,
        source="the scene",
    )


# As the header of Pose2Sim's own file of its balancing man has them.
POSE2SIM = {
    "RHip": "right_hip",
    "RKnee": "right_knee",
    "RAnkle": "right_ankle",
    "RBigToe": "right_big_toe",
    "RSmallToe": "right_small_toe",
    "RHeel": "right_heel",
    "LHip": "left_hip",
    "Neck": "neck",
    "Head": "head_top",
    "Nose": "nose",
    "LShoulder": "left_shoulder",
    "LElbow": "left_elbow",
    "LWrist": "left_wrist",
    "CHip": "mid_hip",
    "Hip": "mid_hip",
    "MidHip": "mid_hip",
    "REar": "right_ear",
    "LEye": "left_eye",
    "RThumb1": "right_thumb_1",
    "LPinky4": "left_little_4",
}


@pytest.mark.parametrize(("marker", "joint"), POSE2SIM.items())
def test_markers_of_pose2sim(marker, joint):
    assert joint_of_marker(marker) == joint


def test_every_marker_that_is_written_leads_back():
    for skeleton in (BODY_25, BODY_25B, with_hands(BODY_25B)):
        assert [joint_of_marker(marker_name(joint)) for joint in skeleton.joints] == list(skeleton.joints)


def test_an_unknown_marker_keeps_its_name():
    assert joint_of_marker("C7_study") == "C7_study"


def test_the_same_person_from_both_kinds_of_file(tmp_path):
    xyz = walk(5, (0, 0), (1, 0))[:, None]
    xyz[2, 0, 3] = np.nan
    keypoints = as_keypoints(xyz, first=40)
    keypoints.save(tmp_path / "a.h5")
    write_trc(tmp_path / "a.trc", keypoints)
    own, trc = read_points3d(tmp_path / "a.h5"), read_points3d(tmp_path / "a.trc")
    assert np.array_equal(own.xyz, xyz, equal_nan=True)
    assert np.array_equal(trc.xyz, xyz, equal_nan=True)
    assert own.joints == trc.joints == PERSON.joints
    assert own.frames.tolist() == [40, 41, 42, 43, 44]
    assert (own.numbers_rows, own.start, own.fps) == (False, 40, 50)
    # The rows of a TRC file count from 1; its time says where it begins.
    assert trc.frames.tolist() == [1, 2, 3, 4, 5]
    assert (trc.numbers_rows, trc.start, trc.fps) == (True, 40, 50)
    assert own.keypoints is not None
    assert trc.keypoints is None


def test_chosen_joints_in_their_order_and_missing_ones_as_nan(tmp_path):
    xyz = walk(2, (0, 0), (1, 0))[:, None]
    as_keypoints(xyz).save(tmp_path / "a.h5")
    chosen = read_points3d(tmp_path / "a.h5").select(("left_wrist", "tail", "nose"))
    assert np.array_equal(chosen[:, :, 0], xyz[:, :, PERSON.index("left_wrist")])
    assert np.isnan(chosen[:, :, 1]).all()
    assert np.array_equal(chosen[:, :, 2], xyz[:, :, PERSON.index("nose")])


def test_mistakes(tmp_path):
    keypoints = as_keypoints(walk(3, (0, 0), (1, 0))[:, None])
    write_trc(tmp_path / "a.trc", keypoints)
    text = (tmp_path / "a.trc").read_text()
    with pytest.raises(PosekitError, match=r"gone\.trc: no such file"):
        read_points3d(tmp_path / "gone.trc")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(PosekitError, match=r"a\.txt: '\.txt' is no file of people in 3D .*known are: \.h5, .*\.trc"):
        read_points3d(tmp_path / "a.txt")
    (tmp_path / "two.trc").write_text(text.replace("\tLHip\t", "\tMidHip\t").replace("\tLKnee\t", "\tCHip\t"))
    with pytest.raises(PosekitError, match=r"two\.trc: markers MidHip and CHip are both the joint mid_hip"):
        read_points3d(tmp_path / "two.trc")
    (tmp_path / "twice.trc").write_text(text.replace("\n3\t", "\n2\t"))
    with pytest.raises(PosekitError, match=r"twice\.trc: a number stands twice"):
        read_points3d(tmp_path / "twice.trc")
    as_keypoints(np.zeros((3, 0, 67, 3))).save(tmp_path / "empty.h5")
    with pytest.raises(PosekitError, match=r"empty\.h5: holds nobody"):
        read_points3d(tmp_path / "empty.h5")
