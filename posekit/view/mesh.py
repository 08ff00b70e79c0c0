"""Skeletons, cameras and a floor as triangles: plain arrays, which any renderer takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from posekit.camera import Camera
from posekit.skeleton import Skeleton
from posekit.view.colours import bone_colours, fine_joint_mask, joint_colours, paler

# In metres. A body's bone is as thick as a wrist's bones, a finger's bone a third of a finger: hands stay readable.
BODY_RADIUS = 0.016
HAND_RADIUS = 0.0038
#: A joint's ball beside its bone.
BALL = 1.45
SIDES = 16

GRID_COLOUR = (204, 208, 214)
CAMERA_COLOUR = (70, 74, 82)


#: Towards the light, high and to one side, so that a tube's roundness shows from wherever it is seen.
_LIGHT = np.array([0.45, 0.30, 0.84])
_SHADE = 0.22


@dataclass(frozen=True, eq=False)
class Mesh:
    """vertices: (V, 3) metres. triangles: (T, 3) indices. colours: (V, 3) RGB in 0..255. normals: (V, 3) unit vectors."""

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    colours: NDArray[np.uint8]
    normals: NDArray[np.float32]

    def shaded_colours(self) -> NDArray[np.float32]:
        """Return the colours with light and shade put in, (V, 3) in 0..1.

        Renderers show them as they are: the same in a window and without a screen, where a renderer's own light and tone
        mapping would make orange out of red.
        """
        shade = 1 - _SHADE + _SHADE * (self.normals @ _LIGHT.astype(np.float32))
        shaded: NDArray[np.float32] = (self.colours / np.float32(255) * shade[:, None]).astype(np.float32)
        return shaded


def merge_meshes(meshes: Sequence[Mesh]) -> Mesh:
    """Put several meshes into one."""
    if not meshes:
        none = np.zeros((0, 3))
        return Mesh(none.astype(np.float32), none.astype(np.int32), none.astype(np.uint8), none.astype(np.float32))
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.triangles + offset for mesh, offset in zip(meshes, offsets, strict=True)]).astype(
            np.int32
        ),
        np.concatenate([mesh.colours for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
    )


@cache
def _sphere() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A unit sphere: vertices (which are their normals) and triangles."""
    rings = SIDES // 2
    polar = np.pi * np.arange(1, rings) / rings
    around = 2 * np.pi * np.arange(SIDES) / SIDES
    points = np.stack(
        (
            np.outer(np.sin(polar), np.cos(around)),
            np.outer(np.sin(polar), np.sin(around)),
            np.repeat(np.cos(polar)[:, None], SIDES, axis=1),
        ),
        axis=-1,
    ).reshape(-1, 3)
    vertices = np.concatenate((points, [[0, 0, 1], [0, 0, -1]]))
    top, bottom = len(points), len(points) + 1
    triangles = []
    for side in range(SIDES):
        after = (side + 1) % SIDES
        triangles.append((top, side, after))
        last = (rings - 2) * SIDES
        triangles.append((bottom, last + after, last + side))
        for ring in range(rings - 2):
            a, b = ring * SIDES + side, ring * SIDES + after
            triangles += [(a, a + SIDES, b + SIDES), (a, b + SIDES, b)]
    return vertices, np.array(triangles)


def spheres(centres: NDArray[np.float64], radii: NDArray[np.float64], colours: NDArray[np.uint8]) -> Mesh:
    """Balls at (n, 3) with radii (n,) and colours (n, 3)."""
    unit, triangles = _sphere()
    vertices = centres[:, None] + radii[:, None, None] * unit
    return _instances(vertices, triangles, colours, np.broadcast_to(unit, vertices.shape))


def cylinders(
    starts: NDArray[np.float64], ends: NDArray[np.float64], radii: NDArray[np.float64], colours: NDArray[np.uint8]
) -> Mesh:
    """Open tubes from (n, 3) to (n, 3) with radii (n,) and colours (n, 3); tubes of no length are left out."""
    along = ends - starts
    length = np.linalg.norm(along, axis=-1)
    kept = length > 1e-9
    starts, ends, radii, colours = starts[kept], ends[kept], radii[kept], colours[kept]
    along = along[kept] / length[kept, None]
    # Any direction that is not nearly parallel gives a basis across the tube.
    not_parallel = np.where(np.abs(along[:, 2:]) < 0.9, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
    across = np.cross(along, not_parallel)
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    other = np.cross(along, across)
    angle = 2 * np.pi * np.arange(SIDES) / SIDES
    ring = across[:, None] * np.cos(angle)[:, None] + other[:, None] * np.sin(angle)[:, None]
    offset = radii[:, None, None] * ring
    vertices = np.concatenate((starts[:, None] + offset, ends[:, None] + offset), axis=1)
    a = np.arange(SIDES)
    b = (a + 1) % SIDES
    triangles = np.concatenate((np.stack((a, b, b + SIDES), 1), np.stack((a, b + SIDES, a + SIDES), 1)))
    return _instances(vertices, triangles, colours, np.concatenate((ring, ring), axis=1))


def _instances(
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int64],
    colours: NDArray[np.uint8],
    normals: NDArray[np.float64],
) -> Mesh:
    """Flatten n copies of one shape: vertices and normals (n, v, 3), colours (n, 3), triangles of one copy."""
    count, size, _ = vertices.shape
    return Mesh(
        vertices.reshape(-1, 3).astype(np.float32),
        (triangles + size * np.arange(count)[:, None, None]).reshape(-1, 3).astype(np.int32),
        np.repeat(colours, size, axis=0).astype(np.uint8),
        normals.reshape(-1, 3).astype(np.float32),
    )


def skeleton_mesh(
    points: NDArray[np.float64],
    skeleton: Skeleton,
    body_radius: float = BODY_RADIUS,
    filled: NDArray[np.bool_] | None = None,
) -> Mesh:
    """Balls and tubes for people's joints (P, J, 3) in metres; a joint that is NaN is not drawn, nor are its bones.

    filled: (P, J), joints that were not triangulated; they and their bones are paler.
    """
    fine = fine_joint_mask(skeleton)
    bones = np.array(skeleton.bones, dtype=np.int64).reshape(-1, 2)
    joint_radius = np.where(fine, HAND_RADIUS, body_radius)
    # The bone that joins a hand to the body is as thin as the hand.
    bone_radius = np.where(fine[bones].any(axis=1), HAND_RADIUS, body_radius)
    joint_colour, bone_colour = joint_colours(skeleton), bone_colours(skeleton)
    meshes = []
    made_up = np.zeros(points.shape[:2], dtype=bool) if filled is None else filled
    for person, pale in zip(points, made_up, strict=True):
        seen = np.isfinite(person).all(axis=-1)
        drawn = seen[bones].all(axis=1)
        meshes.append(spheres(person[seen], BALL * joint_radius[seen], paler(joint_colour, pale)[seen]))
        starts, ends = person[bones[drawn]].transpose(1, 0, 2)
        meshes.append(cylinders(starts, ends, bone_radius[drawn], paler(bone_colour, pale[bones].any(axis=1))[drawn]))
    return merge_meshes(meshes)


def camera_corners(camera: Camera, depth: float) -> NDArray[np.float64]:
    """Return the camera's centre and the corners of its picture at `depth` metres, (5, 3) in the world."""
    width, height = camera.size
    # Pixel (0, 0) is a pixel's centre, so the picture's edges lie half a pixel outside.
    edges = np.array([(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)])
    inverse = np.linalg.inv(camera.matrix)
    corners = depth * np.concatenate((edges, np.ones((4, 1))), axis=1) @ inverse.T
    world: NDArray[np.float64] = (np.concatenate((np.zeros((1, 3)), corners)) - camera.translation) @ camera.rotation
    return world


def frustum_mesh(camera: Camera, depth: float) -> Mesh:
    """A pyramid of tubes from the camera's centre to its picture, with a mark on the picture's upper edge."""
    corners = camera_corners(camera, depth)
    top = corners[1:3].mean(axis=0)
    up = 0.35 * (top - corners[1:].mean(axis=0))
    points = np.concatenate(
        (corners, [top + up, corners[1] * 0.7 + corners[2] * 0.3, corners[1] * 0.3 + corners[2] * 0.7])
    )
    lines = np.array([(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1), (6, 5), (5, 7)])
    radius = 0.02 * depth
    colour = np.array([CAMERA_COLOUR], dtype=np.uint8)
    tubes = cylinders(
        points[lines[:, 0]], points[lines[:, 1]], np.full(len(lines), radius), np.repeat(colour, len(lines), axis=0)
    )
    balls = spheres(corners, np.array([2.5 * radius, *[radius] * 4]), np.repeat(colour, 5, axis=0))
    return merge_meshes((tubes, balls))


def floor_mesh(points: NDArray[np.float64], height: float, step: float) -> Mesh:
    """A grid in the plane z = height below points (n, 3), with lines every `step` metres.

    The lines are flat ribbons in pieces of one step: a few triangles, which a renderer can leave out one by one.
    """
    low = np.floor(points[:, :2].min(axis=0) / step - 0.5) * step
    high = np.ceil(points[:, :2].max(axis=0) / step + 0.5) * step
    counts = np.round((high - low) / step).astype(int)
    x, y = (low[axis] + step * np.arange(counts[axis] + 1) for axis in (0, 1))
    half = 0.012 * step
    quads = []
    for across, along, swapped in ((x, y, False), (y, x, True)):
        line, start = (values.ravel() for values in np.meshgrid(across, along[:-1], indexing="ij"))
        sides, ends = np.array([-half, half, half, -half]), np.array([0, 0, step, step])
        corners = np.stack((line[:, None] + sides, start[:, None] + ends, np.full((len(line), 4), height)), axis=-1)
        quads.append(corners[..., [1, 0, 2]] if swapped else corners)
    vertices = np.concatenate(quads)
    # Both windings: a floor can be looked at from below.
    triangles = np.array([(0, 1, 2), (0, 2, 3), (2, 1, 0), (3, 2, 0)])
    colours = np.repeat(np.array([GRID_COLOUR], dtype=np.uint8), len(vertices), axis=0)
    return _instances(vertices, triangles, colours, np.broadcast_to((0.0, 0.0, 1.0), vertices.shape))
