"""Bundle adjustment: cameras and points together, so that the points' pictures are where they were seen.

Analytic derivatives; wrong detections lose their weight by Cauchy's loss. See `posekit.calibration.rigs.normal_equations`.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from posekit.calibration.rigs.normal_equations import NormalEquations, minimise, turn_matrices
from posekit.camera import CameraBatch
from posekit.errors import PosekitError
from posekit.geometry.lens import distort_with_jacobian

#: What of the cameras may move: where they stand, their focal length as well, or also the middle of the picture and k1, k2.
Freedom = Literal["pose", "focal", "all"]

_PARAMETERS: dict[Freedom, int] = {"pose": 6, "focal": 7, "all": 11}

#: How far (one standard deviation) a lens may be from what it is said to be: log of the focal length, the middle of the picture
#: in px, k1, k2. Poses are free.
_PRIOR_SIGMA = (0.03, 20.0, 20.0, 0.05, 0.05)

#: Detections of one joint of one person err alike from frame to frame: however many there are, against what is said of the lens
#: those of a camera count as so many that err each by itself.
_INDEPENDENT_DETECTIONS = 50

#: Detections of a view lose half of their weight at this many standard deviations.
_CAUCHY_SIGMAS = 2.0


@dataclass(frozen=True)
class Adjustment:
    """Cameras and points (N, 3) metres after the adjustment, in a world that may have drifted; the cost at each step."""

    cameras: CameraBatch
    points_world: Float[Tensor, "N 3"]
    costs: tuple[float, ...]


def adjust_bundle(
    cameras: CameraBatch,
    points_world: Float[Tensor, "N 3"],
    keypoints_px: Float[Tensor, "N C 2"],
    confidence: Float[Tensor, "N C"],
    noise_px: float,
    free: Freedom = "pose",
    iterations: int = 60,
) -> Adjustment:
    """Move cameras and points until the detections fit them best.

    keypoints_px: NaN where unseen; confidence: their weights, 0 takes no part. noise_px: standard deviation per axis of a right
    detection. The world's place, turn and scale are not held: align the result with what is known of them.

    Raises PosekitError where fewer detections are given than there is to be found, and where k1 and k2 of a fisheye or of a
    rational lens were to be free.
    """
    if free == "all" and (cameras.fisheye is not None or bool((cameras.distortion[:, 5:] != 0).any())):
        raise PosekitError("free: the distortion of fisheye and of rational lenses cannot be free; 'focal' can")
    seen = torch.isfinite(keypoints_px).all(dim=-1) & (confidence > 0)
    unknown = 3 * len(points_world) + _PARAMETERS[free] * len(cameras) - 7
    if 2 * int(seen.sum()) < unknown or not len(points_world):
        raise PosekitError(f"{int(seen.sum())} detections are too few for {unknown} numbers to be found")
    problem = _Problem(
        torch.where(seen[..., None], keypoints_px, 0), torch.where(seen, confidence, 0), noise_px, free, cameras
    )
    state, costs = minimise(problem, _State(cameras, points_world), iterations)
    return Adjustment(state.cameras, state.points, costs)


@dataclass(frozen=True)
class _State:
    cameras: CameraBatch
    points: Tensor


@dataclass(frozen=True)
class _Problem:
    keypoints: Tensor
    weight: Tensor
    noise: float
    free: Freedom
    first: CameraBatch

    def _residual(self, state: _State) -> Tensor:
        """Reprojection less detection, (N, C, 2) px; far off where a point is not in front of a camera."""
        return (state.cameras.project(state.points) - self.keypoints).nan_to_num(nan=1e4)

    def cost(self, state: _State) -> float:
        """Cauchy's loss over all detections, and what the priors say."""
        scale2 = (_CAUCHY_SIGMAS * self.noise) ** 2
        square = self._residual(state).square().sum(dim=-1)
        loss = (self.weight * scale2 * torch.log1p(square / scale2)).sum() / self.noise**2
        return float(loss + (self._prior_residual(state) ** 2).sum())

    def _prior_residual(self, state: _State) -> Tensor:
        """How far the lenses are from what they were, in weighted standard deviations, (C, K - 6)."""
        now, before = state.cameras, self.first
        parts = [(now.matrix[:, 0, 0] / before.matrix[:, 0, 0]).log()]
        parts += [now.matrix[:, axis, 2] - before.matrix[:, axis, 2] for axis in (0, 1)]
        parts += [now.distortion[:, k] - before.distortion[:, k] for k in (0, 1)]
        count = _PARAMETERS[self.free] - 6
        return (torch.stack(parts, dim=-1) / self._prior_sigma())[:, :count]

    def _prior_sigma(self) -> Tensor:
        """Standard deviations (C, 5) of the priors, in the measure of the detections."""
        detections = (self.weight > 0).sum(dim=0).clamp(min=_INDEPENDENT_DETECTIONS)
        return self.weight.new_tensor(_PRIOR_SIGMA) * (_INDEPENDENT_DETECTIONS / detections).sqrt()[:, None]

    def linearise(self, state: _State) -> NormalEquations:
        """Build the normal equations of the weighted squares that stand for the loss here."""
        scale2 = (_CAUCHY_SIGMAS * self.noise) ** 2
        residual = self._residual(state)
        weight = self.weight / (1 + residual.square().sum(dim=-1) / scale2) / self.noise**2
        by_camera, by_point = self._jacobians(state)
        weighted = by_camera * weight[..., None, None]
        of_cameras = torch.einsum("ncik,ncil->ckl", weighted, by_camera)
        camera_gradient = torch.einsum("ncik,nci->ck", weighted, residual)
        between = torch.einsum("ncik,ncij->nckj", weighted, by_point)
        weighted = by_point * weight[..., None, None]
        of_points = torch.einsum("ncij,ncil->njl", weighted, by_point)
        point_gradient = torch.einsum("ncij,nci->nj", weighted, residual)
        count = by_camera.shape[-1] - 6
        if count:
            sigma = self._prior_sigma()[:, :count]
            of_cameras = of_cameras + torch.diag_embed(torch.nn.functional.pad(sigma**-2, (6, 0)))
            camera_gradient = camera_gradient.clone()
            camera_gradient[:, 6:] += self._prior_residual(state) / sigma
        return NormalEquations(of_cameras, of_points, between, camera_gradient, point_gradient)

    def _jacobians(self, state: _State) -> tuple[Tensor, Tensor]:
        """D px / d camera (N, C, 2, K) and d px / d point (N, C, 2, 3).

        A camera's pose moves by a small turn and then a small shift, both in its own frame: x -> exp(turn) x + shift.
        """
        cameras = state.cameras
        in_camera = torch.einsum("cij,nj->nci", cameras.rotation, state.points) + cameras.translation
        x_cam, y_cam, depth = in_camera.unbind(-1)
        usable = depth > 0
        inverse = torch.where(usable, 1 / torch.where(usable, depth, 1), 0)
        x, y = x_cam * inverse, y_cam * inverse
        u, v, (a, b, c, d) = distort_with_jacobian(x, y, cameras.lens)
        fx, skew, fy = cameras.matrix[:, 0, 0], cameras.matrix[:, 0, 1], cameras.matrix[:, 1, 1]
        ux, uy, vx, vy = fx * a + skew * c, fx * b + skew * d, fy * c, fy * d
        by_place = torch.stack(
            (
                torch.stack((ux, uy, -(ux * x + uy * y)), dim=-1),
                torch.stack((vx, vy, -(vx * x + vy * y)), dim=-1),
            ),
            dim=-2,
        )
        by_place = by_place * inverse[..., None, None]
        # d (turn x place) / d turn, for every row of the derivative by the place: place x row.
        by_turn = torch.linalg.cross(in_camera[..., None, :].expand_as(by_place), by_place)
        columns = [by_turn, by_place]
        if self.free != "pose":
            columns.append(torch.stack((fx * u + skew * v, fy * v), dim=-1)[..., None])
        if self.free == "all":
            r2 = x * x + y * y
            one, none = torch.ones_like(x), torch.zeros_like(x)
            columns += [torch.stack(pair, dim=-1)[..., None] for pair in ((one, none), (none, one))]
            for power in (r2, r2 * r2):
                columns.append(torch.stack(((fx * x + skew * y) * power, fy * y * power), dim=-1)[..., None])
        seen = (self.weight > 0)[..., None, None]
        by_point = torch.einsum("ncij,cjk->ncik", by_place, cameras.rotation)
        return torch.where(seen, torch.cat(columns, dim=-1), 0), torch.where(seen, by_point, 0)

    def moved(self, state: _State, cameras: Tensor, objects: Tensor) -> _State:
        """Take a step."""
        return _State(_moved(state.cameras, cameras), state.points + objects)


def _moved(cameras: CameraBatch, step: Tensor) -> CameraBatch:
    """Cameras after a step (C, K)."""
    turn = turn_matrices(step[:, :3])
    matrix, distortion = cameras.matrix.clone(), cameras.distortion.clone()
    if step.shape[1] > 6:
        matrix[:, :2, :2] = matrix[:, :2, :2] * step[:, 6].exp()[:, None, None]
    if step.shape[1] > 7:
        matrix[:, :2, 2] += step[:, 7:9]
        distortion[:, :2] += step[:, 9:11]
    return replace(
        cameras,
        matrix=matrix,
        distortion=distortion,
        rotation=turn @ cameras.rotation,
        translation=(turn @ cameras.translation[..., None])[..., 0] + step[:, 3:6],
    )
