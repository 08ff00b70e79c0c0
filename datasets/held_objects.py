"""Things in the hand: boxes, cylinders and ellipsoids that hide some of its joints."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from posekit.datasets.hand_looks import HandLooks
from posekit.datasets.hand_shading import ambient, display, unit

if TYPE_CHECKING:
    from posekit.datasets.hand_renderer import Window

BOX, CYLINDER, ELLIPSOID, NOTHING = 0, 1, 2, 3
_MISS = 1e4


@dataclass(frozen=True)
class HeldObjects:
    """One thing for each of B pictures.

    kind: (B,) BOX, CYLINDER (along its third axis), ELLIPSOID or NOTHING. centre: (B,3) metres in the camera's frame.
    axes: (B,3,3) rows are the thing's own axes in that frame. half: (B,3) half of its extent along them. colour:
    (B,2,3) linear RGB of its two tones. stripe: (B,2) stripes per metre along its first and third axis; both make a
    chequered print, 0 is none along that axis.
    """

    kind: Tensor
    centre: Tensor
    axes: Tensor
    half: Tensor
    colour: Tensor
    stripe: Tensor

    def take(self, index: Tensor | slice) -> HeldObjects:
        """The things at `index`."""
        return HeldObjects(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def moved(self, rotation: Tensor, translation: Tensor) -> HeldObjects:
        """Apply x -> R x + t; rotation (B,3,3), translation (B,3)."""
        centre = (rotation @ self.centre[..., None])[..., 0] + translation
        return replace(self, centre=centre, axes=self.axes @ rotation.transpose(1, 2))


def object_bounds(things: HeldObjects, window: Window) -> tuple[Tensor, Tensor]:
    """First and last pixel (2,) of the window that any of the things can reach; of all of it if one nears the lens."""
    steps = torch.tensor([-1.0, 1.0], device=things.centre.device)
    signs = torch.cartesian_prod(steps, steps, steps)
    corners = (signs * things.half[:, None]) @ things.axes + things.centre[:, None]
    seen = corners[..., :2] / corners[..., 2:].clamp(min=1e-3)
    if window.radial is not None:
        # A lens that pulls the corners in pulls the middles of the sides in less.
        seen = torch.cat([seen, seen * _lens(window.radial, seen.square().sum(-1))[..., None]], dim=1)
    seen = window.focal[:, None, None] * seen + window.centre[:, None]
    near = (corners[..., 2].amin(1) < 0.05)[:, None]
    low = torch.where(near, -1e6, seen.amin(1) - 1).amin(0)
    return low, torch.where(near, 1e6, seen.amax(1) + 2).amax(0)


def draw_objects(things: HeldObjects, looks: HandLooks, part: Window, canvas: Tensor, depth: Tensor) -> None:
    """Draw B things into colours (B,4,h,w) and depth (B,h,w) in place, before what lies behind them.

    By casting rays in the frame in which a thing is a unit box, cylinder or ball. looks: B, whose light falls on them.
    """
    for kind in (BOX, CYLINDER, ELLIPSOID):
        mine = (things.kind == kind).nonzero()[:, 0]
        if len(mine):
            _draw_kind(kind, things.take(mine), looks.take(mine), part.take(mine), canvas, depth, mine)


def _draw_kind(
    kind: int, things: HeldObjects, looks: HandLooks, part: Window, canvas: Tensor, depth: Tensor, into: Tensor
) -> None:
    height, width = depth.shape[1:]
    pixel = torch.arange(max(height, width), device=depth.device)
    x, y = (
        (pixel[:count] + start - part.centre[:, i, None]) / part.focal[:, None]
        for i, (count, start) in enumerate(((width, part.left), (height, part.top)))
    )
    x, y = x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)
    if part.radial is not None:
        x, y = _undistorted(part.radial, x, y)
    axes = things.axes / things.half[..., None]
    starts = [s[:, None, None] for s in (-(axes @ things.centre[..., None])[..., 0]).unbind(1)]
    rays = [x * a[:, 0, None, None] + y * a[:, 1, None, None] + a[:, 2, None, None] for a in axes.unbind(1)]
    rays = [torch.where(r.abs() < 1e-6, 1e-6, r) for r in rays]
    near, normal = _hit(kind, starts, rays)
    behind = depth[into]
    before = near < behind
    facing = unit(torch.einsum("bij,ibhw->jbhw", axes, torch.stack(normal)))
    light = looks.light.T[..., None, None]
    lit = (light * facing).sum(0).clamp(min=0)
    wave = torch.ones_like(near)
    for axis, per_metre in zip((0, 2), things.stripe.unbind(1), strict=True):
        turns = (things.half[:, axis] * per_metre * (2 * torch.pi))[:, None, None]
        printed = torch.sin((starts[axis] + near * rays[axis]) * turns)
        wave = wave * torch.where(per_metre[:, None, None] > 0, printed, 1.0)
    first, second = things.colour.permute(1, 2, 0)[..., None, None]
    albedo = torch.where(wave > 0, second, first)
    sky, ground, lamp = (c.T[..., None, None] for c in (looks.sky, looks.ground, looks.light_colour))
    shown = display(albedo * (ambient(sky, ground, facing) + lamp * lit))
    shown = torch.cat([shown, torch.ones_like(shown[:1])]).transpose(0, 1)
    canvas[into] = torch.where(before[:, None], shown, canvas[into])
    depth[into] = torch.where(before, near, behind)


def _lens(radial: Tensor, square: Tensor) -> Tensor:
    """By how much a lens (B,2) of k1, k2 moves points outwards whose squared distance from the axis is (B,...)."""
    first, second = (k.view(-1, *(1,) * (square.ndim - 1)) for k in radial.unbind(1))
    return 1 + square * (first + square * second)


def _undistorted(radial: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Where points x, y (B,h,w) seen through the lens would be without it; by fixed point, as OpenCV does."""
    straight = x, y
    for _ in range(6):
        factor = _lens(radial, straight[0] ** 2 + straight[1] ** 2)
        straight = x / factor, y / factor
    return straight


def _quadric(starts: list[Tensor], rays: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Where rays start + t ray enter and leave the unit ball in as many dimensions as are given."""
    a = torch.stack([r * r for r in rays]).sum(0)
    b = torch.stack([s * r for s, r in zip(starts, rays, strict=True)]).sum(0)
    root = b * b - a * (torch.stack([s * s for s in starts]).sum(0) - 1)
    width = root.clamp(min=0).sqrt()
    return torch.where(root > 0, (-b - width) / a, _MISS), torch.where(root > 0, (-b + width) / a, -_MISS)


def _hit(kind: int, starts: list[Tensor], rays: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Depth (B,h,w) at which rays start + t ray enter the unit shape (_MISS where they do not), and the normals there."""
    if kind == ELLIPSOID:
        near, _ = _quadric(starts, rays)
        near = torch.where(near > 0, near, _MISS)
        return near, [s + near * r for s, r in zip(starts, rays, strict=True)]
    ends = [((-1 - s) / r, (1 - s) / r) for s, r in zip(starts, rays, strict=True)]
    low, high = ([f(*e) for e in ends] for f in (torch.minimum, torch.maximum))
    if kind == BOX:
        enter, leave = torch.maximum(low[0], low[1]), torch.minimum(high[0], high[1])
    else:
        enter, leave = _quadric(starts[:2], rays[:2])
    cap = low[2] > enter
    enter, leave = torch.maximum(enter, low[2]), torch.minimum(leave, high[2])
    near = torch.where((enter < leave) & (enter > 0), enter, _MISS)
    if kind == BOX:
        first = low[0] > low[1]
        side = [-torch.sign(rays[0]) * first, -torch.sign(rays[1]) * ~first]
    else:
        side = [s + near * r for s, r in zip(starts[:2], rays[:2], strict=True)]
    return near, [component * ~cap for component in side] + [-torch.sign(rays[2]) * cap]
