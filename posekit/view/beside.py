"""A video and, beside it, the people in 3D that were made of it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.io.video import VideoReader
from posekit.keypoints import Keypoints3D
from posekit.view.overlay import draw_skeleton, write_caption

_GAP = 4

Image = UInt8[np.ndarray, "H W 3"]


def beside_video(
    scenes: Iterable[Image], keypoints: Keypoints3D, rows: Sequence[int], video: Path, rig: Rig | None = None
) -> Iterator[Image]:
    """Yield each picture of the scene with the video's frame of the same number to its left, as high as it.

    rows: those of the scenes, ascending by frame number. rig: with the camera that the video is of (its only one, or the one
    that has the video's name, or that of the keypoints' only camera), the people are drawn on the video, too.

    Raises PosekitError where the video lacks a frame, or the rig its camera.
    """
    reader = VideoReader(video)
    numbers = [int(keypoints.frames[row]) for row in rows]
    if numbers and (numbers[-1] >= reader.frame_count or numbers[0] < 0):
        raise PosekitError(
            f"{video}: has {reader.frame_count} frames, the people have frame {numbers[-1] if numbers[0] >= 0 else numbers[0]}"
        )
    camera = None if rig is None else _camera_of(video, keypoints, rig)
    for scene, row, (number, picture) in zip(scenes, rows, reader.select(numbers), strict=True):
        scale = scene.shape[0] / picture.shape[0]
        size = (max(1, round(picture.shape[1] * scale)), scene.shape[0])
        view = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        if rig is not None and camera is not None:
            for pixels, pale in zip(rig[camera].project(keypoints.xyz[row]), keypoints.made_up(row), strict=True):
                draw_skeleton(view, (pixels + 0.5) * scale - 0.5, keypoints.skeleton, filled=pale)
        write_caption(view, f"{video.stem}  frame {number}", legend=camera is not None)
        sheet = np.concatenate((view, np.full((len(view), _GAP, 3), 24, dtype=np.uint8), scene), axis=1)
        yield np.ascontiguousarray(sheet[:, : sheet.shape[1] - sheet.shape[1] % 2])  # video has even widths


def _camera_of(video: Path, keypoints: Keypoints3D, rig: Rig) -> str:
    for name in (video.stem, *(keypoints.cameras if len(keypoints.cameras) == 1 else ()), *rig.names[: len(rig) == 1]):
        if name in rig.names:
            return name
    raise PosekitError(f"{video}: is of no camera of {rig.source or 'the rig'} ({', '.join(rig.names)})")
