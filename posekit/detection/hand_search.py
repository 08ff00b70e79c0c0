"""Looking for hands in a whole picture, where nobody says where they are: slow, and as good as the detector's confidence."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8
from torch import nn

from posekit.detection.hand_box import HandBox
from posekit.detection.hand_detector import HandDetector
from posekit.detection.tracking import FoundHand


@dataclass(frozen=True)
class SearchSettings:
    """Which boxes are looked at.

    sides: of the boxes, as parts of the picture's shorter side. step: between their centres, as a part of their side.
    rotations: directions of the hand, all round. looks: how many of the surest are looked at again, closely, as left and as
    right hands. coarse_size: side of the crops of the first look, px; a network of a fixed size takes its own.
    least_confidence: mean over the joints of a hand that is one.
    """

    sides: tuple[float, ...] = (0.3, 0.5, 0.8)
    step: float = 0.4
    rotations: int = 6
    looks: int = 12
    coarse_size: int = 64
    least_confidence: float = 0.55


def grid_of_boxes(size: tuple[int, int], settings: SearchSettings) -> HandBox:
    """Return all boxes to look at in a picture of `size` (width, height): every place, side, direction and hand."""
    shorter = min(size)
    centres, sides = [], []
    for part in settings.sides:
        side = part * shorter
        axes = []
        for length in size:
            count = max(1, int(np.ceil((length - side) / (settings.step * side))) + 1)
            margin = min(side, length) / 2
            axes.append(np.linspace(margin, length - margin, count) - 0.5)
        x, y = np.meshgrid(*axes)
        centres.append(np.stack([x.ravel(), y.ravel()], axis=-1))
        sides.append(np.full(x.size, side))
    centre, side_px = np.concatenate(centres), np.concatenate(sides)
    angle = 2 * np.pi * np.arange(settings.rotations) / settings.rotations
    kinds = 2 * settings.rotations
    return HandBox(
        np.repeat(centre, kinds, axis=0),
        np.repeat(side_px, kinds),
        np.tile(np.repeat(angle, 2), len(centre)),
        np.tile([False, True], len(centre) * settings.rotations),
    )


def search_hands(
    detector: HandDetector, picture: UInt8[np.ndarray, "H W 3"], count: int, settings: SearchSettings | None = None
) -> list[FoundHand]:
    """Look for at most `count` hands in a picture, the surest first.

    The detector looks at every box of the grid in small crops, and twice more about the surest. It takes as many crops as the
    grid has boxes, some 800 for a square picture: seconds on a processor. The detector was made to place the joints of a hand
    that is there; its confidence on what is no hand is a by-product.
    """
    settings = settings or SearchSettings()
    boxes = grid_of_boxes((picture.shape[1], picture.shape[0]), settings)
    coarse = detector
    if isinstance(detector.model, nn.Module):
        coarse = replace(detector, crop_size=min(settings.coarse_size, detector.crop_size))
    xy, confidence = coarse.detect_in_image(picture, boxes)
    best = np.argsort(-confidence.mean(axis=-1), kind="stable")[: settings.looks]
    closer = [FoundHand(xy[i], confidence[i], bool(boxes.left[i])).box for i in best] * 2
    again = HandBox(
        np.stack([box.centre for box in closer]),
        np.stack([box.side for box in closer]),
        np.stack([box.angle for box in closer]),
        np.repeat([False, True], len(best)),
    )
    xy, confidence = detector.detect_in_image(picture, again, passes=2)
    found: list[FoundHand] = []
    for i in np.argsort(-confidence.mean(axis=-1), kind="stable"):
        if confidence[i].mean() < settings.least_confidence or len(found) == count:
            break
        hand = FoundHand(xy[i], confidence[i], bool(again.left[i]))
        # Looked at ever closer, a finger becomes a hand, and its tip another.
        if hand.box.side < 0.5 * boxes.side[best[i % len(best)]]:
            continue
        if all(np.linalg.norm(hand.box.centre - other.box.centre) > 0.3 * other.box.side for other in found):
            found.append(hand)
    return found
