import numpy as np
import pytest

from posekit.datasets.detector_noise import DetectorNoise, detect
from posekit.datasets.virtual_views import FOCAL_PX, VirtualCameras, VirtualViews, film
from posekit.errors import PosekitError
from posekit.lifting.skeletons import LIFTER_15

SILENT = DetectorNoise(
    jitter=0, outlier_share=0, missing_share=0, lost_limb_share=0, cut_share=0, swap_share=0, middles_share=0
)


class Still:
    """Poses to film, the same ones always."""

    skeleton = LIFTER_15

    def __init__(self, poses: np.ndarray) -> None:
        self.poses = poses

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return np.repeat(self.poses, -(-count // len(self.poses)), axis=0)[:count]


def poses(count: int = 5, seed: int = 0) -> np.ndarray:
    xyz = np.random.default_rng(seed).normal(scale=0.3, size=(count, 15, 3))
    xyz[:, 0] = 0
    return xyz


def change(**values: float) -> DetectorNoise:
    return DetectorNoise(**{**vars(SILENT), **values})


def test_a_view_is_the_projection_of_its_truth() -> None:
    source = VirtualViews(Still(poses()), noise=None)
    paired = source.draw_pairs(300, np.random.default_rng(0))
    np.testing.assert_array_equal(paired.views.xy, paired.clean_xy)
    np.testing.assert_array_equal(paired.views.weight, 1)
    # The depth of the hips is focal / px_per_metre; their place in the picture says where they are beside the axis.
    depth = FOCAL_PX / paired.px_per_metre[:, None]
    aside = paired.clean_xy[:, 0] / paired.px_per_metre[:, None]
    camera = paired.xyz + np.concatenate((aside, depth), axis=-1)[:, None]
    np.testing.assert_allclose(paired.clean_xy, FOCAL_PX * camera[..., :2] / camera[..., 2:], atol=0.05)  # px, float32
    # The pose is the same, but for a rotation.
    expected = np.linalg.norm(source.poses.draw(300, None), axis=-1)
    np.testing.assert_allclose(np.linalg.norm(paired.xyz, axis=-1), expected, atol=1e-5)


def test_a_level_camera_sees_heads_above_and_the_left_hand_of_who_looks_at_it_on_the_right() -> None:
    cameras = VirtualCameras(elevation=(0.0, 0.0), roll=0.0, off_axis=(0.0, 0.0), distance=(4.0, 4.0))
    up = np.zeros((1, 1, 15, 3), dtype=np.float32)
    # mid_hip, a head above it, a front and a left side: looks along x, left is y, up is z.
    up[0, 0, 1], up[0, 0, 2], up[0, 0, 3] = (0, 0, 1), (1, 0, 0), (0, 1, 0)
    xyz, xy, px_per_metre = film(np.repeat(up, 400, axis=0), cameras, np.random.default_rng(0))
    np.testing.assert_allclose(px_per_metre, 250, rtol=1e-5)
    np.testing.assert_allclose(xy[:, 0, 1], [[0, -250]] * 400, atol=1e-3)
    np.testing.assert_allclose(xyz[:, 0, 1], [[0, -1, 0]] * 400, atol=1e-6)
    facing = xyz[:, 0, 2, 2] < -0.9
    assert 20 < facing.sum() < 200
    assert (xy[facing, 0, 3, 0] > 200).all()
    # From all sides.
    azimuth = np.arctan2(xyz[:, 0, 2, 0], xyz[:, 0, 2, 2])
    assert np.histogram(azimuth, bins=8, range=(-np.pi, np.pi))[0].min() > 20
    # No reflection.
    np.testing.assert_allclose(np.linalg.det(xyz[:, 0, 1:4]), np.linalg.det(up[0, 0, 1:4]), atol=1e-5)


def test_a_camera_above_looks_down() -> None:
    cameras = VirtualCameras(elevation=(0.5, 0.0), roll=0.0, off_axis=(0.0, 0.0))
    up = np.zeros((8, 1, 15, 3), dtype=np.float32)
    up[:, 0, 1] = (0, 0, 1)
    xyz, _, _ = film(up, cameras, np.random.default_rng(0))
    # The head is nearer to a camera above: -sin of the elevation along the axis.
    np.testing.assert_allclose(xyz[:, 0, 1], [[0, -np.cos(0.5), -np.sin(0.5)]] * 8, atol=1e-6)


def test_elevations_and_distances_are_within_their_limits() -> None:
    cameras = VirtualCameras(elevation=(0.2, 0.6), lowest=-0.3, highest=0.9, roll=0.0, off_axis=(0.0, 0.0))
    up = np.zeros((2000, 1, 15, 3), dtype=np.float32)
    up[:, 0, 1] = (0, 0, 1)
    xyz, _, px_per_metre = film(up, cameras, np.random.default_rng(0))
    elevation = np.arctan2(-xyz[:, 0, 1, 2], -xyz[:, 0, 1, 1])
    assert elevation.min() == pytest.approx(-0.3, abs=1e-3)
    assert elevation.max() == pytest.approx(0.9, abs=1e-3)
    distance = FOCAL_PX / px_per_metre[:, 0]
    assert distance.min() > 2 - 1e-3
    assert distance.max() < 12 + 1e-3
    # As many within 2 to 4.9 m as beyond: the ratio counts. Four standard deviations of 2,000.
    assert (distance < np.sqrt(24)).mean() == pytest.approx(0.5, abs=0.045)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"distance": (0.5, 3.0)}, "found distances 0.5 to 3 m"),
        ({"lowest": 1.0, "highest": 0.0}, "found elevations 1 to 0 rad"),
        ({"off_axis": (2.0, 0.0)}, "found off_axis"),
    ],
)
def test_impossible_cameras_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(PosekitError, match=message):
        VirtualCameras(**values)


def picture(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    xy = np.random.default_rng(1).normal(scale=100, size=(1, 1, 15, 2)).repeat(count, axis=0).astype(np.float32)
    return xy, np.full((count, 1), 200, dtype=np.float32)


def test_a_silent_detector_says_what_is_true() -> None:
    xy, leg = picture(10)
    found, confidence = detect(xy, leg, LIFTER_15, SILENT, np.random.default_rng(0))
    np.testing.assert_array_equal(found, xy)
    assert confidence.min() > 0.2


def test_jitter_is_a_share_of_the_leg() -> None:
    xy, leg = picture()
    found, _ = detect(xy, leg, LIFTER_15, change(jitter=0.02, pose_spread=0.0), np.random.default_rng(0))
    ankle = found[:, 0, LIFTER_15.index("left_ankle")] - xy[:, 0, LIFTER_15.index("left_ankle")]
    # 8,000 numbers: the standard deviation of theirs is 0.8 % of it.
    assert ankle.std() == pytest.approx(0.02 * 200, rel=0.04)
    spread, _ = detect(xy, leg, LIFTER_15, change(jitter=0.02, pose_spread=0.5), np.random.default_rng(0))
    level = np.abs(spread - xy).mean(axis=(1, 2, 3))
    assert level.std() / level.mean() > 0.4


def test_part_of_the_jitter_stays_through_a_motion() -> None:
    xy = np.zeros((3000, 3, 15, 2), dtype=np.float32)
    leg = np.full((3000, 3), 200, dtype=np.float32)
    found, _ = detect(xy, leg, LIFTER_15, change(jitter=0.02, pose_spread=0.0, slow=0.7), np.random.default_rng(0))
    ankle = found[:, :, LIFTER_15.index("left_ankle"), 0]
    assert np.corrcoef(ankle[:, 0], ankle[:, 2])[0, 1] == pytest.approx(0.7, abs=0.05)
    assert ankle.std() == pytest.approx(4, rel=0.05)


def test_missing_joints_are_nan_with_confidence_0() -> None:
    xy, leg = picture()
    found, confidence = detect(xy, leg, LIFTER_15, change(missing_share=0.1), np.random.default_rng(0))
    missing = np.isnan(found).any(axis=-1)
    np.testing.assert_array_equal(confidence == 0, missing)
    assert missing.mean() == pytest.approx(0.1, abs=0.01)  # 60,000 of them


def test_lost_limbs_lose_their_ends_first_and_pictures_end_below() -> None:
    xy, leg = picture()
    found, _ = detect(xy, leg, LIFTER_15, change(lost_limb_share=1.0), np.random.default_rng(0))
    missing = dict(zip(LIFTER_15.joints, np.isnan(found[:, 0, :, 0]).T, strict=True))
    for end, above in (("wrist", "elbow"), ("ankle", "knee")):
        for side in ("left", "right"):
            assert missing[f"{side}_{end}"].mean() == pytest.approx(0.25, abs=0.03)
            assert not (missing[f"{side}_{above}"] & ~missing[f"{side}_{end}"]).any()
            assert missing[f"{side}_{above}"].mean() == pytest.approx(0.125, abs=0.03)
    found, _ = detect(xy, leg, LIFTER_15, change(cut_share=1.0), np.random.default_rng(0))
    lost = {joint for n, joint in enumerate(LIFTER_15.joints) if np.isnan(found[:, 0, n]).all()}
    assert lost == {"left_ankle", "right_ankle"}


def test_swaps_exchange_whole_limbs() -> None:
    xy, leg = picture()
    found, _ = detect(xy, leg, LIFTER_15, change(swap_share=1.0), np.random.default_rng(0))
    kinds = []
    for words in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")):
        exchanged = []
        for word in words:
            left, right = (LIFTER_15.index(f"{side}_{word}") for side in ("left", "right"))
            exchanged.append((found[:, 0, left] == xy[:, 0, right]).all(axis=-1))
        np.testing.assert_array_equal(exchanged[0], exchanged[1])
        np.testing.assert_array_equal(exchanged[0], exchanged[2])
        kinds.append(exchanged[0])
    legs, arms = kinds
    assert (legs | arms).all()
    assert (legs & ~arms).mean() == pytest.approx(0.4, abs=0.035)
    assert (arms & ~legs).mean() == pytest.approx(0.3, abs=0.035)


def test_middles_follow_what_they_are_the_middles_of() -> None:
    xy, leg = picture(200)
    noise = change(middles_share=1.0, missing_share=0.2, jitter=0.05)
    found, _ = detect(xy, leg, LIFTER_15, noise, np.random.default_rng(0))
    ends = LIFTER_15.indices(("left_hip", "right_hip"))
    np.testing.assert_allclose(found[:, 0, 0], found[:, 0, ends].mean(axis=1), rtol=1e-5, atol=1e-3)


def test_outliers_are_far_and_less_sure() -> None:
    xy, leg = picture()
    noise = change(jitter=0.01, pose_spread=0.0, outlier_share=0.1, outlier=0.5)
    found, confidence = detect(xy, leg, LIFTER_15, noise, np.random.default_rng(0))
    away = np.linalg.norm(found - xy, axis=-1) / 200
    far = away > 0.1
    # Of a normal error of 0.5 in two axes 2 % stay within 0.1.
    assert far.mean() == pytest.approx(0.098, abs=0.01)
    assert confidence[far].mean() < confidence[~far].mean() - 0.2


def test_noise_that_cannot_be_is_refused() -> None:
    with pytest.raises(PosekitError, match=r"detector noise: swap_share 1.5 is not possible"):
        DetectorNoise(swap_share=1.5)
    with pytest.raises(PosekitError, match="detector noise: jitter -1 is not possible"):
        DetectorNoise(jitter=-1)


def test_single_poses_make_no_motions() -> None:
    with pytest.raises(PosekitError, match="Still has single poses only"):
        VirtualViews(Still(poses())).draw_motions(2, 3, np.random.default_rng(0))
