"""A pose machine that trains in a second, and pictures for it; run as a script, it trains as one of torchrun's processes."""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import torch

from posekit.models.backbones.levels import FusedLevels
from posekit.models.backbones.plain_residual import PlainResidual
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.training.distillation import Distillation, DistillationSettings, Teacher
from posekit.training.loop import TrainProgress, train
from posekit.training.processes import joined_processes
from posekit.training.samples import CropBatch
from posekit.training.settings import TrainSettings

SETTINGS = TrainSettings(steps=120, learning_rate=5e-3, average_decay=0.95, report_every=40)


def tiny_model(
    seed: int = 0, width: int = 8, distribution_sigma: float | None = None, stages: int = 2
) -> ConvolutionalPoseMachine:
    torch.manual_seed(seed)
    return ConvolutionalPoseMachine(
        FusedLevels(PlainResidual(width, (width, width + 4), (1, 1)), 8, 2 * width),
        2 * width,
        joints=2,
        stages=stages,
        stride=8,
        background=False,
        first_channels=16,
        stage_convolutions=1,
        kernel_size=5,
        stage_channels=16,
        subcells=2,
        batch_norm=True,
        distribution_sigma=distribution_sigma,
    )


def dot_batches(step: int, fraction: float = 0.0) -> CropBatch:
    """Grey pictures with a red and a blue dot: joint 0 is the red one."""
    generator = torch.Generator().manual_seed(step)
    joints = 6 + 36 * torch.rand(8, 2, 2, generator=generator)
    grid = torch.arange(48, dtype=torch.float32)
    squared = (grid - joints[..., 1, None]).square()[..., :, None] + (grid - joints[..., 0, None]).square()[
        ..., None, :
    ]
    spot = torch.exp(-squared / 18)
    images = 0.4 + 0.05 * torch.rand(8, 3, 48, 48, generator=generator)
    images[:, 0] += 0.5 * spot[:, 0]
    images[:, 2] += 0.5 * spot[:, 1]
    return CropBatch(images, joints, torch.ones(8, 2))


def small_distillation(student: ConvolutionalPoseMachine) -> Distillation:
    """Listen to a wider, untrained teacher."""
    torch.manual_seed(11)
    teacher = Teacher(tiny_model(seed=9, width=12, distribution_sigma=student.distribution_sigma), 48)
    return Distillation(student, teacher, DistillationSettings())


def main(folder: Path, die_at: int) -> None:
    """Train 7 steps with a checkpoint in `folder`, each process on other pictures; kill the own process after a step."""
    settings = dataclasses.replace(
        SETTINGS,
        steps=7,
        report_every=1,
        checkpoint=folder / "run.pt",
        checkpoint_every=2,
        losses=folder / "losses.jsonl",
    )

    def report(progress: TrainProgress) -> None:
        if progress.step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with joined_processes("cpu") as (processes, _):
        model = tiny_model(seed=processes.rank)  # the first process's weights count

        def batches(step: int, fraction: float) -> CropBatch:
            return dot_batches(100 * processes.rank + step)

        train(model, batches, settings, report, distillation=small_distillation(model), processes=processes)
        torch.save(model.state_dict(), folder / f"weights_{processes.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
