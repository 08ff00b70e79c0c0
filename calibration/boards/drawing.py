"""Boards to print: PNG and PDF pages on which a square is as long as it says, with a ruler to check the printer by."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from posekit.calibration.boards.board import Board
from posekit.calibration.boards.dictionaries import dictionary_of
from posekit.calibration.boards.markers import marker_layout
from posekit.errors import PosekitError
from posekit.io.files import write_whole

Array = NDArray[np.float64]

#: Pages (m) that printers have, the smallest on which a board fits is taken: A4, A3, A2, A1, A0.
_PAGES = ((0.210, 0.297), (0.297, 0.420), (0.420, 0.594), (0.594, 0.841), (0.841, 1.189))
#: What printers leave white at the edges of a page, and the text's height (m).
_EDGE, _TEXT = 0.008, 0.0035
#: White around a board at least (m, and as a share of a square): without it neither markers nor squares are found.
_QUIET, _QUIET_SHARE = 0.010, 0.25
_POINTS_PER_METRE = 72 / 0.0254
_DPI = (30, 2400)
_MOST_PIXELS = 400_000_000


def draw_board(board: Board, path: str | Path, *, dpi: float = 300) -> tuple[float, float]:
    """Write a page with the board at true size: vectors to a .pdf, to a .png pixels of which `dpi` make an inch.

    Below the board stand its description, the length of a side and a ruler, to be measured on the print. The page is the
    smallest DIN A page that holds it, or one of its own; its width and height (m) are returned. Raises PosekitError for another
    suffix, or for a picture that would be too large.
    """
    path = Path(path)
    page = _lay_out(board)
    suffix = path.suffix.lower()
    if suffix == ".pdf":
        content = _pdf(page, str(board))
    elif suffix == ".png":
        if not _DPI[0] <= dpi <= _DPI[1]:
            raise PosekitError(f"{path}: {dpi:g} dots per inch; {_DPI[0]} to {_DPI[1]} were expected")
        pixels = page.width * page.height * (dpi / 0.0254) ** 2
        if pixels > _MOST_PIXELS:
            raise PosekitError(
                f"{path}: {pixels / 1e6:.0f} million pixels at {dpi:g} dots per inch: take fewer, or write a .pdf"
            )
        content = _png(page, dpi)
    else:
        raise PosekitError(f"{path}: a board is drawn as .pdf or .png, not '{path.suffix}'")
    with write_whole(path) as temporary:
        temporary.write_bytes(content)
    return page.width, page.height


def board_image(board: Board, pixel_m: float, margin_m: float) -> NDArray[np.uint8]:
    """The print as a grey picture, white margin_m wide around its outline; edges within a pixel are grey by their share of it.

    A point (x, y) of the board is at pixel ((x, y) - outline_m[0] + margin_m) / pixel_m - 0.5.
    """
    origin = board.outline_m[0, :2] - margin_m
    width, height = board.outline_m[2, :2] + margin_m - origin
    black = black_rectangles(board) - np.tile(origin, 2)
    return _paint(black, round(width / pixel_m), round(height / pixel_m), 1 / pixel_m)


def black_rectangles(board: Board) -> Array:
    """What is black on a board, (N, 4): left, top, right, bottom in metres of its frame; they touch, and do not overlap."""
    if board.kind == "chessboard":
        return _black_squares(board.columns + 1, board.rows + 1, board.square_m, white_first=False) - board.square_m
    layout = marker_layout(board)
    cells = [_marker_cells(board, number) + np.tile(corner, 2) for number, corner in enumerate(layout.corners_m[:, 0])]
    if board.kind == "charuco":
        white_first = board.legacy and board.rows % 2 == 0
        cells.append(_black_squares(board.columns, board.rows, board.square_m, white_first=white_first))
    return np.concatenate(cells)


def _black_squares(columns: int, rows: int, side: float, *, white_first: bool) -> Array:
    down, across = np.nonzero((np.indices((rows, columns)).sum(axis=0) % 2 == 1) == white_first)
    return side * np.stack((across, down, across + 1, down + 1), axis=-1).astype(np.float64)


def _marker_cells(board: Board, number: int) -> Array:
    """The black cells of a marker at the origin, (N, 4) metres, those beside each other as one."""
    assert board.dictionary is not None
    assert board.marker_m is not None
    dictionary = dictionary_of(board.dictionary)
    side = dictionary.markerSize + 2
    black = cv2.aruco.generateImageMarker(dictionary, number, side, borderBits=1) == 0
    runs = []
    for row in range(side):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], black[row], [0])).astype(int)))
        runs += [(start, row, stop, row + 1) for start, stop in edges.reshape(-1, 2)]
    return np.array(runs, dtype=np.float64) * board.marker_m / side


@dataclass(frozen=True, eq=False)
class _Page:
    """A page in metres from its top left: black rectangles (N, 4), and texts (left, baseline, height, words)."""

    width: float
    height: float
    black: Array
    texts: tuple[tuple[float, float, float, str], ...]


def _lay_out(board: Board) -> _Page:
    extent = board.outline_m[2, :2] - board.outline_m[0, :2]
    quiet = max(_QUIET, _QUIET_SHARE * board.square_m)
    below = 6 * _TEXT  # the ruler and two lines
    needed = extent + 2 * quiet + (0, below) + 2 * _EDGE
    needed[0] = max(needed[0], 0.12)  # the words' width
    pages = [page for size in _PAGES for page in (size, size[::-1]) if (needed <= np.array(page) + 1e-9).all()]
    width, height = pages[0] if pages else needed
    corner = np.array([(width - extent[0]) / 2, (height - below - extent[1]) / 2])
    black = [black_rectangles(board) + np.tile(corner - board.outline_m[0, :2], 2)]
    top = height - _EDGE - below + _TEXT
    left = max(_EDGE, min(corner[0], width - _EDGE - 0.1))
    ruler = 0.01 * int((width - _EDGE - left) // 0.01)
    ruler = min(ruler, 0.2)
    line = 0.0003
    black.append(np.array([(left, top, left + ruler, top + line)]))
    ticks = left + 0.01 * np.arange(round(ruler / 0.01) + 1)
    # Outer edge to outer edge is the length; ticks inside stand on their centimetre.
    start = np.clip(ticks - line / 2, left, left + ruler - line)
    black.append(np.stack((start, np.full_like(ticks, top - 0.002), start + line, np.full_like(ticks, top)), axis=-1))
    side, what = (board.marker_m, "marker") if board.kind == "aruco" else (board.square_m, "square")
    assert side is not None
    texts = (
        (
            left,
            top + 1.5 * _TEXT,
            _TEXT,
            f"ruler {1000 * ruler:.0f} mm, {what} {1000 * side:.2f} mm: measure both on the print",
        ),
        (left, top + 3.2 * _TEXT, _TEXT, f"posekit board {board}"),
    )
    return _Page(float(width), float(height), np.concatenate(black), texts)


def _paint(black: Array, width: int, height: int, per_metre: float) -> NDArray[np.uint8]:
    """Paint rectangles (metres) on white; a pixel that one covers in part gets that part of black."""
    ink = np.zeros((height, width), dtype=np.float32)
    for left, top, right, bottom in black * per_metre:
        columns, across = _covered(left, right, width)
        rows, down = _covered(top, bottom, height)
        ink[rows, columns] += down[:, None] * across
    return np.round(255 * (1 - np.minimum(ink, 1))).astype(np.uint8)


def _covered(start: float, stop: float, count: int) -> tuple[slice, NDArray[np.float32]]:
    """Which pixels of a row an interval covers, and how much of each."""
    first, last = max(int(np.floor(start)), 0), min(int(np.ceil(stop)), count)
    pixel = np.arange(first, last)
    return slice(first, last), (np.minimum(pixel + 1, stop) - np.maximum(pixel, start)).astype(np.float32)


def _png(page: _Page, dpi: float) -> bytes:
    per_metre = dpi / 0.0254
    image = _paint(page.black, round(page.width * per_metre), round(page.height * per_metre), per_metre)
    for left, baseline, size, words in page.texts:
        scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, max(int(0.7 * size * per_metre), 4))
        place = (round(left * per_metre), round(baseline * per_metre))
        thickness = max(1, round(0.0003 * per_metre))
        cv2.putText(image, words, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 0, thickness, cv2.LINE_AA)
    _, encoded = cv2.imencode(".png", image)
    content = encoded.tobytes()
    # pHYs, pixels per metre both ways, has to stand between the header, 33 bytes with the signature, and the pixels.
    chunk = b"pHYs" + struct.pack(">IIB", round(per_metre), round(per_metre), 1)
    return content[:33] + struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]


def _pdf(page: _Page, title: str) -> bytes:
    """A PDF of one page: rectangles in one path, so that none shows a seam, and text in a font that every reader has."""
    scale = _POINTS_PER_METRE
    drawing = ["0 g"]
    for left, top, right, bottom in page.black * scale:
        drawing.append(f"{left:.4f} {page.height * scale - bottom:.4f} {right - left:.4f} {bottom - top:.4f} re")
    drawing.append("f")
    for left, baseline, size, words in page.texts:
        place = f"{left * scale:.3f} {(page.height - baseline) * scale:.3f}"
        drawing.append(f"BT /F1 {0.95 * size * scale:.2f} Tf {place} Td ({_escaped(words)}) Tj ET")
    stream = zlib.compress("\n".join(drawing).encode("latin-1"))
    box = f"[0 0 {page.width * scale:.4f} {page.height * scale:.4f}]"
    objects = [
        # The reader is asked not to fit the page to the paper.
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 4 0 R "
        f"/Resources << /Font << /F1 5 0 R >> >> >>".encode("ascii"),
        f"<< /Length {len(stream)} /Filter /FlateDecode >>\nstream\n".encode("ascii") + stream + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        f"<< /Title ({_escaped(title)}) /Producer (posekit) >>".encode("latin-1"),
    ]
    content, places = b"%PDF-1.6\n%\xe2\xe3\xcf\xd3\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(content))
        content += f"{number} 0 obj\n".encode("ascii") + body + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 6 0 R >>\nstartxref\n{len(content)}\n%%EOF\n"
    return content + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode("ascii")


def _escaped(words: str) -> str:
    return words.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
