"""The training of a round, in this process or in several of this machine."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save

from posekit.bootstrap.settings import BootstrapSettings
from posekit.detection.hand_detector import HandDetector
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.training.augmentation import Augmentation
from posekit.training.hand_training import pose_machine_of
from posekit.training.loop import TrainProgress, train
from posekit.training.processes import Processes, run_together
from posekit.training.samples import SampleSource, augmented_batches
from posekit.training.settings import TrainSettings

#: Called with the steps that are done and the mean loss since the last call.
Report = Callable[[int, float], None]
History = list[dict[str, float]]


@dataclass(frozen=True, eq=False)
class RoundTraining:
    """What a round's training is made of.

    detector: whose weights it goes on from. source: what it learns. number: of the round. checkpoint: where an interrupted
    training is taken up again from; None for nowhere.
    """

    detector: HandDetector
    source: SampleSource
    settings: BootstrapSettings
    number: int
    checkpoint: Path | None = None


def train_round(job: RoundTraining, report: Report) -> tuple[ConvolutionalPoseMachine, History]:
    """Train a copy of the detector's network, in `training_processes` processes; return it and the history of the losses."""
    device, count = job.settings.training_device, job.settings.training_processes
    if count == 1:
        return _trained(job, Processes(), torch.device(device), report)
    weights, history = run_together(_train_together, job, count, device, lambda told: report(*told))
    model = copy.deepcopy(pose_machine_of(job.detector, "bootstrap"))
    model.load_state_dict(load(weights))
    return model.eval(), history


def _train_together(
    job: RoundTraining, processes: Processes, device: torch.device, tell: Callable[[tuple[int, float]], None]
) -> tuple[bytes, History]:
    """Train as one of several processes; return the weights, the same in each, as a safetensors file has them."""
    model, history = _trained(job, processes, device, lambda step, loss: tell((step, loss)))
    return save({name: value.contiguous() for name, value in model.state_dict().items()}), history


def _trained(
    job: RoundTraining, processes: Processes, device: torch.device, report: Report
) -> tuple[ConvolutionalPoseMachine, History]:
    settings, size = job.settings, job.detector.crop_size
    seed = settings.seed + job.number
    torch.manual_seed(seed)
    model = copy.deepcopy(pose_machine_of(job.detector, "bootstrap")).requires_grad_(True)
    batches = augmented_batches(
        job.source, settings.batch_size, size, seed, Augmentation().scaled(0.6), rank=processes.rank, device=device
    )

    def on_progress(done: TrainProgress) -> None:
        report(done.step, done.loss)

    train_settings = TrainSettings(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        average_decay=0.99,
        report_every=5,
        device=str(device),
        precision="float32" if device.type == "cpu" else "auto",
        checkpoint=job.checkpoint,
        checkpoint_every=settings.checkpoint_steps,
        identity={
            "round": job.number,
            "seed": settings.seed,
            "steps": settings.steps,
            "batch_size": settings.batch_size * processes.count,
        },
    )
    history = train(model, batches, train_settings, on_progress, processes=processes)
    return model.requires_grad_(False), history
