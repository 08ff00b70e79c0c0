"""Points placed by all rays to them, without a vote and without a board's shape, for figures of a whole capture."""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from posekit.camera import CameraBatch, Rig

Array = NDArray[np.float64]

#: Points times cameras at a time. So few that neighbours in time, which a part of the cameras saw, are looked at in these only:
#: 31 cameras in a corridor took half of the time.
_CHUNK = 1 << 14

#: Levenberg-Marquardt steps; from the point nearest to the rays three are enough, unless a detection is far off.
_STEPS = 8


def triangulate_freely(rig: Rig, pixels: Float[np.ndarray, "N C 2"]) -> Float[np.ndarray, "N 3"]:
    """Place every point where its squared reprojection error over all views is least: none is voted out, none is weighted.

    pixels: as detected, lens included; NaN where unseen. Starts from the point nearest to the rays. Returns metres; NaN where
    fewer than two views see the point, or where all of its rays are parallel.
    """
    points = np.full((len(pixels), 3), np.nan)
    size = max(_CHUNK // len(rig), 1)
    seen = np.isfinite(pixels).all(axis=-1)
    rows = np.flatnonzero(seen.sum(axis=-1) >= 2)
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        some = np.flatnonzero(seen[chunk].any(axis=0))
        cameras = CameraBatch.from_rig(Rig(tuple(rig.cameras[c] for c in some)))
        points[chunk] = _placed(cameras, torch.from_numpy(np.asarray(pixels[chunk][:, some], dtype=np.float64))).numpy()
    return points


def reprojection_errors(
    rig: Rig, points: Float[np.ndarray, "N 3"], pixels: Float[np.ndarray, "N C 2"]
) -> Float[np.ndarray, "N C"]:
    """Distance (px) from each detection to its point's reprojection; NaN where there is no detection or no point."""
    projected = CameraBatch.from_rig(rig).project(torch.from_numpy(np.asarray(points, dtype=np.float64))).numpy()
    errors: Array = np.linalg.norm(projected - pixels, axis=-1)
    return errors


def _placed(cameras: CameraBatch, pixels: torch.Tensor) -> torch.Tensor:
    points = _nearest_to_rays(cameras, pixels)
    cost, normal, gradient = _normal_equations(cameras, pixels, points)
    damping = torch.full_like(cost, 1e-6)
    for _ in range(_STEPS):
        diagonal = torch.diag_embed(damping[:, None] * normal.diagonal(dim1=-2, dim2=-1) + 1e-12)
        step, info = torch.linalg.solve_ex(normal + diagonal, gradient)
        moved = points - torch.where((info == 0)[:, None], step, 0)
        new_cost, new_normal, new_gradient = _normal_equations(cameras, pixels, moved)
        better = new_cost < cost
        points = torch.where(better[:, None], moved, points)
        cost = torch.where(better, new_cost, cost)
        normal = torch.where(better[:, None, None], new_normal, normal)
        gradient = torch.where(better[:, None], new_gradient, gradient)
        damping = torch.where(better, damping / 10, damping * 30)
    return points


def _nearest_to_rays(cameras: CameraBatch, pixels: torch.Tensor) -> torch.Tensor:
    """The points (N, 3) of least squared distance to the lines of their rays."""
    normalised = cameras.undistort(pixels)
    rays = torch.cat((normalised, torch.ones_like(normalised[..., :1])), dim=-1)
    directions = torch.einsum("cji,ncj->nci", cameras.rotation, rays)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    seen = directions.isfinite().all(dim=-1)
    directions = torch.where(seen[..., None], directions, 0)
    across = torch.eye(3, dtype=rays.dtype) - directions[..., :, None] * directions[..., None, :]
    across = across * seen[..., None, None]
    centres = cameras.centres_world
    points, info = torch.linalg.solve_ex(across.sum(dim=1), torch.einsum("ncij,cj->ni", across, centres))
    return torch.where((info == 0)[:, None], points, torch.nan)


def _normal_equations(
    cameras: CameraBatch, pixels: torch.Tensor, points: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Squared error (N,), infinite where a view that saw the point could not; J^T J (N, 3, 3) and J^T residual (N, 3)."""
    projected, jacobian = cameras.project_with_jacobian(points)
    residual = projected - pixels
    seen = pixels.isfinite().all(dim=-1)
    fine = residual.isfinite().all(dim=-1) & jacobian.isfinite().flatten(-2).all(dim=-1)
    residual = torch.where(fine[..., None], residual, 0)
    jacobian = torch.where(fine[..., None, None], jacobian, 0)
    cost = residual.square().sum(dim=(1, 2))
    cost = torch.where((seen & ~fine).any(dim=1), torch.inf, cost)
    normal = torch.einsum("ncki,nckj->nij", jacobian, jacobian)
    return cost, normal, torch.einsum("ncki,nck->ni", jacobian, residual)
