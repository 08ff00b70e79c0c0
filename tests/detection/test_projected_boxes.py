import numpy as np

from posekit.camera import Rig
from posekit.detection.projected_boxes import boxes_from_arms_in_space
from scenes import looking_camera

RIG = Rig((looking_camera("front", (0, -3, 1), (0, 0, 1)), looking_camera("side", (3, 0, 1), (0, 0, 1))))


def test_an_arm_in_space_by_hand():
    # Both forearms hang, 0.25 m long, at 3 m from either camera: one box above the other, of the same size.
    wrist, elbow = np.array([[0, 0, 0.9], [0, 0, 1.2]]), np.array([[0, 0, 1.15], [0, 0, 1.45]])
    boxes = boxes_from_arms_in_space(wrist, elbow, np.array([0.25, 0.25]), RIG, [True, False])
    assert boxes.shape == (2, 2)
    assert boxes.left.tolist() == [[True, True], [False, False]]
    focal = RIG.cameras[0].matrix[0, 0]
    np.testing.assert_allclose(boxes.side, 1.3 * 0.25 * focal / 3, rtol=1e-9)
    np.testing.assert_allclose(np.abs(boxes.angle), np.pi, atol=1e-6)
    for c, camera in enumerate(RIG.cameras):
        np.testing.assert_allclose(boxes.centre[0, c], camera.project(np.array([0, 0, 0.9 - 0.3 * 0.25])), atol=1e-9)


def test_the_views_own_wrist_moves_the_box():
    wrist, elbow = np.array([0.1, 0, 0.9]), np.array([0, 0, 1.1])
    plain = boxes_from_arms_in_space(wrist, elbow, np.array(0.24), RIG)
    seen = np.stack([RIG.cameras[0].project(wrist) + np.array([7, -3]), np.full(2, np.nan)])
    moved = boxes_from_arms_in_space(wrist, elbow, np.array(0.24), RIG, seen_wrist=seen)
    np.testing.assert_allclose(moved.centre - plain.centre, [[7, -3], [0, 0]], atol=1e-9)


def test_no_box_for_what_is_missing_behind_or_outside():
    wrist = np.array([[np.nan, 0, 1], [0, -6.0, 1], [40.0, 0, 1]])
    boxes = boxes_from_arms_in_space(wrist, wrist + np.array([0, 0, 0.25]), np.full(3, 0.25), RIG)
    assert not boxes.found[:, 0].any()
