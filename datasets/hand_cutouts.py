"""What happens to a drawn hand before it is laid over a picture: another hand touches it, it moves, it casts a shadow."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from posekit.datasets.photo_effects import motion_kernel

#: So many hands move while what lies behind them stands still; so many cast a shadow on it.
_MOVING_SHARE = 0.12
_SHADOW_SHARE = 0.3
#: So many hands have another one before or behind them, which touches or crosses them.
_CROSSED_SHARE = 0.12


def cross_hands(rng: np.random.Generator, rgba: Tensor, joints_px: Tensor, visible: Tensor) -> None:
    """Lay others of the premultiplied hands (B,4,S,S) before or behind some of them, turned and shifted, in place.

    joints_px: (B,21,2). visible: (B,21) becomes false in place where the other hand lies before a joint.
    """
    size = rgba.shape[-1]
    middle = (size - 1) / 2
    whole = rgba.clone()
    for i in np.flatnonzero(rng.random(len(rgba)) < _CROSSED_SHARE):
        other = whole[(i + 1) % len(rgba)].permute(1, 2, 0).numpy()
        angle, mirror = float(rng.uniform(0, 2 * np.pi)), float(rng.choice([-1, 1]))
        scale = float(np.exp(rng.normal(0, 0.12)))
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        linear = np.array([[mirror * c, -s], [mirror * s, c]])
        # Fingertips first, so that they reach it rather than cover it.
        away = rng.uniform(0.28, 0.52) * size * np.array([-s, c]) / scale + rng.normal(0, 0.06 * size, 2)
        shift = middle - linear @ [middle, middle] + away
        laid = cv2.warpAffine(other, np.c_[linear, shift], (size, size), flags=cv2.INTER_LINEAR)
        front = torch.from_numpy(laid).permute(2, 0, 1)
        if rng.random() < 0.5:
            rgba[i] = front + (1 - front[3]) * rgba[i]
            at = joints_px[i].round().long().clamp(0, size - 1)
            visible[i] &= front[3, at[:, 1], at[:, 0]] < 0.5
        else:
            rgba[i] += (1 - rgba[i, 3]) * front


def blur_hands(rng: np.random.Generator, rgba: Tensor) -> None:
    """Smear some of the premultiplied hands (B,4,S,S) along a line about where they are, in place."""
    size = rgba.shape[-1]
    for i in np.flatnonzero(rng.random(len(rgba)) < _MOVING_SHARE):
        kernel = motion_kernel(float(rng.uniform(2, 0.11 * size)), float(rng.uniform(0, np.pi)))
        for channel in rgba[i].numpy():
            channel[:] = cv2.filter2D(channel, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def cast_shadows(rng: np.random.Generator, rgba: Tensor) -> None:
    """Lay under some premultiplied hands (B,4,S,S) their shadow on a near wall or table, black of some alpha; in place."""
    size = rgba.shape[-1]
    for i in np.flatnonzero(rng.random(len(rgba)) < _SHADOW_SHARE):
        alpha = rgba[i, 3].numpy()
        far = float(rng.uniform(0.02, 0.25)) * size
        angle = float(rng.uniform(0, 2 * np.pi))
        grow, slant = rng.uniform(0.95, 1.15), rng.normal(0, 0.15)
        middle = (size - 1) / 2
        linear = np.array([[grow, slant], [0.0, grow]])
        shift = middle - linear @ [middle, middle] + far * np.array([np.cos(angle), np.sin(angle)])
        shadow = cv2.warpAffine(alpha, np.c_[linear, shift], (size, size), borderMode=cv2.BORDER_REPLICATE)
        # The further off the wall, the softer the edge.
        shadow = cv2.GaussianBlur(shadow, (0, 0), 0.5 + float(rng.uniform(0.05, 0.3)) * far)
        alpha += (1 - alpha) * shadow * float(rng.uniform(0.15, 0.75))
