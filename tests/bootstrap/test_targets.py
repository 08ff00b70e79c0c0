"""What can be learnt besides hands: a skeleton from a user's file, its detector's weight file, and where labels belong."""

from dataclasses import replace

import numpy as np
import pytest

from posekit.bootstrap.gate_records import Gates
from posekit.bootstrap.hand_target import HandTarget
from posekit.bootstrap.initial_samples import InitialSamples
from posekit.bootstrap.instances import (
    PAPER_AGREEMENT,
    InstanceDetections,
    agreement_thresholds,
    detection_residual_b,
    triangulate_instances,
)
from posekit.bootstrap.labelled_frames import measure_on_labels, place_labels, split_labels
from posekit.bootstrap.rounds import split_frames
from posekit.bootstrap.settings import BootstrapInput, BootstrapSettings
from posekit.bootstrap.steps import Run, triangulate_step
from posekit.bootstrap.subject_files import body_definition, read_subject
from posekit.bootstrap.subject_target import SubjectTarget, fresh_detector, nearest_in_time
from posekit.bootstrap.targets import well_seen_people
from posekit.detection.detector_file import load_detector, save_detector
from posekit.detection.hand_box import HandBox
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D
from posekit.people.hands import steady_box_sides
from posekit.people.reconstruction import ReconstructionSettings
from posekit.skeleton import BODY_25B, with_hands
from scenes import observe, ring_rig, walk
from tool_scene import CROSS, DEFINITION, cross_in_space, cross_rig


@pytest.fixture
def cross(tmp_path):
    (tmp_path / "cross.toml").write_text(DEFINITION)
    return SubjectTarget(read_subject(tmp_path / "cross.toml"))


def seen(frames=40, noise=0.3, seed=0):
    """The cross as a good detector would see it."""
    rig, rng = cross_rig(), np.random.default_rng(seed)
    xy = np.stack([camera.project(cross_in_space(frames)) for camera in rig.cameras], axis=1)[:, :, None]
    xy = xy + rng.normal(0, noise, xy.shape)
    return Keypoints2D(xy, np.ones(xy.shape[:-1]), rig.names, np.arange(frames), CROSS, 30.0, "the scene")


def test_places_for_hands_with_nothing_in_them_are_no_hands():
    # As of OpenPose that looked for hands and found none: the shipped detector is to look for them then.
    full = with_hands(BODY_25B)
    xy, confidence = np.full((3, 2, 1, full.joint_count, 2), 50.0), np.ones((3, 2, 1, full.joint_count))
    confidence[..., BODY_25B.joint_count :] = 0
    body = Keypoints2D(xy, confidence, ("a", "b"), np.arange(3), full, 30.0)
    assert not HandTarget().has_instances(body)
    confidence[1, 0, 0, full.part("left_hand")[4]] = 0.5
    assert not HandTarget().has_instances(replace(body, xy=xy, confidence=confidence))  # a crumb in one view
    both = confidence.copy()
    both[1, 1, 0, full.part("left_hand")[5]] = 0.5
    assert HandTarget().has_instances(replace(body, xy=xy, confidence=both))
    long = {name: np.repeat(array, 60, axis=0) for name, array in (("xy", xy), ("confidence", both))}
    long["confidence"][[number for number in range(180) if number != 60], ..., BODY_25B.joint_count :] = 0
    assert not HandTarget().has_instances(replace(body, frames=np.arange(180), **long))  # one frame of 180
    assert HandTarget().take(replace(body, xy=xy, confidence=confidence)).confidence[1, 0].tolist() == [
        [0.5 if joint == 4 else 0.0 for joint in range(21)],
        [0.0] * 21,
    ]


def test_a_file_says_joints_bones_and_groups(cross):
    assert cross.skeleton == CROSS
    assert cross.groups == ((0, 1), (2,), (3,))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("joints = [", ("is no TOML file",)),
        ("name = 'x'", ("joints", "found nothing")),
        ("joints = ['a']", ("joints", "two names or more")),
        ("joints = ['a', 'a']", ("'a' is named twice",)),
        ("joints = ['a', 'b']\nbones = [['a', 'c']]", ("bones[0]", "'c'", "a, b")),
        ("joints = ['a', 'b']\nbones = [['a']]", ("bones[0]", "pairs")),
        ("joints = ['a', 'b']\nbones = [['a', 'a']]", ("bones[0]", "twice")),
        ("joints = ['a', 'b', 'c']\ngroups = [['a', 'b'], ['b', 'c']]", ("groups", "in two")),
        ("joints = ['a', 'b']\nlinks = []", ("links", "not known")),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_field(tmp_path, text, words):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(PosekitError) as raised:
        read_subject(tmp_path / "x.toml")
    message = str(raised.value)
    assert "\n" not in message
    for word in ("x.toml", *words):
        assert word in message


def test_a_body_is_learnt_without_the_hands_behind_it():
    definition = body_definition(with_hands(BODY_25B))
    assert definition.skeleton.joints == BODY_25B.joints
    assert set(definition.skeleton.bones) == set(BODY_25B.bones)
    assert len(definition.groups) == BODY_25B.joint_count


def test_a_detector_of_a_users_skeleton_is_written_and_read_again_and_is_no_hand_detector(cross, tmp_path):
    detector = fresh_detector(cross.skeleton, load_detector(), 0)
    path = tmp_path / "cross.safetensors"
    save_detector(path, detector)
    again = load_detector(path, cross.skeleton)
    assert again.skeleton == CROSS
    crops = np.random.default_rng(0).integers(0, 255, (2, 128, 128, 3), dtype=np.uint8)
    # Weights are stored in float16.
    np.testing.assert_allclose(again.scores(crops)[0], detector.scores(crops)[0], atol=2.0)
    with pytest.raises(PosekitError, match=r"found cross \(4 joints\), expected a detector of HAND_21"):
        load_detector(path)


def test_the_subject_is_triangulated_and_boxed_where_it_is(cross):
    keypoints, rig = seen(), cross_rig()
    scene = cross.scene(keypoints, rig, ReconstructionSettings(), 3)
    limits = np.full((40, 1, 4), 3.0)
    people = cross.reconstruct(scene, keypoints, limits)
    # 0.3 px at 2 m and 400 px focal length are 1.5 mm.
    assert np.nanmedian(np.linalg.norm(people.xyz[:, 0] - cross_in_space(40), axis=-1)) < 0.003
    boxes = cross.boxes(scene, people, keypoints)
    assert boxes.found.all()
    inside = np.abs(keypoints.xy[:, :, 0] - boxes.centre) <= boxes.side[..., None] / 2
    assert inside.all()


def test_a_view_that_lost_the_subject_is_boxed_by_the_others_and_short_gaps_by_time(cross):
    keypoints, rig = seen(), cross_rig()
    xy = keypoints.xy.copy()
    xy[:, 0] = np.nan
    xy[20:25] = np.nan
    lost = replace(keypoints, xy=xy)
    scene = cross.scene(lost, rig, ReconstructionSettings(), 3)
    people = cross.reconstruct(scene, lost, np.full((40, 1, 4), 3.0))
    boxes = cross.boxes(scene, people, lost)
    assert np.isfinite(boxes.centre).all()
    assert np.array_equal(boxes.centre[22, 1], boxes.centre[19, 1]) or np.array_equal(
        boxes.centre[22, 1], boxes.centre[25, 1]
    )


def test_joints_of_another_skeleton_are_refused(cross):
    people = observe(ring_rig(4), [walk(6, (-0.3, 0), (0.3, 0))]).keypoints
    with pytest.raises(PosekitError, match="none of which cross has; expected red, green"):
        cross.take_labels(people)


def test_views_agree_by_the_papers_share_the_rigs_residual_and_never_beyond_a_fifth_of_the_box():
    sides = np.array([[[100.0], [100.0], [100.0], [np.nan]]])  # (F, C, H)
    for residual, expected in ((0.5, PAPER_AGREEMENT * 100), (7.0, 7.0), (50.0, 20.0)):
        limits = agreement_thresholds(sides, residual)
        np.testing.assert_allclose(limits[0, 0, :3], expected)
        assert np.isnan(limits[0, 0, 3])
    # A share of B that the detector errs by counts where it is known, and where it is more than the paper's and the rig's.
    for share, expected in ((0.01, 3.0), (0.12, 12.0), (0.5, 20.0), (np.nan, 3.0)):
        np.testing.assert_allclose(agreement_thresholds(sides, 3.0, share)[0, 0, :3], expected)
    # 4 px of 368, of a crop of 2.2 B.
    assert abs(PAPER_AGREEMENT * 368 / 2.2 - 4) < 1e-12


def test_the_detections_residual_is_what_the_views_leave_among_themselves():
    # Nine tenths of normal errors lie within sqrt(-2 ln 0.1) sigmas; a fit to n views leaves sqrt(1 - 3 / 2 n) of them.
    sigma, rig = 1.5, cross_rig()
    xy = np.concatenate(
        [seen(frames=400, noise=noise, seed=n).xy for n, noise in enumerate((sigma, 2 * sigma))], axis=2
    )
    xy = xy.astype(float)
    sides = np.broadcast_to([100.0, 250.0], xy.shape[:3])
    found = InstanceDetections(xy, np.ones(xy.shape[:-1]))
    groups = tuple((joint,) for joint in range(4))
    expected = sigma * np.sqrt(-2 * np.log(0.1)) * np.sqrt(1 - 1.5 / len(rig)) / np.array([100, 125])
    measured = detection_residual_b(found, sides, groups, rig, 3)
    np.testing.assert_allclose(measured, expected, rtol=0.05)
    # One joint of four that jumps about by 0.1 B does not set what the others are allowed.
    xy[:, :, 0, 0] += np.random.default_rng(0).normal(0, 7, xy[:, :, 0, 0].shape)
    assert detection_residual_b(found, sides, groups, rig, 3)[0] < 1.2 * expected[0]
    xy[10:, :, 1] = np.nan  # as good as never there
    assert np.isnan(detection_residual_b(found, sides, groups, rig, 3)).tolist() == [False, False]
    xy[5:, :, 1] = np.nan
    assert np.isnan(detection_residual_b(found, sides, groups, rig, 3)).tolist() == [False, True]


def test_the_hands_detector_counts_where_three_views_agree():
    rig, hands = ring_rig(4), HandTarget()
    keypoints = observe(rig, [walk(40, (-0.3, 0), (0.3, 0))], noise_px=0.3).keypoints
    found = hands.take(keypoints)
    sides = steady_box_sides(found.xy)
    disturbed = found.xy + np.random.default_rng(0).normal(0, 0.06, found.xy.shape) * sides[..., None, None]
    keypoints = hands.put(keypoints, replace(found, xy=disturbed), 0.0, "disturbed")
    three, two = (hands.scene(keypoints, rig, ReconstructionSettings(), views) for views in (3, 2))
    # Nine tenths of normal errors, less what a fit to four views takes; what is beyond 0.2 B is cut off.
    expected = 0.06 * np.sqrt(-2 * np.log(0.1)) * np.sqrt(1 - 1.5 / 4)
    np.testing.assert_allclose(hands.detection_residual_b(three, keypoints), expected, rtol=0.15)
    assert hands.detection_residual_b(two, keypoints).tolist() == [0, 0]


def test_covariances_of_hands_are_those_of_their_own_detector():
    rig, hands = ring_rig(4), HandTarget()
    scene = observe(rig, [walk(40, (-0.3, 0), (0.3, 0))], noise_px=0.3)
    found = hands.take(scene.keypoints)
    sides = steady_box_sides(found.xy)
    true = scene.xyz[:, 0][:, hands.joints(hands.full_skeleton(scene.keypoints.skeleton))]
    for spread in (0.02, 0.06):
        noise = np.random.default_rng(0).normal(0, spread, found.xy.shape) * sides[..., None, None]
        keypoints = hands.put(scene.keypoints, replace(found, xy=found.xy + noise), 0.0, "disturbed")
        started = hands.scene(keypoints, rig, ReconstructionSettings(), 3)
        # The limits of a start that was worse than these detections are.
        limits = agreement_thresholds(sides, started.residual_px.repeat(2), 0.15)
        points = hands.points(hands.reconstruct(started, keypoints, limits))
        made = np.isfinite(points.xyz[..., 0])
        error = (points.xyz - true)[made]
        covariance = points.covariance[made].astype(float)[:, [[0, 1, 2], [1, 3, 4], [2, 4, 5]]]
        distances = np.einsum("ni,nij,nj->n", error, np.linalg.inv(covariance), error)
        assert made.mean() > 0.8
        assert 1.6 < np.median(distances) < 3.6  # 2.37 of normal errors in three directions: sure to a quarter


def test_joints_of_a_group_stand_or_fall_together():
    keypoints, rig = seen(noise=0.0), cross_rig()
    xy = keypoints.xy[:, :, 0][:, :, None].astype(float)
    xy[:, 1, 0, 0] += 40.0  # red of the second camera, which takes green with it, and leaves blue alone
    found = InstanceDetections(xy, np.ones(xy.shape[:-1]))
    points = triangulate_instances(found, ((0, 1), (2,), (3,)), np.full((40, 1, 4), 2.0), rig, 3)
    assert not points.inliers[:, 0, :2, 1].any()
    assert points.inliers[:, 0, 2:, 1].all()
    assert points.inliers[:, 0, :2, [0, 2, 3]].all()


def test_labels_find_their_instance_and_the_last_ones_measure(cross):
    keypoints, rig = seen(), cross_rig()
    scene = cross.scene(keypoints, rig, ReconstructionSettings(), 3)
    rows = np.arange(0, 40, 4)
    labelled = replace(
        keypoints, xy=keypoints.xy[rows], confidence=keypoints.confidence[rows], frames=keypoints.frames[rows]
    )
    nowhere = HandBox(np.full((40, 4, 1, 2), np.nan), np.nan)
    labels = place_labels(labelled, cross, scene, nowhere)
    assert len(labels) == 10 * 4
    assert (labels.instance == 0).all()
    learnt, apart = split_labels(labels, np.arange(40) >= 40)
    assert set(apart.place) == {32, 36}
    assert len(learnt) + len(apart) == len(labels)
    assert set(split_labels(labels, np.arange(40) < 10)[1].place) == {0, 4, 8, 32, 36}
    assert len(split_labels(labels, np.arange(40) >= 0)[0]) == len(labels)  # nothing else to learn from
    found = cross.take(keypoints)
    assert measure_on_labels(found, apart, cross.box_factor)["pck"] == 1.0
    blind = InstanceDetections(found.xy, np.zeros_like(found.confidence))
    assert measure_on_labels(blind, apart, cross.box_factor)["pck"] == 0.0


def test_of_few_labelled_joints_b_is_that_of_the_box(cross):
    keypoints, rig = seen(), cross_rig()
    scene = cross.scene(keypoints, rig, ReconstructionSettings(), 3)
    boxes = cross.boxes(scene, scene.people, scene.detections)
    xy = keypoints.xy.copy()
    xy[:, :, 0, 2:] = np.nan  # two of four joints
    labels = place_labels(replace(keypoints, xy=xy), cross, scene, boxes)
    found = cross.take(keypoints)
    usual = labels.boxes.side / cross.box_factor
    lone = np.ptp(labels.joints_px[:, :2], axis=1).max(axis=-1)
    few = labels.pick(lone < 0.6 * usual)
    assert len(few) > 20
    # 0.15 B aside: beyond 0.2 of the two joints' own box, 0.12 B.
    aside = InstanceDetections(found.xy + np.array([0.15 * usual.min(), 0.0]), found.confidence)
    assert measure_on_labels(aside, few, cross.box_factor)["pck"] == 1.0
    far = InstanceDetections(found.xy + np.array([0.25 * usual.max(), 0.0]), found.confidence)
    assert measure_on_labels(far, few, cross.box_factor)["pck"] == 0.0


def test_a_joint_that_a_gate_leaves_out_is_measured_all_the_same(cross, tmp_path, monkeypatch):
    keypoints, rig = seen(), cross_rig()
    scene = cross.scene(keypoints, rig, ReconstructionSettings(), 3)
    start = BootstrapInput(None, rig, keypoints, None, cross, None)
    run = Run(start, scene, BootstrapSettings(), InitialSamples((), None), tmp_path, lambda *_: None)
    wrong = cross.skeleton.joints[1]
    monkeypatch.setattr("posekit.bootstrap.steps.judge_joints", lambda *_: Gates(excluded_joints=(wrong,)))
    state, gates = triangulate_step(run, keypoints, tmp_path)
    assert gates.excluded_joints == (wrong,)
    assert np.isnan(state.points.xyz[:, :, 1]).all()
    assert not np.isfinite(state.detections.xy[..., 1, :]).any()
    labels = place_labels(keypoints, cross, scene, state.boxes)
    # The figure is the detector's, not the gate's.
    assert measure_on_labels(state.found, labels, cross.box_factor)["pck"] == 1.0


def test_labels_in_one_place_are_refused(cross):
    keypoints, rig = seen(), cross_rig()
    scene = cross.scene(keypoints, rig, ReconstructionSettings(), 3)
    xy = keypoints.xy.copy()
    xy[7, 1] = 40.0
    with pytest.raises(PosekitError, match=f"labels of frame 7, camera '{keypoints.cameras[1]}', all lie in one place"):
        place_labels(replace(keypoints, xy=xy), cross, scene, HandBox(np.full((40, 4, 1, 2), np.nan), np.nan))


@pytest.mark.parametrize(("change", "words"), [("camera", "camera 'elsewhere'"), ("frame", "frame 900")])
def test_labels_of_another_capture_are_refused(cross, change, words):
    keypoints, rig = seen(), cross_rig()
    scene = cross.scene(keypoints, rig, ReconstructionSettings(), 3)
    other = (
        replace(keypoints, cameras=("elsewhere", *keypoints.cameras[1:]))
        if change == "camera"
        else replace(keypoints, frames=keypoints.frames + 900)
    )
    with pytest.raises(PosekitError, match=words):
        place_labels(other, cross, scene, HandBox(np.full((40, 4, 1, 2), np.nan), np.nan))


def test_held_out_frames_are_blocks_of_time_with_gaps_about_them():
    for count, blocks in ((100, 1), (9000, 6)):
        candidates, heldout = split_frames(count, 0.2)
        assert heldout.sum() == 0.2 * count
        starts = np.flatnonzero(np.diff(heldout.astype(int)) == 1)
        assert len(starts) == blocks
        assert not (candidates & heldout).any()
        for start in starts:
            assert not candidates[start - round(0.05 * count / blocks) + 1 : start + 1].any()


@pytest.mark.parametrize("count", [4, 7, 8, 10, 13])
def test_beside_the_shortest_blocks_one_frame_is_neither(count):
    candidates, heldout = split_frames(count, 0.2)
    first = int(np.flatnonzero(heldout)[0])
    assert heldout.sum() == count - first == round(0.2 * count)
    assert np.flatnonzero(~candidates & ~heldout).tolist() == [first - 1]
    assert candidates[: first - 1].all()


def test_nothing_is_held_out_of_two_frames():
    candidates, heldout = split_frames(2, 0.2)
    assert candidates.all()
    assert not heldout.any()


def test_the_nearest_frame_that_is_known_is_nearest_by_its_number():
    values = np.array([1.0, np.nan, np.nan, np.nan, 5.0])[:, None, None, None] * np.ones((1, 1, 2, 2))
    values[:, :, 1] = np.nan

    def filled(*frames):
        found = nearest_in_time(values, np.array(frames))
        assert np.isnan(found[:, :, 1]).all()
        return found[:, 0, 0, 1]

    nan = np.nan
    np.testing.assert_array_equal(filled(0, 1, 2, 3, 4), [1, 1, 1, 5, 5])
    np.testing.assert_array_equal(filled(0, 7, 8, 9, 10), [1, 5, 5, 5, 5])
    np.testing.assert_array_equal(filled(0, 15, 16, 84, 100), [1, 1, nan, nan, 5])
    np.testing.assert_array_equal(filled(0, 50, 84, 85, 100), [1, nan, nan, 5, 5])


def test_people_whom_too_few_cameras_see_are_left_out_and_that_is_noticed():
    detections = seen(frames=20)
    xy = np.concatenate([detections.xy, detections.xy + 40], axis=2)
    xy[1:, 2:, 1] = np.nan  # three cameras see the second one in a twentieth of the frames
    confidence = np.isfinite(xy).all(axis=-1).astype(float)
    kept, notice = well_seen_people(replace(detections, xy=xy, confidence=confidence), 3)
    assert np.array_equal(kept.xy, xy[:, :, :1])
    assert "1 of 2 people are left out: fewer than 3 cameras" in notice
    assert well_seen_people(replace(detections, xy=xy, confidence=confidence), 2)[1] == ""
    assert well_seen_people(detections, 3)[1] == ""
