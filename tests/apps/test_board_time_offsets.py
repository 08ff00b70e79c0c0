"""What `posekit calibrate --board` does about cameras that are out of step, and about those of which it cannot tell."""

from types import SimpleNamespace

import numpy as np
import pytest

from posekit.apps.calibrate_boards import _rig
from posekit.calibration.boards.board import parse_board
from posekit.datasets.synthetic_boards import FilmedBoard, film_board, ring_of_cameras

LATE = np.array((0.0, 0.4, -1.6))


def film(fps: float, frames: int) -> FilmedBoard:
    rig = ring_of_cameras(3, radius_m=1.6, arc_rad=1.6, seed=2, size=(640, 480))
    board = parse_board("charuco:5x4:0.08:0.06:DICT_4X4_50")
    return film_board(rig, board, frames, seed=3, spread_m=0.3, fps=fps, time_offsets_s=LATE / fps)


@pytest.mark.parametrize("choice", ["auto", "on"])
def test_a_camera_that_is_not_told_is_named_and_auto_applies_nothing(choice: str) -> None:
    filmed = film(10.0, 200)
    views = filmed.views
    views.corners_px[np.arange(200) % 6 > 0, 1] = np.nan  # 0.6 s apart: linked, but no motion is seen
    result = _rig(SimpleNamespace(time_offsets=choice, lens="pinhole5"), views, list(filmed.rig.cameras), {})
    assert result.calibration.rig.names == filmed.rig.names
    said = " ".join(result.said)
    assert "no time offset can be told of cam_2" in said
    assert "cam_3 is -1." in said
    applied = np.array([camera.time_offset_s for camera in result.calibration.rig.cameras])
    if choice == "auto":
        assert not applied.any()
        assert "nothing was brought into step" in said
    else:
        np.testing.assert_allclose(applied[2] - applied[0], LATE[2] / 10, atol=0.01)  # a tenth of a frame
        assert applied[1] == 0
        assert "taken as filmed" in said


@pytest.mark.parametrize(("fps", "frames"), [(10.0, 200), (30.0, 400)])
def test_what_is_said_of_the_clocks_holds(fps: float, frames: int) -> None:
    filmed = film(fps, frames)
    result = _rig(SimpleNamespace(time_offsets="on", lens="pinhole5"), filmed.views, list(filmed.rig.cameras), {})
    offsets = result.offsets
    assert offsets is not None
    sigma = result.calibration.uncertainty.time_offset_sigma_s
    assert (sigma[1:] >= offsets.sigma_frames[1:] / fps).all()
    found = np.array([camera.time_offset_s for camera in result.calibration.rig.cameras])
    off = np.abs(found - LATE / fps)[1:]
    assert (off < 3 * sigma[1:]).all()
    assert (off < 0.004).all()
