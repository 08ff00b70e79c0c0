"""``posekit view``: people in 3D in a window, as a picture or a video; or drawn on the videos they were seen in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from posekit.camera import Rig
    from posekit.keypoints import Keypoints3D


@dataclass(frozen=True)
class ViewConfig:
    """See people in 3D: in a window, as a picture or video, or drawn on the videos that they were seen in.

    In the window, space pauses and goes on, and the arrow keys go a frame back or on. Blue is the person's left.
    """

    keypoints: Annotated[Path, tyro.conf.Positional]
    """The keypoints3d.h5 to show."""
    rig: Path | None = None
    """The cameras to show with it; an overlay needs them."""
    videos: Path | None = None
    """Folder of videos, or capture, for the overlay; a video is called as its camera."""
    png: Path | None = None
    """Render one frame to this picture (.png, .jpg or .webp) instead of opening a window."""
    mp4: Path | None = None
    """Render all frames to this video instead of opening a window."""
    beside: Path | None = None
    """Show this video to the left of the --png or --mp4, with the people drawn on it if --rig has its camera."""
    overlay: Path | None = None
    """Draw the reprojected people on all views side by side, into this picture (one frame) or video (all frames)."""
    frame: int | None = None
    """Frame number of a picture, or where the window starts; the frame that has most points in focus if not given."""
    span: tuple[int, int] | None = None
    """First and last frame number of a video or of what the window plays; all if not given."""
    focus: Literal["all", "body", "left_hand", "right_hand"] = "all"
    """What to look at: all (people and cameras), body, left_hand or right_hand."""
    size: tuple[int, int] | None = None
    """Width and height in pixels; 1280 720 for the scene and 1920 1080 for the overlay if not given."""
    up: Literal["z", "y", "x", "-z", "-y", "-x"] = "z"
    """Axis of the world that points up."""


def main(config: ViewConfig) -> None:
    """Run the command."""
    from dataclasses import replace

    from rich.console import Console

    from posekit.apps.checks import load_people
    from posekit.calibration.formats import read_rig
    from posekit.camera import match_camera_names

    _check_outputs(config)
    # What is wrong with them is told of this file, not of the one that they were made from.
    keypoints = replace(load_people(config.keypoints), source=str(config.keypoints))
    _rows_of_span(config, keypoints)  # a span that cannot be is said before the work
    rig = match_camera_names(read_rig(config.rig), keypoints.cameras) if config.rig else None
    console = Console(stderr=True, markup=False, highlight=False)
    if config.overlay and rig:
        _write_overlay(config, keypoints, rig, console)
    if config.png or config.mp4 or not config.overlay:
        _show_scene(config, keypoints, rig, console)


def _record(config: ViewConfig, output: Path, keypoints: "Keypoints3D", rows: list[int]) -> None:
    """Write the record of a picture or video."""
    from posekit.apps.provenance import write_record

    inputs = [path for path in (config.keypoints, config.rig) if path is not None]
    frames = [int(keypoints.frames[rows[0]]), int(keypoints.frames[rows[-1]])]
    write_record(output, "view", config, inputs, frames=frames)


def _check_outputs(config: ViewConfig) -> None:
    """Say before the work what would go wrong after it, and what was asked for in vain."""
    from posekit.apps.checks import require_places
    from posekit.apps.provenance import record_path
    from posekit.errors import PosekitError

    if config.overlay and not (config.rig and config.videos):
        raise PosekitError(f"{config.overlay}: an overlay needs --rig and --videos")
    kinds = ((config.png, False, "--png"), (config.mp4, True, "--mp4"), (config.overlay, None, "--overlay"))
    for path, video, option in kinds:
        if path is not None and video is not None and _is_video(path) != video:
            raise PosekitError(f"{path}: {option} writes a {'video' if video else 'picture'}, not '{path.suffix}'")
    outputs = [path for path in (config.png, config.mp4, config.overlay) if path is not None]
    require_places((*outputs, *map(record_path, outputs)), (config.keypoints, config.rig, config.beside))
    if config.beside and not (config.png or config.mp4):
        raise PosekitError(f"--beside {config.beside}: goes with a --png or an --mp4, neither is asked for")
    videos = [path for path in (config.mp4, config.overlay) if path is not None and _is_video(path)]
    if config.span and outputs and not videos:
        raise PosekitError(f"--span {config.span[0]} {config.span[1]}: belongs to a video; a picture has one --frame")
    if config.frame is not None and outputs and len(videos) == len(outputs):
        raise PosekitError(f"--frame {config.frame}: belongs to a picture; a video has a --span of frames")
    if config.videos and not config.overlay:
        raise PosekitError(f"--videos {config.videos}: is for an --overlay, which is not asked for")
    if config.size and min(config.size) < 16:
        raise PosekitError(f"--size {config.size[0]} {config.size[1]}: at least 16 pixels are expected")


def _is_video(path: Path) -> bool:
    """Tell a video's name from a picture's; raises PosekitError where it is neither."""
    from posekit.errors import PosekitError
    from posekit.io.video import WRITTEN_VIDEO_SUFFIXES
    from posekit.view.overlay import PICTURE_SUFFIXES

    suffix = path.suffix.lower()
    if suffix in WRITTEN_VIDEO_SUFFIXES:
        return True
    if suffix in PICTURE_SUFFIXES:
        return False
    known = ", ".join((*PICTURE_SUFFIXES, *WRITTEN_VIDEO_SUFFIXES))
    raise PosekitError(f"{path}: '{path.suffix}' is not known; known are: {known}")


def _rows_of_span(config: ViewConfig, keypoints: "Keypoints3D") -> list[int]:
    """Rows of the video, in the order of their frame numbers."""
    import numpy as np

    from posekit.errors import PosekitError

    frames = keypoints.frames
    first, last = config.span or (int(frames.min()), int(frames.max()))
    rows = [int(row) for row in np.argsort(frames) if first <= frames[row] <= last]
    if not rows or first < frames.min() or last > frames.max():
        raise PosekitError(
            f"--span {first} {last}: {config.keypoints} has {len(frames)} frames, {frames.min()} to {frames.max()}"
        )
    return rows


def _rate(keypoints: "Keypoints3D", rows: list[int]) -> float:
    """Frames per second of a video of these rows; keypoints without a rate play at 30."""
    import numpy as np

    step = float(np.median(np.diff(keypoints.frames[rows]))) if len(rows) > 1 else 1.0
    return (keypoints.fps or 30.0) / step


def _show_scene(config: ViewConfig, keypoints: "Keypoints3D", rig: "Rig | None", console: Any) -> None:
    from posekit.errors import PosekitError
    from posekit.io.video import write_video
    from posekit.view.overlay import write_picture
    from posekit.view.scene import Scene, render_frames, show_window

    scene = Scene(keypoints, rig, config.up)
    size = config.size or (1280, 720)
    start = scene.fullest_row(config.focus) if config.frame is None else scene.row(config.frame)
    if config.png:
        pictures = render_frames(scene, [start], focus=config.focus, size=size)
        write_picture(config.png, next(_with_video(config, pictures, keypoints, [start], rig)))
        _record(config, config.png, keypoints, [start])
        console.print(f"{config.png}: frame {keypoints.frames[start]}")
    if config.mp4:
        rows = _rows_of_span(config, keypoints)
        frames = _with_video(config, render_frames(scene, rows, focus=config.focus, size=size), keypoints, rows, rig)
        write_video(config.mp4, _rate(keypoints, rows), with_progress(frames, len(rows), "rendering"))
        _record(config, config.mp4, keypoints, rows)
        console.print(f"{config.mp4}: {len(rows)} frames")
    if not (config.png or config.mp4):
        rows = _rows_of_span(config, keypoints)
        if config.frame is not None and start not in rows:
            raise PosekitError(f"--frame {config.frame}: is not in --span {config.span}")
        show_window(scene, rows, focus=config.focus, size=size, start=0 if config.frame is None else rows.index(start))


def _with_video(
    config: ViewConfig, pictures: Iterator[Any], keypoints: "Keypoints3D", rows: list[int], rig: "Rig | None"
) -> Iterator[Any]:
    """Put the video beside the scene's pictures, if one is given."""
    from posekit.view.beside import beside_video

    return pictures if config.beside is None else beside_video(pictures, keypoints, rows, config.beside, rig)


def _write_overlay(config: ViewConfig, keypoints: "Keypoints3D", rig: "Rig", console: Any) -> None:
    import warnings

    from posekit.apps.checks import require_places
    from posekit.apps.in_step import tell
    from posekit.capture import Capture
    from posekit.errors import PosekitWarning
    from posekit.io.video import write_video
    from posekit.synchrony import synchrony_of
    from posekit.view.overlay import overlay_frames, write_picture
    from posekit.view.scene import Scene

    assert config.overlay is not None
    assert config.videos is not None
    capture = Capture.open(config.videos)
    videos = capture.videos
    require_places((config.overlay,), videos.values())
    if alone := sorted(set(rig.names) ^ set(videos)):
        message = f"left out of the overlay, without a video or without a calibration: {', '.join(alone)}"
        warnings.warn(PosekitWarning(message), stacklevel=2)
    video = _is_video(config.overlay)
    if video:
        rows = _rows_of_span(config, keypoints)
    else:
        scene = Scene(keypoints)
        rows = [scene.fullest_row(config.focus) if config.frame is None else scene.row(config.frame)]
    shared = [name for name in rig.names if name in videos]
    synchrony = synchrony_of(rig, shared, keypoints.fps or capture.fps, capture.times)
    if synchrony is not None:
        tell(synchrony, "each video is shown at its nearest frame")
    sheets = overlay_frames(
        keypoints, rig, videos, rows, focus=config.focus, size=config.size or (1920, 1080), synchrony=synchrony
    )
    if video:
        write_video(config.overlay, _rate(keypoints, rows), with_progress(sheets, len(rows), "drawing"))
        console.print(f"{config.overlay}: {len(rows)} frames")
    else:
        write_picture(config.overlay, next(sheets))
        console.print(f"{config.overlay}: frame {keypoints.frames[rows[0]]}")
    _record(config, config.overlay, keypoints, rows)


def with_progress(items: Iterator[Any], total: int, what: str) -> Iterator[Any]:
    """Pass items on while showing how many there were, the rate and the time to go."""
    from posekit.apps.progress import progress_bars

    with progress_bars() as show:
        for count, item in enumerate(items, start=1):
            yield item
            show(what, count, total)
