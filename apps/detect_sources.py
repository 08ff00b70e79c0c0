"""Keypoints that are detected when they are read, frame after frame: an hour of video in the memory of a minute."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.apps.detect_inputs import Arms, Progress
from posekit.bootstrap.capture_pictures import camera_frames
from posekit.bootstrap.hand_target import HandTarget
from posekit.bootstrap.instances import InstanceDetections
from posekit.capture import Capture
from posekit.detection.adapters.found import HANDS_42
from posekit.detection.hand_detector import HandDetector
from posekit.detection.hands_in_views import HandsOfBodies, LoneHands, LoneHandSettings
from posekit.keypoints import Keypoints2D
from posekit.skeleton import HAND_21, with_hands

_WORK = "detecting"


def _frame_pictures(capture: Capture, cameras: tuple[str, ...], frames: NDArray[np.int64]) -> Iterator[list[Any]]:
    """Yield the pictures of all cameras, frame after frame; raises PosekitError where a camera has no such picture."""
    readers = [camera_frames(capture, camera, frames) for camera in cameras]
    for pictures in zip(*readers, strict=True):
        yield [picture for _, picture in pictures]


class HandsBehindBodies:
    """A `KeypointSource` of bodies with their hands. It is read once, from the first frame to the last."""

    def __init__(
        self,
        capture: Capture,
        detector: HandDetector,
        arms: Arms,
        min_confidence: float,
        source: str,
        progress: Progress,
    ) -> None:
        self._arms, self._min_confidence, self._progress = arms, min_confidence, progress
        self.cameras, self.frames = arms.bodies.cameras, arms.bodies.frames
        body = arms.bodies.skeleton
        self.skeleton = body if "left_hand" in body.parts else with_hands(body)
        self.fps = arms.bodies.fps or capture.fps
        self.source = source
        self._finder = HandsOfBodies(detector, steady_slots=arms.steady_slots)
        self._pictures = _frame_pictures(arms.capture, self.cameras, self.frames)

    def read(self, start: int, stop: int) -> Keypoints2D:
        """Detect the hands of ``frames[start:stop]``, which must be the next ones."""
        bodies, boxes = self._arms.read(start, stop)
        xy = np.full((*boxes.shape, 21, 2), np.nan)
        confidence = np.zeros((*boxes.shape, 21))
        for f in range(stop - start):
            xy[f], confidence[f] = self._finder.step(next(self._pictures), bodies.xy[f], boxes[f])
            self._progress.tell(_WORK, start + f + 1, len(self.frames))
        sure = np.where(confidence >= self._min_confidence, confidence, 0)
        self._progress.count(self.cameras, sure, boxes.found)
        return HandTarget().put(bodies, InstanceDetections(xy, confidence), self._min_confidence, self.source)


class HandsAnywhere:
    """A `KeypointSource` of hands that are searched for and followed. It is read once, from the first frame to the last.

    A slot holds a hand for as long as it is followed. sides: as one of the two of `HANDS_42`, by what it was taken for in the
    frame; else of HAND_21, which tells no side.
    """

    def __init__(
        self,
        capture: Capture,
        detector: HandDetector,
        hands: int,
        min_confidence: float,
        source: str,
        progress: Progress,
        *,
        sides: bool = False,
    ) -> None:
        self._min_confidence, self._progress, self._sides = min_confidence, progress, sides
        self.cameras, self.frames = tuple(capture.videos), np.arange(capture.frame_count)
        self.skeleton = HANDS_42 if sides else HAND_21
        self.fps, self.source = capture.fps, f"{source} + {capture.folder}"
        self._finder = LoneHands(detector, LoneHandSettings(hands=hands))
        self._pictures: Iterator[list[Any]] = _frame_pictures(capture, self.cameras, self.frames)

    def read(self, start: int, stop: int) -> Keypoints2D:
        """Detect the hands of ``frames[start:stop]``, which must be the next ones."""
        found = []
        for f in range(start, stop):
            found.append(self._finder.step(next(self._pictures)))
            self._progress.tell(_WORK, f + 1, len(self.frames))
        xy, confidence, left = (np.stack(values) for values in zip(*found, strict=True))
        confidence = np.where(confidence >= self._min_confidence, confidence, 0)
        self._progress.count(self.cameras, confidence, None)
        if self._sides:
            here = np.stack([left, ~left], axis=-1)[..., None]  # (F, C, H, 2, 1), in the order of HANDS_42
            xy = np.where(here[..., None], xy[..., None, :, :], np.nan).reshape(*left.shape, -1, 2)
            confidence = np.where(here, confidence[..., None, :], 0).reshape(*left.shape, -1)
        return Keypoints2D(xy, confidence, self.cameras, self.frames[start:stop], self.skeleton, self.fps, self.source)
