"""The layout of ``keypoints2d.h5`` and ``keypoints3d.h5``."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.files import write_whole
from posekit.skeleton import Skeleton, defined_skeleton, get_skeleton, is_known, skeleton_definition

#: Frames that are compressed together: small enough to read one by one, large enough to compress.
_ROWS = 16

#: Version of the files' layout; a reader refuses what it does not know.
SCHEMA_2D = "posekit.keypoints2d/1"
SCHEMA_3D = "posekit.keypoints3d/1"

#: Dimensions of every array in a file.
DIMENSIONS: dict[str, dict[str, int]] = {
    SCHEMA_2D: {"xy": 5, "confidence": 4, "frames": 1},
    SCHEMA_3D: {"xyz": 4, "covariance": 4, "inliers": 4, "reprojection_px": 4, "status": 3, "frames": 1},
}


class Described(Protocol):
    """What a file says of its keypoints beside the numbers."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """C names."""

    @property
    def skeleton(self) -> Skeleton:
        """Whose joints they are."""

    @property
    def fps(self) -> float | None:
        """Frames per second, where it is known."""

    @property
    def source(self) -> str:
        """Where they are from."""


@contextlib.contextmanager
def create(path: str | Path, schema: str, keypoints: Described) -> Iterator[h5py.File]:
    """Open a new file, with everything but its arrays in it; it appears whole at the end, or not at all."""
    # The layout of HDF5 1.10 has checksums, the oldest (h5py's choice) has none. Only texts of variable length still lack them,
    # and a flipped bit there can keep the HDF5 library busy for ever: all texts here are of fixed length.
    with write_whole(path) as temporary, h5py.File(temporary, "w", libver=("v110", "v110")) as file:
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
        yield file


def create_array(file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
    """Make room for an array, to be filled piece by piece along its first axis."""
    filters: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
    if not np.prod(shape):
        return file.create_dataset(name, shape, dtype)
    return file.create_dataset(name, shape, dtype, chunks=(min(_ROWS, shape[0]), *shape[1:]), **filters)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """Open a file to read, and say in one line what is wrong with a damaged one."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    # What h5py raises for a damaged file depends on where the damage is.
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise PosekitError(f"{path}: is no keypoint file that can be read ({error})") from None


def _encode(*texts: str) -> NDArray[np.bytes_]:
    encoded = [text.encode() for text in texts]
    return np.array(encoded, dtype=h5py.string_dtype(length=max(map(len, encoded), default=0) or 1))


def _decode(values: Any) -> tuple[str, ...]:
    """Texts of fixed length come as bytes; those of variable length, another tool's, as str or bytes."""
    return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in np.atleast_1d(values))


def read_description(path: Path, file: h5py.File, schema: str) -> dict[str, Any]:
    """Read what a file says beside its arrays: cameras, fps, source, skeleton."""
    found = " ".join(_decode(file.attrs.get("schema")))
    if found != schema:
        raise PosekitError(f"{path}: schema is '{found}', '{schema}' was expected")
    fps = file.attrs.get("fps")
    joints = _decode(file.attrs["joints"])
    (name,) = _decode(file.attrs["skeleton"])
    (source,) = _decode(file.attrs["source"])
    definition = _decode(file.attrs.get("skeleton_definition", ()))
    try:
        skeleton = defined_skeleton(name, joints, definition[0]) if definition else get_skeleton(name)
    except PosekitError as error:
        raise PosekitError(f"{path}: {error}") from None
    if joints != skeleton.joints:
        raise PosekitError(f"{path}: its joints are not those of {skeleton.name}")
    return {
        "cameras": _decode(file["cameras"][()]),
        "fps": None if fps is None else float(fps),
        "source": source,
        "skeleton": skeleton,
    }


def array_in(path: Path, file: h5py.File, schema: str, name: str) -> h5py.Dataset:
    """Return an array of a file, unread; raises PosekitError where it cannot be what it should."""
    dimensions = DIMENSIONS[schema][name]
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != dimensions or dataset.dtype.kind not in "fiub":
        raise PosekitError(f"{path}: has no dataset '{name}' of numbers in {dimensions} dimensions")
    # A file can claim any size without holding it. Deflate makes at most 1032 bytes of one.
    if dataset.nbytes > 1032 * path.stat().st_size:
        raise PosekitError(f"{path}: dataset '{name}' claims {dataset.nbytes} bytes, more than the file can hold")
    return dataset
