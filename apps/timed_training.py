"""Networks that are trained for the same time on the same drawn hands: what benchmarks of training have in common."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from posekit.apps.train_data import CROP, Show, drawn_hands, held_out_hands

if TYPE_CHECKING:
    from posekit.detection.hand_detector import HandDetector
    from posekit.training.composites import CompositedCrops
    from posekit.training.distillation import DistillationSettings
    from posekit.training.hand_training import HandScores
    from posekit.training.samples import LabelledCrops, SampleSource


class TimedTraining(Protocol):
    """The options that such a benchmark has."""

    @property
    def cache(self) -> Path | None:
        """Folder that keeps the drawn hands."""

    @property
    def hands(self) -> int:
        """Hands to train on."""

    @property
    def backgrounds(self) -> int:
        """Backgrounds to train on."""

    @property
    def held_out(self) -> int:
        """Hands to fit on, and to measure on."""

    @property
    def batch_size(self) -> int:
        """Crops in a batch."""

    @property
    def learning_rate(self) -> float:
        """The schedule's peak."""

    @property
    def threads(self) -> int:
        """Of the processor."""

    @property
    def seed(self) -> int:
        """Of hands, first weights and training."""


def check(config: TimedTraining) -> None:
    """Refuse options that cannot be."""
    from posekit.apps.checks import require_counts, require_positive, require_seed

    require_positive("--learning-rate", config.learning_rate)
    require_counts(
        hands=config.hands,
        backgrounds=config.backgrounds,
        held_out=config.held_out,
        batch_size=config.batch_size,
        threads=config.threads,
    )
    require_seed(config.seed)


@dataclass(frozen=True)
class TrainingHands:
    """Hands to train on, and others to fit the confidence on and to measure on."""

    source: "CompositedCrops"
    fit_on: "LabelledCrops"
    measure_on: "LabelledCrops"


@contextlib.contextmanager
def training_hands(config: TimedTraining, show: Show) -> Iterator[TrainingHands]:
    """Yield the hands; those of no cache are gone afterwards."""
    import tempfile

    with contextlib.ExitStack() as stack:
        folder = config.cache or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="posekit-hands-")))
        source = drawn_hands(folder, config.hands, config.backgrounds, config.seed, show, config.threads)
        fit_on, measure_on = (
            held_out_hands(config.seed, config.held_out, part, show, folder, config.threads) for part in (0, 1)
        )
        yield TrainingHands(source, fit_on, measure_on)


def train_for(
    minutes: float,
    network: str,
    hands: TrainingHands,
    config: TimedTraining,
    show: Show,
    *,
    device: str = "cpu",
    source: "SampleSource | None" = None,
    teacher: "HandDetector | None" = None,
    distillation: "DistillationSettings | None" = None,
) -> dict[str, Any]:
    """Train a network from the random weights of the seed until its time is over; return what it saw and scores.

    On a processor that time is `processor_clock`'s.

    source: to train on, `hands.source` if not given. teacher, distillation: what it learns from beside the labels, and how.
    """
    from posekit.training.distillation import DistillationSettings
    from posekit.training.hand_training import HandTrainSettings, measure_detector, train_hand_detector
    from posekit.training.loop import TrainProgress
    from posekit.training.settings import TrainSettings

    seconds = 60 * minutes
    what = f"train {network}{'' if teacher is None else ' with teacher'}"

    def report(progress: TrainProgress) -> None:
        show(f"{what}, loss {progress.loss:.4f}", round(seconds * progress.fraction), round(seconds))

    settings = HandTrainSettings(
        TrainSettings(
            steps=10**9,  # the clock ends it
            seconds=seconds,
            clock=processor_clock(config.threads) if device == "cpu" else time.monotonic,
            learning_rate=config.learning_rate,
            report_every=5,
            device=device,
        ),
        network=network,
        batch_size=config.batch_size,
        crop_size=CROP,
        seed=config.seed,
        distillation=distillation or DistillationSettings(),
    )
    detector, history = train_hand_detector(
        source or hands.source, hands.fit_on, settings, on_progress=report, teacher=teacher
    )
    return {
        "crops_seen": int(history[-1]["samples"]),
        **figures_of(measure_detector(detector, hands.measure_on)),
    }


def processor_clock(threads: int) -> Callable[[], float]:
    """Return a clock in s that counts what this process computes, by thread, and so is fair beside other work."""
    return lambda: time.process_time() / threads


def figures_of(scores: "HandScores") -> dict[str, float]:
    """Return the scores that a table of networks shows."""
    names = ("pck02", "pck01", "epe", "auc", "mean_hand_pck02", "mean_hand_pck01", "joints")
    return {name: getattr(scores, name) for name in names}
