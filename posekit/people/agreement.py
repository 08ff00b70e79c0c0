"""How far the detections of a capture lie from where the other views say: the noise of its detector and its rig together.

It is measured, because it is the rig's as much as the detector's: 2 px in a laboratory, 30 px on a rig that was calibrated by
hand. From it come the thresholds within which views agree, and the covariances.
"""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from posekit.camera import CameraBatch, Rig
from posekit.geometry.triangulation import Triangulation, triangulate_robust, variance_within
from posekit.keypoints import Keypoints2D
from posekit.people.tracks import AssociationSettings

#: Of views whose noise is normally distributed, 92 % lie within so many standard deviations per axis. Of real detections, those
#: in the tail are mostly wrong: on one capture, a threshold for 95 % raised the mean residual by a tenth.
INLIER_SIGMAS = 2.25

#: No threshold is narrower (px): a detector's last digit.
_NARROWEST_PX = 2.0

#: A joint's own noise is believed where so many points had a view to spare; otherwise it has that of all.
_ENOUGH_POINTS = 30


@dataclass(frozen=True)
class Agreement:
    """Noise of the detections of one capture, of whoever is detected worst, at the usual distance.

    noise_px: (J,), standard deviation per axis of every joint's detections. threshold_px: within which body detections agree
    where all views see the joint; fixed: it was given, and is the same for everyone. residual_px: mean error of the body
    detections that agree. scale: px per metre at the usual distance. person: (P,), everyone's noise as a share of this one's.
    """

    noise_px: NDArray[np.float64]
    threshold_px: float
    residual_px: float
    scale: float
    fixed: bool = False
    person: NDArray[np.float64] = field(default_factory=lambda: np.ones(1))

    def growth(self, scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much larger the noise is of people who appear at `scale` px per metre, (..., P); as if usual where not known.

        Half of the usual variance is taken for the rig's, which is the same in pixels anywhere in the picture, and half for the
        detector's, which grows with the person.
        """
        relative = np.nan_to_num(scale / self.scale, nan=1.0)
        growth: NDArray[np.float64] = np.sqrt((1 + relative**2) / 2) * self.person
        return growth


def inlier_sigmas(views: NDArray[np.integer]) -> NDArray[np.float64]:
    """Within how many standard deviations of the noise 92 % of the views lie from a point that was fitted to so many.

    A fit to n views takes 3 of their 2 n degrees of freedom: what is left has sqrt(1 - 3 / 2 n) of the noise.
    """
    sigmas: NDArray[np.float64] = INLIER_SIGMAS * np.sqrt(1 - 1.5 / np.maximum(views, 2))
    return sigmas


def person_scale(detections: Keypoints2D, rig: Rig) -> NDArray[np.float64]:
    """Pixels per metre (F, C, P) at people's places; NaN where these are not known.

    A place is where the middles of a person's detections in the views meet: good to a few decimetres, which is enough to tell
    how large the person appears. detections and rig as for `measure_agreement`.
    """
    body = detections.skeleton.body_joints
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # who is not seen has no middle
        middle = np.nanmedian(detections.xy[..., body, :], axis=3, keepdims=True)
    F, C, P = middle.shape[:3]
    limit = np.tile(3 * _generous_thresholds(detections, body), F)[:, None].repeat(C, axis=1)
    found = triangulate_robust(
        torch.from_numpy(middle.transpose(0, 2, 3, 1, 4).reshape(F * P, 1, C, 2)),
        torch.ones(F * P, 1, C),
        CameraBatch.from_rig(rig),
        torch.from_numpy(limit),
    )
    places = found.points_world.reshape(F, P, 3).numpy()
    distance = np.stack([np.linalg.norm(places - camera.centre_world, axis=-1) for camera in rig.cameras], axis=1)
    focal = np.array([camera.matrix[0, 0] for camera in rig.cameras])
    scale: NDArray[np.float64] = focal[:, None] / np.maximum(distance, 0.1)
    return scale


def measure_agreement(detections: Keypoints2D, rig: Rig, threshold_px: float | None = None) -> Agreement:
    """Triangulate the body with a threshold that nearly all agree with, and look at what is left.

    detections: slot p is person p in every view and frame; rig: the same cameras in the same order. threshold_px: where it is
    given, not measured. Hands get the body's noise; see `with_noise_of`.
    """
    body = detections.skeleton.body_joints
    scale = person_scale(detections, rig)
    seen = (detections.confidence > 0).any(axis=-1)
    usual = scale[seen & np.isfinite(scale)]
    J = detections.skeleton.joint_count
    agreement = Agreement(np.ones(J), np.inf, np.inf, float(np.median(usual)) if usual.size else 1.0)
    growth = agreement.growth(scale)
    generous = _generous_thresholds(detections, body)
    cameras = CameraBatch.from_rig(rig)
    points = triangulate_joints(detections, body[:, None], cameras, generous * growth)
    estimates = _estimate_noise(points, growth, len(body))
    noise = _joint_noise(estimates, 1, np.broadcast_to(generous, growth.shape))
    person = _person_noise(estimates, noise)
    # A person whom the detector knows to the pixel must not narrow what is allowed to the others.
    noise, person = noise * person.max(initial=0.0), person / person.max(initial=0.0)
    agreement = replace(agreement, person=person)
    growth = agreement.growth(scale)
    usual_noise = float(np.nanmedian(noise)) if np.isfinite(noise).any() else generous.max(initial=8.0) / INLIER_SIGMAS
    everyone = np.full(J, usual_noise)
    everyone[body] = np.where(np.isfinite(noise), noise, usual_noise)
    measured = float(np.clip(usual_noise * inlier_sigmas(np.array(len(rig))), _NARROWEST_PX, generous.max(initial=8.0)))
    threshold = threshold_px or measured
    measured_by = replace(
        agreement, noise_px=everyone, threshold_px=threshold, residual_px=threshold, fixed=threshold_px is not None
    )
    limits = body_thresholds(detections, body, measured_by, growth)
    residual = _residual(triangulate_joints(detections, body[:, None], cameras, limits), growth)
    return measured_by if residual is None else replace(measured_by, residual_px=residual)


def body_thresholds(
    detections: Keypoints2D, joints: NDArray[np.int64], agreement: Agreement, growth: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Within how many px the views agree on joints of the body (K,), by how many of them see each: (F, C, P, K)."""
    C = len(detections.cameras)
    if agreement.fixed:
        return np.broadcast_to(agreement.threshold_px, (*growth.shape, len(joints)))
    views = (detections.confidence[..., joints] > 0).sum(axis=1, keepdims=True)
    by_views: NDArray[np.float64] = inlier_sigmas(views) / inlier_sigmas(np.array(C))
    return agreement.threshold_px * growth[..., None] * by_views


def with_noise_of(
    agreement: Agreement,
    points: Triangulation,
    joints: NDArray[np.int64],
    growth: NDArray[np.float64],
    threshold_px: NDArray[np.float64],
) -> Agreement:
    """Return the agreement with the noise of these joints (K, G) as their points, from `triangulate_joints`, show it.

    threshold_px: (F, C, P), by which they were triangulated.
    """
    noise = agreement.noise_px.copy()
    own = _joint_noise(_estimate_noise(points, growth, joints.size), joints.shape[1], threshold_px / growth)
    if np.isfinite(own).any():
        noise[joints.ravel()] = np.where(np.isfinite(own), own, np.nanmedian(own))
    return replace(agreement, noise_px=noise)


def triangulate_joints(
    detections: Keypoints2D,
    joints: NDArray[np.int64],
    cameras: CameraBatch,
    threshold_px: NDArray[np.float64],
    min_views: int = 2,
    noise_px: NDArray[np.float64] | None = None,
) -> Triangulation:
    """Triangulate groups of joints (K, G) for every frame and person: N = F * P * K, in this order.

    threshold_px: (F, C, P), or (F, C, P, K) where it differs from group to group. noise_px: (F, C, P, K); 1 if not given.
    """
    F, C, P = detections.confidence.shape[:3]
    K, G = joints.shape

    def rows(values: NDArray[np.float64]) -> torch.Tensor:
        full = np.broadcast_to(values[..., None] if values.ndim == 3 else values, (F, C, P, K))
        return torch.from_numpy(np.array(full.transpose(0, 2, 3, 1)).reshape(F * P * K, C))

    return triangulate_robust(
        torch.from_numpy(detections.xy[..., joints, :].transpose(0, 2, 3, 4, 1, 5).reshape(F * P * K, G, C, 2)),
        torch.from_numpy(detections.confidence[..., joints].transpose(0, 2, 3, 4, 1).reshape(F * P * K, G, C)),
        cameras,
        rows(threshold_px),
        min_views,
        1.0 if noise_px is None else rows(noise_px),
    )


def _generous_thresholds(detections: Keypoints2D, body: NDArray[np.int64]) -> NDArray[np.float64]:
    """A share of everyone's size in the pictures, (P,) px: as far as rays of one person may miss each other at all."""
    xy = detections.xy[..., body, :]
    finite = np.asarray(np.isfinite(xy).all(axis=-1, keepdims=True))
    spread = np.where(finite, xy, -np.inf).max(axis=3) - np.where(finite, xy, np.inf).min(axis=3)
    size = np.where(finite.any(axis=(3, 4)), np.linalg.norm(spread, axis=-1), np.nan)  # (F, C, P)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # who is not seen has no size
        usual = np.nanmedian(size, axis=(0, 1))
    generous: NDArray[np.float64] = np.fmax(AssociationSettings.max_pair_distance * usual, 8.0)
    return generous


@dataclass(frozen=True)
class _Estimates:
    """What every point's residuals say of the noise.

    noise: (F, P, J) px per axis at the usual distance: the root of a point's squared errors over its degrees of freedom (2 n
    - 3 for n views), over what the median of that is for noise of 1 (Wilson and Hilferty 1931). views: (F, P, J), n. counted:
    points of three views and more, where there are any: two rays nearly always meet, whatever the rig.
    """

    noise: NDArray[np.float64]
    views: NDArray[np.int64]
    counted: NDArray[np.bool_]


def _estimate_noise(points: Triangulation, growth: NDArray[np.float64], joint_count: int) -> _Estimates:
    F, C, P = growth.shape
    shape = (F, P, joint_count, C)
    inliers, error = (values.reshape(shape).numpy() for values in (points.inliers, points.reprojection_px))
    relative = np.where(inliers, error, 0) / growth.transpose(0, 2, 1)[:, :, None]
    views = inliers.sum(axis=-1)
    freedom = np.maximum(2 * views - 3, 1)
    noise = np.sqrt((relative**2).sum(axis=-1) / freedom / (1 - 2 / (9 * freedom)) ** 3)
    return _Estimates(noise, views, views >= (3 if (views >= 3).any() else 2))


def _joint_noise(estimates: _Estimates, group: int, threshold_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Noise (J,) px per axis of every joint's detections at the usual distance; NaN where too few points tell it.

    group: how many joints stand or fall together. threshold_px: (F, C, P), beyond which views were left out, at the usual
    distance. The median over the points is taken, which a few wrong views do not move. What the threshold has cut off is added
    again.
    """
    counted = estimates.counted
    own = [estimates.noise[:, :, joint][counted[:, :, joint]] for joint in range(counted.shape[2])]
    noise = np.array([np.median(values) if len(values) >= _ENOUGH_POINTS else np.nan for values in own])
    if np.isnan(noise).all() and counted.any():
        noise[:] = np.median(estimates.noise[counted])
    limits = threshold_px.transpose(0, 2, 1)[counted.any(axis=-1)]
    if not np.isfinite(limits).any():
        return noise
    spread = np.sqrt(1 - 1.5 / estimates.views[counted].mean())
    cut = noise
    for _ in range(5):  # the estimate is in its own correction; each round leaves a fifth of what is missing
        within = variance_within(torch.from_numpy(np.nanmedian(limits) / (spread * cut)), group).numpy()
        cut = noise / np.sqrt(np.maximum(within, 0.3))
    return cut


def _person_noise(estimates: _Estimates, joint_noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Everyone's noise (P,) in units of the joints' noise (J,); that of the worst for people of whom too few points tell it."""
    relative = np.where(estimates.counted & np.isfinite(joint_noise), estimates.noise / joint_noise, np.nan)
    everyone = [values[np.isfinite(values)] for values in relative.transpose(1, 0, 2)]
    noise = np.array([np.median(own) if len(own) >= _ENOUGH_POINTS else np.nan for own in everyone])
    known = np.isfinite(noise) & (noise > 0)
    return np.where(known, noise, noise[known].max() if known.any() else 1.0)


def _residual(points: Triangulation, growth: NDArray[np.float64]) -> float | None:
    """Mean error (px, of growth 1) of the views that agree, over points of three views and more where there are any."""
    F, C, P = growth.shape
    inliers, error = (values.reshape(F, P, -1, C).numpy() for values in (points.inliers, points.reprojection_px))
    views = inliers.sum(axis=-1, keepdims=True)
    kept = inliers & (views >= (3 if (views >= 3).any() else 2))
    relative = error / growth.transpose(0, 2, 1)[:, :, None]
    return float(relative[kept].mean()) if kept.any() else None
