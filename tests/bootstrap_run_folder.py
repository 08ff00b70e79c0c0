"""A small run folder with known contents: a person's hands before three cameras, one round, and what it wrote."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import h5py
import numpy as np

from posekit.camera import Rig
from posekit.capture import Capture
from posekit.io.video import write_video
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.point_status import PointStatus
from scenes import PERSON, looking_camera, standing_person

FRAMES = 6
#: A name that is HTML must stay a name.
NAMES = ("<b>", "side", "top")
CROP = 96
#: (frame, part) that round 1 made labels of; the right hand of frame 3 is bad in every respect.
LABELLED = ((1, "right_hand"), (3, "right_hand"), (4, "left_hand"))
DOUBTFUL = (3, 0, "right_hand")

EVIDENCE = {
    "crops": 30,
    "crops_detected": 10,
    "heldout_reprojection_px": 4.5,
    "heldout_pck": 0.5,
    "heldout_joints": 600,
}
ALARM = {
    "kind": "camera",
    "camera": "<b>",
    "joint": None,
    "message": "camera '<b>' has moved since it was calibrated",
    "value": 5.0,
    "limit": 1.0,
}


@dataclass(frozen=True)
class RunOnDisk:
    """The folder, and what it was made from."""

    folder: Path
    capture: Capture
    rig: Rig


def write_run(place: Path, *, gates: dict | None = None, selection: bool = True) -> RunOnDisk:
    """Film noise, and write a run of one round on it into `place`/run."""
    rng = np.random.default_rng(0)
    rig = _rig()
    (place / "capture" / "videos").mkdir(parents=True)
    for name in NAMES:
        pictures = rng.integers(0, 255, (FRAMES, 24, 32, 3), dtype=np.uint8)
        video = place / "capture" / "videos" / f"{name}.mp4"
        write_video(video, 30, [cv2.resize(picture, (320, 240)) for picture in pictures])
    capture = Capture.open(place / "capture").in_step_with(rig)
    folder = place / "run"
    points, detections = _points(rig), _detections(rig, rng)
    for number in (0, 1):
        (folder / f"round_{number}").mkdir(parents=True)
        points.save(folder / f"round_{number}" / "keypoints3d.h5")
        detections.save(folder / f"round_{number}" / "keypoints2d.h5")
        better = {**EVIDENCE, "crops_detected": 10 + 8 * number, "heldout_pck": 0.5 + 0.2 * number}
        metrics = {"round": number, **better, "heldout_frames": EVIDENCE, "hand_points": 200, "boxes": 36, "kept": True}
        _json(folder / f"round_{number}" / "metrics.json", {**metrics, "rig_residual_px": 1.25, "labels": 9 * number})
        _json(folder / f"round_{number}" / "seconds.json", {"triangulation": 1.0, "detection": 24.0})
        if gates is not None:
            _json(folder / f"round_{number}" / "gates.json", gates)
    _labels(folder / "round_1" / "crops.h5", rig, detections, rng)
    if selection:
        _json(folder / "round_1" / "selection.json", _selection())
    _json(folder / "settings.json", {"steps": 20, "seed": 0})
    return RunOnDisk(folder, capture, rig)


def _json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content))


def _rig() -> Rig:
    cameras = []
    for name, angle in zip(NAMES, (0.2, 1.3, 2.4), strict=True):
        centre = (3 * np.cos(angle), 3 * np.sin(angle), 1.4)
        cameras.append(looking_camera(name, centre, (0, 0.1, 0.9), focal=500, size=(320, 240)))
    return Rig(tuple(cameras), "the rig")


def _world() -> np.ndarray:
    """The person (F, 1, J, 3), who moves a centimetre per frame; in frame 3 the right hand's index finger is elsewhere."""
    xyz = standing_person()[None, None] + 0.01 * np.arange(FRAMES)[:, None, None, None] * np.array([1.0, 0, 0])
    xyz[3, 0, PERSON.part("right_hand")[5:9]] += (0.0, 0.08, 0.05)
    return xyz


def _points(rig: Rig) -> Keypoints3D:
    shape = (FRAMES, 1, PERSON.joint_count)
    covariance = np.zeros((*shape, 6))
    covariance[..., [0, 3, 5]] = 1e-6
    inliers, error = np.ones((*shape, len(rig)), bool), np.full((*shape, len(rig)), 1.0)
    bad = PERSON.part("right_hand")
    covariance[3, 0, bad] *= 400
    inliers[3, 0, bad, 2] = False
    error[3, 0, bad] = 30.0
    status = np.full(shape, PointStatus.OK)
    return Keypoints3D(
        _world(), covariance, inliers, error, status, rig.names, np.arange(FRAMES), PERSON, 30.0, "truth"
    )


def _detections(rig: Rig, rng: np.random.Generator) -> Keypoints2D:
    xy = np.stack([camera.project(_world()) for camera in rig.cameras], axis=1)
    xy += rng.normal(0, 0.3, xy.shape)
    confidence = np.full(xy.shape[:-1], 0.9)
    bad = PERSON.part("right_hand")
    confidence[3, :, 0, bad] = 0.25
    xy[3, 2, 0, bad] += 30  # a view that has the hand elsewhere
    confidence[1, 0, 0, bad] = 0  # and one that has it not at all
    return Keypoints2D(xy, confidence, rig.names, np.arange(FRAMES), PERSON, 30.0, "noise")


def _labels(path: Path, rig: Rig, detections: Keypoints2D, rng: np.random.Generator) -> None:
    rows = [(frame, part, c) for frame, part in LABELLED for c in range(len(rig))]
    joints = np.stack([rig.cameras[c].project(_world()[f, 0, PERSON.part(part)]) for f, part, c in rows])
    found = np.stack([detections.xy[f, c, 0, PERSON.part(part)] for f, part, c in rows])
    # Crops are turned, and a left hand's are mirrored.
    middle = joints.mean(axis=1, keepdims=True)
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    mirror = np.array([[-1.0 if part == "left_hand" else 1.0, 1.0] for _, part, _ in rows])[:, None]
    in_crop = 1.5 * (joints - middle) @ turn * mirror + CROP / 2
    with h5py.File(path, "w") as file:
        file.attrs["schema"], file.attrs["size"], file.attrs["round"] = "posekit.crops/1", CROP, 1
        text = h5py.string_dtype()
        jpegs = file.create_dataset("jpeg", (len(rows),), dtype=h5py.vlen_dtype(np.uint8))
        for n in range(len(rows)):
            picture = cv2.resize(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), (CROP, CROP))
            jpegs[n] = cv2.imencode(".jpg", picture)[1].ravel()
        file.create_dataset("cameras", data=list(NAMES), dtype=text)
        file.create_dataset("part", data=[part for _, part, _ in rows], dtype=text)
        file.create_dataset("frame", data=[f for f, _, _ in rows])
        file.create_dataset("person", data=[0] * len(rows))
        file.create_dataset("camera", data=[c for _, _, c in rows])
        file.create_dataset("joints_px", data=joints)
        file.create_dataset("joints_crop_px", data=in_crop)
        file.create_dataset("residual_px", data=np.linalg.norm(joints - found, axis=-1))
        file.create_dataset("inliers", data=np.ones((len(rows), 21, len(rig)), bool))
        file.create_dataset("covariance", data=np.zeros((len(rows), 21, 6)))
        file.create_dataset("threshold_px", data=np.full(len(rows), 7.5))


def _selection() -> dict:
    def row(frame: int, reason: str | None) -> dict:
        return {"frame": frame, "score": 1.0, "chosen": reason is None, "reason": reason}

    right = [row(0, "velocity"), row(1, None), row(2, "few inliers"), row(3, None), row(5, "held out")]
    return {
        "instances": [
            {"person": 0, "part": "left_hand", "frames": [row(4, None), row(0, "not the best of its window")]},
            {"person": 0, "part": "right_hand", "frames": right},
        ]
    }
