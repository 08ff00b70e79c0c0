"""The pictures of ``posekit demo``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from posekit.camera import Rig
    from posekit.keypoints import Keypoints3D

#: Shows progress: what is being done, how much of it is done, of how much.
Show = Callable[[str, int, int], None]


def write_scene(
    path: Path, people: "Keypoints3D", rig: "Rig", row: int, focus: Literal["all", "right_hand"]
) -> list[str]:
    """Render one frame in Open3D; where that cannot be had, return a line that says so."""
    from posekit.errors import PosekitError
    from posekit.view.overlay import write_picture
    from posekit.view.scene import Scene, render_frames

    try:
        write_picture(path, next(render_frames(Scene(people, rig), [row], focus=focus, size=(1280, 720))))
    except PosekitError as error:
        return [f"left out: {path.name} ({error})"]
    return []


def write_overlay(path: Path, people: "Keypoints3D", rig: "Rig", capture: Path, row: int) -> None:
    """Draw one frame's people on all videos of a capture, side by side."""
    from posekit.capture import Capture
    from posekit.view.overlay import overlay_frames, write_picture

    write_picture(path, next(overlay_frames(people, rig, Capture.open(capture).videos, [row])))
