"""``posekit demo``: the whole line on synthetic people and a synthetic hand, whose truth is known and kept from it."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from posekit.apps.demo_hands import HANDS_FILES, bootstrap_hand, print_hand
from posekit.apps.demo_people import PEOPLE_FILES, print_people, reconstruct_synthetic_people

#: What tells a folder of an earlier demo from any other folder, and everything that one may hold.
_MARK = "demo.json"
_MADE = {_MARK, "run.json", *PEOPLE_FILES, *HANDS_FILES}


@dataclass(frozen=True)
class DemoConfig:
    """Reconstruct synthetic people, bootstrap the detector on a synthetic gloved hand, and measure both against the truth."""

    out: Path = Path("demo-out")
    """Folder for everything the demo makes; that of an earlier demo is replaced when this one is finished."""
    only: Literal["people", "hands"] | None = None
    """Do one half: people (seconds) or hands (minutes)."""
    people: int = 2
    """People who walk about."""
    people_cameras: int = 8
    """Cameras around the people."""
    people_frames: int = 150
    """Frames of the people, at 30 per second."""
    cameras: int = 8
    """Cameras around the hand; two more film for judging alone."""
    frames: int = 60
    """Frames filmed of the hand, at 30 per second."""
    rounds: int = 2
    """Rounds of bootstrapping."""
    steps: int = 120
    """Training steps of a round."""
    seed: int = 0
    """Seed of everything drawn by chance."""
    json: Path | None = None
    """Write the figures here, too."""


_LEAST = {
    "people": 1, "people_cameras": 2, "people_frames": 2, "cameras": 3, "frames": 5, "rounds": 1, "steps": 1, "seed": 0,
}  # fmt: skip


def main(config: DemoConfig) -> None:
    """Run the command."""
    import time

    from posekit.apps.progress import progress_bars
    from posekit.apps.provenance import write_record
    from posekit.apps.tables import figures_console
    from posekit.io.files import write_json

    _check(config)
    console = figures_console()
    began = time.monotonic()
    figures: dict[str, Any] = {}
    missing: list[str] = []
    with _replacing(config.out) as folder:
        with progress_bars() as show:
            if config.only != "hands":
                figures["people"], left_out = reconstruct_synthetic_people(config, folder, show)
                missing += left_out
            if config.only != "people":
                hand, left_out = bootstrap_hand(config, folder, show)
                figures |= hand
                missing += left_out
        figures["seconds"] = time.monotonic() - began
        write_json(folder / _MARK, figures)
        write_record(folder, "demo", config, [], figures=figures)
    if config.json:
        write_json(config.json, figures)
    if config.only != "hands":
        print_people(console, figures["people"])
    if config.only != "people":
        print_hand(console, figures)
    console.print(f"{figures['seconds']:.0f} s; pictures, results and truth: {config.out}")
    for line in missing:
        console.print(line, style="yellow", soft_wrap=True)


def _check(config: DemoConfig) -> None:
    """Say before the work what would go wrong after it."""
    from posekit.errors import PosekitError
    from posekit.io.files import require_folder

    for name, least in _LEAST.items():
        if getattr(config, name) < least:
            option = name.replace("_", "-")
            raise PosekitError(f"demo: --{option} {getattr(config, name)}: {least} or more was expected")
    if config.json:
        if config.json.resolve().is_relative_to(config.out.resolve()):
            raise PosekitError(
                f"{config.json}: lies in the demo's own folder, which holds the figures in {_MARK} anyway"
            )
        require_folder(config.json.parent, "the folder to write into")
        if config.json.is_dir():
            raise PosekitError(f"{config.json}: cannot be written: it is a folder, a file was expected")
    require_folder(config.out.resolve().parent, "the folder to write into")
    if config.out.exists():
        require_folder(config.out, "an earlier demo")
        held = {path.name for path in config.out.iterdir()}
        if held and (_MARK not in held or held - _MADE):
            raise PosekitError(f"{config.out}: holds other things than an earlier demo; name another folder with --out")


@contextlib.contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` that takes its place when all is done; until then an earlier demo stays as it is."""
    out = out.resolve()
    building, earlier = (out.with_name(f".{out.name}.{state}") for state in ("building", "earlier"))
    # What a killed demo left: half of a new one, or the earlier one of which the new one was about to take the place.
    shutil.rmtree(building, ignore_errors=True)
    if earlier.exists() and not out.exists():
        earlier.rename(out)
    shutil.rmtree(earlier, ignore_errors=True)
    building.mkdir()
    try:
        yield building
        if out.exists():
            out.rename(earlier)
        building.rename(out)
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(building, ignore_errors=True)
