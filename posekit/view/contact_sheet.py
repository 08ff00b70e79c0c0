"""Many small pictures with their joints on one sheet: a look at labels, detections or hard cases."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import ArrayLike

from posekit.skeleton import HAND_21, Skeleton
from posekit.view.overlay import draw_skeleton, tile, write_caption


def contact_sheet(
    crops: Sequence[UInt8[np.ndarray, "H W 3"]],
    xy: ArrayLike,
    captions: Sequence[str] | None = None,
    *,
    confidence: ArrayLike | None = None,
    skeleton: Skeleton = HAND_21,
    columns: int | None = None,
    cell: int = 224,
) -> UInt8[np.ndarray, "H W 3"]:
    """Put n crops, each `cell` px high and wide at most, on one sheet with their joints and captions.

    xy: (n, J, 2) px in each crop, NaN where missing. confidence: (n, J); joints at 0 are not drawn. captions: n lines;
    "" leaves a crop without one. columns: as many as make the sheet half as wide again as it is high, if not given.
    """
    joints = np.asarray(xy, dtype=np.float64)
    if joints.shape != (len(crops), skeleton.joint_count, 2):
        raise ValueError(f"xy is {joints.shape}, {(len(crops), skeleton.joint_count, 2)} was expected")
    if captions is not None and len(captions) != len(crops):
        raise ValueError(f"{len(captions)} captions for {len(crops)} crops")
    drawn = []
    for number, crop in enumerate(crops):
        scale = cell / max(crop.shape[:2])
        target = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
        view = cv2.resize(crop, target, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        weights = None if confidence is None else np.asarray(confidence)[number]
        draw_skeleton(view, (joints[number] + 0.5) * scale - 0.5, skeleton, weights, thickness=cell / 75)
        if captions is not None and captions[number]:
            write_caption(view, captions[number])
        drawn.append(view)
    return tile(drawn, columns or max(1, round(np.sqrt(1.5 * len(crops)))), (cell, cell))
