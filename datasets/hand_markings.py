"""What is drawn on the skin: nails, creases, lines of the palm, knuckles, and smooth noise to mottle it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from posekit.datasets.hand_model import (
    BENDING_BONES,
    BONE_COUNT,
    BONE_FRAMES,
    BONE_LENGTHS,
    BONE_ORIGINS,
    FINGERS,
    JOINT_RADII,
    MEAN_HAND_LENGTH,
)

# All in [0,1] but "ring" (1 to 5 where a ring of that finger, thumb to little, would sit), "below_wrist" (metres) and
# "mottle" (of unit size, five wavelengths). "cavity" is left to the caller.
FIELDS = (
    "nail",
    "nail_edge",
    "crease",
    "palm_line",
    "knuckle",
    "palmar",
    "fingertip",
    "vein",
    "sinew",
    "ring",
    "cavity",
    "below_wrist",
    *(f"mottle_{i}" for i in range(5)),
)


def _bump(x: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-0.5 * (x / width) ** 2)


def _line_distance(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Distance (N,) to a line through points (n,3), taken at twelve places of each piece."""
    places = [a + t * (b - a) for a, b in pairwise(line) for t in np.linspace(0, 1, 12)]
    return np.asarray(cKDTree(np.array(places)).query(points)[0])


def _draw_veins(value: dict[str, np.ndarray], flat: np.ndarray, dorsal: np.ndarray) -> None:
    """Veins and sinews on the back of the hand and the forearm, in place."""
    h = MEAN_HAND_LENGTH
    wavy = flat + 1.6e-3 * np.sin(flat[:, [1, 0, 2]] * np.array([210.0, 260.0, 0.0]))
    veins = (
        np.array([[0.06, 0.40], [0.07, 0.28], [0.03, 0.14], [0.05, 0.0], [0.04, -0.3]]),
        np.array([[-0.04, 0.40], [-0.03, 0.30], [0.03, 0.18]]),
        np.array([[-0.13, 0.36], [-0.09, 0.26], [-0.08, 0.10], [-0.06, -0.3]]),
        np.array([[-0.03, 0.30], [-0.09, 0.24]]),
    )
    for vein in veins:
        value["vein"] += dorsal * _bump(_line_distance(wavy, h * np.c_[vein, np.zeros(len(vein))]), 1.1e-3)
    for finger in range(1, 5):
        knuckle = BONE_ORIGINS[4 + 3 * finger] * [1, 1, 0]
        line = np.array([knuckle, [0.18 * knuckle[0], 0.006, 0]])
        value["sinew"] += dorsal * _bump(_line_distance(flat, line), 1.8e-3)


def draw_markings(points: np.ndarray, normals: np.ndarray, bone: np.ndarray) -> np.ndarray:
    """Values (N, len(FIELDS)) at points (N,3) of the mean hand's skin at rest, held by bones (N,)."""
    rng = np.random.default_rng(20)
    value = {name: np.zeros(len(points)) for name in FIELDS}
    palmar = normals[:, 2].copy()
    for finger in range(len(FINGERS)):
        for i in range(3):
            index = 4 + 3 * finger + i
            frame, origin, length = BONE_FRAMES[index], BONE_ORIGINS[index], BONE_LENGTHS[index]
            half = BONE_COUNT + BENDING_BONES.index(index)
            mine = (bone == index) | (bone == half) | (bone == index - 1 if i else bone == 0)
            local = (points - origin) @ frame
            facing = normals @ frame[:, 2]
            radius = float(JOINT_RADII[1 + 4 * finger + i])
            near = np.linalg.norm(points - origin, axis=1) < 2.2 * radius
            own = (bone == index) | (bone == half)
            palmar[own] = facing[own]
            if i or finger:
                wobble = local[:, 1] + 0.5e-3 * np.sin(local[:, 0] * 700 + finger)
                if i == 0:
                    wobble = wobble - 0.42 * length
                    near = np.abs(wobble) < 3e-3
                front = np.clip(facing * 1.6 + 0.1, 0, 1)
                back = np.clip(-facing * 1.6 - 0.3, 0, 1)
                lines = front * _bump(wobble, 0.75e-3)
                if i:
                    lines = lines + 0.55 * front * _bump(wobble - 3.2e-3, 0.6e-3) * (i == 1)
                    lines = lines + 0.5 * back * sum(_bump(wobble - s, 0.6e-3) for s in (-2.6e-3, 0.0, 2.4e-3))
                value["crease"] += np.where(mine & near, lines, 0)
            if i or finger:
                bulge = _bump(local[:, 1], 0.45 * radius) * np.clip(-facing + 0.1, 0, 1)
                value["knuckle"] += np.where(mine & (np.linalg.norm(points - origin, axis=1) < 2.2 * radius), bulge, 0)
            if i == (1 if finger == 0 else 0):
                middle = (0.5 if finger else 0.55) * length
                value["ring"][own & (np.abs(local[:, 1] - middle) < 2.4e-3)] = finger + 1
            if i == 2:
                tip_radius = JOINT_RADII[4 + 4 * finger]
                u = local[:, 0] / (0.80 * tip_radius)
                v = (local[:, 1] - 0.78 * length) / (0.95 * tip_radius)
                inside = 1 - (np.abs(u) ** 2.6 + np.abs(v) ** 2.6) ** (1 / 2.6)
                dorsal = (facing < -0.1) & own
                value["nail"] += np.where(dorsal, np.clip(inside / 0.12 + 0.5, 0, 1), 0)
                value["nail_edge"] += np.where(dorsal, _bump(inside, 0.09), 0)
                end = np.clip((local[:, 1] - 0.45 * length) / (0.5 * length), 0, 1)
                value["fingertip"] += np.where(own, end, 0)
    h = MEAN_HAND_LENGTH
    palm_lines = (
        np.array([[0.15, 0.33, 0.1], [0.085, 0.30, 0.1], [0.035, 0.20, 0.1], [0.02, 0.06, 0.1]]),
        np.array([[0.15, 0.335, 0.1], [0.05, 0.30, 0.1], [-0.06, 0.25, 0.1], [-0.13, 0.17, 0.1]]),
        np.array([[-0.21, 0.30, 0.1], [-0.12, 0.345, 0.1], [-0.02, 0.375, 0.1], [0.05, 0.43, 0.1]]),
    )
    flat = points * [1, 1, 0]
    _draw_veins(value, flat, np.clip(-normals[:, 2] * 2 - 0.4, 0, 1) * (bone <= 4))
    on_palm = np.clip(normals[:, 2] * 2 - 0.2, 0, 1) * (bone <= 7)
    for line in palm_lines:
        value["palm_line"] += on_palm * _bump(_line_distance(flat, h * line * [1, 1, 0]), 0.85e-3)
    wrist_line = np.clip(normals[:, 2] * 2, 0, 1)
    for y in (-1e-3, -7e-3):
        value["palm_line"] += 0.7 * wrist_line * _bump(points[:, 1] - y + 0.08 * np.abs(points[:, 0]), 0.8e-3)
    value["palmar"] = np.clip(0.5 + 0.8 * palmar, 0, 1) * np.clip(1 + points[:, 1] / 0.03, 0, 1)
    value["below_wrist"] = -points[:, 1]
    for i, scale in enumerate((25e-3, 14e-3, 8e-3, 5e-3, 4e-3)):
        directions = rng.standard_normal((6, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        waves = np.sin(points @ directions.T * (2 * np.pi / scale) + rng.uniform(0, 2 * np.pi, 6))
        value[f"mottle_{i}"] = waves.sum(axis=1) / np.sqrt(3)
    return np.stack([value[name] for name in FIELDS], axis=1)
