"""A person of rigid bones who walks, waves, squats, reaches and plays with the fingers.

Frame of the person (metres): x to the person's right, y forward, z up. Every limb is posed as the right one, in the frame of
the trunk, and mirrored where it is the left one. Segment lengths are fractions of the stature after Drillis and Contini
(1966): shank .246, thigh .245, upper arm .186, forearm .146, foot .152, trunk .288, hands .108. Joints of shoulders and hips
lie further in than the skin that was measured across.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from posekit.datasets.hand_model import MEAN_HAND_LENGTH, HandShapes, pose_hands, sample_shapes
from posekit.datasets.hand_poses import sample_motion
from posekit.skeleton import HAND_JOINTS

Array = NDArray[np.float64]
SIDES = ("left", "right")

#: What somebody does for so long (s) before the next thing, and how long the change takes.
ACTIVITY_SECONDS = 1.7
BLEND_SECONDS = 0.5
ACTIVITIES = ("walk", "wave", "squat", "reach")

#: m/s while walking, and the swing of a thigh to either side (rad).
WALKING_SPEED = 1.1
THIGH_SWING = 0.42

#: Capsules of flesh: from joint to joint (or to the middle of two), radius as a share of the stature.
CAPSULES: tuple[tuple[tuple[str, ...], tuple[str, ...], float], ...] = (
    (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"), 0.070),
    (("left_shoulder",), ("left_hip",), 0.055),
    (("right_shoulder",), ("right_hip",), 0.055),
    (("neck",), ("head_top",), 0.045),
    *(
        capsule
        for side in SIDES
        for capsule in (
            ((f"{side}_shoulder",), (f"{side}_elbow",), 0.028),
            ((f"{side}_elbow",), (f"{side}_wrist",), 0.023),
            ((f"{side}_wrist",), (f"{side}_middle_1",), 0.015),
            ((f"{side}_hip",), (f"{side}_knee",), 0.045),
            ((f"{side}_knee",), (f"{side}_ankle",), 0.032),
            ((f"{side}_heel",), (f"{side}_big_toe",), 0.022),
        )
    ),
)


@dataclass(frozen=True, eq=False)
class Body:
    """Lengths of a person's rigid segments, metres, and the person's hands."""

    stature: float
    shank: float
    thigh: float
    hip_half: float
    trunk: float
    shoulder_half: float
    upper_arm: float
    forearm: float
    foot: float
    hands: HandShapes


def sample_body(rng: np.random.Generator) -> Body:
    """Draw a grown-up: 1.5 to 1.95 m, each proportion with a spread of 3 %."""
    stature = float(np.clip(rng.normal(1.72, 0.09), 1.5, 1.95))

    def length(share: float) -> float:
        return share * stature * float(np.exp(rng.normal(0, 0.03)))

    hands = sample_shapes(rng, 1)
    # The hands' own spread of sizes includes children; a grown-up's hand is .108 of the stature.
    size = length(0.108) / MEAN_HAND_LENGTH
    hands = HandShapes(hands.scale * (size / hands.scale[:, 0, 1]).item())
    return Body(
        stature,
        shank=length(0.246),
        thigh=length(0.245),
        hip_half=length(0.055),
        trunk=length(0.288),
        shoulder_half=length(0.115),
        upper_arm=length(0.186),
        forearm=length(0.146),
        foot=length(0.152),
        hands=hands,
    )


@dataclass(frozen=True, eq=False)
class Motion:
    """What a person does in F frames.

    position: (F, 2) metres on the floor. heading: (F,) rad about z, 0 looks along y. angles: name -> (F,) rad, those of limbs
    with ``left_`` or ``right_`` before the name. fingers: side -> (F, 25), see `posekit.datasets.hand_model.ANGLES`.
    """

    position: Array
    heading: Array
    angles: dict[str, Array]
    fingers: dict[str, Array]


def sample_motion_of(
    rng: np.random.Generator, body: Body, path: Array, activities: tuple[str, ...], frames: int, fps: float
) -> Motion:
    """Walk along a path while it is time to walk, and do the other things where that has led.

    path: (n, 2) metres, round and round. activities: one after the other, from `ACTIVITIES`; the last goes on.
    """
    F = frames
    seconds = np.arange(F) / fps
    weight = _activity_weights(activities, seconds)
    walked = np.cumsum(weight["walk"]) / fps * WALKING_SPEED
    closed = np.concatenate((path, path[:1]))
    along = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))))

    def place(distance: Array) -> Array:
        return np.stack([np.interp(distance % along[-1], along, closed[:, axis]) for axis in (0, 1)], axis=1)

    position = place(walked)
    step = place(walked + 0.25) - place(walked - 0.05)
    heading = np.unwrap(np.arctan2(-step[:, 0], step[:, 1]))
    stride = 4 * (body.thigh + body.shank) * np.sin(THIGH_SWING)
    phase = 2 * np.pi * walked / stride + rng.uniform(0, 2 * np.pi)
    # Whoever waves does so at their own pace, and nobody stands quite still.
    beat = 2 * np.pi * rng.uniform(1.5, 2.2) * seconds
    sway = rng.uniform(0, 2 * np.pi)
    poses = {
        "walk": _walking(phase),
        "wave": _waving(beat, str(rng.choice(SIDES))),
        "squat": _squatting(seconds, activities),
        "reach": _reaching(seconds, str(rng.choice(SIDES))),
    }
    names = sorted({name for pose in poses.values() for name in pose} | set(_STANDING))
    angles = {}
    for name in names:
        standing = _STANDING.get(name, 0.0)
        angles[name] = sum(
            (weight[kind] * pose.get(name, np.full(F, standing)) for kind, pose in poses.items()), np.zeros(F)
        )
    angles["trunk_twist"] = angles["trunk_twist"] + 0.04 * np.sin(0.9 * seconds + sway)
    angles["head_yaw"] = angles["head_yaw"] + 0.4 * np.sin(0.7 * seconds + sway)
    fingers = {}
    for side in SIDES:
        drawn = sample_motion(rng, body.hands, F, fps).double().numpy()
        drawn[:, 23:25] = 0  # the wrist is bent by the arm's own angles
        fingers[side] = drawn
    return Motion(position, heading, angles, fingers)


def _activity_weights(activities: tuple[str, ...], seconds: Array) -> dict[str, Array]:
    """How much of a frame belongs to which activity, (F,) each; they sum to 1."""
    number = np.minimum((seconds / ACTIVITY_SECONDS).astype(int), len(activities) - 1)
    share = np.clip((seconds - number * ACTIVITY_SECONDS) / BLEND_SECONDS, 0, 1)
    share = np.where(number == 0, 1.0, share)
    share = share**3 * (10 - 15 * share + 6 * share**2)
    weight = {kind: np.zeros(len(seconds)) for kind in ACTIVITIES}
    for f, (now, part) in enumerate(zip(number, share, strict=True)):
        weight[activities[now]][f] += part
        weight[activities[max(now - 1, 0)]][f] += 1 - part
    return weight


_STANDING = {
    f"{side}_{name}": angle
    for side in SIDES
    for name, angle in (("shoulder_abduction", 0.12), ("elbow", 0.25), ("hip_abduction", 0.05), ("knee", 0.05))
} | {"trunk_lean": 0.03, "trunk_twist": 0.0, "head_yaw": 0.0}


def _walking(phase: Array) -> dict[str, Array]:
    pose = {"trunk_lean": np.full(len(phase), 0.06), "trunk_twist": 0.10 * np.sin(phase)}
    for side, own in (("right", phase), ("left", phase + np.pi)):
        pose[f"{side}_hip"] = 0.10 + THIGH_SWING * np.sin(own)
        # The knee bends while the leg swings forward.
        pose[f"{side}_knee"] = 0.12 + 0.85 * np.maximum(np.cos(own), 0) ** 2
        pose[f"{side}_ankle"] = 0.12 * np.sin(own + 0.6)
        pose[f"{side}_hip_abduction"] = np.full(len(phase), 0.02)
        pose[f"{side}_shoulder"] = -0.45 * np.sin(own)
        pose[f"{side}_shoulder_abduction"] = np.full(len(phase), 0.15)
        pose[f"{side}_elbow"] = 0.45 - 0.2 * np.sin(own)
    return pose


def _waving(beat: Array, side: str) -> dict[str, Array]:
    still = np.ones(len(beat))
    return {
        f"{side}_shoulder_abduction": 1.25 * still,
        f"{side}_shoulder_twist": -1.45 * still,
        f"{side}_elbow": 1.6 + 0.45 * np.sin(beat),
        f"{side}_pronation": 0.6 + 0.2 * np.sin(beat),
        "trunk_lean": 0.02 * still,
    }


def _squatting(seconds: Array, activities: tuple[str, ...]) -> dict[str, Array]:
    """Down and up again, deepest in the middle of the time that there is for it."""
    when = activities.index("squat") if "squat" in activities else 0
    depth = np.sin(np.pi * np.clip((seconds / ACTIVITY_SECONDS - when - 0.1) / 1.0, 0, 1)) ** 2
    pose = {"trunk_lean": 0.05 + 0.55 * depth}
    for side in SIDES:
        pose[f"{side}_hip"] = 1.35 * depth
        pose[f"{side}_knee"] = 0.05 + 1.75 * depth
        pose[f"{side}_ankle"] = 0.05 + 0.4 * depth
        pose[f"{side}_hip_abduction"] = 0.05 + 0.2 * depth
        pose[f"{side}_shoulder"] = 1.2 * depth
        pose[f"{side}_elbow"] = 0.25 + 0.2 * depth
    return pose


def _reaching(seconds: Array, side: str) -> dict[str, Array]:
    away = 0.5 - 0.5 * np.cos(2 * np.pi * seconds / ACTIVITY_SECONDS)
    return {
        f"{side}_shoulder": 0.5 + 0.9 * away,
        f"{side}_elbow": 1.3 - 1.0 * away,
        f"{side}_pronation": 0.9 + 0 * away,
        f"{side}_wrist": 0.3 - 0.3 * away,
        "trunk_lean": 0.05 + 0.3 * away,
        "trunk_twist": (0.35 if side == "right" else -0.35) * away,
    }


def pose_body(body: Body, motion: Motion) -> dict[str, Array]:
    """Forward kinematics: every named joint, (F, 3) metres in the world; the lowest part of the feet is on the floor, z = 0."""
    F = len(motion.heading)
    angle = {name: motion.angles.get(name, np.zeros(F)) for name in _ANGLES}
    joints: dict[str, Array] = {"mid_hip": np.zeros((F, 3))}
    # The trunk leans and twists over the hips; the head turns on the neck.
    trunk = _about("z", angle["trunk_twist"]) @ _about("x", -angle["trunk_lean"])
    joints["neck"] = _place(trunk, (0, 0, body.trunk + 0.012 * body.stature))
    head = trunk @ _about("z", angle["head_yaw"]) @ _about("x", 0.7 * angle["trunk_lean"])
    for name, (x, y, z) in _HEAD.items():
        joints[name] = joints["neck"] + _place(head, np.array((x, y, z)) * body.stature)
    for side, mirror in (("left", np.array((-1.0, 1, 1))), ("right", np.ones(3))):
        own = {name.removeprefix(f"{side}_"): values for name, values in angle.items() if name.startswith(side)}
        for name, points in _leg(body, own).items():
            joints[f"{side}_{name}"] = points * mirror
        for name, points in _arm(body, own, motion.fingers[side]).items():
            joints[f"{side}_{name}"] = np.einsum("fij,fj->fi", trunk, points * mirror)
    # The feet stay below the person: whoever squats moves the hips back, not the feet forward.
    feet = (joints["left_ankle"] + joints["right_ankle"]) / 2
    lowest = np.min(
        [joints[f"{side}_{end}"][:, 2] for side in SIDES for end in ("heel", "big_toe", "small_toe")], axis=0
    )
    shift = np.stack((-feet[:, 0], -feet[:, 1], -lowest + 0.01 * body.stature), axis=1)
    turn = _about("z", motion.heading)
    floor = np.concatenate((motion.position, np.zeros((F, 1))), axis=1)
    return {name: np.einsum("fij,fj->fi", turn, points + shift) + floor for name, points in joints.items()}


#: Joints of the head from the neck, as shares of the stature: x to the right, y forward, z up.
_HEAD = {
    "nose": (0, 0.065, 0.072),
    "head_top": (0, 0.012, 0.165),
    "left_eye": (-0.018, 0.055, 0.098),
    "right_eye": (0.018, 0.055, 0.098),
    "left_ear": (-0.043, 0.008, 0.085),
    "right_ear": (0.043, 0.008, 0.085),
}
_LIMB_ANGLES = (
    "hip", "hip_abduction", "knee", "ankle",
    "shoulder", "shoulder_abduction", "shoulder_twist", "elbow", "pronation", "wrist",
)  # fmt: skip
_ANGLES = ("trunk_lean", "trunk_twist", "head_yaw", *(f"{side}_{name}" for side in SIDES for name in _LIMB_ANGLES))

#: Columns: the directions radial, distal and palmar of a right hand that hangs down, its palm to the thigh.
_HANGING = np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]])


def _leg(body: Body, angle: dict[str, Array]) -> dict[str, Array]:
    hip = np.tile((body.hip_half, 0.0, 0.0), (len(angle["hip"]), 1))
    thigh = _about("y", -angle["hip_abduction"]) @ _about("x", angle["hip"])
    knee = hip + _place(thigh, (0, 0, -body.thigh))
    shank = thigh @ _about("x", -angle["knee"])
    ankle = knee + _place(shank, (0, 0, -body.shank))
    foot = shank @ _about("x", angle["ankle"])
    drop = -0.25 * body.foot
    return {
        "hip": hip,
        "knee": knee,
        "ankle": ankle,
        "heel": ankle + _place(foot, (0, -0.22 * body.foot, drop)),
        "big_toe": ankle + _place(foot, (-0.02, 0.74 * body.foot, drop)),
        "small_toe": ankle + _place(foot, (0.055, 0.58 * body.foot, drop)),
    }


def _arm(body: Body, angle: dict[str, Array], fingers: Array) -> dict[str, Array]:
    """Shoulder, elbow, wrist and the hand of the right side, in the trunk's frame."""
    F = len(fingers)
    shoulder = np.tile((body.shoulder_half, 0.0, body.trunk), (F, 1))
    upper = (
        _about("x", angle["shoulder"])
        @ _about("y", -angle["shoulder_abduction"])
        @ _about("z", angle["shoulder_twist"])
    )
    elbow = shoulder + _place(upper, (0, 0, -body.upper_arm))
    fore = upper @ _about("x", angle["elbow"])
    wrist = elbow + _place(fore, (0, 0, -body.forearm))
    hand = fore @ _HANGING @ _about("y", angle["pronation"]) @ _about("x", angle["wrist"])
    posed = pose_hands(body.hands.repeat(F), torch.from_numpy(fingers.astype(np.float32))).joints.double().numpy()
    world = wrist[:, None] + np.einsum("fij,fnj->fni", hand, posed)
    named = {("hand_wrist" if joint == "wrist" else joint): world[:, n] for n, joint in enumerate(HAND_JOINTS)}
    return {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, **named}


def _place(rotation: Array, vector: tuple[float, float, float] | Array) -> Array:
    return np.asarray(rotation @ np.asarray(vector, dtype=np.float64))


def _about(axis: str, angle: Array) -> Array:
    """Rotations (F, 3, 3) about x, y or z."""
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    rows = {
        "x": ((one, zero, zero), (zero, c, -s), (zero, s, c)),
        "y": ((c, zero, s), (zero, one, zero), (-s, zero, c)),
        "z": ((c, -s, zero), (s, c, zero), (zero, zero, one)),
    }[axis]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
