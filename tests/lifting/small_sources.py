"""Stick people for tests of training and lifting: upright, arms and legs swung at random."""

import numpy as np

from posekit.lifting.skeletons import LIFTER_15
from posekit.lifting.sources import Views
from posekit.skeleton import Skeleton

_STANDING = {
    "mid_hip": (0, 0),
    "right_hip": (-0.1, 0),
    "left_hip": (0.1, 0),
    "right_knee": (-0.1, 0.42),
    "left_knee": (0.1, 0.42),
    "right_ankle": (-0.1, 0.83),
    "left_ankle": (0.1, 0.83),
    "neck": (0, -0.5),
    "thorax": (0, -0.5),
    "upper_neck": (0, -0.58),
    "head_top": (0, -0.8),
    "nose": (0, -0.68),
    "right_shoulder": (-0.17, -0.48),
    "left_shoulder": (0.17, -0.48),
    "right_elbow": (-0.2, -0.2),
    "left_elbow": (0.2, -0.2),
    "right_wrist": (-0.2, 0.05),
    "left_wrist": (0.2, 0.05),
}


class StickPeople:
    """A `PoseSource` in camera axes, y down."""

    def __init__(self, skeleton: Skeleton = LIFTER_15) -> None:
        self.skeleton = skeleton

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return (count, J, 3) metres."""
        flat = np.array([(*_STANDING[joint], 0.0) for joint in self.skeleton.joints])
        poses = np.repeat(flat[None], count, axis=0)
        poses[..., 2] += 0.1 * rng.standard_normal(poses.shape[:2])
        angle = rng.uniform(0, 2 * np.pi, count)
        x, z = poses[..., 0].copy(), poses[..., 2].copy()
        poses[..., 0] = np.cos(angle)[:, None] * x - np.sin(angle)[:, None] * z
        poses[..., 2] = np.sin(angle)[:, None] * x + np.cos(angle)[:, None] * z
        return poses


class StickViews:
    """A `ViewSource`: orthographic, 300 px a metre, about the picture's middle, here and there without a joint.

    frames: of windows, in which people stand still; None for single views.
    """

    def __init__(self, skeleton: Skeleton = LIFTER_15, missing: float = 0.05, frames: int | None = None) -> None:
        self.people, self.missing, self.frames = StickPeople(skeleton), missing, frames

    def draw(self, count: int, rng: np.random.Generator) -> Views:
        """Return views of people of their own."""
        xy = 500 + 300 * self.people.draw(count, rng)[..., :2]
        if self.frames is not None:
            xy = np.repeat(xy[:, None], self.frames, axis=1)
        weight = (rng.random(xy.shape[:-1]) >= self.missing).astype(np.float32)
        return Views(np.where(weight[..., None] > 0, xy, np.nan), weight)
