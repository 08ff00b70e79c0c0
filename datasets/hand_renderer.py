"""Draw hands: points into a depth buffer, then shading of the pixels that were hit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from posekit.datasets.hand_looks import HandLooks
from posekit.datasets.hand_markings import FIELDS
from posekit.datasets.hand_model import FLESH_DEPTH, PosedHands
from posekit.datasets.hand_shading import Lamp, shade, where
from posekit.datasets.hand_surface import HandSurface, hand_surface
from posekit.datasets.held_objects import NOTHING, HeldObjects, draw_object, object_bounds

# Depth is kept in whole micrometres so that one integer holds depth and point, and one scatter finds the nearest.
_DEPTH_UNIT = 1e-6
_ID_BITS = 20
_FAR = torch.iinfo(torch.int64).max
# Skinning is one matrix product for this many hands; more would leave the cache.
_SKINNED_TOGETHER = 16
# The flesh in front of a joint may be this much thicker than a mean hand's before the joint counts as hidden.
_VISIBLE_TOLERANCE = 5e-3
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
    """A camera's picture, or the part of it in which there is something: all in oversampled pixels."""

    focal: float
    centre: tuple[float, float]
    left: int
    top: int
    width: int
    height: int
    radial: tuple[float, float] | None = None


@dataclass(frozen=True)
class HandPictures:
    """B drawn hands and their labels.

    rgba: (B,4,H,W) float32 in [0,1], display colours, premultiplied by alpha. joints_px: (B,21,2). joints: (B,21,3)
    metres in the camera's frame. visible: (B,21) nothing but the joint's own flesh lies before it, and it lies inside
    the picture.
    """

    rgba: Tensor
    joints_px: Tensor
    joints: Tensor
    visible: Tensor


def render_hands(
    hands: PosedHands,
    views: CameraViews,
    looks: HandLooks,
    size: tuple[int, int],
    *,
    objects: HeldObjects | None = None,
    oversample: float = 1.5,
) -> HandPictures:
    """Draw B right hands.

    hands: in the cameras' frames (x right, y down, z forward), metres, all in front of the camera. size: (width, height).
    oversample: the picture is drawn this many times larger, then averaged. objects: drawn without the lens's distortion.
    """
    surface = hand_surface()
    B = hands.joints.shape[0]
    rgba = torch.zeros(B, 4, size[1], size[0])
    joints_px = views.project(hands.joints)
    inside = ((joints_px > -0.5) & (joints_px < torch.tensor([size[0] - 0.5, size[1] - 0.5]))).all(-1)
    clear = torch.zeros_like(inside)
    own_flesh = hands.radii * torch.from_numpy(FLESH_DEPTH.astype(np.float32))
    for start in range(0, B, _SKINNED_TOGETHER):
        together = slice(start, min(start + _SKINNED_TOGETHER, B))
        position, normal = surface.skin(hands.skin_from_rest[together])
        for i in range(len(position)):
            b = start + i
            window = Window(
                focal=float(views.focal[b]) * oversample,
                centre=((float(views.centre[b, 0]) + 0.5) * oversample - 0.5,
                        (float(views.centre[b, 1]) + 0.5) * oversample - 0.5),
                left=0, top=0, width=round(size[0] * oversample), height=round(size[1] * oversample),
                radial=None if views.radial is None else (float(views.radial[b, 0]), float(views.radial[b, 1])),
            )  # fmt: skip
            thing = None if objects is None or int(objects.kind[b]) == NOTHING else objects.take(torch.tensor([b]))
            _dress(surface, position[i], normal[i], looks, b)
            drawn = _draw(surface, position[i], normal[i], looks, b, window, thing)
            if drawn is not None:
                part, depth, shown = drawn
                _shrink_into(rgba[b], part, window, shown)
                before = _depth_at(depth, shown, (joints_px[b] + 0.5) * oversample - 0.5)
                clear[b] = before > hands.joints[b, :, 2] - own_flesh[b] - _VISIBLE_TOLERANCE
    return HandPictures(rgba, joints_px, hands.joints, inside & clear)


def _dress(surface: HandSurface, position: Tensor, normal: Tensor, looks: HandLooks, b: int) -> None:
    """Push the points (3,V) under the sleeve of hand b outwards, in place, with folds."""
    start = float(looks.sleeve_start[b])
    below = surface.fields[surface.forearm :, FIELDS.index("below_wrist")]
    if start > float(below[-1]) and start > 0.2:
        return
    inside = (below - start).clamp(min=0)
    folds = 1 + 0.35 * torch.sin(below * 260 + 2 * surface.fields[surface.forearm :, FIELDS.index("mottle_0")])
    push = (inside * 4e2).clamp(max=1) * folds * float(looks.sleeve_thickness[b])
    unit = normal[:, surface.forearm :]
    position[:, surface.forearm :] += unit * ((unit * unit).sum(0).clamp(min=1e-20).rsqrt() * push)


def _draw(
    surface: HandSurface,
    position: Tensor,
    normal: Tensor,
    looks: HandLooks,
    b: int,
    window: Window,
    thing: HeldObjects | None,
) -> tuple[Tensor, Tensor, Window] | None:
    """Colours (4,h,w) and depth (h,w) of the part of the window where there is something, or None."""
    x, y, z = position
    inverse = window.focal / z
    if window.radial is not None:
        square = (x * x + y * y) / (z * z)
        inverse = inverse * (1 + square * (window.radial[0] + square * window.radial[1]))
    u, v = x * inverse + window.centre[0], y * inverse + window.centre[1]
    facing = x * normal[0] + y * normal[1] + z * normal[2]
    seen = (facing < 0) & (u > -8) & (u < window.width + 8) & (v > -8) & (v < window.height + 8)
    seen &= z > 0.02
    point = where(seen)
    if len(point) == 0:
        return None
    u, v, depth_here = (c.index_select(0, point) for c in (u, v, z))
    bounds = [float(u.min()) - 4, float(v.min()) - 4, float(u.max()) + 5, float(v.max()) + 5]
    if thing is not None:
        around = object_bounds(thing, window)
        bounds = [*(min(a, c) for a, c in zip(bounds[:2], around[:2], strict=True)),
                  *(max(a, c) for a, c in zip(bounds[2:], around[2:], strict=True))]  # fmt: skip
    left, top = max(0, math.floor(bounds[0])), max(0, math.floor(bounds[1]))
    right, bottom = min(window.width, math.ceil(bounds[2])), min(window.height, math.ceil(bounds[3]))
    if right - left < 2 or bottom - top < 2:
        return None
    part = Window(window.focal, window.centre, left, top, right - left, bottom - top)
    nearest = _nearest_points(surface, point, u - left, v - top, depth_here, part)
    hit = where(nearest != _FAR)
    packed = nearest.index_select(0, hit)
    shown = packed & ((1 << _ID_BITS) - 1)
    depth = torch.full((part.height * part.width,), EMPTY_DEPTH)
    depth[hit] = (packed >> _ID_BITS).to(torch.float32) * _DEPTH_UNIT
    depth = depth.view(part.height, part.width)
    canvas = torch.zeros(4, part.height * part.width)
    colour = shade(surface, position, normal, Lamp.of(looks, b), looks, b, part, depth, hit, shown)
    for channel, values in zip(canvas, (*colour, torch.ones(len(hit))), strict=True):
        channel[hit] = values
    canvas = canvas.view(4, part.height, part.width)
    if thing is not None:
        draw_object(thing, Lamp.of(looks, b), part, canvas, depth)
    return canvas, depth, part


def _splat(u: Tensor, v: Tensor, key: Tensor, stride: int, side: int, nearest: Tensor, margin: int) -> None:
    """Mark the side x side pixels round each point with its key, where that is the least, in place."""
    shift = (side - 2) / 2
    corner = ((v - shift).floor() + margin).to(torch.int64) * stride + ((u - shift).floor() + margin).to(torch.int64)
    for row in range(side):
        for column in range(side):
            nearest.scatter_reduce_(0, corner + (row * stride + column), key, "amin")


def _nearest_points(surface: HandSurface, point: Tensor, u: Tensor, v: Tensor, z: Tensor, part: Window) -> Tensor:
    """Depth and id of the nearest of N points in each pixel: (h*w,) int64, _FAR where none."""
    key = (z / _DEPTH_UNIT).to(torch.int64) * (1 << _ID_BITS) + point
    density = part.focal / float(z.mean())
    # Neighbours stand up to a quarter further apart than the mean, and a little more where the skin is stretched.
    sides = [min(8, max(2, math.ceil(1.3 * s * density))) for s in (surface.spacing, surface.coarse_spacing)]
    margin = max(sides) + 10
    stride = part.width + 2 * margin
    nearest = torch.full(((part.height + 2 * margin) * stride,), _FAR, dtype=torch.int64)
    keep = (u > -8) & (u < part.width + 8) & (v > -8) & (v < part.height + 8)
    split = int((point < surface.coarse).sum())
    for side, group in zip(sides, (slice(0, split), slice(split, None)), strict=True):
        mine = where(keep[group])
        at = [c[group].index_select(0, mine) for c in (u, v, key)]
        _splat(at[0], at[1], at[2], stride, side, nearest, margin)
    grid = nearest.view(part.height + 2 * margin, stride)[margin - 1 : 1 - margin, margin - 1 : 1 - margin]
    # Close pixels through which something far shows between near neighbours on both sides.
    here = grid[1:-1, 1:-1]
    fill = torch.minimum(torch.maximum(grid[1:-1, :-2], grid[1:-1, 2:]), torch.maximum(grid[:-2, 1:-1], grid[2:, 1:-1]))
    step = int(3e-3 / _DEPTH_UNIT) << _ID_BITS
    return torch.where(here - step > fill, fill, here).reshape(-1)


@lru_cache(maxsize=16)
def _shrink_matrix(large: int, small: int) -> Tensor:
    """(small, large): each small pixel is the mean of the large ones beneath it, shared ones by their part."""
    ratio = large / small
    edges = torch.arange(small, dtype=torch.float64)[:, None] * ratio
    pixel = torch.arange(large, dtype=torch.float64)
    overlap = torch.minimum(edges + ratio, pixel + 1) - torch.maximum(edges, pixel)
    return (overlap.clamp(min=0) / ratio).to(torch.float32)


def _shrink_into(rgba: Tensor, canvas: Tensor, whole: Window, part: Window) -> None:
    """Average the part (4,h,w) of the oversampled window into its place in the picture (4,H,W), in place."""
    height, width = rgba.shape[1:]
    top, bottom = part.top * height // whole.height, -(-(part.top + part.height) * height // whole.height)
    left, right = part.left * width // whole.width, -(-(part.left + part.width) * width // whole.width)
    rows = _shrink_matrix(whole.height, height)[top:bottom, part.top : part.top + part.height]
    columns = _shrink_matrix(whole.width, width)[left:right, part.left : part.left + part.width]
    rgba[:, top:bottom, left:right] = (rows @ canvas @ columns.T).clamp_(0, 1)


def _depth_at(depth: Tensor, part: Window, pixels: Tensor) -> Tensor:
    """Depth (N,) at pixels (N,2) of the window of which `depth` is a part; far outside it."""
    column = pixels[:, 0].round().to(torch.int64) - part.left
    row = pixels[:, 1].round().to(torch.int64) - part.top
    outside = (column < 0) | (column >= part.width) | (row < 0) | (row >= part.height)
    found = depth[row.clamp(0, part.height - 1), column.clamp(0, part.width - 1)]
    return torch.where(outside, torch.full_like(found, EMPTY_DEPTH), found)
