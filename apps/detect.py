"""``posekit detect``: the hands (or people) in the videos of a capture, as 2D keypoints."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from posekit.apps.detect_inputs import Progress
    from posekit.capture import Capture
    from posekit.detection.hand_detector import HandDetector
    from posekit.keypoints import KeypointSource

OWN, MEDIAPIPE, RTMPOSE = "hand-cpm", "mediapipe", "rtmpose"


@dataclass(frozen=True)
class DetectConfig:
    """Find hands in videos: beyond the wrists of bodies that were found, or anywhere; or people by others' detectors.

    With --keypoints the result holds those bodies and, behind each, both hands (21 joints each). With --hands-anywhere it holds
    hands alone. Others' detectors bring what they find.
    """

    capture: Annotated[Path, tyro.conf.Positional]
    """Folder with videos/<camera>.mp4 (or the videos themselves), or one video."""
    out: Path
    """The keypoints2d.h5 to write."""
    detector: str = OWN
    """hand-cpm; mediapipe, mediapipe:MODEL.task; rtmpose, rtmpose:body, rtmpose:body-with-feet, rtmpose:hand."""
    keypoints: Path | None = None
    """The body's 2D keypoints, of any kind that posekit reads, in the capture or elsewhere, one view for each video; wrists and
    elbows place the boxes."""
    rig: Path | None = None
    """The cameras. Then people are told apart in 3D, and a view that missed an arm has its box from the others; slot p of the
    result is person p in every view, and who is seen by one view alone is left out."""
    hands_anywhere: int | None = None
    """Without --keypoints: search the whole picture for up to so many hands and follow them. Slow (some 800 looks a
    search, every 15 frames while a hand is missing or unsure), and not sure: it may take a finger or a thing for a hand. With
    mediapipe: how many it looks for in a picture, 2 if not given; two for each person who may be in it."""
    sides: bool = False
    """With --hands-anywhere: say of every hand, frame by frame, whether it was taken for a left or a right one. The result has
    the 42 joints of both hands, as mediapipe's has, of which a slot holds one; else the 21 of a hand of either side."""
    skeleton: str | None = None
    """Order of the body's joints, where the files do not say it; told by the joints' number and places if not given."""
    weights: Path | None = None
    """Weights of hand-cpm: .safetensors, or .onnx for onnxruntime; posekit's own if not given."""
    box_rule: Literal["forearm", "openpose", "head"] = "forearm"
    """How a box follows from an arm: posekit's rule, OpenPose's, or that of Simon et al. (2017) by the head's size."""
    min_confidence: float = 0.1
    """Joints of hands that are less confident are left out."""
    device: str = "cpu"
    """Where the network works: cpu, or cuda."""
    threads: int | None = None
    """Threads of the network; all cores if not given."""
    peer: Path | None = None
    """With mediapipe: the Python of another environment that has it, such as one with mediapipe 0.10.21 and its older numpy."""
    json: Path | None = None
    """Write the figures here, too."""


def main(config: DetectConfig) -> None:
    """Run the command."""
    import time
    import warnings

    from posekit.apps.checks import in_capture
    from posekit.apps.detect_inputs import Progress, open_capture
    from posekit.apps.progress import progress_bars
    from posekit.apps.provenance import write_record
    from posekit.apps.tables import figures_console
    from posekit.errors import PosekitWarning
    from posekit.io.files import write_json
    from posekit.io.keypoint_copies import copy_keypoints2d

    name, _, variant = config.detector.partition(":")
    if config.keypoints is not None:
        config = replace(config, keypoints=in_capture(config.capture, config.keypoints))
    _check(config, name)
    capture = open_capture(config.capture)
    start = time.perf_counter()
    with progress_bars() as show:
        progress = Progress(show)
        if name == OWN:
            source = _own_hands(config, capture, progress)
        else:
            from posekit.apps.detect_peers import MEDIAPIPE_HANDS, open_peer

            source = open_peer(
                capture,
                name,
                variant or None,
                config.device,
                config.peer,
                progress,
                hands=config.hands_anywhere or MEDIAPIPE_HANDS,
            )
        copy_keypoints2d(source, config.out)
    figures = progress.measured(time.perf_counter() - start)
    inputs = [p for p in (*capture.videos.values(), config.keypoints, config.rig, config.weights) if p is not None]
    write_record(config.out, "detect", config, inputs, figures=figures)
    if config.json:
        write_json(config.json, figures)
    if config.keypoints is not None and not any(row["looked_for"] for row in figures["cameras"].values()):
        warnings.warn(
            PosekitWarning(f"{config.keypoints}: has no wrist with its elbow in any frame: no hand was looked for"),
            stacklevel=2,
        )
    _print_figures(figures_console(), figures, config.out)


def _check(config: DetectConfig, name: str) -> None:
    """Say before the work what would go wrong after it, and what is asked for in vain."""
    from posekit.apps.checks import require_counts, require_places
    from posekit.apps.provenance import record_path
    from posekit.errors import PosekitError

    inputs = (config.keypoints, config.rig, config.weights)
    require_places((config.out, record_path(config.out), config.json), inputs)
    if config.out.suffix.lower() not in (".h5", ".hdf5"):
        raise PosekitError(f"{config.out}: the result is an HDF5 file, a name ending in .h5 was expected")
    if name not in (OWN, MEDIAPIPE, RTMPOSE):
        raise PosekitError(f"--detector: '{name}' is not known; known are: {OWN}, {MEDIAPIPE}, {RTMPOSE}")
    if not 0 <= config.min_confidence <= 1:
        raise PosekitError(f"--min-confidence: {config.min_confidence:g} is not in 0 to 1")
    if config.threads is not None:
        require_counts(threads=config.threads)
    if config.hands_anywhere is not None:
        require_counts(hands_anywhere=config.hands_anywhere)
    if name != OWN:
        for option in ("keypoints", "rig", "skeleton", "hands_anywhere", "weights"):
            if getattr(config, option) is not None and (name, option) != (MEDIAPIPE, "hands_anywhere"):
                raise PosekitError(f"--{option.replace('_', '-')}: {name} finds hands by itself and takes none")
    elif config.detector != OWN:
        raise PosekitError(f"--detector {config.detector}: weights of {OWN} are given by --weights")
    elif (config.keypoints is None) == (config.hands_anywhere is None):
        raise PosekitError(
            f"{config.capture}: --keypoints BODY_2D or --hands-anywhere N: one of them says where to look for hands"
        )
    elif config.rig is not None and config.keypoints is None:
        raise PosekitError("--rig: places boxes by triangulated arms, which needs --keypoints")
    elif config.skeleton is not None and config.keypoints is None:
        raise PosekitError("--skeleton: is the order of the joints of --keypoints, which are not given")
    if config.sides and (name != OWN or config.hands_anywhere is None):
        raise PosekitError(f"--sides: is for --hands-anywhere of {OWN} alone")
    if config.peer is not None and name != MEDIAPIPE:
        raise PosekitError(f"--peer: is for {MEDIAPIPE} alone")


def _own_hands(config: DetectConfig, capture: "Capture", progress: "Progress") -> "KeypointSource":
    """Return the hands of posekit's detector, found as they are read."""
    from posekit.apps.detect_inputs import body_source, people_source
    from posekit.apps.detect_sources import HandsAnywhere, HandsBehindBodies

    detector = _load_detector(config)
    name = f"hand-cpm {config.weights.name if config.weights else 'of posekit'}"
    if config.keypoints is None:
        hands = config.hands_anywhere or 1
        return HandsAnywhere(capture, detector, hands, config.min_confidence, name, progress, sides=config.sides)
    bodies = body_source(config.keypoints, capture, config.skeleton, config.rig)
    arms = people_source(bodies, config.rig, capture, config.box_rule, progress)
    return HandsBehindBodies(capture, detector, arms, config.min_confidence, f"{name} + {bodies.source}", progress)


def _load_detector(config: DetectConfig) -> "HandDetector":
    import torch

    from posekit.detection.detector_file import LIGHT_HAND_WEIGHTS, load_detector

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    detector = load_detector(config.weights or LIGHT_HAND_WEIGHTS, threads=config.threads).fused()
    return detector if config.device == "cpu" else detector.to(config.device)


def _print_figures(console: Any, figures: dict[str, Any], out: Path) -> None:
    from posekit.apps.tables import figures_table, number

    columns = ("camera", "frames", "hands looked for", "found", "joints kept", "mean confidence")
    table = figures_table(f"{figures['pictures']} pictures, {figures['pictures_per_second']:.1f}/s", columns)
    for camera, row in figures["cameras"].items():
        table.add_row(
            camera,
            str(row["frames"]),
            "-" if row["looked_for"] is None else str(row["looked_for"]),
            str(row["found"]),
            str(row["joints"]),
            number(row["mean_confidence"], 2),
        )
    console.print(table)
    console.print(f"found: hands with at least half of their joints; written to {out}")
