"""Hands as what is learnt where nobody's arms are known: each hand by itself, in a box around its own points."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.hand_target import HandTarget
from posekit.bootstrap.initial_hands import draw_initial_hands
from posekit.bootstrap.subject_files import SubjectDefinition
from posekit.bootstrap.subject_target import SubjectTarget, nearest_in_time
from posekit.bootstrap.targets import Progress, Scene, Target
from posekit.camera import Rig
from posekit.detection.hand_box import BOX_FACTOR, HandBox, box_from_hand, direction_angle
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.medians import median_of_known
from posekit.people.association import spans_of
from posekit.people.hands import reject_impossible_hands
from posekit.people.reconstruction import ReconstructionSettings, check_scale
from posekit.skeleton import HAND_21, HAND_FINGERS, Skeleton
from posekit.training.samples import LabelledCrops

_INDEX, _MIDDLE, _LITTLE = (HAND_21.index(f"{finger}_1") for finger in ("index", "middle", "little"))


class LoneHandTarget(SubjectTarget):
    """Hands without a body: of HAND_21 keypoints, one in each slot, or of both hands of people whose arms nobody detected.

    Which side a hand is, which the files may not say, is told by the way its fingers bend.
    """

    weights_name = HandTarget.weights_name
    group_name = HandTarget.group_name
    box_factor = BOX_FACTOR

    def __init__(self) -> None:
        super().__init__(SubjectDefinition(HAND_21, HandTarget.groups))
        self.what = HandTarget.what

    def own_keypoints(self, keypoints: Keypoints2D) -> Keypoints2D:
        """Return hands alone: of people with both hands every hand in a slot of its own.

        Raises PosekitError where the keypoints have no hand's joints.
        """
        if not has_both_hands(keypoints.skeleton):
            return super().own_keypoints(keypoints)
        joints = np.stack([keypoints.skeleton.part(part) for part in HandTarget.part_names])
        F, C, P = keypoints.confidence.shape[:3]
        shape = (F, C, 2 * P, HAND_21.joint_count)
        return replace(
            keypoints,
            xy=keypoints.xy[..., joints, :].reshape(*shape, 2),
            confidence=keypoints.confidence[..., joints].reshape(shape),
            skeleton=HAND_21,
        )

    def scene(self, keypoints: Keypoints2D, rig: Rig, settings: ReconstructionSettings, min_views: int) -> Scene:
        """Tell the hands apart; raises PosekitError where there is none, for nothing else says where to look."""
        own = self.own_keypoints(keypoints)
        if not (own.confidence > 0).any():
            raise PosekitError(
                f"{keypoints.source}: has no hand in any frame of any camera, and no arm beyond which to look"
            )
        scene = super().scene(keypoints, rig, settings, min_views)
        # Before fingers are compared with a hand's: of a rig that is not in metres, none would be left to say so. Of several
        # hands it has been said as they were told apart.
        spans = spans_of(scene.people.xyz.reshape(-1, HAND_21.joint_count, 3))
        if own.confidence.shape[2] == 1 and len(spans):
            check_scale(float(np.median(spans)), HAND_21, rig)
        return scene

    def reconstruct(self, scene: Scene, detections: Keypoints2D, limits: NDArray[np.float64]) -> Keypoints3D:
        """Triangulate the hands, and take out fingers that none can have."""
        people = super().reconstruct(scene, detections, limits)
        names = ("xyz", "covariance", "inliers", "reprojection_px", "status")
        arrays = {name: getattr(people, name).copy() for name in names}
        reject_impossible_hands(arrays, HAND_21, "hand")
        return replace(people, **arrays)

    def boxes(self, scene: Scene, people: Keypoints3D, detections: Keypoints2D) -> HandBox:
        """Place a box as around any subject, upright from the wrist to the middle knuckle."""
        boxes = super().boxes(scene, people, detections)
        xy = self.places_px(scene, people, detections)
        direction = nearest_in_time(xy[..., _MIDDLE, :] - xy[..., 0, :], detections.frames)
        return HandBox(boxes.centre, boxes.side, direction_angle(direction), left_hands(scene.people.xyz))

    def box_of_labels(self, joints_px: NDArray[np.float64], part: int) -> HandBox:
        """Place a box around the labels, upright where wrist and middle knuckle are labelled."""
        box = box_from_hand(joints_px)
        return box if np.isfinite(box.angle) else box_from_hand(joints_px, angle=np.zeros(()))

    def draw_initial(self, count: int, size: int, seed: int, on_progress: Progress) -> LabelledCrops | None:
        """Draw synthetic hands."""
        return draw_initial_hands(count, size, seed, on_progress)


def hands_to_learn(keypoints: Keypoints2D) -> Target:
    """Return the target for hands in these keypoints: by the arms where these are known, else each hand by itself."""
    if set(keypoints.skeleton.parts) == {"hand"}:
        return LoneHandTarget()
    if not has_both_hands(keypoints.skeleton) or arms_are_known(keypoints):
        return HandTarget()
    hands = LoneHandTarget()
    return hands if (hands.own_keypoints(keypoints).confidence > 0).any() else HandTarget()


def has_both_hands(skeleton: Skeleton) -> bool:
    """Whether it is one of whole people, hands included."""
    return all(part in skeleton.parts for part in HandTarget.part_names)


def arms_are_known(keypoints: Keypoints2D) -> bool:
    """Whether wrist and elbow of an arm are detected by two cameras in one frame or another."""
    there = keypoints.confidence > 0
    for side in ("left", "right"):
        wrist, elbow = f"{side}_wrist", f"{side}_elbow"
        if wrist in keypoints.skeleton and elbow in keypoints.skeleton:
            arm = there[..., keypoints.skeleton.index(wrist)] & there[..., keypoints.skeleton.index(elbow)]
            if (arm.any(axis=2).sum(axis=1) >= 2).any():
                return True
    return False


def left_hands(xyz: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Say of hands (F, H, 21, 3) which are left ones, (H,): their fingers bend to the other side of the palm.

    From wrist, index and little finger's knuckles the palm's normal is known but for its sign, and fingers bend to the palm's
    side: in the median frame they show which it is. A hand of which nothing is known counts as a right one.
    """
    wrist = xyz[:, :, 0]
    normal = np.cross(xyz[:, :, _INDEX] - wrist, xyz[:, :, _LITTLE] - wrist)  # (F, H, 3), out of a right hand's palm
    fingers = np.array(HAND_FINGERS)
    bend = xyz[:, :, fingers[:, -1]] - xyz[:, :, fingers[:, 0]]  # (F, H, 5, 3)
    to_the_palm = np.einsum("fhi,fhki->fhk", normal, bend)
    return np.asarray(median_of_known(to_the_palm, axis=(0, 2)) < 0)
