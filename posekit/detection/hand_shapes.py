"""How hands may lie in an upright crop: drawn hands' joints, which tell shapes that a hand can have from those it cannot."""

import math
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

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

#: Hands that are held against all shapes together: what lies between stays in a processor's cache.
_HANDS_AT_ONCE = 8

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

    @cached_property
    def columns(self) -> tuple[Tensor, Tensor, Tensor]:
        """x, y and their sum of squares, (21, K) each: sums over joints run along whole rows."""
        with torch.inference_mode(False):
            x, y = self.joints.permute(2, 1, 0).contiguous()
            return x, y, x.square() + y.square()

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
    x, y, squares = (columns.to(heatmaps) for columns in shapes.columns)
    weight = heights.clamp_min(1e-3)
    weight = weight / weight.sum(dim=1, keepdim=True)
    centre = (weight[..., None] * peaks).sum(dim=1)  # (B, 2)
    own_x, own_y = weight @ x, weight @ y
    # sum w (s - s0)(x - x0) and sum w |s - s0|^2, expanded so that nothing of shape (B, 21, K) is made
    offset = weight[..., None] * (peaks - centre[:, None])
    product = offset[..., 0] @ x + offset[..., 1] @ y
    spread = weight @ squares - own_x.square() - own_y.square()
    # A hand fills 0.2 to 0.75 of its crop; anything else comes of peaks that are no hand.
    scale = (product / spread.clamp_min(1e-6)).clamp(0.2 * size, 0.75 * size)  # (B, K)
    start_x, start_y = centre[:, :1] - scale * own_x, centre[:, 1:] - scale * own_y
    # Outside the map every shape has the least: a border of it, onto which all that lies farther out is moved.
    logs = functional.pad((heatmaps + _LEAST).log_(), (1, 1, 1, 1), value=math.log(_LEAST))
    score = torch.cat(
        [
            _log_agreement(logs[part], scale[part], start_x[part], start_y[part], x, y)
            for part in (slice(first, first + _HANDS_AT_ONCE) for first in range(0, max(len(logs), 1), _HANDS_AT_ONCE))
        ]
    )
    best, which = score.topk(min(nearest, score.shape[1]), dim=1)
    share = torch.softmax(0.5 * best, dim=1)[:, None, :, None]  # (B, 1, N, 1)
    grid = torch.arange(size, dtype=heatmaps.dtype, device=heatmaps.device)

    def bumps(shape: Tensor, start: Tensor) -> Tensor:
        """Heights of the best shapes' joints along one axis, (B, 21, N, size)."""
        place = shape[:, which] * scale.gather(1, which) + start.gather(1, which)  # (21, B, N)
        apart = (grid - place.transpose(0, 1)[..., None]).div_(_SPREAD * size)
        return apart.square_().mul_(-0.5).exp_()

    return (share * bumps(y, start_y)).transpose(-1, -2) @ bumps(x, start_x)


def _log_agreement(
    logs: Float[Tensor, "B 21 h+2 w+2"],
    scale: Float[Tensor, "B K"],
    start_x: Float[Tensor, "B K"],
    start_y: Float[Tensor, "B K"],
    x: Float[Tensor, "21 K"],
    y: Float[Tensor, "21 K"],
) -> Float[Tensor, "B K"]:
    """Return the sum over the joints of the logarithms where each shape, scaled and moved, has them."""
    B, J, side = logs.shape[:3]

    def cell(shape: Tensor, start: Tensor) -> Tensor:
        return (scale[:, None] * shape).add_(start[:, None]).round_().clamp_(-1, side - 2)

    # In float32 whole numbers are exact up to 2^24, the cells of 21 maps of 890 by 890.
    first = torch.arange(J, dtype=logs.dtype, device=logs.device) * side**2 + side + 1
    place = cell(y, start_y).mul_(side).add_(cell(x, start_x)).add_(first[:, None])
    return logs.view(B, -1).gather(1, place.long().view(B, -1)).view(B, J, -1).sum(dim=1)
