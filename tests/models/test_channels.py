import itertools
import math

import pytest
import torch
from torch import nn

from posekit.models.backbones.clcnet import ChannelInterlace, ClcBlock
from posekit.models.channels import (
    channel_dependencies,
    channel_receptive_field,
    channel_receptive_field_sizes,
    cheapest_groups,
    cheapest_integer_groups,
    clc_cost,
    has_full_channel_receptive_field,
)


def probed(stack: nn.Module, channels: int) -> torch.Tensor:
    """Which outputs an input reaches, by putting NaN into one input channel after the other: it spreads and never heals."""
    images = torch.zeros(channels, channels, 4, 4)
    images[range(channels), range(channels)] = float("nan")
    out = stack.eval()(images)
    return out.isnan().flatten(2).any(dim=2).T


def grouped(channels_in: int, channels_out: int, groups: int, kernel_size: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel_size, padding=kernel_size // 2, groups=groups)


def test_dependencies_by_hand():
    stack = nn.Sequential(grouped(4, 4, 2), nn.BatchNorm2d(4), ChannelInterlace(2), grouped(4, 2, 2), nn.ReLU())
    first, interlace, last = channel_dependencies(stack, 4)
    assert [first.name, interlace.name, last.name] == ["0", "2", "3"]
    assert first.edges.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert interlace.edges.int().tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    assert last.edges.int().tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]
    # Each of the two outputs sees one channel of either group, and through it all four.
    assert has_full_channel_receptive_field(stack, 4)


def test_without_interlace_the_groups_stay_apart():
    stack = nn.Sequential(grouped(4, 4, 2, 3), grouped(4, 4, 2))
    assert channel_receptive_field(stack, 4).int().tolist() == [[1, 1, 0, 0]] * 2 + [[0, 0, 1, 1]] * 2
    assert channel_receptive_field_sizes(stack, 4).tolist() == [2, 2, 2, 2]
    assert not has_full_channel_receptive_field(stack, 4)


@pytest.mark.parametrize(("g1", "g2"), [(4, 2), (8, 1), (2, 4), (8, 2), (4, 4), (8, 8), (1, 8)])
def test_receptive_fields_are_what_a_probe_finds_and_the_rule_says(g1, g2):
    torch.manual_seed(0)
    block = ClcBlock(8, 16, g1, g2)
    found = channel_receptive_field(block, 8)
    assert torch.equal(found, probed(block, 8))
    # The paper's rule: full where g1 * g2 <= L, here 8.
    assert has_full_channel_receptive_field(block, 8) == (g1 * g2 <= 8)


def test_two_blocks_with_narrow_fields_may_see_everything_together():
    torch.manual_seed(0)
    block = ClcBlock(8, 8, 8, 2)
    stack = nn.Sequential(block, nn.Sequential(nn.MaxPool2d(2), ClcBlock(8, 8, 4, 4)))
    assert set(channel_receptive_field_sizes(block, 8).tolist()) == {4}
    assert torch.equal(channel_receptive_field(stack, 8), probed(stack, 8))


def test_depthwise_sees_itself_and_pointwise_all():
    assert torch.equal(channel_receptive_field(grouped(6, 6, 6, 3), 6), torch.eye(6, dtype=torch.bool))
    assert channel_receptive_field(grouped(6, 2, 1), 6).all()


def test_what_cannot_be_told_is_refused():
    with pytest.raises(ValueError, match="layer 1 takes 6 channels and gets 4"):
        channel_dependencies(nn.Sequential(grouped(8, 4, 1), grouped(6, 4, 1)), 8)
    with pytest.raises(ValueError, match="interlaces 3 groups and gets 4"):
        channel_dependencies(nn.Sequential(ChannelInterlace(3)), 4)
    with pytest.raises(TypeError, match="of a Linear"):
        channel_dependencies(nn.Sequential(nn.Linear(4, 4)), 4)


def test_cheapest_groups_by_hand():
    # M = L = N = 256: g1 = sqrt(9 * 256) = 48, g2 = 256 / 48, cost 2 * 3 * 256^(3/2) = 24,576.
    real = cheapest_groups(256, 256, 256)
    assert (real.g1, real.g2, real.cost) == pytest.approx((48, 16 / 3, 24576))
    assert clc_cost(256, 256, 256, real.g1, real.g2) == pytest.approx(real.cost)
    # Of the powers of 2 about it, (64, 4) costs 9216 + 16384 and (32, 8) costs 18432 + 8192.
    integer = cheapest_integer_groups(256, 256, 256)
    assert (integer.g1, integer.g2, integer.cost) == (64, 4, 25600)


def test_real_groups_are_a_minimum_on_the_rules_edge():
    real = cheapest_groups(48, 96, 64)
    assert real.g1 * real.g2 == pytest.approx(96)
    for g1 in (real.g1 * 0.95, real.g1 * 1.05):
        assert clc_cost(48, 96, 64, g1, 96 / g1) > real.cost


def test_integer_groups_are_the_cheapest_that_can_be_built_and_see_everything():
    M, L, N = 12, 24, 18
    best = cheapest_integer_groups(M, L, N)
    costs = {}
    for g1, g2 in itertools.product(range(1, 25), repeat=2):
        if M % g1 == L % g1 == L % g2 == N % g2 == 0:
            stack = nn.Sequential(grouped(M, L, g1, 3), ChannelInterlace(g1), grouped(L, N, g2))
            if has_full_channel_receptive_field(stack, M):
                weights = sum(layer.weight.numel() for layer in stack if isinstance(layer, nn.Conv2d))
                costs[g1, g2] = weights
    assert costs[best.g1, best.g2] == best.cost == min(costs.values())
    assert best.cost >= cheapest_groups(M, L, N).cost
    assert math.prod((best.g1, best.g2)) <= L
