"""Robust triangulation of many points at once.

Every point is guessed from pairs of its views, the guesses are put to the vote of all views, and the winner is refined on its
true reprojection error, lens included. No subset of cameras is ever enumerated: for C cameras the cost per point is that of
at most `HYPOTHESIS_VIEWS` views' pairs times C votes, linear in C.

Points may form groups that stand or fall together (the four joints of a finger): a group's points share their inlier views,
which are those whose mean error over the group's points is within the threshold (Simon et al., CVPR 2017, section 3.1).
"""

import itertools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from posekit.camera import CameraBatch
from posekit.errors import PosekitError
from posekit.geometry.projection import points_in_cameras
from posekit.geometry.symmetric import full_symmetric, inverse_symmetric, solve_symmetric, sum_of_outer
from posekit.keypoints import PointStatus

#: Hypotheses come from the pairs of a group's most confident views; 8 views give 28 pairs. Where half of the views are
#: wrong, the chance that fewer than two of 8 are right is 3.5 %, and the vote still counts all views.
HYPOTHESIS_VIEWS = 8

#: Rays whose lines all lie within this angle of their mean fix no depth: 1.5 degrees of parallax is 10 cm on 4 m.
MIN_RAY_ANGLE = 0.75 * torch.pi / 180

#: Two lines that meet at less than this angle always nearly meet, but anywhere: such a pair's own two votes say nothing. In a
#: ring of 6 cameras without one wrong detection, facing pairs won 2 points in 4000 by them, and put them 10 cm off.
MIN_PAIR_ANGLE = 15 * torch.pi / 180

#: Thresholds by which a hypothesis is refined, in units of the asked one.
NARROWING = (2.5, 1.6, 1.0, 1.0)

#: Points per batch, so that a long capture does not fill the memory: 31 cameras x 28 pairs x 4096 points are about 30 MB.
CHUNK_POINTS = 4096


@dataclass(frozen=True)
class Triangulation:
    """What became of N groups of G points in C views; NaN where there is no point, and `status` says why."""

    points_world: Float[Tensor, "N G 3"]
    covariance: Float[Tensor, "N G 6"]
    inliers: Bool[Tensor, "N G C"]
    reprojection_px: Float[Tensor, "N G C"]
    status: UInt8[Tensor, "N G"]


def triangulate_robust(
    keypoints_px: Float[Tensor, "N G C 2"],
    confidence: Float[Tensor, "N G C"],
    cameras: CameraBatch,
    threshold_px: Float[Tensor, "N C"] | float,
    min_views: int = 2,
    noise_px: float = 1.0,
) -> Triangulation:
    """Find each group's points, the views that agree on them, and how sure they are.

    keypoints_px: as detected, lens included; NaN where unseen. confidence: >= 0, the weight of a view; 0 takes no part.
    threshold_px: how far a detection may lie from the reprojection and still agree. min_views: how many views must agree.
    noise_px: expected standard deviation of a detection, per axis; it is blended with the residuals in the covariance.

    Returns metres, in the cameras' precision whatever the keypoints' is; covariance in m^2 as (xx, xy, xz, yy, yz, zz).
    reprojection_px is given for every view with a detection wherever there is a point. Raises PosekitError where min_views is
    less than 2: one ray has no point.
    """
    if min_views < 2:
        raise PosekitError(f"min_views: {min_views} views cannot place a point, 2 or more were expected")
    N, _, C, _ = keypoints_px.shape
    like = cameras.matrix
    keypoints_px, confidence = keypoints_px.to(like), confidence.to(like)
    threshold = torch.as_tensor(threshold_px).to(like).expand(N, C)
    # A threshold of 0 would divide 0 by 0 in the vote; NaN is a size that could not be measured, and agrees with nothing.
    threshold = threshold.nan_to_num(nan=0.0).clamp(min=1e-9)
    chunks = [
        _triangulate_chunk(
            keypoints_px[start : start + CHUNK_POINTS],
            confidence[start : start + CHUNK_POINTS],
            cameras,
            threshold[start : start + CHUNK_POINTS],
            min_views,
            noise_px,
        )
        for start in range(0, max(N, 1), CHUNK_POINTS)
    ]
    return Triangulation(
        *(
            torch.cat([getattr(chunk, name) for chunk in chunks])
            for name in ("points_world", "covariance", "inliers", "reprojection_px", "status")
        )
    )


def _triangulate_chunk(
    keypoints_px: Tensor,
    confidence: Tensor,
    cameras: CameraBatch,
    threshold: Tensor,
    min_views: int,
    noise_px: float,
) -> Triangulation:
    normalised = cameras.undistort(keypoints_px)
    seen = torch.isfinite(normalised).all(dim=-1) & (confidence > 0)
    weight = torch.where(seen, confidence, 0)
    directions, centres = _rays(torch.where(seen[..., None], normalised, 0), cameras)
    points, behind = _best_hypothesis(normalised, weight, seen, directions, centres, cameras, threshold)

    # A hypothesis fits its two views exactly and the others hardly: where the noise is near the threshold, a third view that
    # agrees with the solution of all three need not agree with that of two. So the threshold begins wide and narrows, from
    # the best pair and from all views at once, and of all the solutions on the way that with the most support is kept.
    best, best_support = points, _support(cameras, points, keypoints_px, seen, weight, threshold)
    for start in (points, _weighted_midpoint(_fill_from_group(points), directions, centres, weight, cameras)):
        points = start
        for width in NARROWING:
            inliers = _inlier_views(cameras, points, keypoints_px, seen, width * threshold)
            solve_weight = torch.where(inliers, weight, 0)
            solved = _weighted_midpoint(_fill_from_group(points), directions, centres, solve_weight, cameras)
            solved = _gauss_newton(solved, keypoints_px, solve_weight, cameras, steps=1)
            depth = points_in_cameras(solved, cameras.rotation, cameras.translation)[..., 2]
            solvable = (inliers.sum(dim=-1) >= 2) & ((depth > 0) | ~inliers).all(dim=-1)
            points = torch.where(solvable[..., None], solved, points)
            support = _support(cameras, points, keypoints_px, seen, weight, threshold)
            better = support > best_support
            best = torch.where(better[:, None, None], points, best)
            best_support = torch.where(better, support, best_support)
    points = best

    inliers = _inlier_views(cameras, points, keypoints_px, seen, threshold)
    points = _gauss_newton(points, keypoints_px, torch.where(inliers, weight, 0), cameras, steps=2)
    projected, jacobian = cameras.project_with_jacobian(points)
    error = torch.where(seen, (projected - keypoints_px).norm(dim=-1), torch.nan)
    # The last steps moved the point by a little; a view that left the threshold by that is still what the point was made of.
    inliers = inliers & torch.isfinite(error)

    views_seen, views_kept = seen.sum(dim=-1), inliers.sum(dim=-1)
    status = torch.full_like(views_seen, PointStatus.OK, dtype=torch.uint8)
    status[_ray_angle(directions, inliers) < MIN_RAY_ANGLE] = PointStatus.ILL_CONDITIONED
    status[views_kept < min_views] = PointStatus.NO_AGREEMENT
    # Nearly parallel rays that noise turned apart meet behind the cameras; it is not that which is wrong with them.
    parallel = _ray_angle(directions, seen) < MIN_RAY_ANGLE
    status[behind] = PointStatus.BEHIND_CAMERA
    status[behind & parallel] = PointStatus.ILL_CONDITIONED
    status[views_seen < min_views] = PointStatus.TOO_FEW_VIEWS
    found = status == PointStatus.OK
    covariance = _covariance(jacobian, error, torch.where(inliers, weight, 0), noise_px)
    return Triangulation(
        torch.where(found[..., None], points, torch.nan),
        torch.where(found[..., None], covariance, torch.nan),
        inliers & found[..., None],
        torch.where(found[..., None], error, torch.nan),
        status,
    )


def _support(
    cameras: CameraBatch, points: Tensor, keypoints_px: Tensor, seen: Tensor, weight: Tensor, threshold: Tensor
) -> Tensor:
    """How much the views support a group's points, (N,): sum over its joints of confidence * (1 - error^2 / threshold^2)."""
    error = _group_error(cameras, points, keypoints_px, seen)
    vote = (1 - (error / threshold) ** 2).clamp(min=0).nan_to_num(nan=0.0)
    known = torch.isfinite(points).all(dim=-1)[..., None]
    return (torch.where(known, weight, 0).sum(dim=1) * vote).sum(dim=-1)


def _rays(normalised: Tensor, cameras: CameraBatch) -> tuple[Tensor, Tensor]:
    """Unit directions (N, G, C, 3) of the viewing rays in the world, and the camera centres (C, 3) where they start."""
    x, y = normalised[..., :1], normalised[..., 1:]
    directions = x * cameras.rotation[:, 0] + y * cameras.rotation[:, 1] + cameras.rotation[:, 2]
    return torch.nn.functional.normalize(directions, dim=-1), cameras.centres_world


def _best_hypothesis(
    normalised: Tensor,
    weight: Tensor,
    seen: Tensor,
    directions: Tensor,
    centres: Tensor,
    cameras: CameraBatch,
    threshold: Tensor,
) -> tuple[Tensor, Tensor]:
    """Guess the points of a group from pairs of its views; return those that the views support most.

    Returns (N, G, 3), NaN for joints that the winning pair does not see, and (N, G) bool: whether every pair that sees the
    joint puts it behind a camera. The vote is that of MSAC: confidence * (1 - error^2 / threshold^2), on pixel errors without
    the lens.
    """
    N, G, C = weight.shape
    most_seen = weight.sum(dim=1).topk(min(HYPOTHESIS_VIEWS, C), dim=-1).indices
    focal = torch.stack((cameras.matrix[:, 0, 0], cameras.matrix[:, 1, 1]), dim=-1)
    present = seen.sum(dim=1).clamp(min=1)
    best_score = torch.full((N,), -1.0, dtype=weight.dtype, device=weight.device)
    best = torch.full((N, G, 3), torch.nan, dtype=weight.dtype, device=weight.device)
    tried = torch.zeros((N, G), dtype=torch.bool, device=weight.device)
    guessed = torch.zeros_like(tried)
    for first, second in itertools.combinations(range(most_seen.shape[1]), 2):
        a, b = most_seen[:, first], most_seen[:, second]
        rows = torch.arange(N, device=weight.device)
        pair_seen = seen[rows, :, a] & seen[rows, :, b]
        points, in_front = _ray_midpoint(
            centres[a][:, None], directions[rows, :, a], centres[b][:, None], directions[rows, :, b]
        )
        usable = pair_seen & in_front
        points_cam = points_in_cameras(points, cameras.rotation, cameras.translation)
        depth = points_cam[..., 2]
        offset = (points_cam[..., :2] / depth.clamp(min=1e-9)[..., None] - normalised) * focal
        error = torch.where(seen & (depth > 0) & usable[..., None], offset.norm(dim=-1), torch.inf)
        # A joint that this pair does not see has no say in this hypothesis, but does not speak against it either.
        error = torch.where(seen & ~usable[..., None], threshold[:, None], error)
        mean_error = torch.where(seen, error, 0).sum(dim=1) / present
        vote = (1 - (mean_error / threshold) ** 2).clamp(min=0)
        cosine = (directions[rows, :, a] * directions[rows, :, b]).sum(dim=-1).abs()
        flat = ((cosine > math.cos(MIN_PAIR_ANGLE)) | ~pair_seen).all(dim=1)
        vote = torch.where(flat[:, None] & _one_of(a, b, C), 0, vote)
        score = torch.where(usable.any(dim=1), (weight.sum(dim=1) * vote).sum(dim=-1), -1.0)
        better = score > best_score
        best_score = torch.where(better, score, best_score)
        best = torch.where(better[:, None, None], torch.where(usable[..., None], points, torch.nan), best)
        tried |= pair_seen
        guessed |= usable
    return best, tried & ~guessed


def _one_of(a: Tensor, b: Tensor, C: int) -> Tensor:
    """(N, C) bool: the views a and b, each (N,)."""
    views = torch.arange(C, device=a.device)
    return (views == a[:, None]) | (views == b[:, None])


def _ray_midpoint(
    origin_a: Tensor, direction_a: Tensor, origin_b: Tensor, direction_b: Tensor
) -> tuple[Tensor, Tensor]:
    """Middle of the shortest segment between two rays, and whether it is in front of both."""
    cosine = (direction_a * direction_b).sum(dim=-1)
    baseline = origin_b - origin_a
    sine2 = (1 - cosine * cosine).clamp(min=1e-12)
    along_a = (baseline * direction_a).sum(dim=-1)
    along_b = (baseline * direction_b).sum(dim=-1)
    reach_a = (along_a - cosine * along_b) / sine2
    reach_b = (cosine * along_a - along_b) / sine2
    points = (origin_a + reach_a[..., None] * direction_a + origin_b + reach_b[..., None] * direction_b) / 2
    return points, (reach_a > 0) & (reach_b > 0)


def _inlier_views(
    cameras: CameraBatch, points: Tensor, keypoints_px: Tensor, seen: Tensor, threshold: Tensor
) -> Tensor:
    """Views (N, G, C) that agree with a group's points: mean error over the group's points within the threshold.

    A joint without a point does not count in the mean, and has the views of its group.
    """
    return seen & (_group_error(cameras, points, keypoints_px, seen) <= threshold)[:, None]


def _group_error(cameras: CameraBatch, points: Tensor, keypoints_px: Tensor, seen: Tensor) -> Tensor:
    """Mean error (N, C) px of a group's points in every view; NaN where the view sees none of them."""
    error = (cameras.project(points) - keypoints_px).norm(dim=-1)
    counted = seen & torch.isfinite(points).all(dim=-1)[..., None]
    error = torch.where(counted, torch.nan_to_num(error, nan=torch.inf), 0)
    return error.sum(dim=1) / counted.sum(dim=1)


def _fill_from_group(points: Tensor) -> Tensor:
    """Put the mean of a group's points (N, G, 3) where one has none."""
    known = torch.isfinite(points).all(dim=-1, keepdim=True)
    mean = torch.where(known, points, 0).sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True)
    return torch.where(known, points, mean)


def _weighted_midpoint(
    points: Tensor, directions: Tensor, centres: Tensor, weight: Tensor, cameras: CameraBatch
) -> Tensor:
    """Point nearest to all rays, each weighted by (focal / distance)^2, which turns metres beside the ray into pixels."""
    distance2 = (points[..., None, :] - centres).square().sum(dim=-1)
    scale = torch.where(weight > 0, weight * cameras.matrix[:, 0, 0] ** 2 / distance2, 0)
    # Sum over the views of scale * (1 - d d^T), and the same times the centres.
    total = scale.sum(dim=-1, keepdim=True)
    outer = sum_of_outer(directions * scale.sqrt()[..., None])
    normal = total * outer.new_tensor((1.0, 0.0, 0.0, 1.0, 0.0, 1.0)) - outer
    along = (directions * centres).sum(dim=-1, keepdim=True)
    right = ((centres - along * directions) * scale[..., None]).sum(dim=-2)
    return solve_symmetric(normal, right)


def _gauss_newton(points: Tensor, keypoints_px: Tensor, weight: Tensor, cameras: CameraBatch, steps: int) -> Tensor:
    """Lower the weighted squared reprojection error, lens included; a step that does not lower it is not taken."""
    observed = weight > 0
    target = torch.where(observed[..., None], keypoints_px, 0)

    def cost_of(projected: Tensor) -> Tensor:
        return (torch.where(observed[..., None], projected - target, 0).square().sum(dim=-1) * weight).sum(dim=-1)

    for _ in range(steps):
        projected, jacobian = cameras.project_with_jacobian(points)
        residual = torch.where(observed[..., None], projected - target, 0)
        jacobian = torch.where(observed[..., None, None], jacobian, 0) * weight[..., None, None].sqrt()
        residual = residual * weight[..., None].sqrt()
        normal = sum_of_outer(jacobian.flatten(-3, -2))
        gradient = (jacobian * residual[..., None]).sum(dim=(-3, -2))
        moved = points - solve_symmetric(normal, gradient)
        better = cost_of(cameras.project(moved)) <= residual.square().sum(dim=(-1, -2))
        points = torch.where(better[..., None], moved, points)
    return points


def _ray_angle(directions: Tensor, inliers: Tensor) -> Tensor:
    """Largest angle (rad) between the line of an inlier's ray and the mean of the inliers' lines, each (N, G).

    Lines, not rays: two cameras that face each other fix no depth for what is between them.
    """
    first = inliers.to(torch.uint8).argmax(dim=-1)[..., None, None].expand(*inliers.shape[:-1], 1, 3)
    along = (directions * directions.gather(-2, first)).sum(dim=-1, keepdim=True)
    lines = torch.where(along < 0, -directions, directions)
    mean = torch.nn.functional.normalize((lines * inliers[..., None]).sum(dim=-2), dim=-1)
    # The sine, not the cosine: arccos has no digits left near 0.
    sine = torch.linalg.cross(lines, mean[..., None, :].expand_as(lines)).norm(dim=-1)
    return torch.where(inliers, sine.clamp(max=1).asin(), 0).amax(dim=-1)


def _covariance(jacobian: Tensor, error: Tensor, weight: Tensor, noise_px: float) -> Tensor:
    """Covariance (N, G, 6) of weighted least squares: sigma^2 A^-1 (sum w^2 J^T J) A^-1 with A = sum w J^T J.

    sigma^2 blends the expected noise with the residuals of the point's own inliers, the expectation counting for 3 degrees
    of freedom: two views leave one degree, far too little to be believed alone.
    """
    used = weight > 0
    jacobian = torch.where(used[..., None, None], jacobian, 0)
    rows = jacobian.flatten(-3, -2)
    row_weight = weight.repeat_interleave(2, dim=-1)[..., None]
    inverse = full_symmetric(inverse_symmetric(sum_of_outer(rows * row_weight.sqrt())))
    middle = full_symmetric(sum_of_outer(rows * row_weight))
    freedom = (2 * used.sum(dim=-1) - 3).clamp(min=0)
    squares = torch.where(used, error, 0).square().sum(dim=-1)
    variance = (3 * noise_px**2 + squares) / (3 + freedom)
    full = inverse @ middle @ inverse * variance[..., None, None]
    return full[..., [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
