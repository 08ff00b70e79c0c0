from dataclasses import replace

import numpy as np
import pytest

from posekit.bootstrap.evidence import held_out_evidence, summarise
from posekit.bootstrap.hand_views import HandDetections, hands_of
from scenes import PERSON, observe, ring_rig, walk

RIG = ring_rig(4)
LEFT = 0


@pytest.fixture(scope="module")
def hands() -> HandDetections:
    scene = observe(RIG, [walk(6, (-0.3, 0), (0.3, 0))], noise_px=0.3)
    return hands_of(scene.keypoints)


def test_true_detections_agree_with_the_other_cameras(hands):
    evidence = held_out_evidence(hands, RIG, 1.0)
    figures = summarise(evidence)
    assert figures["crops"] == 6 * 4 * 2
    assert figures["crops_detected"] == figures["crops"]
    assert figures["heldout_pck"] == 1.0
    # 0.3 px of noise per axis in the view and about as much in the reference: 0.3 * 1.18 * sqrt(2) = 0.5.
    assert 0.3 < figures["heldout_reprojection_px"] < 0.8


def test_box_is_that_of_the_true_hand(hands):
    scene = observe(RIG, [walk(6, (-0.3, 0), (0.3, 0))])
    joints = scene.keypoints.xy[:, :, 0, PERSON.part("left_hand")]
    side = (joints.max(axis=2) - joints.min(axis=2)).max(axis=-1)
    evidence = held_out_evidence(hands, RIG, 1.0)
    assert np.abs(evidence.box_px[:, :, LEFT] - side).max() < 3.0  # px, from the noise


def test_a_wrong_camera_has_no_detections_and_does_not_spoil_the_others(hands):
    xy = hands.xy.copy()
    xy[:, 2] += 40.0  # a hand is 25 to 40 px here
    evidence = held_out_evidence(replace(hands, xy=xy), RIG, 1.0)
    detected = evidence.detected
    assert not detected[:, 2].any()
    assert detected[:, [0, 1, 3]].all()


def test_unsure_detections_anywhere_do_not_raise_the_count(hands):
    xy, confidence = hands.xy.copy(), hands.confidence.copy()
    xy[:, 1], confidence[:, 1] = np.nan, 0.0
    without = held_out_evidence(HandDetections(xy, confidence), RIG, 1.0).detected.sum()
    rng = np.random.default_rng(0)
    xy[:, 1] = rng.uniform(0, 900, xy[:, 1].shape)
    confidence[:, 1] = 0.05
    assert held_out_evidence(HandDetections(xy, confidence), RIG, 1.0).detected.sum() <= without


def test_a_missing_detection_is_a_wrong_one(hands):
    xy, confidence = hands.xy.copy(), hands.confidence.copy()
    xy[:3, 0], confidence[:3, 0] = np.nan, 0.0
    figures = summarise(held_out_evidence(HandDetections(xy, confidence), RIG, 1.0))
    # 6 of the 48 crops lost; the other cameras still know all of them.
    assert figures["crops"] == 48
    assert figures["crops_detected"] == 42
    assert figures["heldout_pck"] == pytest.approx(42 / 48)


def test_two_cameras_have_no_others_to_be_judged_by():
    scene = observe(ring_rig(2), [walk(3, (0, 0), (0.1, 0))])
    figures = summarise(held_out_evidence(hands_of(scene.keypoints), ring_rig(2), 1.0))
    assert figures["crops"] == 0
    assert figures["heldout_pck"] is None
    assert figures["heldout_reprojection_px"] is None
