"""The lenses of cameras that filmed a board, and what is written where there is nothing but lenses."""

import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from posekit.errors import PosekitError, PosekitWarning

if TYPE_CHECKING:
    from posekit.apps.calibrate import CalibrateConfig
    from posekit.calibration.boards.search import FoundBoards
    from posekit.calibration.boards.views import BoardViews
    from posekit.calibration.lenses.intrinsics import LensCalibration
    from posekit.camera import Camera, Rig


def given_lenses(config: "CalibrateConfig") -> "Rig | None":
    """Read --intrinsics, where they are given."""
    from posekit.calibration.formats import read_rig

    return None if config.intrinsics is None else read_rig(config.intrinsics)


def find_lenses(
    config: "CalibrateConfig", views: "BoardViews", given: "Rig | None"
) -> "tuple[list[Camera], dict[str, LensCalibration], dict[str, str]]":
    """Lenses of the cameras that have one, those that were calibrated here, and why others have none."""
    from posekit.calibration.lenses.intrinsics import calibrate_lens
    from posekit.camera import match_camera_names

    saw = views.seen.any(axis=-1).sum(axis=0)
    if given is not None:
        rig = match_camera_names(given, views.cameras)
        for name, size in zip(views.cameras, views.sizes, strict=True):
            rig.check_video_size(name, size, f"{views.source}: {name}")
        # Clocks are a matter of one recording, lenses are not.
        return [replace(rig[name], time_offset_s=0.0) for name in views.cameras], {}, {}
    lenses: dict[str, LensCalibration] = {}
    without: dict[str, str] = {}
    for c, name in enumerate(views.cameras):
        if not saw[c]:
            without[name] = "the board was seen in none of its pictures"
            continue
        try:
            lenses[name] = calibrate_lens(views, c, config.lens)
        except PosekitError as error:
            without[name] = str(error).removeprefix(f"{views.source}: ")
    if not lenses:
        told = "; ".join(f"{name}: {why}" for name, why in without.items())
        raise PosekitError(f"{views.source}: no lens can be calibrated: {told}")
    for name, why in without.items():
        warnings.warn(PosekitWarning(f"{views.source}: {name} is left out: {why}"), stacklevel=2)
    return [replace(lens.camera, name=name) for name, lens in lenses.items()], lenses, without


def finish_lenses(
    config: "CalibrateConfig",
    console: Any,
    found: "FoundBoards",
    calibrated: "dict[str, LensCalibration]",
    without: dict[str, str],
    start: float,
    why: str,
) -> None:
    """Write the lenses alone: every camera at the world's origin."""
    from posekit.apps.calibrate_outputs import settings_of, write_outputs
    from posekit.apps.tables import figures_table
    from posekit.calibration.report.page import record_section, words_section, write_report
    from posekit.camera import Rig

    if not calibrated:
        raise PosekitError(f"{found.views.source}: {why}; with --intrinsics there is nothing else to be found")
    rig = Rig(tuple(replace(lens.camera, name=name) for name, lens in calibrated.items()), str(config.folder))
    content = lens_figures(calibrated) | {
        "seconds": time.perf_counter() - start,
        "board": str(found.views.board),
        "notes": list(found.notes),
        "lenses_only": why,
        "unlinked": without,
    }
    told = f"Only the lenses are calibrated ({why}): every camera in {config.out} stands at the origin."
    words = [line for lens in calibrated.values() for line in lens.warnings]
    write_outputs(config, rig, content)
    if config.report is not None:
        from posekit.calibration.report.page import lens_sections

        sections = [
            *([words_section("How the pictures were read", found.notes)] if found.notes else []),
            words_section("What is weak", words or ["Nothing weak was found."]),
            *lens_sections(found.views, calibrated),
            record_section("How this was made", settings_of(config)),
        ]
        write_report(config.report, f"Lenses of {config.folder}", (told,), sections)
    table = figures_table("lenses", ("camera", "views", "rms px", "fx px", "+-", "fy px", "+-"))
    for name, lens in calibrated.items():
        matrix = lens.camera.matrix
        table.add_row(
            name,
            str(len(lens.frames)),
            f"{lens.rms_px:.3f}",
            f"{matrix[0, 0]:.1f}",
            f"{lens.sigma['fx']:.1f}",
            f"{matrix[1, 1]:.1f}",
            f"{lens.sigma['fy']:.1f}",
        )
    console.print(table)
    for line in (told, *words):
        console.print(line)


def lens_figures(calibrated: "dict[str, LensCalibration]") -> dict[str, Any]:
    """Figures of every camera's lens by itself."""
    import numpy as np

    cameras = {
        name: {
            "mean_reprojection_px": lens.mean_px,
            "rms_reprojection_px": lens.rms_px,
            "views": len(lens.frames),
            "sigma": lens.sigma,
        }
        for name, lens in calibrated.items()
    }
    corners = [int(lens.used.sum()) for lens in calibrated.values()]
    means = [lens.mean_px for lens in calibrated.values()]
    return {
        "mean_reprojection_px": float(np.average(means, weights=corners)),
        "heldout_reprojection_px": None,
        "cameras": cameras,
    }
