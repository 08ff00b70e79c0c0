"""Batched augmentation of crops, pictures and joints together.

There is no mirroring here, on purpose: left hands were mirrored to right hands when the crops were cut, and a flipped crop
would teach a hand that does not exist.
"""

import math
from dataclasses import dataclass, fields, replace

import kornia
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """How far crops are moved and disturbed.

    Most crops turn by a normal error of `rotation` (radians: the error of a forearm direction), a share `wide_share` by up to
    +-`wide_rotation` (a bent wrist). zoom: largest factor up and down, drawn evenly in the logarithm. shift: normal spread, as
    a part of the crop's side. gain, channel_gain, contrast, saturation: spread about 1. gamma: largest factor up and down.
    noise: largest standard deviation, of [0, 1]. The shares say how many of the crops are blurred, smeared by motion, made
    coarse (shrunk by up to `coarsest` and blown up again: small hands) or covered by a patch of up to `patch` of the side.
    """

    rotation: float = math.radians(15)
    wide_share: float = 0.2
    wide_rotation: float = math.radians(60)
    zoom: float = 1.3
    shift: float = 0.05
    gain: float = 0.25
    channel_gain: float = 0.12
    contrast: float = 0.25
    saturation: float = 0.4
    gamma: float = 1.5
    noise: float = 0.05
    blur_share: float = 0.25
    motion_share: float = 0.15
    coarse_share: float = 0.3
    coarsest: float = 4.0
    patch_share: float = 0.4
    patch: float = 0.4

    def scaled(self, strength: float) -> "Augmentation":
        """Return the same, weakened by `strength` in [0, 1]; 0 changes nothing but the cut.

        Extents and shares are multiplied by it, factors (zoom, gamma, coarsest) taken to its power. `patch` stays: fewer crops
        are covered, by patches as large.
        """
        scaled = {item.name: getattr(self, item.name) * strength for item in fields(self)}
        scaled["patch"] = self.patch
        for name in ("zoom", "gamma", "coarsest"):
            scaled[name] = getattr(self, name) ** strength
        return replace(self, **scaled)


def augment(
    images: Float[Tensor, "B 3 H W"],
    joints: Float[Tensor, "B J 2"],
    size: int,
    settings: Augmentation,
    generator: torch.Generator,
    magnification: float = 1.0,
) -> tuple[Float[Tensor, "B 3 size size"], Float[Tensor, "B J 2"]]:
    """Move, cut to `size` and disturb crops; joints move with their pixels, NaN stays NaN.

    images: RGB in [0, 1], best larger than `size`, so that turning brings in picture rather than black. magnification: output
    pixels per input pixel before the random zoom.
    """
    matrices = draw_affine(len(images), (images.shape[-2], images.shape[-1]), size, settings, generator, magnification)
    images = kornia.geometry.warp_affine(images, matrices, (size, size), mode="bilinear", padding_mode="zeros")
    joints = joints @ matrices[:, :, :2].mT.to(joints.dtype) + matrices[:, None, :, 2].to(joints.dtype)
    images = cover_with_patches(images, settings, generator)
    images = disturb_colours(images, settings, generator)
    images = lose_detail(images, settings, generator)
    return images, joints


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _subset(count: int, share: float, generator: torch.Generator) -> Tensor:
    return torch.nonzero(torch.rand(count, generator=generator) < share)[:, 0]


def draw_affine(
    count: int,
    input_size: tuple[int, int],
    size: int,
    settings: Augmentation,
    generator: torch.Generator,
    magnification: float = 1.0,
) -> Float[Tensor, "B 2 3"]:
    """Draw the maps from input pixels to output pixels: turn and zoom about the centre, then shift."""
    wide = torch.rand(count, generator=generator) < settings.wide_share
    angle = torch.where(
        wide,
        _uniform((count,), -settings.wide_rotation, settings.wide_rotation, generator),
        settings.rotation * torch.randn(count, generator=generator),
    )
    log_zoom = math.log(settings.zoom)
    zoom = magnification * torch.exp(_uniform((count,), -log_zoom, log_zoom, generator))
    shift = settings.shift * size * torch.randn(count, 2, generator=generator)
    cosine, sine = zoom * torch.cos(angle), zoom * torch.sin(angle)
    linear = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
    centre_in = (torch.tensor([input_size[1], input_size[0]], dtype=torch.float32) - 1) / 2
    offset = (size - 1) / 2 + shift - linear @ centre_in
    return torch.cat([linear, offset[..., None]], dim=-1)


def cover_with_patches(
    images: Float[Tensor, "B 3 S S"], settings: Augmentation, generator: torch.Generator
) -> Float[Tensor, "B 3 S S"]:
    """Cover a part of the crops with a turned superellipse, of one colour or cut from another crop of the batch.

    Labels under the patch stay: the network learns to guess a hidden joint, and its confidence to fall.
    """
    chosen = _subset(len(images), settings.patch_share, generator)
    count, size = len(chosen), images.shape[-1]
    if count == 0:
        return images
    centre = _uniform((count, 2, 1, 1), 0.1 * size, 0.9 * size, generator)
    half = _uniform((count, 2, 1, 1), 0.05 * size, 0.5 * settings.patch * size, generator)
    angle = _uniform((count, 1, 1), 0.0, math.pi, generator)
    grid = torch.arange(size, dtype=torch.float32)
    across, down = grid - centre[:, 0], grid[:, None] - centre[:, 1]
    along = (across * torch.cos(angle) + down * torch.sin(angle)) / half[:, 0]
    aside = (down * torch.cos(angle) - across * torch.sin(angle)) / half[:, 1]
    inside = (along.square().square() + aside.square().square() < 1.0)[:, None]
    others = torch.roll(images, 1, dims=0)[chosen].flip(-2)
    colour = torch.rand(count, 3, 1, 1, generator=generator).expand_as(others)
    plain = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    covered = torch.where(inside, torch.where(plain, colour, others), images[chosen])
    return images.index_copy(0, chosen, covered)


def disturb_colours(
    images: Float[Tensor, "B 3 H W"], settings: Augmentation, generator: torch.Generator
) -> Float[Tensor, "B 3 H W"]:
    """Change saturation, contrast, gain, colour of the light and gamma, each crop by its own draw."""
    count = len(images)

    def about_one(spread: float, channels: int = 1) -> Tensor:
        return 1.0 + _uniform((count, channels, 1, 1), -spread, spread, generator)

    grey = images.mean(dim=1, keepdim=True)
    images = torch.lerp(grey, images, about_one(settings.saturation))
    mean = grey.mean(dim=(-2, -1), keepdim=True)
    images = torch.lerp(mean, images, about_one(settings.contrast))
    images = images * (about_one(settings.gain) * about_one(settings.channel_gain, 3))
    log_gamma = math.log(settings.gamma)
    gamma = torch.exp(_uniform((count, 1, 1, 1), -log_gamma, log_gamma, generator))
    # The small floor keeps the gradient-free power away from 0 ** gamma, where vectorised pow is slow.
    return images.clamp(1e-4, 1.0).pow(gamma)


def lose_detail(
    images: Float[Tensor, "B 3 S S"], settings: Augmentation, generator: torch.Generator
) -> Float[Tensor, "B 3 S S"]:
    """Blur some crops, smear some, make some coarse, add noise to all."""
    count, size = len(images), images.shape[-1]
    chosen = _subset(count, settings.blur_share, generator)
    if len(chosen):
        sigma = _uniform((len(chosen), 1), 0.3, 2.0, generator).expand(-1, 2)
        images = images.index_copy(0, chosen, kornia.filters.gaussian_blur2d(images[chosen], (7, 7), sigma))
    chosen = _subset(count, settings.motion_share, generator)
    if len(chosen):
        angle = _uniform((len(chosen),), 0.0, 180.0, generator)
        smeared = kornia.filters.motion_blur(images[chosen], 7, angle, torch.zeros(len(chosen)))
        images = images.index_copy(0, chosen, smeared)
    chosen = _subset(count, settings.coarse_share, generator)
    if len(chosen):
        factor = float(torch.exp(_uniform((), 0.0, math.log(settings.coarsest), generator)))
        small = max(8, round(size / factor))
        coarse = functional.interpolate(images[chosen], (small, small), mode="bilinear", antialias=True)
        back = functional.interpolate(coarse, images.shape[-2:], mode="bilinear")
        images = images.index_copy(0, chosen, back)
    if settings.noise > 0:
        deviation = _uniform((count, 1, 1, 1), 0.0, settings.noise, generator)
        images = images + deviation * torch.randn(images.shape, generator=generator)
    return images.clamp(0.0, 1.0)
