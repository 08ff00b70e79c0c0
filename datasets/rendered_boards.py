"""Pictures, stills and videos of synthetic calibration boards, as a rig's cameras would take them: lens, blur and noise."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from posekit.calibration.boards.board import Board
from posekit.calibration.boards.drawing import board_image
from posekit.camera import Camera
from posekit.datasets.synthetic_boards import FilmedBoard
from posekit.io.files import write_whole
from posekit.io.video import write_video

Array = NDArray[np.float64]

#: Grey levels of ink, paper and the wall behind.
_INK, _PAPER, _WALL = 35.0, 215.0, 120.0
#: Pixels to a square of the print, and empty paper around it (squares).
_PRINT_PX, _MARGIN = 96, 0.5
#: The lens bends so little within this many pixels that a straight line between will do (to 0.002 px).
_LENS_STEP = 4
#: Each pixel is the mean of so many by so many.
_OVERSAMPLE = 2


@dataclass(frozen=True)
class PictureStyle:
    """What becomes of one camera's pictures.

    inverted: the board is printed white on black. mirrored: left and right are exchanged, as by a telephone's front camera.
    quarter_turns: the camera is mounted turned; its pictures stand so many quarters counter-clockwise. empty: there is no
    board. black: nothing but noise. noise: grey levels, one standard deviation. blur_px: of the lens, one standard deviation.
    """

    inverted: bool = False
    mirrored: bool = False
    quarter_turns: int = 0
    empty: bool = False
    black: bool = False
    noise: float = 1.5
    blur_px: float = 0.5


PLAIN = PictureStyle()


class BoardPainter:
    """One camera's pictures of one board."""

    def __init__(self, camera: Camera, board: Board, style: PictureStyle = PLAIN, *, seed: int = 0) -> None:
        self._camera = camera
        self._style = style
        self._rng = np.random.default_rng(seed)
        printed = board_image(board, board.square_m / _PRINT_PX, _MARGIN * board.square_m) / 255.0
        if style.inverted:
            printed = 1 - printed
        self._prints = _smaller_and_smaller((_INK + (_PAPER - _INK) * printed).astype(np.float32))
        self._px_per_m = _PRINT_PX / board.square_m
        low, high = board.outline_m[0, :2], board.outline_m[2, :2]
        self._origin = low - _MARGIN * board.square_m
        end = high + _MARGIN * board.square_m
        self._corners = np.array([(x, y, 0) for x in (self._origin[0], end[0]) for y in (self._origin[1], end[1])])
        width, height = camera.size
        self._columns, self._rows = (
            np.arange(-_LENS_STEP, side + 2 * _LENS_STEP, _LENS_STEP) for side in (width, height)
        )
        rays = camera.undistort(np.stack(np.meshgrid(self._columns, self._rows), axis=-1))
        self._rays = np.concatenate((rays, np.ones_like(rays[..., :1])), axis=-1)
        self._wall = self._paint_wall()

    def picture(
        self, rotation: Float[np.ndarray, "3 3"] | None, translation: Float[np.ndarray, "3"] | None
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Take a picture of the board at world_from_board (metres); without one, of the wall alone."""
        style = self._style
        image = self._wall.copy()
        if rotation is not None and translation is not None and not (style.empty or style.black):
            self._paint_board(image, self._camera.rotation @ rotation, self._camera.rotation @ translation)
        if style.black:
            image[:] = 4.0
        elif style.blur_px > 0:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), style.blur_px), dtype=np.float32)
        image += style.noise * self._rng.standard_normal(image.shape, dtype=np.float32)
        grey = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        if style.mirrored:
            grey = grey[:, ::-1]
        return np.repeat(np.rot90(grey, style.quarter_turns)[..., None], 3, axis=-1)

    def _paint_wall(self) -> NDArray[np.float32]:
        """A grey wall under uneven light."""
        width, height = self._camera.size
        uneven = self._rng.normal(0, 22, (5, 6)).astype(np.float32)
        return np.asarray(_WALL + cv2.resize(uneven, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)

    def _paint_board(self, image: NDArray[np.float32], rotation: Array, translation: Array) -> None:
        """Cover the wall with the board, wherever it lies before the camera."""
        translation = translation + self._camera.translation
        box = self._box(self._corners @ rotation.T + translation)
        if box is None:
            return
        left, top, right, bottom = box
        # A ray meets the board's plane where board_from_ray has it; the third number is one over the depth.
        board_from_ray = np.linalg.inv(np.column_stack((rotation[:, 0], rotation[:, 1], translation)))
        x, y, nearness = self._finely(self._rays @ board_from_ray.T, box)
        nearness[nearness <= 1e-9] = np.nan  # the plane lies behind
        x, y = ((met / nearness - start) * self._px_per_m for met, start in zip((x, y), self._origin, strict=True))
        level = self._level(x, y)
        sharp = self._prints[level]
        x, y = ((np.nan_to_num(place, nan=-1e6) / 2**level - 0.5).astype(np.float32) for place in (x, y))
        found = cv2.remap(sharp, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if rotation[:, 2] @ translation < 0:
            found[:] = _WALL / 2  # its back
        height, width = sharp.shape
        covered = ((x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)).astype(np.float32)
        size = (right - left, bottom - top)
        share = cv2.resize(covered, size, interpolation=cv2.INTER_AREA)
        painted = cv2.resize(found * covered, size, interpolation=cv2.INTER_AREA)
        part = image[top:bottom, left:right]
        part *= 1 - share
        part += painted

    def _box(self, corners: Array) -> tuple[int, int, int, int] | None:
        """The part of the picture that the board may be in: left, top, right, bottom."""
        width, height = self._camera.size
        if (corners[:, 2] <= 0).all():
            return None
        away = self._camera.rotation.T @ (corners - self._camera.translation).T
        pixels = self._camera.project(away.T)
        if not np.isfinite(pixels).all():
            return 0, 0, width, height
        # A lens can bend an edge outwards, past its ends.
        slack = 3 + 0.1 * np.ptp(pixels, axis=0).max()
        left, top = np.maximum(np.floor(pixels.min(axis=0) - slack), 0).astype(int)
        right, bottom = np.minimum(np.ceil(pixels.max(axis=0) + slack), (width, height)).astype(int)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def _finely(self, values: Array, box: tuple[int, int, int, int]) -> list[Array]:
        """The last axis' values at the finer pixels of a box, (h, w) each, from those at the knots of the lens."""
        left, top, right, bottom = box
        columns = slice(left // _LENS_STEP, right // _LENS_STEP + 3)
        rows = slice(top // _LENS_STEP, bottom // _LENS_STEP + 3)
        across = _between(left + _finer(right - left), self._columns[columns])
        down = _between(top + _finer(bottom - top), self._rows[rows])
        return [down @ values[rows, columns, axis] @ across.T for axis in range(values.shape[-1])]

    def _level(self, x: Array, y: Array) -> int:
        """Which of the smaller prints has about as many pixels as the picture has in the middle row of the board."""
        middle = len(x) // 2
        step = np.hypot(np.diff(x[middle]), np.diff(y[middle]))
        near = np.isfinite(step) & (np.abs(x[middle, 1:]) < 2 * max(self._prints[0].shape))
        typical = np.median(step[near]) if near.any() else 1.0
        return int(np.clip(np.floor(np.log2(max(typical, 1.0))), 0, len(self._prints) - 1))


def paint_film(
    film: FilmedBoard, camera: str, style: PictureStyle = PLAIN, *, seed: int = 0
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yield one camera's pictures of a film, frame by frame, each at its own time."""
    c = film.rig.names.index(camera)
    painter = BoardPainter(film.rig.cameras[c], film.views.board, style, seed=seed + c)
    for rotation, translation in zip(film.picture_rotation[:, c], film.picture_translation[:, c], strict=True):
        yield painter.picture(rotation, translation)


def write_board_videos(
    folder: Path, film: FilmedBoard, styles: Mapping[str, PictureStyle] | None = None, *, crf: int = 20, seed: int = 0
) -> None:
    """Write a video per camera into a folder that is there, FOLDER/NAME.mp4; styles: of the cameras that are not plain.

    Where the views carry times, timestamps.csv (sync_index,cam_id,frame_time) stands beside them.
    """
    fps = film.views.fps
    assert fps is not None
    for name in film.rig.names:
        style = (styles or {}).get(name, PLAIN)
        write_video(folder / f"{name}.mp4", fps, paint_film(film, name, style, seed=seed), crf=crf)
    if film.views.times_s is not None:
        # The format counts cameras: cam_3 is 3.
        numbers = [int(re.findall(r"\d+", name)[-1]) for name in film.rig.names]
        lines = [
            f"{frame},{number},{time:.6f}"
            for frame, times in zip(film.views.frames, film.views.times_s, strict=True)
            for number, time in zip(numbers, times, strict=True)
        ]
        with write_whole(folder / "timestamps.csv") as temporary:
            temporary.write_text("\n".join(["sync_index,cam_id,frame_time", *lines]) + "\n", encoding="utf-8")


def write_board_stills(
    folder: Path,
    film: FilmedBoard,
    styles: Mapping[str, PictureStyle] | None = None,
    *,
    one_folder: bool = False,
    seed: int = 0,
) -> None:
    """Write a PNG per picture: FOLDER/NAME/0001.png, or FOLDER/NAME_0001.png where they share one folder."""
    for name in film.rig.names:
        if not one_folder:
            (folder / name).mkdir()
        style = (styles or {}).get(name, PLAIN)
        for frame, picture in zip(film.views.frames, paint_film(film, name, style, seed=seed), strict=True):
            path = folder / (f"{name}_{frame + 1:04d}.png" if one_folder else f"{name}/{frame + 1:04d}.png")
            with write_whole(path) as temporary:
                _, data = cv2.imencode(".png", picture)
                temporary.write_bytes(data.tobytes())


def _smaller_and_smaller(picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The picture, and halves of it, until there is next to nothing left."""
    sizes = [picture]
    while min(sizes[-1].shape) >= 32:
        height, width = sizes[-1].shape
        even = np.pad(sizes[-1], ((0, height % 2), (0, width % 2)), mode="edge")
        sizes.append(np.asarray(cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.float32))
    return sizes


def _finer(count: int) -> Array:
    """The middles of the finer pixels that make up `count` pixels, of which the first one's middle is 0."""
    return np.asarray((np.arange(count * _OVERSAMPLE) + 0.5) / _OVERSAMPLE - 0.5)


def _between(places: Array, knots: NDArray[np.int64]) -> Array:
    """Weights (N, M) by which values at evenly spaced knots are interpolated at the places."""
    position = (places - knots[0]) / (knots[1] - knots[0])
    first = np.clip(np.floor(position).astype(int), 0, len(knots) - 2)
    weights = np.zeros((len(places), len(knots)))
    rows = np.arange(len(places))
    weights[rows, first] = 1 - (position - first)
    weights[rows, first + 1] = position - first
    return weights
