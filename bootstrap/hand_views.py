"""The hands of a capture, as every camera should see them: boxes from the arms, and their place in the arrays.

A hand is (person, side); arrays over hands have axes (F, C, H) with H = 2 P, the left hand of person 0 first.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.camera import Rig
from posekit.detection.hand_box import HandBox
from posekit.detection.projected_boxes import boxes_from_arms_in_space
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.medians import median_of_known
from posekit.people.reconstruction import Reconstruction
from posekit.skeleton import Skeleton

SIDES = ("left", "right")


def hand_joints(skeleton: Skeleton) -> NDArray[np.int64]:
    """Places of the 21 joints of the left and of the right hand, (2, 21)."""
    return np.stack([skeleton.part(f"{side}_hand") for side in SIDES])


def hand_boxes(result: Reconstruction, rig: Rig) -> HandBox:
    """Place a box around every hand of reconstructed people: see `hand_boxes_of`."""
    return hand_boxes_of(result.people, result.detections, rig)


def hand_boxes_of(people: Keypoints3D, detections: Keypoints2D, rig: Rig) -> HandBox:
    """Place a box around every hand in every view, (F, C, H), from the triangulated arm.

    The box has the size of a hand at the arm's distance, its centre lies beyond the wrist, its angle is the forearm's. The
    wrist is the view's own detection where that agrees with the triangulated one, since a rig's error would shift the box; else
    it is the triangulated wrist, so that a view whose body detector missed the arm has its box all the same.
    NaN where wrist or elbow have no 3D point, and where the box's centre lies outside the picture.
    """
    boxes = []
    for name in SIDES:
        wrist_joint, elbow_joint = people.skeleton.index(f"{name}_wrist"), people.skeleton.index(f"{name}_elbow")
        wrist, elbow = people.xyz[:, :, wrist_joint], people.xyz[:, :, elbow_joint]  # (F, P, 3)
        length = np.broadcast_to(median_of_known(np.linalg.norm(wrist - elbow, axis=-1)), wrist.shape[:2])
        agrees = people.inliers[:, :, wrist_joint, :, None]
        seen = np.where(agrees, detections.xy[:, :, :, wrist_joint].swapaxes(1, 2), np.nan)  # (F, P, C, 2)
        boxes.append(boxes_from_arms_in_space(wrist, elbow, length, rig, name == "left", seen))

    def of_hands(values: list[NDArray[Any]]) -> NDArray[Any]:
        # (F, P, C, ...) of each side to (F, C, H, ...)
        both = np.moveaxis(np.stack(values, axis=2), 3, 1)
        return both.reshape(*both.shape[:2], -1, *both.shape[4:])

    centre, side, angle, left = (
        of_hands([getattr(box, n) for box in boxes]) for n in ("centre", "side", "angle", "left")
    )
    return HandBox(centre, side, angle, left)
