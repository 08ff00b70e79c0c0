"""What lifters are trained and measured on, from motion capture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from posekit.datasets.mocap import MocapClip
    from posekit.datasets.virtual_views import VirtualViews
    from posekit.lifting.lifter import Lifter
    from posekit.lifting.sources import PosePool, ViewPool, Views
    from posekit.skeleton import Skeleton

#: Of the held-out poses and cameras: the same whatever the training's seed.
_TEST_SEED = 7
#: The drawn poses whose bones say how large a person of mean height is.
_MEASURED = 4000


@dataclass(frozen=True, eq=False)
class LifterSources:
    """poses, views: to train on, of different people in different poses. held_out: clips of the subjects left out.

    mean_bone: mean bone length, in metres, of the poses. filmed: what the views are drawn from. seed: of the views.
    """

    skeleton: "Skeleton"
    poses: "PosePool"
    views: "ViewPool"
    mean_bone: float
    held_out: "list[MocapClip]"
    filmed: "VirtualViews"
    seed: int

    def windows(self, frames: int) -> "ViewPool":
        """Return the views or, for a temporal lifter, as many windows of consecutive frames, by cameras that stand still."""
        from posekit.lifting.sources import ViewPool

        return (
            self.views if frames == 1 else ViewPool(_Windows(self.filmed, frames), len(self.views.views.xy), self.seed)
        )


@dataclass(frozen=True, eq=False)
class _Windows:
    """A `posekit.lifting.sources.ViewSource` of windows of moving people."""

    filmed: "VirtualViews"
    frames: int

    def draw(self, count: int, rng: "np.random.Generator") -> "Views":
        return self.filmed.draw_motions(count, self.frames, rng)


class FilmedPoses:
    """A `posekit.lifting.sources.PoseSource` of poses in camera axes, as cameras would see them whose views nobody is shown."""

    def __init__(self, views: "VirtualViews") -> None:
        self._views = views

    def draw(self, count: int, rng: "np.random.Generator") -> "Float[np.ndarray, 'B J 3']":
        """Return poses in metres, x to the right, y down, z away."""
        return self._views.draw_pairs(count, rng).xyz


def lifter_sources(
    data: Sequence[str], skeleton_name: str, hold_out: Sequence[str], count: int, seed: int
) -> LifterSources:
    """Read motion capture (`posekit.datasets.mocap_files`), and draw `count` poses, and as many views of others, from it."""
    import numpy as np

    from posekit.datasets.lifter_poses import MixedPoses
    from posekit.datasets.mocap import hold_out as part
    from posekit.datasets.mocap_files import load_mocap
    from posekit.datasets.virtual_views import VirtualViews
    from posekit.errors import PosekitError
    from posekit.lifting.lifter import SKELETONS
    from posekit.lifting.sources import PosePool, ViewPool

    if not data:
        raise PosekitError("--data: found nothing, expected motion capture such as cmu:cmu_joints_30hz.npz")
    clips = [clip for spec in data for clip in load_mocap(spec)]
    out: list[MocapClip] = []
    if hold_out:
        clips, out = part(clips, subjects=hold_out)
    skeleton = SKELETONS[skeleton_name]
    mixed = MixedPoses(clips, skeleton)
    views = VirtualViews(mixed)
    # Seeds of their own, so that no drawn pose is in both.
    poses = PosePool(FilmedPoses(VirtualViews(mixed, noise=None)), count, 2 * seed)
    some = poses.poses[:_MEASURED]
    bones = np.array(skeleton.bones)
    lengths = np.linalg.norm(some[:, bones[:, 1]] - some[:, bones[:, 0]], axis=-1)
    views_seed = 2 * seed + 1
    drawn = ViewPool(views, count, views_seed)
    return LifterSources(skeleton, poses, drawn, float(lengths.mean()), out, views, views_seed)


def measure_held_out(
    lifter: "Lifter", clips: "Sequence[MocapClip]", count: int = 3000, frames: int | None = None
) -> dict[str, float]:
    """Lift held-out poses, as recorded, from virtual cameras all around them with a detector's noise, and without.

    frames: of the recordings that the poses are the middle of, as many as the lifter is shown if not given. Lifters of
    different windows are measured on the same poses where it is the longest of them.

    Returns P-I (N-MPJPE: relative to mid_hip, at the scale of least squares for each pose; Rhodin et al., CVPR 2018) and P-II
    (PA-MPJPE, without reflection), mm.
    """
    import numpy as np

    from posekit.datasets.lifter_poses import RecordedPoses
    from posekit.datasets.virtual_views import VirtualViews
    from posekit.metrics.poses import mpjpe, n_mpjpe_errors, pa_mpjpe_errors

    shown = lifter.settings.frames
    frames = frames or shown
    recorded, rng = RecordedPoses(clips, lifter.skeleton), np.random.default_rng(_TEST_SEED)
    pairs = VirtualViews(recorded).of_motions(recorded.draw_motions(count, frames, rng), rng)
    window = slice(frames // 2 - shown // 2, frames // 2 + shown // 2 + 1)
    truth = pairs.xyz[:, frames // 2].astype(np.float64)
    figures = {}
    for name, xy, weight in (
        ("", pairs.views.xy, pairs.views.weight),
        ("clean_", pairs.clean_xy, np.ones_like(pairs.views.weight)),
    ):
        lifted = lifter.lift_windows(xy[:, window], weight[:, window]).xyz.astype(np.float64)
        figures[f"{name}p1_mm"] = 1000 * mpjpe(n_mpjpe_errors(lifted, truth))
        figures[f"{name}p2_mm"] = 1000 * mpjpe(pa_mpjpe_errors(lifted, truth))
    return figures
