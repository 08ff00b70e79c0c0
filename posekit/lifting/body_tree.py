"""The lifter's skeleton as bones that hang on the pelvis: joints are sums of bones, and bones have lengths."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError
from posekit.medians import median_of_known
from posekit.skeleton import Skeleton

#: Metres that adults of both sexes measure on average; who is lifted without a height is taken for one of them.
MEAN_HEIGHT = 1.70

ROOT = "mid_hip"

#: Lengths of bones as shares of the height, by the joint at their end. Limbs: Winter, "Biomechanics and motor control of human
#: movement", figure 4.1 (after Drillis and Contini); hips and shoulders are where 2D detectors put them, which is nearer to the
#: middle than the outermost points of skin that it gives.
_SHARES: Mapping[str, float] = MappingProxyType(
    {
        "hip": 0.060,
        "knee": 0.245,
        "ankle": 0.240,
        "neck": 0.300,
        "thorax": 0.290,
        "nose": 0.115,
        "upper_neck": 0.050,
        "head_top": 0.115,
        "shoulder": 0.105,
        "elbow": 0.170,
        "wrist": 0.148,
    }
)


@dataclass(frozen=True, eq=False)
class BodyTree:
    """Bones of a skeleton, every one with its parent before it.

    skeleton: with J joints and one root, mid_hip. bones: (B, 2) joints, parent and child, B = J - 1.
    """

    skeleton: Skeleton
    bones: NDArray[np.int64]

    @classmethod
    def of(cls, skeleton: Skeleton) -> "BodyTree":
        """Order the bones from the root outwards; raises PosekitError for joints that do not hang on the mid-hip."""
        root = skeleton.index(ROOT)
        reached, bones = {root}, []
        waiting = list(skeleton.bones)
        while waiting:
            ready = [bone for bone in waiting if (bone[0] in reached) != (bone[1] in reached)]
            if not ready:
                break
            for a, b in ready:
                parent, child = (a, b) if a in reached else (b, a)
                if child not in reached:
                    reached.add(child)
                    bones.append((parent, child))
            waiting = [bone for bone in waiting if bone not in ready]
        if len(bones) != skeleton.joint_count - 1:
            lost = [joint for number, joint in enumerate(skeleton.joints) if number not in reached]
            raise PosekitError(f"skeleton {skeleton.name}: {', '.join(lost)} do not hang on {ROOT}")
        return cls(skeleton, np.array(bones, dtype=np.int64))

    @property
    def root(self) -> int:
        """Place of the root among the joints."""
        return self.skeleton.index(ROOT)

    @cached_property
    def sums(self) -> NDArray[np.float64]:
        """Which bones lead from the root to every joint: joints relative to the root = sums @ bones; (J, B) of 0 and 1."""
        sums = np.zeros((self.skeleton.joint_count, len(self.bones)))
        for number, (parent, child) in enumerate(self.bones):
            sums[child] = sums[parent]
            sums[child, number] = 1
        return sums

    @cached_property
    def mirror(self) -> NDArray[np.int64]:
        """The bone on the other side of every bone, or itself; (B,)."""
        place = {int(child): number for number, (_, child) in enumerate(self.bones)}
        joints = self.skeleton.mirror
        return np.array([place[int(joints[child])] for _, child in self.bones], dtype=np.int64)

    @cached_property
    def usual_lengths(self) -> NDArray[np.float64]:
        """Bones of a person of mean height, (B,) metres; NaN for one of which that is not known."""
        names = (self.skeleton.joints[child] for _, child in self.bones)
        shares = [_SHARES.get(name.removeprefix("left_").removeprefix("right_"), np.nan) for name in names]
        return MEAN_HEIGHT * np.array(shares)

    @cached_property
    def upright(self) -> NDArray[np.bool_]:
        """Bones that add up to a person's height, from the ankles to the neck; (B,)."""
        names = [self.skeleton.joints[child] for _, child in self.bones]
        return np.array([name.endswith(("_knee", "_ankle")) or name in ("neck", "thorax") for name in names])

    def bone_vectors(self, xyz: NDArray[np.floating]) -> NDArray[np.float64]:
        """Bones (..., 3, B) of joints (..., J, 3), from parent to child."""
        vectors = xyz[..., self.bones[:, 1], :] - xyz[..., self.bones[:, 0], :]
        return np.ascontiguousarray(vectors.swapaxes(-1, -2), dtype=np.float64)

    def joints(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Joints (..., J, 3) relative to the root, of bones (..., 3, B)."""
        xyz: NDArray[np.float64] = (vectors @ self.sums.T).swapaxes(-1, -2)
        return xyz


def height_of(joints: NDArray[np.floating], tree: BodyTree) -> float | None:
    """Height (metres) by the bones of legs and trunk that are known of joints (F, J, 3); None where none of them ever is."""
    length = np.linalg.norm(tree.bone_vectors(joints), axis=-2)
    median = median_of_known(length)
    counted = tree.upright & np.isfinite(median)
    if not counted.any():
        return None
    return float(MEAN_HEIGHT * median[counted].sum() / tree.usual_lengths[counted].sum())
