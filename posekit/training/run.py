"""What changes during a training run, how a step changes it, and how it is kept."""

import contextlib
import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from posekit.errors import PosekitError
from posekit.io.files import write_whole
from posekit.models.cpm import ConvolutionalPoseMachine, in_channels_last
from posekit.models.heatmaps import gaussian_heatmaps, joint_weights
from posekit.models.images import normalise_images
from posekit.training.distillation import Distillation, trunk_features
from posekit.training.losses import distribution_loss, heatmap_loss
from posekit.training.optimizers import build_optimizer
from posekit.training.precision import autocast_kind
from posekit.training.processes import Processes
from posekit.training.samples import CropBatch
from posekit.training.settings import TrainSettings, one_cycle


class Objective(nn.Module):
    """The loss of a batch as a module, so that its gradients can be averaged over processes."""

    def __init__(
        self, model: ConvolutionalPoseMachine, settings: TrainSettings, distillation: Distillation | None
    ) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.distillation = distillation

    def forward(self, batch: CropBatch, fraction: float) -> Tensor:
        """Return the loss, a scalar that can be differentiated."""
        images = normalise_images(batch.images).contiguous(memory_format=torch.channels_last)
        if self.distillation is None:
            return self._label_loss(self.model(images), batch)
        with trunk_features(self.model) as features:
            stages = self.model(images)
        taught = self.distillation(
            batch.images, stages, features[0], self.model.distribution_sigma is not None, fraction
        )
        return self._label_loss(stages, batch) + taught

    def _label_loss(self, stages: list[Tensor], batch: CropBatch) -> Tensor:
        model, settings = self.model, self.settings
        size = (batch.images.shape[-2] // model.stride, batch.images.shape[-1] // model.stride)
        sigma = settings.sigma if model.distribution_sigma is None else model.distribution_sigma
        target = gaussian_heatmaps(batch.joints, size, model.stride, sigma, model.background)
        weight = joint_weights(batch.joints, batch.weight, model.background)
        if model.distribution_sigma is not None:
            return distribution_loss(stages, target, weight)
        return heatmap_loss(stages, target, weight, settings.foreground)


class TrainingRun:
    """A run on this process's device.

    average: the mean weights, in eval mode. step, seconds, samples: done so far, `samples` by all processes. history: reports.
    """

    def __init__(
        self,
        model: ConvolutionalPoseMachine,
        settings: TrainSettings,
        distillation: Distillation | None,
        processes: Processes,
    ) -> None:
        self.settings = settings
        self.processes = processes
        self.device = torch.device(settings.device)
        self._kind = autocast_kind(settings.precision, self.device)
        self.model = in_channels_last(model).to(self.device).train()
        processes.share(*self.model.state_dict().values())
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        # One layout for all weights: processes average gradients in the layout of their weights.
        objective = Objective(self.model, settings, distillation).to(self.device)
        self.objective = objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._callable: nn.Module = self.objective
        if processes.count > 1:
            self._callable = DistributedDataParallel(self.objective)
        self.optimizer = build_optimizer(self.objective, settings, self._kind)
        # A schedule moves every group in proportion, so that some may be slower than others all along.
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self._kind == torch.float16)
        self.step = 0
        self.seconds = 0.0
        self.samples = 0
        self.history: list[dict[str, float]] = []

    def finished(self) -> bool:
        """Whether the last step is done, or the time is over."""
        timed = self.settings.seconds
        return self.step >= self.settings.steps or (timed is not None and self.seconds >= timed)

    def fraction_at(self, step: int) -> float:
        """Part of the run that is done at a step, by steps or (as far as is known now) by the clock, whichever is further."""
        by_steps = step / self.settings.steps
        timed = self.settings.seconds
        return by_steps if timed is None else min(1.0, max(by_steps, self.seconds / timed))

    def note_seconds(self, seconds: float) -> None:
        """Set how long the run has taken; by the clock of the first process, so that all of them end together."""
        if self.settings.seconds is None or self.processes.count == 1:
            self.seconds = seconds
            return
        told = torch.tensor(seconds, dtype=torch.float64, device=self.device)
        self.processes.share(told)
        self.seconds = told.item()

    def advance(self, batch: CropBatch) -> float:
        """Take one step of the optimiser and return the loss."""
        settings, fraction = self.settings, self.fraction_at(self.step)
        factor = one_cycle(fraction, settings) / settings.learning_rate
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        mixed = (
            torch.autocast(self.device.type, self._kind) if self._kind != torch.float32 else contextlib.nullcontext()
        )
        with mixed:
            loss = self._callable(batch.to(self.device), fraction)
        value = self.processes.mean(loss.detach()).item()
        if not math.isfinite(value):
            raise PosekitError(
                f"training: the loss became {value} at step {self.step}; expected a finite number "
                f"(learning rate {self.optimizer.param_groups[0]['lr']:.2g}: try a smaller one, or look for NaN in pictures)"
            )
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.objective.parameters(), settings.gradient_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
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

    def hand_over(self, model: ConvolutionalPoseMachine) -> None:
        """Leave `model` with the averaged weights, on the processor, the same in every process."""
        self.processes.share(*self.average.state_dict().values())
        model.load_state_dict(self.average.state_dict())
        model.cpu().eval()

    def _align_state(self) -> dict[str, Tensor]:
        distillation = self.objective.distillation
        return {} if distillation is None or distillation.align is None else distillation.align.state_dict()

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "identity": dict(self.settings.identity),
            "model": self.model.state_dict(),
            "align": self._align_state(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
            "samples": self.samples,
            "history": self.history,
        }
        with write_whole(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path) -> None:
        """Go on where the checkpoint stopped."""
        state = read_checkpoint(path, self.settings.identity)
        try:
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            if (distillation := self.objective.distillation) is not None and distillation.align is not None:
                distillation.align.load_state_dict(state["align"])
            self.optimizer.load_state_dict(state["optimizer"])
            self._scaler.load_state_dict(state["scaler"])
            torch.set_rng_state(state["random"])
            self.step, self.seconds, self.history = int(state["step"]), float(state["seconds"]), list(state["history"])
            self.samples = int(state["samples"])
        except Exception as error:
            raise _not_a_checkpoint(path, error) from error


def read_checkpoint(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run of this identity kept; raises PosekitError for a file that is damaged or of another run."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        found = state["identity"]
    except Exception as error:
        raise _not_a_checkpoint(path, error) from error
    _check_identity(path, found, dict(identity))
    return state


def _not_a_checkpoint(path: Path, error: Exception) -> PosekitError:
    # torch raises a dozen different types for a damaged or foreign file.
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    reason = reason.partition(". ")[0]  # behind it, advice to programmers
    return PosekitError(f"{path}: no checkpoint of this model: {reason}")


def _check_identity(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise PosekitError(
                f"{path}: is of another run: {name}: found {found.get(name)}, expected {expected.get(name)}; name another "
                "--checkpoint, or remove it to begin anew"
            )
