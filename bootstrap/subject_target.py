"""Whole subjects as what is learnt: a body, an animal, a tool; boxes from the subject's own points, nothing is mirrored."""

import copy
import warnings
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from posekit.bootstrap.instances import InstanceDetections, triangulate_instances
from posekit.bootstrap.subject_files import SubjectDefinition
from posekit.bootstrap.targets import NINE_TENTHS, Scene, Target, well_seen_people
from posekit.camera import Rig
from posekit.detection.hand_box import HandBox
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError, PosekitWarning
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.models.cpm import in_channels_last
from posekit.models.hand_networks import SKELETON_NETWORKS
from posekit.people.agreement import INLIER_SIGMAS, measure_agreement
from posekit.people.hands import HAND_AGREEMENT, hand_box_sides, steady_box_sides
from posekit.people.reconstruction import ReconstructionSettings, triangulate_people
from posekit.point_status import PointStatus
from posekit.skeleton import Skeleton, apply_joint_map, joint_map

#: The crop is this many times B, the longer side of the tight box around the joints: a body or a tool turns about its middle,
#: and has no arm that says where it is only nearly.
SUBJECT_BOX = 1.6

#: Where a subject is not triangulated, it is where it was within so many frames (of the nearest that is known).
_REACH_FRAMES = 15

#: Of the detections that agree so many lie within what is called the residual of a subject that nothing else is known of.
_RESIDUAL_SHARE = 0.9

ARCHITECTURE = "light_pose_machine"


def fresh_detector(skeleton: Skeleton, trunk: HandDetector, seed: int) -> HandDetector:
    """Return a detector for a skeleton that knows nothing of it yet; its layers are the trunk's wherever their shapes fit."""
    torch.manual_seed(seed)
    model = SKELETON_NETWORKS[ARCHITECTURE](skeleton)
    own = model.state_dict()
    given = copy.deepcopy(trunk.model).state_dict()  # type: ignore[attr-defined]
    own |= {name: value for name, value in given.items() if name in own and value.shape == own[name].shape}
    model.load_state_dict(own)
    model = in_channels_last(model).eval().requires_grad_(False)
    return HandDetector(model, trunk.crop_size, shapes=None, architecture=ARCHITECTURE, skeleton=skeleton)


class SubjectTarget(Target):
    """One instance of every person or subject: all of the joints that a definition names."""

    weights_name = "detector.safetensors"
    group_name = "groups of joints"
    box_factor = SUBJECT_BOX

    def __init__(self, definition: SubjectDefinition) -> None:
        self.skeleton, self.groups = definition.skeleton, definition.groups
        self.part_names = tuple(self.skeleton.parts) if len(self.skeleton.parts) == 1 else ("subject",)
        self.what = f"joints of {self.skeleton.name}"

    def full_skeleton(self, skeleton: Skeleton) -> Skeleton:
        """Return the definition's: a subject is all there is."""
        return self.skeleton

    def joints(self, full: Skeleton) -> NDArray[np.int64]:
        """All places, (1, K)."""
        return np.arange(self.skeleton.joint_count)[None]

    def own_keypoints(self, keypoints: Keypoints2D) -> Keypoints2D:
        """Return keypoints of the definition's joints, by name.

        Warns where they lack some. Raises PosekitError where the keypoints have none of them.
        """
        if keypoints.skeleton == self.skeleton:
            return keypoints
        mapping = joint_map(keypoints.skeleton, self.skeleton, derive=True)
        if len(mapping.missing) == self.skeleton.joint_count:
            theirs = keypoints.skeleton.joints
            some = f"{', '.join(theirs[:8])}{', ...' if len(theirs) > 8 else ''}"
            raise PosekitError(
                f"{keypoints.source}: joints are those of {keypoints.skeleton.name} ({some}), none of which "
                f"{self.skeleton.name} has; expected {', '.join(self.skeleton.joints)}"
            )
        if mapping.missing:
            names = ", ".join(mapping.missing)
            warnings.warn(
                PosekitWarning(f"{keypoints.source}: has no {names}, of which nothing is learnt from it"), stacklevel=2
            )
        xy, confidence = apply_joint_map(mapping, keypoints.skeleton, self.skeleton, keypoints.xy, keypoints.confidence)
        assert confidence is not None  # it was given
        return replace(keypoints, xy=xy, confidence=confidence, skeleton=self.skeleton)

    def identify(self, keypoints: Keypoints2D, rig: Rig, settings: ReconstructionSettings) -> Keypoints2D:
        """Tell several apart as people; a single one needs no telling, however small it is."""
        return keypoints if keypoints.confidence.shape[2] == 1 else super().identify(keypoints, rig, settings)

    def scene(self, keypoints: Keypoints2D, rig: Rig, settings: ReconstructionSettings, min_views: int) -> Scene:
        """Tell subjects apart where there are several; one that nobody has detected yet is somewhere, but not known where."""
        own = self.own_keypoints(keypoints)
        F, C = own.confidence.shape[:2]
        if not np.isfinite(own.xy).any():
            blank = np.full((F, C, 1, self.skeleton.joint_count, 2), np.nan, dtype=np.float32)
            own = replace(own, xy=blank, confidence=np.zeros(blank.shape[:-1], dtype=np.float32))
            return Scene(own, _nobody(own), np.full(1, np.nan), rig, min_views)
        own, notice = well_seen_people(self.identify(own, rig, settings), min_views)
        agreement = measure_agreement(own, rig, settings.threshold_px)
        found = triangulate_people(own, rig, replace(settings, min_views=min_views), agreement)
        residual = NINE_TENTHS * agreement.residual_px * agreement.person
        return Scene(found.detections, found.people, residual, rig, min_views, notice)

    def residual_px(self, scene: Scene, detections: Keypoints2D) -> NDArray[np.float64]:
        """The scene's; of a subject that was not detected when the scene was made, what the present detections say.

        That is within how many px nine tenths of the detections lie from points on which views agree to 0.2 B.
        """
        if np.isfinite(scene.residual_px).all() or not np.isfinite(detections.xy).any():
            return scene.residual_px
        found = self.take(detections)
        sides = steady_box_sides(found.xy, detections.frames).astype(np.float64)
        limits = HAND_AGREEMENT * sides.transpose(0, 2, 1)
        points = triangulate_instances(found, self.groups, limits, scene.rig, scene.min_views)
        error = np.where(points.inliers, points.reprojection_px, np.nan)
        known = error[np.isfinite(error)]
        return np.full(found.xy.shape[2], np.quantile(known, _RESIDUAL_SHARE) if len(known) else np.nan)

    def reconstruct(self, scene: Scene, detections: Keypoints2D, limits: NDArray[np.float64]) -> Keypoints3D:
        """Triangulate all joints."""
        points = triangulate_instances(
            self.take(detections), self.groups, limits, scene.rig, scene.min_views, limits / INLIER_SIGMAS
        )
        return Keypoints3D(
            points.xyz,
            points.covariance,
            points.inliers,
            points.reprojection_px,
            points.status,
            cameras=detections.cameras,
            frames=detections.frames,
            skeleton=self.skeleton,
            fps=detections.fps,
            source=f"{detections.source} + {scene.rig.source}",
        )

    def boxes(self, scene: Scene, people: Keypoints3D, detections: Keypoints2D) -> HandBox:
        """Place a box around the subject as it is triangulated, else around what the view detected; both steady over time."""
        xy = self.places_px(scene, people, detections)
        frames = detections.frames
        centre = nearest_in_time(_middle(xy), frames)
        side = nearest_in_time(steady_box_sides(xy, frames)[..., None], frames)[..., 0]
        for c, camera in enumerate(scene.rig.cameras):
            outside = ~camera.in_picture(centre[:, c])
            centre[:, c][outside] = np.nan
        return HandBox(centre, self.box_factor * side)

    def places_px(self, scene: Scene, people: Keypoints3D, detections: Keypoints2D) -> NDArray[np.float64]:
        """Where the views have the joints (F, C, H, K, 2): projected where half of them are triangulated, else as detected."""
        projected = np.stack([camera.project(people.xyz) for camera in scene.rig.cameras], axis=1)  # (F, C, P, K, 2)
        known = np.isfinite(projected).all(axis=-1).sum(axis=-1) * 2 >= self.skeleton.joint_count
        places: NDArray[np.float64] = np.where(known[..., None, None], projected, detections.xy)
        return places

    def take_labels(self, labelled: Keypoints2D) -> InstanceDetections:
        """Take the joints by their names."""
        return self.take(self.own_keypoints(labelled))

    def box_of_labels(self, joints_px: NDArray[np.float64], part: int) -> HandBox:
        """Place a box around the labels."""
        return HandBox(_middle(joints_px), self.box_factor * hand_box_sides(joints_px))


def _nobody(keypoints: Keypoints2D) -> Keypoints3D:
    """As many subjects without a point."""
    F, C, P, K = keypoints.confidence.shape
    return Keypoints3D(
        np.full((F, P, K, 3), np.nan),
        np.full((F, P, K, 6), np.nan),
        np.zeros((F, P, K, C), dtype=np.bool_),
        np.full((F, P, K, C), np.nan),
        np.full((F, P, K), PointStatus.TOO_FEW_VIEWS, dtype=np.uint8),
        cameras=keypoints.cameras,
        frames=keypoints.frames,
        skeleton=keypoints.skeleton,
        fps=keypoints.fps,
        source=keypoints.source,
    )


def _middle(xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Middle of the tight box around joints (..., K, 2), NaN where none is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what is not seen has no middle
        middle: NDArray[np.float64] = (np.nanmin(xy, axis=-2) + np.nanmax(xy, axis=-2)).astype(np.float64) / 2
    return middle


def nearest_in_time(values: NDArray[np.floating], frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """Fill gaps of values (F, C, H, D) by those of the nearest frame that has any, within reach.

    frames: (F,), their numbers, rising.
    """
    F = len(values)
    known = np.isfinite(values).all(axis=-1)  # (F, C, H)
    place = np.arange(F)[:, None, None]
    before = np.maximum.accumulate(np.where(known, place, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, place, F)[::-1], axis=0)[::-1]
    number = frames[:, None, None]
    since = np.where(before >= 0, number - frames[before], _REACH_FRAMES + 1)
    until = np.where(after < F, frames[np.minimum(after, F - 1)] - number, _REACH_FRAMES + 1)
    rows = np.where(since <= until, np.maximum(before, 0), np.minimum(after, F - 1))
    within = np.minimum(since, until) <= _REACH_FRAMES
    filled = np.take_along_axis(values, rows[..., None], axis=0)
    return np.where(within[..., None], filled, np.nan)
