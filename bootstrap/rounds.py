"""Multiview bootstrapping of the hand detector (Simon, Joo, Matthews, Sheikh, CVPR 2017, algorithm 1).

A round: triangulate the present detections, choose the best frames, reproject their hands into every view as labels, train,
detect again. Every step leaves whole files in the run folder; a step whose files are there is not done again.
"""

import contextlib
import copy
import json
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from posekit.bootstrap.evidence import HeldOutEvidence, held_out_evidence, summarise
from posekit.bootstrap.hand_views import detect_hands, hand_boxes, hand_joints, hands_of, with_new_hands
from posekit.bootstrap.initial_hands import calibrate_confidence, draw_initial_hands
from posekit.bootstrap.labels import cut_label_crops, label_figures, load_crops, make_labels, save_crops
from posekit.bootstrap.scoring import SelectionSettings
from posekit.camera import Rig
from posekit.capture import Capture
from posekit.detection.detector_file import load_detector, save_detector
from posekit.detection.hand_box import HandBox
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.files import write_json
from posekit.keypoints import Keypoints2D
from posekit.people.hands import hand_thresholds
from posekit.people.reconstruction import (
    Reconstruction,
    ReconstructionSettings,
    identify_people,
    triangulate_people,
)
from posekit.point_status import PointStatus
from posekit.training.augmentation import Augmentation
from posekit.training.hand_training import pose_machine_of
from posekit.training.loop import TrainProgress, train
from posekit.training.samples import MixedSource, augmented_batches
from posekit.training.settings import TrainSettings

#: Called with (what is being done, steps done, steps in all).
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BootstrapSettings:
    """How to run the rounds.

    rounds: how many. min_confidence: lambda, below which a detection of the detector's is no detection (hands that the run
    starts from are taken as they are). heldout_share: share of the frames, one block of time at the end, by which the rounds
    are judged; no label is made of them, nor of a quarter as many before them. initial_samples: pictures of T0, the synthetic
    hands that are mixed in; initial_share: their share of every batch. steps, batch_size, learning_rate: of the training.
    seed: of all chance.
    """

    rounds: int = 1
    min_confidence: float = 0.2
    heldout_share: float = 0.2
    initial_samples: int = 1000
    initial_share: float = 0.4
    steps: int = 160
    batch_size: int = 24
    learning_rate: float = 3e-3
    seed: int = 0
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    reconstruction: ReconstructionSettings = field(default_factory=ReconstructionSettings)


@dataclass(frozen=True)
class BootstrapInput:
    """What a run starts from.

    keypoints: people's bodies in every view and, if they are to be round 0, their hands. detector: that which is trained; it
    also makes round 0 where keypoints have no hands.
    """

    capture: Capture
    rig: Rig
    keypoints: Keypoints2D
    detector: HandDetector


@dataclass(frozen=True, eq=False)
class RoundState:
    """The state between two rounds: detections, their 3D, and what held-out cameras say of them."""

    result: Reconstruction
    evidence: HeldOutEvidence
    boxes: HandBox


def bootstrap(
    start: BootstrapInput, folder: Path, settings: BootstrapSettings, on_progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Run the rounds in `folder`; return the figures of every round, round 0 first.

    A round by which fewer joints of the held-out frames are within 0.2 B of what the other cameras say is not kept: it is
    told in a PosekitWarning, no round follows it, and ``keypoints3d.h5`` is that of the round before.

    Raises PosekitError where the hands of the capture make no label at all.
    """
    progress = on_progress or (lambda *_: None)
    rig = start.rig.select(start.keypoints.cameras)
    # Two views prove little: any two rays meet if the finger moves along them. Only where there is no third camera.
    min_views = 2 if len(rig) <= 3 else 3
    reconstruction = replace(settings.reconstruction, hand_min_views=min_views)
    state, figures = _round_zero(start, rig, folder / "round_0", settings, reconstruction, progress)
    figures["kept"] = True
    history = [figures]
    training_frames, _ = split_frames(len(state.result.people.frames), settings.heldout_share)
    detector = start.detector
    for number in range(1, settings.rounds + 1):
        place = folder / f"round_{number}"
        place.mkdir(exist_ok=True)
        with _timed(place, "labels"):
            label_counts = _step_labels(start, rig, state, training_frames, place, number, settings, progress)
        with _timed(place, "training"):
            detector = _step_train(start, detector, place, number, settings, progress)
        with _timed(place, "detection"):
            detections = _step_detect(start, state, detector, place, settings, progress)
        after = _evaluate(detections, rig, state.boxes, reconstruction)
        after.result.people.save(place / "keypoints3d.h5")
        figures = {"round": number, **_figures(after, settings), **label_counts, "seconds": _seconds(place)}
        figures["kept"] = _agreeing_joints(figures) >= _agreeing_joints(history[-1])
        write_json(place / "metrics.json", figures)
        history.append(figures)
        if not figures["kept"]:
            warnings.warn(
                PosekitWarning(
                    f"{place}: round {number} is not kept: {_agreeing_joints(figures)} joints of the held-out frames agree "
                    f"with the other cameras, {_agreeing_joints(history[-2])} did before it"
                ),
                stacklevel=2,
            )
            break
        state = after
    state.result.people.save(folder / "keypoints3d.h5")
    return history


@contextlib.contextmanager
def _timed(place: Path, step: str) -> Iterator[None]:
    """Note the seconds of a step in ``seconds.json``; a step that had been done before keeps those it took then."""
    before, began = _seconds(place), time.monotonic()
    yield
    if step not in before:
        write_json(place / "seconds.json", {**before, step: time.monotonic() - began})


def _seconds(place: Path) -> dict[str, float]:
    file = place / "seconds.json"
    known: dict[str, float] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return known


def _agreeing_joints(figures: dict[str, Any]) -> int:
    """Joints of the held-out frames that agree with the other cameras; of all frames where none are held out."""
    evidence = figures["heldout_frames"] or figures
    return round((evidence["heldout_pck"] or 0) * evidence["heldout_joints"])


def split_frames(count: int, heldout_share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Frames that labels are made from, and those by which the rounds are judged, each (count,): a block of time at the end.

    The frames between, a quarter as many as are held out, are neither: a frame looks too much like the next.
    """
    heldout = round(heldout_share * count)
    number = np.arange(count)
    return number < count - round(1.25 * heldout), number >= count - heldout


def _round_zero(
    start: BootstrapInput,
    rig: Rig,
    place: Path,
    settings: BootstrapSettings,
    reconstruction: ReconstructionSettings,
    progress: Progress,
) -> tuple[RoundState, dict[str, Any]]:
    place.mkdir(exist_ok=True)
    everyone = identify_people(start.keypoints, rig, reconstruction.association)
    people = well_seen_people(everyone, reconstruction.hand_min_views or reconstruction.min_views)
    result = triangulate_people(people, rig, reconstruction)
    boxes = hand_boxes(result, rig)
    if not boxes.found.any():
        raise PosekitError(
            f"{start.keypoints.source}: no wrist and elbow could be triangulated, so there is no hand to look at"
        )
    if "left_hand" in result.detections.skeleton.parts:
        state = RoundState(result, held_out_evidence(result, rig), boxes)
    else:
        saved = place / "keypoints2d.h5"
        if not saved.exists():
            _detect(start, boxes, result.detections, start.detector, settings, progress).save(saved)
        state = _evaluate(Keypoints2D.load(saved), rig, boxes, reconstruction)
    figures = {"round": 0, **_figures(state, settings)}
    state.result.detections.save(place / "keypoints2d.h5")
    state.result.people.save(place / "keypoints3d.h5")
    write_json(place / "metrics.json", figures)
    return state, figures


def well_seen_people(detections: Keypoints2D, min_views: int) -> Keypoints2D:
    """Keep the people whom `min_views` cameras see in a tenth of the frames or more.

    Of the others no label can be made and no evidence had; their boxes would only cost time.
    """
    seen = np.isfinite(detections.xy).all(axis=-1).any(axis=-1)  # (F, C, P)
    kept = (seen.sum(axis=1) >= min_views).mean(axis=0) >= 0.1
    if not kept.any():
        raise PosekitError(
            f"{detections.source}: nobody is seen by {min_views} cameras at once in a tenth of the frames"
        )
    if not kept.all():
        warnings.warn(
            PosekitWarning(
                f"{detections.source}: {int((~kept).sum())} of {len(kept)} people are left out: fewer than {min_views} cameras "
                "see them at once in nine tenths of the frames"
            ),
            stacklevel=2,
        )
    return replace(detections, xy=detections.xy[:, :, kept], confidence=detections.confidence[:, :, kept])


def _evaluate(detections: Keypoints2D, rig: Rig, boxes: HandBox, reconstruction: ReconstructionSettings) -> RoundState:
    result = triangulate_people(detections, rig, reconstruction)
    return RoundState(result, held_out_evidence(result, rig), boxes)


def _figures(state: RoundState, settings: BootstrapSettings) -> dict[str, Any]:
    people = state.result.people
    _, heldout = split_frames(len(people.frames), settings.heldout_share)
    hands = people.status[:, :, hand_joints(people.skeleton)]
    return {
        **summarise(state.evidence),
        "heldout_frames": summarise(state.evidence, heldout) if heldout.any() else None,
        "boxes": int(state.boxes.found.sum()),
        "hand_points": int((hands == PointStatus.OK).sum()),
        "rig_residual_px": state.result.rig_residual_px,
    }


def _step_labels(
    start: BootstrapInput,
    rig: Rig,
    state: RoundState,
    training_frames: NDArray[np.bool_],
    place: Path,
    number: int,
    settings: BootstrapSettings,
    progress: Progress,
) -> dict[str, int]:
    """Make ``crops.h5``; its figures are kept beside it for a run that is taken up again."""
    counts_file, crops_file = place / "labels.json", place / "crops.h5"
    if counts_file.exists() and crops_file.exists():
        counts: dict[str, int] = json.loads(counts_file.read_text(encoding="utf-8"))
        return counts
    result = state.result
    hands = hands_of(result.detections)
    thresholds = hand_thresholds(hands.xy, result.rig_residual_px)
    labels = make_labels(result, rig, state.boxes, thresholds, training_frames, number, settings.selection)
    counts = label_figures(labels, result)
    if len(labels) == 0:
        raise PosekitError(
            f"{start.capture.folder}: round {number} made no label: of {counts['fingers']} fingers "
            f"{counts['fingers_triangulated']} were triangulated, and none of them in a frame good enough to learn from; "
            "are the hands detected, and is the rig right?"
        )
    pictures = len({(int(f), int(c)) for f, c in zip(labels.place, labels.camera, strict=True)})
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress(f"round {number}: cutting labelled hands", done, pictures)

    size = start.detector.crop_size
    crops = cut_label_crops(
        start.capture, result.people.cameras, result.people.frames, labels, state.boxes, size, count
    )
    save_crops(crops_file, crops, labels, result.people.cameras, result.people.frames)
    write_json(counts_file, counts)
    return counts


def _step_train(
    start: BootstrapInput,
    detector: HandDetector,
    place: Path,
    number: int,
    settings: BootstrapSettings,
    progress: Progress,
) -> HandDetector:
    """Train on T0 and this round's labels, from the present detector's weights."""
    weights = place / "hand-cpm.safetensors"
    if not weights.exists():
        crops = load_crops(place / "crops.h5")
        initial = draw_initial_hands(settings.initial_samples, detector.crop_size, settings.seed + 1000, progress)
        source = MixedSource([initial.training, crops], [settings.initial_share, 1 - settings.initial_share])
        torch.manual_seed(settings.seed + number)
        model = copy.deepcopy(pose_machine_of(detector, "bootstrap")).requires_grad_(True)
        batches = augmented_batches(
            source, settings.batch_size, detector.crop_size, settings.seed + number, Augmentation().scaled(0.6)
        )

        def report(done: TrainProgress) -> None:
            progress(f"round {number}: training, loss {done.loss:.2e}", done.step, settings.steps)

        train_settings = TrainSettings(
            steps=settings.steps, learning_rate=settings.learning_rate, average_decay=0.99, report_every=5
        )
        history = train(model, batches, train_settings, report)
        model.requires_grad_(False)
        trained = calibrate_confidence(replace(detector, model=model), initial.heldout)
        save_detector(weights, trained, {"round": number, "history": history})
    # Read back even when just written: a run that is taken up again then goes on from the very same weights.
    return load_detector(weights)


def _step_detect(
    start: BootstrapInput,
    state: RoundState,
    detector: HandDetector,
    place: Path,
    settings: BootstrapSettings,
    progress: Progress,
) -> Keypoints2D:
    saved = place / "keypoints2d.h5"
    if not saved.exists():
        _detect(start, state.boxes, state.result.detections, detector, settings, progress).save(saved)
    return Keypoints2D.load(saved)


def _detect(
    start: BootstrapInput,
    boxes: HandBox,
    detections: Keypoints2D,
    detector: HandDetector,
    settings: BootstrapSettings,
    progress: Progress,
) -> Keypoints2D:
    total = len(detections.frames) * len(detections.cameras)
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress("detecting hands", done, total)

    hands = detect_hands(start.capture, detections.cameras, detections.frames, boxes, detector.fused(), count)
    source = f"hand detector on {start.capture.folder}"
    return with_new_hands(detections, hands, settings.min_confidence, source)
