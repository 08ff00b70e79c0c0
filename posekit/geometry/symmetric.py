"""Batches of symmetric 3 x 3 matrices, as their six values (xx, xy, xz, yy, yz, zz)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def sum_of_outer(vectors: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch 6"]:
    """Sum of v v^T as (xx, xy, xz, yy, yz, zz). Six sums are an order faster than a batch of small matrix products."""
    x, y, z = vectors.unbind(-1)
    return torch.stack([(a * b).sum(dim=-1) for a, b in ((x, x), (x, y), (x, z), (y, y), (y, z), (z, z))], dim=-1)


def inverse_symmetric(matrix: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 6"]:
    """Inverse by cofactors: for a batch of 3 x 3 matrices an order faster than LAPACK, one call a matrix."""
    cofactors, determinant = _cofactors(matrix.unbind(-1))
    return torch.stack(cofactors, dim=-1) / determinant[..., None]


def _cofactors(matrix: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
    """The six cofactors and the determinant of matrices whose six values are tensors of their own.

    A little is put on the diagonal, relative to the trace, for points without views: their result is discarded, not NaN.
    """
    a, b, c, d, e, f = matrix
    trace = a + d + f
    ridge = 1e-15 * trace + torch.finfo(trace.dtype).tiny ** 0.25
    a, d, f = a + ridge, d + ridge, f + ridge
    xx, xy, xz = d * f - e * e, c * e - b * f, b * e - c * d
    yy, yz, zz = a * f - c * c, b * c - a * e, a * d - b * b
    return (xx, xy, xz, yy, yz, zz), a * xx + b * xy + c * xz


def multiply_along_rows(matrix: Sequence[Tensor] | Tensor, vector: Tensor) -> Tensor:
    """Matrices (6, ...) times vectors (3, ...), as (3, ...): see `posekit.geometry.views` for why."""
    xx, xy, xz, yy, yz, zz = matrix
    x, y, z = vector
    return torch.stack((xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z))


def solve_along_rows(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve as `solve_symmetric`, but (6, ...) and (3, ...) to (3, ...)."""
    cofactors, determinant = _cofactors(tuple(matrix))
    return multiply_along_rows(cofactors, right) / determinant


def solve_symmetric(matrix: Float[Tensor, "*batch 6"], right: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Solve matrix @ x = right."""
    return solve_along_rows(matrix.movedim(-1, 0), right.movedim(-1, 0)).movedim(0, -1)


def full_symmetric(matrix: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Write all nine values out."""
    return matrix[..., [0, 1, 2, 1, 3, 4, 2, 4, 5]].unflatten(-1, (3, 3))
