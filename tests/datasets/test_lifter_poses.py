import numpy as np
import pytest

from posekit.datasets.body_shapes import Proportions, draw_bodies, measure_proportions
from posekit.datasets.body_table import BodyPlan, BodyTable, assemble
from posekit.datasets.lifter_poses import MixedPoses, PoseMixing, RecordedPoses, small_turns, turn_about_vertical
from posekit.datasets.mocap import MocapClip
from posekit.errors import PosekitError
from posekit.lifting.skeletons import LIFTER_15, REPNET_16
from posekit.skeleton import H36M_17, Skeleton

AS_RECORDED = PoseMixing(
    other_arm=0,
    other_legs=0,
    other_head=0,
    one_leg=0,
    between=0,
    crouch=0,
    turn_arm=0,
    turn_leg=0,
    wide=0,
    turn_head=0,
    turn_chest=0,
    lean=0,
    bow=0,
    toppled=0,
    bodies=None,
)


def recorded(frames: int = 40, seed: int = 0, skeleton: Skeleton = H36M_17, name: str = "a") -> MocapClip:
    """Somebody of random bones who keeps moving; every pose is another one."""
    rng = np.random.default_rng(seed)
    xyz = rng.normal(scale=0.3, size=(frames, skeleton.joint_count, 3))
    return MocapClip(name, name, "moving", 30.0, skeleton.joints, with_middles(xyz, skeleton))


def with_middles(xyz: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    for joint, word in (("mid_hip", "hip"), ("neck", "shoulder")):
        if joint in skeleton:
            ends = skeleton.indices((f"left_{word}", f"right_{word}"))
            xyz[:, skeleton.index(joint)] = xyz[:, ends].mean(axis=1)
    return xyz


def lengths_of(xyz: np.ndarray, skeleton: Skeleton) -> dict[str, np.ndarray]:
    return {skeleton.joints[b]: np.linalg.norm(xyz[..., a, :] - xyz[..., b, :], axis=-1) for a, b in skeleton.bones}


@pytest.mark.parametrize("skeleton", [LIFTER_15, REPNET_16])
def test_poses_that_were_taken_apart_come_together_again(skeleton: Skeleton) -> None:
    xyz = recorded(skeleton=skeleton).xyz
    plan = BodyPlan.of(skeleton)
    table = BodyTable.of(plan, [xyz])
    again = assemble(plan, table.pelvis, table.chest, table.directions, table.lengths)
    np.testing.assert_allclose(again, xyz - xyz[:, [skeleton.index("mid_hip")]], atol=2e-6)  # float32


def test_a_mirror_image_has_left_and_right_exchanged() -> None:
    plan = BodyPlan.of(LIFTER_15)
    xyz = recorded(skeleton=LIFTER_15).xyz
    both = BodyTable.of(plan, [xyz]).with_mirrored()
    again = assemble(plan, both.pelvis, both.chest, both.directions, both.lengths)[len(xyz) :]
    reflected = (xyz - xyz[:, :1])[:, LIFTER_15.mirror] * [1, -1, 1]
    np.testing.assert_allclose(again, reflected, atol=2e-6)  # float32
    np.testing.assert_allclose(np.linalg.det(both.pelvis), 1, atol=1e-5)


def test_incomplete_poses_are_left_out() -> None:
    xyz = recorded(skeleton=LIFTER_15, frames=5).xyz
    xyz[3, 7] = np.nan
    assert len(BodyTable.of(BodyPlan.of(LIFTER_15), [xyz])) == 4
    with pytest.raises(PosekitError, match="there is not one pose with every joint"):
        BodyTable.of(BodyPlan.of(LIFTER_15), [xyz[3:4]])


def test_without_mixing_every_pose_is_a_recorded_one_or_its_mirror_image() -> None:
    clip = recorded(frames=6, skeleton=LIFTER_15)
    drawn = MixedPoses([clip], LIFTER_15, AS_RECORDED).draw(200, np.random.default_rng(3))
    original = clip.xyz - clip.xyz[:, :1]
    known = np.concatenate((original, original[:, LIFTER_15.mirror] * [1, -1, 1]))
    # A turn about the vertical keeps every height and every distance from the vertical.
    signature = np.concatenate((known[..., 2], np.linalg.norm(known[..., :2], axis=-1)), axis=-1)
    found = np.concatenate((drawn[..., 2], np.linalg.norm(drawn[..., :2], axis=-1)), axis=-1)
    away = np.abs(found[:, None] - signature).max(axis=-1)
    np.testing.assert_allclose(away.min(axis=1), 0, atol=1e-5)  # float32
    assert len(set(away.argmin(axis=1))) == 12
    left, up = drawn[:, LIFTER_15.index("left_hip")], drawn[:, LIFTER_15.index("neck")]
    turned = np.linalg.det(np.stack((left, up, drawn[:, LIFTER_15.index("nose")]), axis=-1))
    before = np.linalg.det(known[:, [LIFTER_15.index(j) for j in ("left_hip", "neck", "nose")]].swapaxes(-1, -2))
    np.testing.assert_allclose(turned, before[away.argmin(axis=1)], atol=1e-4)  # a reflection would change the sign


def test_arms_of_others_are_told_in_the_chests_frame() -> None:
    clips = [recorded(seed=seed, frames=3, skeleton=LIFTER_15, name=str(seed)) for seed in range(2)]
    poses = MixedPoses(clips, LIFTER_15, with_mixing(other_arm=1.0))
    plan = poses.plan
    drawn = BodyTable.of(plan, [poses.draw(300, np.random.default_rng(0))])
    arm, legs = plan.groups["left_arm"], plan.groups["legs"]

    def nearest(bones: tuple[int, ...]) -> np.ndarray:
        away = np.abs(drawn.directions[:, None, bones] - poses.table.directions[None, :, bones]).max(axis=(-1, -2))
        assert away.min(axis=1).max() < 1e-3  # float32, taken apart again
        return away.argmin(axis=1)

    assert (nearest(arm) != nearest(legs)).mean() > 0.8
    np.testing.assert_array_equal(nearest(legs), nearest(plan.groups["trunk"]))


def test_bodies_are_within_their_ranges_and_mean_in_the_middle() -> None:
    ranges = Proportions(asymmetry=0.0, own_neck=0.0)
    drawn = MixedPoses([recorded(skeleton=LIFTER_15)], LIFTER_15, PoseMixing(bodies=ranges))
    xyz = drawn.draw(4000, np.random.default_rng(0))
    lengths = lengths_of(xyz, LIFTER_15)
    leg = lengths["left_knee"] + lengths["left_ankle"]
    for values, (low, high) in (
        (leg, ranges.leg),
        (lengths["left_knee"] / leg, ranges.thigh),
        (2 * lengths["right_hip"] / leg, ranges.hips),
        (2 * lengths["left_shoulder"] / leg, ranges.shoulders),
        (lengths["right_elbow"] / leg, ranges.upper_arm),
        (lengths["right_wrist"] / leg, ranges.forearm),
        (lengths["neck"] / leg, ranges.trunk),
    ):
        assert low - 1e-4 < values.min()
        assert values.max() < high + 1e-4
        # The mean of 4,000 of a quarter of the range's standard deviation, to five of its own.
        assert values.mean() == pytest.approx((low + high) / 2, abs=5 * (high - low) / 4 / np.sqrt(4000))
    np.testing.assert_allclose(lengths["left_wrist"], lengths["right_wrist"], rtol=1e-4)


def test_a_detectors_own_neck_lies_off_the_middle_of_the_shoulders() -> None:
    plan = BodyPlan.of(LIFTER_15)
    bodies = draw_bodies(
        plan, Proportions(leg=(1, 1), neck_up=(0.1, 0.1), neck_front=(0.05, 0.05)), 400, np.random.default_rng(0)
    )
    own = np.abs(bodies.neck).max(axis=-1) > 0
    assert own.mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_allclose(bodies.neck[own], [[0, 0.1, 0.05]] * own.sum(), rtol=1e-6)
    assert not draw_bodies(BodyPlan.of(REPNET_16), Proportions(), 10, np.random.default_rng(0)).neck.any()


def test_proportions_that_were_drawn_are_measured() -> None:
    ranges = Proportions(
        leg=(0.8, 0.8), thigh=(0.5, 0.5), trunk=(0.7, 0.7), hips=(0.3, 0.3), shoulders=(0.4, 0.4), upper_arm=(0.35, 0.35),
        forearm=(0.3, 0.3), asymmetry=0.0, own_neck=0.0,
    )  # fmt: skip
    xyz = MixedPoses([recorded(skeleton=LIFTER_15)], LIFTER_15, PoseMixing(bodies=ranges)).draw(
        20, np.random.default_rng(0)
    )
    found = measure_proportions(LIFTER_15, xyz)
    expected = {
        "leg": 0.8,
        "thigh": 0.5,
        "trunk": 0.7,
        "hips": 0.3,
        "shoulders": 0.4,
        "upper_arm": 0.35,
        "forearm": 0.3,
    }
    assert found == pytest.approx(expected, rel=1e-4)  # float32


def with_mixing(**changed: float) -> PoseMixing:
    return PoseMixing(**{**vars(AS_RECORDED), **changed})


def legs_of(xyz: np.ndarray) -> np.ndarray:
    """Thigh and shank of the left leg and of the right, in the world, (B, 2, 6)."""
    bones = [
        [xyz[:, LIFTER_15.index(f"{side}_{end}")] - xyz[:, LIFTER_15.index(f"{side}_{start}")]
         for start, end in (("hip", "knee"), ("knee", "ankle"))]
        for side in ("left", "right")
    ]  # fmt: skip
    return np.moveaxis(np.array(bones), 2, 0).reshape(len(xyz), 2, 6)


def test_whoever_bows_stands_on_the_same_leg_and_keeps_every_bone() -> None:
    clip = recorded(frames=1, skeleton=LIFTER_15)
    poses = MixedPoses([clip], LIFTER_15, with_mixing(bow=1.0))
    rng = np.random.default_rng(0)
    upright = assemble(poses.plan, poses.table.pelvis, poses.table.chest, poses.table.directions, poses.table.lengths)
    drawn = poses.draw(600, rng)
    for joint, lengths in lengths_of(drawn, LIFTER_15).items():
        known = lengths_of(upright, LIFTER_15)[joint]
        assert np.abs(lengths[:, None] - known).min(axis=1).max() < 1e-5, joint  # float32

    # A turn about the vertical keeps a bone's height and its extent along the ground.
    def signature(xyz: np.ndarray) -> np.ndarray:
        legs = legs_of(xyz).reshape(len(xyz), 2, 2, 3)
        return np.concatenate((legs[..., 2], np.linalg.norm(legs[..., :2], axis=-1)), axis=-1)

    away = np.abs(signature(drawn)[:, None] - signature(upright)).max(axis=-1)  # (B, 2 poses, 2 legs)
    pose = away.min(axis=-1).argmin(axis=1)
    stands = away[np.arange(len(drawn)), pose] < 1e-5
    assert stands.any(axis=1).all()
    shares = [(stands == kind).all(axis=1).mean() for kind in ((True, False), (False, True), (True, True))]
    # A third each: four standard deviations of 600 draws.
    np.testing.assert_allclose(shares, 1 / 3, atol=0.08)
    trunk, before = drawn[:, LIFTER_15.index("neck")], upright[:, LIFTER_15.index("neck")]
    assert np.abs(trunk[:, 2] - before[pose, 2]).max() > 0.1


def test_a_lent_leg_is_one_alone_and_of_another_pose() -> None:
    clips = [recorded(seed=seed, frames=3, skeleton=LIFTER_15, name=str(seed)) for seed in range(2)]
    poses = MixedPoses(clips, LIFTER_15, with_mixing(one_leg=1.0))
    drawn = BodyTable.of(poses.plan, [poses.draw(400, np.random.default_rng(0))])

    def nearest(joints: tuple[str, ...]) -> np.ndarray:
        bones = [poses.plan.children.index(joint) for joint in joints]
        away = np.abs(drawn.directions[:, None, bones] - poses.table.directions[None, :, bones]).max(axis=(-1, -2))
        assert away.min(axis=1).max() < 1e-3  # float32, taken apart again
        return away.argmin(axis=1)

    trunk = nearest(("neck",))
    other = np.stack([nearest((f"{side}_knee", f"{side}_ankle")) != trunk for side in ("left", "right")])
    assert not other.all(axis=0).any()
    # Of 12 poses the other one is the same once in 12; four standard deviations of 400 draws.
    np.testing.assert_allclose(other.mean(axis=1), 11 / 24, atol=0.1)


def test_wide_turns_are_as_wide_and_as_frequent_as_asked_for() -> None:
    clip = recorded(frames=1, skeleton=LIFTER_15)
    poses = MixedPoses([clip], LIFTER_15, with_mixing(turn_arm=0.01, wide=0.3, turn_wide=0.5))
    drawn = BodyTable.of(poses.plan, [poses.draw(2000, np.random.default_rng(0))])
    upper = poses.plan.children.index("left_elbow")
    cosine = (drawn.directions[:, None, upper] * poses.table.directions[None, :, upper]).sum(axis=-1).max(axis=1)
    # 0.05 rad are five deviations of a usual turn, and next to none of the wide ones are so small.
    wide = np.arccos(np.clip(cosine, -1, 1)) > 0.05
    assert wide.mean() == pytest.approx(0.3, abs=0.05)


def test_a_turned_chest_takes_arms_and_head_along() -> None:
    clip = recorded(frames=1, skeleton=LIFTER_15)
    poses = MixedPoses([clip], LIFTER_15, with_mixing(turn_chest=0.2))
    drawn = BodyTable.of(poses.plan, [poses.draw(2000, np.random.default_rng(0))])
    legs = list(poses.plan.groups["legs"])
    away = np.abs(drawn.directions[:, None, legs] - poses.table.directions[:, legs]).max(axis=(-1, -2))
    pose = away.argmin(axis=1)
    assert away.min(axis=1).max() < 1e-3  # float32, taken apart again
    arms = [*poses.plan.groups["left_arm"], *poses.plan.groups["right_arm"]]
    now, before = drawn.directions[:, arms], poses.table.directions[pose][:, arms]
    np.testing.assert_allclose(now @ now.swapaxes(1, 2), before @ before.swapaxes(1, 2), atol=1e-3)
    # Of a turn about three axes, the line of the shoulders shows the two at right angles to it.
    line, was = drawn.chest[..., 0], poses.table.chest[pose][..., 0]
    angle = np.arccos(np.clip((line * was).sum(axis=-1), -1, 1))
    assert np.sqrt(np.square(angle).mean()) == pytest.approx(0.2 * np.sqrt(2), rel=0.1)


def test_left_and_right_are_drawn_alike() -> None:
    drawn = MixedPoses([recorded(frames=30, skeleton=LIFTER_15)], LIFTER_15).draw(6000, np.random.default_rng(0))
    mirrored = drawn[:, LIFTER_15.mirror]
    # Turned at random about the vertical, heights are what a mirror may change: by nothing but chance.
    for moment in (1, 2):
        own, other = (drawn[..., 2] ** moment), (mirrored[..., 2] ** moment)
        chance = np.sqrt((own.var(axis=0) + other.var(axis=0)) / len(drawn))
        assert (np.abs(own.mean(axis=0) - other.mean(axis=0)) <= 5 * chance + 1e-9).all()


def test_a_crouch_bends_knees_back_and_hips_forward_and_no_further_than_people_can() -> None:
    standing = np.zeros((1, 15, 3))
    # Looks along x with the left side at +y, straight legs, knees bent by 0.1 rad.
    place = {"neck": (0, 0, 0.5), "nose": (0.1, 0, 0.7)}
    for side, sign in (("left", 1), ("right", -1)):
        place |= {f"{side}_shoulder": (0, 0.2 * sign, 0.5), f"{side}_elbow": (0, 0.25 * sign, 0.2)}
        place |= {f"{side}_wrist": (0.1, 0.25 * sign, 0), f"{side}_hip": (0, 0.1 * sign, 0)}
        place |= {f"{side}_knee": (0, 0.1 * sign, -0.4), f"{side}_ankle": (-0.04, 0.1 * sign, -0.798)}
    for joint, where in place.items():
        standing[0, LIFTER_15.index(joint)] = where
    clip = MocapClip("a", "", "", 30.0, LIFTER_15.joints, standing)
    poses = MixedPoses([clip], LIFTER_15, with_mixing(crouch=1.0))
    table = BodyTable.of(poses.plan, [poses.draw(500, np.random.default_rng(0))])
    thigh, shank = (table.directions[:, poses.plan.children.index(f"left_{j}")] for j in ("knee", "ankle"))
    lifted = np.arctan2(thigh[:, 2], -thigh[:, 1])
    assert lifted.min() > -1e-3
    assert 1.5 < lifted.max() < 2.3 + 1e-3
    # The shank is turned back from the thigh: the cross product points to the person's left.
    back = np.cross(shank, thigh)[:, 0]
    bend = np.arctan2(-back, (thigh * shank).sum(axis=-1))
    assert bend.min() > 0.09
    assert bend.max() < 2.5 + 1e-3


def test_motions_are_of_one_body_and_one_clip() -> None:
    clips = [recorded(seed=seed, frames=12, skeleton=LIFTER_15, name=str(seed)) for seed in range(3)]
    motions = MixedPoses(clips, LIFTER_15, PoseMixing(bodies=Proportions(own_neck=0.0))).draw_motions(
        50, 9, np.random.default_rng(0)
    )
    assert motions.shape == (50, 9, 15, 3)
    for joint, lengths in lengths_of(motions, LIFTER_15).items():
        assert np.ptp(lengths, axis=1).max() < 1e-5, joint
    plain = MixedPoses(clips, LIFTER_15, AS_RECORDED)
    drawn = plain.draw_motions(30, 9, np.random.default_rng(0))
    heights = plain_heights = np.concatenate([(c.xyz - c.xyz[:, :1])[..., 2] for c in clips])
    mirrored = heights[:, LIFTER_15.mirror]
    for motion in drawn[..., 2]:
        for known in (plain_heights, mirrored):
            first = np.abs(known - motion[0]).max(axis=-1)
            if first.min() < 1e-5:
                at = int(first.argmin())
                np.testing.assert_allclose(motion, known[at : at + 9], atol=1e-5)
                assert at % 12 <= 3
                break
        else:
            pytest.fail("no recorded motion")
    with pytest.raises(PosekitError, match="no clip has 13 frames"):
        plain.draw_motions(1, 13, np.random.default_rng(0))


def test_draws_are_finite_seeded_and_centred() -> None:
    source = MixedPoses([recorded(skeleton=REPNET_16)], REPNET_16)
    first, again = (source.draw(300, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()
    np.testing.assert_allclose(first[:, REPNET_16.index("mid_hip")], 0, atol=1e-6)


def test_recorded_poses_are_drawn_as_they_are() -> None:
    clip = recorded(frames=4, skeleton=LIFTER_15)
    source = RecordedPoses([clip])
    np.testing.assert_allclose(source.poses, clip.xyz - clip.xyz[:, :1], atol=1e-6)
    drawn = source.draw(50, np.random.default_rng(0))
    heights = np.abs(drawn[:, None, :, 2] - source.poses[None, ..., 2]).max(axis=-1)
    np.testing.assert_allclose(heights.min(axis=1), 0, atol=1e-6)


def test_recorded_motions_have_no_holes_and_are_of_one_clip() -> None:
    clips = [recorded(frames=9, seed=seed, skeleton=LIFTER_15) for seed in range(2)]
    clips[0].xyz[4, 3] = np.nan
    drawn = RecordedPoses(clips).draw_motions(200, 4, np.random.default_rng(0))
    assert drawn.shape == (200, 4, 15, 3)
    heights = np.stack([(clip.xyz - clip.xyz[:, :1])[..., 2] for clip in clips])
    begins = set()
    for motion in drawn[..., 2]:
        away = np.abs(heights - motion[0]).max(axis=-1)
        clip, at = np.unravel_index(np.nanargmin(away), away.shape)
        np.testing.assert_allclose(motion, heights[clip, at : at + 4], atol=1e-5)
        begins.add((int(clip), int(at)))
    assert begins == {(0, 0), (0, 5), *((1, at) for at in range(6))}
    with pytest.raises(PosekitError, match="no clip has 10 frames"):
        RecordedPoses(clips).draw_motions(1, 10, np.random.default_rng(0))


def test_motions_are_drawn_as_often_as_poses_are() -> None:
    clips = [recorded(frames=frames, seed=frames, skeleton=LIFTER_15, name=str(frames)) for frames in (100, 25)]
    drawn = MixedPoses(clips, LIFTER_15, AS_RECORDED).draw_motions(3000, 6, np.random.default_rng(0))
    known = np.concatenate([clip.xyz - clip.xyz[:, :1] for clip in clips])[..., 2]
    both = np.concatenate((known, known[:, LIFTER_15.mirror]))
    row = np.abs(drawn[:, None, 0, :, 2] - both).max(axis=-1).argmin(axis=1) % 125
    # Of weights 1 / 10 a frame, and 1 / 5: 95 begin in the long clip, 20 in the short one. Four standard deviations of 3,000.
    assert (row >= 100).mean() == pytest.approx(4 / 13.5, abs=0.034)


def test_turns_are_about_the_vertical_and_of_the_angle_asked_for() -> None:
    rng = np.random.default_rng(0)
    xyz = rng.normal(size=(100, 7, 3))
    turned = turn_about_vertical(xyz, rng)
    np.testing.assert_allclose(turned[..., 2], xyz[..., 2])
    flat, before = turned[..., 0] + 1j * turned[..., 1], xyz[..., 0] + 1j * xyz[..., 1]
    angle = np.angle(flat / before)
    np.testing.assert_allclose(np.exp(1j * (angle - angle[:, :1])), 1, atol=1e-5)  # float32 angles
    assert np.histogram(angle[:, 0], bins=4, range=(-np.pi, np.pi))[0].min() > 10
    quarter = small_turns(np.array([[0, 0, np.pi / 2]], dtype=np.float32))[0]
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(small_turns(np.zeros((1, 3), np.float32))[0], np.eye(3))


def test_what_cannot_be_mixed_is_refused() -> None:
    with pytest.raises(PosekitError, match="found no clip"):
        MixedPoses([])
    with pytest.raises(PosekitError, match=r"trunk 0.9 to 0.5: expected the lower one first"):
        Proportions(trunk=(0.9, 0.5))
    with pytest.raises(PosekitError, match="there is not one pose"):
        RecordedPoses([])
