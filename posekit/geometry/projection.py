"""Pinhole projection with Brown-Conrady distortion, on batches of tensors.

Normalised image coordinates are (x/z, y/z) of a point in the camera's frame: pixels with lens and camera matrix taken away.
Distortion coefficients come in OpenCV's order k1 k2 p1 p2 k3 k4 k5 k6, the last three of the rational model.
"""

import torch
from jaxtyping import Float
from torch import Tensor

#: Newton steps of `undistort_normalised`. Convergence is quadratic; from the distorted point, lenses of the field (up to
#: about 120 degrees) are at machine precision after 6.
UNDISTORT_STEPS = 8


def distort_normalised(
    normalised: Float[Tensor, "*batch 2"], distortion: Float[Tensor, "*#batch 8"]
) -> Float[Tensor, "*batch 2"]:
    """Apply the lens. OpenCV's documentation of calib3d, "rational" and tangential terms."""
    distorted, _ = _distort(normalised, distortion, with_jacobian=False)
    return distorted


def _distort(
    normalised: Tensor, distortion: Tensor, *, with_jacobian: bool
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor] | None]:
    """Distorted point and, where asked for, (du/dx, du/dy, dv/dx, dv/dy)."""
    x, y = normalised.unbind(-1)
    k1, k2, p1, p2, k3, k4, k5, k6 = distortion.unbind(-1)
    r2 = x * x + y * y
    above = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    below = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    radial = above / below
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    distorted = torch.stack((u, v), dim=-1)
    if not with_jacobian:
        return distorted, None
    d_above = k1 + r2 * (2 * k2 + r2 * 3 * k3)
    d_below = k4 + r2 * (2 * k5 + r2 * 3 * k6)
    slope = 2 * (d_above - radial * d_below) / below  # d radial / d r2, times 2 for d r2 / d x = 2 x
    cross = x * y * slope + 2 * p1 * x + 2 * p2 * y
    return distorted, (
        radial + x * x * slope + 2 * p1 * y + 6 * p2 * x,
        cross,
        cross,
        radial + y * y * slope + 6 * p1 * y + 2 * p2 * x,
    )


def undistort_normalised(
    distorted: Float[Tensor, "*batch 2"], distortion: Float[Tensor, "*#batch 8"]
) -> Float[Tensor, "*batch 2"]:
    """Take the lens away, by Newton's method on `distort_normalised`.

    NaN where no point of the picture plane is distorted to the given one (beyond the lens model's fold), and where the input
    is NaN. Points that the model reaches only past its fold, often on the picture's other side, are none that a lens makes.
    """
    normalised = distorted
    for _ in range(UNDISTORT_STEPS):
        value, jacobian = _distort(normalised, distortion, with_jacobian=True)
        assert jacobian is not None
        a, b, c, d = jacobian
        u, v = (value - distorted).unbind(-1)
        determinant = a * d - b * c
        step = torch.stack(((d * u - b * v) / determinant, (a * v - c * u) / determinant), dim=-1)
        normalised = normalised - step
    residual = distort_normalised(normalised, distortion) - distorted
    # 1e-6 of the focal length is a thousandth of a pixel: anything worse has not converged.
    converged = residual.abs().amax(dim=-1, keepdim=True) < (1e-6 if distorted.dtype == torch.float64 else 1e-4)
    return torch.where(converged & _before_fold(normalised, distortion), normalised, torch.nan)


def _before_fold(normalised: Tensor, distortion: Tensor) -> Tensor:
    """Whether the model goes outward all the way from the middle of the picture to a point, (..., 1) bool.

    Its Jacobian is symmetric, and positive definite until it folds. Looked at in four places: a lens that folds and unfolds
    again between two of them has not been seen.
    """
    outward = torch.ones_like(normalised[..., :1], dtype=torch.bool)
    for share in (0.25, 0.5, 0.75, 1.0):
        _, jacobian = _distort(share * normalised, distortion, with_jacobian=True)
        assert jacobian is not None
        a, b, c, d = jacobian
        outward &= ((a > 0) & (a * d > b * c))[..., None]
    return outward


def fold_radius2(distortion: Float[Tensor, "C 8"]) -> Float[Tensor, " C"]:
    """Squared distance from the middle, in normalised coordinates, at which each lens folds; inf for one that never does.

    From there on the model goes inward again, and would put what is far outside the picture into it. Radial terms only.
    """
    # To 83 degrees from the axis, in steps of 0.004: 0.2 degrees near the middle.
    radius = torch.linspace(0, 8, 2001, dtype=distortion.dtype, device=distortion.device)
    along_x = torch.stack((radius, torch.zeros_like(radius)), dim=-1)[:, None]
    radial = distortion.clone()
    radial[:, 2:4] = 0
    _, jacobian = _distort(along_x, radial, with_jacobian=True)
    assert jacobian is not None
    outward = (jacobian[0] > 0).long().cumprod(dim=0).sum(dim=0)  # steps before the fold
    return torch.where(outward < len(radius), radius[outward.clamp(max=len(radius) - 1)] ** 2, torch.inf)


def project_points(
    points_world: Float[Tensor, "*batch 3"],
    matrix: Float[Tensor, "C 3 3"],
    distortion: Float[Tensor, "C 8"],
    rotation: Float[Tensor, "C 3 3"],
    translation: Float[Tensor, "C 3"],
    largest_radius2: Float[Tensor, " C"] | None = None,
) -> Float[Tensor, "*batch C 2"]:
    """Project world points (metres) into every camera (pixels); NaN where a point is not in front of a camera.

    largest_radius2: as from `fold_radius2`; points further out than that are NaN, too.
    """
    points_cam = points_in_cameras(points_world, rotation, translation)
    depth = points_cam[..., 2:]
    in_front = depth > 0
    normalised = points_cam[..., :2] / torch.where(in_front, depth, 1)
    if largest_radius2 is not None:
        in_front = in_front & (normalised.square().sum(dim=-1) < largest_radius2)[..., None]
    normalised = torch.where(in_front, normalised, torch.nan)
    return _to_pixels(distort_normalised(normalised, distortion), matrix)


def points_in_cameras(
    points_world: Float[Tensor, "*batch 3"], rotation: Float[Tensor, "C 3 3"], translation: Float[Tensor, "C 3"]
) -> Float[Tensor, "*batch C 3"]:
    """Turn world points into every camera's frame, as one matrix product."""
    stacked = rotation.reshape(-1, 3)
    return (points_world @ stacked.mT).unflatten(-1, (-1, 3)) + translation


def _to_pixels(distorted: Tensor, matrix: Tensor) -> Tensor:
    """Apply the camera matrices (C, 3, 3) to distorted normalised coordinates (..., C, 2)."""
    x, y = distorted.unbind(-1)
    # Written out: a batch of 2 x 2 products is an order slower as such than as the sums it is made of.
    u = matrix[:, 0, 0] * x + matrix[:, 0, 1] * y + matrix[:, 0, 2]
    return torch.stack((u, matrix[:, 1, 1] * y + matrix[:, 1, 2]), dim=-1)


def project_with_jacobian(
    points_world: Float[Tensor, "*batch 3"],
    matrix: Float[Tensor, "C 3 3"],
    distortion: Float[Tensor, "C 8"],
    rotation: Float[Tensor, "C 3 3"],
    translation: Float[Tensor, "C 3"],
    largest_radius2: Float[Tensor, " C"] | None = None,
) -> tuple[Float[Tensor, "*batch C 2"], Float[Tensor, "*batch C 2 3"]]:
    """Project as `project_points`, and give the derivative of the pixel by the world point (px/m), by the chain rule."""
    points_cam = points_in_cameras(points_world, rotation, translation)
    depth = points_cam[..., 2]
    in_front = depth > 0
    inverse_depth = torch.where(in_front, 1 / torch.where(in_front, depth, 1), torch.nan)
    x = points_cam[..., 0] * inverse_depth
    y = points_cam[..., 1] * inverse_depth
    if largest_radius2 is not None:
        x = torch.where(x * x + y * y < largest_radius2, x, torch.nan)
    distorted, jacobian = _distort(torch.stack((x, y), dim=-1), distortion, with_jacobian=True)
    assert jacobian is not None
    # Rows of d(x, y)/d(points_world): (rotation row 0 - x * rotation row 2) / depth, and the same for y.
    dx = (rotation[:, 0] - x[..., None] * rotation[:, 2]) * inverse_depth[..., None]
    dy = (rotation[:, 1] - y[..., None] * rotation[:, 2]) * inverse_depth[..., None]
    a, b, c, d = (term[..., None] for term in jacobian)
    d_x, d_y = a * dx + b * dy, c * dx + d * dy
    d_u = matrix[:, 0, 0, None] * d_x + matrix[:, 0, 1, None] * d_y
    return _to_pixels(distorted, matrix), torch.stack((d_u, matrix[:, 1, 1, None] * d_y), dim=-2)
