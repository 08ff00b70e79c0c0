"""Synthetic scenes with a known answer: a ring of cameras around people who walk and swing their arms, hands included."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posekit.camera import Camera, Rig
from posekit.keypoints import Keypoints2D
from posekit.skeleton import BODY_25B, Skeleton, with_hands

PERSON = with_hands(BODY_25B)

# Half of a standing person, metres: x away from the middle, y forward, z up. Who looks along y has the right on the side of +x.
_MIDDLE = {"nose": (0, 0.12, 1.60), "neck": (0, 0, 1.47), "head_top": (0, 0.02, 1.78)}
_LEFT = {
    "eye": (0.03, 0.10, 1.65),
    "ear": (0.08, 0.02, 1.63),
    "shoulder": (0.19, 0, 1.45),
    "elbow": (0.30, 0.02, 1.18),
    "wrist": (0.36, 0.14, 0.96),
    "hip": (0.11, 0, 0.94),
    "knee": (0.12, 0.02, 0.51),
    "ankle": (0.12, -0.02, 0.09),
    "big_toe": (0.13, 0.16, 0.03),
    "small_toe": (0.19, 0.13, 0.03),
    "heel": (0.12, -0.07, 0.03),
}
# Lens of a machine vision camera: k1 k2 p1 p2 k3.
LENS = (-0.12, 0.06, 8e-4, -5e-4, -0.01)


def looking_camera(
    name: str,
    centre: ArrayLike,
    target: ArrayLike,
    focal: float = 1000.0,
    size: tuple[int, int] = (1280, 960),
    distortion: ArrayLike = (),
) -> Camera:
    """Return a camera at `centre` with `target` in the middle of its picture and z up."""
    centre = np.asarray(centre, dtype=float)
    forward = np.asarray(target, dtype=float) - centre
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    rotation = np.stack((right, np.cross(forward, right), forward))
    matrix = np.array([[focal, 0, (size[0] - 1) / 2], [0, 1.002 * focal, (size[1] - 1) / 2], [0, 0, 1]])
    return Camera(name, size, matrix, np.array(distortion, dtype=float), rotation, -rotation @ centre)


def ring_rig(count: int, radius: float = 4.5, distortion: ArrayLike = LENS) -> Rig:
    """Return cameras ``cam_1`` ... around the origin, at alternating heights, looking at a person's middle."""
    cameras = []
    for c in range(count):
        angle = 2 * np.pi * c / count + 0.1
        centre = (radius * np.cos(angle), radius * np.sin(angle), 1.3 + 0.8 * (c % 3))
        cameras.append(looking_camera(f"cam_{c + 1}", centre, (0, 0, 0.95), distortion=distortion))
    return Rig(tuple(cameras), "the ring")


def standing_person() -> NDArray[np.float64]:
    """Return the joints of `PERSON`, (67, 3) metres, at the origin."""
    joints = dict(_MIDDLE)
    for name, (x, y, z) in _LEFT.items():
        joints[f"left_{name}"] = (-x, y, z)
        joints[f"right_{name}"] = (x, y, z)
    for side, sign in (("left", -1), ("right", 1)):
        wrist = np.array(joints[f"{side}_wrist"])
        joints[f"{side}_hand_wrist"] = tuple(wrist)
        for number, finger in enumerate(("thumb", "index", "middle", "ring", "little")):
            away = np.array((sign * (0.045 - 0.025 * number), 0.6 * (number == 0), -1.0))
            away /= np.linalg.norm(away)
            for k, reach in enumerate((0.085, 0.12, 0.145, 0.165), start=1):
                joints[f"{side}_{finger}_{k}"] = tuple(wrist + reach * away * (0.6 if number == 0 else 1))
    return np.array([joints[name] for name in PERSON.joints], dtype=float)


def walk(frame_count: int, start: ArrayLike, end: ArrayLike, heading: float = 0.0) -> NDArray[np.float64]:
    """Return a person who walks in a straight line and swings the arms, (F, 67, 3) metres; heading in rad about z."""
    still = standing_person()
    turned = np.array([[np.cos(heading), -np.sin(heading), 0], [np.sin(heading), np.cos(heading), 0], [0, 0, 1]])
    share = np.linspace(0, 1, frame_count)[:, None]
    places = (1 - share) * np.asarray(start, dtype=float) + share * np.asarray(end, dtype=float)
    frames = []
    for f in range(frame_count):
        joints = still.copy()
        for side, phase in (("left", 0.0), ("right", np.pi)):
            swing = 0.5 * np.sin(0.3 * f + phase)
            arm = [
                j
                for j, name in enumerate(PERSON.joints)
                if name in (f"{side}_elbow", f"{side}_wrist") or j in PERSON.parts[f"{side}_hand"]
            ]
            shoulder = still[PERSON.index(f"{side}_shoulder")]
            turn = np.array([[1, 0, 0], [0, np.cos(swing), -np.sin(swing)], [0, np.sin(swing), np.cos(swing)]])
            joints[arm] = (joints[arm] - shoulder) @ turn.T + shoulder
        frames.append(joints @ turned.T + (*places[f], 0))
    return np.array(frames)


@dataclass(frozen=True)
class Scene:
    """What is true, xyz (F, P, J, 3) metres, and what the cameras report of it, person p in slot p of every view."""

    rig: Rig
    xyz: NDArray[np.float64]
    keypoints: Keypoints2D
    outliers: NDArray[np.bool_]  # (F, C, P, J), detections that were put elsewhere


def observe(
    rig: Rig,
    people: Sequence[NDArray[np.float64]],
    noise_px: float = 0.0,
    outlier_share: float = 0.0,
    missing_share: float = 0.0,
    seed: int = 0,
    skeleton: Skeleton = PERSON,
) -> Scene:
    """Film people (each (F, J, 3)); outliers lie 60 px or more from the truth, missing joints are missing one by one.

    A body's joints go astray one by one, a hand as a whole: a detector looks for it in one box.
    """
    rng = np.random.default_rng(seed)
    xyz = np.stack(people, axis=1)
    xy = np.stack([camera.project(xyz) for camera in rig.cameras], axis=1)  # (F, C, P, J, 2)
    xy += rng.normal(0, noise_px, xy.shape)
    angle, reach = rng.uniform(0, 2 * np.pi, xy.shape[:-1]), rng.uniform(60, 400, xy.shape[:-1])
    draw = rng.random(xy.shape[:-1])
    for part in ("left_hand", "right_hand"):
        if part in skeleton.parts:
            hand = skeleton.part(part)
            draw[..., hand], angle[..., hand], reach[..., hand] = (
                values[..., hand[:1]] for values in (draw, angle, reach)
            )
    outliers = draw < outlier_share
    xy += (outliers * reach)[..., None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    confidence = rng.uniform(0.4, 1.0, xy.shape[:-1])
    xy[rng.random(xy.shape[:-1]) < missing_share] = np.nan
    keypoints = Keypoints2D(xy, confidence, rig.names, np.arange(len(xy)), skeleton, 30.0, "the scene")
    return Scene(rig, xyz, keypoints, outliers & np.isfinite(xy).all(axis=-1))


def shuffle_people(
    keypoints: Keypoints2D, seed: int = 0, empty_slots: int = 1
) -> tuple[Keypoints2D, NDArray[np.int64]]:
    """Put the people of every frame and view into a random order, with empty slots among them.

    Returns the keypoints and, for every slot, who is in it: (F, C, P + empty_slots), -1 for an empty one.
    """
    rng = np.random.default_rng(seed)
    F, C, P, J = keypoints.confidence.shape
    xy = np.full((F, C, P + empty_slots, J, 2), np.nan, dtype=np.float32)
    confidence = np.zeros((F, C, P + empty_slots, J), dtype=np.float32)
    who = np.full((F, C, P + empty_slots), -1)
    for f in range(F):
        for c in range(C):
            places = rng.permutation(P + empty_slots)[:P]
            xy[f, c, places], confidence[f, c, places] = keypoints.xy[f, c], keypoints.confidence[f, c]
            who[f, c, places] = np.arange(P)
    return (
        Keypoints2D(
            xy, confidence, keypoints.cameras, keypoints.frames, keypoints.skeleton, keypoints.fps, keypoints.source
        ),
        who,
    )
