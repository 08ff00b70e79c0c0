"""``posekit bench refinement``: lifted videos of people held out, frame by frame and refined, and how honest they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from posekit.camera import Camera
    from posekit.keypoints import Keypoints2D
    from posekit.lifting.people import LiftedPerson

    Array = NDArray[np.float64]

_FOCAL_PX = 1100.0
_SIZE = (1920, 1080)
_FPS = 30.0
#: How far cameras stand, metres, and under which angle they look down on people: mean, standard deviation, least, largest.
_DISTANCE = (3.5, 8.0)
_ELEVATION = (0.12, 0.2, -0.3, 0.8)
#: Motions shorter than this have no time to be smooth in.
_LEAST_SECONDS = 2.0


@dataclass(frozen=True)
class RefinementBench:
    """Film motion capture of people held out with virtual cameras and a detector's noise, lift the videos, and compare."""

    data: tuple[str, ...]
    """Motion capture, KIND:PATH as for train-lifter; people's path through the room counts."""
    hold_out: tuple[str, ...] = ("02", "03")
    """The subjects that are filmed: some whom the lifter was not trained on."""
    motions: int = 40
    """How many motions to film, each by a camera of its own."""
    seconds: float = 5.0
    """Of each motion, at most."""
    height_spread: float = 0.055
    """How much people's heights differ (standard deviation of the logarithm)."""
    weights: Path | None = None
    """The lifter; the one that comes with posekit if not given."""
    seed: int = 0
    """Of motions, cameras and noise."""
    json: Path | None = None
    """Write the figures here, too."""


def run(config: RefinementBench) -> dict[str, Any]:
    """Film, lift and compare."""
    import numpy as np

    from posekit.apps.checks import require_counts, require_positive
    from posekit.lifting.inputs import follow_people
    from posekit.lifting.lifter import LIFTER_WEIGHTS, load_lifter
    from posekit.lifting.people import LiftSettings, lift_people

    require_counts(motions=config.motions)
    require_positive("--seconds", config.seconds)
    lifter = load_lifter(config.weights or LIFTER_WEIGHTS)
    rng = np.random.default_rng(config.seed)
    filmed = [_film(motion, rng) for motion in _motions(config, lifter.skeleton, rng)]
    rows = []
    for refine in (False, True):
        for known in (False, True):
            lifted = []
            for keypoints, camera, truth, height in filmed:
                settings = LiftSettings(height=height if known else None, refine=refine)
                person = lift_people(follow_people(keypoints, camera.name, lifter.skeleton), lifter, camera, settings)[
                    0
                ]
                lifted.append((person, truth[person.rows]))
            rows.append({"refined": refine, "height_given": known, **_figures(lifted, lifter.skeleton)})
    return {"benchmark": "refinement", "hold_out": list(config.hold_out), "motions": len(filmed), "rows": rows}


def _motions(config: RefinementBench, skeleton: Any, rng: "np.random.Generator") -> "list[Array]":
    """Pieces (F, J, 3) of the held-out clips, in the room, of people of different heights."""
    import numpy as np

    from posekit.datasets.mocap import hold_out
    from posekit.datasets.mocap_files import load_mocap
    from posekit.datasets.mocap_retarget import retarget
    from posekit.errors import PosekitError

    _, clips = hold_out([clip for spec in config.data for clip in load_mocap(spec)], subjects=config.hold_out)
    poses = [retarget(clip.at_rate(_FPS), skeleton) for clip in clips]
    poses = [xyz[np.isfinite(xyz).all(axis=(1, 2))] for xyz in poses]
    poses = [xyz for xyz in poses if len(xyz) >= _LEAST_SECONDS * _FPS]
    if not poses:
        raise PosekitError(f"--hold-out: no clip of {', '.join(config.hold_out)} is {_LEAST_SECONDS:g} s long")
    motions = []
    for number in range(config.motions):
        xyz = poses[number % len(poses)]
        length = min(round(config.seconds * _FPS), len(xyz))
        start = int(rng.integers(len(xyz) - length + 1))
        motions.append(xyz[start : start + length] * np.exp(config.height_spread * rng.standard_normal()))
    return motions


def _film(motion: "Array", rng: "np.random.Generator") -> "tuple[Keypoints2D, Camera, Array, float]":
    """Return what a detector sees, the camera, the joints in its axes, and the person's height by legs and trunk."""
    import numpy as np

    from posekit.camera import Camera
    from posekit.datasets.detector_noise import DetectorNoise, detect
    from posekit.keypoints import Keypoints2D
    from posekit.lifting.body_tree import BodyTree, height_of
    from posekit.lifting.skeletons import LIFTER_15

    middle = np.median(motion[:, 0], axis=0)
    azimuth = rng.uniform(0, 2 * np.pi)
    mean, spread, least, most = _ELEVATION
    elevation = np.clip(rng.normal(mean, spread), least, most)
    towards = np.array((np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)))
    # Nobody walks into the camera.
    distance = max(rng.uniform(*_DISTANCE), float(np.abs(motion[:, 0] - middle).max()) + _DISTANCE[0])
    right = np.cross(-towards, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    rotation = np.stack((right, np.cross(-towards, right), -towards))
    centre = (np.array(_SIZE) - 1) / 2
    matrix = np.array(((_FOCAL_PX, 0, centre[0]), (0, _FOCAL_PX, centre[1]), (0, 0, 1.0)))
    camera = Camera("virtual", _SIZE, matrix, np.zeros(0), rotation, -rotation @ (middle + distance * towards))
    truth = motion @ rotation.T + camera.translation
    tree = BodyTree.of(LIFTER_15)
    height = height_of(motion, tree)
    assert height is not None
    # Half of somebody's height, about, is a leg.
    leg = (_FOCAL_PX * 0.49 * height / truth[:, 0, 2])[None]
    xy, confidence = detect(camera.project(motion)[None], leg, LIFTER_15, DetectorNoise(), rng)
    frames = np.arange(len(motion))
    keypoints = Keypoints2D(
        xy[0][:, None, None], confidence[0][:, None, None], (camera.name,), frames, LIFTER_15, _FPS, "virtual camera"
    )
    return keypoints, camera, truth, height


def _figures(lifted: "list[tuple[LiftedPerson, Array]]", skeleton: Any) -> dict[str, float]:
    """Return means over motions, and errors as parts of what the covariances say."""
    import numpy as np

    from posekit.metrics.bones import bone_lengths, bone_spread
    from posekit.metrics.poses import pa_mpjpe_errors

    rows, along, across = [], [], []
    for person, truth in lifted:
        error = person.xyz - truth
        shake = np.diff(error - error[:, :1], n=2, axis=0) * _FPS**2
        rows.append(
            (
                1000 * pa_mpjpe_errors(person.xyz, truth).mean(),
                np.linalg.norm(shake, axis=-1).mean(),
                100 * bone_spread(bone_lengths(person.xyz, skeleton.bones)).coefficient.mean(),
                100 * np.abs(person.xyz[:, 0, 2] / truth[:, 0, 2] - 1).mean(),
            )
        )
        view = person.xyz / np.linalg.norm(person.xyz, axis=-1, keepdims=True)
        off = (error * view).sum(axis=-1)
        said = np.einsum("njx,njxy,njy->nj", view, person.covariance, view)
        along.append((np.square(off) / said).ravel())
        rest = np.square(error).sum(axis=-1) - np.square(off)
        across.append((rest / (np.trace(person.covariance, axis1=-2, axis2=-1) - said)).ravel())
    names = ("pa_mpjpe_mm", "acceleration_error", "bone_spread_percent", "distance_error_percent")
    figures = dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))
    figures["along_by_said"] = float(np.sqrt(np.concatenate(along).mean()))
    figures["across_by_said"] = float(np.sqrt(np.concatenate(across).mean()))
    return figures


def print_figures(console: "Console", figures: dict[str, Any]) -> None:
    """Print the table."""
    from posekit.apps.tables import figures_table

    title = f"{figures['motions']} motions of {', '.join(figures['hold_out'])} by virtual cameras, against the truth"
    columns = ("refined", "height", "PA mm", "m/s^2", "bones %", "distance %", "along", "across")
    table = figures_table(title, columns)
    for row in figures["rows"]:
        numbers = [f"{value:.1f}" for value in list(row.values())[2:6]]
        ratios = [f"{row[name]:.2f}" for name in ("along_by_said", "across_by_said")]
        table.add_row("yes" if row["refined"] else "no", "given" if row["height_given"] else "mean", *numbers, *ratios)
    console.print(table)
    console.print(
        "PA: PA-MPJPE; m/s^2: error of accelerations; bones: coefficient of variation of their lengths; distance: mean error "
        "of the camera's distance; along, across: root mean square error along the view and across it, by what the covariance "
        "says",
        soft_wrap=True,
    )
