"""What a report says in sentences: how the run went, what the gates found, what the rig sets."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from posekit.bootstrap.pages.run_files import RunFiles, read_json_of_run


def summary(run: RunFiles) -> list[str]:
    """How the run went, from before it to the last round that was kept, a paragraph each."""
    finished = run.finished
    first, kept = finished[0], [each for each in finished if each.kept][-1]
    before, after = first.metrics or {}, kept.metrics or {}
    left_out = [str(each.number) for each in finished if not each.kept]
    count = len(finished) - 1
    told = f"{count} {'round' if count == 1 else 'rounds'}"
    if left_out:
        one = len(left_out) == 1
        told += f", of which {'round' if one else 'rounds'} {_listed(left_out)} {'was' if one else 'were'} not kept"
    labels = sum((each.metrics or {}).get("labels", 0) for each in finished)
    lines = [
        f"{told}; {labels} labels made. The result is that of round {kept.number}."
        if count
        else "No round has been finished yet; this is what the run starts from."
    ]
    if count:
        lines.append(_went(before, after, "in all frames"))
        if before.get("heldout_frames") and after.get("heldout_frames"):
            lines.append(_went(before["heldout_frames"], after["heldout_frames"], "in held-out frames"))
    return lines


def _went(before: dict[str, Any], after: dict[str, Any], where: str) -> str:
    """From what to what the evidence went."""
    return (
        f"With a detection of their own, {where}: {before['crops_detected']} of {before['crops']} crops before, "
        f"{after['crops_detected']} of {after['crops']} after; joints within 0.2 B of what the other cameras say: "
        f"{_share(before['heldout_pck'])} of {before['heldout_joints']}, then {_share(after['heldout_pck'])} of "
        f"{after['heldout_joints']}."
    )


def _share(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.1f} %"


def gate_lines(run: RunFiles) -> list[str]:
    """Alarms, exclusions and remarks of every round; said once where rounds say the same."""
    lines: dict[str, list[int]] = {}
    judged = [each for each in run.finished if each.gates is not None]
    for each in judged:
        for line in _of_gates(each.gates or {}):
            lines.setdefault(line, []).append(each.number)
    if not judged:
        return ["No round has written down what its gates say."]
    if not lines:
        return ["No alarm in any round, and nothing was left out."]
    return [
        f"{line} ({'round' if len(of) == 1 else 'rounds'} {_listed([str(n) for n in of])})"
        for line, of in lines.items()
    ]


def _of_gates(gates: dict[str, Any]) -> Iterator[str]:
    for alarm in gates.get("alarms", []):
        yield f"Alarm: {alarm['message']}"
    for name, what in (
        ("excluded_cameras", "Left out of triangulation and labels: camera"),
        ("excluded_joints", "Left out of triangulation and labels: joint"),
        ("mended_cameras", "Left and right are exchanged back in camera"),
    ):
        if gates.get(name):
            yield f"{what}{'s' if len(gates[name]) > 1 else ''} {_listed(gates[name])}."
    for remark in gates.get("remarks", []):
        yield f"Not to be judged: {remark}"


def rig_lines(run: RunFiles) -> list[str]:
    """Whether the rig was refined, and the threshold that it sets."""
    lines = []
    rig = rig_figures(run)
    if rig.get("rig") == "refined":
        lines.append(
            "The rig was first refined on the people who move in it: their median error in held-out frames went from "
            f"{rig['heldout_median_px_before']:.2f} to {rig['heldout_median_px_after']:.2f} px."
        )
    elif "rig" in rig:
        lines.append("The rig is used as it was given" + (f": {rig['why']}." if rig.get("why") else "."))
    else:
        lines.append("Whether the rig was refined is not written down.")
    if "rig_residual_px" in rig:
        lines.append(
            f"Nine in ten of people's joints that agree lie within {rig['rig_residual_px']:.2f} px of their reprojection."
        )
    if "threshold_px" in rig:
        low, high = rig["threshold_range_px"]
        lines.append(
            f"Views had to agree within {rig['threshold_px']:.1f} px (median of the last round's labels; {low:.1f} to "
            f"{high:.1f}, by the size of the instance in the view): the paper's 4 px of a crop of 368 px, raised to what the "
            "rig leaves of people and the views of the first detections, and to 0.2 B at most."
        )
    for each in run.finished:
        if (views := (each.metrics or {}).get("min_views")) is not None:
            lines.append(f"{views} views had to agree on a point" + ("." if views > 2 else ": two prove little."))
            break
    return lines


def rig_figures(run: RunFiles) -> dict[str, Any]:
    """What was decided about the rig, its residual in the last round, and the threshold of the labels (px)."""
    rig: dict[str, Any] = read_json_of_run(run.folder / "rig.json") or {}
    for each in run.finished:
        residual = (each.metrics or {}).get("rig_residual_px")
        if residual is not None:
            rig["rig_residual_px"] = residual
        if each.labels is not None and np.isfinite(each.labels.threshold_px).any():
            known = each.labels.threshold_px[np.isfinite(each.labels.threshold_px)]
            rig["threshold_px"] = float(np.median(known))
            rig["threshold_range_px"] = [float(known.min()), float(known.max())]
    return rig


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
