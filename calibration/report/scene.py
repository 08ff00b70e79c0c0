"""The rig in 3D for a calibration's report: an SVG that can be read as it is, and a script that lets the mouse turn it."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from posekit.calibration.report.pictures import nice_step
from posekit.calibration.world.frame import axes_from, up_in_pictures
from posekit.camera import Camera, Rig

Array = NDArray[np.float64]

_WIDTH, _HEIGHT = 760, 460

#: Where the scene is looked at from: azimuth and elevation (rad).
_AZIMUTH, _ELEVATION = -1.0, 0.5

#: A camera's frustum is this share of the scene's radius deep.
_FRUSTUM = 0.16


@dataclass(frozen=True, eq=False)
class _Line:
    """Lines of one look, each (n, 3) metres; title: what is shown where the mouse rests on it."""

    css: str
    lines: tuple[Array, ...]
    title: str = ""


def draw_scene(rig: Rig, boards: Float[np.ndarray, "N 4 3"], *, z_up: bool) -> str:
    """HTML of a rig and the boards' outlines, in the rig's world.

    z_up: the world has z up and its floor at 0, which is drawn; else up is taken from how the cameras are held, on the whole.
    """
    turn = np.eye(3) if z_up else _upright(rig)
    centres = np.stack([camera.centre_world for camera in rig.cameras])
    # Boards that were misplaced must not make the cameras small: they may reach as far as most do.
    near = np.quantile(boards.reshape(-1, 3), (0.02, 0.98), axis=0) if len(boards) else centres[:0]
    extent = np.concatenate((centres, near)) @ turn.T
    middle = (extent.min(axis=0) + extent.max(axis=0)) / 2
    radius = max(float(np.linalg.norm(extent - middle, axis=-1).max()), 1e-3)
    lines: list[_Line] = []
    if z_up:
        lines.append(_Line("floor", _floor(middle, radius)))
    if len(boards):
        lines.append(_Line("boards", tuple(_closed(board) @ turn.T for board in boards)))
    step = nice_step(radius / 4)
    for number, css in enumerate(("x", "y", "z")):
        lines.append(
            _Line(f"axis-{css}", (np.stack((np.zeros(3), step * np.eye(3)[number])) @ turn.T,), f"{css}, {step:g} m")
        )
    for camera in rig.cameras:
        place = ", ".join(f"{value:.3f}" for value in camera.centre_world)
        frustum = tuple(line @ turn.T for line in _frustum(camera, _FRUSTUM * radius))
        lines.append(_Line("camera", frustum, f"{camera.name}: at ({place}) m"))
    labels = [(camera.name, turn @ camera.centre_world) for camera in rig.cameras]
    return _markup(lines, labels, middle, radius)


def _upright(rig: Rig) -> Array:
    """A turn (3, 3) after which z is up."""
    up = up_in_pictures(rig)
    ahead = rig.cameras[0].rotation[2]
    return axes_from(up, ahead if abs(ahead @ up) < 0.9 else rig.cameras[0].rotation[0])


def _floor(middle: Array, radius: float) -> tuple[Array, ...]:
    step = nice_step(radius / 5)
    low, high = (np.floor((middle[:2] - radius) / step) * step, np.ceil((middle[:2] + radius) / step) * step)
    lines = []
    for axis in (0, 1):
        for value in np.arange(low[axis], high[axis] + step / 2, step):
            ends = np.zeros((2, 3))
            ends[:, axis] = value
            ends[:, 1 - axis] = low[1 - axis], high[1 - axis]
            lines.append(ends)
    return tuple(lines)


def _frustum(camera: Camera, depth: float) -> tuple[Array, ...]:
    """What a camera looks at, without its lens: the edges of a pyramid, and a mark on the upper side of the picture."""
    width, height = camera.size
    pixels = np.array([(0, 0, 1), (width, 0, 1), (width, height, 1), (0, height, 1), (width / 2, -0.25 * height, 1)])
    rays = pixels @ np.linalg.inv(camera.matrix).T
    # A fisheye's picture corners would be far off in a pinhole's plane.
    rays[:, :2] = np.clip(rays[:, :2], -1.2, 1.2)
    tips = camera.centre_world + depth * rays @ camera.rotation
    centre = camera.centre_world
    return (
        _closed(tips[:4]),
        np.stack((tips[0], centre, tips[1])),
        np.stack((tips[2], centre, tips[3])),
        np.stack((tips[0], tips[4], tips[1])),
    )


def _closed(corners: Array) -> Array:
    return np.concatenate((corners, corners[:1]))


def _markup(lines: Sequence[_Line], labels: Sequence[tuple[str, Array]], middle: Array, radius: float) -> str:
    zoom = 0.42 * min(_WIDTH, _HEIGHT) / radius * 1.15
    right = np.array((-math.sin(_AZIMUTH), math.cos(_AZIMUTH), 0))
    up = np.array(
        (
            -math.sin(_ELEVATION) * math.cos(_AZIMUTH),
            -math.sin(_ELEVATION) * math.sin(_AZIMUTH),
            math.cos(_ELEVATION),
        )
    )

    def seen(points: Array) -> Array:
        return np.stack(
            (_WIDTH / 2 + (points - middle) @ right * zoom, _HEIGHT / 2 - (points - middle) @ up * zoom), axis=-1
        )

    drawn = []
    for line in lines:
        path = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in seen(points)) for points in line.lines)
        title = f"<title>{escape(line.title)}</title>" if line.title else ""
        drawn.append(f'<path class="{line.css}" d="{path}">{title}</path>')
    for name, point in labels:
        x, y = seen(point)
        drawn.append(f'<text class="name" x="{x + 5:.1f}" y="{y - 5:.1f}">{escape(name)}</text>')
    step = nice_step(60 / zoom)
    data = {
        "middle": _rounded(middle),
        "zoom": round(zoom, 4),
        "view": [_AZIMUTH, _ELEVATION],
        "size": [_WIDTH, _HEIGHT],
        "lines": [[_rounded(points) for points in line.lines] for line in lines],
        "labels": [_rounded(point) for _, point in labels],
    }
    # "<" could close the script; JSON may spell it otherwise.
    content = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<svg id="scene" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="the rig in 3D">{"".join(drawn)}'
        f'<path class="scale" d="M20 {_HEIGHT - 20}h{step * zoom:.1f}"/>'
        f'<text class="scale" x="20" y="{_HEIGHT - 27}">{step:g} m</text></svg>'
        '<p class="hint">Drag to turn, wheel to enlarge, double click to begin again. Cameras with their field of view (the '
        "roof is the upper side of the picture), boards as thin blue outlines; the axes x red, y green, z blue.</p>"
        f'<script type="application/json" id="scene-data">{content}</script><script>{_SCRIPT}</script>'
    )


def _rounded(points: Array) -> list[object]:
    return list(np.round(points, 3).tolist())


#: Draws the same elements, in the same order, from another side; without it the picture stays as it is.
_SCRIPT = """
(() => {
  const svg = document.getElementById("scene");
  const data = JSON.parse(document.getElementById("scene-data").textContent);
  const [width, height] = data.size;
  const paths = svg.querySelectorAll("path:not(.scale)"), names = svg.querySelectorAll("text.name");
  const bar = svg.querySelector("path.scale"), label = svg.querySelector("text.scale");
  let [azimuth, elevation] = data.view, zoom = data.zoom, held = null;
  const niceStep = about => {
    const power = 10 ** Math.floor(Math.log10(about));
    return [1, 2, 5, 10].map(factor => factor * power).find(step => step >= about * (1 - 1e-9));
  };
  const draw = () => {
    const sa = Math.sin(azimuth), ca = Math.cos(azimuth), se = Math.sin(elevation), ce = Math.cos(elevation);
    const seen = point => {
      const [x, y, z] = point.map((value, axis) => value - data.middle[axis]);
      return [width / 2 + zoom * (ca * y - sa * x), height / 2 - zoom * (ce * z - se * (ca * x + sa * y))];
    };
    const path = line => "M" + line.map(point => seen(point).map(value => value.toFixed(1)).join(" ")).join("L");
    data.lines.forEach((lines, n) => paths[n].setAttribute("d", lines.map(path).join("")));
    data.labels.forEach((point, n) => {
      const [x, y] = seen(point);
      names[n].setAttribute("x", (x + 5).toFixed(1));
      names[n].setAttribute("y", (y - 5).toFixed(1));
    });
    const step = niceStep(60 / zoom);
    bar.setAttribute("d", `M20 ${height - 20}h${(step * zoom).toFixed(1)}`);
    label.textContent = `${Number(step.toPrecision(3))} m`;
  };
  svg.addEventListener("pointerdown", event => {
    held = [event.clientX, event.clientY];
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", event => {
    if (!held) return;
    azimuth -= (event.clientX - held[0]) / 150;
    elevation = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, elevation + (event.clientY - held[1]) / 150));
    held = [event.clientX, event.clientY];
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { held = null; });
  svg.addEventListener("wheel", event => {
    event.preventDefault();
    zoom *= Math.exp(-event.deltaY / 600);
    draw();
  }, { passive: false });
  svg.addEventListener("dblclick", () => {
    [azimuth, elevation] = data.view;
    zoom = data.zoom;
    draw();
  });
})();
"""
