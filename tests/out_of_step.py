"""A person filmed by cameras that are not in step, by known fractions of a frame."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from moving_person import moving_person
from posekit.camera import Rig
from posekit.keypoints import Keypoints2D
from scenes import PERSON

FPS = 30.0
#: The person's movement begins so long before the first frame, that any camera may be early.
_LEAD = 30


def person_at(frame: ArrayLike, frame_count: int) -> NDArray[np.float64]:
    """Where the joints are at any moments, in frames, (F, 67, 3) metres, around the origin."""
    length = frame_count + 2 * _LEAD
    joints = moving_person(length)
    joints[..., :2] -= joints[..., :2].mean(axis=(0, 1))
    return np.asarray(CubicSpline(np.arange(length), joints)(np.asarray(frame) + _LEAD))


def film_out_of_step(
    rig: Rig, late: ArrayLike, frame_count: int = 90, noise_px: float = 1.0, seed: int = 0
) -> Keypoints2D:
    """Film the person; camera c takes its frame f at f + late[c], which may also be given frame by frame, (F, C)."""
    rng = np.random.default_rng(seed)
    taken = np.arange(frame_count)[:, None] + np.broadcast_to(late, (frame_count, len(rig)))
    xy = np.stack(
        [camera.project(person_at(taken[:, c], frame_count)) for c, camera in enumerate(rig.cameras)], axis=1
    )[:, :, None]
    xy += rng.normal(0, noise_px, xy.shape)
    confidence = np.full(xy.shape[:-1], 0.9)
    return Keypoints2D(xy, confidence, rig.names, np.arange(frame_count), PERSON, FPS, "cameras out of step")


def rig_out_of_step(rig: Rig, late: ArrayLike) -> Rig:
    """The rig that knows by how many frames its cameras are late."""
    offsets = np.broadcast_to(late, len(rig)) / FPS
    return Rig(
        tuple(replace(camera, time_offset_s=float(s)) for camera, s in zip(rig.cameras, offsets, strict=True)),
        rig.source,
    )
