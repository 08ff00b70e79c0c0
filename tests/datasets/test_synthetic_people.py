import itertools
from dataclasses import replace

import numpy as np
import pytest

from posekit.camera import Rig
from posekit.datasets.human_motion import ACTIVITIES, pose_body, sample_body, sample_motion_of
from posekit.datasets.people_detector import DetectorHabits, hidden_joints
from posekit.datasets.synthetic_people import PeopleSettings, SyntheticPeople, film_people
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints3D
from posekit.skeleton import get_skeleton
from scenes import looking_camera

CLEAN = DetectorHabits(
    noise_px=0, outlier_share=0, missing_share=0, wrong_hand_share=0, swap_share=0, hidden_share=1, ghost_share=0
)
ONLY_NOISE = replace(CLEAN, noise_px=2.5)


@pytest.fixture(scope="module")
def scene() -> SyntheticPeople:
    return film_people(PeopleSettings(seed=3, frames=120))


def reprojection(scene: SyntheticPeople) -> np.ndarray:
    """What the detections should be, (F, C, P, J, 2)."""
    return np.stack([camera.project(scene.xyz) for camera in scene.rig.cameras], axis=1)


def detected(scene: SyntheticPeople) -> np.ndarray:
    """Detections person by person, (F, C, P, J, 2)."""
    F, C, _ = scene.slots.shape
    frames, cameras = np.arange(F)[:, None, None], np.arange(C)[None, :, None]
    xy = scene.keypoints.xy[frames, cameras, np.maximum(scene.slots, 0)]
    return np.where((scene.slots >= 0)[..., None, None], xy, np.nan)


def test_bones_are_rigid_and_people_have_their_proportions(scene):
    skeleton = scene.keypoints.skeleton
    chains = ("hip knee ankle heel", "ankle big_toe small_toe", "shoulder elbow wrist", "eye ear")
    for side in ("left", "right"):
        for chain in chains:
            names = [f"{side}_{name}" for name in chain.split()]
            for a, b in itertools.pairwise(names):
                length = np.linalg.norm(
                    scene.xyz[:, :, skeleton.index(a)] - scene.xyz[:, :, skeleton.index(b)], axis=-1
                )
                assert np.ptp(length, axis=0).max() < 1e-9, (a, b)
        hand = skeleton.part(f"{side}_hand")
        # The hand is posed in single precision; its palm closes by some millimetres, its phalanges are rigid.
        fingers = np.linalg.norm(np.diff(scene.xyz[:, :, hand[1:]].reshape(120, 2, 5, 4, 3), axis=3), axis=-1)
        assert np.ptp(fingers, axis=0).max() < 1e-5
        assert 0.01 < fingers.min() < fingers.max() < 0.07
    # Stature from the soles: people stand on the floor, and are as tall as grown-ups when they stand.
    tall = scene.xyz[..., 2].max(axis=(0, 2))
    assert ((tall > 1.45) & (tall < 2.05)).all()
    feet = skeleton.indices(tuple(f"{s}_{j}" for s in ("left", "right") for j in ("heel", "big_toe", "small_toe")))
    lowest = scene.xyz[:, :, feet, 2].min(axis=-1)
    assert ((lowest > 0) & (lowest < 0.03)).all()


def test_left_is_left_and_faces_look_ahead(scene):
    skeleton = scene.keypoints.skeleton

    def joint(name: str) -> np.ndarray:
        return scene.xyz[:, :, skeleton.index(name)]

    across = joint("right_hip") - joint("left_hip")
    ahead = np.cross((0, 0, 1.0), across)
    for end, start in (("left_big_toe", "left_heel"), ("right_big_toe", "right_heel"), ("nose", "neck")):
        assert (((joint(end) - joint(start)) * ahead).sum(axis=-1) > 0).mean() > 0.95
    for name in ("shoulder", "knee", "ear"):
        assert (((joint(f"right_{name}") - joint(f"left_{name}")) * across).sum(axis=-1) > 0).mean() > 0.9
    for side in ("left", "right"):
        # A knee bends one way only.
        middle = (joint(f"{side}_hip") + joint(f"{side}_ankle")) / 2
        assert (((joint(f"{side}_knee") - middle) * ahead).sum(axis=-1) > -1e-3).all()
        # The thumb's side of a hand points forward on a hanging arm and up on a bent one; a mirrored hand's would not.
        forward = ahead / np.linalg.norm(ahead, axis=-1, keepdims=True) + (0, 0, 1)
        radial = joint(f"{side}_index_1") - joint(f"{side}_little_1")
        assert ((radial * forward).sum(axis=-1)[:, 1] > 0).all()  # the second person only walks


def test_motion_is_smooth_and_moves(scene):
    # The fastest joint of a walker, waver or squatter moves at less than 8 m/s, and no speed changes at once.
    speed = np.diff(scene.xyz, axis=0) * 30
    assert np.linalg.norm(speed, axis=-1).max() < 8
    assert np.abs(np.diff(speed, axis=0)).max() < 4
    assert np.linalg.norm(np.ptp(scene.xyz[:, 1, 0], axis=0)) > 2  # walked past
    fingertip = scene.keypoints.skeleton.index("left_index_4")
    hand = scene.xyz[:, :, fingertip] - scene.xyz[:, :, scene.keypoints.skeleton.index("left_index_1")]
    assert np.ptp(np.linalg.norm(hand, axis=-1), axis=0).min() > 0.005  # fingers bend
    apart = np.linalg.norm(scene.xyz[:, 0].mean(axis=1) - scene.xyz[:, 1].mean(axis=1), axis=-1)
    assert apart.min() > 0.35


def test_activities_do_what_they_are_called():
    rng = np.random.default_rng(0)
    body = sample_body(rng)
    path = np.array([(0.0, 0), (0, 5), (1, 5), (1, 0)])
    poses = {kind: pose_body(body, sample_motion_of(rng, body, path, (kind,), 60, 30.0)) for kind in ACTIVITIES}
    moved = {kind: np.ptp(pose["mid_hip"], axis=0) for kind, pose in poses.items()}
    assert moved["walk"][1] == pytest.approx(1.1 * 59 / 30, abs=0.15)  # m/s; the hips sway over the feet
    assert moved["squat"][2] > 0.3
    assert moved["wave"].max() < 0.05
    wave = poses["wave"]
    assert max((wave[f"{side}_wrist"] - wave[f"{side}_shoulder"])[:, 2].min() for side in ("left", "right")) > 0
    reach = poses["reach"]
    assert (
        max(np.ptp(np.linalg.norm(reach[f"{s}_wrist"] - reach[f"{s}_shoulder"], axis=-1)) for s in ("left", "right"))
        > 0.1
    )
    # The soles stay where they are in a squat.
    assert np.ptp((poses["squat"]["left_ankle"] + poses["squat"]["right_ankle"])[:, :2], axis=0).max() < 1e-9


def test_detections_are_projections_with_the_noise_of_the_habits():
    clean = film_people(PeopleSettings(seed=1, frames=20, habits=CLEAN))
    inside = np.stack(
        [camera.in_picture(reprojection(clean)[:, c]) for c, camera in enumerate(clean.rig.cameras)], axis=1
    )
    offset = detected(clean) - reprojection(clean)
    assert np.abs(offset[inside]).max() < 1e-4  # float32
    assert np.isnan(offset[~inside]).all()
    assert inside.mean() > 0.9
    noisy = film_people(PeopleSettings(seed=1, frames=40, habits=ONLY_NOISE))
    offset = detected(noisy) - reprojection(noisy)
    skeleton = noisy.keypoints.skeleton
    seen = noisy.visible
    sigma = {name: np.nanmedian(np.abs(offset[:, :, :, skeleton.index(name)][seen[..., skeleton.index(name)]])) / 0.6745
             for name in ("left_elbow", "left_hip", "nose")}  # fmt: skip
    # 2.5 px at 4 m and 1800 px; people are 2.5 to 6 m from the cameras. The spread of sigma leaves the median nearly alone.
    assert 1.8 < sigma["left_elbow"] < 3.4
    assert sigma["nose"] < 0.8 * sigma["left_elbow"] < 0.8 * sigma["left_hip"]
    hidden = ~seen & np.isfinite(offset[..., 0])
    assert np.nanmedian(np.abs(offset[hidden])) > 2.5 * np.nanmedian(np.abs(offset[seen]))


def test_confidence_tells_good_from_bad(scene):
    F, C, _ = scene.slots.shape
    frames, cameras = np.arange(F)[:, None, None], np.arange(C)[None, :, None]
    confidence = scene.keypoints.confidence[frames, cameras, np.maximum(scene.slots, 0)]
    error = np.linalg.norm(detected(scene) - reprojection(scene), axis=-1)
    known = np.isfinite(error) & ~scene.swapped
    sure = np.quantile(confidence[known], [0.2, 0.8])
    assert np.median(error[known & (confidence < sure[0])]) > 2 * np.median(error[known & (confidence > sure[1])])


def test_mistakes_are_as_frequent_as_asked_and_known():
    habits = DetectorHabits(ghost_share=0.1)
    scene = film_people(PeopleSettings(seed=7, frames=150, habits=habits))
    error = np.linalg.norm(detected(scene) - reprojection(scene), axis=-1)
    clean = ~scene.swapped & scene.visible
    body = scene.keypoints.skeleton.part("body")
    far = error[..., body][clean[..., body] & np.isfinite(error[..., body])] > 25
    assert 0.01 < far.mean() < 0.03
    assert 0.02 < scene.swapped.any(axis=-1).mean() < 0.06  # 0.04, in runs of three frames
    # A swap is one view's: never two of a person at once.
    assert scene.swapped.any(axis=-1).sum(axis=1).max() == 1
    mirror = np.arange(67)
    for left, right in scene.keypoints.skeleton.left_right:
        mirror[[left, right]] = right, left
    crossed = np.linalg.norm(detected(scene) - reprojection(scene)[..., mirror, :], axis=-1)
    assert (crossed[scene.swapped] < 25).mean() > 0.9
    present = np.isfinite(scene.keypoints.xy[..., 0]).any(axis=-1).sum(axis=-1)
    assert (present == (scene.slots >= 0).sum(axis=-1)).mean() == pytest.approx(0.9, abs=0.04)
    assert present.max() == 3
    # Nobody keeps to a slot.
    assert 0.2 < (scene.slots[..., 0] == 0).mean() < 0.5


def test_bodies_hide_what_is_behind_them():
    rng = np.random.default_rng(0)
    body = sample_body(rng)
    path = np.array([(0.0, 0), (0, 5), (1, 5), (1, 0)])  # looks along y, and stays
    person = pose_body(body, sample_motion_of(rng, body, path, ("wave",), 2, 30.0))
    behind = {name: points + np.array((0, 1.0, 0)) for name, points in person.items()}
    aside = {name: points + np.array((2.0, 0, 0)) for name, points in person.items()}
    names = ("neck", "left_hip", "right_hip")
    xyz = np.stack([np.stack([who[name] for name in names], axis=1) for who in (person, behind, aside)], axis=1)
    far = looking_camera("front", (0, -8, 1.2), (0, 0, 1.2))
    overhead = looking_camera("above", (0, 0.5, 9), (0, 0.6, 0))
    heights = [body.stature] * 3
    hidden = hidden_joints(Rig((far, overhead)), (person, behind, aside), heights, xyz)
    assert hidden.shape == (2, 2, 3, 3)
    assert hidden[:, 0, 1].all()  # behind the first one's trunk
    assert not hidden[:, 0, 2].any()
    assert not hidden[:, 0, 0].any()  # facing away or to the camera, one's own surface joints are seen
    assert not hidden[:, 1, 1:, 0].any()  # from above nobody stands before anybody's neck


def test_seeds_make_other_scenes_and_the_same_seed_the_same():
    settings = PeopleSettings(seed=11, frames=6, cameras=3)
    one, same, other = film_people(settings), film_people(settings), film_people(replace(settings, seed=12))
    assert np.array_equal(one.keypoints.xy, same.keypoints.xy, equal_nan=True)
    assert np.array_equal(one.xyz, same.xyz)
    assert not np.allclose(one.xyz[0].mean(axis=1), other.xyz[0].mean(axis=1), atol=0.01)
    thighs = {round(float(np.linalg.norm(np.diff(made.xyz[0, 0, [13, 11]], axis=0))), 6) for made in (one, other)}
    assert len(thighs) == 2  # hip to knee: another person


@pytest.mark.parametrize("name", ["BODY_25", "BODY_25+hands", "BODY_25B", "HAND_21"])
def test_other_skeletons_are_made_by_name(name):
    settings = PeopleSettings(seed=2, frames=4, cameras=3, skeleton=name)
    if name == "HAND_21":
        with pytest.raises(PosekitError, match=r"have no wrist, thumb_1, .* which HAND_21 asks for"):
            film_people(settings)
        return
    scene = film_people(settings)
    skeleton = get_skeleton(name)
    assert scene.keypoints.skeleton == skeleton
    reference = film_people(replace(settings, skeleton="BODY_25B+hands"))
    for joint in ("left_wrist", "nose", "right_heel"):
        place, other = skeleton.index(joint), reference.keypoints.skeleton.index(joint)
        assert np.array_equal(scene.xyz[:, :, place], reference.xyz[:, :, other])


def test_what_cannot_be_filmed_says_so():
    for field in ("frames", "cameras", "people"):
        with pytest.raises(PosekitError, match=f"synthetic people: {field} 0: 1 or more"):
            film_people(PeopleSettings(**{field: 0}))
    with pytest.raises(PosekitError, match=r"swap_share 1\.5 is not possible"):
        DetectorHabits(swap_share=1.5)


def test_the_truth_is_a_file_like_any_other(scene, tmp_path):
    scene.truth().save(tmp_path / "truth3d.h5")
    read = Keypoints3D.load(tmp_path / "truth3d.h5")
    assert np.array_equal(read.xyz, scene.xyz)
    assert read.cameras == scene.rig.names
    assert read.skeleton == scene.keypoints.skeleton
