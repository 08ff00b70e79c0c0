"""Skeletons: names and order of joints, bones, left/right pairs and parts; and maps between them by joint name.

The orders are those of the files of the field. Names say the person's own side: ``left_wrist`` is the left wrist of the person
in the picture.
"""

from posekit.skeleton.bodies import (
    BLAZEPOSE_33,
    BODY_25,
    BODY_25B,
    CMU_MOCAP,
    COCO_17,
    COCO_18,
    COCO_WHOLEBODY_133,
    H36M_16,
    H36M_17,
    HALPE_26,
    PANOPTIC_19,
)
from posekit.skeleton.hands import (
    FINGERS,
    HAND_21,
    HAND_FINGERS,
    HAND_JOINTS,
    INTERHAND_21,
    hand_joint,
    with_hands,
)
from posekit.skeleton.maps import JointMap, apply_joint_map, joint_map
from posekit.skeleton.names import (
    SKELETONS,
    get_skeleton,
    matching_joints,
    skeleton_of_names,
    skeletons_of,
    takes_hands,
)
from posekit.skeleton.record import Skeleton
from posekit.skeleton.stored import defined_skeleton, is_known, skeleton_definition

__all__ = [
    "BLAZEPOSE_33",
    "BODY_25",
    "BODY_25B",
    "CMU_MOCAP",
    "COCO_17",
    "COCO_18",
    "COCO_WHOLEBODY_133",
    "FINGERS",
    "H36M_16",
    "H36M_17",
    "HALPE_26",
    "HAND_21",
    "HAND_FINGERS",
    "HAND_JOINTS",
    "INTERHAND_21",
    "PANOPTIC_19",
    "SKELETONS",
    "JointMap",
    "Skeleton",
    "apply_joint_map",
    "defined_skeleton",
    "get_skeleton",
    "hand_joint",
    "is_known",
    "joint_map",
    "matching_joints",
    "skeleton_definition",
    "skeleton_of_names",
    "skeletons_of",
    "takes_hands",
    "with_hands",
]
