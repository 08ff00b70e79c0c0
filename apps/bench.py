"""``posekit bench``: how fast and how exact posekit is on synthetic input, by itself or beside a peer."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

#: What can be measured -> the module that does it, by run(config) -> figures and print_figures(console, figures).
BENCHMARKS = {
    "triangulation": "posekit.apps.bench_triangulation",
    "calibration": "posekit.apps.bench_calibration",
}


@dataclass(frozen=True)
class BenchConfig:
    """Measure posekit's speed and errors, beside another library where --peer names one."""

    what: Annotated[Literal["triangulation", "calibration"], tyro.conf.Positional]
    """triangulation: robust, of single points, 1 px of noise, 15 % of the detections 80 px off. calibration: of synthetic rigs
    on a board; beside the peer, of the videos of one."""
    peer: Path | None = None
    """Python interpreter of an environment that has aniposelib-pytorch 1.0: both are timed in turn on the same input."""
    cameras: tuple[int, ...] = (4, 8, 16, 31)
    """Numbers of cameras of posekit's own table. Beside the peer, triangulation has 8."""
    points: int = 20_000
    """triangulation: points per run."""
    repeats: int = 5
    """triangulation: runs of each, after one that does not count; the best one is taken, which was disturbed least."""
    rigs: int = 5
    """calibration: random rigs of each kind in posekit's own table; with 0 only the largest one is timed."""
    videos: Path | None = None
    """calibration beside the peer: a folder with a video of the board per camera; rendered ones without it."""
    board: str | None = None
    """calibration beside the peer: the board in the videos, as `posekit calibrate` takes it."""
    inverted: bool = False
    """calibration beside the peer: the board is printed white on black; the peer gets inverted videos, made beforehand."""
    threads: int = 2
    """Threads for each; they never run at the same time."""
    threshold_px: float = 10.0
    """triangulation: within how many pixels a view agrees, for each."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where posekit's tensors are: cpu or cuda. Beside the peer: cpu."""
    seed: int = 0
    """Seed of the scene."""
    json: Path | None = None
    """Write the figures here, too."""


def main(config: BenchConfig) -> None:
    """Run the command."""
    from rich.console import Console

    from posekit.io.files import write_json

    _check(config)
    benchmark = importlib.import_module(BENCHMARKS[config.what])
    figures = benchmark.run(config)
    if config.json:
        write_json(config.json, figures)
    benchmark.print_figures(Console(markup=False, highlight=False), figures)


def _check(config: BenchConfig) -> None:
    """Say before the work, not after it, what cannot be."""
    from posekit.apps.checks import require_places, require_positive
    from posekit.errors import PosekitError
    from posekit.io.files import require_file, require_folder

    if config.peer is not None:
        require_file(config.peer, "the Python interpreter of the peer's environment")
        if config.device != "cpu":
            raise PosekitError(f"--device: is '{config.device}'; beside a peer posekit is measured on the cpu")
    for name, value in (("points", config.points), ("repeats", config.repeats), ("threads", config.threads)):
        if value < 1:
            raise PosekitError(f"--{name}: {value} is not a positive number")
    if config.rigs < 0:
        raise PosekitError(f"--rigs: {config.rigs} is less than none")
    if (config.videos is None) != (config.board is None):
        raise PosekitError("--videos and --board belong together: the videos, and the board that they show")
    if config.inverted and config.videos is None:
        raise PosekitError("--inverted: belongs to --videos; rendered ones are not inverted")
    if config.videos is not None:
        require_folder(config.videos, "a folder with a video per camera")
        if config.peer is None or config.what != "calibration":
            raise PosekitError("--videos: they are calibrated beside a peer: posekit bench calibration --peer PYTHON")
    require_positive("--threshold-px", config.threshold_px)
    if any(count < 2 for count in config.cameras):
        raise PosekitError(f"--cameras: {min(config.cameras)} cannot place a point, 2 or more were expected")
    require_places((config.json,), (config.peer,))
