"""Synthetic calibration captures with known truth: a board that is carried through a ring or a corridor of cameras.

What the cameras see is computed, not drawn: see `posekit.datasets.rendered_boards` for pictures and videos of it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

from posekit.calibration.boards.board import Board
from posekit.calibration.boards.views import BoardViews
from posekit.camera import Camera, Rig

Array = NDArray[np.float64]
LensModel = Literal["pinhole5", "pinhole8", "fisheye"]

#: How fast a person carries and turns a board on the way from one pose to the next (m/s, rad/s); in between it is up to half
#: as fast again.
_CARRYING, _TURNING = 0.35, 1.0
#: The least time from one pose to the next (s).
_SHORTEST_MOVE = 0.4
#: The path begins so long before the first frame, and ends so long after the last (s): cameras may be that far out of step.
_LEAD = 10.0
#: A corner is found under less than this angle to the board's normal; a pose is chosen with less than the other.
_STEEPEST, _CHOSEN = np.radians(70), np.radians(58)
#: How often a pose is drawn anew until it is one that can be, and among how many places the nearest is taken.
_TRIES, _CHOICE = 50, 3


@dataclass(frozen=True, eq=False)
class FilmedBoard:
    """What the cameras saw, and the truth: the rig and where the board was.

    board_rotation (F, 3, 3), board_translation (F, 3): world_from_board, metres, at the rig's frame times. picture_rotation
    (F, C, 3, 3), picture_translation (F, C, 3): the same when each camera really took its picture.
    """

    views: BoardViews
    rig: Rig
    board_rotation: Array
    board_translation: Array
    picture_rotation: Array
    picture_translation: Array


def film_board(
    rig: Rig,
    board: Board,
    frame_count: int,
    *,
    seed: int,
    noise_px: float = 0.3,
    outliers: float = 0.0,
    spread_m: float = 0.6,
    stations: Array | None = None,
    fps: float = 2.0,
    time_offsets_s: Array | None = None,
    jitter_s: float = 0.0,
    timestamps: bool = False,
    farthest_m: float = 4.5,
) -> FilmedBoard:
    """Carry a board about in front of a rig's cameras and note where its corners appear, in float64 px.

    It is carried and turned as a person does (0.2 to 0.5 m/s, up to 1.5 rad/s), from pose to pose: each is somewhere in the
    picture of the camera that has seen least so far, and faces between it and another one. frame_count frames at fps: what
    the cameras see grows with the time, not with the number of frames.

    spread_m: it stays within 2.5 times this of its station. stations: (S, 3) metres, places that it is carried past in the
    time there is, however far it is; without them there is one, the world's origin. noise_px: standard deviation per axis.
    outliers: share of the corners that are 5 to 50 px off. time_offsets_s: (C,), how much later than the rig's frame each
    camera takes its own, 10 s at most; jitter_s: a random part of it, frame by frame. timestamps: whether the views carry
    the true times. A camera sees a board whose corners are all in its picture, no farther than farthest_m away and under less
    than 70 degrees. Of one seed, all of this leaves the path as it is, but for the stations, spread_m and farthest_m.
    """
    path_rng, rng = (np.random.default_rng(source) for source in np.random.SeedSequence(seed).spawn(2))
    path = _Path(rig, frame_count / fps, spread_m, stations, farthest_m, path_rng)
    times = np.arange(frame_count) / fps
    taken = np.repeat(times[:, None], len(rig), axis=1)
    taken = taken + (0 if time_offsets_s is None else time_offsets_s) + rng.uniform(-jitter_s, jitter_s, taken.shape)
    middle = board.points_m.mean(axis=0)
    rotation, translation = path.pose(taken.ravel(), middle)
    rotation, translation = rotation.reshape(*taken.shape, 3, 3), translation.reshape(*taken.shape, 3)
    corners = np.full((frame_count, len(rig), len(board.points_m), 2), np.nan)
    for c, camera in enumerate(rig.cameras):
        points = np.einsum("fij,kj->fki", rotation[:, c], board.points_m) + translation[:, c, None]
        pixels = camera.project(points)
        towards = camera.centre_world - points.mean(axis=1)
        distance = np.linalg.norm(towards, axis=-1)
        cosine = -(rotation[:, c, :, 2] * towards).sum(axis=-1) / distance
        visible = (cosine > np.cos(_STEEPEST)) & (distance < farthest_m) & camera.in_picture(pixels).all(axis=-1)
        corners[visible, c] = _detected(pixels, noise_px, outliers, rng)[visible]
    views = BoardViews(
        board,
        rig.names,
        tuple(camera.size for camera in rig.cameras),
        np.arange(frame_count),
        corners,
        taken if timestamps else None,
        "synthetic boards",
        fps=fps,
    )
    return FilmedBoard(views, rig, *path.pose(times, middle), rotation, translation)


def _detected(pixels: Array, noise_px: float, outliers: float, rng: np.random.Generator) -> Array:
    found = pixels + rng.normal(0, noise_px, pixels.shape)
    wrong = rng.random(pixels.shape[:2]) < outliers
    angle = rng.uniform(0, 2 * np.pi, pixels.shape[:2])
    away = rng.uniform(5, 50, pixels.shape[:2])[..., None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    return np.where(wrong[..., None], found + away, found)


class _Path:
    """A smooth path of a board through poses that show it to all cameras in turn."""

    def __init__(
        self,
        rig: Rig,
        seconds: float,
        spread_m: float,
        stations: Array | None,
        farthest_m: float,
        rng: np.random.Generator,
    ) -> None:
        self._rig = rig
        self._reach = 2.5 * spread_m
        self._farthest = farthest_m
        self._rng = rng
        self._centres = np.stack([camera.centre_world for camera in rig.cameras])
        self._proj = np.stack([np.column_stack((camera.rotation, camera.translation)) for camera in rig.cameras])
        self._focal = np.stack([camera.matrix[[0, 1], [0, 1]] for camera in rig.cameras])
        self._principal = np.stack([camera.matrix[:2, 2] for camera in rig.cameras])
        self._size = np.array([camera.size for camera in rig.cameras], dtype=np.float64)
        self._shown = np.zeros((len(rig), len(rig)))
        places = np.zeros((1, 3)) if stations is None else np.asarray(stations, dtype=np.float64)
        times, poses = [-_LEAD], [self._next_pose(places[0], None)]
        while times[-1] < seconds + _LEAD:
            # The last stations are left by one side only: it stays there a little.
            along = np.clip(1.15 * times[-1] / max(seconds, 1e-9) - 0.075, 0, 1) * (len(places) - 1)
            station = np.array([np.interp(along, np.arange(len(places)), axis) for axis in places.T])
            pose = self._next_pose(station, poses[-1])
            way = np.linalg.norm(pose[1] - poses[-1][1]) / _CARRYING
            turn = (pose[0] * poses[-1][0].inv()).magnitude() / _TURNING
            times.append(times[-1] + max(way, turn, _SHORTEST_MOVE))
            poses.append(pose)
        self._turned = RotationSpline(times, Rotation.concatenate([rotation for rotation, _ in poses]))
        self._carried = CubicSpline(times, np.stack([place for _, place in poses]))

    def pose(self, time_s: Array, middle: Array) -> tuple[Array, Array]:
        """world_from_board at (N,) seconds; middle: the point of the board that the path is of."""
        rotation = self._turned(time_s).as_matrix()
        return rotation, self._carried(time_s) - rotation @ middle

    def _next_pose(self, station: Array, last: tuple[Rotation, Array] | None) -> tuple[Rotation, Array]:
        """Show the board to the camera that has seen least of it, of those at this station, and to another one."""
        near = self._sees(station)
        near = near if near.any() else np.arange(len(near)) == np.argmin(self._distance(station))
        facing = np.zeros(3) if last is None else -last[0].as_matrix()[:, 2]
        # Of those that have seen equally little, the one that takes the least turning.
        turning = -self._towards(station) @ facing
        first = min(np.flatnonzero(near).tolist(), key=lambda c: (self._shown[c].sum(), turning[c]))
        place = self._place(first, station, None if last is None else last[1])
        towards = self._towards(place)
        apart = np.arccos(np.clip(towards @ towards[first], -1, 1))
        partners = self._sees(place) & (apart > 0.02) & (apart < 2 * _CHOSEN)
        second = min(np.flatnonzero(partners).tolist(), key=lambda c: self._shown[first, c], default=first)
        self._shown[first, second] += 1
        self._shown[second, first] += 1
        share = self._rng.uniform(0.35, 0.65)
        between = share * towards[first] + (1 - share) * towards[second]
        return self._facing(between / np.linalg.norm(between), towards[[first, second]]), place

    def _place(self, camera: int, station: Array, last: Array | None) -> Array:
        """Somewhere in a camera's picture, within reach of the station; not too far from the last place."""
        distance = min(self._distance(station)[camera], self._farthest)
        pixel = self._rng.uniform(0.06, 0.94, (_TRIES, 2)) * self._size[camera]
        local = np.column_stack(((pixel - self._principal[camera]) / self._focal[camera], np.ones(_TRIES)))
        local *= (self._rng.uniform(0.5, 1.05, _TRIES) * distance / np.linalg.norm(local, axis=-1))[:, None]
        places = self._centres[camera] + local @ self._rig.cameras[camera].rotation
        within = places[np.linalg.norm(places - station, axis=-1) < self._reach][:_CHOICE]
        if not len(within):
            return station + self._rng.normal(0, self._reach / 8, 3)
        nearest = 0 if last is None else np.argmin(np.linalg.norm(within - last, axis=-1))
        return np.asarray(within[nearest])

    def _facing(self, normal: Array, towards: Array) -> Rotation:
        """A board tilted this and that way about facing along the normal (its own z axis points the other way)."""
        across = np.cross(normal, (0, 0, 1))
        across /= np.linalg.norm(across)
        straight = Rotation.from_matrix(np.stack((across, np.cross(-normal, across), -normal), axis=-1))
        for _ in range(_TRIES):
            axis = self._rng.uniform(0, 2 * np.pi)
            tilt = self._rng.uniform(0, np.radians(40))
            roll = Rotation.from_rotvec((0, 0, self._rng.normal(0, 0.5)))
            turned = straight * Rotation.from_rotvec((tilt * np.cos(axis), tilt * np.sin(axis), 0)) * roll
            if (towards @ -turned.as_matrix()[:, 2] > np.cos(_CHOSEN)).all():
                return turned
        return straight

    def _sees(self, place: Array) -> NDArray[np.bool_]:
        """Which cameras have a place in their pictures, a tenth within its border; without the lens."""
        local = self._proj[:, :, :3] @ place + self._proj[:, :, 3]
        pixel = self._focal * local[:, :2] / np.maximum(local[:, 2:], 1e-9) + self._principal
        inside = ((pixel > 0.1 * self._size) & (pixel < 0.9 * self._size)).all(axis=-1)
        return np.asarray(inside & (local[:, 2] > 0.1) & (self._distance(place) < self._farthest))

    def _distance(self, place: Array) -> Array:
        return np.asarray(np.linalg.norm(self._centres - place, axis=-1))

    def _towards(self, place: Array) -> Array:
        return (self._centres - place) / self._distance(place)[:, None]


def ring_of_cameras(
    count: int,
    *,
    radius_m: float = 2.5,
    arc_rad: float = 2 * np.pi,
    seed: int = 0,
    lens: LensModel = "pinhole5",
    size: tuple[int, int] = (1280, 960),
) -> Rig:
    """Cameras around the origin, or along an arc of that circle, that look at it, no two alike; z is up."""
    rng = np.random.default_rng(seed)
    angle = arc_rad * np.arange(count) / count + rng.normal(0, 0.05, count)
    centres = np.stack((radius_m * np.cos(angle), radius_m * np.sin(angle), rng.uniform(-0.4, 0.9, count)), axis=-1)
    cameras = [_camera(f"cam_{c + 1}", centres[c], rng.normal(0, 0.1, 3), rng, lens, size) for c in range(count)]
    return Rig(tuple(cameras), "a synthetic ring")


def corridor_of_cameras(
    count: int,
    *,
    width_m: float = 3.0,
    step_m: float = 1.5,
    seed: int = 0,
    lens: LensModel = "pinhole5",
    size: tuple[int, int] = (1280, 960),
) -> tuple[Rig, Array]:
    """Cameras on both sides of a corridor along x, by turns, which look a step ahead across it; z is up.

    A camera shares what it sees with its neighbours only. Returns the stations (S, 3), too, of a walk down the middle.
    """
    rng = np.random.default_rng(seed)
    cameras = []
    for c in range(count):
        along = c / 2 * step_m
        centre = np.array((along + rng.normal(0, 0.1), (width_m / 2) * (1 if c % 2 else -1), rng.uniform(0.2, 0.8)))
        cameras.append(_camera(f"cam_{c + 1}", centre, (along + step_m, rng.normal(0, 0.2), 0), rng, lens, size))
    ends = np.linspace(step_m / 2, (count + 1) / 2 * step_m, max(count, 2))
    return Rig(tuple(cameras), "a synthetic corridor"), np.stack((ends, 0 * ends, 0 * ends), axis=-1)


def _camera(
    name: str, centre: Array, target: object, rng: np.random.Generator, lens: LensModel, size: tuple[int, int]
) -> Camera:
    forward = np.asarray(target, dtype=np.float64) - centre
    forward /= np.linalg.norm(forward)
    across = np.cross(forward, (0, 0, 1))
    across /= np.linalg.norm(across)
    upright = np.stack((across, np.cross(forward, across), forward))
    rotation = Rotation.from_rotvec(rng.normal(0, 0.05, 3)).as_matrix() @ upright
    focal = size[0] * rng.uniform(0.66, 0.82)
    off = size[0] / 100
    principal = np.array(size) / 2 + rng.normal(0, off, 2)
    ratio = 1 + rng.normal(0, 0.002)
    if lens == "fisheye":
        focal *= 0.6
        distortion = rng.normal((0.03, -0.01, 0, 0), (0.02, 0.01, 0.003, 0.001))
    elif lens == "pinhole8":
        # The rational lens of a wide camera: what its two polynomials divide to bends about as much as pinhole5's.
        distortion = np.array((0.25, 0.05, 0, 0, 0.004, 0.40, 0.10, 0.01))
        distortion += rng.normal(0, 1, 8) * (0.03, 0.01, 5e-4, 5e-4, 1e-3, 0.03, 0.01, 2e-3)
    else:
        distortion = np.array((-0.15, 0.06, 0, 0, 0)) + rng.normal(0, 1, 5) * (0.05, 0.02, 5e-4, 5e-4, 0.003)
    matrix = np.array([[focal, 0, principal[0]], [0, focal * ratio, principal[1]], [0, 0, 1]])
    return Camera(name, size, matrix, distortion, rotation, -rotation @ centre, fisheye=lens == "fisheye")
