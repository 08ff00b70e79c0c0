import numpy as np

from posekit.detection.adapters.found import HANDS_42, FoundHand, FoundPeople, keypoints_of_view, pair_hands
from posekit.skeleton import HAND_21


def hand(at: float, confidence: float, left: bool) -> FoundHand:
    return FoundHand(np.full((21, 2), at), confidence, left)


def test_the_surest_of_each_side_share_a_slot():
    found = pair_hands([hand(1, 0.5, True), hand(2, 0.9, True), hand(3, 0.4, False)])
    assert found.xy.shape == (2, 42, 2)
    assert found.xy[0, [0, 21], 0].tolist() == [2, 3]
    assert found.xy[1, 0, 0] == 1
    assert np.isnan(found.xy[1, 21:]).all()
    assert found.confidence[:, [0, 21]].tolist() == [[0.9, 0.4], [0.5, 0]]
    assert pair_hands([]).xy.shape == (0, 42, 2)


def test_pictures_with_different_numbers_of_people():
    one = FoundPeople(np.full((1, 21, 2), 4.0), np.full((1, 21), 0.5))
    two = FoundPeople(np.arange(84.0).reshape(2, 21, 2), np.ones((2, 21)))
    nobody = FoundPeople(np.empty((0, 21, 2)), np.empty((0, 21)))
    found = keypoints_of_view([one, nobody, two], "cam", HAND_21, None, "a detector")
    assert found.xy.shape == (3, 1, 2, 21, 2)
    assert (found.xy[0, 0, 0] == 4).all()
    assert np.isnan(found.xy[0, 0, 1]).all()
    assert np.isnan(found.xy[1]).all()
    assert not found.confidence[1].any()
    np.testing.assert_array_equal(found.xy[2, 0], two.xy)
    assert (found.source, found.fps) == ("a detector", None)


def test_each_side_is_a_hand():
    for side in ("left", "right"):
        joints = HANDS_42.part(f"{side}_hand")
        lowest = joints.min()
        assert [(a - lowest, b - lowest) for a, b in HANDS_42.bones if a in joints] == list(HAND_21.bones)
        assert {HANDS_42.side(joint) for joint in joints} == {side}
