from itertools import pairwise

import cv2
import numpy as np
import pytest

from board_pictures import photograph
from posekit.calibration.boards.board import Board, parse_board
from posekit.calibration.boards.detection import BoardDetector, Reading
from posekit.calibration.boards.plane import fit_plane

BOARDS = [
    "charuco:5x7:0.04:0.03:DICT_4X4_50",
    "charuco:6x4:0.04:0.03:DICT_5X5_100:legacy",
    "chessboard:9x6:0.025",
    "chessboard:4x7:0.025",
    "aruco:4x3:0.04:0.01:DICT_APRILTAG_36h11",
    "aruco:2x3:0.04:0.02:DICT_6X6_250",
]


def _distance(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found - true, axis=-1)


@pytest.mark.parametrize("text", BOARDS)
@pytest.mark.parametrize("turn", [0.0, 0.4, np.pi])
def test_finds_every_corner_to_a_tenth_of_a_pixel(text: str, turn: float) -> None:
    board = parse_board(text)
    image, true = photograph(board, seed=1, turn=turn)
    found = BoardDetector(board).detect(image)
    # Blur and the grain of one grey level leave 0.03 to 0.05 px on average; a wrong convention of pixels would be 0.5 px.
    assert _distance(found, true).max() < 0.15
    assert _distance(found, true).mean() < 0.06


@pytest.mark.parametrize(
    "text", ["charuco:5x7:0.04:0.03:DICT_4X4_50", "aruco:4x3:0.04:0.01:DICT_4X4_50", "chessboard:9x6:0.025"]
)
def test_reads_colour_pictures_and_inverted_prints(text: str) -> None:
    board = parse_board(text)
    image, true = photograph(board)
    found = BoardDetector(board, Reading(inverted=True)).detect(np.repeat(255 - image[..., None], 3, axis=-1))
    assert _distance(found, true).max() < 0.15


@pytest.mark.parametrize("text", ["charuco:5x7:0.04:0.03:DICT_4X4_50", "aruco:4x3:0.04:0.01:DICT_4X4_50"])
def test_a_mirrored_board_keeps_its_numbers_in_the_pixels_of_the_picture(text: str) -> None:
    board = parse_board(text)
    image, true = photograph(board, turn=0.3)
    found = BoardDetector(board, Reading(mirrored=True)).detect(np.ascontiguousarray(image[:, ::-1]))
    assert _distance(found, [image.shape[1] - 1, 0] + [-1, 1] * true).max() < 0.15


def test_an_exchanged_board_comes_with_the_board_as_it_is() -> None:
    board = parse_board("charuco:5x7:0.04:0.03:DICT_4X4_50")
    image, true = photograph(board)
    detector = BoardDetector(parse_board("charuco:7x5:0.04:0.03:DICT_4X4_50"), Reading(exchanged=True))
    assert detector.board == board
    assert _distance(detector.detect(image), true).max() < 0.15


def test_an_enlarged_picture_gives_pixels_of_the_picture_itself() -> None:
    board = parse_board("charuco:5x7:0.04:0.03:DICT_4X4_50")
    image, true = photograph(board, size=(640, 480), fill=0.3)
    found = BoardDetector(board, Reading(enlargement=2)).detect(image)
    seen = np.isfinite(found[:, 0])
    assert seen.sum() >= 20
    # Squares of 20 px, blurred: half a pixel would be the mistake of the enlargement's convention.
    assert np.abs((found - true)[seen].mean(axis=0)).max() < 0.05
    assert _distance(found, true)[seen].max() < 0.3


@pytest.mark.parametrize("text", ["chessboard:9x6:0.025", "chessboard:4x7:0.025", "chessboard:5x8:0.025"])
@pytest.mark.parametrize("turn", [0.0, 0.7, np.pi / 2, 2.5, np.pi, -1.0])
def test_chessboards_are_numbered_alike_however_the_camera_is_turned(text: str, turn: float) -> None:
    board = parse_board(text)
    image, true = photograph(board, turn=turn, fill=0.7)
    assert _distance(BoardDetector(board).detect(image), true).max() < 0.2


@pytest.mark.parametrize(("columns", "rows"), [(7, 5), (6, 4), (4, 4), (5, 5)])
@pytest.mark.parametrize("turn", [0.0, np.pi / 2, np.pi])
def test_a_symmetric_chessboard_comes_in_one_of_its_own_orders(columns: int, rows: int, turn: float) -> None:
    board = Board("chessboard", columns, rows, 0.03)
    image, true = photograph(board, turn=turn, fill=0.7)
    found = BoardDetector(board).detect(image)
    # Never an order of another colour, never a mirrored one.
    assert min(_distance(found, true[order]).max() for order in board.symmetries) < 0.2


def test_a_wrong_corner_is_left_out_and_many_wrong_ones_are_no_board() -> None:
    points = parse_board("chessboard:6x5:1").points_m[:, :2]
    true = cv2.perspectiveTransform(points[None], np.array([[50, 4, 90], [-6, 45, 120], [2e-3, -4e-3, 1]]))[0]
    pixels = true.copy()
    pixels[[3, 17]] += (9, -7)
    fit = fit_plane(points, pixels, (640, 480), 1.0)
    assert fit is not None
    assert set(np.flatnonzero(~fit.fits)) == {3, 17}
    # The others say where they should have been.
    assert _distance(fit.place_px, true).max() < 0.5
    shuffled = np.random.default_rng(0).permutation(true)
    fit = fit_plane(points, shuffled, (640, 480), 1.0)
    assert fit is None or fit.fits.mean() < 0.5


@pytest.mark.parametrize("k1", [-0.35, -0.15, 0.1])
def test_a_lens_that_bends_is_no_reason_to_refuse_a_board(k1: float) -> None:
    points = parse_board("chessboard:9x6:1").points_m
    # From the middle to the corner of the picture: barrels bend by 20 px and more.
    rotation, translation = np.array([0.3, -0.2, 0.1]), np.array([-4.0, -2.5, 6.5])
    camera = np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
    pixels = cv2.projectPoints(points, rotation, translation, camera, np.array([k1, 0, 0, 0, 0]))[0][:, 0]
    fit = fit_plane(points[:, :2], pixels, (640, 480), 1.0)
    assert fit is not None
    assert fit.fits.all()
    assert fit.handedness == 1


def test_the_mirror_image_of_corners_is_told() -> None:
    points = parse_board("chessboard:9x6:1").points_m[:, :2]
    fit = fit_plane(points, 300 + 20 * points * (-1, 1), (640, 480), 1.0)
    assert fit is not None
    assert fit.handedness == -1


def test_corners_in_a_line_place_no_board() -> None:
    points = parse_board("chessboard:9x6:1").points_m[:9, :2]
    assert fit_plane(points, 30 + 20 * points, (640, 480), 1.0) is None


@pytest.mark.parametrize("text", BOARDS)
@pytest.mark.parametrize("kind", ["black", "white", "noise", "stripes"])
def test_finds_nothing_where_there_is_nothing(text: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    image = {
        "black": np.zeros((240, 320)),
        "white": np.full((240, 320), 255),
        "noise": rng.integers(0, 256, (240, 320)),
        "stripes": np.tile(np.arange(320) // 20 % 2 * 255, (240, 1)),
    }[kind].astype(np.uint8)
    board = parse_board(text)
    found = BoardDetector(board).detect(image)
    assert found.shape == (len(board.points_m), 2)
    assert np.isnan(found).all()


@pytest.mark.parametrize(
    ("said", "printed"),
    [
        ("charuco:5x7:0.04:0.03:DICT_4X4_50", "charuco:6x8:0.04:0.03:DICT_4X4_50"),
        ("charuco:6x4:0.04:0.03:DICT_4X4_50", "charuco:6x4:0.04:0.03:DICT_4X4_50:legacy"),
        ("charuco:5x7:0.04:0.03:DICT_4X4_50", "charuco:7x5:0.04:0.03:DICT_4X4_50"),
        ("chessboard:9x6:0.025", "chessboard:10x7:0.025"),
        ("chessboard:9x6:0.025", "chessboard:8x5:0.025"),
        ("aruco:4x3:0.04:0.01:DICT_4X4_50", "aruco:3x4:0.04:0.01:DICT_4X4_50"),
    ],
)
def test_another_board_is_not_taken_for_the_one_that_was_said(said: str, printed: str) -> None:
    image, _ = photograph(parse_board(printed))
    assert np.isnan(BoardDetector(parse_board(said)).detect(image)).all()


def test_a_board_half_covered_is_found_in_part() -> None:
    board = parse_board("charuco:5x7:0.04:0.03:DICT_4X4_50")
    image, true = photograph(board)
    covered = int(true[:, 0].mean())
    image[:, covered:] = 90
    found = BoardDetector(board).detect(image)
    seen = np.isfinite(found[:, 0])
    assert 4 <= seen.sum() < len(true)
    assert not seen[true[:, 0] > covered].any()
    assert _distance(found, true)[seen].max() < 0.15


def test_a_reading_says_itself_in_words() -> None:
    assert str(Reading()) == ""
    assert (
        str(Reading(inverted=True, exchanged=True)) == "printed inverted (white on black), columns and rows exchanged"
    )


def test_stereo_pairs_of_a_known_chessboard(shared_data) -> None:
    board = parse_board("chessboard:9x6:1")
    detector = BoardDetector(board)
    for side, rms_before in (("left", 0.196), ("right", 0.207)):
        files = sorted((shared_data / "opencv_stereo_chess").glob(f"{side}*.jpg"))
        corners = [detector.detect(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)) for file in files]
        assert len(corners) == 13
        assert np.isfinite(corners).all()
        points = [board.points_m.astype(np.float32)] * 13
        rms, matrix, *_ = cv2.calibrateCamera(points, [c.astype(np.float32) for c in corners], (640, 480), None, None)
        # What OpenCV's own detector with a window of 11 px comes to on them.
        assert rms == pytest.approx(rms_before, rel=0.02)
        assert matrix[0, 0] == pytest.approx(533.9, rel=0.01)


@pytest.mark.parametrize("said", ["8x6", "9x5", "7x6", "8x5"])
def test_a_part_of_a_real_chessboard_is_not_taken_for_a_smaller_one(shared_data, said: str) -> None:
    detector = BoardDetector(parse_board(f"chessboard:{said}:1"))
    # Printed with 9 x 6; the ones at the picture's edge, in uneven light, and before a background of squares among them.
    for number in (2, 3, 7, 12):
        image = cv2.imread(str(shared_data / f"opencv_stereo_chess/left{number:02d}.jpg"), cv2.IMREAD_GRAYSCALE)
        assert np.isnan(detector.detect(image)).all(), number


def test_photos_in_which_a_plain_detector_errs(shared_data) -> None:
    board = parse_board("chessboard:4x7:0.06")
    detector = BoardDetector(board)
    folder = shared_data / "pose2sim_balancing/calibration_images/intrinsics/int_cam04_img"
    corners = [detector.detect(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)) for file in sorted(folder.glob("*.jpg"))]
    seen = [c for c in corners if np.isfinite(c).any()]
    assert len(seen) >= 6
    points = [board.points_m[np.isfinite(c[:, 0])].astype(np.float32) for c in seen]
    pixels = [c[np.isfinite(c[:, 0])].astype(np.float32) for c in seen]
    rms, matrix, *_ = cv2.calibrateCamera(points, pixels, (1088, 1920), None, None)
    # 38 px with corners as they come, 0.2 px where all are right.
    assert rms < 0.4
    assert matrix[0, 0] == pytest.approx(matrix[1, 1], rel=0.002)  # square pixels


def test_a_board_seen_from_behind_and_from_the_front(shared_data) -> None:
    board = parse_board("charuco:4x5:0.054:0.0405:DICT_4X4_1000")
    folder = shared_data / "caliscope_charuco/rotated_4cams/calibration/extrinsic"
    for camera, mirrored in ((0, False), (1, True)):
        video = cv2.VideoCapture(str(folder / f"cam_{camera}.mp4"))
        images = [video.read()[1] for _ in range(20)][::4]
        detectors = [BoardDetector(board, Reading(inverted=True, mirrored=mirror)) for mirror in (False, True)]
        counts = [sum(np.isfinite(detector.detect(image)).any() for image in images) for detector in detectors]
        assert counts[mirrored] >= 4
        assert counts[not mirrored] == 0


def test_words_of_every_reading_differ() -> None:
    readings = [
        Reading(inverted=True),
        Reading(mirrored=True),
        Reading(exchanged=True),
        Reading(squares_counted=True),
        Reading(legacy=True),
        Reading(dictionary="DICT_4X4_50"),
        Reading(from_bottom=True),
        Reading(border_bits=2),
        Reading(enlargement=2),
    ]
    words = sorted(map(str, readings))
    assert all(words)
    assert all(first != second for first, second in pairwise(words))
