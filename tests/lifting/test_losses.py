"""The losses against values worked out by hand, in float64."""

import numpy as np
import pytest
import torch

from posekit.lifting.losses import (
    bone_loss,
    camera_loss,
    consistency_loss,
    gradient_penalty,
    joint_weights,
    reprojection_loss,
    wasserstein_loss,
)
from posekit.lifting.skeletons import LIFTER_15, REPNET_16


def test_reprojection_by_hand() -> None:
    found = torch.tensor([[[1.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [3.0, 5.0]]], dtype=torch.float64)
    given = torch.zeros_like(found)
    weight = torch.tensor([[1.0, 1.0], [1.0, 0.25]], dtype=torch.float64)
    # (3 + 0) / 4 and (0 + 0.25 * 8) / 4.
    assert reprojection_loss(found, given, weight).item() == pytest.approx((0.75 + 0.5) / 2, abs=1e-15)


def test_missing_joints_cost_nothing() -> None:
    given = torch.zeros(1, 2, 2)
    far = torch.tensor([[[0.0, 0.0], [100.0, 100.0]]])
    assert reprojection_loss(far, given, torch.tensor([[1.0, 0.0]])).item() == 0


def test_weak_perspective_cameras_cost_nothing() -> None:
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.normal(size=(5, 3, 3)))
    scaled = torch.from_numpy(rng.uniform(0.1, 9, (5, 1, 1)) * q[:, :2])
    assert camera_loss(scaled).item() == pytest.approx(0, abs=1e-14)  # rounding of float64


def test_camera_loss_by_hand() -> None:
    camera = torch.tensor([[[2.0, 0.0, 0.0], [1.0, 1.0, 0.0]]], dtype=torch.float64)
    # K K^T = [[4, 2], [2, 2]], trace 6; 2/6 of it minus I = [[1/3, 2/3], [2/3, -1/3]].
    assert camera_loss(camera).item() == pytest.approx(2.0, abs=1e-15)


def test_camera_loss_of_a_camera_that_is_nothing_is_finite() -> None:
    camera = torch.zeros(1, 2, 3, requires_grad=True)
    camera_loss(camera).backward()
    assert torch.isfinite(camera.grad).all()


def test_gradient_penalty_by_hand() -> None:
    # A linear critic has the same gradient everywhere: a, of length 5, so that the penalty is 16.
    a = torch.zeros(2, 3, dtype=torch.float64)
    a[0, 0], a[1, 2] = 3.0, 4.0
    real, fake = torch.randn(2, 6, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mix = torch.full((6, 1, 1), 0.3, dtype=torch.float64)
    assert gradient_penalty(lambda x: (x * a).sum(dim=(1, 2)), real, fake, mix).item() == pytest.approx(16, abs=1e-12)


def test_gradient_penalty_is_taken_between_real_and_fake() -> None:
    # critic |x|^2 / 2 has the gradient x: 0.25 * 4 + 0.75 * 0 = 1 in length at the mix, so no penalty.
    real = torch.tensor([[[4.0, 0.0, 0.0]]], dtype=torch.float64)
    fake = torch.zeros_like(real)
    mix = torch.full((1, 1, 1), 0.25, dtype=torch.float64)
    assert gradient_penalty(lambda x: x.square().sum(dim=(1, 2)) / 2, real, fake, mix).item() == 0


def test_gradient_penalty_teaches_the_critic() -> None:
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    real, fake = torch.ones(1, 1, 3, dtype=torch.float64), torch.zeros(1, 1, 3, dtype=torch.float64)
    gradient_penalty(
        lambda x: scale * x[..., 0].sum(dim=1), real, fake, torch.ones(1, 1, 1, dtype=torch.float64)
    ).backward()
    # d/ds (|s| - 1)^2 = 2 (s - 1).
    assert scale.grad.item() == pytest.approx(4.0, abs=1e-12)


def test_wasserstein_and_consistency_by_hand() -> None:
    assert wasserstein_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])).item() == -1.5
    again = torch.tensor([[[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]]])
    assert consistency_loss(again, torch.zeros_like(again)).item() == 2.5


def test_joint_weights() -> None:
    weights = dict(zip(REPNET_16.joints, joint_weights(REPNET_16).tolist(), strict=True))
    assert (weights["mid_hip"], weights["left_knee"]) == (0, 1)
    assert weights["head_top"] == weights["upper_neck"] == pytest.approx(0.1)
    assert (joint_weights(LIFTER_15) == 1).all()


def test_bone_loss_by_hand() -> None:
    lengths = torch.tensor([[1.0, 1.2, 0.8]], dtype=torch.float64)
    mirror = torch.tensor([0, 2, 1])
    usual = torch.tensor([1.1, 1.0, 1.0], dtype=torch.float64)
    spread = torch.tensor([0.1, 0.1, 0.2], dtype=torch.float64)
    # Uneven by (0 + 0.4 + 0.4) / 3; z of -1, 2 and -1.
    expected = 0.8 / 3 + 0.1 * (1 + 4 + 1) / 3
    assert bone_loss(lengths, mirror, usual, spread).item() == pytest.approx(expected, abs=1e-12)
