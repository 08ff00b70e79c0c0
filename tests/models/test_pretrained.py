import re

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from posekit.errors import PosekitError
from posekit.models.backbones.clcnet import clcnet_a
from posekit.models.backbones.mobilenet_v3 import MobileNetV3
from posekit.models.backbones.scnet import ScNet
from posekit.models.backbones.vgg import Vgg19
from posekit.models.pose_machine import light_pose_machine
from posekit.models.pretrained import load_pretrained
from posekit.skeleton import HAND_21

# Outside networks, written down from their documented layouts: what draws their tensors by name, and what runs them. The name
# maps were also held against torchvision 0.28 and timm 1.0.31 themselves: equal classes' scores.


class Weights(dict):
    """A state dict that draws its tensors when they are first asked for, so that one function both makes and runs a network."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, name: str, *shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
        if name not in self:
            self[name] = torch.rand(shape, generator=self.generator) * (high - low) + low
        return self[name]

    def convolution(
        self, name: str, x: Tensor, out: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False
    ):
        width = x.shape[1] // groups
        bound = (3 / (width * kernel**2)) ** 0.5
        weight = self.draw(f"{name}.weight", out, width, kernel, kernel, low=-bound, high=bound)
        added = self.draw(f"{name}.bias", out) if bias else None
        return functional.conv2d(x, weight, added, stride, kernel // 2, groups=groups)

    def norm(self, name: str, x: Tensor, epsilon: float) -> Tensor:
        width = x.shape[1]
        scale = self.draw(f"{name}.weight", width, low=0.5)
        shift, mean = self.draw(f"{name}.bias", width), self.draw(f"{name}.running_mean", width)
        variance = self.draw(f"{name}.running_var", width, low=0.01)
        self.setdefault(f"{name}.num_batches_tracked", torch.tensor(7))
        return functional.batch_norm(x, mean, variance, scale, shift, eps=epsilon)

    def linear(self, name: str, x: Tensor, out: int) -> Tensor:
        width = x.shape[1]
        bound = (3 / width) ** 0.5
        return functional.linear(
            x, self.draw(f"{name}.weight", out, width, low=-bound, high=bound), self.draw(f"{name}.bias", out)
        )


# MobileNetV3-Small: kernel, expanded, out, squeeze, hard swish, stride.
SMALL = (
    *((3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1)),
    *((5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1)),
    *((5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1)),
    *((5, 288, 96, True, True, 2), (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1)),
)
SQUEEZED = {16: 8, 96: 24, 240: 64, 120: 32, 144: 40, 288: 72, 576: 144}


def squeezed(w: Weights, reduce: str, expand: str, x: Tensor) -> Tensor:
    mean = x.mean(dim=(2, 3), keepdim=True)
    inner = w.convolution(reduce, mean, SQUEEZED[x.shape[1]], 1, bias=True).relu()
    return x * ((w.convolution(expand, inner, x.shape[1], 1, bias=True) + 3).clamp(0, 6) / 6)


def torchvision_mobilenet_v3_small(w: Weights, x: Tensor) -> Tensor:
    swish = functional.hardswish
    x = swish(w.norm("features.0.1", w.convolution("features.0.0", x, 16, 3, 2), 1e-3))
    for number, (kernel, expanded, out, squeeze, hard, stride) in enumerate(SMALL, start=1):
        act = swish if hard else functional.relu
        y, part = x, f"features.{number}.block"
        index = 0
        if expanded != x.shape[1]:
            y = act(w.norm(f"{part}.0.1", w.convolution(f"{part}.0.0", y, expanded, 1), 1e-3))
            index = 1
        y = w.convolution(f"{part}.{index}.0", y, expanded, kernel, stride, groups=expanded)
        y = act(w.norm(f"{part}.{index}.1", y, 1e-3))
        if squeeze:
            index += 1
            y = squeezed(w, f"{part}.{index}.fc1", f"{part}.{index}.fc2", y)
        index += 1
        y = w.norm(f"{part}.{index}.1", w.convolution(f"{part}.{index}.0", y, out, 1), 1e-3)
        x = x + y if stride == 1 and x.shape[1] == out else y
    x = swish(w.norm("features.12.1", w.convolution("features.12.0", x, 576, 1), 1e-3))
    return w.linear("classifier.3", swish(w.linear("classifier.0", x.mean(dim=(2, 3)), 1024)), 10)


def timm_mobilenet_v3_small(w: Weights, x: Tensor) -> Tensor:
    swish = functional.hardswish
    x = swish(w.norm("bn1", w.convolution("conv_stem", x, 16, 3, 2), 1e-5))
    places = ["0.0", "1.0", "1.1", "2.0", "2.1", "2.2", "3.0", "3.1", "4.0", "4.1", "4.2"]
    for place, (kernel, expanded, out, squeeze, hard, stride) in zip(places, SMALL, strict=True):
        act = swish if hard else functional.relu
        y, part, norms = x, f"blocks.{place}", iter(("bn1", "bn2", "bn3"))
        separable = expanded == x.shape[1]
        if not separable:
            y = act(w.norm(f"{part}.{next(norms)}", w.convolution(f"{part}.conv_pw", y, expanded, 1), 1e-5))
        y = w.convolution(f"{part}.conv_dw", y, expanded, kernel, stride, groups=expanded)
        y = act(w.norm(f"{part}.{next(norms)}", y, 1e-5))
        if squeeze:
            y = squeezed(w, f"{part}.se.conv_reduce", f"{part}.se.conv_expand", y)
        last = "conv_pw" if separable else "conv_pwl"
        y = w.norm(f"{part}.{next(norms)}", w.convolution(f"{part}.{last}", y, out, 1), 1e-5)
        x = x + y if stride == 1 and x.shape[1] == out else y
    x = swish(w.norm("blocks.5.0.bn1", w.convolution("blocks.5.0.conv", x, 576, 1), 1e-5))
    x = swish(w.convolution("conv_head", x.mean(dim=(2, 3), keepdim=True), 1024, 1, bias=True))
    return w.linear("classifier", x.flatten(1), 10)


def vgg19_conv4_4(w: Weights, x: Tensor) -> Tensor:
    place = 0
    for width, count in ((64, 2), (128, 2), (256, 4), (512, 4)):
        for _ in range(count):
            x = w.convolution(f"features.{place}", x, width, 3, bias=True).relu()
            place += 2
        if width < 512:
            x = functional.max_pool2d(x, 2)
            place += 1
    return x


def released_scnet(w: Weights, x: Tensor, blocks: tuple[int, ...], width: int) -> Tensor:
    def filtered(name: str, norm: str, y: Tensor, out: int, kernel: int, stride: int = 1) -> Tensor:
        return w.norm(norm, w.convolution(name, y, out, kernel, stride), 1e-5)

    x = functional.max_pool2d(filtered("conv1", "bn1", x, width, 7, 2).relu(), 3, 2, 1)
    for level, count in enumerate(blocks):
        for block in range(count):
            p, half, stride = f"layer{level + 1}.{block}", width * 2**level // 2, 2 if level and not block else 1
            a = filtered(f"{p}.conv1_a", f"{p}.bn1_a", x, half, 1).relu()
            a = filtered(f"{p}.k1.0", f"{p}.k1.1", a, half, 3, stride).relu()
            b = filtered(f"{p}.conv1_b", f"{p}.bn1_b", x, half, 1).relu()
            coarse = filtered(f"{p}.scconv.k2.1", f"{p}.scconv.k2.2", functional.avg_pool2d(b, 4), half, 3)
            gate = (b + functional.interpolate(coarse, b.shape[-2:])).sigmoid()
            b = filtered(f"{p}.scconv.k3.0", f"{p}.scconv.k3.1", b, half, 3) * gate
            b = filtered(f"{p}.scconv.k4.0", f"{p}.scconv.k4.1", b, half, 3, stride).relu()
            y = filtered(f"{p}.conv3", f"{p}.bn3", torch.cat([a, b], dim=1), 8 * half, 1)
            if not block:
                x = filtered(f"{p}.downsample.0", f"{p}.downsample.1", x, 8 * half, 1, stride)
            x = (x + y).relu()
    return w.linear("fc", x.mean(dim=(2, 3)), 10)


def assert_equal_answers(ours: Tensor, theirs: Tensor) -> None:
    # float32 through dozens of layers, summed in other orders.
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("outside", [torchvision_mobilenet_v3_small, timm_mobilenet_v3_small])
def test_mobilenet_v3(tmp_path, outside):
    weights = Weights()
    expected = outside(weights, IMAGES)
    torch.save(dict(weights), tmp_path / "small.pth")
    model = MobileNetV3("small", classes=10).eval()
    load_pretrained(model, tmp_path / "small.pth")
    assert_equal_answers(model(IMAGES), expected)
    # A trunk takes its part of the same file.
    trunk = MobileNetV3("small", levels=2).eval()
    load_pretrained(trunk, tmp_path / "small.pth")
    assert_equal_answers(trunk.features(IMAGES)[1], model.features(IMAGES)[1])
    # And so does what has a backbone in it.
    machine = light_pose_machine(HAND_21, MobileNetV3("small")).eval()
    load_pretrained(machine, tmp_path / "small.pth")
    assert_equal_answers(machine.backbone.backbone.features(IMAGES)[3], model.features(IMAGES)[3])


def test_vgg19_trunk_from_safetensors(tmp_path):
    weights = Weights()
    expected = vgg19_conv4_4(weights, IMAGES[:1, :, :32, :32])
    weights.draw("features.28.weight", 4, 4, 3, 3)  # conv5_1, which the trunk has not
    save_file(dict(weights), tmp_path / "vgg19.safetensors")
    model = Vgg19(levels=2).eval()
    load_pretrained(model, tmp_path / "vgg19.safetensors")
    assert_equal_answers(model.features(IMAGES[:1, :, :32, :32])[1], expected)


def test_vgg19_classifiers_of_either_layout(tmp_path):
    with torch.device("meta"):
        model = Vgg19(classes=10)
    names = [name for name, layer in model.classifier.named_modules() if isinstance(layer, nn.Linear)]
    assert names == ["3", "6", "9"]
    convolutions = {
        f"features.{place}": model.stages[stage][inner]
        for place, (stage, inner) in enumerate(
            (s, i) for s, layers in enumerate(model.stages) for i in range(len(layers))
        )
        if isinstance(model.stages[stage][inner], nn.Conv2d)
    }
    assert list(convolutions)[-1] == "features.34"  # conv5_4 of torchvision's vgg19
    small = {
        f"{name}.{field}": value for name, layer in convolutions.items() for field, value in layer.named_parameters()
    }
    layouts = {
        ("pre_logits.fc1", "pre_logits.fc2", "head.fc"): [(4096, 512, 7, 7), (4096, 4096, 1, 1), (10, 4096)],
        ("classifier.0", "classifier.3", "classifier.6"): [(4096, 25088), (4096, 4096), (10, 4096)],
    }
    from posekit.models import pretrained

    for heads, shapes in layouts.items():
        found = small | {
            f"{head}.weight": torch.empty(shape, device="meta") for head, shape in zip(heads, shapes, strict=True)
        }
        found |= {
            f"{head}.bias": torch.empty(shape[0], device="meta") for head, shape in zip(heads, shapes, strict=True)
        }
        names, _ = pretrained._choose_layout(model, found, tmp_path)
        assert {f"{theirs}.weight" for theirs in names.values()} <= set(found)
        assert names["classifier.3"] == heads[0]


@pytest.mark.parametrize("wrapping", [None, "state_dict", "model"])
def test_released_scnet_and_checkpoints_that_wrap_it(tmp_path, wrapping):
    weights = Weights()
    expected = released_scnet(weights, IMAGES, (2, 1, 1, 1), 16)
    state = {f"module.{name}": value for name, value in weights.items() if "num_batches" not in name}
    torch.save({wrapping: state, "epoch": 3} if wrapping else state, tmp_path / "scnet.pth")
    model = ScNet((2, 1, 1, 1), classes=10, width=16).eval()
    load_pretrained(model, tmp_path / "scnet.pth")
    assert_equal_answers(model(IMAGES), expected)


def refused(model, path, *told: str) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(PosekitError, match=".*".join(re.escape(part) for part in told)) as caught:
        load_pretrained(model, path)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_other_networks_are_refused(tmp_path):
    weights = Weights()
    released_scnet(weights, IMAGES, (2, 1), 16)
    path = tmp_path / "scnet.pth"
    torch.save(dict(weights), path)
    refused(ScNet((1, 1), levels=2, width=16), path, "layer1.1.", "found, but this ScNet has none of that name")
    refused(
        ScNet((3, 1), levels=2, width=16), path, "tensor layer1.2.conv1_a.weight: found nothing, expected (8, 64, 1, 1)"
    )
    refused(ScNet((2, 1), levels=2, width=32), path, "tensor conv1.weight: found (16, 3, 7, 7), expected (32, 3, 7, 7)")
    refused(clcnet_a(levels=1), path, "no outside weights are known for ClcNet")
    refused(nn.Conv2d(3, 3, 1), path, "a Conv2d has no backbone")
    weights["layer1.0.conv1_a.weight"][0] = float("nan")
    torch.save(dict(weights), path)
    refused(ScNet((2, 1), levels=2, width=16), path, "layer1.0.conv1_a.weight: found values that are no numbers")


def test_what_is_no_weight_file_is_refused(tmp_path):
    model = ScNet((1,), levels=1, width=4)
    refused(model, tmp_path / "missing.pth", "found no such file")
    for name in ("damaged.pth", "damaged.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 not what it seems")
        refused(model, tmp_path / name, "found no readable weights")
    torch.save([1, 2], tmp_path / "list.pth")
    refused(model, tmp_path / "list.pth", "found no state dict")
