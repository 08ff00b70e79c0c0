"""Whether corners lie as the corners of a flat board do: a homography, with what a lens bends."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Strengths of the one-parameter lens that are tried (`_Bend`), at half the picture's diagonal: pincushion to action camera.
_BENDS = (0.0, -0.05, 0.05, -0.1, 0.12, -0.16, -0.23, -0.3, -0.38, -0.46, -0.55)
#: A corner may lie off by this share of the distance to its neighbour (motion, a shutter that rolls, paper that is not flat, a
#: lens that no one parameter describes), and by this many pixels in any case, but never by the last share. Wrong corners are
#: off by half a square.
_LOOSENESS, _LOOSENESS_PX, _LOOSEST = 0.08, 1.5, 0.25
#: Mean residuals, as shares of what is allowed, below which no other lens is needed, and above which none would help.
_GOOD, _HOPELESS = 0.2, 1.25
#: Fewer corners bend no lens: the eight numbers of a homography and one more would go through anything.
_ENOUGH_TO_BEND = 10
#: Fours of corners that are tried: where 7 of 10 are right, one four in four holds no wrong one, and 100 miss it once in 10^12.
_TRIALS = 100


@dataclass(frozen=True, eq=False)
class PlaneFit:
    """How corners lie on a plane.

    place_px (N, 2): where each one should be; residual_px (N,): how far it is from there; allowed_px (N,): how far it may be.
    handedness: 1 where the board's front is seen, -1 where the corners are those of its mirror image. homography (3, 3) and
    bend make pixels of points of the board (`place`).
    """

    place_px: Array
    residual_px: Array
    allowed_px: Array
    handedness: int
    homography: Array
    bend: "_Bend"

    def place(self, points: Array) -> Array:
        """Where points (N, 2) of the board, metres, are in the picture, (N, 2) px."""
        homogeneous = points @ self.homography[:, :2].T + self.homography[:, 2]
        return self.bend.bend(homogeneous[:, :2] / homogeneous[:, 2:])

    @property
    def fits(self) -> NDArray[np.bool_]:
        """Which corners lie where they should, (N,)."""
        return self.residual_px <= self.allowed_px


def fit_plane(points: Array, pixels: Array, size: tuple[int, int], spacing: float) -> PlaneFit | None:
    """Fit a homography and one lens parameter to corners, some of which may be wrong.

    points (N, 2): on the board, metres; pixels (N, 2); size: width and height of the picture; spacing: metres from a corner to
    its neighbour. None where there are fewer than four, or all lie in a line. The lens is the division model about the
    picture's middle (Fitzgibbon, CVPR 2001), its strength the best of a few: enough to tell a wrong corner from a bent one.
    """
    if len(points) < 4 or _in_line(points) or _in_line(pixels):
        return None
    best = None
    for bend in _BENDS if len(points) >= _ENOUGH_TO_BEND else _BENDS[:1]:
        fit = _fit_bent(points, pixels, _Bend(size, bend), spacing)
        if fit is not None and (best is None or _misfit(fit) < _misfit(best)):
            best = fit
        if fit is None or not _GOOD < _misfit(fit) < _HOPELESS:
            break
    return best


def _misfit(fit: PlaneFit) -> float:
    """Mean of the residuals in units of what is allowed, wrong corners counted alike however wrong."""
    return float(np.minimum(fit.residual_px / fit.allowed_px, 2).mean())


def _fit_bent(points: Array, pixels: Array, bend: "_Bend", spacing: float) -> PlaneFit | None:
    straight = bend.straighten(pixels)
    fit = _measure(_homography(points, straight), points, pixels, bend, spacing)
    if fit is not None and fit.fits.all():
        return fit
    # Some are wrong: the homography of the most that agree.
    near = _LOOSENESS_PX if fit is None else float(np.clip(np.median(fit.allowed_px), 1, 20))
    homography, _ = cv2.findHomography(points, straight, cv2.RANSAC, near, maxIters=_TRIALS)
    return _measure(homography, points, pixels, bend, spacing) or fit


def _homography(points: Array, pixels: Array) -> Array | None:
    """The homography from points (N, 2) to pixels (N, 2), both normalised: Hartley, "In defense of the eight-point
    algorithm", PAMI 1997.
    """
    (a, to_a), (b, to_b) = _normalised(points), _normalised(pixels)
    homogeneous = np.column_stack((a, np.ones(len(a))))
    zero = np.zeros_like(homogeneous)
    rows = np.block([[homogeneous, zero, -b[:, :1] * homogeneous], [zero, homogeneous, -b[:, 1:] * homogeneous]])
    matrix = np.linalg.inv(to_b) @ np.linalg.eigh(rows.T @ rows)[1][:, 0].reshape(3, 3) @ to_a
    return matrix / matrix[2, 2] if abs(matrix[2, 2]) > 1e-12 else None


def _normalised(points: Array) -> tuple[Array, Array]:
    """Points (N, 2) moved and scaled to about 1, and the (3, 3) matrix that does it."""
    middle = points.mean(axis=0)
    scale = 1 / np.abs(points - middle).mean()
    return scale * (points - middle), np.array(
        [[scale, 0, -scale * middle[0]], [0, scale, -scale * middle[1]], [0, 0, 1]]
    )


def _measure(
    homography: NDArray[Any] | None, points: Array, pixels: Array, bend: "_Bend", spacing: float
) -> PlaneFit | None:
    if homography is None or not np.isfinite(homography).all():
        return None
    homography = np.asarray(homography, dtype=np.float64)
    # A neighbour to the right and one below say how large a square is there, and which side of the board is seen.
    steps = np.array([(0, 0), (spacing, 0), (0, spacing)])
    homogeneous = (points[:, None] + steps) @ homography[:, :2].T + homography[:, 2]
    depth = homogeneous[..., 2]
    if (depth * depth[0, 0] <= 0).any():
        return None  # a part of the board would be behind the camera
    place = bend.bend(homogeneous[..., :2] / depth[..., None])
    if not np.isfinite(place).all():
        return None
    across, down = place[:, 1] - place[:, 0], place[:, 2] - place[:, 0]
    side = np.sign(across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0])
    if abs(side.sum()) < len(side):
        return None
    square = np.minimum(np.linalg.norm(across, axis=-1), np.linalg.norm(down, axis=-1))
    # In a picture of small squares the pixels that are always allowed would let everything pass.
    allowed = np.minimum(np.maximum(_LOOSENESS * square, _LOOSENESS_PX), _LOOSEST * square)
    return PlaneFit(place[:, 0], np.linalg.norm(place[:, 0] - pixels, axis=-1), allowed, int(side[0]), homography, bend)


@dataclass(frozen=True)
class _Bend:
    """The division model about the picture's middle: a straight lens has strength 0, a barrel less."""

    size: tuple[int, int]
    strength: float

    def straighten(self, pixels: Array) -> Array:
        offset = self._offset(pixels)
        return self._middle + self._unit * offset / (1 + self.strength * (offset**2).sum(axis=-1, keepdims=True))

    def bend(self, pixels: Array) -> Array:
        """The inverse of `straighten`; NaN where no picture of such a lens reaches."""
        offset = self._offset(pixels)
        radius2 = (offset**2).sum(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore"):
            scale = 2 / (1 + np.sqrt(1 - 4 * self.strength * radius2))
        return self._middle + self._unit * offset * scale

    def _offset(self, pixels: Array) -> Array:
        return (pixels - self._middle) / self._unit

    @property
    def _middle(self) -> Array:
        return (np.array(self.size) - 1) / 2

    @property
    def _unit(self) -> float:
        return float(np.hypot(*self.size)) / 2


def _in_line(points: Array) -> bool:
    """Whether all points lie so near one line that no plane can be told."""
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spread[1] <= 0.02 * spread[0])
