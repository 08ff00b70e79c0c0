import numpy as np
import pytest
import torch

from posekit.datasets.hand_model import (
    ANGLE_COUNT,
    ANGLE_LIMITS_DEGREES,
    ANGLES,
    BONE_LENGTHS,
    BONE_ORIGINS,
    FOREARM_LENGTH,
    MEAN_HAND_LENGTH,
    HandShapes,
    pose_hands,
    sample_shapes,
)
from posekit.datasets.hand_poses import penetration, sample_motion, sample_poses

MEAN = HandShapes(torch.ones(1, 19, 3, dtype=torch.float64))


def posed(**degrees: float) -> torch.Tensor:
    angles = torch.zeros(1, ANGLE_COUNT, dtype=torch.float64)
    for name, value in degrees.items():
        angles[0, ANGLES.index(name)] = np.deg2rad(value)
    return pose_hands(MEAN, angles).joints[0]


def bone_lengths(joints: torch.Tensor) -> torch.Tensor:
    parents = [0, *(0 if i == 0 else 4 * f + i for f in range(5) for i in range(4))]
    return (joints - joints[..., parents, :]).norm(dim=-1)[..., 1:]


def test_a_right_hand_has_its_thumb_on_the_right_when_its_palm_faces_us_fingers_up():
    joints = posed()
    wrist, thumb, index, middle, little = (joints[i] for i in (0, 4, 5, 9, 17))
    fingers_up = middle - wrist
    # The palm looks to where the fingers bend.
    bent = posed(middle_mcp_flexion=60)
    palm = bent[12] - joints[12]
    # Looking at the palm, the viewer's right is "up" x "towards the viewer".
    right = torch.linalg.cross(fingers_up, palm)
    assert right @ (thumb - wrist) > 0
    assert right @ (index - little) > 0
    assert torch.linalg.cross(index - wrist, little - wrist) @ palm > 0


def test_proportions_are_those_of_the_measured_hand():
    joints = posed()
    # Buchholz et al. (1992): wrist to knuckle and the three phalanges of the middle finger sum to 0.99 of the hand.
    assert (joints[12] - joints[0]).norm() == pytest.approx(0.99 * MEAN_HAND_LENGTH, rel=1e-3)
    # The index finger's phalanges as fractions of the hand's length.
    lengths = bone_lengths(joints)
    np.testing.assert_allclose(lengths[5:8] / MEAN_HAND_LENGTH, [0.245, 0.143, 0.097], rtol=1e-6)
    assert pose_hands(MEAN, torch.zeros(1, 25, dtype=torch.float64)).elbow[0].norm() == pytest.approx(FOREARM_LENGTH)


def test_flexion_is_about_the_joint_and_by_the_angle():
    straight, bent = posed(), posed(index_pip_flexion=90)
    torch.testing.assert_close(bent[:7], straight[:7])
    before, after = straight[7] - straight[6], bent[7] - bent[6]
    # A right angle, by hand; 1e-9 is rounding.
    assert float(before @ after) == pytest.approx(0, abs=1e-9)
    assert after[2] > 0.02


def test_rest_pose_carries_the_rest_skin_unchanged():
    rest = torch.zeros(1, ANGLE_COUNT, dtype=torch.float64)
    for i, splay in enumerate((11, 0, -11, -23)):
        rest[0, 5 + 4 * i] = np.deg2rad(splay)
    maps = pose_hands(MEAN, rest).skin_from_rest[0]
    points = torch.from_numpy(BONE_ORIGINS)
    for matrix in maps:
        torch.testing.assert_close(points @ matrix[:, :3].T + matrix[:, 3], points)


def test_lengths_scale_with_the_person():
    scale = torch.ones(1, 19, 3, dtype=torch.float64)
    scale[0, 8, 1] = 1.25
    joints = pose_hands(HandShapes(scale), torch.zeros(1, 25, dtype=torch.float64)).joints[0]
    assert (joints[7] - joints[6]).norm() == pytest.approx(1.25 * BONE_LENGTHS[8])


def test_sampled_poses_keep_to_the_limits_and_out_of_each_other():
    rng = np.random.default_rng(3)
    shapes = sample_shapes(rng, 200)
    angles = sample_poses(rng, shapes)
    degrees = np.rad2deg(angles.double().numpy())
    # 1e-4 degrees: single precision radians.
    assert (degrees >= ANGLE_LIMITS_DEGREES[:, 0] - 1e-4).all()
    assert (degrees <= ANGLE_LIMITS_DEGREES[:, 1] + 1e-4).all()
    assert np.isfinite(degrees).all()
    crossed = torch.zeros(1, ANGLE_COUNT)
    crossed[0, ANGLES.index("index_splay")] = -0.4
    nothing = penetration(HandShapes(torch.ones(1, 19, 3)), torch.zeros(1, ANGLE_COUNT))
    assert penetration(HandShapes(torch.ones(1, 19, 3)), crossed) > nothing + 0.01
    # Most sampled hands interpenetrate by less than a few balls of flesh squeezed by some millimetres.
    assert penetration(shapes, angles).median() < 0.04


def test_wide_wrists_reach_their_limits_sideways():
    shapes = sample_shapes(np.random.default_rng(3), 300)
    usual, wide = (
        np.rad2deg(sample_poses(np.random.default_rng(4), shapes, wide=wide).numpy()) for wide in (False, True)
    )
    deviation = ANGLES.index("wrist_deviation")
    low, high = ANGLE_LIMITS_DEGREES[deviation]
    reached = [
        ((pose <= low + 1e-3) | (pose >= high - 1e-3)).mean() for pose in (usual[:, deviation], wide[:, deviation])
    ]
    assert reached[0] < 0.01
    # Of a third, 10 % lie beyond 35 and 4 % beyond -22 degrees, and more where other draws of a pose were tried.
    assert reached[1] > 0.03
    assert usual[:, deviation].std() < 9 < 10 < wide[:, deviation].std()


def test_wide_poses_bend_knuckles_without_the_joints_after_them():
    shapes = sample_shapes(np.random.default_rng(3), 600)
    shares = []
    for wide in (False, True):
        angles = sample_poses(np.random.default_rng(4), shapes, wide=wide)
        knuckle, middle, last = np.rad2deg(angles.numpy()[:, 5:21]).reshape(-1, 4, 4)[:, :, 1:].transpose(2, 0, 1)
        curled = ((knuckle > 50) & (middle > 60)).sum(axis=1)
        out_but_bent = (knuckle > 20) & (middle < 12)
        # One finger alone, the others in the palm: as in a sign that the little finger or the first one makes.
        shares.append([(out_but_bent.any(axis=1) & (curled >= 2)).mean(), (knuckle > middle + 15).mean()])
        # The last joint follows the middle one, which one sinew bends with it.
        assert (last > middle + 25).mean() < 0.01
        # What was drawn anew for its fingers ran through one another.
        assert (penetration(shapes, angles) > 0.05).float().mean() < 0.1
    usual, wide_shares = shares
    assert usual[0] < 0.003 < 0.006 < wide_shares[0]
    assert wide_shares[1] > 1.5 * usual[1]


def test_bones_keep_their_lengths_and_joints_move_smoothly_in_a_motion():
    rng = np.random.default_rng(5)
    shape = sample_shapes(rng, 1)
    angles = sample_motion(rng, shape, 90, 30.0)
    joints = pose_hands(shape.repeat(90), angles).joints
    lengths = bone_lengths(joints)
    # Ring and little knuckles ride on metacarpals that flex, so their distance from the wrist is not a bone.
    rigid = [i for i in range(20) if i not in (12, 16)]
    # 1e-6 m: single precision.
    assert (lengths - lengths[0])[:, rigid].abs().max() < 1e-6
    step = (joints[1:] - joints[:-1]).norm(dim=-1).max()
    # A fingertip that opens in 0.5 s travels some 0.2 m with a peak of twice the mean speed: 27 mm a frame.
    assert 1e-4 < step < 0.04
    with pytest.raises(ValueError, match="one person"):
        sample_motion(rng, sample_shapes(rng, 2), 10, 30.0)
