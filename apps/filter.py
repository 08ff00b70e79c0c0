"""``posekit filter``: fill the short gaps of people in 3D and smooth them over time."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from posekit.keypoints import Keypoints3D
    from posekit.motion.filters import Filter, FilteredPeople


@dataclass(frozen=True)
class FilterConfig:
    """Fill the short gaps of people in 3D, then smooth every joint over time."""

    keypoints: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """The keypoints3d.h5 to read."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """The keypoints3d.h5 to write."""
    filter: Literal["butterworth", "one-euro", "median", "none"] = "butterworth"
    """butterworth delays nothing; one-euro uses no later frame; median is for single outliers; none fills gaps only."""
    cutoff_hz: float = 6.0
    """Butterworth: where both passes together leave 0.71 of an amplitude (-3 dB). 6 for walking, 10 and more for fast hands."""
    order: int = 4
    """Butterworth: order of both passes together."""
    cutoff_each_pass: bool = False
    """Butterworth: the cutoff is each pass's own and not corrected for the second, as Pose2Sim's."""
    min_cutoff_hz: float = 1.0
    """One-Euro: cutoff at rest."""
    speed_coefficient: float = 5.0
    """One-Euro: Hz by which the cutoff rises with every m/s; the paper's beta."""
    derivative_cutoff_hz: float = 1.0
    """One-Euro: cutoff of the speed."""
    window: int = 5
    """Median: frames, an odd number."""
    fill_gaps: float = 0.2
    """Longest gap that is filled, seconds; 0 fills none. Filled points are marked as such."""
    interpolation: Literal["linear", "pchip", "cubic"] = "linear"
    """How gaps are filled; the two cubics are for tracks that are smooth already."""
    fps: float | None = None
    """Frames per second, where the keypoints do not say it."""
    json: Path | None = None
    """Write the figures here, too."""


def main(config: FilterConfig) -> None:
    """Run the command."""
    from dataclasses import replace

    from posekit.apps.checks import load_people
    from posekit.apps.provenance import write_record
    from posekit.apps.tables import figures_console
    from posekit.errors import PosekitError
    from posekit.io.files import write_json
    from posekit.motion.filters import filter_people
    from posekit.motion.gaps import GapSettings, fill_people

    _check(config)
    settings, gaps = _settings(config), GapSettings(config.fill_gaps, config.interpolation)
    people = load_people(config.keypoints)
    fps = config.fps or people.fps
    if fps is None:
        raise PosekitError(f"{config.keypoints}: names no frame rate, which a filter needs; give it with --fps")
    if fps != people.fps:
        people = replace(people, fps=fps)
    status = people.status
    try:
        # Of an hour of video there is no room for one more than is needed: what was read goes as soon as it is filled.
        people = fill_people(people, fps, gaps) if config.fill_gaps else people
        result = filter_people(people, fps, settings) if settings else None
    except PosekitError as error:
        raise PosekitError(f"{config.keypoints}: {error}") from None
    figures = measure(status, people, result)
    (result.people if result else people).save(config.out)
    write_record(config.out, "filter", config, [config.keypoints], figures=figures)
    if config.json:
        write_json(config.json, figures)
    print_figures(figures_console(), figures)


def _check(config: FilterConfig) -> None:
    """Say before the work, not after it, that a number cannot be or that the result could not be written."""
    import math

    from posekit.apps.checks import require_places, require_positive
    from posekit.apps.provenance import record_path
    from posekit.errors import PosekitError

    if config.out.suffix.lower() not in (".h5", ".hdf5"):
        raise PosekitError(f"{config.out}: the result is an HDF5 file, a name ending in .h5 was expected")
    require_places((config.out, record_path(config.out), config.json), (config.keypoints,))
    require_positive("--fps", config.fps)
    if not 0 <= config.fill_gaps < math.inf:
        raise PosekitError(f"--fill-gaps: {config.fill_gaps:g} is no length of time in seconds")
    if config.filter == "none" and not config.fill_gaps:
        raise PosekitError("--filter none --fill-gaps 0: leaves nothing to do")


def _settings(config: FilterConfig) -> "Filter | None":
    from posekit.motion.filters import Butterworth, Median, OneEuro

    if config.filter == "butterworth":
        return Butterworth(config.cutoff_hz, config.order, config.cutoff_each_pass)
    if config.filter == "one-euro":
        return OneEuro(config.min_cutoff_hz, config.speed_coefficient, config.derivative_cutoff_hz)
    return Median(config.window) if config.filter == "median" else None


def measure(status: "NDArray[np.uint8]", people: "Keypoints3D", result: "FilteredPeople | None") -> dict[str, Any]:
    """Count what was filled and what is left, and how far the filter moved the points that were measured.

    status: (F, P, J) as it was read; people: after filling. change_rms_m is the root mean square of the distances between
    measured points and their filtered places: the noise that was removed, and of the motion what the filter took with it.
    """
    import numpy as np

    from posekit.point_status import PointStatus

    persons = []
    for p in range(people.xyz.shape[1]):
        present = np.isfinite(people.xyz[:, p, :, 0])
        filled = people.status[:, p] == PointStatus.FILLED
        persons.append(
            {
                "points": int(present.sum()),
                "points_filled": int((filled & (status[:, p] != PointStatus.FILLED)).sum()),
                "points_missing": int((~present).sum()),
                "longest_gap_left_s": _longest_gap(people, p),
                **_change(people, result, p, present & ~filled),
            }
        )
    return {
        "frames": len(people.frames),
        "fps": people.fps,
        "short_pieces": result.short_pieces if result else 0,
        "persons": persons,
    }


def _longest_gap(people: "Keypoints3D", person: int) -> float:
    """Length in seconds of the longest gap of any joint, what lies before its first point or after its last not counted."""
    import numpy as np

    from posekit.motion.gaps import gap_lengths

    present = np.isfinite(people.xyz[:, person, :, 0])
    longest = max(int(gap_lengths(track, people.frames).max(initial=0)) for track in present.T)
    return longest / (people.fps or 1.0)


def _change(
    people: "Keypoints3D", result: "FilteredPeople | None", person: int, measured: "NDArray[np.bool_]"
) -> dict[str, Any]:
    import numpy as np

    if result is None:
        return {"points_filtered": 0, "change_rms_m": None}
    seen = result.filtered[:, person]
    counted = seen & measured
    square = 0.0
    for joint in range(counted.shape[1]):  # all joints of an hour at once would be another gigabyte
        rows = counted[:, joint]
        moved = result.people.xyz[rows, person, joint] - people.xyz[rows, person, joint]
        square += float((moved**2).sum())
    count = int(counted.sum())
    return {
        "points_filtered": int(seen.sum()),
        "change_rms_m": float(np.sqrt(square / count)) if count else None,
    }


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print one row per person."""
    from posekit.apps.tables import figures_table, number

    table = figures_table(
        f"{figures['frames']} frames at {figures['fps']:g} Hz",
        ("person", "points", "filled", "missing", "longest gap s", "filtered", "moved mm (RMS)"),
    )
    for p, person in enumerate(figures["persons"]):
        change = person["change_rms_m"]
        table.add_row(
            str(p),
            str(person["points"]),
            str(person["points_filled"]),
            str(person["points_missing"]),
            f"{person['longest_gap_left_s']:.2f}",
            str(person["points_filtered"]),
            number(None if change is None else 1000 * change, 1),
        )
    console.print(table)
    if figures["short_pieces"]:
        console.print(
            f"{figures['short_pieces']} pieces between gaps are too short for the filter and stay as they were"
        )
