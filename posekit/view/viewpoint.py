"""Where to look from: a virtual camera that holds what is asked for inside the picture."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from posekit.skeleton import Skeleton

#: Vertical field of view: a long lens keeps far limbs from looking thin.
FIELD_OF_VIEW = np.radians(32.0)
#: Kept free on every side, as a share of the picture.
MARGIN = 0.06
AZIMUTH_FROM_FRONT = np.radians(35.0)
ELEVATION = np.radians(18.0)


@dataclass(frozen=True, eq=False)
class Viewpoint:
    """A pinhole without distortion: matrix (3, 3) px, rotation (3, 3) and translation (3,) from the world, size in px."""

    matrix: NDArray[np.float64]
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    size: tuple[int, int]

    @property
    def camera_from_world(self) -> NDArray[np.float64]:
        """The pose as (4, 4)."""
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = self.rotation, self.translation
        return pose

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Project (..., 3) metres to (..., 2) px; NaN behind."""
        in_camera = points @ self.rotation.T + self.translation
        depth = np.where(in_camera[..., 2:] > 0, in_camera[..., 2:], np.nan)
        pixels: NDArray[np.float64] = (in_camera / depth) @ self.matrix.T
        return pixels[..., :2]

    def moved(self, offset: NDArray[np.float64]) -> "Viewpoint":
        """Return the same view from a place `offset` (3,) metres away."""
        return Viewpoint(self.matrix, self.rotation, self.translation - self.rotation @ offset, self.size)


def viewpoint_on(points: NDArray[np.float64], towards: NDArray[np.float64], size: tuple[int, int]) -> Viewpoint:
    """Stand as near to points (n, 3) as holds all of them inside the margins; Z stays up in the picture.

    towards: (3,), from the points to the viewer. The place follows exactly: each of the picture's four edges is a plane
    that the outermost point may touch.
    """
    width, height = size
    forward = -towards / np.linalg.norm(towards)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    rotation = np.stack((right, np.cross(forward, right), forward))
    focal = height / 2 / np.tan(FIELD_OF_VIEW / 2)
    slope = np.array([width, height]) / 2 / focal * (1 - 2 * MARGIN)
    in_axes = points @ rotation.T
    # |x - cx| <= slope (z - cz) for every point, and for y: two bounds on cx + slope cz and cx - slope cz.
    high = (in_axes[:, :2] - slope * in_axes[:, 2:]).max(axis=0)
    low = (in_axes[:, :2] + slope * in_axes[:, 2:]).min(axis=0)
    place = np.array([*(high + low) / 2, ((low - high) / 2 / slope).min()])
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Viewpoint(matrix, rotation, -place, size)


def direction(azimuth: float, elevation: float) -> NDArray[np.float64]:
    """Unit vector from its angles in radians: azimuth from X towards Y, elevation from the floor."""
    return np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])


def front_of(points: NDArray[np.float64], skeleton: Skeleton) -> float:
    """Azimuth in radians in which people (..., J, 3) look: level, and at right angles to the lines from left to right."""
    pairs = [
        (skeleton.index(f"left_{joint}"), skeleton.index(f"right_{joint}"))
        for joint in ("shoulder", "hip")
        if f"left_{joint}" in skeleton and f"right_{joint}" in skeleton
    ]
    if not pairs:
        return 0.0
    left, right = np.array(pairs).T
    across = (points[..., right, :] - points[..., left, :]).reshape(-1, 3)
    across = across[np.isfinite(across).all(axis=-1)].sum(axis=0)
    # Up x right is forward.
    return float(np.arctan2(across[0], -across[1])) if across[:2].any() else 0.0


def three_quarter_view(points: NDArray[np.float64], skeleton: Skeleton) -> NDArray[np.float64]:
    """Direction towards a viewer before people (..., J, 3), off to their left side and a little above."""
    return direction(front_of(points, skeleton) + AZIMUTH_FROM_FRONT, ELEVATION)


def widest_view(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction from which shapes (F, n, 3) look least flat, among some at most 40 degrees above the floor."""
    complete = points[np.isfinite(points).all(axis=(1, 2))]
    if not len(complete):
        return direction(0.0, ELEVATION)
    complete = complete - complete.mean(axis=1, keepdims=True)
    best, best_spread = direction(0.0, ELEVATION), -1.0
    for azimuth, elevation in product(np.radians(np.arange(0, 360, 15)), np.radians((0, 20, 40))):
        towards = direction(azimuth, elevation)
        flat = complete - (complete @ towards)[..., None] * towards
        # The third singular value is that along the line of sight, 0 by construction.
        spread = float(np.median(np.linalg.svd(flat, compute_uv=False)[:, 1]))
        if spread > best_spread + 1e-9:
            best, best_spread = towards, spread
    return best
