"""Labelled hands of the data sets that people have, as crops to train a hand detector on or to measure it by."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from posekit.datasets.coco_wholebody_hands import read_coco_wholebody_hands
from posekit.datasets.freihand import read_freihand
from posekit.datasets.hand_labels import HandLabels
from posekit.datasets.interhand import read_interhand
from posekit.datasets.onehand10k import read_onehand10k
from posekit.datasets.panoptic_hands import read_hand143, read_hand_labels
from posekit.datasets.rhd import read_rhd
from posekit.detection.hand_box import (
    BOX_FACTOR,
    HandBox,
    box_from_hand,
    crop_from_image,
    cut_crops,
    direction_angle,
    transform_points,
)
from posekit.errors import PosekitError
from posekit.io.files import require_file
from posekit.io.json_values import read_bytes
from posekit.models.images import images_to_tensor
from posekit.skeleton import HAND_FINGERS
from posekit.training.samples import CropBatch, LabelledCrops

#: Kind -> how its folder is read: (folder, split) to labels.
READERS: dict[str, Callable[[str | Path, str], HandLabels]] = {
    "freihand": read_freihand,
    "interhand": read_interhand,
    "onehand10k": read_onehand10k,
    "rhd": read_rhd,
    "hand_labels": read_hand_labels,
    "hand143": read_hand143,
    "coco_wholebody": read_coco_wholebody_hands,
}
KINDS = tuple(READERS)
SPLITS = ("train", "test")


@dataclass(frozen=True, eq=False)
class LabelledHandCrops:
    """Upright right-hand crops that are cut when they are asked for, so that only those are in memory.

    A left hand is mirrored. crop_size: px. box_factor: side of a crop in units of B, the longer side of the tight box round
    the labels: 2.2 is what a detector looks at; more leaves room to turn and shift. A hand stands upright by its wrist and
    knuckles.
    """

    labels: HandLabels
    crop_size: int
    box_factor: float = BOX_FACTOR

    def __post_init__(self) -> None:
        if self.crop_size < 1 or not self.box_factor > 0:
            raise PosekitError(
                f"labelled hands: found crops of {self.crop_size} px, {self.box_factor} B: expected more"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def boxes(self, chosen: NDArray[np.integer]) -> HandBox:
        """Return the boxes of some of the hands in their pictures."""
        joints = self.labels.joints[chosen].astype(np.float64)
        return box_from_hand(joints, self.labels.left[chosen], hand_direction(joints), self.box_factor)

    def crops(self, chosen: NDArray[np.integer]) -> LabelledCrops:
        """Cut the crops of some of the hands; a label outside the crop stays one.

        Raises PosekitError for a picture that is missing or damaged.
        """
        boxes = self.boxes(chosen)
        joints = transform_points(crop_from_image(boxes, self.crop_size), self.labels.joints[chosen])
        images = np.empty((len(chosen), self.crop_size, self.crop_size, 3), dtype=np.uint8)
        # One picture may have several of the hands.
        pictures = self.labels.picture[chosen]
        for number in np.unique(pictures):
            places = np.flatnonzero(pictures == number)
            image = read_picture(self.labels.path(int(chosen[places[0]])))
            images[places] = cut_crops(image, boxes[places], self.crop_size)
        labelled = np.isfinite(joints).all(axis=-1)
        return LabelledCrops(
            images, joints.astype(np.float32), labelled.astype(np.float32), self.labels.visible[chosen]
        )

    def draw(self, count: int, rng: np.random.Generator) -> CropBatch:
        """Return `count` crops, with replacement; the same state of `rng` gives the same ones."""
        import torch

        drawn = self.crops(np.sort(rng.integers(0, len(self), count)))
        return CropBatch(
            images=images_to_tensor(drawn.images),
            joints=torch.from_numpy(drawn.joints),
            weight=torch.from_numpy(drawn.weight),
            visible=torch.from_numpy(drawn.visible),
        )


def labelled_hands(
    kind: str, folder: str | Path, crop_size: int, *, split: str = "train", box_factor: float = BOX_FACTOR
) -> LabelledHandCrops:
    """Open a data set of labelled hands. kind: one of `KINDS`; folder: as the set is unpacked, see the module of the kind.

    split: ``train`` or ``test``. Raises PosekitError for an unknown kind or split, for files that are missing, damaged or do
    not belong together, and where the first picture cannot be read; the others are read when they are cut.
    """
    if kind not in READERS:
        raise PosekitError(f"{folder}: kind '{kind}' is not known, expected one of: {', '.join(KINDS)}")
    if split not in SPLITS:
        raise PosekitError(f"{folder}: split '{split}' is not known, expected one of: {', '.join(SPLITS)}")
    labels = READERS[kind](folder, split).complete_enough()
    directed = np.isfinite(hand_direction(labels.joints))
    if not directed.any():
        raise PosekitError(f"{labels.source}: found no hand with a wrist or a finger, expected one")
    opened = LabelledHandCrops(labels if directed.all() else labels[directed], crop_size, box_factor)
    read_picture(opened.labels.path(0))
    return opened


def hand_direction(joints: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return where hands (..., 21, 2) point, radians: wrist to middle knuckle, or what is next best; NaN where nothing is.

    Next best: from the wrist to the mean of the other fingers' knuckles, then from there to the mean of the fingertips.
    """
    knuckles, tips = (np.array(HAND_FINGERS)[1:, place] for place in (0, 3))
    wrist, middle = joints[..., 0, :], joints[..., 9, :]
    mean_knuckle, mean_tip = (_mean_of_known(joints[..., places, :]) for places in (knuckles, tips))
    angle = direction_angle(middle - wrist)
    for vector in (mean_knuckle - wrist, mean_tip - mean_knuckle):
        angle = np.where(np.isfinite(angle), angle, direction_angle(vector))
    return angle


def _mean_of_known(points: NDArray[np.floating]) -> NDArray[np.float64]:
    known = np.isfinite(points).all(axis=-1, keepdims=True)
    count = known.sum(axis=-2)
    total = np.where(known, points, 0).sum(axis=-2)
    mean: NDArray[np.float64] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def read_picture(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Read an RGB picture as its pixels are stored, which labels are of, whatever rotation it asks for.

    Raises PosekitError where it is missing or damaged.
    """
    raw = np.frombuffer(read_bytes(str(require_file(path, "a picture of a labelled hand"))), dtype=np.uint8)
    image = cv2.imdecode(raw, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if raw.size else None
    if image is None:
        raise PosekitError(f"{path}: is damaged or no picture ({raw.size} bytes)")
    return np.ascontiguousarray(image[..., ::-1])
