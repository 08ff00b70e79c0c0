"""Files of OpenCV's FileStorage, YAML and XML, as plain values: dict, list, str, number, and arrays for matrices.

cv2.FileStorage is not used: it takes memory by what a file claims (a hundred bytes can ask for 72 GB) and, in older versions,
misreads matrices of `dt: d` whose data are written as whole numbers. This reads its part of YAML and nothing more.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml import ElementTree as Xml
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.files import require_file

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[\[\]{},:]|[^\[\]{},:\s"\']+')
#: Deeper than any camera file goes.
_DEEPEST = 20


def read_storage(path: str | Path) -> dict[str, Any]:
    """Return the content of a FileStorage; raises PosekitError where it is none, naming the line."""
    path = require_file(path, "a file of OpenCV")
    content = path.read_bytes()
    try:
        if content.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
            return _from_xml(content)
        return _Yaml(content.decode("utf-8-sig")).read()
    except (Xml.ParseError, DefusedXmlException, ValueError, LookupError, RecursionError) as error:
        raise PosekitError(f"{path}: is no OpenCV file that can be read ({error})") from None


def _from_xml(content: bytes) -> dict[str, Any]:
    root = Xml.fromstring(content)
    if root.tag != "opencv_storage":
        raise ValueError(f"its root is <{root.tag}>, <opencv_storage> was expected")
    return {node.tag: _element(node) for node in root}


def _element(node: Any) -> Any:
    if len(node):
        if all(child.tag == "_" for child in node):
            return [_element(child) for child in node]
        values = {child.tag: _element(child) for child in node}
        return _matrix(values) if node.get("type_id") in ("opencv-matrix", "opencv-nd-matrix") else values
    words = [_scalar(word) for word in re.findall(r'"[^"]*"|\S+', node.text or "")]
    return words[0] if len(words) == 1 else words or None


def _scalar(text: str) -> str | int | float:
    if text[:1] in "\"'" and text[:1] == text[-1:] and len(text) > 1:
        return text[1:-1]
    if text.lower() in (".nan", ".inf", "-.inf"):
        return float(text.lower().replace(".", ""))
    # 01 is a name: as a number it would not be what it was.
    if not _NUMBER.fullmatch(text) or re.match(r"[+-]?0\d", text):
        return text
    return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else float(text)


def _matrix(values: dict[str, Any]) -> NDArray[np.float64]:
    """Return a matrix, or an array of any number of axes, as OpenCV 5 writes those of one axis."""
    shape: list[Any] = _list(values["sizes"]) if "sizes" in values else [values.get("rows"), values.get("cols")]
    data = _list(values.get("data"))
    if not all(isinstance(length, int) and length >= 0 for length in shape):
        raise ValueError("a matrix needs rows and cols, or sizes, in whole numbers")
    if not all(isinstance(number, int | float) for number in data):
        raise ValueError("a matrix needs data of numbers")
    channels = int(re.sub(r"\D", "", str(values.get("dt", ""))) or 1)
    shape += [channels] if channels > 1 else []
    # Before the shape is used: it may be anything.
    if len(data) != math.prod(shape):
        raise ValueError(f"a matrix of {' x '.join(map(str, shape))} has {len(data)} values")
    return np.array(data, dtype=np.float64).reshape(shape)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


class _Yaml:
    """Reads mappings, sequences and matrices by their indentation."""

    def __init__(self, text: str) -> None:
        self._lines: list[tuple[int, int, str]] = []  # number, indentation, text
        self._at = 0
        for number, raw in enumerate(text.splitlines(), start=1):
            line = _without_comment(raw).rstrip()
            if line.strip() and not line.startswith(("%", "---", "...")):
                if "\t" in line[: len(line) - len(line.lstrip())]:
                    raise ValueError(f"line {number}: begins with a tab")
                self._lines.append((number, len(line) - len(line.lstrip()), line.lstrip()))

    def read(self) -> dict[str, Any]:
        if not self._lines:
            raise ValueError("it is empty")
        content = self._block(0)
        if self._at < len(self._lines):
            raise ValueError(f"line {self._lines[self._at][0]}: stands further left or right than what is around it")
        if not isinstance(content, dict):
            raise ValueError("names and values were expected, it is a list")
        return content

    def _block(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError(f"line {self._lines[self._at][0]}: is nested too deeply")
        _, indentation, text = self._lines[self._at]
        return self._sequence(indentation, depth) if _is_item(text) else self._mapping(indentation, depth)

    def _here(self, indentation: int) -> bool:
        return self._at < len(self._lines) and self._lines[self._at][1] == indentation

    def _mapping(self, indentation: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._here(indentation) and not _is_item(self._lines[self._at][2]):
            number, _, text = self._lines[self._at]
            key, colon, rest = text.partition(":")
            key = str(key).strip().strip("\"'")
            if not colon or key in found:
                raise ValueError(
                    f"line {number}: {'the name stands there twice' if colon else 'name: value was expected'}"
                )
            self._at += 1
            found[key] = self._value(rest.strip(), indentation, depth)
        return found

    def _sequence(self, indentation: int, depth: int) -> list[Any]:
        found = []
        while self._here(indentation) and _is_item(self._lines[self._at][2]):
            number, _, text = self._lines[self._at]
            rest = text[1:].lstrip()
            if re.match(r"[\w.-]+:(\s|$)", rest):
                # A mapping that begins beside its dash.
                self._lines[self._at] = (number, indentation + len(text) - len(rest), rest)
                found.append(self._block(depth + 1))
            else:
                self._at += 1
                found.append(self._value(rest, indentation, depth))
        return found

    def _value(self, text: str, indentation: int, depth: int) -> Any:
        tag = ""
        if text.startswith("!!"):
            tag, _, text = text.partition(" ")
            text = text.strip()
        value: Any = None
        if text[:1] in ("[", "{"):
            value = self._flow(text)
        elif text:
            value = _scalar(text)
        elif self._at < len(self._lines):
            _, next_indentation, next_text = self._lines[self._at]
            if next_indentation > indentation or (next_indentation == indentation and _is_item(next_text) and not tag):
                value = self._block(depth + 1)
        tagged = tag in ("!!opencv-matrix", "!!opencv-nd-matrix")
        is_matrix = isinstance(value, dict) and (tagged or set(value) == {"rows", "cols", "data"})
        return _matrix(value) if is_matrix else value

    def _flow(self, text: str) -> Any:
        """Read ``[...]`` or ``{...}``, over as many lines as it takes."""
        number = self._lines[self._at - 1][0]
        tokens = _TOKEN.findall(text)
        balance = _balance(tokens)
        while balance > 0:
            if self._at == len(self._lines):
                raise ValueError(f"line {number}: a bracket is not closed")
            more = _TOKEN.findall(self._lines[self._at][2])
            balance += _balance(more)
            tokens += more
            self._at += 1
        value, rest = _parse_flow(tokens, 0, 0)
        if rest != len(tokens):
            raise ValueError(f"line {number}: something follows a closed bracket")
        return value


def _without_comment(line: str) -> str:
    quote = ""
    for place, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign == "#" and line[:place][-1:] in ("", " "):
            return line[:place]
    return line


def _is_item(text: str) -> bool:
    return text == "-" or text.startswith("- ")


def _balance(words: list[str]) -> int:
    """How many more brackets are opened than closed."""
    return sum((word in ("[", "{")) - (word in ("]", "}")) for word in words)


def _parse_flow(tokens: list[str], at: int, depth: int) -> tuple[Any, int]:
    """Return the value that begins at a token, and the place after it."""
    if at >= len(tokens) or depth > _DEEPEST:
        raise ValueError("brackets are not closed, or nested too deeply")
    opening = tokens[at]
    if opening not in ("[", "{"):
        return _scalar(opening), at + 1
    closing = "]" if opening == "[" else "}"
    values: list[Any] = []
    keys: list[str] = []
    at += 1
    while at < len(tokens) and tokens[at] != closing:
        if opening == "{":
            if tokens[at + 1 : at + 2] != [":"]:
                raise ValueError(f"a colon was expected after {tokens[at]}")
            keys.append(tokens[at].strip("\"'"))
            at += 2
        value, at = _parse_flow(tokens, at, depth + 1)
        values.append(value)
        if at < len(tokens) and tokens[at] == ",":
            at += 1
        elif at < len(tokens) and tokens[at] != closing:
            raise ValueError(f"a comma was expected before {tokens[at]}")
    if at >= len(tokens):
        raise ValueError("a bracket is not closed")
    return (values if opening == "[" else dict(zip(keys, values, strict=True))), at + 1


def storage_text(content: dict[str, Any]) -> str:
    """Return a FileStorage's YAML: texts, whole numbers, 2D arrays, lists of texts and lists of such dicts."""
    return "%YAML:1.0\n---\n" + "".join(_lines_of(content, ""))


def _lines_of(content: dict[str, Any], indentation: str) -> list[str]:
    lines = []
    for key, value in content.items():
        if isinstance(value, np.ndarray):
            # Always with a point: some versions of OpenCV misread whole numbers in matrices.
            data = ", ".join(repr(float(x)) for x in value.ravel())
            rows, cols = value.shape
            lines.append(f"{indentation}{key}: !!opencv-matrix\n")
            lines += [f"{indentation}   {line}\n" for line in (f"rows: {rows}", f"cols: {cols}", "dt: d")]
            lines.append(f"{indentation}   data: [ {data} ]\n")
        elif isinstance(value, list):
            lines.append(f"{indentation}{key}:\n")
            for item in value:
                if isinstance(item, dict):
                    lines += [f"{indentation}   -\n", *_lines_of(item, f"{indentation}      ")]
                else:
                    lines.append(f'{indentation}   - "{item}"\n')
        else:
            lines.append(
                f'{indentation}{key}: "{value}"\n' if isinstance(value, str) else f"{indentation}{key}: {value}\n"
            )
    return lines
