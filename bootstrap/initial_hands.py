"""Drawn hands, whose joints are known: what a bootstrap of hands mixes with its own labels."""

from collections.abc import Callable

import numpy as np

from posekit.bootstrap.crop_files import large_crop_size
from posekit.datasets.synthetic_hands import HandFraming, SyntheticHands
from posekit.training.samples import LabelledCrops

#: A joint that another finger hides still has its place; it counts less, for nobody can see it.
HIDDEN_WEIGHT = 0.5


def draw_initial_hands(
    count: int, size: int, seed: int, on_progress: Callable[[str, int, int], None] | None = None
) -> LabelledCrops:
    """Draw hands for a detector with crops of `size` px; the same seed draws the same hands.

    The crops are larger than the detector's, to be augmented.
    """
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
    return LabelledCrops(np.concatenate(images), np.concatenate(joints), np.concatenate(weight))
