"""Weight files: safetensors with everything a detector needs in their header."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

import posekit
from posekit.detection.confidence import ConfidenceCurve
from posekit.detection.decoding import BoneLengths
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError
from posekit.io.files import write_whole
from posekit.models.cpm import ConvolutionalPoseMachine, in_channels_last, light_hand_cpm, openpose_hand_cpm
from posekit.skeleton import HAND_21

FORMAT = "posekit hand detector 1"

ARCHITECTURES: dict[str, Callable[[], ConvolutionalPoseMachine]] = {
    "light_hand_cpm": light_hand_cpm,
    "openpose_hand_cpm": openpose_hand_cpm,
}

#: The detector that comes with posekit, trained on synthetic hands alone.
LIGHT_HAND_WEIGHTS = Path(posekit.__file__).parent / "weights" / "hand-cpm-light.safetensors"


def save_detector(path: str | Path, detector: HandDetector, training: dict[str, Any] | None = None) -> None:
    """Write a detector, whole or not at all; its architecture must be one of `ARCHITECTURES`.

    training: how it was trained, anything JSON can hold. Convolutions are stored in float16 (their rounding is far below the
    noise of training), the small vectors in float32.
    """
    if detector.architecture not in ARCHITECTURES:
        raise PosekitError(
            f"{path}: unknown architecture '{detector.architecture}', expected one of: {', '.join(ARCHITECTURES)}"
        )
    tensors = {
        name: (value.half() if value.is_floating_point() and value.ndim > 1 else value).contiguous()
        for name, value in detector.model.state_dict().items()
    }
    header = {
        "format": FORMAT,
        "architecture": detector.architecture,
        "crop_size": str(detector.crop_size),
        "skeleton": HAND_21.name,
        "joints": json.dumps(HAND_21.joints),
        "confidence_score": json.dumps(detector.confidence.score.tolist()),
        "confidence_probability": json.dumps(detector.confidence.probability.tolist()),
        "training": json.dumps(training or {}),
    }
    if detector.bone_lengths is not None:
        header["bone_longest"] = json.dumps(detector.bone_lengths.longest.tolist())
        header["bone_spread"] = json.dumps(detector.bone_lengths.spread)
    with write_whole(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_detector(path: str | Path = LIGHT_HAND_WEIGHTS) -> HandDetector:
    """Read a detector; without a path, the one that comes with posekit.

    Raises PosekitError for a file that is missing, damaged, of another format, or whose tensors do not fit its architecture.
    """
    path = Path(path)
    header, tensors = _read(path)
    if header.get("format") != FORMAT:
        raise PosekitError(f"{path}: format: found '{header.get('format', 'nothing')}', expected '{FORMAT}'")
    architecture = header.get("architecture", "")
    if architecture not in ARCHITECTURES:
        raise PosekitError(f"{path}: architecture: found '{architecture}', expected one of: {', '.join(ARCHITECTURES)}")
    model = ARCHITECTURES[architecture]()
    expected = model.state_dict()
    for name, value in expected.items():
        found = tensors.get(name)
        if found is None or found.shape != value.shape:
            shape = "nothing" if found is None else tuple(found.shape)
            raise PosekitError(f"{path}: tensor {name}: found {shape}, expected {tuple(value.shape)}")
        if not torch.isfinite(found.float()).all():
            raise PosekitError(f"{path}: tensor {name}: found values that are no numbers, expected finite ones")
        tensors[name] = found.to(value.dtype)
    if len(tensors) != len(expected):
        extra = sorted(set(tensors) - set(expected))[0]
        raise PosekitError(f"{path}: tensor {extra}: found, but {architecture} has none of that name")
    model.load_state_dict(tensors)
    model = in_channels_last(model).eval().requires_grad_(False)
    try:
        if json.loads(header["joints"]) != list(HAND_21.joints):
            raise ValueError(f"joints {header['joints'][:60]} are not those of {HAND_21.name}")
        size = int(header["crop_size"])
        if size <= 0 or size % math.lcm(16, model.stride):
            raise ValueError(f"crop_size {size} is no positive multiple of 16")
        curve = ConfidenceCurve(
            np.array(json.loads(header["confidence_score"])), np.array(json.loads(header["confidence_probability"]))
        )
        lengths = None
        if "bone_longest" in header:
            longest = np.array(json.loads(header["bone_longest"]))
            lengths = BoneLengths(HAND_21, longest, float(json.loads(header["bone_spread"])))
    except KeyError as error:
        raise PosekitError(f"{path}: header: found no {error}, expected one") from error
    except (ValueError, TypeError) as error:
        raise PosekitError(f"{path}: header: {error}") from error
    return HandDetector(model, size, lengths, curve, architecture=architecture)


def read_training(path: str | Path = LIGHT_HAND_WEIGHTS) -> dict[str, Any]:
    """Return how the weights in a file were trained, as their maker wrote it down."""
    header, _ = _read(Path(path))
    training = json.loads(header.get("training", "{}"))
    return training if isinstance(training, dict) else {}


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise PosekitError(f"{path}: found no such file, expected the weights of a hand detector (.safetensors)")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise PosekitError(f"{path}: found no readable safetensors file: {str(error).splitlines()[0]}") from error
