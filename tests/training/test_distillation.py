import dataclasses

import pytest
import torch

from posekit.errors import PosekitError
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.models.heatmaps import gaussian_heatmaps
from posekit.models.images import normalise_images
from posekit.training.distillation import Distillation, DistillationSettings, Teacher, soft_target_loss
from posekit.training.loop import train
from posekit.training.samples import CropBatch
from small_training import SETTINGS, dot_batches, small_distillation, tiny_model


def test_soft_targets_equal_the_divergence_of_softened_distributions():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 2, 4, 5, generator=generator, dtype=torch.float64)
    stages = [student, student + 1.0]  # a shift of all logits changes no distribution
    for temperature in (1.0, 3.0):
        p = torch.softmax(teacher.flatten(2) / temperature, -1)
        q = torch.softmax(student.flatten(2) / temperature, -1)
        expected = 2 * temperature**2 * (p * (p / q).log()).sum(-1).mean()
        torch.testing.assert_close(soft_target_loss(stages, teacher, temperature), expected)
    assert soft_target_loss([teacher], teacher, 2.0).abs() < 1e-12


def test_the_square_of_the_temperature_keeps_the_gradients_size():
    generator = torch.Generator().manual_seed(0)
    student, teacher = 0.1 * torch.randn(2, 4, 3, 6, 6, generator=generator, dtype=torch.float64)
    sizes = []
    for temperature in (5.0, 50.0):
        logits = student.clone().requires_grad_(True)
        soft_target_loss([logits], teacher, temperature).backward()
        sizes.append(logits.grad.norm().item())
    # At high temperature softmax is linear and the factor exact (Hinton et al. 2015, eq. 4): 0.1 / 5 away from it at most.
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


@pytest.mark.parametrize("sigma", [None, 1.5])
def test_a_student_equal_to_its_teacher_has_nothing_to_learn_from_its_maps(sigma):
    model = tiny_model(distribution_sigma=sigma, stages=1).eval()
    images = dot_batches(0).images
    settings = DistillationSettings(weight=1.0, feature_weight=0.0)
    same = Distillation(model, Teacher(tiny_model(distribution_sigma=sigma, stages=1), 48), settings)
    other = Distillation(model, Teacher(tiny_model(seed=4, distribution_sigma=sigma, stages=1), 48), settings)
    with torch.no_grad():
        stages = model(normalise_images(images))
        features = torch.zeros(8, 16, 12, 12)
        assert same(images, stages, features, sigma is not None, 0.0) < 1e-8
        # Both answer about the same everywhere before they are trained.
        assert other(images, stages, features, sigma is not None, 0.0) > 1e-5


@pytest.mark.parametrize(("side", "shown"), [(64, 128), (96, 128), (128, 128), (128, 96), (128, 64), (96, 64)])
def test_a_student_equal_to_its_labels_has_little_to_learn_from_a_teacher_equal_to_its_own(side, shown):
    """side: of the student's crops; shown: of those that the teacher is shown."""
    student = tiny_model(distribution_sigma=1.5, stages=1)
    joints = student.joints
    places = side * (0.25 + 0.5 * torch.rand(4, joints, 2, generator=torch.Generator().manual_seed(0)))

    def answers(crop: int) -> torch.Tensor:
        """Logits whose distributions are the labels' in crops of `crop` px."""
        return gaussian_heatmaps(places * crop / side, (crop // 4, crop // 4), 4, 1.5).clamp_min(1e-12).log()

    class Knowing(Teacher):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            return answers(shown).exp(), answers(shown), torch.zeros(4, 1, 1, 1)

    teacher = Knowing(tiny_model(distribution_sigma=1.5, stages=1), shown)
    loss = Distillation(student, teacher, DistillationSettings(feature_weight=0.0))
    images, features = torch.zeros(4, 3, side, side), torch.zeros(4, 1, 1, 1)
    knows, knows_nothing = (
        loss(images, [maps], features, True, 0.0) for maps in (answers(side), torch.zeros_like(answers(side)))
    )
    # What is left is of bilinear resizing; a teacher twice as narrow would leave 0.24 of it.
    assert knows < 0.03 * knows_nothing


def test_a_teacher_of_heights_teaches_a_student_of_distributions():
    # Heights that are a distribution's: their logarithms are its logits up to a constant.
    teacher = Teacher(tiny_model(distribution_sigma=1.5, stages=1), 48)
    heights, logits, _ = teacher(dot_batches(0).images)
    assert logits is not None
    torch.testing.assert_close(
        torch.softmax(heights.log().flatten(2), -1), torch.softmax(logits.flatten(2), -1), rtol=1e-4, atol=1e-7
    )


def test_the_features_weight_falls_to_nothing_and_the_teacher_stands_still():
    student = tiny_model()
    distillation = small_distillation(student).train()
    batch = dot_batches(0)
    before = {name: value.clone() for name, value in distillation.teacher.state_dict().items()}
    stages, features = student(normalise_images(batch.images)), torch.randn(8, 16, 12, 12)
    losses = [distillation(batch.images, stages, features, False, fraction).item() for fraction in (0.0, 0.5, 1.0)]
    assert losses[0] > losses[1] > losses[2]
    assert losses[0] - losses[1] == pytest.approx(losses[1] - losses[2], rel=1e-3)
    for name, value in distillation.teacher.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(parameter.requires_grad for parameter in distillation.teacher.parameters())


def middles(model: ConvolutionalPoseMachine, images: torch.Tensor) -> torch.Tensor:
    """Where the model's maps have their mean, less its mean over the pictures: (B, J, 2), cells."""
    with torch.inference_mode():
        heights = model.eval().heatmaps(normalise_images(images))
    share = heights / heights.sum((-2, -1), keepdim=True)
    cells = torch.arange(12.0)
    found = torch.stack([(share.sum(-2) * cells).sum(-1), (share.sum(-1) * cells).sum(-1)], dim=-1)
    return found - found.mean(dim=0)


def test_a_student_learns_from_its_teacher_where_there_is_no_label():
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-2, steps=40)
    teacher = tiny_model(width=12, distribution_sigma=1.5, stages=1)
    train(teacher, dot_batches, settings)

    def unlabelled(step: int, fraction: float) -> CropBatch:
        batch = dot_batches(1000 + step)
        return CropBatch(batch.images, torch.full_like(batch.joints, torch.nan), torch.zeros_like(batch.weight))

    student = tiny_model(seed=1, distribution_sigma=1.5, stages=1)
    images = dot_batches(20_000).images  # neither has learnt from these
    wanted, before = middles(teacher, images), middles(student, images)
    distillation = Distillation(student, Teacher(teacher, 48), DistillationSettings())
    train(student, unlabelled, settings, distillation=distillation)
    # In cells; the dots' own spread is 2.6.
    assert wanted.square().mean().sqrt() > 1.5
    assert (middles(student, images) - wanted).square().mean().sqrt() < 0.5
    assert (before - wanted).square().mean().sqrt() > 1.0


def test_a_teacher_of_other_joints_is_refused():
    student, teacher = tiny_model(), Teacher(tiny_model(), 48)
    student.joints = 3
    with pytest.raises(PosekitError, match="found 2 joints, expected the student's 3"):
        Distillation(student, teacher, DistillationSettings())
    with pytest.raises(PosekitError, match="temperature"):
        DistillationSettings(temperature=0.0)
    with pytest.raises(PosekitError, match="teacher's size: found 50, expected a positive multiple of 32"):
        DistillationSettings(teacher_size=50)
