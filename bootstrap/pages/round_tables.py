"""How the rounds went, in curves and tables, and how long they took."""

from html import escape
from typing import Any

from posekit.bootstrap.pages.curves import Curve, chart
from posekit.bootstrap.pages.run_files import RunFiles
from posekit.bootstrap.pages.yields import figure
from posekit.calibration.report.page import Section, number, table

#: Steps of a round that are geometry: no picture is decoded and no network runs in them.
GEOMETRY = ("agreement", "triangulation", "evidence", "gates", "labels")

#: Figures of a round that have their place already; others are in a table of their own.
_SHOWN = (
    *("round", "kept", "labels", "label_frames", "label_joints", "label_joints_not_detected", "hand_points"),
    *("crops", "crops_detected", "heldout_joints", "heldout_reprojection_px", "heldout_pck", "min_views"),
)


def rounds_table(run: RunFiles) -> str:
    """Two rows per round: all frames, and those of which no label is made; and below it what else there are of figures."""
    rows = []
    for each in run.finished:
        metrics = each.metrics or {}
        for frames, evidence in (("all", metrics), ("held out", metrics.get("heldout_frames"))):
            if not evidence:
                continue
            own = evidence is metrics
            rows.append(
                (
                    f"{each.number}{'' if each.kept else ' (not kept)'}" if own else "",
                    frames,
                    *(figure(metrics.get(name)) if own else "" for name in ("labels", "label_frames", "hand_points")),
                    *(figure(evidence.get(name)) for name in ("crops", "crops_detected", "heldout_joints")),
                    number(_float(evidence.get("heldout_reprojection_px")), 2),
                    number(_float(evidence.get("heldout_pck")), 3),
                )
            )
    heads = (
        "round",
        "frames",
        "labels",
        "in frames",
        "3D points",
        "crops",
        "detected",
        "joints",
        "median px",
        "PCK@0.2B",
    )
    told = (
        "<p>Every camera is held out in turn, of the triangulation, not of the training, and what it detected is compared with "
        "what the others triangulate: crops of which they know enough joints; those of which it detected at least half within "
        "0.2 B (B: the longer side of the tight box around the joints); joints that they know; the median error of those it "
        "has; the share of joints within 0.2 B. Of <em>held-out</em> frames no label is made.</p>"
    )
    return table(heads, rows) + told + _other_figures(run)


def _float(value: float | None) -> float:
    return float("nan") if value is None else value


def _other_figures(run: RunFiles) -> str:
    rows = {each.number: _plain(each.metrics or {}) for each in run.finished}
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    if not names:
        return ""
    heads = ("", *(f"round {n}" for n in rows))
    return table(heads, [(name.replace("_", " "), *(figure(row.get(name)) for row in rows.values())) for name in names])


def _plain(metrics: dict[str, Any]) -> dict[str, float]:
    """The figures that are one number each and not shown elsewhere; of what holds several, name by name."""
    plain: dict[str, float] = {}
    for name, value in metrics.items():
        if name in (*_SHOWN, "heldout_frames", "seconds", "per_camera", "per_joint", "heldout_pck_curve"):
            continue
        if isinstance(value, dict):
            plain |= {f"{name} {inner}": inside for inner, inside in _plain(value).items()}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            plain[name] = value
    return plain


def curves(run: RunFiles) -> str:
    """What the held-out cameras say, by round, and by how far a joint may be off."""
    finished = [(each.number, each.metrics or {}) for each in run.finished]
    numbers = tuple(float(n) for n, _ in finished)

    def over_rounds(name: str, key: str, *, within: str | None = None) -> Curve:
        rows = [metrics if within is None else metrics.get(within) or {} for _, metrics in finished]
        return Curve(name, numbers, tuple(row.get(key) for row in rows))

    charts = [
        (
            [over_rounds(*each) for each in (("all frames", "heldout_pck"),)]
            + [over_rounds("held out", "heldout_pck", within="heldout_frames")]
            + [over_rounds("true labels", "pck", within="true_labels")],
            "PCK@0.2B", 1.0, "Share of joints within 0.2 B of what the other cameras triangulate",
        ),
        (
            [over_rounds("all frames", "heldout_reprojection_px"),
             over_rounds("held out", "heldout_reprojection_px", within="heldout_frames")],
            "px", None, "Median distance from what the other cameras triangulate",
        ),
        (
            [over_rounds("known", "crops"), over_rounds("detected", "crops_detected"), over_rounds("labels", "labels")],
            "crops", None, "Crops that the other cameras know, those the held-out camera detected, and labels made",
        ),
    ]  # fmt: skip
    figures = [
        (chart(lines, "round", name, highest=top, whole_x=True), caption) for lines, name, top, caption in charts
    ]
    for within, where in ((None, "all frames"), ("heldout_frames", "held-out frames")):
        lines = []
        for n, metrics in finished:
            curve = (metrics if within is None else metrics.get(within) or {}).get("heldout_pck_curve")
            if curve:
                lines.append(Curve(f"round {n}", tuple(curve["thresholds_b"]), tuple(curve["pck"])))
        figures.append((chart(lines, "threshold, in B", "PCK", highest=1.0), f"PCK in the held-out camera, {where}"))
    shown = "".join(
        f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>" for svg, caption in figures if svg
    )
    return f'<div class="figures curves">{shown}</div>'


def seconds_by_step(run: RunFiles) -> dict[int, dict[str, float]]:
    """Seconds of each step of each round that has them."""
    return {each.number: dict(each.seconds) for each in run.rounds if each.seconds}


def geometry_share(run: RunFiles) -> float | None:
    """Share of the rounds' time that is geometry, round 0 not counted; None where that was not measured apart."""
    rounds = [steps for number, steps in seconds_by_step(run).items() if number > 0]
    if not any("triangulation" in steps for steps in rounds):
        return None
    total = sum(sum(steps.values()) for steps in rounds)
    return sum(steps.get(name, 0.0) for steps in rounds for name in GEOMETRY) / total if total else None


def time_section(run: RunFiles) -> Section:
    """Seconds by step, and what part of them was geometry."""
    rounds = seconds_by_step(run)
    if not rounds:
        return Section("How long it took", "<p>No round has written down how long its steps took.</p>")
    names = list(dict.fromkeys(name for steps in rounds.values() for name in steps))
    rows = [
        (str(n), *(number(_float(steps.get(name)), 1) for name in names), number(sum(steps.values()), 1))
        for n, steps in rounds.items()
    ]
    everything = [sum(steps.get(name, 0.0) for steps in rounds.values()) for name in names]
    rows.append(("all", *(number(value, 1) for value in everything), number(sum(everything), 1)))
    html = table(("round", *names, "s"), rows, css="last-total")
    share = geometry_share(run)
    if share is not None:
        steps_told = ", ".join(name for name in GEOMETRY if name in names)
        html += f"<p>{100 * share:.1f} % of the rounds' time was geometry ({steps_told}).</p>"
    return Section("How long it took", html)
