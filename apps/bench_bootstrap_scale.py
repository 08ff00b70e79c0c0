"""``posekit bench bootstrap-scale``: what a day of many cameras takes, from what one frame takes on this machine."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Steps of a round that are geometry; the others decode, train and detect.
GEOMETRY = ("labels", "triangulation", "evidence", "gates")


@dataclass(frozen=True)
class BootstrapScaleBench:
    """Measure one frame's decoding, detection, triangulation and storage; print what a day of 31 HD cameras takes."""

    cameras: int = 31
    """Of the studio."""
    hours: float = 24.0
    """Filmed."""
    fps: float = 29.97
    """Frames per second of each camera."""
    hands: int = 2
    """Hands in every picture."""
    labelled_frames: int = 2_000
    """Frames of each hand that a round learns from; each is a label in half of the cameras."""
    train_steps: int = 20_000
    """Training steps of a round, of 24 crops."""
    frames: int = 48
    """HD frames to measure on."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the detector and its training are measured; on a processor, with one thread."""
    run: Path | None = None
    """The folder of a bootstrap run: what share of its time was geometry."""
    json: Path | None = None
    """Write the figures here, too."""


def run(config: BootstrapScaleBench) -> dict[str, Any]:
    """Measure, and multiply."""
    import torch

    from posekit.apps.checks import require_counts, require_positive

    require_counts(cameras=config.cameras, hands=config.hands, frames=config.frames, train_steps=config.train_steps)
    require_counts(labelled_frames=config.labelled_frames)
    require_positive("--hours", config.hours)
    require_positive("--fps", config.fps)
    rounds = round_seconds(config.run) if config.run else []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        measured = _measure(config)
    finally:
        torch.set_num_threads(threads)
    return {
        "benchmark": "bootstrap-scale",
        "assumed": {
            name: getattr(config, name)
            for name in ("cameras", "hours", "fps", "hands", "labelled_frames", "train_steps")
        },
        "device": config.device,
        "measured": measured,
        "day": day_figures(config, measured),
        "rounds": rounds,
    }


def _measure(config: BootstrapScaleBench) -> dict[str, float]:
    """Seconds (of one core, or the GPU) and bytes of one thing each."""
    with tempfile.TemporaryDirectory(prefix="posekit-scale-") as temporary:
        folder = Path(temporary)
        picture, decode = _decoding(folder, config.frames)
        detect, step = _network(picture, config.device)
        triangulate, evidence = _geometry(config.cameras)
        bytes_2d, bytes_3d = _storage(folder, config.cameras)
        return {
            "decode_s_per_picture": decode,
            "detect_s_per_hand": detect,
            "train_s_per_step": step,
            "triangulate_s_per_hand": triangulate,
            "evidence_s_per_hand": evidence,
            "bytes_2d_per_hand_and_view": bytes_2d,
            "bytes_3d_per_hand": bytes_3d,
            "bytes_per_label": _label_bytes(picture),
        }


def _seconds(work: Callable[[], object], repeats: int = 3, device: str = "cpu") -> float:
    """Median of some repeats, after one that does not count: of processor time, which others at work here do not change.

    On a GPU of time itself.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    work()
    taken = []
    for _ in range(repeats):
        began = clock()
        work()
        taken.append(clock() - began)
    return float(np.median(taken))


def _decoding(folder: Path, count: int) -> "tuple[NDArray[np.uint8], float]":
    """Return an HD picture of a drawn room, and the processor's seconds that it takes to decode one as RGB."""
    from posekit.datasets.backgrounds import room_background
    from posekit.io.video import VideoReader, write_video

    room = room_background(np.random.default_rng(0), 2000, 1160)
    # A picture that moves a little: still ones would be decoded for nothing.
    frames = [np.ascontiguousarray(room[f : f + 1080, f : f + 1920]) for f in range(count)]
    video = folder / "hd.mp4"
    write_video(video, 30, frames)
    return frames[0], _seconds(lambda: sum(1 for _ in VideoReader(video).frames())) / count


def _network(picture: "NDArray[np.uint8]", device: str) -> tuple[float, float]:
    """Seconds of one hand's crop and detection, and of one training step of 24 crops."""
    import torch

    from posekit.detection.detector_file import load_detector
    from posekit.detection.hand_box import HandBox
    from posekit.training.hand_training import pose_machine_of
    from posekit.training.loop import train
    from posekit.training.samples import CropBatch
    from posekit.training.settings import TrainSettings

    detector = load_detector()
    moved = detector.fused().to(device)
    count = 32 if device == "cpu" else 1024
    rng = np.random.default_rng(0)
    boxes = HandBox(rng.uniform(300, 700, (count, 2)), 250.0, 0.3, False)
    detect = _seconds(lambda: moved.detect_in_image(picture, boxes), 3, device) / count
    generator = torch.Generator().manual_seed(0)
    size = detector.crop_size
    batch = CropBatch(
        torch.rand(24, 3, size, size, generator=generator),
        torch.rand(24, 21, 2, generator=generator) * size,
        torch.ones(24, 21),
    )
    steps = 3 if device == "cpu" else 50
    model = pose_machine_of(detector, "bootstrap-scale").requires_grad_(True)
    settings = TrainSettings(steps=steps, device=device, report_every=steps)
    return detect, _seconds(lambda: train(model, lambda *_: batch, settings), 1, device) / steps


def _geometry(cameras: int) -> tuple[float, float]:
    """Seconds of the triangulation of one hand, and of the evidence of its held-out cameras, each in turn."""
    from posekit.bootstrap.evidence import held_out_evidence
    from posekit.bootstrap.instances import InstanceDetections, triangulate_instances
    from posekit.datasets.synthetic_capture import CaptureSettings, sample_rig
    from posekit.skeleton import HAND_FINGERS

    rng = np.random.default_rng(0)
    rig = sample_rig(rng, CaptureSettings(cameras=cameras, size=(1920, 1080)))
    count = 64
    points = rng.uniform(-0.08, 0.08, (count, 21, 3))
    xy = np.stack([camera.project(points) for camera in rig.cameras], axis=1)[:, :, None]
    xy += rng.normal(0, 1.0, xy.shape)
    xy[rng.random(xy.shape[:-1]) < 0.2] += 60  # a fifth of them wrong
    found = InstanceDetections(xy, np.ones(xy.shape[:-1]))
    groups = ((0,), *HAND_FINGERS)
    limits = np.full((count, 1, cameras), 6.0)
    triangulate = _seconds(lambda: triangulate_instances(found, groups, limits, rig, 3)) / count
    evidence = _seconds(lambda: held_out_evidence(found, limits, rig, groups, None), 1) / count
    return triangulate, evidence


def _storage(folder: Path, cameras: int) -> tuple[float, float]:
    """Bytes of a hand in one view, and in 3D, in posekit's own files."""
    from posekit.keypoints import Keypoints2D, Keypoints3D
    from posekit.skeleton import HAND_21

    count = 200
    rng = np.random.default_rng(0)
    frames, names = np.arange(count), tuple(f"cam_{c}" for c in range(cameras))
    xy = rng.uniform(0, 1000, (count, cameras, 1, 21, 2)).astype(np.float32)
    confidence = rng.random((count, cameras, 1, 21)).astype(np.float32)
    Keypoints2D(xy, confidence, names, frames, HAND_21, 30.0, "chance").save(folder / "2d.h5")
    people = Keypoints3D(
        xyz=rng.normal(0, 1, (count, 1, 21, 3)),
        covariance=rng.random((count, 1, 21, 6)).astype(np.float32),
        inliers=rng.random((count, 1, 21, cameras)) < 0.5,
        reprojection_px=rng.random((count, 1, 21, cameras)).astype(np.float32),
        status=np.zeros((count, 1, 21), dtype=np.uint8),
        cameras=names,
        frames=frames,
        skeleton=HAND_21,
        fps=30.0,
        source="chance",
    )
    people.save(folder / "3d.h5")
    sizes = [(folder / name).stat().st_size / count for name in ("2d.h5", "3d.h5")]
    return sizes[0] / cameras, sizes[1]


def _label_bytes(picture: "NDArray[np.uint8]") -> float:
    """Bytes of a labelled crop: its JPEG, and the numbers beside it."""
    import cv2

    from posekit.bootstrap.crop_files import large_crop_size
    from posekit.detection.detector_file import load_detector
    from posekit.detection.hand_box import HandBox, cut_crops

    size = large_crop_size(load_detector().crop_size)
    crops = cut_crops(picture, HandBox(np.random.default_rng(0).uniform(300, 700, (16, 2)), 340.0), size)
    jpeg = np.mean([len(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]) for crop in crops])
    numbers = 21 * (2 * 8 * 2 + 8 + 4 + 6 * 4) + 31 * 21
    return float(jpeg + numbers)


def day_figures(config: BootstrapScaleBench, measured: dict[str, float]) -> dict[str, float]:
    """Multiply: hours of one core (or the GPU) and bytes for one round over all that was filmed."""
    moments = config.hours * 3600 * config.fps
    pictures = moments * config.cameras
    labels = config.labelled_frames * config.hands * config.cameras / 2
    hand_moments = moments * config.hands
    return {
        "pictures": pictures,
        "decode_core_hours": pictures * measured["decode_s_per_picture"] / 3600,
        "detect_hours": pictures * config.hands * measured["detect_s_per_hand"] / 3600,
        "triangulate_core_hours": hand_moments * measured["triangulate_s_per_hand"] / 3600,
        "evidence_core_hours": hand_moments * measured["evidence_s_per_hand"] / 3600,
        "train_hours": config.train_steps * measured["train_s_per_step"] / 3600,
        "keypoints2d_bytes": pictures * config.hands * measured["bytes_2d_per_hand_and_view"],
        "keypoints3d_bytes": hand_moments * measured["bytes_3d_per_hand"],
        "labels": labels,
        "labels_bytes": labels * measured["bytes_per_label"],
    }


def round_seconds(folder: Path) -> list[dict[str, Any]]:
    """Read what the steps of every round of a run took, and the share of geometry in it."""
    from posekit.errors import PosekitError

    rounds = []
    for file in sorted(folder.glob("round_*/seconds.json")):
        seconds: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
        whole = sum(seconds.values())
        if file.parent.name == "round_0" or whole == 0:
            continue  # round 0 trains nothing
        share = sum(seconds.get(step, 0.0) for step in GEOMETRY) / whole
        rounds.append({"round": file.parent.name, "seconds": seconds, "geometry_share": share})
    if not rounds:
        raise PosekitError(f"--run: {folder}: holds no finished round (round_1/seconds.json)")
    return rounds


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print what was measured, what is assumed, and what follows."""
    from posekit.apps.tables import figures_table

    measured, assumed, day = figures["measured"], figures["assumed"], figures["day"]
    who = "one core" if figures["device"] == "cpu" else "the GPU"
    table = figures_table("measured on this machine", ("what", "takes"))
    for what, value in (
        ("decode an HD picture, one core", f"{1e3 * measured['decode_s_per_picture']:.1f} ms"),
        (f"detect a hand, {who}", f"{1e3 * measured['detect_s_per_hand']:.2f} ms"),
        (f"a training step of 24 crops, {who}", f"{1e3 * measured['train_s_per_step']:.0f} ms"),
        (f"triangulate a hand of {assumed['cameras']} views, one core", f"{1e3 * measured['triangulate_s_per_hand']:.2f} ms"),
        ("each camera held out in turn, one core", f"{1e3 * measured['evidence_s_per_hand']:.1f} ms"),
        ("keypoints2d.h5, a hand in a view", f"{measured['bytes_2d_per_hand_and_view']:.0f} bytes"),
        ("keypoints3d.h5, a hand", f"{measured['bytes_3d_per_hand']:.0f} bytes"),
        ("crops.h5, a label", f"{measured['bytes_per_label'] / 1e3:.1f} kB"),
    ):  # fmt: skip
        table.add_row(what, value)
    console.print(table)
    table = figures_table(f"one round over {day['pictures'] / 1e6:.1f} million pictures", ("what", "takes"))
    for what, value in (
        ("decode", f"{day['decode_core_hours']:,.0f} h of one core"),
        ("detect", f"{day['detect_hours']:,.0f} h of {who}"),
        ("triangulate", f"{day['triangulate_core_hours']:,.1f} h of one core"),
        ("held-out evidence", f"{day['evidence_core_hours']:,.0f} h of one core"),
        ("train", f"{day['train_hours']:,.1f} h of {who}"),
        ("keypoints2d.h5", f"{day['keypoints2d_bytes'] / 1e9:,.1f} GB"),
        ("keypoints3d.h5", f"{day['keypoints3d_bytes'] / 1e9:,.1f} GB"),
        (f"crops.h5, {day['labels']:,.0f} labels", f"{day['labels_bytes'] / 1e9:,.2f} GB"),
    ):  # fmt: skip
        table.add_row(what, value)
    console.print(table)
    console.print(
        f"Assumed: {assumed['cameras']} cameras, {assumed['hours']:g} h at {assumed['fps']:g} frames/s, {assumed['hands']} "
        f"hands in every picture, labels of {assumed['labelled_frames']} frames of each in half of the cameras, "
        f"{assumed['train_steps']} training steps. Decoding, detection and cutting of labels divide among cores, GPUs and "
        "machines (--engine).",
        soft_wrap=True,
    )
    for one in figures["rounds"]:
        steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in one["seconds"].items())
        console.print(
            f"{one['round']} of --run (measured): geometry {one['geometry_share']:.1%} of {steps}", soft_wrap=True
        )
