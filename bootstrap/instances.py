"""What is learnt, as arrays over its instances: a hand is one, and so is a body, an animal or a tool.

Axes: F frames, C cameras, H instances, K joints of one instance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from posekit.camera import CameraBatch, Rig
from posekit.geometry.triangulation import triangulate_robust
from posekit.people.hands import HAND_AGREEMENT
from posekit.point_status import PointStatus

#: Simon et al. 2017 let views agree within 4 px of a crop of 368 px, whose side is 2.2 B.
PAPER_AGREEMENT = 4.0 / 368.0 * 2.2

#: Of the errors of detections that agree at all, so many lie within what is called their residual.
_RESIDUAL_QUANTILE = 0.9

#: An instance with fewer points says too little of how far its detections lie off.
_ENOUGH_POINTS = 30

#: Whether points (F, K, 3) are surely hidden from a camera that stands at (3,), (F, K).
Hidden = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class InstanceDetections:
    """What a detector found: xy (F, C, H, K, 2) px, NaN where there was nothing; confidence (F, C, H, K)."""

    xy: NDArray[np.float64]
    confidence: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class InstancePoints:
    """Instances in 3D, as in `Keypoints3D`.

    xyz: (F, H, K, 3) metres. covariance: (F, H, K, 6) m^2. inliers: (F, H, K, C). reprojection_px: (F, H, K, C). status:
    (F, H, K).
    """

    xyz: NDArray[np.float64]
    covariance: NDArray[np.float64]
    inliers: NDArray[np.bool_]
    reprojection_px: NDArray[np.float32]
    status: NDArray[np.uint8]


def triangulate_instances(
    found: InstanceDetections,
    groups: Sequence[Sequence[int]],
    limits: NDArray[np.float64],
    rig: Rig,
    min_views: int,
    noise_px: NDArray[np.float64] | float = 1.0,
) -> InstancePoints:
    """Triangulate every instance; the joints of a group stand or fall together (Simon et al. 2017, section 3.1).

    Unlike in the paper's equation 6 a view weighs by its confidence, and views to try are not drawn by chance: the same
    detections give the same points.

    groups: of joints 0 to K - 1, each in one. limits: (F, H, C) px, within which views agree. noise_px: standard deviation of
    a detection per axis, of which the covariances are made, (F, H, C) or one for all. rig: the C cameras.
    """
    F, C, H, K = found.confidence.shape
    xy = torch.from_numpy(np.ascontiguousarray(found.xy.transpose(0, 2, 3, 1, 4)).reshape(F * H, K, C, 2))
    confidence = torch.from_numpy(np.ascontiguousarray(found.confidence.transpose(0, 2, 3, 1)).reshape(F * H, K, C))
    limit = torch.from_numpy(np.ascontiguousarray(limits).reshape(F * H, C))
    noise = torch.from_numpy(
        np.broadcast_to(np.asarray(noise_px, dtype=np.float64), (F, H, C)).reshape(F * H, C).copy()
    )
    cameras = CameraBatch.from_rig(rig)
    points = InstancePoints(
        np.full((F, H, K, 3), np.nan),
        np.full((F, H, K, 6), np.nan, dtype=np.float32),
        np.zeros((F, H, K, C), dtype=np.bool_),
        np.full((F, H, K, C), np.nan, dtype=np.float32),
        np.full((F, H, K), PointStatus.TOO_FEW_VIEWS, dtype=np.uint8),
    )
    # Groups of one size at once: a call for every finger takes twice as long.
    for size in sorted({len(group) for group in groups}):
        joints = np.array([list(group) for group in groups if len(group) == size])  # (N, size)
        N = len(joints)
        result = triangulate_robust(
            xy[:, joints].reshape(F * H * N, size, C, 2),
            confidence[:, joints].reshape(F * H * N, size, C),
            cameras,
            limit.repeat_interleave(N, dim=0),
            min_views,
            noise.repeat_interleave(N, dim=0),
        )
        for name, values in (
            ("xyz", result.points_world),
            ("covariance", result.covariance),
            ("inliers", result.inliers),
            ("reprojection_px", result.reprojection_px),
            ("status", result.status),
        ):
            getattr(points, name)[:, :, joints] = values.reshape(F, H, N, size, *values.shape[2:]).numpy()
    return points


def agreement_thresholds(
    sides: NDArray[np.floating],
    residual_px: NDArray[np.float64] | float,
    residual_b: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float64]:
    """Within how many px the views agree, (F, H, C): the paper's share of B, raised to the residuals, at most 0.2 B.

    sides: B, (F, C, H), see `posekit.people.hands.steady_box_sides`. residual_px: what the rig leaves, one for all or (H,).
    residual_b: what the instances' own detections leave, as a share of B (`detection_residual_b`), one for all or (H,); NaN
    where it is not known. Above 0.2 B a label would teach joints that are wrong by any measure: a rig that is worse makes
    fewer labels, not worse ones.
    """
    B = sides.transpose(0, 2, 1)
    px, share = (
        np.broadcast_to(np.asarray(residual, dtype=np.float64), (B.shape[1],))[:, None]
        for residual in (residual_px, residual_b)
    )
    allowed = np.maximum(np.fmax(PAPER_AGREEMENT, share) * B, px)
    thresholds: NDArray[np.float64] = np.minimum(allowed, HAND_AGREEMENT * B)
    return thresholds


def detection_residual_b(
    found: InstanceDetections, sides: NDArray[np.floating], groups: Sequence[Sequence[int]], rig: Rig, min_views: int
) -> NDArray[np.float64]:
    """How far an instance's detections lie from the points on which views agree to 0.2 B, as a share of B, (H,).

    Nine tenths of a joint's lie within; the median over the joints, so that one that is wrong in all views alike does not set
    what the others are allowed. NaN where there are next to no points. The arguments: as in `triangulate_instances` and
    `agreement_thresholds`.
    """
    B = np.asarray(sides, dtype=np.float64).transpose(0, 2, 1)
    points = triangulate_instances(found, groups, HAND_AGREEMENT * B, rig, min_views)
    error = np.where(points.inliers, points.reprojection_px / B[:, :, None], np.nan)
    H, K = error.shape[1:3]
    result = np.full(H, np.nan)
    for h in range(H):
        if (points.status[:, h] == PointStatus.OK).sum() < _ENOUGH_POINTS:
            continue
        own = [error[:, h, k][np.isfinite(error[:, h, k])] for k in range(K)]
        result[h] = np.median([np.quantile(values, _RESIDUAL_QUANTILE) for values in own if len(values)])
    return result
