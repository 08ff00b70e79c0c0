import cv2
import numpy as np
import pytest
import torch

from posekit.geometry.projection import (
    distort_normalised,
    fold_radius2,
    points_in_cameras,
    project_points,
    project_with_jacobian,
    undistort_normalised,
)

# OpenCV's order k1 k2 p1 p2 k3 k4 k5 k6.
LENSES = {
    "none": (),
    "barrel, 4": (-0.28, 0.09, 1.2e-3, -8e-4),
    "webcam, 5": (0.12, -0.25, -6e-4, 4e-4, 0.11),
    "wide, 8": (2.1, 0.6, 1e-4, -2e-4, 0.03, 2.4, 1.1, 0.12),
}
MATRIX = np.array([[1240.0, 0, 803.5], [0, 1255, 588.2], [0, 0, 1]])
POSES = (((0.3, -0.8, 0.2), (0.1, -0.3, 4.0)), ((-1.1, 0.6, -0.4), (-0.4, 0.2, 5.5)))


def padded(coefficients: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor([*coefficients, *[0.0] * (8 - len(coefficients))], dtype=torch.float64)


def cameras(coefficients: tuple[float, ...]) -> tuple[torch.Tensor, ...]:
    """matrix, distortion, rotation, translation of two cameras."""
    rotations = np.stack([cv2.Rodrigues(np.array(rotation))[0] for rotation, _ in POSES])
    return (
        torch.from_numpy(np.stack([MATRIX, MATRIX])),
        padded(coefficients).expand(2, 8),
        torch.from_numpy(rotations),
        torch.tensor([translation for _, translation in POSES], dtype=torch.float64),
    )


def world_points(count: int = 200) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(-1.2, 1.2, (count, 3)))


@pytest.mark.parametrize("coefficients", LENSES.values(), ids=LENSES)
def test_projection_is_opencvs(coefficients):
    points = world_points()
    pixels = project_points(points, *cameras(coefficients))
    for c, (rotation, translation) in enumerate(POSES):
        expected, _ = cv2.projectPoints(
            points.numpy(), np.array(rotation), np.array(translation), MATRIX, np.array(coefficients)
        )
        # Both compute in float64; pixels of 1e3 after two dozen operations are good to 1e-11.
        assert np.abs(pixels[:, c].numpy() - expected[:, 0]).max() < 1e-9


@pytest.mark.parametrize("coefficients", LENSES.values(), ids=LENSES)
def test_jacobian_is_that_of_central_differences(coefficients):
    points, setup = world_points(40), cameras(coefficients)
    pixels, jacobian = project_with_jacobian(points, *setup)
    assert torch.allclose(pixels, project_points(points, *setup), rtol=0, atol=1e-10)
    step = 1e-5
    for axis in range(3):
        moved = torch.zeros(3, dtype=torch.float64)
        moved[axis] = step
        slope = (project_points(points + moved, *setup) - project_points(points - moved, *setup)) / (2 * step)
        # Rounding: 1e3 px * 2e-16 / 1e-5 m = 2e-8 px/m, times operations; the cubic term is as small. Slopes are 300 px/m.
        assert (jacobian[..., axis] - slope).abs().max() < 1e-5


def test_skew_is_in_projection_and_jacobian():
    matrix, *rest = cameras(LENSES["barrel, 4"])
    skewed = matrix.clone()
    skewed[:, 0, 1] = 25.0
    points = world_points(10)
    straight, slope = project_with_jacobian(points, matrix, *rest)
    pixels, jacobian = project_with_jacobian(points, skewed, *rest)
    y = (straight[..., 1] - MATRIX[1, 2]) / MATRIX[1, 1]
    assert torch.allclose(pixels[..., 0], straight[..., 0] + 25 * y, rtol=0, atol=1e-10)
    assert torch.equal(pixels[..., 1], straight[..., 1])
    assert torch.allclose(jacobian[..., 0, :], slope[..., 0, :] + 25 / MATRIX[1, 1] * slope[..., 1, :], atol=1e-9)


def test_points_beside_and_behind_a_camera_are_nan_and_nothing_else_is():
    setup = cameras(LENSES["barrel, 4"])
    centres = -torch.einsum("cji,cj->ci", setup[2], setup[3])
    forward = setup[2][:, 2]
    points = torch.stack((centres[0] - forward[0], centres[0], centres[0] + forward[0], torch.full((3,), torch.nan)))
    depth = points_in_cameras(points, *setup[2:])[..., 2]
    pixels, jacobian = project_with_jacobian(points, *setup)
    in_front = depth > 1e-9
    assert in_front[:, 0].tolist() == [False, False, True, False]
    assert torch.equal(pixels.isfinite().all(dim=-1), in_front)
    assert torch.equal(jacobian.isfinite().all(dim=(-1, -2)), in_front)
    assert torch.equal(project_points(points, *setup).isfinite().all(dim=-1), in_front)


def test_a_lens_folds_where_its_radial_function_turns_back():
    # r (1 + k1 r^2) has its summit at r^2 = -1 / (3 k1).
    distortion = torch.stack([padded(values) for values in ((-0.3,), (-0.1, 0, 0.01, 0.01), (), LENSES["wide, 8"])])
    radius = fold_radius2(distortion).sqrt()
    assert radius[0].item() == pytest.approx((1 / 0.9) ** 0.5, abs=0.004)
    assert radius[1].item() == pytest.approx((1 / 0.3) ** 0.5, abs=0.004)
    assert radius[2:].isinf().all()


def test_what_is_beyond_the_fold_is_not_put_into_the_picture():
    matrix, distortion, rotation, translation = cameras((-0.3, 0, 0, 0))
    reach = fold_radius2(distortion)
    aside = torch.tensor([[0.5, 0, 1.0], [1.0, 0, 1], [1.1, 0, 1], [1.8, 0, 1]], dtype=torch.float64)
    points = (aside - translation[0]) @ rotation[0]
    free, bound = (project_points(points, matrix, distortion, rotation, translation, r)[:, 0] for r in (None, reach))
    assert free[3, 0] < free[0, 0]  # 61 degrees aside, and yet nearer to the middle than what is 27 degrees aside
    assert torch.equal(bound[:2], free[:2])
    assert bound[2:].isnan().all()
    pixels, jacobian = project_with_jacobian(points, matrix, distortion, rotation, translation, reach)
    assert torch.allclose(pixels[:2, 0], bound[:2], atol=1e-9)
    assert pixels[2:, 0].isnan().all()
    assert jacobian[2:, 0].isnan().all()


@pytest.mark.parametrize("shape", [(), (0,), (2, 3, 4)])
def test_batches_of_any_shape(shape):
    setup = cameras(LENSES["webcam, 5"])
    points = world_points(24)[: int(np.prod(shape))].reshape(*shape, 3)
    pixels, jacobian = project_with_jacobian(points, *setup)
    assert pixels.shape == (*shape, 2, 2)
    assert jacobian.shape == (*shape, 2, 2, 3)
    assert torch.equal(project_points(points, *setup).reshape(-1, 2, 2), project_points(points.reshape(-1, 3), *setup))


def test_gradient_reaches_the_points():
    points = world_points(5).requires_grad_()
    setup = cameras(LENSES["wide, 8"])
    project_points(points, *setup)[:, 0, 0].sum().backward()
    _, jacobian = project_with_jacobian(points.detach(), *setup)
    assert torch.allclose(points.grad, jacobian[:, 0, 0], rtol=1e-9)


def picture_points(reach: float) -> torch.Tensor:
    """Normalised coordinates in a disc of radius `reach`, its rim and its middle among them."""
    radius = torch.linspace(0, reach, 41, dtype=torch.float64)
    angle = torch.linspace(0, 2 * torch.pi, 25, dtype=torch.float64)
    return torch.stack((torch.outer(radius, angle.cos()), torch.outer(radius, angle.sin())), dim=-1).reshape(-1, 2)


# How far from the middle each lens is used: up to 45 degrees, 60 for the wide one.
REACH = {"none": 1.0, "barrel, 4": 0.95, "webcam, 5": 0.8, "wide, 8": 1.7}


@pytest.mark.parametrize("lens", LENSES)
def test_undistorting_takes_the_lens_away(lens):
    points, distortion = picture_points(REACH[lens]), padded(LENSES[lens])
    back = undistort_normalised(distort_normalised(points, distortion), distortion)
    # The steepest of them magnifies rounding errors of 1e-16 tenfold on the way back.
    assert (back - points).abs().max() < 1e-13


@pytest.mark.parametrize("lens", LENSES)
def test_undistorting_is_opencvs(lens):
    points = distort_normalised(picture_points(REACH[lens] * 0.8), padded(LENSES[lens])).numpy()
    pixels = points * (1240, 1255) + (803.5, 588.2)
    # OpenCV's own five fixed-point iterations are not enough to be an oracle.
    strict = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 2000, 1e-14)
    undistort = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)  # one function since OpenCV 5
    expected = undistort(pixels, MATRIX, np.array(LENSES[lens]), R=np.eye(3), P=np.eye(3), criteria=strict)[:, 0]
    found = undistort_normalised(torch.from_numpy(points), padded(LENSES[lens])).numpy()
    # OpenCV stops by pixels: 1e-9 of the focal length is a millionth of one.
    assert np.abs(found - expected).max() < 1e-9


def test_undistorting_in_float32():
    points, distortion = picture_points(0.8).float(), padded(LENSES["barrel, 4"]).float()
    back = undistort_normalised(distort_normalised(points, distortion), distortion)
    assert back.dtype == torch.float32
    assert (back - points).abs().max() < 2e-6  # 2^-24 with two dozen operations, and the slope near the rim


@pytest.mark.parametrize(
    ("distortion", "fold"),
    [
        # d/dr r (1 - 0.3 r^2) = 0 at r = 1 / sqrt(0.9).
        ((-0.3,), 0.9**-0.5),
        # d/dr r (1 - 0.35 r^2 + 0.12 r^4 - 0.02 r^6) = 1 - 1.05 s + 0.6 s^2 - 0.14 s^3 with s = r^2.
        (
            (-0.35, 0.12, 0, 0, -0.02),
            np.sqrt(min(r.real for r in np.roots((-0.14, 0.6, -1.05, 1)) if abs(r.imag) < 1e-9)),
        ),
        # Folds at 1.03 and unfolds again at 1.38: beyond it the model comes back over the same pixels.
        ((-0.5, 0.1), np.sqrt(min(np.roots((0.5, -1.5, 1))))),
    ],
)
def test_nothing_comes_from_beyond_the_fold(distortion, fold):
    distortion = padded(distortion)
    farthest = float(distort_normalised(torch.tensor([fold, 0.0], dtype=torch.float64), distortion)[0])
    angle = torch.linspace(0, 2 * torch.pi, 31, dtype=torch.float64)
    ring = torch.stack((angle.cos(), angle.sin()), dim=-1)
    beyond = torch.linspace(1.001, 4, 60, dtype=torch.float64)[:, None, None] * farthest * ring
    assert undistort_normalised(beyond, distortion).isnan().all()
    inside = undistort_normalised(0.98 * farthest * ring, distortion)
    assert inside.isfinite().all()
    assert (inside.norm(dim=-1) < fold).all()


def test_missing_and_infinite_pixels_are_nan():
    points = torch.tensor([[torch.nan, 0.1], [torch.inf, 0.1], [0.1, -torch.inf], [0.1, 0.2]], dtype=torch.float64)
    found = undistort_normalised(points, padded(LENSES["barrel, 4"]))
    assert found.isnan().all(dim=-1).tolist() == [True, True, True, False]


def test_every_camera_has_its_own_lens():
    distortion = torch.stack([padded(lens) for lens in LENSES.values()])
    points = picture_points(0.7)[:, None].expand(-1, len(LENSES), 2)
    together = distort_normalised(points, distortion)
    for c, lens in enumerate(LENSES.values()):
        assert torch.equal(together[:, c], distort_normalised(points[:, c], padded(lens)))
    assert (undistort_normalised(together, distortion) - points).abs().max() < 1e-13  # as above
