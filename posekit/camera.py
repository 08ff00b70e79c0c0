"""Cameras: a pinhole with Brown-Conrady or fisheye distortion, and the rig that several of them form.

A point in the world's frame stands in the camera's frame at ``rotation @ point_world + translation``; x points right, y down,
z forward. Pixel (0, 0) is the centre of the top-left pixel.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from posekit.errors import PosekitError, PosekitWarning
from posekit.geometry.lens import Lens
from posekit.geometry.projection import project_points, project_with_jacobian, undistort_with

Array = NDArray[np.float64]


def _numbers(values: ArrayLike, what: str) -> Array:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise PosekitError(f"{what}: {values!r} are not numbers") from None


def _frozen(values: ArrayLike, shape: tuple[int, ...], what: str) -> Array:
    array = _numbers(values, what)
    if array.shape != shape:
        raise PosekitError(f"{what}: has shape {array.shape}, {shape} was expected")
    if not np.isfinite(array).all():
        raise PosekitError(f"{what}: has values that are not finite")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera. Raises PosekitError, naming the camera and the field, where a value cannot be.

    size: (width, height), px. matrix: (3, 3) camera matrix, px. distortion: 0, 4, 5 or 8 coefficients in OpenCV's order,
    kept as 8. rotation: (3, 3), the world's axes turned into the camera's. translation: (3,) metres. fisheye: the lens is
    OpenCV's cv2.fisheye (Kannala-Brandt) and its distortion k1 k2 k3 k4, 4 coefficients; it sees less than 90 degrees from
    its axis: what is not in front of the camera is in no picture here. time_offset_s: how much later than the rig's frame f
    this camera took its own frame f, seconds.
    """

    name: str
    size: tuple[int, int]
    matrix: Array
    distortion: Array
    rotation: Array
    translation: Array
    fisheye: bool = field(default=False, kw_only=True)
    time_offset_s: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        where = f"camera {self.name}"
        size = _frozen(self.size, (2,), f"{where}: size")
        if min(size) < 1 or (size != np.round(size)).any():
            raise PosekitError(f"{where}: size: {self.size!r} is not (width, height) in whole pixels")
        object.__setattr__(self, "size", (int(size[0]), int(size[1])))
        coefficients = np.ravel(_numbers(self.distortion, f"{where}: distortion"))
        if len(coefficients) not in (0, 4, 5, 8):
            raise PosekitError(f"{where}: distortion: has {len(coefficients)} coefficients, 0, 4, 5 or 8 were expected")
        padded = np.zeros(8)
        padded[: len(coefficients)] = coefficients
        if self.fisheye and padded[4:].any():
            raise PosekitError(f"{where}: distortion: a fisheye lens has 4 coefficients, found {len(coefficients)}")
        object.__setattr__(self, "distortion", _frozen(padded, (8,), f"{where}: distortion"))
        object.__setattr__(self, "matrix", _frozen(self.matrix, (3, 3), f"{where}: matrix"))
        object.__setattr__(self, "rotation", _frozen(self.rotation, (3, 3), f"{where}: rotation"))
        object.__setattr__(self, "translation", _frozen(self.translation, (3,), f"{where}: translation"))
        object.__setattr__(self, "time_offset_s", float(_frozen(self.time_offset_s, (), f"{where}: time_offset_s")))
        matrix = self.matrix
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
            raise PosekitError(f"{where}: matrix: focal lengths {matrix[0, 0]:g}, {matrix[1, 1]:g} are not positive")
        if not np.allclose(matrix[2], (0, 0, 1), atol=1e-9) or abs(matrix[1, 0]) > 1e-9:
            raise PosekitError(f"{where}: matrix: {matrix.tolist()} is no camera matrix (its third row must be 0 0 1)")
        # 1e-3: rotation matrices in files are often rounded to four digits; a transposed or scaled one is far off.
        if not np.allclose(self.rotation @ self.rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(self.rotation) < 0:
            raise PosekitError(f"{where}: rotation: is no rotation matrix")

    @property
    def centre_world(self) -> Array:
        """Where the camera stands, (3,) metres."""
        centre: Array = -self.rotation.T @ self.translation
        return centre

    @cached_property
    def _batch(self) -> "CameraBatch":
        return CameraBatch.from_rig(Rig((self,)))

    def project(self, points_world: ArrayLike) -> Array:
        """Project points (..., 3) in metres to pixels (..., 2); NaN where a point cannot be seen, see `CameraBatch.project`."""
        points = torch.from_numpy(np.array(points_world, dtype=np.float64))
        return self._batch.project(points)[..., 0, :].numpy()

    def in_picture(self, pixels: ArrayLike) -> NDArray[np.bool_]:
        """Tell which pixels (..., 2) lie in the picture, (...); NaN does not."""
        places = np.asarray(pixels)
        # Pixel (0, 0) is a pixel's centre, so the picture begins and ends half a pixel outside.
        with np.errstate(invalid="ignore"):
            return np.asarray(((places > -0.5) & (places < np.array(self.size) - 0.5)).all(axis=-1))

    def undistort(self, pixels: ArrayLike) -> Array:
        """Turn pixels (..., 2) into normalised image coordinates (..., 2), without the lens."""
        points = torch.from_numpy(np.array(pixels, dtype=np.float64))
        return self._batch.undistort(points[..., None, :])[..., 0, :].numpy()

    def ray_directions(self, pixels: ArrayLike) -> Array:
        """Turn pixels (..., 2) into unit directions (..., 3) in the world's frame; the rays start at `centre_world`."""
        normalised = self.undistort(pixels)
        directions = np.concatenate((normalised, np.ones_like(normalised[..., :1])), axis=-1) @ self.rotation
        unit: Array = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
        return unit


@dataclass(frozen=True, eq=False)
class Rig:
    """Several cameras in one world frame, in metres. Cameras are found by name, never by their place in a file.

    source: where the rig came from, for messages and records.
    """

    cameras: tuple[Camera, ...]
    source: str = field(default="")

    def __post_init__(self) -> None:
        where = f"{self.source}: " if self.source else ""
        if not self.cameras:
            raise PosekitError(f"{where}the rig has no camera")
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise PosekitError(f"{where}two cameras are called '{name}'")

    @property
    def names(self) -> tuple[str, ...]:
        """The cameras' names, in the order of the rig."""
        return tuple(camera.name for camera in self.cameras)

    def __len__(self) -> int:
        return len(self.cameras)

    def __getitem__(self, name: str) -> Camera:
        for camera in self.cameras:
            if camera.name == name:
                return camera
        where = self.source or "the rig"
        raise PosekitError(f"{where}: has no camera '{name}'; it has: {', '.join(self.names)}")

    def select(self, names: Sequence[str]) -> "Rig":
        """Return a rig of the named cameras in the given order."""
        return Rig(tuple(self[name] for name in names), self.source)

    def check_video_size(self, name: str, size: tuple[int, int], video: str, *, refuse: bool = True) -> None:
        """Warn where a video's picture is not as large as the rig says; the picture is not rescaled.

        A crop leaves every pixel's place right if it was at the right and lower edges; a resize does not. A difference of
        more than a fiftieth cannot be a codec's rounding, and is refused; refuse=False warns of it, for a video that only
        stands beside what was made of it.
        """
        expected = self[name].size
        if size == expected:
            return
        line = (
            f"{video}: pictures are {size[0]} x {size[1]} px where the rig says {expected[0]} x {expected[1]} "
            f"for camera '{name}'"
        )
        if refuse and max(abs(size[axis] - expected[axis]) / expected[axis] for axis in (0, 1)) > 0.02:
            raise PosekitError(f"{line}: the video was resized, cropped or turned, or belongs to another rig")
        warnings.warn(PosekitWarning(f"{line}; read as it is, not rescaled"), stacklevel=2)


def match_camera_names(rig: Rig, names: Sequence[str]) -> Rig:
    """Rename cameras that a capture calls by `names`, where the two differ by punctuation, case or leading zeros only.

    Or by one word that all of them share: cam_0, cam_1 for port_0, port_1. Warns, naming the pairs. Where that is not one to
    one, or does not find every name, the rig is returned as it is: never is a camera matched by its place. Cameras that the
    capture does not have keep their names.
    """
    pairs = pair_camera_names(rig.names, names)
    if not pairs:
        return rig
    told = ", ".join(f"{old} is taken for {new}" for old, new in pairs.items())
    warnings.warn(
        PosekitWarning(f"{rig.source or 'the rig'}: its cameras have other names than the capture's: {told}"),
        stacklevel=2,
    )
    return Rig(tuple(replace(camera, name=pairs.get(camera.name, camera.name)) for camera in rig.cameras), rig.source)


def pair_camera_names(own: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return own name -> which of `names` means the same camera, where the two differ, by the rule of `match_camera_names`."""
    return _pairs_alike(own, names, _spelling) or _pairs_alike(own, names, _number_of_one_word)


def _pairs_alike(
    rig_names: Sequence[str],
    names: Sequence[str],
    spell: Callable[[str, Sequence[str]], tuple[str, ...] | None],
) -> dict[str, str]:
    """Rig's name -> capture's name, for every name that the rig lacks; empty where their spelling does not tell them apart."""
    missing = [name for name in names if name not in rig_names]
    free = [name for name in rig_names if name not in names]
    pairs: dict[str, str] = {}
    for name in missing:
        spelling = spell(name, names)
        alike = [other for other in free if spelling is not None and spell(other, rig_names) == spelling]
        if len(alike) != 1:
            return {}
        rivals = [(other, rig_names) for other in rig_names if other != alike[0]] + [(other, names) for other in names]
        if any(spell(other, among) == spelling for other, among in rivals if other not in (name, alike[0])):
            return {}
        pairs[alike[0]] = name
    return pairs


def _number_of_one_word(name: str, names: Sequence[str]) -> tuple[str, ...] | None:
    """The number that a name is told by among names that are otherwise one word."""
    spellings = [_spelling(other) for other in names]
    words = {tuple(part for part in spelling if not part[0].isdigit()) for spelling in spellings}
    numbers = tuple(part for part in _spelling(name) if part[0].isdigit())
    return numbers if len(words) == 1 and len(numbers) == 1 else None


def _spelling(name: str, _names: Sequence[str] = ()) -> tuple[str, ...]:
    """What remains of a name without punctuation, case and leading zeros; cam_1_2 stays another one than cam_12."""
    parts = re.findall(r"\d+|[^\W\d_]+(?:[\W_]+[^\W\d_]+)*", name.casefold())
    return tuple(part.lstrip("0") or "0" if part[0].isdigit() else re.sub(r"[\W_]", "", part) for part in parts)


@dataclass(frozen=True, eq=False)
class CameraBatch:
    """The cameras of a rig as tensors, for batched work: matrix (C, 3, 3), distortion (C, 8), rotation, translation.

    fisheye: (C,) bool, whose lens is a fisheye; None where no camera's is.
    """

    matrix: Tensor
    distortion: Tensor
    rotation: Tensor
    translation: Tensor
    fisheye: Tensor | None = None

    @classmethod
    def from_rig(
        cls, rig: Rig, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64
    ) -> "CameraBatch":
        """Copy a rig to tensors on a device."""

        def stack(values: list[Array]) -> Tensor:
            return torch.from_numpy(np.stack(values)).to(device, dtype)

        fisheye = [camera.fisheye for camera in rig.cameras]
        return cls(
            stack([camera.matrix for camera in rig.cameras]),
            stack([camera.distortion for camera in rig.cameras]),
            stack([camera.rotation for camera in rig.cameras]),
            stack([camera.translation for camera in rig.cameras]),
            torch.tensor(fisheye, device=device) if any(fisheye) else None,
        )

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def centres_world(self) -> Tensor:
        """Where the cameras stand, (C, 3) metres."""
        return -torch.einsum("cji,cj->ci", self.rotation, self.translation)

    @cached_property
    def lens(self) -> Lens:
        """The lenses, for coordinates (..., C); where they fold is looked for once."""
        return Lens.of(self.distortion, self.fisheye)

    @property
    def _projection(self) -> tuple[Tensor, Lens, Tensor, Tensor]:
        return self.matrix, self.lens, self.rotation, self.translation

    def project(self, points_world: Tensor) -> Tensor:
        """Project (..., 3) metres into every camera: (..., C, 2) px.

        NaN where not in front of a camera, and so far aside that the model of its lens folds back into the picture.
        """
        return project_points(points_world, *self._projection)

    def project_with_jacobian(self, points_world: Tensor) -> tuple[Tensor, Tensor]:
        """Project, with d pixel / d point (..., C, 2, 3) in px/m."""
        return project_with_jacobian(points_world, *self._projection)

    def undistort(self, pixels: Tensor) -> Tensor:
        """Turn pixels (..., C, 2) into normalised image coordinates (..., C, 2), without the lens."""
        y = (pixels[..., 1] - self.matrix[:, 1, 2]) / self.matrix[:, 1, 1]
        x = (pixels[..., 0] - self.matrix[:, 0, 2] - self.matrix[:, 0, 1] * y) / self.matrix[:, 0, 0]
        return undistort_with(torch.stack((x, y), dim=-1), self.lens)


def rig_of_batch(cameras: CameraBatch, like: Rig, time_offset_s: Sequence[float] | None = None) -> Rig:
    """A batch's cameras as a rig; names, sizes and kinds of lens, and the time offsets if none are given, as in another one."""
    return Rig(
        tuple(
            replace(
                camera,
                matrix=cameras.matrix[c].cpu().numpy(),
                distortion=cameras.distortion[c, : 4 if camera.fisheye else 8].cpu().numpy(),
                rotation=cameras.rotation[c].cpu().numpy(),
                translation=cameras.translation[c].cpu().numpy(),
                time_offset_s=camera.time_offset_s if time_offset_s is None else time_offset_s[c],
            )
            for c, camera in enumerate(like.cameras)
        ),
        like.source,
    )
