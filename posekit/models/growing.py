"""Larger networks that begin with what a smaller one has learnt."""

import torch
from torch import Tensor

from posekit.errors import PosekitError
from posekit.models.cpm import ConvolutionalPoseMachine


def grow(model: ConvolutionalPoseMachine, smaller: ConvolutionalPoseMachine) -> None:
    """Give a network of fresh weights those of a smaller one that it contains, in place.

    What both have is copied. Residual blocks that only `model` has stay as they are: fresh ones add nothing (see
    `ResidualBlock`). Channels that only it has come last in every layer and are fresh; what the smaller network has does not
    read them at first (weights of 0, which learn as soon as the channels hold something). Stages that only it has start as
    copies of the smaller one's last, which reads the maps before it as they will. So the stages that both have give the
    smaller network's maps, as long as nothing but such blocks, channels and stages is new and no layer has groups.
    Chen, Goodfellow, Shlens 2016, "Net2Net: accelerating learning via knowledge transfer", whose wider layers repeat channels
    where these add fresh ones.

    Raises PosekitError, and changes nothing, where the networks have other maps, or the smaller one has a tensor that the other
    has not, or has smaller or of another kind.
    """
    for maps in ("joints", "background", "subcells"):
        found, expected = getattr(smaller, maps), getattr(model, maps)
        if found != expected:
            raise PosekitError(
                f"{maps}: found {found}, expected {expected}, as in the network that was to begin with it"
            )
    new, old = model.state_dict(), smaller.state_dict()
    last, count = len(smaller.stages) - 1, len(model.stages)
    for stage in range(last + 1, count if last else 0):
        own = f"stages.{last}."
        old |= {f"stages.{stage}.{name.removeprefix(own)}": old[name] for name in tuple(old) if name.startswith(own)}
    for name, value in old.items():
        if name not in new:
            raise PosekitError(f"tensor {name}: found, but the network that was to begin with it has none of that name")
        if not _holds(new[name], value):
            raise PosekitError(
                f"tensor {name}: found {tuple(value.shape)}, expected {tuple(new[name].shape)} or fewer channels of that kernel"
            )
    with torch.no_grad():
        for name, value in old.items():
            _write_into(new[name], value)


def _holds(larger: Tensor, smaller: Tensor) -> bool:
    """Tell whether a tensor of a layer has all channels of another: outputs first, then inputs, then a kernel of equal size."""
    return (
        larger.ndim == smaller.ndim
        and larger.shape[2:] == smaller.shape[2:]
        and all(more >= fewer for more, fewer in zip(larger.shape, smaller.shape, strict=True))
    )


def _write_into(larger: Tensor, smaller: Tensor) -> None:
    """Overwrite a layer's first channels; its first outputs do not read the inputs behind those."""
    if larger.ndim == 0:  # batch norm's count of batches
        larger.copy_(smaller)
        return
    if larger.ndim == 1:
        larger[: len(smaller)] = smaller
        return
    outputs, inputs = smaller.shape[:2]
    larger[:outputs, :inputs] = smaller
    larger[:outputs, inputs:] = 0
