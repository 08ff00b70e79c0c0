"""Looking for a subject in whole pictures, where no box says yet where it is: from the whole picture down in halves."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.capture_tasks import Stretch, cut_in_capture, pictures_of, run_followed, stretches
from posekit.bootstrap.crop_files import large_crop_size, load_crops, save_samples
from posekit.bootstrap.engine import Engine
from posekit.bootstrap.labelled_frames import LabelledInstances
from posekit.bootstrap.labels import crops_with_joints
from posekit.capture import Capture
from posekit.detection.hand_box import HandBox
from posekit.detection.hand_detector import HandDetector
from posekit.training.samples import LabelledCrops

#: Every look shows this part of the side of the one before.
_ZOOM = 0.5

#: Crops that are cut around every label at every zoom but the closest, each with the subject at another place in it.
_CROPS_PER_ZOOM = 2


def _sides(whole: float, own: float) -> list[float]:
    """Sides of the boxes of a search, px: from the whole picture down to the subject's own."""
    looks = max(1, round(np.log(whole / own) / np.log(1 / _ZOOM)))
    return [float(side) for side in np.geomspace(whole, own, looks + 1)] if whole > own else [own]


def search_crops(
    labels: LabelledInstances,
    capture: Capture,
    cameras: tuple[str, ...],
    frames: NDArray[np.int64],
    size: int,
    seed: int,
    folder: Path,
    engine: Engine | None = None,
) -> LabelledCrops:
    """Cut the labelled instances as a search sees them on its way, once: ``searching.h5`` of the run folder."""
    kept = folder / "searching.h5"
    if not kept.exists():
        rng = np.random.default_rng((seed, len(labels)))
        rows, centres, sides = [], [], []
        for n, camera in enumerate(labels.camera.tolist()):
            width, height = capture.sizes[cameras[camera]]
            own = float(labels.boxes.side[n])
            whole, *closer = _sides(max(width, height), own)
            rows.append(n)
            centres.append(np.array([(width - 1) / 2, (height - 1) / 2]))
            sides.append(whole)
            for side in np.repeat(closer[:-1], _CROPS_PER_ZOOM).tolist():
                rows.append(n)
                # The look before was off by some of what this one shows.
                centres.append(labels.boxes.centre[n] + rng.uniform(-0.25, 0.25, 2) * side)
                sides.append(side)
        picked = np.array(rows)
        large = large_crop_size(size)
        wide = HandBox(np.stack(centres), np.array(sides) * large / size)
        images = cut_in_capture(
            capture, cameras, frames, labels.place[picked], labels.camera[picked], wide, large, engine
        )
        save_samples(kept, crops_with_joints(images, wide, labels.joints_px[picked]))
    return load_crops(kept)


@dataclass(frozen=True, eq=False)
class _Search:
    """What all tasks of a search share. sides: of the boxes that are looked at one after the other, of each camera."""

    capture: Capture
    cameras: tuple[str, ...]
    detector: HandDetector
    sides: tuple[tuple[float, ...], ...]


def search_boxes(
    capture: Capture,
    cameras: tuple[str, ...],
    frames: NDArray[np.int64],
    labels: LabelledInstances,
    detector: HandDetector,
    engine: Engine | None = None,
    on_pictures: Callable[[int, int], None] | None = None,
) -> HandBox:
    """Find one subject in every picture, (F, C, 1) boxes: looks at the whole picture, then at half of it about what was found,
    and so on, down to boxes of the labels' usual size, in the same camera where there are any.

    detector: has learnt from `search_crops`. engine and on_pictures: as in `detect_in_capture`.
    """
    centre, side = np.full((len(frames), len(cameras), 1, 2), np.nan), np.full((len(frames), len(cameras), 1), np.nan)
    for c in range(len(cameras)):
        own = labels.boxes.side[labels.camera == c]
        side[:, c] = np.median(own if len(own) else labels.boxes.side)
    sides = tuple(
        tuple(_sides(max(capture.sizes[camera]), float(side[0, c, 0]))[:-1]) for c, camera in enumerate(cameras)
    )
    spans = stretches(capture, cameras, frames, np.ones((len(frames), len(cameras)), dtype=np.bool_))
    shared = _Search(capture, cameras, detector, sides)
    for span, middle in run_followed(engine, _search_stretch, shared, spans, spans, on_pictures):
        centre[span.places, span.camera, 0] = middle
    return HandBox(centre, side)


def _search_stretch(shared: _Search, stretch: Stretch) -> NDArray[np.float64]:
    """Where the subject is in each picture of a stretch, (n, 2)."""
    centre = np.full((len(stretch.places), 2), np.nan)
    for at, picture in pictures_of(shared.capture, shared.cameras, stretch):
        height, width = picture.shape[:2]
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        for look in shared.sides[stretch.camera]:
            xy, _ = shared.detector.detect_in_image(picture, HandBox(middle[None], np.array([look])))
            middle = np.median(xy[0], axis=0)
        centre[at] = middle
    return centre
