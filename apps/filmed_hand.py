"""A synthetic hand filmed for the rounds, what they did measured against its truth, and what true labels would have done."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from posekit.apps.demo_pictures import Show
    from posekit.bootstrap.instances import InstanceDetections
    from posekit.bootstrap.settings import BootstrapInput, BootstrapSettings
    from posekit.camera import Rig
    from posekit.datasets.synthetic_capture import CaptureSettings, CaptureTruth
    from posekit.detection.hand_box import HandBox
    from posekit.detection.hand_detector import HandDetector

#: Cameras that film but take no part in the rounds; by them the detector is judged in views that it never learnt from.
OUTSIDE_CAMERAS = 2


@dataclass(frozen=True, eq=False)
class FilmedHand:
    """A hand on film.

    capture: the folder that the rounds see. outside: that of the cameras they do not. rig: all cameras. truth: of all cameras,
    in the rig's order.
    """

    capture: Path
    outside: Path
    rig: "Rig"
    truth: "CaptureTruth"

    @property
    def inside_names(self) -> tuple[str, ...]:
        """Cameras of the rounds."""
        return tuple(sorted(path.stem for path in (self.capture / "videos").glob("*.mp4")))

    @property
    def outside_names(self) -> tuple[str, ...]:
        """Cameras held out of all rounds."""
        return tuple(sorted(path.stem for path in (self.outside / "videos").glob("*.mp4")))

    def select_truth(self, names: tuple[str, ...]) -> "tuple[NDArray[np.float64], NDArray[np.bool_]]":
        """Return true joints (F, C, 21, 2) px and which of them are seen (F, C, 21), in these cameras."""
        chosen = [self.rig.names.index(name) for name in names]
        cameras = [self.rig.cameras[c] for c in chosen]
        pixels = np.stack([camera.project(self.truth.joints_world) for camera in cameras], axis=1)
        return pixels, self.truth.visible[:, chosen]


def film_hand(folder: Path, settings: "CaptureSettings") -> FilmedHand:
    """Film into folder/capture, folder/outside and folder/truth.h5, with OUTSIDE_CAMERAS more cameras than asked."""
    from posekit.calibration.formats import read_rig
    from posekit.datasets.synthetic_capture import render_capture

    capture, outside = folder / "capture", folder / "outside"
    filmed = replace(settings, cameras=settings.cameras + OUTSIDE_CAMERAS)
    truth = render_capture(capture, filmed, folder / "truth.h5")
    rig = read_rig(capture / "calibration.toml")
    # Not the ends of the arc: views from beyond all others would be another experiment.
    held = {rig.names[round(n * (len(rig) - 1) / (OUTSIDE_CAMERAS + 1))] for n in range(1, OUTSIDE_CAMERAS + 1)}
    keep_cameras(capture, outside, tuple(name for name in rig.names if name in held))
    keep_cameras(capture, capture, tuple(name for name in rig.names if name not in held))
    return FilmedHand(capture, outside, rig, truth)


def keep_cameras(capture: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Make `folder` a capture of these cameras of another, which may be itself."""
    from posekit.calibration.formats import read_rig
    from posekit.calibration.formats.aniposelib import write_aniposelib
    from posekit.keypoints import Keypoints2D

    (folder / "videos").mkdir(parents=True, exist_ok=True)
    rig = read_rig(capture / "calibration.toml").select(names)
    keypoints = Keypoints2D.load(capture / "keypoints2d.h5").select_cameras(names)
    for video in sorted((capture / "videos").glob("*.mp4")):
        if folder == capture:
            if video.stem not in names:
                video.unlink()
        elif video.stem in names:
            shutil.copyfile(video, folder / "videos" / video.name)
    write_aniposelib(folder / "calibration.toml", rig, "a synthetic capture's rig, exact")
    keypoints.save(folder / "keypoints2d.h5")


def few_cameras(filmed: FilmedHand, folder: Path, count: int) -> FilmedHand:
    """The same film as `count` of its cameras have it, spread over all of them."""
    names = [name for name in filmed.rig.names if name in filmed.inside_names]
    chosen = tuple(names[round(n * (len(names) - 1) / max(1, count - 1))] for n in range(count))
    keep_cameras(filmed.capture, folder / "capture", chosen)
    return replace(filmed, capture=folder / "capture")


def prepared(filmed: FilmedHand, detector: "HandDetector") -> "BootstrapInput":
    """Return what the rounds start from."""
    from posekit.apps.bootstrap import prepare_capture

    folder = filmed.capture
    return prepare_capture(folder, folder / "calibration.toml", folder / "keypoints2d.h5", "BODY_25B", detector)


def measure_rounds(
    run: Path, filmed: FilmedHand, settings: "BootstrapSettings", first: "HandDetector", count: int
) -> list[dict[str, Any]]:
    """Errors of every round against the truth, round 0 first; `count` of them."""
    from posekit.detection.detector_file import load_detector

    rows = []
    for number in range(count):
        place = run / f"round_{number}"
        weights = place / "hand-cpm.safetensors"
        detector = load_detector(weights) if weights.exists() else first
        rows.append(_measure_round(place, filmed, settings) | measure_detector(run, filmed, settings, detector))
    return rows


def _measure_round(place: Path, filmed: FilmedHand, settings: "BootstrapSettings") -> dict[str, Any]:
    """Errors of a round's detections in its own cameras, and of its 3D points."""
    from posekit.bootstrap.rounds import split_frames
    from posekit.keypoints import Keypoints2D, Keypoints3D
    from posekit.metrics import keypoint_errors, mpjpe, pck
    from posekit.people.hands import hand_box_sides

    detections, people = Keypoints2D.load(place / "keypoints2d.h5"), Keypoints3D.load(place / "keypoints3d.h5")
    hand = people.skeleton.part("right_hand")
    true_px, visible = filmed.select_truth(detections.cameras)
    box = hand_box_sides(true_px)
    errors = keypoint_errors(detections.xy[:, :, 0, hand], true_px)
    errors_3d = 1000 * keypoint_errors(people.xyz[:, 0, hand], filmed.truth.joints_world)
    _, later = split_frames(len(box), settings.heldout_share)
    return {
        "pck": pck(errors, box, 0.2, visible),
        "pck_all_joints": pck(errors, box, 0.2),
        "pck_heldout_frames": pck(errors[later], box[later], 0.2, visible[later]),
        "epe_px": mpjpe(errors[visible]),
        "points_3d": int(np.isfinite(errors_3d).sum()),
        "points_3d_of": int(errors_3d.size),
        "median_3d_mm": float(np.nanmedian(errors_3d)) if np.isfinite(errors_3d).any() else None,
        "mpjpe_mm": mpjpe(errors_3d),
    }


def measure_detector(
    run: Path, filmed: FilmedHand, settings: "BootstrapSettings", detector: "HandDetector"
) -> dict[str, Any]:
    """PCK in the cameras that take no part: over all frames, and over those of which no label is made."""
    from posekit.bootstrap.capture_tasks import detect_in_capture
    from posekit.bootstrap.rounds import split_frames
    from posekit.capture import Capture
    from posekit.detection.projected_boxes import boxes_from_arms_in_space
    from posekit.keypoints import Keypoints3D
    from posekit.metrics import pck
    from posekit.people.hands import hand_box_sides

    people = Keypoints3D.load(run / "round_0" / "keypoints3d.h5")
    wrist, elbow = (people.xyz[:, 0, people.skeleton.index(f"right_{joint}")] for joint in ("wrist", "elbow"))
    names = filmed.outside_names
    length = np.full(len(wrist), np.nanmedian(np.linalg.norm(wrist - elbow, axis=-1)))
    boxes = boxes_from_arms_in_space(wrist, elbow, length, filmed.rig.select(names))[:, :, None]
    found = detect_in_capture(Capture.open(filmed.outside), names, people.frames, boxes, detector.fused())
    true_px, visible = filmed.select_truth(names)
    box, errors = hand_box_sides(true_px), _errors_of_detections(found, true_px, settings)
    _, later = split_frames(len(box), settings.heldout_share)
    return {
        "pck_heldout_cameras": pck(errors, box, 0.2, visible),
        "pck_heldout": pck(errors[later], box[later], 0.2, visible[later]),
    }


def measure_inside(
    start: "BootstrapInput", filmed: FilmedHand, settings: "BootstrapSettings", detector: "HandDetector"
) -> dict[str, Any]:
    """PCK in the rounds' own cameras, over the frames of which no label is made; boxes and least confidence as theirs."""
    from posekit.bootstrap.capture_tasks import detect_in_capture
    from posekit.bootstrap.rounds import split_frames
    from posekit.metrics import pck
    from posekit.people.hands import hand_box_sides

    names, frames = start.keypoints.cameras, start.keypoints.frames
    boxes = right_hand_boxes(start)[:, :, None]
    found = detect_in_capture(start.capture, names, frames, boxes, detector.fused())
    true_px, visible = filmed.select_truth(names)
    errors = _errors_of_detections(found, true_px, settings)
    _, later = split_frames(len(errors), settings.heldout_share)
    return {"pck_heldout_frames": pck(errors[later], hand_box_sides(true_px)[later], 0.2, visible[later])}


def _errors_of_detections(
    found: "InstanceDetections", true_px: NDArray[np.float64], settings: "BootstrapSettings"
) -> NDArray[np.float64]:
    """Errors (F, C, 21) px of the one hand; NaN of what the rounds would not take for a detection."""
    from posekit.metrics import keypoint_errors

    errors = np.asarray(keypoint_errors(found.xy[:, :, 0], true_px))
    return np.where(found.confidence[:, :, 0] < settings.min_confidence, np.nan, errors)


def right_hand_boxes(start: "BootstrapInput") -> "HandBox":
    """The boxes (F, C) in which the rounds look for the filmed hand, from the arms."""
    from posekit.bootstrap.hand_views import hand_boxes_of
    from posekit.people.reconstruction import reconstruct_people

    rig = start.rig.select(start.keypoints.cameras)
    arms = reconstruct_people(start.keypoints, rig)
    return hand_boxes_of(arms.people, arms.detections, rig)[:, :, 1]


def label_error(crops_file: Path, filmed: FilmedHand) -> dict[str, Any]:
    """How far a round's labels lie from the truth, px."""
    frame, joints, true_px = _labels(crops_file, filmed)
    errors = np.linalg.norm(joints - true_px, axis=-1)
    errors = errors[np.isfinite(errors)]
    return {
        "median": float(np.median(errors)),
        "mean": float(errors.mean()),
        "p95": float(np.percentile(errors, 95)),
        "joints": len(errors),
        "frames": len(np.unique(frame)),
    }


def _labels(
    crops_file: Path, filmed: FilmedHand
) -> "tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]":
    """Frames (N,) of the labels, their joints (N, 21, 2) px and where these truly are."""
    import h5py

    with h5py.File(crops_file, "r") as file:
        frame, camera, joints = file["frame"][()], file["camera"][()], file["joints_px"][()]
        names = tuple(name.decode() for name in file["cameras"][()])
    true_px, _ = filmed.select_truth(names)
    return frame, joints, true_px[frame, camera]


def learn_true_labels(
    start: "BootstrapInput", run: Path, filmed: FilmedHand, settings: "BootstrapSettings", show: "Show"
) -> "HandDetector":
    """Train as the rounds did, but on the true places of all joints in the crops that the first round labelled."""
    from posekit.bootstrap.crop_files import load_crops
    from posekit.bootstrap.initial_samples import initial_samples
    from posekit.bootstrap.steps import train_detector
    from posekit.training.samples import LabelledCrops

    crops = load_crops(run / "round_1" / "crops.h5")
    _, joints, true_px = _labels(run / "round_1" / "crops.h5", filmed)
    true_crop_px = _into_crops(joints, crops.joints, true_px)
    inside = ((true_crop_px > 0) & (true_crop_px < crops.images.shape[1] - 1)).all(axis=-1)
    true_crop_px[~inside] = np.nan
    true_crops = LabelledCrops(crops.images, true_crop_px, inside.astype(np.float64))
    initial = initial_samples(start, settings, run, show)
    detector = start.detector
    for number in range(1, settings.rounds + 1):
        detector, _ = train_detector(detector, true_crops, initial, settings, number, show, first=start.detector)
    return detector


def _into_crops(
    joints_px: "NDArray[np.float64]", joints_crop_px: "NDArray[np.float64]", true_px: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """Bring the true joints (N, 21, 2) of pictures into crops, by the affine map that took each crop's labels there."""
    result = np.full_like(true_px, np.nan)
    for n in range(len(true_px)):
        known = np.isfinite(joints_px[n]).all(axis=-1) & np.isfinite(joints_crop_px[n]).all(axis=-1)
        rows = np.column_stack([joints_px[n, known], np.ones(known.sum())])
        affine = np.linalg.lstsq(rows, joints_crop_px[n, known], rcond=None)[0]
        result[n] = np.column_stack([true_px[n], np.ones(21)]) @ affine
    return result
