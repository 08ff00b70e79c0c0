"""``posekit bench lifting``: RepNet's variants on people held out, a lifter on real captures, and its speed."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from posekit.lifting.settings import RepNetSettings


@dataclass(frozen=True)
class LiftingBench:
    """Train variants of RepNet alike and measure them on people held out; lift real captures; count poses per second."""

    data: tuple[str, ...] = ()
    """Motion capture to train the variants on, KIND:PATH as for train-lifter. No variants if not given."""
    hold_out: tuple[str, ...] = ("02", "03")
    """Subjects to measure on, none of whose clips is trained on."""
    variants: tuple[str, ...] = ()
    """The variants to train, by name; all if not given."""
    minutes: float = 2.0
    """How long to train each variant, in processor time: other work on the machine does not change it."""
    steps: int = 1_000_000
    """Steps to train each variant, if they come first."""
    poses: int = 60_000
    """Different poses, and views, to draw for the training."""
    captures: tuple[str, ...] = ()
    """Real captures, each NAME=KEYPOINTS,RIG: every view lifted by itself, against the triangulation of all views."""
    skeleton: str | None = None
    """Order of the captures' joints, where the files do not say it."""
    weights: Path | None = None
    """The lifter to measure; the one that comes with posekit if not given."""
    lift: int = 50_000
    """Poses to lift for the speed."""
    threads: int = 2
    """Processor threads."""
    seed: int = 0
    """Of the training and the views."""
    json: Path | None = None
    """Write the figures here, too."""


def variants() -> "dict[str, RepNetSettings]":
    """What is compared, by name: the paper's and today's, each with parts of it left out or added."""
    from dataclasses import replace

    from posekit.lifting.settings import PUBLISHED, RepNetSettings

    today = RepNetSettings()
    return {
        "published": PUBLISHED,
        "published, no KCS": replace(PUBLISHED, whole_kcs=False),
        "published, no camera loss": replace(PUBLISHED, camera_weight=0.0),
        "today": today,
        "today, no prior": replace(today, prior_weight=0.0, adversarial_weight=1.0),
        "today, no critic": replace(today, adversarial_weight=0.0),
        "today, no KCS": replace(today, whole_kcs=False, part_kcs=False),
        "today, with bone loss": replace(today, bones_weight=0.2),
        "today, no part-wise KCS": replace(today, part_kcs=False),
        "today, no consistency": replace(today, consistency_weight=0.0, turned_weight=0.0),
        "today, constant reprojection weight": replace(today, reprojection_weight=(10.0, 10.0)),
        "today, no mask": replace(today, mask=False),
        "today, weak perspective": replace(today, perspective=False),
        "today, temporal, 9 frames": replace(today, frames=9),
        "today, learned elevation": replace(today, learned_elevation=True),
        "today, critic in metres": replace(today, one_size=False, prior_weight=0.0, adversarial_weight=1.0),
    }


def run(config: LiftingBench) -> dict[str, Any]:
    """Train, lift, and time."""
    import torch

    from posekit.lifting.lifter import LIFTER_WEIGHTS, load_lifter

    captures = _check(config)
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        lifter = load_lifter(config.weights or LIFTER_WEIGHTS)
        figures: dict[str, Any] = {
            "benchmark": "lifting",
            "poses_per_second": _poses_per_second(lifter, config, mirrored=False),
            "poses_per_second_mirrored": _poses_per_second(lifter, config, mirrored=True),
            "parameters": sum(value.numel() for value in lifter.generator.parameters()),
            "threads": config.threads,
            "captures": [
                one for name, places in captures.items() for one in _lift_capture(lifter, name, places, config)
            ],
            "variants": _train_variants(config) if config.data else [],
        }
    finally:
        torch.set_num_threads(before)
    return {**figures, "hold_out": list(config.hold_out), "minutes": config.minutes, "seed": config.seed}


def _check(config: LiftingBench) -> dict[str, tuple[Path, Path]]:
    from posekit.apps.checks import require_counts, require_positive
    from posekit.errors import PosekitError

    require_counts(steps=config.steps, poses=config.poses, lift=config.lift, threads=config.threads)
    require_positive("--minutes", config.minutes)
    for name in config.variants:
        if name not in variants():
            raise PosekitError(f"--variants {name}: expected some of: {'; '.join(variants())}")
    captures = {}
    for spec in config.captures:
        name, equals, places = spec.partition("=")
        keypoints, comma, rig = places.partition(",")
        if not (equals and comma and name and keypoints and rig):
            raise PosekitError(f"--captures {spec}: expected NAME=KEYPOINTS,RIG")
        captures[name] = (Path(keypoints), Path(rig))
    return captures


def _poses_per_second(lifter: Any, config: LiftingBench, *, mirrored: bool) -> float:
    """From px in an array to metres in an array, best of three: what else the machine does slows single runs down."""
    import numpy as np

    rng = np.random.default_rng(config.seed)
    xy = rng.normal(500, 100, (config.lift, lifter.skeleton.joint_count, 2)).astype(np.float32)
    confidence = rng.random(xy.shape[:2], dtype=np.float32)
    lifter.lift(xy[:4096], confidence[:4096], mirrored=mirrored)
    best = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        lifter.lift(xy, confidence, mirrored=mirrored)
        best = min(best, time.perf_counter() - begun)
    return config.lift / best


def _lift_capture(lifter: Any, name: str, places: tuple[Path, Path], config: LiftingBench) -> list[dict[str, Any]]:
    from posekit.apps.lifting_captures import measure_capture
    from posekit.apps.triangulate import open_detections
    from posekit.calibration.formats import read_rig

    keypoints, rig_file = places
    rig = read_rig(rig_file)
    return [
        {"capture": name, **one}
        for one in measure_capture(lifter, open_detections(keypoints, rig, config.skeleton, None), rig)
    ]


def _train_variants(config: LiftingBench) -> list[dict[str, Any]]:
    from posekit.apps.lifter_data import lifter_sources, measure_held_out
    from posekit.apps.progress import progress_bars
    from posekit.apps.timed_training import processor_clock
    from posekit.lifting.lifter import Lifter
    from posekit.lifting.training import LifterRun, LifterTraining, train_lifter

    sources = lifter_sources(config.data, "LIFTER_15", config.hold_out, config.poses, config.seed)
    chosen = {name: variants()[name] for name in config.variants or variants()}
    # So that all are measured on the same poses.
    longest = max(settings.frames for settings in chosen.values())
    rows = []
    with progress_bars() as show:
        for name, settings in chosen.items():
            run_of = LifterRun(config.steps, 60 * config.minutes, config.seed, processor_clock(config.threads))
            training = LifterTraining(
                sources.skeleton, settings, run_of, sources.poses, sources.windows(settings.frames)
            )
            generator = train_lifter(training, lambda now, name=name: show(name, round(1000 * now.fraction), 1000))  # type: ignore[misc]
            lifter = Lifter(sources.skeleton, settings, generator.eval(), sources.mean_bone)  # type: ignore[arg-type]
            figures = measure_held_out(lifter, sources.held_out, frames=longest)
            rows.append({"variant": name, "steps": training.step, **figures})
    return rows


def print_figures(console: "Console", figures: dict[str, Any]) -> None:
    """Print the tables."""
    console.print(
        f"{figures['poses_per_second']:,.0f} poses/s on {figures['threads']} threads, "
        f"{figures['poses_per_second_mirrored']:,.0f} with their mirror images; {figures['parameters']:,} parameters; "
        f"an hour of one person at 60 Hz in {216_000 / figures['poses_per_second_mirrored']:.1f} s"
    )
    if figures["captures"]:
        _print_captures(console, figures["captures"])
    if figures["variants"]:
        _print_variants(console, figures)


def _print_captures(console: "Console", rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    columns = ("pa_mpjpe_mm", "pa_mpjpe_reflected_mm", "symmetry_mm", "bone_spread_percent")
    table = Table(title="Single views against the triangulation of all views; no reflection unless said")
    for name in (
        "capture",
        "person",
        "view",
        "frames",
        "joints",
        "PA-MPJPE",
        "with reflection",
        "symmetry",
        "bone spread, %",
    ):
        table.add_column(name, justify="left" if name in ("capture", "view") else "right")
    for row in rows:
        table.add_row(
            row["capture"], str(row["person"]), row["view"], str(row["frames"]), str(row["joints"]),
            *(f"{row[name]:.1f}" for name in columns),
        )  # fmt: skip
    console.print(table)
    for capture, person in dict.fromkeys((row["capture"], row["person"]) for row in rows):
        own = [row["pa_mpjpe_mm"] for row in rows if (row["capture"], row["person"]) == (capture, person)]
        console.print(f"{capture}, person {person}: {sum(own) / len(own):.1f} mm mean over {len(own)} views")


def _print_variants(console: "Console", figures: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(
        title=f"Held out: {', '.join(figures['hold_out'])}; {figures['minutes']:g} minutes each; "
        "P-I (N-MPJPE) and P-II (PA-MPJPE) in mm"
    )
    for name in ("variant", "steps", "P-I", "P-II", "P-I, true 2D", "P-II, true 2D"):
        table.add_column(name, justify="left" if name == "variant" else "right")
    for row in figures["variants"]:
        values = (f"{row[name]:.1f}" for name in ("p1_mm", "p2_mm", "clean_p1_mm", "clean_p2_mm"))
        table.add_row(row["variant"], str(row["steps"]), *values)
    console.print(table)
