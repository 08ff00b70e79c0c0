import copy
import itertools
import pickle

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.skeleton import (
    BLAZEPOSE_33,
    BODY_25,
    BODY_25B,
    CMU_MOCAP,
    COCO_17,
    COCO_18,
    COCO_WHOLEBODY_133,
    H36M_16,
    H36M_17,
    HALPE_26,
    HAND_21,
    HAND_FINGERS,
    INTERHAND_21,
    PANOPTIC_19,
    SKELETONS,
    Skeleton,
    apply_joint_map,
    defined_skeleton,
    get_skeleton,
    is_known,
    joint_map,
    matching_joints,
    skeleton_definition,
    skeleton_of_names,
    skeletons_of,
    with_hands,
)

# OpenPose's own tables (doc/02_output.md and poseParameters.cpp), typed in apart from the library's.
OPENPOSE_25 = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle REye LEye REar LEar "
    "LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
)
OPENPOSE_25B = (
    "Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee LAnkle RAnkle Neck HeadTop "
    "LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
)
# The other tables, typed in from their makers' documents in their order: COCO's, Halpe's and Human3.6M's from MMPose, joints19
# from the Panoptic toolbox, BlazePose from MediaPipe, MPII from its own.
COCO = "Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee LAnkle RAnkle"
OPENPOSE_18 = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle REye LEye REar LEar"
)
HALPE = f"{COCO} HeadTop Neck MidHip LBigToe RBigToe LSmallToe RSmallToe LHeel RHeel"
PANOPTIC = (
    "Neck Nose MidHip LShoulder LElbow LWrist LHip LKnee LAnkle RShoulder RElbow RWrist RHip RKnee RAnkle "
    "LEye LEar REye REar"
)
H36M = (
    "MidHip RHip RKnee RAnkle LHip LKnee LAnkle Spine Thorax UpperNeck HeadTop LShoulder "
    "LElbow LWrist RShoulder RElbow RWrist"
)
MPII = "RAnkle RKnee RHip LHip LKnee LAnkle MidHip Thorax UpperNeck HeadTop RWrist RElbow RShoulder LShoulder LElbow LWrist"
BLAZEPOSE = (
    "Nose LEyeInner LEye LEyeOuter REyeInner REye REyeOuter LEar REar LMouth RMouth LShoulder RShoulder LElbow RElbow LWrist "
    "RWrist LPinkyKnuckle RPinkyKnuckle LIndexKnuckle RIndexKnuckle LThumbKnuckle RThumbKnuckle LHip RHip LKnee RKnee LAnkle "
    "RAnkle LHeel RHeel LFootIndex RFootIndex"
)
# The order of amc_joint_names in the recordings, and what is at the end of each bone.
CMU_ENDS = {
    "root": "pelvis",
    "head": "head_top",
    "lclavicle": "left_shoulder",
    "lfemur": "left_knee",
    "lfingers": "left_fingertips",
    "lfoot": "left_foot_ball",
    "lhand": "left_knuckles",
    "lhipjoint": "left_hip",
    "lhumerus": "left_elbow",
    "lowerback": "lower_back",
    "lowerneck": "lower_neck",
    "lradius": "left_wrist",
    "lthumb": "left_thumb_end",
    "ltibia": "left_ankle",
    "ltoes": "left_toe_end",
    "lwrist": "left_palm",
    "rclavicle": "right_shoulder",
    "rfemur": "right_knee",
    "rfingers": "right_fingertips",
    "rfoot": "right_foot_ball",
    "rhand": "right_knuckles",
    "rhipjoint": "right_hip",
    "rhumerus": "right_elbow",
    "rradius": "right_wrist",
    "rthumb": "right_thumb_end",
    "rtibia": "right_ankle",
    "rtoes": "right_toe_end",
    "rwrist": "right_palm",
    "thorax": "thorax",
    "upperback": "upper_back",
    "upperneck": "upper_neck",
}
WITH_HANDS = tuple(with_hands(body) for body in (BODY_25, BODY_25B, COCO_17, HALPE_26, BLAZEPOSE_33))
ALL = (*SKELETONS.values(), *WITH_HANDS)


def openpose_name(joint: str) -> str:
    side = {"left_": "L", "right_": "R"}
    for prefix, letter in side.items():
        if joint.startswith(prefix):
            return letter + joint.removeprefix(prefix).title().replace("_", "")
    return joint.title().replace("_", "")


@pytest.mark.parametrize(
    ("skeleton", "table"),
    [
        (BODY_25, OPENPOSE_25),
        (BODY_25B, OPENPOSE_25B),
        (COCO_17, COCO),
        (COCO_18, OPENPOSE_18),
        (HALPE_26, HALPE),
        (PANOPTIC_19, PANOPTIC),
        (H36M_17, H36M),
        (H36M_16, MPII),
        (BLAZEPOSE_33, BLAZEPOSE),
    ],
    ids=lambda value: value.name if isinstance(value, Skeleton) else "",
)
def test_body_order_is_its_makers(skeleton, table):
    assert " ".join(openpose_name(joint) for joint in skeleton.joints) == table


def test_hand_order_is_wrist_then_fingers_base_to_tip():
    assert HAND_21.joints[:6] == ("wrist", "thumb_1", "thumb_2", "thumb_3", "thumb_4", "index_1")
    assert HAND_21.joints[-1] == "little_4"
    edges = {
        edge
        for finger in ((0, 1, 2, 3, 4), (0, 5, 6, 7, 8), (0, 9, 10, 11, 12), (0, 13, 14, 15, 16), (0, 17, 18, 19, 20))
        for edge in itertools.pairwise(finger)
    }
    assert set(HAND_21.bones) == edges
    assert HAND_FINGERS == ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))


def test_wholebody_is_coco_feet_face_and_hands():
    joints = COCO_WHOLEBODY_133.joints
    assert joints[:17] == COCO_17.joints
    toes = ("big_toe", "small_toe", "heel")
    assert joints[17:23] == tuple(f"{side}_{toe}" for side in ("left", "right") for toe in toes)
    assert joints[23:91] == tuple(f"face_{number}" for number in range(68))
    reference = with_hands(COCO_17)
    for side, first in (("left", 91), ("right", 112)):
        assert COCO_WHOLEBODY_133.part(f"{side}_hand").tolist() == list(range(first, first + 21))
        assert joints[first : first + 21] == tuple(reference.joints[j] for j in reference.part(f"{side}_hand"))


def test_points_of_the_face_mirror_as_300w_flips_them():
    # Jaw ends, brow ends, nostrils, outer corners of the eyes, an upper lid, a lower lid, corners of the mouth, a lower lip;
    # 300-W starts at the person's right.
    for right, left in (
        (0, 16),
        (17, 26),
        (31, 35),
        (36, 45),
        (37, 44),
        (41, 46),
        (48, 54),
        (58, 56),
        (60, 64),
        (67, 65),
    ):
        pair = COCO_WHOLEBODY_133.index(f"face_{left}"), COCO_WHOLEBODY_133.index(f"face_{right}")
        assert pair in COCO_WHOLEBODY_133.left_right
        assert [COCO_WHOLEBODY_133.side(joint) for joint in pair] == ["left", "right"]
    middle = {f"face_{number}" for number in (8, 27, 28, 29, 30, 33, 51, 57, 62, 66)}
    paired = {joint for pair in COCO_WHOLEBODY_133.left_right for joint in pair}
    alone = {joint for number, joint in enumerate(COCO_WHOLEBODY_133.joints) if number not in paired}
    assert alone == {"nose", *middle}


def test_interhand_is_hand_21_with_every_finger_turned_round_and_the_wrist_last():
    assert INTERHAND_21.joints[:5] == ("thumb_4", "thumb_3", "thumb_2", "thumb_1", "index_4")
    assert INTERHAND_21.joints[-2:] == ("little_1", "wrist")
    mapped = joint_map(HAND_21, INTERHAND_21)
    assert mapped.missing == mapped.unused == ()

    def named_bones(skeleton: Skeleton) -> set[tuple[str, str]]:
        return {(skeleton.joints[a], skeleton.joints[b]) for a, b in skeleton.bones}

    assert named_bones(HAND_21) == named_bones(INTERHAND_21)


def test_cmus_bones_are_named_by_the_joint_at_their_end():
    assert CMU_MOCAP.joints == tuple(CMU_ENDS.values())


def test_cmus_joints_are_those_of_the_recordings(shared_data):
    recording = np.load(shared_data / "cmu_mocap" / "cmu_joints_30hz.npz")
    assert recording["amc_joint_names"].tolist() == list(CMU_ENDS)
    walk = recording["amc/02_01"]
    start, end = np.array(CMU_MOCAP.bones).T
    lengths = np.linalg.norm(walk[:, start] - walk[:, end], axis=-1)
    # Every bone of the skeleton is rigid in the recording, so it joins joints of one segment; float32 positions of metres.
    assert np.ptp(lengths, axis=0).max() < 1e-5


@pytest.mark.parametrize("skeleton", ALL, ids=lambda skeleton: skeleton.name)
def test_bones_join_all_joints_once(skeleton):
    undirected = [tuple(sorted(bone)) for bone in skeleton.bones]
    assert len(set(undirected)) == len(undirected)
    reached, grown = {0}, True
    while grown:
        more = {joint for bone in undirected for joint in bone if set(bone) & reached}
        grown = not more <= reached
        reached |= more
    assert reached == set(range(skeleton.joint_count))


@pytest.mark.parametrize("skeleton", ALL, ids=lambda skeleton: skeleton.name)
def test_left_right_pairs_mirror_the_bones(skeleton):
    sided = [joint for joint in skeleton.joints if joint.startswith(("left_", "right_"))]
    paired = {joint for pair in skeleton.left_right for joint in pair}
    assert len(paired) == 2 * len(skeleton.left_right)
    face = set(skeleton.parts.get("face", ()))
    assert paired - face == set(map(skeleton.index, sided))
    mirror = np.arange(skeleton.joint_count)
    for left, right in skeleton.left_right:
        assert (skeleton.side(left), skeleton.side(right)) == ("left", "right")
        mirror[left], mirror[right] = right, left
    bones = {tuple(sorted(bone)) for bone in skeleton.bones}
    assert {tuple(sorted((int(mirror[a]), int(mirror[b])))) for a, b in skeleton.bones} == bones


@pytest.mark.parametrize("skeleton", WITH_HANDS, ids=lambda skeleton: skeleton.name)
def test_hands_stand_behind_the_body_in_hand_order(skeleton):
    count = skeleton.joint_count - 42
    assert skeleton.joints[:count] == get_skeleton(skeleton.name.removesuffix("+hands")).joints
    assert skeleton.part("body").tolist() == list(range(count))
    for side, first in (("left", count), ("right", count + 21)):
        hand = skeleton.part(f"{side}_hand")
        assert hand.tolist() == list(range(first, first + 21))
        names = [skeleton.joints[joint] for joint in hand]
        assert names == [f"{side}_hand_wrist", *(f"{side}_{joint}" for joint in HAND_21.joints[1:])]
        assert (skeleton.index(f"{side}_wrist"), first) in skeleton.bones
        assert {(a + first, b + first) for a, b in HAND_21.bones} <= set(skeleton.bones)
    assert skeleton.side(skeleton.index("nose")) == "middle"


def test_joint_map_moves_values_by_name_and_lists_the_rest():
    source = np.arange(25) * 10
    mapped = joint_map(BODY_25, BODY_25B)
    target = np.full(25, -1)
    target[mapped.target] = source[mapped.source]
    for place, joint in enumerate(BODY_25B.joints):
        assert target[place] == (10 * BODY_25.index(joint) if joint in BODY_25 else -1)
    assert mapped.missing == ("head_top",)
    assert mapped.unused == ("mid_hip",)


def test_joint_map_of_strangers_is_empty_but_usable():
    mapped = joint_map(HAND_21, BODY_25)
    target = np.zeros(25)
    target[mapped.target] = np.ones(21)[mapped.source]
    assert not target.any()
    assert mapped.missing == BODY_25.joints
    assert mapped.unused == HAND_21.joints


@pytest.mark.parametrize("skeleton", ALL, ids=lambda skeleton: skeleton.name)
def test_skeletons_are_found_by_their_names(skeleton):
    assert get_skeleton(skeleton.name) == skeleton
    assert hash(get_skeleton(skeleton.name)) == hash(skeleton)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("body25b", "BODY_25B"),
        ("Body-25", "BODY_25"),
        ("body_25b+hands", "BODY_25B+hands"),
        ("coco17", "COCO_17"),
        ("COCO-17", "COCO_17"),
        ("coco", "COCO_17"),
        ("coco18", "COCO_18"),
        ("halpe26", "HALPE_26"),
        ("HALPE_26", "HALPE_26"),
        ("Body_with_feet", "HALPE_26"),
        ("wholebody", "COCO_WHOLEBODY_133"),
        ("coco-wholebody", "COCO_WHOLEBODY_133"),
        ("h36m", "H36M_17"),
        ("MPII", "H36M_16"),
        ("blazepose", "BLAZEPOSE_33"),
        ("MediaPipe", "BLAZEPOSE_33"),
        ("mediapipe+hands", "BLAZEPOSE_33+hands"),
        ("hand21", "HAND_21"),
        ("interhand", "INTERHAND_21"),
        ("panoptic19", "PANOPTIC_19"),
    ],
)
def test_names_as_people_type_them(spelling, name):
    assert get_skeleton(spelling).name == name


@pytest.mark.parametrize(
    "name", ["", "BODY", "BODY_24", "BODY_25+", "BODY_25+hands+hands", "+hands", "HAND_21+hands", "wholebody+hands"]
)
def test_unknown_skeletons_are_refused_by_name(name):
    with pytest.raises(
        PosekitError, match=r"skeleton '.*' is not known; known are: BODY_25, BODY_25B, COCO_17"
    ) as error:
        get_skeleton(name)
    assert f"'{name}'" in str(error.value)


def test_skeletons_of_a_number_of_joints():
    assert skeletons_of(25) == (BODY_25, BODY_25B)
    assert skeletons_of(133) == (COCO_WHOLEBODY_133,)
    assert skeletons_of(24) == ()


def test_joints_that_nobody_else_has_are_made_of_others_when_asked_for():
    plain = joint_map(COCO_17, H36M_17)
    assert plain.missing == ("mid_hip", "spine", "thorax", "upper_neck", "head_top")
    assert dict(plain.derived) == {}
    mapped = joint_map(COCO_17, H36M_17, derive=True)
    assert mapped.missing == ("head_top",)
    assert dict(mapped.derived) == {
        "mid_hip": ("left_hip", "right_hip"),
        "thorax": ("left_shoulder", "right_shoulder"),
        "spine": ("left_hip", "right_hip", "left_shoulder", "right_shoulder"),
        "upper_neck": ("nose",),
    }
    assert mapped.unused == ("left_eye", "right_eye", "left_ear", "right_ear")
    wrists = joint_map(COCO_17, with_hands(COCO_17), derive=True).derived
    assert wrists == {f"{side}_hand_wrist": (f"{side}_wrist",) for side in ("left", "right")}
    assert joint_map(BODY_25, HALPE_26, derive=True).derived == {}  # what is there by name is not made again


def test_points_move_with_their_confidence():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4, 17, 2))
    confidence = rng.uniform(0.1, 1, size=(4, 17))
    points[1, COCO_17.index("left_hip")], confidence[1, COCO_17.index("left_hip")] = np.nan, 0
    mapping = joint_map(COCO_17, HALPE_26, derive=True)
    moved, weight = apply_joint_map(mapping, COCO_17, HALPE_26, points, confidence)
    assert np.array_equal(moved[:, :17], points, equal_nan=True)
    hips = COCO_17.indices(("left_hip", "right_hip"))
    middle = (points[:, hips[0]] + points[:, hips[1]]) / 2
    assert np.array_equal(moved[:, HALPE_26.index("mid_hip")], middle, equal_nan=True)
    assert np.isnan(moved[1, HALPE_26.index("mid_hip")]).all()
    assert np.array_equal(weight[:, HALPE_26.index("mid_hip")], confidence[:, hips].min(axis=1))
    toe = HALPE_26.index("left_big_toe")
    assert np.isnan(moved[:, toe]).all()
    assert (weight[:, toe] == 0).all()
    same, none = apply_joint_map(mapping, COCO_17, HALPE_26, points)
    assert np.array_equal(same, moved, equal_nan=True)
    assert none is None
    with pytest.raises(PosekitError, match=r"points of shape \(4, 16, 2\) do not hold the 17 joints of COCO_17"):
        apply_joint_map(mapping, COCO_17, HALPE_26, points[:, :16])
    with pytest.raises(PosekitError, match=r"confidence has shape \(4, 16\), \(4, 17\) was expected"):
        apply_joint_map(mapping, COCO_17, HALPE_26, points, confidence[:, :16])


@pytest.mark.parametrize(
    ("spelling", "joint"),
    [
        ("left_wrist", "left_wrist"),
        ("LWrist", "left_wrist"),
        ("lwrist", "left_wrist"),
        ("wrist_l", "left_wrist"),
        ("Wrist L", "left_wrist"),
        ("leftWrist", "left_wrist"),
        ("L.Wrist", "left_wrist"),
        ("rightshoulder", "right_shoulder"),
        ("RBigToe", "right_big_toe"),
        ("MidHip", "mid_hip"),
        ("hip_center", "mid_hip"),
        ("left_pinky_tip", "left_little_4"),
        ("R_thumb_mcp", "right_thumb_2"),
        ("R_index_mcp", "right_index_1"),
        ("left_middle_finger3", "left_middle_3"),
        ("snout", None),
        ("wrist", None),
    ],
)
def test_joints_as_files_spell_them(spelling, joint):
    assert matching_joints((spelling,), with_hands(BODY_25)).get(spelling) == joint


def test_two_names_of_one_joint_are_refused():
    with pytest.raises(PosekitError, match="'LWrist' and 'wrist_l' are both left_wrist of COCO_17"):
        matching_joints(("LWrist", "wrist_l"), COCO_17)


def test_somebodys_own_joints():
    skeleton = skeleton_of_names("custom", ("snout", "L paw", "tail", "R paw"))
    assert skeleton.left_right == ((1, 3),)
    assert [skeleton.side(joint) for joint in range(4)] == ["middle", "left", "middle", "right"]
    assert skeleton.bones == ()
    assert not is_known(skeleton)
    again = defined_skeleton(skeleton.name, skeleton.joints, skeleton_definition(skeleton))
    assert again == skeleton


def test_a_definition_holds_everything():
    assert is_known(with_hands(BODY_25))
    for skeleton in (with_hands(BODY_25), COCO_WHOLEBODY_133):
        assert defined_skeleton(skeleton.name, skeleton.joints, skeleton_definition(skeleton)) == skeleton


@pytest.mark.parametrize("definition", ["", "[]", "{}", '{"bones":1,"left_right":[],"parts":{}}', "[" * 100_000])
def test_a_definition_that_is_none_is_refused(definition):
    with pytest.raises(PosekitError, match="skeleton odd: its definition cannot be read"):
        defined_skeleton("odd", ("a",), definition)


def test_unknown_joints_and_parts_are_refused_with_what_there_is():
    with pytest.raises(PosekitError, match=r"HAND_21 has no joint 'elbow'; it has: wrist, thumb_1"):
        HAND_21.indices(("wrist", "elbow"))
    with pytest.raises(PosekitError, match=r"BODY_25 has no part 'left_hand'; it has: body"):
        BODY_25.part("left_hand")
    assert HAND_21.indices(()).dtype == np.int64
    assert HAND_21.indices(()).shape == (0,)


@pytest.mark.parametrize(
    ("joints", "bones", "pairs", "parts", "reason"),
    [
        (("a", "a"), (), (), {"body": (0, 1)}, "two joints have one name"),
        (("a", "b"), (), (), {"body": (0,)}, "exactly one part"),
        (("a", "b"), (), (), {"body": (0, 1), "hand": (1,)}, "exactly one part"),
        (("a", "b"), ((0, 2),), (), {"body": (0, 1)}, r"\(0, 2\) is no pair"),
        (("a", "b"), ((0, -1),), (), {"body": (0, 1)}, r"\(0, -1\) is no pair"),
        (("a", "b"), ((1, 1),), (), {"body": (0, 1)}, r"\(1, 1\) is no pair"),
        (("a", "b"), (), ((0, 5),), {"body": (0, 1)}, r"\(0, 5\) is no pair"),
        (("a", "b"), (), (), {"body": (1, 0)}, "ascend"),
    ],
)
def test_impossible_skeletons_are_refused(joints, bones, pairs, parts, reason):
    with pytest.raises(PosekitError, match=f"skeleton odd: .*{reason}"):
        Skeleton("odd", joints, bones, pairs, parts)


def test_parts_cannot_be_changed():
    with pytest.raises(TypeError):
        BODY_25.parts["body"] = ()  # type: ignore[index]


def test_a_skeleton_goes_to_another_process_and_back():
    skeleton = with_hands(BODY_25B)
    assert pickle.loads(pickle.dumps(skeleton)) == skeleton
    assert copy.deepcopy(skeleton) == skeleton


@pytest.mark.parametrize("skeleton", [*SKELETONS.values(), with_hands(BODY_25B)], ids=lambda skeleton: skeleton.name)
def test_the_mirror_of_the_mirror_is_the_skeleton(skeleton):
    assert skeleton.mirror[skeleton.mirror].tolist() == list(range(skeleton.joint_count))
    changed = {(a, b) for a, b in enumerate(skeleton.mirror.tolist()) if a < b}
    assert changed == {(min(pair), max(pair)) for pair in skeleton.left_right}
