"""Which of the answers of single pictures tells where a board is: the one that all cameras that saw it agree with best."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posekit.calibration.rigs.board_poses import BoardPoses

Array = NDArray[np.float64]

#: A board that is off by more than this share of its size in a picture is off, and no more than that.
MISFIT_LIMIT = 0.5

#: Cameras whose answers are tried at every moment, those that saw most corners; and corners that they are judged by.
_ASKED, _JUDGED_CORNERS = 4, 12


@dataclass(frozen=True, eq=False)
class ChosenBoards:
    """The board at every moment, about its middle: world_from_board (F, 3, 3) and (F, 3), NaN where no camera saw it.

    shown: (F, C), which of the symmetries each picture shows. misfit: the sum over all pictures of boards that several cameras
    saw, in board sizes, each at most `MISFIT_LIMIT`; camera_misfit: (C,), its mean over each camera's pictures, 0 without any.
    """

    rotation: Array
    translation: Array
    shown: NDArray[np.int64]
    misfit: float
    camera_misfit: Array


def choose_boards(
    poses: BoardPoses, rotation: Array, translation: Array, symmetries: NDArray[np.int64] | None = None
) -> ChosenBoards:
    """Take, at every moment, the one camera's answer that all cameras that saw the board agree with best.

    rotation (C, 3, 3), translation (C, 3): camera_from_world, NaN for cameras that take no part. symmetries: (S, K), see
    `Board.symmetries`; None where the corners are in one order already.
    """
    if symmetries is None:
        symmetries = np.arange(len(poses.points))[None]
    F, C = poses.found.shape
    known = poses.found & np.isfinite(translation[:, 0])
    frame, camera = np.nonzero(known)
    seen = poses.normalised[frame, camera]
    corners = some_corners(seen, _JUDGED_CORNERS)
    target, size = np.take_along_axis(seen, corners[..., None], axis=1), board_sizes(seen)
    best = np.full(F, np.inf)
    chosen = ChosenBoards(
        np.full((F, 3, 3), np.nan), np.full((F, 3), np.nan), np.zeros((F, C), dtype=np.int64), 0.0, np.zeros(C)
    )
    misfits = np.zeros(len(frame))
    for turns, places in _answers(poses, rotation, translation, known):
        off = np.full((len(symmetries), len(frame)), np.inf)
        for s, symmetry in enumerate(symmetries):
            points = poses.points[symmetry[corners]] @ turns[frame].swapaxes(-1, -2) + places[frame][:, None]
            points = points @ rotation[camera].swapaxes(-1, -2) + translation[camera][:, None]
            off[s] = np.minimum(np.nan_to_num(mean_misfit(points, target, size), nan=np.inf), MISFIT_LIMIT)
        total = np.bincount(frame, off.min(axis=0), minlength=F)
        better = (total < best) & np.isfinite(places[:, 0])
        best = np.where(better, total, best)
        chosen.rotation[better], chosen.translation[better] = turns[better], places[better]
        picked = better[frame]
        chosen.shown[frame[picked], camera[picked]] = off.argmin(axis=0)[picked]
        misfits[picked] = off.min(axis=0)[picked]
    together = known.sum(axis=1)[frame] > 1
    count = np.bincount(camera[together], minlength=C)
    per_camera = np.bincount(camera[together], misfits[together], minlength=C) / np.maximum(count, 1)
    return ChosenBoards(chosen.rotation, chosen.translation, chosen.shown, float(misfits[together].sum()), per_camera)


def _answers(
    poses: BoardPoses, rotation: Array, translation: Array, known: NDArray[np.bool_]
) -> list[tuple[Array, Array]]:
    """Where the cameras that saw most say the board is, world_from_board (F, 3, 3) and (F, 3); NaN where there is no answer."""
    F, C = known.shape
    count = np.isfinite(poses.normalised[..., 0]).sum(axis=-1) * known
    asked = np.argsort(-count, axis=1, kind="stable")[:, : min(_ASKED, C)]
    rows = np.arange(F)
    answers = []
    for camera in asked.T:
        inverse = rotation[camera].swapaxes(-1, -2)
        for answer in (0, 1):
            places = poses.translation[rows, camera, answer] - translation[camera]
            places = np.where(known[rows, camera, None], (inverse @ places[..., None])[..., 0], np.nan)
            answers.append((inverse @ poses.rotation[rows, camera, answer], places))
    return answers


def some_corners(seen: Array, most: int) -> NDArray[np.int64]:
    """Places (V, n) of corners that were seen (V, K, 2), spread evenly; with repetition where they are fewer."""
    there = np.isfinite(seen).all(axis=-1)
    count = there.sum(axis=-1)
    ranked = np.argsort(~there, axis=-1, kind="stable")
    place = np.linspace(0, 1, most)[None] * (count[:, None] - 1)
    return np.asarray(np.take_along_axis(ranked, place.round().astype(np.int64), axis=-1))


def board_sizes(seen: Array) -> Array:
    """Diagonal (V,) of the box around the corners (V, K, 2) that were seen."""
    there = np.isfinite(seen)
    high = np.where(there, seen, -np.inf).max(axis=1)
    low = np.where(there, seen, np.inf).min(axis=1)
    return np.asarray(np.linalg.norm(high - low, axis=-1) + 1e-12)


def mean_misfit(points: Array, normalised: Array, size: Array) -> Array:
    """Mean distance (..., V) of corners (V, n, 2) from points (..., V, n, 3) in the camera's frame, as a share of sizes (V,).

    Each corner counts `MISFIT_LIMIT` at most, also where it is behind the camera.
    """
    depth = points[..., 2]
    inverse = 1 / np.where(depth > 0, depth, np.inf)
    off = np.hypot(points[..., 0] * inverse - normalised[..., 0], points[..., 1] * inverse - normalised[..., 1])
    off = np.where(depth > 0, off / size[:, None], MISFIT_LIMIT)
    return np.asarray(np.minimum(off, MISFIT_LIMIT).mean(axis=-1))
