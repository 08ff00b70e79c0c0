"""From labelled hand crops to a hand detector: train, fit the confidence, measure."""

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from posekit.detection.confidence import fit_confidence
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError
from posekit.metrics.hand_agreement import ConfidenceBin, calibration_in_tenths
from posekit.metrics.keypoints import box_scale, keypoint_errors
from posekit.models.averaging import average_weights
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.models.hand_networks import HAND_NETWORKS
from posekit.skeleton import HAND_21
from posekit.training.augmentation import Augmentation
from posekit.training.distillation import Distillation, DistillationSettings, Teacher
from posekit.training.loop import TrainProgress, train
from posekit.training.processes import Processes
from posekit.training.samples import LabelledCrops, SampleSource, augmented_batches
from posekit.training.settings import TrainSettings
from posekit.training.size_schedule import SizeSchedule

#: A joint is right within this part of B, the longer side of the tight box around the hand (Simon et al. 2017 draw the curve).
PCK_THRESHOLD = 0.2
_CLOSE = 0.1
#: Hands of so many pixels are told apart from larger ones in the scores.
_SIZES_PX = (20.0, 30.0, 45.0)
#: The area under the curve of PCK is taken from 0 to this part of B.
AUC_UP_TO = 0.5


@dataclass(frozen=True)
class HandTrainSettings:
    """How to train a hand detector.

    loop: steps, learning rate and so on. network: one of `HAND_NETWORKS`. batch_size: crops of `crop_size` px in a step of each
    process. sizes: smaller crops first, as many more of them (see `augmented_batches`); all of `crop_size` if None. The last
    `light_share` sees augmentation of `light_strength`. distillation: how a teacher is listened to, if there is one.
    """

    loop: TrainSettings
    network: str = "light_hand_cpm"
    batch_size: int = 48
    crop_size: int = 128
    sizes: SizeSchedule | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    light_share: float = 0.25
    light_strength: float = 0.3
    seed: int = 0
    distillation: DistillationSettings = field(default_factory=DistillationSettings)


@dataclass(frozen=True)
class JointScores:
    """One joint's scores where it is visible: how many, share within 0.2 B and 0.1 B, mean error in B; NaN where none is."""

    name: str
    joints: int
    pck02: float
    pck01: float
    epe: float


@dataclass(frozen=True)
class SizeScores:
    """Scores of visible joints of hands `lowest_px` to `highest_px` long (B in the camera's pixels); NaN without any."""

    lowest_px: float
    highest_px: float
    hands: int
    pck02: float
    pck01: float


@dataclass(frozen=True)
class HandScores:
    """How a detector does on labelled crops, where the joints are visible; `all_` with those that are hidden.

    pck02, pck01: share of joints within 0.2 B and 0.1 B, B being the longer side of the tight box around the hand. epe: mean
    error in B; epe_px: in px of a 128 px crop. auc: area under the curve of PCK over thresholds from 0 to 0.5 B, 1 at best.
    mean_hand_pck02, mean_hand_pck01: what the mean of all labels scores without a look at the picture. calibration: tenths of
    confidence over all labelled joints, None where no joint falls; calibration_error: mean distance between confidence and the
    share that is right. per_joint: in the skeleton's order. by_size: smallest hands first, empty where sizes are not known.
    """

    joints: int
    pck02: float
    pck01: float
    epe: float
    epe_px: float
    auc: float
    mean_hand_pck02: float
    mean_hand_pck01: float
    all_joints: int
    all_pck02: float
    all_pck01: float
    all_mean_hand_pck02: float
    calibration: tuple[ConfidenceBin | None, ...]
    calibration_error: float
    per_joint: tuple[JointScores, ...]
    by_size: tuple[SizeScores, ...] = ()


def train_hand_detector(
    source: SampleSource,
    held_out: LabelledCrops,
    settings: HandTrainSettings,
    start: HandDetector | None = None,
    on_progress: Callable[[TrainProgress], None] | None = None,
    *,
    teacher: HandDetector | None = None,
    average: Sequence[HandDetector] = (),
    processes: Processes | None = None,
) -> tuple[HandDetector, list[dict[str, float]]]:
    """Train on `source`; return the detector and the history of the run.

    source: crops at the scale of `settings.crop_size` px ones, best larger, so that turning brings in picture. held_out: crops
    of that size that are not trained on, to fit the confidence to. start: a detector to go on from (its weights are copied),
    instead of a fresh network. teacher: a detector whose maps and features the network learns beside the labels. average:
    detectors of the same network; what is returned is the even mean of their weights and the trained ones.

    Raises PosekitError for a network of another name, and what `train` raises.
    """
    processes = processes or Processes()
    # Also where no network is drawn: a teacher's alignment is.
    torch.manual_seed(settings.seed)
    if start is None:
        model = new_network(settings.network)
    else:
        model = copy.deepcopy(pose_machine_of(start, "start")).requires_grad_(True)

    others = [pose_machine_of(detector, "average") for detector in average]

    def augmentation(fraction: float) -> Augmentation:
        light = fraction >= 1.0 - settings.light_share
        return settings.augmentation.scaled(settings.light_strength) if light else settings.augmentation

    batches = augmented_batches(
        source,
        settings.batch_size,
        settings.crop_size,
        settings.seed,
        augmentation,
        settings.sizes,
        rank=processes.rank,
        device=settings.loop.device,
    )
    distillation = None
    if teacher is not None:
        # A copy, with batch norms folded away: it answers for every crop, so its time counts.
        answers = pose_machine_of(teacher.fused(), "teacher")
        size = settings.distillation.teacher_size or teacher.crop_size
        distillation = Distillation(model, Teacher(answers, size), settings.distillation)
    history = train(model, batches, settings.loop, on_progress, distillation=distillation, processes=processes)
    average_weights(model, others)
    architecture = settings.network if start is None else start.architecture
    return fit_detector(model, held_out, settings.crop_size, architecture), history


def new_network(name: str) -> ConvolutionalPoseMachine:
    """Return a network of `HAND_NETWORKS` with random weights."""
    if name not in HAND_NETWORKS:
        raise PosekitError(f"network: found '{name}', expected one of: {', '.join(HAND_NETWORKS)}")
    return HAND_NETWORKS[name]()


def pose_machine_of(detector: HandDetector, what: str) -> ConvolutionalPoseMachine:
    """Return a detector's network where it is one of torch, which alone has gradients and features. what: for the message."""
    if not isinstance(detector.model, ConvolutionalPoseMachine):
        raise PosekitError(f"{what}: its network runs outside torch, a safetensors file of weights was expected")
    return detector.model


def fit_detector(
    model: ConvolutionalPoseMachine, held_out: LabelledCrops, crop_size: int, architecture: str = "light_hand_cpm"
) -> HandDetector:
    """Wrap trained weights as a detector, its confidence fitted to the model's errors on held-out labels.

    The model is copied, on to the processor: that of a training goes on changing. architecture: what it is called in
    `HAND_NETWORKS`.
    """
    detector = HandDetector(copy.deepcopy(model).cpu(), crop_size, architecture=architecture)
    xy, score = detector.scores(held_out.images)
    error = normalised_errors(xy, held_out.joints)
    known = np.isfinite(error)
    return replace(detector, confidence=fit_confidence(score[known], error[known] < PCK_THRESHOLD))


def normalised_errors(xy: Float[np.ndarray, "N 21 2"], truth: Float[np.ndarray, "N 21 2"]) -> Float[np.ndarray, "N 21"]:
    """Return every joint's distance from its label, in units of B; NaN without a label."""
    return keypoint_errors(xy, truth) / box_scale(truth)[:, None]


def measure_detector(detector: HandDetector, crops: LabelledCrops) -> HandScores:
    """Measure a detector on crops of its size that it has not been trained or fitted on."""
    xy, confidence = detector.detect(crops.images)
    error = normalised_errors(xy, crops.joints)
    known = np.isfinite(error)
    seen = known & crops.visible
    pixels = np.linalg.norm(xy - crops.joints, axis=-1) * 128 / detector.crop_size
    mean_hand = normalised_errors(np.nanmean(crops.joints, axis=0, keepdims=True), crops.joints)
    bins, calibration_error = calibration_in_tenths(confidence[known], error[known] < PCK_THRESHOLD)
    return HandScores(
        joints=int(seen.sum()),
        pck02=_share_within(error, seen, PCK_THRESHOLD),
        pck01=_share_within(error, seen, _CLOSE),
        epe=_mean(error, seen),
        epe_px=_mean(pixels, seen),
        # The curve is a sum of steps, one for each joint at its error.
        auc=_mean(np.clip(1.0 - error / AUC_UP_TO, 0.0, 1.0), seen),
        mean_hand_pck02=_share_within(mean_hand, seen, PCK_THRESHOLD),
        mean_hand_pck01=_share_within(mean_hand, seen, _CLOSE),
        all_joints=int(known.sum()),
        all_pck02=_share_within(error, known, PCK_THRESHOLD),
        all_pck01=_share_within(error, known, _CLOSE),
        all_mean_hand_pck02=_share_within(mean_hand, known, PCK_THRESHOLD),
        calibration=bins,
        calibration_error=calibration_error,
        per_joint=tuple(
            JointScores(
                name,
                int(seen[:, j].sum()),
                _share_within(error[:, j], seen[:, j], PCK_THRESHOLD),
                _share_within(error[:, j], seen[:, j], _CLOSE),
                _mean(error[:, j], seen[:, j]),
            )
            for j, name in enumerate(HAND_21.joints)
        ),
        by_size=() if crops.seen_px is None else _by_size(error, seen, crops.seen_px),
    )


def _by_size(
    error: Float[np.ndarray, "N 21"], seen: Bool[np.ndarray, "N 21"], seen_px: Float[np.ndarray, " N"]
) -> tuple[SizeScores, ...]:
    parts = []
    for lowest, highest in itertools.pairwise((0.0, *_SIZES_PX, math.inf)):
        mine = (seen_px >= lowest) & (seen_px < highest)
        among = seen & mine[:, None]
        right = (_share_within(error, among, threshold) for threshold in (PCK_THRESHOLD, _CLOSE))
        parts.append(SizeScores(lowest, highest, int(mine.sum()), *right))
    return tuple(parts)


def _mean(values: Float[np.ndarray, "*n"], among: Bool[np.ndarray, "*n"]) -> float:
    return float(values[among].mean()) if among.any() else float("nan")


def _share_within(error: Float[np.ndarray, "*n"], among: Bool[np.ndarray, "*n"], threshold: float) -> float:
    return float((error[among] < threshold).mean()) if among.any() else float("nan")
