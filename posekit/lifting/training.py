"""Training a lifter from poses in 3D and views in 2D that have nothing to do with each other."""

import copy
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from posekit.errors import PosekitError
from posekit.io.files import write_whole
from posekit.lifting.chance import elevated_turns, noise_for, random_turns
from posekit.lifting.kcs import bone_matrix, bone_vectors
from posekit.lifting.losses import (
    bone_loss,
    camera_loss,
    consistency_loss,
    gradient_penalty,
    joint_weights,
    reprojection_loss,
    wasserstein_loss,
)
from posekit.lifting.networks import build_critic, build_generator
from posekit.lifting.normalisation import align_to_template, normalise_views, to_one_size
from posekit.lifting.settings import RepNetSettings
from posekit.lifting.sources import PoseSource, ViewSource
from posekit.lifting.windows import window_rows
from posekit.metrics.bones import mirrored_bones
from posekit.models.pose_prior import PosePrior, denoising_loss, prior_loss
from posekit.models.repnet import Lifted
from posekit.skeleton import Skeleton


@dataclass(frozen=True)
class LifterRun:
    """How long a training goes, and what it keeps.

    steps: of generator and critic, one each. seconds: end after this long, by `clock` (in s), if that comes first; rates then
    follow the clock, and two runs no longer agree bit for bit. seed: of the first weights and every draw. report_every: steps.
    checkpoint: file to go on from if it exists, written every `checkpoint_every` steps.
    """

    steps: int
    seconds: float | None = None
    seed: int = 0
    clock: Callable[[], float] = time.monotonic
    report_every: int = 100
    checkpoint: Path | None = None
    checkpoint_every: int = 1000


#: What nobody sees from behind.
_HEAD = ("nose", "upper_neck", "head_top")
#: The part of the variance of a detector's errors that stays from frame to frame (`posekit.datasets.detector_noise`).
_SLOW = 0.7
#: Highest learning rate of the prior, and what of a training is kept in a checkpoint.
_PRIOR_RATE = 2e-3
_STATE = (
    *("generator", "critic", "prior", "average", "average_prior"),
    *("generator_steps", "critic_steps", "prior_steps"),
)


class LifterTraining:
    """A training at some step; `advance` takes one more.

    poses: what the critic is shown as real, in camera axes for the ``view`` generator (as cameras of the views' kind would see
    them) and in any axes for the ``published`` one, which has them turned onto a template. views: what the generator is shown,
    windows of as many frames as the settings say.
    Every draw of a step depends on the seed and the step alone, so that a run that goes on equals one that was not interrupted.
    generator, critic: as they are. average: the mean generator, which is what counts. history: of `report`.
    """

    def __init__(
        self, skeleton: Skeleton, settings: RepNetSettings, run: LifterRun, poses: PoseSource, views: ViewSource
    ) -> None:
        self.skeleton, self.settings, self.run = skeleton, settings, run
        self.poses, self.views = poses, views
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            self.generator = build_generator(skeleton, settings)
            self.critic = build_critic(skeleton, settings)
            self.prior = PosePrior(skeleton.joint_count, settings.prior_width)
        self.average_prior = copy.deepcopy(self.prior).requires_grad_(False)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        betas = (0.5, 0.9)
        self.generator_steps = torch.optim.Adam(self.generator.parameters(), settings.learning_rate, betas)
        self.critic_steps = torch.optim.Adam(self.critic.parameters(), settings.critic_rate, betas)
        self.prior_steps = torch.optim.Adam(self.prior.parameters(), _PRIOR_RATE)
        self.step, self.seconds = 0, 0.0
        self.history: list[dict[str, float]] = []
        self._weights = joint_weights(skeleton)
        self._bones = bone_matrix(skeleton.bones, skeleton.joint_count)
        self._usual = self._usual_bones()
        self._template, self._on = _template(skeleton, settings, poses, run.seed)

    @property
    def fraction(self) -> float:
        """Part of the run that is done, by steps or by the clock, whichever is further."""
        by_steps = self.step / self.run.steps
        return by_steps if self.run.seconds is None else min(1.0, max(by_steps, self.seconds / self.run.seconds))

    def advance(self) -> dict[str, float]:
        """Take one step of the prior, while it is its time, or of the critic and the generator.

        Returns every loss term, unweighted, and the weights that change.
        """
        rng = np.random.default_rng((self.run.seed, self.step))
        terms = self._teach_prior(rng) if self.fraction < self._prior_share else self._teach_lifting(rng)
        if not all(np.isfinite(value) for value in terms.values()):
            bad = next(name for name, value in terms.items() if not np.isfinite(value))
            raise PosekitError(
                f"training: {bad} became no number at step {self.step}; expected a finite one (learning rate "
                f"{self.settings.learning_rate:g}: try a smaller one, or look for NaN in the poses)"
            )
        self.step += 1
        return terms

    @property
    def _prior_share(self) -> float:
        return self.settings.prior_share if self.settings.prior_weight > 0 else 0.0

    def _teach_prior(self, rng: np.random.Generator) -> dict[str, float]:
        real = self._real(rng)
        low, high = self.settings.prior_noise
        # A little beyond what is asked of it later, so that it knows what lies at the ends.
        loss = denoising_loss(self.prior, real, *noise_for(real, low / 2, high * 1.5, rng))
        _set_rate(self.prior_steps, _PRIOR_RATE * self._falling(self.fraction / self._prior_share, self.step))
        self.prior_steps.zero_grad(set_to_none=True)
        loss.backward()
        self.prior_steps.step()
        _follow(self.average_prior, self.prior, 0.99, self.step)
        return {"denoising": loss.item()}

    def _teach_lifting(self, rng: np.random.Generator) -> dict[str, float]:
        settings, share = self.settings, self._prior_share
        progress = (self.fraction - share) / (1 - share)
        by_quarters = settings.schedule == "steps"
        factor = 0.1 ** int(4 * min(progress, 0.999)) if by_quarters else self._falling(progress, self.step)
        _set_rate(self.generator_steps, settings.learning_rate * factor)
        _set_rate(self.critic_steps, settings.critic_rate * factor)
        xy, there = self._view(rng)
        lifted: Lifted = self.generator(xy, there)
        fake = self._judged(lifted.pose)
        motion = self._turned(lifted, (xy, there), rng) if self._turns else None
        turned = None if motion is None else motion[:, self._middle]
        terms = {}
        if settings.adversarial_weight > 0:
            terms = self._teach_critic(self._real(rng), fake, turned, rng)
        terms |= self._teach_generator(lifted, fake, motion, (xy, there), progress, rng)
        _follow(self.average, self.generator, settings.average_decay, self.step)
        return terms

    @staticmethod
    def _falling(progress: float, step: int) -> float:
        """A cosine from 1 to 0.01, after 100 steps of rising."""
        cosine = 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * min(1.0, progress)))
        return float(cosine * min(1.0, (step + 1) / 100))

    @property
    def _turns(self) -> bool:
        return self.settings.consistency_weight > 0 or self.settings.turned_weight > 0

    def _real(self, rng: np.random.Generator) -> Tensor:
        real = torch.from_numpy(np.asarray(self.poses.draw(self.settings.batch_size, rng), dtype=np.float32))
        if self._template is not None:
            real = align_to_template(real, self._template, self._on)
        return self._judged(real)

    def _judged(self, poses: Tensor) -> Tensor:
        """Poses as the critic is shown them."""
        return to_one_size(poses, self._bones) if self.settings.one_size else poses

    @property
    def _middle(self) -> int:
        return self.settings.frames // 2

    def _view(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Windows of views, normalised (B, T, J, 2), and which of their joints are there (B, T, J)."""
        drawn = self.views.draw(self.settings.batch_size, rng)
        given = torch.from_numpy(np.asarray(drawn.xy, dtype=np.float32))
        confidence = torch.from_numpy(np.asarray(drawn.weight, dtype=np.float32))
        frames = 1 if given.ndim == 3 else given.shape[1]
        if frames != self.settings.frames:
            raise PosekitError(
                f"training: found views of {frames} frames, expected {self.settings.frames} as the settings say"
            )
        there = (torch.isfinite(given).all(dim=-1) & (confidence > 0)).float().view(len(given), frames, -1)
        there = there * self._kept(len(there), rng)
        xy, _, _ = normalise_views(given.view(*there.shape, 2), there)
        return xy, there

    def _kept(self, count: int, rng: np.random.Generator) -> Tensor:
        """1 for joints that stay in a view, 0 for those that are taken out, (count, T, J); the head in all of a window."""
        lost = rng.random((count, self.settings.frames, self.skeleton.joint_count)) < self.settings.lost_joints
        head = [n for n, joint in enumerate(self.skeleton.joints) if joint in _HEAD]
        lost[..., head] |= rng.random((count, 1, 1)) < self.settings.lost_head
        return torch.from_numpy(~lost).float()

    def _turned(self, lifted: Lifted, view: tuple[Tensor, Tensor], rng: np.random.Generator) -> Tensor:
        """Lifted people as another camera would see them, (B, T, J, 3): turned about the vertical by any angle, and tipped.

        Only the middle frame has a gradient.
        """
        motion = to_one_size(lifted.in_camera_axes(), self._bones)[:, None]
        if self.settings.frames > 1:
            around = self._lifted_around(*view)
            motion = torch.cat((around[:, : self._middle], motion, around[:, self._middle + 1 :]), dim=1)
        elevation = lifted.elevation
        turns = random_turns(len(motion), rng) if elevation is None else elevated_turns(elevation, rng)
        return motion @ turns.transpose(1, 2)[:, None]

    @torch.no_grad()
    def _lifted_around(self, xy: Tensor, there: Tensor) -> Tensor:
        """Every frame of some windows, (B, T, J, 3), lifted from what these show around it."""
        rows = torch.from_numpy(window_rows(self.settings.frames, self.settings.frames))
        lifted = self.generator(xy[:, rows].flatten(0, 1), there[:, rows].flatten(0, 1)).in_camera_axes()
        return to_one_size(lifted, self._bones).unflatten(0, xy.shape[:2])

    def _teach_critic(
        self, real: Tensor, fake: Tensor, turned: Tensor | None, rng: np.random.Generator
    ) -> dict[str, float]:
        settings = self.settings
        fake = fake.detach()
        if turned is not None and settings.turned_weight > 0 and settings.generator == "view":
            # Both kinds must look real; half of each costs no more than all of one.
            half = len(fake) // 2
            fake = torch.cat((fake[:half], turned.detach()[half:]))
        distance = wasserstein_loss(self.critic(real), self.critic(fake))
        loss = distance
        terms = {"critic": distance.item()}
        if self.step % settings.penalty_every == 0:
            mix = torch.from_numpy(rng.random((len(real), 1, 1), dtype=np.float32))
            penalty = gradient_penalty(self.critic, real, fake, mix)
            loss = loss + settings.penalty_weight * settings.penalty_every * penalty
            terms["gradient_penalty"] = penalty.item()
        self.critic_steps.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_steps.step()
        return terms

    def _teach_generator(
        self,
        lifted: Lifted,
        fake: Tensor,
        motion: Tensor | None,
        view: tuple[Tensor, Tensor],
        progress: float,
        rng: np.random.Generator,
    ) -> dict[str, float]:
        settings = self.settings
        xy, there = (one[:, self._middle] for one in view)
        turned = None if motion is None else motion[:, self._middle]
        start, end = settings.reprojection_weight
        reprojection_weight = start * (end / start) ** progress
        parts = {
            "reprojection": (reprojection_weight, reprojection_loss(lifted.reprojection, xy, there * self._weights))
        }
        if settings.adversarial_weight > 0:
            # Gradients go through the critic, not into it.
            self.critic.requires_grad_(False)
            parts["adversarial"] = (settings.adversarial_weight, -self.critic(fake).mean())
            if turned is not None and settings.turned_weight > 0 and settings.generator == "view":
                parts["turned"] = (settings.adversarial_weight * settings.turned_weight, -self.critic(turned).mean())
            self.critic.requires_grad_(True)
        if settings.bones_weight > 0:
            sized = to_one_size(lifted.pose, self._bones)
            parts["bones"] = (settings.bones_weight, bone_loss(self._lengths(sized), *self._usual))
        if settings.prior_weight > 0:
            parts["prior"] = (
                settings.prior_weight,
                prior_loss(self.average_prior, fake, *noise_for(fake, *settings.prior_noise, rng)),
            )
        if lifted.cameras is not None and settings.camera_weight > 0:
            parts["camera"] = (settings.camera_weight, camera_loss(lifted.cameras))
        if motion is not None and settings.consistency_weight > 0:
            parts["consistency"] = (settings.consistency_weight, self._consistency(motion, view[1], rng))
        loss = sum((weight * term for weight, term in parts.values()), start=torch.zeros(()))
        self.generator_steps.zero_grad(set_to_none=True)
        loss.backward()
        self.generator_steps.step()
        terms = {name: term.item() for name, (_, term) in parts.items()}
        if lifted.elevation is not None:
            terms |= {"elevation": lifted.elevation.mean().item()}
            terms |= {"elevation_spread": lifted.elevation.std(correction=0).item()}
        return terms | {"reprojection_weight": reprojection_weight}

    def _consistency(self, motion: Tensor, there: Tensor, rng: np.random.Generator) -> Tensor:
        """Lift turned poses from their own, noisy, projections; they are taken as they are and learn nothing from it."""
        motion = motion.detach()
        count, frames, joints = there.shape
        # Of the bones' mean length, 1: two to four hundredths of a person's height, as detectors have it.
        noise = torch.from_numpy(rng.standard_normal((count, frames, joints, 2), dtype=np.float32))
        if frames > 1:
            stays = torch.from_numpy(rng.standard_normal((count, 1, joints, 2), dtype=np.float32))
            noise = (1 - _SLOW) ** 0.5 * noise + _SLOW**0.5 * stays
        level = torch.from_numpy(rng.uniform(0.02, 0.12, (count, 1, 1, 1)).astype(np.float32))
        # A mean bone is about 0.27 m: cameras stand 2 to 12 m away.
        near = 0.27 / torch.from_numpy(np.exp(rng.uniform(np.log(2), np.log(12), (count, 1, 1, 1))).astype(np.float32))
        projected = motion[..., :2] / (1 + near * motion[..., 2:]) + level * noise
        # The next view's missing joints, so that what was missing here is not missing again.
        missing = there.roll(1, dims=0)
        xy, _, _ = normalise_views(projected, missing)
        again = self.generator(xy, missing).in_camera_axes()
        return consistency_loss(to_one_size(again, self._bones), motion[:, self._middle])

    def _lengths(self, poses: Tensor) -> Tensor:
        """Lengths of the skeleton's bones, (B, b)."""
        return bone_vectors(poses, self._bones).norm(dim=-1)

    def _usual_bones(self) -> tuple[Tensor, Tensor, Tensor]:
        """What `bone_loss` is told: each bone's mirror image, and mean and spread of people's bones."""
        rng = np.random.default_rng((self.run.seed, 0, 2))
        poses = torch.from_numpy(np.asarray(self.poses.draw(2048, rng), dtype=np.float32))
        lengths = self._lengths(to_one_size(poses, self._bones))
        mirror = torch.arange(len(self.skeleton.bones))
        for left, right in mirrored_bones(self.skeleton):
            mirror[left], mirror[right] = right, left
        # People who all have the same bones must not make a division by nothing.
        return mirror, lengths.mean(dim=0), lengths.std(dim=0).clamp(min=0.02)

    def begin_with(self, generator: nn.Module) -> None:
        """Take the weights of another generator; raises RuntimeError where its layers do not fit."""
        self.generator.load_state_dict(generator.state_dict())
        self.average.load_state_dict(generator.state_dict())

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            "identity": self._identity(),
            **{name: getattr(self, name).state_dict() for name in _STATE},
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
        }
        with write_whole(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path) -> None:
        """Go on where a checkpoint stopped; raises PosekitError for a file that is none, or of other settings."""
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            found = dict(state["identity"])
        except Exception as error:
            # torch raises a dozen different types for a damaged or foreign file.
            raise PosekitError(f"{path}: found no checkpoint of a lifter's training, expected one") from error
        for name, expected in self._identity().items():
            if found.get(name) != expected:
                raise PosekitError(
                    f"{path}: is of another run: {name}: found {found.get(name)}, expected {expected}; name another "
                    "checkpoint, or remove it to begin anew"
                )
        for name in _STATE:
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds, self.history = int(state["step"]), float(state["seconds"]), list(state["history"])

    def _identity(self) -> dict[str, Any]:
        # Means of a draw, to the millimetre: other people, or fewer, are other numbers, another processor's rounding is not.
        drawn = np.abs(self.poses.draw(2048, np.random.default_rng((self.run.seed, 0, 3)))).mean(axis=0).round(3)
        poses = hashlib.sha256(drawn.astype(np.float32).tobytes()).hexdigest()[:16]
        return {"skeleton": self.skeleton.name, "seed": self.run.seed, "poses": poses} | {
            name: list(value) if isinstance(value, tuple) else value for name, value in vars(self.settings).items()
        }


def train_lifter(training: LifterTraining, on_report: Callable[[LifterTraining], None] | None = None) -> nn.Module:
    """Train to the end of the run and return the averaged generator.

    `training.history` has the mean of every term between two reports. on_report: called after every report.
    """
    run = training.run
    if run.checkpoint is not None and run.checkpoint.exists():
        training.resume(run.checkpoint)
    begun = run.clock() - training.seconds
    sums: dict[str, list[float]] = {}
    while training.fraction < 1:
        for name, value in training.advance().items():
            sums.setdefault(name, []).append(value)
        training.seconds = run.clock() - begun
        if training.step % run.report_every == 0 or training.fraction >= 1:
            means = {name: float(np.mean(values)) for name, values in sums.items()}
            training.history.append({"step": training.step, "seconds": round(training.seconds, 2), **means})
            sums = {}
            if on_report is not None:
                on_report(training)
        if run.checkpoint is not None and (training.step % run.checkpoint_every == 0 or training.fraction >= 1):
            training.save(run.checkpoint)
    return training.average


def _template(
    skeleton: Skeleton, settings: RepNetSettings, poses: PoseSource, seed: int
) -> tuple[Tensor | None, Tensor]:
    """The pose onto whose hips and shoulders the published critic's poses are turned; one that stands straight, if some do."""
    on = torch.from_numpy(skeleton.indices(("left_hip", "right_hip", "left_shoulder", "right_shoulder")))
    if settings.generator != "published":
        return None, on
    drawn = torch.from_numpy(np.asarray(poses.draw(256, np.random.default_rng((seed, 0, 1))), dtype=np.float32))
    trunk = drawn[:, on] - drawn[:, on].mean(dim=1, keepdim=True)
    spread = (trunk - trunk.mean(dim=0)).square().sum(dim=(1, 2))
    return drawn[int(spread.argmin())], on


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move an average of a network's weights on; at first faster, so that the random start is forgotten."""
    decay = min(decay, (1.0 + step) / (10.0 + step))
    for mean, new in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(new, 1.0 - decay)
