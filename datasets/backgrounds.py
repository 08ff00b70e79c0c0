"""Backgrounds out of nothing: rooms, and for variety gradients, noise, shapes, stripes, and things the colour of skin."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from posekit.datasets.background_scenes import scene_background
from posekit.datasets.hand_looks import skin_colours

#: So many backgrounds look like rooms; the others like nothing at all, so that nothing may be learned from them.
_SCENE_SHARE = 0.7


def _colours(rng: np.random.Generator, count: int) -> np.ndarray:
    grey = rng.uniform(0.02, 0.98, (count, 1))
    chroma = rng.uniform(-0.5, 0.5, (count, 3)) * rng.choice([0.08, 0.3, 0.9], (count, 1))
    return np.asarray(np.clip(grey + chroma, 0, 1))


def _noise(rng: np.random.Generator, count: int, channels: int, cells: int, size: int) -> Tensor:
    coarse = torch.from_numpy(rng.standard_normal((count, channels, cells, cells), dtype=np.float32))
    if cells >= size:
        return coarse[:, :, :size, :size]
    # Two products are several times faster than interpolate on one core.
    return _stretch_matrix(cells, size) @ coarse @ _stretch_matrix(cells, size).T


@lru_cache(maxsize=64)
def _stretch_matrix(small: int, large: int) -> Tensor:
    rows = functional.interpolate(torch.eye(small)[None], size=large, mode="linear", align_corners=True)[0]
    return rows.T.contiguous()


def _draw_shapes(rng: np.random.Generator, picture: np.ndarray, colours: np.ndarray) -> None:
    """Random polygons, ellipses and lines on one picture (H,W,3) uint8, in place; edges are what the detector must ignore."""
    size = picture.shape[0]
    for colour in colours:
        kind = rng.integers(4)
        tone = tuple(int(255 * c) for c in colour.clip(0, 1))
        x, y = (int(v) for v in rng.integers(-size // 8, size + size // 8, 2))
        if kind == 0:
            corners = rng.normal(0, size * rng.uniform(0.05, 0.5), (int(rng.integers(3, 6)), 2)) + np.array([x, y])
            cv2.fillPoly(picture, [corners.astype(np.int32)], tone, lineType=cv2.LINE_AA)
        elif kind == 1:
            half = tuple(int(v) for v in rng.integers(2, max(3, size // 3), 2))
            cv2.ellipse(picture, (x, y), half, float(rng.uniform(0, 180)), 0, 360, tone, -1, cv2.LINE_AA)
        elif kind == 2:
            other = tuple(int(v) for v in rng.integers(0, size, 2))
            cv2.line(picture, (x, y), other, tone, int(rng.integers(1, max(2, size // 10))), cv2.LINE_AA)
        else:
            w, h = (int(v) for v in rng.integers(2, size // 2 + 3, 2))
            cv2.rectangle(picture, (x, y), (x + w, y + h), tone, -1)


def procedural_backgrounds(rng: np.random.Generator, count: int, size: int) -> Tensor:
    """Draw `count` square pictures (count,3,size,size), display colours in [0,1]."""
    scenes = rng.random(count) < _SCENE_SHARE
    pictures = torch.empty(count, 3, size, size)
    for i in np.flatnonzero(scenes):
        pictures[i] = torch.from_numpy(scene_background(rng, size)).permute(2, 0, 1)
    pictures[~torch.from_numpy(scenes)] = _patterns(rng, int((~scenes).sum()), size)
    return pictures


def _patterns(rng: np.random.Generator, count: int, size: int) -> Tensor:
    base = torch.from_numpy(_colours(rng, 2 * count).reshape(count, 2, 3).astype(np.float32))
    axis = torch.linspace(-1, 1, size)
    turn = torch.from_numpy(rng.uniform(0, 2 * np.pi, count).astype(np.float32))
    ramp = turn.cos()[:, None, None] * axis + turn.sin()[:, None, None] * axis[:, None]
    part = (0.5 + 0.5 * ramp)[:, None].clamp(0, 1)
    same = torch.from_numpy(rng.uniform(0, 1, (count, 1, 1, 1)).astype(np.float32))
    part = part * same
    picture = base[:, 0, :, None, None] * (1 - part) + base[:, 1, :, None, None] * part
    painted = (picture.permute(0, 2, 3, 1) * 255).to(torch.uint8).contiguous()
    shapes = np.where(rng.random(count) < 0.8, rng.integers(1, 14, count), 0)
    tones = skin_colours(rng, rng.uniform(0, 9, count))
    for i in range(count):
        colours = _colours(rng, int(shapes[i]))
        # Faces, arms and other hands lie about in real pictures.
        colours[rng.random(len(colours)) < 0.2] = tones[i] * rng.uniform(0.5, 1.1)
        _draw_shapes(rng, painted[i].numpy(), colours)
    picture = painted.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format) / 255
    for cells, channels, strength in ((4, 3, 0.05), (5, 1, 0.08), (12, 1, 0.08), (32, 1, 0.06), (64, 1, 0.05)):
        cells = min(cells, size)
        amount = torch.from_numpy(
            (rng.random((count, 1, 1, 1)) ** 2 * 2.2 * strength * (rng.random((count, 1, 1, 1)) < 0.7)).astype(
                np.float32
            )
        )
        picture = picture + amount * _noise(rng, count, channels, cells, size)
    striped = np.flatnonzero(rng.random(count) < 0.35)
    if len(striped):
        n = len(striped)

        def wave(low: float, high: float) -> Tensor:
            angle = torch.from_numpy(rng.uniform(0, np.pi, (n, 1, 1)).astype(np.float32))
            period = torch.from_numpy(np.exp(rng.uniform(np.log(low), np.log(high), (n, 1, 1))).astype(np.float32))
            pixel = torch.arange(size)
            return torch.sin((angle.cos() * pixel + angle.sin() * pixel[:, None]) * (2 * np.pi) / period)

        stripes = wave(3, size / 2)
        woven = torch.from_numpy((rng.random((n, 1, 1)) < 0.5).astype(np.float32))
        hard = torch.from_numpy((rng.random((n, 1, 1)) < 0.5).astype(np.float32))
        stripes = stripes * (1 - woven) + woven * 0.5 * (stripes + wave(2.5, 10))
        stripes = stripes * (1 - hard) + hard * stripes.sign()
        amount = torch.from_numpy(rng.uniform(0.02, 0.25, (n, 1, 1)).astype(np.float32))
        picture[striped] += (stripes * amount)[:, None]
    return picture.clamp_(0, 1)


def room_background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Draw a room, (height,width,3) uint8: wall, floor, furniture, shelves, a window, out of focus.

    Kept apart from procedural_backgrounds, so that a detector trained on those has not seen its like.
    """
    wall, floor = (_colours(rng, 2) * 0.5 + rng.uniform(0.2, 0.45)).clip(0, 1)
    picture = np.empty((height, width, 3), dtype=np.float32)
    horizon = int(height * rng.uniform(0.45, 0.8))
    light = np.linspace(rng.uniform(0.7, 1), rng.uniform(0.7, 1), width)[None, :, None]
    picture[:horizon] = wall * light
    picture[horizon:] = floor * light * np.linspace(0.7, 1.05, height - horizon)[:, None, None]
    if rng.random() < 0.6:
        x, w = int(rng.uniform(0, 0.7) * width), int(rng.uniform(0.15, 0.3) * width)
        cv2.rectangle(picture, (x, -5), (x + w, int(horizon * rng.uniform(0.4, 0.75))), (0.95, 0.97, 1.0), -1)
        cv2.rectangle(picture, (x, -5), (x + w, int(horizon * 0.7)), tuple(float(c) * 0.7 for c in wall), 5)
    for _ in range(int(rng.integers(2, 7))):
        tone = _colours(rng, 1)[0] * 0.7
        w, h = int(rng.uniform(0.08, 0.35) * width), int(rng.uniform(0.1, 0.5) * height)
        x, bottom = int(rng.uniform(-0.1, 0.95) * width), int(horizon + rng.uniform(0, 0.3) * height)
        cv2.rectangle(picture, (x, bottom - h), (x + w, bottom), tuple(float(c) for c in tone), -1)
        cv2.rectangle(picture, (x, bottom - h), (x + w, bottom), tuple(float(c) * 0.6 for c in tone), 2)
        if rng.random() < 0.5:
            # A shelf of books.
            left = x + 3
            while left < x + w - 4:
                thick = int(rng.integers(3, 12))
                spine = tuple(float(c) for c in _colours(rng, 1)[0])
                top = bottom - int(h * rng.uniform(0.5, 0.95))
                cv2.rectangle(picture, (left, top), (min(left + thick, x + w - 3), bottom - 3), spine, -1)
                left += thick + 1
    grain = rng.standard_normal((height // 8, width // 8, 1), dtype=np.float32) * 0.03
    picture += cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    soft = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.8, 3.0)))
    return np.asarray((soft.clip(0, 1) * 255).round().astype(np.uint8))
