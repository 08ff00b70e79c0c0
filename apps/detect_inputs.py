"""What ``posekit detect`` reads: the capture, and the bodies whose arms place the boxes of their hands."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.apps.in_step import keypoints_of_capture
from posekit.bootstrap.hand_views import hand_boxes
from posekit.calibration.formats import read_rig
from posekit.camera import match_camera_names
from posekit.capture import Capture
from posekit.detection.arms import boxes_from_bodies, require_arms
from posekit.detection.hand_box import ArmRule, HandBox
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.keypoint_files import open_keypoints
from posekit.io.timestamps import counts_moments
from posekit.io.video import VideoReader
from posekit.keypoints import Keypoints2D, KeypointSource
from posekit.people.camera_names import RenamedKeypoints, match_keypoint_cameras
from posekit.people.reconstruction import PeopleInCapture, ReconstructionSettings, triangulate_people


def open_capture(path: Path) -> Capture:
    """Open a folder of videos, or one video as a capture of one camera."""
    if path.is_dir():
        return Capture.open(path)
    video = VideoReader(path)
    count = video.frame_count
    return Capture(path.parent, {path.stem: path}, {path.stem: video.size}, video.fps, count, {path.stem: count})


def body_source(path: Path, capture: Capture, skeleton: str | None, rig: Path | None) -> KeypointSource:
    """Open the bodies' keypoints and check that each has its video, long enough, and that they have arms.

    A capture of one video takes keypoints of one view whatever the camera is called.
    """
    source = open_keypoints(path, skeleton, capture.fps, capture.sizes)
    require_arms(source.skeleton, str(path))
    if len(source.frames) == 0:
        raise PosekitError(f"{path}: holds no frame")
    if len(source.cameras) == 1 and len(capture.videos) == 1:
        return RenamedKeypoints(source, tuple(capture.videos))
    source = match_keypoint_cameras(source, tuple(capture.videos))
    for camera in source.cameras:
        if camera not in capture.videos:
            raise PosekitError(
                f"{path}: has camera '{camera}', {capture.folder} has no video of that name; it has: "
                f"{', '.join(capture.videos)}"
            )
    without = [camera for camera in capture.videos if camera not in source.cameras]
    if without:
        # Not a mistake: some cameras may film the face alone. But nobody should miss their hands unawares.
        warnings.warn(
            PosekitWarning(f"{path}: has no keypoints of {', '.join(without)}, whose videos are left out"), stacklevel=2
        )
    if capture.times is not None and counts_moments(source.source) and rig is None:
        raise PosekitError(f"{path}: counts moments, not frames of the videos; --rig says how its cameras are in step")
    return source


@dataclass(frozen=True)
class ArmsInPictures:
    """Boxes from the arms that each view sees."""

    capture: Capture
    bodies: KeypointSource
    rule: ArmRule
    steady_slots: bool = False

    def read(self, start: int, stop: int) -> tuple[Keypoints2D, HandBox]:
        """Return bodies and boxes of some frames."""
        keypoints = self.bodies.read(start, stop)
        return keypoints, boxes_from_bodies(keypoints, rule=self.rule)


@dataclass(frozen=True)
class ArmsInSpace:
    """Boxes from triangulated arms, in every view; where an arm has no 3D point, from what the view sees of it."""

    capture: Capture
    bodies: KeypointSource
    rule: ArmRule
    people: PeopleInCapture
    steady_slots: bool = True

    def read(self, start: int, stop: int) -> tuple[Keypoints2D, HandBox]:
        """Return people and boxes of some frames."""
        detections = self.people.detections(range(start, stop))
        result = triangulate_people(detections, self.people.rig, ReconstructionSettings(), self.people.agreement)
        projected, seen = hand_boxes(result, self.people.rig), boxes_from_bodies(detections, rule=self.rule)
        missing = ~projected.found

        def joined(name: str) -> NDArray[Any]:
            one, other = getattr(projected, name), getattr(seen, name)
            return np.where(missing[..., None] if one.ndim > missing.ndim else missing, other, one)

        return result.detections, HandBox(*(joined(name) for name in ("centre", "side", "angle", "left")))


#: Bodies piece by piece, with the boxes of their hands.
Arms = ArmsInPictures | ArmsInSpace


def people_source(
    bodies: KeypointSource, rig_path: Path | None, capture: Capture, rule: ArmRule, progress: "Progress"
) -> Arms:
    """Return where the boxes come from; with a rig, people are told apart and triangulated first."""
    if rig_path is None:
        return ArmsInPictures(_checked(capture, bodies), bodies, rule)
    rig = match_camera_names(read_rig(rig_path), bodies.cameras).select(bodies.cameras)
    for camera in bodies.cameras:
        rig.check_video_size(camera, capture.sizes[camera], str(capture.videos[camera]))
    capture = replace(capture, videos={camera: capture.videos[camera] for camera in bodies.cameras})
    capture = capture.in_step_with(rig)
    if capture.synchrony is not None:
        bodies = keypoints_of_capture(bodies, capture)
    return ArmsInSpace(_checked(capture, bodies), bodies, rule, PeopleInCapture(bodies, rig, None, progress.tell))


def _checked(capture: Capture, bodies: KeypointSource) -> Capture:
    for camera in bodies.cameras:
        missing = capture.video_frames(camera, bodies.frames) < 0
        if missing.any():
            raise PosekitError(
                f"{capture.videos[camera]}: has {capture.frame_counts[camera]} frames, the keypoints have frame "
                f"{bodies.frames[missing][0]}; a video as long as its keypoints was expected"
            )
    return capture


@dataclass
class Progress:
    """Shows how far the work is, and counts what it found. show: (what, done, total)."""

    show: Callable[[str, int, int], None]
    _cameras: dict[str, "_CameraCounts"] = field(default_factory=dict)

    def tell(self, what: str, done: int, total: int) -> None:
        """Show that some work is so far."""
        self.show(what, done, total)

    def count(
        self, cameras: tuple[str, ...], confidence: NDArray[np.floating], looked_for: NDArray[np.bool_] | None
    ) -> None:
        """Count frames of hands: confidence (F, C, H, J), 0 where there is none; looked_for (F, C, H)."""
        for c, camera in enumerate(cameras):
            counts = self._cameras.setdefault(camera, _CameraCounts())
            kept = confidence[:, c] > 0
            counts.frames += len(confidence)
            counts.found += int((kept.mean(axis=-1) >= 0.5).sum())
            counts.joints += int(kept.sum())
            counts.confidence += float(confidence[:, c].sum())
            if looked_for is not None:
                counts.looked_for = (counts.looked_for or 0) + int(looked_for[:, c].sum())

    def measured(self, seconds: float) -> dict[str, Any]:
        """Return the figures."""
        pictures = sum(counts.frames for counts in self._cameras.values())
        return {
            "pictures": pictures,
            "pictures_per_second": pictures / seconds,
            "cameras": {
                name: {
                    "frames": counts.frames,
                    "looked_for": counts.looked_for,
                    "found": counts.found,
                    "joints": counts.joints,
                    "mean_confidence": counts.confidence / counts.joints if counts.joints else None,
                }
                for name, counts in self._cameras.items()
            },
        }


@dataclass
class _CameraCounts:
    frames: int = 0
    found: int = 0
    joints: int = 0
    confidence: float = 0.0
    looked_for: int | None = None
