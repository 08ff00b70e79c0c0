"""The normal equations of boards against automatic differentiation of their residuals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from posekit.calibration.boards.board import parse_board
from posekit.calibration.rigs.board_adjustment import (
    CAMERA_UNKNOWNS,
    LENS,
    TIME,
    BoardProblem,
    BoardState,
    LensInformation,
    RatePrior,
    believed,
)
from posekit.calibration.rigs.placed_boards import observations
from posekit.camera import CameraBatch
from posekit.datasets.synthetic_boards import film_board, ring_of_cameras

BOARD = parse_board("charuco:5x4:0.08:0.06:DICT_4X4_50")
DELAY = 0.04


def scene(lens: str, *, moving: bool, turning: float = 0.0, cauchy: float | None = None):
    """A problem of 3 cameras and 4 moments near the truth, everything but the first camera's pose free."""
    rng = np.random.default_rng(4)
    rig = ring_of_cameras(3, seed=1, lens=lens)
    film = film_board(rig, BOARD, 5, seed=2, fps=0.4, outliers=0.1)
    seen, frames = observations(film.views, film.views.seen.any(axis=(1, 2)))
    C, F, V = len(rig), len(frames), len(seen.frame)
    weight = seen.weight.clone()
    weight[0, :3] = 0  # not every corner of a picture
    seen = replace(
        seen, weight=weight, delay_s=torch.from_numpy(rng.uniform(-DELAY, DELAY, V)) if moving else 0 * seen.delay_s
    )
    rates = rng.normal(0, 1, (F, 6)) * ([turning] * 3 + [0.4] * 3) if moving else np.zeros((F, 6))
    offsets = torch.tensor([0.0, 0.02, -0.01] if moving else [0.0] * C, dtype=torch.float64)
    middle = film.board_translation + film.board_rotation @ BOARD.points_m.mean(axis=0)
    state = BoardState(
        CameraBatch.from_rig(rig),
        offsets,
        torch.from_numpy(film.board_rotation[frames]),
        torch.from_numpy(middle[frames] + rng.normal(0, 0.003, (F, 3))),
        torch.from_numpy(rates),
    )
    free = torch.ones(C, len(CAMERA_UNKNOWNS), dtype=torch.float64)
    free[0, :7] = 0
    free[:, LENS.start + {"pinhole5": 9, "pinhole8": 12, "fisheye": 8}[lens] :] = 0
    if not moving:
        free[:, TIME] = 0
    prior = RatePrior(torch.zeros(F, 6, dtype=torch.float64), torch.full((F, 6), 0.7, dtype=torch.float64))
    lenses = LensInformation(torch.from_numpy(rng.normal(size=(C, 3, 12))), torch.from_numpy(rng.normal(size=(C, 3))))
    problem = BoardProblem(
        seen,
        0.4,
        free,
        prior if moving else None,
        cauchy,
        torch.zeros(C, dtype=torch.float64),
        torch.full((C,), 0.05, dtype=torch.float64),
        lenses,
    )
    return problem, state


def by_autograd(problem: BoardProblem, state: BoardState):
    """J^T W J and J^T W residual of the whole system with its priors, cameras' columns first; as blocks."""
    C, F = len(state.cameras), len(state.middle)
    K, P = len(problem.free_columns), 6 if problem.rate_prior is None else 12

    def everything(step: torch.Tensor) -> torch.Tensor:
        moved = problem.moved(state, step[: C * K].reshape(C, K), step[C * K :].reshape(F, P))
        rows = problem.residual(moved)
        square = problem.residual(state).square().sum(dim=-1, keepdim=True)
        weight = problem.seen.weight[..., None] / problem.noise_px**2
        if problem.cauchy_sigmas is not None:
            weight = weight / (1 + square / (problem.cauchy_sigmas * problem.noise_px) ** 2)
        parts = [(rows * weight.sqrt()).ravel()]
        clocks = (moved.time_offset_s - problem.first_offset_s) / problem.time_sigma_s
        parts.append((clocks * problem.free[:, TIME]).ravel())
        matrix = moved.cameras.matrix
        lens = torch.cat((matrix[:, [0, 1], [0, 1]], matrix[:, :2, 2], moved.cameras.distortion), dim=-1)
        information = problem.lens_information
        parts.append((torch.einsum("cmk,ck->cm", information.rows, lens) - information.targets).ravel())
        if problem.rate_prior is not None:
            parts.append(((moved.rates - problem.rate_prior.mean) / problem.rate_prior.sigma).ravel())
        return torch.cat(parts)

    zero = torch.zeros(C * K + F * P, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(everything, zero)
    return jacobian.mT @ jacobian, jacobian.mT @ everything(zero), everything(zero)


def assert_blocks(found: torch.Tensor, expected: torch.Tensor, share: float) -> None:
    """Entry by entry, in units of the unknowns' own scales."""
    scale = expected.diagonal().clamp(min=1e-30).sqrt()
    np.testing.assert_allclose(found / scale / scale[:, None], expected / scale / scale[:, None], atol=share)


def whole_of(system) -> torch.Tensor:
    F, C, K, P = system.between.shape
    across = system.between.permute(1, 2, 0, 3).reshape(C * K, F * P)
    return torch.cat(
        (
            torch.cat((torch.block_diag(*system.of_cameras), across), dim=1),
            torch.cat((across.mT, torch.block_diag(*system.of_objects)), dim=1),
        )
    )


@pytest.mark.parametrize("cauchy", [None, 2.0])
@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("lens", ["pinhole5", "pinhole8", "fisheye"])
def test_equations_are_those_of_automatic_differentiation(lens, moving, cauchy):
    problem, state = scene(lens, moving=moving, cauchy=cauchy)
    expected, gradient, _ = by_autograd(problem, state)
    system = problem.linearise(state)
    # What is kept has an equation of its own.
    fixed = 1 - problem.free[:, problem.free_columns].ravel()
    expected.diagonal()[: len(fixed)] += fixed
    assert_blocks(whole_of(system), expected, 1e-9)  # rounding, over entries of very different sizes
    found = torch.cat((system.camera_gradient.ravel(), system.object_gradient.ravel()))
    np.testing.assert_allclose(found, gradient, rtol=1e-8, atol=1e-8 * float(gradient.abs().max()))  # rounding
    assert bool((expected.diagonal() > 0).all())  # every unknown is seen by something


def test_a_board_that_turns_meanwhile():
    problem, state = scene("pinhole5", moving=True, turning=1.0)
    expected, gradient, _ = by_autograd(problem, state)
    system = problem.linearise(state)
    C, K = system.camera_gradient.shape
    fixed = 1 - problem.free[:, problem.free_columns].ravel()
    expected.diagonal()[: C * K] += fixed
    # Cameras and clocks are exact.
    assert_blocks(torch.block_diag(*system.of_cameras), expected[: C * K, : C * K], 1e-9)  # rounding
    np.testing.assert_allclose(system.camera_gradient.ravel(), gradient[: C * K], rtol=1e-8, atol=1e-6)  # rounding
    # A board's small turn is taken at the moment, not when the picture was taken: the angle that it turns through meanwhile is
    # missing, 0.06 s of some 2 rad/s, on both sides of a block. Its middle is exact.
    for f, found in enumerate(system.of_objects):
        start = C * K + 12 * f
        block = expected[start : start + 12, start : start + 12]
        assert float((found[:3, :3] - block[:3, :3]).norm()) < 0.25 * float(block[:3, :3].norm())
        torch.testing.assert_close(found[3:6, 3:6], block[3:6, 3:6], rtol=1e-9, atol=1e-6)  # rounding


def test_the_cost_and_its_parts():
    problem, state = scene("pinhole5", moving=True, turning=1.0)
    _, _, rows = by_autograd(problem, state)
    assert problem.cost(state) == pytest.approx(float(rows.square().sum()), rel=1e-12)
    robust = replace(problem, cauchy_sigmas=2.0)
    square = problem.residual(state).square().sum(dim=-1) / 0.4**2
    saved = (problem.seen.weight * (square - 4 * torch.log1p(square / 4))).sum()
    assert robust.cost(state) == pytest.approx(problem.cost(state) - float(saved), rel=1e-12)
    of_lenses = problem.lens_information.off(state.cameras).square().sum()
    clocks = ((state.time_offset_s / 0.05) * problem.free[:, TIME]).square().sum()
    assert float(problem.frame_costs(state).sum() + of_lenses + clocks) == pytest.approx(problem.cost(state), rel=1e-12)


def test_moments_pull_as_all_of_them_do():
    problem, state = scene("pinhole8", moving=True, cauchy=2.0)
    pull = problem.frame_gradients(state).sum(dim=0)
    off = replace(
        problem,
        lens_information=None,
        first_offset_s=state.time_offset_s,  # then the priors pull at nothing
    )
    np.testing.assert_allclose(pull, off.linearise(state).camera_gradient, rtol=1e-10, atol=1e-8)  # rounding


def test_what_is_kept_does_not_move():
    problem, state = scene("pinhole5", moving=False)
    moved = problem.moved(
        state,
        torch.ones(3, len(problem.free_columns), dtype=torch.float64),
        torch.zeros(len(state.middle), 6, dtype=torch.float64),
    )
    assert torch.equal(moved.cameras.rotation[0], state.cameras.rotation[0])
    assert torch.equal(moved.cameras.translation[0], state.cameras.translation[0])
    assert torch.equal(moved.cameras.distortion[:, 5:], state.cameras.distortion[:, 5:])
    assert torch.equal(moved.time_offset_s, state.time_offset_s)
    assert not torch.equal(moved.cameras.translation[1], state.cameras.translation[1])
    fx, skew = moved.cameras.matrix[:, 0, 0], moved.cameras.matrix[:, 0, 1]
    assert torch.equal(fx, state.cameras.matrix[:, 0, 0] + 1)
    assert torch.equal(skew, state.cameras.matrix[:, 0, 1])


def test_residuals_are_the_cameras_projections():
    problem, state = scene("fisheye", moving=False)
    residual = problem.residual(state)
    seen = problem.seen
    for v in range(len(seen.frame)):
        f, c = int(seen.frame[v]), int(seen.camera[v])
        points = seen.points @ state.rotation[f].mT + state.middle[f]
        expected = state.cameras.project(points)[:, c] - seen.corners_px[v]
        expected = expected * (seen.weight[v] > 0)[:, None]
        np.testing.assert_allclose(residual[v], expected, atol=1e-9)  # rounding of 1,000 px


def test_believed_are_those_within_the_limit():
    residual = torch.tensor([[[3.0, 4.0], [3.0, 4.1], [0.0, 0.0]]], dtype=torch.float64)
    weight = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    assert believed(residual, weight, 5.0).tolist() == [[True, False, False]]
