"""Points that a person marked in the pictures of several cameras, and a distance that was measured: a small TOML file.

```toml
[points.origin]            # any name; a world takes origin, x (on the +x axis) and plane (elsewhere on the floor)
cam_1 = [812.5, 455.0]     # pixels (x, y) in two cameras or more; (0, 0) is the centre of the top-left pixel
cam_2 = [640.0, 310.5]

[points.x]
# ...

[distance]                 # optional: gives the rig its scale
between = ["origin", "x"]  # two points, or two cameras
metres = 1.25
```
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posekit.calibration.formats.aniposelib import read_toml
from posekit.errors import PosekitError
from posekit.io.files import require_file


@dataclass(frozen=True)
class MarkedPoints:
    """pixels: point -> camera -> (x, y) px, each point in two cameras or more. distance: names of two ends, and metres."""

    pixels: dict[str, dict[str, tuple[float, float]]]
    distance: tuple[tuple[str, str], float] | None = None
    source: str = ""


def read_marked_points(path: str | Path) -> MarkedPoints:
    """Read the file; raises PosekitError naming the table and the key where a value is missing or cannot be."""
    path = require_file(path, "marked points")
    tables = read_toml(path)
    odd = [name for name in tables if name not in ("points", "distance")]
    if odd:
        raise PosekitError(f"{path}: [{odd[0]}]: is not known; tables are [points.NAME] and [distance]")
    points = tables.get("points", {})
    if not isinstance(points, dict):
        raise PosekitError(f"{path}: points: tables [points.NAME] were expected, found {points!r}")
    pixels = {name: _views(path, name, views) for name, views in points.items()}
    distance = _distance(path, tables["distance"]) if "distance" in tables else None
    if not pixels and distance is None:
        raise PosekitError(f"{path}: has neither a table [points.NAME] nor [distance]")
    return MarkedPoints(pixels, distance, str(path))


def _views(path: Path, name: str, views: Any) -> dict[str, tuple[float, float]]:
    where = f"{path}: [points.{name}]"
    if not isinstance(views, dict):
        raise PosekitError(f"{where}: lines CAMERA = [x, y] were expected, found {views!r}")
    if len(views) < 2:
        raise PosekitError(f"{where}: is marked in {len(views)} camera, two or more were expected")
    for camera, pixel in views.items():
        if not (isinstance(pixel, list) and len(pixel) == 2 and all(_is_number(value) for value in pixel)):
            raise PosekitError(f"{where} {camera}: {pixel!r} is no pixel [x, y]")
    return {camera: (float(pixel[0]), float(pixel[1])) for camera, pixel in views.items()}


def _distance(path: Path, table: Any) -> tuple[tuple[str, str], float]:
    where = f"{path}: [distance]"
    if not isinstance(table, dict):
        raise PosekitError(f"{where}: a table with between and metres was expected, found {table!r}")
    between, metres = table.get("between"), table.get("metres")
    if not (isinstance(between, list) and len(between) == 2 and all(isinstance(name, str) for name in between)):
        raise PosekitError(f"{where} between: {between!r} where the names of two points or two cameras were expected")
    if between[0] == between[1]:
        raise PosekitError(f"{where} between: twice '{between[0]}', two different ends were expected")
    if metres is None or not _is_number(metres) or not metres > 0:
        raise PosekitError(f"{where} metres: {metres!r} is no length in metres")
    return (between[0], between[1]), float(metres)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
