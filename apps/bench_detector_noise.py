"""``posekit bench detector-noise``: what a 2D detector does on a capture, and whose bones it sees."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

#: What a lifter looks at, of those that the detector has.
_SINGLE, _SIDED = ("nose", "neck"), ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


@dataclass(frozen=True)
class DetectorNoiseBench:
    """Measure a detector's 2D keypoints against their own triangulation: noise, outliers, misses, swaps; and bodies."""

    keypoints: Annotated[Path, tyro.conf.Positional]
    """2D keypoints, as for `posekit triangulate`."""
    points: Path
    """keypoints3d.h5 that `posekit triangulate` made of them."""
    rig: Path
    """The cameras, best refined on these people (`posekit calibrate --refine`)."""
    skeleton: str | None = None
    """Order of the joints, such as BODY_25B, where files do not say it."""
    json: Path | None = None
    """Write the figures here, too."""


def run(config: DetectorNoiseBench) -> dict[str, Any]:
    """Return the figures; lengths are shares of a leg (thigh and shank)."""
    from dataclasses import asdict

    from posekit.apps.triangulate import open_detections
    from posekit.calibration.formats import read_rig
    from posekit.datasets.body_shapes import measure_proportions
    from posekit.datasets.detector_measure import measure_detector_noise
    from posekit.keypoints import Keypoints3D

    rig = read_rig(config.rig)
    source = open_detections(config.keypoints, rig, config.skeleton, None)
    found = source.read(0, len(source.frames))
    truth = Keypoints3D.load(config.points)
    names = (*_SINGLE, *(f"{side}_{joint}" for joint in _SIDED for side in ("left", "right")))
    joints = tuple(name for name in names if name in found.skeleton and name in truth.skeleton)
    people = [measure_proportions(truth.skeleton, truth.xyz[:, person]) for person in range(truth.xyz.shape[1])]
    return {"detector": asdict(measure_detector_noise(found, truth, rig, joints)), "people": people}


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print the tables."""
    from posekit.apps.tables import figures_table, number

    detector = figures["detector"]
    table = figures_table(
        "the detector", ("views", "jitter", "slow", "fast", "spread", "outlier", "missing", "swapped")
    )
    table.add_row(
        str(detector["views"]),
        *(number(detector[name], 4) for name in ("jitter", "slow", "fast")),
        number(detector["pose_spread"], 2),
        *(f"{number(100 * detector[name], 2)} %" for name in ("outlier", "missing", "swapped")),
    )
    console.print(table)
    habits = figures_table("jitter of a joint against the mean", tuple(detector["habits"]))
    habits.add_row(*(number(value, 2) for value in detector["habits"].values()))
    console.print(habits)
    names = ("leg", "trunk", "shoulders", "hips", "thigh", "upper_arm", "forearm")
    people = figures_table(
        "people: leg in metres, shares of it", ("person", *(name.replace("_", " ") for name in names))
    )
    for number_of, person in enumerate(figures["people"]):
        people.add_row(str(number_of), *(number(person[name], 2) for name in names))
    console.print(people)
    console.print(
        "lengths are shares of a leg at the person's distance; a point that all views get wrong alike is not seen"
    )
