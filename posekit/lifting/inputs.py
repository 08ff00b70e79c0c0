"""The people of one view: 2D keypoints of any skeleton as the lifter's joints, with everyone followed over time."""

import itertools
import warnings
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from posekit.errors import PosekitError, PosekitWarning
from posekit.keypoints import KeypointSource
from posekit.lifting.body_tree import MEAN_HEIGHT
from posekit.lifting.pieces import join_pieces
from posekit.lifting.skeletons import map_to_lifter
from posekit.motion.gaps import frame_step
from posekit.people.tracks import AssociationSettings, Tracks
from posekit.skeleton import Skeleton, apply_joint_map

#: Frames that are read at once.
_PIECE = 4096

#: Of the largest person of every frame, the quantile by which steps are measured: the nearest, but no single wild detection.
_NEAREST = 0.9

#: Quantile of the confidences that counts as sure, where they are no shares.
_SUREST = 0.9

#: A joint of less than this part of that confidence is a guess.
_GUESSED = 0.1

#: Of a piece of the frames: their range, and of each detection its frame's place, joints (J, 2) px and confidence (J,).
_Detections = tuple[range, NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]

#: Keypoints that name no rate count as this many frames per second, as they do elsewhere in posekit.
USUAL_FPS = 30.0


class NobodySeenError(PosekitError):
    """A view shows nobody: for one view alone a mistake, among several nothing odd."""


@dataclass(frozen=True)
class FollowSettings:
    """Who counts as somebody.

    least_joints: of the lifter's that a detection must have. least_seconds: that a person must be seen for, or a tenth of the
    video where that is shorter. association: how far a person may move and how long be away (`posekit.people.tracks`).
    """

    least_joints: int = 6
    least_seconds: float = 0.5
    association: AssociationSettings = field(default_factory=AssociationSettings)


@dataclass(frozen=True, eq=False)
class ViewPerson:
    """rows: (N,) places of the view's frames, ascending. xy: (N, J, 2) px, NaN where missing. confidence: (N, J), 0 there."""

    rows: NDArray[np.int64]
    xy: NDArray[np.float64]
    confidence: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ViewPeople:
    """Everyone whom one camera saw, whoever was seen most and surest first; joints are the lifter's.

    frames: (F,) their numbers. fps: frame numbers per second, as the keypoints have it, None where they do not say. missing:
    joints that the 2D skeleton lacks altogether.
    """

    people: tuple[ViewPerson, ...]
    frames: NDArray[np.int64]
    camera: str
    skeleton: Skeleton
    fps: float | None
    missing: tuple[str, ...]
    source: str

    @property
    def rows_per_second(self) -> float:
        """How many frames there are in a second: fewer than `fps` where only every n-th of a video is there."""
        return (self.fps or USUAL_FPS) / frame_step(self.frames)


def choose_camera(source: KeypointSource, camera: str | None) -> str:
    """Return the view that is lifted; raises PosekitError where there are several and none is named."""
    if camera is not None:
        if camera not in source.cameras:
            raise PosekitError(f"{source.source}: has no camera '{camera}'; it has: {', '.join(source.cameras)}")
        return camera
    if len(source.cameras) != 1:
        raise PosekitError(
            f"{source.source}: holds {len(source.cameras)} cameras ({', '.join(source.cameras)}), one was expected: name it "
            "with --camera"
        )
    return source.cameras[0]


def follow_people(
    source: KeypointSource, camera: str, skeleton: Skeleton, settings: FollowSettings | None = None
) -> ViewPeople:
    """Read one camera's keypoints piece by piece and link each frame's people to those before.

    How far people may move is told in metres, by the size of the nearest: somebody before a crowd must not be lost for the many
    who are small, and whose steps are taken for shorter than they are.

    Raises PosekitError where the 2D skeleton is not of a body, where there is no frame or frames do not ascend; NobodySeenError
    where nobody is seen.
    """
    settings = settings or FollowSettings()
    try:
        mapping = map_to_lifter(source.skeleton, skeleton)
    except PosekitError as error:
        raise PosekitError(f"{source.source}: {error}") from None
    frames = np.asarray(source.frames, dtype=np.int64)
    if len(frames) == 0:
        raise PosekitError(f"{source.source}: holds no frame, nothing can be lifted")
    rate, step = source.fps or USUAL_FPS, frame_step(frames)
    seen: list[_Detections] = []
    largest = np.full(len(frames), np.nan)
    for start in range(0, len(frames), _PIECE):
        piece = source.read(start, min(start + _PIECE, len(frames))).select_cameras((camera,))
        moved, weights = apply_joint_map(
            mapping, piece.skeleton, skeleton, piece.xy[:, 0].astype(np.float64), piece.confidence[:, 0]
        )
        assert weights is not None
        place, slot = np.nonzero((weights > 0).sum(axis=-1) >= settings.least_joints)
        xy, confidence = moved[place, slot].astype(np.float64), weights[place, slot].astype(np.float64)
        if len(xy):
            seen.append((range(start, start + len(piece.frames)), start + place, xy, confidence))
            np.fmax.at(largest, start + place, _extents(xy))
    if not seen:
        raise NobodySeenError(
            f"{source.source}: nobody is seen in camera '{camera}': in no frame of {len(frames)} are there "
            f"{settings.least_joints} joints with a confidence above 0"
        )
    seen = _sure_shares(seen, settings.least_joints)
    scale = MEAN_HEIGHT / max(float(np.nanquantile(largest, _NEAREST)), 1.0)
    tracks = Tracks(frames, rate, settings.association)
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = []
    for places, place, xy, confidence in seen:
        place, xy, confidence = join_pieces(place, xy, confidence, scale)
        flat = _without_sides(xy, skeleton) * scale
        points = np.concatenate((flat, 0 * flat[..., :1]), axis=-1)
        found.append((tracks.link(places, place, points), place, xy, confidence))
    least = min(settings.least_seconds * rate / step, 0.1 * len(frames))
    people = _sorted_people(found, least)
    return ViewPeople(tuple(people), frames, camera, skeleton, source.fps, mapping.missing, source.source)


def _sure_shares(seen: list[_Detections], least_joints: int) -> list[_Detections]:
    """Bring confidences to 0 to 1, where the detector gives per cent or a score without a bound, and drop guesses.

    Scores are told by what a tenth of the joints surpasses: a single wild one says nothing of the others. Guesses are joints
    of less than a tenth of that, which many detectors place somewhere when a desk or the picture's edge hides them.
    """
    every = np.concatenate([confidence[confidence > 0] for *_, confidence in seen])
    sure = float(np.quantile(every, _SUREST))
    shares = []
    for rows, place, xy, confidence in seen:
        guessed = confidence < _GUESSED * sure
        share = np.where(guessed, 0.0, np.minimum(confidence / max(sure, 1.0), 1.0))
        left = (share > 0).sum(axis=-1) >= least_joints
        shares.append((rows, place[left], np.where(guessed[..., None], np.nan, xy)[left], share[left]))
    return shares


def _without_sides(xy: NDArray[np.float64], skeleton: Skeleton) -> NDArray[np.float64]:
    """Put both joints of a pair (M, J, 2) between them where both are seen.

    Who has left and right exchanged is the same person still, though nearly all joints are half a metre from where they were.
    """
    middle = (xy + xy[:, skeleton.mirror]) / 2
    return np.where(np.isfinite(middle), middle, xy)


def usual_extent(xy: NDArray[np.float64]) -> float:
    """Median longer side (px) of the boxes around people (N, J, 2): about what a person's height is in this picture."""
    return max(float(np.median(_extents(xy))), 1.0)


def _extents(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longer sides (N,) of the boxes around people (N, J, 2), each of one joint or more; px."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a joint that nobody has
        sides = np.nanmax(xy, axis=1) - np.nanmin(xy, axis=1)
    longer: NDArray[np.float64] = sides.max(axis=-1)
    return longer


def _sorted_people(
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]], least: float
) -> list[ViewPerson]:
    track, place, xy, confidence = (np.concatenate(values) for values in zip(*found, strict=True))
    order = np.argsort(track, kind="stable")
    bounds = np.flatnonzero(np.diff(track[order], prepend=-1, append=track.max() + 1))
    people = []
    for low, high in itertools.pairwise(bounds.tolist()):
        rows = order[low:high]
        if len(rows) >= least:
            people.append(ViewPerson(place[rows], xy[rows], confidence[rows]))
    if not people:
        longest = int(np.diff(bounds).max())
        warnings.warn(
            PosekitWarning(f"nobody is seen for longer than {longest} frames; those who are seen longest are kept"),
            stacklevel=3,
        )
        low = int(bounds[np.diff(bounds).argmax()])
        rows = order[low : low + longest]
        people = [ViewPerson(place[rows], xy[rows], confidence[rows])]
    return sorted(people, key=lambda one: -float(one.confidence.sum()))
