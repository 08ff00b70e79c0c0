"""Where a person stands, frame after frame, when the pose relative to the pelvis is known: least squares over the video."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posekit.lifting.banded import solve_translations


@dataclass(frozen=True)
class TrajectorySettings:
    """What a root's path is held to.

    image_error: metres by which a joint's detection, seen at the person's distance, misses the pose. outlier: so many of these
    errors away a detection begins to lose its weight (Geman and McClure's). sideways and along: acceleration, m/s^2, that a
    pelvis usually has across the view, and along it as seen through what a size in pixels says of distance: there a frame by
    itself errs by decimetres, so that only a slow path can be told from the error.
    """

    image_error: float = 0.03
    outlier: float = 3.0
    sideways: float = 6.0
    along: float = 1.0
    rounds: int = 4


def root_path(
    xyz: NDArray[np.float64],
    image: NDArray[np.float64],
    weight: NDArray[np.float64],
    joined: NDArray[np.bool_],
    fps: float,
    settings: TrajectorySettings,
    *,
    perspective: bool,
) -> NDArray[np.float64]:
    """Find the root of every row, (N, 3) metres in the camera's axes.

    xyz: (N, J, 3) metres relative to the root. image: (N, J, 2), x and y of the detections on the plane at distance 1, NaN
    where there is none. weight: (N, J). joined: (N - 1,). fps: rows per second. perspective: each joint is seen at its own
    depth; otherwise all at their root's (weak perspective), and the depth found is the image's size in the unit of `image`.

    Minimised are the distances sideways of joints from their detections' rays at the joints' own depth, which is linear in
    the root; with weights that detections lose which stay far off, and the path held smooth by its accelerations.
    """
    seen = np.asarray(np.isfinite(image).all(axis=-1))
    u = np.where(seen[..., None], image, 0)
    depth = xyz[..., 2] if perspective else np.zeros(xyz.shape[:2])
    # Of unknown (tx, ty, tz): residual = (x + tx) - u (z + tz).
    known = xyz[..., :2] - u * depth[..., None]
    accelerations = np.array((settings.sideways, settings.sideways, settings.along)) / fps**2
    base = np.where(seen, weight, 0) / settings.image_error**2
    robust = np.ones_like(base)
    root = np.zeros((len(xyz), 3))
    for _ in range(settings.rounds):
        w = base * robust
        normal, right = _normal_equations(known, u, w)
        root = solve_translations(normal, right, joined, 1 / accelerations**2)
        off = known + root[:, None, :2] - u * root[:, None, 2:]
        robust = geman_mcclure(np.linalg.norm(off, axis=-1), settings.outlier * settings.image_error)
    return root


def _normal_equations(
    known: NDArray[np.float64], u: NDArray[np.float64], w: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    normal = np.zeros((len(u), 3, 3))
    total = w.sum(axis=-1)
    normal[:, 0, 0] = normal[:, 1, 1] = total
    normal[:, :2, 2] = normal[:, 2, :2] = -(w[..., None] * u).sum(axis=1)
    normal[:, 2, 2] = (w * np.square(u).sum(axis=-1)).sum(axis=1)
    right = np.zeros((len(u), 3))
    right[:, :2] = -(w[..., None] * known).sum(axis=1)
    right[:, 2] = (w * (u * known).sum(axis=-1)).sum(axis=1)
    return normal, right


def geman_mcclure(distance: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Weights in 0 to 1 that a squared distance has in Geman and McClure's robust cost: 1/4 at `scale`."""
    weights: NDArray[np.float64] = 1 / np.square(1 + np.square(distance / scale))
    return weights
