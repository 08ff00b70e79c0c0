"""The training loop: seeded, resumable, and the same for every heatmap network."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from posekit.errors import PosekitError
from posekit.io.files import write_whole
from posekit.models.cpm import ConvolutionalPoseMachine, in_channels_last
from posekit.models.heatmaps import gaussian_heatmaps, joint_weights
from posekit.models.images import normalise_images
from posekit.training.losses import distribution_loss, heatmap_loss
from posekit.training.samples import CropBatch


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    steps: batches to see. seconds: end after this long if that comes first; the learning rate then follows the clock, so that
    it still falls to its end (and two runs no longer agree bit for bit). learning_rate: peak of the one-cycle schedule, which
    rises over the first `warm_up` of the run and falls as a cosine to `final_fraction` of the peak. average_decay: of the
    exponential moving average of the weights, which is what a run returns. sigma, foreground: see `gaussian_heatmaps` and
    `heatmap_loss`; not used for models of distributions. report_every: steps. gradient_norm: gradients are clipped to it.
    checkpoint: file to resume from if it exists, written every `checkpoint_every` steps and removed by nobody.
    """

    steps: int
    seconds: float | None = None
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warm_up: float = 0.08
    final_fraction: float = 0.01
    average_decay: float = 0.998
    gradient_norm: float = 1.0
    sigma: float = 1.5
    foreground: float = 8.0
    report_every: int = 20
    checkpoint: Path | None = None
    checkpoint_every: int = 500


@dataclass(frozen=True)
class TrainProgress:
    """The state of a run.

    fraction: part of it that is done, by steps or by the clock. loss: mean since the last report. model: the averaged weights,
    in eval mode, to be read only.
    """

    step: int
    fraction: float
    seconds: float
    loss: float
    learning_rate: float
    samples_per_second: float
    model: ConvolutionalPoseMachine

    def metrics(self) -> dict[str, float]:
        """Return the numbers alone."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "loss": self.loss,
            "learning_rate": self.learning_rate,
            "samples_per_second": self.samples_per_second,
        }


def one_cycle(fraction: float, settings: TrainSettings) -> float:
    """Return the learning rate after `fraction` in [0, 1] of the run."""
    if fraction < settings.warm_up:
        return settings.learning_rate * (0.05 + 0.95 * fraction / settings.warm_up)
    fall = min(1.0, (fraction - settings.warm_up) / max(1e-9, 1.0 - settings.warm_up))
    low = settings.final_fraction
    return settings.learning_rate * (low + (1.0 - low) * 0.5 * (1.0 + math.cos(math.pi * fall)))


def train(
    model: ConvolutionalPoseMachine,
    batches: Callable[[int, float], CropBatch],
    settings: TrainSettings,
    on_progress: Callable[[TrainProgress], None] | None = None,
) -> list[dict[str, float]]:
    """Train a model in place and leave it with the averaged weights, in eval mode; return the history of the reports.

    batches: the batch of a step, a pure function of its number (from 0) and of the part of the run that is done, so that a
    resumed run equals an uninterrupted one. It draws all its chance itself; the loop draws none.

    Raises PosekitError where the loss is no longer a number, and where the checkpoint is damaged or of another model.
    """
    run = _Run(model, settings)
    if settings.checkpoint is not None and settings.checkpoint.exists():
        run.resume(settings.checkpoint)
    started = time.monotonic() - run.seconds
    losses: list[float] = []
    seen, mark = 0, time.monotonic()
    while run.step < settings.steps and not run.out_of_time():
        batch = batches(run.step, run.fraction())
        losses.append(run.advance(batch))
        seen += len(batch)
        run.seconds = time.monotonic() - started
        ending = run.step == settings.steps or run.out_of_time()
        if run.step % settings.report_every == 0 or ending:
            now = time.monotonic()
            progress = TrainProgress(
                step=run.step,
                fraction=run.fraction(),
                seconds=run.seconds,
                loss=sum(losses) / len(losses),
                learning_rate=run.optimizer.param_groups[0]["lr"],
                samples_per_second=seen / max(1e-9, now - mark),
                model=run.average,
            )
            losses, seen, mark = [], 0, now
            run.history.append(progress.metrics())
            if on_progress is not None:
                on_progress(progress)
        if settings.checkpoint is not None and (run.step % settings.checkpoint_every == 0 or ending):
            run.save(settings.checkpoint)
    model.load_state_dict(run.average.state_dict())
    model.eval()
    return run.history


class _Run:
    """What changes during a run, and how it is kept."""

    def __init__(self, model: ConvolutionalPoseMachine, settings: TrainSettings) -> None:
        self.settings = settings
        self.model = in_channels_last(model).train()
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.99))
        self.step = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []

    def out_of_time(self) -> bool:
        return self.settings.seconds is not None and self.seconds >= self.settings.seconds

    def fraction(self) -> float:
        """Part of the run that is done, by steps or by the clock, whichever is further."""
        by_steps = self.step / self.settings.steps
        return (
            by_steps if self.settings.seconds is None else min(1.0, max(by_steps, self.seconds / self.settings.seconds))
        )

    def advance(self, batch: CropBatch) -> float:
        """Take one step of the optimiser and return the loss."""
        settings = self.settings
        rate = one_cycle(self.fraction(), settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = batch_loss(self.model, batch, settings)
        value = loss.item()
        if not math.isfinite(value):
            raise PosekitError(
                f"training: the loss became {value} at step {self.step}; expected a finite number "
                f"(learning rate {rate:.2g}: try a smaller one, or look for NaN in the pictures)"
            )
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_norm)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return value

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on a long memory would hold the random start: the decay grows with the steps, as in TensorFlow's EMA.
        decay = min(self.settings.average_decay, (1.0 + self.step) / (10.0 + self.step))
        new = self.model.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(new[name], 1.0 - decay)
            else:
                value.copy_(new[name])

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
        }
        with write_whole(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path) -> None:
        """Go on where the checkpoint stopped."""
        try:
            state = torch.load(path, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds, self.history = int(state["step"]), float(state["seconds"]), list(state["history"])
        except Exception as error:
            # torch raises a dozen different types for a damaged or foreign file.
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise PosekitError(f"{path}: no checkpoint of this model: {reason}") from error


def batch_loss(model: ConvolutionalPoseMachine, batch: CropBatch, settings: TrainSettings) -> Tensor:
    """Return the loss of one batch, a scalar that can be differentiated."""
    images = normalise_images(batch.images).contiguous(memory_format=torch.channels_last)
    size = (images.shape[-2] // model.stride, images.shape[-1] // model.stride)
    sigma = settings.sigma if model.distribution_sigma is None else model.distribution_sigma
    target = gaussian_heatmaps(batch.joints, size, model.stride, sigma, model.background)
    weight = joint_weights(batch.joints, batch.weight, model.background)
    stages = model(images)
    if model.distribution_sigma is not None:
        return distribution_loss(stages, target, weight)
    return heatmap_loss(stages, target, weight, settings.foreground)
