"""``posekit bench calibration``: rigs with known truth, or real videos beside a peer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Frames of a random rig, by layout: two a second. A board is carried past every camera of a corridor.
_RING_FRAMES, _CORRIDOR_FRAMES_PER_CAMERA = 120, 20
#: The largest work: the cameras of a Panoptic studio, and as many frames as two minutes of board at 15 a second give.
_LARGE_CAMERAS, _LARGE_FRAMES = 31, 2000


@dataclass(frozen=True)
class CalibrationBench:
    """Calibrate synthetic rigs on a board; beside the peer, the videos of one."""

    peer: Path | None = None
    """Python interpreter of an environment that has aniposelib-pytorch 1.0: both calibrate the same videos."""
    cameras: tuple[int, ...] = (4, 8, 16, 31)
    """Numbers of cameras of posekit's own table."""
    rigs: int = 5
    """Random rigs of each kind in posekit's own table; with 0 only the largest one is timed."""
    videos: Path | None = None
    """Beside the peer: a folder with a video of the board per camera; rendered ones without it."""
    board: str | None = None
    """Beside the peer: the board in the videos, as `posekit calibrate` takes it."""
    inverted: bool = False
    """Beside the peer: the board is printed white on black; the peer gets inverted videos, made beforehand."""
    threads: int = 2
    """Threads for each; they never run at the same time."""
    seed: int = 0
    """Seed of the scenes."""
    json: Path | None = None
    """Write the figures here, too."""


def run(config: CalibrationBench) -> dict[str, Any]:
    """Measure: beside the peer where there is one, else posekit's own table."""
    import cv2
    import torch

    from posekit.apps.bench_captures import compare

    _check(config)
    if config.peer is not None:
        return {"benchmark": "calibration", **compare(config)}
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(config.threads)
    try:
        figures = {"rigs": _table(config), "large": _large(config)} if config.rigs else {"large": _large(config)}
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    return {"benchmark": "calibration", **figures, "threads": config.threads, "torch": torch.__version__}


def _check(config: CalibrationBench) -> None:
    """Say before the work, not after it, what cannot be."""
    from posekit.apps.checks import require_counts
    from posekit.errors import PosekitError
    from posekit.io.files import require_file, require_folder

    if config.peer is not None:
        require_file(config.peer, "the Python interpreter of the peer's environment")
    require_counts(threads=config.threads)
    if config.rigs < 0:
        raise PosekitError(f"--rigs: {config.rigs} is less than none")
    if (config.videos is None) != (config.board is None):
        raise PosekitError("--videos and --board belong together: the videos, and the board that they show")
    if config.inverted and config.videos is None:
        raise PosekitError("--inverted: belongs to --videos; rendered ones are not inverted")
    if config.videos is not None:
        require_folder(config.videos, "a folder with a video per camera")
        if config.peer is None:
            raise PosekitError("--videos: they are calibrated beside a peer: posekit bench calibration --peer PYTHON")
    if any(count < 2 for count in config.cameras):
        raise PosekitError(f"--cameras: {min(config.cameras)} makes no rig, 2 or more were expected")


def _table(config: CalibrationBench) -> list[dict[str, Any]]:
    """Random rigs by layout and number of cameras: with lenses that are known, and with lenses that start far off."""
    from posekit.apps.bench_synthetic_rigs import LAYOUTS, calibrate_film, film_rig, summarise

    rows = []
    for layout in LAYOUTS:
        for cameras in config.cameras:
            frames = max(_RING_FRAMES, _CORRIDOR_FRAMES_PER_CAMERA * cameras if layout == "corridor" else 0)
            for free_lens in (False, True):
                errors = [
                    calibrate_film(film_rig(layout, cameras, frames, seed), seed, free_lens=free_lens)
                    for seed in range(config.seed, config.seed + config.rigs)
                ]
                about = {
                    "layout": layout,
                    "cameras": cameras,
                    "frames": frames,
                    "lenses": "free" if free_lens else "known",
                }
                rows.append({**about, **summarise(errors)})
    return rows


def _large(config: CalibrationBench) -> dict[str, Any]:
    """31 cameras and 2,000 frames, in a process of its own, whose memory is measured."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure_large, _LARGE_CAMERAS, _LARGE_FRAMES, config.seed, config.threads).result()


def measure_large(cameras: int, frames: int, seed: int, threads: int) -> dict[str, Any]:
    """Calibrate one ring, lenses free, and measure this process's memory, in MB."""
    import resource

    import torch

    from posekit.apps.bench_synthetic_rigs import calibrate_film, film_rig, summarise

    torch.set_num_threads(threads)
    film = film_rig("ring", cameras, frames, seed)
    # Once on little, so that what the libraries take for themselves is not counted.
    calibrate_film(film_rig("ring", 3, 30, seed), seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = summarise([calibrate_film(film, seed)])
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "cameras": cameras,
        "frames": frames,
        "board_views": figures["board_views_median"],
        "seconds": figures["seconds_median"],
        "memory_mb": after / 1024,
        "memory_grown_mb": (after - before) / 1024,
        "position_mm_median": figures["position_mm_median"],
        "linked": figures["rigs_linked"] == 1,
    }


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print posekit beside its peer, or posekit by number of cameras."""
    from posekit.apps.bench_captures import print_comparison
    from posekit.apps.bench_synthetic_rigs import BOARD, NOISE_PX, OUTLIER_SHARE, STATED
    from posekit.apps.tables import figures_table, number

    if "peer" in figures:
        print_comparison(console, figures)
        return
    if "rigs" in figures:
        table = figures_table(
            f"posekit, {figures['threads']} threads",
            ("rigs", "cameras", "lenses", "mm", "mrad", "in 95 %", "failed", "astray", "s"),
        )
        for row in figures["rigs"]:
            table.add_row(
                f"{row['rigs']} {row['layout']}",
                str(row["cameras"]),
                row["lenses"],
                number(row["position_mm_median"], 1),
                number(row["turn_mrad_median"], 2),
                f"{row['coverage']:.0%}" if row["rigs_linked"] else "-",
                str(row["rigs"] - row["rigs_linked"]),
                str(len(row["seeds_astray"])),
                number(row["seconds_median"], 1),
            )
        console.print(table)
        console.print(
            f"{BOARD}, {NOISE_PX:g} px of noise, {OUTLIER_SHARE:.0%} of the corners 5 to 50 px off; lenses: known,\n"
            f"or free and 3 % and 1 % of the picture off at the start, without distortion.\n"
            f"mm, mrad: median errors. in 95 %: true poses in the stated {STATED:.0%} ellipsoids.\n"
            "failed: a camera could not be linked. astray: a camera ended in another place."
        )
    large = figures["large"]
    console.print(
        f"{large['cameras']} cameras, {large['frames']} frames, {large['board_views']:.0f} views of the board, lenses free: "
        f"{large['seconds']:.1f} s, {large['memory_mb']:.0f} MB ({large['memory_grown_mb']:.0f} MB of it for this)"
    )
