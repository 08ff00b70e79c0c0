"""Hands that hold things: the fingers' angles that a bar, a ball, a sheet or a pen asks for, and where the thing then is.

Fingers wrap round a cylinder so that every phalanx is tangent to it: where two phalanges of lengths l and m touch a circle
of radius R at their middles, they meet at the angle atan(l / 2R) + atan(m / 2R).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from posekit.datasets.hand_looks import sample_colours
from posekit.datasets.hand_model import ANGLE_LIMITS_DEGREES, BONE_LENGTHS, MEAN_HAND_LENGTH, HandShapes, PosedHands
from posekit.datasets.hand_poses import PINCHES
from posekit.datasets.held_objects import BOX, CYLINDER, ELLIPSOID, NOTHING, HeldObjects

EMPTY, BAR, BALL, SHEET, PEN, ANYTHING = range(6)
_GRIP_SHARES = np.array([0.36, 0.14, 0.32, 0.10, 0.08])
# Flesh between a finger's bones and what they touch, and between the palm's bones and its skin, for a mean hand, metres.
_FINGER_FLESH = 8e-3
_PALM_FLESH = 10e-3
_MEAN_PALM = 0.446 * MEAN_HAND_LENGTH
# How far below the knuckles the middle of a held bar lies.
_BELOW_KNUCKLES = 18e-3
_PHALANGES = BONE_LENGTHS[7:].reshape(4, 3)
# Thumb: cmc flexion, abduction, twist, mcp, ip flexion, in degrees.
_THUMB_OVER_BAR = np.array([24.0, -4.0, 26.0, 32.0, 36.0])
_THUMB_ALONG_BAR = np.array([4.0, -16.0, 0.0, 10.0, 8.0])
_THUMB_ROUND_CUP = np.array([8.0, 36.0, 38.0, 8.0, 22.0])
_THUMB_ON_SHEET = np.array([24.0, 14.0, 38.0, 8.0, 6.0])
_THUMB_BESIDE = np.array([14.0, -14.0, 10.0, 22.0, 14.0])

# Found by bringing the thumb's pad (at 0.6 of its last bone) opposite to the middle of the last bones of the first two fingers
# of a mean hand, 16 to 34 mm from it bone to bone, for flexions of the fingers that allow it: thumb (5), the fingers' three
# flexions, in degrees.
_PLATES = np.array(
    [
        [28, -4, 21, 19, 16, 39, 42, 9],
        [13, 30, 21, 60, 85, 77, 25, 35],
        [9, 6, 28, 59, 70, 50, 76, 34],
        [22, 23, 12, 37, 49, 77, 20, 5],
        [36, -15, 30, 3, 0, 41, 24, 34],
        [13, 22, 21, 61, 85, 67, 64, 17],
        [8, 10, 23, 60, 81, 48, 79, 6],
        [19, 11, 15, 35, 47, 59, 26, 20],
        [11, 7, 35, 51, 65, 35, 72, 21],
        [9, 14, 24, 60, 78, 59, 47, 34],
        [10, 31, 15, 61, 85, 69, 50, 3],
        [13, 4, 36, 42, 58, 35, 52, 34],
        [12, 32, 16, 61, 85, 77, 38, 18],
        [34, 4, 20, 17, 9, 56, 28, 4],
        [26, -1, 19, 21, 19, 40, 25, 20],
        [8, 17, 26, 60, 73, 50, 55, 20],
        [16, 12, 19, 39, 55, 60, 17, 34],
        [14, 28, 22, 60, 78, 74, 45, 29],
        [10, 23, 21, 54, 69, 51, 52, 4],
        [8, 4, 19, 61, 86, 58, 76, 24],
    ],
    dtype=float,
)


@dataclass(frozen=True)
class Grips:
    """What B hands hold.

    kind: (B,) EMPTY, BAR, BALL, SHEET, PEN or ANYTHING. radius: (B,) of the bar, ball or pen in metres.
    """

    kind: np.ndarray
    radius: np.ndarray


def sample_grips(
    rng: np.random.Generator,
    shapes: HandShapes,
    angles: Tensor,
    share: float,
    *,
    fist_share: float = 0.5,
    plate_share: float = 0.0,
) -> tuple[Grips, Tensor]:
    """Give `share` of B people something to hold: what, and angles (B,25) in radians that hold it; others keep theirs.

    plate_share: so many sheets are held as a plate is, between the fingers' pads and the thumb's, which lies behind them. Of
    the others `fist_share` are held in a fist round their edge, the rest by the fingers' pads with the thumb to the side.
    """
    B = len(shapes)
    kind = np.where(rng.random(B) < share, rng.choice(np.arange(1, 6), B, p=_GRIP_SHARES), EMPTY)
    size = shapes.scale[:, 0, 1].double().cpu().numpy()
    low, high = (np.array(v)[kind] for v in ((1, 6e-3, 16e-3, 1, 3e-3, 1), (2, 42e-3, 48e-3, 2, 6.5e-3, 2)))
    radius = np.exp(rng.uniform(np.log(low), np.log(high))) * size
    degrees = np.rad2deg(angles.double().cpu().numpy())
    for i in np.flatnonzero((kind != EMPTY) & (kind != ANYTHING)):
        degrees[i, :23] = _holding(rng, int(kind[i]), radius[i] / size[i], fist_share, plate_share)
    degrees = degrees.clip(ANGLE_LIMITS_DEGREES[:, 0], ANGLE_LIMITS_DEGREES[:, 1])
    return Grips(kind, radius), torch.from_numpy(np.deg2rad(degrees).astype(np.float32)).to(angles.device)


def _wrapped(radius: float) -> np.ndarray:
    """Flexions (4,3) in degrees of fingers round a bar of this radius in a mean hand's palm."""
    reach = radius + _FINGER_FLESH
    half = np.rad2deg(np.arctan2(_PHALANGES / 2, reach))
    knuckle = np.rad2deg(np.arctan2(_BELOW_KNUCKLES, reach)) + half[:, 0]
    return np.stack([knuckle, half[:, 0] + half[:, 1], half[:, 1] + half[:, 2]], axis=1)


def _holding(rng: np.random.Generator, kind: int, radius: float, fist_share: float, plate_share: float) -> np.ndarray:
    splay = np.array([4.0, 0.0, -4.0, -9.0]) + rng.normal(0, 2.0, 4)
    palm = rng.uniform(2, 10, 2)
    if kind in (BAR, BALL):
        flexion = _wrapped(radius) * rng.uniform(0.88, 1.04)
        part = float(np.clip((radius - 0.012) / 0.022, 0, 1))
        first = _THUMB_OVER_BAR if rng.random() < 0.7 else _THUMB_ALONG_BAR
        thumb = first + (_THUMB_ROUND_CUP - first) * part
        if kind == BALL:
            flexion = flexion * np.array([0.75, 0.95, 1.0])
            splay = splay + rng.uniform(0.2, 0.9) * np.array([10.0, 2.0, -8.0, -16.0])
            thumb = thumb + (_THUMB_ROUND_CUP - thumb) * 0.5
        elif rng.random() < 0.2:
            # A finger or two off the bar, as on a mouse, a trigger or a cup's saucer.
            free = rng.integers(4)
            flexion[free] *= rng.uniform(0.2, 0.6)
    elif kind == SHEET:
        if plate_share and rng.random() < plate_share:
            thumb, curl = np.split(_PLATES[rng.integers(len(_PLATES))], [5])
        elif rng.random() < 1.0 - fist_share:
            curl = np.array([rng.uniform(45, 78), rng.uniform(10, 45), rng.uniform(4, 22)])
            thumb = _THUMB_ON_SHEET.copy()
        else:
            curl = np.array([rng.uniform(55, 85), rng.uniform(60, 98), rng.uniform(20, 55)])
            thumb = _THUMB_ON_SHEET + (_THUMB_BESIDE - _THUMB_ON_SHEET) * rng.random()
        flexion = curl + np.arange(4)[:, None] * rng.normal(0, 4, 3)
    else:
        finger = int(rng.random() < 0.35)
        pinch_thumb, pinch_finger = PINCHES[finger]
        thumb = np.array(pinch_thumb, dtype=float) * rng.uniform(0.85, 1.0)
        flexion = np.tile(np.array([rng.uniform(30, 75), rng.uniform(20, 85), rng.uniform(8, 45)]), (4, 1))
        flexion[: finger + 1] = np.array(pinch_finger) * rng.uniform(0.9, 1.0)
    flexion = flexion + rng.normal(0, 3.0, (4, 3))
    splay = splay * (1 - 0.65 * np.clip(flexion[:, 0] / 80, 0, 1))
    thumb = thumb + rng.normal(0, 3.0, 5)
    return np.concatenate([thumb, np.concatenate([splay[:, None], flexion], axis=1).ravel(), palm])


@dataclass(frozen=True)
class _Palms:
    """B palms to put things into, and the chance that does it: unit vectors (B,3), sizes (B,) against a mean hand."""

    rng: np.random.Generator
    hands: PosedHands
    size: Tensor
    along: Tensor
    palmar: Tensor
    across: Tensor

    @staticmethod
    def of(rng: np.random.Generator, hands: PosedHands) -> _Palms:
        wrist, index, middle, little = (hands.joints[:, i] for i in (0, 5, 9, 17))
        along = functional.normalize(middle - wrist, dim=1)
        palmar = functional.normalize(torch.linalg.cross(index - wrist, little - wrist), dim=1)
        size = (middle - wrist).norm(dim=1) / _MEAN_PALM
        return _Palms(rng, hands, size, along, palmar, torch.linalg.cross(along, palmar))

    def here(self, values: np.ndarray) -> Tensor:
        if values.dtype == np.float64:
            values = values.astype(np.float32)
        return torch.from_numpy(values).to(self.size.device)

    def length(self, low: float, high: float) -> Tensor:
        """Lengths (B,) in metres for a mean hand, in proportion to these."""
        return self.here(self.rng.uniform(low, high, len(self.size))) * self.size

    def noise(self, *shape: int) -> Tensor:
        return self.here(self.rng.standard_normal((len(self.size), *shape), dtype=np.float32))


#: Half of the extent (B,3) along the axes, the axes (B,3,3) in rows, and the centre (B,3) of things.
_Solid = tuple[Tensor, Tensor, Tensor]


def _bars(palms: _Palms, radius: Tensor) -> _Solid:
    """Across the palm, turned a little."""
    long = palms.length(0.03, 0.16)
    half = torch.stack([radius, radius, long], dim=1)
    row = palms.hands.joints[:, [5, 9, 13, 17]].mean(1)
    basis = torch.stack([palms.along, palms.palmar, palms.across], dim=1) + 0.15 * palms.noise(3, 3)
    centre = row - _BELOW_KNUCKLES * palms.size[:, None] * palms.along
    centre = centre + (radius + _PALM_FLESH * palms.size)[:, None] * palms.palmar
    return half, basis, centre + palms.across * (0.3 * long * palms.noise())[:, None]


def _balls(palms: _Palms, radius: Tensor) -> _Solid:
    half = radius[:, None] * (1 + 0.08 * palms.noise(3))
    row = palms.hands.joints[:, [5, 9, 13, 17]].mean(1)
    centre = row + 5e-3 * palms.size[:, None] * palms.along
    centre = centre + (radius + _PALM_FLESH * palms.size)[:, None] * palms.palmar
    return half, torch.stack([palms.along, palms.palmar, palms.across], dim=1), centre


def _sheets(palms: _Palms, board_share: float) -> _Solid:
    """Between the thumb's pad and the fingers', out of the hand over the web; so many are large."""
    joints, radii = palms.hands.joints, palms.hands.radii
    thumb = joints[:, 3:5].mean(1)
    fingers = joints[:, [7, 8, 11, 12, 15, 16]].mean(1)
    row = functional.normalize(joints[:, 5] - joints[:, 17] + 0.006 * palms.noise(3), dim=1)
    through = _orthogonal(fingers - thumb, row)
    between = 0.5 * (thumb + fingers)
    out = torch.linalg.cross(through, row)
    web = 0.5 * (joints[:, 2] + joints[:, 5])
    out = torch.where(((out * (between - web)).sum(-1) < 0)[:, None], -out, out)
    gap = ((fingers - thumb) * through).sum(-1) - radii[:, 3] - radii[:, 7]
    thick = torch.minimum((0.5 * gap).clamp(min=1e-3), palms.length(1e-3, 9e-3))
    width, height = palms.length(0.04, 0.20), palms.length(0.03, 0.16)
    if board_share:
        large = palms.here(palms.rng.random(len(palms.size)) < board_share)
        width, height = (torch.where(large, 2.2 * side, side) for side in (width, height))
    # The fingers' pads touch it; the thumb's do where it is thick enough.
    touching = ((fingers - between) * through).sum(-1) - radii[:, 7] - thick
    sideways = 0.45 * width * palms.noise().clamp(-2, 2)
    centre = between + through * touching[:, None] + out * (height - palms.length(0.002, 0.03))[:, None]
    half = torch.stack([height, thick, width], dim=1)
    return half, torch.stack([out, through, row], dim=1), centre + row * sideways[:, None]


def _pens(palms: _Palms, radius: Tensor) -> _Solid:
    """Between the pads of thumb and first finger, over the web."""
    joints = palms.hands.joints
    pads = 0.5 * (joints[:, 4] + joints[:, 8])
    rest = joints[:, 5] + 0.4 * (joints[:, 2] - joints[:, 5]) - 0.012 * palms.size[:, None] * palms.palmar
    axis = functional.normalize(rest - pads, dim=1)
    aside = _orthogonal(palms.along + 0.1 * palms.noise(3), axis)
    length = palms.length(0.05, 0.10)
    half = torch.stack([radius, radius, length], dim=1)
    centre = pads + axis * (length - palms.length(0.01, 0.04))[:, None]
    return half, torch.stack([aside, torch.linalg.cross(axis, aside), axis], dim=1), centre


def _anything(palms: _Palms) -> _Solid:
    """Before the palm of a hand that does not hold it."""
    half = torch.exp(0.35 * palms.noise(3)) * 0.03 * palms.size[:, None]
    basis = torch.stack([palms.along, palms.palmar, palms.across], dim=1) + 0.25 * palms.noise(3, 3)
    up = palms.length(0.05, 0.10)[:, None] * palms.along
    return half, basis, palms.hands.joints[:, 0] + up + palms.palmar * (palms.length(0.013, 0.03) + half[:, 1])[:, None]


def place_objects(
    rng: np.random.Generator, hands: PosedHands, grips: Grips, *, board_share: float = 0.0
) -> HeldObjects:
    """Put into each of B hands what its fingers are closed round; hands in the cameras' frames, and so are the things.

    board_share: so many of the sheets are boards, trays and pictures, which fill what is seen beside the hand.
    """
    palms = _Palms.of(rng, hands)
    kind, radius = palms.here(grips.kind), palms.here(grips.radius)
    half, basis, centre = _bars(palms, radius)
    for what, solid in (
        (BALL, _balls(palms, radius)), (SHEET, _sheets(palms, board_share)), (PEN, _pens(palms, radius)),
        (ANYTHING, _anything(palms)),
    ):  # fmt: skip
        mine = kind == what
        half = torch.where(mine[:, None], solid[0], half)
        basis = torch.where(mine[:, None, None], solid[1], basis)
        centre = torch.where(mine[:, None], solid[2], centre)
    # Some bars are boxes as thick, phones among them.
    boxed = palms.here(rng.random(len(kind)) < 0.35)
    wider = radius * palms.here(rng.uniform(1, 2, len(kind)))
    half[:, 0] = torch.where((kind == BAR) & boxed, wider, half[:, 0])
    shape = torch.full_like(kind, BOX)
    shape[((kind == BAR) & ~boxed) | (kind == PEN) | ((kind == ANYTHING) & boxed)] = CYLINDER
    shape[kind == BALL] = ELLIPSOID
    shape[kind == EMPTY] = NOTHING
    half[:, 1] = torch.where(shape == CYLINDER, half[:, 0], half[:, 1])
    colour, stripe = (palms.here(values) for values in _paint(rng, len(kind)))
    return HeldObjects(shape, centre, _axes(basis), half, colour, stripe)


def _orthogonal(vector: Tensor, to: Tensor) -> Tensor:
    return functional.normalize(vector - to * (vector * to).sum(-1, keepdim=True), dim=1)


def _axes(basis: Tensor) -> Tensor:
    """Orthonormal rows (B,3,3) next to these."""
    axes = torch.linalg.qr(basis.transpose(1, 2)).Q.transpose(1, 2)
    return axes * torch.sign((axes * basis).sum(-1, keepdim=True))


def _paint(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two colours (count,2,3) and stripes per metre along the first and third axis (count,2)."""
    colours = sample_colours(rng, 2 * count).reshape(count, 2, 3)
    # Paper, plastic and metal: white, black or grey, printed with the other one.
    neutral = rng.random(count) < 0.5
    tones = np.where(
        rng.random((count, 2)) < 0.5, rng.uniform(0.5, 0.9, (count, 2)), rng.uniform(0.01, 0.08, (count, 2))
    )
    colours[neutral] = tones[neutral, :, None] * rng.uniform(0.93, 1.07, (int(neutral.sum()), 1, 3))
    plain = rng.random(count) < 0.4
    colours[plain, 1] = colours[plain, 0]
    stripe = np.exp(rng.uniform(np.log(6), np.log(70), (count, 2)))
    stripe[rng.random(count) < 0.5, 0] = 0
    return colours, stripe
