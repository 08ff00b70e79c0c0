"""Every camera's detections beside what the other cameras say of them: what the gates on cameras look at."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.gate_records import Alarm
from posekit.camera import Camera, Rig
from posekit.keypoints import Keypoints2D
from posekit.people.reconstruction import ReconstructionSettings, triangulate_people

Array = NDArray[np.float64]

#: So many frames are looked at, in blocks over the whole capture: frames of a block follow each other.
_BLOCKS, _BLOCK_FRAMES = 5, 48

#: Detections agree within so many times the mean residual: 99 % of those whose errors are normally distributed.
AGREEING_RESIDUALS = 2.5


@dataclass(frozen=True, eq=False)
class HeldOutView:
    """One camera's detections beside what the other cameras say.

    own_px: (F, P, J, 2). points_world: (F, P, J, 3), by the others. residual_px: what the others leave among themselves.
    """

    camera: Camera
    own_px: Array
    points_world: Array
    residual_px: float

    @cached_property
    def expected_px(self) -> Array:
        """Where the camera should have detected the points, (F, P, J, 2)."""
        return np.asarray(self.camera.project(self.points_world))

    @property
    def error_px(self) -> Array:
        """Detection less the place where it should be, (F, P, J, 2); NaN where either is missing."""
        return self.own_px - self.expected_px


def held_out_views(detections: Keypoints2D, rig: Rig, settings: ReconstructionSettings) -> list[HeldOutView]:
    """Triangulate from all cameras but one, each in turn; what is measured for that is measured without it, too.

    Left and right are not exchanged, so that a camera that has them wrong is seen to.
    """
    plain = replace(settings, mend_swaps=False, min_views=2, hand_min_views=None)
    views = []
    for c, camera in enumerate(rig.cameras):
        others = tuple(name for name in rig.names if name != camera.name)
        result = triangulate_people(detections.select_cameras(others), rig.select(others), plain)
        own = np.where(detections.confidence[:, c, ..., None] > 0, detections.xy[:, c], np.nan).astype(np.float64)
        views.append(HeldOutView(camera, own, result.people.xyz, result.rig_residual_px))
    return views


@dataclass(frozen=True)
class Explanation:
    """What may be wrong with a camera, and how many more detections would agree with the other cameras if it were so."""

    alarm: Alarm
    explained: float


def near_px(views: Sequence[HeldOutView]) -> float:
    """Within how many px a detection agrees: one for all cameras, of the cameras that agree best among themselves.

    A camera that is wrong spoils what is measured of all sets of cameras that it is in.
    """
    return AGREEING_RESIDUALS * max(min(view.residual_px for view in views), 1.0)


def agreeing(error_px: Array, near: float) -> int:
    """How many errors (..., 2) are within `near` px."""
    with np.errstate(invalid="ignore"):
        return int((np.linalg.norm(error_px, axis=-1) <= near).sum())


def sampled_blocks(detections: Keypoints2D) -> Keypoints2D:
    """Blocks of frames from all over a long capture; all of a short one."""
    F = len(detections.frames)
    if F <= _BLOCKS * _BLOCK_FRAMES:
        return detections
    starts = np.linspace(0, F - _BLOCK_FRAMES, _BLOCKS).astype(np.int64)
    rows = np.unique((starts[:, None] + np.arange(_BLOCK_FRAMES)).ravel())
    return replace(
        detections, xy=detections.xy[rows], confidence=detections.confidence[rows], frames=detections.frames[rows]
    )
