import pytest
import torch
from torch import nn

from posekit.models.backbones.resnet import ResNet, resnet50, resnet101
from posekit.models.counting import count, level_shapes
from posekit.ops.layers import ModulatedDeformConv2d, offset_parameters


def deformable_layers(model: nn.Module) -> list[str]:
    return [name for name, layer in model.named_modules() if isinstance(layer, ModulatedDeformConv2d)]


@pytest.mark.parametrize(
    ("build", "parameters", "macs"), [(resnet50, 25_557_032, 4.09e9), (resnet101, 44_549_160, 7.80e9)]
)
def test_size_is_that_of_the_published_networks(build, parameters, macs):
    with torch.device("meta"):
        counted = count(build(classes=1000), 224)
    assert counted.parameters == parameters
    assert counted.macs == pytest.approx(macs, rel=2e-3)  # published to three digits


def test_levels_are_at_strides_4_to_32():
    with torch.device("meta"):
        model = resnet50(deformable=True)
    assert model.channels == (256, 512, 1024, 2048)
    assert model.strides == (4, 8, 16, 32)
    assert level_shapes(model, 224) == [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    assert level_shapes(model, 368) == [(256, 92, 92), (512, 46, 46), (1024, 23, 23), (2048, 12, 12)]


def test_every_3x3_convolution_from_conv3_on_is_deformable():
    with torch.device("meta"):
        small, large, plain = resnet50(deformable=True), resnet101(deformable=True), resnet50()
    blocks = {"layer2": 4, "layer3": 6, "layer4": 3}
    assert deformable_layers(small) == [f"{name}.{i}.conv2" for name, number in blocks.items() for i in range(number)]
    assert len(deformable_layers(large)) == 4 + 23 + 3
    assert deformable_layers(plain) == []


def test_offsets_cost_what_their_convolutions_multiply():
    with torch.device("meta"):
        plain, deformable = count(resnet50(), 224), count(resnet50(deformable=True), 224)
        of_offsets = sum(parameter.numel() for parameter in offset_parameters(resnet50(deformable=True)))
    assert deformable.parameters - plain.parameters == of_offsets
    # 27 channels from a 3x3 kernel, at the size after the stride; each level keeps channels x size x size within a factor.
    sizes = {128: (28, 4), 256: (14, 6), 512: (7, 3)}
    by_hand = sum(number * 27 * 9 * channels * size**2 for channels, (size, number) in sizes.items())
    assert deformable.macs - plain.macs == by_hand


def test_it_has_the_names_of_torchvision():
    names = {name for name in ResNet((1, 1, 1, 1), width=8).state_dict() if name.endswith("weight")}
    parts = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1")
    blocks = {f"layer{level}.0.{part}.weight" for level in range(1, 5) for part in parts}
    assert names == blocks | {"conv1.weight", "bn1.weight"}


def test_deformable_it_starts_with_nothing_moved_and_trains():
    model = ResNet((1, 1, 1, 1), classes=5, width=8, deformable=True)
    assert not any(parameter.any() for parameter in offset_parameters(model))
    scores = model(torch.randn(2, 3, 64, 64))
    assert scores.shape == (2, 5)
    scores.square().sum().backward()
    # The last level sees 2 x 2 cells; every offset convolution gets a gradient all the same.
    assert all(parameter.grad.abs().sum() > 0 for parameter in offset_parameters(model))


def test_a_deformable_start_is_a_plain_network_with_halved_3x3_convolutions():
    plain, deformable = ResNet((1, 1, 1), levels=3, width=8), ResNet((1, 1, 1), levels=3, width=8, deformable=True)
    missing, unexpected = deformable.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all("conv_offset" in name for name in missing)
    with torch.no_grad():
        for level in (plain.layer2, plain.layer3):
            level[0].conv2.weight.mul_(0.5)
    images = torch.randn(1, 3, 64, 64)
    for one, other in zip(plain.eval().features(images), deformable.eval().features(images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)  # float32 through nine layers


def test_levels_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="levels"):
        ResNet(levels=5)
    with pytest.raises(ValueError, match="blocks for 4 levels"):
        ResNet((1, 1))
