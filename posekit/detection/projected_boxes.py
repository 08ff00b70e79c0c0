"""Boxes around hands whose arms are known in space: also in the views whose body detector missed them."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from posekit.camera import Rig
from posekit.detection.hand_box import BOX_PER_FOREARM, HAND_CENTRE_BEYOND_WRIST, HandBox, direction_angle


def boxes_from_arms_in_space(
    wrist: Float[np.ndarray, "*batch 3"],
    elbow: Float[np.ndarray, "*batch 3"],
    forearm_length: Float[np.ndarray, "*batch"],
    rig: Rig,
    left: ArrayLike = False,
    seen_wrist: Float[np.ndarray, "*batch C 2"] | None = None,
) -> HandBox:
    """Place a box around each hand in every view of a rig, (..., C).

    wrist, elbow: metres, the world's frame. forearm_length: metres; that of the person rather than of the moment, since it
    gives the hand's size. The box has the size of that hand at the wrist's distance; its centre lies beyond the wrist along the
    forearm in space, its angle is the forearm's in the picture. seen_wrist: px, a view's own detection of the wrist where it
    is to be trusted, else NaN: the box moves with it, for an error of the rig would shift the box.
    NaN where wrist or elbow are missing, behind the camera or where the box's centre lies outside the picture.
    """
    wrist, elbow = np.asarray(wrist, dtype=np.float64), np.asarray(elbow, dtype=np.float64)
    length = np.asarray(forearm_length, dtype=np.float64)
    forearm = wrist - elbow
    unit = forearm / np.maximum(np.linalg.norm(forearm, axis=-1, keepdims=True), 1e-6)
    middle = wrist + HAND_CENTRE_BEYOND_WRIST * length[..., None] * unit
    centres, sides, angles = [], [], []
    for c, camera in enumerate(rig.cameras):
        wrist_px, elbow_px, centre = (camera.project(points) for points in (wrist, elbow, middle))
        if seen_wrist is not None:
            shift = seen_wrist[..., c, :] - wrist_px
            centre = centre + np.where(np.isfinite(shift), shift, 0.0)
        depth = (wrist @ camera.rotation.T + camera.translation)[..., 2]
        # A hand outside the picture has no box.
        centres.append(np.where(camera.in_picture(centre)[..., None], centre, np.nan))
        sides.append(BOX_PER_FOREARM * length * camera.matrix[0, 0] / np.where(depth > 0, depth, np.nan))
        angles.append(direction_angle(wrist_px - elbow_px))
    handed = np.asarray(left, dtype=bool)
    return HandBox(np.stack(centres, -2), np.stack(sides, -1), np.stack(angles, -1), handed[..., None])
