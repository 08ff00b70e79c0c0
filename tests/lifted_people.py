"""A person whose 3D is known, filmed by one camera, and a lifter that knows the truth but for errors that are asked for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posekit.camera import Camera
from posekit.keypoints import Keypoints2D
from posekit.lifting.body_tree import BodyTree
from posekit.lifting.result import LEVEL_WORLD_FROM_CAM
from posekit.lifting.skeletons import LIFTER_15
from posekit.skeleton import Skeleton

TREE = BodyTree.of(LIFTER_15)


def camera(name: str = "cam", focal: float = 1000.0) -> Camera:
    """A level camera at the origin that looks along Y."""
    matrix = np.array(((focal, 0, 639.5), (0, focal, 359.5), (0, 0, 1.0)))
    return Camera(name, (1280, 720), matrix, np.zeros(0), LEVEL_WORLD_FROM_CAM.T, np.zeros(3))


def moving_person(frames: int, fps: float = 30.0, height: float = 1.7, start: float = 0.0) -> NDArray[np.float64]:
    """A person of usual proportions who swings arms and legs and walks to the right, (F, 15, 3) m in a level camera's axes."""
    time = start + np.arange(frames) / fps
    down = {"knee": 0.5, "ankle": 0.3, "elbow": 0.7, "wrist": 0.9}
    vectors = np.zeros((frames, 3, len(TREE.bones)))
    for number, (_, child) in enumerate(TREE.bones):
        name = LIFTER_15.joints[child]
        side = -1.0 if name.startswith("right") else 1.0
        kind = name.rpartition("_")[2]
        if kind in down:
            swing = down[kind] * np.sin(2 * np.pi * 0.8 * time + (0 if side > 0 else np.pi)) + 0.2
            direction = np.stack((0.1 * side + 0 * time, np.cos(swing), np.sin(swing)), axis=1)
        elif kind in ("hip", "shoulder"):
            direction = np.stack((side * np.cos(0.5 + 0 * time), 0 * time, -side * np.sin(0.5 + 0 * time)), axis=1)
        else:
            direction = np.stack((0 * time, -1 + 0 * time, -0.1 + 0 * time), axis=1)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        vectors[:, :, number] = TREE.usual_lengths[number] * height / 1.7 * direction
    root = np.stack((-0.5 + 0.3 * time, 0.1 + 0 * time, 4 + 0.4 * np.sin(time)), axis=1)
    return TREE.joints(vectors) + root[:, None]


@dataclass(frozen=True, eq=False)
class Poses:
    """What a lifter returns."""

    xyz: NDArray[np.float64]
    px_per_metre: NDArray[np.float64]
    confidence: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KnowingLifter:
    """Knows each pose by the shape that its 2D has, and errs by `depth_noise` metres in depth, anew in every frame.

    known: (F, 15, 3) camera axes. camera: that sees them. Raises AssertionError when asked for what was never filmed.
    """

    known: NDArray[np.float64]
    depth_noise: float = 0.0
    turned: bool = True
    skeleton: Skeleton = LIFTER_15
    window: int = 1

    def lift_windows(self, xy: NDArray[np.float64], confidence: NDArray[np.float64], /) -> Poses:
        """Return the known pose whose picture, or mirror image, is most like each of the windows' middle ones."""
        xy, confidence = xy[:, self.window // 2], confidence[:, self.window // 2]
        rays = self.known
        if self.turned:  # with a lens, lifters are shown everybody in the middle of the picture
            from posekit.lifting.people import _turn_to_middle

            rays = self.known @ _turn_to_middle(
                self.known / self.known[..., 2:], np.ones(self.known.shape[:2])
            ).swapaxes(1, 2)
        flat = rays[..., :2] / rays[..., 2:]
        rng = np.random.default_rng(5)
        poses = np.empty((len(xy), 15, 3))
        for n, (one, weight) in enumerate(zip(xy, confidence, strict=True)):
            seen = np.isfinite(one).all(axis=-1) & (weight > 0)
            a, b = _shape(one[seen]), np.array([_shape(other[seen]) for other in flat])
            poses[n] = rays[int(np.square(a - b).sum(axis=(1, 2)).argmin())]
            mirrored = _shape((one * (-1.0, 1.0))[LIFTER_15.mirror][seen[LIFTER_15.mirror]])
            others = np.array([_shape(other[seen[LIFTER_15.mirror]]) for other in flat])
            if np.square(mirrored - others).sum(axis=(1, 2)).min() < np.square(a - b).sum(axis=(1, 2)).min():
                best = int(np.square(mirrored - others).sum(axis=(1, 2)).argmin())
                poses[n] = (rays[best] * (-1.0, 1.0, 1.0))[LIFTER_15.mirror]
        poses -= poses[:, :1]
        poses[:, 1:, 2] += self.depth_noise * rng.normal(size=(len(poses), 14))
        return Poses(poses, np.full(len(xy), 250.0), np.where(confidence > 0, confidence, 0.2))


def _shape(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = xy - xy.mean(axis=0)
    shape: NDArray[np.float64] = centred / np.sqrt(np.square(centred).mean())
    return shape


def filmed(
    people: list[NDArray[np.float64]], view: Camera, fps: float | None = 30.0, noise_px: float = 0.0
) -> Keypoints2D:
    """2D of people (F, 15, 3) in camera axes; NaN people are not in the picture."""
    rng = np.random.default_rng(9)
    world = np.stack(people, axis=1) @ view.rotation + view.centre_world
    xy = view.project(world)
    xy = xy + noise_px * rng.normal(size=xy.shape)
    confidence = np.isfinite(xy).all(axis=-1).astype(np.float32)
    frames = np.arange(len(world))
    return Keypoints2D(xy[:, None], confidence[:, None], (view.name,), frames, LIFTER_15, fps, "filmed")
