"""T0, the first training set of a bootstrap: made once, kept in the run folder, and mixed with the labels of every round."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posekit.bootstrap.crop_files import load_crops, save_samples
from posekit.bootstrap.settings import BootstrapInput, BootstrapSettings
from posekit.bootstrap.targets import Progress
from posekit.detection.confidence import fit_confidence
from posekit.detection.hand_detector import HandDetector
from posekit.medians import median_of_known
from posekit.metrics import keypoint_errors
from posekit.people.hands import HAND_AGREEMENT, hand_box_sides, whole_box_sides
from posekit.training.samples import LabelledCrops

#: One picture in this many is kept from training, to tell what a peak's height is worth.
_HELD_OUT = 8

#: Every knot of a confidence curve stands on so many joints at least, and there are two knots at least.
_JOINTS_PER_KNOT, _KNOTS = 4, 16


@dataclass(frozen=True, eq=False)
class InitialSamples:
    """T0. training: its parts, in crops larger than the detector's. heldout: never trained on; None where there is none."""

    training: tuple[LabelledCrops, ...]
    heldout: LabelledCrops | None


def initial_samples(
    start: BootstrapInput, settings: BootstrapSettings, folder: Path, progress: Progress
) -> InitialSamples:
    """Return T0, drawn where the run folder does not hold it yet (``initial.h5``)."""
    size = start.detector.crop_size
    kept = folder / "initial.h5"
    if not kept.exists():
        drawn = start.target.draw_initial(settings.initial_samples, size, settings.seed + 1000, progress)
        if drawn is None:
            return InitialSamples((), None)
        save_samples(kept, drawn)
    # Read back even when just drawn: a run that is taken up again then learns from the very same pictures.
    every = load_crops(kept)
    heldout = np.arange(len(every.images)) % _HELD_OUT == 0
    return InitialSamples((pick(every, ~heldout),), pick(every, heldout))


def pick(crops: LabelledCrops, rows: NDArray[np.bool_]) -> LabelledCrops:
    """Some of the crops."""
    return LabelledCrops(crops.images[rows], crops.joints[rows], crops.weight[rows])


def _sides(joints: NDArray[np.floating]) -> NDArray[np.float64]:
    """B (N,) of crops' joints (N, K, 2); where fewer than three quarters are labelled, that of the others in the median."""
    whole = whole_box_sides(joints).astype(np.float64)
    most = np.isfinite(whole)
    return np.where(most, whole, median_of_known(whole)) if most.any() else hand_box_sides(joints).astype(np.float64)


def calibrate_confidence(detector: HandDetector, heldout: LabelledCrops) -> HandDetector:
    """Return the detector with a confidence that says how often its joints are within 0.2 B, on held-out crops.

    Unchanged where these have too few labels to say.
    """
    margin = (heldout.images.shape[1] - detector.crop_size) // 2
    inner = slice(margin, margin + detector.crop_size)
    xy, score = detector.scores(np.ascontiguousarray(heldout.images[:, inner, inner]))
    errors = keypoint_errors(xy, heldout.joints - margin)
    known = np.isfinite(errors)
    knots = min(int(known.sum()) // _JOINTS_PER_KNOT, _KNOTS)
    if knots < 2:
        return detector
    correct = errors <= HAND_AGREEMENT * _sides(heldout.joints)[:, None]
    return replace(detector, confidence=fit_confidence(score[known], correct[known], knots))
