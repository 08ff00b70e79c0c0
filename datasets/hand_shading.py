"""Colour of the hit pixels: skin with its creases, nails and flush, cloth, light, hollows and cast shadows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from posekit.datasets.hand_looks import HandLooks
from posekit.datasets.hand_markings import FIELDS
from posekit.datasets.hand_surface import HandSurface

if TYPE_CHECKING:
    from posekit.datasets.hand_renderer import Window

_FIELD = {name: i for i, name in enumerate(FIELDS)}
_NEAR = 100.0


@dataclass(frozen=True)
class Lamp:
    """The light on one hand: direction (3,) towards the lamp, and linear colours (3,)."""

    direction: Tensor
    colour: Tensor
    sky: Tensor
    ground: Tensor

    @staticmethod
    def of(looks: HandLooks, b: int) -> Lamp:
        """The light on hand b."""
        return Lamp(looks.light[b], looks.light_colour[b], looks.sky[b], looks.ground[b])

    def ambient(self, normal: Tensor) -> Tensor:
        """Light (3,...) from above and below on surfaces with unit normals (3,...)."""
        up = 0.5 - 0.5 * normal[1]
        shape = (3,) + (1,) * up.ndim
        return self.ground.view(shape) + up * (self.sky - self.ground).view(shape)


def where(mask: Tensor) -> Tensor:
    """Flat indices at which a mask is true; numpy finds them several times faster than torch on a CPU."""
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def display(linear: Tensor) -> Tensor:
    """Linear light to display colours in [0,1] (gamma 2: a square root, ten times faster than 2.2)."""
    return linear.clamp(0, 1).sqrt()


def unit(vector: Tensor) -> Tensor:
    """Unit vectors along the first axis (3,...); over three rows this is several times faster than torch's own norm."""
    x, y, z = vector
    return vector * (x * x + y * y + z * z + 1e-20).rsqrt()


def shade(
    surface: HandSurface,
    position: Tensor,
    normal: Tensor,
    lamp: Lamp,
    looks: HandLooks,
    b: int,
    part: Window,
    depth: Tensor,
    hit: Tensor,
    point: Tensor,
) -> Tensor:
    """Display colours (3,N) of the N hit pixels of hand b.

    position, normal: (3,V) of the skin in the camera's frame. depth: (h,w) metres. hit: (N,) flat indices into depth.
    point: (N,) which of the V points each shows.
    """
    n = unit(normal.index_select(1, point))
    p = position.index_select(1, point)
    field = surface.fields.index_select(0, point).T.contiguous()
    albedo, gloss = _skin(field, looks, b)
    _sleeve(albedo, gloss, field, looks, b)
    open_sky = _openness(depth, part, hit) * (1 - 0.55 * field[_FIELD["cavity"]])
    dark = 1 - float(looks.occlusion[b]) * (1 - open_sky)
    towards = lamp.direction @ n
    wrap = float(looks.wrap[b])
    lit = ((towards + wrap) / (1 + wrap)).clamp(min=0)
    shadow = _shadow(position, lamp.direction, p)
    lit = lit * (1 - float(looks.shadow[b]) * shadow) * (0.45 + 0.55 * dark)
    light = lamp.ambient(n) * dark + lamp.colour[:, None] * lit
    # Light that has gone through the skin comes out red where the surface turns away from the lamp.
    light[0] += 0.10 * float(lamp.colour[0]) * (1 - towards.abs()) * dark
    half = unit(lamp.direction[:, None] - unit(p))
    # From 0.3 up: smaller bases give powers too small for fast arithmetic, and no shine.
    shine = (n * half).sum(0).clamp(min=0.3).pow(float(looks.shininess[b])) * gloss * lit
    return display(albedo * light + shine * lamp.colour[:, None])


def _skin(field: Tensor, looks: HandLooks, b: int) -> tuple[Tensor, Tensor]:
    skin, palm, nail = (c[b][:, None] for c in (looks.skin, looks.palm, looks.nail))
    albedo = skin + field[_FIELD["palmar"]] * (palm - skin)
    red = field[_FIELD["knuckle"]] + 0.7 * field[_FIELD["fingertip"]] + 0.3 * field[_FIELD["mottle_0"]]
    albedo = albedo * (1 - (float(looks.flush[b]) * red) * torch.tensor([[0.10], [0.48], [0.45]]))
    first = _FIELD["mottle_0"]
    strength = float(looks.crease[b])
    line = (strength * (field[_FIELD["crease"]] + 0.75 * field[_FIELD["palm_line"]])).clamp(max=0.8)
    albedo *= 1 - line * torch.tensor([[0.62], [0.78], [0.80]])
    on_nail = field[_FIELD["nail"]]
    albedo += on_nail * (nail - albedo)
    noise = (looks.mottle[b] @ field[first : first + 5]).clamp(-0.4, 0.4)
    albedo *= (1 - (0.45 * strength) * field[_FIELD["nail_edge"]]) * (1 + noise)
    return albedo, float(looks.gloss[b]) * (1 + 3 * on_nail)


def _sleeve(albedo: Tensor, gloss: Tensor, field: Tensor, looks: HandLooks, b: int) -> None:
    """Cloth in place of skin, in place."""
    below = field[_FIELD["below_wrist"]] - float(looks.sleeve_start[b])
    covered = where(below > 0)
    if not len(covered):
        return
    below, field = below[covered], field.index_select(1, covered)
    period, strength, slant = looks.sleeve_pattern[b].tolist()
    stripe = torch.sin((below + 3e-3 * slant * field[_FIELD["mottle_0"]]) * (2 * torch.pi / period))
    weave = 0.10 * field[_FIELD["mottle_4"]] + 0.08 * field[_FIELD["mottle_2"]]
    cuff = 1 - 0.3 * torch.exp(-(((below - 0.012) / 1.5e-3) ** 2))
    albedo[:, covered] = looks.sleeve[b][:, None] * (cuff * (1 + strength * stripe + weave))
    gloss[covered] = 0


@lru_cache(maxsize=512)
def _band(size: int, reach: int) -> Tensor:
    index = torch.arange(size)
    return ((index[:, None] - index).abs() <= reach).to(torch.float32) / (2 * reach + 1)


def _box_blur(picture: Tensor, reach: int) -> Tensor:
    """Mean over (2 reach + 1) squared pixels of (...,H,W), zero outside; as two products, faster than pooling."""
    height, width = picture.shape[-2:]
    return _band(height, reach) @ picture @ _band(width, reach)


def _openness(depth: Tensor, part: Window, hit: Tensor) -> Tensor:
    """How much of the sky the hit pixels see, (N,) in [0.1,1], from how far each lies behind its surroundings."""
    height, width = depth.shape
    # The surroundings are looked at in every second pixel.
    middle = depth[::2, ::2]
    drawn = (middle < _NEAR).to(torch.float32)
    small = torch.stack([middle * drawn, drawn])
    pixel = 2 * float(small[0].sum() / small[1].sum().clamp(min=1)) / part.focal
    total = torch.zeros_like(middle)
    for metres, step in ((2.6e-3, 4e-3), (7e-3, 9e-3)):
        near = _box_blur(small, max(1, round(metres / pixel)))
        behind = (middle - near[0] / near[1].clamp(min=1e-3)) / step
        total += 0.5 * behind.clamp_(0, 1) * (near[1] * 1.6).clamp_(max=1)
    row = hit // width
    column = hit - row * width
    hollow = _box_blur(total, 1).view(-1).index_select(0, (row >> 1) * ((width + 1) // 2) + (column >> 1))
    # A thin dark line where one finger passes in front of another.
    flat = depth.view(-1)
    here = flat.index_select(0, hit)
    front = here
    for step_to in (-1, 1, -width, width):
        front = torch.minimum(front, flat.index_select(0, (hit + step_to).clamp_(0, height * width - 1)))
    contact = ((here - front - 2.5e-3) * 200).clamp_(0, 1)
    return (1 - 0.85 * hollow) * (1 - 0.45 * contact)


def _shadow(position: Tensor, direction: Tensor, p: Tensor) -> Tensor:
    """How much of the lamp is hidden from the points p (3,N), from a small depth map seen from the lamp, (N,)."""
    size, reach = 64, 0.13
    x, _, z = direction.tolist()
    side = functional.normalize(torch.tensor([z, 0.0, -x]) + 1e-6, dim=0)
    axes = torch.stack([side, torch.linalg.cross(direction, side), direction])
    cloud = position[:, ::5]
    centre = axes @ cloud[:, ::19].mean(1)
    scale = torch.tensor([size / 2 / reach, size / 2 / reach, 1.0])
    axes = axes * scale[:, None]
    shift = scale * centre - torch.tensor([size / 2, size / 2, 0.0])

    def cells(points: Tensor) -> tuple[Tensor, Tensor]:
        q = axes @ points - shift[:, None]
        grid = q[:2].clamp(0, size - 1).to(torch.int64)
        return grid[1] * size + grid[0], q[2]

    index, height = cells(cloud)
    top = torch.full((size * size,), -0.3).scatter_reduce_(0, index, height, "amax")
    top = _box_blur(top.view(size, size), 1).view(-1)
    index, height = cells(p)
    return ((top.index_select(0, index) - height - 6e-3) / 8e-3).clamp(0, 1)
