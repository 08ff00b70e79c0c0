import math

import pytest
import torch
from torch import nn

from posekit.models.cpm import ConvolutionalPoseMachine


@pytest.mark.parametrize("background", [False, True])
def test_every_stage_returns_maps_at_the_stride(background):
    trunk = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    model = ConvolutionalPoseMachine(
        trunk, 8, joints=5, stages=3, stride=2, background=background, first_channels=4, stage_channels=4, kernel_size=3
    )
    maps = model(torch.rand(2, 3, 16, 24))
    assert [tuple(stage.shape) for stage in maps] == [(2, 5 + background, 8, 12)] * 3


def test_a_later_stage_reads_the_maps_before_it_and_the_features():
    model = ConvolutionalPoseMachine(
        nn.Identity(), 3, joints=2, stages=2, stride=1, background=False, first_channels=16, stage_channels=16
    ).eval()
    images = torch.rand(1, 3, 9, 9)
    first, second = model(images)
    by_hand = model.stages[1](torch.cat([first, images], dim=1))
    torch.testing.assert_close(second, by_hand)
    # And its gradient reaches both: intermediate supervision trains the first stage through the second as well.
    second.sum().backward()
    assert model.stages[0][0].weight.grad.abs().sum() > 0


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd kernel"):
        ConvolutionalPoseMachine(nn.Identity(), 3, joints=2, kernel_size=4)


def test_heatmaps_of_a_distribution_have_height_one_where_it_is_as_narrow_as_its_target():
    model = ConvolutionalPoseMachine(
        nn.Identity(), 3, joints=2, stages=1, stride=1, background=False, first_channels=4, distribution_sigma=1.5
    )
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    logits = -((rows - 11).square() + (columns - 9).square()) / (2 * 1.5**2)
    model.forward = lambda images: [logits.expand(1, 2, -1, -1)]
    heights = model.heatmaps(torch.zeros(1, 3, 24, 24))
    assert heights[0, 1, 11, 9].item() == pytest.approx(1.0, rel=1e-4)
    assert heights[0, 1, 11, 12].item() == pytest.approx(math.exp(-2), rel=1e-4)
    with pytest.raises(ValueError, match="background"):
        ConvolutionalPoseMachine(nn.Identity(), 3, joints=2, distribution_sigma=1.5)
