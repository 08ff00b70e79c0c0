"""Derivatives of lenses by their coefficients, against automatic differentiation of what distorts."""

import pytest
import torch

from posekit.geometry.lens import Lens, coefficient_jacobian, distort

LENSES = {
    "none": ((0,) * 8, False),
    "brown": ((-0.12, 0.06, 8e-4, -5e-4, -0.01, 0, 0, 0), False),
    "rational": ((0.4, -0.1, 5e-4, -3e-4, 0.02, 0.7, -0.05, 0.01), False),
    "fisheye": ((-0.03, 0.008, -0.004, 0.0007, 0, 0, 0, 0), True),
}


def tensors(*names: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    coefficients, fisheye = zip(*(LENSES[name] for name in names), strict=True)
    return torch.tensor(coefficients, dtype=torch.float64), torch.tensor(fisheye) if any(fisheye) else None


def by_autograd(x: torch.Tensor, y: torch.Tensor, distortion: torch.Tensor, fisheye: torch.Tensor | None):
    """du and dv (..., 8) of one lens, its rational part not left out."""

    def bent(values: torch.Tensor) -> torch.Tensor:
        return torch.stack(distort(x, y, Lens(values.unbind(-1), fisheye, True, None)))

    return torch.autograd.functional.jacobian(bent, distortion)


@pytest.mark.parametrize("name", LENSES)
def test_one_lens(name):
    distortion, fisheye = tensors(name)
    line = torch.linspace(-0.7, 0.7, 9, dtype=torch.float64)
    x, y = torch.cartesian_prod(line, line).unbind(-1)  # the very middle is one of them
    one = None if fisheye is None else fisheye[0]
    du, dv = coefficient_jacobian(x, y, Lens(distortion[0].unbind(-1), one, True, None))
    expected = by_autograd(x, y, distortion[0], one)
    torch.testing.assert_close(torch.stack((du, dv)), expected, rtol=1e-12, atol=1e-14)  # rounding
    assert bool((expected.abs().amax(dim=(0, 1))[: 4 if fisheye is not None else 8] > 0.01).all())


def test_a_mixed_rig_has_each_its_own():
    names = ("fisheye", "rational", "brown")
    distortion, fisheye = tensors(*names)
    generator = torch.Generator().manual_seed(0)
    x, y = 0.5 * torch.randn(2, 20, 3, dtype=torch.float64, generator=generator)
    du, dv = coefficient_jacobian(x, y, Lens(distortion.unbind(-1), fisheye, True, None))
    assert du.shape == dv.shape == (20, 3, 8)
    for c in range(3):
        expected = by_autograd(x[:, c], y[:, c], distortion[c], fisheye[c])
        torch.testing.assert_close(torch.stack((du, dv))[:, :, c], expected, rtol=1e-12, atol=1e-14)  # rounding
    # A fisheye's last four places are nobody's.
    assert not du[:, 0, 4:].any()
    assert not dv[:, 0, 4:].any()
