"""Calibration boards: what is printed on them, and where their corners are."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from posekit.calibration.boards.dictionaries import dictionary_name, marker_count
from posekit.errors import PosekitError

BoardKind = Literal["charuco", "chessboard", "aruco"]

Array = NDArray[np.float64]

_FORMS = (
    "charuco:COLUMNSxROWS:SQUARE:MARKER:DICTIONARY[:legacy] (squares), chessboard:COLUMNSxROWS:SQUARE (inner corners), "
    "aruco:COLUMNSxROWS:MARKER:GAP:DICTIONARY (markers; AprilTags, too); sides in metres"
)

#: A side longer than this (m) was given in millimetres or centimetres.
_LONGEST_SIDE = 2.0

#: More corners to a side than anyone prints: sizes are checked before memory is taken.
_MOST_TO_A_SIDE = 200


@dataclass(frozen=True)
class Board:
    """A flat board; its frame has x to the right, y down and z into the board, as one looks at the print.

    kind: "charuco" (columns x rows squares, a marker in every white one), "chessboard" (columns x rows inner corners) or
    "aruco" (a grid of columns x rows markers, ArUco or AprilTag). square_m: side of a square; of a grid, from marker to marker,
    gap included. marker_m, dictionary: of the markers, None for a chessboard. legacy: ChArUco as OpenCV drew it before 4.6,
    which differs where the number of rows is even.
    """

    kind: BoardKind
    columns: int
    rows: int
    square_m: float
    marker_m: float | None = None
    dictionary: str | None = None
    legacy: bool = False

    @property
    def corner_columns(self) -> int:
        """Corners in a row of a charuco or a chessboard."""
        return self.columns - (self.kind == "charuco")

    @cached_property
    def points_m(self) -> Array:
        """Where the corners are in the board's frame, (K, 3) metres, row by row; of a grid, a marker's four clockwise."""
        if self.kind == "aruco":
            assert self.marker_m is not None
            corner = self.marker_m * np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=np.float64)
            place = self.square_m * _grid(self.columns, self.rows)
            flat = (place[:, None] + corner).reshape(-1, 2)
        elif self.kind == "charuco":
            flat = self.square_m * (1 + _grid(self.columns - 1, self.rows - 1))
        else:
            flat = self.square_m * _grid(self.columns, self.rows)
        return np.concatenate((flat, np.zeros((len(flat), 1))), axis=-1)

    @cached_property
    def outline_m(self) -> Array:
        """The four outer corners of the print, (4, 3) metres, clockwise from the top left."""
        low, high = np.zeros(2), self.square_m * np.array([self.columns, self.rows], dtype=np.float64)
        if self.kind == "chessboard":
            low, high = low - self.square_m, high
        elif self.kind == "aruco":
            assert self.marker_m is not None
            high = high - (self.square_m - self.marker_m)
        return np.array([(low[0], low[1], 0), (high[0], low[1], 0), (high[0], high[1], 0), (low[0], high[1], 0)])

    @cached_property
    def sides(self) -> tuple[NDArray[np.int64], float]:
        """Pairs of corners (N, 2) that are one known length apart, and that length (m): a square's side, or a marker's."""
        if self.kind == "aruco":
            assert self.marker_m is not None
            first = 4 * np.arange(self.columns * self.rows)[:, None]
            return np.concatenate([first + np.array(pair) for pair in ((0, 1), (1, 2), (2, 3), (3, 0))]), self.marker_m
        number = np.arange(len(self.points_m)).reshape(-1, self.corner_columns)
        across = np.stack((number[:, :-1].ravel(), number[:, 1:].ravel()), axis=-1)
        down = np.stack((number[:-1].ravel(), number[1:].ravel()), axis=-1)
        return np.concatenate((across, down)), self.square_m

    @cached_property
    def symmetries(self) -> NDArray[np.int64]:
        """Orders of the corners that look the same in a picture, (S, K); the first is the order itself.

        A chessboard whose inner corners number even x even or odd x odd looks the same upside down, colours included.
        """
        number = np.arange(len(self.points_m))
        if self.kind != "chessboard" or (self.columns + self.rows) % 2:
            return number[None]
        grid = number.reshape(self.rows, self.columns)
        turns = (0, 1, 2, 3) if self.columns == self.rows and self.columns % 2 == 0 else (0, 2)
        return np.stack([np.rot90(grid, turn).ravel() for turn in turns])

    def __str__(self) -> str:
        parts: list[str] = [self.kind, f"{self.columns}x{self.rows}"]
        if self.kind == "aruco":
            assert self.marker_m is not None
            parts += [f"{self.marker_m:g}", f"{self.square_m - self.marker_m:g}"]
        else:
            parts.append(f"{self.square_m:g}")
        if self.kind == "charuco":
            parts.append(f"{self.marker_m:g}")
        return ":".join(parts + ([self.dictionary] if self.dictionary else []) + ["legacy"] * self.legacy)


def parse_board(text: str) -> Board:
    """Read a board from its description, such as ``charuco:4x5:0.054:0.0405:DICT_4X4_1000``.

    Raises PosekitError, saying the forms, where it is none.
    """
    kind, *fields = text.strip().split(":")
    kind = {"apriltag": "aruco"}.get(kind.lower(), kind.lower())
    legacy = kind == "charuco" and len(fields) == 5 and fields[-1].lower() == "legacy"
    fields = fields[:-1] if legacy else fields
    count = {"charuco": 4, "chessboard": 2, "aruco": 4}.get(kind)
    if count is None:
        raise PosekitError(f"--board: '{text}' is no board; a board is {_FORMS}")
    if len(fields) != count:
        raise PosekitError(
            f"--board: '{text}' has {len(fields)} fields after its kind, {count} were expected: {_FORMS}"
        )
    columns, rows = _size(fields[0], text, 1 if kind == "aruco" else 3)
    lengths = [_length(field, text, zero=kind == "aruco" and place == 1) for place, field in enumerate(fields[1:3])]
    if kind == "chessboard":
        return Board("chessboard", columns, rows, lengths[0])
    dictionary = dictionary_name(fields[3])
    markers = columns * rows if kind == "aruco" else columns * rows // 2
    if markers > marker_count(dictionary):
        raise PosekitError(
            f"--board: '{text}' carries {markers} markers, {dictionary} has {marker_count(dictionary)}: "
            "say another size or dictionary"
        )
    if kind == "aruco":
        return Board("aruco", columns, rows, lengths[0] + lengths[1], lengths[0], dictionary)
    if lengths[1] >= lengths[0]:
        raise PosekitError(
            f"--board: '{text}': markers of {lengths[1]:g} m do not fit into squares of {lengths[0]:g} m; "
            "the square comes first"
        )
    return Board("charuco", columns, rows, lengths[0], lengths[1], dictionary, legacy)


def _grid(columns: int, rows: int) -> Array:
    """(rows * columns, 2) of (column, row), row by row."""
    down, across = np.mgrid[:rows, :columns]
    return np.stack((across.ravel(), down.ravel()), axis=-1).astype(np.float64)


def _size(field: str, text: str, least: int) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", field)
    sides = tuple(int(side) for side in match.groups()) if match else (0, 0)
    if min(sides) < least or max(sides) > _MOST_TO_A_SIDE:
        raise PosekitError(f"--board: '{text}': '{field}' is no COLUMNSxROWS of {least} to {_MOST_TO_A_SIDE}: {_FORMS}")
    return sides[0], sides[1]


def _length(field: str, text: str, *, zero: bool) -> float:
    if field.upper().startswith("DICT_"):
        raise PosekitError(f"--board: '{text}': '{field}' stands where a length in metres was expected: {_FORMS}")
    try:
        length = float(field)
    except ValueError:
        length = float("nan")
    if not (length > 0 or (zero and length == 0)) or length == float("inf"):
        raise PosekitError(f"--board: '{text}': '{field}' is no length in metres")
    if length > _LONGEST_SIDE:
        raise PosekitError(f"--board: '{text}': a side of {length:g} m; lengths are in metres, 25 mm is 0.025")
    return length
