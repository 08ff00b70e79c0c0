"""``posekit train-lifter``: train a lifter on motion capture alone, without one pair of a 2D and a 3D pose."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from collections.abc import Callable

    from posekit.lifting.lifter import Lifter
    from posekit.lifting.settings import RepNetSettings
    from posekit.lifting.training import LifterTraining


@dataclass(frozen=True)
class TrainLifterConfig:
    """Train a lifter, from 2D to 3D, on motion capture alone: no 2D pose is ever shown beside its own 3D."""

    out: Annotated[Path, tyro.conf.Positional]
    """The weights to write, .safetensors; beside them a model card, the losses (.losses.jsonl, .losses.png) and the record."""
    data: tuple[str, ...]
    """Motion capture, each KIND:PATH, such as cmu:cmu_joints_30hz.npz; kinds: cmu, amc, bvh, h36m, 3dhp, humaneva, amass."""
    variant: Literal["today", "published"] = "today"
    """Today's RepNet, or the paper's: 1000 wide, canonical frame and camera network."""
    frames: int = 1
    """Frames that today's lifter is shown at once, an odd number; it lifts the middle one."""
    learned_elevation: bool = False
    """Learn how high cameras look from, and turn lifted poses by that (ElePose); today's only."""
    skeleton: Literal["LIFTER_15", "REPNET_16"] = "LIFTER_15"
    """What to lift: what most detectors share, or the paper's 16 joints."""
    hold_out: tuple[str, ...] = ()
    """Subjects whose clips are not trained on, but measured on at the end."""
    minutes: float | None = 55.0
    """End after so long; rates fall by the clock. Give --steps instead for a run that can be repeated bit for bit."""
    steps: int = 1_000_000
    """End after so many steps, if that comes first."""
    poses: int = 100_000
    """Different poses, and as many different views of others, that the training draws from."""
    batch_size: int | None = None
    """Views, and poses, in a step; as the variant has it if not given."""
    seed: int = 0
    """Of the first weights, the poses and the views."""
    start: Path | None = None
    """Weights of the same variant to go on from."""
    threads: int | None = None
    """Processor threads; all if not given."""
    checkpoint: Path | None = None
    """File to resume an interrupted training from, and to keep it in."""
    report_every: int = 200
    """Steps between two lines of losses."""
    save_every: float = 5.0
    """Minutes after which the weights so far are written to `out`."""


def main(config: TrainLifterConfig) -> None:
    """Run the command."""
    import torch

    from posekit.apps.lifter_card import write_card
    from posekit.apps.lifter_data import lifter_sources, measure_held_out
    from posekit.apps.progress import progress_bars
    from posekit.apps.provenance import write_record
    from posekit.apps.tables import figures_console
    from posekit.lifting.training import LifterTraining, train_lifter

    _check(config)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    settings = settings_of(config)
    with progress_bars() as show:
        show("draw poses and views", 0, 1)
        sources = lifter_sources(config.data, config.skeleton, config.hold_out, config.poses, config.seed)
        show("draw poses and views", 1, 1)
        training = LifterTraining(
            sources.skeleton, settings, _run_of(config), sources.poses, sources.windows(settings.frames)
        )
        if config.start is not None:
            _start_from(config.start, training)
        train_lifter(training, _reporter(config, training, sources.mean_bone, show))
    lifter = _lifter(training, sources.mean_bone)
    figures: dict[str, Any] = {"steps": training.step, "seconds": round(training.seconds), "finished": True}
    if config.hold_out:
        figures |= measure_held_out(lifter, sources.held_out)
    _save(config, lifter, training, figures)
    write_card(config, lifter, training, figures)
    write_record(config.out, "train-lifter", config, _files(config), figures=figures)
    told = "".join(f", {name} {value:.1f}" for name, value in figures.items() if name.endswith("_mm"))
    figures_console().print(f"{config.out}: {training.step} steps{told}")


def _check(config: TrainLifterConfig) -> None:
    from posekit.apps.checks import require_counts, require_places, require_positive, require_seed
    from posekit.errors import PosekitError

    require_places((config.out, config.checkpoint), (*_files(config), config.start))
    require_counts(steps=config.steps, poses=config.poses, report_every=config.report_every)
    require_positive("--minutes", config.minutes)
    require_positive("--save-every", config.save_every)
    require_seed(config.seed)
    if config.batch_size is not None:
        require_counts(batch_size=config.batch_size)
    if config.out.suffix != ".safetensors":
        raise PosekitError(f"{config.out}: found the ending '{config.out.suffix}', expected .safetensors")


def _files(config: TrainLifterConfig) -> list[Path]:
    """The files and folders of ``KIND:PATH``; what says no path is refused where it is read."""
    return [Path(spec.partition(":")[2]) for spec in config.data if spec.partition(":")[2]]


def settings_of(config: TrainLifterConfig) -> "RepNetSettings":
    """Return the settings of the network and its losses."""
    from dataclasses import replace

    from posekit.lifting.settings import PUBLISHED, RepNetSettings

    settings = PUBLISHED if config.variant == "published" else RepNetSettings()
    if config.batch_size is not None:
        settings = replace(settings, batch_size=config.batch_size)
    return replace(settings, frames=config.frames, learned_elevation=config.learned_elevation)


def _run_of(config: TrainLifterConfig) -> Any:
    from posekit.lifting.training import LifterRun

    return LifterRun(
        steps=config.steps,
        seconds=None if config.minutes is None else 60 * config.minutes,
        seed=config.seed,
        report_every=config.report_every,
        checkpoint=config.checkpoint,
    )


def _start_from(path: Path, training: "LifterTraining") -> None:
    from posekit.errors import PosekitError
    from posekit.lifting.lifter import load_lifter

    start = load_lifter(path)
    if start.skeleton != training.skeleton:
        raise PosekitError(f"{path}: skeleton: found {start.skeleton.name}, expected {training.skeleton.name}")
    try:
        training.begin_with(start.generator)
    except RuntimeError as error:
        raise PosekitError(f"{path}: is of another variant than is to be trained: its layers do not fit") from error


def _lifter(training: "LifterTraining", mean_bone: float) -> "Lifter":
    from posekit.lifting.lifter import Lifter

    return Lifter(training.skeleton, training.settings, training.average.eval(), mean_bone)


def _reporter(
    config: TrainLifterConfig, training: "LifterTraining", mean_bone: float, show: "Callable[[str, int, int], None]"
) -> "Callable[[LifterTraining], None]":
    """Return what shows the progress, writes the losses, and keeps the weights so far now and then."""
    from posekit.apps.loss_plots import write_losses

    saved_at = 0.0

    def report(now: "LifterTraining") -> None:
        nonlocal saved_at
        last = now.history[-1]
        told = ", ".join(
            f"{name} {last[name]:.3f}" for name in ("critic", "reprojection", "consistency") if name in last
        )
        show(f"train, {told}", round(1000 * now.fraction), 1000)
        write_losses(config.out, now.history)
        if now.seconds - saved_at > 60 * config.save_every and now.fraction < 1:
            saved_at = now.seconds
            figures = {"steps": now.step, "seconds": round(now.seconds), "finished": False}
            _save(config, _lifter(now, mean_bone), now, figures)

    return report


def _save(config: TrainLifterConfig, lifter: "Lifter", training: "LifterTraining", figures: dict[str, Any]) -> None:
    from posekit.lifting.lifter import save_lifter

    made = {
        "data": [path.name for path in _files(config)],
        "hold_out": list(config.hold_out),
        "variant": config.variant,
        "seed": config.seed,
        "batch_size": training.settings.batch_size,
        "start": config.start.name if config.start else "",
        **figures,
    }
    save_lifter(config.out, lifter, made)
