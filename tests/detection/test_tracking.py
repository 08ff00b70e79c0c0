import numpy as np
import pytest

from hand_scene import PICTURE, SHAPE, Scene, at
from posekit.detection.hand_box import HandBox, box_from_hand
from posekit.detection.tracking import FoundHand, HandTracker, TrackSettings

KEY = (0, "left of somebody")


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def tracker(scene) -> HandTracker:
    return HandTracker(scene)


def test_a_hand_is_followed_from_a_first_box_without_any_body(scene, tracker):
    scene.hands = [(at(100), 0.9)]
    tracker.start(KEY, FoundHand(at(100), np.full(21, 0.9), True))
    for frame in range(1, 20):
        scene.hands = [(at(100 + 12 * frame), 0.9)]
        found = tracker.step([PICTURE], {})
        np.testing.assert_array_equal(found[KEY].xy, at(100 + 12 * frame))
        assert found[KEY].left
    assert scene.looks == 19


def test_a_lost_hand_is_looked_for_and_then_given_up(scene, tracker):
    tracker.start(KEY, FoundHand(at(100), np.full(21, 0.9), False))
    for _ in range(3):
        assert tracker.step([PICTURE], {}) == {}
    scene.hands = [(at(110), 0.9)]
    assert KEY in tracker.step([PICTURE], {})
    scene.hands = []
    for _ in range(TrackSettings().patience + 1):
        assert tracker.step([PICTURE], {}) == {}
    scene.hands = [(at(110), 0.9)]
    assert tracker.step([PICTURE], {}) == {}
    assert not tracker.tracks


def test_a_hand_without_a_size_is_given_up_as_a_lost_one(scene, tracker):
    scene.hands = [(at(100), 0.9)]
    tracker.start(KEY, FoundHand(np.full((21, 2), 100.0), np.full(21, 0.9), False))
    for _ in range(TrackSettings().patience + 1):
        assert tracker.step([PICTURE], {}) == {}
    assert not tracker.tracks


def test_a_missing_arm_is_bridged(scene, tracker):
    box = HandBox(np.array([105.0, 190]), 230.0)
    scene.hands = [(at(100), 0.8)]
    assert KEY in tracker.step([PICTURE], {KEY: box})
    scene.hands = [(at(108), 0.8)]
    np.testing.assert_array_equal(tracker.step([PICTURE], {})[KEY].xy, at(108))


def test_an_arm_that_jumps_for_a_frame_does_not_carry_the_hand_away(scene, tracker):
    scene.hands = [(at(100), 0.8), (at(500), 0.9)]
    here, there = HandBox(np.array([100.0, 190]), 230.0), HandBox(np.array([500.0, 190]), 230.0)
    tracker.step([PICTURE], {KEY: here})
    # What the arm shows is told, but the hand is still followed where it was.
    np.testing.assert_array_equal(tracker.step([PICTURE], {KEY: there})[KEY].xy, at(500))
    np.testing.assert_array_equal(tracker.step([PICTURE], {})[KEY].xy, at(100))
    # An arm that insists is believed.
    for _ in range(TrackSettings().patience + 2):
        tracker.step([PICTURE], {KEY: there})
    np.testing.assert_array_equal(tracker.step([PICTURE], {})[KEY].xy, at(500))


def test_a_followed_hand_does_not_become_another(scene, tracker):
    other = (0, "right of somebody")
    scene.hands = [(at(100), 0.8), (at(190), 0.8)]
    tracker.step([PICTURE], {KEY: box_from_hand(at(100)), other: box_from_hand(at(190))})
    # One hand is hidden, its arm with it: what is found nearby is the other one's, and not found twice.
    scene.hands = [(at(150), 0.8)]
    found = tracker.step([PICTURE], {other: box_from_hand(at(150))})
    assert set(found) == {other}


def test_sizes_and_directions_change_by_little_in_a_frame(scene, tracker):
    tracker.start(KEY, FoundHand(at(300), np.full(21, 0.9), False))
    scene.hands = [(300 + 0.5 * SHAPE + (0, -100), 0.9)]  # half as large
    assert tracker.step([PICTURE], {}) == {}
    upside_down = at(300) * (1, -1) + (0, 400)
    scene.hands = [(upside_down, 0.9)]
    tracker.step([PICTURE], {})
    assert abs(float(tracker.tracks[KEY].box.angle)) == pytest.approx(TrackSettings().largest_turn)


def test_cameras_do_not_meet(scene):
    tracker = HandTracker(scene)
    scene.hands = [(at(100), 0.8)]
    arms = {(c, 0): box_from_hand(at(100)) for c in range(2)}
    assert set(tracker.step([PICTURE, PICTURE], arms)) == {(0, 0), (1, 0)}
    assert set(tracker.step([PICTURE, None], arms)) == {(0, 0)}
