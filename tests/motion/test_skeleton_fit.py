import numpy as np
import pytest
from numpy.typing import NDArray

from moving_person import moving_person
from posekit.errors import PosekitError
from posekit.motion.skeleton_fit import believability, fit_skeleton, forward_kinematics
from posekit.skeleton import HAND_21, SKELETONS, get_skeleton
from scenes import PERSON

Y_UP = (1, 2, 0)


def turns(rotations: NDArray[np.floating]) -> NDArray[np.float64]:
    """Degrees that every joint turns from frame to frame, (F - 1, N)."""
    dot = np.abs(np.einsum("fni,fni->fn", rotations[1:].astype(float), rotations[:-1].astype(float)))
    return np.degrees(2 * np.arccos(np.clip(dot, 0, 1)))


def test_a_rigid_person_is_found_exactly():
    xyz = moving_person()[..., Y_UP]
    fitted = fit_skeleton(xyz, np.ones(xyz.shape[:2]), PERSON)
    # The roll of a thin hand is held back a little where only its thumb tells it: 0.24 mm at the thumb, 0.01 mm on average.
    assert fitted.error.mean() < 2e-5
    assert fitted.error.max() < 5e-4
    assert not fitted.carried.any()
    places = forward_kinematics(fitted.tree, fitted.offsets, fitted.rotations, fitted.translation)
    names = [joint.name for joint in fitted.tree.joints]
    for joint in ("left_wrist", "head_top", "right_small_toe", "left_little_4"):
        np.testing.assert_allclose(places[:, names.index(joint)], xyz[:, PERSON.index(joint)], atol=1e-4)
    # 60 frames of a person who turns twice round and bends a joint by 120 degrees at most.
    assert turns(fitted.rotations).max() < 25


def test_bones_have_their_length_and_the_rest_pose_is_a_t():
    xyz = moving_person()[..., Y_UP]
    fitted = fit_skeleton(xyz, np.ones(xyz.shape[:2]), PERSON)
    offset = dict(zip((joint.name for joint in fitted.tree.joints), fitted.offsets, strict=True))
    for child, parent in (
        ("left_elbow", "left_shoulder"),
        ("right_ankle", "right_knee"),
        ("left_index_3", "left_index_2"),
    ):
        length = np.linalg.norm(xyz[0, PERSON.index(child)] - xyz[0, PERSON.index(parent)])
        assert np.linalg.norm(offset[child]) == pytest.approx(length, abs=1e-9)
    assert offset["left_elbow"] @ (1, 0, 0) == pytest.approx(np.linalg.norm(offset["left_elbow"]))
    assert offset["right_elbow"][0] < 0 < offset["left_hip"][0]
    assert offset["left_knee"][1] < 0 < offset["neck"][1]
    assert offset["left_big_toe"][2] > 0.1  # feet forward
    assert offset["nose"][2] > 0.05
    # Palms down, thumbs forward: the index finger stands before the little finger.
    assert offset["left_index_1"][2] > offset["left_little_1"][2]


def test_knees_bend_about_their_hinge_and_do_not_flip_when_straight():
    xyz = moving_person(120)[..., Y_UP]
    fitted = fit_skeleton(xyz, np.ones(xyz.shape[:2]), PERSON)
    names = [joint.name for joint in fitted.tree.joints]
    knee = fitted.rotations[:, names.index("left_knee")].astype(float)
    bend = 2 * np.arctan2(np.linalg.norm(knee[:, :3], axis=1), np.abs(knee[:, 3]))
    bent = bend > np.radians(20)
    assert bent.sum() > 30
    axis = knee[bent, :3] * np.sign(knee[bent, 3:]) / np.linalg.norm(knee[bent, :3], axis=1, keepdims=True)
    # The roll is smoothed over some frames, in which the hip turns on a few degrees.
    assert (axis[:, 0] > np.cos(np.radians(15))).all()


def test_noise_is_spread_over_the_bones_and_wrong_joints_weigh_little():
    rng = np.random.default_rng(0)
    truth = moving_person()[..., Y_UP]
    xyz = truth + rng.normal(0, 0.01, truth.shape)
    wrong = rng.random(truth.shape[:2]) < 0.05
    xyz[wrong] += rng.normal(0, 0.3, (wrong.sum(), 3))
    covariance = np.zeros((*truth.shape[:2], 6))
    covariance[..., [0, 3, 5]] = np.where(wrong, 0.3, 0.01)[..., None] ** 2
    weight = believability(covariance, np.ones(truth.shape[:2], bool))
    fitted = fit_skeleton(xyz, weight, PERSON)
    places = forward_kinematics(fitted.tree, fitted.offsets, fitted.rotations, fitted.translation)
    joints = [(n, joint.point) for n, joint in enumerate(fitted.tree.joints) if joint.point < 67 and not joint.helper]
    numbers, points = np.array(joints).T
    error = np.linalg.norm(places[:, numbers] - truth[:, points], axis=-1)
    # Each point is off by 16 mm on average (3 x 10 mm), a wrong one by 480 mm; fixed bones bring both nearer to the truth.
    assert np.median(error) < 0.0135
    assert np.median(error[wrong[:, points]]) < 0.03


def test_missing_joints_are_carried_over_and_counted():
    xyz = moving_person()[..., Y_UP]
    truth = xyz.copy()
    wrist, hand = PERSON.index("left_wrist"), PERSON.part("left_hand")
    xyz[20:26, [wrist, *hand]] = np.nan
    xyz[:, PERSON.index("right_ear")] = np.nan
    xyz[40:43] = np.nan
    weight = np.isfinite(xyz).all(-1).astype(float)
    fitted = fit_skeleton(xyz, weight, PERSON)
    names = [joint.name for joint in fitted.tree.joints]
    assert fitted.left_out == ("right_ear",)
    carried = fitted.carried[:, names.index("left_elbow")]
    assert np.flatnonzero(carried).tolist() == [20, 21, 22, 23, 24, 25, 40, 41, 42]
    places = forward_kinematics(fitted.tree, fitted.offsets, fitted.rotations, fitted.translation)
    error = np.linalg.norm(places[:, names.index("left_wrist")] - truth[:, wrist], axis=-1)
    # Turned evenly through the gap: the elbow swings by 100 degrees in 30 frames, not quite evenly.
    assert error[20:26].max() < 0.05
    root = np.linalg.norm(places[40:43, names.index("head_top")] - truth[40:43, PERSON.index("head_top")], axis=-1)
    assert root.max() < 0.1
    assert np.isnan(fitted.error[20:26, wrist]).all()
    assert fitted.error[np.isfinite(fitted.error)].max() < 5e-4  # as without gaps


def test_half_a_person_is_fitted_too():
    xyz = moving_person()[..., Y_UP]
    for lost in (("hip", "knee", "ankle", "toe", "heel"), ("shoulder", "neck"), ("left_elbow",)):
        part = xyz.copy()
        part[:, [n for n, name in enumerate(PERSON.joints) if any(word in name for word in lost)]] = np.nan
        fitted = fit_skeleton(part, np.isfinite(part).all(-1).astype(float), PERSON)
        # What hung on a joint that is not there hangs on the one above, from which it does not keep its distance.
        assert np.nanmedian(fitted.error) < 0.01, lost
        assert all(np.isfinite(values).all() for values in (fitted.rotations, fitted.translation, fitted.offsets))
    with pytest.raises(PosekitError, match="not one point"):
        fit_skeleton(np.full((3, 67, 3), np.nan), np.ones((3, 67)), PERSON)


@pytest.mark.parametrize("name", [*SKELETONS, "COCO_17+hands"])
def test_every_skeleton_becomes_a_tree(name):
    skeleton = get_skeleton(name)
    # Anything that moves as one piece is rigid for every tree.
    rng = np.random.default_rng(1)
    xyz = rng.normal(size=(1, skeleton.joint_count, 3)) + np.linspace(0, 1, 5)[:, None, None]
    fitted = fit_skeleton(xyz, np.ones(xyz.shape[:2]), skeleton)
    tree = fitted.tree
    assert all(joint.parent < number for number, joint in enumerate(tree.joints))
    assert [joint.parent for joint in tree.joints].count(-1) == 1
    assert len({joint.name for joint in tree.joints}) == len(tree.joints)
    standing = {joint.name for joint in tree.joints if not joint.helper}
    assert set(skeleton.joints) <= standing


def test_a_hand_alone_hangs_on_its_wrist():
    xyz = moving_person()[:, PERSON.part("left_hand")][..., Y_UP]
    fitted = fit_skeleton(xyz, np.ones(xyz.shape[:2]), HAND_21)
    assert fitted.tree.joints[0].name == "wrist"
    assert fitted.error.max() < 2e-5  # as the whole person


def test_recorded_motion_is_found_exactly(shared_data):
    """CMU's recordings have bones of constant length: 688 frames of somebody climbing, by another skeleton's makers."""
    archive = np.load(shared_data / "cmu_mocap" / "cmu_joints_30hz.npz", allow_pickle=False)
    xyz = archive["amc/01_01"].astype(np.float64)[::4]
    fitted = fit_skeleton(xyz, np.ones(xyz.shape[:2]), SKELETONS["CMU_MOCAP"])
    assert fitted.error.max() < 1e-4
    big = [j for j, joint in enumerate(fitted.tree.joints) if "palm" not in joint.name and "thumb" not in joint.name]
    # Every fourth of 30 frames per second: no limb turns by half a turn in 0.13 s.
    assert turns(fitted.rotations)[:, big].max() < 120


def test_what_is_known_of_a_points_place_is_its_weight():
    covariance = np.zeros((3, 6))
    covariance[1] = np.nan
    covariance[2, [0, 3, 5]] = 0.01**2
    weight = believability(covariance, np.array([True, True, True]))
    np.testing.assert_allclose(weight, [1, 1 / 26, 0.5])
    assert believability(covariance, np.array([True, False, True]))[1] == 0
