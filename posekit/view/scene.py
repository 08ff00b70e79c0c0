"""People in 3D among their cameras, in Open3D: as pictures without a screen, or played in a window."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.io.axes import UpAxis, z_up_from
from posekit.keypoints import Keypoints3D
from posekit.view.mesh import (
    BODY_RADIUS,
    CAMERA_COLOUR,
    HAND_RADIUS,
    Mesh,
    camera_corners,
    floor_mesh,
    frustum_mesh,
    merge_meshes,
    skeleton_mesh,
)
from posekit.view.offscreen import OffscreenScene, mesh_arrays, missing_open3d, open3d_mesh
from posekit.view.viewpoint import Viewpoint, three_quarter_view, viewpoint_on, widest_view

Focus = Literal["all", "body", "left_hand", "right_hand"]

#: The floor's meshes, in metres: the finest of them that leaves at most this many to a side is taken.
_GRID_STEPS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0)
_GRID_CELLS = 16


class Scene:
    """Everything that can be shown of `keypoints` and, if given, of the cameras that saw them.

    up: the axis of the world that points up. Scenes are Z-up: `points` (F, P, J, 3) and the cameras are turned so.
    """

    def __init__(self, keypoints: Keypoints3D, rig: Rig | None = None, up: UpAxis = "z") -> None:
        turn = z_up_from(up)
        self.keypoints = keypoints
        self.points: NDArray[np.float64] = keypoints.xyz @ turn.T
        self.cameras = tuple(
            replace(camera, rotation=camera.rotation @ turn.T) for camera in (rig.cameras if rig else ())
        )
        people = _without_strays(_finite(self.points))
        if not len(people):
            raise PosekitError(f"{keypoints.source or 'the 3D keypoints'}: hold not one point that could be shown")
        centres = np.array([camera.centre_world for camera in self.cameras]).reshape(-1, 3)
        distance = np.linalg.norm(centres - np.median(people, axis=0), axis=1)
        self._depth = float(np.median(distance)) / 8 if len(distance) else 0.0
        self._frusta = [camera_corners(camera, self._depth) for camera in self.cameras]
        everything = np.concatenate((people, *self._frusta))
        extent = float(np.ptp(everything[:, :2], axis=0).max())
        step = next((step for step in _GRID_STEPS if extent / step <= _GRID_CELLS), extent / _GRID_CELLS)
        # One stray point below the feet must not sink the floor.
        lowest = [frame[:, 2].min() for frame in map(_finite, self.points) if len(frame)]
        self._floor = floor_mesh(everything, max(float(np.percentile(lowest, 5)), people[:, 2].min()), step)

    def row(self, frame: int) -> int:
        """Return the row of a frame number."""
        rows = np.flatnonzero(self.keypoints.frames == frame)
        if not len(rows):
            frames = self.keypoints.frames
            raise PosekitError(
                f"{self.keypoints.source or 'the 3D keypoints'}: have no frame {frame}; "
                f"they have {len(frames)}, from {frames.min()} to {frames.max()}"
            )
        return int(rows[0])

    def fullest_row(self, focus: Focus) -> int:
        """Return the first row in which most points in focus are there."""
        return int(np.isfinite(self._in_focus(focus)[..., 0]).sum(axis=(1, 2)).argmax())

    def still(self, focus: Focus = "all") -> Mesh:
        """Return what does not move as triangles: the floor and, where all is in focus, the cameras."""
        frusta = [frustum_mesh(camera, self._depth) for camera in self.cameras] if focus == "all" else []
        return merge_meshes((self._floor, *frusta))

    def mesh(self, row: int, focus: Focus = "all") -> Mesh:
        """Return the people of one row as triangles; a thin body where a hand is in focus, which it would hide."""
        thin = focus in ("left_hand", "right_hand")
        filled = self.keypoints.made_up(row)
        return skeleton_mesh(self.points[row], self.keypoints.skeleton, HAND_RADIUS if thin else BODY_RADIUS, filled)

    def viewpoints(self, rows: Sequence[int], focus: Focus, size: tuple[int, int]) -> list[Viewpoint]:
        """Choose where to look from in every one of `rows`.

        ``all`` and ``body`` are seen from one place, before the people, to a side and above; a hand is seen from where
        it is spread widest, by a viewer who goes along with it.
        """
        shown = self._in_focus(focus)[list(rows)]
        if not np.isfinite(shown).any():
            where = f"frame {self.keypoints.frames[rows[0]]}" if len(rows) == 1 else f"these {len(rows)} frames"
            raise PosekitError(f"{self.keypoints.source or 'the 3D keypoints'}: have no point of '{focus}' in {where}")
        if focus in ("left_hand", "right_hand"):
            return _following(shown, self._wrist(focus)[list(rows)], size)
        towards = three_quarter_view(self.points[list(rows)], self.keypoints.skeleton)
        content = _without_strays(_finite(shown))
        if focus == "all":
            content = np.concatenate((content, *self._frusta))
        return [viewpoint_on(content, towards, size)] * len(rows)

    def _in_focus(self, focus: Focus) -> NDArray[np.float64]:
        """Points (F, P, joints in focus, 3); of a hand, those of the one person of whom there are most (F, 1, 21, 3)."""
        if focus not in get_args(Focus):
            raise PosekitError(f"focus '{focus}' is not known; known are: {', '.join(get_args(Focus))}")
        parts = self.keypoints.skeleton.parts
        if focus == "all" or (focus == "body" and focus not in parts):
            return self.points
        points = self.points[:, :, self.keypoints.skeleton.part("hand" if tuple(parts) == ("hand",) else focus)]
        if focus == "body":
            return points
        person = self._person(focus)
        return points[:, person : person + 1]

    def _person(self, focus: Focus) -> int:
        """Return the person of whose hand there are most points."""
        parts = self.keypoints.skeleton.parts
        hand = self.points[:, :, self.keypoints.skeleton.part("hand" if tuple(parts) == ("hand",) else focus), 0]
        return int(np.isfinite(hand).sum(axis=(0, 2)).argmax())

    def _wrist(self, focus: Focus) -> NDArray[np.float64]:
        """Where the body ends that the hand in focus belongs to, (F, 3); NaN for a hand alone."""
        wrist = focus.replace("hand", "wrist")
        if wrist not in self.keypoints.skeleton:
            return np.full((len(self.points), 3), np.nan)
        return self.points[:, self._person(focus), self.keypoints.skeleton.index(wrist)]

    def label(self, image: UInt8[np.ndarray, "H W 3"], viewpoint: Viewpoint) -> None:
        """Write the cameras' names beside them, into the picture."""
        height = image.shape[0]
        for camera, corners in zip(self.cameras, self._frusta, strict=True):
            pixels = viewpoint.project(corners)
            if np.isfinite(pixels).all():
                above = (pixels[:, 0].mean(), pixels[:, 1].min() - height / 90)
                _write_centred(image, camera.name, above, height / 1100)


def render_frames(
    scene: Scene, rows: Sequence[int], *, focus: Focus = "all", size: tuple[int, int] = (1280, 720)
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yield a picture of each row, without a screen; see `Scene.viewpoints` for what it shows.

    Raises PosekitError where Open3D or a Vulkan driver is missing, or nothing in focus is there.
    """
    if min(size) < 16 or max(size) > 8192:
        raise PosekitError(f"a picture of {size[0]} x {size[1]} pixels cannot be rendered; 16 to 8192 are possible")
    viewpoints = scene.viewpoints(rows, focus, size)
    with OffscreenScene(size, scene.still(focus)) as offscreen:
        for row, viewpoint in zip(rows, viewpoints, strict=True):
            image = offscreen.render(scene.mesh(row, focus), viewpoint)
            if focus == "all":
                scene.label(image, viewpoint)
            yield image


def show_window(
    scene: Scene,
    rows: Sequence[int] | None = None,
    *,
    focus: Focus = "all",
    size: tuple[int, int] = (1280, 720),
    start: int = 0,
) -> None:
    """Play the scene in a window until it is closed.

    Space pauses and goes on, the arrow keys go a frame back or on; the mouse turns, moves and zooms. rows: what is played, all
    if not given. start: place in `rows` of the first one.

    Raises PosekitError where there is no screen or no Open3D.
    """
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise PosekitError("there is no screen for a window (DISPLAY is not set); render a picture or a video instead")
    try:
        with _silent():
            import open3d
    except (ImportError, OSError) as error:
        raise PosekitError(missing_open3d(str(error).splitlines()[0])) from error
    rows = range(len(scene.points)) if rows is None else rows
    viewpoint = scene.viewpoints(rows, focus, size)[start]
    visualizer = open3d.visualization.VisualizerWithKeyCallback()
    with _silent():
        opened = visualizer.create_window("posekit", size[0], size[1])
    if not opened:
        raise PosekitError("no window could be opened; render a picture or a video instead")
    player = _Player(scene, rows, focus, open3d, start)
    options = visualizer.get_render_option()
    options.light_on = False
    options.background_color = np.ones(3)
    visualizer.add_geometry(open3d_mesh(open3d, mesh_arrays(scene.still(focus))))
    visualizer.add_geometry(player.shown)
    control = visualizer.get_view_control()
    parameters = control.convert_to_pinhole_camera_parameters()
    parameters.extrinsic = viewpoint.camera_from_world
    parameters.intrinsic = open3d.camera.PinholeCameraIntrinsic(*size, viewpoint.matrix)
    control.convert_from_pinhole_camera_parameters(parameters, allow_arbitrary=True)
    # GLFW's numbers of the keys.
    visualizer.register_key_callback(32, player.pause)
    visualizer.register_key_callback(262, lambda window: player.step(window, +1))
    visualizer.register_key_callback(263, lambda window: player.step(window, -1))
    visualizer.register_animation_callback(player.tick)
    with _silent():
        visualizer.run()
        visualizer.destroy_window()


class _Player:
    """What the keys and the clock do to the window."""

    def __init__(self, scene: Scene, rows: Sequence[int], focus: Focus, open3d: Any, place: int) -> None:
        self._scene, self._rows, self._focus, self._open3d, self._place = scene, rows, focus, open3d, place
        self._playing = len(rows) > 1
        self._period = 1 / (scene.keypoints.fps or 30.0)
        self._next = time.monotonic() + self._period
        self.shown = open3d_mesh(open3d, mesh_arrays(scene.mesh(rows[place], focus)))

    def pause(self, window: Any) -> bool:
        self._playing = not self._playing
        return False

    def step(self, window: Any, steps: int) -> bool:
        self._playing = False
        self._go(window, steps)
        return False

    def tick(self, window: Any) -> bool:
        late = time.monotonic() - self._next
        if self._playing and late >= 0:
            # A slow machine leaves frames out rather than playing in slow motion.
            steps = 1 + int(late / self._period)
            self._next += steps * self._period
            self._go(window, steps)
        elif not self._playing:
            self._next = time.monotonic()
        return False

    def _go(self, window: Any, steps: int) -> None:
        self._place = (self._place + steps) % len(self._rows)
        mesh = open3d_mesh(self._open3d, mesh_arrays(self._scene.mesh(self._rows[self._place], self._focus)))
        self.shown.vertices, self.shown.triangles = mesh.vertices, mesh.triangles
        self.shown.vertex_colors = mesh.vertex_colors
        window.update_geometry(self.shown)


def _finite(points: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = points.reshape(-1, 3)
    return flat[np.isfinite(flat).all(axis=1)]


def _without_strays(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out points that lie so far off that showing them would show nothing else."""
    if not len(points):
        return points
    distance = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    kept: NDArray[np.float64] = points[distance <= 12 * np.median(distance) + 1e-9]
    return kept


def _following(hands: NDArray[np.float64], wrists: NDArray[np.float64], size: tuple[int, int]) -> list[Viewpoint]:
    """Viewpoints that go along with the hands (F, P, n, 3), all from one direction and one distance.

    wrists: (F, 3), where to look while there is no hand.
    """
    centres = wrists.copy()
    present = np.isfinite(hands).any(axis=(1, 2, 3))
    for row in np.flatnonzero(present):
        centres[row] = _finite(hands[row]).mean(axis=0)
    seen = np.flatnonzero(np.isfinite(centres[:, 0]))
    rows = np.arange(len(hands))
    path = np.stack([np.interp(rows, seen, centres[seen, axis]) for axis in range(3)], axis=1)
    # Smooth enough that jitter of single frames does not shake the picture, quick enough to follow a gesture.
    width = min(5, len(rows) // 2 * 2 + 1)
    padded = np.pad(path, ((width // 2, width // 2), (0, 0)), mode="edge")
    path = np.stack([np.convolve(padded[:, axis], np.full(width, 1 / width), "valid") for axis in range(3)], axis=1)
    around = hands - path[:, None, None]
    shapes = around.transpose(1, 0, 2, 3).reshape(-1, *hands.shape[2:])
    # The one hand in ten that is spread widest, or triangulated worst, may leave the picture; the others are seen larger.
    reach = np.array([np.linalg.norm(_finite(around[row]), axis=1).max() for row in np.flatnonzero(present)])
    kept = around[present][reach <= np.percentile(reach, 90)]
    reference = viewpoint_on(_finite(kept), widest_view(shapes), size)
    return [reference.moved(offset) for offset in path]


def _write_centred(image: UInt8[np.ndarray, "H W 3"], text: str, place: tuple[float, float], scale: float) -> None:
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    origin = (round(place[0] - width / 2), round(place[1]))
    for colour, thickness in (((255, 255, 255), 4), (CAMERA_COLOUR, 1)):
        cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what Open3D's libraries write by themselves from stdout and stderr."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        for number, copy in enumerate(saved, start=1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
