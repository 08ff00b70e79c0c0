"""Pickles of plain arrays, read without running what is in them: a pickle is a program, and may call anything there is.

Its commands are followed here, one by one: those that build lists, tables, texts, numbers and NumPy arrays of numbers. Any
other is refused, and so is every name but those that NumPy's own arrays are stored with; nothing is imported or called.
"""

import codecs
import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.json_values import read_bytes

#: Kinds of numbers: bool, signed, unsigned, float. Arrays of objects could hold anything.
_KINDS = "biuf"
_COMMANDS = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
_MARK = object()
#: How many values a tuple of fixed length has.
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
#: Commands that push the value written behind them; texts of Python 2 hold bytes, which latin1 keeps.
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
#: What may be named, by the names that NumPy has had for it.
_NAMES = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy.core.multiarray scalar": "scalar",
    "numpy._core.multiarray scalar": "scalar",
    "numpy.core.numeric _frombuffer": "frombuffer",
    "numpy._core.numeric _frombuffer": "frombuffer",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
    "__builtin__ bytes": "bytes",
}


class _RefusedError(Exception):
    """What a pickle asks for and does not get."""


@dataclass(frozen=True)
class _Name:
    """A function or class that a pickle names; it stands for itself and is never called."""

    what: str


@dataclass(eq=False)
class _Kind:
    """A dtype, whose byte order is told after it was made."""

    dtype: np.dtype[Any]


@dataclass(eq=False)
class _Single:
    """The object of an array of objects that has no axes: what NumPy makes of a table that is saved as an array."""

    item: Any


@dataclass(eq=False)
class _Array:
    """An array, whose content is told after it was made."""

    array: NDArray[Any] | _Single | None = None


#: Stands for the dtype of an array of objects.
_OBJECTS = _Name("objects")


def read_array_pickle(path: str | Path) -> Any:
    """Return the lists, tables and arrays of a pickle, of Python 2 or 3; texts of Python 2 are read as latin1.

    Raises PosekitError where the file is damaged, or holds anything but arrays of numbers.
    """
    return parse_array_pickle(read_bytes(str(path)), str(path))


def parse_array_pickle(raw: bytes, path: str) -> Any:
    """Return the lists, tables and arrays of a pickle's bytes; an array that is one object is that.

    path: for messages. Raises PosekitError as `read_array_pickle` does.
    """
    try:
        return _with_arrays(_follow(io.BytesIO(raw)))
    except _RefusedError as refused:
        raise PosekitError(
            f"{path}: asks for {refused}, expected nothing but arrays: such a pickle may run programs and is not read; where "
            "you trust it, load it yourself and pickle a table of plain NumPy arrays"
        ) from None
    # A damaged pickle makes whoever follows it stumble in any of these ways.
    except (ValueError, TypeError, LookupError, AttributeError, MemoryError, OverflowError, RecursionError) as error:
        raise PosekitError(f"{path}: is no whole pickle ({len(raw)} bytes; {type(error).__name__})") from None


def _follow(file: io.BytesIO) -> Any:
    """Follow the commands; return what they build. Raises ValueError and its like where they make no sense."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    while True:
        code = file.read(1)
        command = _COMMANDS[code]
        name = command.name
        if name == "STRING":
            # pickletools would take its bytes for ASCII.
            argument: Any = codecs.escape_decode(file.readline().strip()[1:-1])[0].decode("latin1")
        else:
            argument = command.arg.reader(file) if command.arg is not None else None
        if name == "STOP":
            (value,) = stack
            return value
        if name in _VALUES:
            stack.append(argument)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _TUPLES:
            stack.append(tuple(_take(stack, _TUPLES[name])))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name not in ("PROTO", "FRAME"):
            _STEPS.get(name, _refuse(name))(stack, argument)


def _take(stack: list[Any], count: int) -> list[Any]:
    if count > len(stack):
        raise ValueError("nothing is left to take")
    taken = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return taken


def _take_to_mark(stack: list[Any]) -> list[Any]:
    place = len(stack) - 1
    while stack[place] is not _MARK:
        place -= 1
        if place < 0:
            raise ValueError("no mark")
    taken = stack[place + 1 :]
    del stack[place:]
    return taken


def _refuse(name: str) -> Callable[[list[Any], Any], None]:
    def refuse(stack: list[Any], argument: Any) -> None:
        raise _RefusedError(f"the command {name}")

    return refuse


def _mark(stack: list[Any], argument: Any) -> None:
    stack.append(_MARK)


def _tuple(stack: list[Any], argument: Any) -> None:
    stack.append(tuple(_take_to_mark(stack)))


def _list(stack: list[Any], argument: Any) -> None:
    stack.append(_take_to_mark(stack))


def _dict(stack: list[Any], argument: Any) -> None:
    items = _take_to_mark(stack)
    stack.append(dict(zip(items[::2], items[1::2], strict=True)))


def _append(stack: list[Any], argument: Any) -> None:
    _container(stack[-2], list).append(stack.pop())


def _appends(stack: list[Any], argument: Any) -> None:
    items = _take_to_mark(stack)
    _container(stack[-1], list).extend(items)


def _set_item(stack: list[Any], argument: Any) -> None:
    key, value = _take(stack, 2)
    _container(stack[-1], dict)[key] = value


def _set_items(stack: list[Any], argument: Any) -> None:
    items = _take_to_mark(stack)
    _container(stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))


def _container(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"not a {kind.__name__}")
    return value


def _pop(stack: list[Any], argument: Any) -> None:
    stack.pop()


def _global(stack: list[Any], argument: Any) -> None:
    if argument not in _NAMES:
        raise _RefusedError(str(argument).replace(" ", "."))
    stack.append(_Name(_NAMES[argument]))


def _stack_global(stack: list[Any], argument: Any) -> None:
    module, name = _take(stack, 2)
    _global(stack, f"{module} {name}")


def _reduce(stack: list[Any], argument: Any) -> None:
    """Stands where a pickle calls a function."""
    called, arguments = _take(stack, 2)
    match called, arguments:
        case _Name("array"), (_Name("ndarray"), *_):
            stack.append(_Array())
        case _Name("dtype"), ("O8" | "O", *_):
            stack.append(_OBJECTS)
        case _Name("dtype"), (str() as kind, *_):
            stack.append(_Kind(_number_kind(kind)))
        case _Name("scalar"), (_Kind(dtype), (str() | bytes()) as raw):
            stack.append(np.frombuffer(_bytes(raw), dtype=dtype, count=1)[0].item())
        case _Name("frombuffer"), (bytes() | bytearray() as raw, _Kind(dtype), tuple() as shape, "C" | "F" as order):
            stack.append(_Array(_numbers(raw, dtype, shape, order)))
        case _Name("bytes"), ():
            stack.append(b"")
        case _Name("encode"), (str() as text, "latin1"):
            stack.append(text.encode("latin1"))
        case _:
            raise _RefusedError(f"a call of {called.what if isinstance(called, _Name) else type(called).__name__}")


def _build(stack: list[Any], argument: Any) -> None:
    """Stands where a pickle fills an object."""
    built, state = _take(stack, 2)
    match built, state:
        case _Kind(), (_, "<" | ">" | "|" | "=" as order, *_):
            built.dtype = built.dtype.newbyteorder(order)
        case _Array(), (_, tuple() as shape, _Kind(dtype), bool() | int() as by_column, (str() | bytes()) as raw):
            built.array = _numbers(_bytes(raw), dtype, shape, "F" if by_column else "C")
        case _Name("objects"), tuple():
            # Its byte order, of which there is none.
            pass
        case _Array(), (_, (), _Name("objects"), bool() | int(), [item]):
            built.array = _Single(item)
        case _:
            raise _RefusedError("an object other than an array of numbers")
    stack.append(built)


def _numbers(
    raw: bytes | bytearray, dtype: np.dtype[Any], shape: tuple[Any, ...], order: Literal["C", "F"]
) -> NDArray[Any]:
    if not all(isinstance(length, int) and length >= 0 for length in shape):
        raise ValueError("no shape")
    return np.frombuffer(raw, dtype=dtype).reshape(shape, order=order)


def _bytes(raw: str | bytes) -> bytes:
    return raw.encode("latin1") if isinstance(raw, str) else raw


def _number_kind(name: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(name)
    except TypeError:
        raise _RefusedError(f"an array of '{name}'") from None
    if dtype.kind not in _KINDS:
        raise _RefusedError(f"an array of '{name}'")
    return dtype


_STEPS: dict[str, Callable[[list[Any], Any], None]] = {
    "MARK": _mark,
    "TUPLE": _tuple,
    "EMPTY_LIST": lambda stack, argument: stack.append([]),
    "LIST": _list,
    "APPEND": _append,
    "APPENDS": _appends,
    "EMPTY_DICT": lambda stack, argument: stack.append({}),
    "DICT": _dict,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "POP": _pop,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
}


def _with_arrays(value: Any) -> Any:
    if isinstance(value, _Array):
        if value.array is None:
            raise ValueError("an array without content")
        return _with_arrays(value.array.item) if isinstance(value.array, _Single) else value.array
    if isinstance(value, dict):
        return {key: _with_arrays(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_arrays(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    raise _RefusedError("a bare name")
