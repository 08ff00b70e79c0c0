"""A trained lifter: from 2D keypoints of one view to 3D, frame by frame; and its weight file.

A file is safetensors, with everything that a lifter needs besides its weights in the header.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import posekit
from posekit.errors import PosekitError
from posekit.io.files import write_whole
from posekit.lifting.kcs import bone_matrix
from posekit.lifting.networks import build_generator
from posekit.lifting.normalisation import mean_bone_length, normalise_views
from posekit.lifting.settings import RepNetSettings
from posekit.lifting.skeletons import LIFTER_15, REPNET_16
from posekit.lifting.windows import window_rows
from posekit.models.repnet import PublishedGenerator, ViewGenerator
from posekit.skeleton import Skeleton

FORMAT = "posekit lifter 1"

#: What a weight file may name as its skeleton.
SKELETONS = {skeleton.name: skeleton for skeleton in (LIFTER_15, REPNET_16)}

#: The lifter that comes with posekit, trained on motion capture alone, without one pair of 2D and 3D.
LIFTER_WEIGHTS = Path(posekit.__file__).parent / "weights" / "lifter.safetensors"

#: Bones of people are between these, on average, in metres.
_MEAN_BONE = (0.05, 1.0)

#: Poses that go through the network at once: their layers still fit into a processor's cache.
_BATCH = 2048
#: Fewer joints than this say nothing about a body, and neither do joints all in one point.
LEAST_JOINTS = 3
#: A joint of less confidence than this share of the pose's mean counts as not seen. It is small: OpenPose's guess at the
#: nose of somebody who turns his back (a fifth of the mean) says more than no nose.
_DOUBTED = 0.05
#: What is left of the confidence of a joint that the view does not show, and the network made up.
_UNSEEN_CONFIDENCE = 0.2


@dataclass(frozen=True, eq=False)
class LiftedPoses:
    """People as a lifter sees them, N of them.

    xyz: (N, J, 3) metres in camera axes (x right, y down, z away from the camera), centred on mid_hip, of a person of mean
    height; NaN for a pose of which too little was seen. px_per_metre: (N,), how many px of the view a metre of xyz is at
    the depth of the body; NaN there. confidence: (N, J), 0 there.
    """

    xyz: Float[np.ndarray, "N J 3"]
    px_per_metre: Float[np.ndarray, " N"]
    confidence: Float[np.ndarray, "N J"]


@dataclass(frozen=True, eq=False)
class Lifter:
    """A lifter. mean_bone: mean length, in metres, of the skeleton's bones in a person of mean height."""

    skeleton: Skeleton
    settings: RepNetSettings
    generator: PublishedGenerator | ViewGenerator
    mean_bone: float

    def lift(
        self,
        xy: Float[np.ndarray, "N J 2"],
        confidence: Float[np.ndarray, "N J"] | None = None,
        *,
        mirrored: bool = True,
    ) -> LiftedPoses:
        """Lift 2D poses.

        xy: px of an undistorted picture, y down, any scale and offset; NaN where a joint was not seen. confidence: 0 to 1;
        a joint with 0, or far less than the pose's others, counts as not seen; 1 everywhere if not given. What was not seen is
        given the place that fits the rest best, with little confidence. A pose with fewer than `LEAST_JOINTS` joints is NaN
        with confidence 0. mirrored: lift each pose's mirror image, too, and give the mean of both; it is exacter, and takes
        twice as long.

        A temporal lifter (``settings.frames`` above 1) takes the poses for those of one person in consecutive frames, and lifts
        each from the frames around it as well; at the ends the first and the last repeat, and a frame in which nobody was seen
        is all NaN. It was trained at 30 frames a second.

        Raises PosekitError where the arrays do not hold the lifter's joints.
        """
        checked = self._checked(xy, confidence)
        return self._lift_rows(*checked, window_rows(len(checked[0]), self.settings.frames), mirrored)

    @property
    def window(self) -> int:
        """How many consecutive frames it is shown, of which it lifts the middle one."""
        return self.settings.frames

    def lift_windows(
        self,
        xy: Float[np.ndarray, "N T J 2"],
        confidence: Float[np.ndarray, "N T J"],
        *,
        mirrored: bool = True,
    ) -> LiftedPoses:
        """Lift the middle frames of windows that have nothing to do with each other; else as `lift`.

        Raises PosekitError where windows are not of ``settings.frames`` frames.
        """
        frames = self.settings.frames
        if xy.ndim != 4 or xy.shape[1] != frames or confidence.shape != xy.shape[:3]:
            raise PosekitError(
                f"lift: found windows of shape {xy.shape}, confidence of {confidence.shape}, expected {frames} frames each"
            )
        checked = self._checked(xy.reshape(-1, *xy.shape[2:]), confidence.reshape(-1, xy.shape[2]))
        return self._lift_rows(*checked, np.arange(len(xy) * frames).reshape(-1, frames), mirrored)

    def _lift_rows(
        self,
        given: NDArray[np.float32],
        there: NDArray[np.float32],
        weight: NDArray[np.float32],
        windows: NDArray[np.int64],
        mirrored: bool,
    ) -> LiftedPoses:
        """Lift what is in the middle of windows, (N, T) rows of the arrays that `_checked` gives."""
        middle = windows[:, windows.shape[1] // 2]
        shown, weight = there[middle], weight[middle]
        enough = shown.sum(axis=1) >= LEAST_JOINTS
        poses = np.full((len(windows), self.skeleton.joint_count, 3), np.nan, dtype=np.float32)
        px_per_metre = np.full(len(windows), np.nan, dtype=np.float32)
        rows = np.flatnonzero(enough)
        matrix = bone_matrix(self.skeleton.bones, self.skeleton.joint_count)
        with torch.inference_mode():
            for start in range(0, len(rows), _BATCH):
                chosen = rows[start : start + _BATCH]
                some = torch.from_numpy(given[windows[chosen]]), torch.from_numpy(there[windows[chosen]])
                lifted, metre = self._lift(*some, matrix, mirrored)
                poses[chosen], px_per_metre[chosen] = lifted.numpy(), metre.numpy()
        usual = np.where(shown > 0, weight, _UNSEEN_CONFIDENCE * weight.max(axis=1, keepdims=True, initial=0.0))
        return LiftedPoses(poses, px_per_metre, np.where(enough[:, None], usual, 0).astype(np.float32))

    def _lift(self, xy: Tensor, there: Tensor, matrix: Tensor, mirrored: bool) -> tuple[Tensor, Tensor]:
        """Return poses (n, J, 3) in metres and px per metre (n,), of windows (n, T, J, 2)."""
        normalised, _, scale = normalise_views(xy, there)
        pose = self._in_units_of_view(normalised, there)
        if mirrored:
            other = torch.from_numpy(self.skeleton.mirror.copy())
            flip = pose.new_tensor((-1.0, 1.0, 1.0))
            image = self._in_units_of_view(normalised[:, :, other] * flip[:2], there[:, :, other])
            pose = (pose + image[:, other] * flip) / 2
        metre = mean_bone_length(pose, matrix).clamp(min=1e-6) / self.mean_bone
        centred = pose - pose[:, self.skeleton.index("mid_hip"), None]
        return centred / metre, (scale[:, scale.shape[1] // 2] * metre)[:, 0, 0]

    def _in_units_of_view(self, xy: Tensor, there: Tensor) -> Tensor:
        """Return poses in camera axes, as large as the normalised view shows them."""
        lifted = self.generator(xy, there)
        pose = lifted.in_camera_axes()
        if lifted.cameras is None:
            return pose
        # A weak-perspective camera is a rotation's first two rows times how large it shows people.
        return pose * (lifted.cameras.square().sum(dim=(1, 2), keepdim=True) / 2).sqrt()

    def _checked(
        self, xy: NDArray[np.floating], confidence: NDArray[np.floating] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        given = np.array(xy, dtype=np.float64)
        joints = self.skeleton.joint_count
        if given.ndim != 3 or given.shape[1:] != (joints, 2):
            raise PosekitError(f"lift: found keypoints of shape {given.shape}, expected (poses, {joints}, 2) px")
        weight = np.ones(given.shape[:2]) if confidence is None else np.array(confidence, dtype=np.float64)
        if weight.shape != given.shape[:2]:
            raise PosekitError(f"lift: found confidence of shape {weight.shape}, expected {given.shape[:2]}")
        there = np.isfinite(given).all(axis=-1) & (weight > 0)
        usual = np.where(there, weight, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        there &= weight >= _DOUBTED * usual[:, None]
        # Far from the origin, float32 would round a person's shape away.
        origin = np.where(there[..., None], given, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)[:, None]
        given = np.where(there[..., None], given - origin[:, None], 0)
        return given.astype(np.float32), there.astype(np.float32), np.where(there, weight, 0).astype(np.float32)


def save_lifter(path: str | Path, lifter: Lifter, training: dict[str, Any] | None = None) -> None:
    """Write a lifter, whole or not at all. training: how it was trained, anything JSON can hold."""
    tensors = {name: value.cpu().contiguous() for name, value in lifter.generator.state_dict().items()}
    header = {
        "format": FORMAT,
        "skeleton": lifter.skeleton.name,
        "joints": json.dumps(lifter.skeleton.joints),
        "mean_bone": repr(lifter.mean_bone),
        "settings": json.dumps(asdict(lifter.settings)),
        "training": json.dumps(training or {}),
    }
    with write_whole(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_lifter(path: str | Path = LIFTER_WEIGHTS) -> Lifter:
    """Read a lifter; without a path, the one that comes with posekit.

    Raises PosekitError for a file that is missing, damaged, of another format, or whose tensors do not fit its settings.
    """
    path = Path(path)
    header, tensors = _read(path)
    skeleton, settings, mean_bone = _described(path, header)
    generator = build_generator(skeleton, settings)
    expected = generator.state_dict()
    for name, value in expected.items():
        found = tensors.get(name)
        if found is None or found.shape != value.shape:
            shape = "nothing" if found is None else tuple(found.shape)
            raise PosekitError(f"{path}: tensor {name}: found {shape}, expected {tuple(value.shape)}")
        if not torch.isfinite(found).all():
            raise PosekitError(f"{path}: tensor {name}: found values that are no numbers, expected finite ones")
    if extra := sorted(set(tensors) - set(expected)):
        raise PosekitError(f"{path}: tensor {extra[0]}: found, but a lifter of its settings has none of that name")
    generator.load_state_dict(tensors)
    return Lifter(skeleton, settings, generator.eval().requires_grad_(False), mean_bone)


def read_lifter_training(path: str | Path = LIFTER_WEIGHTS) -> dict[str, Any]:
    """Return how the weights in a file were trained, as their maker wrote it down."""
    header, _ = _read(Path(path))
    training = json.loads(header.get("training", "{}"))
    return training if isinstance(training, dict) else {}


def _described(path: Path, header: dict[str, str]) -> tuple[Skeleton, RepNetSettings, float]:
    if header.get("format") != FORMAT:
        raise PosekitError(f"{path}: format: found '{header.get('format', 'nothing')}', expected '{FORMAT}'")
    try:
        name = header["skeleton"]
        if name not in SKELETONS:
            raise ValueError(f"skeleton is '{name}', expected one of: {', '.join(SKELETONS)}")
        if json.loads(header["joints"]) != list(SKELETONS[name].joints):
            raise ValueError(f"joints {header['joints'][:60]} are not those of {name}")
        mean_bone = float(header["mean_bone"])
        if not _MEAN_BONE[0] <= mean_bone <= _MEAN_BONE[1]:
            raise ValueError(f"mean_bone is {mean_bone:g} m, expected {_MEAN_BONE[0]:g} to {_MEAN_BONE[1]:g}")
        settings = _settings(json.loads(header["settings"]))
    except KeyError as error:
        raise PosekitError(f"{path}: header: found no {error}, expected one") from error
    except (ValueError, TypeError, PosekitError) as error:
        raise PosekitError(f"{path}: header: {error}") from error
    return SKELETONS[name], settings, mean_bone


def _settings(stored: dict[str, Any]) -> RepNetSettings:
    known = {field.name for field in fields(RepNetSettings)}
    if not isinstance(stored, dict) or not set(stored) <= known:
        raise ValueError(f"settings are {str(stored)[:80]}, expected those of a RepNet of posekit's")
    # JSON knows no tuples.
    values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in stored.items()}
    settings = RepNetSettings(**values)
    if settings.generator not in ("published", "view") or not (
        0 < settings.width <= 8192 and 0 <= settings.blocks <= 64
    ):
        raise ValueError(f"settings: generator {settings.generator}, width {settings.width}, blocks {settings.blocks}")
    return settings


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise PosekitError(f"{path}: found no such file, expected the weights of a lifter (.safetensors)")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise PosekitError(f"{path}: found no readable safetensors file: {str(error).splitlines()[0]}") from error
