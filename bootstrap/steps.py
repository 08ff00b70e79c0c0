"""The steps of a run: each leaves whole files in the run folder, and is not done again where they are there."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.capture_tasks import detect_in_capture
from posekit.bootstrap.crop_files import load_crops
from posekit.bootstrap.engine import Engine
from posekit.bootstrap.evidence import held_out_evidence
from posekit.bootstrap.gate_joints import judge_joints
from posekit.bootstrap.gate_records import Gates
from posekit.bootstrap.gates import boxes_without_cameras, without_joints
from posekit.bootstrap.initial_samples import InitialSamples, calibrate_confidence, pick
from posekit.bootstrap.instances import agreement_thresholds
from posekit.bootstrap.labelled_frames import LabelledInstances
from posekit.bootstrap.labels import cut_label_crops, label_figures, make_labels, save_crops
from posekit.bootstrap.pages.run_files import read_json_of_run
from posekit.bootstrap.review import rejected_frames
from posekit.bootstrap.round_training import RoundTraining, train_round
from posekit.bootstrap.searching import search_boxes
from posekit.bootstrap.settings import BootstrapInput, BootstrapSettings
from posekit.bootstrap.targets import Progress, RoundState, Scene, Target
from posekit.detection.detector_file import load_detector, save_detector
from posekit.detection.hand_box import HandBox
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError
from posekit.io.files import write_json
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.models.averaging import mix_weights
from posekit.people.hands import steady_box_sides
from posekit.training.hand_training import pose_machine_of
from posekit.training.samples import LabelledCrops, MixedSource

#: Of a round's labels one in so many is kept from training where nothing else tells what a peak's height is worth.
_KEPT_FOR_CONFIDENCE = 8


@dataclass(frozen=True, eq=False)
class Run:
    """What every step needs: the input, its scene, the settings, T0, the run folder, whom to tell, and where tasks run.

    truth: a person's labels that nothing learns from. gates: what was found of the cameras before the first round.
    detection_residual_b: how far the detections that the run starts from lie off, a share of B of every instance: whichever
    detector made them, their views must be able to agree.
    """

    start: BootstrapInput
    scene: Scene
    settings: BootstrapSettings
    initial: InitialSamples
    folder: Path
    progress: Progress
    engine: Engine | None = None
    truth: LabelledInstances | None = None
    gates: Gates = field(default_factory=Gates)
    detection_residual_b: NDArray[np.float64] | float = 0.0

    @property
    def target(self) -> Target:
        """What is learnt."""
        return self.start.target

    def boxes(self, people: Keypoints3D, detections: Keypoints2D) -> HandBox:
        """Return the boxes (F, C, H) in which instances are looked for and learnt from: none in cameras that are left out."""
        boxes = self.target.boxes(self.scene, people, detections)
        return boxes_without_cameras(boxes, self.scene.rig, self.gates.excluded_cameras)

    def counter(self, what: str) -> Callable[[int, int], None]:
        """Return what tells how much of some work is done, of how much."""
        return lambda done, total: self.progress(what, done, total)


@contextlib.contextmanager
def timed(place: Path, step: str) -> Iterator[None]:
    """Note the seconds of a step in ``seconds.json``; a step that had been done before keeps those it took then."""
    before, began = seconds_of(place), time.monotonic()
    yield
    if step not in before:
        write_json(place / "seconds.json", {**before, step: time.monotonic() - began})


def seconds_of(place: Path) -> dict[str, float]:
    """Seconds of the steps of a round so far."""
    known: dict[str, float] = read_json_of_run(place / "seconds.json") or {}
    return known


def triangulate_step(run: Run, detections: Keypoints2D, place: Path) -> tuple[RoundState, Gates]:
    """Triangulate a round's detections and ask the held-out cameras; nothing of it is read back, for it takes a second.

    Joints that the detector has wrong are told, and triangulated no more; the held-out cameras are asked of them all the same,
    so that rounds are compared by the same joints.
    """
    target, scene = run.target, run.scene
    with timed(place, "triangulation"):
        found = target.take(detections)
        sides = steady_box_sides(found.xy, detections.frames)
        residual = target.residual_px(scene, detections)
        limits = agreement_thresholds(sides, residual, run.detection_residual_b)
        people = target.reconstruct(scene, detections, limits)
        gates = run.gates + judge_joints(found, target.points(people), target.skeleton)
        if gates.excluded_joints:
            detections = without_joints(detections, target, gates.excluded_joints)
            people = target.reconstruct(scene, detections, limits)
        boxes = run.boxes(people, detections)
    with timed(place, "evidence"):
        # By the rig alone: of few cameras two judge a third, and within a wide threshold two agree on nearly anything.
        evidence = held_out_evidence(
            found,
            agreement_thresholds(sides, residual),
            scene.rig,
            target.groups,
            target.hidden(people),
            gates.excluded_cameras,
        )
    if not (place / "keypoints3d.h5").exists():
        people.save(place / "keypoints3d.h5")
    points = target.points(people)
    state = RoundState(detections, people, found, points, limits, boxes, evidence)
    return state, gates


def label_step(run: Run, state: RoundState, held_out: NDArray[np.bool_], place: Path, number: int) -> dict[str, Any]:
    """Make ``crops.h5``; its figures and what became of every frame are kept beside it."""
    counts_file, crops_file = place / "labels.json", place / "crops.h5"
    if counts_file.exists() and crops_file.exists():
        known: dict[str, Any] = read_json_of_run(counts_file)
        return known
    target, people = run.target, state.people
    with timed(place, "labels"):
        rejected = frames_rejected_in(run, people.frames, state.points.xyz.shape[1])
        labels, selection = make_labels(state, run.scene, target, held_out, rejected, number, run.settings.selection)
        counts = label_figures(labels, state, target)
        if len(labels) == 0:
            raise PosekitError(
                f"{run.start.capture.folder}: round {number} made no label: of {counts['groups']} {target.group_name} "
                f"{counts['groups_triangulated']} were triangulated, and none of them in a frame good enough to learn from; "
                f"are the {target.what} detected, and is the rig right?"
            )
    what = f"round {number}: cutting labelled {target.what}"
    with timed(place, "crops"):
        size = run.start.detector.crop_size
        crops = cut_label_crops(
            run.start.capture, people.cameras, people.frames, labels, state.boxes, size, run.engine, run.counter(what)
        )
        write_json(place / "selection.json", selection)
        save_crops(crops_file, crops, labels, target, people.cameras, people.frames)
    write_json(counts_file, counts)
    return counts


def frames_rejected_in(run: Run, frames: NDArray[np.int64], instances: int) -> NDArray[np.bool_]:
    """Return which instances a person rejected in which frames, (F, H); `frames` (F,) are their numbers."""
    rejected = np.zeros((len(frames), instances), dtype=np.bool_)
    for item in rejected_frames(run.folder):
        for h in range(instances):
            if run.target.person_and_part(h) == (item.person, item.part):
                rejected[frames == item.frame, h] = True
    return rejected


def train_step(
    run: Run, detector: HandDetector, place: Path, number: int, first: HandDetector | None = None
) -> HandDetector:
    """Train on T0 and this round's labels, where it has any, from the present detector's weights.

    first: the detector that the rounds began with.
    """
    weights, checkpoint = place / run.target.weights_name, place / "training.pt"
    if not weights.exists():
        with timed(place, "training"):
            crops = load_crops(place / "crops.h5") if number else None
            trained, history = train_detector(
                detector, crops, run.initial, run.settings, number, run.progress, checkpoint, first
            )
        save_detector(weights, trained, {"round": number, "history": history})
    checkpoint.unlink(missing_ok=True)
    # Read back even when just written: a run that is taken up again then goes on from the very same weights.
    return load_detector(weights, run.target.skeleton)


def train_detector(
    detector: HandDetector,
    crops: LabelledCrops | None,
    initial_samples: InitialSamples,
    settings: BootstrapSettings,
    number: int,
    progress: Progress,
    checkpoint: Path | None = None,
    first: HandDetector | None = None,
) -> tuple[HandDetector, list[dict[str, float]]]:
    """Train a copy of the detector on labels and T0 as round `number` does, round 0 on T0 alone; returns it and the losses.

    checkpoint: where an interrupted training is taken up again from. first: the detector that the rounds began with, of whose
    weights some is kept (`BootstrapSettings.first_share`) where there is a T0.
    """
    parts, heldout = list(initial_samples.training), initial_samples.heldout
    # T0's parts share its share; without a T0 there are the labels alone.
    shares = [settings.initial_share / max(len(parts), 1)] * len(parts)
    if crops is not None:
        parts, shares = [*parts, crops], [*shares, 1 - settings.initial_share]
    if heldout is None:
        parts[-1], heldout = _split_for_confidence(parts[-1])
    job = RoundTraining(detector, MixedSource(parts, shares), settings, number, checkpoint)

    def report(step: int, loss: float) -> None:
        progress(f"round {number}: training, loss {loss:.2e}", step, settings.steps)

    model, history = train_round(job, report)
    if first is not None and initial_samples.heldout is not None:
        mix_weights(model, pose_machine_of(first, "bootstrap"), settings.first_share)
    return calibrate_confidence(replace(detector, model=model), heldout), history


def _split_for_confidence(crops: LabelledCrops) -> tuple[LabelledCrops, LabelledCrops]:
    """Keep one label in some from training, where there are enough."""
    kept = np.arange(len(crops.images)) % _KEPT_FOR_CONFIDENCE == 0
    if len(kept) < 2 * _KEPT_FOR_CONFIDENCE:
        return crops, crops
    return pick(crops, ~kept), pick(crops, kept)


def detect_step(run: Run, boxes: HandBox, detections: Keypoints2D, detector: HandDetector, place: Path) -> Keypoints2D:
    """Detect every instance in every view anew; what else the detections hold stays."""
    saved = place / "keypoints2d.h5"
    if not saved.exists():
        capture, count = run.start.capture, run.counter(f"detecting {run.target.what}")
        cameras, frames = detections.cameras, detections.frames
        with timed(place, "detection"):
            found = detect_in_capture(capture, cameras, frames, boxes, detector.fused(), run.engine, count)
        source = f"detector of {run.target.what} on {capture.folder}"
        run.target.put(detections, found, run.settings.min_confidence, source).save(saved)
    return Keypoints2D.load(saved)


def first_detect_step(
    run: Run, boxes: HandBox, labels: LabelledInstances | None, detector: HandDetector, place: Path
) -> Keypoints2D:
    """Detect what nothing has been detected of yet; where no box says where it is, it is searched for."""
    detections = run.scene.detections
    if not boxes.found.any() and labels is not None and not (place / "keypoints2d.h5").exists():
        told = run.counter(f"searching for {run.target.what}")
        boxes = search_boxes(
            run.start.capture, detections.cameras, detections.frames, labels, detector.fused(), run.engine, told
        )
    return detect_step(run, boxes, detections, detector, place)
