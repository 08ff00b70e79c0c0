"""The gates: each fires on its damage and names the culprit, and all are silent without; geometry of known truth."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from posekit.bootstrap.evidence import AgreementChange
from posekit.bootstrap.gate_cameras import judge_cameras
from posekit.bootstrap.gate_joints import judge_joints, link_figures, links_of
from posekit.bootstrap.gate_moved import turned_to_fit
from posekit.bootstrap.gate_records import Gates, with_sides_exchanged
from posekit.bootstrap.gates import boxes_without_cameras, gated_start, judge_drift, judge_start
from posekit.bootstrap.instances import InstanceDetections, InstancePoints, agreement_thresholds, triangulate_instances
from posekit.camera import Rig
from posekit.datasets.hand_model import sample_shapes
from posekit.datasets.hand_motion import sample_hand_motion
from posekit.datasets.synthetic_capture import CaptureSettings, sample_rig
from posekit.detection.hand_box import HandBox
from posekit.keypoints import Keypoints2D
from posekit.people.hands import steady_box_sides
from posekit.people.reconstruction import ReconstructionSettings
from posekit.skeleton import BODY_25B, HAND_21, HAND_FINGERS, Skeleton
from scenes import observe, ring_rig, walk

SETTINGS = ReconstructionSettings()
FRAMES = 40
BODY = len(BODY_25B.joints)


def filmed(cameras: int, seed: int, frames: int = FRAMES, body: bool = True) -> tuple[Keypoints2D, Rig]:
    """A walking person, 3 px of noise, one joint in twenty astray and one in ten missing."""
    rig = ring_rig(cameras)
    person = walk(frames, (-0.5, -0.3), (0.5, 0.3))
    options = {"noise_px": 3.0, "outlier_share": 0.05, "missing_share": 0.1, "seed": seed}
    scene = (
        observe(rig, [person[:, :BODY]], **options, skeleton=BODY_25B) if body else observe(rig, [person], **options)
    )
    return scene.keypoints, rig


def knocked(rig: Rig, culprit: int, degrees: float, seed: int) -> Rig:
    """The rig as calibrated, of which one camera has been turned since."""
    axis = np.random.default_rng(seed).normal(0, 1, 3) * (1, 1, 0.3)
    turn = cv2.Rodrigues(np.deg2rad(degrees) * axis / np.linalg.norm(axis))[0]
    camera = rig.cameras[culprit]
    wrong = replace(camera, rotation=turn @ camera.rotation, translation=turn @ camera.translation)
    return Rig(tuple(wrong if c == culprit else camera for c, camera in enumerate(rig.cameras)), rig.source)


def delayed(keypoints: Keypoints2D, culprit: int, frames: int) -> Keypoints2D:
    rows = np.maximum(np.arange(len(keypoints.frames)) - frames, 0)
    xy, confidence = keypoints.xy.copy(), keypoints.confidence.copy()
    xy[:, culprit], confidence[:, culprit] = xy[rows, culprit], confidence[rows, culprit]
    return replace(keypoints, xy=xy, confidence=confidence)


RIGS = pytest.mark.parametrize(("cameras", "seed"), [(3, 0), (4, 1), (5, 2), (8, 3)])


@RIGS
def test_an_undamaged_capture_raises_no_alarm(cameras, seed):
    keypoints, rig = filmed(cameras, seed)
    assert judge_start(keypoints, rig, SETTINGS) == Gates()


@RIGS
def test_a_camera_that_was_turned_is_named_and_left_out(cameras, seed):
    keypoints, rig = filmed(cameras, seed)
    culprit = seed % cameras
    gates = judge_cameras(keypoints, knocked(rig, culprit, 5.0, seed), SETTINGS)
    assert [(alarm.kind, alarm.camera) for alarm in gates.alarms] == [("camera", rig.names[culprit])]
    assert gates.excluded_cameras == (rig.names[culprit],)
    assert gates.alarms[0].value > gates.alarms[0].limit
    assert f"{gates.alarms[0].value:.0f} px" in gates.alarms[0].message


def test_a_camera_that_was_turned_after_three_fifths_of_the_capture_is_named():
    keypoints, rig = filmed(4, 0)
    later = knocked(rig, 1, 5.0, 4)
    xy = keypoints.xy.copy()
    # What it sees after it was knocked: the same rays, in a picture that has turned by as much.
    rays = rig.cameras[1].undistort(xy[24:, 1])
    points = np.concatenate((rays, np.ones_like(rays[..., :1])), axis=-1) @ rig.cameras[1].rotation
    xy[24:, 1] = later.cameras[1].project(points * 4 + rig.cameras[1].centre_world)
    gates = judge_cameras(replace(keypoints, xy=xy), rig, SETTINGS)
    assert gates.excluded_cameras == (rig.names[1],)
    assert gates.alarms[0].kind == "camera"


@RIGS
def test_a_camera_that_is_late_is_named_with_its_delay(cameras, seed):
    keypoints, rig = filmed(cameras, seed)
    culprit = (seed + 1) % cameras
    gates = judge_cameras(delayed(keypoints, culprit, 3), rig, SETTINGS)
    assert [(alarm.kind, alarm.camera) for alarm in gates.alarms] == [("time", rig.names[culprit])]
    assert gates.alarms[0].value == pytest.approx(3.0, abs=0.5)  # half a frame of a body that walks at 0.8 m/s
    assert "late" in gates.alarms[0].message


def test_a_camera_that_is_early_is_said_to_be_early():
    keypoints, rig = filmed(4, 1)
    late = delayed(keypoints, 0, 3)
    for other in (1, 2):
        late = delayed(late, other, 3)
    gates = judge_cameras(late, rig, SETTINGS)
    assert gates.alarms[0].camera == rig.names[3]
    assert "early" in gates.alarms[0].message


@RIGS
def test_exchanged_sides_are_named_and_exchanged_back(cameras, seed):
    keypoints, rig = filmed(cameras, seed)
    name = rig.names[(seed + 2) % cameras]
    gates = judge_cameras(with_sides_exchanged(keypoints, (name,)), rig, SETTINGS)
    assert [(alarm.kind, alarm.camera) for alarm in gates.alarms] == [("side", name)]
    assert gates.excluded_cameras == ()
    mended = gated_start(with_sides_exchanged(keypoints, (name,)), gates)
    assert np.array_equal(mended.xy, keypoints.xy, equal_nan=True)


def test_exchanged_hands_of_a_right_body_are_named():
    keypoints, rig = filmed(4, 0, frames=24, body=False)
    hands = [j for part in ("left_hand", "right_hand") for j in keypoints.skeleton.part(part)]
    swapped = with_sides_exchanged(keypoints, (rig.names[2],))
    xy = keypoints.xy.copy()
    xy[..., hands, :] = swapped.xy[..., hands, :]
    gates = judge_cameras(replace(keypoints, xy=xy), rig, SETTINGS)
    assert [(alarm.kind, alarm.camera) for alarm in gates.alarms] == [("side", rig.names[2])]
    assert "hands" in gates.alarms[0].message


def lone_arm(keypoints: Keypoints2D) -> Keypoints2D:
    alone = np.isin(np.arange(BODY), keypoints.skeleton.indices(("right_shoulder", "right_elbow", "right_wrist")))
    xy = np.where(alone[:, None], keypoints.xy, np.nan)
    return replace(keypoints, xy=xy, confidence=np.where(alone, keypoints.confidence, 0))


def test_a_camera_that_was_turned_away_from_a_lone_arm_is_named_with_its_turn():
    keypoints, rig = filmed(4, 2, frames=60)
    gates = judge_start(lone_arm(keypoints), knocked(rig, 2, 5.0, 1), SETTINGS)
    assert [(alarm.kind, alarm.camera) for alarm in gates.alarms] == [("camera", rig.names[2])]
    assert gates.excluded_cameras == (rig.names[2],)
    assert "once it is turned by" in gates.alarms[0].message


def test_exchanged_sides_of_a_lone_arm_are_named_and_exchanged_back():
    keypoints, rig = filmed(4, 0)
    arms = lone_arm(keypoints)
    swapped = with_sides_exchanged(arms, (rig.names[1],))
    gates = judge_start(swapped, rig, SETTINGS)
    assert [(alarm.kind, alarm.camera) for alarm in gates.alarms] == [("side", rig.names[1])]
    assert gates.excluded_cameras == ()
    assert np.array_equal(gated_start(swapped, gates).xy, arms.xy, equal_nan=True)


def test_a_camera_that_sees_somebody_else_is_named():
    keypoints, rig = filmed(4, 0)
    elsewhere = observe(rig, [walk(FRAMES, (1.2, 1.2), (1.4, 1.0))[:, :BODY]], skeleton=BODY_25B).keypoints
    xy = keypoints.xy.copy()
    xy[:, 3] = elsewhere.xy[:, 3]
    gates = judge_start(replace(keypoints, xy=xy, confidence=np.ones_like(keypoints.confidence)), rig, SETTINGS)
    assert rig.names[3] in gates.excluded_cameras
    left = gated_start(keypoints, gates)
    assert np.isnan(left.xy[:, 3]).all()
    assert not left.confidence[:, 3].any()
    assert np.array_equal(left.xy[:, :3], keypoints.xy[:, :3], equal_nan=True)


def test_two_cameras_are_not_judged_and_it_is_said_why():
    keypoints, rig = filmed(2, 0)
    gates = judge_start(keypoints, knocked(rig, 0, 5.0, 0), SETTINGS)
    assert gates.alarms == ()
    assert gates.excluded_cameras == ()
    assert "not which of them" in gates.remarks[0]


def test_turning_a_camera_back_finds_the_turn():
    rig = ring_rig(1)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 3)) + np.array([0, 0, 0.95])
    own = rig.cameras[0].project(points)
    own[::5] += 300.0  # a fifth is astray
    turned = turned_to_fit(knocked(rig, 0, 7.0, 0).cameras[0], own, points, 2.0)
    # 0.01 degrees: exact but for what a fifth at 300 px, of Cauchy's weight 1e-5 each, pulls.
    left = np.arccos(np.clip((np.trace(turned.rotation @ rig.cameras[0].rotation.T) - 1) / 2, -1, 1))
    assert np.rad2deg(left) < 0.01


GROUPS = ((0,), *HAND_FINGERS)


def hand_film(cameras: int, seed: int) -> tuple[Rig, InstanceDetections]:
    """A moving hand, 4 px of noise (B is 100 px), one joint in ten astray and one in ten missing."""
    rng = np.random.default_rng(seed)
    rig = sample_rig(rng, CaptureSettings(seed=seed, cameras=cameras))
    hands, _ = sample_hand_motion(rng, sample_shapes(rng, 1), 60, 30.0, holding=bool(seed % 2))
    joints = hands.joints.double().numpy()
    xy = np.stack([camera.project(joints) for camera in rig.cameras], axis=1)[:, :, None]
    xy += rng.normal(0, 4, xy.shape)
    astray = rng.random(xy.shape[:-1]) < 0.1
    xy[astray] += rng.normal(0, 60, (int(astray.sum()), 2))
    confidence = np.where(rng.random(xy.shape[:-1]) < 0.1, 0, 0.8)
    xy[confidence == 0] = np.nan
    return rig, InstanceDetections(xy, confidence)


def judged(rig: Rig, found: InstanceDetections) -> Gates:
    limits = agreement_thresholds(steady_box_sides(found.xy), 6.0)
    return judge_joints(
        found, triangulate_instances(found, GROUPS, limits, rig, 3 if len(rig) > 3 else 2, 4.0), HAND_21
    )


HANDS = pytest.mark.parametrize(("cameras", "seed"), [(3, 0), (4, 1), (5, 2), (8, 0), (8, 1)])


@HANDS
def test_a_hand_that_is_only_noisy_has_no_wrong_joint(cameras, seed):
    assert judged(*hand_film(cameras, seed)) == Gates()


@HANDS
def test_a_tip_at_the_next_fingers_tip_in_all_views_is_named(cameras, seed):
    rig, found = hand_film(cameras, seed)
    xy = found.xy.copy()
    xy[..., 8, :] = xy[..., 12, :]
    gates = judged(rig, replace(found, xy=xy))
    assert [(alarm.kind, alarm.joint) for alarm in gates.alarms] == [("joint", "index_4")]
    assert gates.excluded_joints == ("index_4",)


@HANDS
def test_a_tip_that_stops_short_in_all_views_is_named(cameras, seed):
    rig, found = hand_film(cameras, seed)
    xy = found.xy.copy()
    xy[..., 16, :] = 0.8 * xy[..., 15, :] + 0.2 * xy[..., 16, :]
    assert judged(rig, replace(found, xy=xy)).excluded_joints == ("ring_4",)


@HANDS
def test_a_finger_that_is_taken_for_the_next_one_is_named(cameras, seed):
    rig, found = hand_film(cameras, seed)
    xy = found.xy.copy()
    xy[..., 5:9, :] = xy[..., 9:13, :]
    gates = judged(rig, replace(found, xy=xy))
    assert {alarm.joint for alarm in gates.alarms} >= {"index_1"}
    # Which of two fingers in one place is right is a guess: labels rest on neither.
    assert set(gates.excluded_joints) >= {f"index_{n}" for n in range(1, 5)}


@pytest.mark.parametrize(
    ("cameras", "seed"), [(4, 1), (5, 2), (8, 0), (8, 1)]
)  # any two of three views may agree on it
def test_a_finger_that_every_view_has_aside_is_named(cameras, seed):
    rig, found = hand_film(cameras, seed)
    xy = found.xy.copy()
    xy[..., 5:9, 0] += 30.0
    assert set(judged(rig, replace(found, xy=xy)).excluded_joints) >= {f"index_{n}" for n in range(1, 5)}


def test_joints_without_a_bone_between_them_are_judged_by_agreement_and_place_alone():
    markers = Skeleton("markers", ("a", "b", "c"), (), (), {"subject": (0, 1, 2)})
    rng = np.random.default_rng(0)
    xyz = np.array([[0.0, 0, 0], [0.3, 0, 0], [0, 0.2, 0]]) + rng.normal(0, 0.01, (FRAMES, 1, 3, 3))
    points = InstancePoints(
        xyz, np.full((*xyz.shape[:3], 6), 1e-6), np.ones((*xyz.shape[:3], 4), dtype=bool), np.ones((*xyz.shape[:3], 4)),
        np.zeros(xyz.shape[:3], dtype=np.uint8),
    )  # fmt: skip
    found = InstanceDetections(np.zeros((FRAMES, 4, 1, 3, 2)), np.ones((FRAMES, 4, 1, 3)))
    assert judge_joints(found, points, markers) == Gates()
    points.inliers[:, :, 1] = False
    gates = judge_joints(found, points, markers)
    assert gates.excluded_joints == ("b",)
    assert "views do not agree" in gates.alarms[0].message


def test_links_of_a_hand_have_the_lengths_of_hands_and_those_of_a_body_none():
    rig, found = hand_film(8, 0)
    limits = agreement_thresholds(steady_box_sides(found.xy), 6.0)
    figures = link_figures(triangulate_instances(found, GROUPS, limits, rig, 3, 4.0), HAND_21)
    assert len(figures.links) == 20 + 6
    # People's hands differ by a tenth; the noise lengthens a fingertip of 17 mm by another tenth.
    assert np.abs(np.log(figures.ratio)).max() < np.log(1.3)
    assert links_of(BODY_25B) == BODY_25B.bones


def round_figures(number, spread=0.05, moved=0.02):
    return {"round": number, "bone_spread": spread, "label_movement_b": moved}


@pytest.mark.parametrize(
    ("now", "agreeing", "words"),
    [
        (round_figures(2), 100, []),
        (round_figures(1, moved=0.4), 120, []),  # the first labels may be anything
        (round_figures(2, moved=0.4), 120, ["moved by 0.40 B"]),
        (round_figures(2, spread=0.08), 120, ["round 2 drifts", "vary by 8.0 %", "before it, round 1"]),
        (round_figures(2), 95, ["95 joints", "100 did", "standard error of the difference: 5.0"]),
        (round_figures(2), 96, []),  # within one standard error
        (round_figures(2, spread=None, moved=None), 100, []),
    ],
)
def test_drift_is_what_got_worse(now, agreeing, words):
    gates = judge_drift(now, round_figures(1), AgreementChange(100, agreeing, 5.0))
    assert len(gates.alarms) == (1 if words else 0)
    for word in words:
        assert word in gates.alarms[0].message


def test_gates_are_written_down_whole():
    keypoints, rig = filmed(4, 1)
    written = judge_cameras(with_sides_exchanged(keypoints, (rig.names[0],)), rig, SETTINGS).as_json()
    assert written["schema"] == "posekit.gates/1"
    assert set(written["alarms"][0]) == {"kind", "camera", "joint", "message", "value", "limit"}
    assert written["mended_cameras"] == [rig.names[0]]
    assert written["excluded_cameras"] == written["excluded_joints"] == []


def test_there_is_no_box_in_a_camera_that_is_left_out():
    rig = ring_rig(3)
    boxes = HandBox(np.zeros((2, 3, 1, 2)), 50.0)
    assert boxes_without_cameras(boxes, rig, (rig.names[1],)).found.all(axis=(0, 2)).tolist() == [True, False, True]
