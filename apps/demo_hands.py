"""The hand of ``posekit demo``: filmed in a glove, bootstrapped on, and measured against the truth."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posekit.apps.demo import DemoConfig
    from posekit.apps.demo_pictures import Show
    from posekit.bootstrap.rounds import BootstrapInput, BootstrapSettings
    from posekit.camera import Rig
    from posekit.datasets.synthetic_capture import CaptureTruth

#: What it leaves in the demo's folder.
HANDS_FILES = ("capture", "run", "truth.h5", "labels.png", "overlay-before.png", "overlay-after.png", "hand.png")

#: Black nitrile, sRGB: few of the hands that the first detector learnt from wore gloves.
_GLOVE = (0.12, 0.12, 0.13)


def bootstrap_hand(config: "DemoConfig", folder: Path, show: "Show") -> tuple[dict[str, Any], list[str]]:
    """Film a hand into folder/capture and bootstrap on it in folder/run.

    Returns the figures, and a line for every picture that could not be drawn.
    """
    import time
    from dataclasses import replace

    from posekit.apps.bootstrap import prepare_capture
    from posekit.bootstrap.rounds import BootstrapSettings, bootstrap
    from posekit.calibration.formats import read_rig
    from posekit.datasets.synthetic_capture import CaptureSettings, render_capture
    from posekit.detection.detector_file import load_detector

    began = time.monotonic()
    capture = folder / "capture"
    settings = BootstrapSettings(rounds=config.rounds, steps=config.steps, seed=config.seed, initial_samples=400)
    show("filming a synthetic hand", 0, 1)
    filmed = CaptureSettings(seed=config.seed, cameras=config.cameras, frames=config.frames, glove=_GLOVE)
    # The truth lies outside the capture's folder: nothing that the rounds read leads to it.
    truth = render_capture(capture, filmed, folder / "truth.h5")
    show("filming a synthetic hand", 1, 1)
    # The detector that comes with posekit: it never saw this hand, these cameras or these rooms, and few gloves.
    detector = load_detector()
    start = prepare_capture(capture, capture / "calibration.toml", capture / "keypoints2d.h5", "BODY_25B", detector)
    # The folder is about to be moved: what is written says where things are within it.
    start = replace(
        start,
        capture=replace(start.capture, folder=Path("capture")),
        keypoints=replace(start.keypoints, source="capture/keypoints2d.h5"),
        rig=replace(start.rig, source="capture/calibration.toml"),
    )
    run = folder / "run"
    run.mkdir()
    history = bootstrap(start, run, settings, show)
    rig = read_rig(capture / "calibration.toml")
    rows = [_measure(run / f"round_{number}", truth, rig, settings) for number in range(len(history))]
    last = run / f"round_{len(history) - 1}"
    figures = {
        "rounds": [{**row, "evidence": evidence} for row, evidence in zip(rows, history, strict=True)],
        "label_error_px": _label_error(last / "crops.h5", truth, rig),
        "mean_hand_pck": _mean_hand_pck(start, last / "crops.h5", truth, rig),
        "seconds": time.monotonic() - began,
    }
    return figures, _pictures(folder, rig, last, config.frames // 2)


def _measure(place: Path, truth: "CaptureTruth", rig: "Rig", settings: "BootstrapSettings") -> dict[str, Any]:
    """Errors of a round against the truth: of the detections in every view, and of the 3D points."""
    import numpy as np

    from posekit.bootstrap.rounds import split_frames
    from posekit.keypoints import Keypoints2D, Keypoints3D
    from posekit.metrics import keypoint_errors, mpjpe, pck
    from posekit.people.hands import hand_box_sides

    detections, people = Keypoints2D.load(place / "keypoints2d.h5"), Keypoints3D.load(place / "keypoints3d.h5")
    hand = people.skeleton.part("right_hand")
    true_px = np.stack([camera.project(truth.joints_world) for camera in rig.cameras], axis=1)  # (F, C, 21, 2)
    box = hand_box_sides(true_px)
    errors = keypoint_errors(detections.xy[:, :, 0, hand], true_px)
    errors_3d = 1000 * keypoint_errors(people.xyz[:, 0, hand], truth.joints_world)
    _, later = split_frames(len(box), settings.heldout_share)
    return {
        "pck": pck(errors, box, 0.2, truth.visible),
        "pck_all_joints": pck(errors, box, 0.2),
        "pck_heldout_frames": pck(errors[later], box[later], 0.2, truth.visible[later]),
        "epe_px": mpjpe(errors[truth.visible]),
        "points_3d": int(np.isfinite(errors_3d).sum()),
        "points_3d_of": int(errors_3d.size),
        "median_3d_mm": float(np.nanmedian(errors_3d)) if np.isfinite(errors_3d).any() else None,
        "mpjpe_mm": mpjpe(errors_3d),
    }


def _label_error(crops_file: Path, truth: "CaptureTruth", rig: "Rig") -> dict[str, Any]:
    """How far the labels of the last round lie from the truth, px."""
    import h5py
    import numpy as np

    with h5py.File(crops_file, "r") as file:
        frame, camera, joints = file["frame"][()], file["camera"][()], file["joints_px"][()]
    true_px = np.stack([camera.project(truth.joints_world) for camera in rig.cameras], axis=1)
    errors = np.linalg.norm(joints - true_px[frame, camera], axis=-1)
    errors = errors[np.isfinite(errors)]
    return {
        "median": float(np.median(errors)),
        "mean": float(errors.mean()),
        "p95": float(np.percentile(errors, 95)),
        "joints": len(errors),
    }


def _mean_hand_pck(start: "BootstrapInput", crops_file: Path, truth: "CaptureTruth", rig: "Rig") -> float:
    """PCK of a detector that gives one and the same hand, the labels' mean, in every box: what the boxes alone are worth."""
    import numpy as np

    from posekit.bootstrap.hand_views import hand_boxes
    from posekit.bootstrap.labels import load_crops
    from posekit.detection.hand_box import image_from_crop, transform_points
    from posekit.metrics import keypoint_errors, pck
    from posekit.people.hands import hand_box_sides
    from posekit.people.reconstruction import reconstruct_people

    crops = load_crops(crops_file)
    large = crops.images.shape[1]
    known = np.isfinite(crops.joints).all(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # a joint that no label has stays NaN, and counts as missed
        mean = np.where(known, crops.joints, 0).sum(axis=0) / known.sum(axis=0)
    boxes = hand_boxes(reconstruct_people(start.keypoints, rig), rig)[:, :, 1]
    placed = transform_points(image_from_crop(boxes.scaled(large / start.detector.crop_size), large), mean)
    true_px = np.stack([camera.project(truth.joints_world) for camera in rig.cameras], axis=1)
    return pck(keypoint_errors(placed, true_px), hand_box_sides(true_px), 0.2, truth.visible)


def _pictures(folder: Path, rig: "Rig", last: Path, row: int) -> list[str]:
    """Draw what was made, the last round's folder being `last`; return a line for everything that could not be drawn."""
    from posekit.apps.bootstrap import write_pictures
    from posekit.apps.demo_pictures import write_overlay, write_scene
    from posekit.keypoints import Keypoints3D

    write_pictures(last.parent)
    shutil.copyfile(last / "labels.png", folder / "labels.png")
    for place, name in ((last.parent / "round_0", "before"), (last, "after")):
        people = Keypoints3D.load(place / "keypoints3d.h5")
        write_overlay(folder / f"overlay-{name}.png", people, rig, folder / "capture", row)
    return write_scene(folder / "hand.png", Keypoints3D.load(last / "keypoints3d.h5"), rig, row, "right_hand")


def print_hand(console: Any, figures: dict[str, Any]) -> None:
    """Print the table of errors before and after."""
    from posekit.apps.tables import figures_table, number

    table = figures_table(
        "a gloved hand, against the truth",
        ("", "PCK@0.2B", "held-out frames", "2D px", "3D points", "median mm", "mean mm"),
    )
    for n, row in enumerate(figures["rounds"]):
        table.add_row(
            "before" if n == 0 else f"round {n}",
            f"{row['pck']:.3f}",
            f"{row['pck_heldout_frames']:.3f}",
            f"{row['epe_px']:.1f}",
            f"{row['points_3d']}/{row['points_3d_of']}",
            number(row["median_3d_mm"], 1),
            f"{row['mpjpe_mm']:.1f}",
        )
    console.print(table)
    labels = figures["label_error_px"]
    console.print(f"one mean hand in every box scores PCK@0.2B {figures['mean_hand_pck']:.3f}")
    console.print(
        f"labels of the last round: median {labels['median']:.1f} px, 95 % within {labels['p95']:.1f} px of the truth "
        f"({labels['joints']} joints)"
    )
