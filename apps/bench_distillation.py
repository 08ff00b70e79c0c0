"""``posekit bench distillation``: the same small student with and without a teacher, on the same data and in the same time."""

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from posekit.detection.hand_detector import HandDetector
    from posekit.training.loop import TrainProgress
    from posekit.training.samples import LabelledCrops, SampleSource


@dataclass(frozen=True)
class DistillationBench:
    """Train a small hand network alone, then beside a teacher, each for the same time on the same drawn hands."""

    teacher: Annotated[Path, tyro.conf.Positional]
    """Weights of the heavier detector (.safetensors)."""
    minutes: float = 10.0
    """Time of each training; the teacher's answers are part of it."""
    student: str = "tiny_hand_cpm"
    """Which network learns: one of posekit.models.hand_networks."""
    teacher_weight: float = 1.0
    """Weight of the teacher's maps beside the labels' 1."""
    temperature: float = 2.0
    """By which the logits of teacher and student are divided."""
    feature_weight: float = 0.1
    """Weight of the teacher's features; it falls to 0 at the end."""
    cache: Path | None = None
    """Folder to keep the drawn hands in for the next run, 147 kB each. A temporary one if not given."""
    hands: int = 6_000
    """Different hands to draw for the training."""
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
    import tempfile

    import torch

    from posekit.apps.checks import require_counts, require_positive
    from posekit.apps.progress import progress_bars
    from posekit.apps.train_data import CROP, drawn_hands, held_out_hands
    from posekit.detection.detector_file import load_detector
    from posekit.errors import PosekitError
    from posekit.training.hand_training import measure_detector, new_network, pose_machine_of

    require_positive("--minutes", config.minutes)
    require_positive("--learning-rate", config.learning_rate)
    require_counts(
        hands=config.hands,
        backgrounds=config.backgrounds,
        held_out=config.held_out,
        batch_size=config.batch_size,
        threads=config.threads,
    )
    teacher = load_detector(config.teacher)
    if teacher.crop_size != CROP:
        raise PosekitError(f"{config.teacher}: crop_size: found {teacher.crop_size}, expected {CROP}")
    pose_machine_of(teacher, str(config.teacher))
    new_network(config.student)
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        with contextlib.ExitStack() as stack:
            folder = config.cache or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="posekit-hands-")))
            show = stack.enter_context(progress_bars())
            source = drawn_hands(folder, config.hands, config.backgrounds, config.seed, show, config.threads)
            fit_on, measure_on = (
                held_out_hands(config.seed, config.held_out, part, show, folder, config.threads) for part in (0, 1)
            )
            students = {
                name: _train(config, name, one, source, fit_on, measure_on, show)
                for name, one in (("alone", None), ("with teacher", teacher))
            }
            rows = [{"name": f"{config.student}, {name}", **figures} for name, figures in students.items()]
            rows.append({"name": f"teacher, {teacher.architecture}", **_scores(measure_detector(teacher, measure_on))})
    finally:
        torch.set_num_threads(before)
    return {"benchmark": "distillation", "settings": asdict(config), "crop_px": CROP, "rows": rows}


def _train(
    config: DistillationBench,
    name: str,
    teacher: "HandDetector | None",
    source: "SampleSource",
    fit_on: "LabelledCrops",
    measure_on: "LabelledCrops",
    show: Any,
) -> dict[str, Any]:
    """Train one student from the same random weights until its time is over."""
    from posekit.apps.train_data import CROP
    from posekit.training.distillation import DistillationSettings
    from posekit.training.hand_training import HandTrainSettings, measure_detector, train_hand_detector
    from posekit.training.settings import TrainSettings

    seconds = 60 * config.minutes

    def report(progress: "TrainProgress") -> None:
        show(f"train {name}, loss {progress.loss:.4f}", round(seconds * progress.fraction), round(seconds))

    settings = HandTrainSettings(
        TrainSettings(
            steps=10**9,  # the clock ends it
            seconds=seconds,
            learning_rate=config.learning_rate,
            report_every=5,
        ),
        network=config.student,
        batch_size=config.batch_size,
        crop_size=CROP,
        seed=config.seed,
        distillation=DistillationSettings(config.teacher_weight, config.temperature, config.feature_weight),
    )
    detector, history = train_hand_detector(source, fit_on, settings, on_progress=report, teacher=teacher)
    return {"crops_seen": int(history[-1]["samples"]), **_scores(measure_detector(detector, measure_on))}


def _scores(scores: Any) -> dict[str, Any]:
    names = ("pck02", "pck01", "epe", "auc", "mean_hand_pck02", "mean_hand_pck01", "joints")
    return {name: getattr(scores, name) for name in names}


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print the two students beside the teacher and a hand that looks at no picture."""
    from posekit.apps.tables import figures_table

    rows, settings = figures["rows"], figures["settings"]
    table = figures_table(
        f"{settings['minutes']:g} minutes each, {settings['threads']} threads; {rows[0]['joints']} visible joints of drawn "
        "hands never seen",
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
