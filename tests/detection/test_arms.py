import numpy as np
import pytest

from posekit.detection.arms import BodyFollower, boxes_from_bodies, require_arms
from posekit.detection.hand_box import box_from_arm
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D
from posekit.skeleton import COCO_17, HAND_21
from scenes import PERSON


def bodies(xy: np.ndarray, confidence: float = 0.9) -> Keypoints2D:
    return Keypoints2D(xy, np.full(xy.shape[:-1], confidence), ("a",), np.arange(len(xy)), COCO_17, source="test")


def standing(x: float = 300.0) -> np.ndarray:
    rng = np.random.default_rng(2)
    return np.array([x, 200.0]) + rng.uniform((-40, -100), (40, 100), (17, 2))


def test_boxes_are_those_of_the_arms_left_first():
    xy = np.stack([standing(), standing(500)])[None, None]
    boxes = boxes_from_bodies(bodies(xy))
    assert boxes.shape == (1, 1, 4)
    assert boxes.left[0, 0].tolist() == [True, False, True, False]
    for hand, (person, side) in enumerate(((0, "left"), (0, "right"), (1, "left"), (1, "right"))):
        arm = [xy[0, 0, person, COCO_17.index(f"{side}_{joint}")] for joint in ("wrist", "elbow", "shoulder")]
        expected = box_from_arm(*(point.astype(np.float32) for point in arm), side == "left")
        np.testing.assert_allclose(boxes.centre[0, 0, hand], expected.centre)
        np.testing.assert_allclose(boxes.side[0, 0, hand], expected.side)
        np.testing.assert_allclose(boxes.angle[0, 0, hand], expected.angle)


def test_an_unsure_joint_is_a_missing_one():
    xy = standing()[None, None, None]
    confidence = np.full((1, 1, 1, 17), 0.9)
    confidence[..., COCO_17.index("left_elbow")] = 0.05
    keypoints = Keypoints2D(xy, confidence, ("a",), np.arange(1), COCO_17)
    assert boxes_from_bodies(keypoints).found.tolist() == [[[False, True]]]
    assert boxes_from_bodies(keypoints, least_confidence=0.01).found.all()


def test_a_skeleton_without_arms_is_one_line():
    require_arms(PERSON, "x")
    with pytest.raises(PosekitError, match=r"hands\.json: HAND_21 has no left_wrist; boxes of hands need"):
        require_arms(HAND_21, "hands.json")


def test_bodies_keep_their_numbers_in_any_slots():
    one, other = standing(200), standing(450)
    follower = BodyFollower(patience=2)
    assert follower.step(np.stack([one, other])).tolist() == [0, 1]
    assert follower.step(np.stack([other + 3, one + 3])).tolist() == [1, 0]
    empty = np.full_like(one, np.nan)
    assert follower.step(np.stack([empty, other + 6])).tolist() == [-1, 1]
    # One who comes back is the same, a newcomer is not, and who is away for too long is forgotten.
    assert follower.step(np.stack([one + 9, other + 700])).tolist() == [0, 2]
    for _ in range(3):
        assert follower.step(np.stack([one + 9])).tolist() == [0]
    assert follower.step(np.stack([one + 9, other + 9])).tolist() == [0, 3]
