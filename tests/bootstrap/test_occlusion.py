import numpy as np
import pytest

from posekit.bootstrap.occlusion import hidden_by_body, hidden_by_hands
from scenes import PERSON, standing_person

CHEST = np.array([0.0, 0.0, 1.2])


@pytest.mark.parametrize(
    ("point", "hidden"),
    [
        ((0.0, 0.35, 1.2), True),  # before the chest, seen from behind: the trunk is between
        ((0.0, -0.35, 1.2), False),  # behind the back, seen from behind
        ((0.8, 0.35, 1.2), False),  # out to the side
        ((0.0, 0.35, 2.3), False),  # above the head
    ],
)
def test_the_trunk_hides_what_is_beyond_it(point, hidden):
    camera = np.array([0.0, -4.0, 1.2])  # the person looks along +y: this camera sees the back
    body = standing_person()[None]
    points = np.array(point)[None, None]
    assert hidden_by_body(points, body, PERSON, camera)[0, 0] == hidden


def test_an_unknown_limb_and_an_unknown_point_hide_nothing():
    camera = np.array([0.0, -4.0, 1.2])
    body = np.full((1, PERSON.joint_count, 3), np.nan)
    assert not hidden_by_body(np.array([[[0.0, 0.35, 1.2]]]), body, PERSON, camera).any()
    assert not hidden_by_body(np.full((1, 2, 3), np.nan), standing_person()[None], PERSON, camera).any()


def test_a_hand_hides_what_is_behind_its_palm_and_fingers():
    camera = np.array([0.0, -2.0, 1.0])
    hand = standing_person()[None, None, PERSON.part("left_hand")]
    # From the palm's middle and a finger's, 10 cm further away from the camera; and 10 cm nearer; and between two fingertips.
    palm, finger = hand[0, 0, [0, 9]].mean(axis=0), hand[0, 0, [9, 10]].mean(axis=0)
    away = (palm - camera) / np.linalg.norm(palm - camera)
    points = np.stack(
        [palm + 0.1 * away, finger + 0.1 * away, palm - 0.1 * away, palm + 0.01 * away, palm + np.array([0.2, 0, 0])]
    )
    assert hidden_by_hands(points[None], hand, camera)[0].tolist() == [True, True, False, False, False]
    assert not hidden_by_hands(points[None], np.full_like(hand, np.nan), camera).any()
