import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from posekit.calibration.boards.board import Board, parse_board
from posekit.calibration.boards.detection import BoardDetector
from posekit.calibration.boards.drawing import black_rectangles, board_image, draw_board
from posekit.errors import PosekitError

BOARDS = [
    "charuco:4x5:0.04:0.03:DICT_4X4_50",
    "charuco:5x6:0.03:0.022:DICT_5X5_100:legacy",
    "chessboard:9x6:0.02",
    "aruco:4x3:0.04:0.012:DICT_APRILTAG_36h11",
]


def _sides(corners: np.ndarray, board: Board) -> np.ndarray:
    pairs, length = board.sides
    return np.linalg.norm(corners[pairs[:, 0]] - corners[pairs[:, 1]], axis=-1) / length


@pytest.mark.parametrize("text", BOARDS)
def test_a_png_holds_the_board_at_true_size(tmp_path: Path, text: str) -> None:
    board = parse_board(text)
    draw_board(board, tmp_path / "board.png", dpi=127)
    content = (tmp_path / "board.png").read_bytes()
    place = content.index(b"pHYs")
    per_metre, also, unit = struct.unpack(">IIB", content[place + 4 : place + 13])
    assert (per_metre, also, unit) == (5000, 5000, 1)
    assert struct.unpack(">I", content[place + 13 : place + 17])[0] == zlib.crc32(content[place : place + 13])
    image = cv2.imread(str(tmp_path / "board.png"), cv2.IMREAD_GRAYSCALE)
    assert sorted(image.shape) == [1050, 1485]  # A4
    corners = BoardDetector(board).detect(image)
    assert np.isfinite(corners).all()
    # 0.2 px of sides of 100 to 200 px, on average over the board much less.
    assert _sides(corners, board) == pytest.approx(5000, rel=0.004)
    assert _sides(corners, board).mean() == pytest.approx(5000, rel=0.0005)


@pytest.mark.parametrize("text", BOARDS)
def test_a_pdf_holds_the_board_at_true_size(tmp_path: Path, text: str) -> None:
    board = parse_board(text)
    draw_board(board, tmp_path / "board.pdf")
    content = (tmp_path / "board.pdf").read_bytes()
    page = _read_pdf(content)
    # A4 is 595.28 x 841.89 points.
    assert sorted(page.box) == pytest.approx([595.28, 841.89], abs=0.01)
    # Painted anew by another hand, at 4 pixels to a point.
    image = np.full((round(4 * page.box[1]), round(4 * page.box[0])), 255, np.uint8)
    for left, bottom, width, height in page.rectangles:
        top = page.box[1] - bottom - height
        rows = slice(round(4 * top), round(4 * (top + height)))
        image[rows, round(4 * left) : round(4 * (left + width))] = 0
    corners = BoardDetector(board).detect(image)
    assert np.isfinite(corners).all()
    assert _sides(corners, board).mean() == pytest.approx(4 * 72 / 0.0254, rel=0.001)
    # The words say what to measure.
    side = 1000 * (board.marker_m if board.kind == "aruco" and board.marker_m else board.square_m)
    assert f"{side:.2f} mm" in page.words
    assert str(board) in page.words


def test_the_ruler_is_as_long_as_it_says(tmp_path: Path) -> None:
    draw_board(parse_board("chessboard:9x6:0.02"), tmp_path / "board.pdf")
    page = _read_pdf((tmp_path / "board.pdf").read_bytes())
    match = re.search(r"ruler (\d+) mm", page.words)
    assert match is not None
    long = max(width / height for _, _, width, height in page.rectangles)
    (ruler,) = [width for _, _, width, height in page.rectangles if width / height == long]
    assert ruler / 72 * 25.4 == pytest.approx(int(match[1]), abs=0.001)


def test_a_pdf_is_one_that_readers_can_follow(tmp_path: Path) -> None:
    draw_board(parse_board(BOARDS[0]), tmp_path / "board.pdf")
    content = (tmp_path / "board.pdf").read_bytes()
    start = int(re.findall(rb"startxref\n(\d+)\n", content)[0])
    assert content[start : start + 4] == b"xref"
    places = re.findall(rb"(\d{10}) 00000 n ", content)
    for number, place in enumerate(places, start=1):
        assert content[int(place) :].startswith(f"{number} 0 obj".encode())


def test_a_large_board_gets_a_larger_page(tmp_path: Path) -> None:
    draw_board(parse_board("charuco:4x5:0.054:0.0405:DICT_4X4_1000"), tmp_path / "a3.pdf")
    assert sorted(_read_pdf((tmp_path / "a3.pdf").read_bytes()).box) == pytest.approx([841.89, 1190.55], abs=0.01)
    draw_board(parse_board("chessboard:20x20:0.1"), tmp_path / "own.pdf")
    box = _read_pdf((tmp_path / "own.pdf").read_bytes()).box
    assert min(box) > 21 * 0.1 / 0.0254 * 72


@pytest.mark.parametrize("text", BOARDS)
def test_rectangles_do_not_overlap_and_fill_the_outline(text: str) -> None:
    board = parse_board(text)
    black = black_rectangles(board)
    low, high = board.outline_m[0, :2], board.outline_m[2, :2]
    assert black[:, :2].min(axis=0) == pytest.approx(low, abs=1e-9)
    assert (black[:, 2:].max(axis=0) <= high + 1e-9).all()
    overlap = np.minimum(black[:, None, 2:], black[None, :, 2:]) - np.maximum(black[:, None, :2], black[None, :, :2])
    areas = np.prod(np.maximum(overlap, 0), axis=-1)
    assert areas[~np.eye(len(black), dtype=bool)].max() < 1e-12


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("rows", [5, 6])
def test_charuco_as_opencv_draws_it(rows: int, legacy: bool) -> None:
    board = Board("charuco", 4, rows, 0.03, 0.02, "DICT_5X5_50", legacy)
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_50)
    theirs = cv2.aruco.CharucoBoard((4, rows), 0.03, 0.02, dictionary)
    theirs.setLegacyPattern(legacy)
    drawn = theirs.generateImage((4 * 84, rows * 84), marginSize=0)
    ours = board_image(board, 0.03 / 84, 0)
    # OpenCV rounds a marker's side to whole pixels.
    assert np.mean(np.abs(drawn.astype(int) - ours) > 128) < 0.005


def test_another_suffix_or_too_many_pixels_is_refused(tmp_path: Path) -> None:
    board = parse_board(BOARDS[0])
    with pytest.raises(PosekitError, match=r"as \.pdf or \.png"):
        draw_board(board, tmp_path / "board.jpg")
    with pytest.raises(PosekitError, match="dots per inch"):
        draw_board(board, tmp_path / "board.png", dpi=5)
    with pytest.raises(PosekitError, match="million pixels"):
        draw_board(parse_board("chessboard:20x20:0.1"), tmp_path / "board.png", dpi=600)
    assert not list(tmp_path.iterdir())


class _read_pdf:  # noqa: N801
    """What a page of ours holds, read by the file's own structure."""

    def __init__(self, content: bytes) -> None:
        box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", content)
        assert box is not None
        self.box = (float(box[1]), float(box[2]))
        length = int(re.findall(rb"/Length (\d+)", content)[0])
        start = content.index(b"stream\n") + 7
        drawing = zlib.decompress(content[start : start + length]).decode("latin-1")
        self.rectangles = [tuple(map(float, line.split()[:4])) for line in drawing.splitlines() if line.endswith(" re")]
        self.words = " ".join(re.findall(r"\((.*)\) Tj", drawing))
