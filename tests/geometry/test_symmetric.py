import numpy as np
import torch

from posekit.geometry.symmetric import (
    full_symmetric,
    inverse_symmetric,
    solve_along_rows,
    solve_symmetric,
    sum_of_outer,
)


def test_they_do_what_numpy_does_with_whole_matrices():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 7, 3))
    whole = np.einsum("bni,bnj->bij", vectors, vectors)
    six = sum_of_outer(torch.from_numpy(vectors))
    np.testing.assert_allclose(full_symmetric(six), whole, rtol=1e-12)
    np.testing.assert_allclose(full_symmetric(inverse_symmetric(six)), np.linalg.inv(whole), rtol=1e-9)
    right = rng.normal(size=(5, 3))
    expected = np.linalg.solve(whole, right[..., None])[..., 0]
    np.testing.assert_allclose(solve_symmetric(six, torch.from_numpy(right)), expected, rtol=1e-9)


def test_a_matrix_of_nothing_gives_numbers():
    assert torch.isfinite(solve_symmetric(torch.zeros(2, 6), torch.zeros(2, 3))).all()


def test_rows_are_solved_as_vectors_are():
    vectors = torch.randn(50, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    matrix, right = sum_of_outer(vectors), vectors[:, 0]
    along_rows = solve_along_rows(matrix.mT.contiguous(), right.mT.contiguous()).mT
    assert torch.allclose(along_rows, torch.linalg.solve(full_symmetric(matrix), right), rtol=1e-9, atol=1e-9)
