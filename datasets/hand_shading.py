"""Colour of the hit pixels: skin with its creases, nails and flush, cloth, light, hollows and cast shadows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from posekit.datasets.hand_looks import BARE, HandLooks
from posekit.datasets.hand_markings import FIELDS
from posekit.datasets.hand_surface import HandSurface

if TYPE_CHECKING:
    from posekit.datasets.hand_renderer import Window

_FIELD = {name: i for i, name in enumerate(FIELDS)}
_MOTTLE = _FIELD["mottle_0"]
_NEAR = 100.0


@dataclass(frozen=True)
class Hits:
    """The N pixels of B pictures that show a hand.

    index: (N,) flat, into (B,h,w). hand: (N,) which of the B. point: (N,) which of its V points of skin.
    """

    index: Tensor
    hand: Tensor
    point: Tensor

    def of(self, values: Tensor) -> Tensor:
        """What each pixel's hand has of the values (B,) or (B,k): (N,) or (k,N)."""
        mine = values.index_select(0, self.hand)
        return mine if mine.ndim == 1 else mine.T


def ambient(sky: Tensor, ground: Tensor, normal: Tensor) -> Tensor:
    """Light (3,...) from above and below on surfaces with unit normals (3,...); y is down."""
    return ground + (0.5 - 0.5 * normal[1]) * (sky - ground)


def where(mask: Tensor) -> Tensor:
    """Flat indices at which a mask is true; numpy finds them several times faster than torch on a CPU."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.reshape(-1).nonzero()[:, 0]


def display(linear: Tensor) -> Tensor:
    """Linear light to display colours in [0,1] (gamma 2: a square root, ten times faster than 2.2)."""
    return linear.clamp(0, 1).sqrt()


def unit(vector: Tensor) -> Tensor:
    """Unit vectors along the first axis (3,...); over three rows this is several times faster than torch's own norm."""
    x, y, z = vector
    return vector * (x * x + y * y + z * z + 1e-20).rsqrt()


def shade(
    surface: HandSurface, position: Tensor, normal: Tensor, looks: HandLooks, part: Window, depth: Tensor, hits: Hits
) -> Tensor:
    """Display colours (3,N) of the N hit pixels of B hands.

    position, normal: (3,B,V) of the skin in the camera's frame. looks: B. depth: (B,h,w) metres.
    """
    at = hits.hand * position.shape[2] + hits.point
    n = unit(normal.reshape(3, -1).index_select(1, at))
    p = position.reshape(3, -1).index_select(1, at)
    field = surface.fields.index_select(0, hits.point).T.contiguous()
    albedo, gloss = _skin(field, looks, hits)
    _put_on(albedo, gloss, field, looks, hits)
    _sleeve(albedo, gloss, field, looks, hits)
    open_sky = _openness(depth, part, hits) * (1 - 0.55 * field[_FIELD["cavity"]])
    dark = 1 - hits.of(looks.occlusion) * (1 - open_sky)
    lamp, lamp_colour = hits.of(looks.light), hits.of(looks.light_colour)
    towards = (lamp * n).sum(0)
    wrap = hits.of(looks.wrap)
    lit = ((towards + wrap) / (1 + wrap)).clamp(min=0)
    lit = lit * (1 - hits.of(looks.shadow) * _shadow(position, looks.light, p, hits)) * (0.45 + 0.55 * dark)
    light = ambient(hits.of(looks.sky), hits.of(looks.ground), n) * dark + lamp_colour * lit
    # Light that has gone through the skin comes out red where the surface turns away from the lamp.
    light[0] += 0.10 * lamp_colour[0] * (1 - towards.abs()) * dark
    half = unit(lamp - unit(p))
    # From 0.3 up: smaller bases give powers too small for fast arithmetic, and no shine.
    shine = (n * half).sum(0).clamp(min=0.3).pow(hits.of(looks.shininess)) * gloss * lit
    return display(albedo * light + shine * lamp_colour)


def _rgb(values: Tensor, red: float, green: float, blue: float) -> Tensor:
    """Values (N,) times a colour: (3,N)."""
    return torch.stack([red * values, green * values, blue * values])


def _skin(field: Tensor, looks: HandLooks, hits: Hits) -> tuple[Tensor, Tensor]:
    skin = hits.of(looks.skin)
    albedo = skin + field[_FIELD["palmar"]] * (hits.of(looks.palm) - skin)
    red = field[_FIELD["knuckle"]] + 0.7 * field[_FIELD["fingertip"]] + 0.3 * field[_MOTTLE]
    albedo *= 1 - _rgb(hits.of(looks.flush) * red, 0.10, 0.48, 0.45)
    strength = hits.of(looks.crease)
    line = (strength * (field[_FIELD["crease"]] + 0.75 * field[_FIELD["palm_line"]])).clamp(max=0.8)
    albedo *= 1 - _rgb(line, 0.62, 0.78, 0.80)
    # Veins are bluish and raised, sinews stand out light; old skin has spots.
    vein = hits.of(looks.vein)
    spots = 0.5 * (field[_FIELD["mottle_3"]] - 1.1).clamp(0, 0.5) * (1 - field[_FIELD["palmar"]])
    ridge = _rgb(field[_FIELD["vein"]], 0.26, 0.15, 0.09) - 0.07 * field[_FIELD["sinew"]]
    albedo *= 1 - vein * (ridge + _rgb(spots, 0.5, 0.8, 1.0))
    on_nail = field[_FIELD["nail"]]
    albedo += on_nail * (hits.of(looks.nail) - albedo)
    noise = (hits.of(looks.mottle) * field[_MOTTLE:]).sum(0).clamp(-0.4, 0.4)
    albedo *= (1 - (0.45 * strength) * field[_FIELD["nail_edge"]]) * (1 + noise)
    return albedo, hits.of(looks.gloss) * (1 + 3 * on_nail)


def _put_on(albedo: Tensor, gloss: Tensor, field: Tensor, looks: HandLooks, hits: Hits) -> None:
    """Glove, ring, watch or bracelet over the skin, in place."""
    below = field[_FIELD["below_wrist"]]
    if bool((looks.glove_end > BARE).any()):
        end = hits.of(looks.glove_end)
        cloth = 1 + (hits.of(looks.mottle) * field[_MOTTLE:]).sum(0) - 0.25 * field[_FIELD["cavity"]]
        cuff = 1 - 0.3 * torch.exp(-(((below - end + 3e-3) / 1.5e-3) ** 2))
        worn = (below < end) & (end > BARE)
        albedo.copy_(torch.where(worn, hits.of(looks.glove) * (cloth * cuff), albedo))
        gloss.copy_(torch.where(worn, hits.of(looks.gloss), gloss))
    finger = hits.of(looks.ring_finger)
    first, last, _ = hits.of(looks.band)
    for mask, metal in (
        ((field[_FIELD["ring"]] == finger) & (finger > 0), looks.metal[:, 0]),
        ((below > first) & (below < last), looks.metal[:, 1]),
    ):
        covered = where(mask)
        if len(covered):
            colour = metal.index_select(0, hits.hand[covered]).T
            albedo[:, covered] = colour * (1 + 0.1 * field[_FIELD["mottle_4"]].index_select(0, covered))
            gloss[covered] = 0.35


def _sleeve(albedo: Tensor, gloss: Tensor, field: Tensor, looks: HandLooks, hits: Hits) -> None:
    """Cloth in place of skin, in place."""
    below = field[_FIELD["below_wrist"]] - hits.of(looks.sleeve_start)
    covered = where(below > 0)
    if not len(covered):
        return
    hand = hits.hand.index_select(0, covered)
    below, field = below[covered], field.index_select(1, covered)
    period, strength, slant = looks.sleeve_pattern.index_select(0, hand).T
    stripe = torch.sin((below + 3e-3 * slant * field[_MOTTLE]) * (2 * torch.pi) / period)
    weave = 0.10 * field[_FIELD["mottle_4"]] + 0.08 * field[_FIELD["mottle_2"]]
    cuff = 1 - 0.3 * torch.exp(-(((below - 0.012) / 1.5e-3) ** 2))
    albedo[:, covered] = looks.sleeve.index_select(0, hand).T * (cuff * (1 + strength * stripe + weave))
    gloss[covered] = 0


def _band(size: int, reach: Tensor) -> Tensor:
    index = torch.arange(size, device=reach.device)
    near = (index[:, None] - index).abs() <= reach[:, None, None]
    return near.to(torch.float32) / (2 * reach + 1)[:, None, None]


def _box_blur(picture: Tensor, reach: Tensor) -> Tensor:
    """Mean over (2 reach + 1) squared pixels of (B,H,W), zero outside, reach (B,) or (1,); products are faster than pooling."""
    height, width = picture.shape[-2:]
    return _band(height, reach) @ picture @ _band(width, reach)


def _openness(depth: Tensor, part: Window, hits: Hits) -> Tensor:
    """How much of the sky the hit pixels see, (N,) in [0.1,1], from how far each lies behind its surroundings."""
    _, height, width = depth.shape
    # The surroundings are looked at in every second pixel.
    middle = depth[:, ::2, ::2]
    drawn = (middle < _NEAR).to(torch.float32)
    seen = middle * drawn
    pixel = 2 * seen.sum((1, 2)) / drawn.sum((1, 2)).clamp(min=1) / part.focal
    total = torch.zeros_like(middle)
    for metres, step in ((2.6e-3, 4e-3), (7e-3, 9e-3)):
        reach = (metres / pixel.clamp(min=1e-6)).round().clamp(1, max(height, width))
        share = _box_blur(drawn, reach)
        behind = (middle - _box_blur(seen, reach) / share.clamp(min=1e-3)) / step
        total += 0.5 * behind.clamp_(0, 1) * (share * 1.6).clamp_(max=1)
    within = hits.index - hits.hand * (height * width)
    row = within // width
    column = within - row * width
    small_height, small_width = (height + 1) // 2, (width + 1) // 2
    place = (hits.hand * small_height + (row >> 1)) * small_width + (column >> 1)
    hollow = _box_blur(total, torch.ones(1, device=depth.device)).reshape(-1).index_select(0, place)
    # A thin dark line where one finger passes in front of another.
    flat = depth.reshape(-1)
    here = flat.index_select(0, hits.index)
    front = here
    for step_to in (-1, 1, -width, width):
        neighbour = (within + step_to).clamp_(0, height * width - 1) - within + hits.index
        front = torch.minimum(front, flat.index_select(0, neighbour))
    contact = ((here - front - 2.5e-3) * 200).clamp_(0, 1)
    return (1 - 0.85 * hollow) * (1 - 0.45 * contact)


def _shadow(position: Tensor, direction: Tensor, p: Tensor, hits: Hits) -> Tensor:
    """How much of the lamp is hidden from the points p (3,N), from a small depth map seen from the lamp, (N,).

    position: (3,B,V). direction: (B,3) to the lamps.
    """
    size, reach = 64, 0.13
    zero = torch.zeros_like(direction[:, 0])
    side = functional.normalize(torch.stack([direction[:, 2], zero, -direction[:, 0]], dim=1) + 1e-6, dim=1)
    axes = torch.stack([side, torch.linalg.cross(direction, side), direction], dim=1)
    cloud = position[:, :, ::5]
    middle = (axes @ cloud[:, :, ::19].mean(2).T[..., None])[..., 0]
    # In cells of the map across, in metres along.
    cell = size / 2 / reach
    rows = torch.cat([axes[:, :2] * cell, axes[:, 2:]], dim=1)
    shift = torch.cat([middle[:, :2] * cell - size / 2, middle[:, 2:]], dim=1)

    def cells(points: Tensor, row: Tensor, start: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        x, y, z = points
        across, down, along = (row[3 * i] * x + row[3 * i + 1] * y + row[3 * i + 2] * z - start[i] for i in range(3))
        column, line = (c.clamp(0, size - 1).to(torch.int64) for c in (across, down))
        return first + line * size + column, along

    B = position.shape[1]
    first = torch.arange(B, device=p.device) * size * size
    index, height = cells(cloud, rows.reshape(B, 9).T[..., None], shift.T[..., None], first[:, None])
    top = torch.full((B * size * size,), -0.3, device=p.device)
    top.scatter_reduce_(0, index.reshape(-1), height.reshape(-1), "amax")
    top = _box_blur(top.view(B, size, size), torch.ones(1, device=p.device)).reshape(-1)
    index, height = cells(p, hits.of(rows.reshape(B, 9)), hits.of(shift), hits.of(first))
    return ((top.index_select(0, index) - height - 6e-3) / 8e-3).clamp(0, 1)
