"""Reading other people's JSON: what is damaged is named, and numbers are numbers."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError


def read_bytes(path: str) -> bytes:
    """Return what a file holds; raises PosekitError where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 -- half the time of Path.read_bytes, a million times
            return file.read()
    except OSError as error:
        raise PosekitError(f"{path}: cannot be read ({error.strerror})") from None


def read_json_file(path: str) -> Any:
    """Return the content of a JSON file; raises PosekitError where it is damaged."""
    raw = read_bytes(path)
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise PosekitError(f"{path}: is damaged ({len(raw)} bytes; {error if raw else 'it is empty'})") from None


def number_list(values: list[Any]) -> NDArray[np.float64] | None:
    """Return the numbers of a flat list, (n,), null as NaN; None where something else is in it.

    What float32 cannot hold would be infinite there, and is NaN.
    """
    try:
        numbers = np.array(values)
        if numbers.dtype.kind == "O" and all(value is None or isinstance(value, float | int) for value in values):
            numbers = np.array(values, dtype=np.float64)
    except (ValueError, OverflowError):
        return None
    if numbers.dtype.kind not in "fiu" or numbers.ndim != 1:
        return None
    return np.where(np.abs(numbers) < np.finfo(np.float32).max, numbers, np.nan)
