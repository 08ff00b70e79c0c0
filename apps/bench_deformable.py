"""``posekit bench deformable``: modulated deformable convolution beside torch's conv2d and the same by grid_sample."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

#: Pictures, channels in and out, height, width.
SHAPES = ((1, 64, 48, 48), (1, 128, 32, 32), (1, 256, 64, 48), (8, 64, 48, 48))
KERNEL_SIZE = 3
#: In the order in which they run and are printed.
METHODS = ("conv2d", "grid_sample", "posekit")


@dataclass(frozen=True)
class DeformableBench:
    """Time modulated deformable convolution beside conv2d and grid_sample, and compare it with loops in float64."""

    threads: int = 2
    """Threads for each; they never run at the same time."""
    repeats: int = 10
    """Runs of each, in turn, after one that does not count; the best one is taken, which was disturbed least."""
    offset_px: float = 2.0
    """Standard deviation of the offsets, which are independent of each other."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the tensors are."""
    seed: int = 0
    """Seed of the input."""
    json: Path | None = None
    """Write the figures here, too."""


def run(config: DeformableBench) -> dict[str, Any]:
    """Measure all shapes, and within each all methods in turn on the same input."""
    import torch

    from posekit.apps.checks import require_counts, require_positive
    from posekit.errors import PosekitError

    require_counts(threads=config.threads, repeats=config.repeats)
    require_positive("--offset-px", config.offset_px)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise PosekitError("--device: found cuda, but torch finds no GPU here; expected cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        shapes = [_measure(config, shape) for shape in SHAPES]
    finally:
        torch.set_num_threads(before)
    return {
        "benchmark": "deformable",
        "device": config.device,
        "threads": config.threads,
        "repeats": config.repeats,
        "offset_px": config.offset_px,
        "torch": torch.__version__,
        "shapes": shapes,
    }


def _measure(config: DeformableBench, shape: tuple[int, int, int, int]) -> dict[str, Any]:
    import torch
    from torch.nn import functional

    from posekit.ops.deformable import modulated_deform_conv2d

    inputs = _draw(config, shape)
    x, offset, mask, weight = inputs
    methods: dict[str, Callable[[], Tensor]] = {
        "conv2d": lambda: functional.conv2d(x, weight, padding=1),
        "grid_sample": lambda: _by_grid_sample(x, offset, mask, weight),
        "posekit": lambda: modulated_deform_conv2d(x, offset, mask, weight, padding=1),
    }
    upstream = torch.ones_like(x)

    def forward(method: str) -> None:
        with torch.no_grad():
            methods[method]()

    def forward_backward(method: str) -> None:
        for tensor in inputs:
            tensor.grad = None
        methods[method]().backward(upstream)

    figures: dict[str, Any] = dict(zip(("batch", "channels", "height", "width"), shape, strict=True))
    for name, work in (("forward", forward), ("forward_backward", forward_backward)):
        milliseconds = _times(config, work)
        figures[f"{name}_ms"] = milliseconds
        figures[f"{name}_times_conv2d"] = milliseconds["posekit"] / milliseconds["conv2d"]
        figures[f"{name}_faster_than_grid_sample"] = milliseconds["grid_sample"] / milliseconds["posekit"]
    figures["max_relative_error"] = _errors(inputs, {name: methods[name] for name in METHODS if name != "conv2d"})
    return figures


def _draw(config: DeformableBench, shape: tuple[int, int, int, int]) -> "tuple[Tensor, Tensor, Tensor, Tensor]":
    """Draw x, offset, mask and weight in float32, on the processor whatever the device: the same numbers everywhere."""
    import torch

    generator = torch.Generator().manual_seed(config.seed)
    batch, channels, *size = shape
    points = KERNEL_SIZE**2
    x = torch.randn(shape, generator=generator)
    offset = config.offset_px * torch.randn((batch, 2 * points, *size), generator=generator)
    mask = torch.rand((batch, points, *size), generator=generator)
    weight = torch.randn((channels, channels, KERNEL_SIZE, KERNEL_SIZE), generator=generator) / channels**0.5
    x, offset, mask, weight = (tensor.to(config.device).requires_grad_() for tensor in (x, offset, mask, weight))
    return x, offset, mask, weight


def _by_grid_sample(x: "Tensor", offset: "Tensor", mask: "Tensor", weight: "Tensor") -> "Tensor":
    """Convolve as one would without an operator for it: all samples by grid_sample, then one matrix product."""
    import torch
    from torch.nn import functional

    batch, channels, height, width = x.shape
    points = KERNEL_SIZE**2
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    point = torch.arange(points, device=x.device)[:, None, None]
    y = offset[:, 0::2] + (rows[:, None] + point // KERNEL_SIZE - 1)
    x_at = offset[:, 1::2] + (columns + point % KERNEL_SIZE - 1)
    grid = torch.stack([2 * x_at / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)
    samples = functional.grid_sample(x, grid.view(batch, points * height, width, 2), align_corners=True)
    samples = samples.view(batch, channels, points, height, width) * mask[:, None]
    return (weight.flatten(1) @ samples.view(batch, channels * points, -1)).view(batch, -1, height, width)


def _times(config: DeformableBench, work: Callable[[str], None]) -> dict[str, float]:
    """Return the milliseconds of every method's best run."""
    import torch

    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(config.repeats + 1):
        for method in METHODS:
            start = time.perf_counter()
            work(method)
            if config.device == "cuda":
                torch.cuda.synchronize()
            seconds[method].append(time.perf_counter() - start)
    return {method: 1e3 * min(measured[1:]) for method, measured in seconds.items()}


def _errors(inputs: "tuple[Tensor, ...]", methods: "dict[str, Callable[[], Tensor]]") -> dict[str, float]:
    """Return the largest difference from the loops in float64, over their largest value; of the first picture."""
    import numpy as np
    import torch

    from posekit.ops.reference import modulated_deform_conv2d

    x, offset, mask, weight = (tensor.detach().double().cpu().numpy() for tensor in inputs)
    once = (1, 1)
    truth = modulated_deform_conv2d(x[:1], offset[:1], mask[:1], weight, None, once, once, once, 1)
    errors = {}
    with torch.no_grad():
        for name, method in methods.items():
            difference = np.abs(method()[:1].double().cpu().numpy() - truth)
            errors[name] = float(difference.max() / np.abs(truth).max())
    return errors


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print milliseconds, how they compare, and errors."""
    from posekit.apps.tables import figures_table, number

    where = f"{figures['threads']} threads" if figures["device"] == "cpu" else figures["device"]
    for name, title in (("forward", "Forward"), ("forward_backward", "Forward and backward")):
        table = figures_table(
            f"{title}, ms, {where}",
            ("shape", "conv2d", "grid_sample", "posekit", "/ conv2d", "faster"),
        )
        for shape in figures["shapes"]:
            table.add_row(
                f"{shape['batch']} x {shape['channels']} x {shape['height']} x {shape['width']}",
                *(number(shape[f"{name}_ms"][method], 1) for method in METHODS),
                number(shape[f"{name}_times_conv2d"], 1),
                number(shape[f"{name}_faster_than_grid_sample"], 1),
            )
        console.print(table)
    worst = max(shape["max_relative_error"]["posekit"] for shape in figures["shapes"])
    other = max(shape["max_relative_error"]["grid_sample"] for shape in figures["shapes"])
    console.print(
        f"3x3, as many channels out as in, offsets of {figures['offset_px']:g} px; best of {figures['repeats']} runs.\n"
        "/ conv2d: posekit's time over conv2d's; faster: grid_sample's over posekit's.\n"
        f"Largest error, of the largest value, against loops in float64:\nposekit {worst:.1e}, grid_sample {other:.1e}"
    )
