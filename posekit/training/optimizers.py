"""The optimiser: orthogonalised momentum for the convolutions, Adam for everything else."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from posekit.ops.layers import offset_parameters
from posekit.training.settings import TrainSettings

#: Below this many outputs a matrix has too few directions for their balance to matter; so has a picture's three channels.
_FEWEST_OUTPUTS = 32
#: The learning rate of networks without batch norm, as a part of the others': with all of it their loss jumps tenfold.
_RATE_WITHOUT_NORM = 0.1


def nearest_orthogonal(matrix: Tensor, steps: int = 5, kind: torch.dtype | None = None) -> Tensor:
    """Bring every singular value of a matrix near 1, keeping the singular vectors.

    matrix: (M, N), not zero. kind: of the numbers to multiply, the matrix's own if None; bfloat16 is enough where it is fast.
    The result has the matrix's. steps: of the odd polynomial 3.4445 x - 4.7750 x^3 + 2.0315 x^5, whose slope at 0 lifts small
    singular values quickly; they end between 0.7 and 1.2, which is all that an update's direction needs. Jordan et al. 2024,
    "Muon: an optimizer for hidden layers in neural networks".
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    result = matrix if wide else matrix.mT
    result = (result / result.norm().clamp_min(torch.finfo(result.dtype).tiny)).to(kind or matrix.dtype)
    for _ in range(steps):
        gram = result @ result.mT
        result = 3.4445 * result + (2.0315 * gram @ gram - 4.7750 * gram) @ result
    return (result if wide else result.mT).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum whose update has equal strength in every direction; Adam in the groups with orthogonal=False.

    A convolution's gradient lies mostly along a few directions; orthogonalised, the rare ones are learnt as fast, and a network
    needs fewer pictures. Every update has the size that Adam's would (root mean square 0.2 of the learning rate; Liu et al.
    2025, "Muon is scalable for LLM training"), so that one learning rate serves both. Weights of more than two dimensions are
    taken as (outputs, everything else).

    groups: parameter groups of torch.optim, with `orthogonal`, `weight_decay` (decoupled) and `lr` of their own where they
    differ. lr: learning rate. momentum: of the orthogonalised groups. betas: of Adam. kind: see `nearest_orthogonal`.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        epsilon: float = 1e-8,
        kind: torch.dtype | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "betas": betas,
            "epsilon": epsilon,
            "weight_decay": 0.0,
            "orthogonal": False,
        }
        super().__init__(groups, defaults)
        self._kind = kind

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; parameters without a gradient stay."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rate = group["lr"]
            update = self._orthogonal_update if group["orthogonal"] else self._adam_update
            for parameter in group["params"]:
                if parameter.grad is not None:
                    change = update(parameter, parameter.grad, group)
                    parameter.mul_(1.0 - rate * group["weight_decay"]).add_(change, alpha=-rate)
        return loss

    def _orthogonal_update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].mul_(group["momentum"]).add_(gradient)
        matrix = torch.add(gradient, momentum, alpha=group["momentum"]).flatten(1)
        change = nearest_orthogonal(matrix, kind=self._kind) * (0.2 * max(matrix.shape) ** 0.5)
        return change.view(parameter.shape)

    def _adam_update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        first, second = group["betas"]
        state["step"] += 1
        count = float(state["step"])
        mean = state["mean"].lerp_(gradient, 1.0 - first)
        square = state["square"].mul_(second).addcmul_(gradient, gradient, value=1.0 - second)
        spread = (square / (1.0 - second**count)).sqrt_().add_(group["epsilon"])
        return mean / spread / (1.0 - first**count)


def build_optimizer(model: nn.Module, settings: TrainSettings, kind: torch.dtype = torch.float32) -> Muon:
    """Return the optimiser of a network's parameters that can be trained.

    kind: what the network computes with; where that is bfloat16, so do the matrix products of the update.

    Weights of 32 outputs or more, but for those that read the picture's channels, are orthogonalised; the others, such as the
    last layer of every stage, biases and batch norms, go to Adam. Biases and batch norms do not decay. The offsets of
    deformable convolutions have a tenth of the learning rate (Zhu et al., CVPR 2019), and so has all of a network that
    trains no batch norm.
    """
    normed = any(isinstance(layer, nn.BatchNorm2d) and layer.weight.requires_grad for layer in model.modules())
    rate = settings.learning_rate * (1.0 if normed else _RATE_WITHOUT_NORM)
    slow = {id(parameter) for parameter in offset_parameters(model)}
    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            weight, offset = parameter.ndim > 1, id(parameter) in slow
            wide = weight and not offset and parameter.shape[0] >= _FEWEST_OUTPUTS and parameter.shape[1] > 3
            groups.setdefault((wide, weight, offset), []).append(parameter)
    return Muon(
        [
            {
                "params": parameters,
                "orthogonal": wide,
                "weight_decay": settings.weight_decay if weight else 0.0,
                "lr": rate * (0.1 if offset else 1.0),
            }
            for (wide, weight, offset), parameters in groups.items()
        ],
        rate,
        # float16 has too little range for the powers in the polynomial.
        kind=torch.bfloat16 if kind == torch.bfloat16 else None,
    )
