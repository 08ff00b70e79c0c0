"""Keypoints in pictures and in the world: arrays, their skeleton, where they come from, and their HDF5 files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.files import require_file
from posekit.io.keypoints_hdf5 import (
    DIMENSIONS,
    SCHEMA_2D,
    SCHEMA_3D,
    Described,
    array_in,
    create,
    create_array,
    read_description,
    reading,
)
from posekit.point_status import PRESENT, PointStatus
from posekit.skeleton import Skeleton

#: "All views" in figures are those in which the detection has this confidence or more, whether a triangulation kept it or not.
CONFIDENT = 0.3


class KeypointSource(Described, Protocol):
    """2D keypoints of a whole capture that are read piece by piece, so that an hour of it need not fit into memory."""

    @property
    def frames(self) -> NDArray[np.int64]:
        """All F frame numbers."""

    def read(self, start: int, stop: int) -> "Keypoints2D":
        """Return the frames ``frames[start:stop]``; the number of slots P may differ from one piece to the next."""


@dataclass(frozen=True, eq=False)
class Keypoints2D:
    """Detections in every view.

    xy: (F, C, P, J, 2) float32 px, NaN where there is no detection. confidence: (F, C, P, J) float32, 0 there.
    cameras: C names. frames: (F,) int64 frame numbers. P counts slots: slot 0 of one view need not be slot 0 of another.
    """

    xy: NDArray[np.float32]
    confidence: NDArray[np.float32]
    cameras: tuple[str, ...]
    frames: NDArray[np.int64]
    skeleton: Skeleton
    fps: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        xy = _owned(self.xy, np.float32)
        confidence = _owned(self.confidence, np.float32)
        frames = _owned(self.frames, np.int64)
        where = self.source or "2D keypoints"
        _check_axes(where, self.cameras, frames, self.fps)
        if xy.ndim != 5 or xy.shape[-1] != 2 or confidence.shape != xy.shape[:-1]:
            raise PosekitError(f"{where}: shapes {xy.shape} and {confidence.shape} are not (F,C,P,J,2) and (F,C,P,J)")
        if xy.shape[:2] != (len(frames), len(self.cameras)) or xy.shape[3] != self.skeleton.joint_count:
            raise PosekitError(
                f"{where}: an array of {xy.shape} does not hold {len(frames)} frames, {len(self.cameras)} cameras "
                f"and the {self.skeleton.joint_count} joints of {self.skeleton.name}"
            )
        # One rule for "missing", whichever way the maker said it.
        missing = ~np.isfinite(xy).all(axis=-1) | ~(confidence > 0) | ~np.isfinite(confidence)
        xy = _blanked(xy, missing, np.nan)
        confidence = _blanked(confidence, missing, 0)
        for name, array in (("xy", xy), ("confidence", confidence), ("frames", frames)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def read(self, start: int, stop: int) -> "Keypoints2D":
        """Return the frames ``frames[start:stop]``, as a `KeypointSource` does."""
        return replace(
            self, xy=self.xy[start:stop], confidence=self.confidence[start:stop], frames=self.frames[start:stop]
        )

    def select_cameras(self, names: tuple[str, ...]) -> "Keypoints2D":
        """Return the named cameras in the given order."""
        for name in names:
            if name not in self.cameras:
                raise PosekitError(f"{self.source}: has no camera '{name}'; it has: {', '.join(self.cameras)}")
        places = [self.cameras.index(name) for name in names]
        return replace(self, xy=self.xy[:, places], confidence=self.confidence[:, places], cameras=names)

    def save(self, path: str | Path) -> None:
        """Write ``keypoints2d.h5``, whole or not at all."""
        _save(path, SCHEMA_2D, self)

    @classmethod
    def load(cls, path: str | Path) -> "Keypoints2D":
        """Read ``keypoints2d.h5``; raises PosekitError where the file is not one."""
        values = _load(path, SCHEMA_2D)
        try:
            return cls(**values)
        except PosekitError as error:
            raise PosekitError(f"{path}: {error}") from None


@dataclass(frozen=True, eq=False)
class Keypoints3D:
    """Skeletons in the world.

    xyz: (F, P, J, 3) metres, NaN where there is no point; status (F, P, J) says why. covariance: (F, P, J, 6) m^2 as
    xx, xy, xz, yy, yz, zz. inliers: (F, P, J, C), the views that agree. reprojection_px: (F, P, J, C), distance between
    detection and reprojection in every view that has a detection, kept or not; NaN elsewhere.
    """

    xyz: NDArray[np.float64]
    covariance: NDArray[np.float64]
    inliers: NDArray[np.bool_]
    reprojection_px: NDArray[np.float32]
    status: NDArray[np.uint8]
    cameras: tuple[str, ...]
    frames: NDArray[np.int64]
    skeleton: Skeleton
    fps: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        arrays: dict[str, NDArray[Any]] = {
            "xyz": _owned(self.xyz, np.float64),
            "covariance": _owned(self.covariance, np.float32),
            "inliers": _owned(self.inliers, np.bool_),
            "reprojection_px": _owned(self.reprojection_px, np.float32),
            "status": _owned(self.status, np.uint8),
            "frames": _owned(self.frames, np.int64),
        }
        where = self.source or "3D keypoints"
        _check_axes(where, self.cameras, arrays["frames"], self.fps)
        if arrays["xyz"].ndim != 4:
            raise PosekitError(f"{where}: xyz has shape {arrays['xyz'].shape}, (F,P,J,3) was expected")
        F, P, J, _ = arrays["xyz"].shape
        C = len(self.cameras)
        expected = {
            "xyz": (F, P, J, 3),
            "covariance": (F, P, J, 6),
            "inliers": (F, P, J, C),
            "reprojection_px": (F, P, J, C),
            "status": (F, P, J),
            "frames": (F,),
        }
        for name, shape in expected.items():
            if arrays[name].shape != shape:
                raise PosekitError(f"{where}: {name} has shape {arrays[name].shape}, {shape} was expected")
        if self.skeleton.joint_count != J:
            raise PosekitError(f"{where}: {J} joints, {self.skeleton.name} has {self.skeleton.joint_count}")
        if arrays["status"].size and arrays["status"].max() > max(PointStatus):
            raise PosekitError(f"{where}: status {arrays['status'].max()} is not known")
        present = np.isfinite(arrays["xyz"]).all(axis=-1)
        if not (present == np.isin(arrays["status"], PRESENT)).all():
            raise PosekitError(f"{where}: a missing point must have a status that says why, and only a missing one")
        arrays["xyz"] = _blanked(arrays["xyz"], ~present, np.nan)
        for name, array in arrays.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def made_up(self, row: int) -> NDArray[np.bool_]:
        """Tell which points of a row are less than the others, (P, J): filled ones; and lifted ones, unless one view is all."""
        less = (PointStatus.FILLED,) if len(self.cameras) == 1 else (PointStatus.FILLED, PointStatus.LIFTED)
        return np.isin(self.status[row], less)

    def save(self, path: str | Path) -> None:
        """Write ``keypoints3d.h5``, whole or not at all."""
        _save(path, SCHEMA_3D, self)

    @classmethod
    def load(cls, path: str | Path) -> "Keypoints3D":
        """Read ``keypoints3d.h5``; raises PosekitError where the file is not one."""
        values = _load(path, SCHEMA_3D)
        try:
            return cls(**values)
        except PosekitError as error:
            raise PosekitError(f"{path}: {error}") from None


def join_2d(pieces: Sequence[Keypoints2D]) -> Keypoints2D:
    """Put pieces of one capture together, in order; the pieces have the same slots P."""
    if len(pieces) == 1:
        return pieces[0]
    xy, confidence, frames = (
        np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("xy", "confidence", "frames")
    )
    return replace(pieces[0], xy=xy, confidence=confidence, frames=frames)


def join_3d(pieces: Sequence[Keypoints3D]) -> Keypoints3D:
    """Put pieces of one capture together, in order; the pieces have the same people."""
    if len(pieces) == 1:
        return pieces[0]
    names = ("xyz", "covariance", "inliers", "reprojection_px", "status", "frames")
    xyz, covariance, inliers, reprojection_px, status, frames = (
        np.concatenate([getattr(piece, name) for piece in pieces]) for name in names
    )
    return replace(
        pieces[0],
        xyz=xyz,
        covariance=covariance,
        inliers=inliers,
        reprojection_px=reprojection_px,
        status=status,
        frames=frames,
    )


def _save(path: str | Path, schema: str, keypoints: Keypoints2D | Keypoints3D) -> None:
    with create(path, schema, keypoints) as file:
        for name in DIMENSIONS[schema]:
            array = getattr(keypoints, name)
            create_array(file, name, array.shape, array.dtype)[...] = array


def _load(path: str | Path, schema: str) -> dict[str, Any]:
    path = require_file(path, "a keypoints file")
    with reading(path) as file:
        description = read_description(path, file, schema)
        arrays = {name: array_in(path, file, schema, name)[()] for name in DIMENSIONS[schema]}
    for array in arrays.values():
        array.flags.writeable = False
    return {**description, **arrays}


def _owned(values: Any, dtype: type[np.generic]) -> NDArray[Any]:
    """A copy, but of arrays that nobody can change any more: those of other keypoints, which may fill half of the memory."""
    if isinstance(values, np.ndarray) and values.dtype == dtype and not values.flags.writeable and values.base is None:
        return values
    return np.array(values, dtype=dtype)


def _blanked(values: NDArray[Any], missing: NDArray[np.bool_], blank: float) -> NDArray[Any]:
    """The values (..., D) or (...) with `blank` where they are missing, (...)."""
    there = values[missing]
    if (np.isnan(there) if np.isnan(blank) else there == blank).all():
        return values
    values = values if values.flags.writeable else values.copy()
    values[missing] = blank
    return values


def _check_axes(where: str, cameras: tuple[str, ...], frames: NDArray[np.int64], fps: float | None) -> None:
    if len(set(cameras)) != len(cameras):
        raise PosekitError(f"{where}: two cameras have one name: {', '.join(cameras)}")
    if frames.ndim != 1 or len(np.unique(frames)) != len(frames):
        raise PosekitError(f"{where}: frames: a list of numbers was expected, none of them twice")
    if fps is not None and not 0 < fps < np.inf:
        raise PosekitError(f"{where}: fps: {fps} frames per second cannot be")
