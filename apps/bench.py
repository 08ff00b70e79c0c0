"""``posekit bench``: how fast and how exact posekit is, by itself or beside a peer; a subcommand per thing measured."""

import importlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

import tyro

# What can be measured -> the module that does it and the dataclass of its options, whose docstring's first line is what
# `posekit bench --help` says. Such a module defines run(config) -> figures and print_figures(console, figures), and imports
# torch, cv2 and the like inside run: --help imports all of them.
BENCHMARKS: dict[str, tuple[str, str]] = {
    "triangulation": ("posekit.apps.bench_triangulation", "TriangulationBench"),
    "calibration": ("posekit.apps.bench_calibration", "CalibrationBench"),
    "networks": ("posekit.apps.bench_networks", "NetworksBench"),
    "deformable": ("posekit.apps.bench_deformable", "DeformableBench"),
    "hands": ("posekit.apps.bench_hands", "HandsBench"),
    "synthetic-hands": ("posekit.apps.bench_synthetic_hands", "SyntheticHandsBench"),
    "distillation": ("posekit.apps.bench_distillation", "DistillationBench"),
    "bootstrap": ("posekit.apps.bench_bootstrap", "BootstrapBench"),
    "hand-captures": ("posekit.apps.bench_hand_captures", "HandCapturesBench"),
    "bootstrap-damage": ("posekit.apps.bench_bootstrap_damage", "BootstrapDamageBench"),
    "lifting": ("posekit.apps.bench_lifting", "LiftingBench"),
    "refinement": ("posekit.apps.bench_refinement", "RefinementBench"),
    "bootstrap-scale": ("posekit.apps.bench_bootstrap_scale", "BootstrapScaleBench"),
    "bootstrap-kills": ("posekit.apps.bench_bootstrap_kills", "BootstrapKillsBench"),
    "detector-noise": ("posekit.apps.bench_detector_noise", "DetectorNoiseBench"),
}


def _benches() -> Any:
    members = tuple(
        Annotated[getattr(importlib.import_module(module), config), tyro.conf.subcommand(name=name)]
        for name, (module, config) in BENCHMARKS.items()
    )
    return Union[members]  # noqa: UP007  # the members are known only when this runs


if TYPE_CHECKING:
    Bench = Any
else:
    Bench = _benches()


@dataclass(frozen=True)
class BenchConfig:
    """Measure posekit's speed and errors, beside another library where --peer names one."""

    what: tyro.conf.OmitSubcommandPrefixes[tyro.conf.OmitArgPrefixes[Bench]]


def main(config: BenchConfig) -> None:
    """Run the command."""
    from posekit.apps.checks import require_places
    from posekit.apps.tables import figures_console
    from posekit.io.files import write_json

    bench = config.what
    given = [getattr(bench, field.name) for field in fields(bench) if field.name != "json"]
    require_places((bench.json,), (value for value in given if isinstance(value, Path)))
    benchmark = importlib.import_module(type(bench).__module__)
    figures = benchmark.run(bench)
    if bench.json:
        write_json(bench.json, figures)
    benchmark.print_figures(figures_console(), figures)
