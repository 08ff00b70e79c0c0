"""Lenses, coordinate by coordinate.

Everything here works on the two normalised image coordinates as tensors of their own, in any shape that a lens's coefficients
broadcast to. With the pairs in the last axis of one tensor, every operation would walk through memory in steps of two, and
building the pairs would copy them: an order slower.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

#: Newton steps of `undistort` at most. Convergence is quadratic; from the distorted point, lenses of the field (up to about
#: 120 degrees, fisheye lenses up to 180) are at machine precision after 6, and most after 3.
UNDISTORT_STEPS = 8

#: Places at which `fold_radius2` looks at a lens.
_FOLD_STEPS = 2001

#: (du/dx, du/dy, dv/dx, dv/dy) of distorted by undistorted coordinates.
Jacobian = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Lens:
    """Lenses of several cameras, ready to broadcast.

    coefficients: eight tensors of one shape, in OpenCV's order k1 k2 p1 p2 k3 k4 k5 k6; a fisheye's k1 k2 k3 k4 stand in the
    first four. fisheye: which of the lenses are fisheyes, of that shape; None where none is, which then costs nothing.
    rational: whether any has k4, k5 or k6; without them there is a third less to do. fold_radius2: as from `fold_radius2`, of
    that shape; None where no lens folds.
    """

    coefficients: tuple[Tensor, ...]
    fisheye: Tensor | None
    rational: bool
    fold_radius2: Tensor | None

    @classmethod
    def of(cls, distortion: Tensor, fisheye: Tensor | None = None) -> "Lens":
        """Lenses from coefficients (..., 8) and flags (...), which broadcast as (...)."""
        fold = fold_radius2(distortion, fisheye)
        folds = bool(torch.isfinite(fold).any())
        return cls(distortion.unbind(-1), fisheye, bool((distortion[..., 5:] != 0).any()), fold if folds else None)

    def reshaped(self, *shape: int) -> "Lens":
        """The same lenses with other axes, such as (C, 1, 1) for coordinates (C, G, N)."""
        return Lens(
            tuple(values.reshape(shape) for values in self.coefficients),
            None if self.fisheye is None else self.fisheye.reshape(shape),
            self.rational,
            None if self.fold_radius2 is None else self.fold_radius2.reshape(shape),
        )

    def to(self, dtype: torch.dtype) -> "Lens":
        """The same lenses in another precision."""
        fold = None if self.fold_radius2 is None else self.fold_radius2.to(dtype)
        return Lens(tuple(values.to(dtype) for values in self.coefficients), self.fisheye, self.rational, fold)


def distort(x: Tensor, y: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    """Apply the lens. OpenCV's documentation of calib3d ("rational" and tangential terms) and of its fisheye module."""
    u, v, _ = _distort(x, y, lens, with_jacobian=False)
    return u, v


def distort_with_jacobian(x: Tensor, y: Tensor, lens: Lens) -> tuple[Tensor, Tensor, Jacobian]:
    """Apply the lens, and give (du/dx, du/dy, dv/dx, dv/dy)."""
    u, v, jacobian = _distort(x, y, lens, with_jacobian=True)
    assert jacobian is not None
    return u, v, jacobian


def coefficient_jacobian(x: Tensor, y: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    """Derivatives of the distorted coordinates by the lens's eight coefficients: du and dv, each (..., 8)."""
    du, dv = _brown_coefficient_jacobian(x, y, lens.coefficients)
    if lens.fisheye is None:
        return du, dv
    radius = (x * x + y * y).clamp(min=1e-30).sqrt()
    angle = torch.atan(radius)
    powers = torch.stack([angle ** (2 * order + 1) / radius for order in range(1, 5)], dim=-1)
    powers = torch.nn.functional.pad(powers, (0, 4))
    fisheye = lens.fisheye[..., None]
    return torch.where(fisheye, x[..., None] * powers, du), torch.where(fisheye, y[..., None] * powers, dv)


def _brown_coefficient_jacobian(x: Tensor, y: Tensor, coefficients: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    k1, k2, _, _, k3, k4, k5, k6 = coefficients
    x2, y2 = x * x, y * y
    r2 = x2 + y2
    inverse = 1 / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) * inverse
    above = [inverse * r2, inverse * r2 * r2, inverse * r2 * r2 * r2]
    by_radial = torch.stack(
        (*above[:2], *(torch.zeros_like(x),) * 2, above[2], *(-radial * term for term in above)), dim=-1
    )
    du, dv = x[..., None] * by_radial, y[..., None] * by_radial
    xy2 = 2 * x * y
    du[..., 2], du[..., 3] = xy2, r2 + 2 * x2
    dv[..., 2], dv[..., 3] = r2 + 2 * y2, xy2
    return du, dv


def undistort(u: Tensor, v: Tensor, lens: Lens) -> tuple[Tensor, Tensor, Tensor]:
    """Take the lens away, by Newton's method on `distort`; returns x, y, and whether they were found (bool).

    They are not where no point of the picture plane is distorted to the given one (beyond the lens model's fold, or 90 degrees
    or more from the axis), and where the input is NaN. Points that the model reaches only past its fold, often on the picture's
    other side, are none that a lens makes.
    """
    x, y = _undistort_brown(u, v, lens)
    if lens.fisheye is not None:
        bent_x, bent_y = _undistort_fisheye(u, v, lens)
        x, y = torch.where(lens.fisheye, bent_x, x), torch.where(lens.fisheye, bent_y, y)
    again_u, again_v = distort(x, y, lens)
    # 1e-6 of the focal length is a thousandth of a pixel: anything worse has not converged.
    limit = 1e-6 if u.dtype == torch.float64 else 1e-4
    found = torch.maximum((again_u - u).abs_(), (again_v - v).abs_()) < limit
    if lens.fold_radius2 is not None:
        found &= x * x + y * y < lens.fold_radius2
    return x, y, found


def fold_radius2(distortion: Tensor, fisheye: Tensor | None = None) -> Tensor:
    """Squared distance from the middle, in normalised coordinates, at which each lens folds; inf for one that never does.

    distortion: (..., 8), fisheye: (...) bool. From there on the model goes inward again, and would put what is far outside the
    picture into it. Radial terms only.
    """
    # To 83 degrees from the axis, in steps of 0.004: 0.2 degrees near the middle.
    radius = torch.linspace(0, 8, _FOLD_STEPS, dtype=distortion.dtype, device=distortion.device)
    k = [values[..., None] for values in distortion.unbind(-1)]
    radial = (k[0], k[1], torch.zeros_like(k[2]), torch.zeros_like(k[3]), *k[4:])
    outward, _, jacobian = _distort_brown(radius, torch.zeros_like(radius), radial, rational=True, with_jacobian=True)
    assert jacobian is not None
    # Past a pole of the rational model its slope is positive again, on the picture's other side.
    fold = _first_fold(torch.where(outward >= 0, jacobian[0], 0), radius)
    if fisheye is None:
        return fold
    # In steps of 0.045 degrees, short of 90.
    angle = torch.linspace(0, torch.pi / 2, _FOLD_STEPS, dtype=distortion.dtype, device=distortion.device)[:-1]
    _, slope = _bent_angle(angle, tuple(k))
    return torch.where(fisheye, _first_fold(slope, torch.tan(angle)), fold)


def _first_fold(slope: Tensor, radius: Tensor) -> Tensor:
    """Return the squared last radius (N,) before the slope (..., N) is not positive; inf where it always is."""
    outward = (slope > 0).long().cumprod(dim=-1).sum(dim=-1)  # steps before the fold
    return torch.where(outward < len(radius), radius[(outward - 1).clamp(min=0)] ** 2, torch.inf)


def _distort(x: Tensor, y: Tensor, lens: Lens, *, with_jacobian: bool) -> tuple[Tensor, Tensor, Jacobian | None]:
    u, v, jacobian = _distort_brown(x, y, lens.coefficients, rational=lens.rational, with_jacobian=with_jacobian)
    if lens.fisheye is None:
        return u, v, jacobian
    # Both for all: rigs that mix them are small, and neither is ever infinite where the other one counts.
    bent_u, bent_v, bent_jacobian = _distort_fisheye(x, y, lens.coefficients, with_jacobian=with_jacobian)
    u, v = torch.where(lens.fisheye, bent_u, u), torch.where(lens.fisheye, bent_v, v)
    if jacobian is None or bent_jacobian is None:
        return u, v, None
    a, b, c, d = (torch.where(lens.fisheye, *terms) for terms in zip(bent_jacobian, jacobian, strict=True))
    return u, v, (a, b, c, d)


def _distort_brown(
    x: Tensor, y: Tensor, coefficients: tuple[Tensor, ...], *, rational: bool, with_jacobian: bool
) -> tuple[Tensor, Tensor, Jacobian | None]:
    k1, k2, p1, p2, k3, k4, k5, k6 = coefficients
    x2, y2 = x * x, y * y
    r2 = x2 + y2
    xy2 = 2 * x * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    below = 1 + r2 * (k4 + r2 * (k5 + r2 * k6)) if rational else None
    if below is not None:
        radial = radial / below
    u = x * radial + p1 * xy2 + p2 * (r2 + 2 * x2)
    v = y * radial + p1 * (r2 + 2 * y2) + p2 * xy2
    if not with_jacobian:
        return u, v, None
    slope = k1 + r2 * (2 * k2 + r2 * (3 * k3))
    if below is not None:
        slope = (slope - radial * (k4 + r2 * (2 * k5 + r2 * (3 * k6)))) / below
    slope = 2 * slope  # d radial / d r2, times 2 for d r2 / d x = 2 x
    cross = xy2 * (0.5 * slope) + (2 * p1) * x + (2 * p2) * y
    a = radial + x2 * slope + (2 * p1) * y + (6 * p2) * x
    d = radial + y2 * slope + (6 * p1) * y + (2 * p2) * x
    return u, v, (a, cross, cross, d)


def _distort_fisheye(
    x: Tensor, y: Tensor, coefficients: tuple[Tensor, ...], *, with_jacobian: bool
) -> tuple[Tensor, Tensor, Jacobian | None]:
    # 1e-30: in the very middle the lens is the identity to all digits, without dividing by zero.
    r2 = (x * x + y * y).clamp(min=1e-30)
    radius = r2.sqrt()
    bent, slope = _bent_angle(torch.atan(radius), coefficients)
    scale = bent / radius
    if not with_jacobian:
        return x * scale, y * scale, None
    # d scale / d radius, over the radius: what x and y are multiplied with is at most r2, so nothing is lost near the middle.
    fall = (slope / (1 + r2) - scale) / r2
    cross = x * y * fall
    return x * scale, y * scale, (scale + x * x * fall, cross, cross, scale + y * y * fall)


def _bent_angle(angle: Tensor, coefficients: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Turn the angle between ray and axis into the distance from the middle (in focal lengths), with its derivative."""
    k1, k2, k3, k4 = coefficients[:4]
    t2 = angle * angle
    bent = angle * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    return bent, 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))


def _undistort_brown(u: Tensor, v: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    x, y = u, v
    # After a step this small, what is left is its square, about: rounding.
    enough = (8 * torch.finfo(u.dtype).eps) ** 0.5
    for _ in range(UNDISTORT_STEPS):
        value_u, value_v, jacobian = _distort_brown(x, y, lens.coefficients, rational=lens.rational, with_jacobian=True)
        assert jacobian is not None
        a, cross, _, d = jacobian  # symmetric
        off_u, off_v = value_u - u, value_v - v
        inverse = 1 / (a * d - cross * cross)
        step_x, step_y = (d * off_u - cross * off_v) * inverse, (a * off_v - cross * off_u) * inverse
        x, y = x - step_x, y - step_y
        # NaN takes no part: it never arrives.
        longest = torch.maximum(step_x.abs(), step_y.abs()).nan_to_num_(nan=0.0)
        if not longest.numel() or float(longest.max()) <= enough:
            break
    return x, y


def _undistort_fisheye(u: Tensor, v: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    """Find the angle from the axis, which behaves where the tangent of it does not."""
    bent = (u * u + v * v).clamp(min=1e-30).sqrt()
    angle = bent
    for _ in range(UNDISTORT_STEPS):
        value, slope = _bent_angle(angle, lens.coefficients)
        angle = angle - (value - bent) / slope
    # From 90 degrees on, the tangent would come back on the other side of the picture.
    in_front = (angle > 0) & (angle < torch.pi / 2)
    scale = torch.where(in_front, torch.tan(angle) / bent, torch.nan)
    return u * scale, v * scale
