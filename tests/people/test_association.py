from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D
from posekit.people.association import associate_people, take_people
from posekit.people.reconstruction import identify_people
from posekit.people.tracks import AssociationSettings
from posekit.skeleton import BODY_25B, HAND_21
from scenes import PERSON, Scene, observe, ring_rig, shuffle_people, walk

BODY = PERSON.part("body")


def crossing(cameras: int = 5, frames: int = 24, **observed) -> Scene:
    """Two people who walk past each other at half a metre, as near as people walk past each other."""
    rig = ring_rig(cameras)
    people = [walk(frames, (-1.2, 0), (1.2, 0), -np.pi / 2), walk(frames, (1.2, 0.5), (-1.2, 0.5), np.pi / 2)]
    return observe(rig, people, **{"noise_px": 2.0, "outlier_share": 0.03, "missing_share": 0.05, **observed})


def hide(keypoints: Keypoints2D, hidden: NDArray[np.bool_]) -> Keypoints2D:
    """Take detections away; hidden broadcasts to (F, C, P, J)."""
    return replace(
        keypoints, confidence=np.where(np.broadcast_to(hidden, keypoints.confidence.shape), 0, keypoints.confidence)
    )


def everyone(scene: Scene) -> NDArray[np.int64]:
    """(F, C, P): person p is in slot p."""
    F, C, P, _ = scene.keypoints.confidence.shape
    return np.broadcast_to(np.arange(P), (F, C, P))


def people_in(slots: NDArray[np.int64], who: NDArray[np.int64]) -> list[list[int]]:
    """Who is in each track, over all frames and cameras; who: (F, C, P) as from shuffle_people."""
    F, C, T = slots.shape
    f, c = np.arange(F)[:, None], np.arange(C)
    return [sorted(set(who[f, c, slots[..., t]][slots[..., t] >= 0].tolist())) for t in range(T)]


def test_one_person_is_one_person():
    scene = observe(ring_rig(4), [walk(10, (-0.5, 0), (0.5, 0))], noise_px=2.0)
    assert np.array_equal(associate_people(scene.keypoints, scene.rig), everyone(scene))


def test_two_people_of_whom_only_a_forearm_is_seen_are_themselves():
    people = [walk(10, (-0.8, 0), (-0.6, 0)), walk(10, (0.8, 0), (0.6, 0))]
    scene = observe(ring_rig(5), people, noise_px=2.0)
    seen = np.isin(np.arange(PERSON.joint_count), PERSON.indices(("left_elbow", "left_wrist")))
    forearms = hide(scene.keypoints, ~seen)
    assert np.array_equal(associate_people(forearms, scene.rig), everyone(scene))
    # One joint in common is too little to go by.
    wrists = hide(forearms, np.arange(PERSON.joint_count) == PERSON.index("left_elbow"))
    assert associate_people(wrists, scene.rig).shape[2] == 0


@pytest.mark.parametrize("cameras", [3, 5, 8])
def test_two_people_who_cross_stay_themselves(cameras):
    scene = crossing(cameras)
    shuffled, who = shuffle_people(scene.keypoints, seed=cameras)
    slots = associate_people(shuffled, scene.rig)
    assert slots.shape[2] == 2
    tracks = people_in(slots, who)
    assert sorted(tracks) == [[0], [1]]
    assert (slots >= 0).all()


def test_the_order_in_every_view_and_frame_is_of_no_account():
    scene = crossing()
    expected = take_people(scene.keypoints, associate_people(scene.keypoints, scene.rig))
    for seed in range(3):
        shuffled, _ = shuffle_people(scene.keypoints, seed, empty_slots=seed)
        found = take_people(shuffled, associate_people(shuffled, scene.rig))
        assert np.array_equal(found.xy, expected.xy, equal_nan=True)
        assert np.array_equal(found.confidence, expected.confidence)


def test_equals_keep_their_order_when_nothing_but_the_slots_tells_them_apart():
    # Perfect detections of two people who are seen equally well: the same count of agreeing joints.
    rig = ring_rig(4)
    scene = observe(rig, [walk(4, (-1, 0), (-1, 0)), walk(4, (1, 0), (1, 0))])
    same = replace(scene.keypoints, confidence=np.where(scene.keypoints.confidence > 0, 0.9, 0))
    expected = take_people(same, associate_people(same, rig)).xy
    swapped = replace(same, xy=same.xy[:, :, ::-1])
    assert np.array_equal(take_people(swapped, associate_people(swapped, rig)).xy, expected)


def test_five_people_in_a_room():
    rig = ring_rig(6, radius=6.0)
    starts = [(-1.5, -1.5), (1.5, -1.5), (0, 0), (-1.5, 1.5), (1.5, 1.5)]
    people = [walk(4, start, (0.9 * start[0], 0.9 * start[1]), n) for n, start in enumerate(starts)]
    scene = observe(rig, people, noise_px=3.0, outlier_share=0.05, missing_share=0.1)
    shuffled, who = shuffle_people(scene.keypoints)
    assert sorted(people_in(associate_people(shuffled, rig), who)) == [[p] for p in range(5)]


def test_a_person_seen_by_two_of_eight_cameras_is_found_behind_the_one_seen_by_all():
    scene = crossing(8)
    hidden = np.zeros((1, 8, 2, 1), dtype=bool)
    hidden[:, [0, 1, 2, 4, 6, 7], 0] = True
    slots = associate_people(hide(scene.keypoints, hidden), scene.rig)
    assert slots.shape[2] == 2
    assert (slots[..., 0] == 1).all()
    assert (slots[:, [3, 5], 1] == 0).all()
    assert (slots[:, [0, 1, 2, 4, 6, 7], 1] == -1).all()


def test_a_person_seen_by_one_camera_is_left_out():
    scene = crossing(4)
    hidden = np.zeros((1, 4, 2, 1), dtype=bool)
    hidden[:, 1:, 1] = True
    slots = associate_people(hide(scene.keypoints, hidden), scene.rig)
    assert slots.shape[2] == 1
    assert (slots[..., 0] == 0).all()


def test_views_that_see_different_halves_of_a_person_are_of_one_person():
    # The third camera stands close and sees the legs, the fourth looks over a table and sees the trunk: they share nothing.
    scene = crossing(4)
    legs = np.array([joint in range(11, 17) or joint in range(19, 25) for joint in range(PERSON.joint_count)])
    hidden = np.zeros((1, 4, 2, PERSON.joint_count), dtype=bool)
    hidden[:, 2] = ~legs
    hidden[:, 3] = legs
    shuffled, who = shuffle_people(hide(scene.keypoints, hidden))
    slots = associate_people(shuffled, scene.rig)
    assert sorted(people_in(slots, who)) == [[0], [1]]
    assert (slots >= 0).all()


def test_frames_without_anybody_and_a_person_who_comes_back():
    scene = crossing(4, frames=24)
    hidden = np.zeros((24, 1, 2, 1), dtype=bool)
    hidden[8:12] = True  # nobody
    hidden[15:18, :, 0] = True
    shuffled, who = shuffle_people(hide(scene.keypoints, hidden))
    # At 24 frames for 2.4 m a person walks 10 cm a frame; four empty frames are half a metre on.
    slots = associate_people(shuffled, scene.rig)
    assert (slots[8:12] == -1).all()
    assert sorted(people_in(slots, who)) == [[0], [1]]
    gone = people_in(slots, who).index([0])
    assert (slots[15:18, :, gone] == -1).all()
    assert (slots[18:, :, gone] >= 0).all()


def test_somebody_lost_for_too_long_is_somebody_new():
    scene = observe(ring_rig(4), [walk(20, (0, 0), (0, 0))])
    hidden = np.zeros((20, 1, 1, 1), dtype=bool)
    hidden[5:15] = True
    gone = hide(scene.keypoints, hidden)
    assert associate_people(gone, scene.rig, AssociationSettings(max_gap=0.4)).shape[2] == 1
    slots = associate_people(gone, scene.rig, AssociationSettings(max_gap=0.3))  # 9 frames of 30 a second
    assert slots.shape[2] == 2
    # Seen as often, so the earlier comes first.
    assert (slots[:5, :, 0] == 0).all()
    assert (slots[15:, :, 1] == 0).all()


def test_gaps_are_counted_in_seconds():
    scene = observe(ring_rig(4), [walk(10, (-1, 0), (1, 0))])
    # 22 cm between frames; every one of them for itself is too far for a step of 10 cm, ten frame numbers are not.
    settings = AssociationSettings(max_step=0.1, min_share=0)
    assert associate_people(scene.keypoints, scene.rig, settings).shape[2] == 10
    sparse = replace(scene.keypoints, frames=np.arange(10) * 10)
    assert associate_people(sparse, scene.rig, settings).shape[2] == 1
    # Ten frame numbers of 300 a second are no longer than one of 30.
    assert associate_people(replace(sparse, fps=300.0), scene.rig, settings).shape[2] == 10


@pytest.mark.parametrize("stride", [2, 61, 1000])
def test_every_so_many_frames_of_a_long_recording_show_one_person(stride):
    scene = observe(ring_rig(4), [walk(10, (-1, 0), (1, 0))])
    sparse = replace(scene.keypoints, frames=np.arange(10) * stride, fps=None)
    assert associate_people(sparse, scene.rig).shape[2] == 1


def test_joints_that_come_back_do_not_make_a_person_a_new_one():
    # Most of the joints are hidden for 55 frames, in which the person walks 2.2 m.
    scene = observe(ring_rig(6), [walk(95, (-1.9, 0), (1.9, 0), -np.pi / 2)])
    hidden = np.zeros((95, 1, 1, PERSON.joint_count), dtype=bool)
    lost = [
        joint
        for joint in PERSON.joints
        if any(word in joint for word in ("knee", "ankle", "toe", "heel", "wrist", "elbow"))
    ]
    hidden[20:75, ..., PERSON.indices(tuple(lost))] = True
    slots = associate_people(hide(scene.keypoints, hidden), scene.rig)
    assert slots.shape[2] == 1
    assert (slots >= 0).all()


@pytest.mark.parametrize("aside", [0.0, 0.2])
def test_who_walks_through_the_place_where_somebody_was_lost_stays_who_it_is(aside):
    people = [walk(50, (-1.25, 0), (1.25, 0))[:, BODY], walk(50, (0.3, aside), (0.3, aside))[:, BODY]]
    scene = observe(ring_rig(5), people, noise_px=2.0, skeleton=BODY_25B)
    hidden = np.zeros((50, 1, 2, 1), dtype=bool)
    hidden[10:, :, 1] = True
    slots = associate_people(hide(scene.keypoints, hidden), scene.rig)
    assert slots.shape[2] == 2
    assert (slots[..., 0] == 0).all()
    assert (slots[:10, :, 1] == 1).all()
    assert (slots[10:, :, 1] == -1).all()


def test_joints_that_come_back_do_not_make_people_change_places():
    # Two pass each other while most of their joints are hidden: each one's legs were last seen where the other is now.
    rig = ring_rig(6)
    people = [walk(95, (-1.9, 0), (1.9, 0), -np.pi / 2), walk(95, (1.9, 0.5), (-1.9, 0.5), np.pi / 2)]
    scene = observe(rig, [person[:, BODY] for person in people], noise_px=2.0, skeleton=BODY_25B)
    lost = [
        joint
        for joint in BODY_25B.joints
        if any(word in joint for word in ("knee", "ankle", "toe", "heel", "wrist", "elbow"))
    ]
    hidden = np.zeros((95, 1, 1, 25), dtype=bool)
    hidden[20:75, ..., BODY_25B.indices(tuple(lost))] = True
    shuffled, who = shuffle_people(hide(scene.keypoints, hidden))
    assert sorted(people_in(associate_people(shuffled, rig), who)) == [[0], [1]]


def test_a_visitor_of_a_few_frames_is_left_out_unless_asked_for():
    scene = crossing(4, frames=24)
    hidden = np.zeros((24, 1, 2, 1), dtype=bool)
    hidden[2:, :, 1] = True
    brief = hide(scene.keypoints, hidden)
    assert associate_people(brief, scene.rig).shape[2] == 1
    assert associate_people(brief, scene.rig, AssociationSettings(min_share=0.05)).shape[2] == 2


def test_people_who_are_all_too_brief_are_told_from_nobody():
    scene = observe(ring_rig(4), [walk(30, (0, 0), (0, 0))])
    brief = hide(scene.keypoints, (np.arange(30) >= 2)[:, None, None, None])
    with pytest.raises(
        PosekitError, match=r"the scene: nobody is followed for long: .* in 2 of 30 frames, .* of 0\.1 are"
    ):
        identify_people(brief, scene.rig)


def cut_in_two(keypoints: Keypoints2D, cameras: list[int], at: int) -> Keypoints2D:
    """In these cameras, put what is below joint `at` of person 0 into a slot of its own, which comes first."""
    F, C, _, J = keypoints.confidence.shape
    xy = np.concatenate((np.full((F, C, 1, J, 2), np.nan), keypoints.xy), axis=2)
    confidence = np.concatenate((np.zeros((F, C, 1, J)), keypoints.confidence), axis=2)
    for c in cameras:
        xy[:, c, 0, at:], confidence[:, c, 0, at:] = xy[:, c, 1, at:], confidence[:, c, 1, at:]
        confidence[:, c, 1, at:] = 0
    return replace(keypoints, xy=xy, confidence=confidence)


def test_a_detection_cut_in_two_neither_makes_a_person_nor_costs_one():
    people = [walk(6, (-0.8, 0), (-0.6, 0))[:, BODY], walk(6, (0.8, 0), (0.6, 0))[:, BODY]]
    scene = observe(ring_rig(5), people, noise_px=2.0, skeleton=BODY_25B)
    cut = cut_in_two(scene.keypoints, [2], at=13)
    slots = associate_people(cut, scene.rig)
    assert slots.shape[2] == 2
    for t in range(2):
        person = slots[0, 0, t]
        assert (slots[:, [0, 1, 3, 4], t] == person).all()
        # Of the cut one the larger piece is taken: 13 joints of 25.
        assert (slots[:, 2, t] == person).all()


def test_a_small_piece_does_not_push_out_the_whole():
    # Camera 2 has a piece of six joints of person 0, more exact than all else, beside the whole person.
    people = [walk(6, (0, 0), (0.2, 0))[:, BODY]]
    scene = observe(ring_rig(5), people, noise_px=4.0, skeleton=BODY_25B)
    exact = observe(ring_rig(5), people, skeleton=BODY_25B).keypoints
    piece = hide(exact, np.arange(25) >= 6)
    xy = np.concatenate((piece.xy, scene.keypoints.xy), axis=2)
    confidence = np.concatenate((piece.confidence, scene.keypoints.confidence), axis=2)
    confidence[:, [0, 1, 3, 4], 0] = 0
    slots = associate_people(replace(scene.keypoints, xy=xy, confidence=confidence), scene.rig)
    assert slots.shape[2] == 1
    assert (slots == 1).all()


@pytest.mark.parametrize("slots", [0, 2])
def test_nobody_is_nobody(slots):
    scene = crossing(3, frames=4)
    empty = Keypoints2D(
        np.full((4, 3, slots, PERSON.joint_count, 2), np.nan),
        np.zeros((4, 3, slots, PERSON.joint_count)),
        scene.rig.names,
        np.arange(4),
        PERSON,
    )
    found = associate_people(empty, scene.rig)
    assert found.shape == (4, 3, 0)
    taken = take_people(empty, found)
    assert taken.xy.shape == (4, 3, 0, PERSON.joint_count, 2)


def test_no_frames_are_no_fault():
    scene = crossing(3, frames=2)
    none = replace(
        scene.keypoints, xy=scene.keypoints.xy[:0], confidence=scene.keypoints.confidence[:0], frames=np.zeros(0)
    )
    assert associate_people(none, scene.rig).shape == (0, 3, 0)


def test_frames_out_of_order_are_refused():
    scene = crossing(3, frames=3)
    with pytest.raises(PosekitError, match="the scene: the frame numbers do not ascend"):
        associate_people(replace(scene.keypoints, frames=np.array((0, 2, 1))), scene.rig)


def test_hands_alone_are_told_apart_too():
    # A skeleton without a body: all of its joints count.
    rig = ring_rig(4)
    hand = PERSON.part("left_hand")
    people = [walk(5, (-0.6, 0), (-0.5, 0))[:, hand], walk(5, (0.6, 0), (0.5, 0))[:, hand]]
    scene = observe(rig, people, noise_px=0.5, skeleton=HAND_21)
    shuffled, who = shuffle_people(scene.keypoints)
    assert sorted(people_in(associate_people(shuffled, rig), who)) == [[0], [1]]


def test_strangers_in_two_views_are_not_joined():
    # One camera sees one person, the other somebody else, who stands on a stage: their rays pass each other by half a metre.
    rig = Rig(ring_rig(5).cameras[:2])
    scene = observe(
        rig, [walk(5, (-0.5, 0.3), (-0.5, 0.3)), walk(5, (0.5, -0.3), (0.5, -0.3), 2.0) + np.array((0, 0, 0.5))]
    )
    hidden = np.zeros((1, 2, 2, 1), dtype=bool)
    hidden[:, 0, 0] = hidden[:, 1, 1] = True
    assert associate_people(hide(scene.keypoints, hidden), rig).shape[2] == 0


def test_joints_that_deny_count_against_joints_that_agree():
    # A third of the joints in the second view are the person's, the others half a metre above.
    rig = Rig(ring_rig(5).cameras[:2])
    person = walk(4, (0, 0), (0, 0))[:, BODY]
    true = observe(rig, [person], skeleton=BODY_25B).keypoints
    high = observe(rig, [person + np.array((0, 0, 0.5))], skeleton=BODY_25B).keypoints
    for from_joint, people in ((8, 0), (17, 1)):
        xy = true.xy.copy()
        xy[:, 1, :, from_joint:] = high.xy[:, 1, :, from_joint:]
        assert associate_people(replace(true, xy=xy), rig).shape[2] == people


def test_people_are_taken_by_their_slots():
    scene = crossing(3, frames=2)
    slots = np.full((2, 3, 3), -1)
    slots[..., 0] = 1
    slots[0, 2, 1] = 0
    taken = take_people(scene.keypoints, slots)
    assert np.array_equal(taken.xy[:, :, 0], scene.keypoints.xy[:, :, 1], equal_nan=True)
    assert np.array_equal(taken.confidence[:, :, 0], scene.keypoints.confidence[:, :, 1])
    assert np.array_equal(taken.xy[0, 2, 1], scene.keypoints.xy[0, 2, 0], equal_nan=True)
    assert np.isnan(taken.xy[:, :, 2]).all()
    assert taken.confidence[:, :, 1:].sum() == pytest.approx(scene.keypoints.confidence[0, 2, 0].sum())
    assert (taken.cameras, taken.fps, taken.source, taken.skeleton) == (
        scene.keypoints.cameras,
        scene.keypoints.fps,
        scene.keypoints.source,
        scene.keypoints.skeleton,
    )
