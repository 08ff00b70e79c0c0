"""Weight files: safetensors with everything a detector needs in their header."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

import posekit
from posekit.detection.detector_header import read_header, require_format, write_header
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError
from posekit.io.files import require_file, write_whole
from posekit.models.cpm import in_channels_last
from posekit.models.hand_networks import HAND_NETWORKS, SKELETON_NETWORKS
from posekit.skeleton import HAND_21, Skeleton

#: What a weight file may name as its architecture.
ARCHITECTURES = HAND_NETWORKS

#: The detector that comes with posekit, trained on synthetic hands alone.
LIGHT_HAND_WEIGHTS = Path(posekit.__file__).parent / "weights" / "hand-cpm-light.safetensors"


def save_detector(path: str | Path, detector: HandDetector, training: dict[str, Any] | None = None) -> None:
    """Write a detector, whole or not at all; its architecture must be one of `ARCHITECTURES`.

    training: how it was trained, anything JSON can hold. Convolutions are stored in float16 (their rounding is far below the
    noise of training), the small vectors in float32.
    """
    if detector.architecture not in (*ARCHITECTURES, *SKELETON_NETWORKS):
        raise PosekitError(
            f"{path}: unknown architecture '{detector.architecture}', expected one of: {', '.join(ARCHITECTURES)}"
        )
    if not isinstance(detector.model, torch.nn.Module):
        raise PosekitError(f"{path}: the detector to write is ONNX already; it has no weights to store as safetensors")
    tensors = {
        name: (value.half() if value.is_floating_point() and value.ndim > 1 else value).cpu().contiguous()
        for name, value in detector.model.state_dict().items()
    }
    with write_whole(path) as temporary:
        save_file(tensors, temporary, metadata=write_header(detector, training))


def load_detector(
    path: str | Path = LIGHT_HAND_WEIGHTS, skeleton: Skeleton | None = HAND_21, *, threads: int | None = None
) -> HandDetector:
    """Read a detector, of torch (.safetensors) or of ONNX (.onnx); without a path, the one that comes with posekit.

    skeleton: whose joints the detector must find; None takes any. threads: of onnxruntime, None for as many as torch has;
    torch's own are set by torch.
    Raises PosekitError for a file that is missing, damaged, of another format, or whose tensors do not fit its architecture.
    """
    path = Path(path)
    if path.suffix.lower() == ".onnx":
        # Imported here, since that module writes torch's detectors, too, and reads this module's header.
        from posekit.detection.onnx_network import load_onnx_detector

        return _of_skeleton(path, load_onnx_detector(path, threads), skeleton)
    words, tensors = _read(path)
    require_format(path, words)
    architecture = words.get("architecture", "")
    if architecture in SKELETON_NETWORKS:
        model = SKELETON_NETWORKS[architecture](read_header(path, words, 1).skeleton)
    elif architecture in ARCHITECTURES:
        model = ARCHITECTURES[architecture]()
    else:
        raise PosekitError(f"{path}: architecture: found '{architecture}', expected one of: {', '.join(ARCHITECTURES)}")
    model.load_state_dict(_checked(path, architecture, tensors, model.state_dict()))
    model = in_channels_last(model).eval().requires_grad_(False)
    header = read_header(path, words, model.stride)
    detector = HandDetector(
        model, header.crop_size, header.shapes, header.confidence, architecture=architecture, skeleton=header.skeleton
    )
    return _of_skeleton(path, detector, skeleton)


def _of_skeleton(path: Path, detector: HandDetector, expected: Skeleton | None) -> HandDetector:
    """Refuse a detector of other joints than are expected."""
    found = detector.skeleton
    if expected is not None and found.joints != expected.joints:
        raise PosekitError(
            f"{path}: skeleton: found {found.name} ({found.joint_count} joints), expected a detector of {expected.name} "
            f"({expected.joint_count} joints)"
        )
    return detector


def _checked(
    path: Path, architecture: str, tensors: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return a file's tensors in the types of its architecture's, or say which does not fit."""
    fitting = {}
    for name, value in expected.items():
        found = tensors.get(name)
        if found is None or found.shape != value.shape:
            shape = "nothing" if found is None else tuple(found.shape)
            raise PosekitError(f"{path}: tensor {name}: found {shape}, expected {tuple(value.shape)}")
        if not torch.isfinite(found.float()).all():
            raise PosekitError(f"{path}: tensor {name}: found values that are no numbers, expected finite ones")
        fitting[name] = found.to(value.dtype)
    if extra := sorted(set(tensors) - set(expected)):
        raise PosekitError(f"{path}: tensor {extra[0]}: found, but {architecture} has none of that name")
    return fitting


def read_training(path: str | Path = LIGHT_HAND_WEIGHTS) -> dict[str, Any]:
    """Return how the weights in a file were trained, as their maker wrote it down."""
    words, _ = _read(Path(path))
    training = json.loads(words.get("training", "{}"))
    return training if isinstance(training, dict) else {}


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    require_file(path, "the weights of a detector, .safetensors or .onnx")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise PosekitError(f"{path}: found no readable safetensors file: {str(error).splitlines()[0]}") from error
