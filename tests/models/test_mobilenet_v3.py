import pytest
import torch
from torch import nn

from posekit.models.backbones.mobilenet_v3 import (
    BlockShape,
    ConvNorm,
    HardSwish,
    InvertedResidual,
    MobileNetV3,
    SqueezeExcite,
    rounded_channels,
)
from posekit.models.counting import count, level_shapes


@pytest.mark.parametrize(
    ("size", "parameters", "macs"),
    # An exact re-implementation's figures, which the paper's 5.4 M / 219 M and 2.5 M / 56 M are roundings of.
    [("large", 5_483_032, 216.6e6), ("small", 2_542_856, 56.5e6)],
)
def test_network_has_the_papers_size(size, parameters, macs):
    with torch.device("meta"):
        model = MobileNetV3(size, 1000)
    counted = count(model, 224)
    assert counted.parameters == parameters
    assert counted.macs == pytest.approx(macs, rel=5e-4)


def test_levels_at_224_and_368_px():
    with torch.device("meta"):
        large, small = MobileNetV3("large"), MobileNetV3("small")
    assert level_shapes(large, 224) == [(24, 56, 56), (40, 28, 28), (112, 14, 14), (960, 7, 7)]
    assert level_shapes(large, 368) == [(24, 92, 92), (40, 46, 46), (112, 23, 23), (960, 12, 12)]
    assert level_shapes(small, 224) == [(16, 56, 56), (24, 28, 28), (48, 14, 14), (576, 7, 7)]
    assert large.strides == (4, 8, 16, 32)
    assert large.channels == (24, 40, 112, 960)


def test_fewer_levels_are_the_first_ones():
    torch.manual_seed(0)
    whole = MobileNetV3("small").eval()
    part = MobileNetV3("small", levels=2).eval()
    part.load_state_dict({name: value for name, value in whole.state_dict().items() if name in part.state_dict()})
    images = torch.randn(1, 3, 64, 64)
    assert (part.strides, part.channels) == (whole.strides[:2], whole.channels[:2])
    for ours, theirs in zip(part.features(images), whole.features(images)[:2], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_output_stride_16_dilates_and_the_tail_is_halved():
    with torch.device("meta"):
        model = MobileNetV3("large", output_stride=16, reduced_tail=True)
    assert model.strides == (4, 8, 16, 16)
    assert level_shapes(model, 224)[2:] == [(112, 14, 14), (480, 14, 14)]
    dilations = {
        layer.dilation for layer in model.levels[3].modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1
    }
    assert dilations == {(2, 2)}
    with pytest.raises(ValueError, match="classifier"):
        MobileNetV3("large", 1000, output_stride=16)


def test_hard_swish_by_hand():
    x = torch.tensor([-4.0, -3.0, -1.0, 0.0, 1.5, 3.0, 5.0])
    # x relu6(x + 3) / 6
    expected = torch.tensor([0.0, 0.0, -1 / 3, 0.0, 1.5 * 4.5 / 6, 3.0, 5.0])
    torch.testing.assert_close(HardSwish()(x), expected)


def test_squeeze_excite_by_hand():
    gate = SqueezeExcite(8)
    assert gate.reduce.out_channels == 8  # a quarter of 8 is 2, but never fewer than 8
    with torch.no_grad():
        gate.reduce.weight.fill_(0.25)
        gate.reduce.bias.zero_()
        gate.expand.weight.zero_()
        gate.expand.weight[0] = 0.125
        gate.expand.bias.zero_()
        gate.expand.bias[1] = -3.0
        gate.expand.bias[2] = 3.0
    features = torch.ones(1, 8, 2, 2)
    features[:, :, 0, 0] = 5.0  # mean 2
    out = gate(features)
    # reduce: relu(8 * 0.25 * 2) = 4 in each; expand: 8 * 0.125 * 4 = 4 in channel 0: relu6(7) / 6 = 1; others relu6(3) / 6.
    torch.testing.assert_close(out[:, 0], features[:, 0])
    torch.testing.assert_close(out[:, 1], torch.zeros(1, 2, 2))
    torch.testing.assert_close(out[:, 2], features[:, 2])
    torch.testing.assert_close(out[:, 3], features[:, 3] / 2)


def test_a_block_by_hand():
    torch.manual_seed(0)
    block = InvertedResidual(4, BlockShape(3, 8, 4, False, True, 1)).double().eval()
    for layer in block.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-1, 1)
            layer.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)

    def normed(y: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
        return (y - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + 1e-3).sqrt()

    def hard_swish(y: torch.Tensor) -> torch.Tensor:
        return y * (y + 3).clamp(0, 6) / 6

    y = hard_swish(normed(torch.einsum("oi,bihw->bohw", block.expand[0].weight[..., 0, 0], x), block.expand[1]))
    padded = nn.functional.pad(y, (1, 1, 1, 1))
    weight = block.depthwise[0].weight
    y = sum(weight[:, 0, i, j][:, None, None] * padded[..., i : i + 5, j : j + 6] for i in range(3) for j in range(3))
    y = hard_swish(normed(y, block.depthwise[1]))
    y = normed(torch.einsum("oi,bihw->bohw", block.project[0].weight[..., 0, 0], y), block.project[1])
    torch.testing.assert_close(block(x), x + y)


def test_blocks_skip_only_where_shapes_agree_and_expand_only_where_wider():
    assert not InvertedResidual(4, BlockShape(3, 8, 4, False, False, 2)).skips
    assert not InvertedResidual(4, BlockShape(3, 8, 6, False, False, 1)).skips
    assert InvertedResidual(8, BlockShape(3, 8, 8, False, False, 1)).expand is None


def test_norms_are_the_papers():
    norm = ConvNorm(3, 4)[1]
    assert (norm.eps, norm.momentum) == (1e-3, 0.01)


def test_channels_are_rounded_to_multiples_of_8_and_not_far_down():
    # 18 -> 16 would lose more than a tenth.
    assert [rounded_channels(c) for c in (3, 12, 16, 18, 22, 30, 168)] == [8, 16, 16, 24, 24, 32, 168]
