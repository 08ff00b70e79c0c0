"""A capture: a folder of synchronized videos, one per camera."""

from dataclasses import dataclass
from pathlib import Path

from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.io.files import natural_order, require_folder
from posekit.io.video import VideoReader

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm")


@dataclass(frozen=True)
class Capture:
    """A folder with ``videos/<camera>.mp4`` (or the videos themselves), and perhaps ``calibration.toml``.

    videos: camera name -> its video. fps and frame_count: common to all of them.
    """

    folder: Path
    videos: dict[str, Path]
    sizes: dict[str, tuple[int, int]]
    fps: float
    frame_count: int

    @classmethod
    def open(cls, folder: str | Path) -> "Capture":
        """Open a capture; raises PosekitError where there is no video, or where videos differ in length or rate."""
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
        for name, reader in readers.items():
            if reader.frame_count != readers[first].frame_count:
                raise PosekitError(
                    f"{videos[name]}: has {reader.frame_count} frames where {videos[first].name} has "
                    f"{readers[first].frame_count}; synchronized videos of one length are expected"
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
            readers[first].frame_count,
        )

    def check_rig(self, rig: Rig) -> None:
        """Raise PosekitError where a video has no camera in the rig; warn where the picture's size differs a little."""
        for name, path in self.videos.items():
            if name not in rig.names:
                raise PosekitError(f"{rig.source}: has no camera '{name}' for {path}; it has: {', '.join(rig.names)}")
        for name, path in self.videos.items():
            rig.check_video_size(name, self.sizes[name], str(path))
