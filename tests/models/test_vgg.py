import pytest
import torch
from torch import nn

from posekit.models.backbones.vgg import Vgg19, VggTrunk
from posekit.models.counting import count, level_shapes


def test_vgg19_has_its_published_size():
    # 143.67 M parameters and 19.63 G multiplications at 224 px, as torchvision lists its vgg19.
    with torch.device("meta"):
        model = Vgg19(1000)
    counted = count(model, 224)
    assert counted.parameters == 143_667_240
    assert counted.macs == pytest.approx(19.63e9, rel=5e-4)


def test_levels_end_before_the_pools():
    with torch.device("meta"):
        model = Vgg19()
    assert level_shapes(model, 224) == [(256, 56, 56), (512, 28, 28), (512, 14, 14)]
    assert level_shapes(model, 368) == [(256, 92, 92), (512, 46, 46), (512, 23, 23)]


def test_trunk_has_vgg19s_layers_to_conv4_4_and_openposes_three():
    with torch.device("meta"):
        trunk = VggTrunk()
    layers = [layer for layer in trunk.modules() if isinstance(layer, nn.Conv2d | nn.MaxPool2d)]
    widths = [layer.out_channels if isinstance(layer, nn.Conv2d) else "pool" for layer in layers]
    assert widths == [64] * 2 + ["pool"] + [128] * 2 + ["pool"] + [256] * 4 + ["pool"] + [512] * 6 + [128]
    assert all(layer.kernel_size == (3, 3) for layer in layers if isinstance(layer, nn.Conv2d))
    # Nowhere two layers without a ReLU between them: as many as convolutions.
    assert sum(isinstance(layer, nn.ReLU) for layer in trunk.modules()) == 15


def test_gradients_reach_the_first_layer_of_an_untrained_trunk():
    # Sixteen layers without norms: from PyTorch's own start the features have a spread of 1e-3 of the picture's.
    torch.manual_seed(0)
    features = VggTrunk(16)(torch.randn(1, 3, 32, 32))
    assert 0.05 < features.std().item() < 20


def test_a_classifier_needs_the_whole_network():
    with pytest.raises(ValueError, match="classifier"):
        Vgg19(10, levels=2)
    with pytest.raises(ValueError, match="expected 1 to 3"):
        Vgg19(levels=4)
