import math

import numpy as np

from posekit.detection.turns import agreed_turn

SQUARE = np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 100.0], [0.0, 100.0]])


def one(found: list[np.ndarray], confidence: list[list[float]]) -> int:
    return int(agreed_turn(np.stack(found)[None], np.array(confidence)[None])[0])


def test_a_turn_with_some_certain_joints_is_taken_before_one_with_many_likely_ones():
    # 0.85 in the mean against 0.75: the mean would take the first. 4 x 0.85^16 = 0.30, 2 x 0.99^16 = 1.70.
    assert one([SQUARE, SQUARE + 500.0], [[0.85] * 4, [0.99, 0.99, 0.51, 0.51]]) == 1


def test_turns_that_agree_outvote_a_surer_one():
    # One turn at 0.97 (2.46 votes) against 0.95 and 0.94 (1.76 and 1.49), 3 px apart: 1.76 + exp(-0.09) 1.49 = 3.12.
    sure = [[0.97] * 4, [0.95] * 4, [0.94] * 4]
    assert one([SQUARE + 500.0, SQUARE, SQUARE + np.array([3.0, 0.0])], sure) == 1
    assert one([SQUARE + 500.0, SQUARE, SQUARE + np.array([40.0, 0.0])], sure) == 0


def test_worth_equals_its_formula():
    rng = np.random.default_rng(3)
    xy = SQUARE + rng.normal(0, 15, (200, 5, 4, 2))
    confidence = rng.uniform(0.7, 1, (200, 5, 4))
    chosen = agreed_turn(xy, confidence)
    for hand in range(200):
        sides = [max(max(axis) - min(axis) for axis in zip(*turn, strict=True)) for turn in xy[hand].tolist()]
        size = sorted(sides)[2]
        worth = [
            sum(
                confidence[hand, other, joint] ** 16
                * math.exp(-((math.dist(xy[hand, turn, joint], xy[hand, other, joint]) / (0.1 * size)) ** 2))
                for other in range(5)
                for joint in range(4)
            )
            for turn in range(5)
        ]
        assert chosen[hand] == worth.index(max(worth))
    assert len(set(chosen.tolist())) == 5


def test_size_and_place_do_not_matter_and_a_hand_of_one_point_does_no_harm():
    rng = np.random.default_rng(4)
    xy = SQUARE + rng.normal(0, 15, (50, 6, 4, 2))
    confidence = rng.uniform(0.7, 1, (50, 6, 4))
    np.testing.assert_array_equal(agreed_turn(3.7 * xy - 200, confidence), agreed_turn(xy, confidence))
    assert one([np.zeros((4, 2))] * 3, [[0.5] * 4, [0.9] * 4, [0.7] * 4]) == 0  # all in one place: worth the same
    assert one([SQUARE, SQUARE + 1], [[0.0] * 4, [0.0] * 4]) == 0
    assert len(agreed_turn(np.zeros((0, 12, 21, 2)), np.zeros((0, 12, 21)))) == 0
