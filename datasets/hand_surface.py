"""The skin of the mean hand at rest, as points: round cones joined by a smooth union, with what is drawn on them.

Points, not triangles: thinned to an even spacing they are drawn into a depth buffer without any loop over triangles,
which is what makes rendering in plain tensors fast.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from posekit.datasets.hand_markings import FIELDS, draw_markings
from posekit.datasets.hand_model import (
    BENDING_BONES,
    BONE_COUNT,
    BONE_FRAMES,
    BONE_ORIGINS,
    FINGER_TIPS,
    FOREARM_LENGTH,
    JOINT_RADII,
    SKIN_BONE_COUNT,
)

# Width of the smooth union: with 2.2 mm the webs reach as far as real ones (half-way along the first phalanx).
_BLEND = 2.2e-3
# A point is in a hollow if it is nearer than this to flesh when raised by as much.
_CAVITY_REACH = 6e-3
# Points below this height over the wrist count as the forearm's: a sleeve can cover them.
FOREARM_TOP = 5e-3
# Which points are skinned together, by the bone that holds them most: palm, then finger by finger.
_SKIN_GROUPS = tuple(
    0 if bone < 4 else (bone + 2) // 3 for bone in (*range(BONE_COUNT), *(0 if b == 1 else b for b in BENDING_BONES))
)
# How fast the skin's attachment passes from one bone to the next.
_ATTACHMENT = 1.8e-3


@dataclass(frozen=True)
class SkinBlock:
    """Neighbouring points start to stop, and the few bones that hold them.

    bones: (k,). place: (4*k, n) each point's weights times its homogeneous position, so that skinning is one product.
    facing: (3*k, n) the same for normals.
    """

    start: int
    stop: int
    bones: Tensor
    place: Tensor
    facing: Tensor


@dataclass(frozen=True)
class HandSurface:
    """V points of skin.

    fields: (V, len(FIELDS)). clothing: (3,V) metres below the wrist, which finger's ring sits there, and a sleeve's folds
    there, about 1: what moves points before they are drawn. forearm, coarse: points from the first index on lie below the
    wrist, from the second on at the wider spacing. spacing, coarse_spacing: metres.
    """

    blocks: tuple[SkinBlock, ...]
    fields: Tensor
    clothing: Tensor
    forearm: int
    coarse: int
    spacing: float
    coarse_spacing: float

    def skin(self, skin_from_rest: Tensor) -> tuple[Tensor, Tensor]:
        """Positions and normals, not of unit length, (3,B,V) of the skin under the maps (B,35,3,4) of a PosedHands."""
        B, V = skin_from_rest.shape[0], self.fields.shape[0]
        maps = skin_from_rest.permute(2, 0, 1, 3)
        position, normal = (torch.empty(3 * B, V, device=maps.device) for _ in range(2))
        for block in self.blocks:
            mine = maps[:, :, block.bones]
            part = slice(block.start, block.stop)
            position[:, part] = mine.reshape(3 * B, -1) @ block.place
            normal[:, part] = mine[..., :3].reshape(3 * B, -1) @ block.facing
        return position.view(3, B, V), normal.view(3, B, V)

    def to(self, device: torch.device) -> HandSurface:
        """The same on another device."""
        blocks = tuple(
            replace(b, bones=b.bones.to(device), place=b.place.to(device), facing=b.facing.to(device))
            for b in self.blocks
        )
        return replace(self, blocks=blocks, fields=self.fields.to(device), clothing=self.clothing.to(device))


def _cones() -> list[tuple[np.ndarray, np.ndarray, float, float, tuple[int, ...]]]:
    """(start, end, radius at the start, radius at the end, bones that carry it)."""
    cones: list[tuple[np.ndarray, np.ndarray, float, float, tuple[int, ...]]] = []

    def add(start: np.ndarray, end: np.ndarray, first: float, last: float, *bones: int) -> None:
        cones.append((start, end, first * 1e-3, last * 1e-3, bones))

    def at(x: float, y: float, z: float) -> np.ndarray:
        return np.array([x, y, z]) * 1e-3

    radii = JOINT_RADII * 1e3
    for finger in range(5):
        bones = [4 + 3 * finger + i for i in range(3)]
        ends = [*BONE_ORIGINS[bones], FINGER_TIPS[finger]]
        r = radii[1 + 4 * finger : 5 + 4 * finger]
        palmar = BONE_FRAMES[bones[1]][:, 2]
        for i, bone in enumerate(bones):
            # The flesh between two joints is a little fuller on the palmar side than the bones are.
            fuller = palmar * (0.8e-3 if i < 2 else 0.5e-3)
            add(ends[i] + fuller, ends[i + 1] + fuller, r[i] * 0.97, r[i + 1] * 0.97, bone)
        pad = ends[2] + 0.62 * (ends[3] - ends[2]) + palmar * 2.2e-3
        add(pad, pad + 1e-4, r[3] * 0.98, r[3] * 0.98, bones[2])
        if finger:
            middle = 0.5 * (ends[0] + ends[1]) + palmar * 2.5e-3
            add(middle, middle + 1e-4, r[1] * 0.95, r[1] * 0.95, bones[0])
    knuckles = BONE_ORIGINS[[7, 10, 13, 16]]
    carpal = [at(13, 5, 1), at(5, 5, 0), at(-5, 5, 0), at(-13, 6, 1)]
    holders = (0, 0, 2, 3)
    for finger in range(4):
        add(carpal[finger], knuckles[finger] + at(0, -2, 1), 13.5, (11.5, 11.5, 11, 10.5)[finger], holders[finger])
    for finger in range(3):
        a, b = knuckles[finger], knuckles[finger + 1]
        holder = (0, 2, 3)[finger]
        # Flesh between the metacarpals, and the web between the fingers' roots.
        add((0.6 * a + 0.4 * carpal[finger]), (0.6 * b + 0.4 * carpal[finger + 1]), 11, 11, holder)
        add(a + at(0, 5, 3), b + at(0, 7, 3), 7.5, 7, holder)
        add(a + at(0, -9, 5), b + at(0, -7, 5), 9.5, 9.5, holder)
    thumb, thumb_end = BONE_ORIGINS[4], BONE_ORIGINS[5]
    along = thumb_end - thumb
    add(thumb + at(-4, -4, 3), thumb + 0.75 * along + at(-5, 0, 2), 15, 12.5, 4)
    add(at(12, 22, 13), thumb + 0.7 * along + at(-7, 4, 1), 13, 11, 4, 0)
    add(thumb + 0.80 * along, knuckles[0] + at(1, -22, 4), 6.5, 8, 4, 0)
    add(thumb + 0.55 * along, knuckles[0] + at(-2, -40, 4), 9, 10, 4, 0)
    add(at(-17, 15, 8), at(-27, 50, 9), 13.5, 11.5, 3, 0)
    for side, thickness in ((1, 0.0), (-1, -1.0)):
        add(at(11.5 * side, 2, 0), at(12 * side, -45, 0), 16.5 + thickness, 18 + thickness, 1)
        add(at(12 * side, -45, 0), at(15 * side, -1e3 * FOREARM_LENGTH + 35, 0), 18 + thickness, 31 + thickness, 1)
    return cones


@lru_cache(maxsize=1)
def _cone_arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    cones = _cones()
    starts = np.array([c[0] for c in cones])
    arrays = (starts, np.array([c[1] for c in cones]) - starts, [c[2] for c in cones], [c[3] for c in cones])
    # Single precision is good to a tenth of a micrometre here and twice as fast.
    first, second, third, fourth = (np.asarray(array, dtype=np.float32) for array in arrays)
    return first, second, third, fourth


def _cone_distances(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances (N,C) to each cone's surface, to its axis, and where on the axis (0 to 1) the nearest point lies.

    The radius is taken at the nearest point of the axis: not the exact round cone, but within 1 % for slim ones.
    """
    points = points.astype(np.float32, copy=False)
    starts, axes, first, last = _cone_arrays()
    squared = (axes**2).sum(1)
    along = points @ axes.T - (starts * axes).sum(1)
    t = np.clip(along / squared, 0, 1)
    from_start = (points**2).sum(1)[:, None] - 2 * points @ starts.T + (starts**2).sum(1)
    apart = np.sqrt(np.maximum(from_start - 2 * t * along + t * t * squared, 1e-14))
    return apart - (first + t * (last - first)), apart, t


def signed_distance(points: np.ndarray) -> np.ndarray:
    """Signed distance (N,) in metres of points (N,3) to the mean hand at rest; negative inside."""
    return _distance_and_normal(points)[0]


def _distance_and_normal(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    starts, axes, _, _ = _cone_arrays()
    distance, apart, t = _cone_distances(points)
    nearest = distance.min(axis=1)
    share = np.exp(-(distance - nearest[:, None]) / _BLEND)
    total = share.sum(axis=1)
    pull = share / apart
    gradient = points * pull.sum(axis=1, keepdims=True) - pull @ starts - (pull * t) @ axes
    gradient /= np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-12)
    return nearest - _BLEND * np.log(total), gradient


def _onto_surface(points: np.ndarray) -> np.ndarray:
    distance, normal = _distance_and_normal(points)
    return np.asarray(points - distance[:, None] * normal)


def _gradient(points: np.ndarray) -> np.ndarray:
    return _distance_and_normal(points)[1]


def _surface_points(low: np.ndarray, high: np.ndarray, spacing: float) -> np.ndarray:
    """Points on the surface within a box, evenly spread: seeds of a fine grid, thinned, then pushed apart."""
    axes = [np.arange(a, b, 2.5 * spacing) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid[np.abs(signed_distance(grid)) < 2.5 * spacing]
    sub = (np.arange(3) / 3 - 1 / 3) * 2.5 * spacing
    offsets = np.stack(np.meshgrid(sub, sub, sub, indexing="ij"), axis=-1).reshape(-1, 3)
    points = (grid[:, None] + offsets).reshape(-1, 3)
    distance = signed_distance(points)
    points = points[np.abs(distance) < 0.55 * spacing]
    for _ in range(2):
        points = _onto_surface(points)
    order = np.lexsort((points[:, 2], points[:, 1], points[:, 0]))
    points = points[order]
    near = cKDTree(points).query_pairs(0.62 * spacing, output_type="ndarray")
    keep = np.ones(len(points), dtype=bool)
    near = near[np.lexsort((near[:, 1], near[:, 0]))]
    for a, b in near:
        if keep[a] and keep[b]:
            keep[b] = False
    points = points[keep]
    for _ in range(4):
        apart, index = cKDTree(points).query(points, k=7)
        push = points[:, None] - points[index[:, 1:]]
        strength = np.maximum(1.1 * spacing - apart[:, 1:], 0) / np.maximum(apart[:, 1:], 1e-9)
        points = points + 0.22 * (push * strength[..., None]).sum(axis=1)
        points = _onto_surface(points)
    return points


def _bone_distances(points: np.ndarray) -> np.ndarray:
    """Distance (N, 35) to the flesh of every bone, and to the ball at every bending joint; the wrist's is not used."""
    distance = np.full((len(points), SKIN_BONE_COUNT), 1.0)
    to_cone = _cone_distances(points)[0]
    for i, (*_, bones) in enumerate(_cones()):
        for bone in bones:
            distance[:, bone] = np.minimum(distance[:, bone], to_cone[:, i])
    for i, bone in enumerate(BENDING_BONES):
        if bone != 1:
            ball = np.linalg.norm(points - BONE_ORIGINS[bone], axis=1) - _first_radius(bone)
            distance[:, BONE_COUNT + i] = ball
    return distance


def _first_radius(bone: int) -> float:
    finger, i = divmod(bone - 4, 3)
    return float(JOINT_RADII[1 + 4 * finger + i])


def _weights(points: np.ndarray) -> np.ndarray:
    distance = _bone_distances(points)
    distance[:, 1] = 1.0
    distance = distance - distance.min(axis=1, keepdims=True)
    weight = np.exp(-np.minimum(distance, 0.1) / _ATTACHMENT)
    weight[weight < 0.02] = 0
    weight /= weight.sum(axis=1, keepdims=True)
    # The wrist bends over 3 cm: forearm, then bisector, then hand.
    height = np.clip(points[:, 1] / 0.015, -1, 1)
    height = height * (1.5 - 0.5 * height**2)
    weight *= np.maximum(height, 0)[:, None]
    weight[:, 1] = np.maximum(-height, 0)
    weight[:, BONE_COUNT + BENDING_BONES.index(1)] += 1 - np.abs(height)
    return weight


def _joint_balls(spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points on the back of each finger joint, held by its bisector: they close the skin where a knuckle bends."""
    points, normals, holders = [], [], []
    golden = np.pi * (3 - np.sqrt(5))
    for i, bone in enumerate(BENDING_BONES):
        if bone in (1, 4):
            continue
        radius = 0.93 * _first_radius(bone)
        count = int(4 * np.pi * (radius / spacing) ** 2 * 1.1)
        k = np.arange(count)
        z = 1 - (2 * k + 1) / count
        ring = np.sqrt(1 - z**2)
        sphere = np.stack([ring * np.cos(golden * k), ring * np.sin(golden * k), z], axis=1)
        sphere = sphere[sphere[:, 2] < 0.1] @ BONE_FRAMES[bone].T
        points.append(BONE_ORIGINS[bone] + radius * sphere)
        normals.append(sphere)
        holders.append(np.full(len(sphere), BONE_COUNT + i))
    return np.concatenate(points), np.concatenate(normals), np.concatenate(holders)


@lru_cache(maxsize=4)
def hand_surface(spacing: float = 1.7e-3, coarse_spacing: float = 3.0e-3) -> HandSurface:
    """The mean hand's skin at rest; built once per process (a few seconds).

    spacing: metres between neighbouring points of the hand and the 5 cm of forearm next to it; coarse_spacing: of the
    rest of the forearm.
    """
    edge = -0.05
    fine = _surface_points(np.array([-0.09, edge - 0.01, -0.05]), np.array([0.12, 0.21, 0.08]), spacing)
    fine = fine[fine[:, 1] >= edge]
    fine = fine[np.argsort(-np.minimum(fine[:, 1], FOREARM_TOP), kind="stable")]
    bulk = _surface_points(
        np.array([-0.07, -FOREARM_LENGTH - 0.02, -0.06]), np.array([0.07, edge + 0.01, 0.06]), coarse_spacing
    )
    bulk = bulk[bulk[:, 1] < edge]
    balls, ball_normals, ball_holders = _joint_balls(spacing)
    ball_weights = np.eye(SKIN_BONE_COUNT)[ball_holders]
    points = np.concatenate([balls, fine, bulk])
    normals = np.concatenate([ball_normals, _gradient(fine), _gradient(bulk)])
    weights = np.concatenate([ball_weights, _weights(fine), _weights(bulk)])
    forearm = len(balls) + int((fine[:, 1] >= FOREARM_TOP).sum())
    coarse = len(balls) + len(fine)
    cavity = 1 - signed_distance(points + _CAVITY_REACH * normals) / _CAVITY_REACH
    cavity[: len(balls)] = 0
    # Points that hang on the same bones stand together; the forearm stays last.
    group = np.array(_SKIN_GROUPS)[weights.argmax(axis=1)]
    group[forearm:coarse], group[coarse:] = 90, 91
    order = np.argsort(group, kind="stable")
    points, normals, weights, cavity, group = (a[order] for a in (points, normals, weights, cavity, group))
    fields = draw_markings(points, normals, weights.argmax(axis=1))
    fields[:, FIELDS.index("cavity")] = np.clip(cavity, 0, 1)
    below, ring, mottle = (fields[:, FIELDS.index(name)] for name in ("below_wrist", "ring", "mottle_0"))
    return HandSurface(
        clothing=_tensor(np.stack([below, ring, 1 + 0.35 * np.sin(below * 260 + 2 * mottle)])),
        blocks=_blocks(points, normals, weights, group),
        fields=_tensor(fields),
        forearm=forearm,
        coarse=coarse,
        spacing=spacing,
        coarse_spacing=coarse_spacing,
    )


@lru_cache(maxsize=4)
def hand_surface_on(device: torch.device) -> HandSurface:
    """The mean hand's skin at rest on a device; moved there once per process."""
    return hand_surface().to(device)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _blocks(points: np.ndarray, normals: np.ndarray, weights: np.ndarray, group: np.ndarray) -> tuple[SkinBlock, ...]:
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    blocks = []
    for value in np.unique(group):
        mine = np.flatnonzero(group == value)
        start, stop = int(mine[0]), int(mine[-1]) + 1
        bones = np.flatnonzero(weights[start:stop].any(axis=0))
        weight = weights[start:stop, bones, None]
        place, facing = (
            (weight * vectors[start:stop, None, :]).reshape(stop - start, -1).T for vectors in (homogeneous, normals)
        )
        blocks.append(SkinBlock(start, stop, torch.from_numpy(bones), _tensor(place), _tensor(facing)))
    return tuple(blocks)
