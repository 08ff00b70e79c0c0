"""One instance in one view as a small picture for a page: the crop as it was filmed, and joints drawn over it as SVG.

The drawing is no part of the picture, so that a page can take it away and show what is below it.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from posekit.bootstrap.capture_pictures import camera_frames
from posekit.capture import Capture
from posekit.detection.hand_box import HandBox, crop_from_image, cut_crops, transform_points
from posekit.medians import median_of_known
from posekit.people.hands import HAND_AGREEMENT, hand_box_sides, whole_box_sides
from posekit.skeleton import Skeleton
from posekit.view.colours import bone_colours

#: Side (px) of a picture, and the quality of its JPEG: a hundred frames in eight views are some 10 MB.
CELL_SIZE, _JPEG_QUALITY = 160, 80

#: How much larger than B, the longer side of the instance's box, a picture is.
_MARGIN = 2.2


@dataclass(frozen=True, eq=False)
class Cell:
    """A picture of `size` px and joints in it: label_px and detected_px (K, 2), NaN where there are none; a caption each."""

    jpeg: bytes
    size: int
    label_px: NDArray[np.float64]
    detected_px: NDArray[np.float64]
    caption: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Wanted:
    """A picture to cut out of a video: of a frame's number and a camera, around `around_px` (K, 2), with what is drawn on it.

    box_px: B as it usually is in this view; of an instance of which few joints are known a picture should show the rest.
    """

    frame: int
    camera: str
    around_px: NDArray[np.float64]
    box_px: float
    label_px: NDArray[np.float64]
    detected_px: NDArray[np.float64]
    caption: tuple[str, ...] = ()


#: The style of cells, by the class names that `cell_html` gives.
CELL_STYLE = """
.cells { display: flex; flex-wrap: wrap; gap: 0.6rem; }
.cells figure { margin: 0; width: var(--cell, 160px); }
.cells svg { width: 100%; background: #181818; }
.cells figcaption { overflow-wrap: anywhere; }
.cell path { fill: none; stroke-linecap: round; stroke-linejoin: round; }
.cell .rim { stroke: #141414; stroke-width: 3.2; stroke-opacity: 0.65; }
.cell .bone { stroke-width: 1.5; }
.cell .joint { stroke-width: 3.2; }
.cell .detected { stroke: #ffffff; stroke-width: 1; stroke-dasharray: 2.5 2; }
.cell .detected-joints { stroke: #ffffff; stroke-width: 2.2; }
.cell .moved { stroke: #ff2fd0; stroke-width: 1.2; }
"""

#: What the drawings mean, for a page to say.
CELL_LEGEND = (
    "In colours: the label, by finger or by side. White and dashed: what the detector had found in this view itself. Pink: "
    "from such a joint to its label, where they are further apart than 0.2 B."
)


def cut_cells(capture: Capture, wanted: Iterable[Wanted]) -> Iterator[tuple[int, Cell]]:
    """Cut pictures out of the videos; yield each with its place in `wanted`, camera by camera.

    Left out is what has no joint to cut around. Raises PosekitError where a video lacks a frame.
    """
    rows = [(place, each) for place, each in enumerate(wanted) if np.isfinite(each.around_px).all(axis=-1).any()]
    for camera in dict.fromkeys(each.camera for _, each in rows):
        mine = [(place, each) for place, each in rows if each.camera == camera]
        frames = np.unique([each.frame for _, each in mine])
        for n, picture in camera_frames(capture, camera, frames):
            for place, each in mine:
                if each.frame == frames[n]:
                    yield place, _cut(picture, each)


def _cut(picture: UInt8[np.ndarray, "H W 3"], wanted: Wanted) -> Cell:
    around = wanted.around_px[np.isfinite(wanted.around_px).all(axis=-1)]
    side = _MARGIN * max(float(np.ptp(around, axis=0).max()), wanted.box_px, 8.0)
    boxes = HandBox((around.min(axis=0) + around.max(axis=0))[None] / 2, np.array([side]))
    to_cell = crop_from_image(boxes, CELL_SIZE)[0]
    return Cell(
        encode(cut_crops(picture, boxes, CELL_SIZE)[0]),
        CELL_SIZE,
        transform_points(to_cell, wanted.label_px),
        transform_points(to_cell, wanted.detected_px),
        wanted.caption,
    )


def usual_box(projected_px: NDArray[np.float64], detected_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """B (C,) of an instance as it usually is in each view: of its points, else its detections, (F, C, K, 2); 0 if unknown."""
    usual = [np.nan_to_num(median_of_known(whole_box_sides(joints))) for joints in (projected_px, detected_px)]
    return np.where(usual[0] > 0, *usual)


def encode(image: UInt8[np.ndarray, "H W 3"]) -> bytes:
    """An RGB picture as JPEG."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()


def closer(cell: Cell, image: UInt8[np.ndarray, "H W 3"]) -> Cell:
    """Return the part of the cell, its picture decoded as `image`, that holds the label, `CELL_SIZE` px large."""
    label = cell.label_px[np.isfinite(cell.label_px).all(axis=-1)]
    # Half of the picture at least: of an instance of which few joints are known it should show the rest.
    side = float(np.clip(_MARGIN * np.ptp(label, axis=0).max(), cell.size / 2, cell.size))
    centre = np.clip((label.min(axis=0) + label.max(axis=0)) / 2, side / 2 - 0.5, cell.size - side / 2 - 0.5)
    box = HandBox(centre[None], np.array([side]))
    to_cell = crop_from_image(box, CELL_SIZE)[0]
    label_px, detected_px = (transform_points(to_cell, joints) for joints in (cell.label_px, cell.detected_px))
    return Cell(encode(cut_crops(image, box, CELL_SIZE)[0]), CELL_SIZE, label_px, detected_px, cell.caption)


def moved(label_px: NDArray[np.floating], detected_px: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Joints (..., K) whose label lies further than 0.2 B from the detection; B is the larger one of the two."""
    box = np.fmax(hand_box_sides(label_px), hand_box_sides(detected_px))
    with np.errstate(invalid="ignore"):
        far: NDArray[np.bool_] = np.linalg.norm(label_px - detected_px, axis=-1) > HAND_AGREEMENT * box[..., None]
    return far


def cell_html(cell: Cell, skeleton: Skeleton) -> str:
    """A figure: the picture, the detection, the label, and the caption, whose lines are plain text."""
    data = base64.b64encode(cell.jpeg).decode("ascii")
    size = cell.size
    caption = "<br>".join(escape(line) for line in cell.caption)
    return (
        f'<figure><svg class="cell" viewBox="0 0 {size} {size}" role="img" aria-label="{escape(", ".join(cell.caption))}">'
        f'<image href="data:image/jpeg;base64,{data}" width="{size}" height="{size}"/>'
        f'<g class="drawn-detection">{_detection(cell, skeleton)}</g><g class="drawn-label">{_label(cell, skeleton)}</g>'
        f"</svg><figcaption>{caption}</figcaption></figure>"
    )


def _label(cell: Cell, skeleton: Skeleton) -> str:
    lines = _bones(cell.label_px, skeleton, cell.size)
    dots = _joints(cell.label_px, cell.size)
    if not dots:
        return ""
    rim = f'<path class="rim" d="{"".join(line for _, line in lines)}{"".join(dots.values())}"/>'
    colours: dict[str, list[str]] = {}
    for bone, line in lines:
        colours.setdefault(_hex(bone_colours(skeleton)[bone]), []).append(line)
    parts = [f'<path class="bone" stroke="{colour}" d="{"".join(paths)}"/>' for colour, paths in colours.items()]
    # A joint has the colour of the bone that ends in it.
    ends = {child: _hex(bone_colours(skeleton)[n]) for n, (_, child) in enumerate(skeleton.bones)}
    joints: dict[str, list[str]] = {}
    for joint, dot in dots.items():
        joints.setdefault(ends.get(joint, "#f0f0f0"), []).append(dot)
    parts += [f'<path class="joint" stroke="{colour}" d="{"".join(paths)}"/>' for colour, paths in joints.items()]
    return rim + "".join(parts)


def _detection(cell: Cell, skeleton: Skeleton) -> str:
    dots = _joints(cell.detected_px, cell.size)
    if not dots:
        return ""
    lines = "".join(line for _, line in _bones(cell.detected_px, skeleton, cell.size))
    far = np.flatnonzero(moved(cell.label_px, cell.detected_px))
    ways = "".join(_line(cell.detected_px[joint], cell.label_px[joint]) for joint in far if joint in dots)
    return (
        f'<path class="detected" d="{lines}"/><path class="detected-joints" d="{"".join(dots.values())}"/>'
        f'<path class="moved" d="{ways}"/>'
    )


def _bones(joints: NDArray[np.float64], skeleton: Skeleton, size: int) -> list[tuple[int, str]]:
    shown = _joints(joints, size)
    return [(n, _line(joints[a], joints[b])) for n, (a, b) in enumerate(skeleton.bones) if a in shown and b in shown]


def _joints(joints: NDArray[np.float64], size: int) -> dict[int, str]:
    """Dots as lines without length; a joint many pictures away is none."""
    near = np.isfinite(joints).all(axis=-1) & (np.abs(np.nan_to_num(joints)) < 10 * size).all(axis=-1)
    return {int(n): f"M{joints[n, 0] + 0.5:.1f} {joints[n, 1] + 0.5:.1f}h0" for n in np.flatnonzero(near)}


def _line(start: NDArray[np.float64], end: NDArray[np.float64]) -> str:
    # Pixel (0, 0) is a pixel's centre, SVG's the picture's corner.
    return f"M{start[0] + 0.5:.1f} {start[1] + 0.5:.1f}L{end[0] + 0.5:.1f} {end[1] + 0.5:.1f}"


def _hex(colour: NDArray[np.uint8]) -> str:
    return "#" + "".join(f"{int(value):02x}" for value in colour)
