"""Every loss term of a training as a file of JSON lines, and as curves in one picture."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_PANEL = (460, 240)
_MARGIN = (62, 34, 14, 26)  # px left, above, right and below the curve
_COLUMNS = 3
_INK, _PALE, _CURVE = (40, 40, 40), (215, 215, 215), (180, 90, 20)


def write_losses(out: Path, history: Sequence[dict[str, float]]) -> None:
    """Write ``<out>.losses.jsonl``, one object for each report, and ``<out>.losses.png``, one curve for each term."""
    import cv2

    from posekit.io.files import write_whole

    with write_whole(out.with_suffix(".losses.jsonl")) as temporary:
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in history), encoding="utf-8")
    with write_whole(out.with_suffix(".losses.png")) as temporary:
        cv2.imwrite(str(temporary), plot_terms(history))


def plot_terms(history: Sequence[dict[str, float]]) -> "np.ndarray":
    """Draw every term over the steps, a panel each, (height, width, 3) uint8."""
    import numpy as np

    names = list(dict.fromkeys(name for entry in history for name in entry if name not in ("step", "seconds")))
    rows = max(1, math.ceil(len(names) / _COLUMNS))
    picture = np.full((rows * _PANEL[1], _COLUMNS * _PANEL[0], 3), 255, dtype=np.uint8)
    last = max((entry["step"] for entry in history), default=1)
    for number, name in enumerate(names):
        top, left = (number // _COLUMNS) * _PANEL[1], (number % _COLUMNS) * _PANEL[0]
        points = [(entry["step"], entry[name]) for entry in history if name in entry and math.isfinite(entry[name])]
        _draw(picture[top : top + _PANEL[1], left : left + _PANEL[0]], name, points, last)
    return picture


def _draw(panel: "np.ndarray", name: str, points: Sequence[tuple[float, float]], last: float) -> None:
    import cv2
    import numpy as np

    left, above, right, below = _MARGIN
    width, height = _PANEL[0] - left - right, _PANEL[1] - above - below
    values = [value for _, value in points]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5

    def write(text: str, x: int, y: int) -> None:
        cv2.putText(panel, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)

    write(name.replace("_", " "), left, above - 12)
    for share in (0.0, 0.5, 1.0):
        y = above + round(height * (1 - share))
        cv2.line(panel, (left, y), (left + width, y), _PALE, 1)
        write(f"{low + share * (high - low):.3g}", 6, y + 4)
    write("0", left, _PANEL[1] - 8)
    write(f"{last:.0f} steps", left + width - 78, _PANEL[1] - 8)
    curve: Any = [
        (left + round(width * step / max(last, 1)), above + round(height * (1 - (value - low) / (high - low))))
        for step, value in points
    ]
    if len(curve) == 1:
        cv2.circle(panel, curve[0], 3, _CURVE, -1, cv2.LINE_AA)
    elif curve:
        cv2.polylines(panel, [np.array(curve, dtype=np.int32)], False, _CURVE, 2, cv2.LINE_AA)
