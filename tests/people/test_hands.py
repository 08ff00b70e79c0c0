import numpy as np

from posekit.people.hands import reject_impossible_hands
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
