"""``posekit bench distillation``: the same small student with and without a teacher, on the same data and in the same time."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from posekit.training.composites import CompositedCrops
    from posekit.training.samples import SampleSource

#: Where few hands have labels, this share of what the student of a teacher sees is of those.
_LABELLED_SHARE = 0.5


@dataclass(frozen=True)
class DistillationBench:
    """Train a small hand network alone, then beside a teacher, each for the same time on the same drawn hands."""

    teacher: Annotated[Path, tyro.conf.Positional]
    """Weights of the heavier detector (.safetensors)."""
    minutes: float = 10.0
    """Processor time of each training, by thread; the teacher's answers are part of it."""
    student: str = "tiny_hand_cpm"
    """Which network learns: one of posekit.models.hand_networks."""
    teacher_weight: float = 1.0
    """Weight of the teacher's maps beside the labels' 1."""
    temperature: float = 2.0
    """By which the logits of teacher and student are divided."""
    feature_weight: float = 0.1
    """Weight of the teacher's features; it falls to 0 at the end."""
    teacher_size: int | None = None
    """Side in px of the crops that the teacher is shown, a multiple of 32; its own if not given, smaller ones cost less."""
    cache: Path | None = None
    """Folder to keep the drawn hands in for the next run, 147 kB each. A temporary one if not given."""
    hands: int = 6_000
    """Different hands to draw for the training."""
    labelled: int | None = None
    """So many of these hands have labels, all if not given: without a teacher the others are of no use."""
    backgrounds: int = 800
    """Different backgrounds to draw."""
    held_out: int = 512
    """Hands to fit the confidence on, and as many again to measure on; the training sees none of them."""
    batch_size: int = 24
    """Crops in a batch."""
    learning_rate: float = 1e-2
    """Highest learning rate of the one-cycle schedule."""
    threads: int = 2
    """Processor threads, and processes that draw the hands."""
    seed: int = 0
    """Of the hands, the first weights and the training."""
    json: Path | None = None
    """Write the figures here, too."""


def run(config: DistillationBench) -> dict[str, Any]:
    """Train both and measure them, and the teacher, on the same held-out hands."""
    import torch

    from posekit.apps import timed_training
    from posekit.apps.checks import require_networks, require_positive
    from posekit.apps.progress import progress_bars
    from posekit.apps.train_data import CROP
    from posekit.detection.detector_file import load_detector
    from posekit.errors import PosekitError
    from posekit.training.distillation import DistillationSettings
    from posekit.training.hand_training import measure_detector, pose_machine_of

    require_positive("--minutes", config.minutes)
    timed_training.check(config)
    require_networks("--student", [config.student])
    listening = DistillationSettings(
        config.teacher_weight, config.temperature, config.feature_weight, config.teacher_size
    )
    teacher = load_detector(config.teacher)
    if teacher.crop_size != CROP:
        raise PosekitError(f"{config.teacher}: crop_size: found {teacher.crop_size}, expected {CROP}")
    pose_machine_of(teacher, str(config.teacher))
    if config.labelled is not None and not 0 < config.labelled < config.hands:
        raise PosekitError(f"--labelled: found {config.labelled}, expected 1 to {config.hands - 1}, fewer than --hands")
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        with progress_bars() as show, timed_training.training_hands(config, show) as hands:
            rows = []
            with_labels, everything = sources(hands.source, config.labelled)
            for name, one, source in (("alone", None, with_labels), ("with teacher", teacher, everything)):
                figures = timed_training.train_for(
                    config.minutes,
                    config.student,
                    hands,
                    config,
                    show,
                    source=source,
                    teacher=one,
                    distillation=listening,
                )
                rows.append({"name": f"{config.student}, {name}", **figures})
            measured = timed_training.figures_of(measure_detector(teacher, hands.measure_on))
            rows.append({"name": f"teacher, {teacher.architecture}", **measured})
    finally:
        torch.set_num_threads(before)
    return {"benchmark": "distillation", "settings": asdict(config), "crop_px": CROP, "rows": rows}


def sources(hands: "CompositedCrops", labelled: int | None) -> "tuple[SampleSource, SampleSource]":
    """Return what a student learns from alone, and with a teacher: the labelled hands, and these mixed with the others."""
    from dataclasses import replace

    from posekit.training.composites import CompositedCrops
    from posekit.training.samples import MixedSource

    if labelled is None:
        return hands, hands

    def part(rows: slice, weight: float) -> CompositedCrops:
        weights = hands.weight[rows] * weight
        return replace(
            hands, rgba=hands.rgba[rows], joints=hands.joints[rows], weight=weights, visible=hands.visible[rows]
        )

    known, others = part(slice(labelled), 1.0), part(slice(labelled, None), 0.0)
    return known, MixedSource([known, others], [_LABELLED_SHARE, 1.0 - _LABELLED_SHARE])


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print the two students beside the teacher and a hand that looks at no picture."""
    from posekit.apps.tables import figures_table

    rows, settings = figures["rows"], figures["settings"]
    labels = "all" if settings["labelled"] is None else settings["labelled"]
    table = figures_table(
        f"{settings['minutes']:g} minutes each, {settings['threads']} threads, {settings['hands']} hands, labels of {labels}; "
        f"{rows[0]['joints']} visible joints of drawn hands never seen",
        ("network", "crops seen", "PCK@0.2B", "PCK@0.1B", "error, B", "AUC"),
    )
    for row in rows:
        table.add_row(
            row["name"],
            str(row.get("crops_seen", "-")),
            f"{row['pck02']:.3f}",
            f"{row['pck01']:.3f}",
            f"{row['epe']:.3f}",
            f"{row['auc']:.3f}",
        )
    table.add_row("a constant mean hand", "-", f"{rows[0]['mean_hand_pck02']:.3f}", f"{rows[0]['mean_hand_pck01']:.3f}")
    console.print(table)
