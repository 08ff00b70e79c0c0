"""Training pictures of right hands with exact labels, made as fast as a network eats them.

No person was filmed and nothing is downloaded: hands are posed (hand_model, hand_poses), drawn (hand_renderer), laid
over backgrounds and put through a camera's faults. The hand stands upright in the crop as the detector will see it: by
the forearm, which comes from below, or by wrist and middle knuckle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from posekit.datasets.backgrounds import procedural_backgrounds
from posekit.datasets.hand_cutouts import blur_hands, cast_shadows, cross_hands
from posekit.datasets.hand_grips import EMPTY, place_objects, sample_grips
from posekit.datasets.hand_looks import sample_looks
from posekit.datasets.hand_model import PosedHands, pose_hands, sample_shapes
from posekit.datasets.hand_poses import sample_poses
from posekit.datasets.hand_renderer import CameraViews, HandPictures, render_hands
from posekit.datasets.photo_effects import colour_effects, damage_pictures
from posekit.errors import PosekitError

SPLITS = ("training", "validation")

#: So many of the hands have a thing in them.
_HELD_SHARE = 0.45
#: So many sheets are large boards, and so many of those that are not held as plates are held in a fist.
_BOARD_SHARE, _FIST_SHARE = 0.4, 0.6
#: So many sheets are held between the pads of thumb and fingers, which then hide the thumb from who is shown the sheet.
_PLATE_SHARE = 0.6
#: Of the direction from which a hand is seen that shows something, about that of its palm's bones: half within 36 degrees.
_SHOWN_SPREAD = 0.6


@dataclass(frozen=True)
class HandBatch:
    """B pictures of right hands.

    images: (B,3,S,S) uint8 RGB. joints_px: (B,21,2) float32 in HAND_21's order, also where hidden or outside.
    visible: (B,21) bool, inside the picture and hidden by nothing. box_px: (B,) longer side of the tight box around the
    21 joints, the unit of PCK. seen_px: (B,) the same in pixels of the film: less where it was shrunk and enlarged again.
    """

    images: Tensor
    joints_px: Tensor
    visible: Tensor
    box_px: Tensor
    seen_px: Tensor


@dataclass(frozen=True)
class HandFraming:
    """How hands lie in their crops.

    box_multiple: side of the crop over the longer side of the joints' box. scale: (lowest, highest) factor on that.
    knuckles_share: so many stand upright by wrist and middle knuckle, as a hand does that was found before; the others by
    the forearm, which points elsewhere where the wrist is bent or the forearm points at the camera.
    rotation: largest error of the upright direction, radians. jitter: standard deviation of the crop's centre, as a part
    of the joints' box. distance: (nearest, farthest) camera, metres.
    shown_share: so many of the hands that hold something show it to the camera, which sees the fingers from before their
    knuckles, and the forearm shortened behind them; the others are seen from anywhere.
    """

    box_multiple: float = 2.2
    scale: tuple[float, float] = (0.7, 1.4)
    rotation: float = float(np.deg2rad(25.0))
    jitter: float = 0.12
    distance: tuple[float, float] = (0.28, 2.2)
    knuckles_share: float = 0.4
    shown_share: float = 0.5


class SyntheticHands:
    """An endless data set of drawn right hands: batch(i, n) is always the same for the same seed and split.

    seed: of everything. size: side of the pictures, px. split: "training" or "validation"; they share no random number.
    oversample: hands are drawn this many times larger, then averaged. device: where they are posed and drawn, and where
    `draw` leaves them; chance is drawn, and pictures are finished, by the processor. Raises PosekitError for another split.
    """

    def __init__(
        self,
        seed: int,
        size: int = 128,
        *,
        split: str = "training",
        framing: HandFraming | None = None,
        oversample: float = 1.5,
        device: str | torch.device = "cpu",
    ) -> None:
        if split not in SPLITS:
            raise PosekitError(f"synthetic hands: split is {split!r}, expected one of {', '.join(SPLITS)}")
        self.seed, self.size, self.split = seed, size, split
        self.framing, self.oversample, self.device = framing or HandFraming(), oversample, torch.device(device)

    def batch(self, index: int | np.random.Generator, count: int) -> HandBatch:
        """Draw `count` pictures; the same for the same index (or state of the generator) and count."""
        rng = (
            index
            if isinstance(index, np.random.Generator)
            else np.random.default_rng([SPLITS.index(self.split), self.seed, index])
        )
        return self.finish(rng, self.draw(rng, count))

    def finish(self, rng: np.random.Generator, drawn: HandPictures) -> HandBatch:
        """Lay drawn hands over backgrounds and put them through a camera's faults."""
        drawn = drawn.to(torch.device("cpu"))
        # A few at a time stay in the cache.
        images, kept = zip(*(self._photograph(rng, rgba) for rgba in drawn.rgba.split(8)), strict=True)
        joints = drawn.joints_px
        box = (joints.amax(1) - joints.amin(1)).amax(1)
        return HandBatch(torch.cat(images), joints, drawn.visible, box, box * torch.cat(kept))

    def draw(self, rng: np.random.Generator, count: int) -> HandPictures:
        """Hands without background: premultiplied RGBA and exact labels.

        The colours may hold more than the hand: what it has in it, another hand, its shadow as black of some alpha.
        """
        shapes = sample_shapes(rng, count).to(self.device)
        poses = sample_poses(rng, shapes, wide=True)
        grips, angles = sample_grips(rng, shapes, poses, _HELD_SHARE, fist_share=_FIST_SHARE, plate_share=_PLATE_SHARE)
        looks = sample_looks(rng, count).to(self.device)
        hands, views = frame_hands(rng, pose_hands(shapes, angles), self.size, self.framing, grips.kind != EMPTY)
        objects = place_objects(rng, hands, grips, board_share=_BOARD_SHARE)
        size = (self.size, self.size)
        drawn = render_hands(hands, views, looks, size, objects=objects, oversample=self.oversample).to(
            torch.device("cpu")
        )
        cross_hands(rng, drawn.rgba, drawn.joints_px, drawn.visible)
        blur_hands(rng, drawn.rgba)
        cast_shadows(rng, drawn.rgba)
        return drawn.to(self.device)

    def _photograph(self, rng: np.random.Generator, rgba: Tensor) -> tuple[Tensor, Tensor]:
        """Premultiplied RGBA (n,4,S,S) to uint8 pictures (n,3,S,S): background, colours, the camera's faults.

        Also returns (n,) what the camera's faults left of S pixels.
        """
        return damage_pictures(rng, colour_effects(rng, self._lay_over(rng, rgba)))

    def _lay_over(self, rng: np.random.Generator, rgba: Tensor) -> Tensor:
        count = rgba.shape[0]
        behind = procedural_backgrounds(rng, count, self.size)
        # Another hand further back, out of place: skin and fingers alone do not make the hand that is asked for.
        second = np.flatnonzero(rng.random(count) < 0.06)
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


def _shown_side(rng: np.random.Generator, hands: PosedHands) -> Tensor:
    """Unit vectors (B,3) from hands to whom they show something: about the direction of the palm's bones."""
    aside = torch.from_numpy(rng.normal(0, _SHOWN_SPREAD, (len(hands.joints), 3)).astype(np.float32))
    along = functional.normalize(hands.joints[:, 9] - hands.joints[:, 0], dim=1)
    return functional.normalize(along + aside.to(along.device), dim=1)


def turned_to_camera(rotations: Tensor, direction: Tensor) -> Tensor:
    """Turn rotations (B,3,3) by no more than is needed for `direction` (B,3), unit vectors, to point at the camera at -z."""
    is_now = (rotations @ direction[..., None])[..., 0]
    camera = is_now.new_tensor([0.0, 0.0, -1.0]).expand_as(is_now)
    halfway = is_now + camera
    # Away from the camera, no plane is told: any half turn about a line across will do.
    across = halfway.new_tensor([1.0, 0.0, 0.0]).expand_as(halfway)
    halfway = torch.where(halfway.norm(dim=1, keepdim=True) < 1e-6, across, halfway)

    def half_turn(axis: Tensor) -> Tensor:
        return 2 * axis[:, :, None] * axis[:, None] - torch.eye(3, device=axis.device)

    # The half turn about the middle of both exchanges them; one about `is_now` before it leaves a turn in their plane.
    return half_turn(functional.normalize(halfway, dim=1)) @ half_turn(is_now) @ rotations


def frame_hands(
    rng: np.random.Generator, hands: PosedHands, size: int, framing: HandFraming, holding: np.ndarray | None = None
) -> tuple[PosedHands, CameraViews]:
    """Look at B hands from anywhere or as what they hold is shown, forearm or palm from below; frame a crop of `size` px.

    holding: (B,) bool, which of them have something to show; none if not given. Returns the hands in the cameras' frames, and
    the cameras.
    """
    B, device = hands.joints.shape[0], hands.joints.device

    def draw(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, B).astype(np.float32)).to(device)

    rotation = random_rotations(rng, B).to(device)
    if holding is not None:
        turned = turned_to_camera(rotation, _shown_side(rng, hands))
        shown = torch.from_numpy(holding & (rng.random(B) < framing.shown_share)).to(device)
        rotation = torch.where(shown[:, None, None], turned, rotation)
    middle = hands.joints[:, [0, 5, 9, 17]].mean(1)
    distance = torch.exp(draw(*(float(np.log(d)) for d in framing.distance)))
    # The forearm must not run into the lens.
    elbow, wrist, knuckle = (
        (rotation @ (place - middle)[..., None])[..., 0]
        for place in (hands.elbow, hands.joints[:, 0], hands.joints[:, 9])
    )
    distance = torch.maximum(distance, 0.12 - elbow[:, 2] + 0.08)
    by_knuckles = torch.from_numpy(rng.random(B) < framing.knuckles_share).to(device)[:, None]
    direction = torch.where(by_knuckles, wrist - knuckle, elbow - wrist)
    # x right, y down: wrist to elbow, or knuckle to wrist, is turned on to (0, 1), give or take the error.
    turn = torch.atan2(direction[:, 0], direction[:, 1]) + draw(-framing.rotation, framing.rotation)
    c, s, zero, one = turn.cos(), turn.sin(), torch.zeros_like(turn), torch.ones_like(turn)
    upright = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], dim=-1).view(B, 3, 3)
    rotation = upright @ rotation
    away = torch.stack([zero, zero, distance], dim=1)
    hands = hands.moved(rotation, away - (rotation @ middle[..., None])[..., 0])
    seen = hands.joints[..., :2] / hands.joints[..., 2:]
    low, high = seen.amin(1), seen.amax(1)
    box = (high - low).amax(1)
    scale = torch.exp(draw(*(float(np.log(v)) for v in framing.scale)))
    focal = size / (framing.box_multiple * scale * box)
    jitter = torch.from_numpy(rng.normal(0, framing.jitter, (B, 2)).clip(-0.35, 0.35).astype(np.float32)).to(device)
    centre = (size - 1) / 2 - focal[:, None] * ((low + high) / 2 + jitter * box[:, None])
    return hands, CameraViews(focal, centre)
