import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from posekit.models.backbones.levels import Backbone
from posekit.models.backbones.mobilenet_v3 import MobileNetV3
from posekit.models.counting import count_parameters
from posekit.models.lr_aspp import LrAspp, hand_mask_network


class GivenLevels(Backbone):
    """Answers with levels that are given to it."""

    strides = (8, 16)
    channels = (2, 3)

    def __init__(self, *levels: Tensor) -> None:
        super().__init__()
        self.levels = list(levels)

    def features(self, images: Tensor) -> list[Tensor]:
        return self.levels


@pytest.mark.parametrize(("size", "millions"), [("large", 1.51), ("small", 0.47)])
def test_network_has_the_papers_size(size, millions):
    # The paper's table of Cityscapes: parameters in millions, with 19 classes.
    with torch.device("meta"):
        model = hand_mask_network(size, classes=19)
    assert round(count_parameters(model) / 1e6, 2) == millions


def test_head_by_hand():
    torch.manual_seed(0)
    fine, deep = torch.randn(2, 2, 8, 12).double(), torch.randn(2, 3, 4, 6).double()
    head = LrAspp(GivenLevels(fine, deep), classes=2, filters=5).double().eval()
    head.project[1].running_mean.uniform_(-1, 1)
    norm, bias = head.project[1], head.deep_scores.bias + head.fine_scores.bias

    def mix(weight: Tensor, maps: Tensor) -> Tensor:
        return torch.einsum("oi,bihw->bohw", weight[..., 0, 0], maps)

    gate = 1 / (1 + torch.exp(-mix(head.gate.weight, deep.mean(dim=(2, 3), keepdim=True))))
    projected = mix(head.project[0].weight, deep) - norm.running_mean[:, None, None]
    gated = (projected / (1 + norm.eps) ** 0.5).clamp_min(0) * gate
    larger = functional.interpolate(gated, size=(8, 12), mode="bilinear", align_corners=False)
    expected = mix(head.deep_scores.weight, larger) + mix(head.fine_scores.weight, fine) + bias[:, None, None]
    torch.testing.assert_close(head(torch.zeros(2, 3, 64, 96)), expected)


def test_large_maps_are_gated_by_their_own_surroundings():
    # 65 cells down: two pools of 49, 16 cells apart; what is bright at the top opens the gate there and not at the bottom.
    deep = torch.zeros(1, 3, 65, 49)
    deep[:, :, :16] = 1.0
    head = LrAspp(GivenLevels(torch.zeros(1, 2, 130, 98), deep), filters=1).eval()
    with torch.no_grad():
        head.gate.weight.fill_(30.0)
        head.project[0].weight.zero_()
        head.project[1].bias.fill_(1.0)
        head.deep_scores.weight.fill_(1.0)
    out = head(torch.zeros(1, 3, 1040, 784))[0, 0]
    # Means: 16 / 49 of the upper pool's cells and none of the lower one's; sigmoid(0) = 0.5.
    assert out[0, 0].item() == pytest.approx(torch.sigmoid(torch.tensor(3 * 30 * 16 / 49)).item(), abs=1e-5)
    assert out[-1, 0].item() == pytest.approx(0.5, abs=1e-5)


def test_masks_have_the_pictures_size_and_are_probabilities():
    torch.manual_seed(0)
    model = hand_mask_network("small").eval()
    masks = model.masks(torch.randn(1, 3, 96, 64))
    assert masks.shape == (1, 1, 96, 64)
    assert 0 < masks.min() < masks.max() < 1


def test_a_mask_can_be_learnt():
    torch.manual_seed(0)
    model = hand_mask_network("small").train()
    images = torch.full((4, 3, 64, 64), -1.0)
    images[:, :, 16:48, 24:56] = 1.0
    target = (images[:, :1] > 0).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = functional.binary_cross_entropy_with_logits(
            functional.interpolate(model(images), size=(64, 64), mode="bilinear"), target
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]


def test_a_backbone_without_the_levels_is_refused():
    with pytest.raises(ValueError, match="expected 8 and, for the last, 16"):
        LrAspp(MobileNetV3("small"))
    assert isinstance(LrAspp(MobileNetV3("small", levels=3)), nn.Module)
