"""Backgrounds that look like rooms: surfaces with edges, cloth, printed and keyed things, people's limbs, out of focus."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from posekit.datasets.hand_looks import skin_colours

_Picture = np.ndarray


def _tone(colour: np.ndarray) -> tuple[float, ...]:
    return tuple(float(c) for c in np.clip(colour, 0, 1))


def _palette(rng: np.random.Generator, count: int) -> np.ndarray:
    """Display colours (count,3) of one room: mostly greyish about one hue, as wood, paint and plastic are; some loud."""
    hue = rng.normal(0, 1, 3)
    hue -= hue.mean()
    grey = rng.uniform(0.03, 0.95, (count, 1))
    chroma = hue * rng.normal(0.02, 0.05, (count, 1)) + rng.normal(0, 0.025, (count, 3))
    loud = rng.random((count, 1)) < 0.15
    return np.asarray(np.clip(grey + chroma + loud * rng.uniform(-0.45, 0.45, (count, 3)), 0, 1))


def _half_plane(rng: np.random.Generator, picture: _Picture, colour: np.ndarray) -> None:
    """A wall, floor, table or door that ends at a straight edge somewhere."""
    size = picture.shape[0]
    angle = rng.uniform(0, 2 * np.pi)
    along, out = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    edge = rng.uniform(0.05, 0.95, 2) * size
    corners = np.array([edge - 3 * size * along, edge + 3 * size * along,
                        edge + 3 * size * (along + out), edge + 3 * size * (out - along)])  # fmt: skip
    _fill(picture, corners, colour)
    if rng.random() < 0.4:
        border = colour * rng.uniform(0.3, 1.3)
        ends = [tuple(int(v) for v in edge + sign * 3 * size * along) for sign in (-1, 1)]
        cv2.line(picture, ends[0], ends[1], _tone(border), int(rng.integers(1, max(2, size // 20))), cv2.LINE_AA)


def _fill(picture: _Picture, corners: np.ndarray, colour: np.ndarray) -> None:
    cv2.fillPoly(picture, [(corners * 16).astype(np.int32)], _tone(colour), cv2.LINE_AA, 4)


def _turned_box(rng: np.random.Generator, size: int, low: float, high: float) -> np.ndarray:
    """Corners (4,2) of a rectangle seen a little from the side."""
    half = rng.uniform(low, high, 2) * size / 2
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    corners = corners * (1 + rng.normal(0, 0.08, (4, 2)))
    return np.asarray(corners @ turn.T + rng.uniform(-0.1, 1.1, 2) * size)


def _thing(rng: np.random.Generator, picture: _Picture, colour: np.ndarray) -> None:
    """A box, sheet, screen or bottle, with another side or a frame to it."""
    size = picture.shape[0]
    corners = _turned_box(rng, size, 0.08, 0.9)
    if rng.random() < 0.5:
        _fill(picture, corners + rng.normal(0, 0.06 * size, 2), colour * rng.uniform(0.3, 0.8))
    _fill(picture, corners, colour)
    if rng.random() < 0.4:
        inner = corners.mean(0) + (corners - corners.mean(0)) * rng.uniform(0.6, 0.92)
        _fill(picture, inner, np.clip(colour + rng.normal(0, 0.3), 0, 1))


def _grid(rng: np.random.Generator, picture: _Picture, colour: np.ndarray) -> None:
    """Keys, tiles, windows, chequered or printed things: cells in rows."""
    size = picture.shape[0]
    corners = _turned_box(rng, size, 0.3, 1.3)
    _fill(picture, corners, colour)
    other = np.clip(colour + rng.choice([-1, 1]) * rng.uniform(0.1, 0.8), 0, 1)
    rows, columns = (int(v) for v in rng.integers(2, 9, 2))
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    fill = rng.uniform(0.3, 0.95, 2)
    share = rng.choice([0.5, 0.8, 1.0])
    for row in range(rows):
        for column in range(columns):
            if (share == 0.5 and (row + column) % 2) or rng.random() > max(share, 0.8):
                continue
            place = [column, row] + unit * fill
            u, v = (place / [columns, rows]).T[..., None]
            cell = (1 - v) * ((1 - u) * corners[0] + u * corners[1]) + v * ((1 - u) * corners[3] + u * corners[2])
            _fill(picture, cell, other)


def _limb(rng: np.random.Generator, picture: _Picture, colour: np.ndarray) -> None:
    """An arm, a leg, a face or a trunk, round: light in the middle or to one side. Skin, or cloth of the colour."""
    size = picture.shape[0]
    tone = skin_colours(rng, rng.uniform(0, 9, 1))[0] * rng.uniform(0.5, 1.05) if rng.random() < 0.6 else colour
    start, end = rng.uniform(-0.3, 1.3, (2, 2)) * size
    thick = rng.uniform(0.08, 0.8) * size
    side = rng.normal(0, 0.25, 2) * thick
    steps = 7
    for step in range(steps):
        part = step / (steps - 1)
        shade = tone * (0.65 + 0.4 * part)
        ends = [tuple(int(v) for v in point + side * part) for point in (start, end)]
        cv2.line(picture, ends[0], ends[1], _tone(shade), max(1, int(thick * (1 - 0.75 * part))), cv2.LINE_AA)


def _cloth(rng: np.random.Generator, picture: _Picture, colour: np.ndarray) -> None:
    """Cloth with folds over a half of the picture: a shirt, trousers or a curtain."""
    size = picture.shape[0]
    coarse = cv2.resize(rng.standard_normal((4, 4)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    angle, waves = rng.uniform(0, np.pi), rng.uniform(1.0, 6.0)
    phase = 2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0.5, 2.5) * coarse
    folds = 1 + rng.uniform(0.05, 0.35) * np.sin(phase) * np.clip(0.6 + 0.5 * coarse, 0, 1.2)
    if rng.random() < 0.35:
        pitch = rng.uniform(4, 40)
        stripes = np.sin(2 * np.pi * pitch * (x * np.sin(angle) + y * np.cos(angle)) + 0.6 * coarse)
        folds = folds * (1 + rng.uniform(0.05, 0.5) * np.sign(stripes))
    mask = np.zeros((size, size), np.float32)
    _half_plane_mask(rng, mask)
    painted = (colour * folds[..., None]).clip(0, 1)
    picture += mask[..., None] * (painted.astype(np.float32) - picture)


def _half_plane_mask(rng: np.random.Generator, mask: np.ndarray) -> None:
    size = mask.shape[0]
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.45, 0.45) * size
    along = (np.arange(size) - size / 2) * np.cos(angle)
    mask[:] = ((along + ((np.arange(size) - size / 2) * np.sin(angle))[:, None] - offset) * 0.7 + 0.5).clip(0, 1)


def _litter(rng: np.random.Generator, picture: _Picture, colour: np.ndarray) -> None:
    """Cables, pens, marks and knobs."""
    size = picture.shape[0]
    for _ in range(int(rng.integers(1, 6))):
        tone = np.clip(colour + rng.normal(0, 0.3), 0, 1)
        if rng.random() < 0.5:
            walk = rng.uniform(0, size, 2) + np.cumsum(rng.normal(0, 0.12 * size, (6, 2)), axis=0)
            thick = int(rng.integers(1, max(2, size // 25)))
            cv2.polylines(picture, [(walk * 16).astype(np.int32)], False, _tone(tone), thick, cv2.LINE_AA, 4)
        else:
            centre = tuple(int(v) for v in rng.uniform(0, size, 2))
            half = tuple(int(v) for v in rng.integers(1, max(2, size // 7), 2))
            cv2.ellipse(picture, centre, half, float(rng.uniform(0, 180)), 0, 360, _tone(tone), -1, cv2.LINE_AA)


_PARTS: tuple[Callable[[np.random.Generator, _Picture, np.ndarray], None], ...] = (
    _half_plane, _thing, _grid, _limb, _cloth, _litter,
)  # fmt: skip
_PART_SHARES = np.array([0.28, 0.24, 0.12, 0.14, 0.10, 0.12])


def scene_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw one square picture (size,size,3) float32, display colours in [0,1]."""
    count = int(rng.integers(2, 9))
    colours = _palette(rng, count + 2)
    picture = np.empty((size, size, 3), dtype=np.float32)
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    ramp = ramp[:, None] if rng.random() < 0.5 else ramp[None]
    picture[:] = colours[0] * (1 - ramp[..., None]) + ramp[..., None] * (0.5 * colours[0] + 0.5 * colours[1])
    for part, colour in zip(rng.choice(len(_PARTS), count, p=_PART_SHARES), colours[2:], strict=True):
        _PARTS[part](rng, picture, colour)
    # Light falls off, and the depth of field ends before the background.
    light = cv2.resize(rng.normal(1, 0.13, (3, 3)).astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    picture *= light[..., None]
    if rng.random() < 0.75:
        cv2.GaussianBlur(picture, (0, 0), float(np.exp(rng.uniform(np.log(0.4), np.log(size / 28)))), dst=picture)
    return np.asarray(picture.clip(0, 1))
