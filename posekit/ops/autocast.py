"""How the deformable operators keep their places out of autocast."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def _is_on(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def cast_by_autocast(*features: Tensor) -> tuple[Tensor, ...]:
    """Return features in autocast's type where it is on for their device; float64 stays, as with torch's own operators."""
    device = features[0].device.type
    if features[0].dtype == torch.float64 or not _is_on(device):
        return features
    return tuple(tensor.to(torch.get_autocast_dtype(device)) for tensor in features)


def no_autocast(device: str) -> AbstractContextManager[object]:
    """Return a context without autocast on a type of device: arithmetic in it keeps the types that it is given."""
    return torch.autocast(device, enabled=False) if _is_on(device) else nullcontext()


def without_autocast(implementation: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let an operator's arithmetic keep the types it chose: autocast would cast the products in it again."""

    @functools.wraps(implementation)
    def kept(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        first = args[0]
        assert isinstance(first, Tensor)
        with no_autocast(first.device.type):
            return implementation(*args, **kwargs)

    return kept
