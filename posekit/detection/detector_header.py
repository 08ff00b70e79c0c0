"""What a weight file says of its detector besides the weights: the same words in a safetensors file and in an ONNX file."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posekit.detection.confidence import UNFITTED, ConfidenceCurve
from posekit.detection.hand_detector import HandDetector
from posekit.detection.hand_shapes import HandShapes, usual_hand_shapes
from posekit.errors import PosekitError
from posekit.skeleton import HAND_21, Skeleton, defined_skeleton, skeleton_definition

FORMAT = "posekit hand detector 1"

#: Of a detector of something else: an animal, a tool, a body.
OTHER_FORMAT = "posekit detector 1"

#: How the joints are decoded: to the shapes of hands that come with posekit, or each alone.
_SHAPES, _ALONE = "shapes", "alone"


@dataclass(frozen=True, eq=False)
class DetectorHeader:
    """A header that was read: crop_size px, the shapes joints must make (or none), the confidence curve, how it was trained.

    skeleton: whose joints the maps are.
    """

    architecture: str
    crop_size: int
    shapes: HandShapes | None
    confidence: ConfidenceCurve
    training: dict[str, Any]
    skeleton: Skeleton = HAND_21


def write_header(detector: HandDetector, training: dict[str, Any] | None = None) -> dict[str, str]:
    """Return the header of a detector, words to words. training: how it was trained, anything JSON can hold."""
    skeleton = detector.skeleton
    return {
        "format": FORMAT if skeleton == HAND_21 else OTHER_FORMAT,
        "architecture": detector.architecture,
        "crop_size": str(detector.crop_size),
        "skeleton": skeleton.name,
        "joints": json.dumps(skeleton.joints),
        **({} if skeleton == HAND_21 else {"definition": skeleton_definition(skeleton)}),
        "decoding": _ALONE if detector.shapes is None else _SHAPES,
        "confidence_score": json.dumps(detector.confidence.score.tolist()),
        "confidence_probability": json.dumps(detector.confidence.probability.tolist()),
        "training": json.dumps(training or {}),
    }


def require_format(path: Path, header: dict[str, str]) -> None:
    """Refuse a file that is no detector of posekit's."""
    if header.get("format") not in (FORMAT, OTHER_FORMAT):
        raise PosekitError(f"{path}: format: found '{header.get('format', 'nothing')}', expected '{FORMAT}'")


def read_header(path: Path, header: dict[str, str], stride: int) -> DetectorHeader:
    """Read a header; stride: of its network, px per cell. Raises PosekitError where something is missing or does not fit."""
    require_format(path, header)
    try:
        skeleton = _skeleton(header)
        size = int(header["crop_size"])
        multiple = math.lcm(16, stride)
        if size <= 0 or size % multiple:
            raise ValueError(f"crop_size {size} is no positive multiple of {multiple}")
        curve = ConfidenceCurve(
            np.array(json.loads(header["confidence_score"])), np.array(json.loads(header["confidence_probability"]))
        )
        decoding = header.get("decoding")
        if decoding not in (_SHAPES, _ALONE, None):
            raise ValueError(f"decoding is '{decoding}', expected '{_SHAPES}' or '{_ALONE}'")
        if decoding is None:
            # Of an older posekit, whose curve is of the peaks' heights, and not of this decoding's scores.
            curve = UNFITTED
        training = json.loads(header.get("training", "{}"))
        architecture = header["architecture"]
    except KeyError as error:
        raise PosekitError(f"{path}: header: found no {error}, expected one") from error
    except (ValueError, TypeError) as error:
        raise PosekitError(f"{path}: header: {error}") from error
    shapes = None if decoding == _ALONE or skeleton != HAND_21 else usual_hand_shapes()
    return DetectorHeader(architecture, size, shapes, curve, training if isinstance(training, dict) else {}, skeleton)


def _skeleton(header: dict[str, str]) -> Skeleton:
    """The hand, or what a header of another detector defines; ValueError where the joints are not the hand's."""
    joints = tuple(json.loads(header["joints"]))
    if header["format"] == FORMAT:
        if joints != HAND_21.joints:
            raise ValueError(f"joints {header['joints'][:60]} are not those of {HAND_21.name}")
        return HAND_21
    return defined_skeleton(header["skeleton"], joints, header["definition"])
