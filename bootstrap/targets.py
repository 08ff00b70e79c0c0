"""What is learnt: the seam between the rounds, which know of no hand, and hands, bodies or tools, which know of no round."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.evidence import HeldOutEvidence
from posekit.bootstrap.instances import Hidden, InstanceDetections, InstancePoints
from posekit.camera import Rig
from posekit.detection.hand_box import HandBox
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.people.reconstruction import ReconstructionSettings, identify_people
from posekit.skeleton import Skeleton
from posekit.training.samples import LabelledCrops

#: Called with (what is being done, steps done, steps in all).
Progress = Callable[[str, int, int], None]

#: Nine tenths of normal errors in two directions lie within so many times their mean: sqrt(-2 ln 0.1) / sqrt(pi / 2).
NINE_TENTHS = 1.712

#: Instances that two views have in fewer than one in so many frames are crumbs, not what somebody looked for and found.
_FEW_FRAMES = 50


@dataclass(frozen=True, eq=False)
class Scene:
    """What stays the same through all rounds, so that it is worked out once.

    detections: people (or subjects) told apart, slot p is person p in every view and frame. people: they in 3D.
    residual_px: within how many px nine tenths of the detections lie that are right, as far as rig and detector allow it, of
    every person, (P,): half of them exceed a mean, and outliers do not move this. rig: the detections' cameras, in their order.
    min_views: how many must agree on a label. notice: what a person should know of it; empty where there is nothing.
    """

    detections: Keypoints2D
    people: Keypoints3D
    residual_px: NDArray[np.float64]
    rig: Rig
    min_views: int
    notice: str = ""


@dataclass(frozen=True, eq=False)
class RoundState:
    """What a round knows: detections of whole people, these in 3D, and of the instances alone what was found and triangulated.

    found: also of joints that are left out of `detections` because they are wrong in all views alike. limits: (F, H, C) px,
    within which views agreed. boxes: (F, C, H), of the next detection. evidence: what held-out cameras
    say.
    """

    detections: Keypoints2D
    people: Keypoints3D
    found: InstanceDetections
    points: InstancePoints
    limits: NDArray[np.float64]
    boxes: HandBox
    evidence: HeldOutEvidence


class Target(ABC):
    """A kind of thing to learn: S instances of every person, each a part of K joints.

    skeleton: of one instance, as the network gives its joints. groups: joints that are triangulated together. part_names: of
    the S parts; instance h is part h % S of person h // S. weights_name: of the file that a round writes. what: is learnt, and
    group_name: its groups, in messages. box_factor: the boxes' side, as a multiple of B.
    """

    skeleton: Skeleton
    groups: tuple[tuple[int, ...], ...]
    part_names: tuple[str, ...]
    weights_name: str
    what: str
    group_name: str
    box_factor: float

    @abstractmethod
    def full_skeleton(self, skeleton: Skeleton) -> Skeleton:
        """Return the skeleton of a whole person with its instances, given that of the start's keypoints."""

    @abstractmethod
    def joints(self, full: Skeleton) -> NDArray[np.int64]:
        """Places of every part's joints in a full skeleton, (S, K)."""

    def own_keypoints(self, keypoints: Keypoints2D) -> Keypoints2D:
        """Return of the start's keypoints the joints that this target works on; raises PosekitError where there is none."""
        return keypoints

    def identify(self, keypoints: Keypoints2D, rig: Rig, settings: ReconstructionSettings) -> Keypoints2D:
        """Tell people apart: person p in slot p of every view and frame. rig: the keypoints' cameras, in their order."""
        return identify_people(keypoints, rig, settings.association)

    @abstractmethod
    def scene(self, keypoints: Keypoints2D, rig: Rig, settings: ReconstructionSettings, min_views: int) -> Scene:
        """Tell people apart and triangulate what no round changes.

        rig: the keypoints' cameras, in their order. Raises PosekitError where there is nothing to learn from.
        """

    @abstractmethod
    def reconstruct(self, scene: Scene, detections: Keypoints2D, limits: NDArray[np.float64]) -> Keypoints3D:
        """Triangulate the instances anew, within limits (F, H, C) px, and put them beside what the scene knows."""

    @abstractmethod
    def boxes(self, scene: Scene, people: Keypoints3D, detections: Keypoints2D) -> HandBox:
        """Place a box around every instance in every view, (F, C, H); NaN where there is none."""

    @abstractmethod
    def take_labels(self, labelled: Keypoints2D) -> InstanceDetections:
        """Take the instances out of a person's labels; raises PosekitError where these are of another skeleton."""

    @abstractmethod
    def box_of_labels(self, joints_px: NDArray[np.float64], part: int) -> HandBox:
        """Place a box around a labelled instance (K, 2) of a part, where nothing else says where it is; a single box."""

    def residual_px(self, scene: Scene, detections: Keypoints2D) -> NDArray[np.float64]:
        """How far detections of every instance lie off by the rig alone, (H,) px: what views must be allowed to differ by."""
        return np.repeat(scene.residual_px, len(self.part_names))

    def detection_residual_b(self, scene: Scene, detections: Keypoints2D) -> NDArray[np.float64]:
        """How far the instances' own detections lie off, (H,), as a share of B; 0 where `residual_px` says it all."""
        return np.zeros(self.take(detections).xy.shape[2])

    def hidden(self, people: Keypoints3D) -> Hidden | None:
        """Return what says which points of instances a camera surely cannot see; None where nothing ever hides them."""
        return None

    def draw_initial(self, count: int, size: int, seed: int, on_progress: Progress) -> LabelledCrops | None:
        """Draw `count` labelled crops for a detector of `size` px; None where nobody can draw such a thing."""
        return None

    def instance_count(self, person_count: int) -> int:
        """H, of so many people."""
        return person_count * len(self.part_names)

    def person_and_part(self, instance: int) -> tuple[int, str]:
        """Whose instance h is, and which part."""
        return instance // len(self.part_names), self.part_names[instance % len(self.part_names)]

    def has_instances(self, keypoints: Keypoints2D) -> bool:
        """Whether the instances were looked for and found: files may have places for their joints, and next to nothing in them.

        That is, whether two views have some of an instance in one of 50 frames in which anybody is seen.
        """
        if keypoints.skeleton != self.full_skeleton(keypoints.skeleton):
            return False
        everybody = (keypoints.confidence > 0).any(axis=(1, 2, 3))
        seen = (keypoints.confidence[..., self.joints(keypoints.skeleton)] > 0).any(axis=(2, 3, 4))  # (F, C)
        return bool(_FEW_FRAMES * ((seen.sum(axis=1) >= 2) & everybody).sum() >= max(int(everybody.sum()), 1))

    def take(self, keypoints: Keypoints2D) -> InstanceDetections:
        """Take the instances out of whole people's detections; nothing where the skeleton lacks them."""
        F, C, P = keypoints.confidence.shape[:3]
        shape = (F, C, self.instance_count(P), self.skeleton.joint_count)
        if keypoints.skeleton != self.full_skeleton(keypoints.skeleton):
            return InstanceDetections(np.full((*shape, 2), np.nan), np.zeros(shape))
        joints = self.joints(keypoints.skeleton)
        return InstanceDetections(
            keypoints.xy[..., joints, :].reshape(*shape, 2).astype(np.float64),
            keypoints.confidence[..., joints].reshape(shape).astype(np.float64),
        )

    def put(self, keypoints: Keypoints2D, found: InstanceDetections, min_confidence: float, source: str) -> Keypoints2D:
        """Return whole people with these instances; joints less confident than `min_confidence` are dropped."""
        given = keypoints.skeleton
        full = self.full_skeleton(given)
        F, C, P = keypoints.confidence.shape[:3]
        xy = np.full((F, C, P, full.joint_count, 2), np.nan, dtype=np.float32)
        confidence = np.zeros((F, C, P, full.joint_count), dtype=np.float32)
        xy[..., : given.joint_count, :], confidence[..., : given.joint_count] = keypoints.xy, keypoints.confidence
        joints = self.joints(full)
        sure = found.confidence >= min_confidence
        shape = (F, C, P, *joints.shape)
        xy[..., joints, :] = np.where(sure[..., None], found.xy, np.nan).reshape(*shape, 2)
        confidence[..., joints] = np.where(sure, found.confidence, 0).reshape(shape)
        return replace(keypoints, xy=xy, confidence=confidence, skeleton=full, source=source)

    def points(self, people: Keypoints3D) -> InstancePoints:
        """Take the instances out of whole people in 3D."""
        joints = self.joints(people.skeleton)
        F, P = people.status.shape[:2]

        def of_instances(values: NDArray) -> NDArray:
            return values[:, :, joints].reshape(F, P * len(joints), joints.shape[1], *values.shape[3:])

        return InstancePoints(
            of_instances(people.xyz),
            of_instances(people.covariance),
            of_instances(people.inliers),
            of_instances(people.reprojection_px),
            of_instances(people.status),
        )


def well_seen_people(detections: Keypoints2D, min_views: int) -> tuple[Keypoints2D, str]:
    """Keep the people whom `min_views` cameras see in a tenth of the frames or more; return them, and the notice of the others.

    Of the others no label can be made and no evidence had; their boxes would only cost time.
    """
    seen = np.isfinite(detections.xy).all(axis=-1).any(axis=-1)  # (F, C, P)
    kept = (seen.sum(axis=1) >= min_views).mean(axis=0) >= 0.1
    if not kept.any():
        raise PosekitError(
            f"{detections.source}: nobody is seen by {min_views} cameras at once in a tenth of the frames"
        )
    notice = ""
    if not kept.all():
        notice = (
            f"{detections.source}: {int((~kept).sum())} of {len(kept)} people are left out: fewer than {min_views} cameras "
            "see them at once in nine tenths of the frames"
        )
    return replace(detections, xy=detections.xy[:, :, kept], confidence=detections.confidence[:, :, kept]), notice
