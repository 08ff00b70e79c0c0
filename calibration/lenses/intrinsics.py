"""One camera's lens from its views of a board, with what is known of it and what is not."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from posekit.calibration.boards.views import BoardViews
from posekit.calibration.lenses.fit import (
    PARAMETERS,
    LensFit,
    LensModel,
    camera_matrix,
    fit_lens,
    lens_prior,
    project_board,
)
from posekit.calibration.lenses.weakness import weak_points
from posekit.calibration.rigs.board_poses import MIN_CORNERS, find_board_poses
from posekit.camera import Camera
from posekit.errors import PosekitError

Array = NDArray[np.float64]

#: Views that a lens is fitted to at most: more of them cost time and tell nothing new.
MOST_VIEWS = 80

#: With fewer views than this there is no lens to be had.
_FEWEST_VIEWS = 4

#: Focal lengths that are tried at first, as shares of the picture's longer side: fields of view of 127 to 14 degrees.
_FOCAL_SHARES = np.geomspace(0.25, 4, 12)

#: Views that these are tried on.
_TRIAL_VIEWS = 20

#: A corner is wrong that lies farther off than so many standard deviations, and so many px.
_WRONG_SIGMA, _WRONG_PX = 6.0, 0.3

#: A view is wrong of which fewer corners than this share are right.
_FEWEST_RIGHT = 0.6

#: Corners that are off by more than this share of the picture's diagonal (one standard deviation) were not found on a board.
_HOPELESS = 0.01

#: Turns of fitting and of telling wrong corners, at most.
_TURNS = 8


@dataclass(frozen=True, eq=False)
class LensCalibration:
    """A camera's lens; the camera stands at the world's origin and looks along its z axis.

    rms_px, mean_px: over the corners used, each one's distance, as OpenCV has it; noise_px: standard deviation of a corner per
    axis. sigma: one standard deviation of each of the model's parameters. used: corners the lens was fitted to;
    chosen: views that were looked at, by their place in the views given; refused: those among them that fit no lens.
    warnings: what these views do not fix, sentences for a person.
    """

    camera: Camera
    model: LensModel
    rms_px: float
    mean_px: float
    noise_px: float
    sigma: dict[str, float]
    used: Bool[np.ndarray, "F K"]
    chosen: Int[np.ndarray, " N"]
    refused: Int[np.ndarray, " M"]
    warnings: tuple[str, ...]

    @property
    def frames(self) -> NDArray[np.int64]:
        """Places of the views that the lens was fitted to."""
        return np.flatnonzero(self.used.any(axis=1))


def calibrate_lens(
    views: BoardViews, camera: int, model: LensModel = "pinhole5", *, most_views: int = MOST_VIEWS
) -> LensCalibration:
    """Calibrate the lens of one of the cameras, by its place, on views chosen for coverage and variety.

    Wrong corners and wrong views are found by their residuals and left out. What the views leave open stays near what lenses
    are like (`lens_prior`), and is told. Zhang, "A flexible new technique for camera calibration", PAMI 2000, with Levenberg
    and Marquardt's method; the uncertainty is that of least squares with independent noise of one size.

    Raises PosekitError where fewer than four views show a board whose pose can be had, or fit one lens.
    """
    views = views.of((views.cameras[camera],))
    trial = _Trial(views, model)
    parameters, poses = trial.first_guess()
    chosen = _choose_views(trial, parameters, poses, most_views)
    poses = trial.place(parameters, chosen)
    fit, used = trial.fit(parameters, poses, chosen)
    if used.any(axis=1).sum() < _FEWEST_VIEWS or fit.noise_px > _HOPELESS * np.hypot(*trial.size):
        raise PosekitError(
            f"{views.source}: camera '{trial.name}': no lens fits its {len(chosen)} views of the board; is the board what was "
            "said, flat and sharp in the pictures, and the zoom the same in all of them?"
        )
    lens = trial.camera(fit.parameters)
    sigma = np.sqrt(np.diag(fit.covariance))
    refused = chosen[~used.any(axis=1)]
    return LensCalibration(
        lens,
        model,
        fit.rms_px,
        float(np.linalg.norm(fit.residual_px[used], axis=-1).mean()),
        fit.noise_px,
        dict(zip(PARAMETERS[model], sigma.tolist(), strict=True)),
        _scattered(used, chosen, len(views.frames)),
        chosen,
        refused,
        weak_points(lens, fit, trial.corners[chosen], used),
    )


class _Trial:
    """One camera's views, and what is done with them again and again."""

    def __init__(self, views: BoardViews, model: LensModel) -> None:
        self.views, self.model, self.name = views, model, views.cameras[0]
        self.size = views.sizes[0]
        self.corners, self.seen = views.corners_px[:, 0], views.seen[:, 0]
        self.points = views.board.points_m

    def camera(self, parameters: Array) -> Camera:
        return Camera(
            self.name,
            self.size,
            camera_matrix(parameters),
            parameters[4:],
            np.eye(3),
            np.zeros(3),
            fisheye=self.model == "fisheye",
        )

    def place(self, parameters: Array, chosen: NDArray[np.int64]) -> Array:
        """The board's poses in the chosen views by this lens, (N, 6); NaN where there is none."""
        found = find_board_poses(self.views.at(chosen), [self.camera(parameters)])
        poses = np.full((len(chosen), 6), np.nan)
        for n in np.flatnonzero(found.found[:, 0]):
            rotation = found.rotation[n, 0, 0]
            # found is about the board's middle
            corner = found.translation[n, 0, 0] - rotation @ self.points.mean(axis=0)
            poses[n] = np.concatenate((cv2.Rodrigues(rotation)[0][:, 0], corner))
        return poses

    def residuals(self, parameters: Array, poses: Array, chosen: NDArray[np.int64]) -> Array:
        """Distances (N, K) px of the corners from where the lens has them; NaN where unseen or without a pose."""
        distance = np.full((len(chosen), len(self.points)), np.nan)
        for n in np.flatnonzero(np.isfinite(poses).all(axis=1)):
            pixels = project_board(self.model, parameters, poses[n], self.points)[0]
            distance[n] = np.linalg.norm(pixels - self.corners[chosen[n]], axis=-1)
        return distance

    def first_guess(self) -> tuple[Array, Array]:
        """A lens without distortion whose focal length explains most views best, and the poses of all views by it."""
        usable = np.flatnonzero(self.seen.sum(axis=1) >= min(MIN_CORNERS, len(self.points)))
        some = usable[np.linspace(0, len(usable) - 1, min(len(usable), _TRIAL_VIEWS)).round().astype(int)]
        width, height = self.size
        far_off = 0.02 * float(np.hypot(width, height))
        best, least = None, np.inf
        for share in _FOCAL_SHARES if len(some) else ():
            parameters = np.zeros(len(PARAMETERS[self.model]))
            parameters[:4] = share * max(width, height), share * max(width, height), (width - 1) / 2, (height - 1) / 2
            distance = self.residuals(parameters, self.place(parameters, some), some)
            # A view without a pose, and a wrong corner, are no worse than far off.
            cost = np.minimum(np.nan_to_num(distance, nan=far_off), far_off)[self.seen[some]].sum()
            if cost < least:
                best, least = parameters, float(cost)
        everywhere = np.arange(len(self.corners))
        poses = np.full((len(everywhere), 6), np.nan) if best is None else self.place(best, everywhere)
        placed = int(np.isfinite(poses).all(axis=1).sum())
        if best is None or placed < _FEWEST_VIEWS:
            raise PosekitError(
                f"{self.views.source}: camera '{self.name}': {placed} views of the board with {MIN_CORNERS} corners or more in "
                f"more than one row, where its lens needs {_FEWEST_VIEWS} or more, and 10 to be good: film the board nearer "
                "to it, tilted to all sides, or give its lens with --intrinsics"
            )
        return best, poses

    def fit(self, parameters: Array, poses: Array, chosen: NDArray[np.int64]) -> tuple[LensFit, NDArray[np.bool_]]:
        """Fit the lens robustly: the fit, and the corners used (N, K)."""
        names = PARAMETERS[self.model]
        data = (self.points, self.corners[chosen])
        free = np.isin(names, ("fx", "k1"))
        used = self.seen[chosen]
        prior = lens_prior(self.model, self.size, float(parameters[0]))
        fit = fit_lens(self.model, parameters, free, poses, *data, used, prior=prior, noise_px=1.0, huber_px=2.0)
        free = np.ones(len(names), dtype=bool)
        prior = lens_prior(self.model, self.size, float(fit.parameters[0]))
        poses = self._better(fit.parameters, fit.poses, chosen)
        used = self._right(fit.parameters, poses, chosen, loose=3.0)
        fit = fit_lens(self.model, fit.parameters, free, poses, *data, used, prior=prior, noise_px=1.0, huber_px=1.0)
        for _ in range(_TURNS):
            poses = self._better(fit.parameters, fit.poses, chosen)
            right = self._right(fit.parameters, poses, chosen)
            settled, used = bool((right == used).all()), right
            fit = fit_lens(self.model, fit.parameters, free, poses, *data, used, prior=prior, noise_px=fit.noise_px)
            if settled:
                break
        return fit, used

    def _better(self, parameters: Array, poses: Array, chosen: NDArray[np.int64]) -> Array:
        """Poses found anew where these fit better: a board that was taken for tilted the other way stays so in a fit."""
        anew = self.place(parameters, chosen)
        off, off_anew = (self.residuals(parameters, each, chosen) for each in (poses, anew))
        sums = [np.nan_to_num(each, nan=1e6).sum(axis=1, where=self.seen[chosen]) for each in (off, off_anew)]
        return np.where((sums[1] < sums[0])[:, None], anew, poses)

    def _right(
        self, parameters: Array, poses: Array, chosen: NDArray[np.int64], loose: float = 1.0
    ) -> NDArray[np.bool_]:
        """Which corners (N, K) are not wrong."""
        distance = self.residuals(parameters, poses, chosen)
        # The median distance of noise that is normal in both axes is 1.177 standard deviations.
        sigma = float(np.nanmedian(distance)) / 1.177
        right = np.nan_to_num(distance, nan=np.inf) < loose * max(_WRONG_SIGMA * sigma, _WRONG_PX)
        enough = right.sum(axis=1) >= np.maximum(_FEWEST_RIGHT * self.seen[chosen].sum(axis=1), MIN_CORNERS)
        return np.asarray(right & enough[:, None])


def _choose_views(trial: _Trial, parameters: Array, poses: Array, most: int) -> NDArray[np.int64]:
    """Places of the views to fit: all, or one after the other that which adds most in places of the picture, tilt and size."""
    candidates = np.flatnonzero(np.isfinite(poses).all(axis=1))
    if len(candidates) <= most:
        return candidates
    width, height = trial.size
    normals = np.stack([cv2.Rodrigues(poses[v, :3])[0][:2, 2] for v in candidates])
    spread = np.nanmax(trial.corners[candidates], axis=1) - np.nanmin(trial.corners[candidates], axis=1)
    size = np.log(np.linalg.norm(spread, axis=1) / np.hypot(width, height))
    feature = np.column_stack((normals, size))
    columns, rows = 10, 8
    inside = np.nan_to_num(trial.corners[candidates])
    cell_x = np.clip(inside[..., 0] / width * columns, 0, columns - 1).astype(int)
    cell_y = np.clip(inside[..., 1] / height * rows, 0, rows - 1).astype(int)
    cells = cell_y * columns + cell_x
    seen = trial.seen[candidates]
    count = np.zeros(columns * rows)
    nearest = np.full(len(candidates), 1.0)
    chosen: list[int] = []
    for _ in range(most):
        # Corners in places seldom reached so far, and a pose unlike those so far; both of order 1 at first.
        novelty = (seen / (1 + count[cells])).sum(axis=1) / len(trial.points)
        score = novelty + nearest
        score[chosen] = -np.inf
        best = int(np.argmax(score))
        chosen.append(best)
        np.add.at(count, cells[best, seen[best]], 1 / np.sqrt(len(trial.points)))
        nearest = np.minimum(nearest, np.linalg.norm(feature - feature[best], axis=1))
    return np.sort(candidates[chosen])


def _scattered(used: NDArray[np.bool_], chosen: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    everywhere = np.zeros((count, used.shape[1]), dtype=bool)
    everywhere[chosen] = used
    return everywhere
