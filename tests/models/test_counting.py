import torch
from torch import Tensor, nn

from posekit.models.counting import count, count_parameters, level_shapes


class Twice(nn.Module):
    """A convolution that is called twice, and a matrix product without a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.convolution(self.convolution(images)))
        return features.flatten(2) @ features.flatten(2).mT


def test_layers_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 16, 3, padding=1, groups=4, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )
    counted = count(model, 16)
    # 8 x 8 cells: 3 * 9 for each of 8 maps; 2 * 9 for each of 16; then 16 * 5.
    expected = [
        ("0", "Conv2d", (1, 8, 8, 8), 8 * 27 + 8, 64 * 8 * 27),
        ("2", "Conv2d", (1, 16, 8, 8), 16 * 18, 64 * 16 * 18),
        ("5", "Linear", (1, 5), 16 * 5 + 5, 16 * 5),
    ]
    assert [(row.name, row.kind, row.shape, row.parameters, row.macs) for row in counted.layers] == expected
    assert counted.macs == sum(row[-1] for row in expected)
    assert counted.parameters == sum(row[3] for row in expected) + 16  # the norm's


def test_every_call_counts_and_what_is_no_layer_is_the_models_own():
    counted = count(Twice(), 6, channels=4)
    assert [(row.name, row.macs) for row in counted.layers] == [("", 36 * 4 * 4), ("convolution", 2 * 36 * 4 * 36)]


def test_the_model_is_left_as_it_was():
    model = Twice().train()
    model.norm.eval()
    weight = model.convolution.weight
    before = weight.detach().clone()
    count(model, 6, channels=4)
    assert model.convolution.weight is weight
    assert torch.equal(weight, before)
    assert (model.training, model.convolution.training, model.norm.training) == (True, True, False)
    assert not model.convolution._forward_hooks
    assert model.norm.num_batches_tracked == 0


def test_frozen_numbers_are_no_parameters():
    model = nn.Linear(4, 2)
    model.bias.requires_grad_(False)
    assert count_parameters(model) == 8


def test_level_shapes_are_those_of_the_levels():
    class Pyramid(nn.Module):
        def features(self, images: Tensor) -> list[Tensor]:
            return [images[..., ::4, ::4], images[:, :1, ::8, ::8]]

    assert level_shapes(Pyramid(), 20) == [(3, 5, 5), (1, 3, 3)]
