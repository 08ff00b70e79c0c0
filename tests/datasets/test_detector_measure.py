from dataclasses import replace

import numpy as np
import pytest

from posekit.camera import Camera, Rig
from posekit.datasets.detector_measure import measure_detector_noise
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.lifting.skeletons import LIFTER_15
from posekit.point_status import PointStatus

FRAMES, LEG = 200, 0.8
JOINTS = tuple(joint for joint in LIFTER_15.joints if joint != "mid_hip")


def scene() -> tuple[Keypoints3D, Rig]:
    """Somebody 4 m from two cameras whose leg is 0.8 m and 200 px long."""
    place = {"mid_hip": (0, 0, 0), "neck": (0, -0.5, 0), "nose": (0, -0.7, 0)}
    for side, x in (("left", 0.2), ("right", -0.2)):
        place |= {f"{side}_hip": (x, 0, 0), f"{side}_knee": (x, 0.4, 0), f"{side}_ankle": (x, 0.8, 0)}
        place |= {
            f"{side}_shoulder": (2 * x, -0.5, 0),
            f"{side}_elbow": (2 * x, -0.2, 0),
            f"{side}_wrist": (2 * x, 0.1, 0),
        }
    xyz = np.array([place[joint] for joint in LIFTER_15.joints], dtype=np.float64)
    xyz = np.broadcast_to(xyz, (FRAMES, 1, 15, 3)).copy()
    matrix = np.array([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]])
    cameras = tuple(
        Camera(name, (1000, 1000), matrix, np.zeros(4), np.eye(3), np.array([x, 0.0, 4.0]))
        for name, x in (("a", 0), ("b", 0.5))
    )
    shape = xyz.shape[:3]
    truth = Keypoints3D(
        xyz,
        np.zeros((*shape, 6)),
        np.zeros((*shape, 2), bool),
        np.full((*shape, 2), np.nan),
        np.full(shape, PointStatus.OK, dtype=np.uint8),
        ("a", "b"),
        np.arange(FRAMES),
        LIFTER_15,
        30.0,
        "test",
    )
    return truth, Rig(cameras)


def detected(error: np.ndarray, confidence: np.ndarray | float = 0.8) -> tuple[Keypoints2D, Keypoints3D, Rig]:
    """Detections that are so far (F, C, J, 2) px beside the truth, behind somebody else."""
    truth, rig = scene()
    xy = np.stack([camera.project(truth.xyz[:, 0]) for camera in rig.cameras], axis=1) + error
    both = np.stack((xy + 400, xy), axis=2)
    shape = both.shape[:4]
    sure = np.broadcast_to(np.asarray(confidence), (FRAMES, 2, 15))[:, :, None].repeat(2, axis=2)
    found = Keypoints2D(
        both.astype(np.float32),
        np.asarray(sure, dtype=np.float32).reshape(shape),
        rig.names,
        np.arange(FRAMES),
        LIFTER_15,
        30.0,
    )
    return found, truth, rig


def test_noise_that_was_put_in_is_measured() -> None:
    rng = np.random.default_rng(0)
    slow = rng.normal(scale=3.0, size=(1, 2, 15, 2))
    fast = rng.normal(scale=2.0, size=(FRAMES, 2, 15, 2))
    figures = measure_detector_noise(*detected(slow + fast), JOINTS)
    assert figures.views == 2 * FRAMES
    # A leg is 200 px; 56 numbers make the slow part, 11,000 the others.
    assert figures.fast == pytest.approx(2 / 200, rel=0.05)
    assert figures.slow == pytest.approx(3 / 200, rel=0.3)
    assert figures.jitter == pytest.approx(np.hypot(2, 3) / 200, rel=0.3)
    assert (figures.outlier, figures.missing, figures.swapped) == (0, 0, 0)


def test_outliers_missing_joints_and_swaps_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    error = rng.normal(scale=1.0, size=(FRAMES, 2, 15, 2))
    confidence = np.full((FRAMES, 2, 15), 0.9)
    wrist, knee = LIFTER_15.index("left_wrist"), LIFTER_15.index("right_knee")
    error[:40, 0, wrist] += 80  # 0.57 of a leg away: an outlier
    confidence[:40, 0, wrist] = 0.3
    error[:50, 1, knee] = np.nan
    truth, rig = scene()
    for side, other in (("left", "right"), ("right", "left")):
        here, there = LIFTER_15.index(f"{side}_hip"), LIFTER_15.index(f"{other}_hip")
        away = rig.cameras[0].project(truth.xyz[0, 0, there]) - rig.cameras[0].project(truth.xyz[0, 0, here])
        error[:30, 0, here] += away
    confidence[np.isnan(error).any(axis=-1)] = 0
    figures = measure_detector_noise(*detected(error, confidence), JOINTS)
    joints = FRAMES * 2 * 14
    assert figures.missing == pytest.approx(50 / joints)
    assert figures.outlier == pytest.approx(40 / (joints - 50))
    assert figures.swapped == pytest.approx(60 / (joints - 50))
    assert figures.outlier_size == pytest.approx(80 * np.sqrt(2) / 200, rel=0.02)
    assert figures.confidence[0] == pytest.approx(0.9)
    assert figures.confidence[2] == pytest.approx(0.3)


def test_a_joint_that_is_noisier_is_named() -> None:
    error = np.random.default_rng(0).normal(scale=1.0, size=(FRAMES, 2, 15, 2))
    error[:, :, LIFTER_15.indices(("left_hip", "right_hip"))] *= 4
    habits = measure_detector_noise(*detected(error), JOINTS).habits
    assert set(habits) == {"nose", "neck", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"}
    assert max(habits, key=lambda joint: habits[joint]) == "hip"
    # Seven joints of 1 and one of 4: their mean is 11 / 8.
    assert habits["hip"] == pytest.approx(4 / (11 / 8), rel=0.1)


def test_other_frames_and_nobody_are_refused() -> None:
    found, truth, rig = detected(np.zeros((FRAMES, 2, 15, 2)))
    with pytest.raises(PosekitError, match="are not of the same frames"):
        measure_detector_noise(replace(found, frames=found.frames + 1), truth, rig, JOINTS)
    far, truth, rig = detected(np.full((FRAMES, 2, 15, 2), 3000.0))
    with pytest.raises(PosekitError, match="nobody of the triangulation was found"):
        measure_detector_noise(far, truth, rig, JOINTS)
