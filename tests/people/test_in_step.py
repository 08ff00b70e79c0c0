from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from out_of_step import FPS, film_out_of_step, person_at, rig_out_of_step
from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.io.timestamps import read_timestamps
from posekit.keypoints import Keypoints2D
from posekit.people.in_step import KeypointsInStep, match_people
from posekit.people.reconstruction import reconstruct_people
from posekit.synchrony import synchrony_of
from scenes import observe, ring_rig, shuffle_people, walk

LATE = (0, 2, -3.5, 0.4)


def in_step(keypoints: Keypoints2D, rig: Rig) -> KeypointsInStep:
    synchrony = synchrony_of(rig, keypoints.cameras, keypoints.fps, None)
    assert synchrony is not None
    return KeypointsInStep(keypoints, synchrony)


def errors_mm(keypoints: Keypoints2D | KeypointsInStep, rig: Rig, frame_count: int) -> np.ndarray:
    people = reconstruct_people(keypoints, rig).people
    middle = slice(5, -5)  # at the ends some cameras have not begun, or have ended
    truth = person_at(people.frames, frame_count)
    return 1000 * np.linalg.norm(people.xyz[middle, 0] - truth[middle], axis=-1)


def test_cameras_out_of_step_triangulate_as_well_as_those_in_step() -> None:
    rig = ring_rig(4)
    late_rig = rig_out_of_step(rig, LATE)
    reference = errors_mm(film_out_of_step(rig, 0), rig, 90)
    filmed = film_out_of_step(rig, LATE)
    mended = errors_mm(in_step(filmed, late_rig), rig, 90)
    # Interpolation averages the noise of two frames, and cuts the corners of a movement by a millimetre or two.
    assert np.nanmedian(mended) < 1.1 * np.nanmedian(reference)
    assert np.nanquantile(mended, 0.95) < 1.3 * np.nanquantile(reference, 0.95)
    assert np.isfinite(mended).mean() > 0.99
    ignored = errors_mm(filmed, rig, 90)
    assert np.nanmedian(ignored) > 3 * np.nanmedian(reference)


def test_a_camera_in_step_stays_bit_by_bit_and_whole_frames_are_only_renumbered() -> None:
    rig = rig_out_of_step(ring_rig(4), (0, 2, -1, 0.4))
    filmed = film_out_of_step(rig, 0, 20)
    stepped = in_step(filmed, rig).read(0, 20)
    np.testing.assert_array_equal(stepped.xy[:, 0], filmed.xy[:, 0])
    np.testing.assert_array_equal(stepped.xy[2:, 1], filmed.xy[:-2, 1])
    np.testing.assert_array_equal(stepped.xy[:-1, 2], filmed.xy[1:, 2])
    # Before a camera began, and after it ended, it saw nothing.
    assert np.isnan(stepped.xy[:2, 1]).all()
    assert np.isnan(stepped.xy[-1, 2]).all()
    # At frame 5 camera 4 is between its frames 4 and 5: 4.6.
    np.testing.assert_allclose(stepped.xy[5, 3], 0.4 * filmed.xy[4, 3] + 0.6 * filmed.xy[5, 3], rtol=1e-5)  # float32


def test_pieces_are_the_whole() -> None:
    rig = rig_out_of_step(ring_rig(4), LATE)
    source = in_step(film_out_of_step(rig, LATE, 40), rig)
    whole = source.read(0, 40)
    pieces = [source.read(start, min(start + 7, 40)) for start in range(0, 40, 7)]
    np.testing.assert_array_equal(np.concatenate([piece.xy for piece in pieces]), whole.xy)
    np.testing.assert_array_equal(np.concatenate([piece.confidence for piece in pieces]), whole.confidence)
    assert [piece.frames[0] for piece in pieces] == list(range(0, 40, 7))


def test_unsure_missing_and_jumping_joints_are_not_mixed() -> None:
    rig = rig_out_of_step(ring_rig(2), (0, -0.4))  # frame f lies 0.4 of the way from the camera's frame f to f + 1
    filmed = film_out_of_step(rig, 0, 4, noise_px=0)
    xy, confidence = filmed.xy.copy(), filmed.confidence.copy()
    xy[2, 1, 0, 3] = np.nan
    confidence[2, 1, 0, 4] = 0.1
    confidence[2, 1, 0, 5] = 0.5
    xy[2, 1, 0, 6] += 400
    xy[1, 1, 0, 7] = np.nan
    stepped = in_step(replace(filmed, xy=xy, confidence=confidence), rig).read(0, 4)
    here = filmed.xy[1, 1, 0]
    for joint in (3, 4, 6):
        np.testing.assert_array_equal(stepped.xy[1, 1, 0, joint], here[joint])
        assert stepped.confidence[1, 1, 0, joint] == np.float32(0.9)
    np.testing.assert_allclose(
        stepped.xy[1, 1, 0, 5], 0.6 * here[5] + 0.4 * filmed.xy[2, 1, 0, 5], rtol=1e-5
    )  # float32
    assert stepped.confidence[1, 1, 0, 5] == np.float32(0.5)
    assert np.isnan(stepped.xy[1, 1, 0, 7]).all()  # the nearer frame has none


def test_people_are_followed_from_slot_to_slot() -> None:
    rig = rig_out_of_step(ring_rig(2), (0, -0.5))
    scene = observe(rig, [walk(12, (-1, 0), (0, 0)), walk(12, (1, 0.5), (0.5, -1))])
    mixed, who = shuffle_people(scene.keypoints, seed=3)
    stepped = in_step(mixed, rig).read(0, 12)
    for f in range(11):
        for slot in np.flatnonzero(who[f, 1] >= 0):
            person = who[f, 1, slot]
            expected = (scene.keypoints.xy[f, 1, person] + scene.keypoints.xy[f + 1, 1, person]) / 2
            known = np.isfinite(expected) & np.isfinite(stepped.xy[f, 1, slot])
            assert known.mean() > 0.9
            np.testing.assert_allclose(stepped.xy[f, 1, slot][known], expected[known], rtol=1e-5)  # float32


def test_nobody_is_matched_with_who_is_far_away_or_not_there() -> None:
    joints = np.random.default_rng(0).uniform(0, 100, (1, 1, 10, 2)).astype(np.float32)
    assert match_people(joints, joints + 30)[0].tolist() == [[0]]
    assert match_people(joints, joints + 300)[0].tolist() == [[-1]]
    assert match_people(joints, np.full_like(joints, np.nan))[0].tolist() == [[-1]]
    assert match_people(np.full_like(joints, np.nan), joints)[0].tolist() == [[-1]]
    both = np.concatenate((joints + 200, joints + 2), axis=1)
    assert match_people(joints, both)[0].tolist() == [[1]]


def timestamps(taken: np.ndarray, folder: Path) -> Path:
    """Write the times (F, C) in frames; NaN is a dropped picture."""
    rows = [
        f"{100 + f},{c + 1},{time / FPS:.9f}"
        for f, row in enumerate(taken)
        for c, time in enumerate(row)
        if np.isfinite(time)
    ]
    path = folder / "timestamps.csv"
    path.write_text("sync_index,cam_id,frame_time\n" + "\n".join(rows) + "\n")
    return path


def test_times_bring_jitter_and_dropped_pictures_into_step(tmp_path: Path) -> None:
    rig = ring_rig(4)
    rng = np.random.default_rng(4)
    late = rng.uniform(-0.45, 0.45, (60, 4))
    dropped = np.zeros((60, 4), dtype=bool)
    dropped[20:23, 1] = dropped[31, 2] = True
    taken = np.where(dropped, np.nan, np.arange(60)[:, None] + late)
    moment = np.nanmean(taken, axis=1)
    filmed = film_out_of_step(rig, late, 60)
    # As a detector on each video has it: frame k is the camera's k-th picture, whatever the moment.
    xy, confidence = np.full_like(filmed.xy, np.nan), np.zeros_like(filmed.confidence)
    for c in range(4):
        kept = np.flatnonzero(~dropped[:, c])
        xy[: len(kept), c], confidence[: len(kept), c] = filmed.xy[kept, c], filmed.confidence[kept, c]
    synchrony = synchrony_of(rig, rig.names, FPS, read_timestamps(timestamps(taken, tmp_path)))
    assert synchrony is not None
    videos = KeypointsInStep(replace(filmed, xy=xy, confidence=confidence), synchrony)
    assert videos.frames.tolist() == list(range(60))
    people = reconstruct_people(videos, rig).people
    error = 1000 * np.linalg.norm(people.xyz[:, 0] - person_at(moment, 60), axis=-1)[2:-2]
    reference = errors_mm(film_out_of_step(rig, 0, 60), rig, 60)
    assert np.nanmedian(error) < 1.15 * np.nanmedian(reference)  # three views instead of four here and there
    assert np.isnan(videos.read(20, 23).xy[:, 1]).all()
    # Caliscope's own tables count the moments instead, by sync_index.
    table = replace(filmed, xy=np.where(dropped[..., None, None, None], np.nan, filmed.xy), frames=np.arange(100, 160))
    by_moment = KeypointsInStep(table, synchrony, by_moment=True)
    assert by_moment.frames.tolist() == list(range(100, 160))
    np.testing.assert_allclose(by_moment.read(0, 60).xy, videos.read(0, 60).xy, rtol=1e-5)  # float32


def test_keypoints_of_another_recording_are_refused(tmp_path: Path) -> None:
    rig = ring_rig(2)
    synchrony = synchrony_of(
        rig, rig.names, FPS, read_timestamps(timestamps(np.arange(20)[:, None] + np.zeros(2), tmp_path))
    )
    assert synchrony is not None
    with pytest.raises(
        PosekitError, match=r"has frame 29 where .*timestamps.csv has 20 rows of a camera: is it of another"
    ):
        KeypointsInStep(film_out_of_step(rig, 0, 30), synchrony)
    backwards = replace(film_out_of_step(rig, 0, 3), frames=np.array([2, 1, 0]))
    with pytest.raises(PosekitError, match="its frames do not ascend"):
        KeypointsInStep(backwards, synchrony)
    assert KeypointsInStep(film_out_of_step(rig, 0, 10), synchrony).frames.tolist() == list(range(10))
