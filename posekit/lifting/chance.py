"""What a lifter's training draws by itself: turns of the camera about people, and noise for the prior."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from posekit.models.pose_prior import draw_noise_levels


def random_turns(count: int, rng: np.random.Generator) -> Float[Tensor, "B 3 3"]:
    """Rotations about y by any angle, then about x and z by 0.2 and 0.06 rad (standard deviation)."""
    result = np.eye(3, dtype=np.float32)
    for axis, angle in (
        (1, rng.uniform(0, 2 * np.pi, count)),
        (0, rng.normal(0, 0.2, count)),
        (2, rng.normal(0, 0.06, count)),
    ):
        result = _about(axis, angle) @ result
    return torch.from_numpy(result)


def elevated_turns(elevation: Float[Tensor, " B"], rng: np.random.Generator) -> Float[Tensor, "B 3 3"]:
    """Rotations from cameras that look down on people by known angles to others, all round, at elevations like these.

    elevation: rad. It is taken out, so that people stand upright; they are turned about the vertical by any angle, and tipped
    by an elevation out of the normal distribution with the batch's mean and standard deviation, then about z by 0.06 rad
    (standard deviation). Differentiable in the elevations (ElePose, Wandt et al., CVPR 2022).
    """
    count = len(elevation)
    azimuth = torch.from_numpy(_about(1, rng.uniform(0, 2 * np.pi, count)))
    chance = torch.from_numpy(rng.standard_normal(count, dtype=np.float32))
    roll = torch.from_numpy(_about(2, rng.normal(0, 0.06, count)))
    # Of the variance, so that the root has a gradient where all elevations are the same.
    spread = (elevation.var(correction=0) + 1e-8).sqrt()
    return roll @ _tipped(elevation.mean() + spread * chance) @ azimuth @ _tipped(-elevation)


def _tipped(angle: Float[Tensor, " B"]) -> Float[Tensor, "B 3 3"]:
    """Rotations about x, as `_about` has them: what stands upright is seen from so high."""
    cosine, sine, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rows = (one, zero, zero), (zero, cosine, -sine), (zero, sine, cosine)
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _about(axis: int, angle: Float[np.ndarray, " B"]) -> Float[np.ndarray, "B 3 3"]:
    turn = np.zeros((len(angle), 3, 3), dtype=np.float32)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn[:, axis, axis] = 1
    turn[:, first, first] = turn[:, second, second] = np.cos(angle)
    turn[:, second, first], turn[:, first, second] = np.sin(angle), -np.sin(angle)
    return turn


def noise_for(poses: Tensor, low: float, high: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Noise levels (B, 1, 1) between two, and normal numbers of variance 1 like the poses."""
    levels = draw_noise_levels(torch.from_numpy(rng.random(len(poses), dtype=np.float32)), low, high)
    return levels, torch.from_numpy(rng.standard_normal(tuple(poses.shape), dtype=np.float32))
