from dataclasses import replace

import numpy as np
import pytest

from lifted_people import KnowingLifter, Poses, camera, filmed, moving_person
from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.lifting.completion import complete_people
from posekit.lifting.inputs import FollowSettings, choose_camera, follow_people
from posekit.lifting.lifter import load_lifter
from posekit.lifting.people import LiftSettings, _turn_to_middle, lift_people
from posekit.lifting.result import as_keypoints3d, world_of
from posekit.lifting.skeletons import LIFTER_15
from posekit.people.tracks import AssociationSettings
from posekit.point_status import PointStatus
from posekit.skeleton import HAND_21


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


def test_somebody_before_a_crowd_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first pieces that are read have the crowd alone.
    monkeypatch.setattr("posekit.lifting.inputs._PIECE", 10)

    def walking(depth: float, speed: float, x: float) -> np.ndarray:
        pose = moving_person(80, start=abs(x))
        along = x + speed * np.arange(80) / 30
        return pose - pose[:, :1] + np.stack((along, 0 * along, depth + 0 * along), axis=-1)[:, None]

    near = walking(2.5, 1.5, -2.5)
    near[:20] = np.nan
    far = [walking(16.0, 0.9 * (-1) ** n, 2.0 * n - 3) for n in range(4)]
    people = follow_people(filmed([near, *far], camera(), noise_px=1.0), "cam", LIFTER_15).people
    assert sorted(len(person.rows) for person in people) == [60, 80, 80, 80, 80]


def test_who_has_left_and_right_exchanged_is_the_same_person() -> None:
    # Arms stretched out, so that a wrist is 1.3 m from the other one.
    truth = moving_person(40)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for reach, name in (
            (0.3, "hip"),
            (0.35, "knee"),
            (0.4, "ankle"),
            (0.2, "shoulder"),
            (0.45, "elbow"),
            (0.65, "wrist"),
        ):
            truth[:, LIFTER_15.index(f"{side}_{name}"), 0] = truth[:, 0, 0] + sign * reach
    keypoints = filmed([truth], camera())
    xy = keypoints.xy.copy()
    xy[10:20] = xy[10:20][..., LIFTER_15.mirror, :]
    (person,) = follow_people(replace(keypoints, xy=xy), "cam", LIFTER_15).people
    assert len(person.rows) == 40
    np.testing.assert_array_equal(person.xy, xy[:, 0, 0])


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


def test_joints_all_in_one_point_have_no_distance_and_no_warning() -> None:
    keypoints = filmed([moving_person(20)], camera())
    people = follow_people(replace(keypoints, xy=np.full_like(keypoints.xy, 300)), "cam", LIFTER_15)
    (person,) = lift_people(people, load_lifter(), None, LiftSettings(refine=False))
    assert np.isfinite(person.xyz).all()


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


def every(keypoints: Keypoints2D, step: int) -> Keypoints2D:
    return replace(
        keypoints, xy=keypoints.xy[::step], confidence=keypoints.confidence[::step], frames=keypoints.frames[::step]
    )


@pytest.mark.parametrize("refine", [True, False])
def test_every_fifth_picture_is_a_fifth_of_the_rate(refine: bool) -> None:
    truth, view = moving_person(150), camera()
    fifth = every(filmed([truth], view, noise_px=1.0), 5)
    # fps is frame numbers a second: these are the same pictures, numbered otherwise.
    renumbered = replace(fifth, frames=np.arange(30), fps=6.0)
    settings = LiftSettings(height=1.7, refine=refine)
    one, other = (
        lift_people(follow_people(keypoints, "cam", LIFTER_15), KnowingLifter(truth[::5]), view, settings)[0]
        for keypoints in (fifth, renumbered)
    )
    np.testing.assert_allclose(one.xyz, other.xyz, atol=1e-9)
    # 0.25 m where accelerations are taken for 25 times what they are.
    assert np.linalg.norm(one.xyz - truth[::5], axis=-1).mean() < 0.08


def test_a_joint_is_put_between_by_seconds_whatever_the_rate() -> None:
    truth, view = moving_person(100), camera()
    fifth = every(filmed([truth], view), 5)
    confidence = fifth.confidence.copy()
    confidence[8:12, :, :, LIFTER_15.index("right_wrist")] = 0  # 25 of 30 frame numbers a second
    asked = []

    class Listening(KnowingLifter):
        def lift_windows(self, xy: np.ndarray, confidence: np.ndarray, /) -> Poses:
            asked.append(confidence[:, 0])
            return super().lift_windows(xy, confidence)

    view_people = follow_people(replace(fifth, confidence=confidence), "cam", LIFTER_15)
    lift_people(view_people, Listening(truth[::5]), view, LiftSettings(bridge=0.5, refine=False))
    np.testing.assert_array_equal(asked[0][8:12, LIFTER_15.index("right_wrist")], 0)


def two_cameras(people: list[np.ndarray]) -> tuple[Keypoints2D, Rig]:
    """Film people (F, 15, 3) by the level camera and by one half a metre beside it."""
    one = camera()
    other = replace(one, name="other", translation=np.array((-0.5, 0, 0)))
    world = np.stack(people, axis=1) @ one.rotation
    xy = np.stack([view.project(world) for view in (one, other)], axis=1)
    confidence = np.isfinite(xy).all(axis=-1).astype(np.float32)
    return replace(filmed(people, one), xy=xy, confidence=confidence, cameras=("cam", "other")), Rig((one, other))


def known_of(people: np.ndarray, cameras: tuple[str, ...]) -> Keypoints3D:
    """People (F, P, 15, 3) of the world as several cameras would have them."""
    shape = people.shape[:3]
    return Keypoints3D(
        people,
        np.zeros((*shape, 6)),
        np.ones((*shape, len(cameras)), dtype=bool),
        np.zeros((*shape, len(cameras))),
        np.where(np.isfinite(people).all(axis=-1), PointStatus.OK, PointStatus.TOO_FEW_VIEWS),
        cameras,
        np.arange(shape[0]),
        LIFTER_15,
        30.0,
        "known",
    )


def test_a_stranger_whom_two_cameras_saw_is_added_once() -> None:
    known, stranger = moving_person(40), moving_person(40, start=3.0) + np.array((1.2, 0, 1.0))
    views, rig = two_cameras([known, stranger])
    xy, confidence = views.xy.copy(), views.confidence.copy()
    confidence[25:, 0, 1] = 0  # the first camera loses the stranger, and the second sees them from the first frame on
    confidence[:, 1, 1] *= 0.9
    world = np.stack((known, stranger), axis=1) @ rig.cameras[0].rotation
    lifter = KnowingLifter(np.concatenate((known, stranger)))
    done = complete_people(known_of(world[:, :1], rig.names), replace(views, xy=xy, confidence=confidence), rig, lifter)
    assert done.people_added == 1
    assert np.isfinite(done.people.xyz[:, 1]).all()
    assert np.linalg.norm(done.people.xyz[:, 1] - world[:, 1], axis=-1).mean() < 0.1  # the distance is a guess
    # One camera's, in every frame.
    np.testing.assert_array_equal(np.isfinite(done.people.reprojection_px[:, 1]).sum(axis=-1), 1)


def test_completion_refuses_what_does_not_fit_the_known_people() -> None:
    truth = moving_person(10)
    views, rig = two_cameras([truth])
    known, lifter = known_of((truth @ rig.cameras[0].rotation)[:, None], rig.names), KnowingLifter(truth)
    with pytest.raises(PosekitError, match="filmed: has none of the 10 frames of known"):
        complete_people(known, replace(views, frames=views.frames + 1000), rig, lifter)
    hand = np.random.default_rng(0).uniform(100, 200, (10, 2, 1, 21, 2))
    hands = Keypoints2D(hand, np.ones(hand.shape[:-1]), rig.names, np.arange(10), HAND_21, 30.0, "hands")
    with pytest.raises(PosekitError, match="hands: skeleton HAND_21: found 0 of the 12 joints"):
        complete_people(known, hands, rig, lifter)
    # A camera that sees nobody is no mistake.
    blind = views.confidence.copy()
    blind[:, 1] = 0
    assert complete_people(known, replace(views, confidence=blind), rig, lifter).people_added == 0


@pytest.mark.parametrize("lens", [True, False])
def test_a_window_never_reaches_over_an_absence(lens: bool) -> None:
    truth, view = moving_person(150), camera()
    here = filmed([truth], view)
    away = np.isin(here.frames, np.arange(50, 120))
    here = replace(here, xy=np.where(away[:, None, None, None, None], np.nan, here.xy))
    shown = []

    class Listening(KnowingLifter):
        def lift_windows(self, xy: np.ndarray, confidence: np.ndarray, /) -> Poses:
            shown.append(xy)
            return super().lift_windows(xy, confidence)

    people = follow_people(here, "cam", LIFTER_15, FollowSettings(association=AssociationSettings(max_gap=5.0)))
    assert len(people.people) == 1
    lifter = Listening(truth, turned=lens, window=3)
    lift_people(people, lifter, view if lens else None, LiftSettings(refine=False))
    (windows,) = shown
    assert windows.shape == (80, 3, 15, 2)
    for last, first in ((0, 0), (49, 50), (79, 79)):  # of a stretch, and of the next
        np.testing.assert_array_equal(windows[last, 2 if last else 0], windows[last, 1])
        np.testing.assert_array_equal(windows[first, 0 if first < 79 else 2], windows[first, 1])
    # A standing camera: every frame of a window is turned as its middle one is.
    if lens:
        rays = truth[:, :, :2] / truth[:, :, 2:]
        rays = np.concatenate((rays, np.ones((150, 15, 1))), axis=-1)
        (turn,) = _turn_to_middle(rays[20:21], np.ones((1, 15)))
        turned = rays[19:22] @ turn.T
        np.testing.assert_allclose(windows[20], 1000 * turned[..., :2] / turned[..., 2:], atol=1)
