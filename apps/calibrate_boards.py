"""A rig from a board that all cameras filmed."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posekit.apps.calibrate import CalibrateConfig
    from posekit.calibration.boards.search import FoundBoards
    from posekit.calibration.boards.views import BoardViews
    from posekit.calibration.lenses.intrinsics import LensCalibration
    from posekit.calibration.report.figures import CalibrationFigures
    from posekit.calibration.rigs.calibration import RigCalibration
    from posekit.calibration.rigs.time_offsets import TimeOffsets
    from posekit.calibration.world.frame import WorldFrame
    from posekit.calibration.world.marked_points import MarkedPoints
    from posekit.camera import Camera, Rig

#: Offsets are believed where they lower the corners' noise by this share or more.
_BETTER = 0.15

#: The correlation of motions knows an offset this well (frames) at best, whatever it says: hands do not move as sines.
_LEAST_SIGMA_FRAMES = 0.02


@dataclass(frozen=True)
class _Result:
    """What was found of a rig, before it is moved to its world."""

    calibration: "RigCalibration"
    figures: "CalibrationFigures"
    offsets: "TimeOffsets | None"
    said: tuple[str, ...]


def calibrate(config: "CalibrateConfig") -> None:
    """Run ``posekit calibrate FOLDER --board``."""
    from rich.console import Console

    from posekit.apps.calibrate_lenses import find_lenses, finish_lenses, given_lenses
    from posekit.apps.calibrate_world import read_world_inputs
    from posekit.apps.progress import progress_bars
    from posekit.calibration.boards.board import parse_board
    from posekit.calibration.boards.capture import find_board_capture
    from posekit.calibration.boards.search import film_views
    from posekit.calibration.rigs.calibration import UnlinkedCamerasError
    from posekit.errors import PosekitWarning

    assert config.folder is not None
    assert config.board is not None
    board = parse_board(config.board)
    given = given_lenses(config)
    inputs = read_world_inputs(config)
    start = time.perf_counter()
    capture = find_board_capture(config.folder)
    with progress_bars() as progress:
        found = film_views(
            capture,
            board,
            max_moments=config.max_moments,
            progress=lambda done, total: progress("pictures", done, total),
        )
    console = Console(markup=False, highlight=False, soft_wrap=True)
    for note in found.notes:
        console.print(note)
    lenses, calibrated, without = find_lenses(config, found.views, given)
    views = found.views.of(tuple(lens.name for lens in lenses))
    if config.lenses_only or len(lenses) < 2 or not capture.simultaneous:
        why = "asked for" if config.lenses_only else _why_no_rig(len(lenses), found)
        finish_lenses(config, console, found, calibrated, without, start, why)
        return
    try:
        result = _rig(config, views, lenses, calibrated)
    except UnlinkedCamerasError as error:
        if not calibrated:
            raise
        warnings.warn(PosekitWarning(f"{error}; only the lenses are calibrated"), stacklevel=2)
        finish_lenses(config, console, found, calibrated, without, start, str(error))
        return
    _finish_rig(config, console, found, calibrated, without, result, inputs.points, start)


def _why_no_rig(count: int, found: "FoundBoards") -> str:
    if count < 2:
        return "one camera alone is no rig"
    return f"the pictures in {found.views.source} were not taken at one time"


def _rig(
    config: "CalibrateConfig",
    views: "BoardViews",
    lenses: "list[Camera]",
    calibrated: "dict[str, LensCalibration]",
) -> _Result:
    """Calibrate the rig as it was filmed, and with the time offsets that the board's motion shows where they are to count."""
    from posekit.calibration.rigs.calibration import RigSettings, calibrate_rig

    settings = RigSettings(free_lens=config.lens if calibrated else None)
    calibration = calibrate_rig(views, lenses, settings)
    offsets = None if config.time_offsets == "off" else _time_offsets(views, lenses)
    said: tuple[str, ...] = ()
    if offsets is not None and (config.time_offsets == "on" or offsets.out_of_step.any()):
        stepped_views, stepped_lenses, stepped = _in_step(views, lenses, offsets, settings)
        other = calibrate_rig(stepped_views, _with_poses(stepped_lenses, calibration.rig), stepped, start=True)
        better = other.noise_px < (1 - _BETTER) * calibration.noise_px and not set(other.unlinked) - set(
            calibration.unlinked
        )
        clocks = "their timestamps" if views.times_s is not None else "in step"
        for name, frames in zip(offsets.cameras, offsets.frames, strict=True):
            if offsets.out_of_step[offsets.cameras.index(name)]:
                said += (f"{name} is {frames:+.2f} frames off {clocks}, as the board's motion shows",)
        if config.time_offsets == "on" or (better and views.times_s is None):
            views, lenses, settings, calibration = stepped_views, stepped_lenses, stepped, other
            said += ("the rig was made with the cameras brought into step; calibration.toml says by how much",)
        elif better:
            gain = f"{other.noise_px:.2f} px instead of {calibration.noise_px:.2f}"
            said += (
                f"in step the corners' noise would be {gain}: run again with --time-offsets on, or mend the timestamps",
            )
        else:
            said = ()
    figures = _figures(calibration, lenses, settings)
    return _Result(calibration, figures, offsets, said)


def _figures(calibration: "RigCalibration", lenses: "list[Camera]", settings: Any) -> "CalibrationFigures":
    from posekit.calibration.report.figures import measure_calibration
    from posekit.calibration.rigs.calibration import refit_rig

    kept = [[lens.name for lens in lenses].index(name) for name in calibration.rig.names]
    settings = replace(
        settings,
        time_sigma_s=None if settings.time_sigma_s is None else tuple(settings.time_sigma_s[c] for c in kept),
    )

    # Lenses and clocks start from where they did at first; only that the boards are not to be linked anew saves time.
    cameras = _with_poses([lenses[c] for c in kept], calibration.rig)

    def again(views: "BoardViews") -> "Rig":
        return refit_rig(views, cameras, settings)

    return measure_calibration(
        calibration.rig, calibration.views, calibration.residual_px, calibration.used, again, calibration.boards
    )


def _with_poses(lenses: "list[Camera]", rig: "Rig") -> "list[Camera]":
    """The lenses where the rig has them; those that it lacks stay where they are."""
    return [
        replace(lens, rotation=rig[lens.name].rotation, translation=rig[lens.name].translation)
        if lens.name in rig.names
        else lens
        for lens in lenses
    ]


def _time_offsets(views: "BoardViews", lenses: "list[Camera]") -> "TimeOffsets | None":
    import numpy as np

    from posekit.calibration.rigs.time_offsets import offsets_from_boards

    if views.fps is None:
        return None
    offsets = offsets_from_boards(views, lenses)
    known = np.flatnonzero(np.isfinite(offsets.frames))
    # The first camera that has an offset is the world's clock.
    return offsets.relative_to(views.cameras[known[0]]) if len(known) > 1 else None


def _in_step(
    views: "BoardViews", lenses: "list[Camera]", offsets: "TimeOffsets", settings: Any
) -> "tuple[BoardViews, list[Camera], Any]":
    """Views, lenses and settings with the offsets to start from."""
    import numpy as np

    seconds = np.nan_to_num(offsets.seconds)
    sigma = np.where(
        np.isfinite(offsets.frames), np.maximum(np.nan_to_num(offsets.sigma_frames), _LEAST_SIGMA_FRAMES), 0
    )
    return (
        views.in_step(seconds.tolist()),
        [replace(lens, time_offset_s=float(s)) for lens, s in zip(lenses, seconds, strict=True)],
        replace(settings, time_sigma_s=tuple(float(s) for s in sigma / offsets.fps)),
    )


def _finish_rig(
    config: "CalibrateConfig",
    console: Any,
    found: "FoundBoards",
    calibrated: "dict[str, LensCalibration]",
    without: dict[str, str],
    result: _Result,
    points: "MarkedPoints | None",
    start: float,
) -> None:
    """Bring the rig into its world, and write and say everything."""
    from posekit.apps.calibrate_lenses import lens_figures
    from posekit.apps.calibrate_outputs import settings_of, write_outputs
    from posekit.apps.calibrate_world import identified_people, place_in_world
    from posekit.calibration.report.advice import advice, verdict
    from posekit.calibration.report.page import calibration_sections, record_section, words_section, write_report

    calibration, figures = result.calibration, result.figures
    people = None if config.keypoints is None else identified_people(config, calibration.rig)[0]
    rig, worlds = place_in_world(config, calibration.rig, calibration, points, people)
    content = figures.as_json() | {
        "seconds": time.perf_counter() - start,
        "board": str(found.views.board),
        "notes": list(found.notes),
        "unlinked": calibration.unlinked | without,
        "world": [words for world in worlds for words in world.words],
        "time_offsets": _offset_figures(result, found.views.fps),
        "lenses": lens_figures(calibrated)["cameras"] if calibrated else {},
    }
    lens_words = [words for lens in calibrated.values() for words in lens.warnings]
    summary = (verdict(figures, calibration), *result.said)
    write_outputs(config, rig, content)
    if config.report is not None:
        sections = [
            words_section("How the pictures were read", found.notes),
            *([words_section("Lenses by themselves", lens_words)] if lens_words else []),
            *([words_section("The world", content["world"])] if worlds else []),
            *calibration_sections(calibration, figures, _whole_way(worlds)),
            record_section("How this was made", settings_of(config)),
        ]
        write_report(config.report, f"Calibration of {config.folder}", summary, sections)
    _print_rig(console, figures, calibration)
    for line in (*summary, *content["world"], *advice(figures, calibration)):
        console.print(line)


def _whole_way(worlds: "Sequence[WorldFrame]") -> "WorldFrame | None":
    """Where the old world's points went in all."""
    whole: WorldFrame | None = None
    for world in worlds:
        whole = world if whole is None else whole.followed_by(world)
    return whole


def _offset_figures(result: _Result, fps: float | None) -> dict[str, Any]:
    import numpy as np

    figures: dict[str, Any] = {}
    for c, camera in enumerate(result.calibration.rig.cameras):
        sigma = float(result.calibration.uncertainty.time_offset_sigma_s[c])
        figures[camera.name] = {
            "applied_s": camera.time_offset_s,
            "applied_sigma_s": sigma if np.isfinite(sigma) else None,
            "applied_frames": None if fps is None else camera.time_offset_s * fps,
        }
        if result.offsets is not None:
            place = result.offsets.cameras.index(camera.name)
            frames = float(result.offsets.frames[place])
            figures[camera.name]["seen_frames"] = frames if np.isfinite(frames) else None
    return figures


def _print_rig(console: Any, figures: "CalibrationFigures", calibration: "RigCalibration") -> None:
    import numpy as np

    from posekit.apps.tables import figures_table, number

    columns = ("camera", "views", "mean", "median", "held out", "by others", "+- mm", "fx")
    table = figures_table("px, over all corners found", columns)
    place = calibration.uncertainty.position_sigma_m
    for c, camera in enumerate(figures.cameras):
        content = figures.as_json()["cameras"][camera.name]
        table.add_row(
            camera.name,
            str(camera.fitted.pictures),
            f"{camera.fitted.mean_px:.2f}",
            f"{camera.fitted.median_px:.2f}",
            number(content["heldout_reprojection_px"], 2),
            number(content["predicted_reprojection_px"], 2),
            "-" if c == 0 else f"{1000 * float(np.linalg.norm(place[c])):.1f}",
            f"{calibration.rig.cameras[c].matrix[0, 0]:.1f}",
        )
    console.print(table)
