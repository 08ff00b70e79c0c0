import pytest
import torch
from torch import nn
from torch.nn import functional

from posekit.models.backbones.scnet import ScBottleneck, ScNet, SelfCalibratedConvolution, scnet50, scnet101
from posekit.models.counting import count, level_shapes


@pytest.mark.parametrize(
    ("build", "parameters", "macs"),
    # The authors' table: 25.56 M, 4.0 G and 44.57 M, 7.2 G; they count norms and pools as well.
    [(scnet50, 25.56e6, 4.0e9), (scnet101, 44.57e6, 7.2e9)],
)
def test_network_has_the_papers_size(build, parameters, macs):
    with torch.device("meta"):
        model = build(1000)
    counted = count(model, 224)
    assert counted.parameters == pytest.approx(parameters, rel=2.5e-4)
    assert counted.macs == pytest.approx(macs, rel=2e-2)


def test_levels_at_224_and_368_px():
    with torch.device("meta"):
        model = scnet50()
    assert level_shapes(model, 224) == [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    assert level_shapes(model, 368) == [(256, 92, 92), (512, 46, 46), (1024, 23, 23), (2048, 12, 12)]
    with torch.device("meta"):
        narrow = ScNet((1, 1, 1), levels=3, width=16)
    assert level_shapes(narrow, 128) == [(64, 32, 32), (128, 16, 16), (256, 8, 8)]
    assert (narrow.strides, narrow.channels) == ((4, 8, 16), (64, 128, 256))


def random_norms(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-1, 1)
            layer.running_var.uniform_(0.5, 2)


def test_self_calibration_by_its_formula():
    torch.manual_seed(0)
    layer = SelfCalibratedConvolution(3, stride=2).double().eval()
    random_norms(layer)
    x = torch.randn(2, 3, 8, 12, dtype=torch.float64)

    def filtered(y: torch.Tensor, part: nn.Sequential, stride: int = 1) -> torch.Tensor:
        norm = part[1]
        y = functional.conv2d(y, part[0].weight, stride=stride, padding=1)
        return (y - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + norm.eps).sqrt()

    cells = x.view(2, 3, 2, 4, 3, 4).mean(dim=(3, 5))
    context = filtered(cells, layer.k2).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    gate = 1 / (1 + torch.exp(-(x + context)))
    expected = filtered(filtered(x, layer.k3) * gate, layer.k4, stride=2).clamp_min(0)
    torch.testing.assert_close(layer(x), expected)


def test_maps_smaller_than_the_pool_are_averaged_whole():
    layer = SelfCalibratedConvolution(2).eval()
    assert layer(torch.randn(1, 2, 2, 3)).shape == (1, 2, 2, 3)


def test_bottleneck_joins_a_plain_half_and_a_calibrated_one():
    torch.manual_seed(0)
    block = ScBottleneck(8, 4, stride=2).eval()
    random_norms(block)
    x = torch.randn(1, 8, 8, 8)
    halves = [block.plain(block.reduce_a(x)), block.calibrated(block.reduce_b(x))]
    expected = functional.relu(block.expand(torch.cat(halves, dim=1)) + block.shortcut(x))
    torch.testing.assert_close(block(x), expected)
    assert block(x).shape == (1, 16, 4, 4)
    assert isinstance(ScBottleneck(16, 4).shortcut, nn.Identity)


def test_odd_width_is_refused():
    with pytest.raises(ValueError, match="even width"):
        ScNet(width=15)
