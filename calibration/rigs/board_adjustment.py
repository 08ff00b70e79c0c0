"""Bundle adjustment of a rig on boards: cameras, lenses, clocks, and where the board was and how it moved, at every moment.

A camera's picture is taken a little before or after those of the others, while the board is carried on: where the times are
known, or a camera's offset is to be found, the board has a velocity and a turning rate at every moment, and is seen by each
camera where it was then.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from posekit.calibration.rigs.normal_equations import NormalEquations, turn_matrices
from posekit.camera import CameraBatch
from posekit.geometry.chunks import even_slices, map_chunks
from posekit.geometry.lens import Lens, coefficient_jacobian, distort, distort_with_jacobian

Result = TypeVar("Result")

#: A camera's unknowns, in their order: small turn and shift in its own frame, time offset, camera matrix, lens.
CAMERA_UNKNOWNS = (
    *("turn_x", "turn_y", "turn_z", "shift_x", "shift_y", "shift_z", "time_offset"),
    *("fx", "fy", "cx", "cy"),
    *("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
)
POSE, TIME, LENS = slice(0, 6), 6, slice(7, 19)

#: Views in one piece of work: their derivatives take 30 MB at 20 corners.
_PIECE = 1024

#: What is behind a camera is projected as if it stood this far in front (m).
_NEAREST = 1e-3


@dataclass(frozen=True)
class Observations:
    """Views of the board: V pictures of C cameras at F moments, in which K corners were to be seen.

    points: (K, 3) metres from the board's middle. frame, camera: (V,). corners_px: 0 where unseen; weight: 0 where unseen or
    not believed. delay_s: how much later than the moment each picture was taken, by its time alone, whatever the offset of its
    camera's clock. moment_s: (F,), when the moments are; None where nothing is known of times.
    """

    points: Float[Tensor, "K 3"]
    frame: Int[Tensor, " V"]
    camera: Int[Tensor, " V"]
    corners_px: Float[Tensor, "V K 2"]
    weight: Float[Tensor, "V K"]
    delay_s: Float[Tensor, " V"]
    moment_s: Float[Tensor, " F"] | None = None


@dataclass(frozen=True)
class BoardState:
    """Cameras, their clocks (C,), and the board: its middle in the world (F, 3) m, its turn (F, 3, 3), and rates (F, 6).

    rates: rad/s about the middle, then m/s.
    """

    cameras: CameraBatch
    time_offset_s: Float[Tensor, " C"]
    rotation: Float[Tensor, "F 3 3"]
    middle: Float[Tensor, "F 3"]
    rates: Float[Tensor, "F 6"]


@dataclass(frozen=True)
class RatePrior:
    """What is known of the board's rates without measuring them: (F, 6) means and standard deviations."""

    mean: Float[Tensor, "F 6"]
    sigma: Float[Tensor, "F 6"]


@dataclass(frozen=True)
class LensInformation:
    """What is known of lenses beforehand: rows (C, M, 12) @ lens (12) = targets (C, M), each to one standard deviation."""

    rows: Float[Tensor, "C M 12"]
    targets: Float[Tensor, "C M"]

    def off(self, cameras: CameraBatch) -> Float[Tensor, "C M"]:
        """How far lenses are from that, in standard deviations."""
        matrix = cameras.matrix
        first = torch.stack((matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 2], matrix[:, 1, 2]), dim=-1)
        lens = torch.cat((first, cameras.distortion), dim=-1)
        return (self.rows @ lens[..., None])[..., 0] - self.targets


@dataclass(frozen=True)
class BoardProblem:
    """Boards' corners against what the cameras saw.

    noise_px: standard deviation per axis of a corner. free: (C, 19) 0 or 1, which of `CAMERA_UNKNOWNS` may move. rate_prior:
    None where the board stands still in every moment. cauchy_sigmas: a corner that far off counts half; None: plain least
    squares. first_offset_s, time_sigma_s: (C,), what is known of the clocks to begin with, and how well. lens_information:
    likewise of the lenses.
    """

    seen: Observations
    noise_px: float
    free: Float[Tensor, "C 19"]
    rate_prior: RatePrior | None
    cauchy_sigmas: float | None
    first_offset_s: Float[Tensor, " C"]
    time_sigma_s: Float[Tensor, " C"]
    lens_information: LensInformation | None

    @cached_property
    def free_columns(self) -> Int[Tensor, " columns"]:
        """Numbers of the unknowns that any camera has free, which the normal equations are of."""
        return torch.nonzero(self.free.any(dim=0)).ravel()

    def residual(self, state: BoardState) -> Float[Tensor, "V K 2"]:
        """Reprojection less what was seen, px; 0 where a corner was not seen."""
        still = not bool((state.rates != 0).any())
        pieces = self._map(lambda piece: _View(state, self.seen, piece, still=still).residual())
        return torch.cat(pieces) if pieces else torch.zeros_like(self.seen.corners_px)

    def cost(self, state: BoardState) -> float:
        """Robust cost over all corners, and what the priors say."""
        cost = self.frame_costs(state).sum() + (self._clocks_off(state) ** 2).sum()
        if self.lens_information is not None:
            cost = cost + (self.lens_information.off(state.cameras) ** 2).sum()
        return float(cost)

    def frame_costs(self, state: BoardState) -> Float[Tensor, " F"]:
        """The part of the cost that each moment has."""
        square = self.residual(state).square().sum(dim=-1) / self.noise_px**2
        if self.cauchy_sigmas is not None:
            scale2 = self.cauchy_sigmas**2
            square = scale2 * torch.log1p(square / scale2)
        costs = torch.zeros_like(state.middle[:, 0]).index_add_(
            0, self.seen.frame, (self.seen.weight * square).sum(dim=-1)
        )
        if self.rate_prior is not None:
            costs += ((state.rates - self.rate_prior.mean) / self.rate_prior.sigma).square().sum(dim=-1)
        return costs

    def linearise(self, state: BoardState) -> NormalEquations:
        """Build the normal equations of the weighted squares that stand for the cost here."""
        C, F = len(state.cameras), len(state.middle)
        K, P = len(self.free_columns), 6 if self.rate_prior is None else 12
        zeros = state.middle.new_zeros
        of_cameras, camera_gradient = zeros(C, K, K), zeros(C, K)
        of_boards, board_gradient, between = zeros(F, P, P), zeros(F, P), zeros(F, C, K, P)
        for blocks in self._map(lambda piece: self._blocks(state, piece)):
            of_cameras.index_add_(0, blocks.camera, blocks.of_camera)
            camera_gradient.index_add_(0, blocks.camera, blocks.camera_gradient)
            of_boards.index_add_(0, blocks.frame, blocks.of_board)
            board_gradient.index_add_(0, blocks.frame, blocks.board_gradient)
            between[blocks.frame, blocks.camera] = blocks.between
        self._add_priors(state, of_cameras, camera_gradient, of_boards, board_gradient)
        return NormalEquations(of_cameras, of_boards, between, camera_gradient, board_gradient)

    def frame_gradients(self, state: BoardState) -> Float[Tensor, "F C columns"]:
        """The part of the cameras' gradient that each moment has."""
        gradient = state.middle.new_zeros(len(state.middle), len(state.cameras), len(self.free_columns))
        for blocks in self._map(lambda piece: self._blocks(state, piece)):
            gradient[blocks.frame, blocks.camera] = blocks.camera_gradient
        return gradient

    def _blocks(self, state: BoardState, piece: slice) -> "_Blocks":
        """What each of some views adds to the normal equations."""
        moving = self.rate_prior is not None
        view = _View(state, self.seen, piece, still=not moving)
        residual, by_camera, by_board = view.linearised(self.free_columns, moving=moving)
        weight = self._weight(residual, self.seen.weight[piece])
        by_camera = by_camera * self.free[:, self.free_columns][view.camera][:, None, None]
        residual, by_camera, by_board = (values.flatten(1, 2) for values in (residual[..., None], by_camera, by_board))
        weight = weight[..., None].expand(-1, -1, 2).flatten(1)[..., None]
        weighted_camera, weighted_board = (by_camera * weight).mT, (by_board * weight).mT
        return _Blocks(
            view.frame,
            view.camera,
            weighted_camera @ by_camera,
            weighted_board @ by_board,
            weighted_camera @ by_board,
            (weighted_camera @ residual)[..., 0],
            (weighted_board @ residual)[..., 0],
        )

    def moved(self, state: BoardState, cameras: Tensor, objects: Tensor) -> BoardState:
        """Take a step."""
        step = cameras.new_zeros(len(cameras), len(CAMERA_UNKNOWNS))
        step[:, self.free_columns] = cameras * self.free[:, self.free_columns]
        return BoardState(
            _moved_cameras(state.cameras, step),
            state.time_offset_s + step[:, TIME],
            turn_matrices(objects[:, :3]) @ state.rotation,
            state.middle + objects[:, 3:6],
            state.rates if self.rate_prior is None else state.rates + objects[:, 6:],
        )

    def _map(self, work: Callable[[slice], Result]) -> list[Result]:
        """Do some work on all views, piece by piece, several at a time."""
        device = self.seen.corners_px.device
        return map_chunks(work, even_slices(len(self.seen.frame), _PIECE, device), device)

    def _weight(self, residual: Tensor, weight: Tensor) -> Tensor:
        if self.cauchy_sigmas is not None:
            weight = weight / (1 + residual.square().sum(dim=-1) / (self.cauchy_sigmas * self.noise_px) ** 2)
        return weight / self.noise_px**2

    def _clocks_off(self, state: BoardState) -> Tensor:
        """How far clocks are from where they began, in standard deviations (C,); those that are kept do not count."""
        return (state.time_offset_s - self.first_offset_s) / self.time_sigma_s * self.free[:, TIME]

    def _add_priors(
        self, state: BoardState, of_cameras: Tensor, camera_gradient: Tensor, of_boards: Tensor, board_gradient: Tensor
    ) -> None:
        C = len(of_cameras)
        information = of_cameras.new_zeros(C, len(CAMERA_UNKNOWNS), len(CAMERA_UNKNOWNS))
        gradient = of_cameras.new_zeros(C, len(CAMERA_UNKNOWNS))
        information[:, TIME, TIME] = self.time_sigma_s**-2
        gradient[:, TIME] = self._clocks_off(state) / self.time_sigma_s
        if self.lens_information is not None:
            rows = self.lens_information.rows
            information[:, LENS, LENS] = rows.mT @ rows
            gradient[:, LENS] = (rows.mT @ self.lens_information.off(state.cameras)[..., None])[..., 0]
        columns, free = self.free_columns, self.free[:, self.free_columns]
        of_cameras += information[:, columns[:, None], columns] * free[:, :, None] * free[:, None, :]
        # What a camera does not have free gets an equation of its own that says: no step.
        of_cameras.diagonal(dim1=-2, dim2=-1).add_(1 - free)
        camera_gradient += gradient[:, columns] * free
        if self.rate_prior is not None:
            of_boards.diagonal(dim1=-2, dim2=-1)[:, 6:] += self.rate_prior.sigma**-2
            board_gradient[:, 6:] += (state.rates - self.rate_prior.mean) / self.rate_prior.sigma**2


@dataclass(frozen=True)
class _Blocks:
    """What v views add to the normal equations: their frames and cameras (v,), and blocks of K camera and P board unknowns."""

    frame: Int[Tensor, " v"]
    camera: Int[Tensor, " v"]
    of_camera: Float[Tensor, "v K K"]
    of_board: Float[Tensor, "v P P"]
    between: Float[Tensor, "v K P"]
    camera_gradient: Float[Tensor, "v K"]
    board_gradient: Float[Tensor, "v P"]


class _View:
    """Some of the views, with the cameras and boards that they show. still: the boards' rates are 0 and need no look."""

    def __init__(self, state: BoardState, seen: Observations, piece: slice, *, still: bool) -> None:
        self.frame, self.camera = seen.frame[piece], seen.camera[piece]
        self._seen, self._piece = seen, piece
        self._weight = seen.weight[piece]
        self._rates = state.rates[self.frame]
        delay = seen.delay_s[piece] + state.time_offset_s[self.camera]
        self._delay = delay[:, None, None]
        turned, middle = state.rotation[self.frame], state.middle[self.frame]
        if not still:
            turned = turn_matrices(self._rates[:, :3] * delay[:, None]) @ turned
            middle = middle + self._rates[:, 3:] * delay[:, None]
        self._arms = seen.points @ turned.mT  # from the board's middle to its corners, in the world
        points = self._arms + middle[:, None]
        self._rotation = state.cameras.rotation[self.camera]
        self._in_camera = points @ self._rotation.mT + state.cameras.translation[self.camera][:, None]
        x, y, depth = self._in_camera.unbind(-1)
        self._inverse = 1 / depth.clamp(min=_NEAREST)
        self._x, self._y = x * self._inverse, y * self._inverse
        self._matrix = state.cameras.matrix[self.camera][:, None]
        fisheye = state.cameras.fisheye
        self._lens = Lens(
            tuple(values[self.camera][:, None] for values in state.cameras.distortion.unbind(-1)),
            None if fisheye is None else fisheye[self.camera][:, None],
            bool((state.cameras.distortion[:, 5:] != 0).any()),
            None,
        )

    def residual(self) -> Tensor:
        """(v, K, 2) px."""
        return self._off(*distort(self._x, self._y, self._lens))

    def _off(self, u: Tensor, v: Tensor) -> Tensor:
        matrix = self._matrix
        pixels = torch.stack(
            (
                matrix[..., 0, 0] * u + matrix[..., 0, 1] * v + matrix[..., 0, 2],
                matrix[..., 1, 1] * v + matrix[..., 1, 2],
            ),
            dim=-1,
        )
        return (pixels - self._seen.corners_px[self._piece]) * (self._weight > 0)[..., None]

    def linearised(self, columns: Tensor, *, moving: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Residual (v, K, 2), its derivatives by the camera (v, K, 2, columns) and by the board (v, K, 2, 6 or 12)."""
        u, v, (a, b, c, d) = distort_with_jacobian(self._x, self._y, self._lens)
        matrix = self._matrix
        fx, skew, fy = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
        ux, uy, vx, vy = fx * a + skew * c, fx * b + skew * d, fy * c, fy * d
        rows = (
            torch.stack((ux, uy, -(ux * self._x + uy * self._y)), dim=-1),
            torch.stack((vx, vy, -(vx * self._x + vy * self._y)), dim=-1),
        )
        by_place = torch.stack(rows, dim=-2) * self._inverse[..., None, None]
        by_place = by_place * (self._weight > 0)[..., None, None]
        by_world = by_place @ self._rotation[:, None]
        board = [_by_turn(self._arms, by_world), by_world]
        if moving:
            board += [part * self._delay[..., None] for part in board]
        if not len(columns):
            return self._off(u, v), by_place[..., :0], torch.cat(board, dim=-1)
        camera = by_place.new_zeros(*by_place.shape[:-1], len(CAMERA_UNKNOWNS))
        camera[..., 0:3] = _by_turn(self._in_camera, by_place)
        camera[..., 3:6] = by_place
        if bool((columns == TIME).any()):
            speed = (
                torch.linalg.cross(self._rates[:, None, :3].expand_as(self._arms), self._arms)
                + self._rates[:, None, 3:]
            )
            camera[..., TIME] = (by_world @ speed[..., None])[..., 0]
        if bool((columns > TIME).any()):
            self._fill_lens(camera, u, v)
        return self._off(u, v), camera[..., columns], torch.cat(board, dim=-1)

    def _fill_lens(self, camera: Tensor, u: Tensor, v: Tensor) -> None:
        seen = (self._weight > 0).to(u.dtype)
        du, dv = coefficient_jacobian(self._x, self._y, self._lens)
        matrix = self._matrix
        camera[..., 0, 7], camera[..., 1, 8] = u * seen, v * seen
        camera[..., 0, 9] = camera[..., 1, 10] = seen
        camera[..., 0, 11:] = (matrix[..., 0, 0, None] * du + matrix[..., 0, 1, None] * dv) * seen[..., None]
        camera[..., 1, 11:] = matrix[..., 1, 1, None] * dv * seen[..., None]


def _by_turn(arm: Tensor, by_place: Tensor) -> Tensor:
    """Derivative (v, K, 2, 3) by a small turn of the arms (v, K, 3), from that by their ends: arm x row."""
    return torch.linalg.cross(arm[..., None, :].expand_as(by_place), by_place)


def _moved_cameras(cameras: CameraBatch, step: Tensor) -> CameraBatch:
    turn = turn_matrices(step[:, :3])
    matrix = cameras.matrix.clone()
    matrix[:, 0, 0] += step[:, 7]
    matrix[:, 1, 1] += step[:, 8]
    matrix[:, :2, 2] += step[:, 9:11]
    return replace(
        cameras,
        matrix=matrix,
        distortion=cameras.distortion + step[:, 11:],
        rotation=turn @ cameras.rotation,
        translation=(turn @ cameras.translation[..., None])[..., 0] + step[:, 3:6],
    )


def believed(residual: Float[Tensor, "V K 2"], weight: Tensor, limit_px: float) -> Bool[Tensor, "V K"]:
    """Which of the seen corners lie within a limit of where they should be."""
    return (weight > 0) & (residual.square().sum(dim=-1) <= limit_px**2)
