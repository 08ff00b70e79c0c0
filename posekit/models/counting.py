"""How large a network is: its parameters, and the multiplications of one pass, layer by layer."""

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from posekit.models.backbones.levels import Backbone


@dataclass(frozen=True)
class LayerCount:
    """One layer of a pass. name: as in `named_modules`, "" for the model itself. shape: of what it returned last.

    parameters, macs: the layer's own, without those of the layers in it; macs of all its calls.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class NetworkCount:
    """The count of one pass. parameters: trainable numbers. macs: of all layers. layers: those that multiply."""

    parameters: int
    macs: int
    layers: tuple[LayerCount, ...]


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def count(model: nn.Module, size: int, channels: int = 3) -> NetworkCount:
    """Count one pass over one square picture of `size` px, without computing it: on tensors that have shapes alone.

    As papers count: a mac is one multiplication with its addition, in convolutions and matrix products; norms, activations,
    sums and pools are not counted. Operators with a formula of their own (`torch.utils.flop_counter`), such as posekit's
    deformable convolutions, are counted by it. The model is left as it is, its device and mode included.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                shapes[name] = tuple(output.shape)

        return layer.register_forward_hook(hook)

    handles = [watch(name, layer) for name, layer in model.named_modules()]
    try:
        counter = FlopCounterMode(display=False)
        run_on_shapes(model, size, channels, counter)
    finally:
        for handle in handles:
            handle.remove()
    root = type(model).__name__
    totals = {name: sum(of_operator.values()) // 2 for name, of_operator in counter.get_flop_counts().items()}

    def total(name: str) -> int:
        return totals.get(f"{root}.{name}" if name else root, 0)

    layers = []
    for name, layer in model.named_modules():
        inside = sum(total(f"{name}.{child}" if name else child) for child, _ in layer.named_children())
        if own := total(name) - inside:
            parameters = sum(value.numel() for value in layer.parameters(recurse=False) if value.requires_grad)
            layers.append(LayerCount(name, type(layer).__name__, shapes.get(name, ()), parameters, own))
    return NetworkCount(count_parameters(model), counter.get_total_flops() // 2, tuple(layers))


def level_shapes(backbone: Backbone, size: int) -> list[tuple[int, int, int]]:
    """Return the shapes (C, H, W) of a backbone's levels for one square picture of `size` px, finest first."""
    shapes = [level.shape for level in run_on_shapes(_Levels(backbone), size)]
    return [(shape[1], shape[2], shape[3]) for shape in shapes]


class _Levels(nn.Module):
    """A backbone that answers with its levels."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.backbone.features(images)


def run_on_shapes(
    model: nn.Module,
    size: int,
    channels: int = 3,
    watched: contextlib.AbstractContextManager[object] | None = None,
) -> Any:
    """Run a model in eval mode on one picture without values, and return what comes out; the model stays as it is.

    watched: a context to run it in. All tensors are fake ones on the processor (the meta device is not known to autocast).
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), FakeTensorMode():
            tensors = (*model.named_parameters(), *model.named_buffers())
            state = {name: torch.empty(value.shape, dtype=value.dtype) for name, value in tensors}
            images = torch.empty(1, channels, size, size)
            with watched or contextlib.nullcontext():
                return functional_call(model, state, (images,))
    finally:
        for module, training in modes.items():
            module.training = training
