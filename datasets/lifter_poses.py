"""Poses in 3D that a lifter learns what people look like from: a little motion capture, mixed so that it goes far.

Recorded poses are taken apart (`posekit.datasets.body_table`); every drawn pose has the pelvis and trunk of one, the legs
of the same or another, each arm and the head of the same or another, some of them halfway between two; limbs and head are
turned a little, knees and hips bent now and then as in a crouch; any pose may be its mirror image; and the bones are a drawn
body's (`posekit.datasets.body_shapes`), whose joints lie where detectors see them. All is computed on whole batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from posekit.datasets.body_shapes import Proportions, draw_bodies
from posekit.datasets.body_table import BodyPlan, BodyTable, assemble
from posekit.datasets.mocap import MocapClip
from posekit.datasets.mocap_retarget import retarget
from posekit.errors import PosekitError
from posekit.lifting.skeletons import LIFTER_15
from posekit.skeleton import Skeleton

Batch = NDArray[np.float32]

_RATE = 30.0


@dataclass(frozen=True)
class PoseMixing:
    """What is changed about recorded poses; angles in radians.

    other_arm, other_legs, other_head: how often each arm, the legs, the head come from another pose. one_leg: how often one leg
    alone comes from yet another, as when somebody balances, climbs or kicks. between: how often a limb is between two poses.
    crouch: how often hips and knees are bent further, by up to `crouch_hip` and as fits a crouch; crouch_one: how often
    that is done by one leg alone. turn_arm, turn_leg: standard deviation of a limb's turn as a whole; wide: how often that is
    turn_wide instead. turn_head: of the head's to a side; it nods half as much. turn_chest: of the chest on the pelvis.
    lean: of the whole body's tilt. bow: how often pelvis and trunk lean over one leg or both, which stay where they are, by up
    to `bow_forward` to the front, a third of that to the back, and `bow_aside` to a side. toppled: how often the body lies or
    hangs any way round. bodies: None keeps everybody's own bones.
    """

    other_arm: float = 0.4
    other_legs: float = 0.3
    other_head: float = 0.5
    one_leg: float = 0.2
    between: float = 0.25
    crouch: float = 0.12
    crouch_hip: float = 1.7
    crouch_one: float = 0.5
    turn_arm: float = 0.12
    turn_leg: float = 0.06
    turn_wide: float = 0.45
    wide: float = 0.15
    turn_head: float = 0.35
    turn_chest: float = 0.12
    lean: float = 0.1
    bow: float = 0.15
    bow_forward: float = 1.3
    bow_aside: float = 0.9
    toppled: float = 0.02
    bodies: Proportions | None = field(default_factory=Proportions)


class RecordedPoses:
    """Poses, and motions, as they were recorded: what held-out figures are measured on.

    A `posekit.lifting.sources.PoseSource`.
    """

    def __init__(self, clips: Sequence[MocapClip], skeleton: Skeleton = LIFTER_15) -> None:
        """Raises PosekitError where a clip lacks a joint, or there is not one whole pose."""
        self.skeleton = skeleton
        poses = [retarget(clip.at_rate(_RATE), skeleton) for clip in clips]
        centred = [xyz - xyz[:, skeleton.index("mid_hip"), None] for xyz in poses]
        whole = [np.isfinite(xyz).all(axis=(1, 2)) for xyz in centred]
        self.poses: Batch = np.concatenate(
            [xyz[kept] for xyz, kept in zip(centred, whole, strict=True)] or [np.empty(0)]
        ).astype(np.float32)
        if not len(self.poses):
            raise PosekitError("mocap: there is not one pose with every joint of the lifter's skeleton")
        # A new stretch begins with every clip, and after every pose that is not whole.
        breaks = np.concatenate([np.concatenate(([True], ~kept)) for kept in whole])
        poses_in = np.concatenate([np.concatenate(([False], kept)) for kept in whole])
        self._stretch = np.cumsum(breaks)[poses_in]

    def draw(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, "B J 3"]:
        """Return poses (count, J, 3) in metres, centred on mid_hip, Z up, turned at random about the vertical."""
        return self.draw_motions(count, 1, rng)[:, 0]

    def draw_motions(self, count: int, frames: int, rng: np.random.Generator) -> Float[np.ndarray, "B T J 3"]:
        """Return motions (count, frames, J, 3) at 30 Hz, otherwise as `draw`; raises PosekitError where no clip is so long."""
        starts = _starts(self._stretch, frames)
        rows = starts[rng.integers(len(starts), size=count)]
        return turn_about_vertical(self.poses[rows[:, None] + np.arange(frames)], rng)


class MixedPoses:
    """A `posekit.lifting.sources.PoseSource` of mixed poses; of mixed motions with `draw_motions`."""

    def __init__(
        self, clips: Sequence[MocapClip], skeleton: Skeleton = LIFTER_15, mixing: PoseMixing | None = None
    ) -> None:
        """Raises PosekitError where there is no clip, a clip lacks a joint, or there is not one whole pose."""
        if not clips:
            raise PosekitError("mocap: found no clip, expected one or more to draw poses from")
        self.mixing = mixing or PoseMixing()
        self.plan = BodyPlan.of(skeleton)
        poses = [retarget(clip.at_rate(_RATE), skeleton) for clip in clips]
        once = BodyTable.of(self.plan, poses)
        self.table = once.with_mirrored()
        self._weights = np.tile(_weights(clips, once.clip), 2)
        self._cumulative = _cumulative(self._weights)

    @property
    def skeleton(self) -> Skeleton:
        """The joints of the poses."""
        return self.plan.skeleton

    def draw(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, "B J 3"]:
        """Return poses (count, J, 3) in metres, centred on mid_hip, Z up, turned at random about the vertical."""
        return self.draw_motions(count, 1, rng)[:, 0]

    def draw_motions(self, count: int, frames: int, rng: np.random.Generator) -> Float[np.ndarray, "B T J 3"]:
        """Return motions (count, frames, J, 3) at 30 Hz, each of one body, metres, each frame centred on mid_hip.

        Raises PosekitError where no clip is so long.
        """
        starts = _starts(self.table.clip, frames)
        mixing, plan, T = self.mixing, self.plan, frames
        trunk = self._choose(starts, count, rng)
        rows = dict.fromkeys(plan.groups, trunk)
        for group, share in (
            ("left_arm", mixing.other_arm),
            ("right_arm", mixing.other_arm),
            ("legs", mixing.other_legs),
            ("head", mixing.other_head),
        ):
            rows[group] = np.where(rng.random(count) < share, self._choose(starts, count, rng), trunk)
        time = np.arange(T)
        directions = np.empty((count * T, len(plan.bones), 3), dtype=np.float32)
        for group, bones in plan.groups.items():
            places = (rows[group][:, None] + time).ravel()
            here = self.table.directions[places][:, bones]
            if group in ("left_arm", "right_arm", "legs"):
                self._blend(here, bones, starts, T, rng)
            directions[:, bones] = here
        self._lend_a_leg(directions, starts, T, rng)
        self._vary(directions, T, rng)
        places = (trunk[:, None] + time).ravel()
        lengths, neck = self._bodies(places, T, rng)
        pelvis = self._bow(directions, _tilt(self.table.pelvis[places], T, mixing, rng), T, rng)
        bend = small_turns(mixing.turn_chest * rng.standard_normal((count, 3), dtype=np.float32))
        chest = np.repeat(bend, T, axis=0) @ self.table.chest[places]
        xyz = assemble(plan, pelvis, chest, directions, lengths)
        if "neck" in plan.skeleton:
            xyz[:, plan.chest] += (pelvis @ chest @ neck[..., None])[..., 0]
        return turn_about_vertical(xyz.reshape(count, T, *xyz.shape[1:]), rng)

    def _choose(self, starts: Int[np.ndarray, " M"], count: int, rng: np.random.Generator) -> Int[np.ndarray, " B"]:
        cumulative = self._cumulative if len(starts) == len(self.table) else _cumulative(self._weights[starts])
        rows = np.searchsorted(cumulative, rng.random(count))
        return starts[np.minimum(rows, len(starts) - 1)]

    def _blend(
        self, here: Batch, bones: tuple[int, ...], starts: NDArray[np.int64], T: int, rng: np.random.Generator
    ) -> None:
        """Bring some limbs part of the way to those of other poses, in place: (B T, n, 3)."""
        count = len(here) // T
        chosen = np.flatnonzero(rng.random(count) < self.mixing.between)
        if not len(chosen):
            return
        others = (self._choose(starts, len(chosen), rng)[:, None] + np.arange(T)).ravel()
        rows = (chosen[:, None] * T + np.arange(T)).ravel()
        share = np.repeat(rng.random(len(chosen), dtype=np.float32), T)[:, None, None]
        mixed = (1 - share) * here[rows] + share * self.table.directions[others][:, bones]
        lengths = np.linalg.norm(mixed, axis=-1, keepdims=True)
        # Nothing lies halfway between a direction and its opposite.
        here[rows] = np.where(lengths > 0.1, mixed / np.maximum(lengths, 0.1), here[rows])

    def _lend_a_leg(self, directions: Batch, starts: NDArray[np.int64], T: int, rng: np.random.Generator) -> None:
        """Give some a leg of another pose, in place."""
        chosen = np.flatnonzero(rng.random(len(directions) // T) < self.mixing.one_leg)
        others = (self._choose(starts, len(chosen), rng)[:, None] + np.arange(T)).ravel()
        rows = (chosen[:, None] * T + np.arange(T)).ravel()
        legs = np.array([self._leg("left"), self._leg("right")])
        leg = np.repeat(legs[rng.integers(2, size=len(chosen))], T, axis=0)
        directions[rows[:, None], leg] = self.table.directions[others[:, None], leg]

    def _leg(self, side: str) -> tuple[int, ...]:
        plan = self.plan
        knee, ankle = plan.children.index(f"{side}_knee"), plan.children.index(f"{side}_ankle")
        return knee, ankle

    def _turns(self, usual: float, count: int, rng: np.random.Generator) -> Batch:
        """Turns (count, 3, 3) of a limb, a few of them wide."""
        spread = np.where(rng.random(count) < self.mixing.wide, self.mixing.turn_wide, usual)[:, None]
        return small_turns(spread.astype(np.float32) * rng.standard_normal((count, 3), dtype=np.float32))

    def _vary(self, directions: Batch, T: int, rng: np.random.Generator) -> None:
        """Turn limbs and head, and let some crouch, in place."""
        count, mixing, groups = len(directions) // T, self.mixing, self.plan.groups
        for group, spread in (("left_arm", mixing.turn_arm), ("right_arm", mixing.turn_arm)):
            _turn(directions, groups[group], self._turns(spread, count, rng), T)
        for side in ("left", "right"):
            # Not the pelvis's half: a leg that is lifted leaves the hips where they are.
            _turn(directions, self._leg(side), self._turns(mixing.turn_leg, count, rng), T)
        # About the axes to the left (a nod), up (to a side) and to the front.
        head = mixing.turn_head * np.array([0.5, 1.0, 0.3], dtype=np.float32)
        _turn(directions, groups["head"], small_turns(head * rng.standard_normal((count, 3), dtype=np.float32)), T)
        self._crouch(directions, T, rng)

    def _crouch(self, directions: Batch, T: int, rng: np.random.Generator) -> None:
        """Bend hips forward and knees back for some, no further than people can: thigh 2.3, knee 2.5 rad."""
        count = len(directions) // T
        chosen = np.flatnonzero(rng.random(count) < self.mixing.crouch)
        if not len(chosen):
            return
        rows = (chosen[:, None] * T + np.arange(T)).ravel()
        bend = self.mixing.crouch_hip * rng.random(len(chosen), dtype=np.float32)
        ratio = rng.uniform(0.4, 1.6, len(chosen)).astype(np.float32)
        alone, left = rng.random(len(chosen)) < self.mixing.crouch_one, rng.random(len(chosen)) < 0.5
        for side in ("left", "right"):
            stays = alone & (left != (side == "left"))
            thigh, shank = (self.plan.children.index(f"{side}_{joint}") for joint in ("knee", "ankle"))
            upper, lower = directions[rows, thigh], directions[rows, shank]
            angle, knee = _forward(upper), _knee(upper, lower)
            own = np.repeat(
                np.where(stays, 0, bend) * (1 + 0.1 * rng.standard_normal(len(chosen), dtype=np.float32)), T
            )
            more = np.clip(own, 0, np.maximum(2.3 - angle, 0))
            more_knee = np.clip(np.repeat(ratio, T) * own, 0, np.maximum(2.5 - knee, 0))
            directions[rows, thigh] = _about_lateral(upper, more)
            directions[rows, shank] = _about_lateral(lower, more - more_knee)

    def _bow(self, directions: Batch, pelvis: Batch, T: int, rng: np.random.Generator) -> Batch:
        """Lean some over the legs they stand on; returns the pelvis, and changes those legs' directions in place."""
        count, mixing = len(pelvis) // T, self.mixing
        chosen = np.flatnonzero(rng.random(count) < mixing.bow)
        vectors = np.zeros((len(chosen), 3), dtype=np.float32)
        vectors[:, 0] = rng.uniform(-mixing.bow_forward / 3, mixing.bow_forward, len(chosen))
        vectors[:, 2] = rng.uniform(-mixing.bow_aside, mixing.bow_aside, len(chosen))
        turns = np.repeat(small_turns(vectors), T, axis=0)
        stands_on = rng.integers(3, size=len(chosen))  # the left leg, the right, both
        rows = (chosen[:, None] * T + np.arange(T)).ravel()
        for number, side in enumerate(("left", "right")):
            here = np.repeat((stands_on == number) | (stands_on == 2), T)
            leg = np.array(self._leg(side))
            # Directions are told in the pelvis's frame: turned back, they are the world's as before. Rows times a rotation
            # is what its inverse does to columns.
            directions[rows[here][:, None], leg] = directions[rows[here][:, None], leg] @ turns[here]
        leaning = pelvis.copy()
        leaning[rows] = pelvis[rows] @ turns
        return leaning

    def _bodies(self, places: NDArray[np.int64], T: int, rng: np.random.Generator) -> tuple[Batch, Batch]:
        if self.mixing.bodies is None:
            return self.table.lengths[places], np.zeros((len(places), 3), dtype=np.float32)
        bodies = draw_bodies(self.plan, self.mixing.bodies, len(places) // T, rng)
        return np.repeat(bodies.lengths, T, axis=0), np.repeat(bodies.neck, T, axis=0)


def _starts(recording: Int[np.ndarray, " N"], frames: int) -> Int[np.ndarray, " M"]:
    """Rows from which so many frames of one recording follow; recording: (N,), each frame's number of it."""
    last = max(len(recording) - frames + 1, 0)
    starts = np.flatnonzero(recording[:last] == recording[len(recording) - last :])
    if not len(starts):
        raise PosekitError(f"mocap: no clip has {frames} frames at {_RATE:g} Hz, expected one that is as long")
    return starts


def _cumulative(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total: NDArray[np.float64] = np.cumsum(weights)
    return total / total[-1]


def _weights(clips: Sequence[MocapClip], clip: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often each frame is drawn: actions by the root of their frames, so that an hour of one does not drown the others."""
    actions = np.array([f"{clip.subject}/{clip.action}" for clip in clips])
    _, action = np.unique(actions, return_inverse=True)
    frames = np.bincount(action[clip], minlength=action.max() + 1)
    weights: NDArray[np.float64] = 1 / np.sqrt(frames[action[clip]])
    return weights


def turn_about_vertical(
    xyz: Float[np.ndarray, "B *more 3"], rng: np.random.Generator
) -> Float[np.ndarray, "B *more 3"]:
    """Turn every pose or motion about the vertical by any angle."""
    angle = rng.uniform(0, 2 * np.pi, len(xyz)).astype(np.float32)
    angle = angle.reshape(-1, *([1] * (xyz.ndim - 2)))
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = np.empty_like(xyz)
    turned[..., 0] = cosine * xyz[..., 0] - sine * xyz[..., 1]
    turned[..., 1] = sine * xyz[..., 0] + cosine * xyz[..., 1]
    turned[..., 2] = xyz[..., 2]
    return turned


def small_turns(vectors: Float[np.ndarray, "B 3"]) -> Float[np.ndarray, "B 3 3"]:
    """Rotations about vectors as long as the angle (rad); Rodrigues' formula."""
    angle = np.linalg.norm(vectors, axis=-1)[:, None, None]
    x, y, z = np.moveaxis(vectors / np.maximum(angle[..., 0], 1e-9), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack((zero, -z, y, z, zero, -x, -y, x, zero), axis=-1).reshape(-1, 3, 3)
    turns: Batch = np.eye(3, dtype=np.float32) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return turns


def _turn(directions: Batch, bones: tuple[int, ...], turns: Batch, T: int) -> None:
    turns = np.repeat(turns, T, axis=0)
    directions[:, bones] = directions[:, bones] @ np.swapaxes(turns, -1, -2)


def _tilt(pelvis: Batch, T: int, mixing: PoseMixing, rng: np.random.Generator) -> Batch:
    count = len(pelvis) // T
    vectors = mixing.lean * rng.standard_normal((count, 3), dtype=np.float32)
    toppled = rng.random(count) < mixing.toppled
    vectors[toppled, :2] = rng.uniform(-np.pi / 2, np.pi / 2, (int(toppled.sum()), 2))
    tilted: Batch = np.repeat(small_turns(vectors), T, axis=0) @ pelvis
    return tilted


def _forward(thigh: Batch) -> Batch:
    """How far a thigh is lifted to the front: 0 hanging, pi/2 level."""
    angle: Batch = np.arctan2(thigh[:, 2], -thigh[:, 1])
    return angle


def _knee(upper: Batch, lower: Batch) -> Batch:
    angle: Batch = np.arccos(np.clip((upper * lower).sum(axis=-1), -1, 1))
    return angle


def _about_lateral(directions: Batch, angle: Batch) -> Batch:
    """Turn (n, 3) about the axis to the left, so that what hangs down goes to the front."""
    cosine, sine = np.cos(angle), np.sin(angle)
    up, front = directions[:, 1], directions[:, 2]
    # What hangs is -up: it goes to +front for a positive angle.
    return np.stack((directions[:, 0], cosine * up + sine * front, cosine * front - sine * up), axis=-1)
