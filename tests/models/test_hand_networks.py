import pytest
import torch
from torch.nn import functional

from posekit.models.backbones.clcnet import ClcNet
from posekit.models.backbones.levels import FusedLevels
from posekit.models.backbones.mobilenet_v3 import MobileNetV3
from posekit.models.counting import count
from posekit.models.hand_networks import HAND_NETWORKS, openpose_hand_cpm
from posekit.models.pose_machine import light_pose_machine, pose_machine
from posekit.skeleton import BODY_25, HAND_21

LIGHT = sorted(set(HAND_NETWORKS) - {"openpose_hand_cpm"})


def test_openpose_hand_cpm_has_the_size_of_the_released_network():
    # 36.8 M parameters, 103 GMAC at 368 px and 22 maps of 46 x 46, calculated from OpenPose's pose_deploy.prototxt.
    with torch.device("meta"):
        model = openpose_hand_cpm()
    counted = count(model, 368)
    assert counted.parameters == 36_832_324
    assert counted.macs == 103_187_671_040
    assert counted.layers[-1].shape == (1, 22, 46, 46)
    assert len(model.stages) == 6
    kernels = [layer.kernel_size[0] for layer in model.stages[5] if hasattr(layer, "kernel_size")]
    assert kernels == [7] * 5 + [1] * 2


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("light_hand_cpm", 1.73e6, 202e6),
        ("deep_light_hand_cpm", 3.04e6, 283e6),
        ("wide_light_hand_cpm", 5.29e6, 426e6),
        ("tiny_hand_cpm", 0.376e6, 51.5e6),
        ("mobilenet_v3_hand_cpm", 3.22e6, 119e6),
        ("scnet_hand_cpm", 6.19e6, 383e6),
        ("clcnet_hand_cpm", 2.52e6, 165e6),
        ("resnet_dcnv2_hand_cpm", 6.62e6, 427e6),
    ],
)
def test_light_networks_have_the_size_they_are_said_to_have_and_maps_of_stride_4(name, parameters, macs):
    torch.manual_seed(0)
    model = HAND_NETWORKS[name]().eval()
    counted = count(model, 128)
    assert counted.parameters == pytest.approx(parameters, rel=2e-3)
    assert counted.macs == pytest.approx(macs, rel=5e-3)
    assert (model.joints, model.stride) == (HAND_21.joint_count, 4)
    # Of 112 px the level of stride 32 has 3.5 cells.
    for side in (128, 112):
        heights = model.heatmaps(torch.randn(1, 3, side, side))
        assert heights.shape == (1, 21, side // 4, side // 4)
        assert torch.isfinite(heights).all()


@pytest.mark.parametrize("name", LIGHT)
def test_every_layer_of_a_light_network_learns(name):
    torch.manual_seed(0)
    model = HAND_NETWORKS[name]().train()
    images = torch.randn(2, 3, 64, 64)
    for parameter in model.parameters():
        if parameter.ndim == 1:  # norms that start at zero hold back the first gradients of what is behind them
            torch.nn.init.uniform_(parameter, 0.5, 1.0)
    sum(stage.square().sum() for stage in model(images)).backward()
    still = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.abs().max() > 0]
    assert still == []


def test_a_body_machine_for_any_skeleton():
    torch.manual_seed(0)
    model = pose_machine(BODY_25, MobileNetV3("small"), stride=8, stages=3).eval()
    maps = model(torch.randn(1, 3, 96, 64))
    assert [tuple(stage.shape) for stage in maps] == [(1, 26, 12, 8)] * 3
    assert model.heatmaps(torch.randn(1, 3, 96, 64)).shape == (1, 25, 12, 8)
    spreads = [layer.weight.std().item() for layer in model.stages.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert spreads == pytest.approx([0.01] * len(spreads), rel=0.05)  # 26 x 128 numbers at least: 2 % of chance
    fine = pose_machine(BODY_25, ClcNet(levels=2), stride=4, feature_channels=32, stages=1)
    assert fine(torch.randn(1, 3, 64, 64))[0].shape == (1, 26, 16, 16)
    light = light_pose_machine(BODY_25, ClcNet(levels=2))
    assert light(torch.randn(2, 3, 64, 64))[-1].shape == (2, 25, 16, 16)


def test_a_stride_that_a_backbone_has_not_is_refused():
    with pytest.raises(ValueError, match="expected one of the backbone's"):
        pose_machine(BODY_25, MobileNetV3("small", levels=2), stride=16)


def test_levels_are_summed_from_the_coarsest():
    torch.manual_seed(0)
    backbone = ClcNet(levels=3)
    fused = FusedLevels(backbone, stride=8, feature_channels=6).eval()
    images = torch.randn(1, 3, 64, 64)
    _, middle, coarse = backbone.eval().features(images)
    up = functional.interpolate(fused.laterals[1](coarse), scale_factor=2)
    torch.testing.assert_close(fused(images), fused.smooth(fused.laterals[0](middle) + up))


def test_names_are_those_of_the_builders():
    assert [build.__name__ for build in HAND_NETWORKS.values()] == list(HAND_NETWORKS)
