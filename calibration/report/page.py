"""The report of a calibration: one HTML file that needs nothing else, to be read by who filmed and printed by who publishes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.calibration.boards.views import BoardViews
from posekit.calibration.lenses.intrinsics import LensCalibration
from posekit.calibration.report.advice import advice
from posekit.calibration.report.figures import CalibrationFigures, Errors, coverage_of, turn_sigma_rad
from posekit.calibration.report.pictures import Mark, coverage_map, error_map, histogram, nice_step
from posekit.calibration.report.scene import draw_scene
from posekit.calibration.report.style import STYLE
from posekit.calibration.rigs.calibration import RigCalibration
from posekit.calibration.rigs.placed_boards import board_residuals, place_boards
from posekit.calibration.world.frame import WorldFrame, transform_rig
from posekit.camera import Camera, Rig
from posekit.io.files import write_whole

Array = NDArray[np.float64]

#: Boards drawn in the rig's picture at most.
_MOST_BOARDS = 150

#: An arrow that stands for the camera's mean error is this share of the picture's width long.
_ARROW_SHARE = 0.03

#: Where there is no figure.
_NONE = "\N{EN DASH}"

_LENS_NAMES = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_FISHEYE_NAMES = ("k1", "k2", "k3", "k4")


@dataclass(frozen=True)
class Section:
    """A part of a report: a heading, and HTML whose texts are escaped."""

    title: str
    html: str


def write_report(
    path: str | Path, title: str, summary: Sequence[str], sections: Iterable[Section], style: str = ""
) -> None:
    """Write the page, whole or not at all. title, summary: plain text, the latter a paragraph each; style: more CSS."""
    parts = [f"<h1>{escape(title)}</h1>", *(f'<p class="summary">{escape(line)}</p>' for line in summary)]
    parts += [f"<section><h2>{escape(section.title)}</h2>{section.html}</section>" for section in sections]
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )
    with write_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def calibration_sections(
    calibration: RigCalibration, figures: CalibrationFigures, world: WorldFrame | None = None
) -> tuple[Section, ...]:
    """What there is to say of a rig made from boards. world: the world that it was moved to after that, if it was."""
    weak = advice(figures, calibration, world)
    return (
        words_section("What is weak, and what to film again", weak or ("Nothing weak was found.",)),
        Section("Errors", _error_tables(figures, moving=bool(calibration.boards.rates.any()))),
        Section("The rig", _scene(calibration, world)),
        *_camera_sections(calibration, figures),
        Section(
            "Lenses", _lens_table(list(zip(calibration.rig.cameras, calibration.uncertainty.lens_sigma, strict=True)))
        ),
        Section("Links between cameras", _links_table(figures, calibration.rig.names)),
        Section("Known lengths, measured again", _scale_check(figures, world)),
        *_time_sections(calibration),
    )


def words_section(title: str, lines: Iterable[str]) -> Section:
    """A list of sentences."""
    return Section(title, "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>")


def record_section(title: str, values: Mapping[str, object]) -> Section:
    """Names and values, such as settings or versions."""
    return Section(
        title, table(("", ""), [(name, str(value)) for name, value in values.items()], heads=False, css="record")
    )


def table(heads_row: Sequence[str], rows: Iterable[Sequence[str]], *, heads: bool = True, css: str = "") -> str:
    """A table of plain texts; the first column names the row."""
    head = "<thead><tr>" + "".join(f"<th>{escape(text)}</th>" for text in heads_row) + "</tr></thead>" if heads else ""
    body = "".join(
        f"<tr><th>{escape(row[0])}</th>" + "".join(f"<td>{escape(text)}</td>" for text in row[1:]) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table class="{css}">{head}<tbody>{body}</tbody></table></div>'


def number(value: float, digits: int = 2) -> str:
    """A figure, or a dash where there is none."""
    # Adding 0 makes a -0.0 that rounding left a 0.0.
    return f"{round(value, digits) + 0.0:.{digits}f}" if math.isfinite(value) else _NONE


def _error_tables(figures: CalibrationFigures, *, moving: bool) -> str:
    def row(name: str, fitted: Errors, *others: Errors | None) -> list[str]:
        cells = [name, str(fitted.pictures), str(fitted.corners)]
        cells += [number(value) for value in (fitted.mean_px, fitted.median_px, fitted.rms_px, fitted.p95_px)]
        return cells + [_NONE if errors is None else number(errors.mean_px) for errors in others]

    heads = (
        "px",
        "pictures",
        "corners",
        "mean",
        "median",
        "rms",
        "95 %",
        "held out",
        "held-out block",
        "from the others",
    )
    rows = [row(c.name, c.fitted, c.heldout, c.heldout_block, c.predicted) for c in figures.cameras]
    rows.append(row("all", figures.fitted, figures.heldout, figures.heldout_block, figures.predicted))
    triangulated = [row("as detected", figures.triangulated)]
    if figures.triangulated_in_step is not None:
        triangulated.append(row("brought to one time", figures.triangulated_in_step))
    fitted = "its pose"
    if moving:
        fitted = (
            "its pose and, for the pictures of a moment were not taken at one time, its velocity: 12 numbers per moment"
        )
    return (
        table(heads, rows, css="last-total")
        + "<p>Distances between corners as detected and where the rig has them, no corner left out. <em>Held out</em> (mean): "
        "every fourth moment, and the middle fifth of the time, kept from the calibration, with only the board fitted there "
        f"({fitted}); <em>from the others</em> (mean): the board in held-out moments fitted to the other cameras only.</p>"
        + table(heads[:7], triangulated)
        + "<p>The same corners, each triangulated by itself from all cameras that saw it, without the board's shape.</p>"
    )


def _scene(calibration: RigCalibration, world: WorldFrame | None) -> str:
    outline = calibration.views.board.outline_m
    boards = calibration.boards
    placed = np.flatnonzero(boards.found)
    placed = placed[np.linspace(0, len(placed) - 1, min(len(placed), _MOST_BOARDS)).astype(np.int64)]
    corners = np.einsum("fij,kj->fki", boards.rotation[placed], outline) + boards.translation[placed, None]
    told = (
        f"In the frame of {calibration.reference}, in metres; boards in {len(placed)} of {boards.found.sum()} moments."
    )
    rig, z_up = calibration.rig, False
    if world is not None:
        corners = world.world_from_old.apply(corners.reshape(-1, 3)).reshape(corners.shape)
        told = " ".join(world.words)
        # Not the world's own rig: that may be of some cameras only, in another order, by other names.
        rig, z_up = transform_rig(rig, world.world_from_old), world.z_up
    return draw_scene(rig, corners, z_up=z_up) + f"<p>{escape(told)}</p>" + _places(calibration, rig, world)


def _places(calibration: RigCalibration, rig: Rig, world: WorldFrame | None) -> str:
    """Where the cameras stand, and how well that is known beside the first one. rig: the calibration's, in the world."""
    uncertainty = calibration.uncertainty.scaled(1.0 if world is None else float(world.world_from_old.scale))
    sigma_m = dict(zip(calibration.rig.names, np.linalg.norm(uncertainty.position_sigma_m, axis=-1), strict=True))
    sigma_rad = dict(zip(calibration.rig.names, np.linalg.norm(turn_sigma_rad(uncertainty), axis=-1), strict=True))
    rows = []
    for camera in rig.cameras:
        place = (number(value, 3) for value in camera.centre_world.tolist())
        known = (_NONE, _NONE)
        if camera.name != calibration.reference:
            known = (f"{1000 * sigma_m[camera.name]:.1f}", f"{np.degrees(sigma_rad[camera.name]):.3f}")
        rows.append((camera.name, *place, *known))
    heads = ("camera", "x m", "y m", "z m", "\N{PLUS-MINUS SIGN} mm", "\N{PLUS-MINUS SIGN} degrees")
    return table(heads, rows) + (
        f"<p>How well the cameras' places and directions are known (one standard deviation, all axes together) beside "
        f"{escape(calibration.reference)}, whose own are those of the frame.</p>"
    )


def _camera_sections(calibration: RigCalibration, figures: CalibrationFigures) -> Iterable[Section]:
    # One range and one shade for all cameras, so that they can be compared.
    highest = _highest([camera.fitted for camera in figures.cameras])
    for c, camera in enumerate(figures.cameras):
        told = f"{100 * camera.outlier_share:.1f} % of the corners were not believed."
        if camera.inner.corners and camera.outer.corners:
            told += f" The mean error is {camera.inner.mean_px:.2f} px in the middle of the picture, "
            told += f"{camera.outer.mean_px:.2f} px towards its corners."
        corners, residual = calibration.views.corners_px[:, c], calibration.residual_px[:, c]
        size = calibration.rig.cameras[c].size
        pictures = _pictures(camera.fitted, corners, residual, size, highest, camera.heldout_px)
        yield Section(camera.name, f"{pictures}<p>{escape(told)}</p>")


def _highest(errors: Sequence[Errors]) -> float:
    """The error (px) at which histograms end."""
    usual = [each.p95_px for each in errors if each.corners]
    return max(1.7 * float(np.median(usual)) if usual else 1.0, 0.05)


def _pictures(
    fitted: Errors,
    corners: Array,
    residual: Array,
    size: tuple[int, int],
    highest: float,
    heldout_px: Array | None = None,
) -> str:
    """Figures of one camera: its errors (..., K, 2) as a histogram and over its picture, and where corners were seen."""
    errors = np.linalg.norm(residual, axis=-1)
    there = np.isfinite(errors)
    corners, residual, errors = corners[there], residual[there], errors[there]
    coverage = coverage_of(corners, size)
    # The mean error is an arrow of a readable length, and its scale is a round number.
    scale = nice_step(_ARROW_SHARE * size[0] / max(fitted.mean_px, 1e-3)) if fitted.corners else 1.0
    marks = (
        Mark(fitted.median_px, f"median {number(fitted.median_px)}"),
        Mark(fitted.mean_px, f"mean {number(fitted.mean_px)}", "mark dashed"),
    )
    beyond = int((errors > highest).sum())
    pictures = (
        (
            histogram(errors, 0, highest, "px", marks, heldout_px),
            f"Errors of {fitted.corners} corners in {fitted.pictures} pictures"
            + ("; outlined: held-out moments" if heldout_px is not None else "")
            + (f"; {beyond} beyond are in the last bar" if beyond else ""),
        ),
        (
            error_map(corners, residual, size, highest / 1.5, scale),
            f"Where errors are large (darkest: {highest / 1.5:.2f} px), and median residuals, {scale:g} times as long",
        ),
        (
            coverage_map(corners, coverage, size),
            f"Where corners were seen: {100 * (coverage > 0).mean():.0f} % of the picture's cells",
        ),
    )
    figures = "".join(
        f"<figure>{picture}<figcaption>{escape(words)}</figcaption></figure>" for picture, words in pictures
    )
    return f'<div class="figures">{figures}</div>'


def lens_sections(views: BoardViews, calibrated: Mapping[str, LensCalibration]) -> tuple[Section, ...]:
    """What there is to say of lenses that were calibrated one by one; calibrated: by camera."""
    sections, everything = [], []
    for name, lens in calibrated.items():
        own = views.of((name,)).at(lens.frames)
        rig = Rig((replace(lens.camera, name=name),))
        residual = board_residuals(rig, own, place_boards(rig, own, moving=False))[:, 0]
        everything.append((name, own.corners_px[:, 0], residual, Errors.of(np.linalg.norm(residual, axis=-1))))
    highest = _highest([errors for *_, errors in everything])
    rows = []
    for name, corners, residual, errors in everything:
        lens = calibrated[name]
        used = int(lens.used.sum())
        told = f"Fitted to {used} corners, rms {lens.rms_px:.3f} px."
        if len(lens.refused):
            told += f" Pictures that fit no lens: {len(lens.refused)}."
        pictures = _pictures(errors, corners, residual, lens.camera.size, highest)
        sections.append(Section(name, f"{pictures}<p>{escape(told)}</p>"))
        figures = (errors.mean_px, errors.median_px, errors.rms_px, errors.p95_px)
        rows.append((name, str(errors.pictures), str(errors.corners), *(number(value) for value in figures)))
    cameras = [(replace(lens.camera, name=name), lens.sigma) for name, lens in calibrated.items()]
    heads = ("px", "pictures", "corners", "mean", "median", "rms", "95 %")
    told = (
        "<p>Of all corners in the pictures that the lens was fitted to, with the board's pose fitted in each. No picture was "
        "held out: errors say how well a lens fits its pictures, the standard deviations below how well it is known.</p>"
    )
    return (Section("Errors", table(heads, rows) + told), *sections, Section("Lenses", _lens_table(cameras)))


def _lens_table(lenses: Sequence[tuple[Camera, Mapping[str, float]]]) -> str:
    """Lenses, and one standard deviation of what was adjusted."""
    heads = ("fx", "fy", "cx", "cy", *_LENS_NAMES)
    cells = [_lens_cells(camera, sigma) for camera, sigma in lenses]
    # k4 to k6 are in few lenses; a column of dashes says nothing.
    shown = [n for n in range(len(heads)) if any(row[n] != _NONE for row in cells)]
    rows = [
        (camera.name, f"{camera.size[0]} x {camera.size[1]}", *(row[n] for n in shown))
        for (camera, _), row in zip(lenses, cells, strict=True)
    ]
    return table(("camera", "size", *(heads[n] for n in shown)), rows, css="small") + (
        "<p>Pixels; \N{PLUS-MINUS SIGN} one standard deviation of what was adjusted; the rest was kept as it was.</p>"
    )


def _lens_cells(camera: Camera, sigma: Mapping[str, float]) -> list[str]:
    matrix = camera.matrix
    values = {"fx": matrix[0, 0], "fy": matrix[1, 1], "cx": matrix[0, 2], "cy": matrix[1, 2]}
    values |= dict(zip(_FISHEYE_NAMES if camera.fisheye else _LENS_NAMES, camera.distortion, strict=False))
    cells = []
    for name in ("fx", "fy", "cx", "cy", *_LENS_NAMES):
        if name not in values or (name in _LENS_NAMES and not values[name] and name not in sigma):
            cells.append(_NONE)
            continue
        digits = 1 if name[0] in "fc" else 4
        known = f" \N{PLUS-MINUS SIGN} {sigma[name]:.{digits}f}" if name in sigma else ""
        cells.append(f"{values[name]:.{digits}f}{known}")
    return cells


def _links_table(figures: CalibrationFigures, names: tuple[str, ...]) -> str:
    top = max(int((figures.shared - np.diag(np.diag(figures.shared))).max(initial=0)), 1)
    head = "<thead><tr><th></th>" + "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr></thead>"
    body = ""
    for a, name in enumerate(names):
        cells = "".join(
            f'<td class="own">{count}</td>'
            if a == b
            else f'<td style="--share:{100 * min(count / top, 1):.0f}%">{count}</td>'
            for b, count in enumerate(figures.shared[a].tolist())
        )
        body += f"<tr><th>{escape(name)}</th>{cells}</tr>"
    return (
        f'<div class="wide"><table class="links">{head}<tbody>{body}</tbody></table></div>'
        f"<p>Moments of {figures.moments} in which two cameras saw the board both; on the diagonal, in which one did.</p>"
    )


def _scale_check(figures: CalibrationFigures, world: WorldFrame | None) -> str:
    scale = figures.scale
    if not len(scale.lengths_m):
        return "<p>No two corners were seen by two cameras at once, so that nothing could be measured.</p>"
    reach = max(3.0 * scale.mean_absolute_error_m, 1e-5)
    marks = (
        Mark(1000 * scale.side_m, f"known {1000 * scale.side_m:.4g} mm", "mark dashed"),
        Mark(1000 * scale.mean_m, f"mean {1000 * scale.mean_m:.2f} mm"),
    )
    low, high = (1000 * (scale.side_m + sign * reach) for sign in (-1, 1))
    told = (
        f"{len(scale.lengths_m)} sides of the board, between corners that were triangulated one by one: mean "
        f"{1000 * scale.mean_m:.3f} mm, "
        f"median {1000 * scale.median_m:.3f} mm, where {1000 * scale.side_m:g} mm are known; "
        f"{1000 * scale.mean_absolute_error_m:.3f} mm "
        f"off on average, 95 % within {1000 * scale.p95_error_m:.2f} mm."
    )
    if world is not None and float(world.world_from_old.scale) != 1:
        told += (
            f" All this before the known length made the rig {float(world.world_from_old.scale):.4g} times as large."
        )
    return f"<figure>{histogram(1000 * scale.lengths_m, low, high, 'mm', marks)}</figure><p>{escape(told)}</p>"


def _time_sections(calibration: RigCalibration) -> Iterable[Section]:
    offsets = [camera.time_offset_s for camera in calibration.rig.cameras]
    if not any(offsets):
        return
    fps = calibration.views.fps
    rows = []
    for camera, sigma in zip(calibration.rig.cameras, calibration.uncertainty.time_offset_sigma_s, strict=True):
        known = f" \N{PLUS-MINUS SIGN} {1000 * sigma:.1f}" if np.isfinite(sigma) else ""
        frames = number(camera.time_offset_s * fps, 3) if fps else _NONE
        rows.append((camera.name, f"{1000 * camera.time_offset_s:.1f}{known}", frames))
    words = f"<p>How much later than {escape(calibration.reference)} each camera takes its pictures.</p>"
    yield Section("Time offsets", table(("camera", "ms", "frames"), rows) + words)
