"""A world made by the people in it: up is how they stand, the floor is where their feet are."""

import warnings
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from posekit.calibration.world.frame import WorldFrame, axes_from, transform_rig
from posekit.camera import Rig
from posekit.errors import PosekitError, PosekitWarning
from posekit.geometry.alignment import Similarity
from posekit.keypoints import Keypoints3D
from posekit.skeleton import Skeleton

Array = NDArray[np.float64]

#: A person stands on a leg whose knee is straight to within this, and with which the trunk is in line to within this (degrees).
_STRAIGHT_KNEE, _STRAIGHT_HIP = 30.0, 25.0

#: Of those who stand, the ones this near to the common direction (degrees) count: who leans, or stands on the head, does not.
_UPRIGHT = 15.0

#: An up direction takes this many standing people, one per person and frame.
_FEWEST_STANDING = 10

#: Height of the ankle's joint over the floor as a share of the way from the ankles to the shoulders: 0.039 of 0.779 of a
#: stature (Drillis and Contini's proportions, in Winter, Biomechanics and Motor Control of Human Movement, figure 4.1).
_ANKLE_HEIGHT = 0.039 / 0.779

#: Joints of the sole: they are on the floor, where a foot is.
_SOLES = tuple(
    f"{side}_{joint}"
    for side in ("left", "right")
    for joint in ("heel", "big_toe", "small_toe", "foot_index", "toe_end")
)


def world_from_people(rig: Rig, people: Keypoints3D) -> WorldFrame:
    """Make a world of people who stand or walk in a rig: z up, z = 0 the floor, the origin below the middle of where they were.

    people: in the rig's world. Up is the mean direction from the ankles to the shoulders of all who stand (a straight leg, or
    two, and the trunk in line with it), without those more than 15 degrees off it. The floor is at the median height of their
    lowest heel or toe; where the skeleton has neither, of the lower ankle less 0.05 of the way from ankles to shoulders. x is
    the way they walked, from the first third of the time to the last, where that is longer than from ankles to shoulders; else
    it is to the right as the first camera sees it. The scale stays as it is.

    Who walks leans forward: of people who all went one way in a trial, up was found 2 and 4 degrees off, in that direction.

    Raises PosekitError where the skeleton lacks ankles, knees, hips or shoulders, or where fewer than 10 times somebody stands.
    Warns where most cameras would hang upside down.
    """
    joints = _Joints(people)
    standing = joints.standing
    if standing.sum() < _FEWEST_STANDING:
        raise PosekitError(
            f"{people.source}: somebody stands upright, from ankles to shoulders, in {standing.sum()} cases; up takes "
            f"{_FEWEST_STANDING} or more: let people stand or walk in the middle of the cameras"
        )
    trunks = (joints.shoulders - joints.feet)[standing]
    up, counted = _common_direction(trunks)
    if counted.sum() < _FEWEST_STANDING:
        raise PosekitError(
            f"{people.source}: of {standing.sum()} who stand, {counted.sum()} do so in one direction, to within "
            f"{_UPRIGHT:g} degrees; "
            f"up takes {_FEWEST_STANDING} or more"
        )
    tall = float(np.median(np.linalg.norm(trunks[counted], axis=-1)))
    floor = float(np.median((joints.lowest(up) - joints.above_floor * tall)[standing][counted]))
    middle = np.median(joints.hips[np.isfinite(joints.hips).all(axis=-1)], axis=0)
    along, said = _along(joints.hips, up, tall, rig)
    rotation = axes_from(up, along)
    origin = middle + (floor - middle @ up) * up
    similarity = Similarity(np.array(1.0), rotation, -rotation @ origin)
    moved = transform_rig(rig, similarity)
    # Image rows run down, so a camera that is held as usual has its own y against the world's z.
    if np.mean([camera.rotation[1, 2] for camera in moved.cameras]) > 0.5:
        line = (
            f"{people.source}: the cameras hang upside down if people's shoulders are above their ankles; did "
            "somebody lie or hang?"
        )
        warnings.warn(PosekitWarning(line), stacklevel=2)
    heights = [float(camera.centre_world[2]) for camera in moved.cameras]
    off = float(np.median(_angle(trunks[counted], up)))
    told = (
        f"The world is made of people who stand ({counted.sum()} cases): z as they stand, {off:.1f} degrees off in the median; "
        f"the floor at their {joints.soles}; the origin below the middle of where they were, x {said}."
    )
    height = f"The cameras are {min(heights):.2f} to {max(heights):.2f} m above the floor."
    return WorldFrame(moved, similarity, (told, height))


class _Joints:
    """The joints that tell who stands; arrays (F, P, ...), NaN where a joint is missing."""

    def __init__(self, people: Keypoints3D) -> None:
        self._xyz, skeleton, self._source = people.xyz, people.skeleton, people.source
        self._sides = {joint: self._both(skeleton, joint) for joint in ("ankle", "knee", "hip", "shoulder")}
        soles = [skeleton.index(joint) for joint in _SOLES if joint in skeleton]
        self._soles = soles or list(self._sides["ankle"])
        self.soles = "heels and toes" if soles else "ankles"
        self.above_floor = 0.0 if soles else _ANKLE_HEIGHT

    def _both(self, skeleton: Skeleton, joint: str) -> NDArray[np.int64]:
        names = (f"left_{joint}", f"right_{joint}")
        missing = [name for name in names if name not in skeleton]
        if missing:
            raise PosekitError(
                f"{self._source}: skeleton {skeleton.name} has no joint '{missing[0]}', which a world made by people takes"
            )
        return skeleton.indices(names)

    def _middle(self, joint: str) -> Array:
        middle: Array = self._xyz[:, :, self._sides[joint]].mean(axis=2)
        return middle

    @property
    def hips(self) -> Array:
        return self._middle("hip")

    @property
    def shoulders(self) -> Array:
        return self._middle("shoulder")

    @property
    def feet(self) -> Array:
        """(F, P, 3), the middle of the ankles of those legs that a person stands on."""
        on = self._stood_on[..., None]
        ankles = np.where(on, self._xyz[:, :, self._sides["ankle"]], 0).sum(axis=2)
        with np.errstate(invalid="ignore"):
            return np.asarray(ankles / on.sum(axis=2))

    @property
    def standing(self) -> NDArray[np.bool_]:
        """(F, P), who stands, and has a sole."""
        sole = np.isfinite(self._xyz[:, :, self._soles]).all(axis=-1).any(axis=-1)
        return np.asarray(self._stood_on.any(axis=-1) & sole)

    @cached_property
    def _stood_on(self) -> NDArray[np.bool_]:
        """(F, P, 2), which legs are straight, and in line with the trunk."""
        ankle, knee, hip = (self._xyz[:, :, self._sides[joint]] for joint in ("ankle", "knee", "hip"))
        trunk = (self.shoulders - self.hips)[:, :, None]
        with np.errstate(invalid="ignore"):
            return (_angle(knee - ankle, hip - knee) < _STRAIGHT_KNEE) & (_angle(hip - ankle, trunk) < _STRAIGHT_HIP)

    def lowest(self, up: Array) -> Array:
        """Height (F, P) of the lowest joint of the feet."""
        heights = self._xyz[:, :, self._soles] @ up
        lowest = np.where(np.isnan(heights), np.inf, heights).min(axis=-1)
        return np.asarray(np.where(np.isinf(lowest), np.nan, lowest))


def _angle(first: Array, second: Array) -> Array:
    """Degrees between vectors (..., 3)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (first * second).sum(axis=-1) / (np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1))
        return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _common_direction(vectors: Array) -> tuple[Array, NDArray[np.bool_]]:
    """The mean direction (3,) of vectors (N, 3), and which are near it; starts at the one that most of them are near to."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    # A few hundred are enough to begin with: what counts is where most are.
    some = unit[np.linspace(0, len(unit) - 1, min(len(unit), 300)).astype(np.int64)]
    cosine = np.cos(np.radians(_UPRIGHT))
    direction = some[int(((some @ some.T) > cosine).sum(axis=1).argmax())]
    near = unit @ direction > cosine
    for _ in range(10):
        mean = unit[near].mean(axis=0)
        direction = mean / np.linalg.norm(mean)
        near = unit @ direction > cosine
    return direction, near


def _along(hips: Array, up: Array, tall: float, rig: Rig) -> tuple[Array, str]:
    """A direction for x, and words on it: the way that people walked, or what is right for the first camera."""
    third = max(len(hips) // 3, 1)
    flat = hips - (hips @ up)[..., None] * up
    ways = []
    for person in range(hips.shape[1]):
        ends = [part[np.isfinite(part).all(axis=-1)] for part in (flat[:third, person], flat[-third:, person])]
        if all(len(end) for end in ends):
            ways.append(np.median(ends[1], axis=0) - np.median(ends[0], axis=0))
    longest = max(ways, key=lambda way: float(np.linalg.norm(way)), default=np.zeros(3))
    if np.linalg.norm(longest) > tall:
        return longest, "the way they walked"
    camera = rig.cameras[0]
    ahead = camera.rotation[2] - (camera.rotation[2] @ up) * up
    # A camera that looks straight down has nothing ahead of it on the floor; the rows of its picture still run somewhere.
    right = np.cross(ahead, up) if np.linalg.norm(ahead) > 0.2 else camera.rotation[0]
    return right, f"to the right as {camera.name} sees it"
