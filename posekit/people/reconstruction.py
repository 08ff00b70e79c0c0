"""From detections in all views to people in 3D: who is who, then every joint of everyone, hands included."""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from posekit.camera import CameraBatch, Rig
from posekit.errors import PosekitError, PosekitWarning
from posekit.geometry.triangulation import Triangulation, triangulate_robust
from posekit.keypoints import Keypoints2D, Keypoints3D, PointStatus
from posekit.people.association import AssociationSettings, associate_people, take_people
from posekit.skeleton import HAND_FINGERS

#: A hand's keypoints agree within this share of B, the longer side of the tight box around the hand's keypoints.
HAND_AGREEMENT = 0.2

#: Within so many sigma of the detections' noise a view agrees. Residuals of a point that was fitted to 4 views have
#: sqrt(1 - 3/8) sigma per axis, and 2.45 of those hold 95 % of them.
INLIER_SIGMAS = 1.94

#: A hand whose wrist lies further than this (metres) from the body's wrist is somebody else's, or the other hand.
MAX_WRIST_GAP = 0.2


@dataclass(frozen=True)
class ReconstructionSettings:
    """How to triangulate people.

    threshold_px: how far a body detection may lie from its reprojection and still agree; None measures it on the capture.
    min_views: views that must agree on a point. hand_min_views: the same for hands, where it differs. association: see there.
    """

    threshold_px: float | None = None
    min_views: int = 2
    hand_min_views: int | None = None
    association: AssociationSettings = field(default_factory=AssociationSettings)

    def __post_init__(self) -> None:
        if self.threshold_px is not None and not self.threshold_px > 0:
            raise PosekitError(f"triangulation: threshold_px {self.threshold_px} is not a positive number of pixels")
        for views in (self.min_views, self.hand_min_views):
            if views is not None and views < 2:
                raise PosekitError(f"triangulation: {views} views cannot place a point, 2 or more were expected")


@dataclass(frozen=True)
class Reconstruction:
    """People in 3D, the detections they are made of (slot p is person p), and what was measured of the rig.

    threshold_px: within which body detections agree. rig_residual_px: mean error of the body detections that agree, which is
    what this rig and this detector can do together.
    """

    people: Keypoints3D
    detections: Keypoints2D
    threshold_px: float
    rig_residual_px: float


def reconstruct_people(
    keypoints: Keypoints2D, rig: Rig, settings: ReconstructionSettings | None = None
) -> Reconstruction:
    """Associate and triangulate everyone; person 0 is the one whom the views saw best.

    The joints of a finger stand or fall together; the rest of the joints stand alone. Raises PosekitError as `identify_people`.
    """
    settings = settings or ReconstructionSettings()
    detections = identify_people(keypoints, rig, settings.association)
    return triangulate_people(detections, rig.select(keypoints.cameras), settings)


def identify_people(keypoints: Keypoints2D, rig: Rig, settings: AssociationSettings | None = None) -> Keypoints2D:
    """Return the keypoints with person p in slot p of every view and frame.

    Raises PosekitError where the rig lacks a camera of the keypoints, where there are fewer than two cameras, where nothing was
    detected at all, and where nobody is seen by two cameras at once, or too seldom.
    """
    rig = rig.select(keypoints.cameras)
    if len(rig) < 2:
        raise PosekitError(f"{keypoints.source}: has one camera ('{rig.names[0]}'); triangulation needs two or more")
    if not np.isfinite(keypoints.xy).any():
        raise PosekitError(f"{keypoints.source}: has no detection in any frame of any camera")
    settings = settings or AssociationSettings()
    detections = take_people(keypoints, associate_people(keypoints, rig, settings))
    if detections.xy.shape[2] == 0:
        brief = associate_people(keypoints, rig, replace(settings, min_share=0))
        if brief.shape[2]:
            seen = int((brief >= 0).any(axis=1).sum(axis=0).max())
            raise PosekitError(
                f"{keypoints.source}: nobody is followed for long: who is longest is seen by two cameras at once in {seen} of "
                f"{len(brief)} frames, and people in less than a share of {settings.min_share:g} are left out (min_share)"
            )
        raise PosekitError(
            f"{keypoints.source}: nobody is seen by two cameras at once; are the frames synchronized, and is {rig.source} the "
            "rig of this capture?"
        )
    return detections


def triangulate_people(detections: Keypoints2D, rig: Rig, settings: ReconstructionSettings) -> Reconstruction:
    """Triangulate people whose slots are already the same person in every view and frame.

    detections and rig must have the same cameras in the same order.
    """
    cameras = CameraBatch.from_rig(rig)
    body = _body_joints(detections)
    threshold = settings.threshold_px or _measure_threshold(detections, body, cameras)
    result = _empty(detections)
    body_result = _triangulate(detections, [(int(joint),) for joint in body], cameras, threshold, settings.min_views)
    _put(result, body_result, body[:, None])
    residual = _rig_residual(body_result, threshold)
    hand_min_views = settings.hand_min_views or settings.min_views
    for side in ("left_hand", "right_hand"):
        if side not in detections.skeleton.parts:
            continue
        hand = detections.skeleton.part(side)
        limit = hand_thresholds(detections.xy[..., hand, :], residual)
        for groups in (hand[:1, None], hand[np.array(HAND_FINGERS)]):
            found = _triangulate(detections, groups.tolist(), cameras, limit, hand_min_views)
            _put(result, found, groups)
        _reject_stray_hand(result, detections, side, hand)
    people = Keypoints3D(
        **result,
        cameras=detections.cameras,
        frames=detections.frames,
        skeleton=detections.skeleton,
        fps=detections.fps,
        source=f"{detections.source} + {rig.source}",
    )
    _check_scale(people, rig)
    return Reconstruction(people, detections, float(threshold), residual)


def hand_thresholds(hand_xy: NDArray[np.floating], rig_residual_px: float) -> NDArray[np.float64]:
    """Within how many pixels a hand's keypoints agree: 0.2 B, or what the rig can do, whichever is larger.

    hand_xy: (F, C, P, 21, 2). Returns (F, P, C). B is that of the joints that lie together, and the median over 31 frames
    around: a single detection may be a small heap, and a stray joint must not widen the threshold that is to reject it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all-NaN hands stay NaN
        middle = np.nanmedian(hand_xy, axis=-2, keepdims=True)
        distance = np.linalg.norm(hand_xy - middle, axis=-1, keepdims=True)
        # In 99 % of real and drawn hands the farthest joint is within 4.8 times the median joint's distance from the middle.
        together = distance <= 5 * np.nanmedian(distance, axis=-2, keepdims=True)
    box = hand_box_sides(np.where(together, hand_xy, np.nan))  # (F, C, P)
    padded = np.pad(box, ((15, 15), (0, 0), (0, 0)), constant_values=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all-NaN windows stay NaN
        smooth = np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, 31, axis=0), axis=-1)
    threshold: NDArray[np.float64] = np.fmax(HAND_AGREEMENT * smooth, rig_residual_px).transpose(0, 2, 1)
    return threshold


def hand_box_sides(hand_xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """B: longer side (px) of the tight box around a hand's keypoints (..., 21, 2); NaN where fewer than two are there."""
    finite = np.isfinite(hand_xy).all(axis=-1, keepdims=True)
    low = np.where(finite, hand_xy, np.inf).min(axis=-2)
    high = np.where(finite, hand_xy, -np.inf).max(axis=-2)
    with np.errstate(invalid="ignore"):
        side = (high - low).max(axis=-1)
    return np.where(finite.sum(axis=(-1, -2)) >= 2, side, np.nan)


def _body_joints(detections: Keypoints2D) -> NDArray[np.int64]:
    skeleton = detections.skeleton
    return skeleton.part("body") if "body" in skeleton.parts else np.arange(skeleton.joint_count)


def _measure_threshold(detections: Keypoints2D, body: NDArray[np.int64], cameras: CameraBatch) -> float:
    """How far the body's detections lie from a triangulation that agrees with nearly all of them, as a threshold in pixels.

    Measured, because it is the rig's error as much as the detector's: 2 px in a laboratory, 30 px on a rig that was calibrated
    by hand. Every point's sigma is the root of its squared errors over its degrees of freedom (2 n - 3 for n views), and the
    median over the points is taken. Points of three views and more, where there are any: two rays nearly always meet, whatever
    the rig.
    """
    xy = detections.xy[..., body, :]
    finite = np.asarray(np.isfinite(xy).all(axis=-1, keepdims=True))
    spread = np.where(finite, xy, -np.inf).max(axis=3) - np.where(finite, xy, np.inf).min(axis=3)
    size = np.linalg.norm(spread[finite[..., 0].any(axis=-1)], axis=-1)
    generous = max(AssociationSettings.max_pair_distance * float(np.median(size)), 8.0)
    result = _triangulate(detections, [(int(joint),) for joint in body], cameras, generous, min_views=2)
    views = result.inliers.sum(dim=-1)
    squares = torch.where(result.inliers, result.reprojection_px, 0).square().sum(dim=-1)
    counted = views >= (3 if (views >= 3).any() else 2)
    if not counted.any():
        return generous
    sigma = float((squares[counted] / (2 * views[counted] - 3)).sqrt().median())
    return float(np.clip(INLIER_SIGMAS * sigma, 2.0, generous))


def _rig_residual(body_result: Triangulation, threshold: float) -> float:
    """Mean error (px) of the views that agree, over points of three views and more where there are any."""
    views = body_result.inliers.sum(dim=-1, keepdim=True)
    counted = body_result.inliers & (views >= (3 if (views >= 3).any() else 2))
    kept = body_result.reprojection_px[counted]
    return float(kept.mean()) if len(kept) else threshold


def _triangulate(
    detections: Keypoints2D,
    groups: list[tuple[int, ...]],
    cameras: CameraBatch,
    threshold: float | NDArray[np.float64],
    min_views: int,
) -> Triangulation:
    """Triangulate groups of joints of equal size for every frame and person: N = F * P * groups, in this order.

    threshold: px, or (F, P, C). The expected noise is what the threshold says.
    """
    joints = np.array(groups)
    F, C, P = detections.confidence.shape[:3]
    xy = detections.xy[..., joints, :].astype(np.float64)  # (F, C, P, K, G, 2)
    confidence = detections.confidence[..., joints].astype(np.float64)
    K, G = joints.shape
    limit = np.broadcast_to(np.asarray(threshold, dtype=np.float64), (F, P, C)).reshape(F * P, C)
    return triangulate_robust(
        torch.from_numpy(xy.transpose(0, 2, 3, 4, 1, 5).reshape(F * P * K, G, C, 2)),
        torch.from_numpy(confidence.transpose(0, 2, 3, 4, 1).reshape(F * P * K, G, C)),
        cameras,
        torch.from_numpy(np.repeat(limit, K, axis=0)),
        min_views,
        float(np.median(limit)) / INLIER_SIGMAS,
    )


def _empty(detections: Keypoints2D) -> dict[str, NDArray]:
    F, C, P, J = detections.confidence.shape
    return {
        "xyz": np.full((F, P, J, 3), np.nan),
        "covariance": np.full((F, P, J, 6), np.nan),
        "inliers": np.zeros((F, P, J, C), dtype=np.bool_),
        "reprojection_px": np.full((F, P, J, C), np.nan, dtype=np.float32),
        "status": np.full((F, P, J), PointStatus.TOO_FEW_VIEWS, dtype=np.uint8),
    }


def _put(result: dict[str, NDArray], found: Triangulation, groups: NDArray[np.int64]) -> None:
    """Write groups of joints (K, G) into the arrays (F, P, J, ...)."""
    F, P = result["status"].shape[:2]
    names = {
        "xyz": found.points_world,
        "covariance": found.covariance,
        "inliers": found.inliers,
        "reprojection_px": found.reprojection_px,
        "status": found.status,
    }
    for name, values in names.items():
        result[name][:, :, groups] = values.reshape(F, P, *groups.shape, *values.shape[2:]).numpy()


def _reject_stray_hand(result: dict[str, NDArray], detections: Keypoints2D, side: str, hand: NDArray[np.int64]) -> None:
    """Drop hands that are not at the person's wrist."""
    wrist_name = side.replace("_hand", "_wrist")
    if wrist_name not in detections.skeleton:
        return
    body_wrist = result["xyz"][:, :, detections.skeleton.index(wrist_name)]
    own_wrist = result["xyz"][:, :, hand[0]]
    with np.errstate(invalid="ignore"):
        far = np.linalg.norm(own_wrist - body_wrist, axis=-1) > MAX_WRIST_GAP
        rest = result["xyz"][:, :, hand[1:]]
        # Joint by joint as well, for the hand's own wrist may be missing: a fingertip is 0.2 m from the wrist at most.
        far_joint = np.linalg.norm(rest - body_wrist[:, :, None], axis=-1) > MAX_WRIST_GAP + 0.2
    stray = np.concatenate((far[..., None], far_joint | far[..., None]), axis=-1)
    status = result["status"][:, :, hand]
    stray &= status == PointStatus.OK
    for name, value in (("xyz", np.nan), ("covariance", np.nan), ("inliers", False), ("reprojection_px", np.nan)):
        values = result[name][:, :, hand]
        values[stray] = value
        result[name][:, :, hand] = values
    result["status"][:, :, hand] = np.where(stray, PointStatus.IMPLAUSIBLE, status)


def _check_scale(people: Keypoints3D, rig: Rig) -> None:
    """A rig in millimetres that was read as metres makes people a thousand times too tall; say so."""
    body = _body_span(people.xyz)
    if np.isfinite(body) and not 0.05 < body < 20:
        raise PosekitError(
            f"{rig.source}: people come out {body:.3g} m across; the rig's units are not metres (is it in millimetres?)"
        )
    if np.isfinite(body) and body > 4:
        warnings.warn(
            PosekitWarning(f"{rig.source}: people come out {body:.2g} m across; check its units"), stacklevel=3
        )


def _body_span(xyz: NDArray[np.float64]) -> float:
    """Median over frames and people (of two joints or more) of the largest side of the box around a person, metres."""
    finite = np.asarray(np.isfinite(xyz).all(axis=-1))
    there = finite.sum(axis=-1) >= 2
    if not there.any():
        return float("nan")
    low = np.where(finite[..., None], xyz, np.inf).min(axis=2)[there]
    high = np.where(finite[..., None], xyz, -np.inf).max(axis=2)[there]
    return float(np.median((high - low).max(axis=-1)))
