"""A calibration on boards that ended with the true rig, and its figures."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from posekit.calibration.boards.board import parse_board
from posekit.calibration.boards.views import BoardViews
from posekit.calibration.report.figures import (
    CalibrationFigures,
    measure_calibration,
    shared_moments,
)
from posekit.calibration.rigs.calibration import RigCalibration
from posekit.calibration.rigs.placed_boards import board_residuals, place_boards
from posekit.calibration.rigs.uncertainty import RigUncertainty
from posekit.camera import Rig
from posekit.datasets.synthetic_boards import FilmedBoard, film_board, ring_of_cameras

BOARD = parse_board("charuco:5x7:0.05:0.035:DICT_4X4_50")
NOISE_PX = 0.3


@cache
def filmed() -> FilmedBoard:
    return film_board(ring_of_cameras(4), BOARD, 80, seed=1, noise_px=NOISE_PX)


def calibration_of(rig: Rig, views: BoardViews, **more: Any) -> RigCalibration:
    """What a calibration that ended with this rig would say."""
    boards = place_boards(rig, views)
    uncertainty = RigUncertainty(np.zeros((len(rig), 6, 6)), ({},) * len(rig), np.full(len(rig), np.nan), NOISE_PX, 1.0)
    calibration = RigCalibration(
        rig,
        views,
        boards,
        NOISE_PX,
        board_residuals(rig, views, boards),
        views.seen,
        uncertainty,
        {},
        shared_moments(views),
    )
    return replace(calibration, **more)


def measured(calibration: RigCalibration) -> CalibrationFigures:
    return measure_calibration(
        calibration.rig, calibration.views, calibration.residual_px, calibration.used, lambda _: calibration.rig
    )


@cache
def good() -> tuple[RigCalibration, CalibrationFigures]:
    calibration = calibration_of(filmed().rig, filmed().views)
    return calibration, measured(calibration)
