"""Labels made by geometry: triangulated instances, reprojected into every view; and the crops to train on."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.capture_tasks import cut_in_capture
from posekit.bootstrap.crop_files import CROP_MARGIN, large_crop_size, write_samples
from posekit.bootstrap.engine import Engine
from posekit.bootstrap.instances import Hidden
from posekit.bootstrap.occlusion import hidden_by_hands
from posekit.bootstrap.scoring import (
    Instance3D,
    SelectionSettings,
    choose_window,
    judge_frames,
    rate_of,
    selection_rows,
)
from posekit.bootstrap.targets import RoundState, Scene, Target
from posekit.camera import Rig
from posekit.capture import Capture
from posekit.detection.hand_box import HandBox, crop_from_image, transform_points
from posekit.io.files import write_whole
from posekit.medians import median_of_known
from posekit.point_status import PointStatus
from posekit.skeleton import HAND_21
from posekit.training.samples import LabelledCrops


@dataclass(frozen=True, eq=False)
class Labels:
    """N labelled instances, each in one view of one frame.

    place: (N,) index of the frame. camera: (N,) index. instance: (N,), h of the target. joints_px: (N, K, 2) in the picture,
    NaN without a label. inliers: (N, K, C), the views that made the point. residual_px: (N, K), how far the view's own
    detection lies from the label; NaN where it had none. covariance: (N, K, 6) m^2. threshold_px: (N,), within which views
    agreed. round: which round made them.
    """

    place: NDArray[np.int64]
    camera: NDArray[np.int64]
    instance: NDArray[np.int64]
    joints_px: NDArray[np.float64]
    inliers: NDArray[np.bool_]
    residual_px: NDArray[np.float64]
    covariance: NDArray[np.float64]
    threshold_px: NDArray[np.float64]
    round: int

    def __len__(self) -> int:
        return len(self.place)


def make_labels(
    state: RoundState,
    scene: Scene,
    target: Target,
    held_out: NDArray[np.bool_],
    rejected: NDArray[np.bool_],
    round_number: int,
    settings: SelectionSettings,
) -> tuple[Labels, dict[str, Any]]:
    """Choose the best frames of every instance and reproject its points into every view, detected there or not.

    held_out: (F,), frames of which no label may be made. rejected: (F, H), by a person. Returns the labels, and for every frame
    that had a point its score, whether it was chosen, and if not, why not (``selection.json``).
    A label is left out where it would lie outside the picture or the crop, and where the camera surely cannot see it.
    """
    people, points = state.people, state.points
    window = choose_window(len(held_out), rate_of(people.frames, people.fps), settings)
    needed = settings.joints_needed(target.skeleton.joint_count)
    rows: dict[str, list[NDArray]] = {field.name: [] for field in fields(Labels) if field.name != "round"}
    told = []
    for h in range(points.xyz.shape[1]):
        instance = Instance3D(
            points.xyz[:, h],
            points.status[:, h],
            points.inliers[:, h],
            state.found.confidence[:, :, h],
            _hidden_joints(points.xyz[:, h], target.hidden(people), scene.rig)
            | _behind_hands(points.xyz, h, target, scene.rig),
            target.skeleton,
            people.frames,
        )
        selection = judge_frames(instance, settings, window, held_out, rejected[:, h])
        person, part = target.person_and_part(h)
        frames = selection_rows(selection, people.frames, np.asarray(instance.known.any(axis=1)))
        told.append({"person": person, "part": part, "frames": frames})
        chosen = np.flatnonzero(selection.chosen)
        xyz = np.where(selection.usable[..., None], points.xyz[:, h], np.nan)[chosen]
        for c, camera in enumerate(scene.rig.cameras):
            label = camera.project(xyz)
            label[instance.hidden[chosen, c]] = np.nan
            label[~(camera.in_picture(label) & _in_crop(label, state.boxes[chosen, c, h]))] = np.nan
            kept = np.isfinite(label).all(axis=-1).sum(axis=1) >= needed
            places = chosen[kept]
            rows["place"].append(places)
            rows["camera"].append(np.full(len(places), c))
            rows["instance"].append(np.full(len(places), h))
            rows["joints_px"].append(label[kept])
            rows["inliers"].append(points.inliers[places, h])
            rows["residual_px"].append(points.reprojection_px[places, h, :, c])
            rows["covariance"].append(points.covariance[places, h])
            rows["threshold_px"].append(state.limits[places, h, c])
    labels = Labels(**{name: np.concatenate(values) for name, values in rows.items()}, round=round_number)
    return labels, {"instances": told}


def _hidden_joints(xyz: NDArray[np.float64], hidden: Hidden | None, rig: Rig) -> NDArray[np.bool_]:
    """Joints (F, C, K) of an instance (F, K, 3) that a camera surely cannot see."""
    if hidden is None:
        return np.zeros((len(xyz), len(rig), xyz.shape[1]), dtype=np.bool_)
    return np.stack([hidden(xyz, camera.centre_world) for camera in rig.cameras], axis=1)


def _behind_hands(xyz: NDArray[np.float64], h: int, target: Target, rig: Rig) -> NDArray[np.bool_]:
    """Joints (F, C, K) of hand h of all instances (F, H, K, 3) in the views in which another hand hides it completely.

    Of a hand that is hidden in part, the network is to learn where the rest is.
    """
    F, H, K = xyz.shape[:3]
    if target.skeleton != HAND_21 or H < 2:
        return np.zeros((F, len(rig), K), dtype=np.bool_)
    others = np.delete(xyz, h, axis=1)
    known = np.asarray(np.isfinite(xyz[:, h]).all(axis=-1))
    behind = [hidden_by_hands(xyz[:, h], others, camera.centre_world) | ~known for camera in rig.cameras]
    completely = np.stack([joints.all(axis=1) & known.any(axis=1) for joints in behind], axis=1)  # (F, C)
    return np.repeat(completely[..., None], K, axis=2)


def _in_crop(joints_px: NDArray[np.float64], boxes: HandBox) -> NDArray[np.bool_]:
    """Joints (N, K) that lie in the crop that is kept of a picture, CROP_MARGIN times the detector's box."""
    in_crop = transform_points(crop_from_image(boxes, 1), joints_px)  # the box's edges lie at -0.5 and 0.5
    with np.errstate(invalid="ignore"):
        inside: NDArray[np.bool_] = (np.abs(in_crop) < 0.5 * CROP_MARGIN).all(axis=-1)
    return inside


def cut_label_crops(
    capture: Capture,
    cameras: tuple[str, ...],
    frames: NDArray[np.int64],
    labels: Labels,
    boxes: HandBox,
    size: int,
    engine: Engine | None = None,
    on_pictures: Callable[[int, int], None] | None = None,
) -> LabelledCrops:
    """Cut the labelled instances out of the videos as the detector sees them, CROP_MARGIN times as large as the box.

    boxes: (F, C, H). size: side of the detector's crop; the crops here are CROP_MARGIN times that, so that a pixel stays a
    pixel. engine and on_pictures: as in `detect_in_capture`.
    """
    large = large_crop_size(size)
    wide = boxes[labels.place, labels.camera, labels.instance].scaled(large / size)
    images = cut_in_capture(capture, cameras, frames, labels.place, labels.camera, wide, large, engine, on_pictures)
    return crops_with_joints(images, wide, labels.joints_px)


def crops_with_joints(images: NDArray[np.uint8], boxes: HandBox, joints_px: NDArray[np.float64]) -> LabelledCrops:
    """Crops (N, S, S, 3) of boxes (N,) with joints (N, K, 2), given in pixels of the picture."""
    joints = transform_points(crop_from_image(boxes, images.shape[1]), joints_px)
    return LabelledCrops(images, joints, np.isfinite(joints).all(axis=-1).astype(np.float64))


def save_crops(
    path: str | Path,
    crops: LabelledCrops,
    labels: Labels,
    target: Target,
    cameras: tuple[str, ...],
    frames: NDArray[np.int64],
) -> None:
    """Write ``crops.h5``: JPEG crops, joints in crop and picture, and for every label where it comes from."""
    people, parts = zip(*(target.person_and_part(h) for h in labels.instance.tolist()), strict=True)
    with write_whole(path) as temporary, h5py.File(temporary, "w") as file:
        write_samples(file, crops)
        file.attrs["round"] = labels.round
        file.create_dataset("cameras", data=list(cameras), dtype=h5py.string_dtype())
        file.create_dataset("joints", data=list(target.skeleton.joints), dtype=h5py.string_dtype())
        file.create_dataset("frame", data=frames[labels.place])
        file.create_dataset("person", data=np.array(people))
        file.create_dataset("part", data=list(parts), dtype=h5py.string_dtype())
        for name in ("camera", "joints_px", "inliers", "residual_px", "covariance", "threshold_px"):
            file.create_dataset(name, data=getattr(labels, name))


def label_figures(labels: Labels, state: RoundState, target: Target) -> dict[str, Any]:
    """Count the labels: instances in views, joints, those of views that had no detection of their own, frames, groups."""
    labelled = np.isfinite(labels.joints_px).all(axis=-1)
    first = [group[0] for group in target.groups if len(group) > 1] or [group[0] for group in target.groups]
    made = state.points.status[:, :, first] == PointStatus.OK
    return {
        "labels": len(labels),
        "label_joints": int(labelled.sum()),
        "label_joints_not_detected": int((labelled & ~np.isfinite(labels.residual_px)).sum()),
        "label_frames": len(np.unique(labels.place)),
        "groups_triangulated": int(made.sum()),
        "groups": int(made.size),
        # A label in a view that never detected the instance is held to no threshold of its own.
        "threshold_px": float(median_of_known(labels.threshold_px, 0)),
    }
