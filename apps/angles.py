"""``posekit angles``: people in 3D to the angles of their joints."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from posekit.keypoints import Keypoints3D

#: The direction of every axis that may point up.
AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


@dataclass(frozen=True)
class AnglesConfig:
    """Write the joint angles of body and fingers, in degrees; several people make a file each."""

    keypoints: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """The keypoints3d.h5 to read."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The .csv to write: a row per frame, a column per angle. Several people make out_p0.csv, out_p1.csv, ..."""
    person: int | None = None
    """Write this person only, under the name as it is given."""
    up: Literal["z", "y", "x", "-z", "-y", "-x"] = "z"
    """Axis of the world that points up; inclinations are measured from it."""
    fps: float | None = None
    """Frames per second, where the keypoints do not say it."""
    json: Path | None = None
    """Write every angle's range here, too."""


def main(config: AnglesConfig) -> None:
    """Run the command."""
    from dataclasses import replace

    import numpy as np

    from posekit.apps.checks import load_people
    from posekit.apps.provenance import write_record
    from posekit.apps.tables import figures_console
    from posekit.errors import PosekitError
    from posekit.io.files import write_json
    from posekit.motion.angles import joint_angles

    _check(config)
    people = load_people(config.keypoints)
    fps = config.fps or people.fps
    if fps is None:
        raise PosekitError(f"{config.keypoints}: names no frame rate, which the times need; give it with --fps")
    people = replace(people, fps=fps)
    sign = -1.0 if config.up.startswith("-") else 1.0
    try:
        angles = joint_angles(people, [sign * value for value in AXES[config.up.removeprefix("-")]])
    except PosekitError as error:
        raise PosekitError(f"{config.keypoints}: {error}") from None
    files = _files(config, people)
    degrees = {person: np.rad2deg(angles.values[:, person]) for person in files}
    persons = {person: measure(degrees[person], angles.names) for person in files}
    figures = {"frames": len(people.frames), "fps": fps, "persons": persons}
    for person, path in files.items():
        _write(path, people, person, degrees[person], angles.names)
        write_record(path, "angles", config, [config.keypoints], figures=persons[person])
    if config.json:
        write_json(config.json, figures)
    print_figures(figures_console(), figures)


def _check(config: AnglesConfig) -> None:
    """Say before the work, not after it, that a number cannot be or that the result could not be written."""
    from posekit.apps.checks import require_places, require_positive
    from posekit.errors import PosekitError

    if config.out.suffix.lower() != ".csv":
        raise PosekitError(f"{config.out}: the result is a table, a name ending in .csv was expected")
    require_places((config.out, config.json), (config.keypoints,))
    require_positive("--fps", config.fps)


def _files(config: AnglesConfig, people: "Keypoints3D") -> dict[int, Path]:
    """Return person -> file; people of whom there is not one point get none, unless asked for."""
    import numpy as np

    from posekit.apps.checks import require_places
    from posekit.apps.provenance import record_path
    from posekit.errors import PosekitError

    count = people.xyz.shape[1]
    if config.person is not None:
        if not 0 <= config.person < count:
            raise PosekitError(f"{config.keypoints}: has no person {config.person}; it has {count}, counted from 0")
        files = {config.person: config.out}
    else:
        present = [person for person in range(count) if np.isfinite(people.xyz[:, person]).any()]
        files = {person: config.out.with_name(f"{config.out.stem}_p{person}.csv") for person in present}
        if len(present) == 1:
            files = {present[0]: config.out}
    records = (record_path(path) for path in files.values())
    require_places((*files.values(), *records, config.json), (config.keypoints,))
    return files


def measure(degrees: "NDArray[np.float64]", names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return for every angle (F, A) that is there in a frame or more: how many frames, and its smallest, median and largest."""
    import numpy as np

    figures: dict[str, dict[str, Any]] = {}
    for column, name in zip(degrees.T, names, strict=True):
        there = column[np.isfinite(column)]
        if there.size:
            figures[name] = {
                "frames": int(there.size),
                "min_deg": float(there.min()),
                "median_deg": float(np.median(there)),
                "max_deg": float(there.max()),
            }
    return figures


def _write(
    path: Path, people: "Keypoints3D", person: int, degrees: "NDArray[np.float64]", names: tuple[str, ...]
) -> None:
    """Write frame, time, the number of the frame's points that were filled in, and the angles; what is missing is empty."""
    import csv
    import math

    from posekit.io.files import write_whole
    from posekit.point_status import PointStatus

    filled = (people.status[:, person] == PointStatus.FILLED).sum(axis=-1)
    with write_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["frame", "time_s", "filled_points", *(f"{name}_deg" for name in names)])
        for frame, count, row in zip(people.frames.tolist(), filled.tolist(), degrees.tolist(), strict=True):
            cells = ["" if math.isnan(value) else f"{value:.4f}" for value in row]
            writer.writerow([frame, f"{frame / (people.fps or 1.0):.6f}", count, *cells])


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print one table per person, one row per angle."""
    from posekit.apps.tables import figures_table

    for person, angles in figures["persons"].items():
        table = figures_table(f"person {person}, degrees", ("angle", "frames", "smallest", "median", "largest"))
        for name, angle in angles.items():
            values = (f"{angle[key]:.1f}" for key in ("min_deg", "median_deg", "max_deg"))
            table.add_row(name, str(angle["frames"]), *values)
        console.print(table)
