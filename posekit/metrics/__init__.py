"""How far estimates lie from a reference, and how plausible they are without one, in the field's measures.

NaN in an error means: not estimated, or no reference. Measures over errors leave such joints out (`mpjpe`, `end_point_error`),
shares of correct ones count a joint that has a reference and no estimate as wrong (`pck`, `pck_3d`, `pcp`); each says which.
"""

from posekit.metrics.bones import (
    BoneSpread,
    bone_length_errors,
    bone_lengths,
    bone_spread,
    mirrored_bones,
    symmetry_errors,
)
from posekit.metrics.keypoints import box_scale, end_point_error, keypoint_errors, pck, pck_auc, segment_scale
from posekit.metrics.poses import (
    PCK_3D_THRESHOLD,
    mpjpe,
    n_mpjpe_errors,
    pa_mpjpe_errors,
    pa_mpjpe_reflected_errors,
    pck_3d,
    pck_3d_auc,
    pcp,
    relative_to,
    turned_as_one,
)

__all__ = [
    "BoneSpread",
    "PCK_3D_THRESHOLD",
    "bone_length_errors",
    "bone_lengths",
    "bone_spread",
    "box_scale",
    "end_point_error",
    "keypoint_errors",
    "mirrored_bones",
    "mpjpe",
    "n_mpjpe_errors",
    "pa_mpjpe_errors",
    "pa_mpjpe_reflected_errors",
    "pck",
    "pck_3d",
    "pck_3d_auc",
    "pck_auc",
    "pcp",
    "relative_to",
    "segment_scale",
    "symmetry_errors",
    "turned_as_one",
]
