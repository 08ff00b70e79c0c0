import numpy as np
import pytest

from posekit.bootstrap.hand_target import HandTarget
from posekit.bootstrap.hand_views import hand_boxes
from posekit.camera import Rig
from posekit.detection.hand_box import crop_from_image, transform_points
from posekit.people.reconstruction import reconstruct_people
from posekit.skeleton import BODY_25B
from scenes import PERSON, looking_camera, observe, ring_rig, standing_person, walk

RIG = ring_rig(4)
HANDS = HandTarget()


@pytest.fixture(scope="module")
def scene():
    return observe(RIG, [walk(6, (-0.3, 0), (0.3, 0))], noise_px=0.5)


@pytest.fixture(scope="module")
def result(scene):
    return reconstruct_people(scene.keypoints, RIG)


def test_every_hand_lies_in_its_box_with_the_fingers_up(scene, result):
    boxes = hand_boxes(result, RIG)
    assert boxes.shape == (6, 4, 2)
    assert boxes.found.all()
    assert boxes.left[..., 0].all()
    assert not boxes.left[..., 1].any()
    joints = HANDS.take(scene.keypoints).xy
    in_crop = transform_points(crop_from_image(boxes, 1), joints)  # the box is -0.5 to 0.5
    assert np.abs(in_crop).max() < 0.5
    # The hand hangs on from the forearm: in the crop its middle fingertip is above its wrist.
    assert (in_crop[..., 12, 1] < in_crop[..., 0, 1] - 0.15).all()


def test_left_hands_look_like_right_hands():
    # Person and rig are their own mirror images: what a camera sees of the left hand, its twin sees of the right one.
    places = [(2.5, 3, 1.3), (-2.5, 3, 1.3), (3, -2, 2), (-3, -2, 2)]
    rig = Rig(tuple(looking_camera(f"c{n}", place, (0, 0, 0.95)) for n, place in enumerate(places)))
    scene = observe(rig, [np.stack([standing_person()] * 3)])
    boxes = hand_boxes(reconstruct_people(scene.keypoints, rig), rig)
    in_crop = transform_points(crop_from_image(boxes, 1), HANDS.take(scene.keypoints).xy)
    for camera, twin in ((0, 1), (1, 0), (2, 3), (3, 2)):
        left, right = in_crop[:, camera, 0], in_crop[:, twin, 1]
        np.testing.assert_allclose(left, right, atol=1e-3)  # of the box; the keypoints are float32
    # The hand is no mirror image of itself, so that a crop that is not mirrored would be seen.
    assert np.abs(in_crop[..., 4, 0] - in_crop[..., 12, 0]).max() > 0.1


def test_a_view_without_wrist_and_elbow_gets_its_box_from_the_others(scene, result):
    xy = scene.keypoints.xy.copy()
    arm = PERSON.indices(("left_wrist", "left_elbow"))
    xy[:, 1, :, arm] = np.nan
    blind = observe(RIG, [walk(6, (-0.3, 0), (0.3, 0))], noise_px=0.5).keypoints
    blind = type(blind)(xy, blind.confidence, blind.cameras, blind.frames, blind.skeleton, blind.fps, blind.source)
    boxes, full = hand_boxes(reconstruct_people(blind, RIG), RIG), hand_boxes(result, RIG)
    assert boxes.found[:, 1, 0].all()
    # Some pixels: the forearm now comes from three noisy views, and the box is about 150 px.
    assert np.abs(boxes.centre[:, 1, 0] - full.centre[:, 1, 0]).max() < 8
    assert np.abs(boxes.side[:, 1, 0] / full.side[:, 1, 0] - 1).max() < 0.05


def test_hands_taken_out_and_put_back_are_the_same(scene):
    hands = HANDS.take(scene.keypoints)
    again = HANDS.put(scene.keypoints, hands, 0.0, "test")
    assert np.array_equal(again.xy, scene.keypoints.xy, equal_nan=True)
    assert np.array_equal(again.confidence, scene.keypoints.confidence)


def test_unsure_joints_are_dropped_and_a_body_without_hands_gets_them(scene):
    body = PERSON.part("body")
    bare = observe(RIG, [walk(6, (-0.3, 0), (0.3, 0))[:, body]], skeleton=BODY_25B).keypoints
    assert not np.isfinite(HANDS.take(bare).xy).any()
    hands = HANDS.take(scene.keypoints)
    dressed = HANDS.put(bare, hands, 0.7, "test")
    assert dressed.skeleton.name == "BODY_25B+hands"
    kept = dressed.confidence[..., PERSON.part("right_hand")] > 0
    assert np.array_equal(kept[:, :, 0], hands.confidence[:, :, 1] >= 0.7)
