"""Everyone of one view in 3D: the lifter frame by frame, then the whole video, then where each person stands."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from posekit.camera import Camera
from posekit.lifting.body_tree import MEAN_HEIGHT, BodyTree
from posekit.lifting.inputs import USUAL_FPS, ViewPeople, ViewPerson, usual_extent
from posekit.lifting.shown import leaning, turned_back, with_hips, with_middles
from posekit.lifting.swaps import find_swaps
from posekit.lifting.trajectory import root_path
from posekit.lifting.video import PersonInVideo, RefinementSettings, bridged, refine_person
from posekit.lifting.windows import windows_in_stretches
from posekit.motion.gaps import frame_step
from posekit.skeleton import Skeleton

#: Where the lens is not known, people are taken to stand this far off (metres, and so wide is the angle that they are seen
#: under); nothing but the balance of settings depends on it.
_UNKNOWN_DISTANCE = 4.0
#: Rows that the lifter is asked for at once: windows of more would need much memory in a long video.
_ROWS_AT_ONCE = 8192


class LiftedPosesLike(Protocol):
    """What a lifter returns: xyz (N, J, 3) metres, camera axes, about mid_hip; px_per_metre (N,); confidence (N, J)."""

    @property
    def xyz(self) -> NDArray[np.floating]: ...  # noqa: D102
    @property
    def px_per_metre(self) -> NDArray[np.floating]: ...  # noqa: D102
    @property
    def confidence(self) -> NDArray[np.floating]: ...  # noqa: D102


class LifterLike(Protocol):
    """A lifter of the middle frames of windows, of one frame or more, as `posekit.lifting.lifter.Lifter` is one."""

    @property
    def skeleton(self) -> Skeleton: ...  # noqa: D102
    @property
    def window(self) -> int: ...  # noqa: D102
    def lift_windows(self, xy: NDArray[np.float64], confidence: NDArray[np.float64], /) -> LiftedPosesLike: ...  # noqa: D102


@dataclass(frozen=True)
class LiftSettings:
    """height: metres, of mean height if None. refine: use the whole video. mend_swaps: whether left and right are exchanged
    where the motion tells that the detector confused them. bridge: longest gap of a person or joint that is bridged, seconds.

    What the covariances are made of: bone_sigma: share of its length that a bone's depth is uncertain by; errors add up along
    the bones from the root. sideways_sigma: metres that a joint is uncertain by across the view, an axis; twice that, and
    bone_sigma half as much again, where no detection holds it. root_sigma: share of the distance that the root's own is
    uncertain by, with refinement and without; height_sigma: how much heights of adults differ (log), and as much their
    distance, where none is given. All but the last are root mean squares against truth on motions of people whom the lifter
    was not trained on, filmed by virtual cameras with a detector's noise (`posekit bench refinement`).
    """

    height: float | None = None
    refine: bool = True
    mend_swaps: bool = True
    bridge: float = 0.5
    bone_sigma: float = 0.21
    sideways_sigma: float = 0.02
    root_sigma: tuple[float, float] = (0.025, 0.06)
    height_sigma: float = 0.055
    refinement: RefinementSettings = field(default_factory=RefinementSettings)


@dataclass(frozen=True, eq=False)
class LiftedPerson:
    """One person in the camera's axes (x right, y down, z away from the camera), metres.

    rows: (N,) places of the view's frames. xy: (N, J, 2) px, the detections. swapped: (N, J), those that are their partner's as
    the detector had it. xyz: (N, J, 3). covariance: (N, J, 3, 3). seen: (N, J), joints that a detection holds.
    reprojection_px: (N, J), NaN where there is none. agrees: (N, J), detections that the pose agrees with. confidence: (N, J),
    of the lifter. lengths: (B,) metres of the tree's bones; None without refinement.
    """

    rows: NDArray[np.int64]
    xy: NDArray[np.float64]
    swapped: NDArray[np.bool_]
    xyz: NDArray[np.float64]
    covariance: NDArray[np.float64]
    seen: NDArray[np.bool_]
    reprojection_px: NDArray[np.float64]
    agrees: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    lengths: NDArray[np.float64] | None


def lift_people(
    view: ViewPeople,
    lifter: LifterLike,
    camera: Camera | None,
    settings: LiftSettings | None = None,
    on_rows: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[LiftedPerson]:
    """Lift everyone of a view. camera: its lens, None where it is not known; its place in the world is of no matter here."""
    settings = settings or LiftSettings()
    return [
        lift_person(
            person,
            view,
            lifter,
            camera,
            settings,
            lambda done, total, p=p: on_rows(f"refining, person {p}", done, total),  # type: ignore[misc]
        )
        for p, person in enumerate(view.people)
    ]


def lift_person(
    person: ViewPerson,
    view: ViewPeople,
    lifter: LifterLike,
    camera: Camera | None,
    settings: LiftSettings,
    on_rows: Callable[[int, int], None] = lambda done, total: None,
) -> LiftedPerson:
    """Lift one person of a view; see `lift_people`."""
    rate = view.rows_per_second
    tree = BodyTree.of(lifter.skeleton)
    rows, xy, confidence, joined = _with_bridges(person, view.frames, settings.bridge * (view.fps or USUAL_FPS))
    swapped = np.zeros(confidence.shape, dtype=np.bool_)
    if settings.mend_swaps:
        swapped = find_swaps(xy, confidence, joined, lifter.skeleton, rate)
        mirror = lifter.skeleton.mirror
        xy = np.where(swapped[..., None], xy[:, mirror], xy)
        confidence = np.where(swapped, confidence[:, mirror], confidence)
    poses, trust, px_per_metre = _lift_frames(xy, confidence, joined, lifter, camera, rate, settings.bridge)
    image, back = _on_plane(xy, camera, px_per_metre)
    in_video = PersonInVideo(poses, trust, image, confidence, joined, rate, camera is not None)
    lengths = None
    if settings.refine:
        refined = refine_person(in_video, tree, settings.height, settings.refinement, on_rows)
        relative, root, lengths = refined.xyz, refined.root, refined.lengths
    else:
        relative = bridged(poses, joined) * (settings.height or MEAN_HEIGHT) / MEAN_HEIGHT
        path = settings.refinement.path
        root = root_path(relative, image, confidence, joined, rate, path, perspective=camera is not None)
    depth = root[:, None, 2] + (relative[..., 2] if camera is not None else 0)
    absolute = relative + root[:, None]
    offset = absolute[..., :2] - image * depth[..., None]
    with np.errstate(invalid="ignore"):
        agrees = np.linalg.norm(offset, axis=-1) < settings.refinement.outlier * settings.refinement.image_error
    reprojection = np.linalg.norm(back(absolute[..., :2], absolute[..., 2], depth) - xy, axis=-1)
    covariance = _covariance(agrees, relative, root, tree, settings, known=camera is not None)
    if camera is None:
        # Without a lens the image's size says nothing of the distance: everybody stays where the picture is in focus.
        absolute = relative + np.concatenate((root[:, None, :2], 0 * root[:, None, 2:]), axis=-1)
    seen = np.asarray(np.isfinite(xy).all(axis=-1))
    return LiftedPerson(rows, xy, swapped, absolute, covariance, seen, reprojection, agrees & seen, trust, lengths)


def _with_bridges(
    person: ViewPerson, frames: NDArray[np.int64], longest: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Rows of a person with those of short gaps, in which nothing is seen; and which rows follow each other in time.

    longest: gap that is bridged, in frame numbers.
    """
    step = frame_step(frames)
    gaps = np.diff(frames[person.rows])
    rows = [person.rows[:1]]
    joined: list[NDArray[np.bool_]] = []
    for place, gap in enumerate(gaps):
        after = person.rows[place + 1]
        between = np.arange(person.rows[place] + 1, after)
        near = gap <= max(longest, 1.5 * step)
        # Frames that are not in the file at all leave a hole that differences must not reach across.
        even = near and gap <= 1.5 * step * (1 + len(between))
        rows += [between, person.rows[place + 1 : place + 2]] if even else [person.rows[place + 1 : place + 2]]
        joined.append(np.full(len(between) + 1, even) if even else np.array([False]))
    everyone = np.concatenate(rows)
    J = person.xy.shape[1]
    xy, confidence = np.full((len(everyone), J, 2), np.nan), np.zeros((len(everyone), J))
    own = np.searchsorted(everyone, person.rows)
    xy[own], confidence[own] = person.xy, person.confidence
    return everyone, xy, confidence, np.concatenate(joined) if joined else np.zeros(0, dtype=np.bool_)


def _lift_frames(
    xy: NDArray[np.float64],
    confidence: NDArray[np.float64],
    joined: NDArray[np.bool_],
    lifter: LifterLike,
    camera: Camera | None,
    rate: float,
    bridge: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Run the lifter on every row that has detections: poses (N, J, 3) in camera axes, confidence (N, J), px per metre (N,).

    With a lens, the picture is turned so that the camera looks at the person, whom it then sees as lifters expect people: in
    the middle of the picture; with or without one it is turned so that the person is upright. The pose is turned back. Joints
    that are missing for no more than `bridge` seconds are put between. rate: rows a second.
    """
    N, J, _ = xy.shape
    poses, trust = np.full((N, J, 3), np.nan), np.zeros((N, J))
    size = np.full(N, np.nan)
    asked = with_middles(xy, lifter.skeleton)
    rows = np.flatnonzero(np.isfinite(xy).all(axis=-1).any(axis=-1))
    short = _short_gaps(confidence > 0, joined, bridge * rate)
    asked = np.where(short[..., None], _interpolated(asked, joined), asked)
    angle = leaning(asked, joined, lifter.skeleton)
    asked = with_hips(asked, angle, lifter.skeleton)
    weight = _asked_weights(asked, confidence, short)
    around = windows_in_stretches(joined, lifter.window, rate)
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[first : first + _ROWS_AT_ONCE]
        seen = asked[around[some]]
        turn = turned_back(angle[some])
        if camera is None:
            seen = seen @ turn[:, None, :2, :2].swapaxes(-1, -2)
        else:
            rays = np.concatenate((camera.undistort(seen), np.ones((*seen.shape[:-1], 1))), axis=-1)
            turn = turn @ _turn_to_middle(rays[:, lifter.window // 2], weight[some])
            turned = rays @ turn[:, None].swapaxes(-1, -2)
            # Pixels of a usual lens, in case a lifter's numbers know of pixels.
            seen = 1000 * turned[..., :2] / turned[..., 2:]
        lifted = lifter.lift_windows(seen, weight[around[some]])
        poses[some], trust[some], size[some] = lifted.xyz @ turn, lifted.confidence, lifted.px_per_metre
    return poses, trust, size


def _asked_weights(
    asked: NDArray[np.float64], confidence: NDArray[np.float64], short: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Confidences (N, J) of what the lifter is shown: half a pose's mean for what was put between others."""
    there = np.isfinite(asked).all(axis=-1)
    count = (confidence > 0).sum(axis=1, keepdims=True)
    mean = confidence.sum(axis=1, keepdims=True) / np.maximum(count, 1)
    made = short | (there & ~(confidence > 0))
    weights: NDArray[np.float64] = np.where(there, np.where(made, mean / 2, confidence), 0)
    return weights


def _short_gaps(seen: NDArray[np.bool_], joined: NDArray[np.bool_], longest: float) -> NDArray[np.bool_]:
    """Missing joints (N, J) between two sightings that are at most `longest` rows apart, within a stretch of joined rows."""
    N = len(seen)
    stretch = np.concatenate(([0], np.cumsum(~joined)))[:, None]
    rows = np.broadcast_to(np.arange(N)[:, None], seen.shape)
    before = np.maximum.accumulate(np.where(seen, rows, -1), axis=0)
    after = np.minimum.accumulate(np.where(seen, rows, N)[::-1], axis=0)[::-1]
    inside = ~seen & (before >= 0) & (after < N)
    b, a = np.clip(before, 0, N - 1), np.clip(after, 0, N - 1)
    same = (stretch[:, 0][b] == stretch) & (stretch[:, 0][a] == stretch)
    short: NDArray[np.bool_] = inside & same & (after - before <= longest)
    return short


def _interpolated(values: NDArray[np.float64], joined: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fill each joint (N, J, D) between its sightings."""
    return np.stack([bridged(values[:, j], joined) for j in range(values.shape[1])], axis=1)


def _turn_to_middle(rays: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (N, 3, 3) from the camera to one in its place that looks at the middle of the rays (N, J, 3), level as it."""
    known = (weight > 0) & np.isfinite(rays).all(axis=-1)
    unit = np.where(known[..., None], rays / np.linalg.norm(rays, axis=-1, keepdims=True), 0)
    z = unit.sum(axis=1)
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    x = np.cross(np.array((0.0, 1.0, 0.0)), z)
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return np.stack((x, np.cross(z, x), z), axis=1)


def _on_plane(
    xy: NDArray[np.float64], camera: Camera | None, px_per_metre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Callable[..., NDArray[np.float64]]]:
    """Detections on the plane at distance 1, and what brings places at a depth back to pixels."""
    if camera is not None:

        def project(
            sideways: NDArray[np.float64], z: NDArray[np.float64], _: NDArray[np.float64]
        ) -> NDArray[np.float64]:
            in_camera = np.concatenate((sideways, z[..., None]), axis=-1)
            return camera.project((in_camera - camera.translation) @ camera.rotation)

        return camera.undistort(xy), project
    middle = np.nanmedian(xy.reshape(-1, 2), axis=0)
    scale = _UNKNOWN_DISTANCE * usual_extent(xy[np.isfinite(xy).all(axis=-1).any(axis=-1)]) / MEAN_HEIGHT

    def back(sideways: NDArray[np.float64], _: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.float64]:
        # Of somebody whose joints are all in one point, nothing tells a distance.
        pixels: NDArray[np.float64] = scale * sideways / np.where(depth > 0, depth, np.nan)[..., None] + middle
        return pixels

    return (xy - middle) / scale, back


def _covariance(
    held: NDArray[np.bool_],
    relative: NDArray[np.float64],
    root: NDArray[np.float64],
    tree: BodyTree,
    settings: LiftSettings,
    *,
    known: bool,
) -> NDArray[np.float64]:
    """Covariances (N, J, 3, 3) in the camera's axes: along the view much, across it little, more where nothing is held.

    held: (N, J), joints that agree with a detection. known: the lens is, and so the distance.
    """
    bones = np.linalg.norm(tree.bone_vectors(relative), axis=-2)  # (N, B)
    along = np.square(settings.bone_sigma * bones) @ tree.sums.T * np.where(held, 1.0, 1.5**2)
    if known:
        distance = settings.root_sigma[0 if settings.refine else 1] ** 2
        distance += 0.0 if settings.height else settings.height_sigma**2
        along = along + distance * np.square(root[:, 2:])
    across = np.square(settings.sideways_sigma * np.where(held, 1.0, 2.0))
    view = relative + root[:, None] if known else np.broadcast_to((0.0, 0.0, 1.0), relative.shape)
    view = view / np.linalg.norm(view, axis=-1, keepdims=True)
    # Nothing is known better along the view than across it: not the root, whose bones are none.
    along = np.maximum(along, across)
    # across (I - v v^T) + along v v^T, made in place: these are the largest arrays of a long video.
    covariance: NDArray[np.float64] = view[..., :, None] * view[..., None, :]
    covariance *= (along - across)[..., None, None]
    covariance[..., range(3), range(3)] += across[..., None]
    return covariance
