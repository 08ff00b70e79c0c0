"""What ``posekit evaluate`` prints."""

from typing import Any

from posekit.apps.tables import figures_table, number


def print_figures(console: Any, figures: dict[str, Any]) -> None:
    """Print a table for each kind of figure that there is."""
    together = ", ".join(f"{count} in {frames} frames" for count, frames in figures["people_per_frame"].items())
    console.print(f"{figures['result']}: people at once: {together}", soft_wrap=True)
    for name, offset in figures["frame_offsets"].items():
        if offset:
            console.print(
                f"{name}: row n is taken as frame n {'-' if offset < 0 else '+'} {abs(offset)}", soft_wrap=True
            )
    for name, joints in figures["joints_without_counterpart"].items():
        if joints:
            console.print(f"{name}: not in the others: {', '.join(joints)}", soft_wrap=True)
    console.print(_persons(figures))
    console.print(_bones(figures))
    if "references" in figures:
        console.print(_identities(figures))
        console.print(_poses(figures))
        if "actions" in figures:
            console.print(_actions(figures["actions"], figures["actions_mean"]))
        if figures["reference_points_unsure"]:
            console.print(
                f"{figures['reference_points_unsure']} points of the reference are less sure than 100 mm, and left out"
            )
        if figures["relative_to_root"]:
            told = f"; after one rotation for all frames {number(figures['mpjpe_turned_mm'], 1)} mm"
            root = " and ".join(joint.replace("_", " ") for joint in figures["root"])
            console.print(
                f"of one view: MPJPE and PCK are relative to the root ({root}), in the result's own axes{told}"
            )
            reflected = number(figures["pa_mpjpe_reflected_mm"], 1)
            console.print(f"PA- is without reflections; with them, as RepNet's script has it, {reflected} mm")
    if "held_out" in figures:
        console.print(_held_out(figures["held_out"]))


def _persons(figures: dict[str, Any]) -> Any:
    views = {"mean_reprojection_px": "kept px", "mean_all_views_px": "all px", "median_all_views_px": "all median px"}
    title = "; off the detections: kept views, all views"
    if "mean_all_views_px" not in figures:
        views, title = {}, ""
    table = figures_table(
        f"{len(figures['joints'])} joints{title}", ("person", "frames", "points", "missing", *views.values())
    )
    for p, one in enumerate(figures["persons"]):
        counts = (str(one[key]) for key in ("frames", "points", "points_missing"))
        table.add_row(str(p), *counts, *(number(one[key], 2) for key in views))
    return table


def _bones(figures: dict[str, Any]) -> Any:
    table = figures_table(
        "Bones over time: spread of their lengths, and left against right",
        ("person", "part", "bones", "mean mm", "std mm", "std %", "L-R mm"),
    )
    rows = {str(p): one for p, one in enumerate(figures["persons"])}
    rows |= {f"ref {r}": one for r, one in enumerate(figures.get("references", ()))}
    for name, one in rows.items():
        for part, values in one["parts"].items():
            if values["bones"]:
                cells = (number(values[key], 1) for key in ("mean_mm", "std_mm"))
                percent, sides = number(_percent(values["variation"]), 1), number(values["symmetry_mm"], 1)
                table.add_row(name, part, str(values["bones"]), *cells, percent, sides)
    return table


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _identities(figures: dict[str, Any]) -> Any:
    table = figures_table(
        f"Who is who, within {figures['match_distance_m']:g} m",
        ("ref", "its frames", "in common", "person", "frames as this person", "as anyone", "persons"),
    )
    for r, one in enumerate(figures["references"]):
        table.add_row(
            str(r),
            str(one["frames"]),
            str(one["frames_common"]),
            "-" if one["person"] is None else str(one["person"]),
            str(one["frames_same_identity"]),
            str(one["frames_matched"]),
            str(one["identities"]),
        )
    return table


def _poses(figures: dict[str, Any]) -> Any:
    columns = {
        "mpjpe_mm": "MPJPE",
        "mpjpe_root_mm": "root",
        "n_mpjpe_mm": "N-",
        "pa_mpjpe_mm": "PA-",
        "bone_length_error_mm": "bones",
    }
    shares = {"pck150": "PCK150", "auc150": "AUC", "pcp": "PCP", "share_found": "found"}
    table = figures_table(
        f"Off the reference: mm, and shares; {len(figures['joints'])} joints",
        ("ref", *columns.values(), *shares.values()),
    )
    rows = {str(r): one for r, one in enumerate(figures["references"])}
    for name, one in {**rows, **({"all": figures} if len(rows) > 1 else {})}.items():
        table.add_row(name, *(number(one[key], 1) for key in columns), *(number(one[key], 3) for key in shares))
    return table


def _actions(actions: dict[str, Any], mean: dict[str, Any]) -> Any:
    """Protocol I (MPJPE) and II (PA-MPJPE) of each action, and their means over the actions."""
    columns = {"mpjpe_mm": "P-I", "pa_mpjpe_mm": "P-II", "n_mpjpe_mm": "N-"}
    shares = {"pck150": "PCK150", "auc150": "AUC"}
    table = figures_table("Each action: mm, and shares", ("action", "frames", *columns.values(), *shares.values()))
    for action, one in {**actions, "mean": {"frames": "", **mean}}.items():
        cells = (*(number(one[key], 1) for key in columns), *(number(one[key], 3) for key in shares))
        table.add_row(action, str(one["frames"]), *cells)
    return table


def _held_out(figures: dict[str, Any]) -> Any:
    table = figures_table(
        f"Each camera against what the others triangulate (within {figures['threshold_px']:.1f} px)",
        ("left out", "detections", "mean px", "median px"),
    )
    for name, one in {**figures["cameras"], "all": figures}.items():
        table.add_row(name, str(one["detections"]), number(one["mean_px"], 2), number(one["median_px"], 2))
    return table
