"""Larger networks that begin with what a smaller one has learnt."""

import torch

from posekit.errors import PosekitError
from posekit.models.cpm import ConvolutionalPoseMachine


def grow(model: ConvolutionalPoseMachine, smaller: ConvolutionalPoseMachine) -> None:
    """Give a network of fresh weights those of a smaller one that it contains, in place.

    What both have is copied. Residual blocks that only `model` has stay as they are: fresh ones add nothing (see
    `ResidualBlock`). Stages that only it has start as copies of the smaller one's last, which reads the maps before it as they
    will. So the stages that both have give the smaller network's maps, as long as nothing but such blocks and stages is new.
    Chen, Goodfellow, Shlens 2016, "Net2Net: accelerating learning via knowledge transfer".

    Raises PosekitError, and changes nothing, where the smaller network has a tensor that the other has not, or has in another
    shape.
    """
    new, old = model.state_dict(), smaller.state_dict()
    last, count = len(smaller.stages) - 1, len(model.stages)
    for stage in range(last + 1, count if last else 0):
        own = f"stages.{last}."
        old |= {f"stages.{stage}.{name.removeprefix(own)}": old[name] for name in tuple(old) if name.startswith(own)}
    for name, value in old.items():
        if name not in new:
            raise PosekitError(f"tensor {name}: found, but the network that was to begin with it has none of that name")
        if new[name].shape != value.shape:
            raise PosekitError(f"tensor {name}: found {tuple(value.shape)}, expected {tuple(new[name].shape)}")
    with torch.no_grad():
        for name, value in old.items():
            new[name].copy_(value)
