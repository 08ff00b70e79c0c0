from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional

from posekit.ops import deformable, reference
from posekit.ops.deformable import modulated_deform_conv2d


class Case(NamedTuple):
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    deformable_groups: int = 1
    kernel: tuple[int, int] = (3, 3)
    channels: int = 4
    channels_out: int = 4
    size: tuple[int, int] = (5, 6)
    batch: int = 2


CASES = (
    Case(),
    Case(stride=(2, 1), padding=(0, 2)),
    Case(dilation=(2, 1), padding=(2, 1), size=(6, 5)),
    Case(groups=2),
    Case(groups=4, channels_out=8),
    Case(deformable_groups=2),
    Case(groups=2, deformable_groups=4),
    Case(groups=4, deformable_groups=2, kernel=(1, 1), padding=(0, 0)),
    Case(kernel=(2, 3), channels=6, channels_out=2, deformable_groups=3, padding=(0, 1), stride=(2, 2), batch=1),
)


def drawn(case: Case, seed: int = 0, reach: float = 2.0) -> tuple[torch.Tensor, ...]:
    """Draw x, offset, mask, weight and bias in float64; `reach` px is the offsets' standard deviation."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x = normal(case.batch, case.channels, *case.size)
    weight, bias = normal(case.channels_out, case.channels // case.groups, *case.kernel), normal(case.channels_out)
    size = functional.conv2d(x, weight, bias, *case[:4]).shape[2:]
    points = case.deformable_groups * case.kernel[0] * case.kernel[1]
    offset = reach * normal(case.batch, 2 * points, *size)
    mask = torch.rand((case.batch, points, *size), generator=generator, dtype=torch.float64)
    return x, offset, mask, weight, bias


def expected(case: Case, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    arrays = [tensor.detach().double().numpy() for tensor in inputs]
    return torch.from_numpy(reference.modulated_deform_conv2d(*arrays, *case[:4]))


@pytest.mark.parametrize("case", CASES)
def test_it_is_what_the_loops_say(case):
    inputs = drawn(case)
    found = modulated_deform_conv2d(*inputs, *case[:4])
    torch.testing.assert_close(found, expected(case, inputs), rtol=0, atol=1e-12)  # rounding of sums of 54 numbers


def test_random_geometries_are_what_the_loops_say():
    draw = np.random.default_rng(5)

    def pair(low: int, high: int) -> tuple[int, int]:
        first, second = draw.integers(low, high, 2)
        return int(first), int(second)

    for seed in range(30):
        groups, moved = int(draw.choice([1, 2, 3])), int(draw.choice([1, 2, 3]))
        case = Case(
            stride=pair(1, 4),
            padding=pair(0, 3),
            dilation=pair(1, 3),
            groups=groups,
            deformable_groups=moved,
            kernel=pair(1, 4),
            channels=6,
            channels_out=groups * int(draw.integers(1, 3)),
            size=pair(5, 8),
            batch=int(draw.integers(1, 4)),
        )
        inputs = drawn(case, seed, reach=float(draw.choice([0.3, 3.0])))
        found = modulated_deform_conv2d(*inputs, *case[:4])
        torch.testing.assert_close(found, expected(case, inputs), rtol=0, atol=1e-12)  # rounding, as above


@pytest.mark.parametrize("case", CASES)
def test_unmoved_and_unscaled_it_is_a_convolution(case):
    x, offset, mask, weight, bias = drawn(case)
    found = modulated_deform_conv2d(x, 0 * offset, torch.ones_like(mask), weight, bias, *case[:4])
    torch.testing.assert_close(found, functional.conv2d(x, weight, bias, *case[:4]), rtol=0, atol=1e-12)  # rounding


def test_whole_offsets_shift_the_map_y_before_x():
    case = Case(padding=(0, 0))
    x, offset, mask, weight, bias = drawn(case)
    offset[:, 0::2], offset[:, 1::2] = 1.0, -2.0
    shifted = functional.pad(x, (2, -2, -1, 1))  # what was one row below and two columns to the left
    found = modulated_deform_conv2d(x, offset, torch.ones_like(mask), weight, bias)
    torch.testing.assert_close(found, functional.conv2d(shifted, weight, bias), rtol=0, atol=1e-12)  # rounding


def test_a_point_is_moved_alone_and_its_mask_scales_it_alone():
    x = torch.arange(25.0, dtype=torch.float64).view(1, 1, 5, 5)
    offset = torch.zeros(1, 18, 5, 5, dtype=torch.float64)
    offset[0, 2 * 4, 2, 2], offset[0, 2 * 4 + 1, 2, 2] = 0.5, 1.25  # the middle point: 5 a row and 1 a column
    mask = torch.ones(1, 9, 5, 5, dtype=torch.float64)
    mask[0, 4, 2, 2] = 3.0
    weight = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    found = modulated_deform_conv2d(x, offset, mask, weight, padding=1)
    assert found[0, 0, 2, 2].item() == pytest.approx(9 * 12 - 12 + 3 * (12 + 0.5 * 5 + 1.25))
    plain = functional.conv2d(x, weight, padding=1)
    plain[0, 0, 2, 2] = found[0, 0, 2, 2]
    torch.testing.assert_close(found, plain)


@pytest.mark.parametrize("case", CASES)
def test_the_gradients_are_those_of_finite_differences(case):
    inputs = [tensor.requires_grad_() for tensor in drawn(case)]
    # Along random directions of all inputs at once: number by number takes a minute.
    assert torch.autograd.gradcheck(
        lambda *tensors: modulated_deform_conv2d(*tensors, *case[:4]), inputs, fast_mode=True
    )


def test_every_single_gradient_is_that_of_finite_differences():
    case = Case(channels=2, channels_out=2, deformable_groups=2, kernel=(2, 1), size=(3, 3), batch=1, padding=(1, 0))
    inputs = [tensor.requires_grad_() for tensor in drawn(case)]
    assert torch.autograd.gradcheck(lambda *tensors: modulated_deform_conv2d(*tensors, *case[:4]), inputs)


def test_pieces_of_a_map_and_batches_of_images_make_one_result(monkeypatch):
    case = Case(groups=2, deformable_groups=2, batch=5)
    gradients = []
    for numbers in (1, 7 * 36, 2 * 30 * 36, 1 << 20):  # single pixels, pieces of a map, two images, all five
        monkeypatch.setattr(deformable, "_CHUNK_NUMBERS", numbers)
        inputs = [tensor.requires_grad_() for tensor in drawn(case)]
        found = modulated_deform_conv2d(*inputs, *case[:4])
        gradients.append((found, *torch.autograd.grad(found.square().sum(), inputs)))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-10, atol=1e-10)  # sums in another order


def test_a_sample_within_one_cell_of_the_border_blends_with_zero():
    x = torch.full((1, 1, 3, 3), 2.0, dtype=torch.float64)
    weight, mask = torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 3, 3, dtype=torch.float64)
    offset = torch.zeros(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        offset[0, 0, 0] = -0.75  # the upper row, three quarters of a cell out
        offset[0, 1, :, 2] = 0.25  # the right column
    found = modulated_deform_conv2d(x, offset, mask, weight)
    torch.testing.assert_close(
        found[0, 0], torch.tensor([[0.5, 0.5, 0.375], [2.0, 2.0, 1.5], [2.0, 2.0, 1.5]]).double()
    )
    found.sum().backward()
    assert offset.grad[0, 0, 0, 0].item() == 2.0  # moving down, back in, gains all of the border's value
    assert offset.grad[0, 1, 1, 2].item() == -2.0


@pytest.mark.parametrize("far", [-1e30, -100.0, 100.0, 1e30, float("inf"), float("-inf")])
@pytest.mark.parametrize("axis", [0, 1])
def test_far_outside_it_is_zero_and_so_are_its_gradients(far, axis):
    x, offset, mask, weight, _ = drawn(Case())
    offset[:, axis::2] = far
    inputs = [tensor.requires_grad_() for tensor in (x, offset, mask, weight)]
    found = modulated_deform_conv2d(*inputs, padding=1)
    assert not found.any()
    assert not any(gradient.any() for gradient in torch.autograd.grad(found.sum(), inputs))


def test_a_nan_offset_stays_where_it_is():
    x, offset, mask, weight, bias = drawn(Case())
    clean = modulated_deform_conv2d(x, offset, mask, weight, bias, padding=1)
    offset[1, 4, 2, 3] = float("nan")
    inputs = [tensor.requires_grad_() for tensor in (x, offset, mask)]
    found = modulated_deform_conv2d(*inputs, weight, bias, padding=1)
    hit = torch.zeros_like(found, dtype=torch.bool)
    hit[1, :, 2, 3] = True
    assert found[hit].isnan().all()
    torch.testing.assert_close(found[~hit], clean[~hit])
    # Nothing says where it would have read, so x has no gradient from it.
    of_x, of_offset, of_mask = torch.autograd.grad(found[1, 0, 2, 3] + found[0].sum(), inputs)
    assert of_x.isfinite().all()
    assert of_mask[1, 2, 2, 3].isnan()
    assert of_offset[0].isfinite().all()


@pytest.mark.parametrize("shape", [(0, 4, 5, 6), (2, 4, 0, 0), (2, 4, 1, 1)])
def test_nothing_in_gives_nothing_or_the_padding_out(shape):
    batch, channels, height, width = shape
    weight = torch.randn(3, channels, 3, 3, requires_grad=True)
    bias = torch.randn(3, requires_grad=True)
    x = torch.randn(shape, requires_grad=True)
    size = (batch, 18, height + 2, width + 2)
    offset, mask = torch.randn(size, requires_grad=True), torch.rand(batch, 9, *size[2:], requires_grad=True)
    found = modulated_deform_conv2d(x, offset, mask, weight, bias, padding=2)
    assert found.shape == (batch, 3, *size[2:])
    if not x.numel():
        torch.testing.assert_close(found, bias[:, None, None].expand_as(found))
    found.sum().backward()
    assert all(tensor.grad.shape == tensor.shape for tensor in (x, offset, mask, weight, bias))
    assert bias.grad.sum().item() == found.numel()


def test_strides_of_the_inputs_do_not_matter_and_the_format_is_kept():
    case = Case(deformable_groups=2)
    inputs = drawn(case)
    plain = modulated_deform_conv2d(*inputs, *case[:4])
    assert plain.is_contiguous()
    last = [inputs[0].to(memory_format=torch.channels_last), *inputs[1:]]
    found = modulated_deform_conv2d(*last, *case[:4])
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, plain)
    strided = [tensor.transpose(0, -1).contiguous().transpose(0, -1).requires_grad_() for tensor in inputs]
    straight = [tensor.clone().requires_grad_() for tensor in inputs]
    results = [modulated_deform_conv2d(*tensors, *case[:4]) for tensors in (strided, straight)]
    torch.testing.assert_close(results[0], results[1])
    # A sum's gradient is one number in every place, without strides.
    gradients = [
        torch.autograd.grad(result.sum(), tensors) for result, tensors in zip(results, (strided, straight), strict=True)
    ]
    torch.testing.assert_close(*gradients)


def test_the_same_input_gives_the_same_result_and_gradients():
    inputs = [tensor.float().requires_grad_() for tensor in drawn(Case(channels=16, size=(16, 16), batch=3))]

    def once() -> tuple[torch.Tensor, ...]:
        found = modulated_deform_conv2d(*inputs, padding=1)
        return (found, *torch.autograd.grad(found.square().sum(), inputs))

    for first, second in zip(once(), once(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(4, 5, 6)}, "4 axes"),
        ({"mask": torch.zeros(2, 8, 5, 6)}, "mask has 8 channels"),
        ({"mask": torch.zeros(2, 27, 5, 6)}, "mask has 27 channels"),
        ({"mask": torch.zeros(2, 9, 5, 5)}, r"mask must be \(2, 9, 5, 6\)"),
        ({"offset": torch.zeros(2, 36, 5, 6)}, r"offset must be \(2, 18, 5, 6\)"),
        ({"weight": torch.zeros(4, 2, 3, 3)}, "does not fit 4 channels in 1 groups"),
        ({"weight": torch.zeros(4, 4, 3, 3).half()}, "one floating type"),
        ({"bias": torch.zeros(3)}, "4 channels of the result"),
        ({"offset": torch.zeros(2, 18, 5, 6, dtype=torch.int32)}, "floating types"),
        ({"stride": 0}, "at least 1"),
        ({"dilation": 4}, "too small for the kernel"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    x, offset, mask, weight, bias = (tensor.float() for tensor in drawn(Case()))
    arguments = {"x": x, "offset": offset, "mask": mask, "weight": weight, "bias": bias, "padding": 1}
    with pytest.raises(ValueError, match=message):
        modulated_deform_conv2d(**arguments | change)
