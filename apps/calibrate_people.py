"""A rig refined on the people who move in it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posekit.apps.calibrate import CalibrateConfig
    from posekit.calibration.people.refinement import Refinement
    from posekit.camera import Rig


def refine(config: "CalibrateConfig") -> None:
    """Run ``posekit calibrate --refine``."""
    import time

    from posekit.apps.calibrate_world import (
        check_world,
        identified_people,
        place_in_world,
        read_world_inputs,
        whole_way,
    )
    from posekit.apps.provenance import write_record
    from posekit.apps.tables import figures_console
    from posekit.calibration.formats import read_rig, write_aniposelib
    from posekit.calibration.people.refinement import refine_rig
    from posekit.calibration.report.page import words_section, write_report
    from posekit.calibration.report.refinement import refinement_sections, refinement_summary
    from posekit.camera import match_camera_names
    from posekit.io.files import write_json

    assert config.refine is not None
    assert config.keypoints is not None
    assert config.out is not None
    console = figures_console()
    start = time.perf_counter()
    whole = read_rig(config.refine)
    points = read_world_inputs(config).points
    check_world(config, points, whole.names, None)
    whole, offset_words = _with_time_offsets(config, whole)
    people, rig = identified_people(config, whole)
    refinement = refine_rig(people, rig, config.free)
    refined, worlds, missed = place_in_world(config, refinement.rig, None, points, people)
    figures = _figures(refinement, rig, time.perf_counter() - start)
    words = [*offset_words, *(line for world in worlds for line in world.words), *missed]
    figures["words"] = words
    write_aniposelib(config.out, refined, f"posekit calibrate --refine {config.refine} --free {config.free}")
    inputs = [config.refine, config.keypoints, *([config.points] if config.points else [])]
    write_record(config.out, "calibrate", config, inputs, figures=figures)
    if config.json:
        write_json(config.json, figures)
    if config.report:
        sections = [*refinement_sections(refinement, rig, whole_way(worlds))]
        if words:
            sections.append(words_section("The world and the clocks", words))
        write_report(
            config.report, f"{config.refine.name}, refined on people", (refinement_summary(refinement),), sections
        )
    _print(console, figures)
    for line in words:
        console.print(line)
    left = [name for name in match_camera_names(whole, people.cameras).names if name not in rig.names]
    if left:
        console.print(f"not in {config.out}, for nothing was seen by them: {', '.join(left)}")


def _figures(refinement: "Refinement", rig: Any, seconds: float) -> dict[str, Any]:
    """Figures of the held-out frames before and after, of the used ones, and how far each camera went."""
    from dataclasses import asdict

    import numpy as np

    moved = {}
    for before, after in zip(rig.cameras, refinement.rig.cameras, strict=True):
        turn = np.clip((np.trace(before.rotation @ after.rotation.T) - 1) / 2, -1, 1)
        moved[before.name] = {
            "moved_m": float(np.linalg.norm(before.centre_world - after.centre_world)),
            "turned_deg": float(np.degrees(np.arccos(turn))),
            "focal_ratio": float(after.matrix[0, 0] / before.matrix[0, 0]),
        }
    return {
        "improved": refinement.improved,
        "heldout_before": asdict(refinement.before),
        "heldout_after": asdict(refinement.after),
        "used_before": asdict(refinement.used_before),
        "used_after": asdict(refinement.used_after),
        "heldout_frames": int(refinement.held_out.sum()),
        "frames": len(refinement.held_out),
        "cameras": moved,
        "seconds": seconds,
    }


def _print(console: Any, figures: dict[str, Any]) -> None:

    from posekit.apps.tables import figures_table, number

    before, after = figures["heldout_before"], figures["heldout_after"]
    table = figures_table(
        f"median px in {figures['heldout_frames']} held-out frames of {figures['frames']}",
        ("camera", "before", "after", "moved m", "turned deg", "focal x"),
    )
    for name, camera in figures["cameras"].items():
        table.add_row(
            name,
            f"{before['camera_median_px'][name]:.2f}",
            f"{after['camera_median_px'][name]:.2f}",
            f"{camera['moved_m']:.3f}",
            f"{camera['turned_deg']:.2f}",
            f"{camera['focal_ratio']:.3f}",
        )
    for p, medians in enumerate(zip(before["person_median_px"], after["person_median_px"], strict=True)):
        if len(before["person_median_px"]) > 1:
            table.add_row(f"person {p}", *(number(px, 2) for px in medians), "", "", "")
    table.add_row("all", f"{before['median_px']:.2f}", f"{after['median_px']:.2f}", "", "", "")
    console.print(table)
    console.print(
        f"means {before['mean_px']:.2f} and {after['mean_px']:.2f} px; points found: {before['points_found']} and "
        f"{after['points_found']} of {before['points']}"
    )
    if not figures["improved"]:
        console.print("no better in the frames that were not used: the rig was left as it is")


def _with_time_offsets(config: "CalibrateConfig", rig: "Rig") -> "tuple[Rig, list[str]]":
    """The rig with the time offsets that the people's motion shows, and words on them.

    They are what is left beside the keypoints' times and the offsets that the rig has already: those are added to, and a camera
    that is not clearly off keeps its own.
    """
    import numpy as np

    from posekit.apps.in_step import has_timestamps, in_step
    from posekit.apps.triangulate import open_detections
    from posekit.calibration.people.time_offsets import offsets_from_people
    from posekit.camera import match_camera_names
    from posekit.errors import PosekitError

    assert config.keypoints is not None
    if config.time_offsets == "off":
        return rig, []
    source = open_detections(config.keypoints, rig, config.skeleton, config.fps)
    rig = match_camera_names(rig, source.cameras)
    own_s = np.array([rig[name].time_offset_s for name in source.cameras])
    try:
        stepped = in_step(config.keypoints, source, rig, say=False)  # whoever tells people apart says it
        offsets = offsets_from_people(stepped, rig.select(source.cameras), fps=config.fps)
    except PosekitError:
        if config.time_offsets == "on":
            raise
        return rig, []  # keypoints without a rate have no time that could be off
    if np.isnan(offsets.frames).all():
        return rig, ["whether the cameras are in step cannot be told from so little motion: they are taken as they are"]
    stamped = has_timestamps(config.keypoints)
    clocks = "off its timestamps" if stamped else "off what the rig says" if own_s.any() else "late"
    words = [
        f"{name} is {frames:+.2f} frames {clocks}, as the people's motion shows"
        for name, frames, clear in zip(offsets.cameras, offsets.frames, offsets.out_of_step, strict=True)
        if clear
    ]
    if config.time_offsets == "auto":
        if stamped or not words:
            return rig, [f"{line}: taken as it is; --time-offsets on brings it into step" for line in words]
        offsets = replace(offsets, frames=np.where(offsets.out_of_step, offsets.frames, 0))
    # Its own and what is left.
    whole = replace(offsets, frames=own_s * offsets.fps + offsets.frames)
    return whole.applied_to(rig), [f"{line}: brought into step" for line in words]
