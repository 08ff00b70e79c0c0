"""Looking for a board in the pictures of a capture: in how many, how it has to be read, and where every camera has enough."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from posekit.calibration.boards.board import Board
from posekit.calibration.boards.capture import BoardCapture
from posekit.calibration.boards.detection import BoardDetector, Picture, Reading
from posekit.calibration.boards.doctor import Diagnosis, diagnose
from posekit.calibration.boards.views import BoardViews
from posekit.errors import PosekitError

Array = NDArray[np.float64]

#: Called with the pictures done and the pictures to do, from the calling thread or another, one call at a time.
Progress = Callable[[int, int], None]

#: Moments that are looked at, however long the videos are; and by how much more where cameras or pairs of them have few views.
MAX_MOMENTS, _MORE_MOMENTS = 600, 0.5

#: Pictures of each camera that the board's reading is found on; and those of the first camera that are enough where most agree.
_SAMPLES, _FIRST_SAMPLES, _AGREEING = 12, 6, 4

#: Views that a camera, and common views that two cameras, should have.
_ENOUGH_VIEWS, _ENOUGH_COMMON = 40, 15

#: Pictures this far apart (s) still show how a board moved between them; where moments are farther apart, this share of them is
#: looked at in runs of so many seconds instead, with pictures so far apart, by which clocks can be compared; no fewer runs
#: than these, for one alone shows little.
_CLOSE_S, _RUNS_SHARE, _RUN_S, _RUN_STEP_S, _FEWEST_RUNS = 0.2, 0.5, 4.0, 0.1, 3

#: Stills that one thread takes at a time.
_STILLS_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class FoundBoards:
    """Where a board was found in a capture.

    views: the moments at which some camera saw it; of all the capture's cameras. readings: how it was looked at, by camera.
    tried and found: pictures of each camera that were looked at, and those that showed the board. notes: for a person.
    """

    views: BoardViews
    readings: tuple[Reading, ...]
    tried: tuple[int, ...]
    found: tuple[int, ...]
    notes: tuple[str, ...]


def film_views(
    capture: BoardCapture,
    board: Board,
    *,
    max_moments: int = MAX_MOMENTS,
    reading: Reading | None = None,
    motion: bool = True,
    progress: Progress | None = None,
) -> FoundBoards:
    """Find a board's corners in the pictures of a capture, the same moments of all cameras.

    Of long videos `max_moments` are looked at, evenly spread; then up to half as many more next to those where cameras or pairs
    of cameras that have few views saw the board. motion: where that leaves too much time between two to see how the board
    moves, half of the moments are spread evenly, and half are in runs of a few seconds where several cameras saw the board.
    Which reading works is found on a dozen pictures per camera, unless it is given. One picture per camera is in memory at a
    time besides; cameras are read in parallel.

    Raises PosekitError, with what was seen instead, where no camera sees the board, and what `BoardCapture.read` raises.
    """
    search = _Search(capture, board, progress)
    in_runs = _moments_in_runs(capture, max_moments) if motion else 0
    moments = _first_moments(capture, max_moments - in_runs)
    diagnoses = [] if reading is not None else search.diagnoses(moments)
    readings = [reading] * search.cameras if reading is not None else _common_readings(diagnoses)
    search.look(moments, readings)
    if in_runs and len(runs := search.runs(in_runs)):
        search.look(runs, readings)
    budget = int(_MORE_MOMENTS * max_moments) if capture.simultaneous else 0
    while budget > 0 and len(more := search.promising(budget)):
        search.look(more, readings)
        budget -= len(more)
    found = search.seen.sum(axis=0)
    notes = _notes(capture, readings, search.tried, found, diagnoses)
    if not found.any():
        raise PosekitError(f"{capture.folder}: {board} was not found: {_not_found(capture, search.tried, diagnoses)}")
    kept = np.flatnonzero(search.seen.any(axis=1))
    moments = search.moments[kept]
    views = BoardViews(
        readings[0].board(board),
        capture.cameras,
        capture.sizes,
        moments,
        search.corners[kept],
        None if capture.times_s is None else capture.times_s[moments],
        str(capture.folder),
        None if capture.videos and capture.simultaneous else tuple(capture.label(int(moment)) for moment in moments),
        capture.fps,
    )
    return FoundBoards(
        views, tuple(readings), tuple(search.tried.tolist()), tuple(found.tolist()), (*capture.notes, *notes)
    )


def _first_moments(capture: BoardCapture, most: int) -> NDArray[np.int64]:
    if capture.simultaneous:
        return _evenly(len(capture.pictures), most)
    own = [np.flatnonzero(capture.pictures[:, c] >= 0) for c in range(len(capture.cameras))]
    return np.concatenate([moments[_evenly(len(moments), most)] for moments in own])


def _moments_in_runs(capture: BoardCapture, most: int) -> int:
    """How many of the moments are to be looked at in runs of pictures that are close in time."""
    if capture.fps is None or not capture.simultaneous or len(capture.cameras) < 2:
        return 0
    apart_s = len(capture.pictures) / most / capture.fps
    count = int(_RUNS_SHARE * most)
    enough = count >= _FEWEST_RUNS * len(_run(capture.fps))
    # Of a video of five frames a second and fewer, neighbours are no closer.
    return count if enough and apart_s > _CLOSE_S and 1 / capture.fps <= _CLOSE_S else 0


def _run(fps: float) -> NDArray[np.int64]:
    """The moments of one run, beside its middle."""
    step = max(1, round(_RUN_STEP_S * fps))
    half = round(_RUN_S * fps / step) // 2
    return step * np.arange(-half, half + 1)


def _common_readings(diagnoses: Sequence[Diagnosis]) -> list[Reading]:
    """Every camera's reading of one and the same print: the one that most pictures speak for.

    Mirrored or too small pictures are a camera's own affair. A camera that saw nothing in its samples is read like the others.
    """
    votes: Counter[Reading] = Counter()
    for diagnosis in diagnoses:
        if diagnosis.reading is not None:
            votes[replace(diagnosis.reading, mirrored=False, enlargement=1.0)] += diagnosis.found
    mirrors = [diagnosis.reading.mirrored for diagnosis in diagnoses if diagnosis.reading is not None]
    printed = votes.most_common(1)[0][0] if votes else Reading()
    unseen = replace(printed, mirrored=bool(mirrors) and all(mirrors))
    return [
        replace(printed, mirrored=diagnosis.reading.mirrored, enlargement=diagnosis.reading.enlargement)
        if diagnosis.reading is not None
        else unseen
        for diagnosis in diagnoses
    ]


def _notes(
    capture: BoardCapture,
    readings: Sequence[Reading],
    tried: NDArray[np.int64],
    found: NDArray[np.int64],
    diagnoses: Sequence[Diagnosis],
) -> list[str]:
    """What a person should know of how the board was read, and of cameras that did not see it."""
    notes = []
    for words in dict.fromkeys(str(reading) for reading in readings if str(reading)):
        cameras = [name for name, reading in zip(capture.cameras, readings, strict=True) if str(reading) == words]
        of = "" if len(cameras) == len(capture.cameras) else f" in {', '.join(cameras)}"
        notes.append(f"the board was read{of} as: {words}")
    notes += dict.fromkeys(words for diagnosis in diagnoses for words in diagnosis.warnings)
    for c in np.flatnonzero(found == 0).tolist():
        seen_instead = f": {diagnoses[c]}" if diagnoses else ""
        notes.append(f"camera '{capture.cameras[c]}': no board in {tried[c]} pictures{seen_instead}")
    return notes


def _not_found(capture: BoardCapture, tried: NDArray[np.int64], diagnoses: Sequence[Diagnosis]) -> str:
    """What there is instead of the board, said once for all cameras of which the same is true."""
    saying: dict[str, list[int]] = {}
    for c in range(len(capture.cameras)):
        saying.setdefault(str(diagnoses[c]) if diagnoses else "", []).append(c)
    parts = []
    for words, cameras in saying.items():
        of = "camera" if len(cameras) == 1 else "cameras"
        names = ", ".join(f"'{capture.cameras[c]}'" for c in cameras)
        parts.append(f"{of} {names}: no board in {tried[cameras].sum()} pictures" + (f": {words}" if words else ""))
    return "; ".join(parts)


class _Search:
    def __init__(self, capture: BoardCapture, board: Board, progress: Progress | None) -> None:
        self.capture, self._board, self._progress = capture, board, progress
        self.cameras = len(capture.cameras)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._done = self._planned = 0
        self._both_sides = False
        self._detectors: dict[Reading, BoardDetector] = {}  # of the calling thread
        self.moments = np.zeros(0, dtype=np.int64)  # looked at, ascending
        self.corners = np.zeros((0, self.cameras, 0, 2))
        self.tried = np.zeros(self.cameras, dtype=np.int64)

    def diagnoses(self, moments: NDArray[np.int64]) -> list[Diagnosis]:
        """How the board has to be looked at, or what there is instead, by camera, from a dozen of each one's pictures."""
        diagnoses: list[Diagnosis] = []
        for camera in range(self.cameras):
            own = moments[self.capture.pictures[moments, camera] >= 0]
            chosen = own[_evenly(len(own), _SAMPLES)].tolist()
            pictures = ((self.capture.label(moment), image) for moment, image in self.capture.read(camera, chosen))
            # All cameras film one print: what works for another's pictures, and in one of these, is not looked for again.
            known = self._known(diagnoses)
            samples = []
            for sample in pictures:
                samples.append(sample)
                alike = next((each for each in known if self._shows(sample[1], each.reading)), None)
                if alike is not None:
                    diagnoses.append(alike)
                    break
                if not known and len(samples) == _FIRST_SAMPLES:
                    first = diagnose(self._board, samples)
                    if first.found >= _AGREEING:
                        diagnoses.append(first)
                        break
            else:
                diagnoses.append(diagnose(self._board, samples))
            # A video is not decoded beyond the last picture that was needed.
            pictures.close()
        return diagnoses

    def _known(self, diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
        """What the print is known to be, by the cameras so far; and the same seen from its other side."""
        known = list({each.reading: each for each in diagnoses if each.reading is not None}.values())
        if self._board.kind == "chessboard":
            return known  # its mirror image is another turn of it
        behind = (replace(each, reading=replace(each.reading, mirrored=True)) for each in known if each.reading)
        return list({each.reading: each for each in (*known, *behind)}.values())

    def _shows(self, image: Picture, reading: Reading | None) -> bool:
        assert reading is not None
        if reading not in self._detectors:
            self._detectors[reading] = BoardDetector(self._board, reading)
        return bool(np.isfinite(self._detectors[reading].detect(image)).any())

    def look(self, moments: NDArray[np.int64], readings: Sequence[Reading]) -> None:
        """Look for the board at these moments, in every camera's picture."""
        # Where some cameras see the back of a board that one can see through, any of them may, once it is turned.
        self._both_sides = len({reading.mirrored for reading in readings}) > 1
        work = [(c, part) for c in range(self.cameras) for part in self._parts(c, moments)]
        self._planned += sum(len(part) for _, part in work)
        count = len(readings[0].board(self._board).points_m)
        corners = np.full((len(moments), self.cameras, count, 2), np.nan)
        place = {int(moment): m for m, moment in enumerate(moments)}
        with _threads_of_its_own(), ThreadPoolExecutor(min(os.cpu_count() or 1, len(work))) as pool:
            jobs = [pool.submit(self._look_at, camera, part, readings[camera]) for camera, part in work]
            try:
                for (camera, _), job in zip(work, jobs, strict=True):
                    for moment, found in job.result():
                        corners[place[moment], camera] = found
                        self.tried[camera] += 1
            finally:
                # What failed, or was interrupted, must not wait for the other cameras' videos.
                self._stop.set()
                pool.shutdown(cancel_futures=True)
        self._stop.clear()
        order = np.argsort(np.concatenate((self.moments, moments)), kind="stable")
        self.corners = np.concatenate((self.corners.reshape(-1, self.cameras, count, 2), corners))[order]
        self.moments = np.concatenate((self.moments, moments))[order]

    def _parts(self, camera: int, moments: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """What one thread reads: a video in one go, stills some at a time."""
        own = moments[self.capture.pictures[moments, camera] >= 0]
        size = _STILLS_AT_ONCE if self.capture.stills else max(len(own), 1)
        return [own[start : start + size] for start in range(0, len(own), size)]

    def _look_at(self, camera: int, moments: NDArray[np.int64], reading: Reading) -> list[tuple[int, Array]]:
        detectors = [BoardDetector(self._board, reading)]
        if self._both_sides:
            detectors.append(BoardDetector(self._board, replace(reading, mirrored=not reading.mirrored)))
        found = []
        for moment, image in self.capture.read(camera, moments.tolist()):
            if self._stop.is_set():
                break
            corners = detectors[0].detect(image)
            if len(detectors) > 1 and not np.isfinite(corners).any():
                corners = detectors[1].detect(image)
            found.append((moment, corners))
            with self._lock:
                self._done += 1
                if self._progress:
                    self._progress(self._done, self._planned)
        return found

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which cameras saw the board at the moments looked at, (M, C)."""
        return np.asarray(np.isfinite(self.corners[..., 0]).any(axis=-1))

    def runs(self, budget: int) -> NDArray[np.int64]:
        """Runs of moments where pairs of cameras saw the board, each time those that have shared least; none twice."""
        assert self.capture.fps is not None
        run, last = _run(self.capture.fps), len(self.capture.pictures) - 1
        first, second = np.triu_indices(self.cameras, 1)
        together = (self.seen[:, first] & self.seen[:, second]).astype(np.float64)  # (M, pairs)
        # A run is as good as all of it.
        close = np.abs(self.moments[:, None] - self.moments) <= run[-1]
        together = close @ together
        shared, free = np.zeros(len(first)), np.ones(len(self.moments))
        found = [np.zeros(0, dtype=np.int64)]
        for _ in range(budget // len(run)):
            score = free * (together @ (1 / (1 + shared)))
            best = int(score.argmax())
            if score[best] <= 0:
                break
            shared += together[best]
            free[np.abs(self.moments - self.moments[best]) < 2 * run[-1]] = 0
            found.append(np.clip(self.moments[best], run[-1], max(last - run[-1], run[-1])) + run)
        moments = np.unique(np.concatenate(found))
        return moments[(moments <= last) & ~np.isin(moments, self.moments)]

    def promising(self, budget: int) -> NDArray[np.int64]:
        """Moments between two that were looked at, where cameras or pairs that have few views are likely to have one."""
        seen = self.seen
        views = seen.sum(axis=0)
        common = seen.astype(np.int64).T @ seen
        needy = (views < _ENOUGH_VIEWS).astype(np.float64)
        needy_pairs = np.triu(common < _ENOUGH_COMMON, 1).astype(np.float64)
        between = (self.moments[:-1] + self.moments[1:]) // 2
        near = (seen[:-1] | seen[1:]).astype(np.float64)
        score = near @ needy + np.einsum("mc,cd,md->m", near, needy_pairs, near)
        score[between == self.moments[:-1]] = 0
        best = np.argsort(-score, kind="stable")[:budget]
        return np.sort(between[best[score[best] > 0]])


@contextmanager
def _threads_of_its_own() -> Iterator[None]:
    """Keep OpenCV from starting threads within each of ours."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """Up to `most` places among `count`, evenly spread, the first and the last among them."""
    return (
        np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
        if count
        else np.zeros(0, np.int64)
    )
