"""Levenberg-Marquardt over cameras and what they see, where what they see is eliminated first.

What is seen (points, boards) comes by the thousand and has few unknowns each, none of which touch each other: with them
eliminated (Schur complement), what is solved is as large as the cameras' unknowns alone. Triggs et al., "Bundle adjustment: a
modern synthesis", 2000, section 6.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

State = TypeVar("State")

#: `damped`'s floor for cameras: a turn is known 1e9 times better than a k3 that is worth knowing, squared.
_CAMERA_FLOOR = 1e-15

#: An iteration that lowers the cost by less than this share is the last one, unless another one is given.
CONVERGED = 1e-7


@dataclass(frozen=True)
class NormalEquations:
    """Of C cameras with K unknowns each, and N objects with P: J^T W J in blocks, and the gradients J^T W residual."""

    of_cameras: Float[Tensor, "C K K"]
    of_objects: Float[Tensor, "N P P"]
    between: Float[Tensor, "N C K P"]
    camera_gradient: Float[Tensor, "C K"]
    object_gradient: Float[Tensor, "N P"]

    def solve(self, damping: float) -> tuple[Float[Tensor, "C K"], Float[Tensor, "N P"]]:
        """Find the damped Gauss-Newton step, with its sign: what is to be added."""
        N, C, K, P = self.between.shape
        inverse = torch.linalg.inv(damped(self.of_objects, damping))
        across = self.between.reshape(N, C * K, P)
        reduced = self._reduced(damped(self.of_cameras, damping, _CAMERA_FLOOR), across @ inverse)
        eliminated = (inverse @ self.object_gradient[..., None])[..., 0]
        right = self.camera_gradient.reshape(-1) - torch.einsum("nai,ni->a", across, eliminated)
        cameras = torch.linalg.solve(reduced, right)
        objects = eliminated - (inverse @ torch.einsum("nai,a->ni", across, cameras)[..., None])[..., 0]
        return -cameras.reshape(C, K), -objects

    def reduced(self) -> Float[Tensor, "CK CK"]:
        """What is known of the cameras once the objects are eliminated: the inverse of their covariance, for unit weights."""
        N, C, K, P = self.between.shape
        inverse = torch.linalg.inv(damped(self.of_objects, 0.0))
        return self._reduced(self.of_cameras, self.between.reshape(N, C * K, P) @ inverse)

    def _reduced(self, of_cameras: Tensor, eliminated: Tensor) -> Tensor:
        across = self.between.reshape(eliminated.shape).transpose(0, 1).flatten(1)
        reduced = torch.block_diag(*of_cameras) - eliminated.transpose(0, 1).flatten(1) @ across.mT
        return (reduced + reduced.mT) / 2


class Problem(Protocol[State]):
    """What `minimise` asks of a problem."""

    def cost(self, state: State) -> float:
        """The robust cost of a state."""

    def linearise(self, state: State) -> NormalEquations:
        """The normal equations of the weighted squares that stand for the cost here."""

    def moved(self, state: State, cameras: Tensor, objects: Tensor) -> State:
        """The state after a step."""


def minimise(
    problem: Problem[State], state: State, iterations: int, converged: float = CONVERGED
) -> tuple[State, tuple[float, ...]]:
    """Go down from a state; returns the last one, and the cost before every iteration and at the end."""
    cost, damping, costs = problem.cost(state), 1e-4, []
    for _ in range(iterations):
        costs.append(cost)
        system = problem.linearise(state)
        for _ in range(8):
            moved = problem.moved(state, *system.solve(damping))
            new_cost = problem.cost(moved)
            if new_cost < cost:
                break
            damping *= 8
        else:
            break
        gained = (cost - new_cost) / cost
        state, cost, damping = moved, new_cost, max(damping / 8, 1e-10)
        if gained < converged:
            break
    return state, (*costs, cost)


def damped(matrices: Tensor, damping: float, floor: float = 1e-9) -> Tensor:
    """Marquardt's damping; what nothing is known of gets a little of its own, so that it stays where it is.

    floor: that little, as a share of the largest on the diagonal.
    """
    diagonal = matrices.diagonal(dim1=-2, dim2=-1)
    return matrices + torch.diag_embed(damping * diagonal + floor * diagonal.amax(dim=-1, keepdim=True) + 1e-12)


def turn_matrices(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrices of rotation vectors (radians), by Rodrigues' formula; ten times as fast as a matrix exponential."""
    x, y, z = vectors.unbind(-1)
    angle2 = (x * x + y * y + z * z).clamp(min=1e-20)  # at 1e-10 rad both factors are at their limits to all digits
    angle = angle2.sqrt()
    sine, cosine = torch.sin(angle) / angle, 2 * (torch.sin(angle / 2) / angle) ** 2
    none = torch.zeros_like(x)
    cross = torch.stack((none, -z, y, z, none, -x, -y, x, none), dim=-1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=x.dtype, device=x.device)
    square = vectors[..., :, None] * vectors[..., None, :] - angle2[..., None, None] * identity
    return identity + sine[..., None, None] * cross + cosine[..., None, None] * square
