"""2D keypoints of any source as ``keypoints2d.h5``, in the memory of a piece of them."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from posekit.errors import PosekitError
from posekit.io.files import require_folder
from posekit.io.keypoints_hdf5 import SCHEMA_2D, create, create_array
from posekit.keypoints import KeypointSource

#: Frames that are in memory at a time; of 8 cameras, 67 joints and 4 people 50 MB, and as much again for each copy.
_PIECE = 2000


def copy_keypoints2d(
    source: KeypointSource, path: str | Path, on_frames: Callable[[int, int], None] | None = None
) -> int:
    """Write all frames of a source as ``keypoints2d.h5``, whole or not at all; return the number of slots P.

    on_frames: called with (frames read, frames in all). Raises PosekitError where the source holds no frame, and what
    reading it raises.
    """
    path = Path(path)
    total = len(source.frames)
    if not total:
        raise PosekitError(f"{source.source}: holds no frame")
    require_folder(path.parent, "the folder to write into")
    starts = range(0, total, _PIECE)
    # How many slots there are is known when all has been read, and reading a million files of JSON takes minutes: once.
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        P = 0
        for start in starts:
            piece = source.read(start, min(start + _PIECE, total))
            P = max(P, piece.confidence.shape[2])
            np.save(spool, piece.xy)
            np.save(spool, piece.confidence)
            if on_frames:
                on_frames(min(start + _PIECE, total), total)
        spool.seek(0)
        shape = (total, len(source.cameras), P, source.skeleton.joint_count)
        with create(path, SCHEMA_2D, source) as file:
            create_array(file, "frames", (total,), np.int64)[...] = source.frames
            arrays = [
                (create_array(file, "xy", (*shape, 2), np.float32), np.float32(np.nan)),
                (create_array(file, "confidence", shape, np.float32), np.float32(0)),
            ]
            for start in starts:
                for array, missing in arrays:
                    read = np.load(spool)
                    rows = np.full((len(read), *array.shape[1:]), missing)
                    rows[:, :, : read.shape[2]] = read
                    array[start : start + len(read)] = rows
    return P
