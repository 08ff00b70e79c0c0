"""The board doctor: how a board that is not found as it was said has to be looked at, or what there is to be seen instead."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from posekit.calibration.boards.board import Board
from posekit.calibration.boards.detection import BoardDetector, Picture, Reading
from posekit.calibration.boards.dictionaries import family_of, marker_count, smallest_sibling
from posekit.calibration.boards.markers import marker_layout
from posekit.calibration.boards.survey import (
    FAMILIES,
    Layout,
    Sighting,
    chessboard_sizes,
    fitting_markers,
    likely_size,
    marker_share,
    see_markers,
)

Samples = Sequence[tuple[str, Picture]]

#: Pictures looked at in the ways that are slow, evenly spread over those given.
_FEW = 4
#: The reading as said stands unless another explains this much more.
_MUCH_MORE = 1.15
#: A marker's side may differ so much from what was said, as a share, before it is worth a word: ink and light move edges.
_SHARE_TOLERANCE = 0.1
#: Grey levels: a picture darker and more even than this shows nothing.
_BLACK, _EVEN = 12, 4


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found in a number of pictures; ``str`` is one or two plain sentences for a person.

    reading: how the board has to be looked at, None where no way works; board: the board as it really is (as said where none
    works). found: in how many pictures of those looked at it is seen so, labels: in which. words: what was seen where none
    works; warnings: what is odd though it works.
    """

    reading: Reading | None
    board: Board
    found: int
    looked_at: int
    labels: tuple[str, ...] = ()
    words: str = ""
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.reading is None:
            return self.words
        how = f"; read as: {self.reading}" if str(self.reading) else ""
        return ". ".join((f"the board is seen in {self.found} of {self.looked_at} pictures{how}", *self.warnings))


def diagnose(board: Board, images: Samples) -> Diagnosis:
    """Find out how a board has to be looked at, from sample pictures of it ((H, W, 3) RGB or (H, W) grey) and their labels.

    As said is tried first; then what often is wrong: printed inverted, mirrored, the other ChArUco pattern, columns and rows
    exchanged, squares counted for inner corners, another dictionary, Kalibr's grid, a board too small in the picture, and what
    of it happens together. A board of another size is never taken for the one that was said.

    A wrong length of a square cannot be seen in pictures.
    """
    if not images:
        return Diagnosis(None, board, 0, 0, words="there are no pictures")
    if board.kind == "chessboard":
        return _diagnose_chessboard(board, images)
    return _diagnose_markers(board, images)


def _diagnose_markers(board: Board, images: Samples) -> Diagnosis:
    all_seen: list[Sighting] = []
    for dictionaries, readings, pictures in _looks(board, images):
        seen = see_markers(pictures, dictionaries, readings)
        all_seen += seen
        best = max(_groups(seen), key=lambda group: _explained(board, group)[0], default=None)
        if best is None:
            continue
        count, reading = _explained(board, best)
        other = _other_size(board, best, count)
        if other is not None:
            return Diagnosis(None, board, 0, len(images), words=other)
        if count:
            diagnosis = _examine(board, reading, images)
            if diagnosis.found:
                diagnosis = _enlarged(board, diagnosis, images)
                return replace(diagnosis, warnings=_warnings(diagnosis.board, reading, best))
    return Diagnosis(None, board, 0, len(images), words=_markers_in_words(board, all_seen, images))


def _looks(board: Board, images: Samples) -> Iterator[tuple[tuple[str, ...], tuple[Reading, ...], Samples]]:
    """Yield dictionaries, readings and pictures to try, the likely and quick ones first."""
    # Room for a board larger than was said; the largest dictionaries see markers in anything.
    room = max(100, 2 * len(marker_layout(board).corners_m))
    said = (smallest_sibling(str(board.dictionary), room),)
    few = _spread(images, _FEW)
    plain = (Reading(), Reading(inverted=True))
    yield said, plain, images
    yield said, tuple(replace(reading, mirrored=True) for reading in plain), images
    if board.kind == "aruco":
        yield said, tuple(replace(reading, border_bits=2) for reading in plain), images
    yield tuple(name for name in FAMILIES if family_of(name) != family_of(said[0])), plain, few
    yield said, tuple(replace(reading, enlargement=2.0) for reading in plain), few


def _groups(sightings: Sequence[Sighting]) -> list[list[Sighting]]:
    groups: dict[tuple[Reading, str], list[Sighting]] = {}
    for sighting in sightings:
        groups.setdefault((sighting.reading, sighting.dictionary), []).append(sighting)
    return list(groups.values())


def _explained(board: Board, group: Sequence[Sighting]) -> tuple[int, Reading]:
    """How many markers of a group lie as on the board, and in which reading; as said where that explains about as many."""
    looked = group[0].reading
    looked = replace(looked, dictionary=_other_dictionary(board, group))
    best = (0, looked)
    markers = len(marker_layout(board).corners_m)
    if markers > marker_count(group[0].dictionary):
        return best
    for reading in _arrangements(board, looked):
        count = fitting_markers(group, Layout(reading.board(board), reading.from_bottom))
        if count > best[0] * _MUCH_MORE:
            best = (count, reading)
    return best


def _other_dictionary(board: Board, group: Sequence[Sighting]) -> str | None:
    """The dictionary of a group's markers, where the board's own does not have them."""
    return None if family_of(group[0].dictionary) == family_of(str(board.dictionary)) else group[0].dictionary


def _arrangements(board: Board, looked: Reading) -> list[Reading]:
    exchanged = [looked] if board.columns == board.rows else [looked, replace(looked, exchanged=True)]
    if board.kind == "aruco":
        return exchanged + [replace(reading, from_bottom=True) for reading in exchanged]
    # The two patterns differ where the number of rows is even.
    return exchanged + [replace(reading, legacy=True) for reading in exchanged if reading.board(board).rows % 2 == 0]


def _other_size(board: Board, group: Sequence[Sighting], explained: int) -> str | None:
    """Say which size the markers show, where it is another than was said."""
    total = sum(len(sighting.ids) for sighting in group)
    count = len(marker_layout(board).corners_m)
    beyond = sum(int((sighting.ids >= count).sum()) for sighting in group)
    if total < 4 or (explained >= 0.8 * total and beyond <= 0.05 * total):
        return None
    size = likely_size(group, board.kind)
    # Random quadrangles that look like markers lie on no board.
    if size is None or size[0] < max(5, 0.5 * sum(sorted(len(sighting.ids) for sighting in group)[-3:])):
        return None
    seen = size[1].board
    if {seen.columns, seen.rows} == {board.columns, board.rows} or (seen.columns == board.columns and not beyond):
        return None
    what = "squares" if board.kind == "charuco" else "markers"
    highest = len(marker_layout(seen).corners_m) - 1
    legacy = " in the pattern of OpenCV before 4.6" if seen.legacy else ""
    read = replace(group[0].reading, dictionary=_other_dictionary(board, group))
    also = f" ({read})" if str(read) else ""
    return (
        f"the markers lie as on a board of {seen.columns} x {seen.rows} {what}{legacy}, numbers 0 to {highest}{also}, not of "
        f"{board.columns} x {board.rows} as was said: give --board the size {seen.columns}x{seen.rows}"
    )


def _examine(board: Board, reading: Reading, images: Samples) -> Diagnosis:
    detector = BoardDetector(board, reading)
    labels = tuple(label for label, image in images if np.isfinite(detector.detect(image)).any())
    return Diagnosis(reading, detector.board, len(labels), len(images), labels)


def _enlarged(board: Board, diagnosis: Diagnosis, images: Samples) -> Diagnosis:
    """Enlarge the pictures where that finds many more boards: half as many again."""
    if diagnosis.reading is None or diagnosis.reading.enlargement != 1 or 2 * diagnosis.found > len(images):
        return diagnosis
    missed = [(label, image) for label, image in images if label not in diagnosis.labels]
    reading = replace(diagnosis.reading, enlargement=2.0)
    if _examine(board, reading, _spread(missed, _FEW)).found < min(2, len(missed)):
        return diagnosis
    enlarged = _examine(board, reading, images)
    return enlarged if enlarged.found >= 1.5 * diagnosis.found else diagnosis


def _warnings(board: Board, reading: Reading, group: Sequence[Sighting]) -> tuple[str, ...]:
    warnings = []
    said = (board.marker_m or 0) / board.square_m
    share = marker_share(group, Layout(board, reading.from_bottom))
    if share is not None and abs(share / said - 1) > _SHARE_TOLERANCE:
        of = "of the way from marker to marker" if board.kind == "aruco" else "of a square"
        warnings.append(f"a marker's side measures {share:.2f} {of}, {said:.2f} was said: measure both on the print")
    numbers = Counter(int(number) for sighting in group for number in sighting.ids)
    count = len(marker_layout(board).corners_m)
    never = [number for number in range(count) if number not in numbers]
    # The last rows, never seen where all others often are, may not have been printed.
    if (
        len(group) >= 4
        and never
        and never == list(range(never[0], count))
        and len(never) >= board.columns // 2
        and never[0] > 2
    ):
        warnings.append(
            f"markers {never[0]} to {count - 1} are seen in no picture: is the board smaller than was said?"
        )
    return tuple(warnings)


def _markers_in_words(board: Board, sightings: Sequence[Sighting], images: Samples) -> str:
    groups = _groups(sightings)
    count = len(marker_layout(board).corners_m)

    def weight(group: Sequence[Sighting]) -> int:
        # The same number in several pictures is a marker, other numbers each time are chance.
        numbers = Counter(int(number) for sighting in group for number in sighting.ids)
        often = sum(seen for seen in numbers.values() if seen > 1) or min(sum(numbers.values()), 1)
        # What stands still and looks like a marker does so in every picture; more often by chance in one of the mirrored ways.
        return often if not group[0].reading.mirrored else often // 2

    best = max(groups, key=weight, default=None)
    if best is None or weight(best) < 2:
        return _nothing_in_words(images, f"no markers of {board.dictionary} nor of another dictionary")
    numbers = Counter(int(number) for sighting in best for number in sighting.ids)
    often = sorted(number for number, seen in numbers.items() if seen > 1)
    pictures = [sighting.label for sighting in best if np.isin(sighting.ids, often).any()]
    most = max(len(sighting.ids) for sighting in best)
    shown = ", ".join(str(number) for number in often[:8]) + (" ..." if len(often) > 8 else "")
    how = f" ({best[0].reading})" if str(best[0].reading) else ""
    sentence = (
        f"markers of {best[0].dictionary}{how} are seen in {len(pictures)} of {len(images)} pictures ({_some(pictures)}), "
        f"at most {most} at once, numbers {shown}, but they do not lie as on {board} (numbers 0 to {count - 1})"
    )
    if most < 3:
        return f"{sentence}: too little of the board is seen at once, or it is another board; film it nearer and from the front"
    return f"{sentence}: measure the board, count its columns and rows, and say which it is with --board"


def _diagnose_chessboard(board: Board, images: Samples) -> Diagnosis:
    few = _spread(images, _FEW)
    best = _examine(board, Reading(), few)
    if 2 * best.found >= len(few):
        return _examine(board, Reading(), images)
    missed = [(label, image) for label, image in few if label not in best.labels]
    seen = {reading: chessboard_sizes(missed, reading) for reading in (Reading(), Reading(inverted=True))}
    sizes = sum(seen.values(), Counter[tuple[int, int]]())
    said, fewer = sorted((board.columns, board.rows)), sorted((board.columns - 1, board.rows - 1))
    for reading in (
        Reading(inverted=True),
        Reading(squares_counted=True),
        Reading(inverted=True, squares_counted=True),
    ):
        expected = fewer if reading.squares_counted else said
        if any(sorted(size) == expected for size in seen[Reading(inverted=reading.inverted)]):
            other = _examine(board, reading, images)
            best = other if other.found > best.found * _MUCH_MORE else best
    if not sizes and _examine(board, Reading(enlargement=2.0), missed).found:
        enlarged = _examine(board, Reading(enlargement=2.0), images)
        best = enlarged if enlarged.found > best.found * _MUCH_MORE else best
    if not best.found and not sizes:
        best = _examine(board, Reading(), images)
    if best.found:
        return best
    return Diagnosis(None, board, 0, len(images), words=_chessboards_in_words(board, sizes, len(missed), images))


def _chessboards_in_words(board: Board, sizes: Counter[tuple[int, int]], looked_at: int, images: Samples) -> str:
    # Three corners in a row may be anything: a window, a keyboard.
    telling = Counter({size: count for size, count in sizes.items() if max(size) > 3})
    if not telling:
        return _nothing_in_words(images, "no chessboard of any size")
    (columns, rows), count = telling.most_common(1)[0]
    if {columns, rows} == {board.columns, board.rows}:
        return f"the chessboard is seen in {count} pictures, too blurred or slanted to be read: film it slowly, in more light"
    return (
        f"a chessboard of {columns} x {rows} inner corners ({columns + 1} x {rows + 1} squares) is seen in "
        f"{min(count, looked_at)} of {looked_at} pictures looked at closely, none of {board.columns} x {board.rows}: "
        f"give --board chessboard:{columns}x{rows}:SIDE, or film it where none of its squares is hidden"
    )


def _nothing_in_words(images: Samples, nothing: str) -> str:
    black = [label for label, image in images if np.mean(image) < _BLACK and np.std(image) < _EVEN]
    if len(black) == len(images):
        return f"all {len(images)} pictures are black: is the lens covered, or the video damaged?"
    but = f"; {len(black)} of the pictures are black ({_some(black)})" if black else ""
    return (
        f"{nothing} is seen in {len(images)} pictures{but}: is the board in view, sharp, lit, and not smaller than a tenth "
        "of the picture?"
    )


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:3]) + (" ..." if len(labels) > 3 else "")


def _spread(images: Samples, most: int) -> list[tuple[str, Picture]]:
    places = {round(float(place)) for place in np.linspace(0, len(images) - 1, min(most, len(images)))}
    return [images[place] for place in sorted(places)]
