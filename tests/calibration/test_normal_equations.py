"""The Schur complement against the whole system, and turns against SciPy."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from posekit.calibration.rigs.normal_equations import NormalEquations, damped, minimise, turn_matrices

C, K, N, P = 3, 5, 40, 6


def dense_system(seed: int = 0):
    """Blocks of J^T J for random J whose rows touch one camera and one object, and the whole of it with its gradient."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(N):
        for c in range(C):
            row = np.zeros((8, C * K + N * P))
            row[:, c * K : (c + 1) * K] = rng.normal(size=(8, K))
            row[:, C * K + n * P : C * K + (n + 1) * P] = rng.normal(size=(8, P))
            rows.append(row)
    jacobian = np.concatenate(rows)
    residual = rng.normal(size=len(jacobian))
    whole, gradient = jacobian.T @ jacobian, jacobian.T @ residual
    cameras, objects = whole[: C * K, : C * K], whole[C * K :, C * K :]
    between = whole[: C * K, C * K :].reshape(C, K, N, P).transpose(2, 0, 1, 3)
    equations = NormalEquations(
        *(
            torch.from_numpy(np.ascontiguousarray(values))
            for values in (
                np.stack([cameras[c * K : (c + 1) * K, c * K : (c + 1) * K] for c in range(C)]),
                np.stack([objects[n * P : (n + 1) * P, n * P : (n + 1) * P] for n in range(N)]),
                between,
                gradient[: C * K].reshape(C, K),
                gradient[C * K :].reshape(N, P),
            )
        )
    )
    return equations, whole, gradient


@pytest.mark.parametrize("damping", [0.0, 1e-3, 1.0])
def test_a_step_is_that_of_the_whole_system(damping):
    equations, whole, gradient = dense_system()
    cameras, objects = equations.solve(damping)
    step = -np.linalg.solve(whole + damping * np.diag(np.diag(whole)), gradient)
    found = np.concatenate((cameras.numpy().ravel(), objects.numpy().ravel()))
    np.testing.assert_allclose(found, step, atol=1e-7 * np.abs(step).max())  # objects have 1e-9 of their own


def test_what_is_known_of_cameras_is_the_inverse_of_their_covariance():
    equations, whole, _ = dense_system(1)
    covariance = np.linalg.inv(whole)[: C * K, : C * K]
    reduced = equations.reduced().numpy()
    np.testing.assert_allclose(np.linalg.inv(reduced), covariance, atol=1e-7 * covariance.max())  # as above
    np.testing.assert_array_equal(reduced, reduced.T)


def test_an_object_that_nobody_saw_stays_where_it_is():
    equations, whole, gradient = dense_system(2)
    of_objects, between, object_gradient = (
        values.clone() for values in (equations.of_objects, equations.between, equations.object_gradient)
    )
    of_objects[7], between[7], object_gradient[7] = 0, 0, 0
    cameras, objects = NormalEquations(
        equations.of_cameras, of_objects, between, equations.camera_gradient, object_gradient
    ).solve(0.0)
    assert objects[7].tolist() == [0.0] * P
    keep = np.ones(len(whole), dtype=bool)
    keep[C * K + 7 * P : C * K + 8 * P] = False
    step = -np.linalg.solve(whole[np.ix_(keep, keep)], gradient[keep])
    np.testing.assert_allclose(cameras.numpy().ravel(), step[: C * K], atol=1e-7 * np.abs(step).max())  # as above


def test_damping_is_marquardts():
    matrix = torch.tensor([[[4.0, 1.0], [1.0, 9.0]]], dtype=torch.float64)
    expected = torch.tensor([[[6.0, 1.0], [1.0, 13.5]]], dtype=torch.float64)
    torch.testing.assert_close(damped(matrix, 0.5, 0.0), expected, rtol=0, atol=2e-12)  # 1e-12 of its own
    torch.testing.assert_close(damped(matrix, 0.0, 1e-3) - matrix, 9e-3 * torch.eye(2, dtype=torch.float64)[None])


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-8, 1e-4, 0.3, 3.0, 6.0])
def test_turns_are_scipys(scale):
    vectors = np.random.default_rng(0).normal(size=(30, 3))
    vectors *= scale / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = Rotation.from_rotvec(vectors).as_matrix()
    np.testing.assert_allclose(turn_matrices(torch.from_numpy(vectors)).numpy(), expected, atol=1e-14)  # rounding


class Rosenbrock:
    """(1 - x)^2 + 100 (y - x^2)^2, x of a camera and y of an object: a valley that plain Gauss-Newton overshoots in."""

    def residual(self, state):
        x, y = state
        return torch.stack((1 - x, 10 * (y - x * x)))

    def cost(self, state):
        return float(self.residual(state).square().sum())

    def linearise(self, state):
        x, _ = state
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        by_x, by_y = torch.stack((-one, -20 * x)), torch.stack((zero, 10 * one))
        residual = self.residual(state)
        return NormalEquations(
            *((by_x @ by_x).reshape(1, 1, 1), (by_y @ by_y).reshape(1, 1, 1), (by_x @ by_y).reshape(1, 1, 1, 1)),
            *((by_x @ residual).reshape(1, 1), (by_y @ residual).reshape(1, 1)),
        )

    def moved(self, state, cameras, objects):
        return state[0] + cameras[0, 0], state[1] + objects[0, 0]


def test_a_bent_valley_is_gone_down_without_a_step_up():
    start = (torch.tensor(-1.2, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    (x, y), costs = minimise(Rosenbrock(), start, 100)
    assert (float(x), float(y)) == pytest.approx((1.0, 1.0), abs=1e-6)  # the cost there is 0, to 1e-12
    assert all(later < earlier for earlier, later in pairwise(costs[:-1]))
    assert costs[0] == pytest.approx(24.2)
