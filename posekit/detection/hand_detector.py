"""The hand detector: crops in, 21 joints and their confidence out."""

import copy
import itertools
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch.nn.utils.fusion import fuse_conv_bn_eval

from posekit.detection.confidence import RAW_HEIGHT, ConfidenceCurve
from posekit.detection.decoding import BoneLengths, decode_heatmaps
from posekit.detection.hand_box import HandBox, box_from_hand, cut_crops, image_from_crop, transform_points
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.models.images import images_to_tensor, normalise_images

_Images = UInt8[np.ndarray, "H W 3"] | list[UInt8[np.ndarray, "H W 3"]]


@dataclass(frozen=True, eq=False)
class HandDetector:
    """A pose machine with what turns its maps into joints.

    model: 21 joint maps in hand-21 order. crop_size: side of its crops, px. bone_lengths: prior for choosing among peaks, or
    None for every map's highest. confidence: from the height of a peak to the probability that the joint lies within 0.2 B of
    the truth (B: longer side of the tight box around the hand). batch_size: crops at once. architecture: what the model
    is called in a weight file.
    """

    model: ConvolutionalPoseMachine
    crop_size: int = 128
    bone_lengths: BoneLengths | None = None
    confidence: ConfidenceCurve = RAW_HEIGHT
    batch_size: int = 64
    architecture: str = "light_hand_cpm"

    def fused(self) -> "HandDetector":
        """Return the same detector with batch norms folded into the convolutions before them: a little faster."""
        return replace(self, model=_fold_batch_norms(self.model))

    def heights(
        self, crops: UInt8[np.ndarray, "B S S 3"]
    ) -> tuple[Float[np.ndarray, "B 21 2"], Float[np.ndarray, "B 21"]]:
        """Return the joints in crop pixels and the heights of their peaks, before any confidence curve."""
        size = self.crop_size
        if crops.ndim != 4 or crops.shape[1:] != (size, size, 3) or crops.dtype != np.uint8:
            raise ValueError(f"this detector takes uint8 crops (B, {size}, {size}, 3), not {crops.dtype} {crops.shape}")
        joints = self.model.joints
        xy, height = np.empty((len(crops), joints, 2)), np.empty((len(crops), joints))
        model = self.model.eval()
        with torch.inference_mode():
            for first in range(0, len(crops), self.batch_size):
                part = slice(first, first + self.batch_size)
                images = normalise_images(images_to_tensor(crops[part])).contiguous(memory_format=torch.channels_last)
                xy[part], height[part] = decode_heatmaps(model.heatmaps(images), model.stride, self.bone_lengths)
        return xy, height

    def detect(
        self, crops: UInt8[np.ndarray, "B S S 3"]
    ) -> tuple[Float[np.ndarray, "B 21 2"], Float[np.ndarray, "B 21"]]:
        """Find the joints in upright right-hand crops.

        Returns crop pixels and confidence in [0, 1]; every joint gets a place, however unsure.
        """
        xy, height = self.heights(crops)
        return xy, self.confidence(height)

    def detect_in_image(
        self, images: _Images, boxes: HandBox, *, passes: int = 1, rotations: int = 12
    ) -> tuple[Float[np.ndarray, "B 21 2"], Float[np.ndarray, "B 21"]]:
        """Find the joints of the hands in their boxes, in pixels of the picture, mirroring of left hands undone.

        images: one picture for all boxes, or one for each. boxes: (B,). Where there is no box: NaN and confidence 0.
        A box whose angle alone is NaN is tried at `rotations` angles and keeps the surest. passes: 2 cuts a second crop about
        what the first found, upright by its own wrist and middle knuckle, and keeps the surer of the two.
        """
        unknown = np.isnan(boxes.angle) & np.isfinite(boxes.side) & np.isfinite(boxes.centre).all(axis=-1)
        known = HandBox(boxes.centre, boxes.side, np.where(unknown, 0.0, boxes.angle), boxes.left)
        xy, confidence = self._detect_once(images, known)
        for turn in range(1, rotations):
            turned = known.turned(2 * np.pi * turn / rotations)
            xy, confidence = self._keep_surer(images, turned, xy, confidence, unknown)
        for _ in range(1, passes):
            sure = np.where((confidence >= 0.3)[..., None], xy, np.nan)
            again = box_from_hand(sure, boxes.left)
            xy, confidence = self._keep_surer(images, again, xy, confidence, again.found)
        return xy, confidence

    def _detect_once(
        self, images: _Images, boxes: HandBox
    ) -> tuple[Float[np.ndarray, "B 21 2"], Float[np.ndarray, "B 21"]]:
        found = boxes.found
        xy = np.full((*boxes.shape, self.model.joints, 2), np.nan)
        confidence = np.zeros((*boxes.shape, self.model.joints))
        if found.any():
            pictures = [images[i] for i in np.flatnonzero(found)] if isinstance(images, list) else images
            crops = cut_crops(pictures, boxes[found], self.crop_size)
            crop_xy, confidence[found] = self.detect(crops)
            xy[found] = transform_points(image_from_crop(boxes[found], self.crop_size), crop_xy)
        return xy, confidence

    def _keep_surer(
        self,
        images: _Images,
        boxes: HandBox,
        xy: Float[np.ndarray, "B 21 2"],
        confidence: Float[np.ndarray, "B 21"],
        which: np.ndarray,
    ) -> tuple[Float[np.ndarray, "B 21 2"], Float[np.ndarray, "B 21"]]:
        """Try other boxes for the hands in `which`; take each result whose mean confidence is higher."""
        places = np.flatnonzero(which)
        if len(places) == 0:
            return xy, confidence
        pictures = [images[i] for i in places] if isinstance(images, list) else images
        new_xy, new_confidence = self._detect_once(pictures, boxes[places])
        better = new_confidence.mean(axis=-1) > confidence[places].mean(axis=-1)
        xy, confidence = xy.copy(), confidence.copy()
        xy[places[better]], confidence[places[better]] = new_xy[better], new_confidence[better]
        return xy, confidence


def _fold_batch_norms(model: ConvolutionalPoseMachine) -> ConvolutionalPoseMachine:
    """Fold every batch norm that follows a convolution in a sequence, or in a residual block, into it."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        children = list(module.named_children())
        for (name, layer), (norm_name, norm) in itertools.pairwise(children):
            if isinstance(layer, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, norm_name, torch.nn.Identity())
    return model
