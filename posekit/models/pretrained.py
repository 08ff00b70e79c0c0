"""Weights of the common ecosystem into posekit's backbones, where the network is the same."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from posekit.errors import PosekitError
from posekit.models.backbones.levels import Backbone
from posekit.models.backbones.mobilenet_v3 import InvertedResidual, MobileNetV3
from posekit.models.backbones.resnet import ResNet
from posekit.models.backbones.scnet import ScNet
from posekit.models.backbones.vgg import Vgg19

#: From the name of each of our layers that has weights to the name that an outside file has for it.
_Names = dict[str, str]


class _Layout(NamedTuple):
    """How an outside network names its layers, and its batch norms' epsilon, which no file says (None: as ours)."""

    names: Callable[[Any], _Names]
    epsilon: float | None = None


def load_pretrained(network: nn.Module, path: str | Path) -> None:
    """Load a state dict of torchvision, timm or the networks' own authors into a backbone, in place, or not at all.

    network: a backbone, or what has one in it, such as a pose machine. path: ``.safetensors``, or ``.pth``, ``.pt`` or ``.bin``
    (read without running any code of the file); also a checkpoint that holds one under ``state_dict`` or ``model``, and names
    that begin with ``module.``. Known: VGG-19 and MobileNetV3 of torchvision and timm (not timm's ``tf_`` networks, which pad
    otherwise), ResNet of both (into deformable ones as well: what learns the offsets keeps its start), SCNet as its authors
    release it. What the backbone does not build, such as the classifier of a trunk, is left out.

    Such weights were trained on pictures less ImageNet's mean (about 0.45) over its spread (about 0.225); `normalise_images`
    takes 0.5 and 0.25, so that they are a start for a training rather than of use as they are.

    Raises PosekitError where the file cannot be read, holds another network, or any shape differs.
    """
    path = Path(path)
    backbone = next((module for module in network.modules() if isinstance(module, Backbone)), None)
    if backbone is None:
        raise PosekitError(f"{path}: a {type(network).__name__} has no backbone that could take weights")
    found = _read(path)
    names, epsilon = _choose_layout(backbone, found, path)
    ours = backbone.state_dict()
    loaded: dict[str, Tensor] = {}
    for name, value in ours.items():
        layer, _, field = name.rpartition(".")
        if layer not in names:
            continue
        theirs = f"{names[layer]}.{field}"
        if theirs in found:
            loaded[name] = _fitted(path, theirs, found[theirs], value)
        elif field != "num_batches_tracked" and not layer.endswith("conv_offset"):
            # Older files lack the first, and inference has no use for it; a plain network has no offsets.
            raise PosekitError(f"{path}: tensor {theirs}: found nothing, expected {tuple(value.shape)}")
    _refuse_rest(path, found, names, type(backbone).__name__)
    backbone.load_state_dict({**ours, **loaded})
    if epsilon is not None:
        _adopt_epsilon(backbone, names, epsilon)


@torch.no_grad()
def _adopt_epsilon(backbone: Backbone, names: _Names, epsilon: float) -> None:
    """Rescale norms that were trained with another epsilon, so that with ours they answer as they did."""
    for name, layer in backbone.named_modules():
        if isinstance(layer, nn.BatchNorm2d) and name in names:
            assert layer.running_var is not None
            layer.weight.mul_(((layer.running_var + layer.eps) / (layer.running_var + epsilon)).sqrt())


def _fitted(path: Path, name: str, found: Tensor, wanted: Tensor) -> Tensor:
    # timm writes VGG's fully connected layers as convolutions over the whole map: the same numbers in the same order.
    if found.ndim == 4 and wanted.ndim == 2 and found.numel() == wanted.numel() and len(found) == len(wanted):
        found = found.flatten(1)
    if found.shape != wanted.shape:
        raise PosekitError(f"{path}: tensor {name}: found {tuple(found.shape)}, expected {tuple(wanted.shape)}")
    if not torch.isfinite(found.float()).all():
        raise PosekitError(f"{path}: tensor {name}: found values that are no numbers, expected finite ones")
    return found.to(wanted.dtype)


def _refuse_rest(path: Path, found: Mapping[str, Tensor], names: _Names, network: str) -> None:
    """Raise where a part that we build has more in the file than we took: it is a deeper network, or another."""
    layers = set(names.values())
    sections = {_section(layer) for layer in layers}
    for name in found:
        if name.rpartition(".")[0] not in layers and _section(name) in sections:
            raise PosekitError(f"{path}: tensor {name}: found, but this {network} has none of that name")


def _section(name: str) -> str:
    """The level or block that a tensor belongs to: `layer3`, `features.4`, `blocks.2`, `conv1`."""
    first, *rest = name.split(".")
    return f"{first}.{rest[0]}" if rest and rest[0].isdigit() and not first[-1].isdigit() else first


def _choose_layout(backbone: Backbone, found: Mapping[str, Tensor], path: Path) -> tuple[_Names, float | None]:
    """Return the names and the epsilon of the layout of which the file holds most."""
    layouts = next((of for kind, of in _LAYOUTS.items() if isinstance(backbone, kind)), None)
    if layouts is None:
        known = ", ".join(kind.__name__ for kind in _LAYOUTS)
        raise PosekitError(f"{path}: no outside weights are known for {type(backbone).__name__}, only for {known}")
    layers = {name.rpartition(".")[0] for name in found}
    candidates = [(layout.names(backbone), layout.epsilon) for layout in layouts]
    return max(candidates, key=lambda candidate: len(layers & set(candidate[0].values())))


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise PosekitError(f"{path}: found no such file, expected weights of a backbone (.safetensors, .pth)")
    try:
        loaded: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:
        # torch raises a dozen different types for a damaged or foreign file.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PosekitError(f"{path}: found no readable weights: {reason}") from error
    for wrapping in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapping), dict):
            loaded = loaded[wrapping]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()) or not loaded:
        raise PosekitError(f"{path}: found no state dict (names and tensors), expected one")
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}


def _weighted(model: nn.Module) -> list[str]:
    """Names of the layers that hold tensors themselves."""
    return [
        name
        for name, layer in model.named_modules()
        if any(True for _ in layer.parameters(recurse=False)) or any(True for _ in layer.buffers(recurse=False))
    ]


def _vgg(model: Vgg19, classifier: tuple[str, str, str]) -> _Names:
    names: _Names = {}
    place = 0  # among all layers of the stages in their order, pools and activations included
    for number, stage in enumerate(model.stages):
        for inner, layer in enumerate(stage.children()):
            if isinstance(layer, nn.Conv2d):
                names[f"stages.{number}.{inner}"] = f"features.{place}"
            place += 1
    if model.classifier is not None:
        names.update(zip((name for name in _weighted(model) if name.startswith("classifier")), classifier, strict=True))
    return names


def _vgg_torchvision(model: Vgg19) -> _Names:
    return _vgg(model, ("classifier.0", "classifier.3", "classifier.6"))


def _vgg_timm(model: Vgg19) -> _Names:
    return _vgg(model, ("pre_logits.fc1", "pre_logits.fc2", "head.fc"))


def _conv_norm(ours: str, convolution: str, norm: str) -> _Names:
    return {f"{ours}.0": convolution, f"{ours}.1": norm}


def _mobilenet_torchvision(model: MobileNetV3) -> _Names:
    names = _conv_norm("stem", "features.0.0", "features.0.1")
    place = 1
    for number, level in enumerate(model.levels):
        for inner, block in enumerate(level.children()):
            ours, theirs = f"levels.{number}.{inner}", f"features.{place}"
            place += 1
            if not isinstance(block, InvertedResidual):
                names |= _conv_norm(ours, f"{theirs}.0", f"{theirs}.1")
                continue
            parts = ("expand", "depthwise", "squeeze", "project")
            # The parts that a block has, numbered as they follow each other.
            for index, part in enumerate(part for part in parts if getattr(block, part) is not None):
                if part == "squeeze":
                    names[f"{ours}.squeeze.reduce"] = f"{theirs}.block.{index}.fc1"
                    names[f"{ours}.squeeze.expand"] = f"{theirs}.block.{index}.fc2"
                else:
                    names |= _conv_norm(f"{ours}.{part}", f"{theirs}.block.{index}.0", f"{theirs}.block.{index}.1")
    if model.classifier is not None:
        names |= {"classifier.2": "classifier.0", "classifier.5": "classifier.3"}
    return names


def _mobilenet_timm(model: MobileNetV3) -> _Names:
    names = _conv_norm("stem", "conv_stem", "bn1")
    stage, inner, before = -1, 0, 0
    for number, level in enumerate(model.levels):
        for place, block in enumerate(level.children()):
            ours = f"levels.{number}.{place}"
            # A stage of timm's is a run of blocks of one width.
            width = block.channels_out if isinstance(block, InvertedResidual) else 0
            stage, inner = (stage, inner + 1) if width == before else (stage + 1, 0)
            before = width
            theirs = f"blocks.{stage}.{inner}"
            if not isinstance(block, InvertedResidual):
                names |= _conv_norm(ours, f"{theirs}.conv", f"{theirs}.bn1")
                continue
            convolutions = ["conv_dw", "conv_pw"] if block.expand is None else ["conv_pw", "conv_dw", "conv_pwl"]
            ours_parts = ["depthwise", "project"] if block.expand is None else ["expand", "depthwise", "project"]
            for index, (part, convolution) in enumerate(zip(ours_parts, convolutions, strict=True), start=1):
                names |= _conv_norm(f"{ours}.{part}", f"{theirs}.{convolution}", f"{theirs}.bn{index}")
            if block.squeeze is not None:
                names[f"{ours}.squeeze.reduce"] = f"{theirs}.se.conv_reduce"
                names[f"{ours}.squeeze.expand"] = f"{theirs}.se.conv_expand"
    if model.classifier is not None:
        names |= {"classifier.2": "conv_head", "classifier.5": "classifier"}
    return names


_SCNET_PARTS = {
    "reduce_a.0": "conv1_a",
    "reduce_a.1": "bn1_a",
    "reduce_b.0": "conv1_b",
    "reduce_b.1": "bn1_b",
    "plain.0": "k1.0",
    "plain.1": "k1.1",
    "calibrated.k2.0": "scconv.k2.1",  # theirs counts the pool
    "calibrated.k2.1": "scconv.k2.2",
    "calibrated.k3.0": "scconv.k3.0",
    "calibrated.k3.1": "scconv.k3.1",
    "calibrated.k4.0": "scconv.k4.0",
    "calibrated.k4.1": "scconv.k4.1",
    "expand.0": "conv3",
    "expand.1": "bn3",
    "shortcut.0": "downsample.0",
    "shortcut.1": "downsample.1",
}


def _scnet_released(model: ScNet) -> _Names:
    names = {"stem.0": "conv1", "stem.1": "bn1", "classifier.2": "fc"}
    weighted = _weighted(model)
    for ours in weighted:
        if ours.startswith("levels."):
            _, level, block, part = ours.split(".", 3)
            names[ours] = f"layer{int(level) + 1}.{block}.{_SCNET_PARTS[part]}"
    return {ours: theirs for ours, theirs in names.items() if ours in weighted}


def _resnet(model: ResNet) -> _Names:
    """Name the layers of torchvision and timm, which are ours but for the classifier's."""
    return {name: "fc" if name.startswith("classifier") else name for name in _weighted(model)}


#: Kind of backbone -> the layouts in which its weights come.
_LAYOUTS: dict[type[Backbone], tuple[_Layout, ...]] = {
    Vgg19: (_Layout(_vgg_torchvision), _Layout(_vgg_timm)),
    MobileNetV3: (_Layout(_mobilenet_torchvision), _Layout(_mobilenet_timm, epsilon=1e-5)),
    ResNet: (_Layout(_resnet),),
    ScNet: (_Layout(_scnet_released),),
}
