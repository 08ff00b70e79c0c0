"""Rigs that are not quite right."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from posekit.camera import Rig


def shaken(rig: Rig, degrees: float, metres: float, seed: int = 0, focal: float = 0.0) -> Rig:
    """Return a rig whose cameras were turned, moved and misjudged by so much (one standard deviation per axis)."""
    rng = np.random.default_rng(seed)
    cameras = []
    for camera in rig.cameras:
        turn = Rotation.from_rotvec(np.radians(rng.normal(0, degrees, 3))).as_matrix()
        matrix = camera.matrix.copy()
        matrix[:2, :2] *= 1 + rng.normal(0, focal)
        cameras.append(
            replace(
                camera,
                matrix=matrix,
                rotation=turn @ camera.rotation,
                translation=camera.translation + rng.normal(0, metres, 3),
            )
        )
    return Rig(tuple(cameras), rig.source)
