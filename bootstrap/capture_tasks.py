"""The pictures of a capture as tasks that depend on nothing of each other: a stretch of time of one camera each."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.capture_pictures import numbered_pictures, passes, picture_numbers
from posekit.bootstrap.engine import Engine, HereEngine
from posekit.bootstrap.instances import InstanceDetections
from posekit.capture import Capture
from posekit.detection.hand_box import HandBox, cut_crops
from posekit.detection.hand_detector import HandDetector
from posekit.io.video import KeyFrame

#: Frames of a task. Small enough that all cores have something to do, and that progress is seen; large enough that opening
#: the video and decoding from the key frame before the first is a small part.
FRAMES_PER_TASK = 128

#: Frames whose boxes go through the network together: it has nothing to do with two crops.
_FRAMES_TOGETHER = 16


@dataclass(frozen=True)
class Stretch:
    """Some frames of one camera.

    camera: index. places: (n,) ascending places in the run's frames. numbers: (n,) of these in the camera's video, ascending.
    key_frame: where decoding begins; None for the start of the video.
    """

    camera: int
    places: NDArray[np.int64]
    numbers: NDArray[np.int64]
    key_frame: KeyFrame | None


def stretches(
    capture: Capture,
    cameras: Sequence[str],
    frames: NDArray[np.int64],
    wanted: NDArray[np.bool_],
    frames_per_task: int = FRAMES_PER_TASK,
) -> list[Stretch]:
    """Divide the wanted pictures (F, C) of a capture into tasks; `frames` (F,) ascends.

    Raises PosekitError where a camera has no picture of a wanted frame.
    """
    tasks = []
    for c, camera in enumerate(cameras):
        places = np.flatnonzero(wanted[:, c])
        numbers = picture_numbers(capture, camera, frames[places])
        tasks += [
            Stretch(c, places[part], numbers[part], key_frame)
            for part, key_frame in passes(capture, camera, numbers, frames_per_task)
        ]
    return tasks


@dataclass(frozen=True, eq=False)
class _Detection:
    """What all tasks of a detection share."""

    capture: Capture
    cameras: tuple[str, ...]
    detector: HandDetector


def detect_in_capture(
    capture: Capture,
    cameras: tuple[str, ...],
    frames: NDArray[np.int64],
    boxes: HandBox,
    detector: HandDetector,
    engine: Engine | None = None,
    on_pictures: Callable[[int, int], None] | None = None,
    *,
    frames_per_task: int = FRAMES_PER_TASK,
) -> InstanceDetections:
    """Run a detector on every box of every view; boxes (F, C, H). The result is the same bit for bit with any engine.

    Pictures without a box are not looked at. engine: threads of this process if not given. on_pictures: called with the
    pictures that are done and those there are in all.
    """
    found = InstanceDetections(
        np.full((*boxes.shape, detector.model.joints, 2), np.nan), np.zeros((*boxes.shape, detector.model.joints))
    )
    spans = stretches(capture, cameras, frames, np.asarray(boxes.found.any(axis=2)), frames_per_task)
    tasks = [(span, boxes[span.places, span.camera]) for span in spans]
    shared = _Detection(capture, cameras, detector)
    for span, result in run_followed(engine, _detect_stretch, shared, tasks, spans, on_pictures):
        found.xy[span.places, span.camera], found.confidence[span.places, span.camera] = result
    return found


def pictures_of(
    capture: Capture, cameras: tuple[str, ...], stretch: Stretch
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (place in the stretch, RGB picture), in the order of the video.

    One thread decodes: there are as many tasks at a time as cores.
    """
    return numbered_pictures(capture, cameras[stretch.camera], stretch.numbers, stretch.key_frame, threads=1)


def _detect_stretch(
    shared: _Detection, task: tuple[Stretch, HandBox]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    stretch, boxes = task
    joints = shared.detector.model.joints
    xy, confidence = np.full((*boxes.shape, joints, 2), np.nan), np.zeros((*boxes.shape, joints))
    pictures = pictures_of(shared.capture, shared.cameras, stretch)
    while some := list(itertools.islice(pictures, _FRAMES_TOGETHER)):
        places = [(index, h) for index, _ in some for h in np.flatnonzero(boxes.found[index]).tolist()]
        picture_of = dict(some)
        at, h = np.array(places).T
        xy[at, h], confidence[at, h] = shared.detector.detect_in_image([picture_of[i] for i, _ in places], boxes[at, h])
    return xy, confidence


@dataclass(frozen=True, eq=False)
class _Cutting:
    """What all tasks of cutting crops share. size: px."""

    capture: Capture
    cameras: tuple[str, ...]
    size: int


def cut_in_capture(
    capture: Capture,
    cameras: tuple[str, ...],
    frames: NDArray[np.int64],
    place: NDArray[np.int64],
    camera: NDArray[np.int64],
    boxes: HandBox,
    size: int,
    engine: Engine | None = None,
    on_pictures: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """Cut N crops of `size` px out of the videos, (N, size, size, 3): crop n from frames[place[n]] of cameras[camera[n]].

    boxes: (N,). engine and on_pictures: as in `detect_in_capture`.
    """
    images = np.zeros((len(place), size, size, 3), dtype=np.uint8)
    wanted = np.zeros((len(frames), len(cameras)), dtype=np.bool_)
    wanted[place, camera] = True
    spans = stretches(capture, cameras, frames, wanted)
    rows = [np.flatnonzero((camera == span.camera) & np.isin(place, span.places)) for span in spans]
    tasks = [
        (span, np.searchsorted(span.places, place[mine]), boxes[mine]) for span, mine in zip(spans, rows, strict=True)
    ]
    shared = _Cutting(capture, cameras, size)
    of_span = {id(span): mine for span, mine in zip(spans, rows, strict=True)}
    for span, crops in run_followed(engine, _cut_stretch, shared, tasks, spans, on_pictures):
        images[of_span[id(span)]] = crops
    return images


def _cut_stretch(shared: _Cutting, task: tuple[Stretch, NDArray[np.int64], HandBox]) -> NDArray[np.uint8]:
    stretch, index, boxes = task
    crops = np.zeros((len(index), shared.size, shared.size, 3), dtype=np.uint8)
    for at, picture in pictures_of(shared.capture, shared.cameras, stretch):
        here = np.flatnonzero(index == at)
        crops[here] = cut_crops(picture, boxes[here], shared.size)
    return crops


def run_followed(
    engine: Engine | None,
    work: Callable[[Any, Any], Any],
    shared: Any,
    tasks: Sequence[Any],
    spans: Sequence[Stretch],
    on_pictures: Callable[[int, int], None] | None,
) -> Iterator[tuple[Stretch, Any]]:
    """Yield (stretch, result) of every task as it ends, and tell how many pictures are done.

    work(shared, task), spans: the stretch of each task. engine and on_pictures: as in `detect_in_capture`.
    """
    done, total = 0, sum(len(span.places) for span in spans)
    for place, result in (engine or HereEngine()).run(work, shared, tasks):
        yield spans[place], result
        done += len(spans[place].places)
        if on_pictures is not None:
            on_pictures(done, total)
