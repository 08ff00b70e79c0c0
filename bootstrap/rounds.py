"""Multiview bootstrapping of a detector (Simon, Joo, Matthews, Sheikh, CVPR 2017, algorithm 1).

A round: choose the best frames of the present triangulation, reproject their points into every view as labels, train on them
and T0, detect again, triangulate. Every step leaves whole files in the run folder; see `posekit.bootstrap.steps`.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.engine import Engine
from posekit.bootstrap.evidence import (
    AgreementChange,
    HeldOutEvidence,
    agreement_change,
    by_camera_and_joint,
    finds_by_camera,
    summarise,
    yield_figures,
)
from posekit.bootstrap.gate_joints import link_figures
from posekit.bootstrap.gate_records import Alarm, Gates
from posekit.bootstrap.gates import gated_start, judge_drift, judge_start, label_movement
from posekit.bootstrap.initial_samples import initial_samples
from posekit.bootstrap.labelled_frames import (
    LabelledInstances,
    labelled_crops,
    measure_on_labels,
    place_labels,
    split_labels,
)
from posekit.bootstrap.review import learnt_what_is_rejected
from posekit.bootstrap.rig_step import prepared_scene
from posekit.bootstrap.scoring import rate_of
from posekit.bootstrap.searching import search_crops
from posekit.bootstrap.settings import BootstrapInput, BootstrapSettings
from posekit.bootstrap.steps import (
    Run,
    detect_step,
    first_detect_step,
    label_step,
    seconds_of,
    timed,
    train_step,
    triangulate_step,
)
from posekit.bootstrap.targets import Progress, RoundState
from posekit.camera import Rig
from posekit.detection.hand_box import HandBox
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.files import write_json
from posekit.people.reconstruction import ReconstructionSettings
from posekit.point_status import PointStatus

#: Frames of one block of time that is held out: longer captures have several, so that no part of the day alone is the judge.
_BLOCK_FRAMES = 300

#: Frames a second, where nothing says how many there are.
_USUAL_RATE = 30.0


def bootstrap(
    start: BootstrapInput,
    folder: Path,
    settings: BootstrapSettings,
    on_progress: Progress | None = None,
    on_round: Callable[[int], None] | None = None,
    engine: Engine | None = None,
) -> list[dict[str, Any]]:
    """Run the rounds in `folder`; return the figures of every round, round 0 first.

    on_round: called with the number of each round whose figures have been written, 0 included.

    A round after which fewer joints of the held-out frames are within 0.2 B of what the other cameras say than after the best
    round before it, by a standard error or more (`AgreementChange`), is not kept: one that loses less may be as good, and has
    learnt from more labels; with two cameras, of which none can be held out, one after which bones keep their lengths
    less well. That is told in a PosekitWarning, what follows starts from the round before, and so does ``keypoints3d.h5``. The
    rounds end by the rule of `BootstrapSettings`, min_gain and patience, but not before a round has learnt without the frames
    that a person rejected.
    engine: where detection and the cutting of labels run, threads of this process if not given; the results are the same.

    Raises PosekitError where the capture makes no label at all.
    """
    run, state, detector, figures, gates = begin(start, folder, settings, on_progress or (lambda *_: None), engine)
    history, told = [figures], _tell(gates, ())
    finished = on_round or (lambda _: None)
    finished(0)
    first, without_gain = detector, 0
    # Rounds are judged against the best, not the last that was kept: many small losses would add up.
    best, best_figures = state.evidence, figures
    missed = np.asarray((state.found.confidence <= 0).all(axis=-1))
    for number in range(1, settings.rounds + 1):
        after, trained, figures, gates = _round(run, state, detector, number, first)
        figures["finds"] = finds_by_camera(after.evidence, missed, run.scene.rig.names)
        change, frames = _since_best(best, after.evidence, settings.heldout_share)
        drift = judge_drift(figures, best_figures, change, frames=frames)
        # Where no camera can be held out, as of two, anatomy is all there is to tell that a round has made it worse.
        judged = figures["heldout_joints"] > 0
        figures["kept"] = not change.is_loss if judged else not drift.alarms
        write_json(folder / f"round_{number}" / "gates.json", (gates + drift).as_json())
        write_json(folder / f"round_{number}" / "metrics.json", figures)
        history.append(figures)
        finished(number)
        if figures["kept"]:
            state, detector = after, trained
            if change.now >= change.before:
                best, best_figures = after.evidence, figures
        told = _tell(gates + drift, told)
        gained = change.now >= change.before * (1 + settings.min_gain) and change.now > change.before
        without_gain = 0 if gained else without_gain + 1
        if without_gain >= settings.patience and not learnt_what_is_rejected(folder, number):
            break
    state.people.save(folder / "keypoints3d.h5")
    return history


def begin(
    start: BootstrapInput, folder: Path, settings: BootstrapSettings, progress: Progress, engine: Engine | None
) -> tuple[Run, RoundState, HandDetector, dict[str, Any], Gates]:
    """Round 0: the cameras' gates, the scene, T0, and the detections that the run starts from."""
    rig = start.rig.select(start.keypoints.cameras)
    place = folder / "round_0"
    place.mkdir(exist_ok=True)
    with timed(place, "gates"):
        gates = _judged_cameras(start, rig, settings)
        start = replace(start, keypoints=gated_start(start.keypoints, gates))
    min_views = _min_views(rig, gates.excluded_cameras)
    scene = prepared_scene(start, rig, settings, _reconstruction(settings, min_views), folder)
    if scene.notice:
        warnings.warn(PosekitWarning(scene.notice), stacklevel=3)
    boxes = start.target.boxes(scene, scene.people, scene.detections)
    initial = initial_samples(start, settings, folder, progress)
    learnt = truth = None
    if start.labelled is not None:
        candidates, _ = split_frames(len(scene.detections.frames), settings.heldout_share)
        learnt, truth = split_labels(place_labels(start.labelled, start.target, scene, boxes), ~candidates)
        own = labelled_crops(learnt, start.capture, scene, start.detector.crop_size, folder, engine)
        initial = replace(initial, training=(*initial.training, own))
    run = Run(start, scene, settings, initial, folder, progress, engine, truth, gates)
    detections, detector = scene.detections, start.detector
    if start.target.has_instances(detections):
        detections.save(place / "keypoints2d.h5")
    else:
        if learnt is not None:
            detector = train_step(_knowing_searches(run, boxes, learnt), detector, place, 0)
        detections = first_detect_step(run, run.boxes(scene.people, detections), learnt, detector, place)
    with timed(place, "agreement"):
        residual = start.target.detection_residual_b(scene, detections)
    run = replace(run, detection_residual_b=residual)
    state, gates = triangulate_step(run, detections, place)
    write_json(place / "gates.json", gates.as_json())
    figures = {"round": 0, **_figures(run, state), "min_views": min_views, "seconds": seconds_of(place), "kept": True}
    write_json(place / "metrics.json", figures)
    return run, state, detector, figures, gates


def _knowing_searches(run: Run, boxes: HandBox, labels: LabelledInstances) -> Run:
    """The same run whose T0 shows the labelled instances as a search sees them, too, where no box says where they are."""
    if boxes.found.any():
        return run
    detections, capture = run.scene.detections, run.start.capture
    size, seed = run.start.detector.crop_size, run.settings.seed
    crops = search_crops(labels, capture, detections.cameras, detections.frames, size, seed, run.folder, run.engine)
    return replace(run, initial=replace(run.initial, training=(crops, *run.initial.training)))


def _judged_cameras(start: BootstrapInput, rig: Rig, settings: BootstrapSettings) -> Gates:
    """What the start's keypoints say of the cameras; nothing where there is one camera, or no detection yet."""
    if len(rig) < 2 or not np.isfinite(start.keypoints.xy).any():
        return Gates()
    keypoints = start.target.own_keypoints(start.keypoints)
    people = start.target.identify(keypoints, rig, settings.reconstruction)
    return judge_start(keypoints, rig, settings.reconstruction, people=people)


def _min_views(given: Rig, left_out: Sequence[str]) -> int:
    """How many views must agree on a label: three, or two where there is no third camera to spare, which is said."""
    kept = [camera for camera in given.cameras if camera.name not in left_out]
    if not kept:
        raise PosekitError(
            f"{given.source}: every camera is left out, none agrees with the others; calibrate them anew"
        )
    rig = Rig(tuple(kept), given.source)
    if len(rig) < 2:
        raise PosekitError(
            f"{rig.source}: has one camera; bootstrapping needs two or more, whose views agree or do not"
        )
    if len(rig) > 3:
        return 3
    said = (
        "a detection that is wrong along the line between them looks right, and no camera can be held out: whether the "
        "detector gets better cannot be told, so one round is run"
        if len(rig) == 2
        else "a label rests on two views, and is held out by two: a detection that is wrong along the line between them looks "
        "right"
    )
    warnings.warn(PosekitWarning(f"{rig.source}: {len(rig)} cameras: {said}"), stacklevel=4)
    return 2


def _reconstruction(settings: BootstrapSettings, min_views: int) -> ReconstructionSettings:
    return replace(settings.reconstruction, hand_min_views=min_views)


def _round(
    run: Run, state: RoundState, detector: HandDetector, number: int, first: HandDetector
) -> tuple[RoundState, HandDetector, dict[str, Any], Gates]:
    """Labels, training, detection, triangulation; returns the state after them, the detector and the round's figures."""
    place = run.folder / f"round_{number}"
    place.mkdir(exist_ok=True)
    counts = label_step(run, state, _not_to_learn_from(run), place, number)
    detector = train_step(run, detector, place, number, first)
    detections = detect_step(run, state.boxes, state.detections, detector, place)
    after, gates = triangulate_step(run, detections, place)
    moved_px, moved_b = label_movement(state, after, run.scene.rig)
    figures = {
        "round": number,
        **_figures(run, after),
        **counts,
        "label_movement_px": moved_px,
        "label_movement_b": moved_b,
        "seconds": seconds_of(place),
    }
    return after, detector, figures, gates


def _not_to_learn_from(run: Run) -> NDArray[np.bool_]:
    """Frames (F,) that no label may be made of: held out, with a person's labels to judge by, and beside either."""
    detections = run.scene.detections
    candidates, _ = split_frames(len(detections.frames), run.settings.heldout_share)
    if run.truth is None:
        return ~candidates
    return ~without_neighbours(candidates, run.truth.place, rate_of(detections.frames, detections.fps))


def without_neighbours(
    candidates: NDArray[np.bool_], judging: NDArray[np.int64], rate: float | None
) -> NDArray[np.bool_]:
    """Of frames (F,) that labels may be made of, those that are not among the judging ones or beside them: too much alike.

    judging: places of frames, in any order. rate: frames a second, None where nobody knows. Beside is within a tenth of a
    second, one frame at least; nearer, down to the judging frames alone, where that would leave less than a third of them all.
    """
    places = np.flatnonzero(candidates)
    # Beyond both ends, farther than any reach, so that every frame has a mark before it and one after it.
    beyond = 2 * len(candidates) + round(rate or _USUAL_RATE)
    marks = np.concatenate(([-beyond], np.unique(judging), [len(candidates) + beyond]))
    after = np.searchsorted(marks, places)
    far = np.minimum(marks[after] - places, places - marks[after - 1])
    kept = np.zeros_like(candidates)
    for reach in range(max(1, round((rate or _USUAL_RATE) / 10)), -1, -1):
        left = places[far > reach]
        if reach == 0 or 3 * len(left) >= len(places):
            kept[left] = True
            break
    return kept


def _tell(gates: Gates, told: tuple[Alarm, ...]) -> tuple[Alarm, ...]:
    """Warn of the alarms that have not been told of, of drift in every round; returns those that have been."""
    known = {(alarm.kind, alarm.camera, alarm.joint) for alarm in told}
    for alarm in gates.alarms:
        if alarm.kind == "drift" or (alarm.kind, alarm.camera, alarm.joint) not in known:
            warnings.warn(PosekitWarning(alarm.message), stacklevel=3)
    return (*told, *gates.alarms)


def _since_best(best: HeldOutEvidence, now: HeldOutEvidence, heldout_share: float) -> tuple[AgreementChange, str]:
    """How many joints of the held-out frames agree with the other cameras, before and now; in words which frames these are.

    They are all frames where none are held out, and where the other cameras know no joint in those that are, in either round:
    somebody may have left before.
    """
    _, heldout = split_frames(len(now.error_px), heldout_share)
    told = any(np.isfinite(evidence.reference_px[heldout]).any() for evidence in (best, now))
    change = agreement_change(best, now, heldout if told else np.ones_like(heldout))
    return change, "the held-out frames" if told else "all frames"


def split_frames(count: int, heldout_share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Frames that labels are made from, and those by which the rounds are judged, each (count,): blocks of time.

    Each stretch of the capture has its block at its end; of a short capture there is one stretch. The frames before a block, a
    quarter as many but one at least, and as many after it, are neither: a frame looks too much like the next.
    """
    stretches = max(1, round(heldout_share * count / _BLOCK_FRAMES))
    candidates, heldout = np.ones(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    edges = np.round(np.linspace(0, count, stretches + 1)).astype(np.int64)
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        block = round(heldout_share * (last - first))
        heldout[last - block : last] = True
        gap = max(1, round(1.25 * block) - block) if block else 0
        candidates[max(last - block - gap, 0) : min(last + gap, count)] = False
    return candidates, heldout


def _largest(values: NDArray[np.float64] | float) -> float | None:
    """The largest that is known; None where none is."""
    known = np.atleast_1d(values)[np.isfinite(np.atleast_1d(values))]
    return float(known.max()) if len(known) else None


def _figures(run: Run, state: RoundState) -> dict[str, Any]:
    _, heldout = split_frames(len(state.people.frames), run.settings.heldout_share)
    links = link_figures(state.points, run.target.skeleton)
    spread = links.variation[np.isfinite(links.variation)]
    cameras, joints = run.scene.rig.names, run.target.skeleton.joints
    return {
        **by_camera_and_joint(state.evidence, state.points, state.found, cameras, joints),
        "yield": yield_figures(state.points),
        "bone_spread": float(np.median(spread)) if len(spread) else None,
        **summarise(state.evidence),
        "heldout_frames": summarise(state.evidence, heldout) if heldout.any() else None,
        "boxes": int(state.boxes.found.sum()),
        "hand_points": int((state.points.status == PointStatus.OK).sum()),
        "rig_residual_px": float(np.median(run.target.residual_px(run.scene, state.detections))),
        "detection_residual_b": _largest(run.detection_residual_b),
        "agreement_px": float(np.nanmedian(state.limits)) if np.isfinite(state.limits).any() else None,
        "true_labels": None if run.truth is None else measure_on_labels(state.found, run.truth, run.target.box_factor),
    }
