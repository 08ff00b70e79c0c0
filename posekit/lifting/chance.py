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
