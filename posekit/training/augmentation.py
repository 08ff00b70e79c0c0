"""Batched augmentation of crops: pictures, joints and what is seen of them together.

There is no mirroring here, on purpose: left hands were mirrored to right hands when the crops were cut, and a flipped crop
would teach a hand that does not exist.
"""

import math
from dataclasses import dataclass, fields, replace

import kornia
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from posekit.training.chance import chosen, uniform
from posekit.training.lost_detail import add_noise, blur, coarsen, compress, smear

#: Settings that no strength weakens: how large or how poor the thing is that a share of the crops gets, and shares of a share.
_KEPT = ("patch", "poorest_quality", "coarse_compression_share")
_FACTORS = ("zoom", "gamma", "coarsest")


@dataclass(frozen=True)
class Augmentation:
    """How far crops are moved and disturbed.

    Most crops turn by a normal error of `rotation` (radians: the error of a forearm direction), a share `wide_share` by up to
    +-`wide_rotation` (a bent wrist). zoom: largest factor up and down, drawn evenly in the logarithm. shift: normal spread, as
    a part of the crop's side.

    gain, channel_gain, contrast, saturation: spread about 1. tint: largest turn of the hue, radians. gamma: largest factor up
    and down. Shares of the crops in false colours, so that no colour of skin makes the hand: hue_share (turned to any hue),
    grey_share, shuffle_share (channels exchanged), inversion_share (a negative).

    noise: largest standard deviation, of [0, 1]. Shares that are blurred (blur_share), smeared by motion (motion_share), made
    coarse (coarse_share: shrunk by up to `coarsest` and blown up again, as small hands are), cut into the blocks of a
    compressed video (compression_share, of JPEG quality `poorest_quality` at worst; and coarse_compression_share of the coarse
    ones while they are small, as a film of far hands is), covered (patch_share: by a patch of up to `patch` of the side, or a
    bar across) or cut (edge_share: black beyond a line, as where a hand leaves the film).
    """

    rotation: float = math.radians(15)
    wide_share: float = 0.2
    wide_rotation: float = math.radians(60)
    zoom: float = 1.4
    shift: float = 0.05
    gain: float = 0.3
    channel_gain: float = 0.15
    contrast: float = 0.3
    saturation: float = 0.4
    tint: float = math.radians(8)
    gamma: float = 1.8
    hue_share: float = 0.15
    grey_share: float = 0.08
    shuffle_share: float = 0.05
    inversion_share: float = 0.02
    noise: float = 0.05
    blur_share: float = 0.2
    motion_share: float = 0.15
    coarse_share: float = 0.45
    coarsest: float = 4.0
    coarse_compression_share: float = 0.5
    compression_share: float = 0.15
    poorest_quality: float = 15.0
    patch_share: float = 0.35
    patch: float = 0.4
    edge_share: float = 0.05

    def scaled(self, strength: float) -> "Augmentation":
        """Return the same, weakened by `strength` in [0, 1]; 0 changes nothing but the size.

        Extents and shares are multiplied by it, factors (zoom, gamma, coarsest) taken to its power. `patch`,
        `poorest_quality` and `coarse_compression_share` stay: fewer crops are covered, compressed or coarse, but as much.
        """
        scaled = {item.name: getattr(self, item.name) * strength for item in fields(self) if item.name not in _KEPT}
        for name in _FACTORS:
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

    images: RGB in [0, 1], best larger than `size`, so that turning brings in picture rather than black, on the generator's
    device. magnification: output pixels per input pixel before the random zoom.
    """
    images, joints, _ = augment_seen(
        images, joints, torch.isfinite(joints).all(dim=-1), size, settings, generator, magnification
    )
    return images, joints


def augment_seen(
    images: Float[Tensor, "B 3 H W"],
    joints: Float[Tensor, "B J 2"],
    visible: Bool[Tensor, "B J"],
    size: int,
    settings: Augmentation,
    generator: torch.Generator,
    magnification: float = 1.0,
) -> tuple[Float[Tensor, "B 3 size size"], Float[Tensor, "B J 2"], Bool[Tensor, "B J"]]:
    """`augment`, which also tells which joints are still seen.

    A joint that a patch covers, or that has left the crop or the film, is no longer visible; its label stays.
    """
    if magnification <= 0.6 and images.shape[-1] % 2 == images.shape[-2] % 2 == 0:
        # Bilinear sampling alone would skip every other pixel.
        images, joints, magnification = functional.avg_pool2d(images, 2), (joints - 0.5) / 2, 2 * magnification
    matrices = draw_affine(len(images), (images.shape[-2], images.shape[-1]), size, settings, generator, magnification)
    # Where a crop reaches beyond its picture it is black, or goes on as any picture does: by its own mirror image.
    beyond = "zeros" if torch.rand((), generator=generator, device=generator.device) < 0.5 else "reflection"
    images = kornia.geometry.warp_affine(images, matrices, (size, size), mode="bilinear", padding_mode=beyond)
    joints = joints @ matrices[:, :, :2].mT.to(joints.dtype) + matrices[:, None, :, 2].to(joints.dtype)
    images, covered = cover_with_patches(images, joints, settings, generator)
    inside = ((joints >= -0.5) & (joints <= size - 0.5)).all(dim=-1)
    images = disturb_colours(images, settings, generator)
    images = lose_detail(images, settings, generator)
    images, cut = cut_at_edge(images, joints, settings, generator)
    return images, joints, visible & inside & ~covered & ~cut


def draw_affine(
    count: int,
    input_size: tuple[int, int],
    size: int,
    settings: Augmentation,
    generator: torch.Generator,
    magnification: float = 1.0,
) -> Float[Tensor, "B 2 3"]:
    """Draw the maps from input pixels to output pixels: turn and zoom about the centre, then shift."""
    device = generator.device
    angle = torch.where(
        chosen(count, settings.wide_share, generator),
        uniform((count,), -settings.wide_rotation, settings.wide_rotation, generator),
        settings.rotation * torch.randn(count, generator=generator, device=device),
    )
    log_zoom = math.log(settings.zoom)
    zoom = magnification * torch.exp(uniform((count,), -log_zoom, log_zoom, generator))
    shift = settings.shift * size * torch.randn(count, 2, generator=generator, device=device)
    cosine, sine = zoom * torch.cos(angle), zoom * torch.sin(angle)
    linear = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
    centre_in = (torch.tensor([input_size[1], input_size[0]], dtype=torch.float32, device=device) - 1) / 2
    offset = (size - 1) / 2 + shift - linear @ centre_in
    return torch.cat([linear, offset[..., None]], dim=-1)


def cover_with_patches(
    images: Float[Tensor, "B 3 S S"],
    joints: Float[Tensor, "B J 2"],
    settings: Augmentation,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "B 3 S S"], Bool[Tensor, "B J"]]:
    """Cover a part of the crops with a turned superellipse, of one colour or cut from another crop of the batch.

    One in four is so long that it is a bar across the crop. Returns the pictures and which joints lie under the patch: labels
    stay, the network learns to guess a hidden joint, and its confidence to fall. `images` is overwritten.
    """
    picked = torch.nonzero(chosen(len(images), settings.patch_share, generator))[:, 0]
    count, size = len(picked), images.shape[-1]
    covered = torch.zeros(joints.shape[:2], dtype=torch.bool, device=joints.device)
    if count == 0:
        return images, covered
    centre = uniform((count, 2, 1, 1), 0.1 * size, 0.9 * size, generator)
    half = uniform((count, 2, 1, 1), 0.05 * size, 0.5 * settings.patch * size, generator)
    bar = chosen(count, 0.25, generator)
    long = torch.tensor([[1.5 * size]], device=half.device).expand(count, 1, 1)
    thin = uniform((count, 1, 1), 0.02 * size, 0.12 * size, generator)
    half = torch.where(bar[:, None, None, None], torch.stack([long, thin], dim=1), half)
    angle = uniform((count, 1, 1), 0.0, math.pi, generator)

    def inside(x: Tensor, y: Tensor) -> Tensor:
        across, down = x - centre[:, 0], y - centre[:, 1]
        along = (across * torch.cos(angle) + down * torch.sin(angle)) / half[:, 0]
        aside = (down * torch.cos(angle) - across * torch.sin(angle)) / half[:, 1]
        return along.square().square() + aside.square().square() < 1.0

    grid = torch.arange(size, dtype=torch.float32, device=images.device)
    others = images[picked - 1].flip(-2)
    colour = uniform((count, 3, 1, 1), 0.0, 1.0, generator).expand_as(others)
    plain = chosen(count, 0.5, generator)[:, None, None, None]
    patched = torch.where(inside(grid, grid[:, None])[:, None], torch.where(plain, colour, others), images[picked])
    covered[picked] = inside(joints[picked, :, :1], joints[picked, :, 1:])[..., 0]
    images[picked] = patched
    return images, covered


def cut_at_edge(
    images: Float[Tensor, "B 3 S S"],
    joints: Float[Tensor, "B J 2"],
    settings: Augmentation,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "B 3 S S"], Bool[Tensor, "B J"]]:
    """Make a part of the crops black beyond a line of any direction, at most half a side from the middle.

    Returns the pictures and which joints lie beyond; their labels stay, as under patches. `images` is overwritten.
    """
    count, size = len(images), images.shape[-1]
    picked = torch.nonzero(chosen(count, settings.edge_share, generator))[:, 0]
    angle = uniform((count, 1, 1), -math.pi, math.pi, generator)[picked]
    distance = uniform((count, 1, 1), 0.0, 0.5 * size, generator)[picked]

    def beyond(x: Tensor, y: Tensor) -> Tensor:
        middle = (size - 1) / 2
        return (x - middle) * torch.cos(angle) + (y - middle) * torch.sin(angle) > distance

    grid = torch.arange(size, dtype=torch.float32, device=images.device)
    images[picked] = images[picked].masked_fill_(beyond(grid, grid[:, None])[:, None], 0.0)
    cut = torch.zeros(joints.shape[:2], dtype=torch.bool, device=joints.device)
    cut[picked] = beyond(joints[picked, :, :1], joints[picked, :, 1:])[..., 0]
    return images, cut


def disturb_colours(
    images: Float[Tensor, "B 3 H W"], settings: Augmentation, generator: torch.Generator
) -> Float[Tensor, "B 3 H W"]:
    """Change hue, saturation, contrast, gain, the light's colour and gamma, each crop by its own draw.

    All but gamma are one affine map of RGB for every crop, which costs a single product over the pixels.
    """
    count, (height, width) = len(images), images.shape[-2:]
    linear, offset = draw_colours(images.mean(dim=(-2, -1)), settings, generator)
    mapped = torch.baddbmm(offset[..., None], linear, images.reshape(count, 3, -1)).view(count, 3, height, width)
    log_gamma = math.log(settings.gamma)
    gamma = torch.exp(uniform((count, 1, 1, 1), -log_gamma, log_gamma, generator))
    # The small floor keeps the gradient-free power away from 0 ** gamma, where vectorised pow is slow.
    return mapped.clamp_(1e-4, 1.0).pow_(gamma)


def draw_colours(
    mean: Float[Tensor, "B 3"], settings: Augmentation, generator: torch.Generator
) -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, "B 3"]]:
    """Draw a map rgb -> linear @ rgb + offset for every crop. mean: the crops' mean colours."""
    count, device = len(mean), mean.device
    identity = torch.eye(3, device=device).expand(count, 3, 3)

    def about_one(spread: float, channels: int = 1) -> Tensor:
        return 1.0 + uniform((count, channels, 1), -spread, spread, generator)

    angle = torch.where(
        chosen(count, settings.hue_share, generator),
        uniform((count,), -math.pi, math.pi, generator),
        uniform((count,), -settings.tint, settings.tint, generator),
    )
    grey = chosen(count, settings.grey_share, generator)[:, None, None]
    saturation = torch.where(grey, 0.0, about_one(settings.saturation))
    linear = torch.lerp(torch.full_like(identity, 1.0 / 3.0), identity, saturation) @ _hue_rotation(angle)
    order = torch.rand(count, 3, generator=generator, device=device).argsort(dim=-1)
    shuffled = torch.where(
        chosen(count, settings.shuffle_share, generator)[:, None], order, torch.arange(3, device=device)
    )
    linear = torch.gather(linear, 1, shuffled[..., None].expand(-1, -1, 3))
    contrast = about_one(settings.contrast)
    # Hue and saturation keep the mean of the three channels, about which contrast works.
    offset = (1.0 - contrast[..., 0]) * mean.mean(dim=-1, keepdim=True)
    gain = about_one(settings.gain) * about_one(settings.channel_gain, 3)
    linear, offset = linear * contrast * gain, offset * gain[..., 0]
    negative = chosen(count, settings.inversion_share, generator)
    linear = torch.where(negative[:, None, None], -linear, linear)
    return linear, torch.where(negative[:, None], 1.0 - offset, offset)


def _hue_rotation(angle: Float[Tensor, " B"]) -> Float[Tensor, "B 3 3"]:
    """Turn RGB about the grey diagonal (Rodrigues' formula): hues change, the mean of the channels does not."""
    cosine, rest, sine = torch.cos(angle), (1.0 - torch.cos(angle)) / 3.0, torch.sin(angle) / math.sqrt(3.0)
    first, second, third = cosine + rest, rest - sine, rest + sine
    rows = [
        torch.stack(row, dim=-1) for row in ((first, second, third), (third, first, second), (second, third, first))
    ]
    return torch.stack(rows, dim=-2)


def lose_detail(
    images: Float[Tensor, "B 3 S S"], settings: Augmentation, generator: torch.Generator
) -> Float[Tensor, "B 3 S S"]:
    """Blur some crops, smear some, make some coarse, compress some, add noise to all; `images` is overwritten."""

    def far_away(some: Tensor, chance: torch.Generator) -> Tensor:
        share, quality = settings.coarse_compression_share, settings.poorest_quality
        return coarsen(some, settings.coarsest, settings.noise, share, quality, chance)

    for effect, share in (
        (blur, settings.blur_share),
        (smear, settings.motion_share),
        (far_away, settings.coarse_share),
        (lambda some, chance: compress(some, settings.poorest_quality, chance), settings.compression_share),
    ):
        picked = torch.nonzero(chosen(len(images), share, generator))[:, 0]
        if len(picked):
            images[picked] = effect(images[picked], generator)
    if settings.noise > 0:
        images = add_noise(images, settings.noise, generator)
    return images.clamp_(0.0, 1.0)
