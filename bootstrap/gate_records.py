"""What the gates say of a round: alarms, and what is kept out of triangulation and labels for them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from posekit.keypoints import Keypoints2D

Kind = Literal["camera", "joint", "side", "time", "drift"]


@dataclass(frozen=True)
class GateSettings:
    """From where on evidence is an alarm. Every limit lies far above what undamaged captures show; see the reasons.

    min_comparisons, min_lengths: detections of a camera or a joint, and lengths of a bone, below which nothing is said.
    min_turn_degrees, residual_multiple: a camera has moved where turning it by this angle or more, and its picture by so many
    times what the other cameras leave among themselves, brings its detections to where these say. Rigs that were calibrated by
    hand err by 0.2 to 0.6 degrees, one that leaves 10 px on everybody by 1.5: that is a poor rig, which refining mends, and no
    knock. max_left_share: of the median error, that turning the camera may leave.
    min_late_frames, min_late_gain: a camera is out of step where shifting its detections by so many frames lowers their error
    by this share. Captures in step gave offsets of up to 1.2 frames that lowered it by up to 0.02.
    max_swapped_share: of the frames in which left and right can be told from each other.
    max_length_ratio: of a bone to that of a mean hand of the same size: people's hands differ by a tenth, keypoints of
    different detectors by up to 1.5 (a thumb's bones, of a hand that holds a board).
    max_length_spread: robust standard deviation of a bone's length beyond what the points' covariances explain, as a share of
    the length; a bone does not change its length. spread_multiple: and so many times that of the median bone, in metres.
    min_separation: of two joints that are no bone, as a share of the median bone: fingers that touch are half a bone apart.
    min_agreement: share of a joint's detections that agree with their point, as a share of the median joint's.
    min_matched: share of the frames with a detection of a camera in which it is somebody whom other cameras see, as a share of
    the median camera's.
    max_movement: median movement of labels from a second round on, as a share of B: within 0.1 B they are the same by half of
    what PCK calls right. max_spread_growth: of the bone lengths' spread, against the best round before.
    """

    min_comparisons: int = 40
    min_lengths: int = 10
    min_turn_degrees: float = 2.5
    residual_multiple: float = 3.0
    max_left_share: float = 0.6
    min_late_frames: float = 1.5
    min_late_gain: float = 0.05
    max_swapped_share: float = 0.5
    max_length_ratio: float = 1.7
    max_length_spread: float = 0.4
    spread_multiple: float = 3.0
    min_separation: float = 0.2
    min_agreement: float = 0.25
    min_matched: float = 0.25
    max_movement: float = 0.1
    max_spread_growth: float = 1.3


@dataclass(frozen=True)
class Alarm:
    """One thing that is wrong: which camera or joint, a sentence for the user, and the value that went beyond its limit."""

    kind: Kind
    camera: str | None
    joint: str | None
    message: str
    value: float
    limit: float


@dataclass(frozen=True)
class Gates:
    """What was found. remarks: what the evidence cannot tell, such as with two cameras.

    excluded_cameras, excluded_joints: what takes no part in triangulation and labels. A joint is one of an instance, such as
    ``index_4`` of both hands. mended_cameras: in which left and right are exchanged back.
    """

    alarms: tuple[Alarm, ...] = ()
    excluded_cameras: tuple[str, ...] = ()
    excluded_joints: tuple[str, ...] = ()
    mended_cameras: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __add__(self, other: "Gates") -> "Gates":
        def both(first: Sequence[Any], second: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(dict.fromkeys((*first, *second)))

        return Gates(
            both(self.alarms, other.alarms),
            both(self.excluded_cameras, other.excluded_cameras),
            both(self.excluded_joints, other.excluded_joints),
            both(self.mended_cameras, other.mended_cameras),
            both(self.remarks, other.remarks),
        )

    def as_json(self) -> dict[str, Any]:
        """Return what ``gates.json`` holds."""
        return {
            "schema": "posekit.gates/1",
            "alarms": [asdict(alarm) for alarm in self.alarms],
            "excluded_cameras": list(self.excluded_cameras),
            "excluded_joints": list(self.excluded_joints),
            "mended_cameras": list(self.mended_cameras),
            "remarks": list(self.remarks),
        }


def with_sides_exchanged(detections: Keypoints2D, cameras: Sequence[str]) -> Keypoints2D:
    """Return the detections with left and right exchanged in some cameras."""
    places = [detections.cameras.index(name) for name in cameras]
    if not places:
        return detections
    mirror = detections.skeleton.mirror
    xy, confidence = detections.xy.copy(), detections.confidence.copy()
    xy[:, places], confidence[:, places] = xy[:, places][..., mirror, :], confidence[:, places][..., mirror]
    return replace(detections, xy=xy, confidence=confidence)


def without(
    xy: NDArray[np.floating], confidence: NDArray[np.floating], taken_out: NDArray[np.bool_]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return detections (..., 2) and confidences (...) without those that are taken out (...)."""
    return np.where(taken_out[..., None], np.nan, xy), np.where(taken_out, 0, confidence)
