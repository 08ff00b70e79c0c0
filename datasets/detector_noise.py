"""What a 2D detector makes of a pose: noise, outliers, lost joints and limbs, left and right exchanged, and its confidence.

All lengths are shares of the person's leg (thigh and shank together) as it would be seen level, so that neither a person's
size nor the distance counts. `posekit.datasets.detector_measure` says what a real detector does; of three captures, against
the triangulation by a rig refined on the same people:

==========================================  ======  ====  ====  =======  =======  =======  ======  ==========
detector, capture (people in views)         jitter  slow  fast  outlier  missing  swapped  spread  confidence
==========================================  ======  ====  ====  =======  =======  =======  ======  ==========
OpenPose BODY_25B, balancing (600)          0.0113  .007  .004   0.7 %    0.8 %    0.03 %   0.41   0.63 / 0.36
OpenPose BODY_25B, two people (998)         0.0094  .007  .000   0.4 %    0.4 %    0.02 %   0.54   0.69 / 0.36
MediaPipe Holistic, at a desk (1051)        0.0056  .004  .001   0.6 %    7.7 %    0.01 %   0.46   1.00 / 1.00
==========================================  ======  ====  ====  =======  =======  =======  ======  ==========

(an axis' standard deviation in legs, robust: tails are heavier; slow and fast: what stays from frame to frame and what
changes; spread: of the logarithm from one person in a view to the next; confidence: of joints in their place / of outliers.)
The defaults of `DetectorNoise` are somewhat worse than these, since these captures were of few people in good light and a
triangulation follows what all its views get wrong alike; OpenPose exchanges sides of people seen from behind far more often
than here, and a joint out of the picture was nobody's miss.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.skeleton import Skeleton

Batch = NDArray[np.float32]

#: How far beside its place a detector puts a joint, against the mean of all.
_HABITS = {"nose": 0.8, "neck": 1.1, "shoulder": 0.9, "hip": 1.2, "head_top": 1.2}
#: What is exchanged, by how its joints' names end, and its part of all swaps, from and to.
_LEGS, _ARMS = ("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")
_SWAPS = ((_LEGS, 0.0, 0.4), (_ARMS, 0.4, 0.7), (_LEGS + _ARMS, 0.7, 1.0))
#: How sure detectors are of joints that are right: from one to the next, OpenPose's 0.65 to MediaPipe's 1.
_SURENESS = (0.55, 1.0)
#: Joints that a detector without them makes of others.
_MIDDLES = {"mid_hip": "hip", "neck": "shoulder", "thorax": "shoulder"}


@dataclass(frozen=True)
class DetectorNoise:
    """How good a detector is. Shares are of joints, or of people, in views; lengths are shares of a leg.

    jitter: standard deviation an axis of a joint that was found; slow: the part of its variance that stays all through a
    motion; pose_spread: of its logarithm from pose to pose. outlier_share, outlier: joints that lie elsewhere, so far (standard
    deviation an axis). missing_share: joints lost one by one. lost_limb_share: people who lack a limb's end, or that and the
    joint above. cut_share: people whose feet, or feet and knees, are out of the picture. swap_share: left and right
    exchanged, of the legs, the arms or the whole body. middles_share: how many detectors have no neck and mid_hip of their
    own, but the middles of shoulders and hips.
    """

    jitter: float = 0.016
    slow: float = 0.7
    pose_spread: float = 0.5
    outlier_share: float = 0.01
    outlier: float = 0.3
    missing_share: float = 0.02
    lost_limb_share: float = 0.04
    cut_share: float = 0.03
    swap_share: float = 0.015
    middles_share: float = 0.6

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0 or ((name.endswith("share") or name == "slow") and value > 1):
                raise PosekitError(f"detector noise: {name} {value} is not possible")


def detect(
    xy: Float[np.ndarray, "B T J 2"],
    leg_px: Float[np.ndarray, "B T"],
    skeleton: Skeleton,
    noise: DetectorNoise,
    rng: np.random.Generator,
) -> tuple[Batch, Batch]:
    """Return what a detector gives of true projections: xy (B, T, J, 2) with NaN where missing, confidence (B, T, J).

    leg_px: a leg's length at the person's distance. Swaps, lost limbs and how noisy it is, are the same all through a motion.
    """
    B, T, J = xy.shape[:3]
    found = np.array(xy, dtype=np.float32)
    habit = np.array([_habit(joint) for joint in skeleton.joints], dtype=np.float32)
    level = noise.jitter * np.exp(noise.pose_spread * rng.standard_normal((B, 1, 1), dtype=np.float32))
    # The mean of the drawn levels is to be `jitter`.
    level = level * np.float32(np.exp(-(noise.pose_spread**2) / 2))
    spread = np.broadcast_to(level * habit, (B, T, J)).copy()
    away = rng.random((B, T, J), dtype=np.float32) < noise.outlier_share
    spread[away] = noise.outlier
    error = rng.standard_normal((B, T, J, 2), dtype=np.float32)
    if T > 1:
        stays = rng.standard_normal((B, 1, J, 2), dtype=np.float32)
        mixed = np.sqrt(np.float32(1 - noise.slow)) * error + np.sqrt(np.float32(noise.slow)) * stays
        error = np.where(away[..., None], error, mixed)
    error *= spread[..., None]
    found += error * leg_px[..., None, None]
    _swap(found, skeleton, noise.swap_share, rng)
    missing = _missing(B, T, skeleton, noise, rng)
    _take_middles(found, missing, skeleton, noise.middles_share, rng)
    confidence = _confidence(np.linalg.norm(error, axis=-1), rng)
    confidence[missing] = 0
    found[missing] = np.nan
    return found, confidence


def _habit(joint: str) -> float:
    return _HABITS.get(joint, _HABITS.get(joint.rpartition("_")[2], 1.0))


def _swap(found: Batch, skeleton: Skeleton, share: float, rng: np.random.Generator) -> None:
    """Exchange left and right of legs (in four of ten cases), arms (three) or all, in place."""
    kind = rng.random(len(found))
    for words, low, high in _SWAPS:
        rows = np.flatnonzero((kind >= low * share) & (kind < high * share))
        order = np.arange(skeleton.joint_count)
        for left, right in skeleton.left_right:
            if skeleton.joints[left].removeprefix("left_") in words:
                order[left], order[right] = right, left
        if len(rows):
            found[rows] = found[rows][:, :, order]


def _missing(B: int, T: int, skeleton: Skeleton, noise: DetectorNoise, rng: np.random.Generator) -> NDArray[np.bool_]:
    missing = rng.random((B, T, skeleton.joint_count), dtype=np.float32) < noise.missing_share
    for side in ("left", "right"):
        for limb in (("elbow", "wrist"), ("knee", "ankle")):
            first = rng.random(B) < noise.lost_limb_share / 4
            whole = first & (rng.random(B) < 0.5)
            missing[:, :, skeleton.index(f"{side}_{limb[1]}")] |= first[:, None]
            missing[:, :, skeleton.index(f"{side}_{limb[0]}")] |= whole[:, None]
    cut = rng.random(B) < noise.cut_share
    deeper = cut & (rng.random(B) < 0.5)
    for side in ("left", "right"):
        missing[:, :, skeleton.index(f"{side}_ankle")] |= cut[:, None]
        missing[:, :, skeleton.index(f"{side}_knee")] |= deeper[:, None]
    return missing


def _take_middles(
    found: Batch, missing: NDArray[np.bool_], skeleton: Skeleton, share: float, rng: np.random.Generator
) -> None:
    """Make mid_hip and neck of hips and shoulders for some of the detectors, in place."""
    rows = np.flatnonzero(rng.random(len(found)) < share)
    for joint, word in _MIDDLES.items():
        if joint in skeleton:
            left, right = (skeleton.index(f"{side}_{word}") for side in ("left", "right"))
            middle = skeleton.index(joint)
            found[rows, :, middle] = (found[rows, :, left] + found[rows, :, right]) / 2
            missing[rows, :, middle] = missing[rows, :, left] | missing[rows, :, right]


def _confidence(error: Batch, rng: np.random.Generator) -> Batch:
    """A detector's confidence (B, T, J) in joints whose errors are so long, in legs: less where wrong, with exceptions."""
    sure = rng.uniform(*_SURENESS, (len(error), 1, 1)).astype(np.float32) * np.exp(-error / 0.4)
    confidence: Batch = np.clip(sure + 0.07 * rng.standard_normal(error.shape, dtype=np.float32), 0.1, 1.0)
    return confidence
