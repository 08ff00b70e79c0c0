import pytest
import torch

from posekit.ops import reference
from posekit.ops.deformable_roi import modulated_deform_roi_pool

#: Pictures of 24 x 28 px on maps of 6 x 7; the boxes reach over the border, lie outside, and are of no size.
ROIS = torch.tensor(
    [
        [0, 1.0, 2.0, 20.0, 17.0],
        [1, -9.0, 4.0, 9.0, 40.0],
        [1, 5.0, 5.0, 5.0, 5.0],
        [0, 300.0, 300.0, 340.0, 340.0],
        [1, 3.3, 1.2, 26.1, 22.4],
    ],
    dtype=torch.float64,
)


def drawn(bins: tuple[int, int] = (3, 2)) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, 6, 7, generator=generator, dtype=torch.float64)
    offset = 0.3 * torch.randn(len(ROIS), 2, *bins, generator=generator, dtype=torch.float64)
    return x, ROIS, offset, torch.rand(len(ROIS), *bins, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("bins", [(3, 2), (1, 1), (2, 4)])
def test_it_is_what_the_loops_say(bins, samples):
    inputs = drawn(bins)
    found = modulated_deform_roi_pool(*inputs, 0.25, samples)
    expected = reference.modulated_deform_roi_pool(*(tensor.numpy() for tensor in inputs), 0.25, samples)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-12)  # rounding of short sums


def test_a_box_of_whole_cells_is_averaged_and_moved_by_its_own_size():
    x = torch.arange(64.0, dtype=torch.float64).view(1, 1, 8, 8)
    # Stride 4: the cells of rows 1 to 4 and columns 2 to 5 cover the pixels 4 to 19 and 8 to 23, edges half a pixel further.
    rois = torch.tensor([[0, 7.5, 3.5, 23.5, 19.5]], dtype=torch.float64)
    still, full = torch.zeros(1, 2, 2, 2, dtype=torch.float64), torch.ones(1, 2, 2, dtype=torch.float64)
    found = modulated_deform_roi_pool(x, rois, still, full, 0.25, 2)
    torch.testing.assert_close(found, torch.nn.functional.avg_pool2d(x[:, :, 1:5, 2:6], 2))
    still[0, 0] = 0.25  # a quarter of four rows is one row
    still[0, 1] = -0.5  # half of four columns is two columns
    moved = modulated_deform_roi_pool(x, rois, still, 2 * full, 0.25, 2)
    torch.testing.assert_close(moved, 2 * torch.nn.functional.avg_pool2d(x[:, :, 2:6, 0:4], 2))


@pytest.mark.parametrize("samples", [1, 2])
def test_the_gradients_are_those_of_finite_differences(samples):
    x, rois, offset, mask = drawn((2, 1))
    inputs = [tensor.requires_grad_() for tensor in (x[:, :1], offset, mask)]
    assert torch.autograd.gradcheck(
        lambda x, offset, mask: modulated_deform_roi_pool(x, rois, offset, mask, 0.25, samples), inputs
    )


def test_without_boxes_there_is_nothing_and_outside_it_is_zero():
    x, rois, offset, mask = drawn()
    x.requires_grad_()
    none = modulated_deform_roi_pool(x, rois[:0], offset[:0], mask[:0], 0.25)
    assert none.shape == (0, 3, 3, 2)
    none.sum().backward()
    assert not x.grad.any()
    assert not modulated_deform_roi_pool(x, rois, offset, mask, 0.25)[3].any()


def test_boxes_get_no_gradient():
    x, rois, offset, mask = drawn()
    rois = rois.clone().requires_grad_()
    found = modulated_deform_roi_pool(x, rois, offset.requires_grad_(), mask, 0.25)
    found.sum().backward()
    assert rois.grad is None
    assert offset.grad.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rois": ROIS[:, :4]}, r"rois \(R, 5\)"),
        ({"mask": torch.zeros(4, 3, 2)}, r"mask must be \(5, bins, bins\)"),
        ({"offset": torch.zeros(5, 3, 3, 2)}, r"offset must be \(5, 2, 3, 2\)"),
        ({"samples": 0}, "at least one sample"),
        ({"rois": ROIS + 1}, "outside 0 to 1"),
        ({"rois": ROIS.long()}, "floating types"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    x, rois, offset, mask = drawn()
    arguments = {"x": x, "rois": rois, "offset": offset, "mask": mask, "spatial_scale": 0.25}
    with pytest.raises(ValueError, match=message):
        modulated_deform_roi_pool(**arguments | change)
