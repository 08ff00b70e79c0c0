"""``posekit bench bootstrap-kills``: a run of bootstrap that is killed again and again ends as one that is not."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class BootstrapKillsBench:
    """Kill a bootstrap run (kill -9) at random moments, go on each time, and compare the end with a run left alone."""

    kills: int = 10
    """How often to kill it."""
    cameras: int = 3
    """Of the synthetic capture."""
    frames: int = 24
    """Of the synthetic capture."""
    steps: int = 60
    """Training steps of a round; every 20th is kept."""
    rounds: int = 2
    """Rounds at most."""
    seed: int = 0
    """Seed of the moments, the capture and the run."""
    json: Path | None = None
    """Write the figures here, too."""


def run(config: BootstrapKillsBench) -> dict[str, Any]:
    """Film, run once, run again with kills, compare."""
    from posekit.apps.checks import require_counts, require_seed

    require_counts(kills=config.kills, cameras=config.cameras, frames=config.frames, steps=config.steps)
    require_counts(rounds=config.rounds)
    require_seed(config.seed)
    with tempfile.TemporaryDirectory(prefix="posekit-kills-") as temporary:
        folder = Path(temporary)
        capture = _filmed(config, folder)
        undisturbed, killed = folder / "undisturbed", folder / "killed"
        began = time.monotonic()
        _finished(_started(config, capture, undisturbed))
        seconds = time.monotonic() - began
        moments = _kill_again_and_again(config, capture, killed, seconds)
        return {
            "kills": len(moments),
            "moments": moments,
            "seconds_undisturbed": seconds,
            "differences": run_differences(undisturbed, killed),
        }


def _filmed(config: BootstrapKillsBench, folder: Path) -> Path:
    from posekit.datasets.synthetic_capture import CaptureSettings, render_capture

    settings = CaptureSettings(
        seed=config.seed, cameras=config.cameras, frames=config.frames, size=(320, 240), hand_px=60, oversample=1
    )
    render_capture(folder / "capture", settings, folder / "truth.h5")
    return folder / "capture"


def _started(config: BootstrapKillsBench, capture: Path, out: Path) -> "subprocess.Popen[str]":
    command = [
        sys.executable, "-m", "posekit.apps.main", "bootstrap", str(capture), "--skeleton", "BODY_25B", "--out", str(out),
        "--rounds", str(config.rounds), "--steps", str(config.steps), "--synthetic-hands", "48", "--seed", str(config.seed),
        "--no-report",
    ]  # fmt: skip
    # One thread: more of them add up in another order, and two runs would differ in their last bits without any kill.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(  # noqa: S603  # this very program
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )


def _finished(process: "subprocess.Popen[str]") -> None:
    """Wait for a run to end well."""
    from posekit.errors import PosekitError

    _, told = process.communicate()
    if process.returncode != 0:
        lines = told.strip().splitlines()
        raise PosekitError(
            f"bootstrap-kills: a run ended with {process.returncode}: {lines[-1] if lines else 'nothing said'}"
        )


def _kill_again_and_again(
    config: BootstrapKillsBench, capture: Path, out: Path, seconds: float
) -> list[dict[str, Any]]:
    """Begin the run, kill it after a random part of the time that it takes, and so on; at last let it end."""
    rng = np.random.default_rng(config.seed)
    moments: list[dict[str, Any]] = []
    while len(moments) < config.kills:
        process = _started(config, capture, out)
        wait = float(rng.uniform(0, seconds))
        try:
            process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            moments.append({"after_s": wait, "newest": _newest(out)})
            continue
        if process.returncode != 0:
            break
        # It ended before its time: what it had left to do was short. Its rounds are begun anew from the labels on.
        _undo_last_round(out)
    _finished(_started(config, capture, out))
    return moments


def _newest(out: Path) -> str:
    """Return the file of a run that was written last."""
    files = [path for path in out.rglob("*") if path.is_file()]
    return str(max(files, key=lambda path: path.stat().st_mtime_ns).relative_to(out)) if files else "nothing yet"


def _undo_last_round(out: Path) -> None:
    """Remove what the last round made, as if the run had been killed at its beginning."""
    for path in sorted(out.glob("round_*"))[-1].iterdir():
        path.unlink()


def run_differences(one: Path, other: Path) -> list[str]:
    """Say in what the results of two run folders differ: arrays bit for bit, JSON but for the seconds that steps took.

    Settings, records of runs, pages and the lock are not results.
    """
    names = sorted({str(path.relative_to(run)) for run in (one, other) for path in run.rglob("*") if path.is_file()})
    found = []
    for name in names:
        first, second = one / name, other / name
        if Path(name).suffix not in (".h5", ".safetensors", ".json") or Path(name).name in _NO_RESULTS:
            continue
        if not (first.is_file() and second.is_file()):
            found.append(f"{name}: only in {one if first.is_file() else other}")
        elif (content := _content(first)) != (others := _content(second)):
            parts = [key for key in content.keys() | others.keys() if content.get(key) != others.get(key)]
            found.append(f"{name}: differs in {', '.join(sorted(parts))}")
    return found


_NO_RESULTS = ("settings.json", "run.json", "seconds.json")


def _content(path: Path) -> dict[str, Any]:
    """Return a file's content in parts that can be compared: arrays as their type, shape and bytes."""
    import h5py
    from safetensors.numpy import load_file

    if path.suffix == ".json":
        return {key: value for key, value in json.loads(path.read_text(encoding="utf-8")).items() if key != "seconds"}
    if path.suffix == ".safetensors":
        return {name: (str(value.dtype), value.shape, value.tobytes()) for name, value in load_file(path).items()}
    parts: dict[str, Any] = {}
    with h5py.File(path, "r") as file:
        for name, value in file.attrs.items():
            parts[f"attribute {name}"] = str(value)

        def note(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                values = item[()]
                plain = [np.asarray(one).tobytes() for one in values] if values.dtype == object else values.tobytes()
                parts[name] = (str(values.dtype), values.shape, plain)

        file.visititems(note)
    return parts


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print when it was killed, and whether that changed anything."""
    for moment in figures["moments"]:
        console.print(f"killed after {moment['after_s']:5.1f} s; written last: {moment['newest']}")
    console.print(f"a run left alone takes {figures['seconds_undisturbed']:.0f} s")
    if figures["differences"]:
        for line in figures["differences"]:
            console.print(line)
    else:
        console.print(
            f"after {figures['kills']} kills: the same labels, weights, detections, 3D and figures, bit for bit"
        )
