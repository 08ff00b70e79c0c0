"""Joint angles of body and fingers from joint centres.

All in radians. What needs more than joint centres is not here: axial rotation of thigh, shank, upper arm and forearm
(pronation), the tilt of the pelvis (two hip centres have no front), scapula and clavicle. Where the conventions of the
International Society of Biomechanics (Wu et al. 2002 and 2005) want such landmarks, the nearest line between joint centres
stands for them, and the zero may lie some degrees off: ears are in front of the neck, the sole is not the foot's axis.

``trunk`` is the line from the middle of the hips to the neck; where a skeleton has no such joints, the middles of the hips
and of the shoulders. Two angles at one joint are flexion, then abduction, as in Grood & Suntay (1983): flexion about the
first axis, abduction out of its plane, -pi/2 to pi/2. {side} is left or right; both sides have the same signs.

Trunk and neck
    trunk_inclination      trunk from vertical, >= 0
    trunk_flexion          forward (+) lean of the trunk from vertical, in the plane that the hips face
    trunk_lateral_flexion  lean to the right (+) out of that plane
    trunk_rotation         shoulders against hips about the trunk, to the left (+)
    neck_flexion           neck to the middle of the ears (or top of the head) against the trunk, forward (+); about 0.2 upright
    neck_lateral_flexion   the same, to the right (+)
Leg
    {side}_hip_flexion     thigh against the trunk, forward (+), about the line of the hips; 0 in line with the trunk
    {side}_hip_abduction   thigh away from the middle (+)
    {side}_knee_flexion    angle between thigh and shank, 0 straight, >= 0 in whichever direction
    {side}_knee_flexion_signed  the same in the plane across the line of the hips: overextension is < 0. Too small where the
                           thigh is rotated about itself: by 4 degrees of 60 at 30 degrees of rotation
    {side}_ankle_dorsiflexion   heel to toes against the shank; 0 at a right angle, toes up (+)
    {side}_thigh_inclination, {side}_shank_inclination  from vertical, >= 0
    {side}_foot_pitch      heel to toes from horizontal, toes up (+)
Arm
    {side}_shoulder_elevation   upper arm from the trunk downwards, 0 hanging, pi overhead
    {side}_shoulder_elevation_plane  where to: 0 to the side, pi/2 to the front (ISB); NaN within 0.1 rad of hanging or overhead
    {side}_elbow_flexion   angle between upper arm and forearm, 0 straight, >= 0. Its sign needs the humerus's rotation
    {side}_upper_arm_inclination, {side}_forearm_inclination  from hanging vertical, 0 to pi
    {side}_wrist_flexion   hand against forearm, towards the palm (+)
    {side}_wrist_ulnar_deviation  towards the little finger (+)
Hand (``index_mcp_flexion`` without a side where the skeleton is one hand; its signs are lost then, and all are >= 0)
    {side}_{finger}_mcp_flexion  proximal phalanx against its metacarpal (wrist to knuckle), towards the palm (+)
    {side}_{finger}_pip_flexion, {side}_{finger}_dip_flexion  each phalanx against the one before, towards the palm (+)
    {side}_index_middle_abduction, ..._middle_ring_..., ..._ring_little_...  spread of the two fingers (+): by how much more
                           the one's proximal phalanx leans to the thumb's side; only where the side is known
    {side}_thumb_mcp_flexion, {side}_thumb_ip_flexion  as angles between bones, >= 0: the thumb's plane is not the palm's
    {side}_thumb_abduction  angle between the metacarpals of thumb and index, >= 0
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posekit.errors import PosekitError
from posekit.keypoints import Keypoints3D
from posekit.skeleton import FINGERS

Vectors = NDArray[np.float64]

#: Below this horizontal share of an upper arm (0.1 rad) the direction it is raised to is noise.
_LEAST_ELEVATED = 0.1
#: Other names of the front of the foot, each joint's nearest first.
_TOES = (("big_toe", "small_toe"), ("big_toe",), ("foot_index",))


@dataclass(frozen=True, eq=False)
class JointAngles:
    """Angles over time. values: (F, P, A) rad, NaN where a joint is missing. names: A, as the module lists them."""

    values: NDArray[np.float64]
    names: tuple[str, ...]


def joint_angles(people: Keypoints3D, up: ArrayLike = (0.0, 0.0, 1.0)) -> JointAngles:
    """Compute every angle that the skeleton has the joints for.

    up: (3,), the world's direction away from the ground. Raises PosekitError where it is no direction, or where the
    skeleton has the joints for not one angle.
    """
    direction = np.asarray(up, dtype=np.float64)
    if direction.shape != (3,) or not 0 < np.linalg.norm(direction) < np.inf:
        raise PosekitError(f"angles: up {direction.tolist()} is no direction in space")
    joints = _Joints(people)
    angles: dict[str, Vectors] = {}
    angles |= _trunk(joints, _unit(direction))
    for side in ("left", "right"):
        angles |= _leg(joints, side, _unit(direction))
        angles |= _arm(joints, side, _unit(direction))
        angles |= _wrist(joints, side)
        angles |= _hand(joints, side)
    angles |= _hand(joints, "")
    if not angles:
        raise PosekitError(f"angles: skeleton {people.skeleton.name} has the joints for none of the known angles")
    return JointAngles(np.stack(list(angles.values()), axis=-1), tuple(angles))


class _Joints:
    """Positions by name, (F, P, 3), middles of two joints included."""

    def __init__(self, people: Keypoints3D) -> None:
        self._people = people
        self._derived: dict[str, Vectors] = {}
        self._derive("mid_hip", "left_hip", "right_hip")
        self._derive("neck", "left_shoulder", "right_shoulder")
        self._derive("head", "left_ear", "right_ear")
        if "head" not in self and "head_top" in self:
            self._derived["head"] = self["head_top"]
        for side in ("left", "right"):
            for names in _TOES:
                self._derive(f"{side}_toes", *(f"{side}_{name}" for name in names))

    def _derive(self, name: str, *of: str) -> None:
        if name not in self and self.has(*of):
            self._derived[name] = np.mean([self[joint] for joint in of], axis=0)

    def __contains__(self, name: str) -> bool:
        return name in self._people.skeleton or name in self._derived

    def __getitem__(self, name: str) -> Vectors:
        if name in self._derived:
            return self._derived[name]
        place: Vectors = self._people.xyz[:, :, self._people.skeleton.index(name)]
        return place

    def has(self, *names: str) -> bool:
        return all(name in self for name in names)

    def bone(self, start: str, end: str) -> Vectors:
        return self[end] - self[start]


def _trunk(joints: _Joints, up: Vectors) -> dict[str, Vectors]:
    if not joints.has("mid_hip", "neck"):
        return {}
    trunk = joints.bone("mid_hip", "neck")
    angles = {"trunk_inclination": angle_between(trunk, up)}
    if joints.has("left_hip", "right_hip"):
        hips = joints.bone("left_hip", "right_hip")
        level = _across(hips, up)
        flexion, lateral = _flexion_abduction(trunk, np.cross(up, level), up, level)
        angles |= {"trunk_flexion": flexion, "trunk_lateral_flexion": lateral}
    if joints.has("left_hip", "right_hip", "left_shoulder", "right_shoulder"):
        hips = _across(joints.bone("left_hip", "right_hip"), trunk)
        angles["trunk_rotation"] = signed_angle(hips, joints.bone("left_shoulder", "right_shoulder"), trunk)
    if joints.has("head", "left_shoulder", "right_shoulder"):
        right, forward, along = _body_frame(joints.bone("left_shoulder", "right_shoulder"), trunk)
        flexion, lateral = _flexion_abduction(joints.bone("neck", "head"), forward, along, right)
        angles |= {"neck_flexion": flexion, "neck_lateral_flexion": lateral}
    return angles


def _leg(joints: _Joints, side: str, up: Vectors) -> dict[str, Vectors]:
    hip, knee, ankle, heel, toes = (f"{side}_{name}" for name in ("hip", "knee", "ankle", "heel", "toes"))
    angles: dict[str, Vectors] = {}
    if not joints.has(hip, knee):
        return angles
    thigh = joints.bone(hip, knee)
    if joints.has("left_hip", "right_hip", "neck"):
        right, forward, along = _body_frame(joints.bone("left_hip", "right_hip"), joints.bone("mid_hip", "neck"))
        outwards = right if side == "right" else -right
        flexion, abduction = _flexion_abduction(thigh, forward, -along, outwards)
        angles |= {f"{side}_hip_flexion": flexion, f"{side}_hip_abduction": abduction}
    if joints.has(ankle):
        shank = joints.bone(knee, ankle)
        angles[f"{side}_knee_flexion"] = angle_between(thigh, shank)
        if joints.has("left_hip", "right_hip"):
            axis = _across(joints.bone("right_hip", "left_hip"), thigh)
            angles[f"{side}_knee_flexion_signed"] = signed_angle(thigh, shank, axis)
        if joints.has(heel, toes):
            foot = joints.bone(heel, toes)
            angles[f"{side}_ankle_dorsiflexion"] = np.pi / 2 - angle_between(-shank, foot)
            angles[f"{side}_foot_pitch"] = np.pi / 2 - angle_between(foot, up)
        angles[f"{side}_shank_inclination"] = angle_between(-shank, up)
    angles[f"{side}_thigh_inclination"] = angle_between(-thigh, up)
    return angles


def _arm(joints: _Joints, side: str, up: Vectors) -> dict[str, Vectors]:
    shoulder, elbow, wrist = (f"{side}_{name}" for name in ("shoulder", "elbow", "wrist"))
    angles: dict[str, Vectors] = {}
    if not joints.has(shoulder, elbow):
        return angles
    upper = joints.bone(shoulder, elbow)
    if joints.has("left_shoulder", "right_shoulder", "mid_hip"):
        right, forward, along = _body_frame(
            joints.bone("left_shoulder", "right_shoulder"), joints.bone("mid_hip", "neck")
        )
        outwards = right if side == "right" else -right
        angles[f"{side}_shoulder_elevation"] = angle_between(upper, -along)
        direction = _unit(upper)
        side_part, front_part = _dot(direction, outwards), _dot(direction, forward)
        raised = np.hypot(side_part, front_part) >= _LEAST_ELEVATED
        angles[f"{side}_shoulder_elevation_plane"] = np.where(raised, np.arctan2(front_part, side_part), np.nan)
    if joints.has(wrist):
        forearm = joints.bone(elbow, wrist)
        angles[f"{side}_elbow_flexion"] = angle_between(upper, forearm)
        angles[f"{side}_forearm_inclination"] = angle_between(-forearm, up)
    angles[f"{side}_upper_arm_inclination"] = angle_between(-upper, up)
    return angles


def _wrist(joints: _Joints, side: str) -> dict[str, Vectors]:
    hand = f"{side}_hand_wrist"
    if not joints.has(
        hand, f"{side}_elbow", f"{side}_wrist", *(f"{side}_{f}_1" for f in ("index", "middle", "little"))
    ):
        return {}
    palmar, radial = _palm(joints, side)
    along = joints.bone(hand, f"{side}_middle_1")
    forearm = joints.bone(f"{side}_elbow", f"{side}_wrist")
    radial = _across(radial, along)
    palmar = _across(palmar, along)
    # The hand is the frame, so the forearm leans the other way.
    flexion, ulnar = _flexion_abduction(forearm, -palmar, _unit(along), radial)
    return {f"{side}_wrist_flexion": flexion, f"{side}_wrist_ulnar_deviation": ulnar}


def _hand(joints: _Joints, side: str) -> dict[str, Vectors]:
    """Angles of a hand's fingers; side is empty in a skeleton that is one hand of an unknown side."""
    prefix = f"{side}_" if side else ""
    wrist = f"{side}_hand_wrist" if side else "wrist"
    if not joints.has(wrist, *(f"{prefix}{finger}_{k}" for finger in FINGERS for k in range(1, 5))):
        return {}

    def bones(finger: str) -> list[Vectors]:
        chain = [wrist, *(f"{prefix}{finger}_{k}" for k in range(1, 5))]
        return [joints.bone(a, b) for a, b in itertools.pairwise(chain)]

    angles: dict[str, Vectors] = {}
    thumb = bones("thumb")
    angles[f"{prefix}thumb_mcp_flexion"] = angle_between(thumb[1], thumb[2])
    angles[f"{prefix}thumb_ip_flexion"] = angle_between(thumb[2], thumb[3])
    angles[f"{prefix}thumb_abduction"] = angle_between(thumb[1], bones("index")[0])
    inclination = {}
    for finger in FINGERS[1:]:
        if side:
            flexions, inclination[finger] = _finger(bones(finger), *_palm(joints, side))
        else:
            chain = bones(finger)
            flexions = [angle_between(a, b) for a, b in itertools.pairwise(chain)]
        for joint, flexion in zip(("mcp", "pip", "dip"), flexions, strict=True):
            angles[f"{prefix}{finger}_{joint}_flexion"] = flexion
    if side:
        for one, next_one in itertools.pairwise(FINGERS[1:]):
            angles[f"{prefix}{one}_{next_one}_abduction"] = inclination[one] - inclination[next_one]
    return angles


def _palm(joints: _Joints, side: str) -> tuple[Vectors, Vectors]:
    """Return the directions out of the palm and to the thumb's side, unit vectors at right angles."""
    wrist = f"{side}_hand_wrist"
    to_index, to_little = joints.bone(wrist, f"{side}_index_1"), joints.bone(wrist, f"{side}_little_1")
    palmar = _unit(np.cross(to_index, to_little) * (1 if side == "right" else -1))
    along = _across(joints.bone(wrist, f"{side}_middle_1"), palmar)
    radial = np.cross(along, palmar) * (1 if side == "right" else -1)
    return palmar, radial


def _finger(bones: list[Vectors], palmar: Vectors, radial: Vectors) -> tuple[list[Vectors], Vectors]:
    """Return the flexions of MCP, PIP and DIP, and how far the proximal phalanx leans to the thumb's side.

    bones: metacarpal and the three phalanges. The hinges of PIP and DIP are taken as going along with the finger's abduction:
    the direction to the thumb's side, at right angles to the phalanx before.
    """
    metacarpal, proximal, middle, distal = bones
    along = _across(metacarpal, radial)
    to_palm = _across(palmar, along)
    mcp, lean = _flexion_abduction(proximal, to_palm, along, radial)
    # Turning about this axis takes a straight finger to the palm.
    axis = np.cross(along, to_palm)
    hinge = _across(axis, proximal)
    next_hinge = _across(hinge, middle)
    return [mcp, signed_angle(proximal, middle, hinge), signed_angle(middle, distal, next_hinge)], lean


def angle_between(first: Vectors, second: Vectors) -> Vectors:
    """Angle of two vectors (..., 3), 0 to pi; exact near 0 and pi, where an arc cosine is not. NaN where one has no length."""
    first, second = _unit(first), _unit(second)
    return np.arctan2(np.linalg.norm(np.cross(first, second), axis=-1), _dot(first, second))


def signed_angle(first: Vectors, second: Vectors, axis: Vectors) -> Vectors:
    """Angle from one vector to another about an axis at right angles to the first, right-handed, -pi to pi; all (..., 3).

    What the second has along the axis does not count. NaN where a vector or the axis has no length.
    """
    axis, first, second = _unit(axis), _unit(first), _unit(second)
    return np.arctan2(_dot(np.cross(first, second), axis), _dot(first, second))


def _flexion_abduction(bone: Vectors, forward: Vectors, neutral: Vectors, outwards: Vectors) -> tuple[Vectors, Vectors]:
    """Angle of a bone from neutral to forward, and out of their plane; the three are unit vectors at right angles."""
    unit = _unit(bone)
    flexion = np.arctan2(_dot(unit, forward), _dot(unit, neutral))
    return flexion, np.arcsin(np.clip(_dot(unit, outwards), -1, 1))


def _body_frame(to_right: Vectors, along: Vectors) -> tuple[Vectors, Vectors, Vectors]:
    """Return right, forward and up of the body; right is kept as it is."""
    right = _unit(to_right)
    upwards = _across(along, right)
    return right, np.cross(upwards, right), upwards


def _across(vector: Vectors, axis: Vectors) -> Vectors:
    """Unit vector of the part of a vector at right angles to an axis; NaN where there is none."""
    unit = _unit(axis)
    return _unit(vector - _dot(vector, unit)[..., None] * unit)


def _unit(vector: Vectors) -> Vectors:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / np.where(length > 0, length, np.nan)


def _dot(first: Vectors, second: Vectors) -> Vectors:
    return (first * second).sum(axis=-1)
