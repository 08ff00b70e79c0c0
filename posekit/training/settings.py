"""How a training goes: steps, learning rate, numbers, device, files."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from posekit.training.precision import Precision


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    steps: batches to see. seconds: end after this long, by `clock` (in s), if that comes first; the learning rate then follows
    the clock, so that it still falls to its end (and two runs no longer agree bit for bit). learning_rate: peak of the
    one-cycle schedule, which rises over the first `warm_up` of the run and falls as a cosine to `final_fraction` of the peak
    (see `build_optimizer` for who gets less). average_decay: of the exponential moving average of the weights, which is what a
    run returns. sigma, foreground: see `gaussian_heatmaps` and `heatmap_loss`; not used for models of distributions.
    report_every: steps. gradient_norm: gradients are clipped to it.

    device: of torch. precision: what convolutions compute with; weights and losses are float32. loaders: threads that draw
    batches ahead, worth their while beside a GPU.

    checkpoint: file to resume from if it exists, written every `checkpoint_every` steps and removed by nobody. identity: what
    this run is, plain numbers and texts by name; a checkpoint of a run of another identity is refused. losses: file of JSON
    lines, one for each report. tensorboard: folder for the same as TensorBoard reads it.
    """

    steps: int
    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    learning_rate: float = 1e-2
    weight_decay: float = 5e-2
    warm_up: float = 0.08
    final_fraction: float = 0.01
    average_decay: float = 0.998
    gradient_norm: float = 5.0
    sigma: float = 1.5
    foreground: float = 8.0
    report_every: int = 20
    device: str = "cpu"
    precision: Precision = "float32"
    loaders: int = 0
    checkpoint: Path | None = None
    checkpoint_every: int = 500
    identity: Mapping[str, str | int | float | None] = field(default_factory=dict)
    losses: Path | None = None
    tensorboard: Path | None = None


def one_cycle(fraction: float, settings: TrainSettings) -> float:
    """Return the learning rate where `fraction` of the run is done."""
    if fraction < settings.warm_up:
        return settings.learning_rate * (0.05 + 0.95 * fraction / settings.warm_up)
    fall = min(1.0, (fraction - settings.warm_up) / max(1e-9, 1.0 - settings.warm_up))
    low = settings.final_fraction
    return settings.learning_rate * (low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * fall)))
