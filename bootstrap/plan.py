"""How many cameras a lab needs: the chance that views agree on a point rightly, and that they agree on it by accident.

After the views analysis of Simon, Joo, Matthews and Sheikh (CVPR 2017, section 3.3). The model: every view sees the point with
a probability of its own; a view that sees it has it right (within the threshold) as often as the detector's PCK says, else
anywhere in the hand's box, whatever the other views say. A point is there where `min_views` views agree; it is right where so
many are right, and false where a larger set, with at most one right view, agrees by accident. Simulated with posekit's own
triangulation, the chance of a right point is within 0.07 of this and that of a false one within a factor of 2.5.

What no number of cameras cures is not in it: a detector that takes one finger for its neighbour does so in all views alike.
"""

import math
from dataclasses import dataclass

from posekit.detection.hand_box import BOX_FACTOR
from posekit.errors import PosekitError
from posekit.people.hands import HAND_AGREEMENT

#: Joints of a finger, which are triangulated together.
FINGER_JOINTS = 4


@dataclass(frozen=True)
class PlanSettings:
    """What a plan supposes.

    threshold: within what share of B (longer side of the tight box around the hand's joints) views must agree; the detector's
    PCK is that at the same threshold. box: side of the square in which a wrong detection lies anywhere, in B. visibility:
    probability that a view sees the point. wrong_kept: share of the wrong detections that pass the confidence threshold.
    min_views: views that must agree; None is 3, or 2 where there are but 2 or 3 cameras, as in the rounds. finger_together: how
    much the joints of a finger share one fate, from 0 (each by itself) to 1; 0.6 was measured at 0.2 B with posekit's detector
    on drawn hands, of which 82 % of the joints and 67 % of the whole fingers were right.
    """

    threshold: float = HAND_AGREEMENT
    box: float = BOX_FACTOR
    visibility: float = 0.7
    wrong_kept: float = 1.0
    min_views: int | None = None
    finger_together: float = 0.6

    def __post_init__(self) -> None:
        for name in ("visibility", "wrong_kept", "finger_together"):
            _require_probability(name, getattr(self, name))
        if not 0 < 2 * self.threshold < self.box < math.inf:
            raise PosekitError(
                f"threshold: {self.threshold:g} B was given, a number above 0 and below {self.box / 2:g} B (half of the box "
                "in which the hand is looked for) was expected"
            )
        if self.min_views is not None and self.min_views < 2:
            raise PosekitError(
                f"min_views: {self.min_views} was given, 2 or more was expected: one view places no point"
            )


@dataclass(frozen=True)
class PointChances:
    """What becomes of a point: right, false, or (the rest) not there."""

    right: float
    false: float


def _require_probability(name: str, value: float) -> None:
    """Raise PosekitError where a number is no probability."""
    if not 0 <= value <= 1:
        raise PosekitError(f"{name}: {value:g} was given, a probability from 0 to 1 was expected")


def views_that_must_agree(cameras: int, settings: PlanSettings) -> int:
    """Views that must agree on a point."""
    if settings.min_views is not None:
        return settings.min_views
    return 2 if cameras <= 3 else 3


def chance_agreement(views: int, threshold: float, box: float) -> float:
    """Probability that detections of `views` views, each anywhere in its box, agree within `threshold` (both in one unit).

    The second must lie in the epipolar band of the first: half of the distance between it and the line is made good by either
    view, so the band reaches 2 thresholds to both sides, and of two boxes across it 1 - (1 - 2 t / s)^2 lies in it. Two views
    place the point; each further view must lie in the disc about its projection, pi t^2 of s^2. Against posekit's own
    triangulation with cameras all around, three views agree 0.8 to 0.9 times as often.
    """
    band = 1 - (1 - 2 * threshold / box) ** 2
    disc = math.pi * (threshold / box) ** 2
    return float(band * min(disc, 1.0) ** (views - 2))


def point_chances(pck: float, cameras: int, settings: PlanSettings) -> PointChances:
    """Chances of one point with a detector of this PCK in so many cameras.

    The largest set of views that agree makes the point, if it has min_views or more: that of the right ones, or one that has at
    most one right view and agrees by accident. Of two equally large ones either wins as often. Sets are taken as independent.
    """
    _require_probability("pck", pck)
    needed = views_that_must_agree(cameras, settings)
    right_view = settings.visibility * pck
    wrong_view = settings.visibility * (1 - pck) * settings.wrong_kept
    right = false = 0.0
    for rights in range(cameras + 1):
        for wrongs in range(cameras - rights + 1):
            so_many = _multinomial(cameras, rights, wrongs, right_view, wrong_view)
            if rights < needed:
                false += so_many * _accident(needed, rights, wrongs, settings)
                continue
            larger, as_large = (_accident(size, rights, wrongs, settings) for size in (rights + 1, rights))
            lost = (larger + as_large) / 2
            right += so_many * (1 - lost)
            false += so_many * lost
    return PointChances(right, false)


def _accident(size: int, rights: int, wrongs: int, settings: PlanSettings) -> float:
    """Probability that one or another set of so many views with at most one right one agrees by accident."""
    sets = math.comb(wrongs, size) + rights * math.comb(wrongs, size - 1)
    return -math.expm1(sets * math.log1p(-chance_agreement(size, settings.threshold, settings.box)))


def _multinomial(count: int, first: int, second: int, p_first: float, p_second: float) -> float:
    """Probability of exactly so many of the first and of the second kind among `count`."""
    ways = math.comb(count, first) * math.comb(count - first, second)
    rest = 1 - p_first - p_second
    return ways * p_first**first * p_second**second * max(rest, 0.0) ** (count - first - second)


def finger_pck(pck: float, together: float) -> float:
    """Probability that all joints of a finger are right in a view, between pck^4 (each by itself) and pck (all or none)."""
    return together * pck + (1 - together) * pck**FINGER_JOINTS


def finger_chances(pck: float, cameras: int, settings: PlanSettings) -> PointChances:
    """Chances of a whole finger, whose joints are triangulated together: as of a point with the finger's PCK.

    A wrong finger is taken to be wrong as a whole, in one and the same way for its four joints: the worst case, for joints that
    are wrong each in its own way hardly ever agree.
    """
    return point_chances(finger_pck(pck, settings.finger_together), cameras, settings)


@dataclass(frozen=True)
class PlanTarget:
    """right: share of the points that must be right. false: largest share that may be false."""

    right: float = 0.95
    false: float = 0.01

    def __post_init__(self) -> None:
        _require_probability("right", self.right)
        _require_probability("false", self.false)

    def met(self, chances: PointChances) -> bool:
        """Whether chances are good enough."""
        return chances.right >= self.right and chances.false <= self.false


@dataclass(frozen=True)
class CamerasNeeded:
    """The least cameras that meet a target, and the chances then."""

    cameras: int
    chances: PointChances


def cameras_needed(
    pck: float, target: PlanTarget, settings: PlanSettings, *, finger: bool = False, most: int = 64
) -> CamerasNeeded | None:
    """Return the least cameras that meet a target for points, or for whole fingers; None where `most` do not."""
    chances_of = finger_chances if finger else point_chances
    for cameras in range(2, most + 1):
        chances = chances_of(pck, cameras, settings)
        if target.met(chances):
            return CamerasNeeded(cameras, chances)
    return None
