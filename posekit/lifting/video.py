"""A lifted person over a whole video: one length for each bone, a motion without jumps, true to the 2D and to the network.

The network sees one frame at a time. Over the video its error in each frame is partly noise, and a bone that is now longer and
now shorter tells how much of it. What is minimised here, over the bones of all frames at once: their joints' distance from the
detections, the bones' from their lengths, their depth from the network's (which has the sign right much more often than the
size), and their accelerations.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from posekit.lifting.banded import second_difference_pull, smoothness_bands
from posekit.lifting.body_tree import MEAN_HEIGHT, BodyTree
from posekit.lifting.trajectory import TrajectorySettings, geman_mcclure, root_path


@dataclass(frozen=True)
class RefinementSettings:
    """Standard deviations of what is weighed against each other, metres and m/s^2.

    image_error: of a confident detection, at the person's distance. bone_error: by which a bone's ends, as detectors see
    them, leave its length. depth_error: of a bone's depth as the network has it; more than it is in one frame, since its
    errors in neighbouring frames are alike. joint_depth_error: the same of a joint against the root. sideways_error: the same
    across the view, which only counts where there is no detection. acceleration: of a bone's end against its start. outlier:
    so many image errors away a detection begins to lose its weight. length_spread: by which people's proportions differ
    (log). rounds, steps: of the minimisation. chunk, overlap: rows that are worked on at once, and beyond them on both sides.

    The values are those that are good on motion capture of people held out, filmed by virtual cameras with a detector's noise
    (`posekit bench refinement`), and on real captures alike. Near them little depends on any: halving or doubling one changes
    PA-MPJPE by a millimetre or two, but an acceleration of 3 or less, which takes quick motions away. Steps end before the
    minimum, which is a little worse: what the network says is better than its error against neighbours alone tells.
    """

    image_error: float = 0.02
    bone_error: float = 0.02
    depth_error: float = 0.15
    joint_depth_error: float = 0.8
    sideways_error: float = 0.3
    acceleration: float = 8.0
    outlier: float = 4.0
    length_spread: float = 0.06
    rounds: int = 4
    steps: int = 16
    chunk: int = 4096
    overlap: int = 90
    path: TrajectorySettings = field(default_factory=TrajectorySettings)


@dataclass(frozen=True, eq=False)
class PersonInVideo:
    """One person's rows: frames in which the person is, in order.

    xyz: (N, J, 3) the network's joints relative to the root, metres, camera axes; NaN in rows that it has none of.
    trust: (N, J), its confidence. image: (N, J, 2) detections on the plane at distance 1, NaN where there is none. weight:
    (N, J), theirs. joined: (N - 1,), whether a row and the next follow each other in time. fps: rows per second.
    """

    xyz: NDArray[np.float64]
    trust: NDArray[np.float64]
    image: NDArray[np.float64]
    weight: NDArray[np.float64]
    joined: NDArray[np.bool_]
    fps: float
    perspective: bool


@dataclass(frozen=True, eq=False)
class RefinedPerson:
    """xyz: (N, J, 3) relative to the root, root: (N, 3), lengths: (B,) of the tree's bones; metres, camera's axes."""

    xyz: NDArray[np.float64]
    root: NDArray[np.float64]
    lengths: NDArray[np.float64]


def refine_person(
    person: PersonInVideo,
    tree: BodyTree,
    height: float | None = None,
    settings: RefinementSettings | None = None,
    on_rows: Callable[[int, int], None] = lambda done, total: None,
) -> RefinedPerson:
    """Refine one person over the whole video. height: metres; of mean height if None. on_rows: told (done, total)."""
    settings = settings or RefinementSettings()
    network = bridged(tree.bone_vectors(person.xyz), person.joined)
    vectors = network
    lifted = np.asarray(np.isfinite(person.xyz).all(axis=(1, 2)))[:, None]
    joint_trust = np.where(lifted, np.nan_to_num(person.trust), 0)
    trust = bone_trust(joint_trust, tree)
    lengths = np.full(len(tree.bones), np.nan)
    # Of the first rows' vectors the size is the network's own guess of a person of mean height.
    root = _path(person, tree.joints(vectors) * (height or MEAN_HEIGHT) / MEAN_HEIGHT, settings)
    for number in range(settings.rounds):
        if number < 3:
            lengths = bone_lengths_of(person, tree, vectors, root, height, settings.length_spread)
            root = _path(person, tree.joints(_with_lengths(vectors, lengths)), settings)
        target = _with_lengths(network, lengths)
        vectors = _minimised(
            _Problem(person, tree, root, target, trust, joint_trust, lengths, settings),
            _with_lengths(vectors, lengths) if number == 0 else vectors,
            lambda done, total, number=number: on_rows(number * total + done, settings.rounds * total),  # type: ignore[misc]
        )
        root = _path(person, tree.joints(vectors), settings)
    return RefinedPerson(tree.joints(vectors), root, lengths)


def bone_trust(trust: NDArray[np.floating], tree: BodyTree) -> NDArray[np.float64]:
    """Trust in bones (..., B): that in the less trusted of their ends (..., J)."""
    lesser: NDArray[np.float64] = np.minimum(trust[..., tree.bones[:, 0]], trust[..., tree.bones[:, 1]])
    return lesser


def bridged(values: NDArray[np.float64], joined: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fill rows (N, ...) that are not finite, straight between the nearest ones of the same stretch of joined rows."""
    flat = values.reshape(len(values), -1)
    there = np.asarray(np.isfinite(flat).all(axis=1))
    if there.all() or not there.any():
        return values
    stretch = np.concatenate(([0], np.cumsum(~joined)))
    rows, known = np.arange(len(flat)), np.flatnonzero(there)
    # Stretches are so far apart on this axis that, within one, its own rows are always the nearest.
    place = rows + 1e9 * stretch
    after = np.clip(np.searchsorted(place[known], place), 0, len(known) - 1)
    before = np.maximum(after - 1, 0)
    a, b = known[before], known[after]
    share = np.clip((place - place[a]) / np.where(a == b, 1, place[b] - place[a]), 0, 1)
    share = np.where(stretch[a] != stretch, 1.0, np.where(stretch[b] != stretch, 0.0, share))
    mixed = (1 - share)[:, None] * flat[a] + share[:, None] * flat[b]
    return np.where(there[:, None], flat, mixed).reshape(values.shape)


def bone_lengths_of(
    person: PersonInVideo,
    tree: BodyTree,
    vectors: NDArray[np.float64],
    root: NDArray[np.float64],
    height: float | None,
    spread: float,
) -> NDArray[np.float64]:
    """Estimate the length of every bone, (B,) metres: left as long as right, all together of a person of that height.

    A frame's measure of a bone is its extent in the picture at its depth, and its depth by `vectors` (N, 3, B). The median of
    the frames is drawn to the usual proportions, which it differs from by `spread` (log); each frame errs by about a tenth,
    but frames are much alike, so that no more than thirty of them count.
    """
    joints = tree.joints(vectors)
    depth = root[:, None, 2] + (joints[..., 2] if person.perspective else 0)
    placed = person.image * depth[..., None]
    parent, child = tree.bones.T
    extent = placed[:, child] - placed[:, parent]
    measured = np.sqrt(np.square(extent).sum(axis=-1) + np.square(vectors[:, 2]))
    counted = np.isfinite(measured) & (np.minimum(person.weight[:, child], person.weight[:, parent]) > 0)
    usual = np.where(
        np.isfinite(tree.usual_lengths), tree.usual_lengths, np.median(np.linalg.norm(vectors, axis=1), axis=0)
    )
    masked = np.ma.masked_array(np.log(np.maximum(np.where(counted, measured, 1.0), 1e-3)), ~counted)
    middle = np.ma.filled(np.ma.median(masked, axis=0), np.nan)
    size = float(np.nanmean((middle - np.log(usual))[tree.upright])) if np.isfinite(middle[tree.upright]).any() else 0.0
    frames = np.minimum(counted.sum(axis=0), 30.0)
    precision = frames / 0.1**2
    off = np.where(np.isfinite(middle), middle - size - np.log(usual), 0)
    both = precision + precision[tree.mirror]
    off = np.where(both > 0, (precision * off + (precision * off)[tree.mirror]) / np.maximum(both, 1e-12), 0)
    lengths = usual * np.exp(off * both / (both + 1 / spread**2))
    scale = (height or MEAN_HEIGHT) / MEAN_HEIGHT * tree.usual_lengths[tree.upright].sum() / lengths[tree.upright].sum()
    scaled: NDArray[np.float64] = scale * lengths
    return scaled


def _with_lengths(vectors: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float64] = vectors * (lengths / np.maximum(norm, 1e-6))
    return scaled


def _path(person: PersonInVideo, xyz: NDArray[np.float64], settings: RefinementSettings) -> NDArray[np.float64]:
    return root_path(
        xyz,
        person.image,
        person.weight,
        person.joined,
        person.fps,
        settings.path,
        perspective=person.perspective,
    )


@dataclass(frozen=True, eq=False)
class _Problem:
    """What bones are held to, for some rows."""

    person: PersonInVideo
    tree: BodyTree
    root: NDArray[np.float64]
    target: NDArray[np.float64]
    trust: NDArray[np.float64]
    joint_trust: NDArray[np.float64]
    lengths: NDArray[np.float64]
    settings: RefinementSettings

    def rows(self, start: int, stop: int) -> "_Problem":
        one = self.person
        person = PersonInVideo(
            one.xyz[start:stop],
            one.trust[start:stop],
            one.image[start:stop],
            one.weight[start:stop],
            one.joined[start : stop - 1],
            one.fps,
            one.perspective,
        )
        root, target, trust, joint_trust = (
            values[start:stop] for values in (self.root, self.target, self.trust, self.joint_trust)
        )
        return _Problem(person, self.tree, root, target, trust, joint_trust, self.lengths, self.settings)


def _minimised(
    problem: _Problem, vectors: NDArray[np.float64], on_rows: Callable[[int, int], None]
) -> NDArray[np.float64]:
    """Work through the rows in chunks, each with a margin that is thrown away."""
    settings, N = problem.settings, len(vectors)
    result = np.empty_like(vectors)
    for start in range(0, N, settings.chunk):
        stop = min(start + settings.chunk, N)
        low, high = max(0, start - settings.overlap), min(N, stop + settings.overlap)
        done = _descend(problem.rows(low, high), vectors[low:high])
        result[start:stop] = done[start - low : stop - low]
        on_rows(stop, N)
    return result


@dataclass(frozen=True, eq=False)
class _Metric:
    """What steps are taken in: a quadratic that nowhere bends less than what is minimised, and that is solved exactly.

    Joints are sums of bones: what pulls at joints pulls at the eigenvectors of S^T S (`BodyTree.sums`) by their eigenvalues,
    and over time the smoothness couples each of these alone. axes: (B, B), eigenvectors in columns. sideways, depth: their
    Cholesky factors, B of them each, upper bands (3, N).
    """

    axes: NDArray[np.float64]
    sideways: tuple[NDArray[np.float64], ...]
    depth: tuple[NDArray[np.float64], ...]

    @classmethod
    def of(cls, problem: "_Problem", smooth: float, pull: float, widest: float) -> "_Metric":
        """pull: the greatest weight of a detection; widest: the greatest distance of one from the picture's middle, squared."""
        settings, sums = problem.settings, problem.tree.sums
        eigenvalues, axes = np.linalg.eigh(sums.T @ sums)
        bands = smoothness_bands(problem.person.joined, smooth)
        # |a - u z|^2 <= 2 |a|^2 + 2 |u|^2 z^2.
        bone = settings.bone_error**-2
        sideways = 2 * pull * eigenvalues + bone + settings.sideways_error**-2
        depth = (2 * widest * pull + settings.joint_depth_error**-2) * eigenvalues + bone + settings.depth_error**-2

        def factors(curvature: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
            diagonal = np.array((0.0, 0.0, 1.0))[:, None]
            return tuple(scipy.linalg.cholesky_banded(bands + one * diagonal, check_finite=False) for one in curvature)

        return cls(axes, factors(sideways), factors(depth))

    def solve(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the step (B, 3, N) of a gradient."""
        N = gradient.shape[-1]
        turned = (self.axes.T @ gradient.reshape(len(gradient), -1)).reshape(gradient.shape)
        for one, sideways, depth in zip(turned, self.sideways, self.depth, strict=True):
            for rows, factor in ((one[:2], sideways), (one[2:], depth)):
                rows[:] = scipy.linalg.cho_solve_banded((factor, False), rows.T, overwrite_b=True, check_finite=False).T
        return (self.axes @ turned.reshape(len(turned), -1)).reshape(-1, 3, N)


def _descend(problem: _Problem, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minimise by accelerated gradient steps (Nesterov's) in the metric of `_Metric`.

    The smoothness couples all rows and is stiff; everything else is its row's own and bounded. Arrays are (B or J, 3, N) here,
    so that every step is made of long rows.
    """
    settings, person, joined = problem.settings, problem.person, problem.person.joined
    sums, perspective = problem.tree.sums, float(problem.person.perspective)
    smooth = (settings.acceleration / person.fps**2) ** -2

    def by_row(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ascontiguousarray(np.moveaxis(values, 0, -1))

    image = by_row(person.image)  # (J, 2, N)
    seen = np.asarray(np.isfinite(image).all(axis=1))
    u = np.where(seen[:, None], image, 0)
    base = np.where(seen, person.weight.T, 0) / settings.image_error**2
    lengths, root = problem.lengths[:, None, None], by_row(problem.root)
    target = by_row(problem.target.swapaxes(1, 2))
    along = problem.trust.T / settings.depth_error**2
    joint_along = problem.joint_trust.T / settings.joint_depth_error**2
    across = (problem.trust.T / settings.sideways_error**2)[:, None]
    joint_target = sums @ target[:, 2]
    widest = perspective * float(np.square(u).sum(axis=1).max(initial=0))
    metric = _Metric.of(problem, smooth, float(base.max(initial=0)), widest)

    def joints_of(bones: NDArray[np.float64]) -> NDArray[np.float64]:
        return (sums @ bones.reshape(len(bones), -1)).reshape(-1, 3, bones.shape[-1])

    def image_residual(joints: NDArray[np.float64]) -> NDArray[np.float64]:
        residual: NDArray[np.float64] = joints[:, :2] + root[:2]
        residual -= u * (perspective * joints[:, 2:] + root[2])
        return residual

    lead = by_row(vectors.swapaxes(1, 2))
    robust = geman_mcclure(
        np.linalg.norm(image_residual(joints_of(lead)), axis=1), settings.outlier * settings.image_error
    )
    pulled = (base * robust)[:, None]
    previous, moment = lead, 1.0
    for _ in range(settings.steps):
        joints = joints_of(lead)
        pull = np.empty_like(joints)
        pull[:, :2] = residual = image_residual(joints) * pulled
        pull[:, 2] = joint_along * (joints[:, 2] - joint_target) - perspective * (residual * u).sum(axis=1)
        gradient = (sums.T @ pull.reshape(len(pull), -1)).reshape(lead.shape)
        off = lead - target
        gradient[:, :2] += across * off[:, :2]
        gradient[:, 2] += along * off[:, 2]
        norm = np.maximum(np.sqrt(np.square(lead).sum(axis=1, keepdims=True)), 1e-6)
        gradient += (1 - lengths / norm) / settings.bone_error**2 * lead
        # The same for every row, so that it does not matter that rows stand last.
        gradient += np.moveaxis(second_difference_pull(np.moveaxis(lead, -1, 0), joined, smooth), 0, -1)
        current = lead - metric.solve(gradient)
        following = (1 + np.sqrt(1 + 4 * moment**2)) / 2
        lead = current + (moment - 1) / following * (current - previous)
        previous, moment = current, following
    return np.moveaxis(previous, -1, 0).swapaxes(1, 2)
