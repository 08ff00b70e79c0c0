import copy

import pytest
import torch
from torch import nn

from posekit.ops.layers import ModulatedDeformConv2d
from posekit.training.optimizers import Muon, build_optimizer, nearest_orthogonal
from posekit.training.settings import TrainSettings


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_orthogonalising_keeps_singular_vectors_and_brings_the_values_near_one(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(shape, generator=generator, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    matrix = left @ torch.diag(torch.linspace(0.05, 1, len(values), dtype=torch.float64)) @ right
    inside = left.mT @ nearest_orthogonal(matrix) @ right.mT
    found = inside.diagonal()
    assert (found > 0.65).all()  # the polynomial's own band is 0.68 to 1.21 from 0.05 of the norm on
    assert (found < 1.25).all()
    torch.testing.assert_close(inside, torch.diag(found), atol=1e-12, rtol=0)  # float64 rounding


def test_orthogonalising_in_bfloat16_gives_nearly_the_same_direction() -> None:
    matrix = torch.randn((64, 576), generator=torch.Generator().manual_seed(4))
    rough, fine = nearest_orthogonal(matrix, kind=torch.bfloat16), nearest_orthogonal(matrix)
    assert rough.dtype == matrix.dtype
    assert torch.nn.functional.cosine_similarity(rough.flatten(), fine.flatten(), dim=0) > 0.999
    values = torch.linalg.svdvals(rough)
    assert 0.65 < values.min() < values.max() < 1.25
    # Only where the network itself computes in it.
    layer = nn.Conv2d(64, 64, 3, bias=False)
    steps = []
    for kind in (torch.float32, torch.float16, torch.bfloat16):
        other = copy.deepcopy(layer)
        other.weight.grad = matrix.view(64, 64, 3, 3).clone()
        build_optimizer(other, TrainSettings(1), kind).step()
        steps.append(other.weight.detach() - layer.weight.detach())
    assert torch.equal(steps[0], steps[1])
    assert not torch.equal(steps[0], steps[2])
    assert torch.nn.functional.cosine_similarity(steps[0].flatten(), steps[2].flatten(), dim=0) > 0.999


def test_adam_groups_follow_torchs_adamw() -> None:
    torch.manual_seed(0)
    mine, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(mine.state_dict())
    ours = Muon([{"params": list(mine.parameters()), "weight_decay": 0.1}], 0.01)
    peer = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for _ in range(7):
        picture = torch.randn(4, 5)
        for model, optimizer in ((mine, ours), (theirs, peer)):
            optimizer.zero_grad()
            model(picture).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(mine.weight, theirs.weight, rtol=1e-5, atol=1e-6)  # float32, seven steps
    torch.testing.assert_close(mine.bias, theirs.bias, rtol=1e-5, atol=1e-6)


def test_an_orthogonalised_step_is_nesterov_momentum_made_even_at_adams_size() -> None:
    torch.manual_seed(1)
    layer = nn.Conv2d(4, 32, 3, bias=False)
    before = layer.weight.detach().clone()
    optimizer = Muon([{"params": [layer.weight], "orthogonal": True, "weight_decay": 0.5}], 0.1)
    layer.weight.grad = torch.randn_like(layer.weight)
    optimizer.step()
    # The first step: momentum is the gradient, so its direction is the gradient's.
    even = nearest_orthogonal(layer.weight.grad.flatten(1)).view_as(before)
    expected = before * (1 - 0.1 * 0.5) - 0.1 * 0.2 * 36**0.5 * even
    torch.testing.assert_close(layer.weight.detach(), expected, rtol=1e-5, atol=1e-6)  # float32
    change = (layer.weight.detach() - before * 0.95) / 0.1
    assert change.square().mean().sqrt() == pytest.approx(0.2, rel=0.15)  # singular values lie in 0.7 to 1.2


def test_a_network_is_split_by_what_its_weights_do() -> None:
    model = nn.Sequential(nn.Conv2d(3, 48, 7), nn.BatchNorm2d(48), nn.Conv2d(48, 64, 3), nn.Conv2d(64, 21, 1))
    model.append(ModulatedDeformConv2d(21, 40, 3))
    optimizer = build_optimizer(model, TrainSettings(1, learning_rate=0.01))
    orthogonal = [p for group in optimizer.param_groups if group["orthogonal"] for p in group["params"]]
    assert [p.shape for p in orthogonal] == [(64, 48, 3, 3), (40, 21, 3, 3)]
    slow = [p for group in optimizer.param_groups if group["lr"] < 0.005 for p in group["params"]]
    assert {p.shape for p in slow} == {(27, 21, 3, 3), (27,)}  # two offsets and a modulation for each of nine taps
    assert all(p.ndim > 1 for group in optimizer.param_groups if group["weight_decay"] for p in group["params"])
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))


def test_a_stopped_optimizer_goes_on_from_its_state() -> None:
    torch.manual_seed(2)
    first = nn.Sequential(nn.Conv2d(4, 32, 3), nn.Flatten())
    optimizer = build_optimizer(first, TrainSettings(1))
    pictures = torch.randn(3, 2, 4, 3, 3)

    def step(model: nn.Module, stepped: Muon, picture: torch.Tensor) -> None:
        stepped.zero_grad()
        model(picture).square().mean().backward()
        stepped.step()

    step(first, optimizer, pictures[0])
    second = nn.Sequential(nn.Conv2d(4, 32, 3), nn.Flatten())
    second.load_state_dict(first.state_dict())
    resumed = build_optimizer(second, TrainSettings(1))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # torch hands out its own tensors
    for picture in pictures[1:]:
        step(first, optimizer, picture)
        step(second, resumed, picture)
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_parameters_without_a_gradient_stay() -> None:
    layer = nn.Linear(40, 40)
    before = layer.weight.detach().clone()
    build_optimizer(layer, TrainSettings(1)).step()
    assert torch.equal(layer.weight, before)


def test_a_network_without_batch_norm_learns_slowly_whatever_stands_still_beside_it() -> None:
    still = nn.BatchNorm2d(4).requires_grad_(False)
    settings = TrainSettings(1, learning_rate=0.01)
    for layers, rate in (([nn.Conv2d(4, 40, 3), still], 1e-3), ([nn.Conv2d(4, 40, 3), nn.BatchNorm2d(40)], 1e-2)):
        rates = [group["lr"] for group in build_optimizer(nn.Sequential(*layers), settings).param_groups]
        assert rates == [pytest.approx(rate)] * len(rates)
