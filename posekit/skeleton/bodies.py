"""The bodies of the field: joints in the order of the files that carry them.

A name is shared by two skeletons where, and only where, the point on the body is the same. So the ``thorax`` of a motion
capture, where the collar bones begin, is not OpenPose's ``neck``, halfway between the shoulders; and BlazePose's knuckles and
foot index are nobody else's. Face, nose and eyes are the person's, and so are left and right.
"""

from posekit.skeleton.hands import HAND_21, HAND_JOINTS, hand_joint
from posekit.skeleton.record import Skeleton, body_skeleton, mirror_pairs, named_bones

_ARM = "{side}_shoulder {side}_elbow {side}_wrist"
_LEG = "{side}_hip {side}_knee {side}_ankle"
_FOOT = ("{side}_ankle {side}_heel", "{side}_ankle {side}_big_toe {side}_small_toe")
_HEAD = "nose {side}_eye {side}_ear"
_WITH_FEET = (_ARM, _LEG, *_FOOT, _HEAD)
# Where there is neither a neck nor a mid-hip: COCO's own bones from ear to shoulder and shoulder to hip close the trunk.
_OPEN_TRUNK = ("{side}_ear {side}_shoulder {side}_hip", "left_shoulder right_shoulder", "left_hip right_hip")
_SPINE_TO_SIDES = ("neck {side}_shoulder", "mid_hip {side}_hip")

_COCO_JOINTS = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)

#: OpenPose (poseParameters.cpp).
BODY_25 = body_skeleton(
    "BODY_25",
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip right_hip right_knee "
    "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe left_small_toe "
    "left_heel right_big_toe right_small_toe right_heel",
    ("mid_hip neck nose", *_SPINE_TO_SIDES, *_WITH_FEET),
)

#: OpenPose (poseParameters.cpp), which draws no bone from shoulder to hip (there is no mid-hip): the trunk would be open.
BODY_25B = body_skeleton(
    "BODY_25B",
    f"{_COCO_JOINTS} neck head_top left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel",
    (
        "neck nose",
        "neck head_top",
        "neck {side}_shoulder {side}_hip",
        "left_hip right_hip",
        *_WITH_FEET,
    ),
)

COCO_17 = body_skeleton("COCO_17", _COCO_JOINTS, (_HEAD, *_OPEN_TRUNK, _ARM, _LEG))

#: OpenPose's model trained on COCO.
COCO_18 = body_skeleton(
    "COCO_18",
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee "
    "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear",
    ("neck nose", "neck {side}_shoulder", "neck {side}_hip", _ARM, _LEG, _HEAD),
)

#: Halpe (AlphaPose), what RTMPose and Pose2Sim call a body with feet. Its "hip" is the mid-hip, its "head" the top.
HALPE_26 = body_skeleton(
    "HALPE_26",
    f"{_COCO_JOINTS} head_top neck mid_hip left_big_toe right_big_toe left_small_toe right_small_toe left_heel right_heel",
    ("mid_hip neck nose", "neck head_top", *_SPINE_TO_SIDES, *_WITH_FEET),
)

#: CMU Panoptic's ``joints19``; its "body centre" is the mid-hip.
PANOPTIC_19 = body_skeleton(
    "PANOPTIC_19",
    "neck nose mid_hip left_shoulder left_elbow left_wrist left_hip left_knee left_ankle right_shoulder right_elbow "
    "right_wrist right_hip right_knee right_ankle left_eye left_ear right_eye right_ear",
    ("mid_hip neck nose", *_SPINE_TO_SIDES, _ARM, _LEG, _HEAD),
)

#: MediaPipe's pose. Its pinky, index and thumb are knuckles of the hand as the body model guesses them.
BLAZEPOSE_33 = body_skeleton(
    "BLAZEPOSE_33",
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "left_mouth right_mouth left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky_knuckle "
    "right_pinky_knuckle left_index_knuckle right_index_knuckle left_thumb_knuckle right_thumb_knuckle left_hip right_hip "
    "left_knee right_knee left_ankle right_ankle left_heel right_heel left_foot_index right_foot_index",
    (
        "nose {side}_eye_inner {side}_eye {side}_eye_outer {side}_ear",
        "nose {side}_mouth",
        *_OPEN_TRUNK,
        _ARM,
        "{side}_wrist {side}_pinky_knuckle",
        "{side}_wrist {side}_index_knuckle",
        "{side}_wrist {side}_thumb_knuckle",
        _LEG,
        "{side}_ankle {side}_heel",
        "{side}_ankle {side}_foot_index",
    ),
)

_MOCAP_LIMBS = ("thorax {side}_shoulder {side}_elbow {side}_wrist", "mid_hip {side}_hip {side}_knee {side}_ankle")

#: Human3.6M as MMPose and VideoPose3D order it. ``upper_neck``, where the head begins, is called neck base or nose elsewhere.
H36M_17 = body_skeleton(
    "H36M_17",
    "mid_hip right_hip right_knee right_ankle left_hip left_knee left_ankle spine thorax upper_neck head_top "
    "left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist",
    ("mid_hip spine thorax upper_neck head_top", *_MOCAP_LIMBS),
)

#: MPII's order, in which stacked hourglasses give Human3.6M's joints.
H36M_16 = body_skeleton(
    "H36M_16",
    "right_ankle right_knee right_hip left_hip left_knee left_ankle mid_hip thorax upper_neck head_top right_wrist "
    "right_elbow right_shoulder left_shoulder left_elbow left_wrist",
    ("mid_hip thorax upper_neck head_top", *_MOCAP_LIMBS),
)

#: Bones of CMU's motion capture by the joint at their END: lhipjoint ends in the hip, lfemur in the knee, lradius in the wrist.
#: The pelvis, its root, is some 10 cm above the line between the hips.
CMU_MOCAP = body_skeleton(
    "CMU_MOCAP",
    "pelvis head_top left_shoulder left_knee left_fingertips left_foot_ball left_knuckles left_hip left_elbow lower_back "
    "lower_neck left_wrist left_thumb_end left_ankle left_toe_end left_palm right_shoulder right_knee right_fingertips "
    "right_foot_ball right_knuckles right_hip right_elbow right_wrist right_thumb_end right_ankle right_toe_end right_palm "
    "thorax upper_back upper_neck",
    (
        "pelvis lower_back upper_back thorax lower_neck upper_neck head_top",
        "thorax {side}_shoulder {side}_elbow {side}_wrist {side}_palm {side}_knuckles {side}_fingertips",
        "{side}_palm {side}_thumb_end",
        "pelvis {side}_hip {side}_knee {side}_ankle {side}_foot_ball {side}_toe_end",
    ),
)

# The 68 points of a face (300-W) start at the person's right ear: this is the mirror image of each of 0, 1, 2 ...
_FACE_MIRROR = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *range(54, 47, -1),
    *range(59, 54, -1),
    *range(64, 59, -1),
    *(67, 66, 65),
)
# Brows, eyes, nose, lips and jaw along the face's contours, from the tip of the nose down.
_FACE_CHAINS = (
    "30 29 28 27 21 20 19 18 17",
    "27 22 23 24 25 26",
    "27 39 38 37 36",
    "39 40 41",
    "27 42 43 44 45",
    "42 47 46",
    "30 33 32 31",
    "33 34 35",
    "33 51 50 49 48 59 58",
    "51 52 53 54 55 56",
    "51 62 61 60 67",
    "62 63 64 65",
    "62 66 57 8 7 6 5 4 3 2 1 0",
    "8 9 10 11 12 13 14 15 16",
)


def _coco_wholebody() -> Skeleton:
    """Body 0-16, feet 17-22, face 23-90, left hand 91-111, right hand 112-132."""
    feet = tuple(f"{side}_{toe}" for side in ("left", "right") for toe in ("big_toe", "small_toe", "heel"))
    hands = tuple(hand_joint(side, joint) for side in ("left", "right") for joint in HAND_JOINTS)
    joints = (*_COCO_JOINTS.split(), *feet, *(f"face_{number}" for number in range(68)), *hands)
    face_chains = tuple(" ".join(f"face_{number}" for number in chain.split()) for chain in _FACE_CHAINS)
    bones = [*named_bones(joints, (*_OPEN_TRUNK, *_WITH_FEET, "nose face_30", *face_chains))]
    for side, first in (("left", 91), ("right", 112)):
        bones.append((joints.index(f"{side}_wrist"), first))
        bones += [(first + a, first + b) for a, b in HAND_21.bones]
    # The person's right half, without the points in the middle.
    right_of_face = {*range(8), *range(17, 22), 31, 32, *range(36, 42), 48, 49, 50, 58, 59, 60, 61, 67}
    face_pairs = tuple((23 + _FACE_MIRROR[right], 23 + right) for right in sorted(right_of_face))
    parts = {
        "body": tuple(range(23)),
        "face": tuple(range(23, 91)),
        "left_hand": tuple(range(91, 112)),
        "right_hand": tuple(range(112, 133)),
    }
    return Skeleton("COCO_WHOLEBODY_133", joints, tuple(bones), (*mirror_pairs(joints), *face_pairs), parts)


COCO_WHOLEBODY_133 = _coco_wholebody()
