"""Poses of a hand: what people do with their fingers, one by one and over time."""

from __future__ import annotations

import numpy as np
import torch

from posekit.datasets.hand_model import (
    ANGLE_COUNT,
    ANGLE_LIMITS_DEGREES,
    HandShapes,
    pose_hands,
)

# Summed over all pairs of balls of flesh, metres: fists touch in many places and stay below this.
_TOLERATED_PENETRATION = 0.02
_SPLAY_NEUTRAL = np.array([4.0, 0.0, -4.0, -9.0])
_SPLAY_WIDE = np.array([16.0, 2.0, -13.0, -28.0])
# Thumb: cmc flexion, abduction, twist, mcp, ip flexion, in degrees.
_THUMB_OUT = np.array([-8.0, 5.0, 0.0, 0.0, 0.0])
_THUMB_RELAXED = np.array([6.0, -6.0, 8.0, 12.0, 18.0])
_THUMB_ALONG = np.array([4.0, -22.0, -5.0, 10.0, 8.0])
_THUMB_OVER = np.array([26.0, -6.0, 28.0, 38.0, 48.0])
_THUMB_ACROSS_PALM = np.array([36.0, -4.0, 22.0, 48.0, 40.0])
_THUMB_OPPOSED = np.array([20.0, 18.0, 34.0, 12.0, 18.0])

# Found by bringing the pad of the thumb to the pad of each finger of a mean hand: thumb (5), finger's three flexions.
PINCHES: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    0: ((32, 9, 45, 12, 6), (56, 30, 10)),
    1: ((45, 21, 45, 15, 6), (67, 28, 10)),
    2: ((45, 20, 40, 35, 15), (66, 38, 12)),
    3: ((39, -8, 26, 60, 62), (55, 99, 80)),
}

KINDS = (
    "open", "relaxed", "fist", "pointing", "pinch", "grasp", "spread", "counting", "hook", "flat", "thumbs_up", "free",
    "typing", "lateral", "walking",
)  # fmt: skip
_KIND_SHARES = np.array([1.2, 1.5, 1.3, 1.6, 1.3, 1.0, 0.8, 1.5, 0.5, 0.6, 0.6, 1.8, 0.9, 0.7, 1.0])


# Of wide poses, so many have fingers whose joints bend on their own.
_FREE_SHARE = 0.1
# So many others have knuckles that bend more or less than the usual way of closing a hand says.
_LOOSE_SHARE = 0.45
# Flexions of a finger's knuckle and middle joint, (lowest, highest): out; out but bent at the knuckle; hooked; half closed; in
# a fist.
_WAYS = np.array(
    [
        ((-12, 15), (-8, 10)),
        ((15, 80), (-8, 15)),
        ((-12, 30), (55, 108)),
        ((10, 65), (15, 70)),
        ((55, 92), (70, 112)),
    ],
    dtype=np.float64,
)


def _curled(curl: np.ndarray) -> np.ndarray:
    """(4,) curls, 0 straight to 1 fist, to (4,3) flexions in degrees."""
    return np.stack([82 * curl**1.1, 100 * curl**0.9, 62 * curl], axis=1)


def _kind_of_pose(rng: np.random.Generator, kind: str) -> np.ndarray:
    splay = _SPLAY_NEUTRAL + rng.normal(0, 2.0) * np.array([1, 0, -1, -2]) + rng.normal(0, 1.5, 4)
    common = rng.normal(0, 0.06)
    curl: np.ndarray = np.zeros(4)
    thumb: np.ndarray = _THUMB_RELAXED.copy()
    flexion: np.ndarray | None = None
    palm = rng.uniform(0, 4, 2)
    spread = rng.random()
    if kind == "open":
        curl = np.abs(rng.normal(0.05, 0.05, 4))
        thumb = _mix(rng, _THUMB_OUT, _THUMB_ALONG)
        splay = splay + spread * 0.6 * (_SPLAY_WIDE - _SPLAY_NEUTRAL)
    elif kind == "spread":
        curl = np.abs(rng.normal(0.02, 0.05, 4))
        thumb = _THUMB_OUT.copy()
        splay = splay + (0.7 + 0.3 * spread) * (_SPLAY_WIDE - _SPLAY_NEUTRAL)
    elif kind == "relaxed":
        curl = rng.uniform(0.1, 0.5) + np.arange(4) * rng.uniform(0.0, 0.07)
        thumb = _mix(rng, _THUMB_RELAXED, _THUMB_OPPOSED)
    elif kind == "fist":
        curl = rng.uniform(0.85, 1.05) + np.arange(4) * rng.uniform(-0.02, 0.03)
        thumb = _mix(rng, _THUMB_OVER, _THUMB_ALONG, sharp=True)
        palm = rng.uniform(2, 10, 2)
    elif kind == "pointing":
        curl = np.array([rng.uniform(0, 0.15), *rng.uniform(0.7, 1.0, 3)])
        thumb = _mix(rng, _THUMB_OVER, _mix(rng, _THUMB_OUT, _THUMB_ALONG), sharp=True)
    elif kind == "pinch":
        finger = int(rng.choice(4, p=[0.6, 0.24, 0.08, 0.08]))
        rest = rng.uniform(0.05, 0.8) * np.ones(4) + rng.normal(0, 0.05, 4)
        flexion = _curled(np.clip(rest, 0, 1))
        closed = rng.uniform(0.75, 1.05)
        thumb = _THUMB_OUT + (np.array(PINCHES[finger][0]) - _THUMB_OUT) * closed
        flexion[finger] = np.array(PINCHES[finger][1]) * closed
        if finger == 0 and rng.random() < 0.35:
            flexion[1] = np.array(PINCHES[1][1]) * closed * 1.05
        palm = rng.uniform(2, 14, 2) * (1 + finger) / 3
    elif kind == "grasp":
        tightness = rng.uniform(0.35, 1.1)
        flexion = np.tile(np.array([40.0, 52.0, 32.0]) * tightness, (4, 1)) + rng.normal(0, 4, (4, 3))
        thumb = _mix(rng, _THUMB_OPPOSED, _THUMB_RELAXED)
        splay = splay + spread * 0.6 * (_SPLAY_WIDE - _SPLAY_NEUTRAL)
        palm = rng.uniform(2, 12, 2)
    elif kind == "counting":
        # Each finger out or in; neighbours of the little finger drag one another a little.
        straight = rng.random(4) < 0.5
        curl = np.where(straight, rng.uniform(0, 0.15, 4), rng.uniform(0.75, 1.0, 4))
        thumb = _mix(rng, _THUMB_ACROSS_PALM, _THUMB_OUT, sharp=True)
        splay = splay + spread * (_SPLAY_WIDE - _SPLAY_NEUTRAL) * straight
    elif kind == "hook":
        amount = rng.uniform(0.5, 1.0)
        flexion = np.tile(np.array([5.0, 95.0, 55.0]) * amount, (4, 1))
        thumb = _mix(rng, _THUMB_ALONG, _THUMB_OUT)
    elif kind == "flat":
        flexion = np.tile(np.array([rng.uniform(30, 88), rng.uniform(0, 15), 3.0]), (4, 1))
        thumb = _mix(rng, _THUMB_ALONG, _THUMB_OPPOSED)
    elif kind == "typing":
        flexion = np.array([rng.uniform(5, 40), rng.uniform(25, 65), rng.uniform(8, 30)]) + rng.normal(0, 5, (4, 3))
        # One finger is down on its key, or the first two on a mouse's.
        pressing = slice(0, 2) if rng.random() < 0.4 else rng.integers(4)
        flexion[pressing] += np.array([12.0, -20.0, -6.0])
        thumb = _mix(rng, _THUMB_RELAXED, _THUMB_OPPOSED)
    elif kind == "lateral":
        # The thumb's pad on the side of the first finger: a key, a card, a bag's strap.
        curl = rng.uniform(0.55, 0.9) + np.arange(4) * rng.uniform(0.0, 0.06)
        thumb = np.array([12.0, -18.0, 6.0, 18.0, rng.uniform(0, 40)])
    elif kind == "walking":
        # A hand that hangs: the further from the thumb, the more a finger is bent.
        curl = rng.uniform(0.15, 0.4) + np.arange(4) * rng.uniform(0.02, 0.1)
        thumb = _mix(rng, _THUMB_ALONG, _THUMB_RELAXED)
    elif kind == "thumbs_up":
        curl = rng.uniform(0.85, 1.0) * np.ones(4)
        thumb = np.array([-14.0, -16.0, 0.0, -5.0, -8.0])
    else:
        # Neighbouring fingers move together: a smooth random curl over the hand.
        base = rng.uniform(0, 0.95)
        curl = base + np.cumsum(rng.normal(0, 0.16, 4)) * rng.choice([0.4, 1.0, 1.8])
        thumb = _mix(rng, _mix(rng, _THUMB_OUT, _THUMB_OPPOSED), _mix(rng, _THUMB_RELAXED, _THUMB_ACROSS_PALM))
        splay = splay + spread * (_SPLAY_WIDE - _SPLAY_NEUTRAL) * 0.7
    if flexion is None:
        flexion = _curled(np.clip(curl + common, 0, 1.05))
    flexion = flexion + rng.normal(0, 3.0, (4, 3)) + rng.normal(0, 3.0, (1, 3))
    thumb = thumb + rng.normal(0, 4.0, 5)
    return _pose(thumb, splay, flexion, palm)


def _pose(thumb: np.ndarray, splay: np.ndarray, flexion: np.ndarray, palm: np.ndarray) -> np.ndarray:
    """All 25 angles, the wrist straight. thumb: (5,). splay: (4,), of straight fingers. flexion: (4,3). palm: (2,)."""
    # A bent knuckle cannot splay: its side ligaments are taut.
    splay = splay * (1 - 0.65 * np.clip(flexion[:, 0] / 80, 0, 1))
    return np.concatenate([thumb, np.concatenate([splay[:, None], flexion], axis=1).ravel(), palm, [0.0, 0.0]])


def _mix(rng: np.random.Generator, a: np.ndarray, b: np.ndarray, *, sharp: bool = False) -> np.ndarray:
    part = float(rng.random() < 0.5) if sharp else rng.random()
    return a + (b - a) * part


def _clip(degrees: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(degrees, ANGLE_LIMITS_DEGREES[:, 0], ANGLE_LIMITS_DEGREES[:, 1]))


def _free_thumb(rng: np.random.Generator) -> np.ndarray:
    """A thumb between all that it does, and a little beyond; its last joint is often on its own."""
    kinds = np.stack([_THUMB_OUT, _THUMB_RELAXED, _THUMB_ALONG, _THUMB_OVER, _THUMB_ACROSS_PALM, _THUMB_OPPOSED])
    middle = kinds.mean(axis=0)
    thumb = middle + 1.3 * (rng.dirichlet(np.full(len(kinds), 0.5)) @ kinds - middle) + rng.normal(0, 6.0, 5)
    if rng.random() < 0.4:
        thumb[4] = rng.uniform(-20, 80)
    return np.asarray(thumb)


def _free_pose(rng: np.random.Generator) -> np.ndarray:
    """Fingers whose joints bend on their own, as in no fist: all alike, or each in its own way, as in finger spelling."""
    if rng.random() < 0.5:
        ways = [int(rng.integers(len(_WAYS)))]
        for _ in range(3):
            # A finger does what its neighbour does more often than not.
            ways.append(ways[-1] if rng.random() < 0.4 else int(rng.integers(len(_WAYS))))
        knuckle, middle = rng.uniform(_WAYS[ways, :, 0], _WAYS[ways, :, 1]).T
    else:
        knuckle, middle = (
            rng.uniform(low, high) + np.cumsum(rng.normal(0, 7.0, 4)) for low, high in ((-15, 92), (-8, 110))
        )
    # The last joint cannot be bent alone: one sinew bends it and the middle one.
    last = middle * rng.uniform(0.2, 0.8) + rng.normal(0, 4.0, 4)
    splay = _SPLAY_NEUTRAL + rng.random() * (_SPLAY_WIDE - _SPLAY_NEUTRAL) + rng.normal(0, 2.0, 4)
    return _pose(_free_thumb(rng), splay, np.stack([knuckle, middle, last], axis=1), rng.uniform(0, 10, 2))


def _loosened(rng: np.random.Generator, pose: np.ndarray) -> np.ndarray:
    """The same, its knuckles bent more or less than the joints after them say: a straight finger leaves the palm's plane."""
    pose = pose.copy()
    fingers = pose[5:21].reshape(4, 4)
    fingers[:, 1] += rng.normal(8, 18) + rng.normal(0, 8, 4)
    fingers[:, 2] *= rng.uniform(0.6, 1.1)
    fingers[:, 3] *= rng.uniform(0.5, 1.2)
    pose[:5] += rng.normal(0, 6, 5)
    return pose


def _candidates(rng: np.random.Generator, count: int, wide: bool) -> np.ndarray:
    shares = _KIND_SHARES / _KIND_SHARES.sum()
    poses = np.zeros((count, ANGLE_COUNT))
    kinds = rng.choice(len(KINDS), (count, 2), p=shares)
    mixed = rng.random(count) < 0.25
    for i in range(count):
        pose = _kind_of_pose(rng, KINDS[kinds[i, 0]])
        if mixed[i]:
            other = _kind_of_pose(rng, KINDS[kinds[i, 1]])
            pose = pose + (other - pose) * rng.uniform(0.1, 0.9)
        if wide:
            chance = rng.random()
            if chance < _FREE_SHARE:
                pose = _free_pose(rng)
            elif chance < _FREE_SHARE + _LOOSE_SHARE:
                pose = _loosened(rng, pose)
        poses[i] = pose
    poses[:, 23] = rng.normal(-8, 20, count) * rng.choice([0.4, 1.0, 1.5], count)
    poses[:, 24] = rng.normal(5, 8, count)
    if wide:
        poses[:, 24] *= rng.choice([0.5, 1.0, 2.5], count)
    return _clip(poses)


def penetration(shapes: HandShapes, angles: torch.Tensor) -> torch.Tensor:
    """How deep the fingers of B hands run through each other and the palm, in metres, summed over balls of flesh (B,).

    angles: (B,25) radians.
    """
    hands = pose_hands(shapes, angles)
    device = hands.joints.device
    part = torch.linspace(0.15, 1.0, 4, device=device)[:, None]
    centres, radii = [], []
    for finger in range(5):
        for i in range(3):
            a, b = 1 + 4 * finger + i, 2 + 4 * finger + i
            start, end = hands.joints[:, a, None], hands.joints[:, b, None]
            centres.append(start + part * (end - start))
            radii.append(hands.radii[:, a, None] + part[:, 0] * (hands.radii[:, b, None] - hands.radii[:, a, None]))
    palm = torch.stack([hands.joints[:, 1 + 4 * f] * p for f in range(1, 5) for p in (0.35, 0.6, 0.85)], dim=1)
    centre = torch.cat([*centres, palm], dim=1)
    radius = torch.cat([*radii, hands.radii[:, [0]].expand(-1, palm.shape[1]) * 0.72], dim=1)
    finger_of = torch.from_numpy(np.r_[np.repeat(np.arange(5), 12), np.full(palm.shape[1], 5)]).to(device)
    # A finger's first phalanx grows out of the palm, and so does the thumb's whole metacarpal.
    number = torch.from_numpy(np.r_[np.tile(np.arange(12), 5), np.full(palm.shape[1], 99)]).to(device)
    apart = finger_of[:, None] < finger_of[None, :]
    rooted = (finger_of[None, :] == 5) & ((number[:, None] < 4) | ((finger_of[:, None] == 0) & (number[:, None] < 6)))
    apart &= ~rooted
    apart &= ~((number[:, None] < 3) & (number[None, :] < 3))
    square = centre.square().sum(-1)
    distance = square[:, :, None] + square[:, None, :] - 2 * centre @ centre.transpose(1, 2)
    # Flesh gives way by a few millimetres.
    touching = radius[:, :, None] + radius[:, None, :] - 3e-3
    return ((touching - distance.clamp(min=1e-12).sqrt()).clamp_(min=0) * apart).sum((1, 2))


def sample_poses(rng: np.random.Generator, shapes: HandShapes, *, wide: bool = False) -> torch.Tensor:
    """Draw angles (B,25) in radians, within the joints' limits, one pose for each of B people, on their device.

    wide: a third of the wrists are bent sideways up to their limits, as those of hands that hold something upright or reach
    round it; otherwise all stay near their middle, as in most movements. And in half of the hands knuckles bend more or less
    than in the usual way of closing a hand, in a few every joint bends on its own: a finger out, but not in the palm's plane.
    Whose fingers run through each other gets up to two more draws, and keeps the best.
    """
    count = len(shapes)

    def draw(count: int) -> torch.Tensor:
        return torch.from_numpy(np.deg2rad(_candidates(rng, count, wide)).astype(np.float32)).to(shapes.scale.device)

    angles = draw(count)
    depth = penetration(shapes, angles)
    for _ in range(2):
        bad = (depth > _TOLERATED_PENETRATION).nonzero()[:, 0]
        if not len(bad):
            break
        again = draw(len(bad))
        deeper = penetration(HandShapes(shapes.scale[bad]), again)
        better = deeper < depth[bad]
        angles[bad[better]] = again[better]
        depth[bad] = torch.minimum(depth[bad], deeper)
    return angles


def sample_motion(
    rng: np.random.Generator, shapes: HandShapes, frames: int, fps: float, hold_seconds: float = 0.7
) -> torch.Tensor:
    """Draw angles (F,25) in radians of one moving hand: key poses, passed through smoothly.

    shapes: one person. hold_seconds: mean time from one key pose to the next.
    """
    if len(shapes) != 1:
        raise ValueError(f"a motion is one person's, found {len(shapes)} shapes")
    keys = max(3, int(np.ceil(frames / fps / hold_seconds)) + 2)
    poses = sample_poses(rng, shapes.repeat(keys)).double().numpy()
    times = np.concatenate([[0], np.cumsum(rng.uniform(0.7, 1.3, keys - 1))]) * hold_seconds
    now = np.arange(frames) / fps + times[1] * 0.5
    segment = np.clip(np.searchsorted(times, now, side="right") - 1, 0, keys - 2)
    part = np.clip((now - times[segment]) / (times[segment + 1] - times[segment]), 0, 1)
    # Zero speed and zero acceleration at the key poses, as in reaching movements (minimum jerk).
    part = part**3 * (10 - 15 * part + 6 * part**2)
    angles = poses[segment] + (poses[segment + 1] - poses[segment]) * part[:, None]
    return torch.from_numpy(np.deg2rad(_clip(np.rad2deg(angles))).astype(np.float32))
