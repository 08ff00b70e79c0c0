"""Draw hands: points into a depth buffer, then shading of the pixels that were hit. Several hands at once, on any device."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from posekit.datasets.hand_looks import BARE, HandLooks
from posekit.datasets.hand_model import FLESH_DEPTH, PosedHands
from posekit.datasets.hand_shading import Hits, shade, where
from posekit.datasets.hand_surface import FOREARM_TOP, HandSurface, hand_surface_on
from posekit.datasets.held_objects import NOTHING, HeldObjects, draw_objects, object_bounds

# Depth is kept in whole micrometres so that one integer holds depth and point, and one scatter finds the nearest.
_DEPTH_UNIT = 1e-6
_ID_BITS = 20
_FAR = torch.iinfo(torch.int64).max
# Skinning is one matrix product for this many hands; more would leave a processor's cache. So many are then drawn at once.
_SKINNED_TOGETHER = 16
_DRAWN_TOGETHER = 4
# A graphics processor needs many at once to be busy.
_TOGETHER_ON_GPU = 256
# Depth of pixels that show nothing, in metres: far, yet harmless in float32 arithmetic.
EMPTY_DEPTH = 1e3


@dataclass(frozen=True)
class CameraViews:
    """B cameras: focal (B,) px, principal point (B,2) px, and None or the lens's k1 and k2 (B,2), as OpenCV has them."""

    focal: Tensor
    centre: Tensor
    radial: Tensor | None = None

    def project(self, points: Tensor) -> Tensor:
        """Points (B,N,3) in the cameras' frames, in metres, to pixels (B,N,2)."""
        seen = points[..., :2] / points[..., 2:]
        if self.radial is not None:
            square = (seen * seen).sum(-1, keepdim=True)
            seen = seen * (1 + square * (self.radial[:, None, :1] + square * self.radial[:, None, 1:]))
        return self.focal[:, None, None] * seen + self.centre[:, None]


@dataclass(frozen=True)
class Window:
    """B cameras' pictures, or the part of them in which there is something: all in oversampled pixels.

    focal: (B,). centre: (B,2). left, top, width, height: of the part, the same for all. radial: as in CameraViews.
    """

    focal: Tensor
    centre: Tensor
    left: int
    top: int
    width: int
    height: int
    radial: Tensor | None = None

    def take(self, index: Tensor | slice) -> Window:
        """The same part of the pictures of the cameras at `index`."""
        radial = None if self.radial is None else self.radial[index]
        return replace(self, focal=self.focal[index], centre=self.centre[index], radial=radial)


@dataclass(frozen=True)
class HandPictures:
    """B drawn hands and their labels.

    rgba: (B,4,H,W) float32 in [0,1], display colours, premultiplied by alpha. joints_px: (B,21,2). joints: (B,21,3)
    metres in the camera's frame. visible: (B,21) the joint's pixel lies inside the picture, and the surface drawn there is
    no nearer to the camera than the joint's own flesh can be: than its depth less FLESH_DEPTH times its radius. What is
    further before it is another part of the hand, or the thing in it.
    """

    rgba: Tensor
    joints_px: Tensor
    joints: Tensor
    visible: Tensor

    def to(self, device: torch.device) -> HandPictures:
        """The same on another device."""
        return HandPictures(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def render_hands(
    hands: PosedHands,
    views: CameraViews,
    looks: HandLooks,
    size: tuple[int, int],
    *,
    objects: HeldObjects | None = None,
    oversample: float = 1.5,
) -> HandPictures:
    """Draw B right hands, on the device that the tensors are on.

    hands: in the cameras' frames (x right, y down, z forward), metres, all in front of the camera. size: (width, height).
    oversample: the picture is drawn this many times larger, then averaged. objects: what they hold, in the same frames.
    """
    device = hands.joints.device
    surface = hand_surface_on(device)
    B = hands.joints.shape[0]
    rgba = torch.zeros(B, 4, size[1], size[0], device=device)
    joints_px = views.project(hands.joints)
    limit = torch.tensor([size[0] - 0.5, size[1] - 0.5], device=device)
    inside = ((joints_px > -0.5) & (joints_px < limit)).all(-1)
    clear = torch.zeros_like(inside)
    own_flesh = hands.radii * torch.from_numpy(FLESH_DEPTH.astype(np.float32)).to(device)
    whole = Window(views.focal * oversample, (views.centre + 0.5) * oversample - 0.5, 0, 0,
                   round(size[0] * oversample), round(size[1] * oversample), views.radial)  # fmt: skip
    skinned, drawn_together = (_SKINNED_TOGETHER, _DRAWN_TOGETHER) if device.type == "cpu" else (_TOGETHER_ON_GPU,) * 2
    for first in range(0, B, skinned):
        position, normal = surface.skin(hands.skin_from_rest[first : first + skinned])
        for start in range(0, position.shape[1], drawn_together):
            mine = slice(start, start + drawn_together)
            now = slice(first + start, min(first + start + drawn_together, first + skinned, B))
            look = looks.take(now)
            # A copy: the sleeve is drawn by moving points.
            points = position[:, mine].contiguous()
            _dress(surface, points, normal[:, mine], look)
            window = whole.take(now)
            drawn = _draw(
                surface, points, normal[:, mine], look, window, None if objects is None else objects.take(now)
            )
            if drawn is not None:
                part, depth, shown = drawn
                _shrink_into(rgba[now], part, window, shown)
                before = _depth_at(depth, shown, (joints_px[now] + 0.5) * oversample - 0.5)
                clear[now] = before > hands.joints[now, :, 2] - own_flesh[now]
    return HandPictures(rgba, joints_px, hands.joints, inside & clear)


def _dress(surface: HandSurface, position: Tensor, normal: Tensor, looks: HandLooks) -> None:
    """Push the points (3,B,V) under the sleeves, rings, watches and gloves of B hands outwards, in place, with folds."""
    start, thick = looks.sleeve_start[:, None], looks.sleeve_thickness[:, None]
    first, last, band = looks.band.T[..., None]
    finger, glove = looks.ring_finger[:, None], looks.glove_end[:, None]
    # Most hands wear nothing above the wrist; the forearm's points come last.
    high = bool(((start < -FOREARM_TOP) | (finger > 0) | (glove > BARE)).any())
    begin = 0 if high else surface.forearm
    below, ring, folds = surface.clothing[:, begin:]
    push = ((below - start).clamp(min=0) * 4e2).clamp(max=1) * folds * thick
    push = torch.maximum(push, band * ((below > first) & (below < last)))
    if high:
        push = torch.maximum(push, 0.7e-3 * ((ring == finger) & (finger > 0)))
        push = torch.maximum(push, 0.2 * thick * ((below < glove) & (glove > BARE)))
    outwards = normal[..., begin:]
    x, y, z = outwards
    position[..., begin:] += outwards * ((x * x + y * y + z * z).clamp(min=1e-20).rsqrt() * push)


def _draw(
    surface: HandSurface,
    position: Tensor,
    normal: Tensor,
    looks: HandLooks,
    window: Window,
    things: HeldObjects | None,
) -> tuple[Tensor, Tensor, Window] | None:
    """Colours (B,4,h,w) and depth (B,h,w) of the part of the window where there is something, or None.

    position, normal: (3,B,V).
    """
    x, y, z = position
    B, V = z.shape
    inverse = window.focal[:, None] / z
    if window.radial is not None:
        square = (x * x + y * y) / (z * z)
        inverse = inverse * (1 + square * (window.radial[:, :1] + square * window.radial[:, 1:]))
    u, v = x * inverse + window.centre[:, :1], y * inverse + window.centre[:, 1:]
    facing = x * normal[0] + y * normal[1] + z * normal[2]
    seen = (facing < 0) & (u > -8) & (u < window.width + 8) & (v > -8) & (v < window.height + 8)
    seen &= z > 0.02
    index = where(seen)
    if len(index) == 0:
        return None
    u, v, z = (c.reshape(-1).index_select(0, index) for c in (u, v, z))
    part = _part_of(window, u, v, things)
    if part is None:
        return None
    hand = _row_of_each(seen)
    nearest = _nearest_points(surface, hand, index - hand * V, u - part.left, v - part.top, z, part)
    hit = nearest != _FAR
    flat = where(hit)
    packed = nearest.view(-1).index_select(0, flat)
    hits = Hits(flat, _row_of_each(hit), packed & ((1 << _ID_BITS) - 1))
    depth = torch.full((B * part.height * part.width,), EMPTY_DEPTH, device=z.device)
    depth[flat] = (packed >> _ID_BITS).to(torch.float32) * _DEPTH_UNIT
    depth = depth.view(B, part.height, part.width)
    canvas = torch.zeros(4, B * part.height * part.width, device=z.device)
    colour = shade(surface, position, normal, looks, part, depth, hits)
    for channel, values in zip(canvas[:3], colour, strict=True):
        channel[flat] = values
    canvas[3, flat] = 1.0
    canvas = canvas.view(4, B, part.height, part.width).transpose(0, 1).contiguous()
    if things is not None:
        draw_objects(things, looks, part, canvas, depth)
    return canvas, depth, part


def _row_of_each(mask: Tensor) -> Tensor:
    """In which row of a mask (B,N) each true element lies, in their order; many times faster than dividing indices."""
    rows = torch.arange(len(mask), device=mask.device)
    return rows.repeat_interleave(mask.sum(1))


def _part_of(window: Window, u: Tensor, v: Tensor, things: HeldObjects | None) -> Window | None:
    """The part of the window that holds points (N,) and things, or None if it is no wider or higher than a pixel."""
    low, high = torch.stack([u.min(), v.min()]) - 4, torch.stack([u.max(), v.max()]) + 5
    held = None if things is None else (things.kind != NOTHING).nonzero()[:, 0]
    if things is not None and held is not None and len(held):
        around = object_bounds(things.take(held), window.take(held))
        low, high = torch.minimum(low, around[0]), torch.maximum(high, around[1])
    # Even, so that shading, which looks at every second pixel, does not depend on which hands are drawn together.
    left, top = (max(0, math.floor(c)) // 2 * 2 for c in low.tolist())
    right, bottom = (
        min(limit, math.ceil(c)) for limit, c in zip((window.width, window.height), high.tolist(), strict=True)
    )
    if right - left < 2 or bottom - top < 2:
        return None
    return replace(window, left=left, top=top, width=right - left, height=bottom - top)


def _splat(corner: Tensor, key: Tensor, stride: int, side: int, nearest: Tensor) -> None:
    """Mark side x side pixels from each point's corner on with its key, where that is the least, in place."""
    for row in range(side):
        for column in range(side):
            nearest.scatter_reduce_(0, corner + (row * stride + column), key, "amin")


def _splat_sides(surface: HandSurface, hand: Tensor, coarse: Tensor, z: Tensor, focal: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (2B,) across that points must cover so that they touch, and to which of the 2B each of N points belongs.

    A hand's fine points and its coarse ones: 2 hand + coarse.
    """
    group = hand * 2 + coarse
    spacing = torch.tensor([surface.spacing, surface.coarse_spacing], device=z.device).repeat(len(focal))
    count = torch.bincount(group, minlength=2 * len(focal))
    mean = torch.zeros_like(spacing).scatter_add_(0, group, z) / count.clamp(min=1)
    least = torch.full_like(spacing, EMPTY_DEPTH).scatter_reduce_(0, group, z, "amin")
    # Neighbours stand up to a quarter further apart than the mean, and a little more where the skin is stretched; those
    # near the camera further still.
    near = torch.minimum(0.3 * mean + 0.7 * least, 0.92 * mean).clamp(min=1e-3)
    return (1.2 * spacing * focal.repeat_interleave(2) / near).ceil().clamp(2, 14), group


def _nearest_points(
    surface: HandSurface, hand: Tensor, point: Tensor, u: Tensor, v: Tensor, z: Tensor, part: Window
) -> Tensor:
    """Depth and id of the nearest of N points, each of its hand, in each pixel: (B,h*w) int64, _FAR where none."""
    B = len(part.focal)
    key = (z / _DEPTH_UNIT).to(torch.int64) * (1 << _ID_BITS) + point
    side_of_group, group = _splat_sides(surface, hand, point >= surface.coarse, z, part.focal)
    sides = side_of_group.index_select(0, group)
    keep = (u > -8) & (u < part.width + 8) & (v > -8) & (v < part.height + 8)
    margin = int(side_of_group.max()) + 10
    height, stride = part.height + 2 * margin, part.width + 2 * margin
    shift = (sides - 2) / 2
    row, column = ((c - shift).floor().to(torch.int64) + margin for c in (v, u))
    corner = (hand * height + row) * stride + column
    nearest = torch.full((B * height * stride,), _FAR, dtype=torch.int64, device=z.device)
    for side in side_of_group.unique().tolist():
        mine = where(keep & (sides == side))
        _splat(corner.index_select(0, mine), key.index_select(0, mine), stride, int(side), nearest)
    grid = nearest.view(B, height, stride)[:, margin - 1 : 1 - margin, margin - 1 : 1 - margin]
    # Close pixels through which something far shows between near neighbours on both sides.
    here = grid[:, 1:-1, 1:-1]
    across = torch.maximum(grid[:, 1:-1, :-2], grid[:, 1:-1, 2:])
    fill = torch.minimum(across, torch.maximum(grid[:, :-2, 1:-1], grid[:, 2:, 1:-1]))
    step = int(3e-3 / _DEPTH_UNIT) << _ID_BITS
    return torch.where(here - step > fill, fill, here).flatten(1)


@lru_cache(maxsize=16)
def _shrink_matrix(large: int, small: int, device: torch.device) -> Tensor:
    """(small, large): each small pixel is the mean of the large ones beneath it, shared ones by their part."""
    ratio = large / small
    edges = torch.arange(small, dtype=torch.float64, device=device)[:, None] * ratio
    pixel = torch.arange(large, dtype=torch.float64, device=device)
    overlap = torch.minimum(edges + ratio, pixel + 1) - torch.maximum(edges, pixel)
    return (overlap.clamp(min=0) / ratio).to(torch.float32)


def _shrink_into(rgba: Tensor, canvas: Tensor, whole: Window, part: Window) -> None:
    """Average the part (B,4,h,w) of the oversampled window into its place in the pictures (B,4,H,W), in place."""
    height, width = rgba.shape[2:]
    top, bottom = part.top * height // whole.height, -(-(part.top + part.height) * height // whole.height)
    left, right = part.left * width // whole.width, -(-(part.left + part.width) * width // whole.width)
    rows = _shrink_matrix(whole.height, height, rgba.device)[top:bottom, part.top : part.top + part.height]
    columns = _shrink_matrix(whole.width, width, rgba.device)[left:right, part.left : part.left + part.width]
    rgba[:, :, top:bottom, left:right] = (rows @ canvas @ columns.T).clamp_(0, 1)


def _depth_at(depth: Tensor, part: Window, pixels: Tensor) -> Tensor:
    """Depth (B,N) at pixels (B,N,2) of the window of which `depth` (B,h,w) is a part; far outside it."""
    column, row = (pixels.round().to(torch.int64) - torch.tensor([part.left, part.top], device=depth.device)).unbind(-1)
    outside = (column < 0) | (column >= part.width) | (row < 0) | (row >= part.height)
    place = row.clamp(0, part.height - 1) * part.width + column.clamp(0, part.width - 1)
    return torch.where(outside, EMPTY_DEPTH, depth.flatten(1).gather(1, place))
