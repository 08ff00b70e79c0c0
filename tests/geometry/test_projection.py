from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from posekit.geometry import projection
from posekit.geometry.lens import Lens, fold_radius2
from posekit.geometry.projection import distort_normalised, points_in_cameras, undistort_normalised

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


def lens_of(distortion: torch.Tensor, reach: torch.Tensor | None, fisheye: torch.Tensor | None) -> Lens:
    """The lenses, bounded at `reach`; unbounded without it."""
    return replace(Lens.of(distortion, fisheye), fold_radius2=reach)


def project_points(points, matrix, distortion, rotation, translation, reach=None, fisheye=None):
    return projection.project_points(points, matrix, lens_of(distortion, reach, fisheye), rotation, translation)


def project_with_jacobian(points, matrix, distortion, rotation, translation, reach=None, fisheye=None):
    return projection.project_with_jacobian(points, matrix, lens_of(distortion, reach, fisheye), rotation, translation)


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


# k1 k2 k3 k4 of cv2.fisheye: equidistant, an action camera's, one that stretches its rim.
FISHEYES = {
    "equidistant": (0.0, 0.0, 0.0, 0.0),
    "action camera": (-0.02, 0.012, -0.004, 0.0008),
    "stretched": (0.08, 0.02, 0.004, 0.001),
}
ALL = torch.tensor([True, True])


def directions(farthest: float) -> np.ndarray:
    """Points 3 m away in all directions up to an angle from the axis, (N, 3), the axis itself among them."""
    angle, around = np.meshgrid(np.linspace(0, farthest, 60), np.linspace(0, 2 * np.pi, 25))
    sides = np.sin(angle) * np.cos(around), np.sin(angle) * np.sin(around), np.cos(angle)
    return 3 * np.stack(sides, axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("lens", FISHEYES.values(), ids=FISHEYES)
def test_fisheyes_project_as_opencvs(lens):
    setup = cameras(lens)
    for c, (rotation, translation) in enumerate(POSES):
        # To 89.9 degrees: the fisheye module of OpenCV divides by z as well, and both lose digits with it.
        points = (torch.from_numpy(directions(np.radians(89.9))) - setup[3][c]) @ setup[2][c]
        pixels = project_points(points, *setup, fisheye=ALL)[:, c].numpy()
        expected, _ = cv2.fisheye.projectPoints(
            points.numpy()[:, None], np.array(rotation), np.array(translation), MATRIX, np.array(lens)
        )
        # 1e3 px at 2e-16, times 600 by the division.
        assert np.abs(pixels - expected[:, 0]).max() < 1e-9
        assert np.ptp(pixels[:, 0]) > 3000


@pytest.mark.parametrize("lens", FISHEYES.values(), ids=FISHEYES)
def test_fisheyes_undistort_as_opencvs_and_back(lens):
    distortion, fisheye = padded(lens), torch.tensor(True)
    # 83 degrees: beyond it the picture plane is more than 8 focal lengths wide.
    points = directions(np.radians(83))
    normalised = torch.from_numpy(points[:, :2] / points[:, 2:])
    bent = distort_normalised(normalised, distortion, fisheye)
    found = undistort_normalised(bent, distortion, fisheye=fisheye)
    # Relative to how far out it is: the tangent near 83 degrees stretches rounding errors 70 times.
    assert ((found - normalised).abs().amax(dim=-1) / (1 + normalised.norm(dim=-1))).max() < 1e-13
    pixels = bent.numpy() * (1240, 1255) + (803.5, 588.2)
    strict = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
    # OpenCV cuts off what is more than pi / 2 focal lengths away, where the stretched lens has only come to 75 degrees.
    known = bent.norm(dim=-1).numpy() < np.pi / 2
    expected = cv2.fisheye.undistortPoints(pixels[known][:, None], MATRIX, np.array(lens), criteria=strict)[:, 0]
    # A millionth of a pixel is 1e-9 of the focal length, on the sphere; the plane is stretched by 1 + r^2 there.
    stretch = 1 + normalised.square().sum(dim=-1).numpy()[known]
    assert (np.abs(found.numpy()[known] - expected).max(axis=-1) / stretch).max() < 1e-9
    assert known.sum() > 1000


@pytest.mark.parametrize("lens", FISHEYES.values(), ids=FISHEYES)
def test_fisheyes_jacobian_is_that_of_central_differences(lens):
    setup = cameras(lens)
    # On the axis of the first camera, around it, and 85 degrees from it.
    points = (torch.from_numpy(directions(np.radians(85))[::7]) - setup[3][0]) @ setup[2][0]
    pixels, jacobian = project_with_jacobian(points, *setup, fisheye=ALL)
    assert torch.allclose(pixels[:, 0], project_points(points, *setup, fisheye=ALL)[:, 0], rtol=0, atol=1e-9)
    step = 1e-5
    for axis in range(3):
        moved = torch.zeros(3, dtype=torch.float64)
        moved[axis] = step
        ahead, behind = (project_points(points + sign * moved, *setup, fisheye=ALL)[:, 0] for sign in (1, -1))
        # Rounding as above: 2e-8 px/m times operations; slopes are 400 px/m.
        assert (jacobian[:, 0, :, axis] - (ahead - behind) / (2 * step)).abs().max() < 2e-5
    # On the axis itself, where the formulas divide zero by zero.
    ahead = torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
    still = (MATRIX[None], padded(lens)[None], np.eye(3)[None], np.zeros((1, 3)))
    _, slope = project_with_jacobian(ahead, *(torch.as_tensor(part) for part in still), fisheye=ALL[:1])
    assert torch.equal(slope[0], torch.tensor([[620.0, 0, 0], [0, 627.5, 0]], dtype=torch.float64))


def test_a_rig_may_mix_fisheyes_and_others():
    matrix, _, rotation, translation = cameras(())
    distortion = torch.stack((padded(FISHEYES["action camera"]), padded(LENSES["webcam, 5"])))
    points, mixed = world_points(50), torch.tensor([True, False])
    both = matrix, distortion, rotation, translation
    pixels, jacobian = project_with_jacobian(points, *both, fisheye=mixed)
    for c, fisheye in enumerate((ALL[:1], None)):
        one = [part[c : c + 1] for part in both]
        alone, slope = project_with_jacobian(points, *one, fisheye=fisheye)
        assert torch.equal(pixels[:, c], alone[:, 0])
        assert torch.equal(jacobian[:, c], slope[:, 0])
        assert torch.equal(
            project_points(points, *both, fisheye=mixed)[:, c], project_points(points, *one, fisheye=fisheye)[:, 0]
        )
    straight = torch.stack((points[:, :2], points[:, :2]), dim=1) * 0.5
    back = undistort_normalised(distort_normalised(straight, distortion, mixed), distortion, fisheye=mixed)
    assert (back - straight).abs().max() < 1e-13  # as of each kind alone


def test_what_is_not_in_front_of_a_fisheye_and_what_is_past_its_fold_is_nan():
    # angle (1 - 0.3 angle^2) turns back at angle^2 = 1 / 0.9: 60.4 degrees.
    distortion = torch.stack((padded(FISHEYES["equidistant"]), padded((-0.3, 0.0, 0.0, 0.0))))
    reach = fold_radius2(distortion, ALL)
    assert reach[0].isinf()
    assert torch.atan(reach[1].sqrt()).item() == pytest.approx(0.9**-0.5, abs=np.radians(0.05))
    angle = torch.tensor([0.0, 60.0, 61.0, 89.9, 90.1, 120.0], dtype=torch.float64).deg2rad()
    points = torch.stack((angle.sin(), torch.zeros_like(angle), angle.cos()), dim=-1)
    middle = torch.from_numpy(np.stack((MATRIX, MATRIX))), distortion, torch.eye(3).double().expand(2, 3, 3)
    pixels = project_points(points, *middle, torch.zeros(2, 3).double(), reach, ALL)
    assert pixels.isfinite().all(dim=-1).T.tolist() == [[True] * 4 + [False] * 2, [True] * 2 + [False] * 4]
    # And back: the equidistant lens shows 90 degrees at pi / 2 focal lengths, the other one its fold at 2 / 3 of 0.9^-0.5.
    shown = torch.tensor([[0.7, 0], [0.71, 0], [1.57, 0], [1.58, 0]], dtype=torch.float64)[:, None].expand(-1, 2, 2)
    found = undistort_normalised(shown, distortion, ALL)
    assert found.isfinite().all(dim=-1).T.tolist() == [[True, True, True, False], [True, False, False, False]]
    assert found[0, 0, 0].item() == pytest.approx(np.tan(0.7), abs=1e-14)


def test_fisheyes_have_gradients_in_the_middle_of_the_picture():
    point = torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    matrix, distortion, _, _ = cameras(FISHEYES["action camera"])
    rotation, translation = torch.eye(3).double().expand(2, 3, 3), torch.zeros(2, 3).double()
    project_points(point, matrix, distortion, rotation, translation, fisheye=ALL)[0, 0].backward()
    assert point.grad.tolist() == [620, 0, 0]


def test_what_undistorts_projects_again():
    # Folds at 0.888 and unfolds soon after: what the model reaches beyond is in no picture, in either direction.
    distortion = padded((-0.584, -0.04, -1e-3, 0.0, 0.148))
    reach = fold_radius2(distortion)
    shown = picture_points(1.3)
    found = undistort_normalised(shown, distortion)
    seen = found.isfinite().all(dim=-1)
    assert 0.1 < seen.double().mean() < 0.9
    assert (found[seen].square().sum(dim=-1) < reach).all()
    assert (distort_normalised(found[seen], distortion) - shown[seen]).abs().max() < 1e-6  # what counts as converged
