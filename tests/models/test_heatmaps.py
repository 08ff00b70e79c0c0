import math

import numpy as np
import pytest
import torch

from posekit.models.heatmaps import cells_from_pixels, gaussian_heatmaps, joint_weights, pixels_from_cells
from posekit.training.losses import distribution_loss, heatmap_loss


def test_cells_and_pixels_are_centred_alike():
    # At stride 4 cell 0 covers pixels 0..3, whose middle is 1.5.
    assert pixels_from_cells(torch.tensor(0.0), 4) == 1.5
    assert pixels_from_cells(torch.tensor(31.0), 4) == 125.5
    xy = torch.rand(5, 2, dtype=torch.float64) * 128
    torch.testing.assert_close(pixels_from_cells(cells_from_pixels(xy, 8), 8), xy, rtol=0, atol=1e-12)


def test_gaussian_has_the_values_of_the_formula():
    xy = torch.tensor([[[21.3, 40.9]]], dtype=torch.float64)
    maps = gaussian_heatmaps(xy, (16, 20), 4, sigma=1.7)
    assert maps.shape == (1, 1, 16, 20)
    for row, column in ((9, 5), (10, 4), (0, 19)):
        distance = (column - (21.3 - 1.5) / 4) ** 2 + (row - (40.9 - 1.5) / 4) ** 2
        assert maps[0, 0, row, column].item() == pytest.approx(math.exp(-distance / (2 * 1.7**2)), rel=1e-12)


def test_gaussian_centroid_is_the_joint():
    xy = torch.tensor([[[61.37, 58.02]]], dtype=torch.float64)
    maps = gaussian_heatmaps(xy, (32, 32), 4, sigma=1.5)[0, 0].numpy()
    rows, columns = np.mgrid[:32, :32]
    centroid = np.array([(maps * columns).sum(), (maps * rows).sum()]) / maps.sum()
    # A sampled Gaussian of sigma 1.5 has its centroid off by less than 1e-9 cells, if no tail is cut.
    np.testing.assert_allclose(centroid * 4 + 1.5, [61.37, 58.02], atol=1e-6)


def test_a_joint_outside_gives_the_part_that_reaches_in_and_nan_gives_nothing():
    xy = torch.tensor([[[-6.0, 20.0], [float("nan"), 20.0]]])
    maps = gaussian_heatmaps(xy, (8, 8), 4, sigma=1.5)
    assert maps[0, 0].argmax() % 8 == 0
    # 1.875 cells left of the first column and 0.375 from the nearest row.
    assert maps[0, 0].max().item() == pytest.approx(math.exp(-(1.875**2 + 0.375**2) / (2 * 1.5**2)), rel=1e-5)
    assert maps[0, 1].abs().max() == 0


def test_background_is_what_no_joint_covers_and_needs_every_label():
    xy = torch.tensor([[[5.5, 5.5], [13.5, 5.5]], [[5.5, 5.5], [float("nan"), 0.0]]])
    maps = gaussian_heatmaps(xy, (4, 4), 4, sigma=1.0, background=True)
    torch.testing.assert_close(maps[:, 2], 1 - maps[:, :2].amax(dim=1))
    weight = joint_weights(xy, torch.tensor([[1.0, 0.5], [1.0, 1.0]]), background=True)
    assert weight.tolist() == [[1.0, 0.5, 0.5], [1.0, 0.0, 0.0]]


def test_loss_by_hand():
    target = torch.zeros(1, 2, 2, 2)
    target[0, 0, 0, 0] = 1.0
    stages = [torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2, 2), 0.5)]
    weight = torch.tensor([[2.0, 1.0]])
    # Stage 1: map 0 has error 1 in one of 4 cells, map 1 none: (2 * 1/4 + 1 * 0) / 3. Stage 2: error 1/4 in every cell.
    assert heatmap_loss(stages, target, weight).item() == pytest.approx(2 / 12 + 0.25)
    # With foreground 3 the one cell of value 1 counts 4 times.
    expected = (2 * 4 / 4) / 3 + (2 * (4 * 0.25 + 3 * 0.25) / 4 + 1 * 0.25) / 3
    assert heatmap_loss(stages, target, weight, foreground=3.0).item() == pytest.approx(expected)


def test_loss_ignores_maps_of_weight_zero_even_nan_and_their_gradient():
    target = torch.zeros(1, 2, 4, 4)
    maps = torch.ones(1, 2, 4, 4)
    maps[0, 1] = float("nan")
    maps.requires_grad_()
    loss = heatmap_loss([maps], target, torch.tensor([[1.0, 0.0]]))
    loss.backward()
    assert loss.item() == 1.0
    assert torch.isfinite(maps.grad).all()
    assert maps.grad[0, 1].abs().max() == 0
    assert heatmap_loss([maps], target, torch.zeros(1, 2)).item() == 0.0


def test_divergence_is_zero_for_the_target_itself_and_by_hand_for_flat_maps():
    xy = torch.tensor([[[30.0, 40.0], [60.0, 50.0]]], dtype=torch.float64)
    target = gaussian_heatmaps(xy, (24, 24), 4, sigma=1.5)
    weight = torch.ones(1, 2, dtype=torch.float64)
    # Logits may be shifted by any number.
    exact = target.clamp_min(1e-300).log() + 7
    assert distribution_loss([exact], target, weight).item() == pytest.approx(0.0, abs=1e-9)
    # Against 576 equal cells: log 576 less the entropy of a Gaussian, log(2 pi e sigma^2).
    flat = math.log(576) - math.log(2 * math.pi * math.e * 1.5**2)
    assert distribution_loss([torch.zeros_like(target)] * 2, target, weight).item() == pytest.approx(2 * flat, rel=1e-3)


def test_divergence_leaves_out_what_has_no_label_or_lies_outside():
    nan = float("nan")
    xy = torch.tensor([[[30.0, 40.0], [nan, nan], [-9.0, 40.0]]])
    target = gaussian_heatmaps(xy, (24, 24), 4, sigma=1.5)
    maps = torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    maps[0, 1] = nan
    maps.requires_grad_()
    loss = distribution_loss([maps], target, joint_weights(xy))
    loss.backward()
    alone = distribution_loss([maps[:, :1].detach()], target[:, :1], torch.ones(1, 1))
    assert loss.item() == pytest.approx(alone.item(), rel=1e-6)
    assert torch.isfinite(maps.grad).all()
    assert maps.grad[0, 1:].abs().max() == 0
    assert distribution_loss([maps], target, torch.zeros(1, 3)).item() == 0.0
