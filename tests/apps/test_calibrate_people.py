"""What `posekit calibrate --refine` does about clocks."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from out_of_step import FPS, film_out_of_step, rig_out_of_step
from posekit.apps.calibrate_people import _with_time_offsets
from posekit.camera import Rig
from scenes import ring_rig

LATE = np.array((0, 3, 0, 0.2))


def clocks(rig: Rig) -> list[float]:
    return [camera.time_offset_s * FPS for camera in rig.cameras]


def config(folder: Path, late: np.ndarray, time_offsets: str, *, stamps: np.ndarray | None = None) -> SimpleNamespace:
    """Keypoints of cameras that are so late (frames), beside the times at which somebody says that they were taken."""
    rig = ring_rig(4)
    film_out_of_step(rig, late, 120).save(folder / "keypoints.h5")
    if stamps is not None:
        rows = [
            f"{frame},{name},{(frame + offset) / FPS:.6f}"
            for frame in range(120)
            for name, offset in zip(rig.names, stamps, strict=True)
        ]
        (folder / "timestamps.csv").write_text("\n".join(("sync_index,cam_id,frame_time", *rows)) + "\n")
    return SimpleNamespace(keypoints=folder / "keypoints.h5", time_offsets=time_offsets, skeleton=None, fps=None)


@pytest.mark.parametrize("choice", ["auto", "on"])
def test_offsets_that_the_rig_has_already_are_kept(tmp_path: Path, choice: str) -> None:
    rig, words = _with_time_offsets(config(tmp_path, LATE, choice), rig_out_of_step(ring_rig(4), LATE))
    assert words == []
    np.testing.assert_allclose(clocks(rig), LATE, atol=1e-9)


def test_only_what_is_off_is_added_to(tmp_path: Path) -> None:
    known = rig_out_of_step(ring_rig(4), (0, 3, 0, 0.2))
    rig, words = _with_time_offsets(config(tmp_path, np.array((0, 3, -2, 0.2)), "auto"), known)
    np.testing.assert_allclose(clocks(rig), (0, 3, -2, 0.2), atol=0.1)  # linear interpolation of the known ones
    assert clocks(rig)[1] == pytest.approx(3, abs=1e-9)
    assert len(words) == 1
    assert words[0].startswith("cam_3 is -")
    assert words[0].endswith("frames off what the rig says, as the people's motion shows: brought into step")


def test_right_timestamps_leave_nothing_to_be_found(tmp_path: Path) -> None:
    rig, words = _with_time_offsets(config(tmp_path, LATE, "on", stamps=LATE), ring_rig(4))
    assert words == []
    np.testing.assert_allclose(clocks(rig), 0, atol=0.1)


def test_offsets_are_what_the_timestamps_lack(tmp_path: Path) -> None:
    wrong = LATE - np.array((0, 2, 0, 0))
    warned, words = _with_time_offsets(config(tmp_path, LATE, "auto", stamps=wrong), ring_rig(4))
    assert clocks(warned) == [0, 0, 0, 0]
    assert len(words) == 1
    assert words[0].startswith("cam_2 is +")
    assert "off its timestamps" in words[0]
    assert "--time-offsets on brings it into step" in words[0]
    rig, _ = _with_time_offsets(config(tmp_path, LATE, "on", stamps=wrong), ring_rig(4))
    np.testing.assert_allclose(clocks(rig), (0, 2, 0, 0), atol=0.1)


def test_a_camera_that_sees_nobody_keeps_its_own(tmp_path: Path) -> None:
    rig = rig_out_of_step(ring_rig(4), (0, 0, 0, 0.2))
    filmed = film_out_of_step(rig, (0, 3, 0, 0), 120)
    xy = filmed.xy.copy()
    xy[:, 3] = np.nan
    replace(filmed, xy=xy).save(tmp_path / "keypoints.h5")
    asked = SimpleNamespace(keypoints=tmp_path / "keypoints.h5", time_offsets="on", skeleton=None, fps=None)
    np.testing.assert_allclose(clocks(_with_time_offsets(asked, rig)[0]), (0, 3, 0, 0.2), atol=0.1)
