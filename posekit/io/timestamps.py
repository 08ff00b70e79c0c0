"""When each camera took its pictures: ``timestamps.csv``, as Caliscope writes it beside the videos of a recording.

One row per picture: ``sync_index, cam_id`` (``port`` in older files) and ``frame_time`` in seconds by one clock. A camera that
dropped a picture has no row at that sync_index, and no frame in its video either: its k-th row is frame k of its video. (Some
files have a ``frame_index`` too; in some it counts from the first sync_index on instead, so that it is not used.)
"""

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from posekit.camera import pair_camera_names
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.files import natural_order, require_file

_NAMES = ("timestamps.csv", "timestamps.csv.gz")


@dataclass(frozen=True, eq=False)
class FrameTimes:
    """Which pictures of C cameras belong to each of M moments, and when they were taken.

    moments: the sync_index, ascending. frames: number of the frame in the camera's own video, -1 where it dropped the moment.
    times_s: when that was taken, by one clock, NaN where it was dropped.
    """

    cameras: tuple[str, ...]
    moments: Int[np.ndarray, " M"]
    frames: Int[np.ndarray, "M C"]
    times_s: Float[np.ndarray, "M C"]
    source: str

    @property
    def mean_time_s(self) -> NDArray[np.float64]:
        """When a moment was, (M,): the mean over the cameras that did not drop it; NaN where all did."""
        there = np.isfinite(self.times_s)
        count = there.sum(axis=1)
        mean = np.where(there, self.times_s, 0).sum(axis=1) / np.maximum(count, 1)
        return np.where(count > 0, mean, np.nan)

    @property
    def frame_rate(self) -> float:
        """Moments per second, by the median of the steps from one to the next; NaN where there is but one."""
        moment = self.mean_time_s
        there = np.isfinite(moment)
        steps = np.diff(moment[there]) / np.diff(self.moments[there])
        return float(1 / np.median(steps)) if len(steps) else float("nan")

    def of(self, cameras: Sequence[str]) -> "FrameTimes":
        """The named cameras, in that order; a name may differ as `posekit.camera.match_camera_names` has it: cam_0, port_0.

        Raises PosekitError where a camera has no row here.
        """
        own = {new: old for old, new in pair_camera_names(self.cameras, cameras).items()}
        places = []
        for camera in cameras:
            name = own.get(camera, camera)
            if name not in self.cameras:
                raise PosekitError(f"{self.source}: has no camera '{camera}'; it has: {', '.join(self.cameras)}")
            places.append(self.cameras.index(name))
        return replace(self, cameras=tuple(cameras), frames=self.frames[:, places], times_s=self.times_s[:, places])

    def check_frame_count(self, camera: str, frame_count: int, video: str) -> None:
        """Hold a camera's rows against the frames of its video.

        Raises PosekitError where there are more rows than frames: then it is not known which frame a row is of. Warns where
        there are fewer: the frames that come last have no row, and are not used.
        """
        rows = int((self.frames[:, self.cameras.index(camera)] >= 0).sum())
        if rows > frame_count:
            raise PosekitError(
                f"{video}: has {frame_count} frames where {self.source} has {rows} rows of camera '{camera}': the video was "
                "cut, or the file is of another recording; move it away to take the videos as synchronized"
            )
        if rows < frame_count:
            warnings.warn(
                PosekitWarning(
                    f"{video}: has {frame_count} frames where {self.source} has {rows} rows of camera '{camera}'; the last "
                    f"{frame_count - rows} are not used"
                ),
                stacklevel=2,
            )


def find_timestamps(folder: str | Path) -> Path | None:
    """Return the timestamps.csv (or .csv.gz) of a folder of videos, or of a capture whose videos lie in ``videos/``."""
    for place in (Path(folder), Path(folder) / "videos"):
        for name in _NAMES:
            if (place / name).is_file():
                return place / name
    return None


def find_timestamps_of_keypoints(path: str | Path) -> Path | None:
    """Return the timestamps.csv of 2D keypoints: beside them, beside the folder that they are in, or beside its videos."""
    path = Path(path).resolve()
    inside = find_timestamps(path) if path.is_dir() else None
    above = path.parent.parent if counts_moments(path.name) else path.parent
    return inside or find_timestamps(path.parent) or find_timestamps(above)


def counts_moments(source: str) -> bool:
    """Tell by where keypoints come from whether their frames are moments (sync_index), not frames of the cameras' videos.

    Those of Caliscope's tables are, ``xy_<what>.csv``, also after they were converted.
    """
    return re.search(r"(^|[\\/\s])xy_[^\\/]*\.csv(\.gz)?$", source) is not None


def read_timestamps(path: str | Path) -> FrameTimes:
    """Read ``timestamps.csv`` or ``timestamps.csv.gz``.

    Cameras that it tells by number are called ``cam_<n>`` (``port_<n>`` by the column's name); see `FrameTimes.of`.

    Raises PosekitError for a file that cannot be read, lacks a column or holds no rows, for what is no number, a picture that
    is there twice, and a camera whose time goes back.
    """
    path = require_file(path, "timestamps")
    with _opened(path) as file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or ()
        camera = next((name for name in ("cam_id", "port") if name in columns), None)
        if camera is None or not {"sync_index", "frame_time"} <= set(columns):
            raise PosekitError(
                f"{path}: has the columns {', '.join(columns) or '(none)'}; sync_index, cam_id or port, and frame_time were "
                "expected"
            )
        pictures = [_picture(path, rows.line_num, row, camera) for row in rows]
    if not pictures:
        raise PosekitError(f"{path}: holds no rows")
    moments, m = np.unique([picture[0] for picture in pictures], return_inverse=True)
    names = sorted({picture[1] for picture in pictures}, key=natural_order)
    c = np.array([names.index(picture[1]) for picture in pictures])
    count = np.zeros((len(moments), len(names)), dtype=np.int64)
    np.add.at(count, (m, c), 1)
    if count.max() > 1:
        twice = np.argwhere(count > 1)[0]
        raise PosekitError(f"{path}: has sync_index {moments[twice[0]]} of camera {names[twice[1]]} twice")
    times = np.full(count.shape, np.nan)
    times[m, c] = [picture[2] for picture in pictures]
    frames = np.where(count > 0, np.cumsum(count, axis=0) - 1, -1)
    prefix = "cam_" if camera == "cam_id" else "port_"
    cameras = tuple(prefix + name if name.isdecimal() else name for name in names)
    for place, name in enumerate(cameras):
        there = np.flatnonzero(count[:, place])
        back = np.flatnonzero(np.diff(times[there, place]) <= 0)
        if len(back):
            raise PosekitError(
                f"{path}: the frame_time of camera '{name}' does not go on at sync_index {moments[there[back[0] + 1]]}"
            )
    return FrameTimes(cameras, moments.astype(np.int64), frames, times, str(path))


def _picture(path: Path, line: int, row: dict[str, str], camera: str) -> tuple[int, str, float]:
    """The sync_index, the camera and the time of one row."""
    try:
        moment, time = float(row["sync_index"]), float(row["frame_time"])
    except (TypeError, ValueError):
        raise PosekitError(
            f"{path}: line {line}: sync_index '{row['sync_index']}' and frame_time '{row['frame_time']}': numbers were expected"
        ) from None
    name = (row[camera] or "").strip()
    if not (moment == round(moment) if np.isfinite(moment) else False) or not np.isfinite(time) or not name:
        raise PosekitError(
            f"{path}: line {line}: sync_index {moment:g}, {camera} '{name}', frame_time {time:g}: a whole number, a camera and "
            "seconds were expected"
        )
    return int(moment), name.removesuffix(".0"), time


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig", newline="")
        ) as file:
            yield file
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise PosekitError(f"{path}: is no table that can be read ({' '.join(str(error).split())[:200]})") from None
