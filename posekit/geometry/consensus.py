"""Which views agree on a point: hypotheses from pairs of views, a vote of all, a refinement with a narrowing threshold.

In single precision and without lenses: what comes out is within a thousandth of a pixel of where it should be, and is only the
start of the refinement in `posekit.geometry.triangulation`, which judges the views again. Layout and masks are those of
`posekit.geometry.views`.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from posekit.geometry.symmetric import solve_along_rows
from posekit.geometry.views import PinholeRows, any_of, positive

#: Hypotheses come from the pairs of a group's most confident views; 8 views give 28 pairs. Where half of the views are
#: wrong, the chance that fewer than two of 8 are right is 3.5 %, and the vote still counts all views.
HYPOTHESIS_VIEWS = 8

#: Two lines that meet at less than this angle always nearly meet, but anywhere: such a pair's own two votes say nothing. In a
#: ring of 6 cameras without one wrong detection, facing pairs won 2 points in 4000 by them, and put them 10 cm off.
MIN_PAIR_ANGLE = 15 * torch.pi / 180

#: Thresholds by which a hypothesis is refined, in units of the asked one.
NARROWING = (2.5, 1.5, 1.0)


@dataclass(frozen=True)
class Views:
    """What the views say of N groups of G joints, lenses taken off.

    x, y: (C, G, N) focal * normalised coordinates, px. seen: (C, G, N), 0 or 1. weight: (C, G, N), 0 where unseen.
    directions: (3, C, G, N), unit. threshold: (C, N) px.
    """

    x: Tensor
    y: Tensor
    seen: Tensor
    weight: Tensor
    directions: Tensor
    threshold: Tensor


def find_consensus(views: Views, pinholes: PinholeRows) -> tuple[Tensor, Tensor, Tensor]:
    """Guess every group's points from pairs of its views and refine the guess that the views support most.

    Returns points (3, G, N) in the pinholes' world; (G, N), 1 for those that are known: the others stand amid their group; and
    (G, N), 1 where every pair of views that sees the joint puts it behind a camera.
    """
    points, known, behind = _best_hypothesis(views, pinholes)
    points, known = _refine(_fill_from_group(points, known), known, views, pinholes)
    return *_find_alone(points, known, views, pinholes), behind


def _find_alone(points: Tensor, known: Tensor, views: Views, pinholes: PinholeRows) -> tuple[Tensor, Tensor]:
    """Give joints that the best pair did not know the point of a vote of their own, as groups of one.

    What the views said of them was judged by nothing yet: unjudged, one wrong view would drag such a joint metres away.
    """
    if len(known) == 1:
        return points, known
    joint, group = torch.nonzero((known == 0) & (views.seen.sum(dim=0) >= 2), as_tuple=True)
    if not len(joint):
        return points, known
    x, y, seen, weight, directions = (
        values[..., joint, group][..., None, :]
        for values in (views.x, views.y, views.seen, views.weight, views.directions)
    )
    found, found_known, _ = find_consensus(Views(x, y, seen, weight, directions, views.threshold[:, group]), pinholes)
    at = joint * known.shape[1] + group
    points = points.reshape(3, -1).index_copy(1, at, torch.where(found_known > 0, found[:, 0], points[:, joint, group]))
    return points.reshape(3, *known.shape), known.reshape(-1).index_copy(0, at, found_known[0]).reshape(known.shape)


def _best_hypothesis(views: Views, pinholes: PinholeRows) -> tuple[Tensor, Tensor, Tensor]:
    """Return the points (3, G, N) of the pair that the views support most, which of them it knows, and `behind`.

    The vote is that of MSAC: confidence * (1 - error^2 / threshold^2).
    """
    C, G, N = views.weight.shape
    if C < 2:
        return views.weight.new_zeros((3, G, N)), views.weight.new_zeros((G, N)), views.weight.new_zeros((G, N))
    directions, centres, seen, surest = _surest_views(views, pinholes)
    first, second = map(list, zip(*itertools.combinations(range(len(seen)), 2), strict=True))
    points, in_front, cosine = _ray_midpoints(
        centres[:, first], directions[:, first], centres[:, second], directions[:, second]
    )
    pair_seen = seen[first] * seen[second]  # (Q, G, N)
    usable = pair_seen * in_front
    vote = _votes(points, usable, pair_seen - usable, views, pinholes)  # (C, Q, N)
    apart = any_of(pair_seen * positive(math.cos(MIN_PAIR_ANGLE) - cosine.abs_()), 1)
    score = vote.sum(dim=0) - (1 - apart) * _own_votes(vote, surest, first, second)
    score = score + 1e6 * (any_of(usable, 1) - 1)
    # Along rows of memory: down columns, this takes longer than all the votes.
    best = score.mT.contiguous().argmax(dim=1)[None, None]  # (1, 1, N)
    chosen = points.gather(1, best.expand(3, 1, 1, N).expand(3, 1, G, N))[:, 0]
    known = usable.gather(0, best.expand(1, G, N))[0]
    return chosen, known, any_of(pair_seen, 0) * (1 - any_of(usable, 0))


def _surest_views(views: Views, pinholes: PinholeRows) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Of the H views that a group is surest of: directions (3, H, G, N), centres (3, H, 1, N or 1), seen (H, G, N), places.

    places: (H, N); None where these are all the views.
    """
    C, G, N = views.weight.shape
    if C <= HYPOTHESIS_VIEWS:
        return views.directions, pinholes.centres.mT[..., None, None], views.seen, None
    surest = views.weight.sum(dim=1).topk(HYPOTHESIS_VIEWS, dim=0).indices
    at = surest[:, None].expand(HYPOTHESIS_VIEWS, G, N)
    centres = pinholes.centres[surest].permute(2, 0, 1)[:, :, None]
    return views.directions.gather(1, at.expand(3, *at.shape)), centres, views.seen.gather(0, at), surest


def _own_votes(vote: Tensor, surest: Tensor | None, first: list[int], second: list[int]) -> Tensor:
    """What the two views of every pair say for it themselves, (Q, N), of votes (C, Q, N)."""
    if surest is None:
        pairs = list(range(len(first)))
        return vote[first, pairs] + vote[second, pairs]
    return vote.gather(0, surest[first][None])[0] + vote.gather(0, surest[second][None])[0]


def _ray_midpoints(origin_a: Tensor, a: Tensor, origin_b: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Middle (3, ...) of the shortest segment between two rays, 1 where it is in front of both, and the rays' cosine."""
    cosine = (a * b).sum(dim=0)
    baseline = origin_b - origin_a
    inverse = (1 - cosine * cosine).clamp_(min=1e-6).reciprocal_()
    along_a, along_b = (baseline * a).sum(dim=0), (baseline * b).sum(dim=0)
    reach_a = torch.addcmul(along_a, cosine, along_b, value=-1).mul_(inverse)
    reach_b = torch.addcmul(along_b, cosine, along_a, value=-1).mul_(inverse).neg_()
    points = (reach_a * a).addcmul_(reach_b, b).add_(origin_a + origin_b).mul_(0.5)
    return points, positive(torch.minimum(reach_a, reach_b)), cosine


def _votes(points: Tensor, usable: Tensor, behind: Tensor, views: Views, pinholes: PinholeRows) -> Tensor:
    """How much every view says for every hypothesis, (C, Q, N), of points (3, Q, G, N); usable and behind: (Q, G, N)."""
    x, y, _ = pinholes.project(points)
    y.sub_(views.y[:, None])
    square = x.sub_(views.x[:, None]).square_().addcmul_(y, y)  # (C, Q, G, N)
    threshold = views.threshold[:, None]
    if points.shape[2] == 1:
        weight = views.weight[:, 0][:, None]
        return torch.addcmul(weight, square[:, :, 0], -weight / threshold**2).clamp_(min=0)
    # A joint that this pair does not see has no say in this hypothesis, but does not speak against it either. One that it sees
    # and puts behind a camera does: a view that is wrong on one joint of a finger would win with the other three.
    error = torch.lerp(threshold[:, :, None] * (1 + points.shape[2] * behind), square.sqrt_(), usable)
    mean = (error * views.seen[:, None]).sum(dim=2) / views.seen.sum(dim=1).clamp_(min=1)[:, None]
    return views.weight.sum(dim=1)[:, None] * (1 - (mean / threshold) ** 2).clamp_(min=0)


def _fill_from_group(points: Tensor, known: Tensor) -> Tensor:
    """Put the mean of a group's known points (3, G, N) where one is not."""
    if len(known) == 1:
        return points
    mean = (points * known).sum(dim=1, keepdim=True) / known.sum(dim=0, keepdim=True).clamp(min=1)
    return torch.lerp(mean.expand_as(points), points, known)


def _refine(points: Tensor, known: Tensor, views: Views, pinholes: PinholeRows) -> tuple[Tensor, Tensor]:
    """Refine points (3, G, N) by Gauss-Newton on the views that agree; return the best-supported points on the way.

    A hypothesis fits its two views exactly and the others hardly: where the noise is near the threshold, a third view that
    agrees with the solution of all three need not agree with that of two. So the threshold begins wide and narrows. Starting
    from all views at once, too, was tried: on noise of half the threshold it changed one view in a thousand.
    """
    per_threshold2 = views.threshold**-2
    best, best_known = points, known
    best_support = torch.full_like(points[0, 0], -1.0)
    for width in (*NARROWING, None):
        u, v, inverse = pinholes.project(points)  # (C, G, N)
        off_u, off_v = u - views.x, v - views.y
        share = _group_error2((off_u * off_u).addcmul_(off_v, off_v), views.seen, known) * per_threshold2  # (C, N)
        support = ((views.weight * known).sum(dim=1) * (1 - share).clamp_(min=0)).sum(dim=0)
        better = positive(support - best_support)
        best, best_known = torch.lerp(best, points, better), torch.lerp(best_known, known, better)
        best_support = torch.maximum(support, best_support)
        if width is None:
            break
        agrees = views.seen * positive(width**2 - share)[:, None]
        normal, gradient = pinholes.normal_equations(u, v, inverse, views.weight * agrees, off_u, off_v)
        step = solve_along_rows(normal, gradient)
        solvable = (agrees.sum(dim=0) - 1).clamp_(0, 1)
        # What is nearly singular may overflow; such a step is none. Steps of a kilometre are no better.
        points = points - solvable * step.nan_to_num_(nan=0.0).clamp_(-1e3, 1e3)
        known = torch.maximum(known, solvable)
    return best, best_known


def _group_error2(square: Tensor, seen: Tensor, known: Tensor) -> Tensor:
    """Square of the mean error (C, N) of a group's known points in every view; large where none is known. square: (C, G, N)."""
    if square.shape[1] == 1:
        return square[:, 0] + 1e12 * (1 - known)
    counted = seen * known
    count = counted.sum(dim=1)
    mean = (counted * square.sqrt_()).sum(dim=1) / count.clamp(min=1)
    return mean.square_() + 1e12 * (1 - count).clamp_(min=0)
