"""Synthetic rigs with known truth: how well and how fast `calibrate_rig` finds them, and how honestly it says so."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from posekit.calibration.rigs.calibration import RigCalibration
    from posekit.camera import Camera
    from posekit.datasets.synthetic_boards import FilmedBoard

Array = NDArray[np.float64]
Layout = Literal["ring", "corridor"]
LAYOUTS: tuple[Layout, ...] = ("ring", "corridor")

NOISE_PX, OUTLIER_SHARE = 0.3, 0.01
#: A4 on cardboard.
BOARD = "charuco:4x5:0.054:0.0405:DICT_4X4_1000"
#: Where the lenses start, off by so much (one standard deviation): focal length as a share of itself, principal point as a
#: share of the picture's width; without any distortion.
_FOCAL_OFF, _PRINCIPAL_OFF = 0.03, 0.01
#: A camera so far from where it is (m), and outside its ellipsoid, is not just badly known: the fit ended in another minimum.
_ASTRAY = 0.1
#: The share of the truth that the stated ellipsoids should hold.
STATED = 0.95


@dataclass(frozen=True)
class RigErrors:
    """What became of one random rig; per camera but the first, which is the world's frame.

    linked: whether all cameras were; else the rest is NaN. position_m: how far from where it is; turn_rad: by how much turned.
    inside: whether the true pose lies in the stated ellipsoid. seconds: of the calibration, from corners to rig. board_views:
    pictures with a board.
    """

    seed: int
    linked: bool
    position_m: Array
    turn_rad: Array
    inside: NDArray[np.bool_]
    seconds: float
    board_views: int

    @property
    def astray(self) -> bool:
        """Whether a camera ended somewhere else altogether, not just a little off."""
        return bool(((self.position_m > _ASTRAY) & ~self.inside).any())


def film_rig(layout: Layout, cameras: int, frames: int, seed: int) -> "FilmedBoard":
    """A random rig and a board that is carried about in it, a picture every half second: noisy, some corners wrong."""
    from posekit.calibration.boards.board import parse_board
    from posekit.datasets.synthetic_boards import corridor_of_cameras, film_board, ring_of_cameras

    rig, stations = (
        (ring_of_cameras(cameras, seed=seed), None) if layout == "ring" else corridor_of_cameras(cameras, seed=seed)
    )
    return film_board(
        rig, parse_board(BOARD), frames, seed=seed, noise_px=NOISE_PX, outliers=OUTLIER_SHARE, stations=stations
    )


def calibrate_film(film: "FilmedBoard", seed: int, *, free_lens: bool = True) -> RigErrors:
    """Calibrate from lenses that start far off (free_lens), or that are known; and compare with the truth."""
    from posekit.calibration.rigs.calibration import RigSettings, calibrate_rig
    from posekit.errors import PosekitError

    lenses = list(_bad_lenses(film, seed)) if free_lens else film.rig.cameras
    settings = RigSettings(free_lens="pinhole5" if free_lens else None)
    board_views = int(film.views.seen.any(axis=-1).sum())
    start = time.perf_counter()
    try:
        found = calibrate_rig(film.views, lenses, settings)
    except PosekitError:
        return _not_linked(seed, len(film.rig), time.perf_counter() - start, board_views)
    seconds = time.perf_counter() - start
    if found.unlinked:
        return _not_linked(seed, len(film.rig), seconds, board_views)
    return _compare(film, found, seed, seconds, board_views)


def _not_linked(seed: int, cameras: int, seconds: float, board_views: int) -> RigErrors:
    nothing = np.full(cameras - 1, np.nan)
    return RigErrors(seed, False, nothing, nothing, np.zeros(cameras - 1, dtype=bool), seconds, board_views)


def _bad_lenses(film: "FilmedBoard", seed: int) -> Iterator["Camera"]:
    rng = np.random.default_rng((seed, 1))
    for camera in film.rig.cameras:
        matrix = camera.matrix.copy()
        matrix[[0, 1], [0, 1]] *= 1 + rng.normal(0, _FOCAL_OFF)
        matrix[:2, 2] = np.array(camera.size) / 2 + rng.normal(0, _PRINCIPAL_OFF * camera.size[0], 2)
        yield replace(camera, matrix=matrix, distortion=np.zeros(4 if camera.fisheye else 5))


def _compare(film: "FilmedBoard", found: "RigCalibration", seed: int, seconds: float, board_views: int) -> RigErrors:
    from scipy.spatial.transform import Rotation
    from scipy.stats import chi2

    first = film.rig[found.rig.names[0]]
    position, turn, inside = [], [], []
    for c, camera in enumerate(found.rig.cameras[1:], start=1):
        true = film.rig[camera.name]
        rotation = true.rotation @ first.rotation.T
        translation = true.translation - rotation @ first.translation
        off = Rotation.from_matrix(rotation @ camera.rotation.T)
        # As the covariance is stated: a turn in the camera's frame, and what the translation differs by after it.
        error = np.concatenate((off.as_rotvec(), translation - off.as_matrix() @ camera.translation))
        inside.append(_distance2(error, found.uncertainty.pose[c]) < chi2.ppf(STATED, len(error)))
        position.append(np.linalg.norm(camera.centre_world + rotation.T @ translation))
        turn.append(off.magnitude())
    return RigErrors(seed, True, np.array(position), np.array(turn), np.array(inside), seconds, board_views)


def _distance2(error: Array, covariance: Array) -> float:
    """Squared Mahalanobis distance; without end where the covariance is none."""
    try:
        whitened = np.linalg.solve(np.linalg.cholesky(covariance), error)
    except np.linalg.LinAlgError:
        return np.inf
    return float(whitened @ whitened)


def summarise(errors: Sequence[RigErrors]) -> dict[str, Any]:
    """Figures of several rigs; those of poses are over the rigs whose cameras were all linked, astray or not."""
    position, turn, inside = (
        np.concatenate([getattr(one, name) for one in errors if one.linked] or [np.full(1, np.nan)])
        for name in ("position_m", "turn_rad", "inside")
    )
    return {
        "rigs": len(errors),
        "rigs_linked": sum(one.linked for one in errors),
        "seeds_not_linked": [one.seed for one in errors if not one.linked],
        "seeds_astray": [one.seed for one in errors if one.linked and one.astray],
        "position_mm_median": 1e3 * float(np.median(position)),
        "position_mm_max": 1e3 * float(position.max()),
        "turn_mrad_median": 1e3 * float(np.median(turn)),
        "turn_mrad_max": 1e3 * float(turn.max()),
        "poses": len(inside),
        "coverage": float(inside.mean()),
        "seconds_median": float(np.median([one.seconds for one in errors])),
        "board_views_median": float(np.median([one.board_views for one in errors])),
    }
