import numpy as np
import pytest

from posekit.bootstrap.scoring import (
    SelectionSettings,
    choose_window,
    frame_scores,
    implausible_joints,
    select_frames,
)
from posekit.point_status import PointStatus
from scenes import PERSON, walk

HAND = PERSON.part("left_hand")


def test_score_is_the_sum_of_the_inliers_confidences():
    inliers = np.zeros((2, 21, 3), dtype=bool)
    inliers[0, 4] = [True, False, True]
    inliers[0, 7] = [True, True, True]
    confidence = np.zeros((2, 3, 21))
    confidence[0, :, 4] = [0.5, 0.9, 0.25]
    confidence[0, :, 7] = [0.1, 0.2, 0.4]
    xyz = np.zeros((2, 21, 3))
    assert frame_scores(inliers, confidence, xyz).tolist() == pytest.approx([0.5 + 0.25 + 0.1 + 0.2 + 0.4, 0.0])
    xyz[0, 7, 1] = np.nan  # a point that is not there has no say
    assert frame_scores(inliers, confidence, xyz)[0] == pytest.approx(0.75)


def test_best_of_every_window_then_the_best_of_all():
    scores = np.array([1.0, 5.0, 2.0, 0.0, 0.0, 0.0, 3.0, 4.0, 1.0, 9.0])
    assert select_frames(scores, window=3, count=10).tolist() == [1, 7, 9]
    assert select_frames(scores, window=3, count=2).tolist() == [1, 9]
    assert select_frames(scores, window=1, count=100).tolist() == [0, 1, 2, 6, 7, 8, 9]
    assert select_frames(np.zeros(5), window=2, count=3).tolist() == []


def test_window_is_half_a_second_unless_the_capture_is_short():
    settings = SelectionSettings(frames=100)
    assert choose_window(100, 60.0, settings) == 1
    assert choose_window(1000, 60.0, settings) == 10
    assert choose_window(100_000, 60.0, settings) == 30
    assert choose_window(100_000, None, SelectionSettings(window=7)) == 7


def hand_in_motion(frames=12):
    return walk(frames, (0, 0), (0.3, 0))[:, HAND], np.full((frames, 21), PointStatus.OK)


def test_a_hand_that_only_moves_is_plausible():
    xyz, status = hand_in_motion()
    assert not implausible_joints(xyz, status, SelectionSettings()).any()


def test_a_stretched_bone_condemns_what_lies_beyond_it():
    xyz, status = hand_in_motion()
    xyz[5, 6:9] += (xyz[5, 6] - xyz[5, 5]) * 0.8  # the index finger's first bone, 1.8 times its length
    wrong = implausible_joints(xyz, status, SelectionSettings())
    assert wrong[5, 6:9].all()
    wrong[5, 6:9] = False
    # The same joints also jumped there and back.
    assert not np.delete(wrong, [4, 5, 6], axis=0).any()


def test_a_jump_condemns_both_of_its_ends_and_missing_points_none():
    xyz, status = hand_in_motion()
    still = xyz.copy()
    still[7] = np.nan
    missing = np.where(np.isnan(still[..., 0]), PointStatus.NO_AGREEMENT, PointStatus.OK)
    assert not implausible_joints(still, missing, SelectionSettings()).any()
    xyz[8, 4] += (0.0, 0.0, 0.6)  # the arm swings by up to 8 cm a frame
    wrong = implausible_joints(xyz, status, SelectionSettings())
    assert wrong[8, 4]
    assert wrong[7, 4]  # which end of the jump is wrong is not known
