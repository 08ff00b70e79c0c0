"""The hands of a capture, as every camera should see them: boxes from the arms, detections, and their place in the arrays.

A hand is (person, side); arrays over hands have axes (F, C, H) with H = 2 P, the left hand of person 0 first.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.camera import Rig
from posekit.capture import Capture
from posekit.detection.hand_box import HandBox
from posekit.detection.hand_detector import HandDetector
from posekit.detection.projected_boxes import boxes_from_arms_in_space
from posekit.errors import PosekitError
from posekit.io.video import VideoReader
from posekit.keypoints import Keypoints2D
from posekit.people.reconstruction import Reconstruction
from posekit.skeleton import Skeleton, with_hands

SIDES = ("left", "right")


@dataclass(frozen=True, eq=False)
class HandDetections:
    """What a detector found: xy (F, C, H, 21, 2) px, NaN where there was no box; confidence (F, C, H, 21)."""

    xy: NDArray[np.float64]
    confidence: NDArray[np.float64]


def hand_joints(skeleton: Skeleton) -> NDArray[np.int64]:
    """Places of the 21 joints of the left and of the right hand, (2, 21)."""
    return np.stack([skeleton.part(f"{side}_hand") for side in SIDES])


def hands_of(keypoints: Keypoints2D) -> HandDetections:
    """Take the hands out of whole people's detections."""
    F, C, P = keypoints.confidence.shape[:3]
    if "left_hand" not in keypoints.skeleton.parts:
        shape = (F, C, 2 * P, 21)
        return HandDetections(np.full((*shape, 2), np.nan), np.zeros(shape))
    joints = hand_joints(keypoints.skeleton)
    return HandDetections(
        keypoints.xy[..., joints, :].reshape(F, C, 2 * P, 21, 2).astype(np.float64),
        keypoints.confidence[..., joints].reshape(F, C, 2 * P, 21).astype(np.float64),
    )


def with_new_hands(keypoints: Keypoints2D, hands: HandDetections, min_confidence: float, source: str) -> Keypoints2D:
    """Return whole people with these hands; hand joints less confident than `min_confidence` are dropped."""
    body = keypoints.skeleton
    full = body if "left_hand" in body.parts else with_hands(body)
    F, C, P = keypoints.confidence.shape[:3]
    xy = np.full((F, C, P, full.joint_count, 2), np.nan, dtype=np.float32)
    confidence = np.zeros((F, C, P, full.joint_count), dtype=np.float32)
    xy[..., : body.joint_count, :], confidence[..., : body.joint_count] = keypoints.xy, keypoints.confidence
    joints = hand_joints(full)
    sure = hands.confidence >= min_confidence
    xy[..., joints, :] = np.where(sure[..., None], hands.xy, np.nan).reshape(F, C, P, 2, 21, 2)
    confidence[..., joints] = np.where(sure, hands.confidence, 0).reshape(F, C, P, 2, 21)
    return replace(keypoints, xy=xy, confidence=confidence, skeleton=full, source=source)


def hand_boxes(result: Reconstruction, rig: Rig) -> HandBox:
    """Place a box around every hand in every view, (F, C, H), from the triangulated arm.

    The box has the size of a hand at the arm's distance, its centre lies beyond the wrist, its angle is the forearm's. The
    wrist is the view's own detection where that agrees with the triangulated one, since a rig's error would shift the box; else
    it is the triangulated wrist, so that a view whose body detector missed the arm has its box all the same.
    NaN where wrist or elbow have no 3D point, and where the box's centre lies outside the picture.
    """
    people, detections = result.people, result.detections
    boxes = []
    for name in SIDES:
        wrist_joint, elbow_joint = people.skeleton.index(f"{name}_wrist"), people.skeleton.index(f"{name}_elbow")
        wrist, elbow = people.xyz[:, :, wrist_joint], people.xyz[:, :, elbow_joint]  # (F, P, 3)
        length = np.broadcast_to(_median_over_frames(np.linalg.norm(wrist - elbow, axis=-1)), wrist.shape[:2])
        agrees = people.inliers[:, :, wrist_joint, :, None]
        seen = np.where(agrees, detections.xy[:, :, :, wrist_joint].swapaxes(1, 2), np.nan)  # (F, P, C, 2)
        boxes.append(boxes_from_arms_in_space(wrist, elbow, length, rig, name == "left", seen))

    def of_hands(values: list[NDArray[Any]]) -> NDArray[Any]:
        # (F, P, C, ...) of each side to (F, C, H, ...)
        both = np.moveaxis(np.stack(values, axis=2), 3, 1)
        return both.reshape(*both.shape[:2], -1, *both.shape[4:])

    centre, side, angle, left = (
        of_hands([getattr(box, n) for box in boxes]) for n in ("centre", "side", "angle", "left")
    )
    return HandBox(centre, side, angle, left)


def _median_over_frames(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median over the first axis without NaN; NaN where all are."""
    masked: NDArray[np.float64] = np.ma.median(np.ma.masked_invalid(values), axis=0).filled(np.nan)
    return masked


def camera_frames(capture: Capture, camera: str, frames: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (place in `frames`, RGB picture nearest to it) of one camera, in the order of the video; `frames` ascends.

    Raises PosekitError where the camera has no picture of one of them.
    """
    numbers = capture.video_frames(camera, frames)
    if (numbers < 0).any():
        raise PosekitError(f"{capture.videos[camera]}: has no picture of frame {frames[numbers < 0][0]}")
    for number, picture in VideoReader(capture.videos[camera]).select(numbers.tolist()):
        for place in np.flatnonzero(numbers == number).tolist():
            yield place, picture


def detect_hands(
    capture: Capture,
    cameras: tuple[str, ...],
    frames: NDArray[np.int64],
    boxes: HandBox,
    detector: HandDetector,
    on_frame: Callable[[], None] | None = None,
) -> HandDetections:
    """Run a detector on every box of every view; boxes (F, C, H). on_frame is called once per picture."""
    xy = np.full((*boxes.shape, 21, 2), np.nan)
    confidence = np.zeros((*boxes.shape, 21))
    for c, camera in enumerate(cameras):
        waiting: list[tuple[int, NDArray[np.uint8]]] = []

        def flush(c: int = c, waiting: list[tuple[int, NDArray[np.uint8]]] = waiting) -> None:
            # Several frames' hands in one pass: a network has nothing to do with two crops.
            places = [(f, int(h)) for f, _ in waiting for h in np.flatnonzero(boxes.found[f, c])]
            if places:
                pictures = dict(waiting)
                rows = np.array(places)
                found = detector.detect_in_image([pictures[f] for f, _ in places], boxes[rows[:, 0], c, rows[:, 1]])
                xy[rows[:, 0], c, rows[:, 1]], confidence[rows[:, 0], c, rows[:, 1]] = found
            waiting.clear()

        for f, picture in camera_frames(capture, camera, frames):
            waiting.append((f, picture))
            if len(waiting) == 16:
                flush()
            if on_frame:
                on_frame()
        flush()
    return HandDetections(xy, confidence)
