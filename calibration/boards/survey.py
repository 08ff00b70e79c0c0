"""What boards there are in pictures, whatever was said: markers of which dictionary and layout, chessboards of which size."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from posekit.calibration.boards.board import Board
from posekit.calibration.boards.detection import Picture, Reading, read_picture
from posekit.calibration.boards.markers import MarkerDetector, marker_layout, middles
from posekit.calibration.boards.plane import fit_plane

Array = NDArray[np.float64]

#: One dictionary of each family: the larger ones begin with it, and take that much longer to look through.
FAMILIES = (
    "DICT_4X4_100",
    "DICT_5X5_100",
    "DICT_6X6_100",
    "DICT_7X7_100",
    "DICT_ARUCO_ORIGINAL",
    "DICT_ARUCO_MIP_36h12",
    "DICT_APRILTAG_16h5",
    "DICT_APRILTAG_25h9",
    "DICT_APRILTAG_36h11",
)
#: Markers in a picture from which its layout is read: two lie in line.
_ENOUGH = 3
#: From so many markers on their middles are enough, and say nothing of the markers' size.
_ENOUGH_MIDDLES = 5
#: Pictures that show most markers, by which a size is told.
_RICHEST = 3
#: Columns of boards that are looked for where another size than said may have been printed.
_COLUMNS = range(2, 15)
#: Side of a marker as a share of its square, where nothing was said.
_COMMON_SHARE = 0.75


@dataclass(frozen=True, eq=False)
class Sighting:
    """Markers of one dictionary in one picture: numbers (N,) and corners (N, 4, 2) px of the picture as read."""

    label: str
    reading: Reading
    dictionary: str
    ids: NDArray[np.int64]
    quads: Array
    size: tuple[int, int]


def see_markers(
    images: Sequence[tuple[str, Picture]], dictionaries: Sequence[str], readings: Sequence[Reading]
) -> list[Sighting]:
    """Look for markers of the dictionaries in every picture, read in every one of the ways; sightings of none are left out."""
    detectors = {
        (reading.border_bits, reading.enlargement): MarkerDetector(
            *dictionaries, border_bits=reading.border_bits, smallest=0.0075 / reading.enlargement
        )
        for reading in readings
    }
    sightings = []
    for (label, image), reading in product(images, readings):
        grey = read_picture(image, reading)
        found = detectors[reading.border_bits, reading.enlargement].detect_each(grey)
        for dictionary, (ids, quads) in found.items():
            if len(ids):
                size = (grey.shape[1], grey.shape[0])
                sightings.append(Sighting(label, reading, dictionary, ids, quads, size))
    return sightings


@dataclass(frozen=True)
class Layout:
    """How markers lie: on which board, numbered from which side."""

    board: Board
    from_bottom: bool = False


def fitting_markers(sightings: Sequence[Sighting], layout: Layout, *, endless: bool = False) -> int:
    """Count the markers that lie as in a layout, over all pictures that show enough of them.

    endless: whether the board goes on below as far as the markers' numbers do, whatever its number of rows.
    """
    board = layout.board
    if endless and sightings:
        highest = max(int(sighting.ids.max()) for sighting in sightings)
        rows = -(-2 * (highest + 1) // max(2 * board.columns // 2, 1)) + 2
        # An even number, so that `legacy` says what it says of the pattern.
        board = replace(board, rows=max(board.rows, rows + rows % 2))
    places = marker_layout(board, from_bottom=layout.from_bottom)
    count = 0
    for sighting in sightings:
        known = sighting.ids < len(places.corners_m)
        ids, quads = sighting.ids[known], sighting.quads[known]
        if len(ids) < min(_ENOUGH, len(places.corners_m)):
            continue
        by_middles = len(ids) >= _ENOUGH_MIDDLES
        points = places.middles_m[ids] if by_middles else places.corners_m[ids].reshape(-1, 2)
        pixels = middles(quads) if by_middles else quads.reshape(-1, 2)
        fit = fit_plane(points, pixels, sighting.size, board.square_m)
        if fit is not None and fit.handedness > 0 and fit.fits.mean() > 0.7:
            count += round(float(fit.fits.sum()) / (1 if by_middles else 4))
    return count


def marker_share(sightings: Sequence[Sighting], layout: Layout) -> float | None:
    """Measure a marker's side as a share of the way from marker to marker (or of its square); None where too few are seen.

    The markers' middles place the board, the markers' corners are carried back onto it.
    """
    places = marker_layout(layout.board, from_bottom=layout.from_bottom)
    shares = []
    for sighting in sightings:
        known = sighting.ids < len(places.corners_m)
        ids, quads = sighting.ids[known], sighting.quads[known]
        if len(ids) < _ENOUGH_MIDDLES:
            continue
        fit = fit_plane(places.middles_m[ids], middles(quads), sighting.size, layout.board.square_m)
        if fit is None or not fit.fits.all():
            continue
        homography, _ = cv2.findHomography(middles(quads), places.middles_m[ids])
        corners = cv2.perspectiveTransform(quads.reshape(1, -1, 2), homography).reshape(-1, 4, 2)
        shares += list(
            np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).mean(axis=1) / layout.board.square_m
        )
    return float(np.median(shares)) if shares else None


def likely_size(sightings: Sequence[Sighting], kind: str) -> tuple[int, Layout] | None:
    """Find the board that markers lie on, of whatever size, and how many say so in the pictures that show most; None: none."""
    if not sightings:
        return None
    richest = sorted(sightings, key=lambda sighting: -len(sighting.ids))[:_RICHEST]
    best: tuple[int, Layout] | None = None
    for layout in _layouts(kind):
        count = fitting_markers(richest, layout, endless=True)
        if count and (best is None or count > best[0]):
            best = count, layout
    if best is None:
        return None
    count, layout = best
    numbers = Counter(int(number) for sighting in sightings for number in sighting.ids)
    # Numbers that are seen once among many are misread.
    likely = [number for number, seen in numbers.items() if seen >= 0.1 * max(numbers.values())]
    board = replace(layout.board, rows=200)
    places = marker_layout(board).places
    rows = int(places[min(max(likely), len(places) - 1), 1]) + 1
    return count, replace(layout, board=replace(layout.board, rows=rows, legacy=layout.board.legacy and rows % 2 == 0))


def _layouts(kind: str) -> Iterator[Layout]:
    for columns in _COLUMNS:
        if kind == "aruco":
            yield Layout(Board("aruco", columns, 2, 1.0, _COMMON_SHARE, FAMILIES[0]))
        else:
            for legacy in (False, True):
                yield Layout(Board("charuco", columns, 2, 1.0, _COMMON_SHARE, FAMILIES[0], legacy))


def chessboard_sizes(
    images: Sequence[tuple[str, Picture]], reading: Reading, *, longest_px: int = 1000
) -> Counter[tuple[int, int]]:
    """Count the chessboards that are seen by their inner corners, the larger number first."""
    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_LARGER
    sizes: Counter[tuple[int, int]] = Counter()
    for _, image in images:
        grey = read_picture(image, reading)
        scale = min(1.0, longest_px / max(grey.shape))
        if scale < 1:
            grey = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        found, _, meta = cv2.findChessboardCornersSBWithMeta(grey, (3, 3), flags)
        if found:
            rows, columns = meta.shape[:2]
            sizes[max(rows, columns), min(rows, columns)] += 1
    return sizes
