"""Contact sheets of a report: new labels, labels that corrected the detector, frames that were rejected, with the reason."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.pages.cells import Cell, Wanted, cell_html, closer, cut_cells, moved, usual_box
from posekit.bootstrap.pages.run_files import RoundFiles, RoundLabels, part_joints, part_skeleton
from posekit.camera import Rig
from posekit.capture import Capture
from posekit.detection.hand_box import transform_points
from posekit.keypoints import Keypoints2D, Keypoints3D

#: Pictures on a sheet.
SHEET_CELLS = 24

#: Reasons that say nothing against a frame: others were better, or it is kept for judging.
NO_FAULT = ("held out", "not the best of its window", "not among the best")


@dataclass(frozen=True, eq=False)
class LabelledRound:
    """A round's labels beside what they were made from."""

    labels: RoundLabels
    points: Keypoints3D
    detections: Keypoints2D

    @classmethod
    def of(cls, last: RoundFiles, before: RoundFiles) -> "LabelledRound":
        """Read the labels of `last`, and the round `before` of which they were made."""
        assert last.labels is not None
        return cls(last.labels, before.points(), before.detections())

    @cached_property
    def detected_px(self) -> NDArray[np.float64]:
        """What each label's own view had detected, (N, K, 2)."""
        found = np.full_like(self.labels.joints_px, np.nan)
        row_of = {int(frame): row for row, frame in enumerate(self.detections.frames)}
        camera_of = {name: c for c, name in enumerate(self.detections.cameras)}
        for n, (frame, person, part, camera) in enumerate(
            zip(self.labels.frame, self.labels.person, self.labels.part, self.labels.camera, strict=True)
        ):
            row, c = row_of.get(int(frame)), camera_of.get(self.labels.cameras[camera])
            if row is not None and c is not None:
                found[n] = self.detections.xy[row, c, person, part_joints(self.detections.skeleton, part)]
        return found

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Joints with a label, (N, K)."""
        return np.asarray(np.isfinite(self.labels.joints_px).all(axis=-1))

    @cached_property
    def not_detected(self) -> NDArray[np.bool_]:
        """Joints with a label that their view had not detected, (N, K)."""
        missing: NDArray[np.bool_] = self.known & ~np.isfinite(self.detected_px).all(axis=-1)
        return missing

    @cached_property
    def moved(self) -> NDArray[np.bool_]:
        """Joints whose label lies further than 0.2 B from what their view had detected, (N, K)."""
        return moved(self.labels.joints_px, self.detected_px)

    def sheet(self, rows: Sequence[int]) -> str:
        """Pictures of these labels, upright and as right hands, as the detector is taught them."""
        figures = []
        for n in rows:
            labels, part = self.labels, self.labels.part[n]
            to_crop = _affine(labels.joints_px[n], labels.joints_crop_px[n])
            detected = transform_points(to_crop, self.detected_px[n])
            told = f"{labels.instance(n)}: {self.known[n].sum()} joints"
            if self.not_detected[n].sum() == self.known[n].sum():
                told += ", not detected"
            elif self.moved[n].any():
                told += f", {self.moved[n].sum()} moved"
            caption = (f"{labels.cameras[labels.camera[n]]}, frame {labels.frame[n]}", told)
            cell = Cell(labels.jpegs[n], labels.crop_size, labels.joints_crop_px[n], detected, caption)
            figures.append(cell_html(closer(cell, labels.crop(n)), part_skeleton(self.points.skeleton, part)))
        return f'<div class="cells">{"".join(figures)}</div>'

    def new(self) -> list[int]:
        """Labels from all over the round, one picture of each hand in turn through the cameras."""
        return _spread(np.lexsort((self.labels.camera, self.labels.frame)))

    def corrected(self) -> list[int]:
        """Labels most joints of which the detector had elsewhere, and as many of those that it had not at all."""
        count = self.moved.sum(axis=1)
        most = [int(n) for n in np.argsort(-count, kind="stable") if count[n]][: SHEET_CELLS // 2]
        nothing = np.flatnonzero(self.not_detected.sum(axis=1) == self.known.sum(axis=1))
        return most + _spread(nothing, SHEET_CELLS - len(most))


def _affine(points: NDArray[np.float64], mapped: NDArray[np.float64]) -> NDArray[np.float64]:
    """The similarity or mirrored similarity (2, 3) that takes points (K, 2) to `mapped`, by least squares."""
    known = np.isfinite(points).all(axis=-1) & np.isfinite(mapped).all(axis=-1)
    best, smallest = np.full((2, 3), np.nan), np.inf
    if known.sum() < 2:
        return best
    (x, y), (u, v) = points[known].T, mapped[known].T
    one, zero = np.ones_like(x), np.zeros_like(x)
    for sign in (1.0, -1.0):
        # u = a x - b y + c, v = sign (b x + a y) + d: four numbers, so that joints in a line tell it as well.
        rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([sign * y, sign * x, zero, one], 1)])
        wanted = np.concatenate([u, v])
        (a, b, c, d), *_ = np.linalg.lstsq(rows, wanted, rcond=None)
        error = float(np.linalg.norm(rows @ (a, b, c, d) - wanted))
        if error < smallest:
            best, smallest = np.array([[a, -b, c], [sign * b, sign * a, d]]), error
    return best


def _spread(rows: NDArray[np.int64], count: int = SHEET_CELLS) -> list[int]:
    """`count` of them at most, evenly from first to last."""
    if len(rows) <= count:
        return [int(row) for row in rows]
    return [int(rows[place]) for place in np.linspace(0, len(rows) - 1, count).astype(np.int64)]


def reason_counts(selection: Sequence[dict[str, Any]]) -> dict[str, Counter[str]]:
    """How many frames of each instance there were by what became of them; instance -> reason, ``chosen`` for none."""
    return {
        f"{instance['part'].replace('_', ' ')} of person {instance['person']}": Counter(
            frame["reason"] or ("chosen" if frame["chosen"] else "left out") for frame in instance["frames"]
        )
        for instance in selection
    }


def rejected_sheet(selection: Sequence[dict[str, Any]], before: RoundFiles, rig: Rig, capture: Capture) -> str:
    """Pictures of frames that were thrown out for a fault, in the view that most points agree with, as many of each reason."""
    points, detections = before.points(), before.detections()
    row_of = {int(frame): row for row, frame in enumerate(points.frames)}
    wanted, skeletons = [], []
    for instance, frame in _faults(selection):
        if frame["frame"] not in row_of:
            continue
        person, part, row = instance["person"], instance["part"], row_of[frame["frame"]]
        joints = part_joints(points.skeleton, part)
        camera = points.cameras[int(points.inliers[row, person][joints].sum(axis=0).argmax())]
        own = part_joints(detections.skeleton, part)
        detected = detections.xy[:, detections.cameras.index(camera), person][:, own].astype(np.float64)
        projected = rig[camera].project(points.xyz[:, person, joints])
        box = float(usual_box(projected[:, None], detected[:, None])[0])
        caption = (f"{camera}, frame {frame['frame']}", f"{part.replace('_', ' ')}: {frame['reason']}")
        wanted.append(Wanted(frame["frame"], camera, projected[row], box, projected[row], detected[row], caption))
        skeletons.append(part_skeleton(points.skeleton, part))
    cells = sorted(cut_cells(capture, wanted), key=lambda placed: placed[0])
    figures = (cell_html(cell, skeletons[place]) for place, cell in cells)
    return f'<div class="cells">{"".join(figures)}</div>'


def _faults(selection: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """`SHEET_CELLS` frames with a fault at most, of every reason about as many, from all over the capture."""
    by_reason: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for instance in selection:
        for frame in instance["frames"]:
            if frame["reason"] and frame["reason"] not in NO_FAULT:
                by_reason.setdefault(frame["reason"], []).append((instance, frame))
    left = SHEET_CELLS
    # Reasons with few frames first: what they leave goes to the others.
    for n, reason in enumerate(sorted(by_reason, key=lambda name: len(by_reason[name]))):
        share = left // (len(by_reason) - n)
        rows = _spread(np.arange(len(by_reason[reason])), share) if share else []
        left -= len(rows)
        for row in rows:
            yield by_reason[reason][row]
