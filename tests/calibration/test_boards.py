import cv2
import numpy as np
import pytest

from posekit.calibration.boards.board import Board, parse_board
from posekit.calibration.boards.dictionaries import dictionary_name, dictionary_names, smallest_sibling
from posekit.calibration.boards.markers import marker_layout
from posekit.errors import PosekitError


@pytest.mark.parametrize(
    ("text", "board"),
    [
        ("charuco:4x5:0.054:0.0405:DICT_4X4_1000", Board("charuco", 4, 5, 0.054, 0.0405, "DICT_4X4_1000")),
        ("charuco:4X6:0.05:0.04:4x4_50:legacy", Board("charuco", 4, 6, 0.05, 0.04, "DICT_4X4_50", True)),
        (" Chessboard:9x6:0.025 ", Board("chessboard", 9, 6, 0.025)),
        ("apriltag:6x5:0.03:0.009:tag36h11", Board("aruco", 6, 5, 0.039, 0.03, "DICT_APRILTAG_36h11")),
        ("aruco:1x1:0.1:0:dict_apriltag_36H11", Board("aruco", 1, 1, 0.1, 0.1, "DICT_APRILTAG_36h11")),
    ],
)
def test_reads_a_description_and_writes_it_again(text: str, board: Board) -> None:
    read = parse_board(text)
    assert (read.kind, read.columns, read.rows, read.dictionary, read.legacy) == (
        board.kind,
        board.columns,
        board.rows,
        board.dictionary,
        board.legacy,
    )
    assert read.square_m == pytest.approx(board.square_m)
    assert read.marker_m == pytest.approx(board.marker_m)
    assert parse_board(str(read)) == read


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("circles:4x5:0.05", "is no board"),
        ("charuco:4x5:0.054:0.0405", "4 were expected"),
        ("charuco:4by5:0.054:0.04:DICT_4X4_50", "no COLUMNSxROWS"),
        ("charuco:4x5000:0.054:0.04:DICT_4X4_50", "no COLUMNSxROWS of 3 to 200"),
        ("chessboard:2x6:0.025", "no COLUMNSxROWS of 3 to 200"),
        ("charuco:4x5:0.04:0.054:DICT_4X4_50", "the square comes first"),
        ("charuco:4x5:54:40.5:DICT_4X4_50", "25 mm is 0.025"),
        ("chessboard:9x6:nan", "no length"),
        ("chessboard:9x6:-1", "no length"),
        ("charuco:4x5:0.05:DICT_4X4_50:0.04", "stands where a length"),
        ("charuco:4x5:0.05:0.04:DICT_4X4_1001", "did you mean DICT_4X4_100"),
        ("charuco:4x5:0.05:0.04:36h12", "did you mean DICT_ARUCO_MIP_36h12"),
        ("charuco:12x12:0.05:0.04:4X4_50", "carries 72 markers, DICT_4X4_50 has 50"),
        ("aruco:8x8:0.05:0.01:4X4_50", "carries 64 markers"),
    ],
)
def test_a_wrong_description_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(PosekitError, match=says) as caught:
        parse_board(text)
    assert "\n" not in str(caught.value)


def test_every_dictionary_of_opencv_is_found_by_every_spelling() -> None:
    theirs = {name: getattr(cv2.aruco, name) for name in dir(cv2.aruco) if name.startswith("DICT_")}
    for name, number in theirs.items():
        for spelling in (name, name.lower(), name.removeprefix("DICT_")):
            assert dictionary_names()[dictionary_name(spelling)] == number


def test_the_smallest_sibling_has_the_same_markers() -> None:
    assert smallest_sibling("DICT_4X4_1000", 10) == "DICT_4X4_50"
    assert smallest_sibling("DICT_4X4_1000", 51) == "DICT_4X4_100"
    assert smallest_sibling("DICT_4X4_50", 51) == "DICT_4X4_100"
    assert smallest_sibling("DICT_APRILTAG_36h11", 5) == "DICT_APRILTAG_36h11"
    for family in ("4X4", "5X5", "6X6", "7X7"):
        small, large = (
            cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{family}_{size}")).bytesList
            for size in (50, 1000)
        )
        assert (small == large[:50]).all()


@pytest.mark.parametrize("rows", [4, 5])
@pytest.mark.parametrize("legacy", [False, True])
def test_charuco_corners_and_markers_are_where_opencv_has_them(rows: int, legacy: bool) -> None:
    board = Board("charuco", 6, rows, 0.05, 0.03, "DICT_4X4_50", legacy)
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    theirs = cv2.aruco.CharucoBoard((6, rows), 0.05, 0.03, dictionary)
    theirs.setLegacyPattern(legacy)
    # OpenCV keeps its points in single precision.
    assert board.points_m == pytest.approx(np.asarray(theirs.getChessboardCorners()), abs=1e-7)
    assert marker_layout(board).corners_m == pytest.approx(np.asarray(theirs.getObjPoints())[..., :2], abs=1e-7)


def test_a_grids_markers_are_where_opencv_has_them_or_kalibr() -> None:
    board = parse_board("aruco:4x3:0.04:0.01:DICT_4X4_50")
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    theirs = np.asarray(cv2.aruco.GridBoard((4, 3), 0.04, 0.01, dictionary).getObjPoints())
    assert board.points_m.reshape(-1, 4, 3) == pytest.approx(theirs, abs=1e-7)
    assert marker_layout(board).corners_m == pytest.approx(theirs[..., :2], abs=1e-7)
    bottom = marker_layout(board, from_bottom=True)
    assert bottom.places[0].tolist() == [0, 2]
    assert bottom.places[-1].tolist() == [3, 0]


@pytest.mark.parametrize("text", ["charuco:4x5:0.05:0.04:4X4_50", "chessboard:9x6:0.025", "aruco:4x3:0.04:0.01:4X4_50"])
def test_sides_are_as_long_as_they_say(text: str) -> None:
    board = parse_board(text)
    pairs, length = board.sides
    distance = np.linalg.norm(board.points_m[pairs[:, 0]] - board.points_m[pairs[:, 1]], axis=-1)
    assert distance == pytest.approx(length, rel=1e-12)
    assert len({tuple(sorted(pair)) for pair in pairs.tolist()}) == len(pairs)
    inside = (board.points_m >= board.outline_m[0] - 1e-12) & (board.points_m <= board.outline_m[2] + 1e-12)
    assert inside.all()


@pytest.mark.parametrize(("columns", "rows", "orders"), [(9, 6, 1), (7, 5, 2), (6, 4, 2), (6, 6, 4), (5, 5, 2)])
def test_symmetries_turn_the_print_onto_itself_colours_included(columns: int, rows: int, orders: int) -> None:
    board = Board("chessboard", columns, rows, 1.0)
    assert len(board.symmetries) == orders
    assert (board.symmetries[0] == np.arange(columns * rows)).all()
    points = board.points_m[:, :2]
    for order in board.symmetries:
        # A turn about the middle, not a mirror; and the square next to corner 0 keeps its colour.
        turned, still = points[order] - points.mean(axis=0), points - points.mean(axis=0)
        rotation = np.linalg.lstsq(still, turned, rcond=None)[0]
        assert np.linalg.det(rotation) == pytest.approx(1)
        assert still @ rotation == pytest.approx(turned, abs=1e-9)
        column, row = points[order[0]].astype(int)
        # Corner 0's upper left square, in the print: which of the four squares at that corner it is depends on the turn.
        step = np.rint((np.array([-0.5, -0.5]) @ rotation) * 2).astype(int)
        square = np.array([column, row]) + (step - 1) // 2
        assert square.sum() % 2 == 0
