import pytest
import torch
from torch import nn

from posekit.ops.deformable import modulated_deform_conv2d
from posekit.ops.deformable_roi import modulated_deform_roi_pool
from posekit.ops.layers import ModulatedDeformConv2d, ModulatedDeformRoIPool, offset_parameters

ROIS = torch.tensor([[0, 1.0, 2.0, 20.0, 17.0], [1, 3.0, 4.0, 19.0, 30.0]])


@pytest.mark.parametrize("options", [{}, {"stride": 2, "dilation": 2, "groups": 2, "deformable_groups": 4}])
def test_it_starts_as_half_the_convolution_of_its_weights(options):
    layer = ModulatedDeformConv2d(8, 6, 3, padding=1, bias=False, **options)
    options.pop("deformable_groups", None)
    plain = nn.Conv2d(8, 6, 3, padding=1, bias=False, **options)
    layer.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(2, 8, 9, 10)
    torch.testing.assert_close(layer(images), 0.5 * plain(images), rtol=0, atol=1e-5)  # float32, sums of 72 numbers


def test_the_branch_answers_offsets_first_and_modulations_last():
    layer = ModulatedDeformConv2d(4, 4, 3, padding=1, deformable_groups=2)
    assert layer.conv_offset.out_channels == 3 * 2 * 9
    nn.init.normal_(layer.conv_offset.weight, std=0.3)
    nn.init.normal_(layer.conv_offset.bias, std=0.3)
    x = torch.randn(1, 4, 6, 6)
    answers = layer.conv_offset(x)
    by_hand = modulated_deform_conv2d(
        x, answers[:, :36], torch.sigmoid(answers[:, 36:]), layer.weight, layer.bias, padding=1
    )
    torch.testing.assert_close(layer(x), by_hand)


def test_it_learns_where_to_look():
    # The answer is the picture two columns further: a kernel of one point has to move, and can.
    layer = ModulatedDeformConv2d(1, 1, 1, bias=False)
    nn.init.constant_(layer.weight, 2.0)
    nn.init.constant_(layer.conv_offset.bias[1:2].data, 1.5)
    x = torch.nn.functional.avg_pool2d(torch.randn(4, 1, 20, 20), 5, stride=1, padding=2)
    wanted = x.roll(-2, dims=3)[..., 2:-4]
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = (layer(x)[..., 2:-4] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert layer.conv_offset.bias[1].item() == pytest.approx(2.0, abs=0.1)  # the weight may take part of it per pixel


def test_under_autocast_the_features_are_16_bit_and_the_offsets_are_not():
    layer = ModulatedDeformConv2d(4, 4, 3, padding=1)
    seen = []
    layer.conv_offset.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0].dtype, output.dtype)))
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(torch.randn(1, 4, 5, 5).bfloat16())
    assert found.dtype == torch.bfloat16
    assert seen == [(torch.float32, torch.float32)]
    assert layer.bfloat16()(torch.randn(1, 4, 5, 5).bfloat16()).dtype == torch.bfloat16


def test_it_compiles_whole():
    layer = ModulatedDeformConv2d(4, 4, 3, padding=1)
    x = torch.randn(1, 4, 5, 5)
    found = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(found, layer(x), rtol=0, atol=0)


def test_offset_parameters_are_those_of_the_offset_convolutions():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), ModulatedDeformConv2d(4, 4, 3), nn.Sequential(ModulatedDeformConv2d(4, 2, 1))
    )
    names = [
        name
        for name, parameter in model.named_parameters()
        if any(parameter is one for one in offset_parameters(model))
    ]
    assert names == [f"{layer}.conv_offset.{kind}" for layer in ("1", "2.0") for kind in ("weight", "bias")]
    assert offset_parameters(nn.Conv2d(3, 4, 3)) == []


def test_a_layer_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="deformable groups"):
        ModulatedDeformConv2d(4, 4, 3, deformable_groups=3)


def test_pooling_starts_as_half_the_plain_pooling():
    layer = ModulatedDeformRoIPool(3, 2, 0.25, hidden=8)
    x = torch.randn(2, 3, 6, 7)
    plain = modulated_deform_roi_pool(x, ROIS, torch.zeros(2, 2, 2, 2), torch.ones(2, 2, 2), 0.25)
    torch.testing.assert_close(layer(x, ROIS), 0.5 * plain)
    assert layer(x, ROIS[:0]).shape == (0, 3, 2, 2)


def test_pooling_moves_by_gamma_and_its_branch_learns():
    layer = ModulatedDeformRoIPool(3, 2, 0.25, hidden=8, gamma=0.5)
    with torch.no_grad():
        layer.branch[-1].bias.copy_(torch.arange(12) / 6 - 1)
    x = torch.randn(2, 3, 6, 7)
    answers = (torch.arange(12) / 6 - 1).view(1, 3, 2, 2).expand(2, -1, -1, -1)
    by_hand = modulated_deform_roi_pool(x, ROIS, 0.5 * answers[:, :2], answers[:, 2].sigmoid(), 0.25)
    found = layer(x, ROIS)
    torch.testing.assert_close(found, by_hand)
    found.square().sum().backward()
    assert layer.branch[-1].weight.grad.abs().sum() > 0
