"""The joints that a lifter works on, and how everybody's 2D skeletons come to them."""

from posekit.errors import PosekitError
from posekit.skeleton import JointMap, Skeleton, joint_map
from posekit.skeleton.record import body_skeleton

_LIMBS = ("{side}_shoulder {side}_elbow {side}_wrist", "{side}_hip {side}_knee {side}_ankle")

#: What nearly all 2D detectors of the field share: four limbs, the nose, and the middles of hips and shoulders.
LIFTER_15 = body_skeleton(
    "LIFTER_15",
    "mid_hip right_hip right_knee right_ankle left_hip left_knee left_ankle neck nose right_shoulder right_elbow "
    "right_wrist left_shoulder left_elbow left_wrist",
    ("mid_hip neck nose", "mid_hip {side}_hip", "neck {side}_shoulder", *_LIMBS),
)

#: RepNet's joints in the order of its published training script: Human3.6M's as a stacked hourglass gives them, without a nose.
REPNET_16 = body_skeleton(
    "REPNET_16",
    "right_hip right_knee right_ankle left_hip left_knee left_ankle mid_hip thorax upper_neck head_top left_shoulder "
    "left_elbow left_wrist right_shoulder right_elbow right_wrist",
    ("mid_hip thorax upper_neck head_top", "mid_hip {side}_hip", "thorax {side}_shoulder", *_LIMBS),
)

#: Of the twelve joints of the limbs, how many a 2D skeleton must have: both legs without their ankles and both arms
#: without their wrists, or one side of a body and hips and shoulders of the other.
_LEAST_LIMB_JOINTS = 8


def map_to_lifter(source: Skeleton, target: Skeleton = LIFTER_15) -> JointMap:
    """Return how a 2D skeleton's joints stand in the lifter's, by name.

    mid_hip and neck are the middles of hips and shoulders where the source has none of its own. What it lacks besides, such as
    Human3.6M's nose, is in ``missing``, and will be NaN.

    Raises PosekitError for a skeleton that is not of a body: fewer than 8 of the 12 joints from shoulders to wrists and hips
    to ankles.
    """
    mapping = joint_map(source, target, derive=True)
    limbs = [joint for joint in target.joints if joint in source and joint.startswith(("left_", "right_"))]
    if len(limbs) < _LEAST_LIMB_JOINTS:
        raise PosekitError(
            f"skeleton {source.name}: found {len(limbs)} of the 12 joints of arms and legs that a lifter needs, expected at "
            f"least {_LEAST_LIMB_JOINTS} (such as left_shoulder, right_knee): lift a skeleton of a whole body"
        )
    return mapping
