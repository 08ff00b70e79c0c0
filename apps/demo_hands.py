"""The hand of ``posekit demo``: it holds something, wears a glove, is bootstrapped on, and measured against the truth."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posekit.apps.demo import DemoConfig
    from posekit.apps.demo_pictures import Show
    from posekit.apps.filmed_hand import FilmedHand
    from posekit.bootstrap.settings import BootstrapInput

#: What it leaves in the demo's folder.
HANDS_FILES = (
    "capture", "outside", "run", "truth.h5", "labels.png", "overlay-before.png", "overlay-after.png", "hand.png",
    "report.html",
)  # fmt: skip

#: Drawn hands that the rounds mix in; the capture is short.
_INITIAL_SAMPLES = 400


def bootstrap_hand(config: "DemoConfig", folder: Path, show: "Show") -> tuple[dict[str, Any], list[str]]:
    """Film a hand into folder/capture and bootstrap on it in folder/run.

    Returns the figures, and a line for every picture that could not be drawn.
    """
    import time

    from posekit.apps.bench_bootstrap import bootstrap_against_truth
    from posekit.apps.filmed_hand import film_hand, prepared
    from posekit.bootstrap.settings import BootstrapSettings
    from posekit.datasets.synthetic_capture import BLACK_GLOVE, CaptureSettings
    from posekit.detection.detector_file import load_detector

    began = time.monotonic()
    settings = BootstrapSettings(
        rounds=config.rounds, patience=config.rounds, steps=config.steps, seed=config.seed,
        initial_samples=_INITIAL_SAMPLES,
    )  # fmt: skip
    show("filming a synthetic hand", 0, 1)
    film = CaptureSettings(
        seed=config.seed, cameras=config.cameras, frames=config.frames, glove=BLACK_GLOVE, holding=True
    )
    # The truth lies outside the capture's folder: nothing that the rounds read leads to it.
    filmed = film_hand(folder, film)
    show("filming a synthetic hand", 1, 1)
    # The detector that comes with posekit: it never saw this hand, this thing in it, these cameras or these rooms.
    start = prepared(filmed, load_detector())
    # The folder is about to be moved: what is written says where things are within it.
    start = replace(
        start,
        capture=replace(start.capture, folder=Path("capture")),
        keypoints=replace(start.keypoints, source="capture/keypoints2d.h5"),
        rig=replace(start.rig, source="capture/calibration.toml"),
    )
    figures = bootstrap_against_truth(start, filmed, folder / "run", settings, show)
    kept = [number for number, row in enumerate(figures["rounds"]) if row["kept"]]
    last = folder / "run" / f"round_{len(figures['rounds']) - 1}"
    figures["mean_hand_pck"] = _mean_hand_pck(start, last / "crops.h5", filmed)
    figures["seconds"] = time.monotonic() - began
    return figures, _pictures(folder, start, filmed, folder / "run" / f"round_{kept[-1]}", config.frames // 2)


def _mean_hand_pck(start: "BootstrapInput", crops_file: Path, filmed: "FilmedHand") -> float:
    """PCK of a detector that gives one and the same hand, the labels' mean, in every box: what the boxes alone are worth."""
    import numpy as np

    from posekit.apps.filmed_hand import right_hand_boxes
    from posekit.bootstrap.crop_files import load_crops
    from posekit.detection.hand_box import image_from_crop, transform_points
    from posekit.metrics import keypoint_errors, pck
    from posekit.people.hands import hand_box_sides

    crops = load_crops(crops_file)
    large = crops.images.shape[1]
    known = np.isfinite(crops.joints).all(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # a joint that no label has stays NaN, and counts as missed
        mean = np.where(known, crops.joints, 0).sum(axis=0) / known.sum(axis=0)
    boxes = right_hand_boxes(start)
    placed = transform_points(image_from_crop(boxes.scaled(large / start.detector.crop_size), large), mean)
    true_px, visible = filmed.select_truth(start.keypoints.cameras)
    return pck(keypoint_errors(placed, true_px), hand_box_sides(true_px), 0.2, visible)


def _pictures(folder: Path, start: "BootstrapInput", filmed: "FilmedHand", last: Path, row: int) -> list[str]:
    """Draw what was made, the last kept round's folder being `last`; return a line for everything that could not be drawn."""
    from posekit.apps.bootstrap_outputs import write_outputs
    from posekit.apps.demo_pictures import write_overlay, write_scene
    from posekit.keypoints import Keypoints3D

    write_outputs(last.parent, start, lambda *_: None, report=True, review=False)
    shutil.copyfile(last.parent / "report.html", folder / "report.html")
    # Those of the last round that was kept, or of the first where none was.
    labels = last if last.name != "round_0" else last.parent / "round_1"
    shutil.copyfile(labels / "labels.png", folder / "labels.png")
    rig = filmed.rig.select(start.keypoints.cameras)
    for place, name in ((last.parent / "round_0", "before"), (last, "after")):
        people = Keypoints3D.load(place / "keypoints3d.h5")
        write_overlay(folder / f"overlay-{name}.png", people, rig, folder / "capture", row)
    return write_scene(folder / "hand.png", Keypoints3D.load(last / "keypoints3d.h5"), rig, row, "right_hand")


def print_hand(console: Any, figures: dict[str, Any]) -> None:
    """Print the table of errors before and after every round, and what true labels would have done."""
    from posekit.apps.bench_bootstrap import HELD_OUT, told_gain
    from posekit.apps.tables import figures_table, number

    table = figures_table(
        "a gloved hand that holds something, against the truth: PCK@0.2B",
        ("", "all", *HELD_OUT.values(), "3D points", "median mm"),
    )
    for n, row in enumerate(figures["rounds"]):
        table.add_row(
            "before" if n == 0 else f"round {n}" + ("" if row["kept"] else ", not kept"),
            f"{row['pck']:.3f}",
            *(f"{row[key]:.3f}" for key in HELD_OUT),
            f"{row['points_3d']}/{row['points_3d_of']}",
            number(row["median_3d_mm"], 1),
        )
    bound = figures["true_labels"]
    table.add_row("true labels", "", *(f"{bound[key]:.3f}" for key in HELD_OUT), "", "")
    console.print(table)
    console.print(told_gain(figures["gain_share"]))
    labels = figures["rounds"][-1]["label_error_px"]
    console.print(f"one mean hand in every box scores PCK@0.2B {figures['mean_hand_pck']:.3f}")
    console.print(
        f"labels of the last round: median {labels['median']:.1f} px, 95 % within {labels['p95']:.1f} px of the truth "
        f"({labels['joints']} joints); a report of the run: report.html"
    )
