"""Where a hand is, which way it points, and the square crop that shows it upright as a right hand.

Angles: 0 is a hand that points up in the picture (towards -y), positive turns clockwise as seen on the screen.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.typing import ArrayLike

#: The crop is this many times the longer side of the tight box around the 21 keypoints (Simon et al. 2017).
BOX_FACTOR = 2.2

#: Side of the box and distance of its centre from the wrist, as parts of the forearm's length; see `box_from_arm`. They hold
#: for its length in space, too: a hand is 0.72 of it, B of a hand in all its poses about 0.83 of that, 2.2 B is the box.
BOX_PER_FOREARM = 1.3
HAND_CENTRE_BEYOND_WRIST = 0.3

_HEAD_PER_FOREARM = 0.130 / 0.146

ArmRule = Literal["forearm", "openpose", "head"]
ARM_RULES: tuple[str, ...] = get_args(ArmRule)


@dataclass(frozen=True, init=False, eq=False)
class HandBox:
    """One or many square boxes, float64. NaN where there is none.

    centre: (..., 2) px. side: (...) px. angle: (...) radians, the direction of the hand (elbow to wrist, or wrist to middle
    knuckle) from up, clockwise. left: (...) bool, a left hand, which is mirrored in its crop. side, angle and left are
    broadcast to the centre's shape.
    """

    centre: np.ndarray
    side: np.ndarray
    angle: np.ndarray
    left: np.ndarray

    def __init__(self, centre: ArrayLike, side: ArrayLike, angle: ArrayLike = 0.0, left: ArrayLike = False) -> None:
        points = np.array(centre, dtype=np.float64)
        if points.ndim == 0 or points.shape[-1] != 2:
            raise ValueError(f"the centres of hand boxes are {points.shape}, not (..., 2)")
        shape = points.shape[:-1]
        object.__setattr__(self, "centre", points)
        object.__setattr__(self, "side", np.broadcast_to(np.asarray(side, dtype=np.float64), shape).copy())
        object.__setattr__(self, "angle", np.broadcast_to(np.asarray(angle, dtype=np.float64), shape).copy())
        object.__setattr__(self, "left", np.broadcast_to(np.asarray(left, dtype=bool), shape).copy())

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the batch."""
        return self.side.shape

    @property
    def found(self) -> Bool[np.ndarray, "*batch"]:
        """Where there is a box: all of it finite, side > 0."""
        finite = np.isfinite(self.centre).all(axis=-1) & np.isfinite(self.side) & np.isfinite(self.angle)
        return finite & (np.nan_to_num(self.side) > 0)

    def __getitem__(self, index: Any) -> "HandBox":
        """Pick boxes as from an array of the batch's shape."""
        picked = [np.asarray(values[index]) for values in (self.centre, self.side, self.angle, self.left)]
        return HandBox(*picked)

    def scaled(self, factor: float) -> "HandBox":
        """Return boxes with the same centres and sides `factor` times as long."""
        return HandBox(self.centre, self.side * factor, self.angle, self.left)

    def turned(self, angle: ArrayLike) -> "HandBox":
        """Return boxes turned by `angle` more, radians clockwise."""
        return HandBox(self.centre, self.side, self.angle + np.asarray(angle), self.left)


def direction_angle(vector: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch"]:
    """Return the angle of directions in the picture: (0, -1) is 0, (1, 0) is pi/2; NaN for a zero vector."""
    vector = np.asarray(vector, dtype=np.float64)
    angle = np.arctan2(vector[..., 0], -vector[..., 1])
    return np.where((vector == 0).all(axis=-1), np.nan, angle)


def box_from_arm(
    wrist: Float[np.ndarray, "*batch 2"],
    elbow: Float[np.ndarray, "*batch 2"],
    shoulder: Float[np.ndarray, "*batch 2"] | None = None,
    left: ArrayLike = False,
    *,
    rule: ArmRule = "forearm",
    head_size: Float[np.ndarray, "*batch"] | None = None,
) -> HandBox:
    """Place the box beyond the wrist, upright along the forearm. Points in px, NaN where missing.

    u is the forearm's direction, L = max(|wrist - elbow|, 0.9 |elbow - shoulder|): the upper arm stands in for a forearm that
    points at the camera (OpenPose, ``handDetector.cpp``). The rules:

    - ``forearm``, posekit's own: centre wrist + 0.3 L u, side 1.3 L. A shoulder that is missing leaves the forearm alone.
    - ``openpose``: centre wrist + 0.33 (wrist - elbow), side 1.5 L; needs the shoulder.
    - ``head`` (Simon et al. 2017): centre wrist + 0.15 (wrist - elbow), side 2.2 x 0.7 head_size, bottom to top of the head in
      px; where that is not given or NaN, it is 0.89 L (0.130 and 0.146 of a person's height; Drillis & Contini, 1966).

    Measured on 166 hands of people who balance (4 views, OpenPose's arms, hands that MediaPipe found): the box's centre is
    0.36, 0.34 and 0.47 B from the hand's in the median, its side 1.19, 1.37 and 1.26 times 2.2 B; on 184 hands that hold a
    board the centre is 0.24, 0.28 and 0.41 B away.
    """
    wrist, elbow = np.asarray(wrist, dtype=np.float64), np.asarray(elbow, dtype=np.float64)
    forearm = wrist - elbow
    length = np.linalg.norm(forearm, axis=-1)
    upper = (
        0.0 * length if shoulder is None else np.linalg.norm(elbow - np.asarray(shoulder, dtype=np.float64), axis=-1)
    )
    if rule == "openpose":
        reach, side = 0.33 * length, 1.5 * np.maximum(length, 0.9 * upper)
    elif rule == "head":
        known = np.full(length.shape, np.nan) if head_size is None else np.asarray(head_size, dtype=np.float64)
        head = np.where(np.isfinite(known), known, _HEAD_PER_FOREARM * np.fmax(length, 0.9 * upper))
        reach, side = 0.15 * length, BOX_FACTOR * 0.7 * head
    elif rule == "forearm":
        longer = np.fmax(length, 0.9 * upper)
        reach, side = HAND_CENTRE_BEYOND_WRIST * longer, BOX_PER_FOREARM * longer
    else:
        raise ValueError(f"rule is {rule!r}, expected one of: {', '.join(ARM_RULES)}")
    with np.errstate(invalid="ignore"):
        unit = forearm / np.where(length > 0, length, np.nan)[..., None]
    return HandBox(wrist + reach[..., None] * unit, side, direction_angle(forearm), left)


def box_from_hand(
    keypoints: Float[np.ndarray, "*batch 21 2"],
    left: ArrayLike = False,
    angle: ArrayLike | None = None,
    factor: float = BOX_FACTOR,
) -> HandBox:
    """Place the box on known keypoints: centre of their tight box, side `factor` times its longer side.

    keypoints: hand-21 order, px, NaN where missing. angle: direction of the hand; if not given, from wrist to middle knuckle.
    NaN boxes where fewer than two keypoints are known, or the direction is not.
    """
    keypoints = np.asarray(keypoints, dtype=np.float64)
    known = np.isfinite(keypoints).all(axis=-1, keepdims=True)
    low = np.where(known, keypoints, np.inf).min(axis=-2)
    high = np.where(known, keypoints, -np.inf).max(axis=-2)
    enough = known.sum(axis=(-2, -1)) >= 2
    low, high = np.where(enough[..., None], low, np.nan), np.where(enough[..., None], high, np.nan)
    if angle is None:
        angle = direction_angle(keypoints[..., 9, :] - keypoints[..., 0, :])
    return HandBox((low + high) / 2, factor * (high - low).max(axis=-1), angle, left)


def image_from_crop(boxes: HandBox, size: int) -> Float[np.ndarray, "*batch 2 3"]:
    """Return the affine maps from pixels of a `size` px crop to pixels of the picture.

    The crop's outer edges (-0.5 and size - 0.5) lie on the box's edges, its up on the hand's direction; a left hand's crop runs
    from right to left.
    """
    scale = boxes.side / size
    sine, cosine = np.sin(boxes.angle), np.cos(boxes.angle)
    across = np.where(boxes.left, -1.0, 1.0) * scale
    linear = np.stack(
        [np.stack([across * cosine, -scale * sine], -1), np.stack([across * sine, scale * cosine], -1)], -2
    )
    offset = boxes.centre - linear.sum(axis=-1) * (size - 1) / 2
    return np.concatenate([linear, offset[..., None]], axis=-1)


def crop_from_image(boxes: HandBox, size: int) -> Float[np.ndarray, "*batch 2 3"]:
    """Return the affine maps from pixels of the picture to pixels of a `size` px crop; the inverse of `image_from_crop`."""
    forward = image_from_crop(boxes, size)
    # The linear part is a scaled rotation (with a mirror): its inverse is its transpose over the squared scale.
    linear = np.swapaxes(forward[..., :2], -1, -2) * (size / boxes.side[..., None, None]) ** 2
    return np.concatenate([linear, -linear @ forward[..., 2:]], axis=-1)


def transform_points(
    matrices: Float[np.ndarray, "*batch 2 3"], points: Float[np.ndarray, "*batch J 2"]
) -> Float[np.ndarray, "*batch J 2"]:
    """Apply one affine map to each set of points."""
    matrices = np.asarray(matrices)
    return np.asarray(points) @ np.swapaxes(matrices[..., :2], -1, -2) + matrices[..., None, :, 2]


def cut_crops(
    images: UInt8[np.ndarray, "H W 3"] | list[UInt8[np.ndarray, "H W 3"]], boxes: HandBox, size: int
) -> UInt8[np.ndarray, "B size size 3"]:
    """Cut upright right-hand crops; black outside the picture, all black where there is no box.

    images: one picture for all boxes, or one for each. boxes: (B,). Where a box is much larger than its crop, the picture is
    first averaged over whole blocks of pixels, so that no detail is aliased. Raises ValueError for pictures of other numbers
    than bytes or of other channels than three: one in [0, 1] would give black crops.
    """
    if len(boxes.shape) != 1:
        raise ValueError(f"cut_crops takes boxes of shape (B,), not {boxes.shape}")
    count = boxes.shape[0]
    pictures = images if isinstance(images, list) else [images] * count
    if len(pictures) != count:
        raise ValueError(f"cut_crops got {len(pictures)} pictures for {count} boxes")
    for picture in images if isinstance(images, list) else [images]:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"cut_crops takes RGB pictures, uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
    crops = np.zeros((count, size, size, 3), dtype=np.uint8)
    matrices = image_from_crop(boxes, size)
    for number in np.flatnonzero(boxes.found):
        crops[number] = _cut_crop(pictures[number], matrices[number], size, boxes.side[number] / size)
    return crops


def _cut_crop(
    image: UInt8[np.ndarray, "H W 3"], matrix: Float[np.ndarray, "2 3"], size: int, scale: float
) -> UInt8[np.ndarray, "size size 3"]:
    height, width = image.shape[:2]
    corners = transform_points(matrix, np.array([[-1, -1], [size, -1], [-1, size], [size, size]], dtype=np.float64))
    # A picture that is smaller than a pixel of its crop needs no larger blocks than itself, nor memory for them.
    block = max(1, min(round(scale), max(height, width)))
    low = np.floor(np.clip(corners.min(axis=0) - block, 0, (width, height))).astype(int)
    high = np.ceil(np.clip(corners.max(axis=0) + block + 1, 0, (width, height))).astype(int)
    if (high <= low).any():
        return np.zeros((size, size, 3), dtype=np.uint8)
    region = image[low[1] : high[1], low[0] : high[0]]
    matrix = matrix.copy()
    matrix[:, 2] -= low
    if block > 1:
        # Whole blocks only; what is missing at the right and lower edge is black, as everything outside the picture.
        pad = -np.array(region.shape[:2]) % block
        region = np.pad(region, ((0, pad[0]), (0, pad[1]), (0, 0)))
        small = (region.shape[1] // block, region.shape[0] // block)
        region = cv2.resize(region, small, interpolation=cv2.INTER_AREA)
        matrix = matrix / block
        matrix[:, 2] += 0.5 / block - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        np.ascontiguousarray(region), matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT
    )
