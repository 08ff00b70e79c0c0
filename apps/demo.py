"""``posekit demo``: the whole line on a synthetic capture, whose truth is known and kept from it."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posekit.bootstrap.rounds import BootstrapInput, BootstrapSettings
    from posekit.camera import Rig
    from posekit.datasets.synthetic_capture import CaptureTruth

#: What tells a folder of an earlier demo from any other folder, and everything that one may hold.
_MARK = "demo.json"
_MADE = {
    _MARK,
    "capture",
    "run",
    "run.json",
    "truth.h5",
    "labels.png",
    "overlay-before.png",
    "overlay-after.png",
    "hand.png",
}

#: Black nitrile, sRGB. Of a bare hand the first detector finds nine joints in ten, and little is left to learn.
_GLOVE = (0.12, 0.12, 0.13)


@dataclass(frozen=True)
class DemoConfig:
    """Film a synthetic hand in a black glove, bootstrap the hand detector on it, and measure against the truth."""

    out: Path = Path("demo-out")
    """Folder for everything the demo makes; that of an earlier demo is replaced."""
    cameras: int = 6
    """Cameras around the hand."""
    frames: int = 60
    """Frames filmed, at 30 per second."""
    rounds: int = 1
    """Rounds of bootstrapping."""
    steps: int = 120
    """Training steps of a round."""
    seed: int = 1
    """Seed of everything drawn by chance."""


def main(config: DemoConfig) -> None:
    """Run the command."""
    import time

    from rich.console import Console

    from posekit.apps.bootstrap import prepare_capture
    from posekit.apps.progress import progress_bars
    from posekit.apps.provenance import write_record
    from posekit.bootstrap.rounds import BootstrapSettings, bootstrap
    from posekit.calibration.formats import read_rig
    from posekit.datasets.synthetic_capture import CaptureSettings, render_capture
    from posekit.detection.detector_file import load_detector
    from posekit.errors import PosekitError
    from posekit.io.files import write_json

    console = Console(markup=False, highlight=False)
    for name, least in (("cameras", 3), ("frames", 5), ("rounds", 1), ("steps", 1), ("seed", 0)):
        if getattr(config, name) < least:
            raise PosekitError(f"demo: --{name} {getattr(config, name)}: {least} or more was expected")
    _clear(config.out)
    began = time.monotonic()
    capture = config.out / "capture"
    settings = BootstrapSettings(rounds=config.rounds, steps=config.steps, seed=config.seed, initial_samples=400)
    with progress_bars() as show:
        show("filming a synthetic hand", 0, 1)
        filmed = CaptureSettings(seed=config.seed, cameras=config.cameras, frames=config.frames, glove=_GLOVE)
        # The truth lies outside the capture's folder: nothing that the rounds read leads to it.
        truth = render_capture(capture, filmed, config.out / "truth.h5")
        show("filming a synthetic hand", 1, 1)
        # The detector that comes with posekit: it never saw this hand, these cameras or these rooms, nor any glove.
        detector = load_detector()
        start = prepare_capture(capture, capture / "calibration.toml", capture / "keypoints2d.h5", "BODY_25B", detector)
        run = config.out / "run"
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
    missing = _pictures(config, last)
    write_json(config.out / _MARK, figures)
    write_record(config.out, "demo", config, [], figures=figures)
    _print(console, figures, config.out)
    for line in missing:
        console.print(line, style="yellow", soft_wrap=True)


def _clear(out: Path) -> None:
    """Remove an earlier demo; anything else in the way is a mistake."""
    from posekit.errors import PosekitError
    from posekit.io.files import require_folder

    require_folder(out.resolve().parent, "the folder to write into")
    if out.exists():
        require_folder(out, "an earlier demo")
        held = {path.name for path in out.iterdir()}
        if held and (_MARK not in held or held - _MADE):
            raise PosekitError(f"{out}: holds other things than an earlier demo; name another folder with --out")
        shutil.rmtree(out)
    out.mkdir()
    # Marked from the start, so that a demo that was stopped half way can be started again.
    (out / _MARK).write_text("{}\n", encoding="utf-8")


def _measure(place: Path, truth: "CaptureTruth", rig: "Rig", settings: "BootstrapSettings") -> dict[str, Any]:
    """Errors of a round against the truth: of the detections in every view, and of the 3D points."""
    import numpy as np

    from posekit.bootstrap.rounds import split_frames
    from posekit.keypoints import Keypoints2D, Keypoints3D
    from posekit.metrics import keypoint_errors, mpjpe, pck
    from posekit.people.reconstruction import hand_box_sides

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
    from posekit.people.reconstruction import hand_box_sides, reconstruct_people

    crops = load_crops(crops_file)
    large = crops.images.shape[1]
    known = np.isfinite(crops.joints).all(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # a joint that no label has stays NaN, and counts as missed
        mean = np.where(known, crops.joints, 0).sum(axis=0) / known.sum(axis=0)
    boxes = hand_boxes(reconstruct_people(start.keypoints, rig), rig)[:, :, 1]
    placed = transform_points(image_from_crop(boxes.scaled(large / start.detector.crop_size), large), mean)
    true_px = np.stack([camera.project(truth.joints_world) for camera in rig.cameras], axis=1)
    return pck(keypoint_errors(placed, true_px), hand_box_sides(true_px), 0.2, truth.visible)


def _pictures(config: DemoConfig, last: Path) -> list[str]:
    """Draw what was made, the last round's folder being `last`; return a line for everything that could not be drawn."""
    from posekit.apps.bootstrap import write_pictures
    from posekit.apps.view import ViewConfig
    from posekit.apps.view import main as view
    from posekit.errors import PosekitError

    write_pictures(last.parent)
    shutil.copyfile(last / "labels.png", config.out / "labels.png")
    rig_file, middle = config.out / "capture" / "calibration.toml", config.frames // 2
    for place, name in ((last.parent / "round_0", "before"), (last, "after")):
        points, picture = place / "keypoints3d.h5", config.out / f"overlay-{name}.png"
        view(ViewConfig(points, rig=rig_file, videos=config.out / "capture", overlay=picture, frame=middle))
    missing = []
    try:
        points, picture = last / "keypoints3d.h5", config.out / "hand.png"
        view(ViewConfig(points, rig=rig_file, png=picture, frame=middle, focus="right_hand"))
    except PosekitError as error:
        missing.append(f"left out: the 3D picture ({error})")
    return missing


def _print(console: Any, figures: dict[str, Any], out: Path) -> None:
    """Print the table of errors before and after."""
    from posekit.apps.tables import figures_table, number

    table = figures_table(
        "against the truth", ("", "PCK@0.2B", "held-out frames", "2D px", "3D points", "median mm", "mean mm")
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
    console.print(f"{figures['seconds']:.0f} s; pictures, run and truth: {out}")
