"""Layout and formulas of `views`, against cameras one by one and against matrices written out, in double precision."""

import numpy as np
import pytest
import torch

from posekit.camera import Camera, CameraBatch, Rig
from posekit.geometry.views import LensCameras, PinholeRows, positive
from scenes import LENS, looking_camera, ring_rig

FISHEYE = (-0.03, 0.008, -0.004, 0.0007)


def skewed(camera: Camera) -> Camera:
    matrix = camera.matrix.copy()
    matrix[0, 1] = 7.0
    return Camera(camera.name, camera.size, matrix, camera.distortion, camera.rotation, camera.translation)


def mixed_rig() -> Rig:
    """A lens, one that folds, a skewed pinhole and a fisheye."""
    first, *_, pinhole = ring_rig(3, distortion=()).cameras
    folding = looking_camera("folding", (3, 3, 2), (0, 0, 1), distortion=(-0.5, 0.1, 0, 0))
    eye = looking_camera("eye", (-3, 2, 1), (0, 0, 1), focal=500)
    eye = Camera(eye.name, eye.size, eye.matrix, FISHEYE, eye.rotation, eye.translation, fisheye=True)
    lens = Camera("lens", first.size, first.matrix, LENS, first.rotation, first.translation)
    return Rig((lens, folding, skewed(pinhole), eye))


def points_in(N: int = 40, G: int = 2, seed: int = 0) -> torch.Tensor:
    """Points (3, G, N) amid the cameras."""
    around = np.random.default_rng(seed).uniform(-0.8, 0.8, (3, G, N))
    return torch.from_numpy(around + np.array((0, 0, 1.0))[:, None, None])


def weights_in(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, shape))


def six(matrices: np.ndarray) -> np.ndarray:
    """(..., 3, 3) to (6, ...)."""
    return np.stack([matrices[..., i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))])


def test_what_counts_as_positive():
    values = torch.tensor([-1e20, -1e-20, -0.0, 0.0, 1e-20, 1.0, 1e20])
    assert positive(values).tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_lenses_project_and_undistort_as_the_cameras_do():
    rig, points = mixed_rig(), points_in()
    cameras = LensCameras.of(CameraBatch.from_rig(rig))
    u, v = cameras.project(points)
    for c, camera in enumerate(rig.cameras):
        expected = camera.project(points.permute(1, 2, 0).numpy())
        assert np.abs(np.stack((u[c], v[c]), axis=-1) - expected).max() < 1e-9, camera.name  # px, in double
    x, y, found = cameras.undistort(u, v)
    assert found.all()
    for c, camera in enumerate(rig.cameras):
        expected = camera.undistort(np.stack((u[c], v[c]), axis=-1))
        # In single precision: some roundings of 1e-7; near the fold of a lens they count several times.
        assert np.abs(np.stack((x[c], y[c]), axis=-1) - expected).max() < 5e-6, camera.name
    assert cameras.in_sight(points).all()


def test_jacobian_normal_matrix_and_gradient_written_out():
    rig, points = mixed_rig(), points_in()
    batch = CameraBatch.from_rig(rig)
    u, v, jacobian = LensCameras.of(batch).project_with_jacobian(points)
    pixels, J = batch.project_with_jacobian(points.permute(1, 2, 0))  # (G, N, C, 2), (G, N, C, 2, 3)
    assert torch.allclose(torch.stack((u, v)).permute(2, 3, 1, 0), pixels, rtol=0, atol=1e-9)
    weight, off = weights_in(len(rig), 2, 40), weights_in(2, len(rig), 2, 40, seed=2)
    w = weight.permute(1, 2, 0)
    normal = torch.einsum("gnc,gncai,gncaj->gnij", w, J, J).numpy()
    gradient = torch.einsum("gnc,gncai,acgn->ign", w, J, off)
    # Entries are 1e5 px^2/m^2 in size.
    assert np.allclose(jacobian.normal_matrix(weight).numpy(), six(normal), rtol=1e-11, atol=1e-6)
    assert torch.allclose(jacobian.gradient(weight, *off), gradient, rtol=1e-11, atol=1e-8)


def test_pinholes_far_from_the_worlds_origin_are_as_good_as_near_it():
    """A map's coordinates: 500 km from their origin, where single precision ends at centimetres."""
    near, far = ring_rig(5, distortion=()), np.array([5e5, -4e5, 100.0])
    moved = Rig(
        tuple(
            Camera(c.name, c.size, c.matrix, c.distortion, c.rotation, c.translation - c.rotation @ far)
            for c in near.cameras
        )
    )
    points = points_in()
    pinholes = PinholeRows.of(CameraBatch.from_rig(moved), torch.float32)
    shifted = points + torch.from_numpy(far)[:, None, None] - pinholes.shift[:, None, None]
    x, y, inverse = pinholes.project(shifted.float())
    for c, camera in enumerate(near.cameras):
        expected = camera.project(points.permute(1, 2, 0).numpy()) - camera.matrix[:2, 2]
        found = np.stack((x[c], y[c]), axis=-1)
        assert np.abs(found - expected).max() < 2e-3, camera.name  # px: single precision in metres of a few
        depth = (camera.rotation @ points.reshape(3, -1).numpy() + camera.translation[:, None])[2]
        assert np.allclose(inverse[c].ravel(), 1 / depth, rtol=1e-5)
    centred = far - pinholes.shift.numpy()
    expected = np.array([camera.centre_world for camera in near.cameras]) + centred
    assert np.abs(pinholes.centres.numpy() - expected).max() < 1e-6


def test_pinhole_normal_equations_written_out():
    rig, points = ring_rig(4, distortion=()), points_in()
    batch = CameraBatch.from_rig(rig)
    pinholes = PinholeRows.of(batch, torch.float64)
    _, J = batch.project_with_jacobian(points.permute(1, 2, 0))
    weight, off = weights_in(4, 2, 40), weights_in(2, 4, 2, 40, seed=2)
    normal, gradient = pinholes.normal_equations(
        *pinholes.project(points - pinholes.shift[:, None, None]), weight, *off
    )
    w = weight.permute(1, 2, 0)
    assert np.allclose(normal, six(torch.einsum("gnc,gncai,gncaj->gnij", w, J, J).numpy()), rtol=1e-11, atol=1e-6)
    assert torch.allclose(gradient, torch.einsum("gnc,gncai,acgn->ign", w, J, off), rtol=1e-11, atol=1e-8)


def test_ray_directions_are_the_cameras():
    rig = ring_rig(3, distortion=())
    x, y = weights_in(2, 3, 2, 40) - 0.5
    directions = PinholeRows.of(CameraBatch.from_rig(rig), torch.float64).ray_directions(x, y)
    for c, camera in enumerate(rig.cameras):
        normalised = np.stack((x[c], y[c]), axis=-1)
        pixels = normalised * camera.matrix[[0, 1], [0, 1]] + camera.matrix[:2, 2]
        expected = np.moveaxis(camera.ray_directions(pixels), -1, 0)
        assert np.allclose(directions[:, c].numpy(), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("place", ["behind", "beside", "beyond the fold", "at the centre"])
def test_what_is_not_in_sight_is_finite_and_in_no_picture(place):
    camera = looking_camera("folding", (3, 0, 1), (0, 0, 1), distortion=(-0.5, 0.1, 0, 0))
    ahead, aside = np.array([-1.0, 0, 0]), np.array([0, 1.0, 0])
    point = (
        camera.centre_world
        + {
            "behind": -2 * ahead + 0.1 * aside,
            "beside": 3 * aside,
            "beyond the fold": ahead + 2.5 * aside,
            "at the centre": 0 * ahead,
        }[place]
    )
    cameras = LensCameras.of(CameraBatch.from_rig(Rig((camera,))))
    points = torch.from_numpy(point).reshape(3, 1, 1)
    assert not cameras.in_sight(points).any()
    pixels = torch.stack(cameras.project(points))
    u, v, jacobian = cameras.project_with_jacobian(points)
    assert torch.equal(torch.stack((u, v)), pixels)
    assert torch.isfinite(pixels).all()
    assert torch.isfinite(jacobian.normal_matrix(torch.ones(1, 1, 1, dtype=torch.float64))).all()
    if place != "at the centre":  # which is in the middle of every picture, or in none
        assert not camera.in_picture(pixels[:, 0, 0, 0].numpy()).any()
