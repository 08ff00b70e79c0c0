"""Every camera held out in turn: how well the others foretell what it sees: a measure that needs no truth."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D
from posekit.people.reconstruction import ReconstructionSettings, triangulate_people


@dataclass(frozen=True, eq=False)
class HeldOutCameras:
    """What the other cameras say of each camera's detections.

    predicted_px: (F, C, P, J, 2), where the joint stands in camera c as all cameras but c triangulate it; NaN where they do
    not agree on it, and outside the picture. error_px: (F, C, P, J), distance of the camera's own detection from there; NaN
    where either is missing.
    """

    predicted_px: NDArray[np.float64]
    error_px: NDArray[np.float64]


def held_out_cameras(
    detections: Keypoints2D, rig: Rig, settings: ReconstructionSettings | None = None
) -> HeldOutCameras:
    """Triangulate from all cameras but one, project into that one and compare; each camera in turn.

    detections: slot p is person p in every view and frame (`identify_people`); rig: the same cameras in the same order. Who is
    who was decided with all the cameras: give a threshold_px that was measured on all of them as well, so that every camera is
    held out by one rule. Unlike the residuals of a triangulation, these errors are not smaller for having been fitted.

    Raises PosekitError where there are fewer than three cameras: the others must be two.
    """
    if len(rig) < 3:
        raise PosekitError(f"{detections.source}: has {len(rig)} cameras; to hold one out takes three or more")
    if detections.cameras != rig.names:
        raise PosekitError(
            f"{detections.source}: its cameras are not those of {rig.source or 'the rig'}, in this order"
        )
    settings = settings or ReconstructionSettings()
    # Where the settings ask for every view, the others are one less.
    settings = replace(settings, min_views=min(settings.min_views, len(rig) - 1))
    predicted = np.full((*detections.confidence.shape, 2), np.nan)
    for c, camera in enumerate(rig.cameras):
        others = tuple(name for name in rig.names if name != camera.name)
        seen = triangulate_people(detections.select_cameras(others), rig.select(others), settings)
        places = camera.project(seen.people.xyz)
        predicted[:, c] = np.where(camera.in_picture(places)[..., None], places, np.nan)
    error = np.linalg.norm(detections.xy - predicted, axis=-1)
    error[~(detections.confidence > 0)] = np.nan
    return HeldOutCameras(predicted, error)
