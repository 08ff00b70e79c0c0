"""The views of many points, laid out and calculated so that a processor is fast at it.

Arrays are (C, G, N): cameras, joints of a group, groups, with N last and every coordinate a tensor of its own. The layout
(N, G, C, 2) that callers have makes every operation on x and y skip through memory; this one is an order faster on a CPU.

Masks are floating-point 0 and 1 that are multiplied, and nothing is ever NaN or infinite: choosing by a mask takes ten times as
long as multiplying with it, and so does asking which numbers are finite.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from posekit.camera import CameraBatch
from posekit.geometry.lens import Lens, distort, distort_with_jacobian, undistort

#: What is behind a camera is projected as if it stood this far in front (m): so far out that no view ever agrees with it.
_NEAREST = 1e-6

#: Normalised coordinates end here, so that a lens's polynomials stay finite: 89.99 degrees from the axis.
_OUTERMOST = 1e4


def positive(values: Tensor) -> Tensor:
    """1.0 where a value is greater than 0, otherwise 0.0; of finite values, the smallest taken for 0."""
    return (values * 1e30).clamp_(0, 1)


def any_of(mask: Tensor, dim: int) -> Tensor:
    """Where any of a mask's numbers along a dimension is 1; a maximum takes ten times as long as a sum."""
    return mask.select(dim, 0) if mask.shape[dim] == 1 else mask.sum(dim=dim).clamp_(max=1)


@dataclass(frozen=True)
class PinholeRows:
    """Cameras without their lenses, in a world whose origin is amid them, so that single precision is enough for metres.

    rows: (3, C, 3) and offset: (3, C), by which a point X stands at rows @ X + offset: (fx x, fy y, z) in the camera's frame.
    centres: (C, 3) metres. shift: (3,), what was taken off the world's coordinates. focal: (2, C). normal_terms: (6, 4 C), see
    `normal_equations`.
    """

    rows: Tensor
    offset: Tensor
    centres: Tensor
    shift: Tensor
    focal: Tensor
    normal_terms: Tensor

    @classmethod
    def of(cls, cameras: CameraBatch, dtype: torch.dtype) -> "PinholeRows":
        """Take the lenses off."""
        shift = cameras.centres_world.mean(dim=0)
        focal = torch.stack((cameras.matrix[:, 0, 0], cameras.matrix[:, 1, 1]))
        scale = torch.cat((focal, torch.ones_like(focal[:1])))
        rows = cameras.rotation.transpose(0, 1) * scale[..., None]
        offset = (cameras.translation + cameras.rotation @ shift).mT * scale
        across, down, depth = rows
        terms = (
            _symmetric(across, across) + _symmetric(down, down),
            -2 * _symmetric(across, depth),
            -2 * _symmetric(down, depth),
            _symmetric(depth, depth),
        )
        values = (rows, offset, cameras.centres_world - shift, focal, torch.cat(terms, dim=1))
        rows, offset, centres, focal, normal_terms = (value.to(dtype).contiguous() for value in values)
        return cls(rows, offset, centres, shift, focal, normal_terms)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project (3, ...) to (fx x/z, fy y/z, 1/z), each (C, ...)."""
        C = self.rows.shape[1]
        flat = torch.addmm(self.offset.reshape(3 * C, 1), self.rows.reshape(3 * C, 3), points.reshape(3, -1))
        x, y, z = flat.reshape(3, C, *points.shape[1:])
        inverse = z.clamp_(min=_NEAREST).reciprocal_()
        return x.mul_(inverse), y.mul_(inverse), inverse

    def normal_equations(
        self, u: Tensor, v: Tensor, inverse: Tensor, weight: Tensor, off_u: Tensor, off_v: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sum over the views of weight J^T J as (6, ...) xx xy xz yy yz zz, and of weight J^T residual as (3, ...).

        u, v, inverse: as from `project`; weight and the residuals off_u, off_v: (C, ...).
        """
        # With rows a, b, c of a camera, J = ((a - u c) / z, (b - v c) / z): J^T J is a combination of constant matrices.
        weight = weight * inverse
        moments = torch.empty((4, *u.shape), dtype=u.dtype, device=u.device)
        torch.mul(weight, inverse, out=moments[0])
        torch.mul(moments[0], u, out=moments[1])
        torch.mul(moments[0], v, out=moments[2])
        torch.mul(moments[1], u, out=moments[3]).addcmul_(moments[2], v)
        normal = self.normal_terms @ moments.reshape(self.normal_terms.shape[1], -1)
        first = moments[:3]
        torch.mul(weight, off_u, out=first[0])
        torch.mul(weight, off_v, out=first[1])
        torch.mul(first[0], u, out=first[2]).addcmul_(first[1], v).neg_()
        gradient = self.rows.reshape(-1, 3).mT @ first.reshape(3 * len(u), -1)
        return normal.reshape(6, *u.shape[1:]), gradient.reshape(3, *u.shape[1:])

    def ray_directions(self, x: Tensor, y: Tensor) -> Tensor:
        """Unit directions (3, C, G, N) in the world of the rays through normalised coordinates (C, G, N)."""
        scale = torch.cat((self.focal, torch.ones_like(self.focal[:1])))
        columns = (self.rows / scale[..., None]).permute(2, 0, 1)[..., None, None]  # world axis, camera axis, camera
        rays = torch.stack([x * across + y * down + depth for across, down, depth in columns])
        return rays.mul_(rays.square().sum(dim=0).rsqrt_())


@dataclass(frozen=True)
class LensCameras:
    """Cameras with their lenses, for coordinates (C, G, N). single_lens: the same lenses in single precision."""

    cameras: CameraBatch
    lens: Lens
    single_lens: Lens
    normal_terms: Tensor

    @classmethod
    def of(cls, cameras: CameraBatch) -> "LensCameras":
        """Bring the lenses into the layout."""
        lens = cameras.lens.reshaped(-1, 1, 1)
        a, b, c = cameras.rotation.unbind(dim=1)
        pairs = ((a, a, 1), (a, b, 2), (b, b, 1), (a, c, -2), (b, c, -2), (c, c, 1))
        terms = torch.cat([factor * _symmetric(p, q) for p, q, factor in pairs], dim=1)
        return cls(cameras, lens, lens.to(torch.float32), terms)

    def _matrix(self, row: int, column: int) -> Tensor:
        return self.cameras.matrix[:, row, column, None, None]

    def undistort(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Turn pixels into normalised coordinates, in single precision; the third tells which were found (bool)."""
        y = (v - self._matrix(1, 2)) / self._matrix(1, 1)
        x = (u - self._matrix(0, 2) - self._matrix(0, 1) * y) / self._matrix(0, 0)
        return undistort(x.float(), y.float(), self.single_lens)

    def _in_cameras(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised coordinates and depth, each (C, G, N), of points (3, G, N)."""
        C = len(self.cameras)
        rows, offset = self.cameras.rotation.transpose(0, 1), self.cameras.translation.mT
        flat = torch.addmm(offset.reshape(3 * C, 1), rows.reshape(3 * C, 3), points.reshape(3, -1))
        x, y, z = flat.reshape(3, C, *points.shape[1:])
        inverse = z.clamp(min=_NEAREST).reciprocal_()
        x, y = x.mul_(inverse).clamp_(-_OUTERMOST, _OUTERMOST), y.mul_(inverse).clamp_(-_OUTERMOST, _OUTERMOST)
        return x, y, z

    def in_sight(self, points: Tensor) -> Tensor:
        """Tell which points (3, G, N) are in front of each camera, and before the fold of its lens: (C, G, N) bool."""
        x, y, z = self._in_cameras(points)
        fold = self.lens.fold_radius2
        return z > 0 if fold is None else (z > 0) & (x * x + y * y < fold)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project points (3, G, N) to pixels, each (C, G, N); what is not `in_sight` comes out far outside of the picture."""
        x, y, _ = self._in_cameras(points)
        return self._pixels(*distort(self._out_of_sight_beyond_fold(x, y), y, self.lens))

    def project_with_jacobian(self, points: Tensor) -> tuple[Tensor, Tensor, "ImageJacobian"]:
        """Project, with the derivative of the pixels by the points."""
        x, y, z = self._in_cameras(points)
        x = self._out_of_sight_beyond_fold(x, y)
        u, v, (a, b, c, d) = distort_with_jacobian(x, y, self.lens)
        fx, skew, fy = self._matrix(0, 0), self._matrix(0, 1), self._matrix(1, 1)
        lens = (fx * a + skew * c, fx * b + skew * d, fy * c, fy * d)
        inverse = z.clamp(min=_NEAREST).reciprocal_()
        return *self._pixels(u, v), ImageJacobian(x, y, inverse, *lens, self.cameras.rotation, self.normal_terms)

    def _out_of_sight_beyond_fold(self, x: Tensor, y: Tensor) -> Tensor:
        """Move x outward where the lens has folded back, and would show in the picture what is far outside of it."""
        fold = self.lens.fold_radius2
        if fold is None:
            return x
        beyond = positive(x * x + y * y - fold.clamp(max=1e9))
        return x + beyond * (_OUTERMOST - x)

    def _pixels(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        u = self._matrix(0, 0) * x + self._matrix(0, 1) * y + self._matrix(0, 2)
        return u, self._matrix(1, 1) * y + self._matrix(1, 2)


@dataclass(frozen=True)
class ImageJacobian:
    """d(u, v) / d point, in parts: every tensor (C, G, N) but for rotation, (C, 3, 3), and normal_terms, (6, 6 C).

    x, y: normalised coordinates, inverse: 1 / depth. ux, uy, vx, vy: d(u, v) / d(x, y), px. With the rows a, b, c of a camera's
    rotation, d(x, y) / d point is ((a - x c), (b - y c)) / depth.
    """

    x: Tensor
    y: Tensor
    inverse: Tensor
    ux: Tensor
    uy: Tensor
    vx: Tensor
    vy: Tensor
    rotation: Tensor
    normal_terms: Tensor

    def normal_matrix(self, weight: Tensor) -> Tensor:
        """Sum over the views of weight J^T J, (6, G, N) as xx, xy, xz, yy, yz, zz."""
        # J^T J is a combination of constant matrices, symmetric products of the rotation's rows.
        scale = weight * self.inverse * self.inverse
        moments = torch.empty((6, *self.x.shape), dtype=scale.dtype, device=scale.device)
        torch.mul(scale, (self.ux * self.ux).addcmul_(self.vx, self.vx), out=moments[0])
        torch.mul(scale, (self.ux * self.uy).addcmul_(self.vx, self.vy), out=moments[1])
        torch.mul(scale, (self.uy * self.uy).addcmul_(self.vy, self.vy), out=moments[2])
        torch.mul(moments[0], self.x, out=moments[3]).addcmul_(moments[1], self.y)
        torch.mul(moments[1], self.x, out=moments[4]).addcmul_(moments[2], self.y)
        torch.mul(moments[3], self.x, out=moments[5]).addcmul_(moments[4], self.y)
        normal = self.normal_terms @ moments.reshape(self.normal_terms.shape[1], -1)
        return normal.reshape(6, *self.x.shape[1:])

    def gradient(self, weight: Tensor, off_u: Tensor, off_v: Tensor) -> Tensor:
        """Sum over the views of weight J^T residual, (3, G, N); the residuals are (C, G, N) px."""
        scale = weight * self.inverse
        parts = torch.empty((3, *self.x.shape), dtype=scale.dtype, device=scale.device)
        torch.mul(scale, (self.ux * off_u).addcmul_(self.vx, off_v), out=parts[0])
        torch.mul(scale, (self.uy * off_u).addcmul_(self.vy, off_v), out=parts[1])
        torch.mul(parts[0], self.x, out=parts[2]).addcmul_(parts[1], self.y).neg_()
        rows = self.rotation.permute(2, 1, 0).reshape(3, -1)
        return (rows @ parts.reshape(rows.shape[1], -1)).reshape(3, *self.x.shape[1:])


def _symmetric(a: Tensor, b: Tensor) -> Tensor:
    """Symmetric part of a b^T for vectors (C, 3), (6, C) as xx, xy, xz, yy, yz, zz."""
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    return torch.stack([(a[:, i] * b[:, j] + a[:, j] * b[:, i]) / 2 for i, j in pairs])
