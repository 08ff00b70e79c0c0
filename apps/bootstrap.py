"""``posekit bootstrap``: the cameras' geometry teaches the hand detector on its own capture."""

import contextlib
import json as json_module
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from posekit.bootstrap.rounds import BootstrapInput, BootstrapSettings
    from posekit.detection.hand_detector import HandDetector
    from posekit.keypoints import Keypoints2D


_SETTINGS, _LOCK = "settings.json", "lock"


@dataclass(frozen=True)
class BootstrapConfig:
    """Teach the hand detector on a capture: triangulate, reproject as labels, train, detect again."""

    capture: Annotated[Path, tyro.conf.Positional]
    """Folder with videos/<camera>.mp4 (or the videos themselves)."""
    out: Path
    """The run folder to write. The same command on it again goes on after the last finished step."""
    rig: Path | None = None
    """Any camera file that posekit knows; <capture>/calibration.toml if not given."""
    keypoints: Path = Path("keypoints2d.h5")
    """The body's (and, for round 0, the hands') 2D keypoints: keypoints2d.h5 or a folder of OpenPose JSON, in the capture."""
    skeleton: str | None = None
    """Order of the joints, where the files do not say it; told by the joints' number and places if not given."""
    detector: Path | None = None
    """Weights to start from (*.safetensors); posekit's own, trained on synthetic hands, if not given."""
    rounds: int = 1
    """How many rounds."""
    steps: int = 160
    """Training steps of a round."""
    synthetic_hands: int = 1000
    """Drawn hands that every round's training is mixed with, so that the detector does not forget other hands."""
    seed: int = 0
    """Seed of everything drawn by chance."""
    json: Path | None = None
    """Write the figures here, too."""


def main(config: BootstrapConfig) -> None:
    """Run the command."""
    from rich.console import Console

    from posekit.apps.progress import progress_bars
    from posekit.apps.provenance import write_record
    from posekit.bootstrap.rounds import bootstrap
    from posekit.errors import PosekitError
    from posekit.io.files import remove_unfinished, require_folder, write_json

    start, settings = prepare(config)
    if config.json:
        require_folder(config.json.parent, "the folder to write into")
    open_run_folder(config.out)
    with locked(config.out):
        # Only now: without the lock they may be what another process is writing.
        remove_unfinished(config.out)
        keep_settings(config, start.capture.videos)
        try:
            with progress_bars() as on_progress:
                history = bootstrap(start, config.out, settings, on_progress)
        except PosekitError:
            if not any(config.out.glob("round_1/*")):
                # The capture cannot be bootstrapped as it is; a folder with nothing to go on from would only be in the way.
                shutil.rmtree(config.out, ignore_errors=True)
            raise
        write_pictures(config.out)
    figures = run_figures(history)
    inputs = [*_inputs(config).values(), *start.capture.videos.values()]
    write_record(config.out, "bootstrap", config, inputs, figures=figures)
    if config.json:
        write_json(config.json, figures)
    print_figures(Console(markup=False, highlight=False), figures, config.out)


def _inputs(config: BootstrapConfig) -> dict[str, Path]:
    """Return what a run is made from besides the videos, by the option that names it."""
    from posekit.detection.detector_file import LIGHT_HAND_WEIGHTS
    from posekit.io.timestamps import find_timestamps

    # `--keypoints` names something in the capture, or is a path of its own.
    inside = config.capture / config.keypoints
    timestamps = find_timestamps(config.capture)
    return {
        "rig": config.rig or config.capture / "calibration.toml",
        "keypoints": inside if inside.exists() else config.keypoints,
        "detector": config.detector or LIGHT_HAND_WEIGHTS,
        **({"timestamps": timestamps} if timestamps else {}),
    }


def prepare(config: BootstrapConfig) -> "tuple[BootstrapInput, BootstrapSettings]":
    """Read and check every input, before anything is written."""
    from posekit.bootstrap.rounds import BootstrapSettings
    from posekit.detection.detector_file import load_detector
    from posekit.errors import PosekitError
    from posekit.training.hand_training import pose_machine_of

    for name, least in (("rounds", 1), ("steps", 1), ("synthetic_hands", 16), ("seed", 0)):
        if getattr(config, name) < least:
            option = name.replace("_", "-")
            raise PosekitError(f"bootstrap: --{option} {getattr(config, name)}: {least} or more was expected")
    inputs = _inputs(config)
    if not inputs["keypoints"].exists():
        raise PosekitError(
            f"{config.capture / config.keypoints}: no such file or folder; --keypoints names the 2D keypoints"
        )
    detector = load_detector(inputs["detector"])
    pose_machine_of(detector, str(inputs["detector"]))  # an ONNX file's could not be trained, rounds later
    start = prepare_capture(config.capture, inputs["rig"], inputs["keypoints"], config.skeleton, detector)
    settings = BootstrapSettings(
        rounds=config.rounds, steps=config.steps, seed=config.seed, initial_samples=config.synthetic_hands
    )
    return start, settings


def prepare_capture(
    folder: Path, rig_path: Path, keypoints_path: Path, skeleton: str | None, detector: "HandDetector"
) -> "BootstrapInput":
    """Open a capture with its rig and keypoints, and check that they belong together."""
    from posekit.apps.in_step import keypoints_of_capture
    from posekit.bootstrap.rounds import BootstrapInput
    from posekit.calibration.formats import read_rig
    from posekit.camera import match_camera_names
    from posekit.capture import Capture
    from posekit.io.keypoint_files import open_keypoints

    capture = Capture.open(folder)
    rig = match_camera_names(read_rig(rig_path), tuple(capture.videos))
    sizes = {camera.name: camera.size for camera in rig.cameras}
    source = open_keypoints(keypoints_path, skeleton, capture.fps, sizes)
    capture.check_rig(rig)
    capture = capture.in_step_with(rig)
    keypoints = keypoints_of_capture(source, capture)
    check_against_capture(keypoints, capture.videos, capture.frame_count)
    return BootstrapInput(capture, rig, keypoints, detector)


def check_against_capture(keypoints: "Keypoints2D", videos: dict[str, Path], frame_count: int) -> None:
    """Raise PosekitError where keypoints are of cameras or frames that the videos do not have."""
    from posekit.errors import PosekitError

    for camera in keypoints.cameras:
        if camera not in videos:
            raise PosekitError(
                f"{keypoints.source}: has keypoints of camera '{camera}', for which there is no video; "
                f"there are: {', '.join(videos)}"
            )
    for camera in videos:
        if camera not in keypoints.cameras:
            raise PosekitError(f"{keypoints.source}: has no keypoints of camera '{camera}' ({videos[camera]})")
    if len(keypoints.frames) == 0 or int(keypoints.frames.max()) >= frame_count or int(keypoints.frames.min()) < 0:
        raise PosekitError(
            f"{keypoints.source}: has frames {keypoints.frames.min() if len(keypoints.frames) else '-'} to "
            f"{keypoints.frames.max() if len(keypoints.frames) else '-'}, the videos have 0 to {frame_count - 1}"
        )


def open_run_folder(folder: Path) -> None:
    """Make the run folder; one that is there must hold a run, or nothing of anybody else's."""
    from posekit.errors import PosekitError
    from posekit.io.files import is_unfinished, require_folder

    if not folder.exists():
        require_folder(folder.parent, "the folder to write into")
        folder.mkdir()
    require_folder(folder, "a run")
    held = {path.name for path in folder.iterdir() if not is_unfinished(path)} - {_LOCK}
    if held and _SETTINGS not in held:
        raise PosekitError(f"{folder}: is not empty and holds no run; name another folder with --out")


def keep_settings(config: BootstrapConfig, videos: dict[str, Path]) -> None:
    """Note what the run is made with and from; raise PosekitError where it was begun with something else."""
    from posekit.apps.provenance import content_hash
    from posekit.errors import PosekitError
    from posekit.io.files import write_json

    inputs = _inputs(config)
    # Of the inputs their content is compared, not where they lie; of the videos, which may be large, their sizes.
    asked: dict[str, Any] = {
        name: value
        for name, value in asdict(config).items()
        if name not in ("out", "json", "rounds", "capture", *inputs)
    }
    asked |= {name: content_hash(path) for name, path in inputs.items()}
    asked["videos"] = {camera: path.stat().st_size for camera, path in videos.items()}
    kept = config.out / _SETTINGS
    if not kept.exists():
        write_json(kept, asked)
        return
    try:
        found = json_module.loads(kept.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PosekitError(f"{kept}: is damaged ({error}); name another folder with --out") from None
    for name, value in asked.items():
        if found.get(name) == value:
            continue
        if name in inputs or name == "videos":
            what = f"from other {name} than {inputs.get(name, config.capture)} holds now"
        else:
            what = f"with --{name.replace('_', '-')} {found.get(name)}, not {value}"
        raise PosekitError(f"{config.out}: holds a run {what}; name another folder with --out")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of a run folder; the lock ends with the process, however that ends."""
    from posekit.errors import PosekitError

    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PosekitError(f"{folder}: another process is at work on this run") from None
        yield


def run_figures(history: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of the run: before (round 0), after (the last round), and all rounds."""
    before, after = history[0], history[-1]
    return {
        "crops_detected_before": before["crops_detected"],
        "crops_detected_after": after["crops_detected"],
        "hand_crops": after["boxes"],
        "heldout_reprojection_px_before": before["heldout_reprojection_px"],
        "heldout_reprojection_px_after": after["heldout_reprojection_px"],
        "heldout_pck_before": before["heldout_pck"],
        "heldout_pck_after": after["heldout_pck"],
        "heldout_frames_before": before["heldout_frames"],
        "heldout_frames_after": after["heldout_frames"],
        "labels": sum(figures.get("labels", 0) for figures in history),
        "rounds": history,
    }


def write_pictures(run: Path) -> None:
    """Draw the labels of every round that was run, as a sheet of crops."""
    from posekit.bootstrap.labels import load_crops
    from posekit.view.contact_sheet import contact_sheet
    from posekit.view.overlay import write_picture

    for place in sorted(run.glob("round_*/crops.h5")):
        crops = load_crops(place)
        count = min(64, len(crops.images))
        chosen = [int(n * len(crops.images) / count) for n in range(count)]
        write_picture(place.with_name("labels.png"), contact_sheet(list(crops.images[chosen]), crops.joints[chosen]))


def print_figures(console: Any, figures: dict[str, Any], folder: Path) -> None:
    """Print two rows per round: all frames, and those of which no label is made."""
    from posekit.apps.tables import figures_table, number

    table = figures_table(
        "every camera held out in turn, against what the others triangulate",
        ("round", "frames", "labels", "3D points", "crops", "detected*", "joints", "px", "PCK@0.2B"),
    )
    for row in figures["rounds"]:
        for frames, evidence in (("all", row), ("held out", row["heldout_frames"])):
            if evidence:
                table.add_row(
                    str(row["round"]) if evidence is row else "",
                    frames,
                    str(row.get("labels", "-")) if evidence is row else "",
                    str(row["hand_points"]) if evidence is row else "",
                    str(evidence["crops"]),
                    str(evidence["crops_detected"]),
                    str(evidence["heldout_joints"]),
                    number(evidence["heldout_reprojection_px"], 2),
                    number(evidence["heldout_pck"], 3),
                )
    console.print(table)
    console.print(
        "crops, joints: what the other cameras triangulate; held out: the last fifth, of which no label is made"
    )
    console.print("* crops in which at least half of that lies within 0.2 B")
    console.print(f"labels, weights and 3D of every round: {folder}")
