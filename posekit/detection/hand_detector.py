"""The hand detector: crops in, 21 joints and their confidence out."""

import copy
import itertools
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from posekit.detection.confidence import UNFITTED, ConfidenceCurve
from posekit.detection.decoding import decode_heatmaps
from posekit.detection.hand_box import HandBox, box_from_hand, cut_crops, image_from_crop, transform_points
from posekit.detection.hand_shapes import HandShapes, usual_hand_shapes
from posekit.detection.turns import agreed_turn
from posekit.errors import PosekitError
from posekit.models.images import images_to_tensor, normalise_images
from posekit.skeleton import HAND_21, Skeleton

_Images = UInt8[np.ndarray, "H W 3"] | list[UInt8[np.ndarray, "H W 3"]]

#: Joints that say where a second look must be cut.
_SURE = 0.3

#: A second look is kept unless it is this much less sure. Its crop fits the hand, the first one's is often too large, and in a
#: large crop all joints are near each other and seem sure.
_LESS_SURE = 0.9


class HeatmapNetwork(Protocol):
    """What a detector needs of its network: a pose machine of torch, or one in another runtime."""

    @property
    def joints(self) -> int:
        """Number of maps."""

    @property
    def stride(self) -> int:
        """Pixels of the crop per cell of a map."""

    def heatmaps(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B J h w"]:
        """Return heights for float32 images, normalised."""


@dataclass(frozen=True, eq=False)
class HandDetector:
    """A network with what turns its maps into joints.

    model: a map for every joint of `skeleton`, which is the hand's (in hand-21 order) unless something else was learnt.
    crop_size: side of its crops, px. shapes: hands that the joints must look like, see `decode_heatmaps`; None takes every
    joint alone. confidence: from a joint's score to the probability that it lies within 0.2 B of the truth (B: longer side of
    the tight box around the joints). batch_size: crops at once. architecture: what the model is called in a weight file.
    device: where a network of torch works.
    """

    model: HeatmapNetwork
    crop_size: int = 128
    shapes: HandShapes | None = field(default_factory=usual_hand_shapes)
    confidence: ConfidenceCurve = UNFITTED
    batch_size: int = 64
    architecture: str = "light_hand_cpm"
    device: str = "cpu"
    skeleton: Skeleton = HAND_21

    def to(self, device: str) -> "HandDetector":
        """Return the same detector on another device, such as "cuda"; a network of torch is moved, not copied.

        Raises PosekitError where torch has no such device, or the network is another runtime's.
        """
        if not isinstance(self.model, nn.Module):
            raise PosekitError(f"device {device}: this network is not torch's, it works where it was loaded")
        try:
            return replace(self, model=self.model.to(device), device=device)
        except (RuntimeError, AssertionError) as error:
            raise PosekitError(f"device {device}: torch cannot use it: {str(error).splitlines()[0]}") from None

    def fused(self) -> "HandDetector":
        """Return the same detector with batch norms folded into the convolutions before them: a little faster."""
        return replace(self, model=_fold_batch_norms(self.model)) if isinstance(self.model, nn.Module) else self

    def scores(
        self, crops: UInt8[np.ndarray, "B S S 3"]
    ) -> tuple[Float[np.ndarray, "B 21 2"], Float[np.ndarray, "B 21"]]:
        """Return the joints in crop pixels and their scores in [0, 1], before any confidence curve.

        Raises PosekitError where the network's maps are not finite.
        """
        size = self.crop_size
        if crops.ndim != 4 or crops.shape[1:] != (size, size, 3) or crops.dtype != np.uint8:
            raise ValueError(f"this detector takes uint8 crops (B, {size}, {size}, 3), not {crops.dtype} {crops.shape}")
        joints = self.model.joints
        xy, score = np.empty((len(crops), joints, 2)), np.empty((len(crops), joints))
        if isinstance(self.model, nn.Module):
            self.model.eval()
        with torch.inference_mode():
            for first in range(0, len(crops), self.batch_size):
                part = slice(first, first + self.batch_size)
                images = normalise_images(images_to_tensor(crops[part]).to(self.device))
                maps = self.model.heatmaps(images.contiguous(memory_format=torch.channels_last))
                if not torch.isfinite(maps).all():
                    raise PosekitError(
                        "detector: the network answers with what is no number: its weights are damaged, or it was trained with "
                        "too high a learning rate"
                    )
                xy[part], score[part] = decode_heatmaps(maps, self.model.stride, self.shapes)
        return xy, score

    def detect(
        self, crops: UInt8[np.ndarray, "B S S 3"]
    ) -> tuple[Float[np.ndarray, "B 21 2"], Float[np.ndarray, "B 21"]]:
        """Find the joints in upright right-hand crops.

        Returns crop pixels and confidence in [0, 1]; every joint gets a place, however unsure.
        """
        xy, score = self.scores(crops)
        return xy, self.confidence(score)

    def detect_in_image(
        self, images: _Images, boxes: HandBox, *, passes: int = 1, rotations: int = 12
    ) -> tuple[Float[np.ndarray, "B 21 2"], Float[np.ndarray, "B 21"]]:
        """Find the joints of the hands in their boxes, in pixels of the picture, mirroring of left hands undone.

        images: one picture for all boxes, or one for each. boxes: (B,). Where there is no box: NaN and confidence 0.
        A box whose angle alone is NaN is tried at `rotations` angles, and the one is kept that their surest joints agree with
        best (`agreed_turn`). passes: 2 cuts a second crop about what the first found, upright by its own wrist and middle
        knuckle, and keeps that unless it is clearly less sure; 3 and more look again in the same way.
        """
        unknown = np.isnan(boxes.angle) & np.isfinite(boxes.side) & np.isfinite(boxes.centre).all(axis=-1)
        known = HandBox(boxes.centre, boxes.side, np.where(unknown, 0.0, boxes.angle), boxes.left)
        xy, confidence = self._detect_once(images, known)
        xy, confidence = self._best_turn(images, known, np.flatnonzero(unknown), rotations, xy, confidence)
        for _ in range(1, passes):
            sure = np.where((confidence >= _SURE)[..., None], xy, np.nan)
            again = box_from_hand(sure, boxes.left)
            rows = np.flatnonzero(again.found)
            xy, confidence = _keep_unless_less_sure(
                rows, xy, confidence, *self._detect_once(_picked(images, rows), again[rows])
            )
        return xy, confidence

    def _best_turn(
        self,
        images: _Images,
        boxes: HandBox,
        rows: Int[np.ndarray, " N"],
        rotations: int,
        xy: Float[np.ndarray, "B 21 2"],
        confidence: Float[np.ndarray, "B 21"],
    ) -> tuple[Float[np.ndarray, "B 21 2"], Float[np.ndarray, "B 21"]]:
        """Turn the boxes `rows` all round, and take the turn that all agree with best; what was found unturned has a say."""
        turns = 2 * np.pi * np.arange(1, rotations) / rotations
        if not (len(rows) and len(turns)):
            return xy, confidence
        # All turns in one batch, which takes the network half as long as a small batch for each.
        each = np.repeat(rows, len(turns))
        found, sure = self._detect_once(_picked(images, each), boxes[each].turned(np.tile(turns, len(rows))))
        all_xy = np.concatenate([xy[rows, None], found.reshape(len(rows), len(turns), *xy.shape[1:])], axis=1)
        all_sure = np.concatenate([confidence[rows, None], sure.reshape(len(rows), len(turns), -1)], axis=1)
        best = agreed_turn(all_xy, all_sure)
        xy, confidence = xy.copy(), confidence.copy()
        xy[rows], confidence[rows] = all_xy[np.arange(len(rows)), best], all_sure[np.arange(len(rows)), best]
        return xy, confidence

    def _detect_once(
        self, images: _Images, boxes: HandBox
    ) -> tuple[Float[np.ndarray, "B 21 2"], Float[np.ndarray, "B 21"]]:
        found = boxes.found
        xy = np.full((*boxes.shape, self.model.joints, 2), np.nan)
        confidence = np.zeros((*boxes.shape, self.model.joints))
        if found.any():
            crops = cut_crops(_picked(images, np.flatnonzero(found)), boxes[found], self.crop_size)
            crop_xy, confidence[found] = self.detect(crops)
            xy[found] = transform_points(image_from_crop(boxes[found], self.crop_size), crop_xy)
        return xy, confidence


def _picked(images: _Images, rows: Int[np.ndarray, " N"]) -> _Images:
    """Return the pictures of some boxes; one that is of all boxes stays one."""
    return [images[row] for row in rows] if isinstance(images, list) else images


def _keep_unless_less_sure(
    rows: Int[np.ndarray, " N"],
    xy: Float[np.ndarray, "B 21 2"],
    confidence: Float[np.ndarray, "B 21"],
    new_xy: Float[np.ndarray, "N 21 2"],
    new_confidence: Float[np.ndarray, "N 21"],
) -> tuple[Float[np.ndarray, "B 21 2"], Float[np.ndarray, "B 21"]]:
    """Take the new results of the hands `rows` whose mean confidence is above _LESS_SURE of the old."""
    better = new_confidence.mean(axis=-1) > _LESS_SURE * confidence[rows].mean(axis=-1)
    xy, confidence = xy.copy(), confidence.copy()
    xy[rows[better]], confidence[rows[better]] = new_xy[better], new_confidence[better]
    return xy, confidence


def _fold_batch_norms(model: Any) -> Any:
    """Fold every batch norm that follows a convolution in a sequence, or in a residual block, into it."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        children = list(module.named_children())
        for (name, layer), (norm_name, norm) in itertools.pairwise(children):
            if isinstance(layer, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, norm_name, torch.nn.Identity())
    return model
