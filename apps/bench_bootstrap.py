"""``posekit bench bootstrap``: the rounds on a synthetic capture with known truth, beside training on true labels."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from posekit.apps.demo_pictures import Show
    from posekit.apps.filmed_hand import FilmedHand
    from posekit.bootstrap.settings import BootstrapInput, BootstrapSettings


#: What no label is made of: the figure's name, and what it is of.
HELD_OUT = {
    "pck_heldout_frames": "held-out frames",
    "pck_heldout_cameras": "held-out cameras",
    "pck_heldout": "both held out",
}


#: Two trainings that differ in nothing but chance differ by as much.
_CHANCE = 0.01


@dataclass(frozen=True)
class BootstrapBench:
    """Bootstrap on a filmed synthetic hand with 8, 4 and 3 cameras; measure labels and detectors against the truth."""

    cameras: tuple[int, ...] = (8, 4, 3)
    """Numbers of cameras of the rounds; the first is filmed, the others are some of its cameras. Two more film for judging."""
    frames: int = 60
    """Frames filmed, at 30 per second."""
    rounds: int = 2
    """Rounds of bootstrapping."""
    steps: int = 120
    """Training steps of a round, and of as many trainings on true labels."""
    synthetic_hands: int = 400
    """Drawn hands that every training is mixed with."""
    bare: bool = False
    """Film a bare hand instead of a gloved one. Either holds something."""
    detector: Path | None = None
    """Weights to start from (*.safetensors); posekit's own if not given."""
    seed: int = 0
    """Seed of everything drawn by chance."""
    out: Path | None = None
    """Keep the captures and the runs in this new folder."""
    json: Path | None = None
    """Write the figures here, too."""


def run(config: BootstrapBench) -> dict[str, Any]:
    """Film, run and measure."""
    from posekit.apps.filmed_hand import few_cameras, film_hand, prepared
    from posekit.apps.progress import progress_bars
    from posekit.bootstrap.settings import BootstrapSettings
    from posekit.datasets.synthetic_capture import BLACK_GLOVE, CaptureSettings
    from posekit.detection.detector_file import load_detector

    _check(config)
    detector = load_detector(config.detector) if config.detector else load_detector()
    settings = BootstrapSettings(
        rounds=config.rounds, patience=config.rounds, steps=config.steps, seed=config.seed,
        initial_samples=config.synthetic_hands,
    )  # fmt: skip
    glove = None if config.bare else BLACK_GLOVE
    rows: dict[str, Any] = {}
    with _folder(config.out) as folder, progress_bars() as show:
        show("filming a synthetic hand", 0, 1)
        film = CaptureSettings(
            seed=config.seed, cameras=config.cameras[0], frames=config.frames, glove=glove, holding=True
        )
        filmed = film_hand(folder / "film", film)
        show("filming a synthetic hand", 1, 1)
        for count in config.cameras:
            place = folder / f"cameras_{count}"
            place.mkdir()
            fewer = few_cameras(filmed, place, count)
            rows[str(count)] = bootstrap_against_truth(prepared(fewer, detector), fewer, place / "run", settings, show)
    return {"benchmark": "bootstrap", "frames": config.frames, "steps": config.steps, "cameras": rows}


def bootstrap_against_truth(
    start: "BootstrapInput", filmed: "FilmedHand", run: Path, settings: "BootstrapSettings", show: "Show"
) -> dict[str, Any]:
    """Run the rounds in a new folder, train as often on true labels, and return the figures of both.

    gain_share: how much of what true labels gain the last kept round gains, of each of HELD_OUT; None where they gain less than
    chance.
    """
    from posekit.apps.filmed_hand import (
        label_error,
        learn_true_labels,
        measure_detector,
        measure_inside,
        measure_rounds,
    )
    from posekit.bootstrap.rounds import bootstrap

    run.mkdir()
    history = bootstrap(start, run, settings, show)
    rounds = measure_rounds(run, filmed, settings, start.detector, len(history))
    for number, (row, evidence) in enumerate(zip(rounds, history, strict=True)):
        row["kept"], row["seconds"] = evidence["kept"], evidence["seconds"]
        row["label_error_px"] = label_error(run / f"round_{number}" / "crops.h5", filmed) if number else None
    taught = learn_true_labels(start, run, filmed, settings, show)
    bound = measure_detector(run, filmed, settings, taught) | measure_inside(start, filmed, settings, taught)
    last = [row for row in rounds if row["kept"]][-1]
    shares = {}
    for key in HELD_OUT:
        gain, possible = last[key] - rounds[0][key], bound[key] - rounds[0][key]
        shares[key] = gain / possible if possible >= _CHANCE else None
    return {"rounds": rounds, "true_labels": bound, "gain_share": shares}


def _check(config: BootstrapBench) -> None:
    from posekit.errors import PosekitError

    for name, least in (("frames", 5), ("rounds", 1), ("steps", 1), ("synthetic_hands", 16), ("seed", 0)):
        if getattr(config, name) < least:
            option = name.replace("_", "-")
            raise PosekitError(f"bench bootstrap: --{option} {getattr(config, name)}: {least} or more was expected")
    if not config.cameras or min(config.cameras) < 3 or max(config.cameras) > config.cameras[0]:
        raise PosekitError(
            f"bench bootstrap: --cameras {' '.join(map(str, config.cameras))}: 3 or more each was expected, the most first"
        )


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    from posekit.errors import PosekitError
    from posekit.io.files import require_folder

    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    if out.exists():
        raise PosekitError(f"{out}: exists already; name a folder that does not")
    require_folder(out.parent, "the folder to write into")
    out.mkdir()
    try:
        yield out
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def print_figures(console: "Console", figures: dict[str, Any]) -> None:
    """Print a row per round and one for true labels, for every number of cameras."""
    from posekit.apps.tables import figures_table, number

    table = figures_table(
        f"a hand that holds something, {figures['frames']} frames: PCK@0.2B of visible joints against the truth",
        ("cameras", "", "all", *HELD_OUT.values(), "3D mm", "label px"),
    )
    for cameras, row in figures["cameras"].items():
        for n, found in enumerate(row["rounds"]):
            labels = found["label_error_px"]
            name = "before" if n == 0 else f"round {n}" + ("" if found["kept"] else ", not kept")
            table.add_row(
                cameras if n == 0 else "", name, number(found["pck"], 3), *(number(found[key], 3) for key in HELD_OUT),
                number(found["median_3d_mm"], 1), number(labels["median"], 1) if labels else "",
            )  # fmt: skip
        bound = row["true_labels"]
        table.add_row("", "true labels", "", *(number(bound[key], 3) for key in HELD_OUT), "", "")
    console.print(table)
    for cameras, row in figures["cameras"].items():
        console.print(f"{cameras} cameras: {told_gain(row['gain_share'])}")


def told_gain(shares: dict[str, float | None]) -> str:
    """Say in words how much of what true labels gain was gained."""
    told = [
        f"{name} {'(they gain nothing)' if shares[key] is None else f'{shares[key]:.2f}'}"
        for key, name in HELD_OUT.items()
    ]
    return f"share of what true labels gain: {', '.join(told)}"
