"""Finding the corners of a board in a picture, to a fraction of a pixel, and refusing those that cannot be its corners."""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from posekit.calibration.boards.board import Board
from posekit.calibration.boards.dictionaries import dictionary_of, smallest_sibling
from posekit.calibration.boards.markers import MarkerDetector, marker_layout, middles, refine_quads
from posekit.calibration.boards.plane import PlaneFit, fit_plane

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

#: A view of which more corners than this share lie wrong is no view of the board.
_MOST_WRONG = 0.3
#: Half the side of the window in which a chessboard's corner is refined, as a share of the way to its neighbour: as wide as
#: blur may be in large squares; in small ones so many px, but never so wide that the neighbours' edges come in.
_WINDOW, _NARROW_WINDOW, _NARROW_PX, _WIDEST_PX = 0.13, 0.25, 5, 30
#: Side of the smallest marker, as a share of the picture's longer side.
_SMALLEST_MARKER = 0.0075
#: Longer side of a picture in which the slower search for chessboards is made, px.
_LOOKED_AT_PX = 1000
#: Squares go on beyond a side where this share of them, of no fewer than so many, are of the colour that they then have (of a
#: white margin half are): nearer to it than this, 0 being the other colour, where the two are so many grey levels apart.
_MOST_BEYOND, _FEWEST_BEYOND, _SAME_COLOUR, _LEAST_CONTRAST = 0.75, 3, 0.75, 10
#: Where they are looked at, in squares from the side inwards: near to it in the first beyond, which a picture may cut off.
_ACROSS_A_SIDE = np.array((-0.25, 0.5, 1.5, 2.5))
#: cornerSubPix stops here (steps, px).
_REFINED = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 50, 1e-3)


@dataclass(frozen=True)
class Reading:
    """How a board has to be looked at where it is not quite what was said.

    inverted: printed white on black. mirrored: a mirror image is seen, the back of a board that one can see through or a
    mirrored print; the corners found lie as those of a board that is seen from behind. exchanged: columns are rows.
    squares_counted: of a chessboard, squares were given where inner corners are counted. legacy: the other one of ChArUco's two
    patterns. dictionary: another one than said. enlargement: of the picture, before looking. from_bottom: a grid's markers are
    numbered from the bottom left, as Kalibr prints them; border_bits: width of a marker's black border, 2 for Kalibr.
    """

    inverted: bool = False
    mirrored: bool = False
    exchanged: bool = False
    squares_counted: bool = False
    legacy: bool = False
    dictionary: str | None = None
    from_bottom: bool = False
    border_bits: int = 1
    enlargement: float = 1.0

    def board(self, said: Board) -> Board:
        """The board as it really is."""
        columns, rows = (said.rows, said.columns) if self.exchanged else (said.columns, said.rows)
        if self.squares_counted:
            columns, rows = columns - 1, rows - 1
        return replace(
            said,
            columns=columns,
            rows=rows,
            legacy=said.legacy != self.legacy,
            dictionary=self.dictionary or said.dictionary,
        )

    def __str__(self) -> str:
        said = [
            (self.inverted, "printed inverted (white on black)"),
            (self.mirrored, "seen as a mirror image (its back, or a mirrored print or picture)"),
            (self.exchanged, "columns and rows exchanged"),
            (self.squares_counted, "squares counted where inner corners are"),
            (self.legacy, "the other ChArUco pattern (OpenCV changed it with 4.6)"),
            (self.dictionary is not None, f"markers of {self.dictionary}"),
            (self.from_bottom, "markers numbered from the bottom left, as Kalibr does"),
            (self.border_bits != 1, f"markers with a border of {self.border_bits} bits"),
            (self.enlargement != 1, f"picture enlarged {self.enlargement:g} times"),
        ]
        return ", ".join(words for holds, words in said if holds)


class BoardDetector:
    """Finds one board in pictures. Not to be shared by threads: one each.

    board: as it really is, after the reading; what `detect` returns is in the order of its `points_m`.
    Raises PosekitError where there is no such dictionary, or it has too few markers for the board.
    """

    def __init__(self, board: Board, reading: Reading | None = None) -> None:
        self.reading = reading or Reading()
        self.board = self.reading.board(board)
        self._markers = None
        if self.board.kind != "chessboard":
            self._layout = marker_layout(self.board, from_bottom=self.reading.from_bottom)
            self._place = self._layout.places @ (1, self.board.columns)
            self._markers = MarkerDetector(
                smallest_sibling(str(self.board.dictionary), len(self._layout.corners_m)),
                border_bits=self.reading.border_bits,
                smallest=_SMALLEST_MARKER / self.reading.enlargement,
                count=len(self._layout.corners_m),
            )
        if self.board.kind == "charuco":
            self._charuco = _charuco_detector(self.board)

    def detect(self, image: Picture) -> Array:
        """Corners (K, 2) px in an RGB (H, W, 3) or grey (H, W) picture, in the order of `board.points_m`; NaN where not found.

        All are NaN where the board is not seen, or what is seen lies as no flat board does.
        """
        grey = read_picture(image, self.reading)
        if self.board.kind == "chessboard":
            corners = self._detect_chessboard(grey)
        elif self.board.kind == "charuco":
            corners = self._detect_charuco(grey)
        else:
            corners = self._detect_grid(grey)
        if self.reading.enlargement != 1:
            corners = (corners + 0.5) / self.reading.enlargement - 0.5
        if self.reading.mirrored:
            # The numbers stay: of a board's back and of a mirrored print alike, the corners lie as on a board from behind.
            corners[:, 0] = image.shape[1] - 1 - corners[:, 0]
        return corners

    def _detect_chessboard(self, grey: Picture) -> Array:
        size = (self.board.columns, self.board.rows)
        for find in (_find_by_quadrangles, _find_by_lines):
            corners = find(grey, size)
            if corners is None:
                continue
            corners = canonical_order(refine_saddles(grey, corners, size), grey, size)
            fit = self._fit(corners, grey)
            if fit is not None and 0 < (~fit.fits).mean() <= _MOST_WRONG:
                # A corner that started too far away is found from where the others say that it is.
                mended = np.where(fit.fits[:, None], corners, fit.place_px)
                corners = refine_saddles(grey, mended, size)
                fit = self._fit(corners, grey)
            corners = self._checked(corners, grey)
            if np.isfinite(corners).any() and fit is not None and not _goes_on(fit, grey, self.board):
                return corners
        return np.full((len(self.board.points_m), 2), np.nan)

    def _detect_charuco(self, grey: Picture) -> Array:
        corners = np.full((len(self.board.points_m), 2), np.nan)
        assert self._markers is not None
        ids, quads = self._markers.detect(grey)
        known = ids < len(self._layout.corners_m)
        if not known.any():
            return corners
        found, numbers, _, _ = self._charuco.detectBoard(
            grey,
            None,
            None,
            tuple(quads[known].astype(np.float32).reshape(-1, 1, 4, 2)),
            ids[known][:, None].astype(np.int32),
        )
        if numbers is None or len(numbers) == 0:
            return corners
        corners[numbers.ravel()] = np.asarray(found, dtype=np.float64).reshape(-1, 2)
        # The markers' middles hold a view of few corners: four corners fit any homography.
        return self._checked(corners, grey, self._layout.middles_m[ids[known]], middles(quads[known]))

    def _detect_grid(self, grey: Picture) -> Array:
        corners = np.full((len(self.board.points_m) // 4, 4, 2), np.nan)
        assert self._markers is not None
        ids, quads = self._markers.detect(grey)
        known = ids < len(corners)
        if known.any():
            corners[self._place[ids[known]]] = refine_quads(grey, quads[known])
        return self._checked(corners.reshape(-1, 2), grey)

    def _fit(self, corners: Array, grey: Picture) -> PlaneFit | None:
        return fit_plane(self.board.points_m[:, :2], corners, (grey.shape[1], grey.shape[0]), self.board.square_m)

    def _checked(
        self, corners: Array, grey: Picture, also_m: Array | None = None, also_px: Array | None = None
    ) -> Array:
        """Return the corners that lie on a plane, with others (points on the board, pixels) that have to lie on it, too."""
        seen = np.flatnonzero(np.isfinite(corners[:, 0]))
        points, pixels = self.board.points_m[seen, :2], corners[seen]
        if also_m is not None and also_px is not None:
            points, pixels = np.concatenate((points, also_m)), np.concatenate((pixels, also_px))
        checked = np.full_like(corners, np.nan)
        fit = fit_plane(points, pixels, (grey.shape[1], grey.shape[0]), self.board.square_m) if len(seen) >= 4 else None
        if fit is None or fit.handedness < 0 or (~fit.fits).mean() > _MOST_WRONG:
            return checked
        right = seen[fit.fits[: len(seen)]]
        if len(right) >= 4:
            checked[right] = corners[right]
        return checked


def read_picture(image: Picture, reading: Reading) -> Picture:
    """The picture in grey as the reading has it: a board in it then looks as OpenCV draws one."""
    grey = image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    if reading.inverted:
        grey = 255 - grey
    if reading.mirrored:
        grey = grey[:, ::-1]
    if reading.enlargement != 1:
        large = cv2.resize(grey, None, fx=reading.enlargement, fy=reading.enlargement, interpolation=cv2.INTER_CUBIC)
        grey = np.asarray(large, dtype=np.uint8)
    return np.ascontiguousarray(grey)


def refine_saddles(grey: Picture, corners: Array, size: tuple[int, int]) -> Array:
    """Refine a chessboard's inner corners (K, 2) px, each in a window as wide as its neighbours leave room for."""
    grid = corners.reshape(size[1], size[0], 2)
    nearest = np.full(grid.shape[:2], np.inf)
    for axis in (0, 1):
        step = np.linalg.norm(np.diff(grid, axis=axis), axis=-1)
        ahead = [(0, 0), (0, 0)]
        behind = [(0, 0), (0, 0)]
        ahead[axis], behind[axis] = (0, 1), (1, 0)
        nearest = np.minimum(nearest, np.pad(step, ahead, constant_values=np.inf))
        nearest = np.minimum(nearest, np.pad(step, behind, constant_values=np.inf))
    half = np.maximum(_WINDOW * nearest, np.minimum(_NARROW_WINDOW * nearest, _NARROW_PX)).ravel()
    half = np.clip(half.astype(int), 2, _WIDEST_PX)
    refined = corners.astype(np.float32)
    for width in np.unique(half):
        chosen = half == width
        refined[chosen] = cv2.cornerSubPix(
            grey, refined[chosen].reshape(-1, 1, 2), (int(width), int(width)), (-1, -1), _REFINED
        )[:, 0]
    return refined.astype(np.float64)


def canonical_order(corners: Array, grey: Picture, size: tuple[int, int]) -> Array:
    """Number a chessboard's corners (K, 2) as its print does, however the camera or the board is turned.

    Row by row and not mirrored, and such that the square above and left of corner 0 is black, where the print has such a
    corner: where its inner corners number odd x even (one order is left), or the same odd number both ways (two are left).
    Elsewhere the orders of `Board.symmetries` look the same.
    """
    columns, rows = size
    grid = corners.reshape(rows, columns, 2)
    across, down = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
    if across[0] * down[1] - across[1] * down[0] < 0:
        grid = grid[:, ::-1]
    turns = (0, 1, 2, 3) if columns == rows else (0, 2)
    # The darkest by more than noise; of equals the first, so that an upright picture keeps its order.
    darkness = [_first_square_light(np.rot90(grid, turn), grey) for turn in turns]
    darkest = next(turn for turn, light in zip(turns, darkness, strict=True) if light <= min(darkness) + 5)
    return np.ascontiguousarray(np.rot90(grid, darkest).reshape(-1, 2))


def _first_square_light(grid: Array, grey: Picture) -> float:
    """How light the squares are that have the colour of the one above and left of corner 0, less the others (grey levels).

    Read inside the grid, where all squares are whole: those below and right, and above and left of a corner are of one colour.
    """
    middle = (grid[:-1, :-1] + grid[1:, :-1] + grid[:-1, 1:] + grid[1:, 1:]) / 4
    place = np.round(middle).astype(int)
    place = np.clip(place, 0, np.array(grey.shape[::-1]) - 1)
    light = cv2.blur(grey, (3, 3))[place[..., 1], place[..., 0]].astype(np.float64)
    same = np.indices(light.shape).sum(axis=0) % 2 == 0
    return float(np.median(light[same]) - np.median(light[~same]))


def _goes_on(fit: PlaneFit, grey: Picture, board: Board) -> bool:
    """Whether squares go on beyond a chessboard's outermost, on any side: then this is a part of a larger board."""
    size = np.array((board.columns, board.rows))
    light = cv2.blur(grey, (3, 3))
    for axis in (0, 1):
        for beyond, inwards in ((-1, 1), (size[axis], -1)):
            # Along this side, the squares beyond the board's own, its outermost, and the two next to these.
            squares = np.empty((4, size[1 - axis] - 1, 2))
            squares[..., axis] = (beyond + inwards * _ACROSS_A_SIDE)[:, None]
            squares[..., 1 - axis] = np.arange(squares.shape[1]) + 0.5
            place = np.round(fit.place(board.square_m * squares.reshape(-1, 2))).reshape(squares.shape)
            with np.errstate(invalid="ignore"):
                inside = ((place >= 0) & (place < grey.shape[::-1])).all(axis=(0, 2))
            if inside.sum() < _FEWEST_BEYOND:
                continue
            columns, rows = np.moveaxis(place[:, inside].astype(int), -1, 0)
            out, first, second, third = light[rows, columns].astype(np.float64)
            # Each is as light as the one next but one, in the contrast of its own row: light falls off over a picture.
            contrast = (second - first + second - third) / 2
            alike = (out - (first + third) / 2) / np.where(np.abs(contrast) < 1, 1, contrast)
            if np.mean((alike > _SAME_COLOUR) & (np.abs(contrast) > _LEAST_CONTRAST)) > _MOST_BEYOND:
                return True
    return False


def _find_by_quadrangles(grey: Picture, size: tuple[int, int]) -> Array | None:
    flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
    found, corners = cv2.findChessboardCorners(grey, size, flags=flags)
    return np.asarray(corners, dtype=np.float64).reshape(-1, 2) if found else None


def _find_by_lines(grey: Picture, size: tuple[int, int]) -> Array | None:
    # Slower, and finds blurred and slanted boards. Reduced, it is quick, and the corners are refined in the whole picture.
    reduction = max(1.0, max(grey.shape) / _LOOKED_AT_PX)
    if reduction > 1:
        grey = np.asarray(
            cv2.resize(grey, None, fx=1 / reduction, fy=1 / reduction, interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE
    found, corners = cv2.findChessboardCornersSB(grey, size, flags=flags)
    return reduction * (np.asarray(corners, dtype=np.float64).reshape(-1, 2) + 0.5) - 0.5 if found else None


def _charuco_detector(board: Board) -> Any:
    assert board.dictionary is not None
    assert board.marker_m is not None
    pattern = cv2.aruco.CharucoBoard(
        (board.columns, board.rows), board.square_m, board.marker_m, dictionary_of(board.dictionary)
    )
    pattern.setLegacyPattern(board.legacy)
    return cv2.aruco.CharucoDetector(pattern)
