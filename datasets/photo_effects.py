"""What a camera does to a picture: colour, little light, blur, few pixels, noise, compression."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

_GREY_SHARE = 0.08
_CAST_SHARE = 0.12
_DIM_SHARE = 0.09


def colour_effects(rng: np.random.Generator, pictures: Tensor) -> Tensor:
    """Random contrast, brightness, white balance, saturation and gamma; pictures (B,3,H,W) in [0,1].

    Some come out grey, some with a cast of colour, some dark.
    """
    B = pictures.shape[0]

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (B, channels, 1, 1)).astype(np.float32))

    def some(share: float) -> Tensor:
        return torch.from_numpy((rng.random((B, 1, 1, 1)) < share).astype(np.float32))

    grey = pictures.mean(1, keepdim=True)
    out = grey + (pictures - grey) * (1 + draw(-0.45, 0.3)) * (1 - some(_GREY_SHARE))
    cast = 1 + draw(-0.08, 0.08, 3) + some(_CAST_SHARE) * draw(-0.3, 0.25, 3)
    dim = 1 - some(_DIM_SHARE) * draw(0.3, 0.75)
    out = out * cast * (1 + draw(-0.3, 0.2)) * dim
    # Contrast about the picture's own middle: dark pictures stay dark.
    middle = 0.5 * dim
    out = (out - middle) * (1 + draw(-0.35, 0.25)) + middle + draw(-0.06, 0.06)
    return out.clamp_(0, 1)


def motion_kernel(length: float, angle: float) -> np.ndarray:
    """A filter (k,k) that smears along a straight line of `length` px at `angle` radians, about the middle."""
    side = int(np.ceil(length)) // 2 * 2 + 1
    kernel = np.zeros((side, side), dtype=np.float32)
    middle = side // 2
    step = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    start, end = (tuple(round(float(v)) for v in middle + sign * step) for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0, 1)
    return np.asarray(kernel / kernel.sum())


def _damage(rng: np.random.Generator, picture: np.ndarray) -> tuple[np.ndarray, float]:
    """Blur, lose pixels, add noise and compress one picture (S,S,3) uint8; also return what is left of its side's pixels."""
    size = picture.shape[0]
    if rng.random() < 0.18:
        kernel = motion_kernel(float(rng.uniform(2, size * 0.08)), float(rng.uniform(0, np.pi)))
        picture = cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    if rng.random() < 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, size / 85)))
    if rng.random() < 0.12:
        # Webcams and phones sharpen, and leave light seams along dark edges.
        soft = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.6, 1.6)))
        amount = float(rng.uniform(0.3, 1.2))
        picture = cv2.addWeighted(picture, 1 + amount, soft, -amount, 0)
    if rng.random() < 0.55:
        # Real hands are often only 50 px long, and are shown to the network enlarged.
        small = int(size * np.exp(rng.uniform(np.log(0.25), 0)))
        down = cv2.INTER_AREA if rng.random() < 0.7 else cv2.INTER_LINEAR
        reduced = cv2.resize(picture, (small, small), interpolation=down)
        reduced = _noise_and_jpeg(rng, reduced)
        up = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
        return cv2.resize(reduced, (size, size), interpolation=up), small / size
    return _noise_and_jpeg(rng, picture), 1.0


def _noise_and_jpeg(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    if rng.random() < 0.5:
        noise = np.empty(picture.shape, dtype=np.int16)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        # Most cameras are quiet; a few are not.
        cv2.randn(noise, np.zeros(3), np.full(3, float(min(14.0, 0.7 + rng.exponential(3.0)))))
        picture = cv2.add(picture, noise, dtype=cv2.CV_8U)
    if rng.random() < 0.5:
        quality = int(rng.integers(25, 95))
        _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return picture


def damage_pictures(rng: np.random.Generator, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Blur, down- and up-sampling, noise and JPEG; pictures (B,3,S,S) in [0,1] to uint8 of the same shape.

    Also returns (B,) how many pixels there were along a side before up-sampling, as a part of S.
    """
    array = (pictures * 255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    kept = torch.ones(len(array))
    for i in range(len(array)):
        array[i], kept[i] = _damage(rng, array[i])
    return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(), kept
