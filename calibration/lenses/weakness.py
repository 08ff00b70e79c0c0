"""What a camera's views of a board leave open about its lens."""

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from posekit.calibration.lenses.fit import LensFit, project_board
from posekit.camera import Camera

Array = NDArray[np.float64]

#: A lens is well known whose shape is known to so many px (one standard deviation over the picture), or this share of its
#: diagonal.
_SHAPE_PX, _SHAPE_SHARE = 1.5, 0.003

#: A good calibration has so many views, of which two or more are tilted by this much (radians).
_GOOD_VIEWS, _GOOD_TILT = 5, np.radians(15)

#: Corners that lie farther off (px, one standard deviation per axis; or share of the picture's diagonal) are no board's.
_NOISY_PX, _NOISY_SHARE = 1.0, 0.0006

#: A focal length known to this share is worth a word.
_GOOD_FOCAL = 0.01

#: A corner of the picture was reached where a board's corner lay beyond this share of the way to it, in both directions.
_REACHED = 0.6

#: A person reads so many sentences of one camera.
_MOST_SENTENCES = 3

_PICTURE_CORNERS = {"top left": (-1, -1), "top right": (1, -1), "bottom left": (-1, 1), "bottom right": (1, 1)}


def weak_points(
    lens: Camera,
    fit: LensFit,
    corners_px: Float[np.ndarray, "V K 2"],
    used: Bool[np.ndarray, "V K"],
) -> tuple[str, ...]:
    """Say what the views do not fix, and what to film: the most important first, the camera's name once before all."""
    there = used.any(axis=1)
    told: list[str] = []
    if fit.noise_px > max(_NOISY_PX, _NOISY_SHARE * float(np.hypot(*lens.size))):
        told.append(
            f"no lens brings the board's corners nearer than {fit.noise_px:.1f} px; the board may be bent, or pictures blurred"
        )
    if there.sum() < _GOOD_VIEWS:
        told.append(
            f"its lens rests on {there.sum()} views only; film the board in 10 or more places, tilted to all sides"
        )
    tilts = np.sort([_tilt(pose) for pose in fit.poses[there]])
    share = np.sqrt(fit.covariance[0, 0]) / fit.parameters[0]
    if tilts[-2] < _GOOD_TILT:
        told.append(
            f"the board faces it in all views but one (tilted by {np.degrees(tilts[-2]):.0f} degrees at most), so that its "
            f"focal length is known to {100 * share:.1f} % only; tilt the board by 30 to 45 degrees, to all sides"
        )
    elif share > _GOOD_FOCAL:
        told.append(
            f"its focal length is known to {100 * share:.1f} % only; show it the board nearer, and tilted by 30 to 45 degrees"
        )
    unreached, shape = _unreached(lens.size, corners_px[used]), _shape_sigma_px(lens, fit)
    if _folds_in_picture(lens):
        told.append(
            "the model of its lens folds inside the picture: pixels far outside of where the board was cannot be undistorted; "
            "show it the board in the corners of its picture"
        )
    elif unreached:
        told.append(
            f"the board never came near {_listed(unreached)} of its picture, where the lens is a guess; show it there, too"
        )
    elif shape > _allowed_px(lens):
        told.append(
            f"its distortion is known to {shape:.1f} px only, over the picture; fill the picture with the board"
        )
    sentences = [told[0], *(each[0].upper() + each[1:] for each in told[1:_MOST_SENTENCES])] if told else []
    return (f"camera '{lens.name}': {'. '.join(sentences)}",) if sentences else ()


def _listed(unreached: list[str]) -> str:
    if len(unreached) == len(_PICTURE_CORNERS):
        return "the corners"
    if len(unreached) == 1:
        return f"the {unreached[0]} corner"
    return f"the {', '.join(unreached[:-1])} and {unreached[-1]} corners"


def _tilt(pose: Array) -> float:
    """The angle between a board's normal and the camera's axis, radians."""
    normal = cv2.Rodrigues(pose[:3])[0][:, 2]
    return float(np.arccos(np.clip(abs(normal[2]), 0, 1)))


def _unreached(size: tuple[int, int], corners_px: Array) -> list[str]:
    """The picture's corners that no corner of the board came near to."""
    half = np.array(size) / 2
    place = (corners_px - (half - 0.5)) / half
    near = {name: (place * side > _REACHED).all(axis=1).any() for name, side in _PICTURE_CORNERS.items()}
    return [name for name, reached in near.items() if not reached]


def _allowed_px(lens: Camera) -> float:
    return max(_SHAPE_PX, _SHAPE_SHARE * float(np.hypot(*lens.size)))


def _shape_sigma_px(lens: Camera, fit: LensFit) -> float:
    """How far (px, one standard deviation) the lens may be off over the picture, but for what a turned camera makes good.

    Shifts and an enlargement are taken out: those are the principal point's and the focal length's own uncertainty.
    """
    width, height = lens.size
    across, down = np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9))
    pixels = np.column_stack((across.ravel(), down.ravel()))
    rays = lens.undistort(pixels)
    there = np.isfinite(rays).all(axis=1)
    points = np.column_stack((rays[there], np.ones(there.sum())))
    by_lens = project_board(fit.model, fit.parameters, np.zeros(6), points)[1]
    values, vectors = np.linalg.eigh(fit.covariance)
    modes = by_lens @ (vectors * np.sqrt(np.maximum(values, 0)))
    away = pixels[there] - pixels[there].mean(axis=0)
    rigid = np.zeros((len(modes), 3))
    rigid[0::2, 0], rigid[1::2, 1], rigid[:, 2] = 1, 1, away.ravel()
    modes = modes - rigid @ np.linalg.lstsq(rigid, modes, rcond=None)[0]
    return float(np.sqrt((modes**2).sum() / len(points)))


def _folds_in_picture(lens: Camera) -> bool:
    """Whether a pixel of the picture is the image of no ray, because the model of the lens turns back before it."""
    width, height = lens.size
    across, down = np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9))
    return not np.isfinite(lens.undistort(np.column_stack((across.ravel(), down.ravel())))).all()
