"""How good a rig is, in figures: errors of the boards that made it and of boards it never saw, known lengths measured again.

Errors are distances (px) between a corner as detected and where the rig has it; no corner is left out as an outlier, whatever
the calibration made of it.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from posekit.calibration.boards.views import BoardViews
from posekit.calibration.report.free_points import reprojection_errors, triangulate_freely
from posekit.calibration.report.held_out import HELD_OUT_EVERY, Calibrate, HeldOut, hold_out, middle_block
from posekit.calibration.rigs.placed_boards import PlacedBoards, board_residuals
from posekit.calibration.rigs.uncertainty import RigUncertainty
from posekit.camera import Rig
from posekit.errors import PosekitError

Array = NDArray[np.float64]

#: Pictures are looked at in so many columns and rows for where corners have been.
COVERAGE_COLUMNS, COVERAGE_ROWS = 12, 9

#: The outer part of a picture begins at this share of the way from its middle to its corners.
_OUTER = 0.6


@dataclass(frozen=True)
class Errors:
    """Figures of errors (px) of so many corners in so many pictures; NaN where there are none."""

    mean_px: float
    median_px: float
    rms_px: float
    p95_px: float
    corners: int
    pictures: int

    @classmethod
    def of(cls, errors: Float[np.ndarray, "*pictures K"]) -> "Errors":
        """Take the figures of errors, NaN where there is none; the last axis is that of one picture's corners."""
        there = np.isfinite(errors)
        values = errors[there]
        if not len(values):
            return cls(np.nan, np.nan, np.nan, np.nan, 0, 0)
        return cls(
            float(values.mean()),
            float(np.median(values)),
            float(np.sqrt(np.square(values).mean())),
            float(np.quantile(values, 0.95)),
            len(values),
            int(there.any(axis=-1).sum()),
        )


@dataclass(frozen=True, eq=False)
class ScaleCheck:
    """Sides of the board, all of side_m, as measured between corners that were triangulated one by one; lengths_m: (N,)."""

    side_m: float
    lengths_m: Float[np.ndarray, " N"]

    @property
    def mean_m(self) -> float:
        """Mean length; NaN where there is none."""
        return float(self.lengths_m.mean()) if len(self.lengths_m) else np.nan

    @property
    def median_m(self) -> float:
        """Median length, which wrong corners hardly move; NaN where there is none."""
        return float(np.median(self.lengths_m)) if len(self.lengths_m) else np.nan

    @property
    def mean_absolute_error_m(self) -> float:
        """Mean distance from the known length."""
        return float(np.abs(self.lengths_m - self.side_m).mean()) if len(self.lengths_m) else np.nan

    @property
    def p95_error_m(self) -> float:
        """The distance from the known length that 95 % of the lengths keep within."""
        return float(np.quantile(np.abs(self.lengths_m - self.side_m), 0.95)) if len(self.lengths_m) else np.nan


@dataclass(frozen=True, eq=False)
class CameraFigures:
    """One camera's errors, and what it saw.

    outlier_share: of its corners, what the calibration did not believe. inner, outer: errors in the middle of the picture and
    towards its corners. coverage: how many corners were seen in each cell, (9, 12) from the top left. heldout_px: (N,), the
    errors that heldout sums up.
    """

    name: str
    fitted: Errors
    inner: Errors
    outer: Errors
    outlier_share: float
    coverage: Int[np.ndarray, "rows columns"]
    heldout: Errors | None = None
    heldout_block: Errors | None = None
    predicted: Errors | None = None
    heldout_px: Float[np.ndarray, " N"] | None = None

    @property
    def covered_share(self) -> float:
        """Share of the picture's cells that a corner was seen in."""
        return float((self.coverage > 0).mean())


@dataclass(frozen=True, eq=False)
class CalibrationFigures:
    """The figures of a rig. shared: (C, C), moments in which two cameras saw the board both; the diagonal, in which one did.

    triangulated: of corners placed one by one from where they were detected, whenever that was; triangulated_in_step: from
    where they would have been at one time, None where the cameras fired at once, as far as is known. scale is of the latter, if
    there is one.

    heldout, heldout_block, predicted are None where there were too few moments, or the rest did not make a rig; not_held_out
    says so.
    """

    cameras: tuple[CameraFigures, ...]
    fitted: Errors
    triangulated: Errors
    triangulated_in_step: Errors | None
    heldout: Errors | None
    heldout_block: Errors | None
    predicted: Errors | None
    scale: ScaleCheck
    shared: Int[np.ndarray, "C C"]
    moments: int
    not_held_out: str = ""

    def as_json(self) -> dict[str, Any]:
        """The figures for a JSON file; what could not be measured is NaN (which `write_json` makes null)."""

        def mean(errors: Errors | None) -> float:
            return np.nan if errors is None else errors.mean_px

        def whole(errors: Errors | None) -> dict[str, Any] | None:
            return None if errors is None else asdict(errors)

        return {
            "mean_reprojection_px": self.fitted.mean_px,
            "median_reprojection_px": self.fitted.median_px,
            "heldout_reprojection_px": mean(self.heldout),
            "heldout_block_reprojection_px": mean(self.heldout_block),
            "predicted_reprojection_px": mean(self.predicted),
            "triangulated_mean_px": self.triangulated.mean_px,
            "triangulated_median_px": self.triangulated.median_px,
            "triangulated_in_step_px": mean(self.triangulated_in_step),
            "side_m": self.scale.side_m,
            "side_mean_m": self.scale.mean_m,
            "side_median_m": self.scale.median_m,
            "side_mean_absolute_error_m": self.scale.mean_absolute_error_m,
            "side_p95_error_m": self.scale.p95_error_m,
            "sides_measured": len(self.scale.lengths_m),
            "moments": self.moments,
            "fitted": whole(self.fitted),
            "triangulated": whole(self.triangulated),
            "triangulated_in_step": whole(self.triangulated_in_step),
            "heldout": whole(self.heldout),
            "heldout_block": whole(self.heldout_block),
            "predicted": whole(self.predicted),
            "not_held_out": self.not_held_out,
            "cameras": {
                camera.name: {
                    "mean_reprojection_px": camera.fitted.mean_px,
                    "median_reprojection_px": camera.fitted.median_px,
                    "heldout_reprojection_px": mean(camera.heldout),
                    "heldout_block_reprojection_px": mean(camera.heldout_block),
                    "predicted_reprojection_px": mean(camera.predicted),
                    "outlier_share": camera.outlier_share,
                    "covered_share": camera.covered_share,
                    "fitted": asdict(camera.fitted),
                    "inner": asdict(camera.inner),
                    "outer": asdict(camera.outer),
                }
                for camera in self.cameras
            },
        }


def measure_calibration(
    rig: Rig,
    views: BoardViews,
    residual_px: Float[np.ndarray, "F C K 2"],
    used: Bool[np.ndarray, "F C K"],
    calibrate: Calibrate | None,
    boards: PlacedBoards | None = None,
) -> CalibrationFigures:
    """Take all figures of a rig and the boards that it was made from.

    views: of the rig's cameras, in its order. residual_px: reprojection less detection with the boards where the calibration
    placed them, NaN where unseen. used: False for corners that it did not believe. calibrate: makes a rig of some of the
    moments, as this one was made; None to hold none out. boards: where the calibration placed them; where it found them moving,
    known lengths are measured with the corners brought to one time. A rig that cannot be made without the held-out moments is
    no error: the figures say why.
    """
    errors = np.linalg.norm(residual_px, axis=-1)
    points, free_errors = _free_points(rig, views)
    in_step = None
    if boards is not None and boards.rates.any():
        points, in_step = _free_points(rig, corners_in_step(rig, views, boards))
    every = np.arange(len(views.frames)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    thinned, block, not_held_out = None, None, ""
    if calibrate is not None:
        try:
            thinned = hold_out(views, every, calibrate)
            block = hold_out(views, middle_block(len(views.frames)), calibrate, predict=False)
        except PosekitError as error:
            not_held_out = str(error)
    cameras = tuple(_camera(c, views, errors, used, thinned, block) for c in range(len(rig)))
    return CalibrationFigures(
        cameras,
        Errors.of(errors),
        Errors.of(free_errors),
        None if in_step is None else Errors.of(in_step),
        None if thinned is None else Errors.of(thinned.fitted_px),
        None if block is None else Errors.of(block.fitted_px),
        None if thinned is None else Errors.of(thinned.predicted_px),
        _scale_check(points, views),
        shared_moments(views),
        len(views.frames),
        not_held_out,
    )


def uncertainty_figures(rig: Rig, uncertainty: RigUncertainty) -> dict[str, dict[str, Any]]:
    """How well each camera is known beside the first one, for a JSON file: camera's name -> standard deviations.

    rig: of the uncertainty's cameras, in its order. position_sigma_m: where the camera stands, along its own x, y and z;
    position_sigma_norm_m: in all directions together; turn_sigma_rad: where it looks, about its own axes; lens_sigma: what was
    adjusted of its lens; time_offset_sigma_s: NaN where it was not looked for (which `write_json` makes null).
    """
    place, turn = uncertainty.position_sigma_m, turn_sigma_rad(uncertainty)
    return {
        name: {
            "position_sigma_m": place[c].tolist(),
            "position_sigma_norm_m": float(np.linalg.norm(place[c])),
            "turn_sigma_rad": turn[c].tolist(),
            "lens_sigma": dict(uncertainty.lens_sigma[c]),
            "time_offset_sigma_s": float(uncertainty.time_offset_sigma_s[c]),
        }
        for c, name in enumerate(rig.names)
    }


def turn_sigma_rad(uncertainty: RigUncertainty) -> Float[np.ndarray, "C 3"]:
    """Standard deviations of the cameras' directions, about their own axes."""
    sigma: Array = np.sqrt(np.diagonal(uncertainty.pose, axis1=1, axis2=2)[:, :3].clip(min=0))
    return sigma


def corners_in_step(rig: Rig, views: BoardViews, boards: PlacedBoards) -> BoardViews:
    """Corners where they would have been had all cameras fired at the moment's mean time: moved by the board's own motion.

    That takes away what the board went on between two cameras' pictures, a few pixels; the corners' errors stay as they are.
    Corners of moments without a board are NaN.
    """
    at_rest = replace(boards, rates=np.zeros_like(boards.rates))
    went = board_residuals(rig, views, boards) - board_residuals(rig, views, at_rest)
    return replace(views, corners_px=views.corners_px - went)


def shared_moments(views: BoardViews) -> Int[np.ndarray, "C C"]:
    """In how many moments two cameras saw the board both; the diagonal: in how many one saw it."""
    saw = np.asarray(views.seen.any(axis=-1), dtype=np.int64)
    shared: NDArray[np.int64] = saw.T @ saw
    return shared


def _free_points(rig: Rig, views: BoardViews) -> tuple[Array, Array]:
    """Corners placed one by one from all cameras that saw them, (F, K, 3), and their errors, (F, C, K)."""
    F, C, K, _ = views.corners_px.shape
    pixels = views.corners_px.transpose(0, 2, 1, 3).reshape(F * K, C, 2)
    points = triangulate_freely(rig, pixels)
    errors = reprojection_errors(rig, points, pixels)
    return points.reshape(F, K, 3), errors.reshape(F, K, C).transpose(0, 2, 1)


def _scale_check(points: Array, views: BoardViews) -> ScaleCheck:
    pairs, side = views.board.sides
    lengths = np.linalg.norm(points[:, pairs[:, 0]] - points[:, pairs[:, 1]], axis=-1)
    return ScaleCheck(side, lengths[np.isfinite(lengths)])


def _camera(
    c: int, views: BoardViews, errors: Array, used: NDArray[np.bool_], thinned: HeldOut | None, block: HeldOut | None
) -> CameraFigures:
    seen = views.seen[:, c]
    corners = views.corners_px[:, c]
    size = np.array(views.sizes[c], dtype=np.float64)
    reach = np.linalg.norm((corners - (size - 1) / 2) / (size / 2), axis=-1) / np.sqrt(2)
    own = errors[:, c]
    with np.errstate(invalid="ignore"):
        outer = np.where(reach > _OUTER, own, np.nan)
        inner = np.where(reach > _OUTER, np.nan, own)
    return CameraFigures(
        views.cameras[c],
        Errors.of(own),
        Errors.of(inner),
        Errors.of(outer),
        float((seen & ~used[:, c]).sum() / max(seen.sum(), 1)),
        coverage_of(corners[seen], views.sizes[c]),
        None if thinned is None else Errors.of(thinned.fitted_px[:, c]),
        None if block is None else Errors.of(block.fitted_px[:, c]),
        None if thinned is None else Errors.of(thinned.predicted_px[:, c]),
        None if thinned is None else thinned.fitted_px[:, c][np.isfinite(thinned.fitted_px[:, c])],
    )


def coverage_of(pixels: Float[np.ndarray, "N 2"], size: tuple[int, int]) -> Int[np.ndarray, "rows columns"]:
    """How many corners were seen in each cell of a picture."""
    width, height = size
    cells = (COVERAGE_ROWS, COVERAGE_COLUMNS)
    # Pixel (0, 0) is a pixel's centre, so the picture begins half a pixel before it.
    counts, _, _ = np.histogram2d(
        pixels[:, 1], pixels[:, 0], bins=cells, range=((-0.5, height - 0.5), (-0.5, width - 0.5))
    )
    return counts.astype(np.int64)
