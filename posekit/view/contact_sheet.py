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
    *,
    skeleton: Skeleton = HAND_21,
    columns: int | None = None,
    cell: int = 224,
    captions: Sequence[str] | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Put n crops, each `cell` px high and wide at most, on one sheet with their joints.

    xy: (n, J, 2) px in each crop, NaN where missing. columns: as many as make the sheet half as wide again as it is
    high, if not given. captions: n lines, written at the upper edges. Raises ValueError where xy has another shape.
    """
    joints = np.asarray(xy, dtype=np.float64)
    if joints.shape != (len(crops), skeleton.joint_count, 2):
        raise ValueError(f"xy is {joints.shape}, {(len(crops), skeleton.joint_count, 2)} was expected")
    drawn = []
    for number, crop in enumerate(crops):
        scale = cell / max(crop.shape[:2])
        target = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
        view = cv2.resize(crop, target, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        draw_skeleton(view, (joints[number] + 0.5) * scale - 0.5, skeleton, thickness=cell / 75)
        if captions is not None:
            write_caption(view, captions[number], legend=False)
        drawn.append(view)
    return tile(drawn, columns or max(1, round(np.sqrt(1.5 * len(crops)))), (cell, cell))
