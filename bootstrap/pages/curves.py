"""Curves over rounds or thresholds, as inline SVG in the style of posekit's reports."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from posekit.calibration.report.pictures import nice_step

#: Size (CSS px) of a chart, and the room beside it for what stands at its axes and at the ends of its lines.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BELOW = 250.0, 160.0, 34.0, 82.0, 34.0

#: As many looks as lines can have; after them they begin again.
_LOOKS = 6

CURVE_STYLE = """
.curves figure { width: 366px; }
.curves path { fill: none; }
.curves .grid { stroke: var(--rule); stroke-width: 0.6; }
.curves .axis { stroke: var(--faint); stroke-width: 0.8; }
.curves .line { stroke-width: 1.8; stroke-linejoin: round; }
.curves .dot { stroke-width: 6; stroke-linecap: round; }
.curves .look-0 { stroke: var(--cool); } .curves .look-1 { stroke: var(--warm); }
.curves .look-2 { stroke: var(--y); } .curves .look-3 { stroke: var(--x); }
.curves .look-4 { stroke: var(--z); } .curves .look-5 { stroke: var(--ink); }
"""


@dataclass(frozen=True)
class Curve:
    """A named line through points (x, y); where y is None the line has a gap."""

    name: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]


def chart(
    curves: Sequence[Curve], x_name: str, y_name: str, *, highest: float | None = None, whole_x: bool = False
) -> str:
    """Curves with y from 0; empty text where there is no point. highest: of the y axis; whole_x: x counts something."""
    known = [(x, y) for curve in curves for x, y in zip(curve.x, curve.y, strict=True) if y is not None]
    if not known:
        return ""
    low, high = min(x for x, _ in known), max(x for x, _ in known)
    if high == low:
        low, high = low - 0.5, high + 0.5
    top = highest or max(max(y for _, y in known), 1e-9) * 1.08

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (x - low) / (high - low) * _WIDTH, (1 - min(y / top, 1.0)) * _HEIGHT

    parts = [*_y_axis(top), *_x_axis(low, high, place, whole=whole_x)]
    ends: list[tuple[float, str]] = []
    for n, curve in enumerate(curves):
        points = [None if y is None else place(x, y) for x, y in zip(curve.x, curve.y, strict=True)]
        drawn = [point for point in points if point is not None]
        if not drawn:
            continue
        look = f"look-{n % _LOOKS}"
        parts.append(f'<path class="line {look}" d="{_path(points)}"/>')
        parts.append(f'<path class="dot {look}" d="{"".join(f"M{x:.1f} {y:.1f}h0" for x, y in drawn)}"/>')
        ends.append((drawn[-1][1], curve.name))
    for y, name in _apart(ends):
        parts.append(f'<text x="{_LEFT + _WIDTH + 6}" y="{y + 4:.1f}">{escape(name)}</text>')
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT + 30}">{escape(x_name)}</text>')
    parts.append(f'<text x="{_LEFT + 4}" y="11">{escape(y_name)}</text>')
    width, height = _LEFT + _WIDTH + _RIGHT, _HEIGHT + _BELOW
    return (
        f'<svg viewBox="0 -4 {width:.0f} {height + 4:.0f}" width="{width:.0f}" height="{height + 4:.0f}" role="img" '
        f'aria-label="{escape(y_name)} by {escape(x_name)}">{"".join(parts)}</svg>'
    )


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    path, drawing = [], False
    for point in points:
        if point is not None:
            path.append(f"{'L' if drawing else 'M'}{point[0]:.1f} {point[1]:.1f}")
        drawing = point is not None
    return "".join(path)


def _y_axis(top: float) -> list[str]:
    step = nice_step(top / 5)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    parts = []
    for n in range(math.floor(top / step + 1e-9) + 1):
        y = (1 - n * step / top) * _HEIGHT
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}h{_WIDTH}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{n * step:.{digits}f}</text>')
    return parts


def _x_axis(low: float, high: float, place: Callable[[float, float], tuple[float, float]], *, whole: bool) -> list[str]:
    step = nice_step((high - low) / 6)
    if whole:
        step = max(1.0, step)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    parts = [f'<path class="axis" d="M{_LEFT} {_HEIGHT}h{_WIDTH}"/>']
    for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        x, _ = place(n * step, 0.0)
        parts.append(f'<path class="axis" d="M{x:.1f} {_HEIGHT}v4"/>')
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT + 16}" text-anchor="middle">{n * step:.{digits}f}</text>')
    return parts


def _apart(ends: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Names at the ends of lines, moved down so that none is written over another, then up into the picture."""
    placed: list[tuple[float, str]] = []
    for y, name in sorted(ends):
        placed.append((max(y, placed[-1][0] + 13) if placed else y, name))
    over = max(0.0, placed[-1][0] - _HEIGHT) if placed else 0.0
    return [(y - over, name) for y, name in placed]
