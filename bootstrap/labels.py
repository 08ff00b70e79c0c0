"""Labels made by geometry: triangulated hands, reprojected into every view; and the crops to train on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.hand_views import SIDES, camera_frames, hand_joints
from posekit.bootstrap.occlusion import hidden_by_anyone
from posekit.bootstrap.scoring import (
    SelectionSettings,
    choose_window,
    frame_scores,
    implausible_joints,
    select_frames,
)
from posekit.camera import Rig
from posekit.capture import Capture
from posekit.detection.hand_box import HandBox, crop_from_image, cut_crops, transform_points
from posekit.errors import PosekitError
from posekit.io.files import require_file, write_whole
from posekit.people.reconstruction import Reconstruction
from posekit.point_status import PointStatus
from posekit.training.samples import LabelledCrops

SCHEMA = "posekit.crops/1"

#: Crops are cut larger than the detector's box by this factor, so that training can shift, turn and scale them.
CROP_MARGIN = 1.35


def large_crop_size(size: int) -> int:
    """Side of a training crop for a detector with crops of `size` px: as many whole pixels more on either side."""
    return size + 2 * round(size * (CROP_MARGIN - 1) / 2)


@dataclass(frozen=True, eq=False)
class HandLabels:
    """N labelled hands, each in one view of one frame.

    place: (N,) index of the frame. camera: (N,) index. hand: (N,) 2 * person + (0 left, 1 right). joints_px: (N, 21, 2) in
    the picture, NaN without a label. inliers: (N, 21, C), the views that made the point. residual_px: (N, 21), how far the
    view's own detection lies from the label; NaN where it had none. covariance: (N, 21, 6) m^2. threshold_px: (N,),
    within which views agreed. round: which round made them.
    """

    place: NDArray[np.int64]
    camera: NDArray[np.int64]
    hand: NDArray[np.int64]
    joints_px: NDArray[np.float64]
    inliers: NDArray[np.bool_]
    residual_px: NDArray[np.float64]
    covariance: NDArray[np.float64]
    threshold_px: NDArray[np.float64]
    round: int

    def __len__(self) -> int:
        return len(self.place)


def make_labels(
    result: Reconstruction,
    rig: Rig,
    boxes: HandBox,
    thresholds: NDArray[np.float64],
    training_frames: NDArray[np.bool_],
    round_number: int,
    settings: SelectionSettings,
) -> HandLabels:
    """Choose the best frames of every hand and reproject its points into every view, detected there or not.

    boxes: (F, C, H). thresholds: (F, H, C) px. training_frames: (F,), False for frames that are held out.
    A label is left out where it would lie outside the picture or the crop, and where a body surely hides the hand.
    """
    people = result.people
    F, P = people.status.shape[:2]
    joints = hand_joints(people.skeleton)
    window = choose_window(F, people.fps, settings)
    rows: dict[str, list[NDArray]] = {
        name: []
        for name in ("place", "camera", "hand", "joints_px", "inliers", "residual_px", "covariance", "threshold_px")
    }
    for h in range(2 * P):
        p, hand = h // 2, joints[h % 2]
        xyz = people.xyz[:, p, hand].copy()
        xyz[implausible_joints(xyz, people.status[:, p, hand], settings)] = np.nan
        confidence = result.detections.confidence[:, :, p][..., hand]
        scores = frame_scores(people.inliers[:, p, hand], confidence, xyz)
        scores[(np.isfinite(xyz).all(axis=-1).sum(axis=1) < settings.min_joints) | ~training_frames] = 0
        chosen = select_frames(scores, window, settings.frames)
        for c, camera in enumerate(rig.cameras):
            label = camera.project(xyz[chosen])
            hidden = hidden_by_anyone(xyz[chosen], people.xyz[chosen], people.skeleton, camera.centre_world)
            label[hidden] = np.nan
            label[~(camera.in_picture(label) & _in_crop(label, boxes[chosen, c, h]))] = np.nan
            kept = np.isfinite(label).all(axis=-1).sum(axis=1) >= settings.min_joints
            places = chosen[kept]
            rows["place"].append(places)
            rows["camera"].append(np.full(len(places), c))
            rows["hand"].append(np.full(len(places), h))
            rows["joints_px"].append(label[kept])
            rows["inliers"].append(people.inliers[places, p][:, hand])
            rows["residual_px"].append(people.reprojection_px[places, p][:, hand, c])
            rows["covariance"].append(people.covariance[places, p][:, hand])
            rows["threshold_px"].append(thresholds[places, h, c])
    return HandLabels(**{name: np.concatenate(values) for name, values in rows.items()}, round=round_number)


def _in_crop(joints_px: NDArray[np.float64], boxes: HandBox) -> NDArray[np.bool_]:
    """Joints (N, 21) that lie in the crop that is kept of a picture, CROP_MARGIN times the detector's box."""
    in_crop = transform_points(crop_from_image(boxes, 1), joints_px)  # the box's edges lie at -0.5 and 0.5
    with np.errstate(invalid="ignore"):
        inside: NDArray[np.bool_] = (np.abs(in_crop) < 0.5 * CROP_MARGIN).all(axis=-1)
    return inside


def cut_label_crops(
    capture: Capture,
    cameras: tuple[str, ...],
    frames: NDArray[np.int64],
    labels: HandLabels,
    boxes: HandBox,
    size: int,
    on_frame: Callable[[], None] | None = None,
) -> LabelledCrops:
    """Cut the labelled hands out of the videos, upright and as right hands, CROP_MARGIN times as large as the box.

    size: side of the detector's crop; the crops here are CROP_MARGIN times that, so that a pixel stays a pixel.
    """
    large = large_crop_size(size)
    wide = boxes[labels.place, labels.camera, labels.hand].scaled(large / size)
    images = np.zeros((len(labels), large, large, 3), dtype=np.uint8)
    for c, camera in enumerate(cameras):
        mine = np.flatnonzero(labels.camera == c)
        needed = np.unique(labels.place[mine])
        if len(needed) == 0:
            continue
        for place, picture in camera_frames(capture, camera, frames[needed]):
            rows = mine[labels.place[mine] == needed[place]]
            images[rows] = cut_crops(picture, wide[rows], large)
            if on_frame:
                on_frame()
    joints = transform_points(crop_from_image(wide, large), labels.joints_px)
    return LabelledCrops(images, joints, np.isfinite(joints).all(axis=-1).astype(np.float64))


def save_crops(
    path: str | Path, crops: LabelledCrops, labels: HandLabels, cameras: tuple[str, ...], frames: NDArray[np.int64]
) -> None:
    """Write ``crops.h5``: JPEG crops, joints in crop and picture, and for every label where it comes from."""
    with write_whole(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["schema"] = SCHEMA
        file.attrs["round"] = labels.round
        file.attrs["size"] = crops.images.shape[1]
        file.create_dataset("cameras", data=list(cameras), dtype=h5py.string_dtype())
        jpegs = file.create_dataset("jpeg", (len(labels),), dtype=h5py.vlen_dtype(np.uint8))
        for n, image in enumerate(crops.images):
            jpegs[n] = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].ravel()
        file.create_dataset("joints_crop_px", data=crops.joints)
        file.create_dataset("weight", data=crops.weight)
        file.create_dataset("frame", data=frames[labels.place])
        file.create_dataset("side", data=[SIDES[h % 2] for h in labels.hand], dtype=h5py.string_dtype())
        file.create_dataset("person", data=labels.hand // 2)
        for name in ("camera", "joints_px", "inliers", "residual_px", "covariance", "threshold_px"):
            file.create_dataset(name, data=getattr(labels, name))


def load_crops(path: str | Path) -> LabelledCrops:
    """Read the crops to train on back from ``crops.h5``."""
    path = require_file(path, "training crops")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("schema") != SCHEMA:
                raise PosekitError(f"{path}: schema is {file.attrs.get('schema')!r}, {SCHEMA!r} was expected")
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


def label_figures(labels: HandLabels, result: Reconstruction) -> dict[str, int]:
    """Count the labels: hands in views, joints, those of views that had no detection of their own, frames, fingers."""
    labelled = np.isfinite(labels.joints_px).all(axis=-1)
    joints = hand_joints(result.people.skeleton)
    fingers = np.isin(result.people.status[:, :, joints[:, 1::4]], (PointStatus.OK,))
    return {
        "labels": len(labels),
        "label_joints": int(labelled.sum()),
        "label_joints_not_detected": int((labelled & ~np.isfinite(labels.residual_px)).sum()),
        "label_frames": len(np.unique(labels.place)),
        "fingers_triangulated": int(fingers.sum()),
        "fingers": int(fingers.size),
    }
