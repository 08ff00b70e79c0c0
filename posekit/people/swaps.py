"""Left and right of a person, exchanged by the detector in single views: found by geometry, and mended.

A detector takes somebody seen from behind for somebody seen from the front, or the legs of a walker for each other. The other
views know better: for every view, the detections are compared with the 3D that the views agree on, as they are and with left
and right exchanged. Which views are exchanged against which is told by geometry alone (three views or more); which of the two
camps is right is told by the majority, and where they are equally many by the frames before and after.

A person is a tree of switches, the whole body over arms, legs and head, and each of these over its pairs of joints: every
switch that is thrown costs what a swap is worth in evidence, and what it stands over follows it unless the evidence is
against it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from posekit.camera import CameraBatch, Rig
from posekit.keypoints import Keypoints2D
from posekit.people.agreement import inlier_sigmas
from posekit.people.swap_evidence import (
    CUT,
    Limb,
    Views,
    best_hypothesis,
    limbs_of,
    mirror_of,
    pair_costs,
    partners,
    screening_joints,
    throw_switches,
)

#: Evidence (nats) from which on a person is looked at closely: a look costs time, not truth.
SUSPICION = 4.0

#: The views' votes are even where the difference is less than this; a view has one vote at most.
EVEN = 0.5

#: People move at 2 m/s and their joints are good to 3 cm: the sigma of a step from frame to frame.
SPEED = 2.0
JOINT_SIGMA = 0.03

#: Evidence (nats) that a limb is the same, or exchanged, in two frames that follow each other.
LINK = 4.0

#: Rows (a person in a frame) per batch: 31 cameras x 67 joints x 256 rows x 3 are 13 MB.
CHUNK_ROWS = 256

#: Mended views make the 3D better, which may show another swap; a third round was never seen to.
ROUNDS = 3


@dataclass(frozen=True, eq=False)
class SwapResult:
    """What `mend_swaps` did.

    detections: mended. swapped: (F, C, P, J), joints that were given their partner's detection. undecided: (F, C, P, J), joints
    of limbs that half of the views call left and the other half right, and nothing tells who is wrong; they are as they were.
    """

    detections: Keypoints2D
    swapped: Bool[np.ndarray, "F C P J"]
    undecided: Bool[np.ndarray, "F C P J"]


def mend_swaps(detections: Keypoints2D, rig: Rig, threshold_px: float) -> SwapResult:
    """Exchange left and right of a person, a limb or a pair of joints, in the views where the detector confused them.

    detections: slot p is person p in every view and frame; the rig has the same cameras in the same order. threshold_px: how
    far a detection may lie from its reprojection and still agree (hands and body alike).

    Nothing is exchanged without evidence: not with fewer than three cameras, nor where fewer than two other views know both
    joints, nor a limb whose left and right lie within the noise of each other in the picture, unless the whole person is
    exchanged. What fits in neither order is left to the triangulation.
    """
    F, C, P, J = detections.confidence.shape
    limbs = limbs_of(detections.skeleton)
    nothing = np.zeros((F, C, P, J), dtype=np.bool_)
    if C < 3 or F * P == 0 or not limbs:
        return SwapResult(detections, nothing, nothing)
    sigma = threshold_px / float(inlier_sigmas(np.array(C)))
    points, suspected = _screen(detections, rig, limbs, sigma)
    rows = torch.nonzero(suspected.any(dim=1))[:, 0]
    if not len(rows):
        return SwapResult(detections, nothing, nothing)

    mirror = mirror_of(detections.skeleton)
    cameras = CameraBatch.from_rig(rig)
    even = torch.zeros((F * P, len(limbs)), dtype=torch.bool)
    batches = rows.split(CHUNK_ROWS)
    for batch in batches:
        views = _views(detections, batch, np.arange(J), cameras, mirror, sigma)
        points[batch], even[batch] = _guess(views, limbs, points[batch], suspected[batch])
    by_time = _decide_by_time(detections, points.reshape(F, P, J, 3).numpy(), even.reshape(F, P, -1).numpy(), limbs)
    turned, undecided = (torch.from_numpy(values).reshape(F * P, -1) for values in by_time)
    # Eyes are too near each other to be followed over time: they go with the limbs of which time told which is left.
    follows = undecided & (even & ~undecided).any(dim=1, keepdim=True)
    barred = undecided & ~follows
    swapped = torch.zeros((F * P, J, C), dtype=torch.bool)
    for batch in batches:
        views = _views(detections, batch, np.arange(J), cameras, mirror, sigma)
        start = _turn(points[batch], turned[batch], follows[batch], limbs)
        swapped[batch] = _settle(views, limbs, start, barred[batch])
    return _result(detections, swapped, barred, limbs, mirror)


def _views(
    detections: Keypoints2D,
    rows: Tensor,
    joints: NDArray[np.int64],
    cameras: CameraBatch,
    mirror: Tensor,
    sigma: float,
) -> Views:
    """Some joints of some rows, person p in frame f being row f * P + p."""
    P = detections.confidence.shape[2]
    frames, people = np.divmod(rows.numpy()[:, None], P)
    # (N, J, C, ...): what is indexed comes first.
    xy = detections.xy[frames, :, people, joints]
    confidence = detections.confidence[frames, :, people, joints]
    dtype = cameras.matrix.dtype
    return Views.of(torch.from_numpy(xy).to(dtype), torch.from_numpy(confidence).to(dtype), cameras, mirror, sigma)


def _screen(detections: Keypoints2D, rig: Rig, limbs: Sequence[Limb], sigma: float) -> tuple[Tensor, Tensor]:
    """Points (F * P, J, 3) of detections as they are, and suspected limbs (F * P, L); NaN for joints not looked at."""
    F, _, P, J = detections.confidence.shape
    joints, screened_limbs = screening_joints(limbs)
    # Single precision is good to a hundredth of a pixel, and half of the work: what is suspected is looked at in double.
    cameras = CameraBatch.from_rig(rig, dtype=torch.float32)
    points = torch.full((F * P, J, 3), torch.nan, dtype=torch.float64)
    suspected = torch.zeros((F * P, len(limbs)), dtype=torch.bool)
    for rows in torch.arange(F * P).split(CHUNK_ROWS):
        views = _views(detections, rows, np.array(joints), cameras, partners(screened_limbs), sigma)
        found, suspected[rows] = _suspect(views, screened_limbs)
        points[rows[:, None], torch.tensor(joints)] = found.double()
    return points, suspected


def _suspect(views: Views, limbs: Sequence[Limb]) -> tuple[Tensor, Tensor]:
    """Points (N, J, 3) of detections as they are, and (N, L): limbs that may be exchanged in a view.

    A limb is suspected where an exchange lowers the cost of a pair, or where two views miss both joints of a pair: where half
    of the views are exchanged, the points lie in the middle and no exchange brings a view nearer.
    """
    as_they_are = torch.zeros(views.weight.shape, dtype=torch.bool)
    points = views.fit(as_they_are)
    as_is, crossed = views.costs(points, as_they_are)
    missed = views.misses(points)
    suspected = []
    for limb in limbs:
        kept, exchanged = pair_costs(as_is, crossed, limb)
        gain = (kept - exchanged).amax(dim=(1, 2)) > SUSPICION
        both = missed[:, list(limb.left)] & missed[:, list(limb.right)]
        suspected.append(gain | (both.sum(dim=-1) >= 2).any(dim=1))
    return points, torch.stack(suspected, dim=1)


def _guess(
    views: Views, limbs: Sequence[Limb], points: Tensor, suspected: Bool[Tensor, "N L"]
) -> tuple[Tensor, Bool[Tensor, "N L"]]:
    """Points of suspected limbs from the hypothesis that explains most views, left and right after the majority of them.

    Returns the points (N, J, 3), and where the views' votes are even.
    """
    points = points.clone()
    even = torch.zeros_like(suspected)
    for number, limb in enumerate(limbs):
        rows = torch.nonzero(suspected[:, number])[:, 0]
        if not len(rows):
            continue
        guessed, balance = best_hypothesis(views.rows(rows), limb)
        K = len(limb.left)
        turned = torch.where((balance < 0)[:, None, None], guessed.roll(K, dims=1), guessed)
        points[rows[:, None], torch.tensor(limb.left + limb.right)] = turned
        even[rows, number] = balance.abs() < EVEN
    return points, even


def _decide_by_time(
    detections: Keypoints2D, points: NDArray[np.float64], even: NDArray[np.bool_], limbs: Sequence[Limb]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For limbs (F, P, L) with even votes: turn the points' left and right, or leave it undecided.

    points: (F, P, J, 3). A chain of frames in which the limb is plainly the same, or plainly exchanged, leads from a frame to
    the nearest ones whose votes are not even; where the chains from before and from after contradict each other, nothing is
    decided.
    """
    turned, undecided = np.zeros_like(even), np.zeros_like(even)
    seconds = np.diff(detections.frames) / (detections.fps or 30.0)
    sigma = (JOINT_SIGMA + SPEED * seconds)[:, None, None]
    for number, limb in enumerate(limbs):
        open_frames = even[..., number]
        if not open_frames.any():
            continue
        sides = points[:, :, list(limb.left)], points[:, :, list(limb.right)]
        known = np.asarray(np.isfinite(sides[0]).all(axis=-1) & np.isfinite(sides[1]).all(axis=-1))
        both = known[1:] & known[:-1]

        def cost(a: NDArray[np.float64], b: NDArray[np.float64], both: NDArray[np.bool_] = both) -> NDArray[np.float64]:
            distance = np.where(both, np.linalg.norm(a[1:] - b[:-1], axis=-1), 0)
            return np.asarray(np.minimum((distance / sigma) ** 2 / 2, CUT).sum(axis=-1))

        left, right = sides
        link = cost(left, right) + cost(right, left) - cost(left, left) - cost(right, right)  # (F - 1, P)
        decided = ~open_frames & known.any(axis=-1)
        forward, by_forward = _parity_from_anchor(link, decided)
        backward, by_backward = _parity_from_anchor(link[::-1], decided[::-1])
        backward, by_backward = backward[::-1], by_backward[::-1]
        contradiction = by_forward & by_backward & (forward != backward)
        settled = (by_forward | by_backward) & ~contradiction
        turned[..., number] = open_frames & settled & np.where(by_forward, forward, backward)
        undecided[..., number] = open_frames & ~settled
    return turned, undecided


def _parity_from_anchor(
    link: NDArray[np.float64], decided: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether left and right are exchanged against the last decided frame (F, P), and whether that can be told at all.

    link: (F - 1, P) evidence that a frame and the next have left and right alike.
    """
    start = np.zeros((1, decided.shape[1]), dtype=np.int64)
    flips: NDArray[np.int64] = np.concatenate((start, np.cumsum(link < -LINK, axis=0)))
    breaks: NDArray[np.int64] = np.concatenate((start, np.cumsum(np.abs(link) <= LINK, axis=0)))
    anchor = np.maximum.accumulate(np.where(decided, np.arange(len(decided))[:, None], -1), axis=0)
    place, people = np.maximum(anchor, 0), np.arange(decided.shape[1])
    linked = np.asarray((anchor >= 0) & (breaks[place, people] == breaks))
    return np.asarray((flips - flips[place, people]) % 2 == 1), linked


def _turn(points: Tensor, turned: Bool[Tensor, "N L"], dropped: Bool[Tensor, "N L"], limbs: Sequence[Limb]) -> Tensor:
    """Exchange left and right of the points of some limbs, and drop those of others."""
    points = points.clone()
    for number, limb in enumerate(limbs):
        rows = torch.nonzero(turned[:, number])
        left, right = torch.tensor(limb.left), torch.tensor(limb.right)
        points[rows, left], points[rows, right] = points[rows, right], points[rows, left]
        points[torch.nonzero(dropped[:, number]), torch.cat((left, right))] = torch.nan
    return points


def _settle(
    views: Views, limbs: Sequence[Limb], points: Tensor, undecided: Bool[Tensor, "N L"]
) -> Bool[Tensor, "N J C"]:
    """Throw the switches, make the points again of what is mended, and so on until nothing changes."""
    swapped: Tensor | None = None
    for _ in range(ROUNDS):
        thrown = throw_switches(*views.costs(points, swapped), limbs, undecided)
        if swapped is not None and torch.equal(thrown, swapped):
            break
        swapped = thrown
        points = views.fit(swapped, points)
    assert swapped is not None
    return swapped


def _result(
    detections: Keypoints2D, swapped: Tensor, undecided: Bool[Tensor, "N L"], limbs: Sequence[Limb], mirror: Tensor
) -> SwapResult:
    """Exchange the detections and bring everything into the axes F C P J."""
    F, C, P, J = detections.confidence.shape
    partner = mirror.numpy()
    there = detections.confidence > 0
    given = swapped.reshape(F, P, J, C).permute(0, 3, 1, 2).numpy() & (there | there[..., partner])
    xy = np.where(given[..., None], detections.xy[..., partner, :], detections.xy)
    confidence = np.where(given, detections.confidence[..., partner], detections.confidence)
    left_open = np.zeros((F, P, J), dtype=np.bool_)
    for number, limb in enumerate(limbs):
        left_open[..., list(limb.left + limb.right)] = undecided[:, number].reshape(F, P, 1).numpy()
    return SwapResult(replace(detections, xy=xy, confidence=confidence), given, left_open[:, None] & there)
