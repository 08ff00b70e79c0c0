"""``posekit bench bootstrap-damage``: whether the gates notice a capture damaged on purpose, and the labels stay clean."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from posekit.bootstrap.settings import BootstrapInput, BootstrapSettings
    from posekit.camera import Rig
    from posekit.datasets.synthetic_capture import CaptureTruth
    from posekit.keypoints import Keypoints2D

#: Share of B by which a whole finger is displaced, in every view to the same side.
_ASIDE = 0.3

#: Labels of a damaged run may err by this factor more than those of the undamaged one.
_CLEAN = 1.2

_ERRORS = ("px", "median_px", "p95_px")


@dataclass(frozen=True)
class BootstrapDamageBench:
    """Damage a synthetic capture, one way after the other; say what the gates name and how far labels lie from the truth."""

    cameras: int = 8
    """Cameras of the capture."""
    frames: int = 60
    """Frames of the capture."""
    degrees: float = 5.0
    """By so much a camera is turned after it was calibrated."""
    late: int = 3
    """By so many frames a camera is late."""
    rounds: int = 0
    """Train so many rounds on the labels, and measure those of the last; 0 measures what the first detections make."""
    steps: int = 160
    """Steps of each training."""
    seed: int = 0
    """Seed of the capture, of the camera that is damaged, and of the training."""
    json: Path | None = None
    """Write the figures here, too."""


@dataclass(frozen=True, eq=False)
class _Film:
    """A capture, what is true of it, and detections of whole people in it, hands included."""

    start: "BootstrapInput"
    truth: "CaptureTruth"
    rig: "Rig"


@dataclass(frozen=True, eq=False)
class _Damaged:
    """What a damage makes of a film: detections and calibration; and which frame (F, C) of the truth each picture shows."""

    keypoints: "Keypoints2D"
    rig: "Rig"
    shown: "NDArray[np.int64]"


def run(config: BootstrapDamageBench) -> dict[str, Any]:
    """Film, detect, and go through the damages."""
    import tempfile

    from posekit.bootstrap.settings import BootstrapSettings
    from posekit.errors import PosekitError

    if config.cameras < 3 or config.frames < 30:
        raise PosekitError(
            f"bench bootstrap-damage: {config.cameras} cameras and {config.frames} frames are too few, 3 and 30 are the least"
        )
    settings = BootstrapSettings(rounds=config.rounds, steps=config.steps, seed=config.seed, initial_samples=400)
    if not config.rounds:
        settings = replace(settings, initial_samples=16)
    figures: dict[str, Any] = {
        "benchmark": "bootstrap-damage", "cameras": config.cameras, "frames": config.frames, "seed": config.seed,
        "rounds": config.rounds, "damages": [],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        film = _film(config, Path(folder))
        for number, (name, culprit, damage) in enumerate(_damages(config, film)):
            out = Path(folder) / f"run_{number}"
            out.mkdir()
            row = {"damage": name, "culprit": culprit, **_measure(film, damage(), out, settings)}
            if row["label_error_px"] is None and not figures["damages"]:
                raise PosekitError(
                    f"bench bootstrap-damage: {config.cameras} cameras and {config.frames} frames make no label, undamaged; "
                    "give more --cameras"
                )
            if figures["damages"] and row["label_error_px"] is not None:
                row["ratio"] = row["label_error_px"] / figures["damages"][0]["label_error_px"]
            figures["damages"].append(row)
    return figures


def _film(config: BootstrapDamageBench, folder: Path) -> _Film:
    """Render the capture and detect the hand in it with the shipped detector, on the true calibration."""
    from posekit.apps.bootstrap import prepare_capture
    from posekit.bootstrap.capture_tasks import detect_in_capture
    from posekit.bootstrap.hand_target import HandTarget
    from posekit.calibration.formats import read_rig
    from posekit.datasets.synthetic_capture import CaptureSettings, render_capture
    from posekit.detection.detector_file import load_detector
    from posekit.people.reconstruction import ReconstructionSettings

    capture = folder / "capture"
    settings = CaptureSettings(seed=config.seed, cameras=config.cameras, frames=config.frames, holding=True)
    truth = render_capture(capture, settings, folder / "truth.h5")
    rig_file = capture / "calibration.toml"
    start = prepare_capture(capture, rig_file, capture / "keypoints2d.h5", "BODY_25B", load_detector())
    target, rig = HandTarget(), read_rig(rig_file).select(start.keypoints.cameras)
    scene = target.scene(start.keypoints, rig, ReconstructionSettings(), 2)
    boxes = target.boxes(scene, scene.people, scene.detections)
    cameras, frames = scene.detections.cameras, scene.detections.frames
    found = detect_in_capture(start.capture, cameras, frames, boxes, start.detector.fused())
    keypoints = target.put(scene.detections, found, 0.2, "synthetic capture")
    return _Film(replace(start, keypoints=keypoints), truth, rig)


def _damages(config: BootstrapDamageBench, film: _Film) -> list[tuple[str, str | None, Callable[[], _Damaged]]]:
    """What is done to the film: a name, the camera or joint that the gates should name, and the doing."""
    import cv2
    import numpy as np

    from posekit.bootstrap.gate_records import with_sides_exchanged
    from posekit.camera import Rig
    from posekit.people.hands import hand_box_sides

    keypoints, rig = film.start.keypoints, film.rig
    rng = np.random.default_rng(config.seed)
    culprit = int(rng.integers(len(rig)))
    name = rig.names[culprit]
    shown = np.repeat(np.arange(config.frames)[:, None], len(rig), axis=1)
    index, middle = (
        keypoints.skeleton.indices(tuple(f"right_{f}_{n}" for n in range(1, 5))) for f in ("index", "middle")
    )

    def finger(change: Callable[["NDArray[np.float32]"], None]) -> _Damaged:
        xy = keypoints.xy.copy()
        change(xy)
        return _Damaged(replace(keypoints, xy=xy), rig, shown)

    def tip(xy: "NDArray[np.float32]") -> None:
        xy[..., index[3], :] = xy[..., middle[3], :]

    def aside(xy: "NDArray[np.float32]") -> None:
        box = hand_box_sides(xy[..., keypoints.skeleton.part("right_hand"), :])
        xy[..., index, 0] += _ASIDE * box[..., None]

    def moved() -> _Damaged:
        axis = rng.normal(0, 1, 3) * (1, 1, 0.3)
        turn = cv2.Rodrigues(np.deg2rad(config.degrees) * axis / np.linalg.norm(axis))[0]
        camera = rig.cameras[culprit]
        wrong = replace(camera, rotation=turn @ camera.rotation, translation=turn @ camera.translation)
        cameras = tuple(wrong if c == culprit else camera for c, camera in enumerate(rig.cameras))
        return _Damaged(keypoints, Rig(cameras, rig.source), shown)

    def late() -> _Damaged:
        rows = np.maximum(np.arange(config.frames) - config.late, 0)
        xy, confidence, of = keypoints.xy.copy(), keypoints.confidence.copy(), shown.copy()
        xy[:, culprit], confidence[:, culprit], of[:, culprit] = xy[rows, culprit], confidence[rows, culprit], rows
        return _Damaged(replace(keypoints, xy=xy, confidence=confidence), rig, of)

    return [
        ("nothing", None, lambda: _Damaged(keypoints, rig, shown)),
        ("index tip at the middle finger's tip", "index_4", lambda: finger(tip)),
        (f"index finger {_ASIDE:g} B aside in every view", "index_1", lambda: finger(aside)),
        (
            "left and right swapped in one camera",
            name,
            lambda: _Damaged(with_sides_exchanged(keypoints, (name,)), rig, shown),
        ),
        (f"one camera turned by {config.degrees:g} degrees", name, moved),
        (f"one camera {config.late} frames late", name, late),
    ]


def _measure(film: _Film, damaged: _Damaged, out: Path, settings: "BootstrapSettings") -> dict[str, Any]:
    """Run the rounds on what was damaged; the labels' errors are to what the pictures show."""
    import json
    import warnings

    import numpy as np

    from posekit.bootstrap.rounds import bootstrap

    start = replace(film.start, keypoints=damaged.keypoints, rig=damaged.rig)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # alarms are warnings, and printed by the bench itself
        if settings.rounds:
            history = bootstrap(start, out, settings)
            gates = json.loads((out / "round_0" / "gates.json").read_text(encoding="utf-8"))
            frame, camera, joints = _trained_labels(out / f"round_{len(history) - 1}" / "crops.h5")
        else:
            gates, frame, camera, joints = _first_labels(start, out, settings)
    true_px = np.stack([one.project(film.truth.joints_world) for one in film.rig.cameras], axis=1)  # (F, C, 21, 2)
    error = np.linalg.norm(joints - true_px[damaged.shown[frame, camera], camera], axis=-1)
    error = error[np.isfinite(error)]
    made = len(error) > 0
    return {
        "alarms": gates["alarms"],
        "excluded_cameras": gates["excluded_cameras"],
        "excluded_joints": gates["excluded_joints"],
        "mended_cameras": gates["mended_cameras"],
        "labels": len(error),
        "label_error_px": float(error.mean()) if made else None,
        "label_error_median_px": float(np.median(error)) if made else None,
        "label_error_p95_px": float(np.percentile(error, 95)) if made else None,
    }


def _first_labels(
    start: "BootstrapInput", out: Path, settings: "BootstrapSettings"
) -> "tuple[dict[str, Any], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]":
    """Gates of round 0, and the frame, camera and joints of the labels that round 1 would learn from."""
    import numpy as np

    from posekit.bootstrap.labels import make_labels
    from posekit.bootstrap.rounds import begin, split_frames

    run, state, _, _, gates = begin(start, out, settings, lambda *_: None, None)
    candidates, _ = split_frames(len(state.people.frames), settings.heldout_share)
    rejected = np.zeros((len(candidates), state.points.xyz.shape[1]), dtype=np.bool_)
    labels, _ = make_labels(state, run.scene, run.target, ~candidates, rejected, 1, settings.selection)
    return gates.as_json(), labels.place, labels.camera, labels.joints_px


def _trained_labels(crops: Path) -> "tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]":
    import h5py

    with h5py.File(crops, "r") as file:
        return file["frame"][()], file["camera"][()], file["joints_px"][()]


def print_figures(console: "Console", figures: dict[str, Any]) -> None:
    """Print one row for each damage, and what was said of it."""
    from rich.table import Table

    table = Table(title=f"{figures['cameras']} cameras, {figures['frames']} frames, {figures['rounds']} trained rounds")
    for column in ("damage", "should be named", "named", "labels", "error px", "median", "95 %", "ratio"):
        table.add_column(column, justify="left" if column in ("damage", "should be named", "named") else "right")
    for row in figures["damages"]:
        named = ", ".join(
            f"{alarm['kind']} {alarm['camera'] or alarm['joint'] or ''}".strip() for alarm in row["alarms"]
        )
        ratio = row.get("ratio")
        table.add_row(
            row["damage"], row["culprit"] or "-", named or "-", str(row["labels"]),
            *("-" if row[f"label_error_{what}"] is None else f"{row[f'label_error_{what}']:.2f}" for what in _ERRORS),
            "-" if ratio is None else f"{ratio:.2f}{'' if ratio <= _CLEAN else ' !'}",
        )  # fmt: skip
    console.print(table)
    for row in figures["damages"]:
        for alarm in row["alarms"]:
            console.print(f"{row['damage']}: {alarm['message']}")
