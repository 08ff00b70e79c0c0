import re
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from board_pictures import photograph
from posekit.calibration.boards.board import Board, parse_board
from posekit.calibration.boards.detection import BoardDetector, Reading
from posekit.calibration.boards.doctor import diagnose

CHARUCO = "charuco:5x7:0.04:0.03:DICT_4X4_50"
SIZE = (640, 480)


def _pictures(text: str | Board, change: Callable = lambda image: image, *, count: int = 3, fill: float = 0.8) -> list:
    board = parse_board(text) if isinstance(text, str) else text
    pictures = (photograph(board, seed=seed, size=SIZE, turn=0.3 * seed, fill=fill)[0] for seed in range(count))
    return [(f"picture {seed}", np.ascontiguousarray(change(image))) for seed, image in enumerate(pictures)]


@pytest.mark.parametrize(
    ("said", "printed", "change", "reading"),
    [
        (CHARUCO, CHARUCO, lambda image: image, Reading()),
        (CHARUCO, CHARUCO, lambda image: 255 - image, Reading(inverted=True)),
        (CHARUCO, CHARUCO, lambda image: image[:, ::-1], Reading(mirrored=True)),
        (CHARUCO, CHARUCO, np.rot90, Reading()),
        (CHARUCO, CHARUCO, lambda image: 255 - image[::-1], Reading(inverted=True, mirrored=True)),
        ("charuco:7x5:0.04:0.03:DICT_4X4_50", CHARUCO, lambda image: image, Reading(exchanged=True)),
        (
            "charuco:7x5:0.04:0.03:DICT_4X4_50",
            CHARUCO,
            lambda image: 255 - image,
            Reading(exchanged=True, inverted=True),
        ),
        (
            "charuco:5x6:0.04:0.03:DICT_4X4_50",
            "charuco:5x6:0.04:0.03:DICT_4X4_50:legacy",
            lambda image: image,
            Reading(legacy=True),
        ),
        (
            "charuco:5x6:0.04:0.03:DICT_4X4_50",
            "charuco:5x6:0.04:0.03:DICT_4X4_50:legacy",
            lambda image: 255 - image,
            Reading(legacy=True, inverted=True),
        ),
        # The larger dictionary of a family begins with the smaller: nothing has to be changed.
        ("charuco:5x7:0.04:0.03:DICT_4X4_1000", CHARUCO, lambda image: image, Reading()),
        ("charuco:5x7:0.04:0.03:DICT_6X6_250", CHARUCO, lambda image: image, Reading(dictionary="DICT_4X4_100")),
        (
            "aruco:3x4:0.04:0.01:DICT_APRILTAG_36h11",
            "aruco:4x3:0.04:0.01:DICT_APRILTAG_36h11",
            lambda image: image,
            Reading(exchanged=True),
        ),
        ("chessboard:9x6:0.03", "chessboard:9x6:0.03", lambda image: image, Reading()),
        ("chessboard:10x7:0.03", "chessboard:9x6:0.03", lambda image: image, Reading(squares_counted=True)),
    ],
)
def test_names_what_is_wrong_and_finds_the_board_so(
    said: str, printed: str, change: Callable, reading: Reading
) -> None:
    pictures = _pictures(printed, change)
    diagnosis = diagnose(parse_board(said), pictures)
    assert diagnosis.reading == reading, str(diagnosis)
    assert diagnosis.found == diagnosis.looked_at == 3
    assert not diagnosis.warnings
    assert str(reading) in str(diagnosis)
    detector = BoardDetector(parse_board(said), diagnosis.reading)
    assert detector.board == diagnosis.board
    assert np.isfinite(detector.detect(pictures[0][1])).all()


def test_enlarges_pictures_of_small_boards() -> None:
    board = parse_board("charuco:5x7:0.04:0.03:DICT_4X4_50")
    pictures = [
        (str(seed), photograph(board, seed=seed, size=(1600, 1200), fill=0.1, noise=0.3)[0]) for seed in range(2)
    ]
    assert not any(np.isfinite(BoardDetector(board).detect(image)).any() for _, image in pictures)
    diagnosis = diagnose(board, pictures)
    assert diagnosis.reading == Reading(enlargement=2), str(diagnosis)


def test_kalibrs_grid_is_numbered_from_the_bottom() -> None:
    board = parse_board("aruco:3x4:0.04:0.01:DICT_APRILTAG_36h11")
    # Upside down, row by row from the other side: a grid of OpenCV's whose markers are put where Kalibr has them.
    image = np.full((480, 400), 255, np.uint8)
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    for number in range(12):
        row, column = 3 - number // 3, number % 3
        marker = cv2.aruco.generateImageMarker(dictionary, number, 80, borderBits=2)
        image[50 + 100 * row : 130 + 100 * row, 60 + 100 * column : 140 + 100 * column] = marker
    diagnosis = diagnose(board, [("one", image), ("two", image)])
    assert diagnosis.reading == Reading(from_bottom=True, border_bits=2), str(diagnosis)
    corners = BoardDetector(board, diagnosis.reading).detect(image)
    expected = np.array([59.5, 49.5]) + board.points_m[:, :2] * 2000
    # A print with edges between pixels: their half is where black ends.
    assert np.abs(corners - expected).max() < 0.1


@pytest.mark.parametrize(
    ("said", "printed"),
    [
        ("charuco:6x8:0.04:0.03:DICT_4X4_50", CHARUCO),
        ("charuco:5x5:0.04:0.03:DICT_4X4_50", CHARUCO),
        ("charuco:4x9:0.04:0.03:DICT_4X4_50", CHARUCO),
    ],
)
def test_a_board_of_another_size_is_refused_and_its_size_told(said: str, printed: str) -> None:
    diagnosis = diagnose(parse_board(said), _pictures(printed))
    assert diagnosis.reading is None
    assert "5 x 7 squares" in str(diagnosis)
    assert "5x7" in str(diagnosis)


@pytest.mark.parametrize(
    "said", ["chessboard:8x6:0.03", "chessboard:9x5:0.03", "chessboard:7x4:0.03", "chessboard:12x9:0.03"]
)
def test_a_chessboard_of_another_size_is_refused_and_its_size_told(said: str) -> None:
    diagnosis = diagnose(parse_board(said), _pictures("chessboard:9x6:0.03", count=1))
    assert diagnosis.reading is None
    assert "9 x 6 inner corners" in str(diagnosis)


def test_a_board_that_was_said_too_long_is_warned_of() -> None:
    diagnosis = diagnose(parse_board("charuco:5x9:0.04:0.03:DICT_4X4_50"), _pictures(CHARUCO, count=5))
    assert diagnosis.reading == Reading()
    assert "markers 17 to 21 are seen in no picture" in str(diagnosis)


def test_a_wrong_length_of_the_markers_is_warned_of() -> None:
    diagnosis = diagnose(parse_board("charuco:5x7:0.04:0.02:DICT_4X4_50"), _pictures(CHARUCO))
    assert diagnosis.found == 3
    # 0.75 as printed; blur rounds the markers' corners off, by 0.2 px of the 45 that a square has.
    assert re.search(r"measures 0\.7[4-6] of a square, 0\.50 was said", str(diagnosis))


def test_says_what_there_is_where_there_is_no_board() -> None:
    board = parse_board(CHARUCO)
    black = [(f"frame {number}", np.zeros((240, 320, 3), np.uint8)) for number in range(3)]
    assert "all 3 pictures are black" in str(diagnose(board, black))
    assert "all 3 pictures are black" in str(diagnose(parse_board("chessboard:9x6:0.03"), black))
    grey = [("frame 7", np.full((240, 320), 120, np.uint8))]
    assert "no markers" in str(diagnose(board, [*grey, *black[:1]]))
    assert "(frame 0)" in str(diagnose(board, [*grey, *black[:1]]))
    assert "no chessboard" in str(diagnose(parse_board("chessboard:9x6:0.03"), grey))
    noise = [("noise", np.random.default_rng(0).integers(0, 256, (240, 320)).astype(np.uint8))]
    assert diagnose(board, noise).reading is None
    assert diagnose(board, []).reading is None


def test_says_which_markers_it_sees_where_they_lie_on_no_board() -> None:
    lone = _pictures("aruco:1x1:0.1:0.0:DICT_5X5_50", fill=0.3)
    diagnosis = diagnose(parse_board(CHARUCO), lone)
    assert diagnosis.reading is None
    assert "DICT_5X5_100" in str(diagnosis)
    assert "picture 0" in str(diagnosis)


def test_a_single_marker_is_a_board() -> None:
    diagnosis = diagnose(
        parse_board("aruco:1x1:0.1:0.0:DICT_5X5_50"), _pictures("aruco:1x1:0.1:0.0:DICT_5X5_50", fill=0.3)
    )
    assert diagnosis.reading == Reading()
    assert diagnosis.found == 3


def test_the_desk_recording_is_printed_inverted(shared_data) -> None:
    video = cv2.VideoCapture(str(shared_data / "caliscope_charuco/desk_4cams/calibration/extrinsic/cam_0.mp4"))
    pictures = [(f"frame {number}", cv2.cvtColor(video.read()[1], cv2.COLOR_BGR2RGB)) for number in range(4)]
    diagnosis = diagnose(parse_board("charuco:5x4:0.054:0.0405:DICT_4X4_1000"), pictures)
    assert diagnosis.reading == Reading(inverted=True, exchanged=True)
    assert (diagnosis.board.columns, diagnosis.board.rows) == (4, 5)
    assert diagnosis.found == 4
