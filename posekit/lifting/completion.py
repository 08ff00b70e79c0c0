"""What several cameras left open, filled by the lifter from the one view that saw it best, and fitted to what is known."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posekit.camera import Camera, Rig
from posekit.errors import PosekitError
from posekit.geometry.alignment import align_similarity
from posekit.keypoints import Keypoints3D, KeypointSource
from posekit.lifting.body_tree import BodyTree, height_of
from posekit.lifting.inputs import FollowSettings, NobodySeenError, ViewPeople, ViewPerson, follow_people
from posekit.lifting.people import LiftedPerson, LifterLike, LiftSettings, lift_person
from posekit.lifting.result import as_keypoints3d, world_of
from posekit.medians import median_of_known
from posekit.point_status import PRESENT, PointStatus
from posekit.skeleton import apply_joint_map, joint_map


@dataclass(frozen=True)
class CompletionSettings:
    """match_share: of a person's extent in the picture, within which a followed person is that person of the 3D (median over
    joints). least_known: joints that must be known in a frame to turn a lifted pose by them; fewer move it only. alone_seconds:
    how long somebody whom no 3D person is must be seen for to be added. alone_share: as match_share, of somebody whom another
    camera alone told of, so that the distance was guessed.
    """

    match_share: float = 0.15
    alone_share: float = 0.3
    least_known: int = 6
    alone_seconds: float = 1.0


@dataclass(frozen=True, eq=False)
class Completed:
    """people: all of them, the added ones last. added: (F, P, J) points that were not there. people_added: how many."""

    people: Keypoints3D
    added: NDArray[np.bool_]
    people_added: int


def complete_people(
    known: Keypoints3D,
    views: KeypointSource,
    rig: Rig,
    lifter: LifterLike,
    lifting: LiftSettings | None = None,
    following: FollowSettings | None = None,
    settings: CompletionSettings | None = None,
    on_views: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Completed:
    """Fill the missing joints of a multi-view result that the lifter knows, wherever some camera saw the person.

    Nothing that is known is changed. A joint that the chosen camera saw is put on its ray, at the depth of the lifted pose, and
    marked LIFTED; one that it did not see is FILLED. The lifted pose is of the person's own size, turned and moved to the known
    joints of the frame where there are enough, and otherwise moved as in the frames around. Somebody whom no 3D person is, is
    added, once, however many cameras saw them: in each frame as the surest of these has it.

    Raises PosekitError where cameras or frames of the two do not fit together.
    """
    lifting, settings = lifting or LiftSettings(), settings or CompletionSettings()
    following = following or FollowSettings()
    if lost := [name for name in known.cameras if name not in views.cameras]:
        raise PosekitError(f"{views.source}: has no camera '{lost[0]}', which {known.source or 'the 3D'} was made of")
    if not np.isin(known.frames, views.frames).any():
        raise PosekitError(f"{views.source}: has none of the {len(known.frames)} frames of {known.source or 'the 3D'}")
    work = _Work.of(known, lifter)
    tree = BodyTree.of(lifter.skeleton)
    strangers: list[_Stranger] = []
    for number, name in enumerate(known.cameras):
        camera = rig[name]
        try:
            view = follow_people(views, name, lifter.skeleton, following)
        except NobodySeenError:
            continue  # it completes nobody
        view = replace(view, fps=view.fps or known.fps)
        rows = work.rows_of(view.frames)
        told_before = list(strangers)
        for person in view.people:
            p = _person_of(person, rows, work.joints, camera, settings.match_share)
            own = (
                lifting if p is None else replace(lifting, height=lifting.height or height_of(work.joints[:, p], tree))
            )
            if p is not None:
                lifted = lift_person(person, view, lifter, camera, own)
                work.offer(p, lifted, view, rows, camera, number, settings)
            elif len(person.rows) >= settings.alone_seconds * view.rows_per_second and (rows[person.rows] >= 0).any():
                lifted = lift_person(person, view, lifter, camera, own)
                one = as_keypoints3d([lifted], view, world_of(camera), known.source)
                work.welcome(one, person, rows, camera, told_before, strangers, settings)
        on_views("lifting views", number + 1, len(known.cameras))
    return work.result(strangers)


def _person_of(
    person: ViewPerson,
    rows: NDArray[np.int64],
    joints: NDArray[np.float64],
    camera: Camera,
    share: float,
) -> int | None:
    """Which person of joints (F, P, J, 3) somebody in a view is, by the frames in which both are there; None for nobody."""
    at = rows[person.rows]
    xy = person.xy[at >= 0]
    at = at[at >= 0]
    extent = np.nanmax(xy, axis=1) - np.nanmin(xy, axis=1) if len(xy) else np.zeros((0, 2))
    best, found = 0.0, None
    for p in range(joints.shape[1]):
        distance = np.linalg.norm(camera.project(joints[at, p]) - xy, axis=-1)
        common = np.isfinite(distance).sum(axis=1) >= 3
        middle = median_of_known(distance, axis=1)
        near = common & (middle <= share * extent.max(axis=-1, initial=1.0))
        if near.sum() > max(best, 0.5 * common.sum()):
            best, found = float(near.sum()), p
    return found


@dataclass(frozen=True, eq=False)
class _Stranger:
    """Somebody whom no 3D person is. joints: (F, J', 3), the lifter's, in the frames of the known ones.

    told: by each camera, how sure it was of the whole person, and the person, lifted.
    """

    joints: NDArray[np.float64]
    told: list[tuple[float, Keypoints3D]]


@dataclass(frozen=True, eq=False)
class _Work:
    """What is filled. joints: (F, P, J', 3) the known ones as the lifter's. target, source: how the lifter's joints stand in
    the skeleton that is filled. best: (F, P), how much of the person the view that was taken saw, 0 for none.
    """

    known: Keypoints3D
    joints: NDArray[np.float64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    best: NDArray[np.float64]
    arrays: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, known: Keypoints3D, lifter: LifterLike) -> "_Work":
        to_lifter = joint_map(known.skeleton, lifter.skeleton, derive=True)
        joints, _ = apply_joint_map(to_lifter, known.skeleton, lifter.skeleton, known.xyz)
        back = joint_map(lifter.skeleton, known.skeleton)
        names = ("xyz", "covariance", "inliers", "reprojection_px", "status")
        arrays = {name: getattr(known, name).copy() for name in names}
        best = np.zeros(known.status.shape[:2])
        return cls(known, joints.astype(np.float64), back.source, back.target, best, arrays)

    def rows_of(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of each of a view's frames in the known ones, -1 for none."""
        order = np.argsort(self.known.frames)
        place = np.clip(np.searchsorted(self.known.frames, frames, sorter=order), 0, len(order) - 1)
        row = order[place]
        return np.where(self.known.frames[row] == frames, row, -1)

    def offer(
        self,
        p: int,
        lifted: LiftedPerson,
        view: ViewPeople,
        rows: NDArray[np.int64],
        camera: Camera,
        c: int,
        settings: CompletionSettings,
    ) -> None:
        """Take a lifted person where something of the person is missing and no other view saw more of it."""
        at = rows[lifted.rows]
        inside = at >= 0
        rotation, centre = world_of(camera)
        world = lifted.xyz @ rotation.T + centre
        score = np.where(inside, (lifted.seen * np.nan_to_num(lifted.confidence)).sum(axis=1), 0)
        lacking = np.asarray(~np.isin(self.known.status[:, p][:, self.target], PRESENT).all(axis=1))
        taken = inside & lacking[at] & (score > self.best[at, p])
        if not taken.any():
            return
        fitted = _fitted(world, np.where(inside[:, None, None], self.joints[at, p], np.nan), settings.least_known)
        fitted = _on_rays(fitted, lifted.xy, camera)
        off = np.linalg.norm(camera.project(fitted) - lifted.xy, axis=-1)
        values = as_keypoints3d([lifted], view, (rotation, centre), "")
        for n in np.flatnonzero(taken).tolist():
            self._write(int(at[n]), p, c, n, int(lifted.rows[n]), fitted, off, lifted, values)
            self.best[at[n], p] = score[n]

    def _write(
        self,
        row: int,
        p: int,
        c: int,
        n: int,
        view_row: int,
        fitted: NDArray[np.float64],
        off: NDArray[np.float64],
        lifted: LiftedPerson,
        values: Keypoints3D,
    ) -> None:
        a = self.arrays
        free = ~np.isin(self.known.status[row, p, self.target], PRESENT) & np.isfinite(fitted[n, self.source]).all(
            axis=-1
        )
        own, theirs = self.target[free], self.source[free]
        a["xyz"][row, p, own] = fitted[n, theirs]
        a["covariance"][row, p, own] = values.covariance[view_row, 0, theirs]
        a["reprojection_px"][row, p, own] = np.nan
        a["reprojection_px"][row, p, own, c] = off[n, theirs]
        a["inliers"][row, p, own] = False
        a["inliers"][row, p, own, c] = lifted.seen[n, theirs]
        a["status"][row, p, own] = np.where(lifted.seen[n, theirs], PointStatus.LIFTED, PointStatus.FILLED)

    def welcome(
        self,
        one: Keypoints3D,
        person: ViewPerson,
        rows: NDArray[np.int64],
        camera: Camera,
        told_before: list[_Stranger],
        strangers: list[_Stranger],
        settings: CompletionSettings,
    ) -> None:
        """Add somebody whom no 3D person is to the strangers, or to the one of another camera who it is."""
        sure = float(person.confidence.sum())
        before = (
            np.stack([other.joints for other in told_before], axis=1) if told_before else np.zeros((len(rows), 0, 1, 3))
        )
        who = _person_of(person, rows, before, camera, settings.alone_share)
        if who is not None:
            told_before[who].told.append((sure, one))
            return
        joints = np.full((len(self.known.frames), *one.xyz.shape[2:]), np.nan)
        joints[rows[rows >= 0]] = one.xyz[rows >= 0, 0]
        strangers.append(_Stranger(joints, [(sure, one)]))

    def result(self, strangers: list[_Stranger]) -> Completed:
        """Put the added people behind the others."""
        known = self.known
        F, P, _ = known.status.shape
        extra = len(strangers)
        blank = {"xyz": np.nan, "covariance": np.nan, "reprojection_px": np.nan, "inliers": 0}
        arrays: dict[str, Any] = {}
        for name, array in self.arrays.items():
            fill = blank.get(name, PointStatus.TOO_FEW_VIEWS)
            arrays[name] = np.concatenate(
                (array, np.full((F, extra, *array.shape[2:]), fill, dtype=array.dtype)), axis=1
            )
        for number, stranger in enumerate(strangers):
            # The surest comes last, and its frames stay.
            for _, one in sorted(stranger.told, key=lambda sure_and_one: sure_and_one[0]):
                rows = self.rows_of(one.frames)
                there = np.isin(one.status[:, 0], PRESENT).any(axis=-1)
                inside = np.flatnonzero((rows >= 0) & there)
                c = known.cameras.index(one.cameras[0])
                theirs = np.ix_(inside, np.array([0]), self.source)
                where = np.ix_(rows[inside], np.array([P + number]), self.target)
                for name in ("xyz", "covariance", "status"):
                    arrays[name][where] = getattr(one, name)[theirs]
                for name in ("inliers", "reprojection_px"):
                    arrays[name][where] = blank[name]
                    arrays[name][..., c][where] = getattr(one, name)[theirs][..., 0]
        people = replace(known, **arrays)
        before = np.isin(known.status, PRESENT)
        added = np.isin(people.status, PRESENT)
        added[:, :P] &= ~before
        return Completed(people, added, extra)


def _fitted(world: NDArray[np.float64], known: NDArray[np.float64], least: int) -> NDArray[np.float64]:
    """Lay lifted poses (N, J, 3) on what is known of them (N, J, 3).

    Rows that know too few joints to tell how the pose is turned are moved only, and rows that know none as those around them.
    """
    offset = known - world
    count = np.isfinite(offset).all(axis=-1).sum(axis=1)
    some = np.flatnonzero(count > 0)
    if not len(some):
        return world
    mean = np.nanmean(offset[some], axis=1)
    moved = np.stack([np.interp(np.arange(len(world)), some, mean[:, axis]) for axis in range(3)], axis=-1)
    turned = align_similarity(world, known, with_scale=False).apply(world)
    enough = (count >= least) & np.isfinite(turned).all(axis=(1, 2))
    return np.where(enough[:, None, None], turned, world + moved[:, None])


def _on_rays(points: NDArray[np.float64], xy: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
    """Return the points of the detections' rays that are nearest to these, (N, J, 3); where there is none, these."""
    direction = camera.ray_directions(xy)
    from_camera = points - camera.centre_world
    on_ray = camera.centre_world + direction * (direction * from_camera).sum(axis=-1, keepdims=True)
    return np.where(np.isfinite(on_ray), on_ray, points)
