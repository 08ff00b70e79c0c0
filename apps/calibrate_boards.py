"""A rig from a board that all cameras filmed."""

import time
import warnings
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
    from posekit.calibration.rigs.uncertainty import RigUncertainty
    from posekit.calibration.world.marked_points import MarkedPoints
    from posekit.camera import Camera, Rig

#: Offsets are believed where they lower the corners' noise by this share or more.
_BETTER = 0.15

#: The bundle adjustment takes a board to move evenly from a moment to the next. That puts clocks off by this much (s) where
#: moments are one second apart, and by the square of it elsewhere: hands that carried a board at 10 frames/s gave 10 ms, at
#: 30 frames/s 1 to 2. The board's motion by itself knows offsets better than it says by up to this factor.
_UNEVEN_S, _MODEST = 1.0, 2.0


@dataclass(frozen=True)
class _Result:
    """What was found of a rig, before it is moved to its world."""

    calibration: "RigCalibration"
    figures: "CalibrationFigures"
    offsets: "TimeOffsets | None"
    said: tuple[str, ...]
    out_of_step: bool = False


def calibrate(config: "CalibrateConfig") -> None:
    """Run ``posekit calibrate FOLDER --board``."""
    from posekit.apps.calibrate_lenses import find_lenses, finish_lenses, given_lenses
    from posekit.apps.calibrate_world import check_world, read_world_inputs
    from posekit.apps.progress import progress_bars
    from posekit.apps.tables import figures_console
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
    check_world(config, inputs.points, capture.cameras, capture)
    with progress_bars() as progress:
        found = film_views(
            capture,
            board,
            max_moments=config.max_moments,
            motion=config.time_offsets != "off",
            progress=lambda done, total: progress("pictures", done, total),
        )
    console = figures_console()
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
    if config.time_offsets == "off" or views.fps is None:
        return _Result(calibration, _figures(calibration, lenses, settings), None, ())
    offsets, untold = _time_offsets(views, lenses, calibration.rig.names)
    on = config.time_offsets == "on" and len(untold) < len(calibration.rig)
    said = _words_on_offsets(views, offsets, untold, on=on)
    out_of_step = False
    if on or (offsets.out_of_step.any() and not untold):
        stepped_views, stepped_lenses, stepped = _in_step(views, lenses, offsets, settings)
        other = calibrate_rig(stepped_views, _with_poses(stepped_lenses, calibration.rig), stepped, start=True)
        better = other.noise_px < (1 - _BETTER) * calibration.noise_px and not set(other.unlinked) - set(
            calibration.unlinked
        )
        if on or (better and views.times_s is None):
            views, lenses, settings, calibration = (
                stepped_views,
                stepped_lenses,
                stepped,
                _with_clock_sigma(other, offsets),
            )
            said += ("the rig was made with the cameras brought into step; its file says by how much (time_offset_s)",)
        elif better:
            out_of_step = True
            gain = f"{other.noise_px:.2f} px instead of {calibration.noise_px:.2f}"
            said += (
                f"in step the corners' noise would be {gain}: run again with --time-offsets on, or mend the timestamps",
            )
        else:
            said = ()
    figures = _figures(calibration, lenses, settings)
    return _Result(calibration, figures, offsets, said, out_of_step)


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


def _time_offsets(
    views: "BoardViews", lenses: "list[Camera]", linked: tuple[str, ...]
) -> "tuple[TimeOffsets, list[str]]":
    """The offsets that the board's motion shows, and the linked cameras whose offset it does not show."""
    import numpy as np

    from posekit.calibration.rigs.time_offsets import offsets_from_boards

    offsets = offsets_from_boards(views, lenses)
    known = dict(zip(offsets.cameras, np.isfinite(offsets.frames).tolist(), strict=True))
    untold = [name for name in linked if not known[name]]
    # The world's clock is the first camera's, if its offset is told.
    return offsets.relative_to(linked[0]) if known[linked[0]] else offsets, untold


def _words_on_offsets(views: "BoardViews", offsets: "TimeOffsets", untold: list[str], *, on: bool) -> tuple[str, ...]:
    import numpy as np

    clocks = "off its timestamps" if views.times_s is not None else "out of step"
    late = np.flatnonzero(offsets.out_of_step)
    said = tuple(
        f"{offsets.cameras[c]} is {offsets.frames[c]:+.2f} frames {clocks}, as the board's motion shows" for c in late
    )
    if not untold:
        return said
    done = ""
    if on:
        done = "; taken as filmed"
    elif len(late):
        done = "; nothing was brought into step, which --time-offsets on does for the rest"
    names = ", ".join(untold) if np.isfinite(offsets.frames).any() else "the cameras"
    return (
        *said,
        f"no time offset can be told of {names}: the board was not seen to move by two cameras at once{done}",
    )


def _in_step(
    views: "BoardViews", lenses: "list[Camera]", offsets: "TimeOffsets", settings: Any
) -> "tuple[BoardViews, list[Camera], Any]":
    """Views and lenses with the offsets, and settings that look for those which the pictures' geometry tells better."""
    import numpy as np

    from posekit.calibration.rigs.placed_boards import mean_times

    times = mean_times(views)
    assert times is not None
    uneven = _UNEVEN_S * float(np.median(np.diff(np.sort(times)))) ** 2
    seconds = np.nan_to_num(offsets.seconds)
    sigma = np.nan_to_num(offsets.sigma_frames) / offsets.fps
    free = np.where(sigma > _MODEST * uneven, sigma, 0)
    return (
        views.in_step(seconds.tolist()),
        [replace(lens, time_offset_s=float(s)) for lens, s in zip(lenses, seconds, strict=True)],
        replace(settings, time_sigma_s=tuple(free.tolist())),
    )


def _with_clock_sigma(calibration: "RigCalibration", offsets: "TimeOffsets") -> "RigCalibration":
    """The same, with clocks known no better than from the board's motion by itself: it moves but nearly evenly."""
    import numpy as np

    places = [offsets.cameras.index(name) for name in calibration.rig.names]
    sigma = np.fmax(calibration.uncertainty.time_offset_sigma_s, offsets.sigma_frames[places] / offsets.fps)
    return replace(calibration, uncertainty=replace(calibration.uncertainty, time_offset_sigma_s=sigma))


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
    from posekit.apps.calibrate_world import identified_people, place_in_world, whole_way
    from posekit.calibration.report.advice import advice, verdict
    from posekit.calibration.report.figures import uncertainty_figures
    from posekit.calibration.report.page import calibration_sections, record_section, words_section, write_report

    calibration, figures = result.calibration, result.figures
    people = None if config.keypoints is None else identified_people(config, calibration.rig)[0]
    rig, worlds, missed = place_in_world(config, calibration.rig, calibration, points, people)
    whole = whole_way(worlds)
    uncertainty = calibration.uncertainty.scaled(float(whole.world_from_old.scale) if whole else 1.0)
    content = figures.as_json()
    for name, known in uncertainty_figures(calibration.rig, uncertainty).items():
        content["cameras"][name] |= known
    content |= {
        "seconds": time.perf_counter() - start,
        "board": str(found.views.board),
        "notes": list(found.notes),
        "unlinked": calibration.unlinked | without,
        "world": [words for world in worlds for words in world.words] + missed,
        "time_offsets": _offset_figures(result, found.views.fps),
        "lenses": lens_figures(calibrated)["cameras"] if calibrated else {},
    }
    lens_words = [words for lens in calibrated.values() for words in lens.warnings]
    summary = (verdict(figures, calibration, whole, out_of_step=result.out_of_step), *result.said, *missed)
    weak = advice(figures, calibration, whole)
    content |= {"verdict": summary[0], "said": list(result.said), "advice": list(weak), "lens_warnings": lens_words}
    write_outputs(config, rig, content)
    if config.report is not None:
        sections = [
            *([words_section("How the pictures were read", found.notes)] if found.notes else []),
            *([words_section("Lenses by themselves", lens_words)] if lens_words else []),
            *([words_section("The world", content["world"])] if content["world"] else []),
            *calibration_sections(calibration, figures, whole),
            record_section("How this was made", settings_of(config)),
        ]
        write_report(config.report, f"Calibration of {config.folder}", summary, sections)
    _print_rig(console, figures, calibration.rig, uncertainty)
    for line in (*summary, *(words for world in worlds for words in world.words), *weak):
        console.print(line)
    if rig.cameras[0].name == calibration.reference and not any(world.z_up for world in worlds):
        console.print(
            f"The world is {calibration.reference}'s own, y down; --world board, points or people sets it upright."
        )


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


def _print_rig(console: Any, figures: "CalibrationFigures", rig: "Rig", uncertainty: "RigUncertainty") -> None:
    import numpy as np

    from posekit.apps.tables import figures_table, number

    columns = ("camera", "views", "mean", "median", "held out", "by others", "+- mm", "fx")
    table = figures_table("px, over all corners found", columns)
    place = uncertainty.position_sigma_m
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
            f"{rig.cameras[c].matrix[0, 0]:.1f}",
        )
    console.print(table)
    console.print("held out: in moments the rig was not made from; by others: boards placed without that camera;")
    console.print("+- mm: how well its place is known, beside the first camera (one standard deviation)")
