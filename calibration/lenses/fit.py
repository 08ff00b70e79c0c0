"""Fitting a lens and the poses of a board to the board's corners in one camera's pictures, by least squares."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

LensModel = Literal["pinhole5", "pinhole8", "fisheye"]

Array = NDArray[np.float64]

_PINHOLE = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3")

#: The parameters of each model in OpenCV's order: of cv2.projectPoints, and of cv2.fisheye.projectPoints.
PARAMETERS: dict[LensModel, tuple[str, ...]] = {
    "pinhole5": _PINHOLE,
    "pinhole8": (*_PINHOLE, "k4", "k5", "k6"),
    "fisheye": ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"),
}

#: What lenses and sensors are like: the principal point's distance from the middle (by the longer side), how far pixels are
#: from square, and the tangential coefficients; one standard deviation. Wide enough for every real camera tried.
_MIDDLE_SHARE, _SQUARE_SHARE, _TANGENTIAL = 0.03, 0.005, 0.003

#: How much each radial term moves the picture's farthest corner, as a share of its distance from the middle, with the power of
#: the radius that it goes with; one standard deviation. A term that the views do not fix stays near 0 by this.
_RADIAL: dict[LensModel, dict[str, tuple[int, float]]] = {
    "pinhole5": {"k1": (2, 0.5), "k2": (4, 0.25), "k3": (6, 0.1)},
    "pinhole8": {"k1": (2, 0.5), "k2": (4, 0.25), "k3": (6, 0.1), "k4": (2, 0.5), "k5": (4, 0.25), "k6": (6, 0.1)},
    "fisheye": {"k1": (2, 0.3), "k2": (4, 0.15), "k3": (6, 0.1), "k4": (8, 0.05)},
}

#: How much a circle about the middle grows with the ray's angle, as a share of what it does without distortion: 1, give or take
#: this (one standard deviation), on a circle so many times as far out as the picture's corner (barrels bring it in to there).
#: Where no corner of the board was seen, a polynomial without it turns back within the picture, and pixels beyond have no ray.
_GROWTH, _GROWTH_AT = 0.3, 1.3

_MAX_STEPS = 60

#: The fit stands still where a step lowers the cost by no more than this share.
_STILL = 1e-8


@dataclass(frozen=True, eq=False)
class LensPrior:
    """What is known of lenses before any picture: rows @ parameters = targets, with standard deviations sigma."""

    rows: Float[np.ndarray, "M P"]
    targets: Float[np.ndarray, " M"]
    sigma: Float[np.ndarray, " M"]


@dataclass(frozen=True, eq=False)
class LensFit:
    """A lens, where the board was in each of V views, and what remains.

    parameters: as in PARAMETERS. poses: rotation vector and translation (m) of the camera from the board; NaN for a view that
    took no part. residual_px: projection less corner, NaN where that was not seen. covariance: of the parameters, 0 for those
    that were not free. noise_px: standard deviation of a corner per axis; rms_px: root mean square of the corners' distances.
    """

    model: LensModel
    parameters: Float[np.ndarray, " P"]
    poses: Float[np.ndarray, "V 6"]
    residual_px: Float[np.ndarray, "V K 2"]
    covariance: Float[np.ndarray, "P P"]
    noise_px: float
    rms_px: float


def camera_matrix(parameters: Array) -> Array:
    """The (3, 3) camera matrix of parameters that begin with fx fy cx cy."""
    fx, fy, cx, cy = parameters[:4]
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def project_board(model: LensModel, parameters: Array, pose: Array, points_m: Array) -> tuple[Array, Array, Array]:
    """Project (N, 3) points of a board at one pose: pixels (N, 2), their derivatives by lens (2N, P) and by pose (2N, 6)."""
    matrix, distortion = camera_matrix(parameters), parameters[4:]
    rotation, translation = pose[:3].reshape(3, 1), pose[3:].reshape(3, 1)
    if model == "fisheye":
        pixels, jacobian = cv2.fisheye.projectPoints(points_m[:, None], rotation, translation, matrix, distortion)
        by_lens, by_pose = jacobian[:, :8], jacobian[:, 8:14]
    else:
        pixels, jacobian = cv2.projectPoints(points_m[:, None], rotation, translation, matrix, distortion)[:2]
        by_lens, by_pose = jacobian[:, 6 : 6 + len(parameters)], jacobian[:, :6]
    return np.asarray(pixels, dtype=np.float64).reshape(-1, 2), np.asarray(by_lens), np.asarray(by_pose)


def lens_prior(model: LensModel, size: tuple[int, int], focal_px: float) -> LensPrior:
    """What is known of a lens by the picture's size (width, height) and about how long it is.

    So weak that ten good views leave nothing of it, and so strong that three views give no principal point outside the picture.
    """
    names = PARAMETERS[model]
    middle = _MIDDLE_SHARE * max(size)
    known: list[tuple[dict[str, float], float, float]] = [
        ({"fx": 1, "fy": -1}, 0, _SQUARE_SHARE * focal_px),
        ({"cx": 1}, (size[0] - 1) / 2, middle),
        ({"cy": 1}, (size[1] - 1) / 2, middle),
    ]
    known += [({name: 1}, 0, _TANGENTIAL) for name in ("p1", "p2") if name in names]
    farthest = np.hypot(*size) / 2 / focal_px
    if model == "fisheye":
        farthest = min(farthest, np.pi / 2)
    known += [({name: 1}, 0, sigma / farthest**power) for name, (power, sigma) in _RADIAL[model].items()]
    if model != "pinhole8":  # whose growth is no sum of its terms
        beyond = min(_GROWTH_AT * farthest, np.pi / 2) if model == "fisheye" else _GROWTH_AT * farthest
        growth = {name: (power + 1) * beyond**power for name, (power, _) in _RADIAL[model].items()}
        known.append((growth, 0, _GROWTH))
    rows = np.array([[row.get(name, 0) for name in names] for row, _, _ in known], dtype=np.float64)
    return LensPrior(rows, np.array([target for _, target, _ in known]), np.array([sigma for _, _, sigma in known]))


def fit_lens(
    model: LensModel,
    parameters: Float[np.ndarray, " P"],
    free: Bool[np.ndarray, " P"],
    poses: Float[np.ndarray, "V 6"],
    points_m: Float[np.ndarray, "K 3"],
    corners_px: Float[np.ndarray, "V K 2"],
    used: Bool[np.ndarray, "V K"],
    *,
    prior: LensPrior,
    noise_px: float,
    huber_px: float | None = None,
) -> LensFit:
    """Fit the free parameters and the views' poses by Levenberg and Marquardt's method, the poses eliminated (Schur's way).

    used: corners that take part. prior counts as if a corner's standard deviation were noise_px. huber_px: beyond it a corner
    pulls no harder (Huber's loss), for data that holds wrong corners; without it, least squares. One length for fx and fy where
    only fx is free. A pose of NaN takes no part.
    """
    problem = _Problem(model, free, points_m, corners_px, used, prior, noise_px, huber_px)
    cost, system = problem.linearise(parameters, poses)
    damping = 1e-3
    for _ in range(_MAX_STEPS):
        step, pose_step = system.solve(damping)
        new, new_poses = problem.stepped(parameters, poses, step, pose_step)
        new_cost, new_system = problem.linearise(new, new_poses)
        if new_cost < cost:
            gained = cost - new_cost
            parameters, poses, cost, system = new, new_poses, new_cost, new_system
            damping = max(damping / 10, 1e-12)
            if gained <= _STILL * cost:
                break
        elif damping > 1e6:
            break
        else:
            damping *= 10
    residual = problem.residuals(parameters, poses)
    inside = residual[used & np.isfinite(residual).all(axis=-1)]
    placed = (used.any(axis=1) & np.isfinite(poses).all(axis=1)).sum()
    # Every corner gives two numbers, every pose takes six.
    degrees = max(inside.size - 6 * int(placed) - int(free.sum()), 1)
    squares = float((inside**2).sum())
    noise = np.sqrt(squares / degrees)
    covariance = problem.spread(noise**2 * system.covariance())
    rms = np.sqrt(squares / max(len(inside), 1))
    return LensFit(model, parameters, poses, residual, covariance, float(noise), float(rms))


class _Problem:
    def __init__(
        self,
        model: LensModel,
        free: NDArray[np.bool_],
        points_m: Array,
        corners_px: Array,
        used: NDArray[np.bool_],
        prior: LensPrior,
        noise_px: float,
        huber_px: float | None,
    ) -> None:
        self._model, self._points, self._corners, self._used, self._huber = model, points_m, corners_px, used, huber_px
        self._prior, self._prior_weight = prior, noise_px / prior.sigma
        # (P, free): how the parameters move with the free ones.
        self._spread = np.eye(len(free))[:, free]
        if free[0] and not free[1]:
            self._spread[1, 0] = 1

    def spread(self, covariance: Array) -> Array:
        return np.asarray(self._spread @ covariance @ self._spread.T)

    def stepped(self, parameters: Array, poses: Array, step: Array, pose_step: Array) -> tuple[Array, Array]:
        return parameters + self._spread @ step, poses + pose_step

    def residuals(self, parameters: Array, poses: Array) -> Array:
        """Projection less corner of every corner that was seen, whether it takes part or not."""
        residual = np.full_like(self._corners, np.nan)
        for v, pose in enumerate(poses):
            if np.isfinite(pose).all():
                residual[v] = project_board(self._model, parameters, pose, self._points)[0] - self._corners[v]
        return residual

    def linearise(self, parameters: Array, poses: Array) -> "tuple[float, _System]":
        """The cost, and the normal equations of a step."""
        system = _System(self._spread.shape[1], len(poses))
        cost = 0.0 if parameters[:2].min() > 0 else np.inf
        for v, pose in enumerate(poses):
            used = self._used[v]
            if not used.any() or not np.isfinite(pose).all():
                continue
            pixels, by_lens, by_pose = project_board(self._model, parameters, pose, self._points[used])
            residual = pixels - self._corners[v, used]
            weight = np.ones(len(residual))
            if self._huber is None:
                cost += float((residual**2).sum())
            else:
                length = np.linalg.norm(residual, axis=-1)
                weight = self._huber / np.maximum(length, self._huber)
                cost += float(
                    (np.where(length < self._huber, length**2, self._huber * (2 * length - self._huber))).sum()
                )
            root = np.repeat(np.sqrt(weight), 2)
            system.add_view(
                v, root[:, None] * (by_lens @ self._spread), root[:, None] * by_pose, root * residual.ravel()
            )
        off = self._prior_weight * (self._prior.rows @ parameters - self._prior.targets)
        system.add_prior(self._prior_weight[:, None] * (self._prior.rows @ self._spread), off)
        cost += float((off**2).sum())
        return (cost if np.isfinite(cost) else np.inf), system


class _System:
    """Normal equations with a lens in common and a pose per view."""

    def __init__(self, free: int, views: int) -> None:
        self.lens, self.lens_right = np.zeros((free, free)), np.zeros(free)
        self.pose = np.zeros((views, 6, 6))
        self.cross, self.pose_right = np.zeros((views, free, 6)), np.zeros((views, 6))
        self.there = np.zeros(views, dtype=bool)

    def add_prior(self, by_lens: Array, residual: Array) -> None:
        self.lens += by_lens.T @ by_lens
        self.lens_right -= by_lens.T @ residual

    def add_view(self, view: int, by_lens: Array, by_pose: Array, residual: Array) -> None:
        self.add_prior(by_lens, residual)
        self.pose[view], self.cross[view] = by_pose.T @ by_pose, by_lens.T @ by_pose
        self.pose_right[view] = -by_pose.T @ residual
        self.there[view] = True

    def solve(self, damping: float) -> tuple[Array, Array]:
        """The step of the lens (free,) and of the poses (V, 6)."""
        reduced, right, inverse = self._reduced(damping)
        scale = 1 / np.sqrt(np.maximum(np.diag(self.lens), 1e-300))
        step = scale * np.linalg.lstsq(reduced * np.outer(scale, scale), right * scale, rcond=1e-14)[0]
        pose_step = np.zeros((len(self.there), 6))
        rest = self.pose_right[self.there] - np.einsum("vfp,f->vp", self.cross[self.there], step)
        pose_step[self.there] = np.einsum("vpq,vq->vp", inverse, rest)
        return step, pose_step

    def covariance(self) -> Array:
        """The inverse of the lens's information, poses unknown; infinite where there is none."""
        reduced = self._reduced(0)[0]
        scale = 1 / np.sqrt(np.maximum(np.diag(self.lens), 1e-300))
        values, vectors = np.linalg.eigh(reduced * np.outer(scale, scale))
        # 1e-13: below it the information is the rounding of what was subtracted. 1e150 stands for "nothing is known".
        inverse = np.where(values > 1e-13, 1 / np.maximum(values, 1e-300), 1e150)
        return np.asarray((vectors * inverse) @ vectors.T * np.outer(scale, scale))

    def _reduced(self, damping: float) -> tuple[Array, Array, Array]:
        pose = self.pose[self.there]
        diagonal = np.einsum("vpp->vp", pose)
        # 1e-12: a view whose corners are one line leaves a turn open.
        pose = pose + (damping + 1e-12) * diagonal[:, :, None] * np.eye(6)
        inverse = np.linalg.inv(pose)
        cross, right = self.cross[self.there], self.pose_right[self.there]
        lens = self.lens + damping * np.diag(np.diag(self.lens))
        reduced = lens - np.einsum("vfp,vpq,vgq->fg", cross, inverse, cross)
        return reduced, self.lens_right - np.einsum("vfp,vpq,vq->f", cross, inverse, right), inverse
