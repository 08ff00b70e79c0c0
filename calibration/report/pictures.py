"""The pictures of a calibration's report, as inline SVG: histograms, and maps of what a camera saw where, and how well.

Colours come from the page's style sheet by class, so that pictures follow its light and dark themes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from posekit.calibration.report.figures import COVERAGE_COLUMNS, COVERAGE_ROWS

Array = NDArray[np.float64]

#: Width (CSS px) of a picture, and of a map within its frame.
_WIDTH, _HEIGHT = 300.0, 150.0

#: Corners drawn as dots at most; thinned evenly beyond, for the file's size.
_MOST_DOTS = 400

#: A median residual is drawn where so many corners make it.
_FEWEST_FOR_ARROW = 4

_BINS = 40


@dataclass(frozen=True)
class Mark:
    """A line across a histogram, and what it says."""

    value: float
    text: str
    css: str = "mark"


def histogram(
    values: Float[np.ndarray, " N"],
    low: float,
    high: float,
    unit: str,
    marks: Sequence[Mark],
    compared: Array | None = None,
) -> str:
    """Values between low and high as bars; those outside are counted in the first and the last bar.

    compared: others, drawn as an outline of the same area.
    """
    edges = np.linspace(low, high, _BINS + 1)
    counts = _shares(values, edges)
    outline = _shares(compared, edges) if compared is not None and len(compared) else None
    top = max(float(counts.max(initial=0)), 0 if outline is None else float(outline.max()), 1e-9)
    step = _WIDTH / _BINS
    bars = "".join(
        f"M{n * step:.1f} {_HEIGHT}v-{count / top * (_HEIGHT - 14):.1f}h{step - 0.6:.1f}V{_HEIGHT}z"
        for n, count in enumerate(counts)
        if count
    )
    parts = [f'<path class="bar" d="{bars}"/>' if bars else ""]
    if outline is not None:
        path = "".join(f"V{_HEIGHT - share / top * (_HEIGHT - 14):.1f}h{step:.2f}" for share in outline)
        parts.append(f'<path class="outline" d="M0 {_HEIGHT}{path}V{_HEIGHT}"/>')
    for row, mark in enumerate(mark for mark in marks if math.isfinite(mark.value)):
        x = min(max((mark.value - low) / (high - low), 0), 1) * _WIDTH
        # What is written left of its line does not leave the picture on the right.
        left = x > 0.6 * _WIDTH
        parts.append(
            f'<path class="{mark.css}" d="M{x:.1f} 0V{_HEIGHT}"/>'
            f'<text x="{x + (-4 if left else 4):.1f}" y="{10 + 12 * row}"{_END if left else ""}>{escape(mark.text)}</text>'
        )
    parts += _axis(low, high, unit)
    return _svg(_WIDTH, _HEIGHT + 30, "".join(parts), "histogram")


def coverage_map(
    corners_px: Float[np.ndarray, "N 2"], counts: Int[np.ndarray, "rows columns"], size: tuple[int, int]
) -> str:
    """Where corners were seen in a picture: cells the darker the more of them, corners as dots."""
    height = _WIDTH * size[1] / size[0]
    # The logarithm, or one place where the board lay for long would leave all others white.
    share = np.log1p(counts) / max(float(np.log1p(counts).max(initial=0)), 1e-9)
    chosen = corners_px[np.linspace(0, len(corners_px) - 1, min(len(corners_px), _MOST_DOTS)).astype(np.int64)]
    scale = _WIDTH / size[0]
    dots = "".join(f"M{(x + 0.5) * scale:.1f} {(y + 0.5) * scale:.1f}h0" for x, y in chosen)
    return _svg(
        _WIDTH, height, _cells(0.75 * share, height) + f'<path class="dots" d="{dots}"/>' + _frame(height), "coverage"
    )


def error_map(
    corners_px: Float[np.ndarray, "N 2"],
    residual_px: Float[np.ndarray, "N 2"],
    size: tuple[int, int],
    darkest_px: float,
    arrow_scale: float,
) -> str:
    """Where in a picture errors are large: cells by the mean error, arrows by the median residual, enlarged by `arrow_scale`.

    residual_px: reprojection less detection; its median over a cell is what no board's pose can take away, such as a lens that
    is not of its model's kind. darkest_px: the error of the darkest cells.
    """
    width, high = size
    height = _WIDTH * high / width
    column = np.clip(((corners_px[:, 0] + 0.5) / width * COVERAGE_COLUMNS).astype(np.int64), 0, COVERAGE_COLUMNS - 1)
    row = np.clip(((corners_px[:, 1] + 0.5) / high * COVERAGE_ROWS).astype(np.int64), 0, COVERAGE_ROWS - 1)
    cell = row * COVERAGE_COLUMNS + column
    cells = COVERAGE_ROWS * COVERAGE_COLUMNS
    count = np.bincount(cell, minlength=cells)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.bincount(cell, np.linalg.norm(residual_px, axis=-1), cells) / count
    share = np.where(count > 0, 0.04 + 0.9 * np.minimum(error / darkest_px, 1), 0).reshape(COVERAGE_ROWS, -1)
    scale = _WIDTH / width
    arrows = []
    for n in np.flatnonzero(count >= _FEWEST_FOR_ARROW):
        x = (n % COVERAGE_COLUMNS + 0.5) * _WIDTH / COVERAGE_COLUMNS
        y = (n // COVERAGE_COLUMNS + 0.5) * height / COVERAGE_ROWS
        arrows.append(_arrow(x, y, *(np.median(residual_px[cell == n], axis=0) * arrow_scale * scale)))
    return _svg(
        _WIDTH,
        height,
        _cells(share, height, "warm") + f'<path class="arrows" d="{"".join(arrows)}"/>' + _frame(height),
        "errors",
    )


_END = ' text-anchor="end"'


def _shares(values: Array, edges: Array) -> Array:
    """Shares of the values in each bin; what is outside is in the first or the last."""
    finite = values[np.isfinite(values)]
    counts, _ = np.histogram(np.clip(finite, edges[0], edges[-1]), bins=edges)
    return np.asarray(counts / max(len(finite), 1), dtype=np.float64)


def _axis(low: float, high: float, unit: str) -> list[str]:
    step = nice_step((high - low) / 6)
    ticks = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    parts = [f'<path class="axis" d="M0 {_HEIGHT}H{_WIDTH}"/>']
    for tick in ticks:
        x = (tick - low) / (high - low) * _WIDTH
        anchor = ' text-anchor="middle"' if 8 < x < _WIDTH - 14 else _END if x >= _WIDTH - 14 else ""
        label = f"{tick:.{digits}f}" + (f" {unit}" if tick == ticks[-1] else "")
        parts.append(
            f'<path class="axis" d="M{x:.1f} {_HEIGHT}v4"/><text x="{x:.1f}" y="{_HEIGHT + 16}"{anchor}>{escape(label)}</text>'
        )
    return parts


def nice_step(about: float) -> float:
    """1, 2 or 5 times a power of ten, the smallest that is not below."""
    power = 10.0 ** math.floor(math.log10(max(about, 1e-12)))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= about * (1 - 1e-9))


def _cells(share: Array, height: float, css: str = "cool") -> str:
    across, down = _WIDTH / share.shape[1], height / share.shape[0]
    cells = "".join(
        f'<path d="M{column * across:.1f} {row * down:.1f}h{across:.1f}v{down:.1f}h-{across:.1f}z" opacity="{value:.2f}"/>'
        for (row, column), value in np.ndenumerate(share)
        if value > 0
    )
    return f'<g class="{css}">{cells}</g>'


def _arrow(x: float, y: float, across: float, down: float) -> str:
    length = math.hypot(across, down)
    if length < 0.5:
        return ""
    # An arrow that leaves its picture says no more than one as long as a few cells.
    across, down = (value * min(1.0, 60 / length) for value in (across, down))
    head = min(4.0, 0.4 * length)
    angle = math.atan2(down, across)
    tip = f"M{x + across:.1f} {y + down:.1f}"
    sides = "".join(
        f"{tip}l{head * math.cos(angle + turn):.1f} {head * math.sin(angle + turn):.1f}" for turn in (2.6, -2.6)
    )
    return f"M{x:.1f} {y:.1f}l{across:.1f} {down:.1f}{sides}"


def _frame(height: float) -> str:
    return f'<path class="axis" d="M0 0H{_WIDTH}V{height:.1f}H0z"/>'


def _svg(width: float, height: float, content: str, label: str) -> str:
    return (
        f'<svg class="picture" viewBox="-1 -1 {width + 2:.0f} {height + 2:.0f}" width="{width + 2:.0f}" '
        f'height="{height + 2:.0f}" role="img" aria-label="{escape(label)}">{content}</svg>'
    )
