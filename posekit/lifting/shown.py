"""What a lifter is shown of a person in one view, besides the detections themselves.

Lifters learn from people who stand on the ground before a camera that is held level, and whose trunk is seen. Who lies, or
stands on the hands, or was filmed by a camera on its side, is turned upright for them, and turned back; who is out of the
picture from the chest down gets hips where they would be.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from posekit.lifting.body_tree import BodyTree
from posekit.lifting.video import bridged
from posekit.skeleton import Skeleton

#: Radians by which a body may lean in the picture and be shown as it is, and from which on it is turned upright altogether;
#: between them, by a part. On motion capture lifters give poses as good as upright ones up to 45 degrees, half as bad again at
#: 90 and no better than a pose of anybody at 135.
_LEANING = (np.radians(50.0), np.radians(80.0))

#: Cosine between the picture's downward direction and the head's, from which on the head tells nothing of up: 50 degrees.
_BENT = 0.643

_UPPER = ("left_shoulder", "right_shoulder")
_LOWER = ("left_knee", "right_knee", "left_ankle", "right_ankle")
_HIPS = ("mid_hip", "left_hip", "right_hip")
#: Bones whose extent in the picture tells a size when there is no trunk to be seen.
_TELLING = ("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "nose")


def with_middles(xy: Float[np.ndarray, "N J 2"], skeleton: Skeleton) -> Float[np.ndarray, "N J 2"]:
    """Put neck and mid-hip where the lifter was taught them, between shoulders and hips, wherever both of these are seen.

    What detectors call neck lies up to 6 cm above that (BODY_25B's); as a measurement it remains what it is.
    """
    xy = xy.copy()
    for middle, side in (("neck", "shoulder"), ("mid_hip", "hip")):
        if middle in skeleton:
            between = xy[:, skeleton.indices((f"left_{side}", f"right_{side}"))].mean(axis=1)
            there = np.isfinite(between).all(axis=-1)
            xy[there, skeleton.index(middle)] = between[there]
    return xy


def leaning(
    xy: Float[np.ndarray, "N J 2"], joined: Bool[np.ndarray, " N-1"], skeleton: Skeleton
) -> Float[np.ndarray, " N"]:
    """Return the angle (radians, clockwise) by which to turn back each row's picture for the person to be upright in it.

    xy: px, y down, NaN where missing. joined: whether a row and the next follow each other in time. A person's own up leads
    from knees and ankles (from the hips where there are none of these) to the shoulders, and where neither is seen from the
    shoulders to the nose; rows that do not show it have that of the rows around them. 0 for whoever is about upright.
    """
    upper = _mean_of(xy, skeleton.indices(_UPPER))
    lower = _mean_of(xy, skeleton.indices(_LOWER))
    hips = _mean_of(xy, skeleton.indices(_HIPS))
    up = upper - np.where(np.isfinite(lower), lower, hips)
    with np.errstate(invalid="ignore", divide="ignore"):
        up = up / np.linalg.norm(up, axis=-1, keepdims=True)
        if "nose" in skeleton.joints:
            head = xy[:, skeleton.index("nose")] - upper
            head = head / np.linalg.norm(head, axis=-1, keepdims=True)
            # A nose below the shoulders is of one who bends over a table, more often than of a camera upside down.
            tells = ~np.isfinite(up).all(axis=-1) & (head[:, 1] < _BENT)
            up = np.where(tells[:, None], head, up)
        up = bridged(up, joined)
    angle = np.nan_to_num(np.arctan2(up[:, 0], -up[:, 1]))
    share = np.clip((np.abs(angle) - _LEANING[0]) / (_LEANING[1] - _LEANING[0]), 0, 1)
    turned: NDArray[np.float64] = angle * share
    return turned


def with_hips(
    xy: Float[np.ndarray, "N J 2"], angle: Float[np.ndarray, " N"], skeleton: Skeleton
) -> Float[np.ndarray, "N J 2"]:
    """Give those of whom nothing is seen below the shoulders hips, where a trunk of usual length has them, straight down.

    Without them a lifter knows neither where the person is nor how large. angle: of `leaning`. The largest of the bones that
    are seen tells the size: the others are foreshortened.
    """
    if not {"neck", "mid_hip", "nose"} <= set(skeleton.joints):
        return xy  # the published joints, whose trunk ends elsewhere
    tree = BodyTree.of(skeleton)
    length = dict(zip((skeleton.joints[child] for _, child in tree.bones), tree.usual_lengths, strict=True))
    neck, left, right = (skeleton.index(name) for name in ("neck", *_UPPER))
    below = skeleton.indices((*_HIPS, *_LOWER))
    rows = np.flatnonzero(
        ~np.isfinite(xy[:, below]).any(axis=(1, 2)) & np.isfinite(xy[:, [left, right]]).all(axis=(1, 2))
    )
    if not len(rows):
        return xy
    xy = xy.copy()
    some = xy[rows]
    parent = {int(child): int(parent) for parent, child in tree.bones}
    extents = [
        np.linalg.norm(some[:, child] - some[:, parent[child]], axis=-1) / length[skeleton.joints[child]]
        for child in skeleton.indices(_TELLING).tolist()
    ]
    px_per_metre = np.fmax.reduce(extents)
    down = np.stack((-np.sin(angle[rows]), np.cos(angle[rows])), axis=-1)
    middle = some[:, neck] + (length["neck"] * px_per_metre)[:, None] * down
    aside = (some[:, left] - some[:, right]) / 2 * (length["left_hip"] / length["left_shoulder"])
    for name, place in (("mid_hip", middle), ("left_hip", middle + aside), ("right_hip", middle - aside)):
        xy[rows, skeleton.index(name)] = place
    return xy


def turned_back(angle: Float[np.ndarray, " N"]) -> Float[np.ndarray, "N 3 3"]:
    """Rotations about the camera's axis that take the angles of `leaning` out of a picture (x right, y down)."""
    cosine, sine, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    rows = ((cosine, sine, zero), (-sine, cosine, zero), (zero, zero, zero + 1))
    turns: NDArray[np.float64] = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    return turns


def _mean_of(xy: NDArray[np.float64], joints: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of those of the joints that are there, (N, 2)."""
    some = xy[:, joints]
    there = np.isfinite(some).all(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = np.where(there, some, 0).sum(axis=1) / there.sum(axis=1)
    return mean
