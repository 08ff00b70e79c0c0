"""The report of a run: one HTML file that needs nothing else, made from what lies in the run folder."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from posekit.bootstrap.pages.cells import CELL_LEGEND, CELL_STYLE
from posekit.bootstrap.pages.curves import CURVE_STYLE
from posekit.bootstrap.pages.round_tables import curves, rounds_table, time_section
from posekit.bootstrap.pages.run_files import RoundFiles, RunFiles
from posekit.bootstrap.pages.sheets import LabelledRound, reason_counts, rejected_sheet
from posekit.bootstrap.pages.space import SPACE_STYLE, space_picture
from posekit.bootstrap.pages.words import gate_lines, rig_lines, summary
from posekit.bootstrap.pages.yields import camera_table, joint_table
from posekit.calibration.report.page import Section, record_section, table, words_section, write_report
from posekit.camera import Rig
from posekit.capture import Capture
from posekit.errors import PosekitError

#: What the report is called in a run folder.
REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Filmed:
    """What pictures are cut from, and where they are looked at from: the capture, and the rig that the run uses."""

    capture: Capture
    rig: Rig


def write_run_report(folder: str | Path, filmed: Filmed | None = None, *, render: bool = True) -> Path:
    """Write ``report.html`` into a run folder; without `filmed` no frames that were rejected, and no 3D, are shown.

    render: the 3D by Open3D where there is one, which takes some seconds; else it is drawn as lines.

    What an older or an unfinished run has not written is said in its place. Raises PosekitError where the run has no finished
    round, or a file of it is damaged.
    """
    run = RunFiles(Path(folder))
    if not run.finished:
        raise PosekitError(f"{folder}: has no finished round, of which there could be a report")
    page = Path(folder) / REPORT_FILE
    style = CURVE_STYLE + CELL_STYLE + SPACE_STYLE
    write_report(
        page, f"Bootstrapping: {run.folder.resolve().name}", summary(run), _sections(run, filmed, render), style
    )
    return page


def _sections(run: RunFiles, filmed: Filmed | None, render: bool) -> Iterator[Section]:
    yield words_section("What the gates say", gate_lines(run))
    yield Section("Rounds", curves(run) + rounds_table(run))
    yield words_section("The rig, and within what views agree", rig_lines(run))
    labelled = [each for each in run.finished if each.labels is not None]
    if labelled:
        yield from _label_sections(run, labelled[-1])
        yield _rejected_section(run, labelled[-1], filmed)
    else:
        yield words_section("Labels", ["No round has made labels yet."])
    if filmed is not None:
        yield _space_section(run, filmed, render)
    yield time_section(run)
    yield record_section("Settings", _flat(run.settings))
    absent = list(_absent(run))
    if absent:
        yield words_section("What is not here", absent)


def _label_sections(run: RunFiles, last: RoundFiles) -> Iterator[Section]:
    made = LabelledRound.of(last, run.made_from(last.number))
    metrics = last.metrics or {}
    yield Section(
        f"Yield of round {last.number}, by camera",
        camera_table(made, metrics.get("per_camera"))
        + "<p>Labels are instances in views. <em>Not detected</em>: joints that this view itself had not found; "
        "<em>moved</em>: those it had found more than 0.2 B away from the label; <em>median px</em>: distance of what it "
        "had found; <em>threshold</em> (median): within which the views had to agree. The columns after it are of "
        "the detections after the round, the camera held out.</p>",
    )
    yield Section(f"Yield of round {last.number}, by joint", joint_table(made, metrics.get("per_joint")))
    legend = f'<p class="hint">{escape(CELL_LEGEND)}</p>'
    yield Section(f"New labels of round {last.number}", legend + made.sheet(made.new()))
    total, moved, missing = (int(of.sum()) for of in (made.known, made.moved, made.not_detected))
    told = (
        f"Of {total} label joints {moved} lie more than 0.2 B from where the detector had them in that view, {missing} it had "
        "not found there at all: it learns from these what it did not know."
    )
    rows = made.corrected()
    sheet = made.sheet(rows) if rows else ""
    yield Section("Labels that corrected the detector", f"<p>{escape(told)}</p>{sheet}")


def _rejected_section(run: RunFiles, last: RoundFiles, filmed: Filmed | None) -> Section:
    title = f"Frames that round {last.number} did not learn from"
    if last.selection is None:
        return words_section(title, [f"Round {last.number} has not written down what became of every frame."])
    counts = reason_counts(last.selection)
    reasons = sorted(
        {reason for count in counts.values() for reason in count}, key=lambda name: (name != "chosen", name)
    )
    rows = [(name, *(str(count[reason]) for reason in reasons)) for name, count in counts.items()]
    html = table(("frames with a 3D instance", *reasons), rows)
    if filmed is None:
        return Section(title, html)
    try:
        return Section(
            title, html + rejected_sheet(last.selection, run.made_from(last.number), filmed.rig, filmed.capture)
        )
    except PosekitError as error:
        return Section(title, html + f"<p>No pictures: {escape(str(error))}</p>")


def _space_section(run: RunFiles, filmed: Filmed, render: bool) -> Section:
    """The parts that were learnt, as the last round that was kept has them."""
    kept = [each for each in run.finished if each.kept][-1]
    learnt = next((each.labels for each in reversed(run.finished) if each.labels is not None), None)
    title = f"In 3D, after round {kept.number}"
    if learnt is None:
        return words_section(title, ["Nothing has been learnt yet."])
    points = kept.points()
    instances = sorted({(int(person), part) for person, part in zip(learnt.person, learnt.part, strict=True)})
    figures = (
        space_picture(points, filmed.rig, person, part, kept.folder / f"3d-{part}-{person}.jpg", render=render)
        for person, part in instances
    )
    return Section(title, f'<div class="figures space">{"".join(figures)}</div>')


def _flat(settings: Mapping[str, Any]) -> dict[str, object]:
    """Settings by name, those of one kind as name.name."""
    flat: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": inside for inner, inside in _flat(value).items()}
        else:
            flat[name] = value
    return flat


def _absent(run: RunFiles) -> Iterable[str]:
    """Files that a round of today writes and these have not."""
    for each in run.rounds:
        if each.metrics is None:
            yield f"Round {each.number} is not finished; what it has so far is not shown."
            continue
        names = ("gates.json", "seconds.json", *(("selection.json",) if each.number else ()))
        missing = [name for name in names if not (each.folder / name).exists()]
        if missing:
            yield f"Round {each.number} has no {' and no '.join(missing)}: it is of an older or an interrupted run."
