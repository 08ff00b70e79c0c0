"""Cut-out pictures laid over backgrounds as they are drawn: many different crops from one rendering."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from posekit.errors import PosekitError
from posekit.models.images import images_to_tensor
from posekit.training.samples import CropBatch, visible_or_all


@dataclass(frozen=True)
class CompositedCrops:
    """Rendered hands over backgrounds.

    rgba: (N, S, S, 4), premultiplied, else dark fringes betray what was pasted; may be a memory map. joints: (N, J, 2) px.
    weight: (N, J). backgrounds: (M, T, T, 3) with T >= S, of which every draw cuts, flips and turns another part.
    second_share: how often another of the cut-outs lies behind, out of place, so that skin alone does not make the hand.
    visible: (N, J), all where not given.
    """

    rgba: UInt8[np.ndarray, "N S S 4"]
    joints: Float[np.ndarray, "N J 2"]
    weight: Float[np.ndarray, "N J"]
    backgrounds: UInt8[np.ndarray, "M T T 3"]
    second_share: float = 0.12
    visible: Bool[np.ndarray, "N J"] = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        count = len(self.rgba)
        if count == 0 or self.rgba.shape[3:] != (4,) or self.backgrounds.shape[3:] != (3,):
            raise PosekitError(
                f"composited crops: cut-outs {self.rgba.shape} and backgrounds {self.backgrounds.shape}, "
                "expected (N, S, S, 4) and (M, T, T, 3)"
            )
        if min(self.backgrounds.shape[1:3]) < self.rgba.shape[1]:
            raise PosekitError(
                f"composited crops: found backgrounds of {self.backgrounds.shape[1]} px, "
                f"expected at least the cut-outs' {self.rgba.shape[1]} px"
            )
        if self.joints.shape[::2] != (count, 2) or self.weight.shape != self.joints.shape[:2]:
            raise PosekitError(
                f"composited crops: joints {self.joints.shape}, weight {self.weight.shape} for {count} cut-outs"
            )
        object.__setattr__(self, "visible", visible_or_all(self.visible, self.weight, "composited crops"))

    def draw(self, count: int, rng: np.random.Generator) -> CropBatch:
        """Return `count` composites, cut-outs with replacement."""
        chosen = np.sort(rng.integers(0, len(self.rgba), count))
        size = self.rgba.shape[1]
        images = np.empty((count, size, size, 3), np.uint8)
        for place, cut_out in enumerate(chosen):
            self._background(rng, images[place])
            if rng.random() < self.second_share:
                other = np.asarray(self.rgba[rng.integers(len(self.rgba))])
                shift = rng.integers(size // 4, size // 2 + 1, 2) * rng.choice([-1, 1], 2)
                _lay_over(np.roll(other if rng.random() < 0.5 else other[:, ::-1], shift, axis=(0, 1)), images[place])
            _lay_over(np.asarray(self.rgba[cut_out]), images[place])
        return CropBatch(
            images=images_to_tensor(images),
            joints=torch.from_numpy(self.joints[chosen].astype(np.float32)),
            weight=torch.from_numpy(self.weight[chosen].astype(np.float32)),
            visible=torch.from_numpy(self.visible[chosen]),
        )

    def _background(self, rng: np.random.Generator, out: UInt8[np.ndarray, "S S 3"]) -> None:
        """Cut a part of a background into `out`, in one of the eight ways to lay down a square."""
        picture, size = self.backgrounds[rng.integers(len(self.backgrounds))], len(out)
        top, left = rng.integers(0, np.array(picture.shape[:2]) - size + 1)
        part = picture[top : top + size, left : left + size]
        # OpenCV does this ten times faster than a copy from NumPy's views.
        if rng.random() < 0.5:
            part = cv2.transpose(part)
        flip = int(rng.integers(4))
        if flip < 3:
            cv2.flip(part, flip - 1, dst=out)
        else:
            out[:] = part


def _lay_over(front: UInt8[np.ndarray, "S S 4"], picture: UInt8[np.ndarray, "S S 3"]) -> None:
    """Lay a premultiplied cut-out over a picture in place, working only where there is any of it."""
    rows = np.flatnonzero(front[..., 3].any(axis=1))
    columns = np.flatnonzero(front[..., 3].any(axis=0))
    if len(rows):
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        picture[part] = _over(front[part], picture[part])


def _over(front: UInt8[np.ndarray, "*n S S 4"], behind: UInt8[np.ndarray, "*n S S 3"]) -> UInt8[np.ndarray, "*n S S 3"]:
    """Lay premultiplied cut-outs over pictures, in whole numbers: front + behind (255 - alpha) / 255, rounded."""
    rest = np.uint16(255) - front[..., 3:]
    product = behind * rest + np.uint16(128)
    # (v + v / 256) / 256 is v / 255 rounded, for every 16-bit product of two bytes.
    covered = (product + (product >> 8)) >> 8
    return np.minimum(front[..., :3] + covered, 255).astype(np.uint8)
