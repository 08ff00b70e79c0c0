"""How well a bundle adjustment on boards knows its cameras."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from posekit.calibration.lenses.fit import PARAMETERS
from posekit.calibration.rigs.board_adjustment import CAMERA_UNKNOWNS, LENS, TIME, BoardProblem, BoardState
from posekit.calibration.rigs.normal_equations import NormalEquations, damped


@dataclass(frozen=True, eq=False)
class RigUncertainty:
    """Covariances, relative to the first camera, whose pose and clock are taken for exact.

    pose: (C, 6, 6), a small turn of the camera in its own frame (rad), then the shift of its translation (m):
    x_cam = exp(turn) (rotation @ x_world + translation) + shift. lens_sigma: for every camera, standard deviations of what was
    free. time_offset_sigma_s: (C,), NaN where it was not looked for. noise_px: per axis, from the corners that took part.
    clustering: by how much the variances were raised, because corners of one picture err alike (blur, a bent board, a clock).
    """

    pose: Float[np.ndarray, "C 6 6"]
    lens_sigma: tuple[dict[str, float], ...]
    time_offset_sigma_s: Float[np.ndarray, " C"]
    noise_px: float
    clustering: float

    @property
    def position_sigma_m(self) -> Float[np.ndarray, "C 3"]:
        """Standard deviations of where the cameras stand, along their own axes.

        A centre is where x_cam = 0: a shift moves it by as much, the other way, and a turn about it leaves it where it is.
        """
        sigma: NDArray[np.float64] = np.sqrt(np.diagonal(self.pose, axis1=1, axis2=2)[:, 3:].clip(min=0))
        return sigma

    def scaled(self, factor: float) -> "RigUncertainty":
        """The same after all lengths of the rig were multiplied, as by a known distance; turns and pixels stay."""
        times = np.array((1, 1, 1, factor, factor, factor))
        return replace(self, pose=self.pose * times[:, None] * times)


def lens_names(state: BoardState, camera: int) -> tuple[str, ...]:
    """Names of a lens's unknowns in their places; a fisheye's k3 and k4 stand where others have p1 and p2."""
    fisheye = state.cameras.fisheye is not None and bool(state.cameras.fisheye[camera])
    return PARAMETERS["fisheye" if fisheye else "pinhole8"]


def rig_uncertainty(problem: BoardProblem, state: BoardState) -> RigUncertainty:
    """Covariances at the end of an adjustment by plain least squares.

    The inverse of the reduced normal equations, times the variance of the residuals (by the degrees of freedom that are left),
    times how much more the moments pull the cameras about than independent corners would (Liang and Zeger's sandwich, as one
    number). Triggs et al. 2000, section 9.
    """
    system = problem.linearise(state)
    reduced = system.reduced()
    columns = problem.free_columns
    covariance = torch.linalg.inv(reduced)
    noise2 = _noise2(problem, state, system, covariance)
    clustering = _clustering(problem, state, system, covariance) / noise2
    covariance = covariance * noise2 * max(1.0, clustering)
    C, K = system.camera_gradient.shape
    blocks = covariance.reshape(C, K, C, K).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    full = torch.zeros(C, len(CAMERA_UNKNOWNS), len(CAMERA_UNKNOWNS), dtype=covariance.dtype)
    free = problem.free[:, columns]
    full[:, columns[:, None], columns] = blocks * free[:, :, None] * free[:, None, :]
    sigma = full.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    lens = tuple(
        {
            name: float(sigma[c, number])
            for number, name in enumerate(lens_names(state, c), LENS.start)
            if problem.free[c, number]
        }
        for c in range(C)
    )
    time = torch.where(problem.free[:, TIME] > 0, sigma[:, TIME], torch.nan)
    return RigUncertainty(
        full[:, :6, :6].numpy(), lens, time.numpy(), problem.noise_px * noise2**0.5, max(1.0, clustering)
    )


def _noise2(problem: BoardProblem, state: BoardState, system: NormalEquations, covariance: Tensor) -> float:
    """Variance of the residuals, as a share of what the problem took it for."""
    weight = problem.seen.weight
    residual = problem.residual(state)
    square = float((weight * residual.square().sum(dim=-1)).sum()) / problem.noise_px**2
    of_cameras = float(problem.free.sum())
    of_boards = float(system.object_gradient.numel())
    if problem.rate_prior is not None:
        # Rates that the prior holds cost no freedom: each counts by the share that the corners alone determine.
        inverse = torch.linalg.inv(damped(system.of_objects, 0.0))
        held = inverse.diagonal(dim1=-2, dim2=-1)[:, 6:] / problem.rate_prior.sigma**2
        of_boards -= float(held.sum())
    left = 2 * float(weight.sum()) - of_cameras - of_boards
    return max(square / max(left, 1.0), 1e-12)


def _clustering(problem: BoardProblem, state: BoardState, system: NormalEquations, covariance: Tensor) -> float:
    """Mean square pull of the moments on the cameras' unknowns, in units of what unit noise would give."""
    F, C, K = system.between.shape[:3]
    pulls = problem.frame_gradients(state)
    inverse = torch.linalg.inv(damped(system.of_objects, 0.0))
    eliminated = (inverse @ system.object_gradient[..., None])[..., 0]
    pulls = (pulls - torch.einsum("fckp,fp->fck", system.between, eliminated)).reshape(F, C * K)
    pulls = pulls * problem.free[:, problem.free_columns].reshape(-1)
    square = float(torch.einsum("fa,ab,fb->", pulls, covariance, pulls))
    count = float(problem.free.sum())
    # What the fit has taken out of the pulls, as of any residual.
    return square / max(count, 1.0) * F / max(F - count / max(C, 1), F / 4, 1.0)
