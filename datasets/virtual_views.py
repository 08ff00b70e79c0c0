"""2D poses by virtual cameras: from all sides, from below to above, near and far, with a detector's noise.

A lifter is trained on these alone, as 2D: what they are projections of is thrown away (`VirtualViews.draw`). For evaluation,
and only there, `VirtualViews.draw_pairs` keeps it.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from posekit.datasets.detector_noise import DetectorNoise, detect
from posekit.datasets.lifter_poses import small_turns
from posekit.errors import PosekitError
from posekit.lifting.sources import PoseSource, Views
from posekit.skeleton import Skeleton

Batch = NDArray[np.float32]

#: Focal length of the virtual pictures, px; a lifter is told nothing of the scale.
FOCAL_PX = 1000.0


class SkeletonPoses(PoseSource, Protocol):
    """A source of poses that says whose joints they are."""

    @property
    def skeleton(self) -> Skeleton:
        """The joints of the poses."""


class MotionSource(SkeletonPoses, Protocol):
    """A source of motions, too."""

    def draw_motions(self, count: int, frames: int, rng: np.random.Generator) -> Float[np.ndarray, "B T J 3"]:
        """Return motions of one body each, metres, Z up, each frame centred on mid_hip."""


@dataclass(frozen=True)
class VirtualCameras:
    """Where cameras stand and how they are held; radians and metres.

    They stand all round. elevation: angle under which they look down on the hips (below 0: up), mean and standard deviation;
    lowest, highest: no further than that. roll: standard deviation of the turn about the optical axis. distance: least and
    largest, each ratio as likely as any; perspective is strongest near by. off_axis: how far from the picture's middle the
    person may be seen, to the sides and up and down.
    """

    elevation: tuple[float, float] = (0.15, 0.25)
    lowest: float = -0.5
    highest: float = 1.2
    roll: float = 0.06
    distance: tuple[float, float] = (2.0, 12.0)
    off_axis: tuple[float, float] = (0.3, 0.15)

    def __post_init__(self) -> None:
        # A reach of an arm and more: nobody is behind the camera.
        if not 1.5 <= self.distance[0] <= self.distance[1]:
            raise PosekitError(
                f"virtual cameras: found distances {self.distance[0]:g} to {self.distance[1]:g} m, expected 1.5 m or more, "
                "the least first"
            )
        if not -np.pi / 2 <= self.lowest <= self.highest <= np.pi / 2:
            raise PosekitError(
                f"virtual cameras: found elevations {self.lowest:g} to {self.highest:g} rad, expected -pi/2 to pi/2"
            )
        if not all(0 <= angle < np.pi / 3 for angle in self.off_axis):
            raise PosekitError(f"virtual cameras: found off_axis {self.off_axis}, expected 0 to 1 rad")


@dataclass(frozen=True, eq=False)
class PairedViews:
    """Views and what they are of, for evaluation only: no lifter of this house learns from pairs.

    views: as a detector gives them. xyz: (B, J, 3) metres in camera axes (x right, y down, z away), centred on mid_hip.
    clean_xy: (B, J, 2) px without noise. px_per_metre: (B,) at the depth of mid_hip.
    """

    views: Views
    xyz: Float[np.ndarray, "B J 3"]
    clean_xy: Float[np.ndarray, "B J 2"]
    px_per_metre: Float[np.ndarray, " B"]


@dataclass(frozen=True, eq=False)
class VirtualViews:
    """A `posekit.lifting.sources.ViewSource`. noise: None for the true projections, all of confidence 1."""

    poses: SkeletonPoses
    cameras: VirtualCameras = field(default_factory=VirtualCameras)
    noise: DetectorNoise | None = field(default_factory=DetectorNoise)

    def draw(self, count: int, rng: np.random.Generator) -> Views:
        """Return views (count, J, 2) of poses that nobody else is given."""
        return self.draw_pairs(count, rng).views

    def draw_pairs(self, count: int, rng: np.random.Generator) -> PairedViews:
        """Return views and the poses they are of, for evaluation only."""
        return self.of_poses(self.poses.draw(count, rng), rng)

    def of_poses(self, poses: Float[np.ndarray, "B J 3"], rng: np.random.Generator) -> PairedViews:
        """Film given poses (metres, Z up, centred on mid_hip), each by a camera of its own; for evaluation only."""
        one = self.of_motions(poses[:, None], rng)
        return PairedViews(
            Views(one.views.xy[:, 0], one.views.weight[:, 0]), one.xyz[:, 0], one.clean_xy[:, 0], one.px_per_metre[:, 0]
        )

    def of_motions(self, motions: Float[np.ndarray, "B T J 3"], rng: np.random.Generator) -> PairedViews:
        """Film given motions (B, T, J, 3), each by a camera of its own that stands still; the arrays gain the axis T.

        Noise is drawn for every frame, swaps and lost limbs for a whole motion.
        """
        xyz, clean, px_per_metre = film(motions, self.cameras, rng)
        if self.noise is None:
            views = Views(clean, np.ones(clean.shape[:-1], dtype=np.float32))
        else:
            leg = px_per_metre * _leg_lengths(self.poses.skeleton, motions)
            views = Views(*detect(clean, leg, self.poses.skeleton, self.noise, rng))
        return PairedViews(views, xyz, clean, px_per_metre)

    def draw_motions(self, count: int, frames: int, rng: np.random.Generator) -> Views:
        """Return views (count, frames, J, 2) of motions; the poses must be a `MotionSource`."""
        draw = getattr(self.poses, "draw_motions", None)
        if draw is None:
            raise PosekitError(f"virtual views: {type(self.poses).__name__} has single poses only, expected motions")
        return self.of_motions(draw(count, frames, rng), rng).views


def film(
    motions: Float[np.ndarray, "B T J 3"], cameras: VirtualCameras, rng: np.random.Generator
) -> tuple[Batch, Batch, Batch]:
    """Look at motions, each by a camera of its own.

    Returns points (B, T, J, 3) in camera axes, metres, centred on their mid_hip, which must be the origin of `motions`; their
    projections (B, T, J, 2) in px with the principal point at 0; and px per metre at mid_hip, (B, T).
    """
    count = len(motions)
    motions = np.asarray(motions, dtype=np.float32)
    elevation = np.clip(rng.normal(*cameras.elevation, count), cameras.lowest, cameras.highest).astype(np.float32)
    low, high = np.log(cameras.distance)
    distance = np.exp(rng.uniform(low, high, count)).astype(np.float32)
    turn = camera_turns(elevation, cameras, rng)
    azimuth = rng.uniform(0, 2 * np.pi, count).astype(np.float32)
    camera_from_world = turn @ _looking_from(azimuth, elevation)
    xyz = (motions.reshape(count, -1, 3) @ np.swapaxes(camera_from_world, -1, -2)).reshape(motions.shape)
    hips = turn[..., 2] * distance[:, None]
    points = xyz + hips[:, None, None]
    depth = np.maximum(points[..., 2:], 0.2)
    xy = np.float32(FOCAL_PX) * points[..., :2] / depth
    px_per_metre = np.repeat((FOCAL_PX / hips[:, 2])[:, None], motions.shape[1], axis=1)
    return xyz, xy, px_per_metre.astype(np.float32)


def camera_turns(elevation: Batch, cameras: VirtualCameras, rng: np.random.Generator) -> Batch:
    """Rotations (B, 3, 3) from axes that look straight at the person to those of a camera that looks past it, and is rolled."""
    count = len(elevation)
    sideways, updown = (rng.uniform(-limit, limit, count) for limit in cameras.off_axis)
    zero = np.zeros(count)
    aside = small_turns(np.stack((updown, sideways, zero), axis=-1).astype(np.float32))
    roll = cameras.roll * rng.standard_normal(count)
    return small_turns(np.stack((zero, zero, roll), axis=-1).astype(np.float32)) @ aside


def _looking_from(azimuth: Batch, elevation: Batch) -> Batch:
    """Rotations (B, 3, 3) from the world (Z up) to a camera that looks at the origin from so high: rows right, down, away."""
    cosine, sine = np.cos(azimuth), np.sin(azimuth)
    flat, height = np.cos(elevation), np.sin(elevation)
    zero = np.zeros_like(azimuth)
    right = np.stack((-sine, cosine, zero), axis=-1)
    down = np.stack((height * cosine, height * sine, -flat), axis=-1)
    away = np.stack((-flat * cosine, -flat * sine, -height), axis=-1)
    camera_from_world: Batch = np.stack((right, down, away), axis=-2).astype(np.float32)
    return camera_from_world


def _leg_lengths(skeleton: Skeleton, motions: Float[np.ndarray, "B T J 3"]) -> Batch:
    """Thigh and shank together, (B, T) metres: the measure of a person that a detector's noise is told in."""
    joint = skeleton.index
    total = np.zeros(motions.shape[:2], dtype=np.float32)
    for side in ("left", "right"):
        hip, knee, ankle = (motions[..., joint(f"{side}_{word}"), :] for word in ("hip", "knee", "ankle"))
        total += np.linalg.norm(knee - hip, axis=-1) + np.linalg.norm(ankle - knee, axis=-1)
    mean: Batch = (total / 2).astype(np.float32)
    return mean
