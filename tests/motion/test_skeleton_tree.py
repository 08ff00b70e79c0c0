import numpy as np
import pytest

from posekit.motion.skeleton_tree import SkeletonTree, build_tree, rest_direction
from posekit.skeleton import BODY_25B, SKELETONS, get_skeleton


def parents(tree: SkeletonTree) -> dict[str, str]:
    return {joint.name: tree.joints[joint.parent].name if joint.parent >= 0 else "" for joint in tree.joints}


def test_what_hangs_on_what():
    skeleton = get_skeleton("BODY_25B+hands")
    tree = build_tree(skeleton, np.ones(skeleton.joint_count, bool))
    parent = parents(tree)
    assert tree.joints[0].name == "mid_hip"  # BODY_25B has none: it is put between the hips
    expected = {
        "left_hip": "mid_hip",
        "spine": "mid_hip",
        "neck": "spine",
        "left_clavicle": "spine",  # the head may turn without the shoulders
        "left_shoulder": "left_clavicle",
        "left_ear": "neck",  # one piece with the skull
        "right_small_toe": "right_ankle",  # one piece with the foot
        "left_wrist": "left_elbow",
        "left_index_1": "left_wrist",  # one piece with the palm
        "left_hand_wrist": "left_wrist",
        "left_index_2": "left_index_1",
    }
    assert {joint: parent[joint] for joint in expected} == expected
    assert {joint.name for joint in tree.joints if joint.helper} == {"spine", "left_clavicle", "right_clavicle"}


@pytest.mark.parametrize(
    ("name", "root", "chest"),
    [("COCO_17", "mid_hip", "neck"), ("H36M_17", "mid_hip", "thorax"), ("CMU_MOCAP", "pelvis", "thorax")],
)
def test_other_skeletons_have_a_trunk_too(name, root, chest):
    skeleton = SKELETONS[name]
    tree = build_tree(skeleton, np.ones(skeleton.joint_count, bool))
    assert tree.joints[0].name == root
    places = {joint.name: tree.point_names[joint.point] for joint in tree.joints}
    assert places["left_clavicle"] == chest


def test_joints_that_were_never_seen_are_passed_over():
    seen = np.ones(25, bool)
    seen[BODY_25B.indices(("left_knee", "right_hip"))] = False
    parent = parents(build_tree(BODY_25B, seen))
    assert "left_knee" not in parent
    assert parent["left_ankle"] == "left_hip"
    seen[BODY_25B.indices(("left_hip", "neck"))] = False
    tree = build_tree(BODY_25B, seen)
    assert [joint.parent for joint in tree.joints].count(-1) == 1
    assert {"left_hip", "neck"}.isdisjoint(parents(tree))


def test_midpoints_lie_between_their_ends():
    tree = build_tree(BODY_25B, np.ones(25, bool))
    xyz = np.random.default_rng(0).normal(size=(2, 25, 3))
    hips = xyz[:, BODY_25B.indices(("left_hip", "right_hip"))]
    np.testing.assert_allclose(tree.points(xyz)[:, 25], hips.mean(axis=1))


def test_the_rest_pose_is_a_mirror_image_of_itself():
    for joint in ("hip", "knee", "shoulder", "wrist", "index_1", "thumb_3", "big_toe", "ear"):
        left, right = rest_direction(f"left_{joint}"), rest_direction(f"right_{joint}")
        np.testing.assert_array_equal(left * (-1, 1, 1), right)
        assert left[0] > 0 or joint in ("knee", "big_toe")
    assert rest_direction("neck")[1] > 0
