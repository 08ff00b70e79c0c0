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
from posekit.people.tracks import AssociationSettings, Tracks
from posekit.skeleton import Skeleton, apply_joint_map

#: Frames that are read at once.
_PIECE = 4096

#: Keypoints that name no rate count as this many frames per second, as they do elsewhere in posekit.
USUAL_FPS = 30.0


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

    fps: as the keypoints have it, None where they do not say. missing: joints that the 2D skeleton lacks altogether.
    """

    people: tuple[ViewPerson, ...]
    frames: NDArray[np.int64]
    camera: str
    skeleton: Skeleton
    fps: float | None
    missing: tuple[str, ...]
    source: str


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

    Raises PosekitError where the 2D skeleton is not of a body, where there is no frame, and where nobody is seen.
    """
    settings = settings or FollowSettings()
    try:
        mapping = map_to_lifter(source.skeleton, skeleton)
    except PosekitError as error:
        raise PosekitError(f"{source.source}: {error}") from None
    frames = np.asarray(source.frames, dtype=np.int64)
    if len(frames) == 0:
        raise PosekitError(f"{source.source}: holds no frame, nothing can be lifted")
    rate = source.fps or USUAL_FPS
    tracks: Tracks | None = None
    scale = 0.0
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = []
    for start in range(0, len(frames), _PIECE):
        piece = source.read(start, min(start + _PIECE, len(frames))).select_cameras((camera,))
        moved, weights = apply_joint_map(
            mapping, piece.skeleton, skeleton, piece.xy[:, 0].astype(np.float64), piece.confidence[:, 0]
        )
        assert weights is not None
        place, slot = np.nonzero((weights > 0).sum(axis=-1) >= settings.least_joints)
        xy, confidence = moved[place, slot].astype(np.float64), weights[place, slot].astype(np.float64)
        if not len(xy):
            continue
        scale = scale or MEAN_HEIGHT / usual_extent(xy)
        place, xy, confidence = join_pieces(place, xy, confidence, scale)
        tracks = tracks or Tracks(frames, rate, settings.association)
        points = np.concatenate((xy * scale, 0 * xy[..., :1]), axis=-1)
        track = tracks.link(range(start, start + len(piece.frames)), start + place, points)
        found.append((track, start + place, xy, confidence))
    if not found:
        raise PosekitError(
            f"{source.source}: nobody is seen in camera '{camera}': in no frame of {len(frames)} are there "
            f"{settings.least_joints} joints with a confidence above 0"
        )
    least = min(settings.least_seconds * rate, 0.1 * len(frames))
    people = _sorted_people(found, least)
    return ViewPeople(tuple(people), frames, camera, skeleton, source.fps, mapping.missing, source.source)


def usual_extent(xy: NDArray[np.float64]) -> float:
    """Median longer side (px) of the boxes around people (N, J, 2): about what a person's height is in this picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a joint that nobody has
        sides = np.nanmax(xy, axis=1) - np.nanmin(xy, axis=1)
    return max(float(np.median(sides.max(axis=-1))), 1.0)


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
