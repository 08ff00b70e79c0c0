"""How hands may lie in an upright crop: drawn hands' joints, which tell shapes that a hand can have from those it cannot."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import posekit
from posekit.errors import PosekitError
from posekit.io.files import write_whole
from posekit.skeleton import HAND_21

#: The shapes that come with posekit: joints of drawn hands in all poses and from all sides, upright to +-25 degrees.
HAND_SHAPES = Path(posekit.__file__).parent / "weights" / "hand-shapes.safetensors"

_NAME = "shapes"
#: Shapes are stored as bytes, in hundredths of B: a tenth of what two annotators differ by.
_STEPS_PER_B = 100

#: Heights below this are all the same: nothing was seen.
_LEAST = 0.02

#: How far a joint may lie from where the nearest of some thousand shapes has it, as a part of the crop's side.
_SPREAD = 3.0 / 32.0


@dataclass(frozen=True, eq=False)
class HandShapes:
    """joints: (K, 21, 2) float32 of right hands in upright crops; their box's centre is (0, 0), its longer side 1."""

    joints: Tensor

    def __post_init__(self) -> None:
        if self.joints.ndim != 3 or self.joints.shape[1:] != (HAND_21.joint_count, 2) or not len(self.joints):
            raise ValueError(f"shapes of hands are (K, 21, 2), not {tuple(self.joints.shape)}")
        if not torch.isfinite(self.joints).all():
            raise ValueError("shapes of hands must be finite")

    @classmethod
    def of_labels(cls, joints: Float[np.ndarray, "K 21 2"]) -> "HandShapes":
        """Take the shapes of labelled hands, px in their crops; hands with a missing joint are left out."""
        whole = np.asarray(joints, dtype=np.float64)[np.isfinite(joints).all(axis=(1, 2))]
        low, high = whole.min(axis=1, keepdims=True), whole.max(axis=1, keepdims=True)
        size = (high - low).max(axis=-1, keepdims=True)
        return cls(torch.from_numpy(((whole - (low + high) / 2) / size).astype(np.float32)))

    def save(self, path: str | Path) -> None:
        """Write the shapes, whole or not at all."""
        with write_whole(path) as temporary:
            save_file({_NAME: (self.joints * _STEPS_PER_B).round().to(torch.int8)}, temporary)

    @classmethod
    def load(cls, path: str | Path = HAND_SHAPES) -> "HandShapes":
        """Read shapes. Raises PosekitError where the file is missing or damaged."""
        try:
            stored = load_file(path)[_NAME]
            return cls(stored.float() / _STEPS_PER_B)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise PosekitError(f"{path}: holds no shapes of hands that can be read: {error}") from error


@cache
def usual_hand_shapes() -> HandShapes:
    """Return the shapes that come with posekit; read once."""
    return HandShapes.load()


def shape_prior(
    heatmaps: Float[Tensor, "B 21 h w"],
    peaks: Float[Tensor, "B 21 2"],
    heights: Float[Tensor, "B 21"],
    shapes: HandShapes,
    nearest: int = 12,
) -> Float[Tensor, "B 21 h w"]:
    """Return where the joints lie in those shapes that explain the heatmaps best: at most 1, about 0 far from all of them.

    Every shape is moved and scaled onto the peaks (cells; least squares, by their heights), then judged by the product of the
    heatmaps where its joints come to lie. The best `nearest` are mixed by the root of that: joints of one hand share
    what they know, and the maps' own certainty would count it twice.
    """
    size = heatmaps.shape[-1]
    joints = shapes.joints.to(heatmaps)
    weight = heights.clamp_min(1e-3)
    weight = weight / weight.sum(dim=1, keepdim=True)
    centre = (weight[..., None] * peaks).sum(dim=1)  # (B, 2)
    own_centre = torch.einsum("bj,kjd->bkd", weight, joints)
    # sum w (s - s0)(x - x0) and sum w |s - s0|^2, expanded so that nothing of shape (B, K, 21, 2) is made
    offset = weight[..., None] * (peaks - centre[:, None])
    product = torch.einsum("bjd,kjd->bk", offset, joints)
    spread = torch.einsum("bj,kj->bk", weight, joints.square().sum(-1)) - own_centre.square().sum(-1)
    # A hand fills 0.2 to 0.75 of its crop; anything else comes of peaks that are no hand.
    scale = (product / spread.clamp_min(1e-6)).clamp(0.2 * size, 0.75 * size)
    start = centre[:, None] - scale[..., None] * own_centre  # (B, K, 2)
    logs = (heatmaps + _LEAST).log().flatten(2)

    def score_of(first: int) -> Tensor:
        at = torch.round(scale[..., None] * joints[:, first] + start).long()  # (B, K, 2), of one joint
        inside = ((at >= 0) & (at < size)).all(dim=-1)
        place = (at[..., 1] * size + at[..., 0]).where(inside, 0)
        return logs[:, first].gather(1, place).where(inside, float(np.log(_LEAST)))

    score = score_of(0)
    for joint in range(1, joints.shape[1]):
        score = score + score_of(joint)
    best, which = score.topk(min(nearest, score.shape[1]), dim=1)
    share = torch.softmax(0.5 * best, dim=1)  # (B, N)
    picked = joints[which] * scale.gather(1, which)[..., None, None] + start.gather(
        1, which[..., None].expand(-1, -1, 2)
    ).unsqueeze(2)
    grid = torch.arange(size, dtype=heatmaps.dtype, device=heatmaps.device)
    spread_cells = _SPREAD * size
    across = torch.exp(-0.5 * ((grid - picked[..., :1]) / spread_cells).square())  # (B, N, 21, w)
    down = torch.exp(-0.5 * ((grid - picked[..., 1:]) / spread_cells).square())
    return torch.einsum("bn,bnjy,bnjx->bjyx", share, down, across)
