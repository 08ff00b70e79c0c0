"""Chance for a batch, drawn on the generator's own device."""

import torch
from jaxtyping import Bool
from torch import Tensor


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw float32 numbers evenly from [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def chosen(count: int, share: float, generator: torch.Generator) -> Bool[Tensor, " B"]:
    """Choose each of `count` with probability `share`."""
    return torch.rand(count, generator=generator, device=generator.device) < share
