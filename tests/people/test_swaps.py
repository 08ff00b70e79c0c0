from dataclasses import replace

import numpy as np
import pytest

from posekit.io.openpose_json import read_openpose_folder
from posekit.keypoints import Keypoints2D
from posekit.people.reconstruction import ReconstructionSettings, identify_people, triangulate_people
from posekit.people.swap_evidence import limbs_of
from posekit.people.swaps import mend_swaps
from posekit.skeleton import BODY_25B, HAND_21, Skeleton
from scenes import PERSON, Scene, observe, ring_rig, walk

NOISE_PX = 3.0
THRESHOLD_PX = 1.94 * NOISE_PX
FRAMES = 40


def mirror_of(skeleton: Skeleton) -> np.ndarray:
    mirror = np.arange(skeleton.joint_count)
    for left, right in skeleton.left_right:
        mirror[[left, right]] = right, left
    return mirror


def named(*words: str, skeleton: Skeleton = PERSON) -> list[int]:
    """Joints that have a side and any of the words in their name."""
    return [
        j
        for j, joint in enumerate(skeleton.joints)
        if joint.startswith(("left_", "right_")) and any(word in joint for word in words)
    ]


HANDS = [*PERSON.parts["left_hand"], *PERSON.parts["right_hand"]]
KINDS = {
    "whole": named("_"),
    "legs": named("hip", "knee", "ankle", "toe", "heel"),
    "arms": [*named("shoulder", "elbow"), *(PERSON.index(f"{side}_wrist") for side in ("left", "right")), *HANDS],
    "hands": HANDS,
}


def walkers(cameras: int, seed: int = 0, **observed) -> Scene:
    people = [walk(FRAMES, (-1.2, 0), (1.2, 0.5), -1.2), walk(FRAMES, (1.2, 0.6), (-1.0, 0.6), 1.4)]
    return observe(ring_rig(cameras), people, noise_px=NOISE_PX, seed=seed, **observed)


def exchange(keypoints: Keypoints2D, where: np.ndarray) -> Keypoints2D:
    """Give joints (F, C, P, J) their partners' detections."""
    mirror = mirror_of(keypoints.skeleton)
    xy = np.where(where[..., None], keypoints.xy[..., mirror, :], keypoints.xy)
    return replace(
        keypoints, xy=xy, confidence=np.where(where, keypoints.confidence[..., mirror], keypoints.confidence)
    )


def some_views(keypoints: Keypoints2D, joints: list[int], share: float, views: int = 1, seed: int = 1) -> np.ndarray:
    """(F, C, P, J): these joints in so many views, in a share of the frames."""
    rng = np.random.default_rng(seed)
    F, C, P, J = keypoints.confidence.shape
    chosen = rng.random((F, C, P)).argsort(axis=1) < views
    chosen &= rng.random((F, 1, P)) < share
    where = np.zeros((F, C, P, J), dtype=bool)
    where[..., joints] = chosen[..., None]
    return where


@pytest.mark.parametrize("cameras", [4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_single_views_are_mended(cameras, kind):
    scene = walkers(cameras)
    where = some_views(scene.keypoints, KINDS[kind], 0.25)
    result = mend_swaps(exchange(scene.keypoints, where), scene.rig, THRESHOLD_PX)
    events = where.any(axis=-1)
    assert events.sum() > 10
    # Eyes of somebody seen from the side lie within the noise of each other: where a joint is 4 sigma from its partner, it
    # must be right, and of all the others most.
    apart = np.linalg.norm(scene.keypoints.xy - scene.keypoints.xy[..., mirror_of(PERSON), :], axis=-1) > 4 * NOISE_PX
    right = (result.detections.xy == scene.keypoints.xy).all(axis=-1)
    assert (right | ~where)[events].mean() > 0.98
    mended = (right | ~where).mean(axis=-1, where=apart | ~where) > 0.9
    assert mended[events].mean() >= 0.95
    # Nobody else is touched.
    assert not (result.swapped & ~where)[~events].any()
    assert (result.swapped & ~where & apart).sum() <= 4


@pytest.mark.parametrize("cameras", [2, 3, 4, 8])
@pytest.mark.parametrize("dirt", [0.0, 0.05])
def test_what_is_right_stays_as_it_is(cameras, dirt):
    scene = walkers(cameras, seed=5, outlier_share=dirt, missing_share=dirt)
    result = mend_swaps(scene.keypoints, scene.rig, THRESHOLD_PX)
    assert not result.swapped.any()
    assert not result.undecided.any()
    assert np.array_equal(result.detections.xy, scene.keypoints.xy, equal_nan=True)


def test_swaps_among_outliers_and_gaps_are_mended():
    scene = walkers(8, outlier_share=0.05, missing_share=0.05)
    where = some_views(scene.keypoints, KINDS["whole"], 0.25)
    swapped = exchange(scene.keypoints, where)
    result = mend_swaps(swapped, scene.rig, THRESHOLD_PX)
    there = swapped.confidence > 0
    assert (result.swapped & where & there).sum() > 0.97 * (where & there).sum()
    assert not (result.swapped & ~where).any()


@pytest.mark.parametrize("cameras", [4, 8])
def test_half_of_the_views_are_told_by_the_frames_around(cameras):
    scene = walkers(cameras)
    where = some_views(scene.keypoints, KINDS["legs"], 0.3, views=cameras // 2)
    result = mend_swaps(exchange(scene.keypoints, where), scene.rig, THRESHOLD_PX)
    assert np.array_equal(result.swapped, where)
    assert not result.undecided.any()


def test_half_of_the_views_all_the_time_are_left_and_told():
    scene = walkers(4)
    where = np.zeros(scene.keypoints.confidence.shape, dtype=bool)
    where[:, [1, 2], :, np.array(KINDS["legs"])[:, None]] = True
    swapped = exchange(scene.keypoints, where)
    result = mend_swaps(swapped, scene.rig, THRESHOLD_PX)
    assert np.array_equal(result.detections.xy, swapped.xy)
    assert not result.swapped.any()
    assert result.undecided[..., KINDS["legs"]].mean() > 0.95
    assert not result.undecided[..., PERSON.index("nose")].any()


def test_two_cameras_can_tell_nothing():
    scene = walkers(2)
    swapped = exchange(scene.keypoints, some_views(scene.keypoints, KINDS["whole"], 0.5))
    result = mend_swaps(swapped, scene.rig, THRESHOLD_PX)
    assert np.array_equal(result.detections.xy, swapped.xy)


def test_a_pair_alone():
    # Knees exchanged, hips and ankles not: 16 nats less the noise against the 12 of a switch. Half the sum of four squares of
    # normal numbers exceeds 4 in 9 % of cases.
    scene = observe(ring_rig(8), [walk(FRAMES, (-1, 0), (1, 0), -1.5)], noise_px=1.0)
    where = some_views(scene.keypoints, named("knee"), 0.5)
    result = mend_swaps(exchange(scene.keypoints, where), scene.rig, 1.94)
    apart = np.linalg.norm(scene.keypoints.xy - scene.keypoints.xy[..., mirror_of(PERSON), :], axis=-1) > 10.0
    assert (where & apart).sum() > 20
    assert (result.swapped & where & apart).sum() > 0.8 * (where & apart).sum()
    assert not (result.swapped & ~where).any()


def test_a_view_that_fits_in_neither_order_stays():
    scene = walkers(4)
    xy = scene.keypoints.xy.copy()
    xy[5, 2, 0] += (150, 40)
    moved = replace(scene.keypoints, xy=xy)
    assert np.array_equal(mend_swaps(moved, scene.rig, THRESHOLD_PX).detections.xy, xy)


def test_confidence_goes_with_the_detection_and_a_missing_partner_leaves_a_gap():
    scene = walkers(6)
    confidence = scene.keypoints.confidence.copy()
    knee, other = PERSON.index("left_knee"), PERSON.index("right_knee")
    confidence[7, 3, 0, knee] = 0
    keypoints = replace(scene.keypoints, confidence=confidence)
    where = np.zeros(confidence.shape, dtype=bool)
    where[7, 3, 0, KINDS["legs"]] = True
    result = mend_swaps(exchange(keypoints, where), scene.rig, THRESHOLD_PX)
    assert np.array_equal(result.detections.confidence, keypoints.confidence)
    assert np.isnan(result.detections.xy[7, 3, 0, knee]).all()
    assert np.array_equal(result.detections.xy[7, 3, 0, other], keypoints.xy[7, 3, 0, other])


def test_empty_input_and_skeletons_without_sides():
    scene = walkers(4)
    none = replace(scene.keypoints, xy=scene.keypoints.xy[:, :, :0], confidence=scene.keypoints.confidence[:, :, :0])
    assert mend_swaps(none, scene.rig, THRESHOLD_PX).swapped.shape == (FRAMES, 4, 0, 67)
    hand = observe(ring_rig(4), [walk(4, (0, 0), (0, 0))[:, PERSON.part("left_hand")]], skeleton=HAND_21)
    assert not mend_swaps(hand.keypoints, hand.rig, THRESHOLD_PX).swapped.any()
    nobody = replace(scene.keypoints, confidence=np.zeros_like(scene.keypoints.confidence))
    assert not mend_swaps(nobody, scene.rig, THRESHOLD_PX).swapped.any()


def test_every_sided_joint_is_in_one_limb():
    for skeleton in (PERSON, BODY_25B):
        limbs = limbs_of(skeleton)
        held = [joint for limb in limbs for joint in limb.left + limb.right]
        assert sorted(held) == named("_", skeleton=skeleton)
        names = {limb.name: {skeleton.joints[j].removeprefix("left_") for j in limb.left} for limb in limbs}
        assert names["arms"] == {"shoulder", "elbow", "wrist"}
        assert names["head"] == {"eye", "ear"}


def test_real_detections_have_none_and_injected_ones_are_mended(shared_data):
    folder = shared_data / "pose2sim_balancing"
    from posekit.calibration.formats import read_rig

    keypoints = read_openpose_folder(folder / "openpose", BODY_25B, 60.0)
    rig = read_rig(folder / "Calib.qca.txt").select(keypoints.cameras)
    detections = identify_people(keypoints, rig)
    threshold = triangulate_people(detections, rig, ReconstructionSettings()).threshold_px
    assert not mend_swaps(detections, rig, threshold).swapped.any()
    # The balancing man is seen by all four; on this rig sigma is 14 px.
    joints = named("hip", "knee", "ankle", "toe", "heel", skeleton=BODY_25B)
    where = some_views(detections, joints, 0.3)
    where[:, :, 1:] = False
    result = mend_swaps(exchange(detections, where), rig, threshold)
    apart = np.linalg.norm(detections.xy - detections.xy[..., mirror_of(BODY_25B), :], axis=-1)
    clear = (where & (apart > 6 * threshold / 1.94)).sum(axis=-1) >= 6
    mended = (result.swapped & where).any(axis=-1)
    print(clear.sum(), mended[clear].mean(), mended[where.any(axis=-1)].mean())
    assert clear.sum() > 5
    assert mended[clear].mean() > 0.9
    assert not (result.swapped.any(axis=-1) & ~where.any(axis=-1)).any()
