"""Whether a camera has been knocked since it was calibrated: turning it brings its detections to where the others say."""

import itertools
from dataclasses import dataclass, replace

import cv2
import numpy as np

from posekit.bootstrap.gate_records import Alarm, GateSettings
from posekit.bootstrap.gate_views import Array, Explanation, HeldOutView, agreeing, near_px
from posekit.camera import Camera

#: A camera may have been knocked at any time: the capture's parts are judged one by one, where enough is known of each.
_PARTS = 4

#: Detections of one part that a turn is fitted to; three numbers need no more.
_MOST_POINTS = 500


def moved_cameras(views: list[HeldOutView], settings: GateSettings) -> list[Explanation]:
    """Find cameras whose detections fall into place when the camera is turned, in any part of the capture."""
    near = near_px(views)
    found = []
    for view in views:
        known = int(np.isfinite(view.error_px).all(axis=-1).sum())
        count = int(np.clip(known // (2 * settings.min_comparisons), 1, _PARTS))
        slices = _parts(len(view.own_px), count)
        parts = [turn for turn in (_turn_of(view, rows, settings) for rows in slices) if turn]
        if parts:
            explained = sum(turn.agreeing(near) for turn in parts)
            found.append(Explanation(_alarm(view, max(parts, key=lambda turn: turn.shift_px)), explained))
    return found


def _parts(frames: int, count: int) -> list[slice]:
    edges = np.linspace(0, frames, count + 1).astype(np.int64).tolist()
    return [slice(first, last) for first, last in itertools.pairwise(edges)]


@dataclass(frozen=True, eq=False)
class _Turn:
    """What turning the camera does to the errors (N, 2) in a part of a capture; it moves the points by `shift_px`."""

    degrees: float
    shift_px: float
    limit_px: float
    before: Array
    after: Array

    def agreeing(self, near: float) -> int:
        return agreeing(self.after, near) - agreeing(self.before, near)


def _turn_of(view: HeldOutView, rows: slice, settings: GateSettings) -> _Turn | None:
    """Turn the camera to fit a part of the capture; None where nothing is known, or amiss, or explained by it."""
    error = view.error_px[rows]
    known = np.isfinite(error).all(axis=-1)
    limit = max(
        settings.residual_multiple * view.residual_px,
        float(np.tan(np.deg2rad(settings.min_turn_degrees)) * view.camera.matrix[0, 0]),
    )
    if known.sum() < settings.min_comparisons or _median_length(error[known]) <= limit:
        return None
    own, points = view.own_px[rows][known], view.points_world[rows][known]
    turned = turned_to_fit(view.camera, own, points, view.residual_px)
    places = turned.project(points)
    turn = turned.rotation @ view.camera.rotation.T
    result = _Turn(
        float(np.rad2deg(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))),
        _median_length(places - view.expected_px[rows][known]),
        limit,
        error[known],
        own - places,
    )
    left = _median_length(result.after)
    fits = left <= min(limit, settings.max_left_share * _median_length(result.before))
    return result if fits and result.shift_px > limit else None


def _median_length(vectors: Array) -> float:
    return float(np.nanmedian(np.linalg.norm(vectors, axis=-1)))


def _alarm(view: HeldOutView, turn: _Turn) -> Alarm:
    name = view.camera.name
    before, after = _median_length(turn.before), _median_length(turn.after)
    message = (
        f"camera '{name}' is not where its calibration says: what it detects lies {before:.0f} px from where the other cameras "
        f"say, and {after:.1f} px once it is turned by {turn.degrees:.1f} degrees, which moves its picture by "
        f"{turn.shift_px:.0f} px (limit {turn.limit_px:.0f} px); it is left out: calibrate it anew"
    )
    return Alarm("camera", name, None, message, turn.shift_px, turn.limit_px)


def turned_to_fit(camera: Camera, own_px: Array, points_world: Array, residual_px: float) -> Camera:
    """Turn a camera about its centre until it sees points (N, 3) where it detected them (N, 2).

    Gauss-Newton on the rotation with Cauchy's weights, whose width falls from the errors' own to `residual_px`: detections that
    are wrong in any case have no say.
    """
    step = max(len(own_px) // _MOST_POINTS, 1)
    own, points = own_px[::step], points_world[::step]
    turned, small = camera, 1e-4
    for _ in range(12):
        error = turned.project(points) - own
        size = np.linalg.norm(error, axis=-1)
        known = np.isfinite(size)
        if known.sum() < 3:
            return turned
        columns = [
            (_turned(turned, small * axis).project(points) - turned.project(points))[known] / small
            for axis in np.eye(3)
        ]
        jacobian = np.stack(columns, axis=-1)
        width = max(float(np.median(size[known])), residual_px)
        weight = 1 / (1 + (size[known] / width) ** 2)
        normal = np.einsum("n,nij,nik->jk", weight, jacobian, jacobian)
        slope = np.einsum("n,nij,ni->j", weight, jacobian, error[known])
        change = -np.linalg.lstsq(normal, slope, rcond=1e-9)[0]
        # Beyond 0.3 rad a step's straight line is no guide.
        change *= min(1.0, 0.3 / max(float(np.linalg.norm(change)), 1e-12))
        turned = _turned(turned, change)
        if np.linalg.norm(change) < 1e-6:
            break
    return turned


def _turned(camera: Camera, vector: Array) -> Camera:
    """The camera turned about its own centre by a rotation vector (3,) of its own axes."""
    turn = np.asarray(cv2.Rodrigues(np.asarray(vector))[0])
    return replace(camera, rotation=turn @ camera.rotation, translation=turn @ camera.translation)
