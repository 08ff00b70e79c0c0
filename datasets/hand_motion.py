"""One person's hand that moves through a world, with or without a thing in it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from posekit.datasets.hand_grips import place_objects, sample_grips
from posekit.datasets.hand_model import HandShapes, PosedHands, pose_hands
from posekit.datasets.hand_poses import sample_motion, sample_poses
from posekit.datasets.held_objects import HeldObjects

# How far the fingers of a hand that holds something move, radians.
_RESTLESS = np.deg2rad(2.0)


def _smooth(rng: np.random.Generator, frames: int, fps: float, channels: int) -> NDArray[np.float64]:
    """Slow random motion (F,channels) of about unit size: waves of 0.15 to 0.6 Hz."""
    time = np.arange(frames)[:, None, None] / fps
    frequency = rng.uniform(0.15, 0.6, (3, channels))
    weight = rng.normal(0, 1, (3, channels)) / np.sqrt(1.5)
    return np.asarray((weight * np.sin(2 * np.pi * (frequency * time + rng.random((3, channels))))).sum(1))


def _holding_motion(
    rng: np.random.Generator, shape: HandShapes, frames: int, fps: float
) -> tuple[torch.Tensor, HeldObjects]:
    """Angles (F,25) of a hand that keeps hold of one thing, and that thing in each frame, in the palm's frame."""
    grips, grip = sample_grips(rng, shape, sample_poses(rng, shape), 1.0)
    thing = place_objects(rng, pose_hands(shape, grip), grips)
    restless = torch.from_numpy((_RESTLESS * _smooth(rng, frames, fps, grip.shape[1])).astype(np.float32))
    return grip + restless, thing.take(torch.zeros(frames, dtype=torch.int64))


def sample_hand_motion(
    rng: np.random.Generator, shape: HandShapes, frames: int, fps: float, *, holding: bool
) -> tuple[PosedHands, HeldObjects | None]:
    """One person's right hand in all F frames, in the world: raised, fingers up, turning and wandering some 10 cm.

    holding: it holds one thing all the time, which is returned as F things, in the world; None otherwise.
    """
    things = None
    if holding:
        angles, things = _holding_motion(rng, shape, frames, fps)
    else:
        angles = sample_motion(rng, shape, frames, fps)
    wrist = _smooth(rng, frames, fps, 2) * np.array([0.25, 0.10])
    angles[:, 23:25] = torch.from_numpy(wrist.astype(np.float32)).clamp(-0.6, 0.6)
    hands = pose_hands(shape.repeat(frames), angles)
    turn = _smooth(rng, frames, fps, 3) * np.array([0.30, 0.25, 0.7])
    turn[:, 2] += rng.uniform(-np.pi, np.pi)
    # The hand's y (to the fingertips) stands up along the world's z; its palm looks along the world's x.
    upright = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    rotation = np.stack([_euler(*angle) @ upright for angle in turn])
    middle = (rotation @ np.array([0.0, 0.07, 0.0])[:, None])[..., 0]
    place = _smooth(rng, frames, fps, 3) * np.array([0.05, 0.05, 0.04]) - middle
    turned, moved = (torch.from_numpy(values.astype(np.float32)) for values in (rotation, place))
    return hands.moved(turned, moved), None if things is None else things.moved(turned, moved)


def _euler(about_x: float, about_y: float, about_z: float) -> NDArray[np.float64]:
    turns = [cv2.Rodrigues(np.array(axis) * angle)[0] for axis, angle in
             (([0.0, 0, 1], about_z), ([0.0, 1, 0], about_y), ([1.0, 0, 0], about_x))]  # fmt: skip
    return np.asarray(turns[0] @ turns[1] @ turns[2])
