"""What a round's labels are made of, per camera and per joint, as tables for the report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.pages.run_files import part_skeleton
from posekit.bootstrap.pages.sheets import LabelledRound
from posekit.calibration.report.page import number, table
from posekit.skeleton import Skeleton

_HEADS = ("labels", "joints", "not detected", "moved", "median px", "threshold px")


def camera_table(made: LabelledRound, evidence: Mapping[str, Any] | None) -> str:
    """A row per camera: labels, and what the round says of the camera, where it does (camera -> figures)."""
    labels = made.labels
    more = _columns(evidence)
    rows = []
    for c, camera in enumerate(labels.cameras):
        own = labels.camera == c
        rows.append((camera, *_row(made, own), *_cells(evidence, camera, more)))
    rows.append(("all", *_row(made, np.ones(len(labels), dtype=np.bool_)), *("" for _ in more)))
    return table(("camera", *_HEADS, *map(_words, more)), rows, css="small last-total")


def _row(made: LabelledRound, own: NDArray[np.bool_]) -> tuple[str, ...]:
    known = made.known[own]
    residual = made.labels.residual_px[own][known]
    counts = (int(own.sum()), int(known.sum()), int(made.not_detected[own].sum()), int(made.moved[own].sum()))
    return (*map(str, counts), number(_median(residual), 1), number(_median(made.labels.threshold_px[own]), 1))


def joint_table(made: LabelledRound, evidence: Mapping[str, Any] | None) -> str:
    """A row per joint of the part, all parts of one kind together."""
    more = _columns(evidence)
    rows = []
    skeleton = _common_skeleton(made)
    for joint, name in enumerate(skeleton.joints):
        known = made.known[:, joint]
        rows.append(
            (
                name.replace("_", " "),
                str(int(known.sum())),
                f"{100 * known.mean():.0f} %",
                str(int(made.not_detected[:, joint].sum())),
                str(int(made.moved[:, joint].sum())),
                number(_median(made.labels.residual_px[known, joint]), 1),
                number(float(made.labels.inliers[known, joint].sum(axis=-1).mean()) if known.any() else np.nan, 1),
                *_cells(evidence, name, more),
            )
        )
    heads = ("joint", "labels", "of all", "not detected", "moved", "median px", "inlier views")
    return table((*heads, *map(_words, more)), rows, css="small")


def _common_skeleton(made: LabelledRound) -> Skeleton:
    return part_skeleton(made.points.skeleton, made.labels.part[0])


def _median(values: NDArray[np.floating]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _columns(evidence: Mapping[str, Any] | None) -> Sequence[str]:
    """Names of the plain figures that the round gives of each camera or joint."""
    rows = [row for row in (evidence or {}).values() if isinstance(row, Mapping)]
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if all(_is_figure(row.get(name)) for row in rows)]


def _is_figure(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cells(evidence: Mapping[str, Any] | None, name: str, columns: Sequence[str]) -> list[str]:
    row = (evidence or {}).get(name) or {}
    return [figure(row.get(column)) for column in columns]


def figure(value: float | None) -> str:
    """A figure with as many digits as it is worth, or a dash."""
    if value is None or isinstance(value, int):
        return number(float("nan")) if value is None else str(value)
    return number(value, 3 if abs(value) < 1 else 2 if abs(value) < 100 else 0)


def _words(name: str) -> str:
    return name.removeprefix("heldout_").replace("_px", " px").replace("_", " ").replace("pck", "PCK@0.2B")
