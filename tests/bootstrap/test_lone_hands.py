"""Hands without a body: when they are learnt alone, which side they are, and their boxes."""

from dataclasses import replace

import numpy as np
import pytest

from posekit.bootstrap.hand_target import HandTarget
from posekit.bootstrap.lone_hands import LoneHandTarget, hands_to_learn, left_hands
from posekit.datasets.hand_model import pose_hands, sample_shapes
from posekit.datasets.hand_poses import sample_poses
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D
from posekit.people.reconstruction import ReconstructionSettings
from posekit.skeleton import HAND_21, get_skeleton
from scenes import ring_rig

FRAMES = 12


@pytest.fixture(scope="module")
def drawn():
    """Right hands in metres, (F, 21, 3), each frame another pose."""
    rng = np.random.default_rng(0)
    shapes = sample_shapes(rng, FRAMES)
    return pose_hands(shapes, sample_poses(rng, shapes)).joints.double().numpy()


def test_the_side_is_told_by_the_way_the_fingers_bend(drawn):
    turned = np.linalg.qr(np.random.default_rng(1).normal(0, 1, (3, 3)))[0]
    turned *= np.linalg.det(turned)  # a rotation
    both = np.stack([drawn, drawn * (-1, 1, 1), np.full_like(drawn, np.nan)], axis=1) @ turned.T
    assert left_hands(both).tolist() == [False, True, False]


def filmed(drawn, skeleton: str, mirrored: bool = False) -> tuple[Keypoints2D, object]:
    """One hand before four cameras: as HAND_21, or as a hand of somebody whose body nobody detected."""
    rig, full = ring_rig(4), get_skeleton(skeleton)
    xy = np.full((FRAMES, 4, 1, full.joint_count, 2), np.nan, dtype=np.float32)
    hand = full.part("right_hand") if "right_hand" in full.parts else np.arange(21)
    for c, camera in enumerate(rig.cameras):
        xy[:, c, 0, hand] = camera.project(drawn * ((-1, 1, 1) if mirrored else (1, 1, 1)) + np.array([0, 0, 1.0]))
    confidence = np.isfinite(xy).all(axis=-1).astype(np.float32)
    return Keypoints2D(xy, confidence, rig.names, np.arange(FRAMES), full, 30.0, "drawn"), rig


def test_hands_are_learnt_alone_where_no_arm_is_known(drawn):
    alone, _ = filmed(drawn, "HAND_21")
    assert isinstance(hands_to_learn(alone), LoneHandTarget)
    of_people, _ = filmed(drawn, "BODY_25B+hands")
    assert isinstance(hands_to_learn(of_people), LoneHandTarget)
    xy, confidence = of_people.xy.copy(), of_people.confidence.copy()
    for joint in of_people.skeleton.indices(("left_wrist", "left_elbow")):
        xy[3, :2, 0, joint], confidence[3, :2, 0, joint] = 100, 1
    assert type(hands_to_learn(replace(of_people, xy=xy, confidence=confidence))) is HandTarget


@pytest.mark.parametrize(("skeleton", "mirrored"), [("HAND_21", False), ("HAND_21", True), ("BODY_25B+hands", False)])
def test_boxes_lie_about_the_hands_own_points(drawn, skeleton, mirrored):
    keypoints, rig = filmed(drawn, skeleton, mirrored)
    target = hands_to_learn(keypoints)
    scene = target.scene(keypoints, rig, ReconstructionSettings(), 3)
    assert scene.detections.skeleton == HAND_21
    assert scene.detections.xy.shape == (FRAMES, 4, 1, 21, 2)
    boxes = target.boxes(scene, scene.people, scene.detections)
    assert boxes.found.all()
    assert (boxes.left == mirrored).all()
    inside = np.abs(scene.detections.xy - boxes.centre[..., None, :]).max(axis=-1) < boxes.side[..., None] / 2
    assert inside.mean() > 0.99  # a hand that opens is larger than its median over time


@pytest.mark.parametrize("factor", [100, 1000])
def test_a_rig_that_is_not_in_metres_is_told(drawn, factor):
    keypoints, rig = filmed(drawn, "HAND_21")
    target = LoneHandTarget()
    assert target.scene(keypoints, rig, ReconstructionSettings(), 2).people.xyz.shape[0] == FRAMES
    larger = replace(
        rig, cameras=tuple(replace(camera, translation=camera.translation * factor) for camera in rig.cameras)
    )
    with pytest.raises(PosekitError, match="units are not metres"):
        target.scene(keypoints, larger, ReconstructionSettings(), 2)
    beside, _ = filmed(drawn + np.array([0.3, 0.0, 0.0]), "HAND_21")
    xy = np.concatenate([keypoints.xy, beside.xy], axis=2)
    two = replace(keypoints, xy=xy, confidence=np.concatenate([keypoints.confidence, beside.confidence], axis=2))
    with pytest.raises(PosekitError, match="units are not metres"):
        target.scene(two, larger, ReconstructionSettings(), 2)
