"""A kinematic right hand with forearm: 21 joints, 19 bones, 25 angles, people of different sizes.

Frame of the hand (metres, right-handed): origin at the centre of the wrist, x radial (towards the thumb's side),
y distal (towards the fingertips), z palmar (out of the palm). Seen from the palm's side with the fingers up, a right
hand's thumb is on the right.

Proportions: the segment lengths are fractions of the hand's length as measured by Buchholz, Armstrong and Goldstein
(1992), "Anthropometric data for describing the kinematics of the human hand": wrist to knuckle .463 .446 .421 .414
for index to little finger, then .245 .143 .097 (index), .266 .170 .108 (middle), .244 .165 .107 (ring), .204 .117 .093
(little), and thumb .251 .196 .158. A hand of 0.19 m (an adult's mean) is about 0.084 m wide at the knuckles and
0.028 m thick there; an index finger is about 0.018 m wide at its middle joint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MEAN_HAND_LENGTH = 0.19
FOREARM_LENGTH = 0.25

FINGERS = ("thumb", "index", "middle", "ring", "little")
ANGLES = (
    "thumb_cmc_flexion",
    "thumb_cmc_abduction",
    "thumb_cmc_twist",
    "thumb_mcp_flexion",
    "thumb_ip_flexion",
    *(
        f"{finger}_{angle}"
        for finger in FINGERS[1:]
        for angle in ("splay", "mcp_flexion", "pip_flexion", "dip_flexion")
    ),
    "ring_palm_flexion",
    "little_palm_flexion",
    "wrist_flexion",
    "wrist_deviation",
)

# Bones 0-18; 19 and up are the bisectors that carry the skin over each bending joint.
BONES = (
    "palm",
    "forearm",
    "ring_metacarpal",
    "little_metacarpal",
    *(f"thumb_{i}" for i in (1, 2, 3)),
    *(f"{finger}_{i}" for finger in FINGERS[1:] for i in (1, 2, 3)),
)
BONE_COUNT = len(BONES)

# degrees: (lowest, highest). Splay is measured from the middle metacarpal, positive to the thumb's side.
ANGLE_LIMITS_DEGREES = np.array(
    [
        (-25, 45),
        (-25, 50),
        (-25, 45),
        (-15, 60),
        (-20, 85),
        *((-8, 24), (-25, 92), (-8, 112), (-6, 80)),
        *((-12, 12), (-25, 92), (-8, 112), (-6, 80)),
        *((-20, 8), (-25, 92), (-8, 112), (-6, 80)),
        *((-34, 6), (-25, 95), (-8, 112), (-6, 80)),
        (-2, 12),
        (-2, 20),
        (-65, 70),
        (-22, 35),
    ],
    dtype=np.float64,
)
ANGLE_COUNT = len(ANGLES)

_SPLAY_AT_REST = np.deg2rad([11.0, 0.0, -11.0, -23.0])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _frame(along: np.ndarray, palmar: np.ndarray) -> np.ndarray:
    y = _unit(along)
    z = _unit(palmar - palmar @ y * y)
    return np.stack([np.cross(y, z), y, z], axis=1)


def _build_template() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Origins (19,3), frames (19,3,3) with columns x, y along the bone, z palmar, lengths (19,), tips (5,3)."""
    h = MEAN_HAND_LENGTH
    origins = np.zeros((BONE_COUNT, 3))
    frames = np.tile(np.eye(3), (BONE_COUNT, 1, 1))
    lengths = np.zeros(BONE_COUNT)
    tips = np.zeros((5, 3))
    palmar = np.array([0.0, 0.0, 1.0])

    lengths[0] = 0.446 * h
    lengths[1] = FOREARM_LENGTH
    frames[1] = _frame(np.array([0.0, -1.0, 0.0]), palmar)
    knuckles = h * np.array(
        [[0.125, 0.4455, 0.012], [0.012, 0.4457, -0.008], [-0.092, 0.411, -0.002], [-0.182, 0.372, 0.016]]
    )
    for bone, finger, base in ((2, 2, (-0.055, 0.10, 0.0)), (3, 3, (-0.09, 0.10, 0.005))):
        origins[bone] = h * np.array(base)
        frames[bone] = _frame(knuckles[finger] - origins[bone], palmar)
        lengths[bone] = np.linalg.norm(knuckles[finger] - origins[bone])

    position = h * np.array([0.115, 0.125, 0.052])
    # The thumb at rest points outwards by 43 degrees and its pad looks across the palm.
    frame = _frame(np.array([0.62, 0.70, 0.36]), np.array([-0.72, 0.25, 0.62]))
    for i, length in enumerate((0.251, 0.196, 0.150)):
        origins[4 + i], frames[4 + i], lengths[4 + i] = position, frame, length * h
        position = position + length * h * frame[:, 1]
    tips[0] = position

    phalanges = ((0.245, 0.143, 0.097), (0.266, 0.170, 0.108), (0.244, 0.165, 0.107), (0.204, 0.117, 0.093))
    for finger in range(4):
        splay = _SPLAY_AT_REST[finger]
        frame = _frame(np.array([np.sin(splay), np.cos(splay), 0.0]), palmar)
        position = knuckles[finger]
        for i, length in enumerate(phalanges[finger]):
            bone = 7 + 3 * finger + i
            origins[bone], frames[bone], lengths[bone] = position, frame, length * h
            position = position + length * h * frame[:, 1]
        tips[finger + 1] = position
    return origins, frames, lengths, tips


BONE_ORIGINS, BONE_FRAMES, BONE_LENGTHS, FINGER_TIPS = _build_template()
ELBOW_AT_REST = np.array([0.0, -FOREARM_LENGTH, 0.0])
BONE_PARENTS = (-1, 0, 0, 0, 0, 4, 5, 0, 7, 8, 0, 10, 11, 2, 13, 14, 3, 16, 17)
# The bones over whose first joint the skin needs a bisector, in the order of bones 19 and up.
BENDING_BONES = (1, *range(4, 19))
SKIN_BONE_COUNT = BONE_COUNT + len(BENDING_BONES)
# Half of the flesh's thickness at each of the 21 joints of a mean hand.
JOINT_RADII = np.array(
    [17, 14, 11, 9.8, 7.5, 11, 9, 7.8, 6, 11.5, 9.3, 8.0, 6.2, 10.5, 8.6, 7.5, 5.8, 9.5, 7.5, 6.6, 5.2]
) * 1e-3  # fmt: skip

# How much flesh of its own may lie before a joint, in units of its radius, over all people and slants of an open hand:
# the knuckles lie deep in the palm, and a fingertip's label is the end of the bone, behind the pad. Another finger that
# touches the joint's flesh from the front brings the surface to three radii before it.
FLESH_DEPTH = np.array([1.5, 2.1, *(1.75,) * 3, *(1.9, 1.65, 1.65, 2.0) * 4])


@dataclass(frozen=True)
class HandShapes:
    """The bodies of B people's hands.

    scale: (B,19,3) factors of each bone across (radial), along and through (palmar) its own axes, against a mean hand.
    """

    scale: Tensor

    def __len__(self) -> int:
        return int(self.scale.shape[0])

    def repeat(self, count: int) -> HandShapes:
        """The same people, each `count` times in a row."""
        return HandShapes(self.scale.repeat_interleave(count, dim=0))

    def to(self, device: torch.device) -> HandShapes:
        """The same on another device."""
        return HandShapes(self.scale.to(device))


@dataclass(frozen=True)
class PosedHands:
    """B hands in a pose, in metres, in the frame of the palm (or wherever `moved` put them).

    joints: (B,21,3) in HAND_21's order. elbow: (B,3). radii: (B,21) half the flesh's thickness at each joint.
    skin_from_rest: (B,35,3,4) the affine maps that carry points of the mean hand at rest.
    """

    joints: Tensor
    elbow: Tensor
    radii: Tensor
    skin_from_rest: Tensor

    def moved(self, rotation: Tensor, translation: Tensor) -> PosedHands:
        """Apply x -> R x + t; rotation (B,3,3), translation (B,3)."""
        shift = translation[:, None, :]
        maps = rotation[:, None] @ self.skin_from_rest
        maps = torch.cat([maps[..., :3], maps[..., 3:] + translation[:, None, :, None]], dim=-1)
        elbow = (rotation @ self.elbow[..., None])[..., 0] + translation
        return PosedHands(self.joints @ rotation.transpose(1, 2) + shift, elbow, self.radii, maps)

    def take(self, index: Tensor | slice) -> PosedHands:
        """The hands at `index`."""
        return PosedHands(self.joints[index], self.elbow[index], self.radii[index], self.skin_from_rest[index])


def sample_shapes(rng: np.random.Generator, count: int) -> HandShapes:
    """Draw `count` people, from children of 0.10 m hands to men of 0.215 m.

    Spreads: palm's width and finger lengths 4 % each, thickness 9 %, thicker fingers on broader palms. The smallest
    children's fingers are a tenth shorter and a sixth thicker in proportion, their palms and wrists plumper.
    """
    child = rng.random(count) < 0.16
    size = np.where(child, rng.uniform(0.10, 0.16, count), rng.normal(0.185, 0.012, count).clip(0.155, 0.215))
    # 1 for a toddler, 0 from some twelve years on.
    young = np.where(child, (0.16 - size) / 0.06, 0.0)
    size = size / MEAN_HAND_LENGTH
    broad = rng.normal(0, 0.045, count)
    thick = np.exp(0.6 * broad + rng.normal(0, 0.07, count) + 0.15 * young)
    scale = np.ones((count, BONE_COUNT, 3))
    scale[:, :4, 0] = np.exp(broad + 0.06 * young)[:, None]
    scale[:, :4, 2] = (thick * np.exp(rng.normal(0, 0.04, count)))[:, None]
    scale[:, :4, 1] = np.exp(rng.normal(0, 0.025, count))[:, None]
    scale[:, 1, 0] *= np.exp(rng.normal(0, 0.06, count))
    scale[:, 1, 1] = np.exp(rng.normal(0, 0.05, count))
    common = rng.normal(0, 0.04, count) - 0.1 * young
    for finger in range(5):
        bones = slice(4 + 3 * finger, 7 + 3 * finger)
        along = np.exp(common + rng.normal(0, 0.025, count))
        scale[:, bones, 1] = along[:, None] * np.exp(rng.normal(0, 0.02, (count, 3)))
        across = thick * np.exp(rng.normal(0, 0.025, count))
        scale[:, bones, 0] = across[:, None] * np.exp(rng.normal(0, 0.02, count))[:, None]
        scale[:, bones, 2] = across[:, None]
    scale *= size[:, None, None]
    return HandShapes(torch.from_numpy(scale.astype(np.float32)))


def _rotation_x(angle: Tensor) -> Tensor:
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([one, zero, zero, zero, c, -s, zero, s, c], dim=-1).unflatten(-1, (3, 3))


def _rotation_y(angle: Tensor) -> Tensor:
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, zero, s, zero, one, zero, -s, zero, c], dim=-1).unflatten(-1, (3, 3))


def _rotation_z(angle: Tensor) -> Tensor:
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, -s, zero, s, c, zero, zero, zero, one], dim=-1).unflatten(-1, (3, 3))


def _joint_rotation(bone: int, angles: Tensor, part: float) -> Tensor:
    """The rotation (B,3,3) of a bone in its own axes, or the given part of it."""
    if bone == 1:
        # The palm is the root: the forearm turns the other way round.
        return _rotation_x(angles[:, 23] * part) @ _rotation_z(-angles[:, 24] * part)
    if bone in (2, 3):
        return _rotation_x(angles[:, 19 + bone] * part)
    if bone == 4:
        flexion, abduction, twist = (angles[:, i] * part for i in range(3))
        return _rotation_z(-abduction) @ _rotation_x(flexion) @ _rotation_y(-twist)
    if bone in (5, 6):
        return _rotation_x(angles[:, bone - 2] * part)
    finger, i = divmod(bone - 7, 3)
    if i:
        return _rotation_x(angles[:, 6 + 4 * finger + i] * part)
    splay = angles[:, 5 + 4 * finger] - float(_SPLAY_AT_REST[finger])
    return _rotation_z(-splay * part) @ _rotation_x(angles[:, 6 + 4 * finger] * part)


def pose_hands(shapes: HandShapes, angles: Tensor) -> PosedHands:
    """Forward kinematics of a right hand.

    shapes: B people. angles: (B,25) radians in ANGLES' order; the caller keeps them within ANGLE_LIMITS_DEGREES.
    Returns joints in the palm's frame, wrist at the origin.
    """
    B = len(shapes)
    like = shapes.scale
    frames = torch.from_numpy(BONE_FRAMES).to(like)
    origins = torch.from_numpy(BONE_ORIGINS).to(like)
    stretch = (frames * shapes.scale[:, :, None, :]) @ frames.transpose(1, 2)
    turns: list[Tensor] = [torch.eye(3, dtype=like.dtype, device=like.device).expand(B, 3, 3)]
    linear: list[Tensor] = [stretch[:, 0]]
    places: list[Tensor] = [like.new_zeros(B, 3)]
    bisectors: list[tuple[Tensor, Tensor]] = []
    for bone in range(1, BONE_COUNT):
        parent = BONE_PARENTS[bone]
        offset = origins[bone] - origins[parent]
        place = places[parent] + linear[parent] @ offset
        frame = frames[bone]
        turn = turns[parent] @ (frame @ _joint_rotation(bone, angles, 1.0) @ frame.T)
        turns.append(turn)
        places.append(place)
        linear.append(turn @ stretch[:, bone])
        if bone in BENDING_BONES:
            half = turns[parent] @ (frame @ _joint_rotation(bone, angles, 0.5) @ frame.T)
            bisectors.append((half @ (0.5 * (stretch[:, bone] + stretch[:, parent])), place))

    def carry(bone: int, point: np.ndarray) -> Tensor:
        offset = torch.from_numpy(point).to(like) - origins[bone]
        return places[bone] + linear[bone] @ offset

    joints = [places[0]]
    for finger in range(5):
        joints += [places[4 + 3 * finger + i] for i in range(3)]
        joints.append(carry(6 + 3 * finger, FINGER_TIPS[finger]))
    maps = [
        torch.cat([matrix, (place - matrix @ origins[bone])[..., None]], dim=-1)
        for bone, (matrix, place) in enumerate(zip(linear, places, strict=True))
    ]
    maps += [
        torch.cat([matrix, (place - matrix @ origins[bone])[..., None]], dim=-1)
        for bone, (matrix, place) in zip(BENDING_BONES, bisectors, strict=True)
    ]
    joint_bones = [0, *(4 + 3 * finger + min(i, 2) for finger in range(5) for i in range(4))]
    radii = torch.from_numpy(JOINT_RADII).to(like) * shapes.scale[:, joint_bones, 2]
    return PosedHands(torch.stack(joints, dim=1), carry(1, ELBOW_AT_REST), radii, torch.stack(maps, dim=1))
