"""How long people's bones are where detectors see their joints: the range of bodies that a lifter learns.

A joint of a detector is not a joint of a motion capture: OpenPose's hips lie a third further apart than CMU's and its wrist a
third further from the elbow. All lengths here are shares of the leg, thigh and shank together, so that neither a scale nor
one person's size is learnt. Measured with `measure_proportions` (medians over the frames; the trunk from the hips'
middle to the shoulders'), which `posekit bench detector-noise` prints:

=============================================  =====  =========  =====  =====  =========  =======
shares of the leg                              trunk  shoulders  hips   thigh  upper arm  forearm
=============================================  =====  =========  =====  =====  =========  =======
CMU, subjects 01, 02, 03 (lowest)              0.59   0.44       0.18   0.48   0.33       0.22
CMU, subjects 01, 02, 03 (highest)             0.64   0.47       0.22   0.51   0.36       0.24
OpenPose BODY_25B, a man, triangulated         0.63   0.42       0.29   0.51   0.36       0.32
OpenPose BODY_25B, a rendered child            0.68   0.49       0.27   0.56   0.37       0.37
=============================================  =====  =========  =====  =====  =========  =======

A grown-up's own joints, after Drillis and Contini (1966): trunk 0.59, upper arm 0.38, forearm 0.30, thigh 0.50. The ranges
below hold all of these with room on both sides, and none is centred on any one person.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from posekit.datasets.body_table import BodyPlan
from posekit.errors import PosekitError
from posekit.skeleton import Skeleton

Range = tuple[float, float]


@dataclass(frozen=True)
class Proportions:
    """Ranges (low, high) that bodies are drawn from: two standard deviations to either side of the middle, and cut there.

    leg: metres. All others are shares of the leg but `thigh`, the thigh's part of it. neck_up, neck_front: where a detector's
    own neck lies from the middle of the shoulders, told in the chest's frame. own_neck: share of bodies that have one; the
    others' neck is that middle. asymmetry: standard deviation of a limb's bone against its mirror image, as a share.
    """

    leg: Range = (0.70, 0.94)
    thigh: Range = (0.46, 0.56)
    trunk: Range = (0.53, 0.74)
    hips: Range = (0.15, 0.34)
    shoulders: Range = (0.36, 0.54)
    upper_arm: Range = (0.29, 0.42)
    forearm: Range = (0.21, 0.38)
    nose: Range = (0.20, 0.36)
    head: Range = (0.08, 0.20)
    neck_up: Range = (-0.01, 0.11)
    neck_front: Range = (-0.02, 0.07)
    own_neck: float = 0.5
    asymmetry: float = 0.02

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, tuple) and not value[0] <= value[1]:
                raise PosekitError(f"proportions: {name} {value[0]:g} to {value[1]:g}: expected the lower one first")


@dataclass(frozen=True, eq=False)
class Bodies:
    """B bodies. lengths: (B, L) metres, of the bones of a plan. neck: (B, 3) metres, the neck's shift in the chest's frame."""

    lengths: Float[np.ndarray, "B L"]
    neck: Float[np.ndarray, "B 3"]


def draw_bodies(plan: BodyPlan, ranges: Proportions, count: int, rng: np.random.Generator) -> Bodies:
    """Draw bodies, every proportion by itself."""

    def between(low_high: Range) -> Float[np.ndarray, " B"]:
        low, high = low_high
        drawn = np.clip(rng.standard_normal(count, dtype=np.float32) / 2, -1, 1)
        return ((low + high) / 2 + (high - low) / 2 * drawn).astype(np.float32)

    leg = between(ranges.leg)
    thigh = between(ranges.thigh)
    share = {
        "hip": between(ranges.hips) / 2,
        "shoulder": between(ranges.shoulders) / 2,
        "knee": thigh,
        "ankle": 1 - thigh,
        "elbow": between(ranges.upper_arm),
        "wrist": between(ranges.forearm),
        "neck": between(ranges.trunk),
        "nose": between(ranges.nose),
        "upper_neck": between(ranges.head),
        "head_top": between(ranges.head),
    }
    share["thorax"] = share["neck"]
    lengths = np.empty((count, len(plan.bones)), dtype=np.float32)
    for number, joint in enumerate(plan.children):
        side, _, word = joint.partition("_")
        limb = side in ("left", "right")
        part = share[word if limb else joint]
        wobble = 1 + ranges.asymmetry * rng.standard_normal(count, dtype=np.float32) if limb and word != "hip" else 1.0
        lengths[:, number] = part * wobble
    neck = np.zeros((count, 3), dtype=np.float32)
    # A thorax is no detector's neck: it has its own bone.
    if "neck" in plan.skeleton:
        own = rng.random(count) < ranges.own_neck
        neck[:, 1] = np.where(own, between(ranges.neck_up), 0)
        neck[:, 2] = np.where(own, between(ranges.neck_front), 0)
    return Bodies(lengths * leg[:, None], neck * leg[:, None])


#: A share of the leg by the joints it is measured between.
_SPANS = {
    "trunk": (("left_hip", "right_hip"), ("left_shoulder", "right_shoulder")),
    "shoulders": (("left_shoulder",), ("right_shoulder",)),
    "hips": (("left_hip",), ("right_hip",)),
}
_LIMB_SPANS = {"thigh": ("hip", "knee"), "upper_arm": ("shoulder", "elbow"), "forearm": ("elbow", "wrist")}


def measure_proportions(skeleton: Skeleton, xyz: Float[np.ndarray, "F J 3"]) -> dict[str, float]:
    """Return one person's proportions as medians over the frames: ``leg`` in metres, the others as shares of it.

    NaN where a proportion was never measured. Raises PosekitError for a skeleton without hips, knees, ankles or shoulders.
    """

    def place(joints: tuple[str, ...]) -> Float[np.ndarray, "F 3"]:
        return xyz[:, skeleton.indices(joints)].mean(axis=1)

    def span(a: tuple[str, ...], b: tuple[str, ...]) -> float:
        lengths = np.linalg.norm(place(a) - place(b), axis=-1)
        known = lengths[np.isfinite(lengths)]
        return float(np.median(known)) if known.size else float("nan")

    def both(a: str, b: str) -> float:
        sides = [span((f"{side}_{a}",), (f"{side}_{b}",)) for side in ("left", "right")]
        known = [length for length in sides if np.isfinite(length)]
        return float(np.mean(known)) if known else float("nan")

    leg = both("hip", "knee") + both("knee", "ankle")
    shares = {name: span(*ends) / leg for name, ends in _SPANS.items()}
    shares |= {name: both(*ends) / leg for name, ends in _LIMB_SPANS.items()}
    return {"leg": leg, **shares}
