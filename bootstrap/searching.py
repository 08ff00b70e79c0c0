"""Looking for a subject in whole pictures, where no box says yet where it is: from the whole picture down in halves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.capture_pictures import camera_frames
from posekit.bootstrap.capture_tasks import cut_in_capture
from posekit.bootstrap.crop_files import large_crop_size, load_crops, save_samples
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
        images = cut_in_capture(capture, cameras, frames, labels.place[picked], labels.camera[picked], wide, large)
        save_samples(kept, crops_with_joints(images, wide, labels.joints_px[picked]))
    return load_crops(kept)


def search_boxes(
    capture: Capture,
    cameras: tuple[str, ...],
    frames: NDArray[np.int64],
    labels: LabelledInstances,
    detector: HandDetector,
    on_pictures: Callable[[int, int], None] | None = None,
) -> HandBox:
    """Find one subject in every picture, (F, C, 1) boxes: looks at the whole picture, then at half of it about what was found,
    and so on, down to boxes of the labels' usual size, in the same camera where there are any.

    detector: has learnt from `search_crops`.
    """
    centre, side = np.full((len(frames), len(cameras), 1, 2), np.nan), np.full((len(frames), len(cameras), 1), np.nan)
    done, total = 0, len(frames) * len(cameras)
    for c, camera in enumerate(cameras):
        own = labels.boxes.side[labels.camera == c]
        usual = float(np.median(own if len(own) else labels.boxes.side))
        for place, picture in camera_frames(capture, camera, frames):
            height, width = picture.shape[:2]
            middle = np.array([(width - 1) / 2, (height - 1) / 2])
            for look in _sides(max(width, height), usual)[:-1]:
                xy, _ = detector.detect_in_image(picture, HandBox(middle[None], np.array([look])))
                middle = np.median(xy[0], axis=0)
            centre[place, c, 0], side[place, c, 0] = middle, usual
            done += 1
            if on_pictures is not None:
                on_pictures(done, total)
    return HandBox(centre, side)
