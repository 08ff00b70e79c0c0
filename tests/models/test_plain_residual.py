import pytest
import torch
from torch import nn

from posekit.models.backbones.plain_residual import PlainResidual
from posekit.models.counting import count_parameters
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.models.hand_networks import light_hand_cpm


def test_the_light_network_answers_one_map_a_joint_and_stage_at_stride_4() -> None:
    model = light_hand_cpm().eval()
    with torch.inference_mode():
        maps = model(torch.zeros(2, 3, 128, 96))
    assert [tuple(m.shape) for m in maps] == [(2, 21, 32, 24)] * 2
    assert model.stride == 4
    assert count_parameters(model) == 1_727_640


def test_levels_are_as_announced() -> None:
    backbone = PlainResidual(8, (16, 24), (1, 0)).eval()
    with torch.inference_mode():
        levels = backbone.features(torch.zeros(1, 3, 64, 32))
    assert [tuple(level.shape) for level in levels] == [(1, 16, 8, 4), (1, 24, 4, 2)]
    assert (backbone.strides, backbone.channels) == ((8, 16), (16, 24))


class _Cells(nn.Module):
    """Features that are given, whatever the picture."""

    def __init__(self, features: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("features", features)

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.features


def test_sub_cells_lie_where_their_channel_says() -> None:
    # One joint; channel 2 dy + dx of a cell is its sub-cell in row dy and column dx.
    features = torch.arange(2 * 3 * 4, dtype=torch.float32).view(1, 4, 2, 3)
    model = ConvolutionalPoseMachine(
        _Cells(features), 4, joints=1, stages=1, stride=8, background=False, first_channels=4, subcells=2
    )
    first, last = model.stages[0][0], model.stages[0][2]
    for layer in (first, last):
        nn.init.zeros_(layer.bias)
        with torch.no_grad():
            layer.weight.copy_(torch.eye(4)[:, :, None, None])
    with torch.inference_mode():
        (maps,) = model(torch.zeros(1, 3, 16, 24))
    assert maps.shape == (1, 1, 4, 6)
    for row in range(4):
        for column in range(6):
            channel = 2 * (row % 2) + column % 2
            assert maps[0, 0, row, column] == features[0, channel, row // 2, column // 2]


def test_features_that_sub_cells_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="stride 8 cannot be divided into 3 x 3"):
        ConvolutionalPoseMachine(nn.Identity(), 3, joints=1, stride=8, subcells=3)
