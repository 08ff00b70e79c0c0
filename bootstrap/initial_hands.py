"""T0, the first training set of a bootstrap: drawn hands, whose joints are known."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from posekit.bootstrap.labels import large_crop_size
from posekit.datasets.synthetic_hands import HandFraming, SyntheticHands
from posekit.detection.confidence import fit_confidence
from posekit.detection.hand_detector import HandDetector
from posekit.metrics import keypoint_errors
from posekit.people.hands import HAND_AGREEMENT, hand_box_sides
from posekit.training.samples import LabelledCrops

#: A joint that another finger hides still has its place; it counts less, for nobody can see it.
HIDDEN_WEIGHT = 0.5

#: One picture in this many is kept from training, to tell what a peak's height is worth.
_HELD_OUT = 8


@dataclass(frozen=True, eq=False)
class InitialHands:
    """Drawn hands in memory. training: crops larger than the detector's, to be augmented. heldout: never trained on."""

    training: LabelledCrops
    heldout: LabelledCrops


def draw_initial_hands(
    count: int, size: int, seed: int, on_progress: Callable[[str, int, int], None] | None = None
) -> InitialHands:
    """Draw hands for a detector with crops of `size` px; the same seed draws the same hands."""
    large = large_crop_size(size)
    # The crops are turned and scaled by augmentation; here they differ only as boxes from an arm do.
    framing = HandFraming(box_multiple=HandFraming().box_multiple * large / size, rotation=0.15)
    source = SyntheticHands(seed=seed, size=large, framing=framing)
    images, joints, weight = [], [], []
    done, batch_size = 0, 50
    while done < count:
        batch = source.batch(done // batch_size, min(batch_size, count - done))
        images.append(batch.images.permute(0, 2, 3, 1).numpy())
        joints.append(batch.joints_px.numpy())
        weight.append(np.where(batch.visible.numpy(), 1.0, HIDDEN_WEIGHT))
        done += len(images[-1])
        if on_progress:
            on_progress("drawing synthetic hands", done, count)
    every = LabelledCrops(np.concatenate(images), np.concatenate(joints), np.concatenate(weight))
    heldout = np.arange(count) % _HELD_OUT == 0
    return InitialHands(_pick(every, ~heldout), _pick(every, heldout))


def _pick(crops: LabelledCrops, rows: np.ndarray) -> LabelledCrops:
    return LabelledCrops(crops.images[rows], crops.joints[rows], crops.weight[rows])


def calibrate_confidence(detector: HandDetector, heldout: LabelledCrops) -> HandDetector:
    """Return the detector with a confidence that says how often its joints are within 0.2 B, on held-out drawn hands."""
    margin = (heldout.images.shape[1] - detector.crop_size) // 2
    inner = slice(margin, margin + detector.crop_size)
    xy, score = detector.scores(np.ascontiguousarray(heldout.images[:, inner, inner]))
    errors = keypoint_errors(xy, heldout.joints - margin)
    correct = errors <= HAND_AGREEMENT * hand_box_sides(heldout.joints)[:, None]
    return replace(detector, confidence=fit_confidence(score.ravel(), correct.ravel()))
