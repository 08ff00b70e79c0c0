"""Robust triangulation of many points at once.

Every point is guessed from pairs of its views, the guesses are put to the vote of all views, and the winner is refined on its
true reprojection error, lens included. No subset of cameras is ever enumerated: for C cameras the cost per point is that of
at most `HYPOTHESIS_VIEWS` views' pairs times C votes, linear in C.

Points may form groups that stand or fall together (the four joints of a finger): a group's points share their inlier views,
which are those whose mean error over the group's points is within the threshold (Simon et al., CVPR 2017, section 3.1).
"""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from posekit.camera import CameraBatch
from posekit.errors import PosekitError
from posekit.geometry.chunks import even_slices, map_chunks
from posekit.geometry.consensus import HYPOTHESIS_VIEWS, Views, find_consensus
from posekit.geometry.symmetric import inverse_symmetric, multiply_along_rows
from posekit.geometry.views import ImageJacobian, LensCameras, PinholeRows
from posekit.point_status import PointStatus

#: Rays whose lines all lie within this angle of their mean fix no depth: 1.5 degrees of parallax is 10 cm on 4 m.
MIN_RAY_ANGLE = 0.75 * torch.pi / 180

#: Numbers in the largest array (one per joint, view and hypothesis): larger ones leave the processor's caches, smaller ones
#: spend their time on calling. 8 MB of them keep a long capture from filling the memory, too.
CHUNK_NUMBERS = 2**21

#: No picture is larger (px).
_OUTERMOST_PX = 1e6

#: How many degrees of freedom the expected noise counts for in a point's covariance, beside its own residuals.
NOISE_FREEDOM = 3


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
    noise_px: Float[Tensor, "N C"] | float = 1.0,
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
    N, G, C, _ = keypoints_px.shape
    like = cameras.matrix
    # A threshold of 0 would divide 0 by 0 in the vote; NaN is a size that could not be measured, and agrees with nothing.
    threshold = torch.as_tensor(threshold_px).to(like).expand(N, C).nan_to_num(nan=0.0).clamp(min=1e-6)
    noise = torch.as_tensor(noise_px).to(like).expand(N, C)
    lenses, pinholes = LensCameras.of(cameras), PinholeRows.of(cameras, torch.float32)
    pairs = max(min(C, HYPOTHESIS_VIEWS) * (min(C, HYPOTHESIS_VIEWS) - 1) // 2, 1)
    size = max(CHUNK_NUMBERS // (C * G * pairs), 1)

    def triangulate(chunk: slice) -> Triangulation:
        return _triangulate_chunk(
            keypoints_px[chunk].to(like).permute(3, 2, 1, 0).contiguous(),
            confidence[chunk].to(like).permute(2, 1, 0).contiguous(),
            lenses,
            pinholes,
            threshold[chunk].mT.contiguous(),
            min_views,
            noise[chunk].mT.contiguous(),
        )

    device = like.device
    chunks = map_chunks(triangulate, even_slices(N, size, device), device)
    if len(chunks) == 1:
        return chunks[0]
    names = [field.name for field in fields(Triangulation)]
    return Triangulation(*(torch.cat([getattr(chunk, name) for chunk in chunks]) for name in names))


@torch.no_grad()  # said here, where the work is: whether gradients are kept is a thread's own setting
def _triangulate_chunk(
    keypoints_px: Tensor,
    confidence: Tensor,
    lenses: LensCameras,
    pinholes: PinholeRows,
    threshold: Tensor,
    min_views: int,
    noise_px: Tensor,
) -> Triangulation:
    """Triangulate keypoints (2, C, G, N); the layout is that of `posekit.geometry.views`."""
    # What is missing, or further out than any picture, becomes 0 and is not seen: from here on everything is finite.
    there = (keypoints_px.abs() < _OUTERMOST_PX).all(dim=0) & (confidence > 0) & (confidence < torch.inf)
    u, v = keypoints_px.nan_to_num(nan=0.0).clamp_(-_OUTERMOST_PX, _OUTERMOST_PX)
    x, y, found = lenses.undistort(u, v)
    seen = (there & found).to(u)
    weight = confidence.nan_to_num(nan=0.0, posinf=0.0).clamp_(min=0) * seen
    weight = weight / weight.sum(dim=(0, 1)).clamp_(min=torch.finfo(weight.dtype).tiny)  # their ratios are what counts
    x, y = (value.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0) for value in (x, y))
    directions = pinholes.ray_directions(x, y)
    focal = pinholes.focal[..., None, None]
    views = Views(x * focal[0], y * focal[1], seen.to(x), weight.to(x), directions, threshold.to(x))
    start, known, behind = find_consensus(views, pinholes)
    fit = _refine_with_lens(
        start.to(u) + pinholes.shift[:, None, None], known.to(u), u, v, seen, weight, lenses, threshold
    )
    status = _status(fit, seen, behind > 0, directions, min_views)
    ok = status == PointStatus.OK
    # What a camera cannot see is projected further out than any picture, but for fisheyes: there it is at their rim.
    visible = fit.error < _OUTERMOST_PX if lenses.lens.fisheye is None else lenses.in_sight(fit.points)
    shown = (seen > 0) & visible & ok
    covariance = _covariance(fit, weight, noise_px, threshold)
    return Triangulation(
        torch.where(ok, fit.points, torch.nan).permute(2, 1, 0).contiguous(),
        torch.where(ok, covariance, torch.nan).permute(2, 1, 0).contiguous(),
        ((fit.inliers > 0) & shown).permute(2, 1, 0).contiguous(),
        torch.where(shown, fit.error, torch.nan).permute(2, 1, 0).contiguous(),
        status.mT.contiguous(),
    )


@dataclass(frozen=True)
class _Fit:
    """Points (3, G, N), the views (C, G, N; 0 or 1) that agree, errors px, and the inverse of the normal matrix, (6, G, N)."""

    points: Tensor
    inliers: Tensor
    error: Tensor
    jacobian: ImageJacobian
    inverse: Tensor
    normal_trace: Tensor


def _refine_with_lens(
    points: Tensor,
    known: Tensor,
    u: Tensor,
    v: Tensor,
    seen: Tensor,
    weight: Tensor,
    lenses: LensCameras,
    threshold: Tensor,
) -> _Fit:
    """Lower the weighted squared reprojection error of points (3, G, N), lens included, over the views that agree."""
    at_u, at_v, jacobian = lenses.project_with_jacobian(points)
    off_u, off_v = at_u - u, at_v - v
    error2 = (off_u * off_u).addcmul_(off_v, off_v)
    inliers = _agreeing_views(error2, seen, known, threshold)
    weight = weight * inliers
    normal = jacobian.normal_matrix(weight)
    inverse = inverse_symmetric(normal.movedim(0, -1)).movedim(-1, 0)
    steps = inverse * (inliers.sum(dim=0) - 1).clamp_(0, 1)
    # One Gauss-Newton step: those without the lens have brought the point to within millimetres of its place, and a step leaves
    # about a thousandth of what there was; a second one moved no point of 40,000 by more than 3e-8 m.
    moved = points - multiply_along_rows(steps, jacobian.gradient(weight, off_u, off_v))
    at_u, at_v = lenses.project(moved)
    off_u, off_v = at_u - u, at_v - v
    moved_error2 = (off_u * off_u).addcmul_(off_v, off_v)
    better = ((weight * moved_error2).sum(dim=0) <= (weight * error2).sum(dim=0)).to(points)
    best, best_error2 = torch.lerp(points, moved, better), torch.lerp(error2, moved_error2, better)
    # The step moved the point by a little; a view that left the threshold by that is still what the point was made of.
    return _Fit(best, inliers, best_error2.sqrt_(), jacobian, inverse, normal[0] + normal[3] + normal[5])


def _agreeing_views(error2: Tensor, seen: Tensor, known: Tensor, threshold: Tensor) -> Tensor:
    """Views (C, G, N) that agree with a group's points: mean error over the group's points within the threshold.

    A joint without a point does not count in the mean, and has the views of its group.
    """
    if len(known) == 1:
        return seen * known * (error2 <= threshold[:, None] ** 2)
    counted = seen * known
    count = counted.sum(dim=1)
    mean = (counted * error2.sqrt()).sum(dim=1) / count.clamp(min=1)
    return seen * ((mean <= threshold) & (count > 0))[:, None]


def _status(fit: _Fit, seen: Tensor, behind: Tensor, directions: Tensor, min_views: int) -> Tensor:
    """Say of every point (G, N) whether it is there, or why not."""
    status = torch.full_like(behind, PointStatus.OK, dtype=torch.uint8)

    def mark(where: Tensor, used: Tensor, otherwise: PointStatus) -> None:
        """Nearly parallel rays say so, whatever else became of them: noise turns some apart, or lets them meet anywhere."""
        if bool(where.any()):
            parallel = _ray_angle(directions[..., where], used[..., where]) < MIN_RAY_ANGLE
            status[where] = torch.where(parallel, PointStatus.ILL_CONDITIONED, otherwise).to(torch.uint8)

    # The information on depth is at most sin^2(angle) of that across, so rays this close have a product of traces of 11,700 or
    # more. It is looked at more closely where it could be.
    mark(fit.normal_trace * (fit.inverse[0] + fit.inverse[3] + fit.inverse[5]) > 1000, fit.inliers, PointStatus.OK)
    mark(fit.inliers.sum(dim=0) < min_views, seen, PointStatus.NO_AGREEMENT)
    mark(behind, seen, PointStatus.BEHIND_CAMERA)
    status[seen.sum(dim=0) < min_views] = PointStatus.TOO_FEW_VIEWS
    return status


def _ray_angle(directions: Tensor, used: Tensor) -> Tensor:
    """Largest angle (rad) between the line of a used ray and the mean of the used lines: (3, C, G, N), (C, G, N) to (G, N).

    Lines, not rays: two cameras that face each other fix no depth for what is between them.
    """
    used = used > 0
    first = used.to(torch.uint8).argmax(dim=0)[None, None].expand(3, 1, *used.shape[1:])
    along = (directions * directions.gather(1, first)).sum(dim=0)
    mean = (directions * torch.where(used, along.sign(), 0)).sum(dim=1, keepdim=True)
    cosine = (directions * mean).sum(dim=0) / mean.square().sum(dim=0).sqrt_().clamp_(min=1e-9)
    # In single precision the cosine of `MIN_RAY_ANGLE` is good to a thousandth of the angle.
    return torch.where(used, cosine.abs_(), 1).amin(dim=0).clamp_(max=1).acos_()


def _covariance(fit: _Fit, weight: Tensor, noise_px: Tensor, threshold: Tensor) -> Tensor:
    """Covariance (6, G, N) of weighted least squares: A^-1 (sum w^2 sigma^2 J^T J) A^-1 with A = sum w J^T J.

    sigma is the expected noise of each view, times what the point's own residuals say of it: these, in units of the expected,
    count by their degrees of freedom, the expectation by `NOISE_FREEDOM`; two views leave one degree, far too little to be
    believed alone. Residuals are cut off at the threshold, which makes them smaller than the noise, and the points' errors
    larger than those of a fit to all views: both by `variance_within`.
    """
    variance = (noise_px * noise_px)[:, None]
    weight = weight * fit.inliers
    middle = fit.jacobian.normal_matrix(weight * weight * variance)
    views = fit.inliers.sum(dim=0)  # (G, N)
    used = fit.inliers / views.clamp(min=1)
    spread = noise_px[:, None] * (1 - 1.5 / views.clamp(min=2)).sqrt()
    within = (used * variance_within(threshold[:, None] / spread, len(views))).sum(dim=0).clamp_(min=0.3)
    squares = (fit.inliers * fit.error.square() / variance).sum(dim=0) / within
    factor = (NOISE_FREEDOM + squares) / (NOISE_FREEDOM + (2 * views - 3).clamp(min=0)) / within
    xx, xy, xz, yy, yz, zz = middle
    # A^-1 times the columns of the middle, and its rows times A^-1: written out, an order faster than small matrix products.
    columns = [
        multiply_along_rows(fit.inverse, torch.stack(column)) for column in ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))
    ]
    rows = [multiply_along_rows(fit.inverse, torch.stack([column[axis] for column in columns])) for axis in range(3)]
    return factor * torch.stack((rows[0][0], rows[0][1], rows[0][2], rows[1][1], rows[1][2], rows[2][2]))


def variance_within(threshold: Tensor, group: int) -> Tensor:
    """Variance of normal noise of 1 per axis in views whose error is within a threshold: the mean of `group` errors of a view.

    One error has a Rayleigh distribution, of which this is the exact integral. The mean of several is taken for normal, with
    the mean and the deviation of theirs; squares of errors go with the errors themselves (correlation 0.97).

    By Stein's lemma it is also what the information of a view is worth that is dropped beyond the threshold: a fit to the rest
    has 1 / variance_within the covariance that counting its views would say (Huber 1981, 3.2, with a hard cut).
    """
    if group == 1:
        half_square = (threshold.square() / 2).clamp(1e-3, 50)
        return 1 - half_square / torch.expm1(half_square)
    mean, deviation = (math.pi / 2) ** 0.5, ((2 - math.pi / 2) / group) ** 0.5
    cut = ((threshold - mean) / deviation).clamp(-3, 8)
    density = torch.exp(-cut.square() / 2) / math.sqrt(2 * math.pi)
    return 1 - 0.97 / group**0.5 * density / torch.special.ndtr(cut)
