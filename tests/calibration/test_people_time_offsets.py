from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from out_of_step import film_out_of_step
from posekit.calibration.formats import read_rig
from posekit.calibration.people.time_offsets import offsets_from_people
from posekit.datasets.synthetic_people import PeopleSettings, film_people
from posekit.errors import PosekitError
from posekit.io.keypoint_files import open_keypoints
from posekit.keypoints import Keypoints2D
from scenes import ring_rig

LATE = np.array((0, 2, -3.5, 0.4))


def delayed(keypoints: Keypoints2D, camera: int, frames: int) -> Keypoints2D:
    """One camera begins to film `frames` frames later: its frame f shows what its frame f + frames did."""
    xy, confidence = np.full_like(keypoints.xy, np.nan), np.zeros_like(keypoints.confidence)
    xy[:], confidence[:] = keypoints.xy, keypoints.confidence
    xy[:, camera], confidence[:, camera] = np.nan, 0
    xy[:-frames, camera] = keypoints.xy[frames:, camera]
    confidence[:-frames, camera] = keypoints.confidence[frames:, camera]
    return replace(keypoints, xy=xy, confidence=confidence)


@pytest.mark.parametrize("late", [LATE, (0, 20, -15, 1)])
def test_people_tell_the_offsets(late: tuple[float, ...]) -> None:
    rig = ring_rig(4)
    found = offsets_from_people(film_out_of_step(rig, late), rig)
    # What linear interpolation and 1 px of noise leave; 0.01 was seen.
    np.testing.assert_allclose(found.relative_to("cam_1").frames, late, atol=0.05)
    assert np.sort(found.frames)[1] == 0
    assert (found.after_px < 0.5 * found.before_px).all()
    assert (found.after_px < 1).all()  # 1 px of noise in both pictures, about sqrt(2/pi) of it across the line
    assert (found.sigma_frames < 0.05).all()
    assert (found.rival < 0.2).all()


def test_cameras_in_step_are_left_in_step() -> None:
    rig = ring_rig(4)
    found = offsets_from_people(film_out_of_step(rig, 0, noise_px=3), rig)
    assert found.frames.tolist() == [0, 0, 0, 0]
    np.testing.assert_array_equal(found.before_px, found.after_px)


def test_several_people_in_any_order_with_outliers() -> None:
    people = film_people(PeopleSettings(cameras=4, frames=150, seed=2))
    found = offsets_from_people(delayed(delayed(people.keypoints, 1, 3), 3, 7), people.rig)
    # Left-right swaps, hidden joints and false people among them: 0.1 frame, 3 ms.
    np.testing.assert_allclose(found.relative_to("cam_1").frames, (0, 3, 0, 7), atol=0.1)


def test_a_camera_that_sees_nothing_is_not_told() -> None:
    rig = ring_rig(4)
    filmed = film_out_of_step(rig, LATE)
    xy = filmed.xy.copy()
    xy[:, 1] = np.nan
    found = offsets_from_people(replace(filmed, xy=xy), rig)
    assert np.isnan(found.frames).tolist() == [False, True, False, False]
    np.testing.assert_allclose(found.relative_to("cam_1").frames[[2, 3]], LATE[[2, 3]], atol=0.05)
    nothing = offsets_from_people(replace(filmed, xy=np.full_like(filmed.xy, np.nan)), rig)
    assert np.isnan(nothing.frames).all()


def test_too_short_a_film_tells_nothing() -> None:
    rig = ring_rig(4)
    filmed = film_out_of_step(rig, LATE)
    enough = int(1.5 * filmed.fps) + 1
    for count, told in ((enough - 2, False), (enough, True)):
        rows = slice(0, count)
        part = replace(filmed, xy=filmed.xy[rows], confidence=filmed.confidence[rows], frames=filmed.frames[rows])
        assert np.isfinite(offsets_from_people(part, rig).frames).any() == told


def test_what_is_needed_is_said() -> None:
    rig = ring_rig(2)
    filmed = film_out_of_step(rig, 0, 20)
    with pytest.raises(PosekitError, match="names no rate, without which time offsets are not seconds: give --fps"):
        offsets_from_people(replace(filmed, fps=None), rig)
    with pytest.raises(PosekitError, match="has one camera; two or more can be out of step"):
        offsets_from_people(filmed.select_cameras(("cam_1",)), rig)


@pytest.mark.parametrize(
    ("folder", "rig_file", "skeleton"),
    [
        ("pose2sim_balancing/openpose", "pose2sim_balancing/Calib.qca.txt", "BODY_25B"),
        ("caliscope_holistic/recording_1", "caliscope_holistic/recording_1/camera_array.toml", None),
    ],
)
def test_a_real_camera_that_was_shifted_is_found(
    shared_data: Path, folder: str, rig_file: str, skeleton: str | None
) -> None:
    rig = read_rig(shared_data / rig_file)
    source = open_keypoints(shared_data / folder, skeleton, 30, {camera.name: camera.size for camera in rig.cameras})
    keypoints = source.read(0, len(source.frames))
    as_filmed = offsets_from_people(keypoints, rig)
    assert as_filmed.frames.tolist() == [0, 0, 0, 0]  # filmed in step, on rigs that leave 7 to 18 px
    shifted = offsets_from_people(delayed(keypoints, 1, 3), rig)
    # 0.1 was seen on the first; on the second, with its rig, up to a frame.
    np.testing.assert_allclose(shifted.frames, (0, 3, 0, 0), atol=0.3 if skeleton else 1.1)
    assert shifted.after_px[1] < 0.95 * shifted.before_px[1]
