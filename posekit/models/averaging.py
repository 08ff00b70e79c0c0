"""Means of networks: of trainings that began alike, they often hold better for other pictures than any one of them."""

from collections.abc import Sequence

import torch
from torch import nn


def mix_weights(model: nn.Module, other: nn.Module, share: float) -> None:
    """Move a model's weights, and what its batch norms have measured, towards another's by `share` of the way, in place.

    Wortsman et al. 2022, "Robust fine-tuning of zero-shot models".
    """
    others = other.state_dict()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():  # not the batches that norms have counted
                value.lerp_(others[name].to(value), share)


def average_weights(model: nn.Module, others: Sequence[nn.Module]) -> None:
    """Make a model's weights the even mean of its own and the others', in place.

    Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models".
    """
    for count, other in enumerate(others, start=2):
        mix_weights(model, other, 1.0 / count)
