"""Whether a detector has a joint wrong in all views alike: bones that stretch, or that no hand has, joints in one place.

Views that err alike agree with each other, and no held-out camera tells. What remains is anatomy: a bone keeps its length, a
hand's bones have the proportions of hands, and two joints are not in one place. An error that differs from view to view shows
in that the views do not agree on that joint where they do on the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.gate_records import Alarm, Gates, GateSettings
from posekit.bootstrap.instances import InstanceDetections, InstancePoints
from posekit.datasets.hand_model import pose_hands, sample_shapes
from posekit.datasets.hand_poses import sample_poses
from posekit.medians import median_of_known
from posekit.skeleton import HAND_21, Skeleton

Array = NDArray[np.float64]

#: Wrist and knuckles keep their distances, too, and a knuckle that is another one's keeps its bones.
_PALM = tuple(HAND_21.index(name) for name in ("index_1", "middle_1", "ring_1", "little_1"))

#: Beyond so many times the limit a length is wrong, and how far does not matter.
_MOST_DOUBT = 3.0

#: Of two joints in one place that one is wrong whose bones are so many times as far from a mean hand's as the other's, and as
#: people's own bones are (logarithm of their ratio).
_CLEARLY, _SIZE_OF_HANDS = 2.5, 0.1


@dataclass(frozen=True, eq=False)
class LinkFigures:
    """Pairs of joints that keep their distance (L, 2), and what became of that.

    length_m: (L,), median. ratio: (L,), to a mean hand's of the same size; 1 where nothing is known of the skeleton. spread:
    (L,), robust standard deviation as a share of the length, less what the points' covariances explain; variation: with that.
    unsure: (L,), standard deviation of the median as a share of it; of points of two views, what their covariances explain is
    not averaged out: a hand that keeps its pose is detected with the same error in frame after frame, and depth has no other
    witness. count: (L,), lengths.
    """

    links: NDArray[np.int64]
    length_m: Array
    ratio: Array
    spread: Array
    variation: Array
    unsure: Array
    count: NDArray[np.int64]

    @property
    def usual_spread_m(self) -> float:
        """Median over the links of how much their lengths vary, metres: what the points' errors do to all of them."""
        return float(median_of_known(self.variation * self.length_m, 0))


def judge_joints(
    found: InstanceDetections, points: InstancePoints, skeleton: Skeleton, settings: GateSettings | None = None
) -> Gates:
    """Look for joints that the detector has wrong, of all instances together; they are to be left out of labels.

    found: (F, C, H, K, ...), as detected. points: (F, H, K, ...), as triangulated. skeleton: of one instance.
    """
    settings = settings or GateSettings()
    figures = link_figures(points, skeleton, settings.min_lengths)
    alarms = _wrong_links(figures, skeleton, settings)
    alarms += _same_places(points, figures, skeleton, settings, {alarm.joint for alarm in alarms})
    named = {alarm.joint for alarm in alarms}
    alarms += [alarm for alarm in _disagreeing(found, points, skeleton, settings) if alarm.joint not in named]
    excluded = _beyond([skeleton.index(alarm.joint) for alarm in alarms if alarm.joint], skeleton)
    excluded |= _beside(points, excluded, figures, skeleton, settings)
    return Gates(tuple(alarms), excluded_joints=tuple(skeleton.joints[joint] for joint in sorted(excluded)))


def _beyond(joints: Sequence[int], skeleton: Skeleton) -> set[int]:
    """These joints and those beyond them: a finger that begins in a wrong place is somewhere else as a whole."""
    found = set(joints)
    while more := {child for parent, child in skeleton.bones if parent in found} - found:
        found |= more
    return found


def _beside(
    points: InstancePoints, excluded: set[int], figures: LinkFigures, skeleton: Skeleton, settings: GateSettings
) -> set[int]:
    """Joints that lie where an excluded one lies, whose bones are none the better: which of them is wrong is then a guess."""
    limit = _same_place_m(figures, skeleton, settings)
    doubt = _joint_doubt(figures, skeleton)
    blamed = sorted(excluded)
    own_bones = {frozenset(bone) for bone in skeleton.bones}
    gaps = _gaps(points, blamed)
    near = {
        other
        for row, joint in enumerate(blamed)
        for other in np.flatnonzero(gaps[row] < limit).tolist()
        if other not in excluded
        and frozenset((joint, other)) not in own_bones
        and _worse(joint, other, doubt) != [joint]
    }
    return _beyond(sorted(near), skeleton)


def _same_place_m(figures: LinkFigures, skeleton: Skeleton, settings: GateSettings) -> float:
    """How near (m) two joints are one and the same; NaN where no bone is known."""
    return settings.min_separation * float(median_of_known(figures.length_m[: len(skeleton.bones)], 0))


def _gaps(points: InstancePoints, joints: Sequence[int]) -> Array:
    """Median distances (n, K) of n joints from all; NaN where they never are together."""
    apart = [np.linalg.norm(points.xyz - points.xyz[:, :, j : j + 1], axis=-1) for j in joints]
    K = points.xyz.shape[2]
    return np.array([median_of_known(one.reshape(-1, K), 0) for one in apart]).reshape(len(joints), K)


def links_of(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    """Return the bones, and of a hand the distances between its knuckles as well, but for the thumb's, which moves."""
    if skeleton != HAND_21:
        return skeleton.bones
    knuckles = tuple((a, b) for n, a in enumerate(_PALM) for b in _PALM[n + 1 :])
    return (*skeleton.bones, *knuckles)


@cache
def _hand_lengths() -> tuple[float, ...]:
    """Lengths (m) of the links of a mean hand: the median over 100 drawn people and poses."""
    rng = np.random.default_rng(0)
    shapes = sample_shapes(rng, 100)
    joints = pose_hands(shapes, sample_poses(rng, shapes)).joints.double().numpy()
    first, second = np.array(links_of(HAND_21)).T
    return tuple(np.median(np.linalg.norm(joints[:, first] - joints[:, second], axis=-1), axis=0).tolist())


def link_figures(points: InstancePoints, skeleton: Skeleton, fewest: int = 1) -> LinkFigures:
    """Measure the lengths of bones over all frames, every instance against its own size.

    fewest: lengths below which a link has no figures (NaN).
    """
    links = np.array(links_of(skeleton), dtype=np.int64).reshape(-1, 2)
    length, noise = _lengths(points, links)  # (F, H, L)
    every = (length.shape[0] * length.shape[1], len(links))  # a skeleton may have no bones
    median = median_of_known(length, 0)  # (H, L)
    expected = np.array(_hand_lengths()) if skeleton == HAND_21 else None
    size = np.ones((len(median), 1)) if expected is None else median_of_known(median / expected, 1)[:, None]
    ratio = np.ones(len(links)) if expected is None else median_of_known((length / size / expected).reshape(every), 0)
    # Two joints in one place have no length to take a share of: the length that they should have is taken where it is known.
    scale = np.fmax(median, 0 if expected is None else expected * size)
    relative = ((length - median) / scale).reshape(every)
    spread = 1.4826 * median_of_known(np.abs(relative), 0)
    explained = median_of_known((noise / scale**2).reshape(every), 0)
    count = np.isfinite(relative).sum(axis=0)
    known = count >= fewest
    views = points.inliers.sum(axis=-1)[np.isfinite(points.xyz[..., 0])]
    lasting = explained if len(views) and np.median(views) <= 2 else 0.0
    unsure = np.sqrt((1.25 * spread) ** 2 / np.maximum(count, 1) + lasting)

    def shown(values: Array) -> Array:
        return np.where(known, values, np.nan)

    excess = np.sqrt(np.maximum(spread**2 - explained, 0))
    return LinkFigures(
        links, shown(median_of_known(median, 0)), shown(ratio), shown(excess), shown(spread), unsure, count
    )


def _lengths(points: InstancePoints, links: NDArray[np.int64]) -> tuple[Array, Array]:
    """Lengths (F, H, L) and their variances, by the covariances of both ends along the link."""
    first, second = links.T
    along = points.xyz[:, :, second] - points.xyz[:, :, first]
    length = np.linalg.norm(along, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y, z = np.moveaxis(along / length[..., None], -1, 0)
    xx, xy, xz, yy, yz, zz = np.moveaxis(points.covariance[:, :, first] + points.covariance[:, :, second], -1, 0)
    variance = x * x * xx + y * y * yy + z * z * zz + 2 * (x * y * xy + x * z * xz + y * z * yz)
    return length, variance


def _doubts(figures: LinkFigures, settings: GateSettings) -> tuple[Array, Array]:
    """How wrong links are by their length, and by its spread, each (L,): 1 is the limit, NaN where nothing is known."""
    # Nothing is said of a length that its own uncertainty could have made; the standard deviation of a spread is a little more
    # than its share 1 / sqrt(2 n).
    ratio = np.maximum(figures.ratio, 1e-3)
    by_length = np.maximum(np.abs(np.log(ratio)) - 2 * figures.unsure, 0) / np.log(settings.max_length_ratio)
    sure = np.maximum(1 - 2.4 / np.sqrt(2 * np.maximum(figures.count, 1)), 0)
    by_spread = sure * figures.spread / settings.max_length_spread
    # All lengths vary by the points' errors, and that of a short bone by the larger share of it.
    by_spread[~(figures.spread * figures.length_m > settings.spread_multiple * figures.usual_spread_m)] = 0
    return by_length, by_spread


def _wrong_links(figures: LinkFigures, skeleton: Skeleton, settings: GateSettings) -> list[Alarm]:
    """Blame joints for links that are too long, too short or not steady."""
    by_length, by_spread = _doubts(figures, settings)
    alarms = []
    for joint, link in _blamed(figures.links, np.fmax(by_length, by_spread), skeleton):
        first, second = (skeleton.joints[end] for end in figures.links[link])
        if by_length[link] >= by_spread[link]:
            value, limit = float(np.exp(np.abs(np.log(max(figures.ratio[link], 1e-3))))), settings.max_length_ratio
            than = "more" if figures.ratio[link] > 1 else "less"
            what = (
                f"is {1000 * figures.length_m[link]:.0f} mm, {than} than a hand of this size has by a factor of "
                f"{min(value, 99):.1f} (limit {limit:g})"
            )
        else:
            value, limit = float(figures.spread[link]), settings.max_length_spread
            what = f"changes its length by {100 * value:.0f} % (limit {100 * limit:.0f} %), as no bone does"
        name = skeleton.joints[joint]
        where = f"from {first} to {second} {what}"
        message = f"joint '{name}' is detected in a wrong place in all views alike: {where}; no label is made of it"
        alarms.append(Alarm("joint", None, name, message, value, limit))
    return alarms


def _blamed(links: NDArray[np.int64], doubt: Array, skeleton: Skeleton) -> list[tuple[int, int]]:
    """Joints that wrong links (doubt above 1) are blamed on, each with its worst link.

    The joint whose links are the worst on average is to blame: a wrong tip has one link, and that is wrong; the joint before it
    has another one, which is right. What a joint explains is not held against the others.
    """
    known = np.isfinite(doubt)
    bounded = np.minimum(np.where(known, doubt, 0), _MOST_DOUBT)
    blamed: list[tuple[int, int]] = []
    while (known & (doubt > 1)).any():
        of_joint = (links[None] == np.arange(skeleton.joint_count)[:, None, None]).any(axis=-1) & known  # (K, L)
        suspect = (of_joint & (doubt > 1)).any(axis=1)
        mean = np.where(suspect, (of_joint * bounded).sum(axis=1) / np.maximum(of_joint.sum(axis=1), 1), -1)
        # Of equals the last: joints come root first, and what is further out is more often wrong.
        joint = int(np.flatnonzero(mean == mean.max())[-1])
        own = of_joint[joint]
        blamed.append((joint, int(np.flatnonzero(own)[doubt[own].argmax()])))
        known = known & ~own
    return blamed


def _same_places(
    points: InstancePoints, figures: LinkFigures, skeleton: Skeleton, settings: GateSettings, blamed: set[str | None]
) -> list[Alarm]:
    """Blame joints that lie where another joint lies, most of the time.

    Which of two it is tells a joint before them on the way to the root, if that is blamed already, or the worse bones; where
    neither does, both are left out.
    """
    limit = _same_place_m(figures, skeleton, settings)
    neighbours = {frozenset(link) for link in links_of(skeleton)}
    doubt = _joint_doubt(figures, skeleton)
    parent = {child: first for first, child in skeleton.bones}
    blamed = set(blamed)
    alarms = []
    gaps = _gaps(points, range(skeleton.joint_count))
    together = np.isfinite(points.xyz[..., 0]).reshape(-1, skeleton.joint_count).astype(np.int64)
    counts = together.T @ together
    for a in range(skeleton.joint_count):
        for b in range(a + 1, skeleton.joint_count):
            if frozenset((a, b)) in neighbours or counts[a, b] < settings.min_lengths:
                continue
            middle = float(gaps[a, b])
            names = {skeleton.joints[a], skeleton.joints[b]}
            if not middle < limit or names & blamed:
                continue
            suspects = [j for j in (a, b) if j in parent and skeleton.joints[parent[j]] in blamed] or _worse(
                a, b, doubt
            )
            for joint in suspects:
                name = skeleton.joints[joint]
                message = (
                    f"joint '{name}' is detected where '{(names - {name}).pop()}' is, in all views alike: they lie "
                    f"{1000 * middle:.1f} mm apart (limit {1000 * limit:.1f} mm); no label is made of it"
                )
                alarms.append(Alarm("joint", None, name, message, 1000 * middle, 1000 * limit))
                blamed.add(name)
    return alarms


def _joint_doubt(figures: LinkFigures, skeleton: Skeleton) -> Array:
    """How far the lengths of a joint's bones are from what they should be, (K,): mean of the logarithms of their ratios."""
    bones = len(skeleton.bones)
    off = np.nan_to_num(np.abs(np.log(np.maximum(figures.ratio[:bones], 1e-3))))
    of_joint = (figures.links[None, :bones] == np.arange(skeleton.joint_count)[:, None, None]).any(axis=-1)
    doubt: Array = (of_joint * off).sum(axis=1) / np.maximum(of_joint.sum(axis=1), 1)
    return doubt


def _worse(a: int, b: int, doubt: Array) -> list[int]:
    """Whichever of two joints has bones that are clearly the worse, or both."""
    better, worse = sorted((a, b), key=lambda joint: float(doubt[joint]))
    return [worse] if doubt[worse] > _CLEARLY * max(float(doubt[better]), _SIZE_OF_HANDS) else [a, b]


def _disagreeing(
    found: InstanceDetections, points: InstancePoints, skeleton: Skeleton, settings: GateSettings
) -> Sequence[Alarm]:
    """Blame joints that are detected as often as others, but on which the views do not agree as they do on the others."""
    detected = (found.confidence > 0).sum(axis=1)  # (F, H, K)
    # Where two views see it there could be a point.
    could = np.where(detected >= 2, detected, 0).sum(axis=(0, 1))
    agree = points.inliers.sum(axis=(0, 1, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(could >= settings.min_comparisons, agree / could, np.nan)
    usual = float(median_of_known(share, 0))
    if not np.isfinite(usual) or usual < 0.1:
        return []
    limit = settings.min_agreement * usual
    alarms = []
    for joint in np.flatnonzero(share < limit).tolist():
        name = skeleton.joints[joint]
        message = (
            f"joint '{name}' is detected in places on which the views do not agree: {100 * share[joint]:.0f} % of its "
            f"detections do, of the median joint's {100 * usual:.0f} % (limit {100 * limit:.0f} %); no label is made of it"
        )
        alarms.append(Alarm("joint", None, name, message, float(share[joint]), limit))
    return alarms
