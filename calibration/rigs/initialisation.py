"""A first rig from boards: how cameras stand to each other by the boards that two of them saw at once, and the best chain of
such pairs through all cameras.

A small board in one picture looks nearly the same when it is tilted the other way, and so does a pair of cameras that is made
of such boards. What seems best of a pair alone may be wrong of the whole: every pair keeps several proposals, and the rig takes
those by which all cameras agree on the boards.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from posekit.calibration.rigs.board_choice import ChosenBoards, board_sizes, choose_boards, mean_misfit, some_corners
from posekit.calibration.rigs.board_poses import BoardPoses

Array = NDArray[np.float64]

#: Moments of a pair that propose how its cameras stand to each other, and moments that judge the proposals.
_PROPOSING, _JUDGING = 14, 28

#: A moment agrees where the board, taken from one camera to the other, is off by less than this share of its size there.
#: Depth from one picture is that bad for a small board; boards of different moments are off by their whole size.
_AGREEING = 0.2

#: A proposal holds where this share of the moments agrees, one that proposed it included.
_LEAST_SHARE = 0.3

#: Corners that the proposals are judged by at most.
_JUDGED_CORNERS = 12

#: Proposals that a pair keeps, and how much two of them differ at least (radians; a share of the distance).
_KEPT, _DIFFERENT_TURN, _DIFFERENT_SHIFT = 5, 0.15, 0.15

#: Cameras whose boards fit those of the others to this share of their size are not tried in other places.
_GOOD_MISFIT = 0.05

#: Where a camera's boards fit worse than this, the rig is built again with all proposals, the best few at every step, if it has
#: so few cameras that this takes no more than seconds.
_BAD_MISFIT, _KEPT_GROWN, _MOST_GROWN = 0.05, 6, 10

#: Rigs that are tried at most, and moments that they are judged by.
_MOST_TRIALS, _TRIAL_MOMENTS = 300, 80


@dataclass(frozen=True, eq=False)
class Pair:
    """Two cameras by their places, and how the second may stand to the first: x_second = rotation @ x_first + translation.

    rotation: (N, 3, 3), translation: (N, 3), the proposals that differ, the best by itself first. shared: moments in which both
    saw the board; judged: those that were looked at; agreeing: those of them that fit the first proposal. error: their median
    misfit, in board sizes.
    """

    first: int
    second: int
    rotation: Array
    translation: Array
    shared: int
    judged: int
    agreeing: int
    error: float

    @property
    def holds(self) -> bool:
        """Whether enough of the shared moments tell the same."""
        return self.agreeing >= max(1, _LEAST_SHARE * self.judged) and (self.agreeing > 1 or self.shared <= 2)


@dataclass(frozen=True, eq=False)
class FirstRig:
    """A first guess: camera_from_world (C, 3, 3), (C, 3), NaN for cameras that are not linked; the pairs that were looked at.

    linked: (C,) bool, the largest group of cameras that hang together.
    """

    rotation: Array
    translation: Array
    linked: NDArray[np.bool_]
    pairs: tuple[Pair, ...]


def first_rig(poses: BoardPoses, symmetries: NDArray[np.int64]) -> FirstRig:
    """Chain the cameras by the pairs that agree best; the world is the frame of the first linked camera.

    symmetries: (S, K) orders of the corners that look the same, see `Board.symmetries`.
    """
    C = poses.found.shape[1]
    pairs = tuple(
        pair
        for first in range(C)
        for second in range(first + 1, C)
        if (pair := _judged_pair(poses, first, second, symmetries)) is not None
    )
    # A chain's error grows with the variance of its links: the misfit squared, over the moments that it was averaged from.
    cost = np.zeros((C, C))
    for pair in pairs:
        if pair.holds:
            cost[pair.first, pair.second] = cost[pair.second, pair.first] = (pair.error + 0.01) ** 2 / pair.agreeing
    _, group = connected_components(csr_array(cost), directed=False)
    linked = group == np.bincount(group).argmax()
    distance, before = dijkstra(csr_array(cost), directed=False, return_predecessors=True)
    members = np.flatnonzero(linked)
    root = members[distance[np.ix_(members, members)].max(axis=1).argmin()]
    rotation, translation = np.full((C, 3, 3), np.nan), np.full((C, 3), np.nan)
    rotation[root], translation[root] = np.eye(3), np.zeros(3)
    for camera in members[np.argsort(distance[root, members])][1:]:
        parent = before[root, camera]
        turns, shifts = next(_ways(pairs, parent, camera))
        rotation[camera] = turns[0] @ rotation[parent]
        translation[camera] = turns[0] @ translation[parent] + shifts[0]
    first = FirstRig(rotation, translation, linked, pairs)
    moments = np.flatnonzero(poses.found[:, linked].sum(axis=1) > 1)
    few = poses.at(_spread(moments, _TRIAL_MOMENTS))
    first, chosen = _settled(first, int(root), few, symmetries)
    if chosen.camera_misfit.max() > _BAD_MISFIT and linked.sum() <= _MOST_GROWN:
        order = [int(camera) for camera in members[np.argsort(distance[root, members])]]
        other, grown = _settled(_grown(first, order, few, symmetries), int(root), few, symmetries)
        first = other if grown.misfit < chosen.misfit else first
    return _in_first_frame(first)


def _ways(pairs: tuple[Pair, ...], parent: int, camera: int) -> Iterator[tuple[Array, Array]]:
    """Proposals of how a camera stands to another one, camera_from_parent (N, 3, 3), (N, 3); none if they share no board."""
    for pair in pairs:
        if (parent, camera) == (pair.first, pair.second):
            yield pair.rotation, pair.translation
        elif (parent, camera) == (pair.second, pair.first):
            back = pair.rotation.swapaxes(-1, -2)
            yield back, -(back @ pair.translation[..., None])[..., 0]


def _settled(
    first: FirstRig, root: int, few: BoardPoses, symmetries: NDArray[np.int64]
) -> tuple[FirstRig, ChosenBoards]:
    """Try the other proposals of every camera that does not fit, as long as the boards of all agree better for it."""
    best = choose_boards(few, first.rotation, first.translation, symmetries)
    trials = 0
    improved = True
    while improved and trials < _MOST_TRIALS:
        improved = False
        for camera in np.argsort(-best.camera_misfit):
            if camera == root or not first.linked[camera] or best.camera_misfit[camera] < _GOOD_MISFIT:
                continue
            for other in _moved_to_proposals(first, int(camera), np.flatnonzero(first.linked)):
                trials += 1
                chosen = choose_boards(few, other.rotation, other.translation, symmetries)
                if chosen.misfit < 0.99 * best.misfit:
                    first, best, improved = other, chosen, True
            if trials >= _MOST_TRIALS:
                break
    return first, best


def _grown(first: FirstRig, order: list[int], few: BoardPoses, symmetries: NDArray[np.int64]) -> FirstRig:
    """Build the rig camera by camera, with all proposals of each, and go on with the few that fit best so far."""
    alone = np.full_like(first.translation, np.nan)
    alone[order[0]] = first.translation[order[0]]
    kept = [replace(first, translation=alone)]
    for place, camera in enumerate(order[1:], start=1):
        parents = np.array(order[:place])
        grown = [other for rig in kept for other in _moved_to_proposals(rig, camera, parents)]
        misfits = [choose_boards(few, rig.rotation, rig.translation, symmetries).misfit for rig in grown]
        kept = [grown[number] for number in np.argsort(misfits)[:_KEPT_GROWN]]
    return kept[0]


def _moved_to_proposals(first: FirstRig, camera: int, parents: NDArray[np.int64]) -> Iterator[FirstRig]:
    """The rig with one camera where its pairs with some of the others propose it to be."""
    for parent in parents:
        for turns, shifts in _ways(first.pairs, int(parent), camera):
            for turn, shift in zip(turns, shifts, strict=True):
                rotation, translation = first.rotation.copy(), first.translation.copy()
                rotation[camera] = turn @ first.rotation[parent]
                translation[camera] = turn @ first.translation[parent] + shift
                yield replace(first, rotation=rotation, translation=translation)


def _in_first_frame(first: FirstRig) -> FirstRig:
    """The same rig in the frame of its first linked camera: camera_from_world is taken after world_from_first."""
    members = np.flatnonzero(first.linked)
    turn, shift = first.rotation[members[0]], first.translation[members[0]]
    rotation = first.rotation @ turn.T
    return replace(first, rotation=rotation, translation=first.translation - rotation @ shift)


def _judged_pair(poses: BoardPoses, first: int, second: int, symmetries: NDArray[np.int64]) -> Pair | None:
    shared = np.flatnonzero(poses.found[:, first] & poses.found[:, second])
    if not len(shared):
        return None
    judging, proposing = _spread(shared, _JUDGING), _spread(shared, _PROPOSING)
    rotation, translation = _proposals(poses, first, second, proposing, symmetries)
    misfit = _misfits(poses, first, second, judging, rotation, translation, symmetries)  # (proposals, judging)
    order = np.argsort(np.minimum(misfit, _AGREEING).sum(axis=-1), kind="stable")
    kept = _different(rotation[order], translation[order])
    agreeing = misfit[order[0]] < _AGREEING
    error = float(np.median(misfit[order[0]][agreeing])) if agreeing.any() else float("inf")
    return Pair(
        first,
        second,
        rotation[order[kept]],
        translation[order[kept]],
        len(shared),
        len(judging),
        int(agreeing.sum()),
        error,
    )


def _different(rotation: Array, translation: Array) -> list[int]:
    """Places of the first few proposals that differ from all that come before."""
    kept: list[int] = []
    for place in range(len(rotation)):
        cosine = (np.einsum("nij,ij->n", rotation[kept], rotation[place]) - 1) / 2
        turned = np.arccos(np.clip(cosine, -1, 1))
        away = np.linalg.norm(translation[kept] - translation[place], axis=-1) / np.linalg.norm(translation[place])
        if not ((turned < _DIFFERENT_TURN) & (away < _DIFFERENT_SHIFT)).any():
            kept.append(place)
        if len(kept) == _KEPT:
            break
    return kept


def _spread(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return places[np.linspace(0, len(places) - 1, min(count, len(places))).astype(np.int64)]


def _proposals(
    poses: BoardPoses, first: int, second: int, moments: NDArray[np.int64], symmetries: NDArray[np.int64]
) -> tuple[Array, Array]:
    """second_from_first by each moment, each answer of both cameras, and each way a symmetric board may lie."""
    rotations, translations = [], []
    for symmetry in symmetries:
        # How the board has to be turned so that its corners come to lie in that order.
        turn = _turn_of(poses.points, symmetry)
        for a in (0, 1):
            for b in (0, 1):
                turned = poses.rotation[moments, second, b] @ turn
                rotation = turned @ poses.rotation[moments, first, a].swapaxes(-1, -2)
                shift = (
                    poses.translation[moments, second, b]
                    - (rotation @ poses.translation[moments, first, a][..., None])[..., 0]
                )
                known = np.isfinite(shift).all(axis=-1)
                rotations.append(rotation[known])
                translations.append(shift[known])
    return np.concatenate(rotations), np.concatenate(translations)


def _turn_of(points: Array, symmetry: NDArray[np.int64]) -> Array:
    """The turn in the board's plane after which corner k lies where corner symmetry[k] was."""
    left, _, right = np.linalg.svd(points[symmetry].T @ points)
    turn = left @ np.diag((1.0, 1.0, np.linalg.det(left @ right))) @ right
    return np.asarray(turn)


def _misfits(
    poses: BoardPoses,
    first: int,
    second: int,
    moments: NDArray[np.int64],
    rotation: Array,
    translation: Array,
    symmetries: NDArray[np.int64],
) -> Array:
    """How far (N, moments), in board sizes, the second camera's corners are from where the first one's boards would show."""
    seen = poses.normalised[moments, second]
    corners = some_corners(seen, _JUDGED_CORNERS)
    target = np.take_along_axis(seen, corners[..., None], axis=1)
    size = board_sizes(seen)
    misfit = np.full((len(rotation), len(moments)), np.inf)
    for answer in (0, 1):
        turns, shifts = poses.rotation[moments, first, answer], poses.translation[moments, first, answer]
        for symmetry in symmetries:
            # The second camera numbers the corner k that is corner symmetry[k] of the first.
            points = poses.points[symmetry[corners]] @ turns.swapaxes(-1, -2) + shifts[:, None]
            shown = points.reshape(-1, 3) @ rotation.swapaxes(-1, -2) + translation[:, None]
            off = mean_misfit(shown.reshape(len(rotation), *points.shape), target, size)
            misfit = np.fmin(misfit, off)
    return misfit
