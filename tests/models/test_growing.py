import pytest
import torch

from posekit.errors import PosekitError
from posekit.models.backbones.plain_residual import PlainResidual
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.models.growing import grow
from posekit.models.hand_networks import (
    deep_light_hand_cpm,
    light_hand_cpm,
    tiny_hand_cpm,
    wide_light_hand_cpm,
)
from posekit.models.pose_machine import light_pose_machine
from posekit.skeleton import BODY_25, HAND_21


def with_all_numbers(model: ConvolutionalPoseMachine) -> ConvolutionalPoseMachine:
    """Fill what starts at zero or one as well, as a training does."""
    generator = torch.Generator().manual_seed(4)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.rand(value.shape, generator=generator), alpha=0.05)
    return model.eval()


def test_a_grown_network_answers_as_the_smaller_one_did_stage_by_stage():
    torch.manual_seed(0)
    small, large = with_all_numbers(light_hand_cpm()), deep_light_hand_cpm()
    grow(large, small)
    images = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        before, after = small(images), large.eval()(images)
    assert (len(before), len(after)) == (2, 3)
    for stage in range(2):
        torch.testing.assert_close(after[stage], before[stage], rtol=1e-5, atol=1e-5)
    # The new stage works as the last one did, on the maps before it.
    features = small.backbone(images)
    unfolded = torch.nn.functional.pixel_unshuffle(after[1], 2)
    with torch.no_grad():
        expected = torch.nn.functional.pixel_shuffle(small.stages[1](torch.cat([unfolded, features], dim=1)), 2)
    torch.testing.assert_close(after[2], expected, rtol=1e-4, atol=1e-4)


def test_wider_layers_answer_as_the_narrower_ones_did_and_their_new_channels_learn():
    torch.manual_seed(0)
    small, large = with_all_numbers(deep_light_hand_cpm()), wide_light_hand_cpm()
    grow(large, small)
    images = torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        for wider, narrower in zip(large.eval()(images), small(images), strict=True):
            torch.testing.assert_close(wider, narrower, rtol=1e-4, atol=1e-4)
    large.train()(images)[-1].square().sum().backward()
    reads_new = large.stages[2][0].weight.grad[:64, small.stages[2][0].in_channels :]
    assert torch.count_nonzero(large.stages[2][0].weight[:64, small.stages[2][0].in_channels :]) == 0
    assert reads_new.abs().amax(dim=(1, 2, 3)).min() > 0


def test_networks_of_any_width_grow_into_wider_ones():
    torch.manual_seed(0)
    small, large = with_all_numbers(tiny_hand_cpm()), wide_light_hand_cpm()
    grow(large, small)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        # Maps of weights filled at random are of 10,000s.
        torch.testing.assert_close(large.eval()(images)[1], small(images)[1], rtol=1e-3, atol=1e-3)


def test_what_is_new_in_a_grown_network_learns():
    torch.manual_seed(0)
    large = deep_light_hand_cpm()
    grow(large, with_all_numbers(light_hand_cpm()))
    large.train()(torch.randn(2, 3, 64, 64))[-1].square().sum().backward()
    new = large.backbone.backbone.levels[1][3]
    assert torch.count_nonzero(new.norm.weight) == 0
    assert new.norm.weight.grad.abs().sum() > 0
    assert all(parameter.grad.abs().sum() > 0 for parameter in large.stages[2].parameters())


def test_a_network_of_one_stage_gives_its_own_alone():
    torch.manual_seed(0)
    small = light_pose_machine(HAND_21, PlainResidual(), stages=1)
    large = light_pose_machine(HAND_21, PlainResidual(), stages=2)
    fresh = large.stages[1][0].weight.clone()
    grow(large, small)
    assert torch.equal(large.stages[0][0].weight, small.stages[0][0].weight)
    # A first stage sees no maps, so it cannot be a second one.
    assert torch.equal(large.stages[1][0].weight, fresh)


def test_a_network_that_is_no_part_is_refused_and_nothing_is_changed():
    torch.manual_seed(0)
    large = light_hand_cpm()
    before = {name: value.clone() for name, value in large.state_dict().items()}
    tiny = tiny_hand_cpm()
    kept = {name: value.clone() for name, value in tiny.state_dict().items()}
    with pytest.raises(
        PosekitError,
        match=r"tensor backbone\.backbone\.stem\.0\.weight: found \(48, 3, 7, 7\), expected \(24, 3, 7, 7\) or fewer",
    ):
        grow(tiny, light_hand_cpm())
    assert all(torch.equal(value, kept[name]) for name, value in tiny.state_dict().items())
    # Stages read maps before features: with more maps, old weights would read what they have not learnt.
    with pytest.raises(PosekitError, match="joints: found 21, expected 25"):
        grow(light_pose_machine(BODY_25, PlainResidual()), light_hand_cpm())
    with pytest.raises(PosekitError, match=r"tensor \S+: found, but the network that was to begin with it has none"):
        grow(large, deep_light_hand_cpm())
    assert all(torch.equal(value, before[name]) for name, value in large.state_dict().items())
