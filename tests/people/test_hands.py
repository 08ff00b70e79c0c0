import warnings

import numpy as np
import pytest

from posekit.people.hands import hand_box_sides, hand_thresholds, reject_impossible_hands, steady_box_sides
from posekit.point_status import PointStatus
from scenes import PERSON, standing_person

HAND = PERSON.part("right_hand")


def result_of(xyz):
    """The arrays of people (F, P, 67, 3) whom three views saw."""
    missing = ~np.isfinite(xyz).all(axis=-1)
    return {
        "xyz": xyz.copy(),
        "covariance": np.zeros((*xyz.shape[:-1], 6)),
        "inliers": np.ones((*xyz.shape[:-1], 3), dtype=bool),
        "reprojection_px": np.ones((*xyz.shape[:-1], 3)),
        "status": np.where(missing, PointStatus.NO_AGREEMENT, PointStatus.OK).astype(np.uint8),
    }


def rejected(xyz) -> list[str]:
    result = result_of(xyz)
    reject_impossible_hands(result, PERSON, "right_hand")
    gone = result["status"][0, 0] == PointStatus.IMPLAUSIBLE
    assert np.isnan(result["xyz"][0, 0, gone]).all()
    assert not result["inliers"][0, 0, gone].any()
    assert (
        np.isfinite(result["xyz"][0, 0, ~gone]).all(axis=-1).sum() == np.isfinite(xyz[0, 0, ~gone]).all(axis=-1).sum()
    )
    return [PERSON.joints[joint] for joint in np.flatnonzero(gone)]


def person():
    return standing_person()[None, None]


def finger(name: str) -> list[str]:
    return [f"right_{name}_{number}" for number in range(1, 5)]


def test_a_hand_at_its_wrist_stays():
    assert rejected(person()) == []


def test_a_finger_with_a_bone_that_none_has_goes_whole():
    xyz = person()
    xyz[0, 0, PERSON.index("right_index_3")] += (0.1, 0, 0)
    assert rejected(xyz) == finger("index")


def test_a_finger_too_far_from_the_wrist_goes_and_the_others_stay():
    xyz = person()
    xyz[0, 0, [PERSON.index(joint) for joint in finger("ring")]] += (0.14, 0, 0)
    assert rejected(xyz) == finger("ring")


def test_a_wrist_that_most_fingers_are_far_from_goes_alone():
    xyz = person()
    xyz[0, 0, PERSON.index("right_hand_wrist")] += (0, 0, 0.15)
    assert rejected(xyz) == ["right_hand_wrist"]


def test_somebody_elses_hand_goes():
    xyz = person()
    xyz[0, 0, HAND] += (0.5, 0, 0)
    assert rejected(xyz) == [PERSON.joints[joint] for joint in HAND]


def test_what_is_missing_stays_missing_for_its_own_reason():
    xyz = person()
    xyz[0, 0, HAND[:5]] = np.nan
    assert rejected(xyz) == []


def plain_steady_sides(xy, frames):
    """`steady_box_sides` as it is defined, hand by hand and frame by frame."""
    F, C, P = xy.shape[:3]
    box = np.full((F, C, P), np.nan)
    for place in np.ndindex(F, C, P):
        joints = xy[place]
        known = joints[np.isfinite(joints).all(axis=-1)]
        middle = np.array([np.median(axis[~np.isnan(axis)]) for axis in joints.T]) if len(known) else np.zeros(2)
        away = np.linalg.norm(known - middle, axis=-1)
        together = known[away <= 5 * np.median(away)] if len(known) else known
        box[place] = np.ptp(together, axis=0).max() if len(together) >= 2 else np.nan
    steady = np.full_like(box, np.nan)
    for f in range(F):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            steady[f] = np.nanmedian(box[np.abs(frames - frames[f]) <= 15], axis=0)
    return steady


@pytest.mark.parametrize("at_once", [7, 512])
@pytest.mark.parametrize("gaps", [False, True])
def test_steady_box_sides_are_those_of_the_plain_definition(monkeypatch, at_once, gaps):
    monkeypatch.setattr("posekit.people.hands._FRAMES_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    xy = rng.normal(500, 40, (60, 2, 2, 21, 2))
    xy[rng.random(xy.shape[:-1]) < 0.3] = np.nan
    xy[rng.random(xy.shape[:-1]) < 0.03] += 2000  # joints astray
    xy[rng.random(xy.shape[:3]) < 0.3] = np.nan
    xy[20:, 1, 1] = np.nan  # nobody for longer than the reach
    frames = np.sort(rng.choice(300, 60, replace=False)) if gaps else np.arange(60)
    expected = plain_steady_sides(xy, frames)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = steady_box_sides(xy, frames if gaps else None)
        limits = hand_thresholds(xy, 9.0, frames if gaps else None)
    assert np.isnan(expected).any()
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(found, expected, rtol=1e-12)  # rounding
    np.testing.assert_allclose(limits, np.fmax(0.2 * expected, 9.0).transpose(0, 2, 1), rtol=1e-12)


def test_a_frame_far_off_in_time_says_nothing_of_a_box():
    hand = np.concatenate([[(10, 0)], np.repeat(np.linspace(0, 5, 20), 2).reshape(20, 2)])
    xy = np.stack([hand, hand, hand, 5 * hand])[:, None, None]
    assert hand_box_sides(xy)[:, 0, 0].tolist() == [10, 10, 10, 50]
    assert steady_box_sides(xy)[:, 0, 0].tolist() == [10, 10, 10, 10]
    assert steady_box_sides(xy, np.array([0, 1, 2, 18]))[:, 0, 0].tolist() == [10, 10, 10, 50]
    assert steady_box_sides(xy, np.array([0, 1, 2, 17]))[3, 0, 0] == 30  # the third and itself
    assert steady_box_sides(xy[:0]).shape == (0, 1, 1)
