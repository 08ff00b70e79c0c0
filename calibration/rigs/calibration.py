"""A rig from boards: first by pairs and a chain of them, then by bundle adjustment of all that was seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from posekit.calibration.boards.views import BoardViews
from posekit.calibration.lenses.fit import PARAMETERS, LensModel, lens_prior
from posekit.calibration.rigs.board_adjustment import (
    CAMERA_UNKNOWNS,
    LENS,
    POSE,
    TIME,
    BoardProblem,
    BoardState,
    LensInformation,
    Observations,
    believed,
)
from posekit.calibration.rigs.board_choice import ChosenBoards, choose_boards
from posekit.calibration.rigs.board_poses import BoardPoses, find_board_poses
from posekit.calibration.rigs.initialisation import FirstRig, first_rig
from posekit.calibration.rigs.normal_equations import CONVERGED, minimise
from posekit.calibration.rigs.placed_boards import (
    PlacedBoards,
    as_placed,
    is_moving,
    mean_times,
    observations,
    rate_prior,
    robust_noise_px,
    scatter_residuals,
    time_offsets,
    with_own_rates,
)
from posekit.calibration.rigs.uncertainty import RigUncertainty, rig_uncertainty
from posekit.camera import Camera, CameraBatch, Rig, rig_of_batch
from posekit.errors import PosekitError

Array = NDArray[np.float64]

_CAUCHY_SIGMAS = 3.0

#: A corner further off than this many standard deviations (robustly measured) is taken for wrong, and takes no part at the end.
#: Of right ones with Gaussian noise it is one in 300,000.
_WRONG_SIGMAS = 5.0

#: What is known of lenses without pictures counts for less here than for one camera alone (`lens_prior`): this share of it.
_PRIOR_SHARE = 0.3

#: Iterations of each stage at most; a good start takes about five.
_ITERATIONS = 40

#: A stage that others follow ends with an iteration that lowers the cost by less than this share.
_GOOD_ENOUGH = 1e-4

#: Stages in which the corners that count, and the noise, are judged anew.
_LAST_STAGES = 3


class UnlinkedCamerasError(PosekitError):
    """No two cameras saw the board at the same moment; their lenses may be good all the same."""


@dataclass(frozen=True)
class RigSettings:
    """What is looked for.

    free_lens: the model of the lenses, all of whose parameters may move, with `lens_prior`; None: lenses are kept.
    time_sigma_s: how well each camera's time_offset_s is known; it is looked for where this is positive, which takes a board
    that moves. None: the offsets are kept. moving: whether the board has a velocity in every moment; None: where the cameras'
    pictures were not taken at one time, as far as is known or is looked for.
    """

    free_lens: LensModel | None = None
    time_sigma_s: tuple[float, ...] | None = None
    moving: bool | None = None


@dataclass(frozen=True, eq=False)
class RigCalibration:
    """A rig and how well it is known.

    rig: of the linked cameras, in the world of its first one. views: what they saw, in their order; a symmetric board's corners
    in the order that the cameras agree on. boards: where it was. noise_px: standard deviation per axis of the corners that fit.
    residual_px: reprojection less detection, (F, C, K, 2); NaN where unseen. used: (F, C, K), whether a corner took part.
    uncertainty: of the cameras, relative to the first one. unlinked: cameras that are not in the rig, and why. links: (C, C),
    the moments that two cameras share.
    """

    rig: Rig
    views: BoardViews
    boards: PlacedBoards
    noise_px: float
    residual_px: Float[np.ndarray, "F C K 2"]
    used: Bool[np.ndarray, "F C K"]
    uncertainty: RigUncertainty
    unlinked: dict[str, str]
    links: NDArray[np.int64]

    @property
    def reference(self) -> str:
        """The camera that the uncertainty is relative to."""
        return self.rig.names[0]


def calibrate_rig(
    views: BoardViews, lenses: Sequence[Camera], settings: RigSettings | None = None, *, start: bool = False
) -> RigCalibration:
    """Find how the cameras stand to each other, from what they saw of one board.

    lenses: a camera for each of the views' cameras; they start with its time_offset_s, by which the views are in step already
    (`BoardViews.in_step`). start: whether their poses are about right, and are started from; else they do not count.

    Raises PosekitError where there are fewer than two cameras, UnlinkedCamerasError where no two of them saw the board at once.
    """
    adjustment, unlinked = _prepared(views, lenses, settings or RigSettings(), start=start)
    return adjustment.calibration(unlinked)


def refit_rig(views: BoardViews, cameras: Sequence[Camera], settings: RigSettings) -> Rig:
    """Only the rig of `calibrate_rig`, from cameras whose poses are about right: to hold moments out."""
    adjustment, _ = _prepared(views, cameras, settings, start=True)
    return adjustment.rig_of(adjustment.adjusted()[1])


def _prepared(
    views: BoardViews, lenses: Sequence[Camera], settings: RigSettings, *, start: bool
) -> "tuple[_Adjustment, dict[str, str]]":
    """The linked cameras where they stand about, and why others are not linked."""
    if len(views.cameras) < 2:
        raise PosekitError(f"{views.source}: one camera is no rig; two or more were expected")
    poses = find_board_poses(views, lenses)
    first = _given(lenses, poses.found) if start else first_rig(poses, views.board.symmetries)
    unlinked = _why_unlinked(views, first, poses.found)
    if first.linked.sum() < 2:
        told = "; ".join(f"{name} {why}" for name, why in unlinked.items())
        raise UnlinkedCamerasError(f"{views.source}: no two cameras can be linked: {told}")
    boards = choose_boards(poses, first.rotation, first.translation, views.board.symmetries)
    linked = np.flatnonzero(first.linked)
    if len(views.board.symmetries) > 1:
        views = _renumbered(views, boards.shown)
        poses = find_board_poses(views, lenses)
    views, poses = views.of(tuple(views.cameras[c] for c in linked)), poses.of(linked)
    cameras = tuple(
        replace(lenses[int(c)], name=views.cameras[place], rotation=first.rotation[c], translation=first.translation[c])
        for place, c in enumerate(linked)
    )
    time_sigma = torch.tensor(
        [settings.time_sigma_s[c] if settings.time_sigma_s else 0.0 for c in linked], dtype=torch.float64
    )
    return _Adjustment(views, Rig(cameras, views.source), settings, time_sigma, boards, poses), unlinked


def _given(lenses: Sequence[Camera], found: NDArray[np.bool_]) -> FirstRig:
    """The rig as it is given, of those cameras that saw boards that another one saw, too."""
    together = found & (found.sum(axis=1, keepdims=True) > 1)
    rotation, translation = (np.stack([getattr(lens, part) for lens in lenses]) for part in ("rotation", "translation"))
    return FirstRig(rotation, translation, together.any(axis=0), ())


def _renumbered(views: BoardViews, shown: NDArray[np.int64]) -> BoardViews:
    """Corners in the order that all cameras agree on, where the board looks the same in several."""
    corners = np.empty_like(views.corners_px)
    np.put_along_axis(corners, views.board.symmetries[shown][..., None], views.corners_px, axis=2)
    return replace(views, corners_px=corners)


def _lens_prior(model: LensModel, cameras: Sequence[Camera]) -> LensInformation:
    """`lens_prior` of all cameras, for the lens's places among `CAMERA_UNKNOWNS`."""
    width = LENS.stop - LENS.start
    rows, targets = [], []
    for camera in cameras:
        prior = lens_prior(model, camera.size, float(camera.matrix[0, 0]))
        padded = np.zeros((len(prior.rows), width))
        padded[:, : prior.rows.shape[1]] = prior.rows
        rows.append(_PRIOR_SHARE * padded / prior.sigma[:, None])
        targets.append(_PRIOR_SHARE * prior.targets / prior.sigma)
    return LensInformation(torch.from_numpy(np.stack(rows)), torch.from_numpy(np.stack(targets)))


@dataclass(frozen=True, eq=False)
class _Adjustment:
    """The stages of the bundle adjustment, each from where the last one ended."""

    views: BoardViews
    rig: Rig
    settings: RigSettings
    time_sigma: Tensor
    boards: ChosenBoards
    poses: BoardPoses

    @cached_property
    def _observed(self) -> tuple[Observations, NDArray[np.int64]]:
        return observations(self.views, np.isfinite(self.boards.translation[:, 0]), time_offsets(self.rig))

    def adjusted(self) -> tuple[BoardProblem, BoardState]:
        """Go through all stages; the last one's problem, and where it ended."""
        seen, frames = self._observed
        state = BoardState(
            CameraBatch.from_rig(self.rig),
            torch.from_numpy(time_offsets(self.rig)),
            torch.from_numpy(self.boards.rotation[frames]),
            torch.from_numpy(self.boards.translation[frames]),
            torch.zeros(len(frames), 6, dtype=torch.float64),
        )
        return self._all(seen, self._cameras_first(seen, state, frames), frames)

    def rig_of(self, state: BoardState) -> Rig:
        """The rig of a state."""
        return rig_of_batch(state.cameras, self.rig, state.time_offset_s.tolist())

    def calibration(self, unlinked: dict[str, str]) -> RigCalibration:
        """Adjust, and measure everything."""
        seen, frames = self._observed
        problem, state = self.adjusted()
        uncertainty = rig_uncertainty(problem, state)
        if problem.rate_prior is not None:
            # The moments are now where the clocks, as they were found, put them.
            seen, _ = observations(self.views, np.isfinite(self.boards.translation[:, 0]), state.time_offset_s.numpy())
            state = with_own_rates(seen, state)
        residual = np.full(self.views.corners_px.shape, np.nan)
        scatter_residuals(residual, seen, frames, replace(problem, seen=seen).residual(state))
        used = np.zeros(residual.shape[:3], dtype=bool)
        used[frames[seen.frame.numpy()], seen.camera.numpy()] = (problem.seen.weight > 0).numpy()
        found = np.isfinite(residual[..., 0]).any(axis=-1).astype(np.int64)
        return RigCalibration(
            self.rig_of(state),
            self.views,
            as_placed(state, frames, self.views),
            problem.noise_px,
            residual,
            used,
            uncertainty,
            unlinked,
            found.T @ found,
        )

    @property
    def _moving(self) -> bool:
        if self.settings.moving is not None or mean_times(self.views) is None:
            return bool(self.settings.moving)
        return is_moving(self.views, self.rig) or bool((self.time_sigma > 0).any())

    def _problem(
        self, seen: Observations, state: BoardState, free: Tensor, cauchy_sigmas: float | None, noise_px: float
    ) -> BoardProblem:
        prior = None
        if bool(free[:, LENS].any()) and self.settings.free_lens is not None:
            prior = _lens_prior(self.settings.free_lens, self.rig.cameras)
        clocks = self.time_sigma.clamp(min=1e-6)
        return BoardProblem(seen, noise_px, free, None, cauchy_sigmas, state.time_offset_s, clocks, prior)

    def _free(self, *, lens: bool, time: bool) -> Tensor:
        """What may move; the first camera's pose and clock are those of the world."""
        free = torch.zeros(len(self.rig), len(CAMERA_UNKNOWNS), dtype=torch.float64)
        if lens and self.settings.free_lens is not None:
            # A lens's parameters come first among the places of all lenses', whatever they are called there.
            free[:, LENS.start : LENS.start + len(PARAMETERS[self.settings.free_lens])] = 1
        free[1:, POSE] = 1
        if time:
            free[1:, TIME] = (self.time_sigma[1:] > 0).to(free.dtype)
        return free

    def _cameras_first(self, seen: Observations, state: BoardState, frames: NDArray[np.int64]) -> BoardState:
        """Poses of cameras and boards with the lenses as they are; then boards that lie the wrong way are turned."""
        free = self._free(lens=False, time=False)
        for _ in range(2):
            noise = robust_noise_px(self._problem(seen, state, free, None, 1.0).residual(state), seen.weight)
            problem = self._problem(seen, state, free, _CAUCHY_SIGMAS, noise)
            state, _ = minimise(problem, state, _ITERATIONS, _GOOD_ENOUGH)
            state = self._turned(problem, state, frames)
        return state

    def _turned(self, problem: BoardProblem, state: BoardState, frames: NDArray[np.int64]) -> BoardState:
        """Choose the boards' poses anew with the cameras as they are now, and keep what fits better."""
        poses = self.poses.at(frames)
        boards = choose_boards(poses, state.cameras.rotation.numpy(), state.cameras.translation.numpy())
        found = torch.from_numpy(np.isfinite(boards.translation[:, 0]))
        chosen = replace(
            state,
            rotation=torch.where(found[:, None, None], torch.from_numpy(boards.rotation), state.rotation),
            middle=torch.where(found[:, None], torch.from_numpy(boards.translation), state.middle),
        )
        better = problem.frame_costs(chosen) < problem.frame_costs(state)
        return replace(
            state,
            rotation=torch.where(better[:, None, None], chosen.rotation, state.rotation),
            middle=torch.where(better[:, None], chosen.middle, state.middle),
        )

    def _all(self, seen: Observations, state: BoardState, frames: NDArray[np.int64]) -> tuple[BoardProblem, BoardState]:
        """Everything that may move, robustly; then plain least squares over the corners that fit."""
        moving = self._moving
        free = self._free(lens=True, time=moving)
        first = state
        for stage in range(2 + _LAST_STAGES):
            robust = stage < 2
            sure = not bool((self.time_sigma > 0).any())
            prior = rate_prior(state, seen, sure_of_times=sure) if moving else None
            if prior is not None and stage == 0:
                state = replace(state, rates=prior.mean)
            problem = replace(self._problem(seen, first, free, None, 1.0), rate_prior=prior)
            residual = problem.residual(state)
            noise = robust_noise_px(residual, seen.weight)
            if robust:
                problem = replace(problem, noise_px=noise, cauchy_sigmas=_CAUCHY_SIGMAS)
            else:
                weight = believed(residual, seen.weight, _WRONG_SIGMAS * noise).to(torch.float64)
                problem = replace(problem, noise_px=noise, seen=replace(seen, weight=weight))
            last = stage == 1 + _LAST_STAGES
            state, _ = minimise(problem, state, _ITERATIONS, CONVERGED if last else _GOOD_ENOUGH)
        return problem, state


def _why_unlinked(views: BoardViews, first: FirstRig, found: NDArray[np.bool_]) -> dict[str, str]:
    """Say of every camera that is not linked what it lacks."""
    why = {}
    for c, name in enumerate(views.cameras):
        if first.linked[c] and first.linked.sum() > 1:
            continue
        pairs = [pair for pair in first.pairs if c in (pair.first, pair.second)]
        count = int(found[:, c].sum())
        if not count:
            why[name] = "saw the board in no picture"
        elif not pairs:
            why[name] = f"saw the board in {count} pictures, but never at the same moment as another camera"
        else:
            best = max(pairs, key=lambda pair: pair.agreeing)
            other = views.cameras[best.second if best.first == c else best.first]
            why[name] = (
                f"shares {best.shared} moments with {other}, of which {best.agreeing} of {best.judged} tell one pose: the "
                "pictures were not taken at one time, the board is not flat, or the lens is wrong"
                if not best.holds
                else f"is linked with {other} alone, in a group of its own"
            )
    return why
