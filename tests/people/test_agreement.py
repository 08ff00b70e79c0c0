from dataclasses import replace

import numpy as np
import pytest
import torch

from posekit.camera import CameraBatch
from posekit.geometry.symmetric import full_symmetric
from posekit.keypoints import Keypoints2D
from posekit.people.agreement import (
    INLIER_SIGMAS,
    Agreement,
    body_thresholds,
    inlier_sigmas,
    measure_agreement,
    person_scale,
    triangulate_joints,
    with_noise_of,
)
from posekit.skeleton import HAND_21, Skeleton
from scenes import PERSON, observe, ring_rig, walk

BODY = PERSON.part("body")


def agreement(**changes) -> Agreement:
    values = {"noise_px": np.ones(5), "threshold_px": 9.0, "residual_px": 4.0, "scale": 200.0, **changes}
    return Agreement(**values)


def walker(cameras: int = 5, frames: int = 40, **habits):
    return observe(ring_rig(cameras), [walk(frames, (-0.6, 0.2), (0.6, -0.2))], **habits)


def of_joints(keypoints: Keypoints2D, joints, skeleton: Skeleton) -> Keypoints2D:
    return replace(
        keypoints, xy=keypoints.xy[..., joints, :], confidence=keypoints.confidence[..., joints], skeleton=skeleton
    )


def test_noise_grows_with_half_of_its_variance_in_proportion_to_the_person():
    growth = agreement().growth(np.array((200.0, 400.0, 0.0, np.nan)))
    assert growth == pytest.approx([1, np.sqrt((1 + 4) / 2), np.sqrt(0.5), 1])


def test_sigmas_by_hand():
    """n views leave 2 n - 3 of their 2 n degrees of freedom; one view is taken for two, the least that have a point."""
    expected = [INLIER_SIGMAS * np.sqrt(share) for share in (1 / 4, 1 / 4, 5 / 8, 13 / 16)]
    assert inlier_sigmas(np.array((1, 2, 4, 8))) == pytest.approx(expected)


def test_as_many_views_are_within_the_sigmas_as_is_said():
    """92 % for 8 views by the Rayleigh distribution, and so by experiment with a least-squares fit of all views."""
    scene = walker(cameras=8, frames=60, noise_px=2.0)
    points = triangulate_joints(
        scene.keypoints, BODY[:, None], CameraBatch.from_rig(scene.rig), np.full((60, 8, 1), 1e4)
    )
    within = points.reprojection_px < 2.0 * inlier_sigmas(np.array(8)).item()
    assert float(within.double().mean()) == pytest.approx(0.92, abs=0.01)


def test_scale_is_the_focal_length_over_the_distance():
    scene = walker(cameras=4, frames=3)
    scale = person_scale(scene.keypoints, scene.rig)
    middle = np.median(scene.xyz[:, 0, BODY], axis=1)  # (F, 3)
    for c, camera in enumerate(scene.rig.cameras):
        expected = camera.matrix[0, 0] / np.linalg.norm(middle - camera.centre_world, axis=-1)
        # The middles of the pictures do not meet in the middle of the joints: a few decimetres on 4.5 m.
        assert scale[:, c, 0] == pytest.approx(expected, rel=0.05)


def test_nobody_has_no_scale():
    scene = walker(cameras=3, frames=4)
    away = np.where(np.arange(4)[:, None, None, None, None] == 2, np.nan, scene.keypoints.xy)
    scale = person_scale(replace(scene.keypoints, xy=away), scene.rig)
    assert np.isnan(scale[2]).all()
    assert np.isfinite(scale[[0, 1, 3]]).all()


@pytest.mark.parametrize("cameras", [3, 5, 8])
@pytest.mark.parametrize("noise_px", [1.5, 6.0])
@pytest.mark.parametrize("outlier_share", [0.0, 0.06])
def test_the_noise_that_was_made_is_measured(cameras, noise_px, outlier_share):
    scene = walker(cameras, noise_px=noise_px, outlier_share=outlier_share, seed=cameras)
    measured = measure_agreement(scene.keypoints, scene.rig)
    # 1000 points tell a median to 2 %; what the cut-off takes and what wrong views add are made good to a tenth.
    assert np.median(measured.noise_px[BODY]) == pytest.approx(noise_px, rel=0.12)
    assert measured.threshold_px == pytest.approx(
        max(np.median(measured.noise_px[BODY]) * inlier_sigmas(np.array(cameras)), 2.0), rel=1e-9
    )
    assert not measured.fixed


def test_two_views_alone_tell_the_noise_too_if_less_well():
    scene = observe(ring_rig(5), [walk(80, (-0.6, 0.2), (0.6, -0.2))], noise_px=3.0)
    pair = scene.keypoints.select_cameras(("cam_1", "cam_2"))
    measured = measure_agreement(pair, scene.rig.select(pair.cameras))
    # One degree of freedom a point, which mostly lies along the other coordinate.
    assert np.median(measured.noise_px) == pytest.approx(3.0, rel=0.25)


def test_a_joint_has_the_noise_that_is_its_own():
    scene = walker(noise_px=1.5, frames=60)
    elbow = PERSON.index("left_elbow")
    xy = scene.keypoints.xy.copy()
    xy[..., elbow, :] += np.random.default_rng(5).normal(0, 6.0, xy[..., elbow, :].shape)
    measured = measure_agreement(replace(scene.keypoints, xy=xy), scene.rig)
    assert measured.noise_px[elbow] == pytest.approx(np.hypot(6, 1.5), rel=0.25)  # of 60 points
    others = np.delete(measured.noise_px[BODY], list(BODY).index(elbow))
    assert others == pytest.approx(1.5, rel=0.3)


def test_a_given_threshold_is_everyones():
    scene = walker(cameras=4, frames=4, noise_px=1.0, missing_share=0.3)
    measured = measure_agreement(scene.keypoints, scene.rig, threshold_px=13.0)
    assert measured.fixed
    assert measured.threshold_px == 13.0
    growth = np.full((4, 4, 1), 3.0)
    assert (body_thresholds(scene.keypoints, BODY, measured, growth) == 13.0).all()


def test_thresholds_by_how_many_views_see_the_joint():
    scene = walker(cameras=4, frames=2)
    keypoints = scene.keypoints
    confidence = keypoints.confidence.copy()
    confidence[0, :2, 0, BODY[3]] = 0
    growth = np.broadcast_to(np.array((1.0, 2.0))[:, None, None], (2, 4, 1))
    limits = body_thresholds(replace(keypoints, confidence=confidence), BODY, agreement(), growth)
    assert limits.shape == (2, 4, 1, len(BODY))
    assert np.delete(limits[0], 3, axis=-1) == pytest.approx(9.0)
    assert limits[1] == pytest.approx(18.0)
    # Two views leave sqrt(1/4) of the noise where four leave sqrt(5/8).
    assert limits[0, :, :, 3] == pytest.approx(9.0 * np.sqrt((1 / 4) / (5 / 8)))


@pytest.mark.parametrize(
    ("joints", "skeleton"),
    [
        (PERSON.part("left_hand"), HAND_21),
        ((0, 5), Skeleton("two points", ("a", "b"), (), (), {"points": (0, 1)})),
        ((0,), Skeleton("one point", ("a",), (), (), {"points": (0,)})),
    ],
    ids=["hand", "two", "one"],
)
@pytest.mark.parametrize(("frames", "cameras"), [(1, 2), (1, 4), (3, 3)])
def test_tiny_captures_have_finite_figures(joints, skeleton, frames, cameras):
    scene = walker(cameras, frames, noise_px=1.0)
    keypoints = of_joints(scene.keypoints, list(joints), skeleton)
    assert len(keypoints.skeleton.body_joints) == len(joints)
    measured = measure_agreement(keypoints, scene.rig)
    assert np.isfinite(measured.noise_px).all()
    assert (measured.noise_px > 0).all()
    # Nothing is narrower than 2 px, or wider than rays of one person may miss each other at all.
    assert 2 <= measured.threshold_px <= 60
    assert 0 < measured.residual_px <= measured.threshold_px


def test_nobody_at_all_has_finite_figures():
    scene = walker(cameras=3, frames=2)
    empty = replace(scene.keypoints, confidence=np.zeros_like(scene.keypoints.confidence))
    measured = measure_agreement(empty, scene.rig)
    assert np.isfinite((measured.threshold_px, measured.residual_px, measured.scale)).all()
    assert np.isfinite(measured.noise_px).all()


def test_rows_are_frames_people_and_groups_in_this_order():
    scene = observe(ring_rig(4), [walk(3, (-0.6, 0), (-0.5, 0)), walk(3, (0.6, 0), (0.5, 0))])
    groups = PERSON.part("left_hand")[1:].reshape(5, 4)
    found = triangulate_joints(scene.keypoints, groups, CameraBatch.from_rig(scene.rig), np.full((3, 4, 2), 5.0))
    expected = scene.xyz[:, :, groups]  # (F, P, K, G, 3)
    # Keypoints in single precision: 3e-5 px in a picture of a thousand.
    assert np.abs(found.points_world.reshape(expected.shape).numpy() - expected).max() < 1e-6


def test_the_covariance_of_a_capture_is_honest():
    """Of errors that are normally distributed as said, 95 % have a Mahalanobis distance of less than 7.81 squared."""
    scene = walker(cameras=6, frames=60, noise_px=3.0, outlier_share=0.04)
    measured = measure_agreement(scene.keypoints, scene.rig)
    growth = measured.growth(person_scale(scene.keypoints, scene.rig))
    found = triangulate_joints(
        scene.keypoints,
        BODY[:, None],
        CameraBatch.from_rig(scene.rig),
        body_thresholds(scene.keypoints, BODY, measured, growth),
        noise_px=growth[..., None] * measured.noise_px[BODY],
    )
    there = found.status == 0
    error = (found.points_world.reshape(60, 1, len(BODY), 3) - torch.from_numpy(scene.xyz[:, :, BODY])).reshape(
        -1, 1, 3
    )
    error, covariance = error[there], full_symmetric(found.covariance[there])
    squared = (error * torch.linalg.solve(covariance, error)).sum(dim=-1)
    # Which views are cut off is chance, too, and not in the covariance: 90 % or more instead of 95 %.
    assert 0.88 < float((squared < 7.815).double().mean()) < 0.98


def test_hands_get_noise_of_their_own():
    scene = walker(cameras=6, frames=60, noise_px=1.0)
    xy = scene.keypoints.xy.copy()
    hand = PERSON.part("left_hand")
    xy[..., hand, :] += np.random.default_rng(5).normal(0, 4.0, xy[..., hand, :].shape)
    keypoints = replace(scene.keypoints, xy=xy)
    before = measure_agreement(keypoints, scene.rig)
    assert before.noise_px[hand] == pytest.approx(np.median(before.noise_px[BODY]))
    groups = hand[1:].reshape(5, 4)
    growth, limit = np.ones((60, 6, 1)), np.full((60, 6, 1), 20.0)
    points = triangulate_joints(keypoints, groups, CameraBatch.from_rig(scene.rig), limit)
    after = with_noise_of(before, points, groups, growth, limit)
    assert np.median(after.noise_px[hand[1:]]) == pytest.approx(np.hypot(4, 1), rel=0.1)
    untouched = np.setdiff1d(np.arange(PERSON.joint_count), hand[1:])
    assert np.array_equal(after.noise_px[untouched], before.noise_px[untouched])
