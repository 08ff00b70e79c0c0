"""Pictures of boards with corners that are known: a print seen through a homography, blurred and noisy."""

import cv2
import numpy as np
from numpy.typing import NDArray

from posekit.calibration.boards.board import Board
from posekit.calibration.boards.drawing import board_image


def photograph(
    board: Board,
    *,
    seed: int = 0,
    size: tuple[int, int] = (800, 640),
    fill: float = 0.75,
    turn: float = 0.0,
    noise: float = 1.0,
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A grey picture and where the corners are in it (K, 2) px. fill: how much of the height the board takes; turn: radians."""
    rng = np.random.default_rng(seed)
    outline = board.outline_m[:, :2]
    extent = outline[2] - outline[0]
    scale = fill * min(size[0] / extent[0], size[1] / extent[1], size[1] / np.hypot(*extent) * 1.2)
    flat = (outline - outline.mean(axis=0)) * scale
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    quad = flat @ rotation.T + (np.array(size) - 1) / 2 + rng.uniform(-0.06, 0.06, (4, 2)) * scale * extent.min()
    image_from_board, _ = cv2.findHomography(outline, quad)
    # The print is drawn finer than the picture, which is made larger and averaged, so that no step of it aliases.
    fine, margin, pixel = 3, 0.2 * float(extent.max()), 0.4 / scale
    texture = board_image(board, pixel, margin)
    board_from_texture = np.array(
        [[pixel, 0, outline[0, 0] - margin + pixel / 2], [0, pixel, outline[0, 1] - margin + pixel / 2], [0, 0, 1]]
    )
    fine_from_image = np.array([[fine, 0, (fine - 1) / 2], [0, fine, (fine - 1) / 2], [0, 0, 1]])
    whole = fine_from_image @ image_from_board @ board_from_texture
    picture = cv2.warpPerspective(texture, whole, (size[0] * fine, size[1] * fine), borderValue=255)
    picture = cv2.GaussianBlur(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), (0, 0), 0.7)
    picture = 35 + 0.7 * picture + rng.normal(0, noise, picture.shape)
    corners = cv2.perspectiveTransform(board.points_m[None, :, :2], image_from_board)[0]
    return np.clip(np.round(picture), 0, 255).astype(np.uint8), corners
