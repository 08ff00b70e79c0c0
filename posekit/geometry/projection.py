"""Projection through lenses, on batches of tensors whose last axis holds coordinates.

Normalised image coordinates are (x/z, y/z) of a point in the camera's frame: pixels with lens and camera matrix taken away.
Distortion coefficients come in OpenCV's order k1 k2 p1 p2 k3 k4 k5 k6, the last three of the rational model; those of a
fisheye lens (Kannala-Brandt, OpenCV's cv2.fisheye) are k1 k2 k3 k4, in the first four places. `fisheye` says per camera which
of the two it is; None, for no camera, costs nothing. The models themselves are in `posekit.geometry.lens`.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from posekit.geometry.lens import Lens, distort, distort_with_jacobian, undistort


def distort_normalised(
    normalised: Float[Tensor, "*batch 2"],
    distortion: Float[Tensor, "*#batch 8"],
    fisheye: Bool[Tensor, "*#batch"] | None = None,
) -> Float[Tensor, "*batch 2"]:
    """Apply the lens. OpenCV's documentation of calib3d ("rational" and tangential terms) and of its fisheye module."""
    x, y = normalised.unbind(-1)
    return torch.stack(distort(x, y, Lens.of(distortion, fisheye)), dim=-1)


def undistort_normalised(
    distorted: Float[Tensor, "*batch 2"],
    distortion: Float[Tensor, "*#batch 8"],
    fisheye: Bool[Tensor, "*#batch"] | None = None,
) -> Float[Tensor, "*batch 2"]:
    """Take the lens away, by Newton's method on `distort_normalised`.

    NaN where no point of the picture plane is distorted to the given one (beyond the lens model's fold, or 90 degrees or more
    from the axis), and where the input is NaN. Points that the model reaches only past its fold, often on the picture's other
    side, are none that a lens makes.
    """
    return undistort_with(distorted, Lens.of(distortion, fisheye))


def undistort_with(distorted: Float[Tensor, "*batch 2"], lens: Lens) -> Float[Tensor, "*batch 2"]:
    """Take a lens away as `undistort_normalised`."""
    u, v = distorted.unbind(-1)
    x, y, found = undistort(u, v, lens)
    return torch.where(found[..., None], torch.stack((x, y), dim=-1), torch.nan)


def project_points(
    points_world: Float[Tensor, "*batch 3"],
    matrix: Float[Tensor, "C 3 3"],
    lens: Lens,
    rotation: Float[Tensor, "C 3 3"],
    translation: Float[Tensor, "C 3"],
) -> Float[Tensor, "*batch C 2"]:
    """Project world points (metres) into every camera (pixels).

    NaN where a point is not in front of a camera, and where it lies beyond the fold of its lens.
    """
    x, y, _ = _normalised_coordinates(points_world, lens, rotation, translation)
    return _to_pixels(*distort(x, y, lens), matrix)


def points_in_cameras(
    points_world: Float[Tensor, "*batch 3"], rotation: Float[Tensor, "C 3 3"], translation: Float[Tensor, "C 3"]
) -> Float[Tensor, "*batch C 3"]:
    """Turn world points into every camera's frame, as one matrix product."""
    stacked = rotation.reshape(-1, 3)
    return (points_world @ stacked.mT).unflatten(-1, (-1, 3)) + translation


def _normalised_coordinates(
    points_world: Tensor, lens: Lens, rotation: Tensor, translation: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """x, y and 1 / depth, each (..., C); NaN where a point is not to be seen."""
    x, y, depth = points_in_cameras(points_world, rotation, translation).unbind(-1)
    inverse_depth = 1 / torch.where(depth > 0, depth, torch.nan)
    x, y = x * inverse_depth, y * inverse_depth
    if lens.fold_radius2 is not None:
        x = torch.where(x * x + y * y < lens.fold_radius2, x, torch.nan)
    return x, y, inverse_depth


def _to_pixels(x: Tensor, y: Tensor, matrix: Tensor) -> Tensor:
    """Apply the camera matrices (C, 3, 3) to distorted normalised coordinates (..., C)."""
    # Written out: a batch of 2 x 2 products is an order slower as such than as the sums it is made of.
    u = matrix[:, 0, 0] * x + matrix[:, 0, 1] * y + matrix[:, 0, 2]
    return torch.stack((u, matrix[:, 1, 1] * y + matrix[:, 1, 2]), dim=-1)


def project_with_jacobian(
    points_world: Float[Tensor, "*batch 3"],
    matrix: Float[Tensor, "C 3 3"],
    lens: Lens,
    rotation: Float[Tensor, "C 3 3"],
    translation: Float[Tensor, "C 3"],
) -> tuple[Float[Tensor, "*batch C 2"], Float[Tensor, "*batch C 2 3"]]:
    """Project as `project_points`, and give the derivative of the pixel by the world point (px/m), by the chain rule."""
    x, y, inverse_depth = _normalised_coordinates(points_world, lens, rotation, translation)
    u, v, jacobian = distort_with_jacobian(x, y, lens)
    # Rows of d(x, y)/d(points_world): (rotation row 0 - x * rotation row 2) / depth, and the same for y.
    dx = (rotation[:, 0] - x[..., None] * rotation[:, 2]) * inverse_depth[..., None]
    dy = (rotation[:, 1] - y[..., None] * rotation[:, 2]) * inverse_depth[..., None]
    a, b, c, d = (term[..., None] for term in jacobian)
    d_x, d_y = a * dx + b * dy, c * dx + d * dy
    d_u = matrix[:, 0, 0, None] * d_x + matrix[:, 0, 1, None] * d_y
    return _to_pixels(u, v, matrix), torch.stack((d_u, matrix[:, 1, 1, None] * d_y), dim=-2)
