"""A heavy teacher's maps and features for a light student to learn from, beside the labels or instead of them.

Hinton, Vinyals, Dean 2015 for the softened targets; Yang et al. 2023 (DWPose) for the features whose weight falls to nothing.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from posekit.detection.decoding import smooth_heatmaps
from posekit.errors import PosekitError
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.models.images import normalise_images
from posekit.ops.autocast import no_autocast


@dataclass(frozen=True)
class DistillationSettings:
    """How much a student listens to its teacher.

    weight: of the teacher's maps beside the labels' 1. temperature: T, by which the logits of both are divided. feature_weight:
    of the squared error between the teacher's features and the student's, in parts of the teacher's mean square; it falls
    evenly to 0 at the end of the run. teacher_size: side in px at which the teacher is shown every crop, the one it was trained
    for if None; a teacher that saw smaller ones in its training, too, is nearly as good on them, and cheaper.
    """

    weight: float = 1.0
    temperature: float = 2.0
    feature_weight: float = 0.1
    teacher_size: int | None = None

    def __post_init__(self) -> None:
        if not self.weight >= 0 or not self.feature_weight >= 0:
            raise PosekitError(
                f"distillation: found weights {self.weight:g} and {self.feature_weight:g}, expected 0 or more"
            )
        if not self.temperature > 0:
            raise PosekitError(f"distillation: temperature: found {self.temperature:g}, expected more than 0")
        if self.teacher_size is not None and (self.teacher_size < 32 or self.teacher_size % 32):
            raise PosekitError(
                f"distillation: the teacher's size: found {self.teacher_size}, expected a positive multiple of 32"
            )


class Teacher(nn.Module):
    """A trained network that answers for crops of any size, and takes no part in the training.

    model: its weights are left as they are. crop_size: side in px at which it is shown every crop.
    """

    def __init__(self, model: ConvolutionalPoseMachine, crop_size: int) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.crop_size = crop_size

    def train(self, mode: bool = True) -> "Teacher":
        """Stay as it is: a teacher's batch norms must not follow the student's pictures."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "B 3 S S"]) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return heights (B, J, h, w), logits of the same shape (None for a network of heights) and the trunk's features.

        images: RGB in [0, 1].
        """
        if images.shape[-1] != self.crop_size:
            images = functional.interpolate(images, (self.crop_size, self.crop_size), mode="bilinear", antialias=True)
        model = self.model
        with trunk_features(model) as features:
            maps = model(normalise_images(images).contiguous(memory_format=torch.channels_last))[-1]
        maps = maps[:, : model.joints].float()
        if model.distribution_sigma is None:
            return maps, None, features[0].float()
        heights = torch.softmax(maps.flatten(2), dim=-1).view_as(maps) * (2.0 * math.pi * model.distribution_sigma**2)
        return heights, maps, features[0].float()


@contextmanager
def trunk_features(model: ConvolutionalPoseMachine) -> Iterator[list[Tensor]]:
    """Collect what the model's trunk gives to its stages while the context is open."""
    features: list[Tensor] = []
    handle = model.backbone.register_forward_hook(lambda module, inputs, output: features.append(output))
    try:
        yield features
    finally:
        handle.remove()


class Distillation(nn.Module):
    """The teacher's part of a loss, with the 1x1 convolution that aligns the student's features with the teacher's."""

    def __init__(self, student: ConvolutionalPoseMachine, teacher: Teacher, settings: DistillationSettings) -> None:
        super().__init__()
        if student.joints != teacher.model.joints:
            raise PosekitError(f"teacher: found {teacher.model.joints} joints, expected the student's {student.joints}")
        if settings.teacher_size is not None and student.distribution_sigma is None:
            raise PosekitError(
                "distillation: the teacher's size: a student of heights learns them at the teacher's own size"
            )
        self.teacher = teacher
        self.settings = settings
        self.sigma = student.distribution_sigma
        self.align = (
            nn.Conv2d(feature_channels(student), feature_channels(teacher.model), 1)
            if settings.feature_weight
            else None
        )

    def forward(
        self,
        images: Float[Tensor, "B 3 S S"],
        stages: Sequence[Float[Tensor, "B M h w"]],
        features: Float[Tensor, "B C h w"],
        distribution: bool,
        fraction: float,
    ) -> Float[Tensor, ""]:
        """Return the loss. images: in [0, 1]. stages, features: the student's, its maps logits if `distribution`."""
        settings = self.settings
        heights, logits, wanted = self.teacher(images)
        joints = heights.shape[1]
        own = [maps[:, :joints].float() for maps in stages]
        if distribution:
            # Heights have no logits: their logarithm gives the same distribution at temperature 1.
            soft = _resized(logits if logits is not None else torch.log(heights.clamp_min(1e-4)), own[0])
            loss = soft_target_loss(own, self._as_wide_as_labels(soft, heights.shape[-1]), settings.temperature)
        else:
            loss = sum(
                (functional.mse_loss(maps, _resized(heights, maps)) for maps in own), start=heights.new_zeros(())
            )
        loss = settings.weight * loss
        if self.align is None:
            return loss
        error = functional.mse_loss(self.align(features).float(), target := _resized(wanted, features))
        return loss + settings.feature_weight * (1.0 - fraction) * error / target.square().mean().clamp_min(1e-12)

    def _as_wide_as_labels(self, logits: Float[Tensor, "B J h w"], cells: int) -> Float[Tensor, "B J h w"]:
        """Bring a teacher's distributions, which `cells` cells a side became, to the width that labels have in the student's.

        A label is so many cells wide on any map: in a crop of half the side it is twice as wide in the picture. Unblurred, a
        student of such crops that equals its labels would be 2.4 nats a stage from a teacher that equals its own (of 10.4 for
        one that knows nothing; temperature 2).
        """
        sigma = self.teacher.model.distribution_sigma
        if sigma is None or self.sigma is None:
            return logits
        own = sigma * logits.shape[-1] / cells
        if self.sigma <= own:
            # A Gaussian's logits go with the inverse of its variance; a second peak sinks a little against the first.
            return logits * (own / self.sigma) ** 2
        with no_autocast(logits.device.type):
            answers = torch.softmax(logits.flatten(2), dim=-1).view_as(logits)
            return smooth_heatmaps(answers, math.sqrt(self.sigma**2 - own**2)).clamp_min(1e-12).log()


def soft_target_loss(
    stages: Sequence[Float[Tensor, "B J h w"]], teacher: Float[Tensor, "B J h w"], temperature: float
) -> Float[Tensor, ""]:
    """T^2 times the divergence (Kullback-Leibler, nats) of every stage from the teacher, both softened by the temperature T.

    stages, teacher: logits. Mean over pictures and joints, sum over stages. Gradients fall as 1 / T^2, which the factor undoes
    (Hinton, Vinyals, Dean 2015).
    """
    wanted = torch.log_softmax(teacher.flatten(2) / temperature, dim=-1)
    loss = teacher.new_zeros(())
    for maps in stages:
        own = torch.log_softmax(maps.flatten(2) / temperature, dim=-1)
        loss = loss + (wanted.exp() * (wanted - own)).sum(dim=-1).mean()
    return temperature**2 * loss


def feature_channels(model: ConvolutionalPoseMachine) -> int:
    """Return how many channels the trunk gives to the stages, found by a look."""
    training = model.training
    parameter = next(model.parameters())
    with torch.no_grad(), trunk_features(model) as features:
        model.eval()(torch.zeros(1, 3, 64, 64, device=parameter.device, dtype=parameter.dtype))
    model.train(training)
    return int(features[0].shape[1])


def _resized(maps: Float[Tensor, "B C h w"], like: Tensor) -> Float[Tensor, "B C h2 w2"]:
    """Bring maps on to another grid over the same crop."""
    if maps.shape[-2:] == like.shape[-2:]:
        return maps
    return functional.interpolate(maps, like.shape[-2:], mode="bilinear")
