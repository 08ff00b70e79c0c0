import pytest
import torch
from torch import nn

from posekit.models.backbones.clcnet import ChannelInterlace, ClcBlock, clcnet_a, clcnet_b
from posekit.models.channels import has_full_channel_receptive_field
from posekit.models.counting import count, level_shapes


@pytest.mark.parametrize(
    ("build", "parameters", "macs"),
    # Calculated by hand from the paper's table 2 with the groups of the author's code.
    [(clcnet_a, 3.25e6, 343e6), (clcnet_b, 4.09e6, 425e6)],
)
def test_network_has_the_papers_size(build, parameters, macs):
    with torch.device("meta"):
        model = build(1000)
    counted = count(model, 224)
    assert counted.parameters == pytest.approx(parameters, rel=2e-3)
    assert counted.macs == pytest.approx(macs, rel=2e-3)


def test_levels_at_224_and_368_px():
    with torch.device("meta"):
        model = clcnet_a()
    assert level_shapes(model, 224) == [(128, 56, 56), (256, 28, 28), (512, 14, 14), (1024, 7, 7)]
    assert level_shapes(model, 368) == [(128, 92, 92), (256, 46, 46), (512, 23, 23), (1024, 12, 12)]


def test_interlace_by_hand():
    channels = torch.arange(6.0).view(1, 6, 1, 1)
    # Two groups (0 1 2) and (3 4 5): one of each in turn.
    assert ChannelInterlace(2)(channels).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert ChannelInterlace(3)(channels).flatten().tolist() == [0, 2, 4, 1, 3, 5]


def test_every_block_sees_all_its_input_channels():
    with torch.device("meta"):
        blocks = [module for module in clcnet_b().modules() if isinstance(module, ClcBlock)]
    assert len(blocks) == 1 + 2 + 2 + 8 + 4
    assert all(has_full_channel_receptive_field(block, block[0].in_channels) for block in blocks)


def test_a_block_has_no_activation_between_its_convolutions():
    torch.manual_seed(0)
    block = ClcBlock(8, 4, 4, 2).eval()
    x = torch.randn(1, 8, 5, 5)
    before_relu = nn.Sequential(*list(block)[:-1])
    # Linear up to its last layer: twice the input gives twice the output (running means are 0).
    torch.testing.assert_close(before_relu(2 * x), 2 * before_relu(x))
    torch.testing.assert_close(block(x), before_relu(x).clamp_min(0))
