from dataclasses import replace

import numpy as np
import pytest
import torch

from calibration_scenes import shaken
from posekit.calibration.people.bundle_adjustment import _moved, _Problem, _State, adjust_bundle
from posekit.camera import CameraBatch, Rig
from posekit.errors import PosekitError
from posekit.geometry.alignment import align_similarity
from scenes import ring_rig


def scene(cameras: int = 5, count: int = 200, noise_px: float = 0.0, seed: int = 1):
    rng = np.random.default_rng(seed)
    rig = ring_rig(cameras)
    points = rng.uniform((-0.8, -0.8, 0.1), (0.8, 0.8, 1.8), (count, 3))
    xy = np.stack([camera.project(points) for camera in rig.cameras], axis=1)
    return rig, points, xy + rng.normal(0, noise_px, xy.shape)


def adjust(rig: Rig, points, xy, free="pose", noise_px=1.0):
    return adjust_bundle(
        CameraBatch.from_rig(rig),
        torch.as_tensor(points),
        torch.as_tensor(xy),
        torch.ones(xy.shape[:2], dtype=torch.float64),
        noise_px,
        free,
    )


def errors_after_alignment(adjustment, rig: Rig, points) -> tuple[float, float]:
    """Largest distance (m) of a point and of a camera's centre to the truth, worlds laid on each other."""
    found = adjustment.points_world.numpy()
    similarity = align_similarity(found, points)
    centres = similarity.apply(adjustment.cameras.centres_world.numpy())
    true = np.array([camera.centre_world for camera in rig.cameras])
    return np.abs(similarity.apply(found) - points).max(), np.abs(centres - true).max()


@pytest.mark.parametrize("cameras", [2, 5])
def test_clean_pictures_give_the_cameras_back_from_a_bad_start(cameras):
    rig, points, xy = scene(cameras)
    start = shaken(rig, 4.0, 0.1)
    off = points + np.random.default_rng(2).normal(0, 0.1, points.shape)
    found = adjust(start, off, xy)
    point_error, camera_error = errors_after_alignment(found, rig, points)
    # The picture is exact to 1e-13 px; what is left is where the steps stopped: a cost of 1e-7 of the one before.
    assert point_error < 1e-4
    assert camera_error < 1e-4
    assert list(found.costs) == sorted(found.costs, reverse=True)


def test_noise_and_wrong_detections_move_the_cameras_by_what_the_noise_does():
    rig, points, xy = scene(6, 600, noise_px=1.0)
    rng = np.random.default_rng(3)
    wrong = rng.random(xy.shape[:2]) < 0.1
    xy[wrong] += rng.uniform(-300, 300, (int(wrong.sum()), 2))
    found = adjust(shaken(rig, 1.0, 0.03), points + rng.normal(0, 0.02, points.shape), xy)
    _, camera_error = errors_after_alignment(found, rig, points)
    # A pixel is 4.5 mm at 4.5 m; 600 points place a camera a good deal better than one does. Squares would be off by 0.1 m.
    assert camera_error < 0.01


def test_focal_lengths_come_back_where_they_are_free():
    rig, points, xy = scene(5, 400)
    start = shaken(rig, 0.5, 0.01, focal=0.02)
    # 1e-3 px of noise: a prior of 3 % must not hold a focal length that the pictures show this well.
    found = adjust(start, points, xy, "focal", noise_px=1e-3)
    ratio = found.cameras.matrix[:, 0, 0].numpy() / np.array([camera.matrix[0, 0] for camera in rig.cameras])
    held = adjust(start, points, xy, "pose", noise_px=1e-3).cameras.matrix
    assert np.abs(ratio - 1).max() < 1e-3
    assert torch.equal(held, CameraBatch.from_rig(start).matrix)


@pytest.mark.parametrize("free", ["pose", "focal", "all"])
def test_derivatives_are_those_of_finite_differences(free):
    rig, points, xy = scene(3, 4)
    cameras = CameraBatch.from_rig(shaken(rig, 1.0, 0.05))
    state = _State(cameras, torch.from_numpy(points))
    problem = _Problem(torch.from_numpy(xy), torch.ones(xy.shape[:2], dtype=torch.float64), 1.0, free, cameras)
    by_camera, by_point = problem._jacobians(state)
    step = 1e-6
    for k in range(by_camera.shape[-1]):
        change = torch.zeros(3, by_camera.shape[-1], dtype=torch.float64)
        change[:, k] = step
        ahead, behind = (_moved(cameras, sign * change).project(state.points) for sign in (1, -1))
        # Pixels of 1e3 are good to 1e-13 of that; over a step of 2e-6: 1e-4 px. Third derivatives add 1e-12 of 1e3.
        assert torch.allclose((ahead - behind) / (2 * step), by_camera[..., k], rtol=1e-5, atol=1e-3)
    for axis in range(3):
        change = step * torch.eye(3, dtype=torch.float64)[axis]
        slope = (cameras.project(state.points + change) - cameras.project(state.points - change)) / (2 * step)
        assert torch.allclose(slope, by_point[..., axis], rtol=1e-5, atol=1e-3)


def test_a_view_that_sees_nothing_stays_where_it_is():
    rig, points, xy = scene(4, 100)
    xy[:, 2] = np.nan
    start = CameraBatch.from_rig(rig)
    found = adjust(rig, points, xy).cameras
    assert torch.allclose(found.rotation[2], start.rotation[2], atol=1e-9)
    assert torch.allclose(found.translation[2], start.translation[2], atol=1e-9)


def test_too_little_is_refused():
    rig, points, xy = scene(4, 3)
    with pytest.raises(PosekitError, match="12 detections are too few for 26 numbers"):
        adjust(rig, points, xy)
    with pytest.raises(PosekitError, match="0 detections are too few"):
        adjust(rig, points[:0], xy[:0])


def test_what_has_no_k1_cannot_free_it():
    rig, points, xy = scene(3, 50)
    fisheye = Rig(tuple(replace(camera, distortion=camera.distortion[:4], fisheye=True) for camera in rig.cameras))
    with pytest.raises(PosekitError, match="distortion of fisheye and of rational lenses"):
        adjust(fisheye, points, xy, "all")
