"""Keypoints in pictures and in the world: arrays, their skeleton, where they come from, and their HDF5 files."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.files import require_file, write_whole
from posekit.point_status import PointStatus
from posekit.skeleton import Skeleton, defined_skeleton, get_skeleton, is_known, skeleton_definition

#: Version of the files' layout; a reader refuses what it does not know.
SCHEMA_2D = "posekit.keypoints2d/1"
SCHEMA_3D = "posekit.keypoints3d/1"


class KeypointSource(Protocol):
    """2D keypoints of a whole capture that are read piece by piece, so that an hour of it need not fit into memory."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """C names."""

    @property
    def frames(self) -> NDArray[np.int64]:
        """All F frame numbers."""

    @property
    def skeleton(self) -> Skeleton:
        """Whose joints they are."""

    @property
    def fps(self) -> float | None:
        """Frames per second, where it is known."""

    @property
    def source(self) -> str:
        """Where they are from, for messages and records."""

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
        xy = np.array(self.xy, dtype=np.float32)
        confidence = np.array(self.confidence, dtype=np.float32)
        frames = np.array(self.frames, dtype=np.int64)
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
        xy[missing] = np.nan
        confidence[missing] = 0
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
        datasets: dict[str, NDArray[Any]] = {"xy": self.xy, "confidence": self.confidence, "frames": self.frames}
        _save(path, SCHEMA_2D, datasets, self)

    @classmethod
    def load(cls, path: str | Path) -> "Keypoints2D":
        """Read ``keypoints2d.h5``; raises PosekitError where the file is not one."""
        values, attributes = _load(path, SCHEMA_2D, {"xy": 5, "confidence": 4, "frames": 1})
        try:
            return cls(**values, **attributes)
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
            "xyz": np.array(self.xyz, dtype=np.float64),
            "covariance": np.array(self.covariance, dtype=np.float64),
            "inliers": np.array(self.inliers, dtype=np.bool_),
            "reprojection_px": np.array(self.reprojection_px, dtype=np.float32),
            "status": np.array(self.status, dtype=np.uint8),
            "frames": np.array(self.frames, dtype=np.int64),
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
        if not (present == np.isin(arrays["status"], (PointStatus.OK, PointStatus.FILLED))).all():
            raise PosekitError(f"{where}: a missing point must have a status that says why, and only a missing one")
        arrays["xyz"][~present] = np.nan
        for name, array in arrays.items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def save(self, path: str | Path) -> None:
        """Write ``keypoints3d.h5``, whole or not at all."""
        names = ("xyz", "covariance", "inliers", "reprojection_px", "status", "frames")
        _save(path, SCHEMA_3D, {name: getattr(self, name) for name in names}, self)

    @classmethod
    def load(cls, path: str | Path) -> "Keypoints3D":
        """Read ``keypoints3d.h5``; raises PosekitError where the file is not one."""
        dimensions = {"xyz": 4, "covariance": 4, "inliers": 4, "reprojection_px": 4, "status": 3, "frames": 1}
        values, attributes = _load(path, SCHEMA_3D, dimensions)
        try:
            return cls(**values, **attributes)
        except PosekitError as error:
            raise PosekitError(f"{path}: {error}") from None


def _check_axes(where: str, cameras: tuple[str, ...], frames: NDArray[np.int64], fps: float | None) -> None:
    if len(set(cameras)) != len(cameras):
        raise PosekitError(f"{where}: two cameras have one name: {', '.join(cameras)}")
    if frames.ndim != 1 or len(np.unique(frames)) != len(frames):
        raise PosekitError(f"{where}: frames: a list of numbers was expected, none of them twice")
    if fps is not None and not 0 < fps < np.inf:
        raise PosekitError(f"{where}: fps: {fps} frames per second cannot be")


def _save(
    path: str | Path, schema: str, datasets: dict[str, NDArray[Any]], keypoints: Keypoints2D | Keypoints3D
) -> None:
    # The layout of HDF5 1.10 has checksums, the oldest (h5py's choice) has none. Only texts of variable length still lack them,
    # and a flipped bit there can keep the HDF5 library busy for ever: all texts here are of fixed length.
    with write_whole(path) as temporary, h5py.File(temporary, "w", libver=("v110", "v110")) as file:
        for name, array in datasets.items():
            filters: dict[str, Any] = {
                "compression": "gzip",
                "compression_opts": 1,
                "shuffle": True,
                "fletcher32": True,
            }
            file.create_dataset(name, data=array, **(filters if array.size else {}))
        file.create_dataset("cameras", data=_encode(*keypoints.cameras), fletcher32=len(keypoints.cameras) > 0)
        file.attrs["schema"] = _encode(schema)[0]
        file.attrs["skeleton"] = _encode(keypoints.skeleton.name)[0]
        file.attrs["joints"] = _encode(*keypoints.skeleton.joints)
        if not is_known(keypoints.skeleton):
            file.attrs["skeleton_definition"] = _encode(skeleton_definition(keypoints.skeleton))[0]
        file.attrs["units"] = _encode("px" if schema == SCHEMA_2D else "m")[0]
        file.attrs["source"] = _encode(keypoints.source)[0]
        if keypoints.fps is not None:
            file.attrs["fps"] = keypoints.fps


def _encode(*texts: str) -> NDArray[np.bytes_]:
    encoded = [text.encode() for text in texts]
    return np.array(encoded, dtype=h5py.string_dtype(length=max(map(len, encoded), default=0) or 1))


def _decode(values: Any) -> tuple[str, ...]:
    """Texts of fixed length come as bytes; those of variable length, another tool's, as str or bytes."""
    return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in np.atleast_1d(values))


def _load(path: str | Path, schema: str, dimensions: dict[str, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    path = require_file(path, "a keypoints file")
    try:
        with h5py.File(path, "r") as file:
            found = " ".join(_decode(file.attrs.get("schema")))
            if found != schema:
                raise PosekitError(f"{path}: schema is '{found}', '{schema}' was expected")
            values = {name: _read_numbers(path, file, name, count) for name, count in dimensions.items()}
            cameras = _decode(file["cameras"][()])
            fps = file.attrs.get("fps")
            joints = _decode(file.attrs["joints"])
            (skeleton_name,) = _decode(file.attrs["skeleton"])
            (source,) = _decode(file.attrs["source"])
            definition = _decode(file.attrs.get("skeleton_definition", ()))
            attributes = {
                "cameras": cameras,
                "fps": None if fps is None else float(fps),
                "source": source,
            }
    # What h5py raises for a damaged file depends on where the damage is.
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise PosekitError(f"{path}: is no keypoint file that can be read ({error})") from None
    try:
        skeleton = defined_skeleton(skeleton_name, joints, definition[0]) if definition else get_skeleton(skeleton_name)
    except PosekitError as error:
        raise PosekitError(f"{path}: {error}") from None
    if joints != skeleton.joints:
        raise PosekitError(f"{path}: its joints are not those of {skeleton.name}")
    return values, {**attributes, "skeleton": skeleton}


def _read_numbers(path: Path, file: h5py.File, name: str, dimensions: int) -> NDArray[Any]:
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != dimensions or dataset.dtype.kind not in "fiub":
        raise PosekitError(f"{path}: has no dataset '{name}' of numbers in {dimensions} dimensions")
    # A file can claim any size without holding it. Deflate makes at most 1032 bytes of one.
    if dataset.nbytes > 1032 * path.stat().st_size:
        raise PosekitError(f"{path}: dataset '{name}' claims {dataset.nbytes} bytes, more than the file can hold")
    values: NDArray[Any] = dataset[()]
    return values
