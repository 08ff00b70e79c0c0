"""``posekit bench networks``: every network's size beside its paper's, and the hand networks trained alike and compared."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from posekit.apps.published_networks import Published, published_networks
from posekit.apps.train_data import CROP

#: Sides of the pictures at which the levels' shapes are listed: ImageNet's, and OpenPose's hand crops'.
_SHAPE_SIZES = (224, 368)


@dataclass(frozen=True)
class NetworksBench:
    """Count the networks beside their papers; with --train-minutes, train the hand networks alike and compare them."""

    train_minutes: float | None = None
    """Train every hand network for this long on the same drawn hands, and measure it on held-out ones; on the cpu, processor
    time by thread."""
    networks: tuple[str, ...] = ()
    """The hand networks to time and train, by name; all if not given."""
    cache: Path | None = None
    """Folder to keep the drawn hands in for the next run, 147 kB each. A temporary one if not given."""
    hands: int = 6_000
    """Different hands to draw for the training."""
    backgrounds: int = 800
    """Different backgrounds to draw."""
    held_out: int = 512
    """Hands to fit the confidence on, and as many again to measure on; the training sees none of them."""
    batch_size: int = 24
    """Crops in a batch."""
    learning_rate: float = 1e-2
    """Highest learning rate of the one-cycle schedule; networks without batch norm take a tenth of it."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the training runs: cpu or cuda. Hands are timed on the cpu."""
    threads: int = 2
    """Processor threads, and processes that draw the hands."""
    repeats: int = 20
    """Single hands timed for each network, after two that do not count; the median is taken."""
    seed: int = 0
    """Of the hands, the first weights and the training."""
    json: Path | None = None
    """Write the figures here, too."""


def run(config: NetworksBench) -> dict[str, Any]:
    """Count, time, and train if asked to."""
    import torch

    from posekit.models.hand_networks import HAND_NETWORKS

    _check(config)
    names = config.networks or tuple(HAND_NETWORKS)
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        figures: dict[str, Any] = {
            "benchmark": "networks",
            "published": [_count(network) for network in published_networks()],
            "hand_networks": [_time(name, config.repeats) for name in names],
        }
        if config.train_minutes is not None:
            _train_all(config, figures)
    finally:
        torch.set_num_threads(before)
    return {
        **figures,
        "crop_px": CROP,
        "threads": config.threads,
        "repeats": config.repeats,
        "seed": config.seed,
        "torch": torch.__version__,
    }


def _check(config: NetworksBench) -> None:
    """Say before the work, not after it, what cannot be."""
    import torch

    from posekit.apps import timed_training
    from posekit.apps.checks import require_counts, require_networks, require_positive
    from posekit.errors import PosekitError

    require_positive("--train-minutes", config.train_minutes)
    require_counts(repeats=config.repeats)
    timed_training.check(config)
    require_networks("--networks", config.networks)
    if config.cache is not None and config.train_minutes is None:
        raise PosekitError("--cache: belongs to --train-minutes; without it no hands are drawn")
    if config.device != "cpu" and not torch.cuda.is_available():
        raise PosekitError(f"--device: '{config.device}' is not there (torch finds no GPU)")


def _count(network: Published) -> dict[str, Any]:
    import torch

    from posekit.models.backbones.levels import Backbone
    from posekit.models.counting import count, level_shapes

    with torch.device("meta"):
        model = network.build()
    counted = count(model, network.size)
    return {
        "name": network.name,
        "size_px": network.size,
        "parameters": counted.parameters,
        "macs": counted.macs,
        "published_parameters": network.parameters,
        "published_macs": network.macs,
        "source": network.source,
        "level_shapes": {str(size): level_shapes(model, size) for size in _SHAPE_SIZES}
        if isinstance(model, Backbone)
        else {},
    }


def _time(name: str, repeats: int) -> dict[str, Any]:
    """Count one hand network and time single crops, batch norms folded, on random weights: their values change no time."""
    import numpy as np
    import torch

    from posekit.detection.hand_detector import HandDetector
    from posekit.models.counting import count
    from posekit.models.cpm import in_channels_last
    from posekit.models.hand_networks import HAND_NETWORKS

    torch.manual_seed(0)
    model = HAND_NETWORKS[name]()
    counted = count(model, CROP)
    fused = HandDetector(in_channels_last(model).eval(), CROP, architecture=name).fused().model
    images = torch.randn(1, 3, CROP, CROP).contiguous(memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode():
        for number in range(repeats + 2):
            start = time.perf_counter()
            fused.heatmaps(images)
            if number >= 2:
                seconds.append(time.perf_counter() - start)
    return {
        "name": name,
        "parameters": counted.parameters,
        "macs": counted.macs,
        "ms_per_hand": 1e3 * float(np.median(seconds)),
    }


def _train_all(config: NetworksBench, figures: dict[str, Any]) -> None:
    """Add to every hand network's figures what it scores after the same time on the same hands."""
    from posekit.apps.progress import progress_bars
    from posekit.apps.timed_training import train_for, training_hands

    assert config.train_minutes is not None
    with progress_bars() as show, training_hands(config, show) as hands:
        for row in figures["hand_networks"]:
            row |= train_for(config.train_minutes, row["name"], hands, config, show, device=config.device)
    figures |= {
        "train_minutes": config.train_minutes,
        "device": config.device,
        "hands": config.hands,
        "mean_hand_pck02": figures["hand_networks"][0]["mean_hand_pck02"],
    }


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print the counts beside the papers', the levels' shapes, and the hand networks."""
    from posekit.apps.tables import figures_table

    table = figures_table(
        "ours, as published, and ours / published",
        ("network", "px", "parameters", "publ.", "ratio", "macs", "publ.", "ratio"),
    )
    for row in figures["published"]:
        table.add_row(
            row["name"],
            str(row["size_px"]),
            *_compared(row["parameters"], row["published_parameters"]),
            *_compared(row["macs"], row["published_macs"]),
        )
    console.print(table)
    console.print("macs: a multiplication with its addition, in convolutions and matrix products. Published:")
    for source in dict.fromkeys(row["source"] for row in figures["published"] if row["source"]):
        names = ", ".join(row["name"] for row in figures["published"] if row["source"] == source)
        console.print(f"  {names}: {source}")
    shapes = figures_table("\nlevels, channels x side", ("network", *(f"{size} px" for size in _SHAPE_SIZES)))
    for row in figures["published"]:
        if row["level_shapes"]:
            shapes.add_row(row["name"], *(_listed(levels) for levels in row["level_shapes"].values()))
    console.print(shapes)
    _print_hand_networks(console, figures)


def _print_hand_networks(console: Any, figures: dict[str, Any]) -> None:
    from posekit.apps.tables import figures_table, number

    trained = "train_minutes" in figures
    columns = ("network", "params", "macs", "ms", *(("crops", "0.2 B", "0.1 B", "error") * trained))
    table = figures_table(f"hand networks, {figures['crop_px']} px", columns)
    for row in figures["hand_networks"]:
        scores: tuple[str, ...] = ()
        if trained:
            measured = (number(row["pck02"], 3), number(row["pck01"], 3), number(row["epe"], 3))
            scores = (f"{row['crops_seen']:,}", *measured)
        table.add_row(
            row["name"], _short(row["parameters"]), _short(row["macs"]), number(row["ms_per_hand"], 1), *scores
        )
    console.print(table)
    console.print(f"ms: one crop at a time, processor threads: {figures['threads']}, median of {figures['repeats']}")
    if trained:
        console.print(
            f"crops: seen in {figures['train_minutes']:g} minutes of training ({figures['device']}), of the same "
            f"{figures['hands']:,} drawn hands\n0.2 B, 0.1 B: PCK of {figures['hand_networks'][0]['joints']:,} visible joints "
            f"of others; error: their mean, in B\na constant mean hand: PCK@0.2B {figures['mean_hand_pck02']:.3f}"
        )


def _compared(ours: float, published: float | None) -> tuple[str, str, str]:
    if published is None:
        return _short(ours), "-", "-"
    scale, unit = _scale(published)
    return _short(ours), f"{published / scale:.4g} {unit}", f"{ours / published:.3f}"


def _short(count: float) -> str:
    """Write a large number with four digits: 5.483 M, 103.2 G."""
    scale, unit = _scale(count)
    value = count / scale
    return f"{value:.{3 if value < 10 else 2 if value < 100 else 1}f} {unit}"


def _scale(count: float) -> tuple[float, str]:
    return (1e9, "G") if count >= 1e9 else (1e6, "M")


def _listed(levels: list[tuple[int, int, int]]) -> str:
    return " ".join(f"{channels}x{height}" for channels, height, _ in levels)
