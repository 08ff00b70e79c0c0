from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from out_of_step import rig_out_of_step
from posekit.errors import PosekitError
from posekit.io.timestamps import read_timestamps
from posekit.synchrony import synchrony_of
from scenes import ring_rig

TABLE = """sync_index,port,frame_time
35,1,1.00
35,2,1.01
36,1,1.10
37,1,1.20
37,2,1.21
38,1,1.30
38,2,1.27
"""


def test_nothing_is_made_of_cameras_in_step() -> None:
    rig = ring_rig(2)
    assert synchrony_of(rig, rig.names, 30.0, None) is None
    assert synchrony_of(rig, rig.names, None, None) is None


def test_offsets_say_which_picture_was_taken_at_a_moment() -> None:
    rig = rig_out_of_step(ring_rig(3), (0, 2.4, -1))
    synchrony = synchrony_of(rig, ("cam_2", "cam_3", "cam_1"), 30.0, None)
    assert synchrony is not None
    # Camera 2 took its frame 7.6 when the rig took its frame 10: 2.4 frames late.
    np.testing.assert_allclose(synchrony.pictures(np.array([10, 11])), [[7.6, 11, 10], [8.6, 12, 11]], atol=1e-12)
    assert synchrony.nearest_pictures(np.arange(5), "cam_2", 2).tolist() == [-1, -1, 0, 1, -1]
    np.testing.assert_allclose(synchrony.off_by(), [0.4, 0, 0], atol=1e-12)
    assert synchrony.remarks() == ["cam_2 is 2.4 frames late", "cam_3 is 1 frames early"]
    assert not synchrony.within_half_a_frame
    near = synchrony_of(rig_out_of_step(ring_rig(2), (0, 0.4)), ("cam_1", "cam_2"), 30.0, None)
    assert near is not None
    assert near.within_half_a_frame
    turned = synchrony.of(("cam_1", "cam_2"))
    np.testing.assert_allclose(turned.pictures(np.array([10])), [[10, 7.6]], atol=1e-12)


def test_offsets_in_seconds_need_a_rate() -> None:
    rig = rig_out_of_step(ring_rig(2), (0, 1))
    with pytest.raises(
        PosekitError, match="the ring: its cameras have time offsets in seconds, and the capture names no rate"
    ):
        synchrony_of(rig, rig.names, None, None)


def test_times_say_which_picture_was_taken_at_a_moment(tmp_path: Path) -> None:
    (tmp_path / "timestamps.csv").write_text(TABLE)
    times = read_timestamps(tmp_path / "timestamps.csv")
    rig = ring_rig(2)
    synchrony = synchrony_of(rig, rig.names, 10.0, times)
    assert synchrony is not None
    # Moments: 1.005, 1.10 (camera 2 dropped it), 1.205, 1.285; the pictures of camera 2: 1.01, 1.21, 1.27.
    expected = [[0.05, 0], [1, np.nan], [2.05, 0.975], [2.85, 2]]
    np.testing.assert_allclose(synchrony.pictures(np.arange(4)), expected, atol=1e-9)
    assert synchrony.nearest_pictures(np.arange(4), "cam_2", 3).tolist() == [0, -1, 1, 2]
    # Counted by sync_index, where the numbers go beyond the rows.
    np.testing.assert_array_equal(synchrony.pictures(np.array([35, 38])), synchrony.pictures(np.array([0, 3])))
    with pytest.raises(PosekitError, match="has 4 moments, sync_index 35 to 38; frame 40 is none of them"):
        synchrony.pictures(np.array([40]))
    assert synchrony.remarks() == [f"{times.source}: 4 moments, pictures up to 15 ms from them; dropped: cam_2 1"]
    assert synchrony.within_half_a_frame  # 15 ms of 100
    # Of camera 2 alone there is nothing at the moment that it dropped.
    alone = synchrony.of(("cam_2",))
    np.testing.assert_array_equal(alone.pictures(np.arange(4)), [[0], [np.nan], [1], [2]])
    assert alone.times is not None
    assert alone.times.frame_rate == pytest.approx(12.5)  # the median of a step of 0.1 and one of 0.06 s


def test_offsets_add_to_times(tmp_path: Path) -> None:
    (tmp_path / "timestamps.csv").write_text(TABLE)
    times = read_timestamps(tmp_path / "timestamps.csv")
    late = synchrony_of(rig_out_of_step(ring_rig(2), (0, 0.6)), ("cam_1", "cam_2"), 10.0, times)  # 0.02 s
    assert late is not None
    # Moments: 1.015, 1.10, 1.215, 1.295; the pictures of camera 2: 1.03, 1.23, 1.29.
    expected = [[0.15, 0], [1, np.nan], [2.15, 0.925], [2.95, 2]]
    np.testing.assert_allclose(late.pictures(np.arange(4)), expected, atol=1e-9)
    assert late.remarks()[0].endswith("; cam_2 is 0.21 frames late by the rig")  # of 0.095 s
    # 0.15 s late, its first picture is 0.08 s after their mean: more than half a frame, and there is none before it.
    early = synchrony_of(rig_out_of_step(ring_rig(2), (0, 4.5)), ("cam_1", "cam_2"), 10.0, times)
    assert early is not None
    assert np.isnan(early.pictures(np.arange(1))[0, 1])
    far = replace(times, times_s=times.times_s + np.array([0, 0.2]))
    apart = synchrony_of(ring_rig(2), ("cam_1", "cam_2"), 10.0, far)
    assert apart is not None
    assert not apart.within_half_a_frame  # 0.1 s from their mean at 10 frames/s
