"""What cameras saw of people, as rays on one grid of frames, and how well two views of it go together."""

import math
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from posekit.camera import Camera, Rig
from posekit.keypoints import CONFIDENT, Keypoints2D, KeypointSource
from posekit.people.in_step import match_people

Array = NDArray[np.float64]

#: Frames that are looked at: all, or blocks from all over the capture where there are more.
_MOST_FRAMES, _BLOCKS = 3000, 10

#: Blocks of time that a capture is cut into, to judge one by the others.
PERIODS = 15

#: Other cameras that a camera is compared with: those that have most detections in common.
_PARTNERS = 6

#: No joint counts as farther off than this share of the picture's diagonal: it is of somebody else, or left for right.
_CAP = 0.03

#: Joints that two views must have in common, to say anything of them.
FEWEST_JOINTS = 50


@dataclass(frozen=True, eq=False)
class PeopleViews:
    """What the cameras saw, on one grid of frames: rays (C, R, P, J, 2) and the same people's a frame later; NaN for none.

    People keep their slot from frame to frame in a view as long as they are followed. period: (R,), which block of time.
    """

    cameras: tuple[Camera, ...]
    rays: Array
    next_rays: Array
    period: NDArray[np.int64]

    @classmethod
    def of(cls, keypoints: Keypoints2D, rig: Rig, step: int, gap: int) -> "PeopleViews":
        """Put frames on a grid, where blocks that are not one after the other stand `gap` rows apart."""
        jumps = np.diff(keypoints.frames) // step
        rows = np.concatenate(([0], np.cumsum(np.minimum(np.maximum(jumps, 1), gap + 1))))
        count = int(rows[-1]) + 1
        joints = keypoints.skeleton.body_joints
        joints = joints if len(joints) else np.arange(keypoints.skeleton.joint_count)
        sure = keypoints.confidence[..., joints] >= CONFIDENT
        pixels = np.full((len(rig), count, *sure.shape[2:], 2), np.nan, dtype=np.float32)
        pixels[:, rows] = np.where(sure[..., None], keypoints.xy[..., joints, :], np.nan).swapaxes(0, 1)
        pixels = np.stack([_steady(view) for view in pixels])
        rays = np.stack([camera.undistort(view) for camera, view in zip(rig.cameras, pixels, strict=True)])
        later = np.full_like(rays, np.nan)
        for c, view in enumerate(pixels):
            same = match_people(view[:-1], view[1:])[0] == np.arange(view.shape[1])
            later[c, :-1] = np.where(same[..., None, None], rays[c, 1:], np.nan)
        return cls(rig.cameras, rays, later, np.arange(count) * PERIODS // count)

    def at(self, camera: int, offset: float, moments: NDArray[np.int64]) -> Array:
        """What a camera that is `offset` frames late saw at some moments, (M, P, J, 2)."""
        row = math.floor(-offset + 1e-9)
        share = max(-offset - row, 0.0)
        there = moments + row
        known = (there >= 0) & (there < self.rays.shape[1])
        there = np.where(known, there, 0)
        seen = self.rays[camera, there]
        if share > 1e-6:
            seen = seen + share * (self.next_rays[camera, there] - seen)
        return np.where(known[:, None, None, None], seen, np.nan)


@dataclass(frozen=True, eq=False)
class ViewPair:
    """Two cameras and what makes the epipolar line: essential matrix, mean focal length (px), cap of the error (px)."""

    a: int
    b: int
    essential: Array
    focal: float
    cap: float

    def partners(self, first: Array, second: Array) -> Array:
        """Who of the second view (M, Q, J, 2) is who of the first (M, P, J, 2): (M, P, J, 2), NaN where it is nobody.

        Two are one where each fits the other's epipolar lines best.
        """
        if first.shape[1] == second.shape[1] == 1:
            return second
        distance = self.errors(first[:, :, None], second[:, None])  # (M, P, Q, J)
        away = np.minimum(np.abs(distance), self.cap)
        common = np.isfinite(away).sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            cost = np.where(np.isfinite(away), away, 0).sum(axis=-1) / common
        cost = np.where(common >= min(4, distance.shape[-1]), cost, np.inf)
        best = cost.argmin(axis=2)
        mutual = np.take_along_axis(cost.argmin(axis=1), best, axis=1) == np.arange(cost.shape[1])
        found = mutual & np.isfinite(np.take_along_axis(cost, best[..., None], axis=2)[..., 0])
        return np.where(found[..., None, None], second[np.arange(len(second))[:, None], best], np.nan)

    def errors(self, first: Array, second: Array) -> Array:
        """Signed distances from epipolar lines (...), px, of what the cameras saw (..., 2) of the same joints."""
        e = self.essential
        x, y, u, v = first[..., 0], first[..., 1], second[..., 0], second[..., 1]
        line = [e[row, 0] * x + e[row, 1] * y + e[row, 2] for row in range(3)]
        back = [e[0, column] * u + e[1, column] * v + e[2, column] for column in range(2)]
        product = u * line[0] + v * line[1] + line[2]
        return np.asarray(self.focal * product / np.sqrt(line[0] ** 2 + line[1] ** 2 + back[0] ** 2 + back[1] ** 2))

    def capped(self, first: Array, second: Array) -> float:
        """Mean error, px, none counted as more than the cap; NaN where little is seen by both."""
        error = np.abs(self.errors(first, self.partners(first, second)))
        error = error[np.isfinite(error)]
        return float(np.minimum(error, self.cap).mean()) if len(error) >= FEWEST_JOINTS else float("nan")


def sample_frames(detections: KeypointSource, furthest: int) -> Keypoints2D:
    """All frames, or blocks of them from all over a long capture."""
    F = len(detections.frames)
    if F <= _MOST_FRAMES:
        return detections.read(0, F)
    length = max(_MOST_FRAMES // _BLOCKS, 4 * furthest)
    count = max(_MOST_FRAMES // length, 2)
    starts = np.linspace(0, F - length, count).astype(np.int64).tolist()
    pieces = [detections.read(start, start + length) for start in starts]
    slots = max(piece.xy.shape[2] for piece in pieces)
    xy = np.full(
        (sum(len(piece.frames) for piece in pieces), *pieces[0].xy.shape[1:2], slots, *pieces[0].xy.shape[3:]), np.nan
    )
    confidence = np.zeros(xy.shape[:-1])
    end = 0
    for piece in pieces:
        begin, end = end, end + len(piece.frames)
        xy[begin:end, :, : piece.xy.shape[2]] = piece.xy
        confidence[begin:end, :, : piece.xy.shape[2]] = piece.confidence
    frames = np.concatenate([piece.frames for piece in pieces])
    kept = np.unique(frames, return_index=True)[1]
    return replace(pieces[0], xy=xy[kept], confidence=confidence[kept], frames=frames[kept])


def _steady(view: NDArray[np.float32]) -> NDArray[np.float32]:
    """One view's people (R, P, J, 2), in the slot that they had in the frame before."""
    if view.shape[1] == 1:
        return view
    after = match_people(view[:-1], view[1:])[0]
    steady = view.copy()
    place = np.arange(view.shape[1])  # slot of the file -> slot here
    for row, following in enumerate(after):
        moved = np.full(len(place), -1)
        for slot, there in enumerate(following):
            if there >= 0:
                moved[there] = place[slot]
        free = iter(sorted(set(range(len(place))) - set(moved[moved >= 0].tolist())))
        place = np.array([slot if slot >= 0 else next(free) for slot in moved])
        steady[row + 1, place] = view[row + 1]
    return steady


def pairs_of_views(views: PeopleViews) -> list[ViewPair]:
    """Pairs of cameras, each with those that have most detections in common, as far as they have any."""
    cameras = views.cameras
    seen = np.asarray(np.isfinite(views.rays[..., 0]).any(axis=2))  # (C, R, J)
    common = np.array([[int((one & other).sum()) for other in seen] for one in seen])
    np.fill_diagonal(common, 0)
    partners = [set(np.argsort(-row, kind="stable")[:_PARTNERS].tolist()) for row in common]
    pairs = []
    for a, b in combinations(range(len(cameras)), 2):
        if common[a, b] < FEWEST_JOINTS or (b not in partners[a] and a not in partners[b]):
            continue
        turn = cameras[b].rotation @ cameras[a].rotation.T
        x, y, z = cameras[b].translation - turn @ cameras[a].translation
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        focal = float(np.mean([cameras[c].matrix[axis, axis] for c in (a, b) for axis in (0, 1)]))
        diagonal = float(np.mean([np.hypot(*cameras[c].size) for c in (a, b)]))
        pairs.append(ViewPair(a, b, cross @ turn, focal, _CAP * diagonal))
    return pairs
