"""What takes detail from a picture: blur, motion, few pixels, compression, noise.

Every picture by its own draw, but for the length of a smear and the size of coarse pictures, which those of one call share.
All take pictures (B, 3, S, S) in [0, 1] and a generator on their device, and return pictures of the same shape.
"""

import math
from functools import lru_cache

import kornia
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from posekit.training.chance import chosen, uniform

#: Quantisation of the luminance at quality 50, ITU-T T.81 (JPEG), table K.1.
_QUANTISATION = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def blur(images: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian of 0.3 to 2 px."""
    sigma = uniform((len(images), 1), 0.3, 2.0, generator).expand(-1, 2)
    return kornia.filters.gaussian_blur2d(images, (7, 7), sigma)


def smear(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move the camera while it exposes: over 3 px, or up to a twelfth of the side."""
    longest = max(3, images.shape[-1] // 12)
    length = 2 * int(uniform((), 1.0, (longest + 1) / 2, generator)) + 1
    angle = uniform((len(images),), 0.0, 180.0, generator)
    return kornia.filters.motion_blur(images, length, angle, torch.zeros_like(angle))


def coarsen(
    images: Tensor,
    coarsest: float,
    noise: float,
    compression_share: float,
    poorest_quality: float,
    generator: torch.Generator,
) -> Tensor:
    """Shrink by up to `coarsest`, add the small pictures' noise, compress a share of them, blow up again: hands far away."""
    size = images.shape[-1]
    factor = float(torch.exp(uniform((), 0.0, math.log(coarsest), generator)))
    small = max(8, round(size / factor))
    coarse = functional.interpolate(images, (small, small), mode="bilinear", antialias=True)
    if noise > 0:
        deviation = uniform((len(images), 1, 1, 1), 0.0, noise, generator)
        coarse = coarse + deviation * torch.randn(coarse.shape, generator=generator, device=images.device)
    compressed = torch.nonzero(chosen(len(images), compression_share, generator))[:, 0]
    if len(compressed):
        coarse[compressed] = compress(coarse[compressed], poorest_quality, generator)
    return functional.interpolate(coarse, images.shape[-2:], mode="bilinear")


def add_noise(images: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Normal noise of up to `largest`. A fourth as many patterns as pictures are drawn; their signs and strengths differ."""
    count = len(images)
    patterns = torch.randn((-(-count // 4), *images.shape[1:]), generator=generator, device=images.device)
    deviation = uniform((count, 1, 1, 1), -largest, largest, generator)
    shown = torch.arange(count, device=images.device) % len(patterns)
    return torch.addcmul(images, patterns[shown], deviation)


def compress(images: Tensor, poorest_quality: float, generator: torch.Generator) -> Tensor:
    """Round the cosine transform of 8 x 8 blocks as JPEG does, at a quality from `poorest_quality` to 75.

    Colours are compressed at the luminance's table and not halved in size. The last blocks are filled up with the edge.
    """
    count, size = len(images), images.shape[-1]
    side = -(-size // 8) * 8
    filled = functional.pad(images, (0, side - size, 0, side - size), mode="replicate")
    cosines, to_luma, table = _compression_tables(images.device)
    quality = uniform((count, 1, 1, 1, 1), min(poorest_quality, 75.0), 75.0, generator)
    # The scale of the Independent JPEG Group's library.
    scale = torch.where(quality < 50, 50.0 / quality, 2.0 - quality / 50.0) / 255.0
    step = table.repeat(1, side // 8) * scale  # (B, 1, 1, 8, side)
    luma = to_luma @ (filled - 0.5).reshape(count, 3, -1)
    rows = cosines @ luma.view(count, 3, side // 8, 8, side)
    coefficients = (rows.view(-1, 8) @ cosines.T).view_as(rows)
    rounded = (coefficients / step).round_().mul_(step)
    rows = cosines.T @ (rounded.view(-1, 8) @ cosines).view_as(rows)
    back = torch.linalg.inv(to_luma) @ rows.reshape(count, 3, -1)
    return back.view(count, 3, side, side)[..., :size, :size] + 0.5


@lru_cache(maxsize=8)
def _compression_tables(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Orthonormal 8-point DCT-II (8, 8), RGB to YCbCr of ITU-R BT.601 (3, 3), quantisation (8, 8), all for [0, 1]."""
    frequency, place = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    cosines = np.cos(np.pi * (2 * place + 1) * frequency / 16) * np.where(frequency == 0, math.sqrt(1 / 8), 0.5)
    red, green, blue = 0.299, 0.587, 0.114
    luma = np.array([red, green, blue])
    to_luma = np.stack(
        [luma, (np.array([0, 0, 1]) - luma) / (2 * (1 - blue)), (np.array([1, 0, 0]) - luma) / (2 * (1 - red))]
    )
    tables = (cosines, to_luma, np.array(_QUANTISATION))
    first, second, third = (torch.tensor(value, dtype=torch.float32, device=device) for value in tables)
    return first, second, third
