"""The training loop: seeded, resumable, on one device or several, and the same for every heatmap network."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.training.distillation import Distillation
from posekit.training.drawing_ahead import drawn_ahead
from posekit.training.processes import Processes
from posekit.training.run import TrainingRun
from posekit.training.run_log import RunLog
from posekit.training.samples import CropBatch
from posekit.training.settings import TrainSettings


@dataclass(frozen=True)
class TrainProgress:
    """The state of a run.

    fraction: part of it that is done, by steps or by the clock. loss: mean since the last report. model: the averaged weights,
    in eval mode, to be read only. samples: seen so far by all processes. seconds_to_go: by the pace so far.
    """

    step: int
    fraction: float
    seconds: float
    loss: float
    learning_rate: float
    samples_per_second: float
    model: ConvolutionalPoseMachine
    samples: int = 0

    @property
    def seconds_to_go(self) -> float:
        """How long the rest takes if it goes on as so far."""
        return self.seconds * (1.0 - self.fraction) / max(1e-9, self.fraction)

    def metrics(self) -> dict[str, float]:
        """Return the numbers alone."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "loss": self.loss,
            "learning_rate": self.learning_rate,
            "samples_per_second": self.samples_per_second,
            "samples": self.samples,
        }


def train(
    model: ConvolutionalPoseMachine,
    batches: Callable[[int, float], CropBatch],
    settings: TrainSettings,
    on_progress: Callable[[TrainProgress], None] | None = None,
    *,
    distillation: Distillation | None = None,
    processes: Processes | None = None,
) -> list[dict[str, float]]:
    """Train a model in place and leave it with the averaged weights, in eval mode; return the history of the reports.

    batches: the batch of a step, a pure function of its number (from 0) and of the part of the run that is done, so that a
    resumed run equals an uninterrupted one; in any process, its own. It draws all its chance itself. distillation: a teacher's
    part of the loss. processes: those that train this model together; all end with the same weights, the first writes.

    Raises PosekitError where the loss is no longer a number, and where the checkpoint is damaged or of another run.
    """
    processes = processes or Processes()
    run = TrainingRun(model, settings, distillation, processes)
    if settings.checkpoint is not None and settings.checkpoint.exists():
        run.resume(settings.checkpoint)
    log = RunLog(settings.losses, settings.tensorboard, run.step) if processes.first else RunLog(None, None)
    started = settings.clock() - run.seconds
    losses: list[float] = []
    seen, mark = 0, time.monotonic()
    ahead = drawn_ahead(batches, run.step, settings.steps, run.fraction_at, settings.loaders)
    with contextlib.closing(log), contextlib.closing(ahead):
        while not run.finished():
            batch = next(ahead)
            losses.append(run.advance(batch))
            seen += len(batch) * processes.count
            run.samples += len(batch) * processes.count
            run.note_seconds(settings.clock() - started)
            if run.step % settings.report_every == 0 or run.finished():
                now = time.monotonic()
                progress = TrainProgress(
                    step=run.step,
                    fraction=run.fraction_at(run.step),
                    seconds=run.seconds,
                    loss=sum(losses) / len(losses),
                    learning_rate=run.optimizer.param_groups[0]["lr"],
                    samples_per_second=seen / max(1e-9, now - mark),
                    model=run.average,
                    samples=run.samples,
                )
                losses, seen, mark = [], 0, now
                run.history.append(progress.metrics())
                log.report(run.history)
                if on_progress is not None:
                    on_progress(progress)
            checkpoint_due = run.step % settings.checkpoint_every == 0 or run.finished()
            if settings.checkpoint is not None and checkpoint_due and processes.first:
                run.save(settings.checkpoint)
    run.hand_over(model)
    return run.history
