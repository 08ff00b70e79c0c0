"""Where a board stands in front of one camera, from one picture: two answers, which geometry often cannot tell apart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from posekit.calibration.boards.views import BoardViews
from posekit.camera import Camera

Array = NDArray[np.float64]

#: Corners that a picture must show for its pose to be looked for; four would do, but one wrong one would go unnoticed.
MIN_CORNERS = 6


@dataclass(frozen=True, eq=False)
class BoardPoses:
    """The board in every camera's frame, two answers each; NaN where there is none.

    rotation: (F, C, 2, 3, 3) and translation: (F, C, 2, 3) metres, camera_from_board about the board's middle; the first answer
    fits better. normalised: (F, C, K, 2) corners without camera matrix and lens. points: (K, 3) metres from the board's middle.
    """

    rotation: Array
    translation: Array
    normalised: Array
    points: Array

    @property
    def found(self) -> NDArray[np.bool_]:
        """Which pictures have a pose, (F, C)."""
        return np.isfinite(self.translation[..., 0, 0])

    def at(self, moments: NDArray[np.int64]) -> "BoardPoses":
        """Those of some moments."""
        return replace(
            self,
            rotation=self.rotation[moments],
            translation=self.translation[moments],
            normalised=self.normalised[moments],
        )

    def of(self, cameras: NDArray[np.int64]) -> "BoardPoses":
        """Those of some cameras, by their places."""
        return replace(
            self,
            rotation=self.rotation[:, cameras],
            translation=self.translation[:, cameras],
            normalised=self.normalised[:, cameras],
        )


def find_board_poses(views: BoardViews, lenses: Sequence[Camera]) -> BoardPoses:
    """Find the board's poses in each picture by itself, lenses in the cameras' order.

    Collins and Bartoli, "Infinitesimal plane-based pose estimation", IJCV 2014, by OpenCV: a plane that is small or far away
    looks nearly the same when it is tilted the other way, so that both tilts are answers.
    """
    F, C, K = views.corners_px.shape[:3]
    points = views.board.points_m - views.board.points_m.mean(axis=0)
    normalised = np.stack([lens.undistort(views.corners_px[:, c]) for c, lens in enumerate(lenses)], axis=1)
    rotation, translation = np.full((F, C, 2, 3, 3), np.nan), np.full((F, C, 2, 3), np.nan)
    seen = np.asarray(np.isfinite(normalised).all(axis=-1))
    for f, c in np.argwhere(seen.sum(axis=-1) >= min(MIN_CORNERS, K)):
        corners = seen[f, c]
        if not _spans_a_plane(points[corners]):
            continue
        rotation[f, c], translation[f, c] = _both_poses(points[corners], normalised[f, c, corners])
    return BoardPoses(rotation, translation, normalised, points)


def _spans_a_plane(points: Array) -> bool:
    """Corners in one row or column say nothing of the turn about it."""
    off = points[:, :2] - points[:, :2].mean(axis=0)
    (xx, xy), (_, yy) = off.T @ off
    # The smaller of the two spreads, squared, by the larger one: eigenvalues of a 2 x 2 matrix.
    middle, reach = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return bool(middle - reach > 0.05**2 * (middle + reach))


def _both_poses(points: Array, normalised: Array) -> tuple[Array, Array]:
    rotation, translation = np.full((2, 3, 3), np.nan), np.full((2, 3), np.nan)
    try:
        _, turns, places, _ = cv2.solvePnPGeneric(
            points, np.ascontiguousarray(normalised), np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
        )
    except cv2.error:
        return rotation, translation  # corners that no plane could show: none
    for answer, (turn, place) in enumerate(zip(turns[:2], places[:2], strict=True)):
        if np.isfinite(turn).all() and np.isfinite(place).all() and place[2, 0] > 0:
            rotation[answer], translation[answer] = cv2.Rodrigues(turn)[0], place[:, 0]
    if np.isnan(translation[0, 0]):
        rotation, translation = rotation[::-1].copy(), translation[::-1].copy()
    return rotation, translation
