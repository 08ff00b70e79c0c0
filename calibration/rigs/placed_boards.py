"""Where the boards were in the world of a given rig."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posekit.calibration.boards.views import BoardViews
from posekit.calibration.rigs.board_adjustment import BoardProblem, BoardState, Observations, RatePrior
from posekit.calibration.rigs.board_choice import choose_boards
from posekit.calibration.rigs.board_poses import find_board_poses
from posekit.calibration.rigs.normal_equations import damped
from posekit.camera import CameraBatch, Rig

Array = NDArray[np.float64]

#: Levenberg-Marquardt steps of `place_boards`; from a board's pose in one picture it is there after five.
_STEPS = 20

#: Rates at which a person carries and turns a board (m/s, rad/s), one standard deviation: what is assumed of one whose
#: neighbours in time are not known.
_CARRYING, _TURNING = 0.5, 2.0

#: Rates by clocks that are in doubt are off by this much more.
_DOUBT = 8.0

#: Between two moments this many seconds apart, the mean rate is that of the middle but for so much (m/s, rad/s), which grows
#: with the square of the time: carried boards jerk by 10 m/s^3.
_BETWEEN_S, _CARRYING_OFF, _TURNING_OFF = 1 / 6, 0.05, 0.25

#: What the mean rate is off by at least: the poses themselves are not exact.
_LEAST_OFF = 0.03

#: What a board may do (m/s, rad/s) where its rates are read off the pictures of the moment alone: more than any hand does.
_ANY_CARRYING, _ANY_TURNING = 15.0, 75.0

#: Neighbours further apart than this (s) say nothing of the rate.
_LONGEST_BETWEEN_S = 0.7

#: They end with one that lowers the cost by less than this share.
_SETTLED = 1e-6

_CAUCHY_SIGMAS = 3.0


@dataclass(frozen=True, eq=False)
class PlacedBoards:
    """The board at every moment: world_from_board at the moment's mean time, NaN where it could not be placed.

    rotation: (F, 3, 3). translation: (F, 3) metres, of the board's own origin. rates: (F, 6), rad/s about the board's middle
    and m/s of the middle, in the world; 0 where the board is taken to stand still.
    """

    rotation: Array
    translation: Array
    rates: Array

    @property
    def found(self) -> NDArray[np.bool_]:
        """Which moments have a board, (F,)."""
        return np.isfinite(self.translation[:, 0])


def mean_times(views: BoardViews, time_offset_s: Array | None = None) -> Array | None:
    """The time (F,) s of every moment: the mean over the cameras that have one; None where nothing is known of times.

    time_offset_s: (C,), how much later than that each camera took its pictures.
    """
    if views.times_s is not None:
        known = np.isfinite(views.times_s)
        times = views.times_s + (0 if time_offset_s is None else time_offset_s)
        return np.where(known, times, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return None if views.fps is None else views.frames / views.fps


def place_boards(
    rig: Rig,
    views: BoardViews,
    *,
    moving: bool | None = None,
    own_rates: bool = True,
    chosen: NDArray[np.bool_] | None = None,
) -> PlacedBoards:
    """Find where the board was at every moment, in the world of a rig that is taken for true.

    views: of the rig's cameras, in its order. moving: whether it had a velocity, too; by default where their times differ.
    own_rates: whether every moment's pictures alone say how fast it moved; otherwise the moments before and after do, too, as
    is right where it is to be said what another camera saw. chosen: (F, C) bool, the pictures that count; all by default.
    """
    if chosen is not None:
        views = replace(views, corners_px=np.where(chosen[..., None, None], views.corners_px, np.nan))
    poses = find_board_poses(views, rig.cameras)
    batch = CameraBatch.from_rig(rig)
    chosen_boards = choose_boards(poses, batch.rotation.numpy(), batch.translation.numpy())
    offsets = time_offsets(rig)
    seen, frames = observations(views, np.isfinite(chosen_boards.translation[:, 0]), offsets)
    state = BoardState(
        batch,
        torch.from_numpy(offsets),
        torch.from_numpy(chosen_boards.rotation[frames]),
        torch.from_numpy(chosen_boards.translation[frames]),
        torch.zeros(len(frames), 6, dtype=torch.float64),
    )
    if moving is None:
        moving = is_moving(views, rig)
    state = _settled(seen, state, None)
    if moving:
        prior = rate_prior(state, seen)
        state = replace(state, rates=prior.mean)
        state = with_own_rates(seen, state) if own_rates else _settled(seen, state, prior)
    return as_placed(state, frames, views)


def with_own_rates(seen: Observations, state: BoardState) -> BoardState:
    """Fit the boards alone, each with the rates that its own moment's pictures ask for, whatever its neighbours say."""
    loose = _rates(_ANY_TURNING, _ANY_CARRYING)
    prior = rate_prior(state, seen)
    return _settled(seen, state, replace(prior, sigma=loose.expand_as(prior.sigma)))


def is_moving(views: BoardViews, rig: Rig) -> bool:
    """Whether the cameras' pictures of one moment were taken at different times."""
    return views.times_s is not None or any(camera.time_offset_s for camera in rig.cameras)


def board_residuals(rig: Rig, views: BoardViews, boards: PlacedBoards) -> Array:
    """Reprojection less detection of every corner, (F, C, K, 2) px; NaN where it was not seen, or the board not placed."""
    residual = np.full(views.corners_px.shape, np.nan)
    offsets = time_offsets(rig)
    seen, frames = observations(views, boards.found, offsets)
    if not len(frames):
        return residual
    middle = views.board.points_m.mean(axis=0)
    rotation = boards.rotation[frames]
    state = BoardState(
        CameraBatch.from_rig(rig),
        torch.from_numpy(offsets),
        torch.from_numpy(rotation),
        torch.from_numpy(boards.translation[frames] + rotation @ middle),
        torch.from_numpy(boards.rates[frames]),
    )
    scatter_residuals(residual, seen, frames, _problem(seen, state, None, None).residual(state))
    return residual


def scatter_residuals(into: Array, seen: Observations, frames: NDArray[np.int64], residual: Tensor) -> None:
    """Lay residuals (V, K, 2) of views out by moment and camera, (F, C, K, 2)."""
    values = np.where((seen.weight > 0).numpy()[..., None], residual.numpy(), np.nan)
    into[frames[seen.frame.numpy()], seen.camera.numpy()] = values


def time_offsets(rig: Rig) -> Array:
    """The cameras' time offsets, (C,) s."""
    return np.array([camera.time_offset_s for camera in rig.cameras])


def observations(
    views: BoardViews, chosen: NDArray[np.bool_], time_offset_s: Array | None = None
) -> tuple[Observations, NDArray[np.int64]]:
    """List the pictures of the chosen moments (F,); those moments' places, (N,), by which `Observations.frame` counts.

    time_offset_s: (C,), about how late the cameras are: a moment is in the middle of when its pictures were taken in truth.
    """
    frames = np.flatnonzero(chosen)
    corners = views.corners_px[frames]
    seen = np.isfinite(corners).all(axis=-1)
    frame, camera = np.nonzero(seen.any(axis=-1))
    delay = np.zeros(len(frame))
    times = mean_times(views, time_offset_s)
    if views.times_s is not None and times is not None:
        delay = np.nan_to_num(views.times_s[frames[frame], camera] - times[frames[frame]])
    middle = views.board.points_m.mean(axis=0)
    return (
        Observations(
            torch.from_numpy(views.board.points_m - middle),
            torch.from_numpy(frame),
            torch.from_numpy(camera),
            torch.from_numpy(np.nan_to_num(corners[frame, camera]).astype(np.float64)),
            torch.from_numpy(seen[frame, camera].astype(np.float64)),
            torch.from_numpy(delay),
            None if times is None else torch.from_numpy(np.asarray(times, dtype=np.float64)[frames]),
        ),
        frames,
    )


def rate_prior(state: BoardState, seen: Observations, *, sure_of_times: bool = True) -> RatePrior:
    """What the board's places before and after say of its rates at every moment.

    sure_of_times: False where the cameras' clocks are in doubt, and with them what is made of places and times.
    """
    F, time = len(state.middle), seen.moment_s
    mean = torch.zeros(F, 6, dtype=torch.float64)
    sigma = _rates(_TURNING, _CARRYING).repeat(F, 1)
    if time is None or F < 2:
        return RatePrior(mean, sigma)
    before = torch.arange(F).sub(1).clamp(min=0)
    after = torch.arange(F).add(1).clamp(max=F - 1)
    gap = time[after] - time[before]
    near = (gap > 0) & (gap < _LONGEST_BETWEEN_S)
    span = torch.where(near, gap, 1.0)[:, None]
    turned = _rotation_vectors(state.rotation[after] @ state.rotation[before].mT)
    rates = torch.cat((turned, state.middle[after] - state.middle[before]), dim=-1) / span
    # One neighbour only says the rate half a step away; twice the span stands for that.
    ends = (before == torch.arange(F)) | (after == torch.arange(F))
    share = ((span / 2) * torch.where(ends, 2.0, 1.0)[:, None] / _BETWEEN_S) ** 2
    off = _rates(_TURNING_OFF, _CARRYING_OFF) * share
    off = off if sure_of_times else _DOUBT * off
    least = _LEAST_OFF * _rates(_TURNING, _CARRYING)
    off = torch.minimum((off**2 + least**2).sqrt(), sigma)
    return RatePrior(torch.where(near[:, None], rates, mean), torch.where(near[:, None], off, sigma))


def _rates(turning: float, carrying: float) -> Tensor:
    """The six rates of a board (rad/s, m/s), alike along all axes."""
    return torch.tensor([turning] * 3 + [carrying] * 3, dtype=torch.float64)


def _rotation_vectors(rotation: Tensor) -> Tensor:
    from scipy.spatial.transform import Rotation

    return torch.from_numpy(Rotation.from_matrix(rotation.numpy()).as_rotvec())


def _problem(
    seen: Observations, state: BoardState, prior: RatePrior | None, cauchy_sigmas: float | None, noise_px: float = 1.0
) -> BoardProblem:
    C = len(state.cameras)
    none = state.middle.new_zeros(C, 19)
    return BoardProblem(seen, noise_px, none, prior, cauchy_sigmas, state.time_offset_s, none[:, 0] + 1, None)


def _settled(seen: Observations, state: BoardState, prior: RatePrior | None) -> BoardState:
    """Fit the boards alone: every moment by itself, each with its own damping."""
    if not len(state.middle):
        return state
    for _ in range(2):  # the second time with the noise that the first found
        noise = robust_noise_px(_problem(seen, state, prior, None).residual(state), seen.weight)
        problem = _problem(seen, state, prior, _CAUCHY_SIGMAS, noise)
        cost = problem.frame_costs(state)
        damping = torch.full_like(cost, 1e-3)
        for _ in range(_STEPS):
            system = problem.linearise(state)
            scaled = damped(system.of_objects, 0.0) + torch.diag_embed(
                damping[:, None] * system.of_objects.diagonal(dim1=-2, dim2=-1)
            )
            step = -torch.linalg.solve(scaled, system.object_gradient)
            moved = problem.moved(state, system.camera_gradient, step)
            new_cost = problem.frame_costs(moved)
            better = new_cost < cost
            state = replace(
                state,
                rotation=torch.where(better[:, None, None], moved.rotation, state.rotation),
                middle=torch.where(better[:, None], moved.middle, state.middle),
                rates=torch.where(better[:, None], moved.rates, state.rates),
            )
            gained = torch.where(better, cost - new_cost, 0).sum() / cost.sum().clamp(min=1e-30)
            cost = torch.where(better, new_cost, cost)
            damping = torch.where(better, damping / 8, damping * 8).clamp(1e-9, 1e6)
            if float(gained) < _SETTLED and bool(better.any()):
                break
    return state


def robust_noise_px(residual: Tensor, weight: Tensor) -> float:
    """Standard deviation per axis by the median of the seen corners' distances; those of a 2D Gaussian have 1.177 sigma."""
    distance = residual.square().sum(dim=-1).sqrt()[weight > 0]
    # 0.01 px: exact corners of a synthetic scene must not divide by zero.
    return max(float(distance.median()) / 1.1774, 0.01) if len(distance) else 1.0


def as_placed(state: BoardState, frames: NDArray[np.int64], views: BoardViews) -> PlacedBoards:
    """Boards of a state, by moment."""
    F = len(views.frames)
    rotation, translation, rates = np.full((F, 3, 3), np.nan), np.full((F, 3), np.nan), np.zeros((F, 6))
    rotation[frames], rates[frames] = state.rotation.numpy(), state.rates.numpy()
    translation[frames] = state.middle.numpy() - rotation[frames] @ views.board.points_m.mean(axis=0)
    return PlacedBoards(rotation, translation, rates)
