"""From whole bodies to the boxes of their hands, and who is who from one frame to the next."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from posekit.detection.hand_box import ArmRule, HandBox, box_from_arm
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D
from posekit.skeleton import Skeleton

SIDES = ("left", "right")

#: A body that moved by more than this share of its size from one frame to the next is somebody else.
_SAME_BODY = 0.35


def require_arms(skeleton: Skeleton, source: str) -> None:
    """Raise PosekitError where a skeleton has no wrist or no elbow."""
    missing = [f"{side}_{joint}" for side in SIDES for joint in ("wrist", "elbow") if f"{side}_{joint}" not in skeleton]
    if missing:
        raise PosekitError(
            f"{source}: {skeleton.name} has no {missing[0]}; boxes of hands need the wrists and elbows of a body"
        )


def boxes_from_bodies(keypoints: Keypoints2D, least_confidence: float = 0.1, rule: ArmRule = "forearm") -> HandBox:
    """Place a box around every hand that has wrist and elbow, (F, C, 2 P): the left hand of slot 0, its right hand, and so on.

    Joints less confident than `least_confidence` are taken as missing. Raises PosekitError for a skeleton without arms.
    """
    require_arms(keypoints.skeleton, keypoints.source)
    seen = np.where(keypoints.confidence[..., None] >= least_confidence, keypoints.xy, np.nan).astype(np.float64)
    skeleton = keypoints.skeleton

    def joint(name: str) -> NDArray[np.float64]:
        """Both sides' joint, (F, C, P, 2 sides, 2)."""
        names = [f"{side}_{name}" for side in SIDES]
        empty = np.full((*seen.shape[:3], 2), np.nan)
        return np.stack([seen[..., skeleton.index(n), :] if n in skeleton else empty for n in names], axis=3)

    head = None
    if "head_top" in skeleton and "upper_neck" in skeleton:
        ends = seen[..., [skeleton.index("head_top"), skeleton.index("upper_neck")], :]
        size = np.linalg.norm(ends[..., 0, :] - ends[..., 1, :], axis=-1)
        head = np.stack([size, size], axis=-1)
    left = np.broadcast_to([True, False], (*seen.shape[:3], 2))
    boxes = box_from_arm(joint("wrist"), joint("elbow"), joint("shoulder"), left, rule=rule, head_size=head)
    F, C, P = seen.shape[:3]
    return HandBox(
        boxes.centre.reshape(F, C, 2 * P, 2),
        boxes.side.reshape(F, C, 2 * P),
        boxes.angle.reshape(F, C, 2 * P),
        boxes.left.reshape(F, C, 2 * P),
    )


class BodyFollower:
    """Tells who is who in one camera from frame to frame; body detectors put people into slots in any order.

    A new body gets a number that nobody had; one that is missing for `patience` frames is forgotten.
    """

    def __init__(self, patience: int = 5) -> None:
        self.patience = patience
        self._last: dict[int, tuple[NDArray[np.float64], int]] = {}
        self._next = 0

    def step(self, xy: Float[np.ndarray, "P J 2"]) -> Int[np.ndarray, " P"]:
        """Return the number of every slot's body, -1 for an empty slot. xy: px, NaN where missing."""
        numbers = np.full(len(xy), -1, dtype=np.int64)
        slots = np.flatnonzero(np.isfinite(xy).all(axis=-1).any(axis=-1))
        known = list(self._last)
        cost = np.array([[_distance(self._last[n][0], xy[slot]) for n in known] for slot in slots])
        if cost.size:
            for row, column in zip(*linear_sum_assignment(np.minimum(cost, 1e3)), strict=True):
                if cost[row, column] < _SAME_BODY:
                    numbers[slots[row]] = known[column]
        for slot in slots[numbers[slots] < 0]:
            numbers[slot] = self._next
            self._next += 1
        self._last = {n: (xy_n, age + 1) for n, (xy_n, age) in self._last.items() if age < self.patience}
        self._last.update({int(numbers[slot]): (np.asarray(xy[slot], dtype=np.float64), 0) for slot in slots})
        return numbers


def _distance(before: NDArray[np.floating], now: NDArray[np.floating]) -> float:
    """Median distance of two bodies' joints by the larger body's size; infinite where they share no joint."""
    both = np.isfinite(before).all(axis=-1) & np.isfinite(now).all(axis=-1)
    if not both.any():
        return np.inf
    size = max(np.linalg.norm(np.nanmax(points, axis=0) - np.nanmin(points, axis=0)) for points in (before, now))
    return float(np.median(np.linalg.norm(before[both] - now[both], axis=-1)) / max(size, 1.0))
