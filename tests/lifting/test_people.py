from dataclasses import replace

import numpy as np
import pytest

from lifted_people import KnowingLifter, camera, filmed, moving_person
from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D
from posekit.lifting.completion import complete_people
from posekit.lifting.inputs import FollowSettings, choose_camera, follow_people
from posekit.lifting.people import LiftSettings, lift_people
from posekit.lifting.result import as_keypoints3d, world_of
from posekit.lifting.skeletons import LIFTER_15
from posekit.people.tracks import AssociationSettings
from posekit.point_status import PointStatus


def test_the_path_has_the_persons_scale_and_distance() -> None:
    truth, view = moving_person(60, height=1.9), camera()
    people = follow_people(filmed([truth], view), "cam", LIFTER_15)
    for refine in (False, True):
        (person,) = lift_people(people, KnowingLifter(truth / 1.9 * 1.7), view, LiftSettings(height=1.9, refine=refine))
        off = np.linalg.norm(person.xyz[:, 0] - truth[:, 0], axis=-1)
        # The pelvis stands 4 m off; distance follows from size, and proportions are drawn to the usual by some percent.
        assert off.mean() < 0.15
        assert np.nanmax(person.reprojection_px) < 15


def test_weak_perspective_gives_the_pose_and_no_distance() -> None:
    truth = moving_person(40)
    far = truth + np.array((0, 0, 36.0))  # where perspective is nearly weak
    view = camera(focal=9000.0)
    people = follow_people(filmed([far], view), "cam", LIFTER_15)
    (person,) = lift_people(people, KnowingLifter(far, turned=False), None)
    relative, true = person.xyz - person.xyz[:, :1], far - far[:, :1]
    assert np.linalg.norm(relative - true, axis=-1).mean() < 0.05  # proportions, as above
    np.testing.assert_array_equal(person.xyz[:, 0, 2], 0)


def test_people_who_leave_and_come_back_are_new_ones_or_the_same_by_the_gap() -> None:
    truth, view = moving_person(150), camera()
    truth[50:120] = np.nan
    keypoints = filmed([truth], view)
    two = follow_people(keypoints, "cam", LIFTER_15, FollowSettings(association=AssociationSettings(max_gap=1.0)))
    assert [(p.rows[0], p.rows[-1]) for p in two.people] == [(0, 49), (120, 149)]
    one = follow_people(keypoints, "cam", LIFTER_15, FollowSettings(association=AssociationSettings(max_gap=5.0)))
    assert [len(p.rows) for p in one.people] == [80]
    (person,) = lift_people(one, KnowingLifter(moving_person(150)), view)
    # Nothing is made up for the seconds in between.
    assert not set(range(50, 120)) & set(person.rows.tolist())


def test_two_people_keep_their_identity_whatever_their_slots() -> None:
    one, other = moving_person(40), moving_person(40, start=3.0) + np.array((1.5, 0, 1.0))
    keypoints = filmed([one, other], camera())
    order = np.random.default_rng(2).integers(2, size=40)
    xy, confidence = keypoints.xy.copy(), keypoints.confidence.copy()
    for f in np.flatnonzero(order):
        xy[f, 0], confidence[f, 0] = xy[f, 0, ::-1].copy(), confidence[f, 0, ::-1].copy()
    people = follow_people(replace(keypoints, xy=xy, confidence=confidence), "cam", LIFTER_15).people
    assert [len(p.rows) for p in people] == [40, 40]
    for person in people:
        jumps = np.linalg.norm(np.diff(person.xy[:, 0], axis=0), axis=-1)
        assert jumps.max() < 30  # px: the two are 300 px apart


def test_a_person_in_two_pieces_is_one() -> None:
    truth = moving_person(30)
    keypoints = filmed([truth, np.full_like(truth, np.nan)], camera())
    xy, confidence = keypoints.xy.copy(), keypoints.confidence.copy()
    legs = [j for j, name in enumerate(LIFTER_15.joints) if name.endswith(("hip", "knee", "ankle"))]
    xy[10, 0, 1, legs], confidence[10, 0, 1, legs] = xy[10, 0, 0, legs], 0.5
    confidence[10, 0, 0, legs] = 0
    (person,) = follow_people(replace(keypoints, xy=xy, confidence=confidence), "cam", LIFTER_15).people
    assert len(person.rows) == 30
    np.testing.assert_array_equal(np.isfinite(person.xy).all(axis=-1), True)


def empty(frames: int) -> Keypoints2D:
    xy = np.zeros((frames, 1, 1, 15, 2))
    return Keypoints2D(xy, np.zeros(xy.shape[:-1]), ("cam",), np.arange(frames), LIFTER_15, 30.0, "somewhere")


@pytest.mark.parametrize(
    ("keypoints", "message"),
    [(empty(0), "holds no frame"), (empty(5), "nobody is seen"), (empty(1), "nobody is seen")],
)
def test_what_shows_nobody_is_refused(keypoints: Keypoints2D, message: str) -> None:
    with pytest.raises(PosekitError, match=f"somewhere: .*{message}"):
        follow_people(keypoints, "cam", LIFTER_15)


def test_the_camera_must_be_named_where_there_are_several() -> None:
    two = replace(empty(2), cameras=("a", "b"), xy=np.zeros((2, 2, 1, 15, 2)), confidence=np.zeros((2, 2, 1, 15)))
    with pytest.raises(PosekitError, match="name it with --camera"):
        choose_camera(two, None)
    with pytest.raises(PosekitError, match="has no camera 'c'"):
        choose_camera(two, "c")
    assert choose_camera(two, "b") == "b"


def test_one_single_frame_is_lifted() -> None:
    truth, view = moving_person(1), camera()
    (person,) = lift_people(follow_people(filmed([truth], view), "cam", LIFTER_15), KnowingLifter(truth), view)
    assert np.linalg.norm(person.xyz - truth, axis=-1).mean() < 0.15  # distance by proportions, as above


def test_completion_changes_nothing_that_is_known_and_fills_what_one_camera_saw() -> None:
    truth, view = moving_person(60), camera()
    keypoints = filmed([truth], view)
    lifter = KnowingLifter(truth, depth_noise=0.02)
    people = follow_people(keypoints, "cam", LIFTER_15)
    whole = as_keypoints3d(lift_people(people, lifter, view), people, world_of(view), "")
    xyz, status = (truth @ view.rotation)[:, None].copy(), np.full((60, 1, 15), PointStatus.OK)
    wrist = LIFTER_15.index("right_wrist")
    status[10:20, 0, wrist] = PointStatus.TOO_FEW_VIEWS
    status[30:40] = PointStatus.TOO_FEW_VIEWS
    known = replace(whole, xyz=np.where((status == PointStatus.OK)[..., None], xyz, np.nan), status=status)
    done = complete_people(known, keypoints, Rig((view,)), lifter)
    kept = known.status == PointStatus.OK
    np.testing.assert_array_equal(done.people.xyz[kept], known.xyz[kept])
    np.testing.assert_array_equal(done.people.status[~kept], PointStatus.LIFTED)
    np.testing.assert_array_equal(done.added, ~kept)
    error = np.linalg.norm(done.people.xyz - xyz, axis=-1)
    # Laid on the arm that is known, or moved as in the frames around: the lifter's own error, and a pelvis that wanders.
    assert error[10:20, 0, wrist].max() < 0.15
    assert error[30:40].mean() < 0.1
    assert done.people_added == 0
