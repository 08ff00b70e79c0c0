"""Boards that a rig never saw: it is made again without some moments, and measured in these.

Of a held-out moment only the board is fitted: its pose, six numbers; and where the pictures of a moment were not taken at one
time (timestamps, time offsets) its velocity, too: twelve.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from posekit.calibration.boards.views import BoardViews
from posekit.calibration.rigs.placed_boards import board_residuals, place_boards
from posekit.camera import Rig
from posekit.errors import PosekitError

Array = NDArray[np.float64]

#: One moment in so many is held out, and one stretch of time of so large a share, in the middle.
HELD_OUT_EVERY, HELD_OUT_BLOCK = 4, 0.2

#: With fewer moments than this that two cameras share, none can be spared.
FEWEST_TO_HOLD_OUT = 12

#: Cameras are predicted from the others in so many moments at most, all cameras together, and each in so many in any case.
_MOST_PREDICTED, _MOST_OF_ONE = 600, 20

Calibrate = Callable[[BoardViews], Rig]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A rig made without some moments, in those.

    fitted_px: (F, C, K), only the board being fitted there, by its pose and where cameras are not in step by its velocity.
    predicted_px: (F, C, K), the board being fitted to the other cameras, its velocity also to the moments before and after, in
    moments from all over the capture, two other cameras or more in each where there are such. NaN elsewhere, in moments that
    fewer than two cameras saw, and where it was not asked for.
    """

    fitted_px: Float[np.ndarray, "F C K"]
    predicted_px: Float[np.ndarray, "F C K"]


def middle_block(moments: int) -> NDArray[np.bool_]:
    """The middle fifth of the time, (F,)."""
    place = (np.arange(moments) + 0.5) / max(moments, 1)
    return np.abs(place - 0.5) < HELD_OUT_BLOCK / 2


def hold_out(
    views: BoardViews, held_out: Bool[np.ndarray, " F"], calibrate: Calibrate, *, predict: bool = True
) -> HeldOut:
    """Make a rig without the held-out moments (F,), and measure it in these.

    predict: whether each camera is predicted from the others, too. Raises PosekitError where the rig cannot be made.
    """
    together = views.seen.any(axis=-1).sum(axis=1) >= 2
    if (together & ~held_out).sum() < FEWEST_TO_HOLD_OUT * (1 - 1 / HELD_OUT_EVERY) or not (together & held_out).any():
        raise PosekitError(
            f"{views.source}: only {together.sum()} moments are shared by two cameras, none to spare for checking; "
            f"{FEWEST_TO_HOLD_OUT} or more make a check"
        )
    rig = calibrate(views.at(~held_out))
    places = np.flatnonzero(held_out & together)
    kept = [views.cameras.index(name) for name in rig.names]
    measured = views.at(places).of(rig.names)
    fitted, predicted = (np.full(views.seen.shape, np.nan) for _ in range(2))
    residual = board_residuals(rig, measured, place_boards(rig, measured))
    fitted[places[:, None], kept] = np.linalg.norm(residual, axis=-1)
    if predict:
        rows = [_predictable(measured, c) for c in range(len(kept))]
        camera = np.repeat(np.arange(len(kept)), [len(chosen) for chosen in rows])
        moments = np.concatenate(rows)
        predicted[places[moments], np.array(kept)[camera]] = _predicted(rig, measured.at(moments), camera)
    # The rig may lack cameras; a moment that only one of the others saw fits by itself.
    alone = np.isfinite(fitted).any(axis=-1).sum(axis=1) < 2
    fitted[alone] = np.nan
    return HeldOut(fitted, predicted)


def _predictable(views: BoardViews, camera: int) -> NDArray[np.int64]:
    """Moments in which a camera and others saw the board, not too many and from all over the capture.

    Two others or more, where there are such moments: one alone has the board's depth and tilt wrong by more than the rig is.
    """
    saw = np.asarray(views.seen.any(axis=-1))
    others = saw.sum(axis=1) - 1
    rows = np.flatnonzero(saw[:, camera] & (others >= 2))
    if not len(rows):
        rows = np.flatnonzero(saw[:, camera] & (others == 1))
    most = min(len(rows), max(_MOST_PREDICTED // len(views.cameras), _MOST_OF_ONE))
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _predicted(rig: Rig, views: BoardViews, camera: NDArray[np.int64]) -> Array:
    """Errors (F, K) in one camera of each moment (F,), the board being placed by the others; all at once, which is faster."""
    moment = np.arange(len(views.frames))
    others = np.ones(views.seen.shape[:2], dtype=bool)
    others[moment, camera] = False
    residual = board_residuals(rig, views, place_boards(rig, views, own_rates=False, chosen=others))[moment, camera]
    errors: Array = np.linalg.norm(residual, axis=-1)
    return errors
