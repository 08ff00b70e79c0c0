import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.io.trc import read_trc
from posekit.keypoints import Keypoints3D
from posekit.motion.gaps import GapSettings, fill_gaps, fill_people, frame_step, gap_lengths
from posekit.point_status import PointStatus
from posekit.skeleton import Skeleton

FPS = 60.0
#: Interpolation in float64.
EXACT = 1e-9


def line(frames: np.ndarray) -> np.ndarray:
    return frames[:, None] * np.array([0.02, -0.01, 0.005]) + 1


@pytest.mark.parametrize("interpolation", ["linear", "pchip", "cubic"])
def test_steady_motion_is_found_again_and_marked(interpolation):
    frames = np.arange(40)
    track = line(frames)
    track[10:15] = np.nan
    found = fill_gaps(track, frames, FPS, GapSettings(0.1, interpolation))
    np.testing.assert_allclose(found.values, line(frames), atol=EXACT)
    assert np.flatnonzero(found.filled).tolist() == [*range(10, 15)]
    np.testing.assert_allclose(found.share[10:15], np.arange(1, 6) / 6)
    assert (found.ends[10:15] == (9, 15)).all()


def test_a_cubic_follows_a_parabola_and_pchip_does_not_overshoot_a_step():
    frames = np.arange(30)
    parabola = (frames[:, None] - 12.0) ** 2
    track = parabola.copy()
    track[9:14] = np.nan
    np.testing.assert_allclose(fill_gaps(track, frames, FPS, GapSettings(1, "cubic")).values, parabola, atol=EXACT)
    step = np.where(frames < 12, 0.0, 1.0)[:, None]
    step[9:14] = np.nan
    filled = fill_gaps(step, frames, FPS, GapSettings(1, "pchip")).values[8:15, 0]
    assert filled.min() >= 0
    assert filled.max() <= 1
    assert (np.diff(filled) > 0).all()


def test_the_limit_counts_missing_frames():
    frames = np.arange(60)
    track = line(frames)
    track[5:17] = np.nan  # 12 frames are 0.2 s
    track[30:43] = np.nan  # 13 are more
    found = fill_gaps(track, frames, FPS, GapSettings(0.2))
    assert np.flatnonzero(found.filled).tolist() == [*range(5, 17)]
    assert np.isnan(found.values[30:43]).all()
    assert gap_lengths(np.isfinite(track[:, 0]), frames).tolist() == [12, 13]
    assert gap_lengths(np.isfinite(found.values[:, 0]), frames).tolist() == [13]


def test_frames_that_are_not_there_count_as_well():
    frames = np.array([0, 1, 2, 3, 10, 11, 12, 13])
    track = line(frames)
    track[4] = np.nan  # from 3 to 11: seven frames
    assert fill_gaps(track, frames, 60, GapSettings(7 / 60)).filled[4]
    assert not fill_gaps(track, frames, 60, GapSettings(6 / 60)).filled[4]
    np.testing.assert_allclose(fill_gaps(track, frames, 60, GapSettings(1)).values, line(frames), atol=EXACT)


def test_every_other_frame_is_half_the_rate():
    frames = 2 * np.arange(20)
    track = line(frames)
    track[8:11] = np.nan  # 3 steps of 1/30 s
    assert fill_gaps(track, frames, FPS, GapSettings(0.1)).filled.sum() == 3
    assert fill_gaps(track, frames, FPS, GapSettings(0.09)).filled.sum() == 0
    assert gap_lengths(np.isfinite(track[:, 0]), frames).tolist() == [6]


def test_the_ends_are_never_made_up():
    frames = np.arange(20)
    track = line(frames)
    track[:3] = track[17:] = np.nan
    found = fill_gaps(track, frames, FPS, GapSettings(10))
    assert not found.filled.any()
    np.testing.assert_array_equal(found.values, track)
    track[4:] = np.nan  # one point alone, and none at all
    assert not fill_gaps(track, frames, FPS).filled.any()
    assert not fill_gaps(np.full((20, 3), np.nan), frames, FPS).filled.any()


def test_what_a_line_misses_of_a_steady_acceleration_is_expected_exactly():
    frames = np.arange(60)
    truth = 0.5 * 0.002 * frames[:, None] ** 2 * np.ones(3)
    track = truth.copy()
    track[20:27] = np.nan
    found = fill_gaps(track, frames, FPS, GapSettings(1.0, "linear"))
    missed = ((found.values - truth)[20:27] ** 2).mean(axis=-1)
    np.testing.assert_allclose(found.interpolation_variance[20:27], missed, rtol=1e-9)
    assert (np.delete(found.interpolation_variance, np.arange(20, 27)) == 0).all()


def test_what_is_missed_covers_real_gaps(shared_data):
    markers = read_trc(shared_data / "pose2sim_balancing" / "peer_3d" / "balancing_butter.trc")
    missed, expected = [], []
    for start in range(5, 85, 8):
        track = markers.xyz.copy()
        track[start : start + 8] = np.nan
        found = fill_gaps(track, markers.numbers, markers.rate, GapSettings(1.0))
        missed.append(((found.values - markers.xyz)[found.filled] ** 2).mean(axis=-1))
        expected.append(found.interpolation_variance[found.filled])
    # About 10 mm each; what is expected is the mean over whole tracks, what is missed that of ten places in them.
    assert np.sqrt(np.mean(missed)) == pytest.approx(np.sqrt(np.mean(expected)), rel=0.25)


def test_too_short_a_track_expects_half_the_way():
    track = np.array([[0.0, 0, 0], [np.nan] * 3, [np.nan] * 3, [0.3, 0, 0]])
    found = fill_gaps(track, np.arange(4), FPS)
    np.testing.assert_allclose(found.interpolation_variance[1], (0.15**2 / 3) * (4 * 2 / 9) ** 2)


PAIR = Skeleton("PAIR", ("left_knee", "right_knee"), ((0, 1),), ((0, 1),), {"body": (0, 1)})


def person_with_gaps() -> Keypoints3D:
    frames = np.arange(60)
    xyz = np.stack((line(frames), 0.5 * 0.002 * frames[:, None] ** 2 * np.ones(3)), axis=1)[:, None]
    xyz[10:13, 0, 0] = np.nan
    xyz[20:27, 0, 1] = np.nan
    xyz[40:58, 0, 1] = np.nan
    present = np.isfinite(xyz[..., 0])
    covariance = np.where(present[..., None], 1e-4, np.nan) * np.array([1, 0.1, 0.2, 2, 0.3, 3])
    covariance[27, 0, 1] *= 4
    return Keypoints3D(
        xyz=xyz,
        covariance=covariance,
        inliers=np.ones((60, 1, 2, 3), dtype=bool),
        reprojection_px=np.full((60, 1, 2, 3), 2.0),
        status=np.where(present, PointStatus.OK, PointStatus.NO_AGREEMENT),
        cameras=("a", "b", "c"),
        frames=frames,
        skeleton=PAIR,
        fps=FPS,
    )


def test_people_get_points_marked_as_filled_with_a_grown_covariance():
    people = person_with_gaps()
    filled = fill_people(people, FPS, GapSettings(0.2))
    expected = people.status.copy()
    expected[10:13, 0, 0] = expected[20:27, 0, 1] = PointStatus.FILLED
    np.testing.assert_array_equal(filled.status, expected)
    np.testing.assert_allclose(filled.xyz[10:13, 0, 0], line(np.arange(10, 13)), atol=EXACT)
    assert np.isnan(filled.xyz[40:58, 0, 1]).all()
    made = filled.status == PointStatus.FILLED
    assert not filled.inliers[made].any()
    assert np.isnan(filled.reprojection_px[made]).all()
    untouched = ~made
    for name in ("xyz", "covariance", "inliers", "reprojection_px"):
        np.testing.assert_array_equal(getattr(filled, name)[untouched], getattr(people, name)[untouched])
    # The middle of the gap of 7: half of each end's deviation, squared, and what a line misses of it: 0.002 * 4^2 / 2.
    ends = people.covariance[19, 0, 1] / 4 + people.covariance[27, 0, 1] / 4
    # Covariances are float32: seven digits.
    np.testing.assert_allclose(filled.covariance[23, 0, 1], ends + 0.016**2 * np.array([1, 0, 0, 1, 0, 1]), rtol=1e-6)


def test_no_limit_no_filling():
    people = person_with_gaps()
    np.testing.assert_array_equal(fill_people(people, FPS, GapSettings(0)).status, people.status)


def test_mistakes_are_said():
    assert frame_step(np.array([3])) == 1
    with pytest.raises(PosekitError, match="5 is followed by 4"):
        frame_step(np.array([3, 5, 4]))
    with pytest.raises(PosekitError, match="max_gap_s -1 is no length of time"):
        GapSettings(-1)
