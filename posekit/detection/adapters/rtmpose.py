"""RTMPose, through rtmlib: people, people with feet, whole bodies with hands and face, or hands alone."""

import contextlib
import importlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from posekit.detection.adapters.found import FoundPeople, keypoints_of_view
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D
from posekit.skeleton import COCO_17, COCO_WHOLEBODY_133, HALPE_26, HAND_21, Skeleton

RtmposeKind = Literal["body", "body-with-feet", "wholebody", "hand"]


@dataclass(frozen=True)
class _Solution:
    """A class of rtmlib, the joints it finds, and the mode that posekit asks for."""

    name: str
    skeleton: Skeleton
    mode: str = "balanced"


SOLUTIONS: MappingProxyType[str, _Solution] = MappingProxyType(
    {
        "body": _Solution("Body", COCO_17),
        "body-with-feet": _Solution("BodyWithFeet", HALPE_26),
        "wholebody": _Solution("Wholebody", COCO_WHOLEBODY_133),
        "hand": _Solution("Hand", HAND_21, "lightweight"),
    }
)


class Rtmpose:
    """RTMPose's two networks, one that finds people (or hands) and one that finds their joints.

    rtmlib fetches both when they are first asked for, and keeps them on disk. kind "hand" does not tell left from right: its
    hands are slots of HAND_21. device: cpu or cuda.

    Raises PosekitError without rtmlib, or where the networks cannot be had.
    """

    def __init__(self, kind: RtmposeKind = "wholebody", device: Literal["cpu", "cuda"] = "cpu") -> None:
        try:
            rtmlib: Any = importlib.import_module("rtmlib")
        except ImportError as error:
            raise PosekitError(
                f"RTMPose needs rtmlib, which cannot be imported ({error}): pip install 'posekit[rtmpose]'"
            ) from None
        solution = SOLUTIONS[kind]
        self.kind = kind
        self.skeleton = solution.skeleton
        try:
            # It tells what it loads, on stdout, which is its caller's.
            with contextlib.redirect_stdout(io.StringIO()):
                self._solution = getattr(rtmlib, solution.name)(
                    mode=solution.mode, to_openpose=False, backend="onnxruntime", device=device
                )
        except AttributeError as error:
            raise PosekitError(f"RTMPose: this rtmlib has no {solution.name}; a newer one does: {error}") from None
        except Exception as error:  # urllib's, onnxruntime's and the archive's have no common class
            first = " ".join(str(error).split())[:200]
            raise PosekitError(
                f"RTMPose: rtmlib could not load its {kind} networks ({first}); it downloads them once"
            ) from error

    def detect(self, picture: UInt8[np.ndarray, "H W 3"]) -> FoundPeople:
        """Find everybody in an RGB picture. A confidence is the height of the joint's peak, at most 1."""
        bgr = np.ascontiguousarray(picture[..., ::-1])
        boxes = self._solution.det_model(bgr)
        if len(boxes) == 0:
            # Asked for joints in no box, rtmlib takes the whole picture for a person.
            J = self.skeleton.joint_count
            return FoundPeople(np.empty((0, J, 2)), np.empty((0, J)))
        xy, confidence = self._solution.pose_model(bgr, bboxes=boxes)
        return FoundPeople(np.asarray(xy, dtype=np.float64), np.clip(np.asarray(confidence, dtype=np.float64), 0, 1))


def detect_people(
    pictures: Iterable[UInt8[np.ndarray, "H W 3"]], camera: str, fps: float | None, detector: Rtmpose
) -> Keypoints2D:
    """Find everybody in the RGB pictures of one camera: (F, 1, P, J) of the detector's skeleton; frames are numbered from 0."""
    found = (detector.detect(picture) for picture in pictures)
    return keypoints_of_view(found, camera, detector.skeleton, fps, f"RTMPose {detector.kind}, {camera}")
