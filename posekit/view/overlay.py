"""Skeletons drawn on pictures: one of them, or the reprojection of people in 3D on every view of a capture."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import ArrayLike, NDArray

from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.io.files import write_whole
from posekit.io.video import VideoReader
from posekit.keypoints import Keypoints3D
from posekit.skeleton import Skeleton
from posekit.synchrony import Synchrony
from posekit.view.colours import LEFT_HAND, RIGHT_HAND, bone_colours, fine_joint_mask, joint_colours, paler

Image = UInt8[np.ndarray, "H W 3"]
#: Names of pictures that can be written.
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_BACKGROUND = 24
_GAP = 4
_OUTLINE = (20, 20, 20)
#: Sub-pixel places are given to OpenCV in units of 2^-4 px.
_SHIFT = 4
#: The crop round a hand or a body in focus is this much wider than the joints.
_CROP_SCALE = {"left_hand": 2.0, "right_hand": 2.0, "body": 1.25}


def draw_skeleton(
    image: Image,
    xy: ArrayLike,
    skeleton: Skeleton,
    confidence: ArrayLike | None = None,
    *,
    min_confidence: float = 0.0,
    thickness: float | None = None,
    filled: ArrayLike | None = None,
) -> None:
    """Draw one skeleton into an RGB picture, in the colours of its sides.

    xy: (J, 2) px; a joint that is NaN, or whose confidence (J,) is not above `min_confidence`, is not drawn, nor are its
    bones. thickness: of a body's bones in px, by the picture's size if not given; a hand's are half of it. filled: (J,),
    joints that were filled in; they and their bones are paler.
    """
    points = np.asarray(xy, dtype=np.float64)
    height, width = image.shape[:2]
    # Beyond a hundred pictures' widths OpenCV's integers overflow, and nothing of the bone shows.
    seen = np.isfinite(points).all(axis=1) & (np.abs(np.nan_to_num(points)) < 100 * max(width, height)).all(axis=1)
    if confidence is not None:
        seen &= np.asarray(confidence) > min_confidence
    body = max(1.0, np.hypot(width, height) / 400) if thickness is None else thickness
    fine = fine_joint_mask(skeleton)
    pale = np.zeros(len(points), dtype=bool) if filled is None else np.asarray(filled, dtype=bool)
    ends = np.array(skeleton.bones, dtype=np.int64).reshape(-1, 2)
    pale_bones = np.asarray(pale[ends].any(axis=1))
    places = [
        tuple(int(value) for value in np.round(point * 2**_SHIFT)) if ok else (0, 0)
        for point, ok in zip(points, seen, strict=True)
    ]
    sizes = np.where(fine, 0.5 * body, body)
    bones = [
        (places[a], places[b], tuple(colour.tolist()), min(sizes[a], sizes[b]))
        for (a, b), colour in zip(skeleton.bones, paler(bone_colours(skeleton), pale_bones), strict=True)
        if seen[a] and seen[b]
    ]
    balls = [
        (places[joint], tuple(colour.tolist()), 1.1 * sizes[joint])
        for joint, colour in enumerate(paler(joint_colours(skeleton), pale))
        if seen[joint]
    ]
    # A dark rim below everything keeps each colour readable before each background.
    for start, end, _, size in bones:
        cv2.line(image, start, end, _OUTLINE, max(2, round(1.7 * size)), cv2.LINE_AA, _SHIFT)
    for centre, _, size in balls:
        cv2.circle(image, centre, round((1.35 * size) * 2**_SHIFT), _OUTLINE, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    for start, end, colour, size in bones:
        cv2.line(image, start, end, colour, max(1, round(size)), cv2.LINE_AA, _SHIFT)
    for centre, colour, size in balls:
        cv2.circle(image, centre, round(size * 2**_SHIFT), colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


@dataclass(frozen=True)
class _Cell:
    """A part of a view's picture and how large it is shown: pixel p of the view is scale (p - corner + 1/2) - 1/2 here."""

    corner: tuple[int, int]
    shape: tuple[int, int]  # height, width in the view
    scale: float


def overlay_frames(
    keypoints: Keypoints3D,
    rig: Rig,
    videos: Mapping[str, Path],
    rows: Sequence[int],
    *,
    focus: str = "all",
    size: tuple[int, int] = (1920, 1080),
    synchrony: Synchrony | None = None,
) -> Iterator[Image]:
    """Yield, for each of `rows`, all views side by side with the people's reprojection, named and numbered.

    rows: ascending by frame number. videos: camera name -> file; cameras without a video or not in the rig are left out.
    focus: ``all`` shows whole pictures; ``body``, ``left_hand`` and ``right_hand`` the part of each that holds them.
    size: (width, height) px that the sheet may fill. synchrony: how the cameras are in step, by which the frame of each video
    is the one nearest to the moment; dark where there is none.

    Raises PosekitError where no camera has both video and calibration, or a video lacks a frame.
    """
    names = [name for name in rig.names if name in videos]
    if not names:
        raise PosekitError(
            f"none of the videos ({', '.join(videos)}) is of a camera of {rig.source or 'the rig'} ({', '.join(rig.names)})"
        )
    readers = {name: VideoReader(videos[name]) for name in names}
    pixels = {name: rig[name].project(keypoints.xyz[list(rows)]) for name in names}
    windows = {name: _windows(pixels[name], keypoints.skeleton, focus, readers[name].size) for name in names}
    for name in names:
        rig.check_video_size(name, readers[name].size, str(videos[name]))
    cell_sizes = {name: windows[name][0].shape[::-1] for name in names}
    columns, scales, cell = _layout([cell_sizes[name] for name in names], size)
    numbers = [int(keypoints.frames[row]) for row in rows]
    if numbers != sorted(numbers):
        raise ValueError("rows must ascend by frame number")
    streams = [_pictures(readers[name], _own_numbers(numbers, name, readers[name], synchrony)) for name in names]
    for place, pictures in enumerate(zip(*streams, strict=True)):
        drawn = []
        for (own, image), name, scale in zip(pictures, names, scales, strict=True):
            window = windows[name][place]
            view = _cut(image, _Cell(window.corner, window.shape, scale))
            thickness = max(view.shape) / 70 if focus in ("left_hand", "right_hand") else None
            for person, filled in zip(pixels[name][place], keypoints.made_up(rows[place]), strict=True):
                pixels_here = (person - window.corner + 0.5) * scale - 0.5
                draw_skeleton(view, pixels_here, keypoints.skeleton, thickness=thickness, filled=filled)
            number = numbers[place]
            write_caption(
                view, f"{name}  frame {number}" + ("" if own == number else f" (its own {own if own >= 0 else '-'})")
            )
            drawn.append(view)
        yield tile(drawn, columns, cell)


def _own_numbers(numbers: list[int], camera: str, reader: VideoReader, synchrony: Synchrony | None) -> list[int]:
    """Which frames of a camera's video belong to these; -1 for none."""
    if synchrony is None or camera not in synchrony.cameras:
        return numbers
    return synchrony.nearest_pictures(np.array(numbers), camera, reader.frame_count).tolist()


def _pictures(reader: VideoReader, numbers: list[int]) -> Iterator[tuple[int, Image]]:
    """Yield a video's frames of these numbers, ascending but for -1, of which there is no picture; one may come twice."""
    stream = reader.select(number for number in numbers if number >= 0)
    held: tuple[int, Image] = (-1, np.full((*reader.size[::-1], 3), _BACKGROUND, dtype=np.uint8))
    nothing = held[1]
    for number in numbers:
        if number < 0:
            yield -1, nothing
            continue
        if held[0] != number:
            held = next(stream)
        yield held


def _windows(pixels: NDArray[np.float64], skeleton: Skeleton, focus: str, size: tuple[int, int]) -> list[_Cell]:
    """Choose the part of a view to show in every frame: all of it, or a square of one size that goes with the focus.

    pixels: (F, P, J, 2).
    """
    if focus == "all" or (focus == "body" and focus not in skeleton.parts):
        return [_Cell((0, 0), size[::-1], 1.0)] * len(pixels)
    part = skeleton.part("hand" if tuple(skeleton.parts) == ("hand",) else focus)
    # Only the person of whom there is most: a square round two people's hands would show neither.
    chosen = pixels[:, int(np.isfinite(pixels[:, :, part, 0]).sum(axis=(0, 2)).argmax())][:, part]
    boxes = np.full((len(pixels), 4), np.nan)
    for row, joints in enumerate(chosen):
        seen = joints[np.isfinite(joints).all(axis=-1)]
        if len(seen) >= len(part) / 2:
            boxes[row] = [*seen.min(axis=0), *seen.max(axis=0)]
    rows = np.arange(len(boxes))
    known = np.flatnonzero(np.isfinite(boxes[:, 0]))
    if not len(known):
        return [_Cell((0, 0), size[::-1], 1.0)] * len(pixels)
    boxes = np.stack([np.interp(rows, known, boxes[known, side]) for side in range(4)], axis=1)
    length = float(np.percentile((boxes[:, 2:] - boxes[:, :2]).max(axis=1), 98))
    side = int(np.clip(_CROP_SCALE[focus] * length, 32, 4 * max(size)))
    corners = np.round((boxes[:, :2] + boxes[:, 2:] - side) / 2).astype(int)
    # A hand that is far outside the picture is no reason to make one that far out.
    corners = np.clip(corners, -side, np.array(size))
    return [_Cell((int(x), int(y)), (side, side), 1.0) for x, y in corners]


def _cut(image: Image, cell: _Cell) -> Image:
    """Cut a part out of the picture, dark where it leaves the picture, and scale it."""
    height, width = cell.shape
    x, y = cell.corner
    part = np.full((height, width, 3), _BACKGROUND, dtype=np.uint8)
    top, left = max(0, -y), max(0, -x)
    inside = image[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
    part[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    target = (max(1, round(width * cell.scale)), max(1, round(height * cell.scale)))
    return cv2.resize(part, target, interpolation=cv2.INTER_AREA if cell.scale < 1 else cv2.INTER_CUBIC)


def _layout(sizes: Sequence[tuple[int, int]], size: tuple[int, int]) -> tuple[int, list[float], tuple[int, int]]:
    """Choose the number of columns that shows pictures of these sizes (width, height) largest; scales; size of a cell."""
    largest = np.array(sizes).max(axis=0)

    def cell_of(columns: int) -> tuple[int, int]:
        rows = -(-len(sizes) // columns)
        return (size[0] - (columns - 1) * _GAP) // columns, (size[1] - (rows - 1) * _GAP) // rows

    best = max(range(1, len(sizes) + 1), key=lambda columns: (np.array(cell_of(columns)) / largest).min())
    cell = cell_of(best)
    scales = [min(cell[0] / width, cell[1] / height) for width, height in sizes]
    # No wider or higher than the largest picture in it, even for video.
    used = [
        max(max(1, round(length[axis] * scale)) for length, scale in zip(sizes, scales, strict=True)) for axis in (0, 1)
    ]
    return best, scales, (used[0], used[1])


def tile(images: Sequence[Image], columns: int, cell: tuple[int, int], gap: int = _GAP) -> Image:
    """Put pictures side by side, row by row, each in the middle of a cell (width, height) that is no smaller."""
    rows = -(-len(images) // columns)
    width, height = cell
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), _BACKGROUND, dtype=np.uint8)
    for number, image in enumerate(images):
        y = number // columns * (height + gap) + (height - image.shape[0]) // 2
        x = number % columns * (width + gap) + (width - image.shape[1]) // 2
        sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
    return sheet


def write_caption(image: Image, text: str, *, legend: bool = True) -> None:
    """Write a line of text on a dark band at the picture's upper edge, with the colours of left and right if there is room.

    legend: False leaves these out, where colours mean something else.
    """
    height, width = image.shape[:2]
    scale = float(np.clip(width / 900, 0.35, 1.2))
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    if text_width > width - 8:
        scale *= (width - 8) / text_width
    band = min(height, round(1.9 * text_height))
    image[:band] = image[:band] // 3
    baseline = round(1.4 * text_height)
    _write(image, text, (4, baseline), scale, (255, 255, 255))
    legend_width, _ = cv2.getTextSize("left right", cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0]
    if legend and 4 + text_width + legend_width + 16 < width:
        left_width = cv2.getTextSize("left ", cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]
        _write(image, "left", (width - legend_width - 8, baseline), scale, LEFT_HAND)
        _write(image, "right", (width - legend_width - 8 + left_width, baseline), scale, RIGHT_HAND)


def _write(image: Image, text: str, place: tuple[int, int], scale: float, colour: tuple[int, int, int]) -> None:
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def check_picture_name(path: Path) -> None:
    """Raise PosekitError where a picture cannot be written under this name."""
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise PosekitError(f"{path}: a picture is written as {', '.join(PICTURE_SUFFIXES)}, not as '{path.suffix}'")


def write_picture(path: str | Path, image: Image) -> None:
    """Write an RGB picture as PNG, JPEG or WebP by its name, whole or not at all."""
    path = Path(path)
    check_picture_name(path)
    done, content = cv2.imencode(path.suffix.lower(), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        raise PosekitError(f"{path}: a picture of {image.shape[1]} x {image.shape[0]} pixels cannot be written")
    with write_whole(path) as temporary:
        temporary.write_bytes(content.tobytes())
