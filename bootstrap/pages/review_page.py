"""The page on which a person goes through the frames that a round chose: one HTML file that needs nothing else."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.doubt import REASONS, InstanceTrack, doubt_of
from posekit.bootstrap.pages.cells import (
    CELL_LEGEND,
    CELL_STYLE,
    Cell,
    Wanted,
    cell_html,
    cut_cells,
    moved,
    usual_box,
)
from posekit.bootstrap.pages.review_script import HELP, REVIEW_SCRIPT, REVIEW_STYLE
from posekit.bootstrap.pages.run_files import RoundFiles, RoundLabels, RunFiles, part_joints, part_skeleton
from posekit.bootstrap.review import REVIEW_FILE, ReviewedFrame, decisions_of
from posekit.calibration.report.style import STYLE
from posekit.camera import Rig
from posekit.capture import Capture
from posekit.io.files import write_whole
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.skeleton import Skeleton

#: What the page is called in a run folder.
REVIEW_PAGE = "review.html"

#: A share of doubt from which on a frame's reason is named.
_WORTH_NAMING = 0.35


@dataclass(frozen=True, eq=False)
class ReviewItem:
    """A frame to decide on. doubt: 0 to 1; reasons: those of `doubt.REASONS` that weigh most, in words; views: its pictures."""

    frame: ReviewedFrame
    doubt: float
    reasons: str
    wanted: tuple[Wanted, ...]
    skeleton: Skeleton


def write_review_page(
    folder: str | Path, capture: Capture, rig: Rig, on_picture: Callable[[int, int], None] | None = None
) -> Path:
    """Write ``review.html`` into a run folder: the frames of its last finished round, the most doubtful first.

    What ``review.json`` there decided before is on it already. on_picture is called with pictures done and in all.
    Raises PosekitError where the run has no finished round with labels, or a video lacks a frame.
    """
    run = RunFiles(Path(folder))
    last = run.last_labelled()
    before = run.made_from(last.number)
    items = review_items(last, before, rig)
    wanted = [(n, each) for n, item in enumerate(items) for each in item.wanted]
    cells: list[list[tuple[int, Cell]]] = [[] for _ in items]
    for done, (place, cell) in enumerate(cut_cells(capture, (each for _, each in wanted)), 1):
        cells[wanted[place][0]].append((place, cell))
        if on_picture:
            on_picture(done, len(wanted))
    shown = "\n".join(
        _item_html(item, [cell for _, cell in sorted(mine, key=lambda placed: placed[0])], n, len(items))
        for n, (item, mine) in enumerate(zip(items, cells, strict=True))
    )
    page = Path(folder) / REVIEW_PAGE
    with write_whole(page) as temporary:
        temporary.write_text(_page(run, last, items, shown), encoding="utf-8")
    return page


def review_items(last: RoundFiles, before: RoundFiles, rig: Rig) -> list[ReviewItem]:
    """Every frame of every instance that `last` made labels of, the most doubtful first; `before` is what it made them from."""
    labels, points, detections = last.labels, before.points(), before.detections()
    assert labels is not None
    instances = sorted({(int(person), part) for person, part in zip(labels.person, labels.part, strict=True)})
    items = []
    for person, part in instances:
        skeleton = part_skeleton(points.skeleton, part)
        track, detected = track_of(points, detections, rig, person, part, skeleton)
        doubt, boxes = doubt_of(track), usual_box(track.projected_px, detected)
        own = np.array([(int(p), name) == (person, part) for p, name in zip(labels.person, labels.part, strict=True)])
        for number in np.unique(labels.frame[own]).tolist():
            row = int(np.flatnonzero(points.frames == number)[0])
            of_frame = np.flatnonzero(own & (labels.frame == number))
            wanted = tuple(
                _view(number, camera, track.projected_px[row, c], float(boxes[c]), detected[row, c], labels, of_frame)
                for c, camera in enumerate(points.cameras)
            )
            frame = ReviewedFrame(number, person, part)
            items.append(ReviewItem(frame, float(doubt.score[row]), _said(doubt.shares[row]), wanted, skeleton))
    return sorted(items, key=lambda item: (-item.doubt, item.frame))


def track_of(
    points: Keypoints3D, detections: Keypoints2D, rig: Rig, person: int, part: str, skeleton: Skeleton
) -> tuple[InstanceTrack, NDArray[np.float64]]:
    """One instance over the capture, and what the views had detected of it, (F, C, K, 2) px."""
    joints = part_joints(points.skeleton, part)
    found = part_joints(detections.skeleton, part)
    xyz = points.xyz[:, person, joints]
    cameras = [rig[name] for name in points.cameras]
    track = InstanceTrack(
        xyz,
        points.covariance[:, person, joints],
        points.inliers[:, person, joints],
        points.reprojection_px[:, person, joints],
        detections.confidence[:, :, person][..., found],
        np.stack([camera.project(xyz) for camera in cameras], axis=1),
        skeleton.bones,
        points.frames,
    )
    return track, detections.xy[:, :, person][:, :, found].astype(np.float64)


def _view(
    frame: int,
    camera: str,
    projected: NDArray[np.float64],
    box_px: float,
    detected: NDArray[np.float64],
    labels: RoundLabels,
    rows: NDArray[np.int64],
) -> Wanted:
    mine = [row for row in rows if labels.cameras[labels.camera[row]] == camera]
    if not mine:
        return Wanted(
            frame, camera, projected, box_px, np.full_like(projected, np.nan), detected, (camera, "no label here")
        )
    label = labels.joints_px[mine[0]]
    known, found = np.isfinite(label).all(axis=-1), np.isfinite(detected).all(axis=-1)
    told = f"{known.sum()} joints"
    if not (known & found).any():
        told += ", not detected"
    elif far := int(moved(label, detected).sum()):
        told += f", {far} moved"
    return Wanted(frame, camera, projected, box_px, label, detected, (camera, told))


def _said(shares: NDArray[np.float64]) -> str:
    worst = [n for n in np.argsort(-shares, kind="stable")[:3] if shares[n] >= _WORTH_NAMING]
    return ", ".join(f"{REASONS[n]} {shares[n]:.2f}" for n in worst)


def _item_html(item: ReviewItem, cells: list[Cell], number: int, count: int) -> str:
    frame = item.frame
    heading = f"{frame.part.replace('_', ' ')} of person {frame.person}, frame {frame.frame}"
    doubt = f"{number + 1} of {count}; doubt {item.doubt:.2f}" + (f": {item.reasons}" if item.reasons else "")
    return (
        f'<section class="item"><h2>{escape(heading)}<span class="state"></span></h2><p class="hint">{escape(doubt)}</p>'
        f'<div class="cells">{"".join(cell_html(cell, item.skeleton) for cell in cells)}</div></section>'
    )


def _page(run: RunFiles, last: RoundFiles, items: list[ReviewItem], shown: str) -> str:
    kept = decisions_of(run.folder)
    data = {
        "run": f"{run.folder.resolve().name}/round_{last.number}/{len(items)}",
        "items": [item.frame._asdict() for item in items],
        **kept.as_json(),
    }
    # "<" could close the script; JSON may spell it otherwise.
    content = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    title = f"Review of round {last.number}"
    intro = (
        f"{len(items)} frames that labels were made of, the most doubtful first. The next round does not learn from what is "
        f"rejected here; what is not decided counts as accepted. Put {REVIEW_FILE} into the run folder "
        f"({run.folder.resolve().name}), or name it with --decisions, and start the same command again with more --rounds."
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing is fetched from anywhere, whatever a browser would like to.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}{CELL_STYLE}{REVIEW_STYLE}</style></head>\n<body><main>\n"
        f'<h1>{escape(title)}</h1><p>{escape(intro)}</p><p class="hint">{escape(CELL_LEGEND)}</p>\n{HELP}\n'
        f'<div id="items">\n{shown}\n</div>\n'
        f'<script type="application/json" id="review-data">{content}</script>\n<script>{REVIEW_SCRIPT}</script>\n'
        "</main></body></html>\n"
    )
