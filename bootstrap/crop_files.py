"""Crops to train on, with their joints, in HDF5 files."""

from pathlib import Path

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.files import require_file, write_whole
from posekit.training.samples import LabelledCrops

SCHEMA = "posekit.crops/1"

#: Crops are cut larger than the detector's box by this factor, so that training can shift, turn and scale them.
CROP_MARGIN = 1.35


def large_crop_size(size: int) -> int:
    """Side of a training crop for a detector with crops of `size` px: as many whole pixels more on either side."""
    return size + 2 * round(size * (CROP_MARGIN - 1) / 2)


def save_samples(path: str | Path, crops: LabelledCrops) -> None:
    """Write crops to train on that no round made, as `load_crops` reads them."""
    with write_whole(path) as temporary, h5py.File(temporary, "w") as file:
        write_samples(file, crops)


def write_samples(file: h5py.File, crops: LabelledCrops) -> None:
    """Put the crops into an open file: JPEG pictures, joints and weights."""
    file.attrs["schema"] = SCHEMA
    file.attrs["size"] = crops.images.shape[1]
    jpegs = file.create_dataset("jpeg", (len(crops.images),), dtype=h5py.vlen_dtype(np.uint8))
    for n, image in enumerate(crops.images):
        jpegs[n] = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].ravel()
    file.create_dataset("joints_crop_px", data=crops.joints)
    file.create_dataset("weight", data=crops.weight)


def load_crops(path: str | Path) -> LabelledCrops:
    """Read the crops to train on back from ``crops.h5``."""
    path = require_file(path, "training crops")
    try:
        with h5py.File(path, "r") as file:
            schema = file.attrs.get("schema")
            schema = schema.decode(errors="replace") if isinstance(schema, bytes) else schema
            if schema != SCHEMA:
                raise PosekitError(
                    f"{path}: schema is {schema!r}, {SCHEMA!r} was expected, as crops.h5 of a round has it"
                )
            size = int(file.attrs["size"])
            images = np.stack([_decode(jpeg) for jpeg in file["jpeg"][()]])
            joints, weight = file["joints_crop_px"][()], file["weight"][()]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise PosekitError(f"{path}: is no crop file that can be read ({error})") from None
    if images.shape[1:] != (size, size, 3):
        raise PosekitError(f"{path}: crops are {images.shape[1:]}, {size} x {size} was expected")
    return LabelledCrops(np.ascontiguousarray(images), joints, weight)


def _decode(jpeg: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Decode to RGB; ValueError for what is no picture."""
    image = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("a crop is no JPEG")
    return np.asarray(image[..., ::-1], dtype=np.uint8)
