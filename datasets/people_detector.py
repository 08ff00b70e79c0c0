"""What a 2D detector reports of people whose truth is known: its noise, its habits and its mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posekit.camera import Rig
from posekit.datasets.human_motion import CAPSULES
from posekit.errors import PosekitError
from posekit.skeleton import Skeleton

Array = NDArray[np.float64]
People = Sequence[dict[str, Array]]

#: How far a detector puts a joint beside its place, against a joint with a sharp outline in the picture: first word that fits.
HABITS = (
    (("eye", "ear", "nose"), 0.6),
    (("hip", "neck", "head_top"), 1.5),
    (("toe", "heel"), 1.2),
    (("hand_wrist", "thumb", "index", "middle", "ring", "little"), 0.6),
)


@dataclass(frozen=True)
class DetectorHabits:
    """How good a detector is. Shares are of people in views in frames where nothing else is said.

    noise_px: standard deviation an axis of a joint with a sharp outline, of a person 4 m from a camera of focal length 1800 px;
    of everybody it is the same share of their size. spread: of the logarithm of the noise from detection to detection, which
    the confidence tells of. outlier_share, missing_share: of joints. wrong_hand_share: of hands. swap_share: left and right of
    the whole person, the legs or the arms exchanged, for a tenth of a second on end. hidden_share: of joints that the flesh of
    somebody hides so many are guessed, the others not detected. ghost_share: of frames in views with a false person.
    """

    noise_px: float = 2.5
    spread: float = 0.45
    outlier_share: float = 0.02
    missing_share: float = 0.02
    wrong_hand_share: float = 0.03
    swap_share: float = 0.04
    hidden_share: float = 0.5
    ghost_share: float = 0.05

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0 or (name.endswith("share") and value > 1):
                raise PosekitError(f"detector: {name} {value} is not possible")


#: Swaps and ghosts last for so many frames.
RUN_FRAMES = 3


@dataclass(frozen=True, eq=False)
class Detections:
    """What was detected, and what is true of it. Slots hold the people in any order; see `SyntheticPeople`."""

    xy: Array
    confidence: Array
    slots: NDArray[np.int64]
    visible: NDArray[np.bool_]
    swapped: NDArray[np.bool_]


def simulate_detections(
    rng: np.random.Generator,
    rig: Rig,
    people: People,
    statures: Sequence[float],
    skeleton: Skeleton,
    habits: DetectorHabits,
) -> Detections:
    """Detect people, each as named joints (F, 3) metres in the world, in every view of a rig.

    Returns F frames, C cameras and P + 1 slots, one of which is the false person's.
    """
    xyz = np.stack([np.stack([person[joint] for joint in skeleton.joints], axis=1) for person in people], axis=1)
    xy = np.stack([camera.project(xyz) for camera in rig.cameras], axis=1)  # (F, C, P, J, 2)
    inside = np.stack([camera.in_picture(xy[:, c]) for c, camera in enumerate(rig.cameras)], axis=1)
    hidden = hidden_joints(rig, people, statures, xyz)
    # Someone twice as far away is half as large, and detected twice as exactly.
    centres = np.stack([camera.centre_world for camera in rig.cameras])
    focal = np.array([camera.matrix[0, 0] for camera in rig.cameras])
    middle = xyz.mean(axis=2)
    size = focal[:, None] / np.linalg.norm(middle[:, None] - centres[:, None], axis=-1) * 4.0 / 1800  # (F, C, P)
    sigma = habits.noise_px * size[..., None] * np.array([_habit(joint) for joint in skeleton.joints])
    quality = np.exp(rng.normal(0, habits.spread, xy.shape[:-1])) * np.where(hidden, 4.0, 1.0)
    xy = xy + rng.normal(0, 1, xy.shape) * (sigma * quality)[..., None]
    # The surer, the better; but not strictly so.
    confidence = np.clip(0.95 / (1 + 0.3 * quality) + rng.normal(0, 0.06, quality.shape), 0.05, 1.0)

    astray = rng.random(quality.shape) < habits.outlier_share
    astray |= _wrong_hands(rng, quality.shape, skeleton, habits.wrong_hand_share)
    xy = xy + np.where(astray[..., None], _jumps(rng, quality.shape, skeleton, size), 0)
    confidence = np.where(astray, confidence * rng.uniform(0.4, 1.0, quality.shape), confidence)

    swapped = _swaps(rng, quality.shape, skeleton, habits.swap_share)
    mirror = skeleton.mirror
    found = inside & ~(rng.random(quality.shape) < habits.missing_share)
    found &= ~(hidden & (rng.random(quality.shape) > habits.hidden_share))
    xy = np.where(swapped[..., None], xy[..., mirror, :], xy)
    confidence = np.where(swapped, confidence[..., mirror], confidence)
    found = np.where(swapped, found[..., mirror], found)
    xy[~found], confidence[~found] = np.nan, 0
    ghost_xy, ghost_confidence = _ghosts(rng, xy, confidence, rig, habits.ghost_share)
    shuffled = _shuffle(
        rng, np.concatenate((xy, ghost_xy), axis=2), np.concatenate((confidence, ghost_confidence), axis=2)
    )
    return Detections(*shuffled, visible=inside & ~hidden, swapped=swapped & found)


def hidden_joints(rig: Rig, people: People, statures: Sequence[float], xyz: Array) -> NDArray[np.bool_]:
    """Tell which joints (F, P, J, 3) the flesh of somebody hides from which camera, (F, C, P, J).

    Flesh is capsules round the bones. One that holds the joint itself does not hide it: a shoulder is inside its trunk.
    """
    centres = np.stack([camera.centre_world for camera in rig.cameras])
    sight = xyz[:, None] - centres[:, None, None]  # (F, C, P, J, 3)
    sight2 = (sight * sight).sum(axis=-1)
    hidden = np.zeros(sight2.shape, dtype=np.bool_)
    for person, stature in zip(people, statures, strict=True):
        for start, end, share in CAPSULES:
            a, b = (np.mean([person[joint] for joint in joints], axis=0) for joints in (start, end))
            bone, radius = b - a, share * stature
            bone2 = (bone * bone).sum(axis=-1)[:, None, None]
            along = np.clip(np.einsum("fpji,fi->fpj", xyz - a[:, None, None], bone) / bone2, 0, 1)
            beside = xyz - a[:, None, None] - along[..., None] * bone[:, None, None]
            outside = np.linalg.norm(beside, axis=-1) > radius + 0.01
            near = _squared_distances(sight, sight2, centres - a[:, None], bone) < radius**2
            hidden |= outside[:, None] & near
    return hidden


def _squared_distances(sight: Array, sight2: Array, camera_from_bone: Array, bone: Array) -> Array:
    """Squared distance (F, C, P, J) of lines of sight from the bones (F, 3). Ericson 2005, 5.1.9, of two segments.

    sight: (F, C, P, J, 3) from camera to joint, sight2: its square. camera_from_bone: (F, C, 3), camera less the bone's start.
    """
    bone2 = (bone * bone).sum(axis=-1)[:, None, None, None]
    start2 = (camera_from_bone**2).sum(axis=-1)[..., None, None]
    across = np.einsum("fcpji,fi->fcpj", sight, bone)
    on_bone = np.einsum("fci,fi->fc", camera_from_bone, bone)[..., None, None]
    on_sight = np.einsum("fcpji,fci->fcpj", sight, camera_from_bone)
    s = np.clip((across * on_bone - on_sight * bone2) / np.maximum(sight2 * bone2 - across**2, 1e-12), 0, 1)
    t = np.clip((across * s + on_bone) / bone2, 0, 1)
    s = np.clip((across * t - on_sight) / sight2, 0, 1)
    square: Array = start2 + s * s * sight2 + t * t * bone2 + 2 * s * on_sight - 2 * t * on_bone - 2 * s * t * across
    return square


def _habit(joint: str) -> float:
    return next((factor for words, factor in HABITS if any(word in joint for word in words)), 1.0)


def _wrong_hands(
    rng: np.random.Generator, shape: tuple[int, ...], skeleton: Skeleton, share: float
) -> NDArray[np.bool_]:
    """Hands (F, C, P, J) of which the detector looked in the wrong place."""
    wrong = np.zeros(shape, dtype=np.bool_)
    for part in ("left_hand", "right_hand"):
        if part in skeleton.parts:
            wrong[..., skeleton.part(part)] = (rng.random(shape[:-1]) < share)[..., None]
    return wrong


def _jumps(rng: np.random.Generator, shape: tuple[int, ...], skeleton: Skeleton, size: Array) -> Array:
    """Where outliers jump to, px from the truth: each joint elsewhere, but a hand as a whole."""
    angle, reach = rng.uniform(0, 2 * np.pi, shape), rng.uniform(60, 350, shape) * size[..., None]
    for part in ("left_hand", "right_hand"):
        if part in skeleton.parts:
            hand = skeleton.part(part)
            angle[..., hand], reach[..., hand] = angle[..., hand[:1]], reach[..., hand[:1]]
    return reach[..., None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)


def _swaps(rng: np.random.Generator, shape: tuple[int, ...], skeleton: Skeleton, share: float) -> NDArray[np.bool_]:
    """Joints (F, C, P, J) of which left and right are exchanged: of a whole person, of the legs, or of the arms and hands."""
    F, C, P, J = shape
    paired = skeleton.mirror != np.arange(J)
    legs = np.array(
        [any(word in joint for word in ("hip", "knee", "ankle", "toe", "heel")) for joint in skeleton.joints]
    )
    head = np.array([any(word in joint for word in ("eye", "ear")) for joint in skeleton.joints])
    kinds = np.stack((paired, paired & legs, paired & ~legs & ~head))
    runs = -(-F // RUN_FRAMES)
    # One view at a time, as a detector's mistakes are its own and not the scene's.
    happens = rng.random((runs, P)) < min(1.0, share * C)
    where = rng.integers(0, C, (runs, P))
    what = kinds[rng.integers(0, 3, (runs, P))]
    one_view = np.arange(C)[:, None] == where[:, None]  # (runs, C, P)
    swapped = (happens[:, None] & one_view)[..., None] & what[:, None]
    return np.asarray(np.repeat(swapped, RUN_FRAMES, axis=0)[:F])


def _ghosts(rng: np.random.Generator, xy: Array, confidence: Array, rig: Rig, share: float) -> tuple[Array, Array]:
    """Return false people, one slot of every view: a coat on a stand that is taken for somebody, as tall as people here."""
    F, C, P, J = confidence.shape
    runs = np.repeat(rng.random((-(-F // RUN_FRAMES), C)) < share, RUN_FRAMES, axis=0)[:F]
    shape = xy[rng.integers(0, F, (F, C)), np.arange(C), rng.integers(0, P, (F, C))]
    place = rng.uniform(-0.3, 0.3, (F, C, 2)) * np.array([camera.size for camera in rig.cameras])
    ghost = rng.uniform(0.6, 1.1, (F, C, 1, 1)) * shape + place[:, :, None]
    sure = rng.uniform(0.1, 0.5, (F, C, J)) * (runs[..., None] & np.isfinite(ghost).all(axis=-1))
    ghost = np.where(sure[..., None] > 0, ghost, np.nan)
    return ghost[:, :, None], sure[:, :, None]


def _shuffle(rng: np.random.Generator, xy: Array, confidence: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Put the people of every frame and view into an order of its own; the last of the slots given is nobody's.

    Returns the two arrays, and where everybody went, (F, C, P), -1 where there is no detection.
    """
    F, C, S, _ = confidence.shape
    order = rng.random((F, C, S)).argsort(axis=-1)
    frames, cameras = np.arange(F)[:, None, None], np.arange(C)[None, :, None]
    place = order.argsort(axis=-1)[..., :-1]
    detected = (confidence[:, :, :-1] > 0).any(axis=-1)
    return xy[frames, cameras, order], confidence[frames, cameras, order], np.where(detected, place, -1)
