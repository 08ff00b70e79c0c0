"""Whether somebody's body, or another hand, hides a hand from a camera."""

import numpy as np
from numpy.typing import NDArray

from posekit.skeleton import HAND_21, Skeleton

#: Limbs that can hide a whole hand, and their radius (m): a little less than an adult's, for the answer must be sure.
_CAPSULES = (
    ("neck", "left_hip", 0.10),
    ("neck", "right_hip", 0.10),
    ("left_shoulder", "left_hip", 0.08),
    ("right_shoulder", "right_hip", 0.08),
    ("nose", "neck", 0.08),
    ("left_hip", "left_knee", 0.07),
    ("right_hip", "right_knee", 0.07),
)

#: A limb nearer than this (m) to the hand along the ray may be what the hand touches, not what hides it.
_CLEARANCE = 0.08

#: Half the thickness (m) of a hand around the bones from the wrist to the knuckles, and of fingers: less than a child's.
_PALM_RADIUS, _FINGER_RADIUS = 0.010, 0.006

#: A hand nearer than this (m) to another one along the ray may hold it, and be the farther one of the two.
_HAND_CLEARANCE = 0.03


def hidden_by_hands(
    points_world: NDArray[np.floating], hands_world: NDArray[np.floating], camera_centre: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Say for every point whether the line of sight to the camera passes through a hand well before it reaches the point.

    points_world: (F, N, 3). hands_world: (F, M, 21, 3), the other hands, NaN where unknown: what is unknown hides nothing.
    camera_centre: (3,). Returns (F, N).
    """
    hidden = np.zeros(points_world.shape[:2], dtype=np.bool_)
    distance = np.linalg.norm(points_world - camera_centre, axis=-1)
    for m in range(hands_world.shape[1]):
        for start, end in HAND_21.bones:
            radius = _PALM_RADIUS if start == 0 else _FINGER_RADIUS
            bone = hands_world[:, m, None, start], hands_world[:, m, None, end]
            gap, reach = _segment_gap(camera_centre, points_world, *bone)
            with np.errstate(invalid="ignore"):
                hidden |= (gap < radius) & (reach < distance - _HAND_CLEARANCE)
    return hidden


def hidden_by_anyone(
    points_world: NDArray[np.floating],
    bodies_world: NDArray[np.floating],
    skeleton: Skeleton,
    camera_centre: NDArray[np.floating],
) -> NDArray[np.bool_]:
    """As `hidden_by_body`, by one or another of several bodies (F, P, J, 3)."""
    hidden = np.zeros(points_world.shape[:2], dtype=np.bool_)
    for p in range(bodies_world.shape[1]):
        hidden |= hidden_by_body(points_world, bodies_world[:, p], skeleton, camera_centre)
    return hidden


def hidden_by_body(
    points_world: NDArray[np.floating],
    body_world: NDArray[np.floating],
    skeleton: Skeleton,
    camera_centre: NDArray[np.floating],
) -> NDArray[np.bool_]:
    """Say for every point whether the line of sight to the camera passes through a limb well before it reaches the point.

    points_world: (F, N, 3). body_world: (F, J, 3), NaN where unknown: an unknown limb hides nothing. camera_centre: (3,).
    Returns (F, N).
    """
    hidden = np.zeros(points_world.shape[:2], dtype=np.bool_)
    for start_name, end_name, radius in _CAPSULES:
        if start_name not in skeleton or end_name not in skeleton:
            continue
        start = body_world[:, None, skeleton.index(start_name)]
        end = body_world[:, None, skeleton.index(end_name)]
        gap, reach = _segment_gap(camera_centre, points_world, start, end)
        with np.errstate(invalid="ignore"):
            distance = np.linalg.norm(points_world - camera_centre, axis=-1)
            hidden |= (gap < radius) & (reach < distance - radius - _CLEARANCE)
    return hidden


def _segment_gap(
    origin: NDArray[np.floating], target: NDArray[np.floating], start: NDArray[np.floating], end: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest distance between the sight lines origin -> target and the segments, and how far along the sight line it lies."""
    sight = target - origin
    limb = np.broadcast_to(end - start, sight.shape)
    offset = origin - start
    a, b, c = (sight * sight).sum(-1), (sight * limb).sum(-1), (limb * limb).sum(-1)
    d, e = (sight * offset).sum(-1), (limb * offset).sum(-1)
    # Closest points of two segments: Ericson, Real-Time Collision Detection, 5.1.9.
    with np.errstate(invalid="ignore", divide="ignore"):
        along_sight = np.clip((b * e - c * d) / (a * c - b * b), 0, 1)
        along_limb = np.clip((b * along_sight + e) / c, 0, 1)
        along_sight = np.clip((b * along_limb - d) / a, 0, 1)
    gap = np.linalg.norm(offset + along_sight[..., None] * sight - along_limb[..., None] * limb, axis=-1)
    return gap, along_sight * np.sqrt(a)
