"""The lenses themselves; how rigs of them project and undistort is in test_projection."""

import cv2
import numpy as np
import pytest
import torch

from posekit.geometry.lens import Lens, distort, distort_with_jacobian, fold_radius2, undistort

LENSES = {
    "none": ((0,) * 8, False),
    "machine vision": ((-0.12, 0.06, 8e-4, -5e-4, -0.01, 0, 0, 0), False),
    "rational": ((0.4, -0.1, 5e-4, -3e-4, 0.02, 0.7, -0.05, 0.01), False),
    "fisheye": ((-0.03, 0.008, -0.004, 0.0007, 0, 0, 0, 0), True),
}
NAMES = list(LENSES)


def lens_of(*names: str) -> Lens:
    coefficients, fisheye = zip(*(LENSES[name] for name in names), strict=True)
    return Lens.of(torch.tensor(coefficients, dtype=torch.float64), torch.tensor(fisheye) if any(fisheye) else None)


def opencvs_distort(name: str, xy: np.ndarray) -> np.ndarray:
    """Project points (N, 2) at depth 1 with a camera matrix of ones."""
    coefficients, fisheye = LENSES[name]
    points = np.column_stack((xy, np.ones(len(xy))))[:, None]
    zero = np.zeros(3)
    if fisheye:
        return cv2.fisheye.projectPoints(points, zero, zero, np.eye(3), np.array(coefficients[:4]))[0][:, 0]
    return cv2.projectPoints(points, zero, zero, np.eye(3), np.array(coefficients))[0][:, 0]


def grid(reach: float = 0.7, count: int = 15) -> torch.Tensor:
    line = torch.linspace(-reach, reach, count, dtype=torch.float64)
    return torch.cartesian_prod(line, line)


def test_a_mixed_rig_bends_as_opencvs_lenses_do():
    x, y = grid().mT[..., None]
    u, v = distort(x, y, lens_of(*NAMES))
    for c, name in enumerate(NAMES):
        expected = opencvs_distort(name, grid().numpy())
        found = torch.stack((u[:, c], v[:, c]), dim=-1).numpy()
        assert np.abs(found - expected).max() < 1e-14, name  # both in double, at most 1 in size


@pytest.mark.parametrize("name", NAMES)
def test_the_jacobian_is_that_of_autograd(name):
    lens = lens_of(name).reshaped()
    x, y = (values.clone().requires_grad_() for values in grid(count=6).mT)
    u, v = distort(x, y, lens)
    expected = [*torch.autograd.grad(u.sum(), (x, y), retain_graph=True), *torch.autograd.grad(v.sum(), (x, y))]
    *bent, jacobian = distort_with_jacobian(x.detach(), y.detach(), lens)
    assert torch.equal(bent[0], u.detach())
    assert torch.equal(bent[1], v.detach())
    for found, derivative in zip(jacobian, expected, strict=True):
        assert torch.allclose(found, derivative, rtol=0, atol=1e-13)  # rounding of sums of a dozen terms of size 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_undistorting_goes_back_and_says_what_it_could_not_find(dtype):
    lens = lens_of(*NAMES).to(dtype)
    x, y = grid().to(dtype).mT[..., None]
    u, v = distort(x, y, lens)
    again_x, again_y, found = undistort(u, v, lens)
    assert found.all()
    limit = 1e-13 if dtype == torch.float64 else 2e-6  # some tens of roundings
    assert torch.maximum((again_x - x).abs(), (again_y - y).abs()).max() < limit
    _, _, found = undistort(torch.full_like(u, torch.nan), v, lens)
    assert not found.any()
    # 1.7 focal lengths from the middle are 97 degrees on an equidistant fisheye: behind it.
    side = torch.tensor([[1.7]], dtype=dtype)
    _, _, found = undistort(side, torch.zeros_like(side), lens)
    assert found[0].tolist() == [True, False, True, False]


def test_one_point_that_cannot_be_found_does_not_keep_others_from_it():
    lens = lens_of("machine vision")
    u = torch.tensor([[0.3], [float("inf")], [1e200], [float("nan")]], dtype=torch.float64)
    x, y, found = undistort(u, torch.zeros_like(u), lens)
    assert found[:, 0].tolist() == [True, False, False, False]
    assert float(distort(x[:1], y[:1], lens)[0]) == pytest.approx(0.3, abs=1e-14)


def test_folds_by_hand():
    """Barrel 1 - r^2 / 3 ends at r = 1, u = r / (1 - r^2 / 10) has its pole at the root of 10, 1 + r^2 never ends."""
    coefficients = torch.zeros(4, 8, dtype=torch.float64)
    coefficients[0, 0] = -1 / 3
    coefficients[1, 5] = -0.1
    coefficients[2, 0] = 1.0
    coefficients[3, 0] = -1 / 3  # the angle's 1 - t^2 of a fisheye: to 1 rad
    fisheye = torch.tensor([False, False, False, True])
    fold = fold_radius2(coefficients, fisheye).sqrt()
    # Looked for in steps of 0.004 in the radius, and of 0.8 mrad in the angle, of which the tangent's slope is 3.4.
    assert fold[:2].tolist() == pytest.approx([1, 10**0.5], abs=5e-3)
    assert torch.isinf(fold[2])
    assert float(fold[3]) == pytest.approx(np.tan(1), abs=3e-3)


def test_lenses_that_never_fold_cost_no_look_at_it():
    assert lens_of("none").fold_radius2 is None
    assert lens_of("none").fisheye is None
    assert not lens_of("machine vision").rational
    assert lens_of("rational").rational
