import numpy as np
import pytest

from posekit.metrics import bone_length_errors, bone_lengths, bone_spread, mirrored_bones, symmetry_errors
from posekit.skeleton import BODY_25B, HAND_21, Skeleton
from scenes import PERSON, standing_person, walk

ARMS = Skeleton(
    "arms",
    ("neck", "left_elbow", "left_wrist", "right_elbow", "right_wrist"),
    ((0, 1), (1, 2), (0, 3), (3, 4)),
    ((1, 3), (2, 4)),
    {"body": tuple(range(5))},
)
POSE = np.array([[0.0, 0, 0], [-3, 0, 4], [-3, 0, 5], [2, 0, 0], [2, 3, 0]])


def test_lengths_and_their_errors_by_hand():
    assert np.array_equal(bone_lengths(POSE, ARMS.bones), [5, 1, 2, 3])
    moved = POSE.copy()
    moved[2, 2] += 0.5  # longer
    moved[4] = np.nan
    assert np.array_equal(bone_length_errors(moved, POSE, ARMS.bones), [0, 0.5, 0, np.nan], equal_nan=True)


def test_lengths_do_not_change_when_somebody_walks():
    lengths = bone_lengths(walk(20, (-1, 0), (2, 1), heading=0.4), BODY_25B.bones)
    spread = bone_spread(lengths)
    still = bone_lengths(standing_person(), BODY_25B.bones)
    assert np.allclose(spread.mean, still)
    assert np.allclose(spread.median, still)
    assert np.allclose(spread.std, 0, atol=1e-12)


def test_spread_by_hand():
    lengths = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan], [8.0, 4.0, 5.0], [4.0, np.nan, np.nan]])
    spread = bone_spread(lengths)
    assert np.array_equal(spread.frames, [4, 2, 1])
    assert np.array_equal(spread.mean, [4, 3, np.nan], equal_nan=True)
    assert np.array_equal(spread.median, [3.5, 3, np.nan], equal_nan=True)
    # (9 + 1 + 16 + 0) / 3 and (1 + 1) / 1
    assert spread.std[:2] == pytest.approx([np.sqrt(26 / 3), np.sqrt(2)])
    assert spread.coefficient[:2] == pytest.approx([np.sqrt(26 / 3) / 4, np.sqrt(2) / 3])
    assert np.isnan(spread.std[2])
    assert np.isnan(spread.coefficient[2])


@pytest.mark.parametrize("frames", [0, 1])
def test_one_frame_has_no_spread(frames):
    spread = bone_spread(np.ones((frames, 2, 3)))
    assert spread.mean.shape == (2, 3)
    for values in (spread.mean, spread.median, spread.std, spread.coefficient):
        assert np.isnan(values).all()
    assert (spread.frames == frames).all()


def test_mirrored_bones_are_pairs_of_one_name():
    assert mirrored_bones(ARMS) == ((0, 2), (1, 3))
    assert mirrored_bones(HAND_21) == ()
    for left, right in mirrored_bones(PERSON):
        names = [{PERSON.joints[joint] for joint in PERSON.bones[bone]} for bone in (left, right)]
        assert {name.replace("left", "right") for name in names[0]} == names[1]
    # Everything but the three bones in the middle: neck to nose, neck to the top of the head, hip to hip.
    assert 2 * len(mirrored_bones(BODY_25B)) == len(BODY_25B.bones) - 3


def test_symmetry_by_hand():
    assert np.array_equal(symmetry_errors(POSE, ARMS), [3, 2])
    missing = np.stack((POSE, POSE))
    missing[0, 4] = np.nan
    assert np.array_equal(symmetry_errors(missing, ARMS), [[3, np.nan], [3, 2]], equal_nan=True)
    assert np.allclose(symmetry_errors(standing_person(), PERSON), 0, atol=1e-12)
