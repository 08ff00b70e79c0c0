"""Hands as what is learnt: two of every person, boxes from the triangulated arms, left ones mirrored."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.gate_views import sampled_blocks
from posekit.bootstrap.hand_views import SIDES, hand_boxes_of, hand_joints
from posekit.bootstrap.initial_hands import draw_initial_hands
from posekit.bootstrap.instances import (
    Hidden,
    InstanceDetections,
    agreement_thresholds,
    detection_residual_b,
    triangulate_instances,
)
from posekit.bootstrap.occlusion import hidden_by_anyone
from posekit.bootstrap.targets import NINE_TENTHS, Progress, Scene, Target, well_seen_people
from posekit.camera import Rig
from posekit.detection.hand_box import BOX_FACTOR, HandBox, box_from_hand
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.people.agreement import INLIER_SIGMAS, measure_agreement
from posekit.people.hands import reject_impossible_hands, steady_box_sides
from posekit.people.reconstruction import ReconstructionSettings, triangulate_people
from posekit.point_status import PointStatus
from posekit.skeleton import HAND_21, HAND_FINGERS, Skeleton, with_hands
from posekit.training.samples import LabelledCrops


class HandTarget(Target):
    """The hands of people whose bodies are known."""

    skeleton = HAND_21
    groups = ((0,), *HAND_FINGERS)
    part_names = tuple(f"{side}_hand" for side in SIDES)
    weights_name = "hand-cpm.safetensors"
    what = "hands"
    group_name = "fingers"
    box_factor = BOX_FACTOR

    def full_skeleton(self, skeleton: Skeleton) -> Skeleton:
        """Return a body's skeleton with both hands."""
        return skeleton if "left_hand" in skeleton.parts else with_hands(skeleton)

    def joints(self, full: Skeleton) -> NDArray[np.int64]:
        """Places of the left and of the right hand's joints, (2, 21)."""
        return hand_joints(full)

    def own_keypoints(self, keypoints: Keypoints2D) -> Keypoints2D:
        """Return the keypoints, of a skeleton that has arms."""
        wanted = [f"{side}_{joint}" for side in SIDES for joint in ("wrist", "elbow")]
        missing = [joint for joint in wanted if joint not in keypoints.skeleton]
        if missing:
            raise PosekitError(
                f"{keypoints.source}: keypoints are of {keypoints.skeleton.name}, without {', '.join(missing)}: hands are "
                "looked for beyond the arms of a body, or are keypoints themselves (HAND_21); for another skeleton: --learn"
            )
        return keypoints

    def scene(self, keypoints: Keypoints2D, rig: Rig, settings: ReconstructionSettings, min_views: int) -> Scene:
        """Tell people apart, mend left and right, and triangulate the bodies.

        Raises PosekitError where nobody is seen well enough, and where no arm says where a hand is.
        """
        people, notice = well_seen_people(self.identify(keypoints, rig, settings), min_views)
        agreement = measure_agreement(people, rig, settings.threshold_px)
        bodies = triangulate_people(people, rig, replace(settings, hand_min_views=min_views), agreement)
        residual = NINE_TENTHS * agreement.residual_px * agreement.person
        scene = Scene(bodies.detections, bodies.people, residual, rig, min_views, notice)
        if not self.boxes(scene, bodies.people, bodies.detections).found.any():
            raise PosekitError(
                f"{keypoints.source}: no wrist and elbow could be triangulated, so there is no hand to look at; where no arm "
                "is in the pictures, hands' own keypoints (MediaPipe, posekit detect --hands-anywhere) tell where they are"
            )
        return scene

    def detection_residual_b(self, scene: Scene, detections: Keypoints2D) -> NDArray[np.float64]:
        """What the views of the hands leave among themselves: bodies are detected by another detector.

        Not where two views may agree on a label: they do so across the line between them alone, and within a wide threshold
        nearly anything does.
        """
        some = sampled_blocks(detections)
        found = self.take(some)
        if scene.min_views < 3:
            return np.zeros(found.xy.shape[2])
        sides = steady_box_sides(found.xy, some.frames)
        return detection_residual_b(found, sides, self.groups, scene.rig, scene.min_views)

    def reconstruct(self, scene: Scene, detections: Keypoints2D, limits: NDArray[np.float64]) -> Keypoints3D:
        """Triangulate the hands, and take out those that are not at the person's wrist and fingers that none can have."""
        full = detections.skeleton
        body = scene.people
        F, P = body.status.shape[:2]
        J, C = full.joint_count, len(detections.cameras)
        arrays: dict[str, NDArray] = {
            "xyz": np.full((F, P, J, 3), np.nan),
            "covariance": np.full((F, P, J, 6), np.nan, dtype=np.float32),
            "inliers": np.zeros((F, P, J, C), dtype=np.bool_),
            "reprojection_px": np.full((F, P, J, C), np.nan, dtype=np.float32),
            "status": np.full((F, P, J), PointStatus.TOO_FEW_VIEWS, dtype=np.uint8),
        }
        found = self.take(detections)
        # Of these detections, not of those that the limits were measured on: a detector gets better, and points surer.
        expected = agreement_thresholds(
            steady_box_sides(found.xy, detections.frames),
            self.residual_px(scene, detections),
            self.detection_residual_b(scene, detections),
        )
        noise = np.fmin(limits, expected) / INLIER_SIGMAS
        points = triangulate_instances(found, self.groups, limits, scene.rig, scene.min_views, noise)
        joints = self.joints(full)
        for name, values in arrays.items():
            values[:, :, : body.skeleton.joint_count] = getattr(body, name)
            own = getattr(points, name)
            values[:, :, joints] = own.reshape(F, P, *joints.shape, *own.shape[3:])
        for part in self.part_names:
            reject_impossible_hands(arrays, full, part)
        source = f"{detections.source} + {scene.rig.source}"
        return Keypoints3D(
            **arrays, cameras=body.cameras, frames=body.frames, skeleton=full, fps=body.fps, source=source
        )

    def boxes(self, scene: Scene, people: Keypoints3D, detections: Keypoints2D) -> HandBox:
        """Place the boxes by the arms, which no round changes."""
        return hand_boxes_of(scene.people, scene.detections, scene.rig)

    def take_labels(self, labelled: Keypoints2D) -> InstanceDetections:
        """Take the hands out of labels of whole people; of a hand alone it is not known which hand it is."""
        parts = labelled.skeleton.parts
        if not all(part in parts for part in self.part_names):
            raise PosekitError(
                f"{labelled.source}: labels are of {labelled.skeleton.name}, which has no left_hand and right_hand; a skeleton "
                "with both hands was expected (BODY_25B+hands, COCO_WHOLEBODY_133)"
            )
        return self.take(labelled)

    def box_of_labels(self, joints_px: NDArray[np.float64], part: int) -> HandBox:
        """Place a box around the labels, upright by wrist and middle knuckle where these are labelled."""
        box = box_from_hand(joints_px, self.part_names[part].startswith("left"))
        return box if np.isfinite(box.angle) else box_from_hand(joints_px, box.left, angle=np.zeros(()))

    def hidden(self, people: Keypoints3D) -> Hidden | None:
        """Return what says which points somebody's trunk or thigh hides."""

        def hidden(points: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.bool_]:
            return hidden_by_anyone(points, people.xyz, people.skeleton, centre)

        return hidden

    def draw_initial(self, count: int, size: int, seed: int, on_progress: Progress) -> LabelledCrops | None:
        """Draw synthetic hands."""
        return draw_initial_hands(count, size, seed, on_progress)
