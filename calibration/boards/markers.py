"""Where boards carry ArUco and AprilTag markers, and finding these in pictures."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from posekit.calibration.boards.board import Board
from posekit.calibration.boards.dictionaries import dictionary_of

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MarkerLayout:
    """Where a board's markers are; marker m is the one of number m.

    places (M, 2): column and row. corners_m (M, 4, 2): metres on the board, clockwise from the marker's top left.
    """

    places: NDArray[np.int64]
    corners_m: Array

    @property
    def middles_m(self) -> Array:
        """The markers' middles, (M, 2) metres."""
        return self.corners_m.mean(axis=1)


def marker_layout(board: Board, *, from_bottom: bool = False) -> MarkerLayout:
    """Where the markers of a charuco or aruco board are.

    from_bottom: a grid's rows are numbered upwards, as Kalibr prints them.
    """
    assert board.marker_m is not None
    down, across = np.mgrid[: board.rows, : board.columns]
    places = np.stack((across.ravel(), down.ravel()), axis=-1)
    margin = 0.0
    if board.kind == "charuco":
        # A black square at the top left; patterns before OpenCV 4.6 have a white one where the number of rows is even.
        white = (places.sum(axis=-1) % 2 == 1) != (board.legacy and board.rows % 2 == 0)
        places, margin = places[white], (board.square_m - board.marker_m) / 2
    elif from_bottom:
        places[:, 1] = board.rows - 1 - places[:, 1]
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=np.float64) * board.marker_m
    return MarkerLayout(places, board.square_m * places[:, None] + margin + square)


def middles(quads: Array) -> Array:
    """Where the diagonals of quadrangles (N, 4, 2) cross, (N, 2): the pictures of squares' middles in any perspective."""
    start, along = quads[:, 0], quads[:, 2] - quads[:, 0]
    other, across = quads[:, 1], quads[:, 3] - quads[:, 1]
    gap = other - start
    determinant = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
    share = (gap[:, 0] * across[:, 1] - gap[:, 1] * across[:, 0]) / determinant
    return start + share[:, None] * along


#: Windows of the threshold that parts black from white, px (smallest, largest, step): OpenCV's three; the middle one, which
#: finds nearly all; and the others. The time goes into the outlines that each gives, and the smallest gives many of noise.
_ALL_WINDOWS, _ONE_WINDOW, _OTHER_WINDOWS = (3, 23, 10), (13, 13, 10), (3, 23, 20)
#: So many markers say where the rest of their board may be.
_ENOUGH_TO_LOCATE = 3


class MarkerDetector:
    """Finds the markers of one dictionary, or of several, in grey pictures.

    smallest: sides of markers below which none is looked for, as a share of the picture's longer side. count: how many markers
    the board has: the first ones of the one dictionary, and no others, are looked for, in half the time.
    """

    def __init__(
        self, *dictionaries: str, border_bits: int = 1, smallest: float = 0.0075, count: int | None = None
    ) -> None:
        parameters = cv2.aruco.DetectorParameters()
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        parameters.markerBorderBits = border_bits
        self._names, self._parameters, self._smallest, self._count = dictionaries, parameters, smallest, count
        searched = [dictionary_of(name) for name in dictionaries]
        if count is not None:
            searched = [
                cv2.aruco.Dictionary(each.bytesList[:count], each.markerSize, each.maxCorrectionBits)
                for each in searched
            ]
        self._detector = cv2.aruco.ArucoDetector(searched, parameters)

    def detect(self, grey: NDArray[np.uint8]) -> tuple[NDArray[np.int64], Array]:
        """Numbers (N,) of the first dictionary's markers and their corners (N, 4, 2) px, clockwise from each one's top left.

        A number that is seen twice is left out: one of the two is misread, and nothing says which.
        """
        if self._count is None:
            return _each_once(*self._look(grey, _ALL_WINDOWS))
        numbers, quads = self._look(grey, _ONE_WINDOW)
        if len(numbers) >= self._count:
            return _each_once(numbers, quads)
        # A closer look at where the board may be: a marker's side times those along a board of so many, twice for its squares.
        left, top, right, bottom = 0, 0, grey.shape[1], grey.shape[0]
        if len(numbers) >= _ENOUGH_TO_LOCATE:
            side = float(np.linalg.norm(quads - np.roll(quads, 1, axis=1), axis=-1).max())
            reach = 2 * side * np.sqrt(2 * self._count)
            left, top = np.maximum(quads.min(axis=(0, 1)) - reach, 0).astype(int).tolist()
            right, bottom = (quads.max(axis=(0, 1)) + reach).astype(int).tolist()
        part = np.ascontiguousarray(grey[top:bottom, left:right])
        more, nearer = self._look(part, _OTHER_WINDOWS, max(grey.shape))
        nearer += (left, top)
        # The same marker again is no second one of its number.
        apart = np.linalg.norm(quads.mean(axis=1)[:, None] - nearer.mean(axis=1), axis=-1)
        size = np.linalg.norm(nearer[:, 0] - nearer[:, 2], axis=-1)
        new = ~((numbers[:, None] == more) & (apart < size / 2)).any(axis=0)
        return _each_once(np.concatenate((numbers, more[new])), np.concatenate((quads, nearer[new])))

    def _look(
        self, grey: NDArray[np.uint8], windows: tuple[int, int, int], longer_side: int | None = None
    ) -> tuple[NDArray[np.int64], Array]:
        """Numbers and corners as they come. longer_side: of the picture, where this is a part of it."""
        self._set(grey, windows, longer_side)
        quads, ids, _ = self._detector.detectMarkers(grey)
        if ids is None or len(ids) == 0:
            return np.zeros(0, dtype=np.int64), np.zeros((0, 4, 2))
        return np.asarray(ids, dtype=np.int64).ravel(), np.asarray(quads, dtype=np.float64).reshape(-1, 4, 2)

    def _set(self, grey: NDArray[np.uint8], windows: tuple[int, int, int], longer_side: int | None = None) -> None:
        parameters = self._parameters
        parameters.minMarkerPerimeterRate = 4 * self._smallest * (longer_side or max(grey.shape)) / max(grey.shape)
        parameters.adaptiveThreshWinSizeMin, parameters.adaptiveThreshWinSizeMax = windows[:2]
        parameters.adaptiveThreshWinSizeStep = windows[2]
        self._detector.setDetectorParameters(parameters)

    def detect_each(self, grey: NDArray[np.uint8]) -> dict[str, tuple[NDArray[np.int64], Array]]:
        """As `detect`, of every dictionary, by its name."""
        self._set(grey, _ALL_WINDOWS)
        quads, ids, _, places = self._detector.detectMarkersMultiDict(grey)
        if ids is None or len(ids) == 0:
            return {}
        corners, which = np.asarray(quads, dtype=np.float64).reshape(-1, 4, 2), np.asarray(places).ravel()
        numbers = np.asarray(ids, dtype=np.int64).ravel()
        return {
            self._names[place]: _each_once(numbers[which == place], corners[which == place])
            for place in np.unique(which)
        }


def _each_once(numbers: NDArray[np.int64], quads: Array) -> tuple[NDArray[np.int64], Array]:
    seen, count = np.unique(numbers, return_counts=True)
    once = np.isin(numbers, seen[count == 1])
    return numbers[once], quads[once]


#: Where along a marker's side its edge is looked for (the ends belong to the corners), how many times, and how far across: px,
#: and as a share of the side, within the marker's black border.
_ALONG = np.linspace(0.12, 0.88, 24)
_REFINEMENTS = 2
_ACROSS_PX, _ACROSS_SHARE = 4.0, 0.07


def refine_quads(grey: NDArray[np.uint8], quads: Array) -> Array:
    """Refine markers' corners (N, 4, 2) px as the crossings of their sides, lines through the edge from black to white.

    Blur rounds a marker's corners off, which moves a corner that is refined by itself inwards (0.2 px for a blur of 0.8 px); it
    leaves the sides where they are.
    """
    for _ in range(_REFINEMENTS):
        sides = np.roll(quads, -1, axis=1) - quads
        length = np.linalg.norm(sides, axis=-1, keepdims=True)
        # To the right of a clockwise side is inside, as y points down; the normal points out.
        outward = np.stack((sides[..., 1], -sides[..., 0]), axis=-1) / np.maximum(length, 1e-9)
        reach = np.clip(_ACROSS_SHARE * length[..., 0], 1.0, _ACROSS_PX)
        steps = reach[..., None] * np.linspace(-1, 1, 17)
        start = quads[:, :, None] + _ALONG[:, None] * sides[:, :, None]
        place = start[:, :, :, None] + steps[:, :, None, :, None] * outward[:, :, None, None]
        profile = _read(grey, place)
        # The edge is where the light's growth outwards is centred.
        growth = np.maximum(np.diff(profile, axis=-1), 0)
        growth[growth < 0.2 * growth.max(axis=-1, keepdims=True)] = 0
        between = (steps[..., 1:] + steps[..., :-1]) / 2
        weight = growth.sum(axis=-1)
        offset = (growth * between[:, :, None]).sum(axis=-1) / np.maximum(weight, 1e-9)
        edge = start + offset[..., None] * outward[:, :, None]
        quads = _crossings(edge, quads)
    return quads


def _read(grey: NDArray[np.uint8], place: Array) -> Array:
    """Grey levels at places (..., 2) px, bilinear."""
    flat = place.reshape(len(place), -1, 2).astype(np.float32)
    light = cv2.remap(
        grey.astype(np.float32), flat[..., 0], flat[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(light, dtype=np.float64).reshape(place.shape[:-1])


def _crossings(edge: Array, quads: Array) -> Array:
    """Corners (N, 4, 2) where lines through the edges' points (N, 4, S, 2) cross; one that would move far stays."""
    middle = np.median(edge, axis=2, keepdims=True)
    away = edge - middle
    for _ in range(2):
        _, _, axes = np.linalg.svd(away, full_matrices=False)
        across = np.abs((away * axes[:, :, 1:2]).sum(axis=-1))
        # Points off the line, where a finger or another marker touches, count less.
        weight = 1 / (1 + (across / (0.15 + np.median(across, axis=-1, keepdims=True))) ** 2)[..., None]
        middle = (weight * edge).sum(axis=2, keepdims=True) / weight.sum(axis=2, keepdims=True)
        away = np.sqrt(weight) * (edge - middle)
    _, _, axes = np.linalg.svd(away, full_matrices=False)
    normal, level = axes[:, :, 1], (axes[:, :, 1] * middle[:, :, 0]).sum(axis=-1)
    before, before_level = np.roll(normal, 1, axis=1), np.roll(level, 1, axis=1)
    determinant = before[..., 0] * normal[..., 1] - before[..., 1] * normal[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        x = (before_level * normal[..., 1] - level * before[..., 1]) / determinant
        y = (before[..., 0] * level - normal[..., 0] * before_level) / determinant
    crossing = np.stack((x, y), axis=-1)
    near = np.linalg.norm(crossing - quads, axis=-1, keepdims=True) < 3
    return np.where(near, crossing, quads)
