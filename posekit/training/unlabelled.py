"""Pictures without labels, for a teacher to answer for, and crops brought to the size of others they are mixed with."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from posekit.errors import PosekitError
from posekit.skeleton import HAND_21
from posekit.training.samples import LabelledCrops

#: File name endings of the pictures that are read.
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def unlabelled_crops(folder: Path, size: int) -> LabelledCrops:
    """Read every picture in a folder and below: its middle square, brought to `size` px, with no label and weight 0.

    A picture should show one right hand, upright, that fills a third to a half of its shorter side. Raises PosekitError where
    there is no picture, or one that cannot be read.
    """
    if not folder.is_dir():
        raise PosekitError(f"{folder}: no such folder (expected: pictures of hands, {', '.join(PICTURE_SUFFIXES)})")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise PosekitError(f"{folder}: holds no picture, expected some of {', '.join(PICTURE_SUFFIXES)}")
    images = np.empty((len(paths), size, size, 3), np.uint8)
    for place, path in enumerate(paths):
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if picture is None:
            raise PosekitError(
                f"{path}: is no picture that can be read, one of {', '.join(PICTURE_SUFFIXES)} was expected"
            )
        height, width = picture.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = picture[top : top + side, left : left + side]
        images[place] = cv2.resize(
            square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        )
    count = len(paths), HAND_21.joint_count
    return LabelledCrops(images, np.full((*count, 2), np.nan), np.zeros(count, np.float32), np.zeros(count, dtype=bool))


def framed(crops: LabelledCrops, size: int) -> LabelledCrops:
    """Return crops of `size` px at the same scale: cut evenly on all sides, or with black around; labels moved along."""
    before = crops.images.shape[1]
    first = (size - before) // 2
    joints = crops.joints + first
    if first < 0:
        part = slice(-first, -first + size)
        return replace(crops, images=np.ascontiguousarray(crops.images[:, part, part]), joints=joints)
    images = np.zeros((len(crops.images), size, size, 3), np.uint8)
    images[:, first : first + before, first : first + before] = crops.images
    return replace(crops, images=images, joints=joints)
