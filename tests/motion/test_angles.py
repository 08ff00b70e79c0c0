from collections.abc import Mapping

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posekit.errors import PosekitError
from posekit.keypoints import Keypoints3D
from posekit.motion.angles import angle_between, joint_angles, signed_angle
from posekit.point_status import PointStatus
from posekit.skeleton import BODY_25, BODY_25B, FINGERS, HAND_21, Skeleton, get_skeleton, with_hands
from scenes import PERSON, standing_person

DEGREE = np.pi / 180
#: Rotations of unit vectors in float64, a dozen of them one after the other.
EXACT = 1e-9

RIGHT, FORWARD, UP = np.eye(3)


def turn(axis: np.ndarray, angle: float) -> np.ndarray:
    return Rotation.from_rotvec(np.asarray(axis) * angle).as_matrix()


def people(joints: Mapping[str, np.ndarray], skeleton: Skeleton) -> Keypoints3D:
    """Return one person of one frame; joints that are not named are missing."""
    xyz = np.full((1, 1, skeleton.joint_count, 3), np.nan)
    for name, place in joints.items():
        if name in skeleton:
            xyz[0, 0, skeleton.index(name)] = place
    return around(xyz, skeleton)


def around(xyz: np.ndarray, skeleton: Skeleton) -> Keypoints3D:
    F, P, J, _ = xyz.shape
    present = np.isfinite(xyz).all(axis=-1)
    return Keypoints3D(
        xyz=xyz,
        covariance=np.zeros((F, P, J, 6)),
        inliers=np.zeros((F, P, J, 0), dtype=bool),
        reprojection_px=np.zeros((F, P, J, 0)),
        status=np.where(present, PointStatus.OK, PointStatus.TOO_FEW_VIEWS),
        cameras=(),
        frames=np.arange(F),
        skeleton=skeleton,
    )


def angles_of(joints: Mapping[str, np.ndarray], skeleton: Skeleton, up: np.ndarray = UP) -> dict[str, float]:
    found = joint_angles(people(joints, skeleton), up)
    return dict(zip(found.names, found.values[0, 0].tolist(), strict=True))


def bent_body(pose: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Forward kinematics from the pelvis: rotations in the joints' own frames, one after the other, in BODY_25B's joints.

    Every joint turns the frame of all that hangs on it: first about the axis to the right (flexion), then about the new
    axis to the front (abduction). Facing +y, right +x, up +z.
    """

    def angle(name: str) -> float:
        return pose.get(name, 0.0) * DEGREE

    joints: dict[str, np.ndarray] = {}
    # Lean forwards turns up into forward: about the right axis by a negative angle. Lean to the right: about forward.
    trunk = turn(RIGHT, -angle("trunk_flexion")) @ turn(FORWARD, angle("trunk_lateral_flexion"))
    joints["neck"] = trunk @ (0.5 * UP)
    # To the left is counter-clockwise seen from above.
    thorax = trunk @ turn(UP, angle("trunk_rotation"))
    head = thorax @ turn(RIGHT, -angle("neck_flexion")) @ turn(FORWARD, angle("neck_lateral_flexion"))
    for side, out in (("left", -1), ("right", 1)):
        joints[f"{side}_hip"] = out * 0.1 * RIGHT
        joints[f"{side}_shoulder"] = joints["neck"] + thorax @ (out * 0.2 * RIGHT)
        joints[f"{side}_ear"] = joints["neck"] + head @ (0.2 * UP + out * 0.07 * RIGHT)
        # The thigh hangs from the trunk, whose right axis the hips give.
        thigh = (
            turn(RIGHT, -angle("trunk_flexion"))
            @ turn(RIGHT, angle(f"{side}_hip_flexion"))
            @ turn(FORWARD, -out * angle(f"{side}_hip_abduction"))
        )
        joints[f"{side}_knee"] = joints[f"{side}_hip"] + thigh @ (-0.43 * UP)
        shank = thigh @ turn(RIGHT, -angle(f"{side}_knee"))
        joints[f"{side}_ankle"] = joints[f"{side}_knee"] + shank @ (-0.42 * UP)
        foot = shank @ turn(RIGHT, angle(f"{side}_ankle_dorsiflexion"))
        joints[f"{side}_heel"] = joints[f"{side}_ankle"] + foot @ (-0.05 * FORWARD - 0.06 * UP)
        for toe, sideways in (("big_toe", -0.03), ("small_toe", 0.03)):
            joints[f"{side}_{toe}"] = joints[f"{side}_heel"] + foot @ (0.24 * FORWARD + sideways * RIGHT)
        # ISB: about the trunk into the plane of elevation, then raised in it.
        plane = thorax @ turn(UP, out * angle(f"{side}_shoulder_elevation_plane"))
        arm = plane @ turn(FORWARD, -out * angle(f"{side}_shoulder_elevation"))
        joints[f"{side}_elbow"] = joints[f"{side}_shoulder"] + arm @ (-0.3 * UP)
        forearm = arm @ turn(UP, 0.7) @ turn(RIGHT, angle(f"{side}_elbow_flexion"))
        joints[f"{side}_wrist"] = joints[f"{side}_elbow"] + forearm @ (-0.26 * UP)
    return joints


POSE = {
    "trunk_flexion": 25,
    "left_hip_flexion": 70,
    "left_hip_abduction": 20,
    "right_hip_flexion": -15,
    "right_hip_abduction": -8,
    "left_knee": 95,
    "right_knee": -6,
    "left_ankle_dorsiflexion": 12,
    "right_ankle_dorsiflexion": -35,
    "left_shoulder_elevation": 120,
    "left_shoulder_elevation_plane": 80,
    "right_shoulder_elevation": 40,
    "right_shoulder_elevation_plane": -30,
    "left_elbow_flexion": 110,
    "right_elbow_flexion": 3,
    "neck_flexion": 30,
}


def test_body_against_forward_kinematics():
    heading = turn(UP, 2.2)
    joints = {name: heading @ place + (1, -2, 0.9) for name, place in bent_body(POSE).items()}
    found = angles_of(joints, BODY_25B)
    expected = {name: value * DEGREE for name, value in POSE.items() if not name.endswith("knee")}
    for side in ("left", "right"):
        expected[f"{side}_knee_flexion"] = abs(POSE[f"{side}_knee"]) * DEGREE
        expected[f"{side}_knee_flexion_signed"] = POSE[f"{side}_knee"] * DEGREE
    expected |= {"trunk_inclination": 25 * DEGREE, "trunk_lateral_flexion": 0, "trunk_rotation": 0}
    expected |= {"neck_lateral_flexion": 0}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=EXACT)


def test_trunk_leans_to_the_right_turns_to_the_left_and_the_head_follows_the_thorax():
    pose = {"trunk_flexion": 20, "trunk_lateral_flexion": 10, "trunk_rotation": 35, "neck_flexion": -25}
    found = angles_of(bent_body(pose | {"neck_lateral_flexion": 12}), BODY_25B)
    assert found["trunk_flexion"] == pytest.approx(20 * DEGREE, abs=EXACT)
    assert found["trunk_lateral_flexion"] == pytest.approx(10 * DEGREE, abs=EXACT)
    assert found["trunk_inclination"] == pytest.approx(np.arccos(np.cos(20 * DEGREE) * np.cos(10 * DEGREE)), abs=EXACT)
    assert found["trunk_rotation"] == pytest.approx(35 * DEGREE, abs=EXACT)
    assert found["neck_flexion"] == pytest.approx(-25 * DEGREE, abs=EXACT)
    assert found["neck_lateral_flexion"] == pytest.approx(12 * DEGREE, abs=EXACT)


def test_inclinations_are_from_vertical():
    found = angles_of(bent_body({"left_hip_flexion": 30, "left_knee": 75, "left_elbow_flexion": 90}), BODY_25B)
    assert found["left_thigh_inclination"] == pytest.approx(30 * DEGREE, abs=EXACT)
    assert found["left_shank_inclination"] == pytest.approx(45 * DEGREE, abs=EXACT)
    assert found["left_foot_pitch"] == pytest.approx(-45 * DEGREE, abs=EXACT)
    assert found["right_foot_pitch"] == pytest.approx(0, abs=EXACT)
    assert found["left_upper_arm_inclination"] == pytest.approx(0, abs=EXACT)
    assert found["left_forearm_inclination"] == pytest.approx(90 * DEGREE, abs=EXACT)


def test_up_may_be_another_axis():
    to_y_up = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])  # (x, y, z) -> (y, z, x)
    joints = {name: to_y_up @ place for name, place in bent_body(POSE).items()}
    assert angles_of(joints, BODY_25B, np.array([0, 2.0, 0])) == pytest.approx(
        angles_of(bent_body(POSE), BODY_25B), abs=EXACT, nan_ok=True
    )


def test_a_signed_knee_is_too_small_where_the_thigh_is_turned_as_documented():
    joints = bent_body({"left_knee": 60})
    knee = joints["left_knee"]
    joints["left_ankle"] = turn(UP, 30 * DEGREE) @ (joints["left_ankle"] - knee) + knee
    found = angles_of(joints, BODY_25B)
    assert found["left_knee_flexion"] == pytest.approx(60 * DEGREE, abs=EXACT)
    # In the plane of the hips, what is seen of the bent shank is cos 30 degrees of it: 56.3 degrees.
    seen = np.arctan2(np.sin(60 * DEGREE) * np.cos(30 * DEGREE), np.cos(60 * DEGREE))
    assert found["left_knee_flexion_signed"] == pytest.approx(seen, abs=EXACT)
    assert 3 * DEGREE < found["left_knee_flexion"] - found["left_knee_flexion_signed"] < 4 * DEGREE


def test_plane_of_elevation_of_a_hanging_arm_is_not_made_up():
    found = angles_of(bent_body({"left_shoulder_elevation": 5, "right_shoulder_elevation": 7}), BODY_25B)
    assert np.isnan(found["left_shoulder_elevation_plane"])
    assert found["right_shoulder_elevation_plane"] == pytest.approx(0, abs=EXACT)


def bent_hand(side: str, pose: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Forward kinematics of a hand held up before its owner, palm to the front (+y), fingers up (+z); forearm below.

    Metacarpals fan out in the palm's plane. MCP: flexion about the axis across the palm, then abduction to the thumb's side.
    """
    thumbwards = -1 if side == "right" else 1  # of x: a right hand's thumb is on the left then

    def angle(name: str) -> float:
        return pose.get(name, 0.0) * DEGREE

    joints = {f"{side}_hand_wrist": np.zeros(3), f"{side}_wrist": np.zeros(3)}
    # A hand bent to its palm and its little finger sees the forearm come from the back and the thumb's side.
    bend = turn(RIGHT, angle("wrist_flexion")) @ turn(FORWARD, thumbwards * angle("wrist_ulnar_deviation"))
    joints[f"{side}_elbow"] = bend @ (-0.26 * UP)
    for number, finger in enumerate(("index", "middle", "ring", "little")):
        fan = (10, 0, -8, -16)[number] * DEGREE
        metacarpal = turn(FORWARD, thumbwards * fan) @ (0.09 * UP)
        joints[f"{side}_{finger}_1"] = place = metacarpal
        frame = turn(RIGHT, -angle(f"{finger}_mcp")) @ turn(FORWARD, thumbwards * angle(f"{finger}_abduction"))
        for joint, length, hinge in ((2, 0.045, ""), (3, 0.025, "pip"), (4, 0.02, "dip")):
            if hinge:
                frame = frame @ turn(RIGHT, -angle(f"{finger}_{hinge}"))
            place = place + frame @ (length * UP)
            joints[f"{side}_{finger}_{joint}"] = place
    direction = np.array([thumbwards * 0.6, 0.3, 0.5])
    place = np.array([thumbwards * 0.02, 0.01, 0.02])
    joints[f"{side}_thumb_1"] = place
    axis = np.cross(direction, UP) / np.linalg.norm(np.cross(direction, UP))
    for joint, hinge in ((2, ""), (3, "mcp"), (4, "ip")):
        if hinge:
            direction = turn(axis, angle(f"thumb_{hinge}")) @ direction
        place = place + 0.05 * direction
        joints[f"{side}_thumb_{joint}"] = place
    return joints


HAND_POSE = {
    "index_mcp": 40,
    "index_pip": 70,
    "index_dip": 30,
    "index_abduction": 15,
    "middle_mcp": 85,
    "middle_pip": 100,
    "ring_mcp": -20,
    "ring_pip": -5,
    "ring_dip": 12,
    "ring_abduction": -6,
    "little_pip": 15,
    "little_abduction": -21,
    "thumb_mcp": 25,
    "thumb_ip": 50,
    "wrist_flexion": 35,
}


@pytest.mark.parametrize("side", ["left", "right"])
def test_hand_against_forward_kinematics(side):
    turned = Rotation.from_euler("xyz", (0.4, -1.1, 2.0)).as_matrix()
    joints = {name: turned @ place + 0.7 for name, place in bent_hand(side, HAND_POSE).items()}
    found = angles_of(joints, with_hands(BODY_25))
    expected = {
        f"{side}_{finger}_{joint}_flexion": HAND_POSE.get(f"{finger}_{joint}", 0) * DEGREE
        for finger in FINGERS[1:]
        for joint in ("pip", "dip")
    }
    expected |= {f"{side}_thumb_{joint}_flexion": HAND_POSE[f"thumb_{joint}"] * DEGREE for joint in ("mcp", "ip")}
    expected |= {
        f"{side}_index_middle_abduction": 15 * DEGREE,
        f"{side}_middle_ring_abduction": 6 * DEGREE,
        f"{side}_ring_little_abduction": 15 * DEGREE,
        f"{side}_wrist_flexion": 35 * DEGREE,
        f"{side}_wrist_ulnar_deviation": 0,
    }
    expected |= {f"{side}_{f}_mcp_flexion": HAND_POSE.get(f"{f}_mcp", 0) * DEGREE for f in FINGERS[1:]}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=EXACT)
    # Of the thumb's first bone and the index finger's, as they were laid: (0.6, 0.3, 0.5) and 10 degrees off +z.
    cosine = np.dot((0.6, 0.3, 0.5), (np.sin(10 * DEGREE), 0, np.cos(10 * DEGREE))) / np.sqrt(0.7)
    assert found[f"{side}_thumb_abduction"] == pytest.approx(np.arccos(cosine), abs=EXACT)


@pytest.mark.parametrize("side", ["left", "right"])
def test_wrist_goes_to_the_little_finger(side):
    found = angles_of(bent_hand(side, {"wrist_flexion": -20, "wrist_ulnar_deviation": 25}), with_hands(BODY_25))
    assert found[f"{side}_wrist_ulnar_deviation"] == pytest.approx(25 * DEGREE, abs=EXACT)
    assert found[f"{side}_wrist_flexion"] == pytest.approx(-20 * DEGREE, abs=EXACT)


def test_a_hand_of_an_unknown_side_has_angles_without_signs():
    joints = {
        name.removeprefix("right_hand_").removeprefix("right_"): place
        for name, place in bent_hand("right", HAND_POSE).items()
    }
    found = angles_of({"wrist": np.zeros(3)} | joints, HAND_21)
    assert found["index_pip_flexion"] == pytest.approx(70 * DEGREE, abs=EXACT)
    assert found["ring_pip_flexion"] == pytest.approx(5 * DEGREE, abs=EXACT)  # 5 degrees of overextension
    assert found["thumb_ip_flexion"] == pytest.approx(50 * DEGREE, abs=EXACT)
    assert not [name for name in found if name.startswith(("left", "right"))]


def test_the_scenes_standing_person_stands_and_is_symmetric():
    found = joint_angles(around(standing_person()[None, None], PERSON))
    angles = dict(zip(found.names, found.values[0, 0].tolist(), strict=True))
    for name, value in angles.items():
        if name.startswith("left"):
            assert angles[name.replace("left", "right")] == pytest.approx(value, abs=EXACT, nan_ok=True), name
    assert angles["trunk_inclination"] == pytest.approx(0, abs=EXACT)
    assert abs(angles["left_knee_flexion_signed"]) < 10 * DEGREE


def test_a_missing_joint_takes_its_own_angles_with_it_and_no_others():
    joints = bent_body(POSE)
    whole = angles_of(joints, BODY_25B)
    del joints["left_ankle"]
    lacking = angles_of(joints, BODY_25B)
    lost = {name for name in whole if np.isnan(lacking[name]) and not np.isnan(whole[name])}
    assert lost == {
        *("left_knee_flexion", "left_knee_flexion_signed", "left_ankle_dorsiflexion", "left_shank_inclination")
    }


@pytest.mark.parametrize(
    ("skeleton", "has", "has_not"),
    [
        ("COCO_17", "left_knee_flexion neck_flexion trunk_rotation", "left_ankle_dorsiflexion left_wrist_flexion"),
        ("H36M_17", "left_knee_flexion neck_flexion trunk_rotation right_shoulder_elevation", "left_foot_pitch"),
        ("BLAZEPOSE_33", "left_ankle_dorsiflexion right_foot_pitch neck_flexion", "left_index_mcp_flexion"),
        ("COCO_WHOLEBODY_133", "left_ankle_dorsiflexion right_wrist_flexion left_little_dip_flexion", "mcp_flexion"),
        ("CMU_MOCAP", "left_knee_flexion trunk_flexion neck_flexion left_elbow_flexion", "left_foot_pitch"),
        ("INTERHAND_21", "index_mcp_flexion thumb_ip_flexion", "left_knee_flexion"),
    ],
)
def test_every_skeleton_gets_what_it_has_the_joints_for(skeleton, has, has_not):
    names = joint_angles(people({}, get_skeleton(skeleton))).names
    assert set(has.split()) <= set(names)
    assert not set(has_not.split()) & set(names)


def test_middles_stand_in_for_joints_that_a_skeleton_lacks():
    joints = bent_body(POSE)
    joints["mid_hip"] = np.zeros(3)
    coco, own = angles_of(joints, get_skeleton("COCO_17")), angles_of(joints, BODY_25)
    shared = set(coco) & set(own)
    assert len(shared) > 15
    assert {name: coco[name] for name in shared} == pytest.approx({name: own[name] for name in shared}, abs=EXACT)


def test_coinciding_joints_have_no_angle():
    joints = bent_body(POSE)
    joints["left_knee"] = joints["left_hip"]
    found = angles_of(joints, BODY_25B)
    for name in ("left_hip_flexion", "left_knee_flexion", "left_knee_flexion_signed", "left_thigh_inclination"):
        assert np.isnan(found[name]), name


def test_no_direction_and_no_angles_are_said():
    with pytest.raises(PosekitError, match="no direction in space"):
        joint_angles(people({}, BODY_25), (0, 0, 0))
    eyes = Skeleton("EYES", ("left_eye", "right_eye"), ((0, 1),), ((0, 1),), {"body": (0, 1)})
    with pytest.raises(PosekitError, match="skeleton EYES has the joints for none"):
        joint_angles(people({}, eyes))


def test_angles_near_straight_are_exact():
    # An arc cosine loses half of the digits here.
    small = np.array([np.sin(1e-7), 0, np.cos(1e-7)])
    assert angle_between(UP, small) == pytest.approx(1e-7, rel=1e-9)
    assert signed_angle(UP, small, FORWARD) == pytest.approx(1e-7, rel=1e-9)
    assert signed_angle(UP, small, -FORWARD) == pytest.approx(-1e-7, rel=1e-9)
