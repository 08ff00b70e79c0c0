from dataclasses import replace

import numpy as np
import pytest

from lifted_people import camera, filmed, moving_person
from posekit.camera import Camera
from posekit.keypoints import Keypoints2D
from posekit.lifting.inputs import follow_people
from posekit.lifting.lifter import load_lifter
from posekit.lifting.people import lift_people
from posekit.lifting.shown import leaning, turned_back, with_hips
from posekit.lifting.skeletons import LIFTER_15

BELOW = LIFTER_15.indices([joint for joint in LIFTER_15.joints if joint.endswith(("hip", "knee", "ankle"))])
#: One who stands straight, 200 px a metre, y down: right and left are seen in their places.
STANDING = {"ankle": 0.0, "knee": -80.0, "hip": -160.0, "shoulder": -270.0, "elbow": -220.0, "wrist": -170.0}


def standing() -> np.ndarray:
    xy = np.empty((15, 2))
    for number, joint in enumerate(LIFTER_15.joints):
        side = {"left": 20.0, "right": -20.0}.get(joint.partition("_")[0], 0.0)
        word = {"mid_hip": "hip", "neck": "shoulder", "nose": "shoulder"}.get(joint, joint.rpartition("_")[2])
        xy[number] = side, STANDING[word]
    return xy


def turned(xy: np.ndarray, degrees: float) -> np.ndarray:
    """Turn pictures (..., 2), y down, clockwise."""
    angle = np.radians(degrees)
    turn = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
    return xy @ turn.T


@pytest.mark.parametrize(
    ("degrees", "expected"), [(0, 0), (45, 0), (-49, 0), (65, 32.5), (90, 90), (-120, -120), (179, 179)]
)
def test_who_leans_far_is_turned_upright(degrees: float, expected: float) -> None:
    xy = turned(standing(), degrees)[None] + 500
    angle = leaning(xy, np.zeros(0, dtype=np.bool_), LIFTER_15)
    np.testing.assert_allclose(np.degrees(angle), [expected], atol=1e-9)
    if degrees == expected:
        upright = (xy - 500) @ turned_back(angle)[:, :2, :2].swapaxes(1, 2)
        np.testing.assert_allclose(upright[0], standing(), atol=1e-9)


def test_rows_that_show_no_trunk_lean_as_their_neighbours() -> None:
    xy = np.tile(turned(standing(), 100), (5, 1, 1))
    xy[1:3, BELOW] = np.nan
    xy[3:] = turned(xy[3:], -80)
    joined = np.array((True, True, True, True))
    up = turned(np.array((0.0, -1.0)), 100), turned(np.array((0.0, -1.0)), 20)
    between = [(2 - n) / 3 * up[0] + (1 + n) / 3 * up[1] for n in range(2)]
    angle = np.degrees([np.arctan2(x, -y) for x, y in between])
    expected = [100, *(angle * np.clip((angle - 50) / 30, 0, 1)), 0, 0]
    np.testing.assert_allclose(np.degrees(leaning(xy, joined, LIFTER_15)), expected, atol=1e-9)
    # Who never shows it is left as he is.
    xy[:, BELOW] = np.nan
    np.testing.assert_array_equal(leaning(xy, joined, LIFTER_15), 0)


def test_hips_out_of_the_picture_are_put_below_the_shoulders() -> None:
    truth, view = moving_person(30), camera()
    xy = filmed([truth], view).xy[:, 0, 0].astype(np.float64)
    cut = xy.copy()
    cut[:, BELOW] = np.nan
    for degrees in (0.0, 120.0):
        angle = np.full(30, np.radians(degrees))
        found = turned(with_hips(turned(cut, degrees), angle, LIFTER_15), -degrees)
        hips = LIFTER_15.indices(("mid_hip", "left_hip", "right_hip"))
        metres = np.linalg.norm(found - xy, axis=-1)[:, hips] * truth[:, :1, 2] / 1000
        # The trunk leans by 0.05 m, and the arms' extents tell the size but for their foreshortening.
        assert metres.max() < 0.1
        others = np.setdiff1d(np.arange(15), hips)
        np.testing.assert_allclose(found[:, others], cut[:, others], atol=1e-6)
    # Who shows a knee is left as he is.
    cut[:, BELOW[1]] = xy[:, BELOW[1]]
    np.testing.assert_array_equal(with_hips(cut, np.zeros(30), LIFTER_15), cut)


def filmed_by(view: Camera, degrees: float = 0.0) -> Keypoints2D:
    """Film the moving person by a camera that is rolled, so that the picture of the person leans clockwise by so much."""
    keypoints = filmed([moving_person(20)], view, noise_px=1.0)
    middle = view.matrix[:2, 2]
    return replace(keypoints, xy=turned(keypoints.xy.astype(np.float64) - middle, degrees) + middle)


def off_the_pose(lens: bool, degrees: float) -> float:
    """Mean error of joints against the root, metres, of the person whom a rolled camera sees, in the camera's own axes."""
    truth, view = moving_person(20), camera()
    people = follow_people(filmed_by(view, degrees), "cam", LIFTER_15)
    (person,) = lift_people(people, load_lifter(), view if lens else None)
    true = truth - truth[:, :1]
    true[..., :2] = turned(true[..., :2], degrees)
    return float(np.linalg.norm(person.xyz - person.xyz[:, :1] - true, axis=-1).mean())


@pytest.mark.parametrize("lens", [True, False])
def test_a_camera_on_its_side_sees_the_same_pose(lens: bool) -> None:
    upright = off_the_pose(lens, 0.0)
    for degrees in (90.0, 180.0):
        # Shown as they lie, they are off by 0.04 to 0.3 m more; turned upright, by what a detection's noise makes them lean.
        assert off_the_pose(lens, degrees) == pytest.approx(upright, abs=0.002)


def test_who_shows_the_upper_body_alone_is_lifted_upright_and_in_place() -> None:
    truth, view = moving_person(20), camera()
    keypoints = filmed_by(view)
    xy = keypoints.xy.copy()
    xy[..., BELOW, :] = np.nan
    people = follow_people(replace(keypoints, xy=xy), "cam", LIFTER_15)
    (person,) = lift_people(people, load_lifter(), view)
    trunk = person.xyz[:, LIFTER_15.index("neck")] - person.xyz[:, 0]
    lean = np.degrees(np.arccos(-trunk[:, 1] / np.linalg.norm(trunk, axis=-1)))
    # Without hips to start from the trunk leans by 70 degrees, and the person stands 0.8 m from the place.
    assert lean.max() < 30
    assert np.linalg.norm(person.xyz[:, 0] - truth[:, 0], axis=-1).mean() < 0.4


def test_a_nose_tells_up_where_no_trunk_is_seen_unless_it_is_below_the_shoulders() -> None:
    xy = standing()
    xy[LIFTER_15.index("nose")] = 0, -300
    xy[BELOW] = np.nan
    leans = [
        np.degrees(leaning(turned(xy, d)[None], np.zeros(0, dtype=np.bool_), LIFTER_15)) for d in (0, 90, 125, 150)
    ]
    np.testing.assert_allclose(np.concatenate(leans), [0, 90, 125, 0], atol=1e-9)


def test_a_mid_hip_that_is_seen_stays_and_tells_up() -> None:
    xy = turned(standing(), 90)[None]
    xy[:, np.setdiff1d(BELOW, LIFTER_15.index("mid_hip"))] = np.nan
    np.testing.assert_allclose(np.degrees(leaning(xy, np.zeros(0, dtype=np.bool_), LIFTER_15)), [90])
    np.testing.assert_array_equal(with_hips(xy, np.zeros(1), LIFTER_15), xy)


@pytest.mark.parametrize("times", [1.0, 100.0])
def test_legs_that_are_guessed_are_as_good_as_missing(times: float) -> None:
    keypoints = filmed_by(camera())
    confidence = np.full(keypoints.confidence.shape, times)
    confidence[..., BELOW] = 0.05 * times
    guessed = keypoints.xy.copy()
    guessed[..., BELOW, 1] = 1070  # along the picture's lower edge
    missing = keypoints.xy.copy()
    missing[..., BELOW, :] = np.nan
    (one,) = follow_people(replace(keypoints, xy=guessed, confidence=confidence), "cam", LIFTER_15).people
    (other,) = follow_people(
        replace(keypoints, xy=missing, confidence=np.where(confidence < times, 0, confidence)), "cam", LIFTER_15
    ).people
    np.testing.assert_array_equal(one.xy, other.xy)
    np.testing.assert_array_equal(one.confidence, other.confidence)


@pytest.mark.parametrize("times", [0.5, 1.0, 8.0, 100.0])
def test_confidences_of_any_scale_become_shares(times: float) -> None:
    keypoints = filmed_by(camera())
    confidence = np.linspace(0.2, 1.0, keypoints.confidence.size).reshape(keypoints.confidence.shape)
    given = times * confidence
    given[3, 0, 0, 4] = 1e4  # a single wild score
    (person,) = follow_people(replace(keypoints, confidence=given), "cam", LIFTER_15).people
    sure = np.quantile(given, 0.9)
    expected = np.minimum(given[:, 0, 0] / max(sure, 1.0), 1.0)
    # float32 in the file's arrays.
    np.testing.assert_allclose(person.confidence, expected, rtol=1e-5)
