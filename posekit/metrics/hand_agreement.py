"""How well a detector's hands agree with reference hands, and whether its confidence is worth something."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from posekit.metrics.keypoints import box_scale, keypoint_errors, pck

#: A joint is right within this share of B, the longer side of the tight box round the reference keypoints.
RIGHT_WITHIN = 0.2
_CLOSE_WITHIN = 0.1
#: Wrong joints are judged apart from the least sure ones: of those, a triangulation by several views makes no use.
_SUREST = 0.7


@dataclass(frozen=True)
class ConfidenceBin:
    """Joints of one tenth of the scale of confidence: how many, their mean confidence, and the share that is right."""

    joints: int
    mean_confidence: float
    right: float


@dataclass(frozen=True)
class HandAgreement:
    """Shares over all J joints of N hands that have a reference; a joint that was not found is a wrong one.

    pck02, pck01: within 0.2 B and 0.1 B. mean_hand_pck02: what the mean of all references in their crops scores, without a
    look at any picture. surest_pck02: within 0.2 B among the surest 70 % of the joints. epe: mean error, in B, of the joints
    that were found. on_another_joint: of the joints further off than 0.2 B, those within 0.1 B of another joint of the hand;
    NaN where none is off. calibration: tenths of confidence, None where no joint falls. calibration_error: mean distance
    between confidence and share that is right, over the tenths, each weighed by its joints.
    """

    hands: int
    joints: int
    pck02: float
    pck01: float
    mean_hand_pck02: float
    surest_pck02: float
    epe: float
    on_another_joint: float
    mean_confidence: float
    calibration: tuple[ConfidenceBin | None, ...]
    calibration_error: float


def hand_agreement(
    found: Float[np.ndarray, "N J 2"],
    confidence: Float[np.ndarray, "N J"],
    reference: Float[np.ndarray, "N J 2"],
    reference_in_crop: Float[np.ndarray, "N J 2"],
    visible: Bool[np.ndarray, "N J"] | None = None,
) -> HandAgreement:
    """Compare found hands with reference hands, both in pixels of their pictures, NaN where missing.

    confidence: probability in [0, 1] that a joint lies within 0.2 B. reference_in_crop: the same references in units of the
    detector's crops (any similarity of the picture), of which the mean hand is made. visible: the joints that count; all if not
    given. B is of all references: of the visible ones alone it is smaller, and the same error a larger part of it.

    PCK is that of Simon et al., CVPR 2017, measured by B instead of the head. Every joint counts once, whichever hand it is of.
    """
    scale = box_scale(reference)
    counted = np.isfinite(reference).all(axis=-1) & np.isfinite(scale)[:, None]
    if visible is not None:
        counted &= visible
    errors = keypoint_errors(found, reference)
    relative = np.where(np.isfinite(errors), errors, np.inf) / scale[:, None]
    right = relative <= RIGHT_WITHIN
    bins, calibration_error = calibration_in_tenths(confidence[counted], right[counted])
    wrong = counted & ~right
    sure = np.sort(confidence[counted])[::-1][: max(1, round(_SUREST * counted.sum()))]
    surest = counted & (confidence >= sure[-1]) if sure.size else counted
    known = counted & np.isfinite(errors)
    return HandAgreement(
        hands=int(counted.any(axis=1).sum()),
        joints=int(counted.sum()),
        pck02=pck(errors, scale, RIGHT_WITHIN, counted),
        pck01=pck(errors, scale, _CLOSE_WITHIN, counted),
        mean_hand_pck02=_mean_hand_pck(reference_in_crop, counted),
        surest_pck02=pck(errors, scale, RIGHT_WITHIN, surest),
        epe=float(relative[known].mean()) if known.any() else float("nan"),
        on_another_joint=_share(_on_another_joint(found, reference, scale), wrong),
        mean_confidence=float(confidence[counted].mean()) if counted.any() else float("nan"),
        calibration=bins,
        calibration_error=calibration_error,
    )


def calibration_in_tenths(
    confidence: Float[np.ndarray, " M"], right: NDArray[np.bool_]
) -> tuple[tuple[ConfidenceBin | None, ...], float]:
    """Return the ten tenths of confidence and the expected calibration error (Guo et al., ICML 2017); NaN without a joint."""
    tenth = np.clip((confidence * 10).astype(int), 0, 9)
    bins: list[ConfidenceBin | None] = []
    for number in range(10):
        here = tenth == number
        some = bool(here.any())
        bins.append(
            ConfidenceBin(int(here.sum()), float(confidence[here].mean()), float(right[here].mean())) if some else None
        )
    total = sum(one.joints for one in bins if one)
    gaps = sum(one.joints * abs(one.mean_confidence - one.right) for one in bins if one)
    return tuple(bins), gaps / total if total else float("nan")


def _mean_hand_pck(in_crop: NDArray[np.floating], counted: NDArray[np.bool_]) -> float:
    if not counted.any():
        return float("nan")
    total = np.where(counted[..., None], in_crop, 0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean = total / counted.sum(axis=0)[:, None]
    return pck(keypoint_errors(mean, in_crop), box_scale(in_crop), RIGHT_WITHIN, counted)


def _on_another_joint(
    found: NDArray[np.floating], reference: NDArray[np.floating], scale: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Where a found joint lies on the reference of another joint of the same hand, (N, J)."""
    distance = np.linalg.norm(found[:, :, None] - reference[:, None], axis=-1)  # (N, found, reference)
    own = np.arange(found.shape[1])
    distance[:, own, own] = np.inf
    with np.errstate(invalid="ignore"):
        on_one: NDArray[np.bool_] = (distance <= _CLOSE_WITHIN * scale[:, None, None]).any(axis=-1)
    return on_one


def _share(values: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(values[among].mean()) if among.any() else float("nan")
