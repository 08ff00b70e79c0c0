import copy
import itertools
import pickle

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.skeleton import (
    BODY_25,
    BODY_25B,
    HAND_21,
    HAND_FINGERS,
    SKELETONS,
    Skeleton,
    get_skeleton,
    joint_map,
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
WITH_HANDS = (with_hands(BODY_25), with_hands(BODY_25B))
ALL = (*SKELETONS.values(), *WITH_HANDS)


def openpose_name(joint: str) -> str:
    side = {"left_": "L", "right_": "R"}
    for prefix, letter in side.items():
        if joint.startswith(prefix):
            return letter + joint.removeprefix(prefix).title().replace("_", "")
    return joint.title().replace("_", "")


@pytest.mark.parametrize(("skeleton", "table"), [(BODY_25, OPENPOSE_25), (BODY_25B, OPENPOSE_25B)])
def test_body_order_is_openposes(skeleton, table):
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
    assert sorted(joint for pair in skeleton.left_right for joint in pair) == sorted(map(skeleton.index, sided))
    mirror = np.arange(skeleton.joint_count)
    for left, right in skeleton.left_right:
        assert (skeleton.side(left), skeleton.side(right)) == ("left", "right")
        mirror[left], mirror[right] = right, left
    bones = {tuple(sorted(bone)) for bone in skeleton.bones}
    assert {tuple(sorted((int(mirror[a]), int(mirror[b])))) for a, b in skeleton.bones} == bones


@pytest.mark.parametrize("skeleton", WITH_HANDS, ids=lambda skeleton: skeleton.name)
def test_hands_stand_behind_the_body_in_hand_order(skeleton):
    assert skeleton.joint_count == 25 + 42
    assert skeleton.part("body").tolist() == list(range(25))
    for side, first in (("left", 25), ("right", 46)):
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


@pytest.mark.parametrize("name", ["", "BODY", "body_25", "BODY_25+", "BODY_25+hands+hands", "+hands", "HAND_21+hands"])
def test_unknown_skeletons_are_refused_by_name(name):
    with pytest.raises(
        PosekitError, match=r"skeleton '.*' is not known; known are: BODY_25, BODY_25B, HAND_21"
    ) as error:
        get_skeleton(name)
    assert f"'{name}'" in str(error.value)


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
