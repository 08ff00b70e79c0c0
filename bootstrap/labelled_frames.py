"""A few frames that a person labelled: some of them become part of T0, and with enough of them some judge the rounds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.capture_tasks import cut_in_capture
from posekit.bootstrap.crop_files import large_crop_size, load_crops, save_samples
from posekit.bootstrap.engine import Engine
from posekit.bootstrap.instances import InstanceDetections
from posekit.bootstrap.labels import crops_with_joints
from posekit.bootstrap.targets import Scene, Target
from posekit.capture import Capture
from posekit.detection.hand_box import HandBox
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D
from posekit.people.hands import HAND_AGREEMENT, whole_box_sides
from posekit.training.samples import LabelledCrops

#: With so many labelled frames or more, the last quarter of them is kept from training, to measure by.
ENOUGH_TO_MEASURE = 8

#: A label of fewer joints says too little about where the instance is.
_MIN_JOINTS = 2


@dataclass(frozen=True, eq=False)
class LabelledInstances:
    """N instances that a person labelled.

    place: (N,) index of the frame. camera: (N,) index. instance: (N,), h of the target, -1 where nobody's box is near.
    joints_px: (N, K, 2) in the picture, NaN without a label. boxes: (N,).
    """

    place: NDArray[np.int64]
    camera: NDArray[np.int64]
    instance: NDArray[np.int64]
    joints_px: NDArray[np.float64]
    boxes: HandBox

    def __len__(self) -> int:
        return len(self.place)

    def pick(self, rows: NDArray[np.bool_]) -> "LabelledInstances":
        """Some of them."""
        return LabelledInstances(
            self.place[rows], self.camera[rows], self.instance[rows], self.joints_px[rows], self.boxes[rows]
        )


def place_labels(labelled: Keypoints2D, target: Target, scene: Scene, boxes: HandBox) -> LabelledInstances:
    """Find whose instance every label is, by the nearest box of its part; boxes: (F, C, H).

    Raises PosekitError where labels are of another skeleton, of a camera or frame that the capture's keypoints do not have, or
    where there is none.
    """
    found = target.take_labels(labelled)
    detections = scene.detections
    for camera in labelled.cameras:
        if camera not in detections.cameras:
            raise PosekitError(
                f"{labelled.source}: has labels of camera '{camera}'; the capture has: {', '.join(detections.cameras)}"
            )
    row_of = {int(frame): row for row, frame in enumerate(detections.frames)}
    parts = len(target.part_names)
    rows: list[tuple[int, int, int, NDArray[np.float64], HandBox]] = []
    known = np.asarray(np.isfinite(found.xy).all(axis=-1))
    for f, c, h in np.argwhere(known.sum(axis=-1) >= _MIN_JOINTS).tolist():
        frame = int(labelled.frames[f])
        if frame not in row_of:
            raise PosekitError(
                f"{labelled.source}: has labels of frame {frame}; the capture has frames {detections.frames.min()} to "
                f"{detections.frames.max()}"
            )
        place, camera_place = row_of[frame], detections.cameras.index(labelled.cameras[c])
        joints = found.xy[f, c, h]
        if not np.nanmax(np.ptp(joints[known[f, c, h]], axis=0)) > 0:
            raise PosekitError(
                f"{labelled.source}: the labels of frame {frame}, camera '{labelled.cameras[c]}', all lie in one place"
            )
        instance = _nearest(joints, boxes[place, camera_place], h % parts, parts)
        box = boxes[place, camera_place, instance] if instance >= 0 else target.box_of_labels(joints, h % parts)
        if instance < 0 and boxes.shape[2] == parts:
            instance = h % parts  # there is only one of each part
        rows.append((place, camera_place, instance, joints, box))
    if not rows:
        raise PosekitError(f"{labelled.source}: has no label of {target.what}; {_MIN_JOINTS} joints or more make one")
    place_, camera_, instance_, joints_, box_ = zip(*rows, strict=True)
    together = HandBox(
        np.stack([box.centre for box in box_]),
        *(np.stack([getattr(b, n) for b in box_]) for n in ("side", "angle", "left")),
    )
    return LabelledInstances(np.array(place_), np.array(camera_), np.array(instance_), np.stack(joints_), together)


def _nearest(joints: NDArray[np.float64], boxes: HandBox, part: int, parts: int) -> int:
    """The instance (of H boxes) of a part in whose box a label's middle lies, the nearest; -1 where there is none."""
    middle = np.nanmedian(joints, axis=0)
    distance = np.linalg.norm(boxes.centre - middle, axis=-1)
    distance[~boxes.found | (np.arange(len(distance)) % parts != part)] = np.inf
    nearest = int(np.argmin(distance))
    return nearest if distance[nearest] < boxes.side[nearest] / 2 else -1


def split_labels(labels: LabelledInstances, held_out: NDArray[np.bool_]) -> tuple[LabelledInstances, LabelledInstances]:
    """Return those to learn from and those to measure by: the last quarter of the labelled frames, where there are enough.

    Those of frames that are held out (F,) are never learnt from, unless there are no others.
    """
    frames = np.unique(labels.place)
    kept = len(frames) // 4 if len(frames) >= ENOUGH_TO_MEASURE else 0
    apart = np.isin(labels.place, frames[len(frames) - kept :]) | held_out[labels.place]
    if apart.all():
        apart[:] = False
    return labels.pick(~apart), labels.pick(apart)


def labelled_crops(
    labels: LabelledInstances, capture: Capture, scene: Scene, size: int, folder: Path, engine: Engine | None = None
) -> LabelledCrops:
    """Cut the labelled instances out of the videos, once: ``labelled.h5`` of the run folder."""
    kept = folder / "labelled.h5"
    if not kept.exists():
        large = large_crop_size(size)
        wide = labels.boxes.scaled(large / size)
        cameras, frames = scene.detections.cameras, scene.detections.frames
        images = cut_in_capture(capture, cameras, frames, labels.place, labels.camera, wide, large, engine)
        save_samples(kept, crops_with_joints(images, wide, labels.joints_px))
    return load_crops(kept)


def measure_on_labels(found: InstanceDetections, labels: LabelledInstances, box_factor: float) -> dict[str, Any] | None:
    """PCK at 0.2 B of detections (F, C, H, K) on labels that nothing learnt from; None where there are none.

    box_factor: the boxes' side, as a multiple of B. Where fewer than three quarters of the joints are labelled, B is the box's.
    """
    if len(labels) == 0:
        return None
    own = np.maximum(labels.instance, 0)
    there = found.confidence[labels.place, labels.camera, own] > 0
    error = np.linalg.norm(found.xy[labels.place, labels.camera, own] - labels.joints_px, axis=-1)
    error[~there | (labels.instance < 0)[:, None]] = np.inf
    known = np.isfinite(labels.joints_px).all(axis=-1)
    whole = whole_box_sides(labels.joints_px)
    side = np.where(np.isfinite(whole), whole, labels.boxes.side / box_factor)
    within = error <= HAND_AGREEMENT * side[:, None]
    return {
        "instances": len(labels),
        "joints": int(known.sum()),
        "pck": float(within[known].mean()),
        "median_px": float(np.median(error[known])) if np.isfinite(np.median(error[known])) else None,
    }
