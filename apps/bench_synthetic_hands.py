"""``posekit bench synthetic-hands``: drawn hands per second, and a sheet of them to look at."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rich.console import Console

    from posekit.datasets.hand_renderer import HandPictures
    from posekit.datasets.synthetic_hands import HandBatch, SyntheticHands

#: Pictures on a sheet, and in a row of it.
_SHEET, _ROW = 64, 8
#: Hands per task: enough that handing tasks out costs nothing, few enough that the processes end together.
_TOGETHER = 16
#: BGR of a joint that is seen and of one that is not.
_SEEN, _HIDDEN = (80, 230, 40), (60, 60, 255)


@dataclass(frozen=True)
class SyntheticHandsBench:
    """Count the synthetic hands per second: drawn, laid over backgrounds and disturbed; and show a sheet of them."""

    processes: tuple[int, ...] = (1, 2)
    """Numbers of processes of one thread each; the pictures are the same for all."""
    hands: int = 128
    """Hands drawn for each figure."""
    size: int = 128
    """Side of the pictures, px."""
    oversample: float = 1.5
    """Hands are drawn this many times larger, then averaged."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where hands are posed and drawn; with cuda in one process only, whatever --processes says."""
    seed: int = 0
    """Seed of everything."""
    png: Path | None = None
    """Write a sheet of 64 finished hands here."""
    labels: bool = False
    """Mark the 21 joints on the sheet: green where seen, an open red ring where hidden."""
    magnify: int = 1
    """The sheet's pictures are shown this many times larger."""
    json: Path | None = None
    """Write the figures here, too."""


def run(config: SyntheticHandsBench) -> dict[str, Any]:
    """Measure, and write the sheet."""
    from posekit.datasets.hand_surface import hand_surface
    from posekit.datasets.synthetic_hands import SyntheticHands

    _check(config)
    hands = SyntheticHands(config.seed, config.size, oversample=config.oversample, device=config.device)
    hand_surface()
    figures: dict[str, Any] = {
        "benchmark": "synthetic-hands",
        "size_px": config.size,
        "oversample": config.oversample,
        "hands": config.hands,
        "device": config.device,
        "processors": os.cpu_count(),
        "one_thread": _single_rates(hands, config.hands),
        "rates": [],
    }
    for processes in config.processes if config.device == "cpu" else ():
        drawn, finished = _rates(hands, config.hands, processes)
        figures["rates"].append({"processes": processes, "drawn_per_second": drawn, "finished_per_second": finished})
    if config.png:
        figures["visible_share"] = _write_sheet(config, hands)
    return figures


def _check(config: SyntheticHandsBench) -> None:
    from posekit.errors import PosekitError

    for name, value, least in (
        ("hands", config.hands, _TOGETHER), ("size", config.size, 16), ("magnify", config.magnify, 1),
        ("processes", min(config.processes, default=0), 1),
    ):  # fmt: skip
        if value < least:
            raise PosekitError(f"--{name}: {value} is too few, {least} or more were expected")
    if not 1 <= config.oversample <= 4:
        raise PosekitError(f"--oversample: {config.oversample:g} is no factor from 1 to 4")
    if config.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise PosekitError("--device: is 'cuda', but torch finds no such device; leave it out for the cpu")
    if config.png and config.png.suffix.lower() != ".png":
        raise PosekitError(f"--png: {config.png} does not end in .png")


def _rates(hands: "SyntheticHands", count: int, processes: int) -> tuple[float, float]:
    """Hands per second, drawn and finished; processes start and build the skin before the clock does."""
    from posekit.datasets.hand_workers import drawn_hands, finished_hands

    tasks = range(processes + max(1, round(count / _TOGETHER)))
    drawn = drawn_hands(hands, [(hands.seed, task) for task in tasks], _TOGETHER, processes)
    return _rate(drawn, processes), _rate(finished_hands(hands, tasks, _TOGETHER, processes), processes)


def _rate(batches: "Iterator[HandPictures] | Iterator[HandBatch]", warming: int) -> float:
    """Hands per second after the first batches."""
    for _ in range(warming):
        next(batches)
    start = time.perf_counter()
    done = sum(len(batch.joints_px) for batch in batches)
    return done / (time.perf_counter() - start)


def _single_rates(hands: "SyntheticHands", count: int) -> dict[str, float]:
    """Hands per second, and per second of processor time, of one process with one thread.

    finishing: stored hands laid over backgrounds and disturbed.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rng = np.random.default_rng(hands.seed)
        stored = hands.draw(rng, _TOGETHER)
        drawing = _timed(lambda: hands.draw(rng, _TOGETHER), count)
        finishing = _timed(lambda: hands.finish(rng, stored), count)
    finally:
        torch.set_num_threads(threads)
    return {
        "drawn_per_second": drawing[0],
        "drawn_per_processor_second": drawing[1],
        "finishing_per_second": finishing[0],
        "finishing_per_processor_second": finishing[1],
    }


def _timed(work: Callable[[], object], count: int) -> tuple[float, float]:
    rounds = max(1, round(count / _TOGETHER))
    work()
    wall, busy = time.perf_counter(), time.process_time()
    for _ in range(rounds):
        work()
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    return rounds * _TOGETHER / wall, rounds * _TOGETHER / busy


def _write_sheet(config: SyntheticHandsBench, hands: "SyntheticHands") -> float:
    """Write the sheet and return the share of its joints that are seen."""
    import cv2

    from posekit.io.files import write_whole

    batch = hands.batch(0, _SHEET)
    pictures = batch.images.permute(0, 2, 3, 1).numpy()[..., ::-1]
    tiles = [
        _tile(np.ascontiguousarray(picture), joints, visible, config)
        for picture, joints, visible in zip(pictures, batch.joints_px.numpy(), batch.visible.numpy(), strict=True)
    ]
    rows = [np.concatenate(tiles[i : i + _ROW], axis=1) for i in range(0, _SHEET, _ROW)]
    _, coded = cv2.imencode(".png", np.concatenate(rows))
    assert config.png is not None
    with write_whole(config.png) as temporary:
        temporary.write_bytes(coded.tobytes())
    return float(batch.visible.float().mean())


def _tile(
    picture: NDArray[np.uint8], joints: NDArray[np.float32], visible: NDArray[np.bool_], config: SyntheticHandsBench
) -> NDArray[np.uint8]:
    """One picture (S,S,3), magnified, with its joints if they are wanted."""
    import cv2

    factor = config.magnify
    if factor > 1:
        picture = np.asarray(
            cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), dtype=np.uint8
        )
    if config.labels:
        radius = max(1, factor * config.size // 96)
        for (x, y), seen in zip((joints + 0.5) * factor - 0.5, visible, strict=True):
            centre = (round(float(x)), round(float(y)))
            if seen:
                cv2.circle(picture, centre, radius, _SEEN, -1, cv2.LINE_AA)
            else:
                cv2.circle(picture, centre, radius + 1, _HIDDEN, 1, cv2.LINE_AA)
    return picture


def print_figures(console: "Console", figures: dict[str, Any]) -> None:
    """Print the rates."""
    from posekit.apps.tables import figures_table

    one = figures["one_thread"]
    table = figures_table(
        f"synthetic hands of {figures['size_px']} px per second, one thread, {figures['device']}",
        ("what", "by the clock", "of processor time"),
    )
    for name, key in (("drawn", "drawn"), ("laid over backgrounds and disturbed", "finishing")):
        table.add_row(name, f"{one[key + '_per_second']:.1f}", f"{one[key + '_per_processor_second']:.1f}")
    console.print(table)
    if figures["rates"]:
        table = figures_table("per second, by the clock", ("processes", "drawn", "drawn and finished"))
        for rate in figures["rates"]:
            drawn, finished = rate["drawn_per_second"], rate["finished_per_second"]
            table.add_row(str(rate["processes"]), f"{drawn:.1f}", f"{finished:.1f}")
        console.print(table)
    if "visible_share" in figures:
        console.print(f"joints seen on the sheet: {100 * figures['visible_share']:.0f} %")
