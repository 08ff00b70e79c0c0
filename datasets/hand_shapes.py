"""Shapes of hands for the detector's decoding: drawn hands' joints, without their pictures."""

import numpy as np

from posekit.datasets.hand_model import pose_hands, sample_shapes
from posekit.datasets.hand_poses import sample_poses
from posekit.datasets.synthetic_hands import HandFraming, frame_hands
from posekit.detection.hand_shapes import HandShapes


def draw_hand_shapes(count: int, seed: int) -> HandShapes:
    """Pose hands as `SyntheticHands` does and look at them from all its sides; the same seed draws the same shapes.

    `draw_hand_shapes(1000, 0).save(HAND_SHAPES)` made those that come with posekit, of poses less wide than the present ones.
    Shapes of these decode no better.
    """
    rng = np.random.default_rng(seed)
    people = sample_shapes(rng, count)
    hands, views = frame_hands(rng, pose_hands(people, sample_poses(rng, people, wide=True)), 128, HandFraming())
    return HandShapes.of_labels(views.project(hands.joints).numpy())
