import warnings
from dataclasses import fields, replace

import numpy as np
import pytest

from posekit.camera import Camera, Rig
from posekit.errors import PosekitError, PosekitWarning
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.people.hands import hand_box_sides, hand_thresholds
from posekit.people.reconstruction import (
    ReconstructionSettings,
    identify_people,
    reconstruct_people,
    triangulate_people,
)
from posekit.people.tracks import AssociationSettings
from posekit.point_status import PointStatus
from posekit.skeleton import BODY_25B, HAND_21
from scenes import PERSON, Scene, observe, ring_rig, shuffle_people, walk

BODY = PERSON.part("body")
LEFT_HAND = PERSON.part("left_hand")
RIGHT_HAND = PERSON.part("right_hand")


@pytest.fixture(scope="module")
def scene() -> Scene:
    people = [walk(8, (-1.2, 0), (0, 0), -np.pi / 2), walk(8, (1.2, 0.6), (0, 0.6), np.pi / 2)]
    return observe(ring_rig(6), people, noise_px=2.0, outlier_share=0.05, missing_share=0.05)


@pytest.fixture(scope="module")
def found(scene):
    return reconstruct_people(scene.keypoints, scene.rig)


def alone(frames: int = 3, cameras: int = 4, **observed) -> Scene:
    return observe(ring_rig(cameras), [walk(frames, (0, 0), (0.2, 0))], **observed)


def errors(people: Keypoints3D, scene: Scene) -> np.ndarray:
    """Distance to the nearest true person (who is so in the first frame), (F, P, J) metres."""
    distance = np.linalg.norm(people.xyz[:, :, None] - scene.xyz[:, None], axis=-1)  # (F, P found, P true, J)
    who = np.nanmedian(distance[0], axis=-1).argmin(axis=-1)
    assert len(set(who)) == len(who)
    return distance[:, np.arange(len(who)), who]


def assert_same(a: Keypoints2D | Keypoints3D, b: Keypoints2D | Keypoints3D) -> None:
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray):
            assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), field.name
        else:
            assert x == y, field.name


def test_two_people_and_their_hands_are_where_they_are(scene, found):
    people = found.people
    assert people.xyz.shape == (8, 2, 67, 3)
    error = errors(people, scene)
    assert np.isfinite(error).mean() > 0.99
    # 2 px at 4.5 m are 9 mm a view; about five views of six agree, 13 mm in three dimensions over the root of five.
    assert np.nanmedian(error[..., BODY]) < 0.012
    assert np.nanmedian(error[..., 25:]) < 0.012
    assert np.nanquantile(error, 0.999) < 0.06
    assert (people.cameras, people.fps, people.skeleton) == (scene.rig.names, 30.0, PERSON)
    assert people.source == "the scene + the ring"
    assert np.array_equal(people.frames, np.arange(8))


def test_outliers_are_left_out_and_told(scene, found):
    # Person by person in the slots that were found.
    who = [
        int(np.nanmedian(np.linalg.norm(found.people.xyz[0, p] - scene.xyz[0], axis=-1), axis=-1).argmin())
        for p in (0, 1)
    ]
    outliers = scene.outliers[:, :, who].transpose(0, 2, 3, 1)[:, :, BODY]
    inliers = found.people.inliers[:, :, BODY]
    assert not (inliers & outliers).any()
    seen = np.isfinite(scene.keypoints.xy[..., 0])[:, :, who].transpose(0, 2, 3, 1)[:, :, BODY] & ~outliers
    # The threshold is at 1.94 sigma of an axis or wider: about an eighth of good detections lies beyond it.
    assert inliers[seen].mean() > 0.8
    reprojection = found.people.reprojection_px[:, :, BODY]
    assert np.nanmin(reprojection[outliers]) > 30
    assert np.nanmedian(reprojection[inliers]) < 2.5


def test_the_threshold_and_the_residual_are_those_of_the_detections(found):
    # Noise of 2 px an axis: a residual's length has the mean 2 * sqrt(pi / 2) = 2.5 before six views fit a point to it, and
    # before the threshold cuts its tail.
    assert 3.0 < found.threshold_px < 6.0
    assert 1.4 < found.rig_residual_px < 2.5


def test_a_shuffled_scene_is_the_same_scene(scene, found):
    shuffled, _ = shuffle_people(scene.keypoints, seed=3)
    again = reconstruct_people(shuffled, scene.rig)
    assert_same(again.people, found.people)
    assert_same(again.detections, found.detections)
    assert (again.threshold_px, again.rig_residual_px) == (found.threshold_px, found.rig_residual_px)


def test_the_rigs_order_and_further_cameras_are_of_no_account(scene, found):
    turned = Rig(scene.rig.cameras[::-1], scene.rig.source)
    assert_same(reconstruct_people(scene.keypoints, turned).people, found.people)
    some = scene.keypoints.select_cameras(("cam_5", "cam_2", "cam_3"))
    assert reconstruct_people(some, turned).people.cameras == ("cam_5", "cam_2", "cam_3")


def test_identifying_and_triangulating_are_the_two_halves(scene, found):
    detections = identify_people(scene.keypoints, scene.rig)
    assert_same(detections, found.detections)
    halves = triangulate_people(detections, scene.rig, ReconstructionSettings())
    assert_same(halves.people, found.people)


def test_every_point_has_a_reason_and_every_reason_its_arrays(found):
    people = found.people
    missing = np.isnan(people.xyz).all(axis=-1)
    assert np.array_equal(missing, people.status != PointStatus.OK)
    assert np.array_equal(missing, np.isnan(people.covariance).all(axis=-1))
    assert not people.inliers[missing].any()
    assert np.isnan(people.reprojection_px[missing]).all()
    assert (people.inliers[~missing].sum(axis=-1) >= 2).all()
    detected = np.isfinite(found.detections.xy[..., 0]).transpose(0, 2, 3, 1)
    assert np.array_equal(np.isfinite(people.reprojection_px), detected & ~missing[..., None])
    covariance = people.covariance[~missing]
    assert (covariance[:, [0, 3, 5]] > 0).all()


def test_clean_detections_give_the_truth_back():
    scene = alone()
    found = reconstruct_people(scene.keypoints, scene.rig)
    # Detections are kept in float32: 1000 px are good to 3e-5 px, 1.4e-7 m at 4.5 m.
    assert np.abs(found.people.xyz[:, 0] - scene.xyz[:, 0]).max() < 1e-6
    assert found.threshold_px == 2.0  # never below
    assert (found.people.status == PointStatus.OK).all()


def test_a_given_threshold_and_number_of_views_are_kept():
    scene = alone(noise_px=2.0)
    found = reconstruct_people(scene.keypoints, scene.rig, ReconstructionSettings(threshold_px=50.0))
    assert found.threshold_px == 50.0
    assert found.people.inliers[:, :, BODY].all()
    three = reconstruct_people(scene.keypoints, scene.rig, ReconstructionSettings(min_views=4)).people
    assert set(three.inliers.sum(axis=-1).ravel().tolist()) == {0, 4}
    hands = reconstruct_people(scene.keypoints, scene.rig, ReconstructionSettings(50.0, hand_min_views=5)).people
    assert (hands.status[:, :, BODY] == PointStatus.OK).all()
    assert (hands.status[:, :, 25:] == PointStatus.TOO_FEW_VIEWS).all()


def test_a_hand_that_is_somebody_elses_is_refused():
    scene = alone()
    xyz = scene.xyz.copy()
    xyz[:, :, LEFT_HAND] += (0, 0.6, 0)  # a child's, held out beside it
    xyz[:, :, RIGHT_HAND] += (0, 0.1, 0)  # as far from the wrist as two detectors may disagree
    moved = observe(scene.rig, [xyz[:, 0]])
    people = reconstruct_people(moved.keypoints, scene.rig).people
    assert (people.status[:, :, LEFT_HAND] == PointStatus.IMPLAUSIBLE).all()
    for values in (people.xyz, people.covariance, people.reprojection_px):
        assert np.isnan(values[:, :, LEFT_HAND]).all()
    assert not people.inliers[:, :, LEFT_HAND].any()
    assert (people.status[:, :, RIGHT_HAND] == PointStatus.OK).all()
    assert np.abs(people.xyz[:, 0, RIGHT_HAND] - xyz[:, 0, RIGHT_HAND]).max() < 1e-6


def test_a_finger_that_one_view_puts_elsewhere_leaves_that_view_out():
    scene = alone(noise_px=0.5)
    xy = scene.keypoints.xy.copy()
    index = PERSON.indices(tuple(f"left_index_{n}" for n in range(1, 5)))
    xy[:, 1, :, index] += 60
    people = reconstruct_people(replace(scene.keypoints, xy=xy), scene.rig).people
    assert not people.inliers[:, 0][:, index, 1].any()
    assert people.inliers[:, 0][:, index][..., [0, 2, 3]].all()
    others = np.setdiff1d(LEFT_HAND, index)
    assert people.inliers[:, 0][:, others, 1].all()
    assert np.abs(people.xyz[:, 0, index] - scene.xyz[:, 0, index]).max() < 0.02


def test_hands_without_a_body_and_a_body_without_hands():
    rig = ring_rig(4)
    whole = walk(3, (0, 0), (0.1, 0))
    for skeleton, joints in ((HAND_21, LEFT_HAND), (BODY_25B, BODY)):
        scene = observe(rig, [whole[:, joints]], noise_px=0.5, skeleton=skeleton)
        people = reconstruct_people(scene.keypoints, rig).people
        assert people.xyz.shape == (3, 1, skeleton.joint_count, 3)
        assert np.abs(people.xyz[:, 0] - scene.xyz[:, 0]).max() < 0.02


def test_hand_boxes_and_thresholds_by_hand():
    F, C = 40, 2
    xy = np.full((F, C, 1, 21, 2), np.nan, dtype=np.float32)
    xy[:, 0, 0, :3] = [(100, 100), (140, 180), (120, 110)]  # 40 x 80
    xy[20, 0, 0, :3] = [(100, 100), (101, 101), (100, 100)]  # a heap, in one frame
    xy[:, 1, 0, 0] = (5, 5)  # one point has no box
    sides = hand_box_sides(xy)
    assert sides.shape == (F, C, 1)
    assert sides[[0, 20, 39], 0, 0].tolist() == [80, 1, 80]
    assert np.isnan(sides[:, 1]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limits = hand_thresholds(xy, rig_residual_px=7.0)
    assert limits.shape == (F, 1, C)
    assert limits[:, 0, 0] == pytest.approx(16)  # 0.2 of 80, the heap outvoted
    assert limits[:, 0, 1].tolist() == [7.0] * F
    assert hand_thresholds(xy, rig_residual_px=25.0)[:, 0, 0].tolist() == [25.0] * F


def scaled(rig: Rig, factor: float) -> Rig:
    cameras = [Camera(c.name, c.size, c.matrix, c.distortion, c.rotation, c.translation * factor) for c in rig.cameras]
    return Rig(tuple(cameras), "rig.toml")


@pytest.mark.parametrize("factor", [1000, 100, 0.001])
def test_a_rig_in_other_units_is_noticed(factor):
    scene = alone(noise_px=1.0)
    with pytest.raises(PosekitError, match=r"rig\.toml: people come out .* m across: the rig's units are not metres"):
        reconstruct_people(scene.keypoints, scaled(scene.rig, factor))


def test_a_rig_in_feet_is_suspected():
    scene = alone(noise_px=1.0)
    with pytest.warns(PosekitWarning, match=r"rig\.toml: people come out 5\.\d m across"):
        reconstruct_people(scene.keypoints, scaled(scene.rig, 3.28))


def test_a_single_joint_says_nothing_of_the_units():
    scene = alone(noise_px=1.0)
    nose = PERSON.index("nose")
    xy = np.full_like(scene.keypoints.xy, np.nan)
    xy[..., nose, :] = scene.keypoints.xy[..., nose, :]
    people = triangulate_people(replace(scene.keypoints, xy=xy), scene.rig, ReconstructionSettings()).people
    assert (people.status[..., nose] == PointStatus.OK).all()


def nothing(F: int, C: int, P: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((F, C, P, 67, 2), np.nan), np.zeros((F, C, P, 67))


def test_inputs_that_cannot_be_triangulated_say_why():
    scene = alone(frames=3)
    with pytest.raises(PosekitError, match=r"the scene: has one camera \('cam_2'\)"):
        reconstruct_people(scene.keypoints.select_cameras(("cam_2",)), scene.rig)
    with pytest.raises(PosekitError, match=r"the ring: has no camera 'cam_4'; it has: cam_1, cam_2, cam_3"):
        reconstruct_people(scene.keypoints, scene.rig.select(("cam_1", "cam_2", "cam_3")))
    for people in (0, 2):
        xy, confidence = nothing(3, 4, people)
        empty = Keypoints2D(xy, confidence, scene.rig.names, np.arange(3), PERSON, 30.0, "the scene")
        with pytest.raises(PosekitError, match="the scene: has no detection in any frame of any camera"):
            reconstruct_people(empty, scene.rig)
    xy, confidence = scene.keypoints.xy.copy(), scene.keypoints.confidence.copy()
    xy[:, 1:], confidence[:, 1:] = np.nan, 0
    with pytest.raises(PosekitError, match=r"the scene: nobody is seen by two cameras at once; .* is the ring the rig"):
        reconstruct_people(replace(scene.keypoints, xy=xy, confidence=confidence), scene.rig)


def test_frames_where_somebody_is_away_are_told_as_such():
    people = [walk(12, (-1, 0), (-0.8, 0))[:, BODY], walk(12, (1, 0), (0.8, 0))[:, BODY]]
    scene = observe(ring_rig(4), people, noise_px=1.0, skeleton=BODY_25B)
    confidence = scene.keypoints.confidence.copy()
    confidence[4:8, :, 1] = 0
    found = reconstruct_people(replace(scene.keypoints, confidence=confidence), scene.rig).people
    assert found.xyz.shape[1] == 2
    assert (found.status[4:8, 1] == PointStatus.TOO_FEW_VIEWS).all()
    assert np.isfinite(found.xyz[:, 0]).all()
    assert np.isfinite(found.xyz[8:, 1]).all()


def test_association_settings_are_passed_on():
    people = [walk(12, (-1, 0), (-0.8, 0))[:, BODY], walk(12, (1, 0), (0.8, 0))[:, BODY]]
    scene = observe(ring_rig(4), people, skeleton=BODY_25B)
    confidence = scene.keypoints.confidence.copy()
    confidence[1:, :, 1] = 0
    brief = replace(scene.keypoints, confidence=confidence)
    assert reconstruct_people(brief, scene.rig).people.xyz.shape[1] == 1
    settings = ReconstructionSettings(association=AssociationSettings(min_share=0))
    assert reconstruct_people(brief, scene.rig, settings).people.xyz.shape[1] == 2


def test_sure_detections_beyond_the_picture_ask_whether_the_video_was_resized():
    """Legs that a desk hides are placed below the picture, hardly sure: no reason to ask."""
    scene = alone(noise_px=0.5)
    narrow = Rig(tuple(replace(camera, size=(600, camera.size[1])) for camera in scene.rig.cameras))
    beyond = scene.keypoints.xy[..., 0] > 600
    assert beyond.mean() > 0.2
    with pytest.warns(
        PosekitWarning, match=r"scene: \d+ % of what camera '.*' detected lies beyond its picture of 600 x"
    ):
        reconstruct_people(scene.keypoints, narrow)
    unsure = replace(scene.keypoints, confidence=np.where(beyond, 0.2, scene.keypoints.confidence))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reconstruct_people(unsure, narrow)
