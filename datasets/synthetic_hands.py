"""Training pictures of right hands with exact labels, made as fast as a network eats them.

No person was filmed and nothing is downloaded: hands are posed (hand_model, hand_poses), drawn (hand_renderer), laid
over backgrounds and put through a camera's faults. The hand stands upright in the crop as the detector will see it:
the forearm comes from below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from posekit.datasets.backgrounds import procedural_backgrounds
from posekit.datasets.hand_looks import sample_colours, sample_looks
from posekit.datasets.hand_model import PosedHands, pose_hands, sample_shapes
from posekit.datasets.hand_poses import sample_poses
from posekit.datasets.hand_renderer import CameraViews, HandPictures, render_hands
from posekit.datasets.held_objects import BOX, CYLINDER, ELLIPSOID, NOTHING, HeldObjects
from posekit.datasets.photo_effects import colour_effects, damage_pictures
from posekit.errors import PosekitError

SPLITS = ("training", "validation")

#: So many of the hands have a thing in them.
_HELD_SHARE = 0.2


@dataclass(frozen=True)
class HandBatch:
    """B pictures of right hands.

    images: (B,3,S,S) uint8 RGB. joints_px: (B,21,2) float32 in HAND_21's order, also where hidden or outside.
    visible: (B,21) bool, inside the picture and hidden by nothing. box_px: (B,) longer side of the tight box around the
    21 joints, the unit of PCK.
    """

    images: Tensor
    joints_px: Tensor
    visible: Tensor
    box_px: Tensor


@dataclass(frozen=True)
class HandFraming:
    """How hands lie in their crops.

    box_multiple: side of the crop over the longer side of the joints' box. scale: (lowest, highest) factor on that.
    rotation: largest error of the upright direction, radians. jitter: standard deviation of the crop's centre, as a part
    of the joints' box. distance: (nearest, farthest) camera, metres.
    """

    box_multiple: float = 2.2
    scale: tuple[float, float] = (0.7, 1.4)
    rotation: float = float(np.deg2rad(25.0))
    jitter: float = 0.12
    distance: tuple[float, float] = (0.35, 2.0)


class SyntheticHands:
    """An endless data set of drawn right hands: batch(i, n) is always the same for the same seed and split.

    seed: of everything. size: side of the pictures, px. split: "training" or "validation"; they share no random number.
    oversample: hands are drawn this many times larger, then averaged. Raises PosekitError for another split.
    """

    def __init__(
        self,
        seed: int,
        size: int = 128,
        *,
        split: str = "training",
        framing: HandFraming | None = None,
        oversample: float = 1.5,
    ) -> None:
        if split not in SPLITS:
            raise PosekitError(f"synthetic hands: split is {split!r}, expected one of {', '.join(SPLITS)}")
        self.seed, self.size, self.split = seed, size, split
        self.framing, self.oversample = framing or HandFraming(), oversample

    def batch(self, index: int | np.random.Generator, count: int) -> HandBatch:
        """Draw `count` pictures; the same for the same index (or state of the generator) and count."""
        rng = (
            index
            if isinstance(index, np.random.Generator)
            else np.random.default_rng([SPLITS.index(self.split), self.seed, index])
        )
        pictures = self.draw(rng, count)
        # A few at a time stay in the cache.
        images = [self._photograph(rng, rgba) for rgba in pictures.rgba.split(8)]
        joints = pictures.joints_px
        box = (joints.amax(1) - joints.amin(1)).amax(1)
        return HandBatch(torch.cat(images), joints, pictures.visible, box)

    def draw(self, rng: np.random.Generator, count: int) -> HandPictures:
        """Hands without background: premultiplied RGBA and exact labels."""
        shapes = sample_shapes(rng, count)
        hands = pose_hands(shapes, sample_poses(rng, shapes))
        looks = sample_looks(rng, count)
        hands, views = frame_hands(rng, hands, self.size, self.framing)
        objects = sample_held_objects(rng, hands, _HELD_SHARE)
        return render_hands(hands, views, looks, (self.size, self.size), objects=objects, oversample=self.oversample)

    def _photograph(self, rng: np.random.Generator, rgba: Tensor) -> Tensor:
        """Premultiplied RGBA (n,4,S,S) to uint8 pictures (n,3,S,S): background, colours, the camera's faults."""
        return damage_pictures(rng, colour_effects(rng, self._lay_over(rng, rgba)))

    def _lay_over(self, rng: np.random.Generator, rgba: Tensor) -> Tensor:
        count = rgba.shape[0]
        behind = procedural_backgrounds(rng, count, self.size)
        # Another hand further back, out of place: skin and fingers alone do not make the hand that is asked for.
        second = np.flatnonzero(rng.random(count) < 0.12)
        for i in second:
            other = torch.flip(rgba[(i + 1) % count], dims=(-1,)) if rng.random() < 0.5 else rgba[(i + 1) % count]
            shift = [int(v) for v in rng.choice([-1, 1], 2) * rng.integers(self.size // 3, self.size // 2 + 1, 2)]
            behind[i] = _paste(behind[i], other, shift)
        return rgba[:, :3] + (1 - rgba[:, 3:]) * behind


def _paste(behind: Tensor, rgba: Tensor, shift: list[int]) -> Tensor:
    moved = torch.zeros_like(rgba)
    size = rgba.shape[-1]
    rows, columns = ((slice(max(s, 0), size + min(s, 0)), slice(max(-s, 0), size - max(s, 0))) for s in shift)
    moved[:, rows[0], columns[0]] = rgba[:, rows[1], columns[1]]
    return moved[:3] + (1 - moved[3:]) * behind


def random_rotations(rng: np.random.Generator, count: int) -> Tensor:
    """Rotations (count,3,3), uniform over all directions."""
    q = rng.standard_normal((count, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    matrix = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return torch.from_numpy(np.moveaxis(np.array(matrix), 2, 0).astype(np.float32))


def frame_hands(
    rng: np.random.Generator, hands: PosedHands, size: int, framing: HandFraming
) -> tuple[PosedHands, CameraViews]:
    """Look at B hands from anywhere, forearm from below, and frame a square crop of `size` px.

    Returns the hands in the cameras' frames, and the cameras.
    """
    B = hands.joints.shape[0]

    def draw(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, B).astype(np.float32))

    rotation = random_rotations(rng, B)
    middle = hands.joints[:, [0, 5, 9, 17]].mean(1)
    distance = torch.exp(draw(*(float(np.log(d)) for d in framing.distance)))
    # The forearm must not run into the lens.
    elbow = (rotation @ (hands.elbow - middle)[..., None])[..., 0]
    distance = torch.maximum(distance, 0.12 - elbow[:, 2] + 0.08)
    direction = elbow[:, :2] - (rotation @ (hands.joints[:, 0] - middle)[..., None])[:, :2, 0]
    # x right, y down: wrist to elbow is turned on to (0, 1), give or take the error.
    turn = torch.atan2(direction[:, 0], direction[:, 1]) + draw(-framing.rotation, framing.rotation)
    c, s, zero, one = turn.cos(), turn.sin(), torch.zeros(B), torch.ones(B)
    upright = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], dim=-1).view(B, 3, 3)
    rotation = upright @ rotation
    away = torch.stack([zero, zero, distance], dim=1)
    hands = hands.moved(rotation, away - (rotation @ middle[..., None])[..., 0])
    seen = hands.joints[..., :2] / hands.joints[..., 2:]
    low, high = seen.amin(1), seen.amax(1)
    box = (high - low).amax(1)
    scale = torch.exp(draw(*(float(np.log(v)) for v in framing.scale)))
    focal = size / (framing.box_multiple * scale * box)
    jitter = torch.from_numpy(rng.normal(0, framing.jitter, (B, 2)).clip(-0.35, 0.35).astype(np.float32))
    centre = (size - 1) / 2 - focal[:, None] * ((low + high) / 2 + jitter * box[:, None])
    return hands, CameraViews(focal, centre)


def sample_held_objects(rng: np.random.Generator, hands: PosedHands, share: float) -> HeldObjects:
    """Put a bottle, box or ball before the palm of `share` of the hands; hands in the cameras' frames."""
    B = hands.joints.shape[0]
    wrist, index, middle, little = (hands.joints[:, i] for i in (0, 5, 9, 17))
    along = torch.nn.functional.normalize(middle - wrist, dim=1)
    palmar = torch.nn.functional.normalize(torch.linalg.cross(index - wrist, little - wrist), dim=1)
    across = torch.linalg.cross(along, palmar)
    kind = rng.choice([BOX, CYLINDER, ELLIPSOID], B, p=[0.35, 0.45, 0.2])
    kind = np.where(rng.random(B) < share, kind, NOTHING)
    size = (middle - wrist).norm(dim=1) / 0.085
    half = np.exp(rng.normal(np.log(0.03), 0.35, (B, 3)))
    half[:, 2] = np.where(kind == ELLIPSOID, half[:, 2], half[:, 2] * rng.uniform(1, 4, B))
    half[:, 1] = np.where(kind == CYLINDER, half[:, 0], half[:, 1])
    half_extent = torch.from_numpy(half.astype(np.float32)) * size[:, None]
    # Along the palm's breadth as a grasped bar lies, turned a little at random; the surface touches the palm.
    basis = torch.stack([along, palmar, across], dim=1)
    wobble = torch.from_numpy((rng.standard_normal((B, 3, 3)) * 0.25).astype(np.float32))
    axes = torch.linalg.qr((basis + wobble).transpose(1, 2)).Q.transpose(1, 2)
    axes = axes * torch.sign((axes * basis).sum(-1, keepdim=True))
    gap = torch.from_numpy(rng.uniform(0.013, 0.03, B).astype(np.float32)) * size
    reach = torch.from_numpy(rng.uniform(0.6, 1.2, B).astype(np.float32))
    centre = wrist + reach[:, None] * (middle - wrist) + palmar * (gap + half_extent[:, 1])[:, None]
    slide = torch.from_numpy(rng.normal(0, 0.02, B).astype(np.float32)) * size
    colours = sample_colours(rng, 2 * B).reshape(B, 2, 3).astype(np.float32)
    plain = rng.random(B) < 0.5
    colours[plain, 1] = colours[plain, 0]
    return HeldObjects(
        kind=torch.from_numpy(kind),
        centre=centre + across * slide[:, None],
        axes=axes,
        half=half_extent,
        colour=torch.from_numpy(colours),
        stripe=torch.from_numpy(rng.uniform(5, 60, B).astype(np.float32)),
    )
