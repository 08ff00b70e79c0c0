"""``posekit bench hands``: hands per second on a processor, beside MediaPipe's hand landmark network."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from posekit.apps.bench_peer_process import Peer
    from posekit.detection.hand_detector import HandDetector

#: Runs in the interpreter of mediapipe, which knows nothing of posekit.
MEDIAPIPE = Path(__file__).with_name("bench_hands_peer.py")
#: Side of the crops that MediaPipe's network takes, px; the hands are drawn at this size.
PEER_SIZE = 224


@dataclass(frozen=True)
class HandsBench:
    """Count the hands per second of a hand detector on a processor, beside MediaPipe's landmark network."""

    peer: Path | None = None
    """Python interpreter of an environment that has mediapipe 0.10.21 and ai-edge-litert: all are timed in turn."""
    peer_model: Literal["full", "lite"] = "full"
    """Which of MediaPipe's two landmark networks."""
    weights: Path | None = None
    """The hand detector (.safetensors); the one that comes with posekit if not given."""
    network: str | None = None
    """Instead of weights: an untrained network of this name, on crops of 128 px."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of threads, the same for each; they never run at the same time."""
    batches: tuple[int, ...] = (1, 8)
    """So many hands at once."""
    hands: int = 8
    """Hands per run, a multiple of each of the batches."""
    repeats: int = 20
    """Runs of each, after one that does not count; medians are taken."""
    seed: int = 0
    """Seed of the synthetic hands."""
    json: Path | None = None
    """Write the figures here, too."""


def run(config: HandsBench) -> dict[str, Any]:
    """Measure every number of threads with every batch; within each, all run in turn on the same hands."""
    import cv2
    import torch

    from posekit.models.counting import count

    _check(config)
    detector = _detector(config)
    crops = _draw_hands(config)
    sizes = {size: _resized(crops, size) for size in (detector.crop_size, PEER_SIZE)}
    model = detector.model
    assert isinstance(model, torch.nn.Module)
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        with _as_onnx(detector) as onnx:
            rows = [
                _measure(config, detector, onnx, sizes, threads, batch)
                for threads in config.threads
                for batch in config.batches
            ]
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
    return {
        "benchmark": "hands",
        "network": detector.architecture,
        "trained": config.network is None,
        "crop_px": detector.crop_size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "macs": count(model, detector.crop_size).macs,
        **(
            {"peer": rows[0]["peer"], "peer_model": config.peer_model, "peer_crop_px": PEER_SIZE} if config.peer else {}
        ),
        "rows": rows,
        "hands": config.hands,
        "repeats": config.repeats,
        "processors": os.cpu_count(),
        "torch": torch.__version__,
    }


def _check(config: HandsBench) -> None:
    """Say before the work, not after it, what cannot be."""
    from posekit.apps.checks import require_counts
    from posekit.detection.detector_file import ARCHITECTURES
    from posekit.errors import PosekitError
    from posekit.io.files import require_file

    if config.peer is not None:
        require_file(config.peer, "the Python interpreter of the peer's environment")
    require_counts(hands=config.hands, repeats=config.repeats)
    for name, values in (("threads", config.threads), ("batches", config.batches)):
        if not values or min(values) < 1:
            raise PosekitError(
                f"--{name}: {' '.join(map(str, values)) or 'nothing'} was given, positive numbers were expected"
            )
    for batch in config.batches:
        if config.hands % batch:
            raise PosekitError(f"--hands: {config.hands} is no multiple of {batch}, which is one of --batches")
    if config.weights is not None and config.weights.suffix.lower() == ".onnx":
        raise PosekitError(f"--weights: {config.weights}: torch runs it, too; a .safetensors file was expected")
    if config.network is not None:
        if config.weights is not None:
            raise PosekitError(
                "--network: is for an untrained network, --weights for a trained one; one of them was expected"
            )
        if config.network not in ARCHITECTURES:
            raise PosekitError(f"--network: '{config.network}' is not known; known are: {', '.join(ARCHITECTURES)}")


def _detector(config: HandsBench) -> "HandDetector":
    from posekit.detection.detector_file import ARCHITECTURES, LIGHT_HAND_WEIGHTS, load_detector
    from posekit.detection.hand_detector import HandDetector
    from posekit.models.cpm import in_channels_last

    if config.network is None:
        return load_detector(config.weights or LIGHT_HAND_WEIGHTS)
    model = in_channels_last(ARCHITECTURES[config.network]()).eval()
    return HandDetector(model, architecture=config.network)


def _draw_hands(config: HandsBench) -> NDArray[np.uint8]:
    """Upright right hands, (N, 224, 224, 3), as both networks are given them."""
    from posekit.datasets.synthetic_hands import SyntheticHands

    images = SyntheticHands(config.seed, PEER_SIZE, split="validation").batch(0, config.hands).images
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


def _resized(crops: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    import cv2

    return np.stack([cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) for crop in crops]).astype(np.uint8)


@contextmanager
def _as_onnx(detector: "HandDetector") -> Iterator[Path]:
    """A file of the same network for onnxruntime."""
    from posekit.detection.onnx_network import export_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hand.onnx"
        export_onnx(path, detector)
        yield path


@dataclass(frozen=True)
class _Contender:
    """Something that is timed. crops: from uint8 crops to joints, seconds. network: the network alone, seconds."""

    crops: Callable[[], float]
    network: Callable[[], float]


def _measure(
    config: HandsBench,
    detector: "HandDetector",
    onnx: Path,
    sizes: dict[int, NDArray[np.uint8]],
    threads: int,
    batch: int,
) -> dict[str, Any]:
    """Time each on all hands, in batches; in turn, so that what else the machine does falls to all alike."""
    import cv2
    import torch

    from posekit.apps.bench_peer_process import Peer
    from posekit.detection.onnx_network import load_onnx_detector

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    crops = sizes[detector.crop_size]
    contenders = {
        "onnxruntime": _own(load_onnx_detector(onnx, threads), crops, batch),
        "torch": _own(detector.fused(), crops, batch),
    }
    row: dict[str, Any] = {"threads": threads, "batch": batch}
    with ExitStack() as stack:
        if config.peer is not None:

            def write_input(folder: Path) -> None:
                np.save(folder / "crops.npy", sizes[PEER_SIZE])
                content = {"model": config.peer_model, "threads": threads, "batch": batch}
                (folder / "input.json").write_text(json.dumps(content), encoding="utf-8")

            peer = stack.enter_context(Peer(config.peer, "landmarks", threads, write_input, MEDIAPIPE))
            contenders["peer"] = _theirs(peer)
        seconds: dict[str, list[float]] = {}
        for number in range(config.repeats + 1):
            for name, contender in contenders.items():
                for what in ("crops", "network"):
                    taken = getattr(contender, what)()
                    if number:  # the first run finds nothing in the caches
                        seconds.setdefault(f"{name}_{what}", []).append(taken)
        if config.peer is not None:
            found = peer.found()
            row |= {"peer": peer.name, "peer_sees_a_hand": float((found["presence"] > 0.5).mean())}
    row |= {f"{name}_ms": 1e3 * float(np.median(values)) / config.hands for name, values in seconds.items()}
    if config.peer is not None:
        row |= {
            f"ratio_{what}": row[f"peer_{what}_ms"] / row[f"onnxruntime_{what}_ms"] for what in ("crops", "network")
        }
    return row


def _own(detector: "HandDetector", crops: NDArray[np.uint8], batch: int) -> _Contender:
    import torch

    from posekit.models.images import images_to_tensor, normalise_images

    detector = replace(detector, batch_size=batch)
    images = normalise_images(images_to_tensor(crops)).contiguous(memory_format=torch.channels_last)

    def timed(work: Callable[[], object]) -> Callable[[], float]:
        def run() -> float:
            start = time.perf_counter()
            with torch.inference_mode():
                work()
            return time.perf_counter() - start

        return run

    def network() -> None:
        for part in images.split(batch):
            detector.model.heatmaps(part)

    return _Contender(timed(lambda: detector.detect(crops)), timed(network))


def _theirs(peer: "Peer") -> _Contender:
    return _Contender(peer.run, lambda: float(peer.found()["network_seconds"]))


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print milliseconds per hand, of the network alone and from the crop to the joints, and what was compared."""
    from posekit.apps.tables import figures_table, number

    names = [name for name in ("onnxruntime", "torch", "peer") if f"{name}_crops_ms" in figures["rows"][0]]
    with_peer = "peer" in names
    for what, title in (("network", "the network alone"), ("crops", "from the crop to the joints")):
        headings = [figures["peer"] if name == "peer" else f"{name}" for name in names]
        table = figures_table(
            f"{title}: ms per hand", ("threads", "at once", *headings, "hands/s", *(["times"] if with_peer else []))
        )
        for row in figures["rows"]:
            table.add_row(
                str(row["threads"]),
                str(row["batch"]),
                *(number(row[f"{name}_{what}_ms"], 2) for name in names),
                f"{1e3 / row[f'onnxruntime_{what}_ms']:,.0f}",
                *([number(row[f"ratio_{what}"], 2)] if with_peer else []),
            )
        console.print(table)
    console.print(
        f"{figures['network']} ({figures['macs'] / 1e6:.0f} M multiplications), {figures['crop_px']} px; "
        f"medians of {figures['repeats']} runs over {figures['hands']} synthetic hands"
    )
    if with_peer:
        seen = figures["rows"][0]["peer_sees_a_hand"]
        console.print(
            f"{figures['peer']}: hand_landmark_{figures['peer_model']}, {figures['peer_crop_px']} px, by TFLite with XNNPACK;\n"
            f"it sees a hand in {seen:.0%} of the crops. hands/s, times: posekit by onnxruntime, and against it"
        )
