import numpy as np
import pytest

from posekit.bootstrap.scoring import (
    Instance3D,
    SelectionSettings,
    choose_window,
    frame_scores,
    implausible_by,
    judge_frames,
    rate_of,
    select_frames,
    selection_rows,
)
from posekit.point_status import PointStatus
from posekit.skeleton import BODY_25B, HAND_21
from scenes import PERSON, walk

HAND = PERSON.part("left_hand")


def implausible(xyz, status, settings=None, skeleton=HAND_21):
    """Joints that move or stretch as none does."""
    speed, length = implausible_by(xyz, status, settings or SelectionSettings(), skeleton)
    return speed | length


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


def test_a_window_of_sparse_keypoints_is_half_a_second_of_them():
    assert rate_of(np.arange(500, 900), 60.0) == 60.0
    assert rate_of(np.arange(0, 900, 10), 60.0) == 6.0
    assert rate_of(np.array([0, 10, 20, 400, 410]), 60.0) == 6.0  # a gap is no rate
    assert rate_of(np.arange(5), None) is None
    assert choose_window(100_000, rate_of(np.arange(0, 900, 10), 60.0), SelectionSettings()) == 3


def hand_in_motion(frames=12):
    return walk(frames, (0, 0), (0.3, 0))[:, HAND], np.full((frames, 21), PointStatus.OK)


def test_a_hand_that_only_moves_is_plausible():
    xyz, status = hand_in_motion()
    assert not implausible(xyz, status).any()


def test_a_stretched_bone_condemns_what_lies_beyond_it():
    xyz, status = hand_in_motion()
    xyz[5, 6:9] += (xyz[5, 6] - xyz[5, 5]) * 0.8  # the index finger's first bone, 1.8 times its length
    wrong = implausible(xyz, status)
    assert wrong[5, 6:9].all()
    wrong[5, 6:9] = False
    # The same joints also jumped there and back.
    assert not np.delete(wrong, [4, 5, 6], axis=0).any()


def test_a_jump_condemns_both_of_its_ends_and_missing_points_none():
    xyz, status = hand_in_motion()
    still = xyz.copy()
    still[7] = np.nan
    missing = np.where(np.isnan(still[..., 0]), PointStatus.NO_AGREEMENT, PointStatus.OK)
    assert not implausible(still, missing).any()
    xyz[8, 4] += (0.0, 0.0, 0.6)  # the arm swings by up to 8 cm a frame
    wrong = implausible(xyz, status)
    assert wrong[8, 4]
    assert wrong[7, 4]  # which end of the jump is wrong is not known


def test_what_moves_between_frames_that_do_not_follow_each_other_is_judged_by_its_speed():
    xyz, status = hand_in_motion()
    xyz[:] = xyz[0]
    xyz[6:, 4] += (0.0, 0.0, 0.05)  # a thumb that closes while the hand rests: 5 cm in ten frames is 5 mm a frame
    settings = SelectionSettings(bone_tolerance=20.0)
    consecutive, _ = implausible_by(xyz, status, settings, HAND_21)
    assert np.argwhere(consecutive).tolist() == [[5, 4], [6, 4]]
    sparse, _ = implausible_by(xyz, status, settings, HAND_21, np.arange(12) * 10)
    assert not sparse.any()
    after_a_gap, _ = implausible_by(xyz, status, settings, HAND_21, np.array([*range(6), *range(20, 26)]))
    assert not after_a_gap.any()


def instance(frames=12, cameras=4, **changes) -> Instance3D:
    """A moving hand that three of four cameras agree on, at confidence 0.6."""
    xyz, status = hand_in_motion(frames)
    inliers = np.ones((frames, 21, cameras), dtype=bool)
    inliers[..., 3] = False
    confidence = np.full((frames, cameras, 21), 0.6)
    hidden = np.zeros((frames, cameras, 21), dtype=bool)
    arrays = {"xyz": xyz.copy(), "status": status, "inliers": inliers, "confidence": confidence, "hidden": hidden}
    for name, change in changes.items():
        change(arrays[name])
    return Instance3D(**arrays, skeleton=HAND_21)


def reasons(of: Instance3D, **settings) -> list[str | None]:
    return judge_frames(of, SelectionSettings(**settings), window=1).reason.tolist()


def test_frames_without_fault_are_all_chosen_and_score_by_their_confidence():
    selection = judge_frames(instance(), SelectionSettings(), window=1)
    assert selection.chosen.all()
    assert selection.usable.all()
    assert selection.score == pytest.approx(21 * 3 * 0.6)


def fault(row, value):
    def change(array):
        array[row] = value

    return change


@pytest.mark.parametrize(
    ("array", "change", "reason"),
    [
        ("inliers", fault((6, slice(6, None)), False), "few inliers"),  # 6 joints of 3 views: 0.86 views a joint
        ("xyz", fault((6, slice(4, None)), np.nan), "few inliers"),  # 4 joints are left
        ("confidence", fault(6, 0.25), "low confidence"),
        ("hidden", fault((6, slice(0, 2)), True), "occluded"),  # of the 3 views that made it, one can see it
        ("xyz", fault((6, slice(1, 12)), 5.0), "bone length"),
    ],
)
def test_each_check_throws_out_its_frame(array, change, reason):
    found = reasons(instance(**{array: change}), min_inlier_share=0.25)
    assert found[6] == reason
    assert [place for place, why in enumerate(found) if why] == [6] or reason == "bone length"


@pytest.mark.parametrize("cameras", [4, 8, 16, 31])
def test_three_views_of_every_joint_are_enough_in_a_rig_of_any_size(cameras):
    def three_views(inliers):
        inliers[:] = np.arange(cameras) < 3

    assert judge_frames(instance(cameras=cameras, inliers=three_views), SelectionSettings(), window=1).chosen.all()

    def of_half(inliers):
        three_views(inliers)
        inliers[:, 11:] = False  # 33 views of 21 joints: 1.57 a joint, 0.2 of 8 cameras are 1.6

    found = judge_frames(instance(cameras=cameras, inliers=of_half), SelectionSettings(), window=1)
    assert found.chosen.all() if cameras == 4 else not found.chosen.any()


def test_a_hand_of_which_two_fingers_jump_is_thrown_out_for_its_velocity():
    def leap(xyz):
        # Two fingers leap and keep their length, as when they are taken for others'; the palm's bones are given more room.
        xyz[6:, 13:] += (0.0, 0.0, 0.25)

    found = reasons(instance(xyz=leap), bone_tolerance=20.0)
    assert found[5] == found[6] == "velocity"
    assert [why for why in found[:5] + found[7:] if why] == []


def test_held_out_and_rejected_frames_say_so_whatever_else_is_wrong():
    held_out, rejected = np.zeros(12, dtype=bool), np.zeros(12, dtype=bool)
    held_out[6:9], rejected[8:10] = True, True
    poor = instance(confidence=fault(slice(6, 10), 0.01))
    found = judge_frames(poor, SelectionSettings(), 1, held_out, rejected).reason.tolist()
    assert found[6:10] == ["held out", "held out", "rejected by review", "rejected by review"]


def test_the_best_of_a_window_and_the_best_of_those():
    def better(confidence):
        confidence[[1, 5, 9]] = np.array([0.7, 0.9, 0.8])[:, None, None]

    found = judge_frames(instance(confidence=better), SelectionSettings(frames=2), window=4).reason.tolist()
    assert [place for place, why in enumerate(found) if why is None] == [5, 9]
    assert found[1] == "not among the best"
    assert {found[place] for place in (0, 2, 3, 4, 6, 7, 8, 10, 11)} == {"not the best of its window"}


def test_inliers_where_the_hand_is_hidden_were_guessed_and_do_not_score():
    seen = judge_frames(instance(), SelectionSettings(), 1).score
    guessed = judge_frames(instance(hidden=fault((slice(None), 0), True)), SelectionSettings(), 1).score
    assert guessed == pytest.approx(seen * 2 / 3)


def test_any_skeleton_is_judged_by_its_own_bones():
    person = walk(12, (0, 0), (0.3, 0))[:, : BODY_25B.joint_count]
    status = np.full(person.shape[:2], PointStatus.OK)
    settings = SelectionSettings(min_jump=0.1)
    assert not implausible(person, status, settings, BODY_25B).any()
    person[5, BODY_25B.index("left_wrist")] += (0.0, 0.0, 0.5)
    wrong = implausible(person, status, settings, BODY_25B)
    assert wrong[5, BODY_25B.index("left_wrist")]
    assert not wrong[5, BODY_25B.index("right_wrist")]


def test_small_skeletons_need_half_of_their_joints():
    assert SelectionSettings().joints_needed(21) == 5
    assert SelectionSettings().joints_needed(6) == 3
    assert SelectionSettings().joints_needed(1) == 1


def test_what_became_of_frames_is_written_for_those_that_had_a_point():
    selection = judge_frames(instance(confidence=fault(6, 0.25)), SelectionSettings(), window=1)
    rows = selection_rows(selection, np.arange(100, 112), np.arange(12) % 2 == 0)
    assert [row["frame"] for row in rows] == [100, 102, 104, 106, 108, 110]
    assert rows[3] == {"frame": 106, "score": pytest.approx(21 * 3 * 0.25), "chosen": False, "reason": "low confidence"}
    assert rows[0]["chosen"]
    assert rows[0]["reason"] is None
