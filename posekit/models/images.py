"""Pictures as a network takes them."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def images_to_tensor(images: UInt8[np.ndarray, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
    """Turn uint8 RGB pictures into float32 in [0, 1], channels first (in channels-last memory)."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(255.0)


def normalise_images(images: Tensor) -> Tensor:
    """Bring RGB pictures in [0, 1] to about zero mean and unit spread: (x - 0.5) / 0.25."""
    return (images - 0.5) * 4.0
