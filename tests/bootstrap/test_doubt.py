"""How much an instance is to be doubted, reason by reason, on a hand that stands still."""

from dataclasses import replace

import numpy as np
import pytest

from posekit.bootstrap.doubt import REASONS, InstanceTrack, doubt_of
from posekit.skeleton import HAND_21
from scenes import PERSON, standing_person

FRAMES, CAMERAS = 7, 3


@pytest.fixture
def faultless() -> InstanceTrack:
    """Every view certain and in agreement, points without any spread."""
    hand = standing_person()[PERSON.part("right_hand")]
    xyz = np.repeat(hand[None], FRAMES, axis=0)
    return InstanceTrack(
        xyz,
        np.zeros((FRAMES, 21, 6)),
        np.ones((FRAMES, 21, CAMERAS), bool),
        np.zeros((FRAMES, 21, CAMERAS)),
        np.ones((FRAMES, CAMERAS, 21)),
        np.repeat(1000 * xyz[:, None, :, :2], CAMERAS, axis=1),
        HAND_21.bones,
    )


def test_nothing_speaks_against_a_faultless_hand(faultless):
    doubt = doubt_of(faultless)
    assert np.allclose(doubt.shares, 0, atol=1e-12)
    assert np.allclose(doubt.score, 0, atol=1e-12)


def changed(track: InstanceTrack, name: str, frame: int, value: float) -> InstanceTrack:
    array = getattr(track, name).copy()
    array[frame] = value
    return replace(track, **{name: array})


def test_every_reason_is_measured_in_its_units(faultless):
    size = 0.2 * np.ptp(faultless.xyz[0], axis=0).max()
    box = 0.2 * np.ptp(faultless.projected_px[0, 0], axis=0).max()
    half = {
        "far from the detections": changed(faultless, "reprojection_px", 2, box / 2),
        "low confidence": changed(faultless, "confidence", 2, 0.5),
    }
    inliers = faultless.inliers.copy()
    inliers[2, :, 0] = False
    third = {"few views": replace(faultless, inliers=inliers)}
    covariance = faultless.covariance.copy()
    covariance[2] = [(size / 2) ** 2, 0, 0, 0, 0, 0]
    half["uncertain in space"] = replace(faultless, covariance=covariance)
    for share, tracks in ((1 / 2, half), (1 / 3, third)):
        for reason, track in tracks.items():
            shares = doubt_of(track).shares
            expected = np.zeros((FRAMES, 6))
            expected[2, REASONS.index(reason)] = share
            assert np.allclose(shares, expected, atol=1e-9), reason
            # The root mean square of six numbers of which one is not 0.
            assert doubt_of(track).score[2] == pytest.approx(share / np.sqrt(6))


def test_a_fingertip_that_jumps_and_stretches_its_bone_is_doubted_in_its_frame_most(faultless):
    xyz = faultless.xyz.copy()
    xyz[3, 8] += (0.0, 0.06, 0.0)
    doubt = doubt_of(replace(faultless, xyz=xyz))
    jumps, bones = REASONS.index("jumps"), REASONS.index("odd bones")
    # The jump is seen at both of its ends, as large: which end is wrong the bone says, which is odd in one frame only.
    assert (doubt.shares[2:5, jumps] > 0).all()
    assert doubt.shares[3, bones] == pytest.approx(1 / 20)  # one of the twenty bones, and beyond what is allowed
    assert np.flatnonzero(doubt.shares[:, bones] > 0).tolist() == [3]
    assert doubt.score.argmax() == 3
    assert (doubt.score[[0, 1, 5, 6]] == 0).all()


def test_what_cannot_be_judged_counts_half_and_nothing_warns(faultless):
    xyz = np.full_like(faultless.xyz, np.nan)
    empty = replace(
        faultless, xyz=xyz, inliers=np.zeros_like(faultless.inliers), projected_px=faultless.projected_px * np.nan
    )
    shares = doubt_of(empty).shares
    assert np.allclose(shares[:, REASONS.index("few views")], 1)
    others = [n for n, reason in enumerate(REASONS) if reason != "few views"]
    assert np.allclose(shares[:, others], 0.5)


def test_a_way_made_in_many_frames_is_no_jump(faultless):
    xyz, size = faultless.xyz.copy(), 0.2 * np.ptp(faultless.xyz[0], axis=0).max()
    xyz[3:, 8] += (0.0, size / 2, 0.0)
    jumps = REASONS.index("jumps")
    at_once = doubt_of(replace(faultless, xyz=xyz)).shares[2:4, jumps]
    frames = np.array([0, 1, 2, 12, 13, 14, 15])
    slowly = doubt_of(replace(faultless, xyz=xyz, frames=frames)).shares[2:4, jumps]
    assert at_once == pytest.approx(1 / 2 / 21, rel=0.05)  # one of 21 joints; it makes the hand a little larger
    assert slowly == pytest.approx(at_once / 10)
