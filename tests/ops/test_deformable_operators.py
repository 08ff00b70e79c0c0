"""What torch asks of an operator: types, autocast, compilation, counting, kernels for a device, and refusals."""

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from posekit.ops.deformable import modulated_deform_conv2d
from posekit.ops.deformable_roi import modulated_deform_roi_pool


def convolution_inputs(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    x, weight, bias = torch.randn(2, 4, 5, 6), torch.randn(6, 4, 3, 3), torch.randn(6)
    offset, mask = 2 * torch.randn(2, 36, 5, 6), torch.rand(2, 18, 5, 6)
    return [tensor.to(dtype).requires_grad_() for tensor in (x, offset, mask, weight, bias)]


def pool_inputs(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    rois = torch.tensor([[0, 1.0, 2.0, 20.0, 17.0], [1, -3.0, 4.0, 9.0, 30.0], [1, 5.0, 5.0, 5.5, 7.0]])
    x, offset, mask = torch.randn(2, 3, 6, 7), 0.2 * torch.randn(3, 2, 2, 3), torch.rand(3, 2, 3)
    return [tensor.to(dtype).requires_grad_(number != 1) for number, tensor in enumerate((x, rois, offset, mask))]


def convolve(*tensors: torch.Tensor) -> torch.Tensor:
    return modulated_deform_conv2d(*tensors, stride=1, padding=1)


def pool(*tensors: torch.Tensor) -> torch.Tensor:
    return modulated_deform_roi_pool(*tensors, spatial_scale=0.25, samples=2)


BOTH = [pytest.param(convolve, convolution_inputs, id="convolution"), pytest.param(pool, pool_inputs, id="pool")]
Operator = Callable[..., torch.Tensor]
Inputs = Callable[..., list[torch.Tensor]]


def gradients(result: torch.Tensor, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(result.sum(), [tensor for tensor in inputs if tensor.requires_grad])


# Half a unit in the last place of the inputs and of the result, over some fifty products of a few units each.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float16, 6e-2), (torch.bfloat16, 5e-1)])
@pytest.mark.parametrize(("operator", "inputs"), BOTH)
def test_every_type_gives_what_float64_gives_of_the_same_numbers(operator, inputs, dtype, tolerance):
    given = inputs(dtype)
    exact = [tensor.detach().double().requires_grad_(tensor.requires_grad) for tensor in given]
    found, truth = operator(*given), operator(*exact)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), truth, rtol=0, atol=tolerance)
    for of, like in zip(gradients(found, given), gradients(truth, exact), strict=True):
        assert of.dtype == dtype
        torch.testing.assert_close(of.double(), like, rtol=tolerance, atol=tolerance * 10)


def test_16_bit_features_are_sampled_at_places_of_32_bits():
    # In float16, 64.03125 px and its neighbours are 1/16 px apart; a ramp of 1 a pixel shows where it was read.
    ramp = torch.arange(128.0).expand(1, 1, 1, 128)
    offset = torch.zeros(1, 2, 1, 128)
    offset[0, 1] = 0.03125
    weight, mask = torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 128)
    found = modulated_deform_conv2d((ramp - 64).half(), offset, mask.half(), weight.half())
    assert found[0, 0, 0, 65].item() == 1.03125


@pytest.mark.parametrize(("operator", "inputs"), BOTH)
def test_autocast_casts_the_features_and_leaves_the_places(operator, inputs):
    given = inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = operator(*given)
    assert found.dtype == torch.bfloat16
    places = (1, 2) if operator is convolve else (1, 2, 3)
    cast = [tensor if number in places else tensor.bfloat16() for number, tensor in enumerate(given)]
    torch.testing.assert_close(found, operator(*cast))
    found.float().sum().backward()
    assert all(tensor.grad.dtype == torch.float32 for tensor in given if tensor.requires_grad)
    with torch.autocast("cpu", torch.bfloat16):
        assert operator(*inputs(torch.float64)).dtype == torch.float64  # as torch's own operators


def test_torchs_own_checks_of_the_convolution_pass():
    x, offset, mask, weight, bias = convolution_inputs(torch.float32)
    offset, mask = (tensor[:, :, ::2].detach().requires_grad_() for tensor in (offset, mask))
    arguments = (x, offset, mask, weight, bias, [2, 1], [1, 1], [1, 1], 1)
    torch.library.opcheck(torch.ops.posekit.modulated_deform_conv2d, arguments)


def test_torchs_own_checks_of_the_pool_pass():
    torch.library.opcheck(torch.ops.posekit.modulated_deform_roi_pool, (*pool_inputs(), 0.25, 2))


def test_the_fakes_have_the_strides_of_the_results():
    x, offset, mask, weight, _ = (tensor.detach() for tensor in convolution_inputs(torch.float32))
    last = x.to(memory_format=torch.channels_last)
    geometry = ([1, 1], [1, 1], [1, 1], 1)
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(
        torch.ops.posekit.modulated_deform_conv2d, (last, offset, mask, weight, None, *geometry), test_utils=checks
    )
    for grad in (torch.randn(2, 6, 5, 6), torch.ones(()).expand(2, 6, 5, 6)):
        torch.library.opcheck(
            torch.ops.posekit.modulated_deform_conv2d_backward,
            (grad, last, offset.half(), mask, weight, *geometry),
            test_utils=checks,
        )


@pytest.mark.parametrize(("operator", "inputs"), BOTH)
def test_it_compiles_whole_with_its_gradients(operator, inputs):
    given = inputs(torch.float32)
    compiled = torch.compile(operator, fullgraph=True, backend="aot_eager")
    found, plain = compiled(*given), operator(*given)
    torch.testing.assert_close(found, plain, rtol=0, atol=0)
    for one, other in zip(gradients(found, given), gradients(plain, given), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert compiled(*given).dtype == torch.bfloat16


@pytest.mark.parametrize(("operator", "inputs"), BOTH)
def test_a_second_derivative_is_refused(operator, inputs):
    given = inputs()
    (first, *_) = torch.autograd.grad(operator(*given).square().sum(), given[:1], create_graph=True)
    with pytest.raises(NotImplementedError, match="once, not twice"):
        first.sum().backward()


def test_the_flop_counter_counts_as_for_a_convolution():
    x, offset, mask, weight, bias = convolution_inputs(torch.float32)
    with FlopCounterMode(display=False) as counter:
        convolve(x, offset, mask, weight, bias)
    assert counter.get_total_flops() == 2 * 2 * 6 * 5 * 6 * 4 * 9
    with FlopCounterMode(display=False) as plain:
        torch.nn.functional.conv2d(x, weight, bias, padding=1)
    assert counter.get_total_flops() == plain.get_total_flops()


def test_the_shapes_are_known_without_values():
    given = [tensor.detach().to("meta") for tensor in convolution_inputs()]
    assert convolve(*given).shape == (2, 6, 5, 6)
    assert pool(*(tensor.detach().to("meta") for tensor in pool_inputs())).shape == (3, 3, 2, 3)


def test_a_kernel_can_take_the_place_of_the_formula_on_one_device():
    taken = []

    def kernel(x: torch.Tensor, offset: torch.Tensor, *rest: object) -> torch.Tensor:
        taken.append(tuple(offset.shape))
        return torch.full((2, 6, 5, 6), 7.0)

    with torch.library._scoped_library("posekit", "IMPL") as library:
        library.impl("modulated_deform_conv2d", kernel, "CPU")
        found = convolve(*convolution_inputs(torch.float32))
    assert taken == [(2, 36, 5, 6)]
    assert (found == 7).all()
    assert found.requires_grad  # derivatives stay with the operator
    assert not (convolve(*convolution_inputs(torch.float32)) == 7).any()
