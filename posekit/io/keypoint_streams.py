"""``keypoints2d.h5`` and ``keypoints3d.h5`` piece by piece, for captures that do not fit into memory."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.io.files import require_file
from posekit.io.keypoints_hdf5 import (
    DIMENSIONS,
    SCHEMA_2D,
    SCHEMA_3D,
    array_in,
    create,
    create_array,
    read_description,
    reading,
)
from posekit.keypoints import Keypoints2D, Keypoints3D, KeypointSource
from posekit.skeleton import Skeleton


@dataclass(frozen=True)
class Keypoints2DFile:
    """A ``keypoints2d.h5`` of which only what is asked for is read; a `posekit.keypoints.KeypointSource`."""

    path: Path
    cameras: tuple[str, ...]
    frames: NDArray[np.int64]
    skeleton: Skeleton
    fps: float | None
    source: str

    @classmethod
    def open(cls, path: str | Path) -> "Keypoints2DFile":
        """Read everything but the keypoints; raises PosekitError where the file is not one."""
        path = require_file(path, "a keypoints file")
        with reading(path) as file:
            description = read_description(path, file, SCHEMA_2D)
            frames = array_in(path, file, SCHEMA_2D, "frames")[()].astype(np.int64)
            lengths = {array_in(path, file, SCHEMA_2D, name).shape[0] for name in ("xy", "confidence")}
        if lengths != {len(frames)}:
            raise PosekitError(f"{path}: has {len(frames)} frame numbers for arrays of {sorted(lengths)} frames")
        opened = cls(path=path, frames=frames, **description)
        opened.read(0, 0)  # what is wrong with the shapes is said now, not in an hour
        return opened

    def read(self, start: int, stop: int) -> Keypoints2D:
        """Return the frames ``frames[start:stop]``; raises PosekitError where that part of the file is damaged."""
        with reading(self.path) as file:
            xy, confidence = (array_in(self.path, file, SCHEMA_2D, name)[start:stop] for name in ("xy", "confidence"))
        try:
            return Keypoints2D(
                xy, confidence, self.cameras, self.frames[start:stop], self.skeleton, self.fps, self.source
            )
        except PosekitError as error:
            raise PosekitError(f"{self.path}: {error}") from None


class Keypoints3DWriter:
    """Takes people in 3D piece by piece; see `writing_keypoints3d`."""

    def __init__(self, file: h5py.File, frames: NDArray[np.int64], shape: tuple[int, int, int]) -> None:
        self._file = file
        self.done = 0
        P, J, C = shape
        kinds = {
            "xyz": ((P, J, 3), np.float64),
            "covariance": ((P, J, 6), np.float32),
            "inliers": ((P, J, C), np.bool_),
            "reprojection_px": ((P, J, C), np.float32),
            "status": ((P, J), np.uint8),
        }
        for name, (rest, dtype) in kinds.items():
            create_array(file, name, (len(frames), *rest), dtype)
        create_array(file, "frames", (len(frames),), np.int64)[...] = frames

    def write(self, people: Keypoints3D) -> None:
        """Take the next frames."""
        rows = slice(self.done, self.done + len(people.frames))
        for name in DIMENSIONS[SCHEMA_3D]:
            if name != "frames":
                self._file[name][rows] = getattr(people, name)
        self.done = rows.stop


@contextlib.contextmanager
def writing_keypoints3d(
    path: str | Path, keypoints: KeypointSource, person_count: int, source: str
) -> Iterator[Keypoints3DWriter]:
    """Write a ``keypoints3d.h5`` for all frames of these keypoints piece by piece; it appears whole or not at all."""

    @dataclass(frozen=True)
    class Description:
        cameras: tuple[str, ...] = keypoints.cameras
        skeleton: Skeleton = keypoints.skeleton
        fps: float | None = keypoints.fps
        source: str = ""

    with create(path, SCHEMA_3D, Description(source=source)) as file:
        shape = (person_count, keypoints.skeleton.joint_count, len(keypoints.cameras))
        writer = Keypoints3DWriter(file, keypoints.frames, shape)
        yield writer
        if writer.done != len(keypoints.frames):
            raise PosekitError(f"{path}: {writer.done} of {len(keypoints.frames)} frames were written")
