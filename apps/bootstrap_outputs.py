"""What ``posekit bootstrap`` shows of a run: its figures, a table, pictures of its labels, the report and the review page."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posekit.bootstrap.report import Filmed
    from posekit.bootstrap.settings import BootstrapInput

#: Labels on the picture of a round's.
_SHEET_LABELS = 64


def run_figures(history: list[dict[str, Any]], run: Path) -> dict[str, Any]:
    """Figures of the run: before (round 0), after (the last round that was kept), and all rounds."""
    from posekit.bootstrap.pages.round_tables import geometry_share, seconds_by_step
    from posekit.bootstrap.pages.run_files import RunFiles
    from posekit.bootstrap.pages.words import rig_figures

    kept = [row for row in history if row.get("kept", True)]
    before, after, files = history[0], kept[-1], RunFiles(run)
    return {
        "crops_detected_before": before["crops_detected"],
        "crops_detected_after": after["crops_detected"],
        "hand_crops": after["boxes"],
        "heldout_reprojection_px_before": before["heldout_reprojection_px"],
        "heldout_reprojection_px_after": after["heldout_reprojection_px"],
        "heldout_pck_before": before["heldout_pck"],
        "heldout_pck_after": after["heldout_pck"],
        "heldout_frames_before": before["heldout_frames"],
        "heldout_frames_after": after["heldout_frames"],
        "labels": after.get("labels", 0),
        "finds": after.get("finds"),
        "rounds_kept": [row["round"] for row in kept],
        "rounds_not_kept": [row["round"] for row in history if row not in kept],
        "rig": rig_figures(files),
        "alarms": {each.number: each.gates.get("alarms", []) for each in files.finished if each.gates},
        "seconds": seconds_by_step(files),
        "geometry_share": geometry_share(files),
        "rounds": history,
    }


def write_outputs(
    run: Path, start: "BootstrapInput", on_progress: Callable[[str, int, int], None], *, report: bool, review: bool
) -> None:
    """Draw the labels; write the report, with the hands in 3D, and the review page where they are asked for."""
    from posekit.bootstrap.pages.review_page import write_review_page
    from posekit.bootstrap.report import write_run_report

    write_pictures(run)
    if report:
        on_progress("writing the report", 0, 1)
        write_run_report(run, filmed_by(run, start))
        on_progress("writing the report", 1, 1)
    if review:
        filmed = filmed_by(run, start)

        def on_picture(done: int, total: int) -> None:
            on_progress("cutting pictures for the review", done, total)

        write_review_page(run, filmed.capture, filmed.rig, on_picture)


def write_round_report(run: Path, start: "BootstrapInput", number: int) -> None:
    """Write the report as it is after a round; not again for the first rounds of a run that is taken up.

    What hinders it is a warning: the rounds need no report.
    """
    import warnings

    from posekit.bootstrap.report import write_run_report
    from posekit.errors import NoSpaceError, PosekitError, PosekitWarning

    if (run / f"round_{number + 1}").exists():
        return
    try:
        write_run_report(run, filmed_by(run, start), render=False)
    except NoSpaceError:
        raise
    except PosekitError as error:
        warnings.warn(PosekitWarning(f"the report of round {number} could not be written: {error}"), stacklevel=2)


def filmed_by(run: Path, start: "BootstrapInput") -> "Filmed":
    """Return the capture with the rig that the run uses: its own, which may be refined, where it has one."""
    from posekit.bootstrap.report import Filmed
    from posekit.calibration.formats import read_rig

    own = run / "rig.toml"
    return Filmed(start.capture, read_rig(own) if own.exists() else start.rig)


def write_pictures(run: Path) -> None:
    """Draw the labels of every round that was run, as a sheet of crops with camera, frame and part."""
    from posekit.bootstrap.pages.run_files import RunFiles, part_skeleton
    from posekit.view.contact_sheet import contact_sheet
    from posekit.view.overlay import write_picture

    files = RunFiles(run)
    for each in files.rounds:
        labels = each.labels
        if labels is None or not len(labels):
            continue
        count = min(_SHEET_LABELS, len(labels))
        chosen = [int(n * len(labels) / count) for n in range(count)]
        captions = [f"{labels.cameras[labels.camera[n]]} frame {labels.frame[n]} {labels.instance(n)}" for n in chosen]
        skeleton = part_skeleton(files.made_from(each.number).points().skeleton, labels.part[0])
        sheet = contact_sheet(
            [labels.crop(n) for n in chosen], labels.joints_crop_px[chosen], skeleton=skeleton, captions=captions
        )
        write_picture(each.folder / "labels.png", sheet)


def print_figures(console: Any, figures: dict[str, Any], folder: Path) -> None:
    """Print two rows per round, all frames and those of which no label is made, and what the rig sets."""
    from posekit.apps.tables import figures_table, number

    table = figures_table(
        "every camera held out in turn, against what the others triangulate",
        ("round", "frames", "labels", "3D points", "crops", "detected*", "joints", "px", "PCK@0.2B"),
    )
    for row in figures["rounds"]:
        for frames, evidence in (("all", row), ("held out", row["heldout_frames"])):
            if evidence:
                table.add_row(
                    str(row["round"]) if evidence is row else "",
                    frames,
                    str(row.get("labels", "-")) if evidence is row else "",
                    str(row["hand_points"]) if evidence is row else "",
                    str(evidence["crops"]),
                    str(evidence["crops_detected"]),
                    str(evidence["heldout_joints"]),
                    number(evidence["heldout_reprojection_px"], 2),
                    number(evidence["heldout_pck"], 3),
                )
    console.print(table)
    console.print("crops, joints: what the other cameras triangulate; held out: frames of which no label is made")
    console.print("* crops in which at least half of that lies within 0.2 B")
    for line in _remarks(figures):
        console.print(line)
    pages = "".join(f", {name}" for name in ("report.html", "review.html") if (folder / name).exists())
    console.print(f"labels, weights and 3D of every round{pages}: {folder}")


def _remarks(figures: dict[str, Any]) -> list[str]:
    """Lines below the table: threshold and rig, the rounds that were kept, the alarms."""
    rig, lines = figures["rig"], []
    first = figures["rounds"][0].get("detection_residual_b") if figures["rounds"] else None
    if "threshold_px" in rig:
        what = {"refined": "refined on people", "as given": "as given"}.get(rig.get("rig", ""), "as given")
        low, high = rig["threshold_range_px"]
        lines.append(
            f"views agree within {rig['threshold_px']:.1f} px ({low:.1f} to {high:.1f}, by the size in the view); "
            f"the rig is {what}"
            + (
                f", nine joints in ten lie within {rig['rig_residual_px']:.2f} px on it"
                if "rig_residual_px" in rig
                else ""
            )
            + (f", of the first detections within {first:.2f} B" if first else "")
        )
    not_kept = figures["rounds_not_kept"]
    kept = f"rounds kept: {', '.join(map(str, figures['rounds_kept']))}"
    lines.append(kept + (f"; not kept: {', '.join(map(str, not_kept))}" if not_kept else ""))
    told = dict.fromkeys(alarm["message"] for alarms in figures["alarms"].values() for alarm in alarms)
    lines += [f"alarm: {message}" for message in told]
    finds = {camera: row for camera, row in (figures["finds"] or {}).items() if row["missed"]}
    if finds:
        told_of = ", ".join(
            f"{camera} {row['found']} (of {row['missed']}, {row['known']} known to the others)"
            for camera, row in finds.items()
        )
        lines.append(
            f"detected where the start had nothing, within 0.2 B of what the other cameras triangulate: {told_of}"
        )
    if figures["geometry_share"] is not None:
        lines.append(f"geometry took {100 * figures['geometry_share']:.1f} % of the time")
    return lines
