"""Things in the hand: boxes, cylinders and ellipsoids that hide some of its joints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from posekit.datasets.hand_shading import Lamp, display, unit

if TYPE_CHECKING:
    from posekit.datasets.hand_renderer import Window

BOX, CYLINDER, ELLIPSOID, NOTHING = 0, 1, 2, 3
_MISS = 1e4


@dataclass(frozen=True)
class HeldObjects:
    """One thing for each of B pictures.

    kind: (B,) BOX, CYLINDER (along its third axis), ELLIPSOID or NOTHING. centre: (B,3) metres in the camera's frame.
    axes: (B,3,3) rows are the thing's own axes in that frame. half: (B,3) half of its extent along them. colour:
    (B,2,3) linear RGB of its two tones. stripe: (B,) stripes per metre along its third axis.
    """

    kind: Tensor
    centre: Tensor
    axes: Tensor
    half: Tensor
    colour: Tensor
    stripe: Tensor

    def take(self, index: Tensor) -> HeldObjects:
        """The things at `index` (N,)."""
        return HeldObjects(
            self.kind[index], self.centre[index], self.axes[index], self.half[index], self.colour[index],
            self.stripe[index],
        )  # fmt: skip


def object_bounds(thing: HeldObjects, window: Window) -> list[float]:
    """Left, top, right, bottom in the window's pixels of the box round one thing; everything if it nears the lens."""
    signs = torch.tensor([[a, b, c] for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-1.0, 1.0)])
    corners = (signs * thing.half[0]) @ thing.axes[0] + thing.centre[0]
    if float(corners[:, 2].min()) < 0.05:
        return [0.0, 0.0, float(window.width), float(window.height)]
    seen = window.focal * corners[:, :2] / corners[:, 2:] + torch.tensor(window.centre)
    return [*(seen.amin(0) - 1).tolist(), *(seen.amax(0) + 2).tolist()]


def draw_object(thing: HeldObjects, lamp: Lamp, part: Window, canvas: Tensor, depth: Tensor) -> None:
    """Draw one thing into colours (4,h,w) and depth (h,w) in place, before what lies behind it.

    By casting rays in the frame in which the thing is a unit box, cylinder or ball.
    """
    height, width = depth.shape
    x = (torch.arange(width) + (part.left - part.centre[0])) / part.focal
    y = (torch.arange(height) + (part.top - part.centre[1]))[:, None] / part.focal
    axes = thing.axes[0] / thing.half[0][:, None]
    start = (-(axes @ thing.centre[0])).tolist()
    rays = [x * float(a[0]) + y * float(a[1]) + float(a[2]) for a in axes]
    rays = [torch.where(r.abs() < 1e-6, torch.full_like(r, 1e-6), r) for r in rays]
    near, normal = _hit(int(thing.kind[0]), start, rays)
    before = near < depth
    if not bool(before.any()):
        return
    facing = torch.einsum("ij,ihw->jhw", thing.axes[0] / thing.half[0][:, None], torch.stack(normal))
    facing = unit(facing)
    lit = torch.einsum("i,ihw->hw", lamp.direction, facing).clamp(min=0)
    phase = (start[2] + near * rays[2]) * float(thing.half[0, 2] * thing.stripe[0]) * (2 * torch.pi)
    first, second = thing.colour[0][:, :, None, None]
    albedo = torch.where(torch.sin(phase) > 0, second, first)
    shown = display(albedo * (lamp.ambient(facing) + lamp.colour[:, None, None] * lit))
    canvas[:3] = torch.where(before, shown, canvas[:3])
    canvas[3][before] = 1
    depth[before] = near[before]


def _quadric(s: list[float], rays: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Where rays s + t ray enter and leave the unit ball in as many dimensions as are given."""
    a = sum((r * r for r in rays), torch.zeros(()))
    b = sum((c * r for c, r in zip(s, rays, strict=True)), torch.zeros(()))
    root = b * b - a * (sum(c * c for c in s) - 1)
    width = root.clamp(min=0).sqrt()
    missed = torch.full_like(root, _MISS)
    return torch.where(root > 0, (-b - width) / a, missed), torch.where(root > 0, (-b + width) / a, -missed)


def _hit(kind: int, s: list[float], rays: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Depth (h,w) at which rays s + t ray enter the unit shape (_MISS where they do not), and the normals there."""
    if kind == ELLIPSOID:
        near, _ = _quadric(s, rays)
        return torch.where(near > 0, near, torch.full_like(near, _MISS)), [
            c + near * r for c, r in zip(s, rays, strict=True)
        ]
    ends = [((-1 - c) / r, (1 - c) / r) for c, r in zip(s, rays, strict=True)]
    low, high = ([f(*e) for e in ends] for f in (torch.minimum, torch.maximum))
    if kind == BOX:
        enter, leave = torch.maximum(low[0], low[1]), torch.minimum(high[0], high[1])
    else:
        enter, leave = _quadric(s[:2], rays[:2])
    cap = low[2] > enter
    enter, leave = torch.maximum(enter, low[2]), torch.minimum(leave, high[2])
    near = torch.where((enter < leave) & (enter > 0), enter, torch.full_like(enter, _MISS))
    if kind == BOX:
        first = low[0] > low[1]
        side = [-torch.sign(rays[0]) * first, -torch.sign(rays[1]) * ~first]
    else:
        side = [c + near * r for c, r in zip(s[:2], rays[:2], strict=True)]
    return near, [component * ~cap for component in side] + [-torch.sign(rays[2]) * cap]
