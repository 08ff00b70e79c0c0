"""Who of one frame is who of the next."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

#: People usually move at 1.5 m/s, which is this share of the 10 m/s that a step may have.
USUAL_SHARE = 0.15


@dataclass(frozen=True)
class AssociationSettings:
    """What counts as one person.

    max_pair_distance: how far the rays of two views may miss each other, as a share of the person's size in the picture
    (diagonal of the box around the joints). On a rig with 10 px of error and people 900 px tall, true pairs were seen at 0.002
    to 0.024, wrong ones from 0.03 on.
    max_step: how far (metres, median over joints) a person may move in a thirtieth of a second or less; the allowance grows
    with the root of the time. max_gap: seconds after which a person who was lost is a new one (or three steps from frame to
    frame, where these are longer). Keypoints that name no rate count as 30 frames per second.
    min_share: people seen (by two views or more) in fewer than this share of the frames are left out.
    """

    max_pair_distance: float = 0.06
    max_step: float = 0.35
    max_gap: float = 2.0
    min_share: float = 0.1


class Tracks:
    """Links groups of detections to the tracks of the frames before, each to the likeliest.

    frames: (F,) the numbers of all frames, for their usual distance.
    """

    def __init__(self, frames: NDArray[np.int64], fps: float, settings: AssociationSettings) -> None:
        self._frames, self._fps, self._settings = frames, fps, settings
        typical_step = float(np.median(np.diff(frames))) if len(frames) > 1 else 1.0
        self._max_gap = max(settings.max_gap * fps, 3 * typical_step)
        # Where each joint of a track was last seen, (J, 3), and when, (J,) frame numbers.
        self._last_points: list[NDArray[np.float64]] = []
        self._last_seen: list[NDArray[np.int64]] = []
        self._active: list[int] = []

    def link(self, places: range, frame_of: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.int64]:
        """Give every group of these frames the number of its track, (M,).

        places: of the frames, in order. frame_of: (M,) place of every group's frame. points: (M, J, 3) metres.
        """
        track_of = np.full(len(frame_of), -1)
        order = np.argsort(frame_of, kind="stable")
        bounds = np.searchsorted(frame_of[order], np.array([*places, places.stop]))
        for number, place in enumerate(places):
            frame = int(self._frames[place])
            here = order[bounds[number] : bounds[number + 1]]
            self._active = [t for t in self._active if frame - self._last_seen[t].max() <= self._max_gap]
            track_of[here] = self._link_frame(frame, points[here])
        return track_of

    def _link_frame(self, frame: int, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """Give the groups of one frame their tracks, and remember them."""
        track_of = np.full(len(points), -1)
        if len(points) and self._active:
            cost = np.array([[self._step_cost(t, frame, here) for here in points] for t in self._active])
            possible = np.isfinite(cost)
            for row, column in zip(*linear_sum_assignment(np.where(possible, cost, 1e6)), strict=True):
                if possible[row, column]:
                    track_of[column] = self._active[row]
        for m, here in enumerate(points):
            known = np.isfinite(here).all(axis=-1)
            if track_of[m] < 0:
                track_of[m] = len(self._last_seen)
                self._active.append(len(self._last_seen))
                self._last_points.append(here)
                self._last_seen.append(np.full(len(known), frame))
            else:
                track = track_of[m]
                self._last_points[track] = np.where(known[:, None], here, self._last_points[track])
                self._last_seen[track] = np.where(known, frame, self._last_seen[track])
        return track_of

    def _step_cost(self, track: int, frame: int, points: NDArray[np.float64]) -> float:
        age = (frame - self._last_seen[track]) / self._fps
        return _step_cost(self._last_points[track], points, age, self._settings.max_step)


def _step_cost(
    before: NDArray[np.float64], after: NDArray[np.float64], age: NDArray[np.float64], max_step: float
) -> float:
    """How unlikely it is that joints (J, 3) went from before to after; inf where that is too far or none is in common.

    age: (J,) seconds since each joint was seen. A joint that was hidden for a while may have gone on walking: the arm that
    comes back after two seconds must not speak against the trunk that was seen all the time.
    """
    allowed = max_step * np.sqrt(np.maximum(30 * age, 1))
    share = np.linalg.norm(before - after, axis=-1) / allowed
    common = np.isfinite(share)
    if not common.any():
        return np.inf
    share, allowed = share[common], allowed[common]
    # A joint counts as much as its allowance is narrow: legs that were last seen two seconds ago outnumber the head of the last
    # frame, but fit whoever stands nearer to there by now. Where there are but old positions, these decide.
    median = _weighted_median(share, 1 / allowed)
    if median >= 1:
        return np.inf
    # Log-likelihood of a normally distributed step, as wide as the time allows. Without the second term, whoever walks through
    # the place where somebody got lost becomes the lost one, to whom more is allowed.
    return float((median / USUAL_SHARE) ** 2 / 2 - 3 * np.log((1 / allowed).mean()))


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Median of (N,) values, N > 0; the plain one where the weights are equal."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    # 1e-9: sums of equal weights are equal but for rounding.
    ends = np.searchsorted(reached, reached[-1] / 2 * np.array((1 - 1e-9, 1 + 1e-9)))
    return float(values[order][ends].mean())
