"""A capture: a folder of synchronized videos, one per camera."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.io.files import natural_order, require_folder
from posekit.io.timestamps import FrameTimes, find_timestamps, read_timestamps
from posekit.io.video import VideoReader
from posekit.synchrony import Synchrony, synchrony_of

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm")


@dataclass(frozen=True)
class Capture:
    """A folder with ``videos/<camera>.mp4`` (or the videos themselves), and perhaps ``calibration.toml``.

    videos: camera name -> its video. fps and frame_count: common to all of them. frame_counts: of each video. times: when
    their pictures were taken, where a ``timestamps.csv`` lies beside them; frame_count is then that of its moments. synchrony:
    how the cameras are in step; None where frame f of every video is of moment f, and before `in_step_with`.
    """

    folder: Path
    videos: dict[str, Path]
    sizes: dict[str, tuple[int, int]]
    fps: float
    frame_count: int
    frame_counts: dict[str, int]
    times: FrameTimes | None = None
    synchrony: Synchrony | None = None

    @classmethod
    def open(cls, folder: str | Path) -> "Capture":
        """Open a capture.

        Raises PosekitError where there is no video, where videos differ in rate, and where they differ in length without a
        timestamps.csv that says which of their frames belong together.
        """
        folder = require_folder(folder, "a capture")
        place = folder / "videos" if (folder / "videos").is_dir() else folder
        videos: dict[str, Path] = {}
        for path in sorted(place.iterdir(), key=lambda path: natural_order(path.name)):
            if path.suffix.lower() not in VIDEO_SUFFIXES or path.name.startswith(".") or not path.is_file():
                continue
            if path.stem in videos:
                raise PosekitError(
                    f"{place}: {path.name} and {videos[path.stem].name} are both of camera '{path.stem}'"
                )
            videos[path.stem] = path
        if not videos:
            raise PosekitError(f"{place}: holds no video ({', '.join(VIDEO_SUFFIXES)})")
        readers = {name: VideoReader(path) for name, path in videos.items()}
        first = next(iter(readers))
        found = find_timestamps(folder)
        times = None if found is None else read_timestamps(found).of(tuple(videos))
        for name, reader in readers.items():
            if times is not None:
                times.check_frame_count(name, reader.frame_count, str(videos[name]))
            elif reader.frame_count != readers[first].frame_count:
                raise PosekitError(
                    f"{videos[name]}: has {reader.frame_count} frames where {videos[first].name} has "
                    f"{readers[first].frame_count}; synchronized videos of one length are expected, or a timestamps.csv "
                    "beside them"
                )
            # 1 %: containers round the rate; 59.94 beside 60 is no mistake, 30 beside 60 is.
            if abs(reader.fps - readers[first].fps) > 0.01 * readers[first].fps:
                raise PosekitError(
                    f"{videos[name]}: runs at {reader.fps:g} frames/s where {videos[first].name} has {readers[first].fps:g}"
                )
        return cls(
            folder,
            videos,
            {name: reader.size for name, reader in readers.items()},
            readers[first].fps,
            readers[first].frame_count if times is None else len(times.moments),
            {name: reader.frame_count for name, reader in readers.items()},
            times,
        )

    def in_step_with(self, rig: Rig) -> "Capture":
        """Return the capture with its synchrony: by its times and the rig's time offsets."""
        return replace(self, synchrony=synchrony_of(rig, tuple(self.videos), self.fps, self.times))

    def video_frames(self, camera: str, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number, in one camera's video, of the frame nearest to each of some moments, (F,); -1 where it has none."""
        if self.synchrony is None:
            return np.where((frames >= 0) & (frames < self.frame_counts[camera]), frames, -1)
        return self.synchrony.nearest_pictures(frames, camera, self.frame_counts[camera])

    def check_rig(self, rig: Rig) -> None:
        """Raise PosekitError where a video has no camera in the rig; warn where the picture's size differs a little."""
        for name, path in self.videos.items():
            if name not in rig.names:
                raise PosekitError(f"{rig.source}: has no camera '{name}' for {path}; it has: {', '.join(rig.names)}")
        for name, path in self.videos.items():
            rig.check_video_size(name, self.sizes[name], str(path))
