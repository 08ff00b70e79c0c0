"""Tables of numbers that pandas wrote into HDF5, read without pandas and without running what the files hold.

pandas and PyTables keep the names of the columns of their ``table`` format pickled. A pickle is a program. Of its commands,
those that build lists, tuples, texts and numbers are followed here; a file with any other is refused.
"""

import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError

#: How many bytes a compressor makes of one, at most: deflate 1032, PyTables' others more.
_LARGEST_RATIO = 10_000


@dataclass(frozen=True, eq=False)
class DataTable:
    """values: (rows, columns). columns: the levels of every column's name. index: (rows,) numbers or texts."""

    values: NDArray[np.float64]
    columns: tuple[tuple[str, ...], ...]
    index: NDArray[Any]


def is_pandas_file(file: h5py.File) -> bool:
    """Tell whether pandas wrote it."""
    return any(isinstance(group, h5py.Group) and "pandas_type" in group.attrs for group in file.values())


def read_pandas_table(path: Path) -> DataTable:
    """Read the table of a file with one, in the ``fixed`` or in the ``table`` format.

    Raises PosekitError for a damaged file, and for one whose names cannot be had without running code.
    """
    try:
        with h5py.File(path, "r") as file:
            groups = [
                group for group in file.values() if isinstance(group, h5py.Group) and "pandas_type" in group.attrs
            ]
            if len(groups) != 1:
                raise PosekitError(f"{path}: holds {len(groups)} tables of pandas, one was expected")
            size = path.stat().st_size
            for dataset in groups[0].values():
                if isinstance(dataset, h5py.Dataset) and dataset.nbytes > _LARGEST_RATIO * size:
                    raise PosekitError(
                        f"{path}: {dataset.name} claims {dataset.nbytes} bytes, more than the file can hold"
                    )
            return _table_format(groups[0]) if "table" in groups[0] else _fixed_format(groups[0])
    except _NotPlainError as error:
        raise PosekitError(
            f"{path}: its columns are stored as a program ({error}), which is not run; export it as CSV instead"
        ) from None
    # What h5py raises for a damaged file depends on where the damage is.
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError) as error:
        raise PosekitError(f"{path}: is no table that can be read ({error})") from None


def _fixed_format(group: h5py.Group) -> DataTable:
    values: list[NDArray[np.float64]] = []
    columns: list[tuple[str, ...]] = []
    for block in range(int(group.attrs["nblocks"])):
        dataset = group[f"block{block}_values"]
        if dataset.dtype.kind not in "fiu":
            raise _NotPlainError(f"block {block} holds no numbers")
        numbers = dataset[()].astype(np.float64)
        values.append(numbers if dataset.attrs.get("transposed", 0) else numbers.T)
        columns += _labels(group, f"block{block}_items")
    index = group["axis1"][()] if "axis1" in group else np.array([label[-1] for label in _labels(group, "axis1")])
    return _checked(np.concatenate(values, axis=1), columns, index)


def _labels(group: h5py.Group, name: str) -> list[tuple[str, ...]]:
    """The entries of an index of several levels: a level's texts, and which of them each entry has."""
    levels = []
    for level in range(int(group.attrs[f"{name}_nlevels"])):
        texts = group[f"{name}_level{level}"]
        if texts.dtype.kind not in "Siu":
            raise _NotPlainError(f"{name}_level{level} holds {texts.dtype}")
        levels.append([_text(value) for value in texts[()][group[f"{name}_label{level}"][()]]])
    return list(zip(*levels, strict=True))


def _table_format(group: h5py.Group) -> DataTable:
    table = group["table"]
    rows = table[()]
    values: list[NDArray[np.float64]] = []
    columns: list[tuple[str, ...]] = []
    for name in (name for name in rows.dtype.names if name.startswith("values_block_")):
        if rows[name].dtype.kind not in "fiu":
            raise _NotPlainError(f"{name} holds no numbers")
        values.append(rows[name].reshape(len(rows), -1).astype(np.float64))
        kept = table.attrs[f"{name}_kind"]
        names = _plain_pickle(kept if isinstance(kept, bytes) else bytes(kept))
        labels = [label if isinstance(label, tuple) else (label,) for label in names]
        if not all(isinstance(text, str | int | float) for label in labels for text in label):
            raise _NotPlainError("lists in the place of names")
        columns += [tuple(map(str, label)) for label in labels]
    return _checked(np.concatenate(values, axis=1), columns, rows["index"])


def _checked(values: NDArray[np.float64], columns: list[tuple[str, ...]], index: NDArray[Any]) -> DataTable:
    if values.shape != (len(index), len(columns)):
        raise ValueError(f"{values.shape} numbers for {len(index)} rows and {len(columns)} columns")
    if index.dtype.kind == "S":
        index = np.array([_text(value) for value in index])
    return DataTable(values, tuple(columns), index)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class _NotPlainError(Exception):
    """What is not numbers, texts, lists and tuples."""


_VALUES = {
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
}
_TUPLES_OF = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _plain_pickle(data: bytes) -> list[Any]:
    """Follow the commands of a pickle that build a list of plain values; raise _NotPlainError at any other."""
    mark = object()
    stack: list[Any] = []
    memo: dict[Any, Any] = {}

    def since_mark() -> list[Any]:
        last = max(place for place, value in enumerate(stack) if value is mark)
        values = stack[last + 1 :]
        del stack[last:]
        return values

    for command, argument, _ in pickletools.genops(data):
        name = command.name
        if name in _VALUES:
            stack.append(argument)
        elif name == "NONE":
            stack.append(None)
        elif name == "MARK":
            stack.append(mark)
        elif name in ("LIST", "TUPLE"):
            stack.append(since_mark() if name == "LIST" else tuple(since_mark()))
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name in _TUPLES_OF:
            count = _TUPLES_OF[name]
            stack[len(stack) - count :] = [tuple(stack[len(stack) - count :])]
        elif name in ("APPEND", "APPENDS"):
            values = [stack.pop()] if name == "APPEND" else since_mark()
            stack[-1].extend(values)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "STOP" and len(stack) == 1 and isinstance(stack[0], list):
            return stack[0]
        elif name not in ("PROTO", "FRAME"):
            raise _NotPlainError(name.lower())
    raise _NotPlainError("no list")
