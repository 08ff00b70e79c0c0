"""Which person of one result is which person of another, or of the detections, over a whole sequence."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from posekit.camera import Rig
from posekit.geometry.alignment import align_similarity
from posekit.medians import median_of_known


@dataclass(frozen=True, eq=False)
class PeopleMatch:
    """Reference people R and who of the P estimated ones they are.

    person_of: (R,) the estimated person, -1 for none. distance: (F, R), between the two in each frame; NaN where either is
    missing. same: (F, R), frames which by themselves, too, match that very person to the reference, within the asked distance.
    nearest_of: (F, R), whom each frame by itself matches, -1 for none.
    """

    person_of: NDArray[np.int64]
    distance: NDArray[np.float64]
    same: NDArray[np.bool_]
    nearest_of: NDArray[np.int64]

    @property
    def identities(self) -> NDArray[np.int64]:
        """How many estimated people each reference person was matched by over the frames, (R,)."""
        return np.array([len(np.unique(column[column >= 0])) for column in self.nearest_of.T], dtype=np.int64)


def match_people(between: NDArray[np.float64], there: NDArray[np.bool_], max_distance: float = 0.25) -> PeopleMatch:
    """Match P people to R reference people, each to at most one.

    between: (F, P, R), how far the two are from each other in each frame (`mean_distances`), NaN where either is missing.
    there: (F, R), whether the reference person is there at all.

    Over the sequence: by the least sum of distances (Hungarian method), where a frame in which the reference is there and the
    other is not counts as the largest distance of all, max_distance at least. In each frame by itself, to see whether
    identities hold: the same, among pairs within max_distance, in the unit of `between`.
    """
    person_of = _over_the_sequence(between, there, max_distance)
    nearest_of = _frame_by_frame(between, max_distance)
    distance = np.full(there.shape, np.nan)
    for r in np.flatnonzero(person_of >= 0):
        distance[:, r] = between[:, person_of[r], r]
    return PeopleMatch(person_of, distance, (nearest_of == person_of) & (nearest_of >= 0), nearest_of)


def mean_distances(estimate: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean distance between people (F, P, J, 3) and people (F, R, J, 3) over the joints that both have, (F, P, R) metres.

    NaN where they have none in common.
    """
    between = np.full((len(estimate), estimate.shape[1], reference.shape[1]), np.nan)
    for p, r in np.ndindex(between.shape[1:]):
        distance = np.linalg.norm(estimate[:, p] - reference[:, r], axis=-1)
        common = np.isfinite(distance)
        with np.errstate(invalid="ignore"):
            between[:, p, r] = np.where(common, distance, 0).sum(axis=-1) / common.sum(axis=-1)
    return between


def pose_distances(estimate: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean distance as `mean_distances`, after each pose was laid on the other by a similarity, (F, P, R) metres.

    For people who stand in two different worlds, and are known by how they move alone.
    """
    between = np.full((len(estimate), estimate.shape[1], reference.shape[1]), np.nan)
    for p, r in np.ndindex(between.shape[1:]):
        laid = align_similarity(estimate[:, p], reference[:, r]).apply(estimate[:, p])
        between[:, p, r] = mean_distances(laid[:, None], reference[:, r, None])[:, 0, 0]
    return between


def project_people(xyz: NDArray[np.float64], rig: Rig) -> NDArray[np.float64]:
    """Project people (F, P, J, 3) into every camera, (F, C, P, J, 2) px; NaN as `Camera.project` has it."""
    return np.stack([camera.project(xyz) for camera in rig.cameras], axis=1)


def pixel_distances(projected: NDArray[np.float64], detected: NDArray[np.floating]) -> NDArray[np.float64]:
    """Median distance (px, over joints and views) of people (F, C, P, J, 2) from detected people (F, C, T, J, 2), (F, P, T).

    NaN where they have no joint in common. The median, as one wrong detection says nothing of who somebody is.
    """
    F, C, P, J = projected.shape[:4]
    between = np.full((F, P, detected.shape[2]), np.nan)
    for p, t in np.ndindex(between.shape[1:]):
        distance = np.linalg.norm(projected[:, :, p] - detected[:, :, t], axis=-1).reshape(F, C * J)
        between[:, p, t] = median_of_known(distance, axis=1)
    return between


def common_frames(first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the frame numbers that both have stand in each, ascending by number."""
    _, own, others = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    return own, others


def _over_the_sequence(
    between: NDArray[np.float64], there: NDArray[np.bool_], max_distance: float
) -> NDArray[np.int64]:
    """Estimated person of every reference person, (R,); between: (F, P, R), there: (F, R)."""
    person_of = np.full(between.shape[2], -1)
    if not np.isfinite(between).any():
        return person_of
    missing = np.where(there[:, None], max(np.nanmax(between), max_distance), 0)
    # Against leaving the reference unmatched: of fewer people than references, those take part who gain most by it.
    cost = np.where(np.isfinite(between), between - missing, 0).sum(axis=0)
    met = np.asarray(np.isfinite(between).any(axis=0))
    for p, r in zip(*linear_sum_assignment(cost), strict=True):
        if met[p, r]:
            person_of[r] = p
    return person_of


def _frame_by_frame(between: NDArray[np.float64], max_distance: float) -> NDArray[np.int64]:
    """Estimated person of every reference person in each frame by itself, (F, R); -1 for none within max_distance."""
    F, _, R = between.shape
    nearest_of = np.full((F, R), -1)
    close = np.asarray(between <= max_distance)
    # A pair that is too far costs more than all close ones together, so that as many as can be are matched.
    cost = np.where(close, between, max_distance * (min(between.shape[1:], default=0) + 1))
    for f in range(F):
        for p, r in zip(*linear_sum_assignment(cost[f]), strict=True):
            if close[f, p, r]:
                nearest_of[f, r] = p
    return nearest_of
