import numpy as np
import pytest
from scipy.signal import butter, filtfilt, sosfiltfilt, sosfreqz

from posekit.errors import PosekitError
from posekit.io.trc import read_trc
from posekit.keypoints import Keypoints3D
from posekit.motion.filters import Butterworth, Median, OneEuro, filter_people, filter_tracks
from posekit.point_status import PointStatus
from posekit.skeleton import Skeleton

FPS = 60.0
#: The same operations in float64, in another order.
EXACT = 1e-12


def noisy_track(frame_count: int = 200, seed: int = 0) -> np.ndarray:
    """Return one track, (F, 3), that wanders."""
    return np.cumsum(np.random.default_rng(seed).normal(0, 0.01, (frame_count, 3)), axis=0)


@pytest.mark.parametrize("order", [2, 4, 8])
@pytest.mark.parametrize(("cutoff", "rate"), [(6, 60), (1, 240), (25, 60), (29.9, 60)])
def test_both_passes_leave_half_of_the_power_at_the_cutoff(order, cutoff, rate):
    _, once = sosfreqz(Butterworth(cutoff, order).sections(rate), worN=[cutoff], fs=rate)
    assert abs(once[0]) ** 2 == pytest.approx(1 / np.sqrt(2), rel=1e-9)
    _, once = sosfreqz(Butterworth(cutoff, order, each_pass=True).sections(rate), worN=[cutoff], fs=rate)
    assert abs(once[0]) ** 2 == pytest.approx(1 / 2, rel=1e-9)


def test_the_correction_is_winters():
    # His table: 0.802 for two passes of second order, in tan(pi f / rate).
    own = Butterworth(6, 4).sections(FPS)
    corrected = np.arctan(np.tan(np.pi * 6 / FPS) / 0.802) * FPS / np.pi
    np.testing.assert_allclose(own, butter(2, corrected, fs=FPS, output="sos"), rtol=1e-3)  # 0.802 has three digits


def test_butterworth_is_scipys_on_a_piece_without_gaps():
    track = noisy_track()
    found = filter_tracks(track, np.arange(200), FPS, Butterworth(6, 4, each_pass=True))
    b, a = butter(2, 6 / (FPS / 2))
    np.testing.assert_allclose(found.values, filtfilt(b, a, track, axis=0), atol=EXACT)
    assert found.filtered.all()
    assert found.short_pieces == 0


def test_butterworth_with_each_pass_cutoffs_is_pose2sims(shared_data):
    folder = shared_data / "pose2sim_balancing" / "peer_3d"
    raw, filtered = read_trc(folder / "balancing_raw_0-100.trc"), read_trc(folder / "balancing_butter.trc")
    found = filter_tracks(raw.xyz, raw.numbers, raw.rate, Butterworth(6, 4, each_pass=True))
    np.testing.assert_allclose(found.values, filtered.xyz, atol=1e-12)  # the files write all digits of metres
    assert np.abs(raw.xyz - filtered.xyz).max() > 0.01


def test_a_sinus_keeps_its_phase_and_loses_what_the_formula_says():
    time = np.arange(600) / FPS
    track = np.sin(2 * np.pi * 3 * time)[:, None]
    found = filter_tracks(track, np.arange(600), FPS, Butterworth(6, 4)).values[100:-100]
    # |H|^2 of a second-order pass is 1 / (1 + (f / fc)^4) in tan(pi f / rate), here with 0.802 fc for fc.
    ratio = np.tan(np.pi * 3 / FPS) / (np.tan(np.pi * 6 / FPS) / (np.sqrt(2) - 1) ** 0.25)
    # Away from the ends by 100 frames, where what the ends do has died away.
    np.testing.assert_allclose(found, track[100:-100] / (1 + ratio**4), atol=1e-9)


def test_pieces_between_gaps_are_filtered_alone_and_short_ones_are_kept_and_counted():
    track = noisy_track()
    track[60:63] = np.nan
    track[70] = np.nan  # leaves 7 frames, which is too short
    track[150] = np.nan  # and the last 49 are filtered with the 79 before, but alone
    found = filter_tracks(track, np.arange(200), FPS, Butterworth())
    sections = Butterworth().sections(FPS)
    for start, stop in ((0, 60), (71, 150), (151, 200)):
        np.testing.assert_allclose(
            found.values[start:stop], sosfiltfilt(sections, track[start:stop], axis=0), atol=EXACT
        )
    np.testing.assert_array_equal(found.values[60:71], track[60:71])
    assert found.short_pieces == 1
    assert np.flatnonzero(~found.filtered).tolist() == [*range(60, 71), 150]


def test_the_shortest_piece_that_is_filtered_is_scipys():
    # For second order SciPy pads with 9 frames, and refuses 9.
    for length, filtered in ((9, False), (10, True)):
        found = filter_tracks(noisy_track(length), np.arange(length), FPS, Butterworth())
        assert found.filtered.all() == found.filtered.any() == filtered
        assert found.short_pieces == (not filtered)


def test_frames_that_are_not_there_are_a_gap_and_a_step_is_a_rate():
    track = noisy_track(100)
    frames = np.arange(100) + 5 * (np.arange(100) >= 40)
    found = filter_tracks(track, frames, FPS, Butterworth())
    sections = Butterworth().sections(FPS)
    np.testing.assert_allclose(found.values[:40], sosfiltfilt(sections, track[:40], axis=0), atol=EXACT)
    np.testing.assert_allclose(found.values[40:], sosfiltfilt(sections, track[40:], axis=0), atol=EXACT)
    every_third = filter_tracks(track, 7 + 3 * np.arange(100), FPS, Butterworth())
    expected = sosfiltfilt(Butterworth().sections(FPS / 3), track, axis=0)
    np.testing.assert_allclose(every_third.values, expected, atol=EXACT)


@pytest.mark.parametrize("length", [16, 25, 60, 300])  # 16 is the least that order 8 takes
@pytest.mark.parametrize("settings", [Butterworth(), Butterworth(3, 8), Butterworth(20, 2)])
def test_a_covariance_is_that_of_the_weighted_sum(length, settings):
    noise = np.random.default_rng(1).uniform(0.5, 2, (length, 1, 2))
    found = filter_tracks(np.zeros((length, 1, 3)), np.arange(length), FPS, settings, noise).covariance
    # Filtering a unit impulse at each frame writes the weights out, for any length.
    weights = sosfiltfilt(settings.sections(FPS), np.eye(length), axis=0)
    np.testing.assert_allclose(
        found[:, 0], weights**2 @ noise[:, 0], rtol=1e-6
    )  # 1e-5 of the response is cut off, squared


def test_a_covariance_is_the_spread_of_filtered_noise():
    noise = np.random.default_rng(2).normal(0, 0.01, (40, 5, 1000))
    found = filter_tracks(noise, np.arange(40), FPS, Butterworth(), np.full((40, 5, 1), 1e-4))
    # A variance of 5,000 values is known within 2 %; the largest of 40 lies within 4 of those.
    np.testing.assert_allclose(found.values.var(axis=(1, 2)), found.covariance[:, 0, 0], rtol=0.08)
    assert found.covariance[20, 0, 0] < 0.25e-4 < 0.9e-4 < found.covariance[0, 0, 0]


def test_one_euro_by_hand():
    # 10 Hz: alpha of 1 Hz is 1 / (1 + 10 / (2 pi)) = 0.385870.
    # Frame 1: speed 0.385870 * 10 = 3.858696, cutoff 1 + 0.5 * 3.858696 = 2.929348, alpha 0.647958.
    # Frame 2: from 0.647958 to 1, speed 0.385870 * 3.520423 + 0.614130 * 3.858696 = 3.728165, cutoff 2.864083, alpha 0.642801.
    track = np.array([0.0, 1.0, 1.0])[:, None]
    found = filter_tracks(track, np.arange(3), 10, OneEuro(1.0, 0.5, 1.0)).values
    np.testing.assert_allclose(found[:, 0], [0, 0.647958, 0.874252], atol=2e-6)  # six digits by hand


def one_euro_of_one_coordinate(values: np.ndarray, times: np.ndarray, settings: OneEuro) -> list[float]:
    """Algorithm 1 of the paper, one number after the other."""
    found: list[float] = []
    speed = 0.0
    for n, value in enumerate(values):
        if n == 0:
            found.append(value)
            continue
        period = times[n] - times[n - 1]
        alpha = 1 / (1 + 1 / (2 * np.pi * settings.derivative_cutoff_hz) / period)
        speed = alpha * (value - found[-1]) / period + (1 - alpha) * speed
        cutoff = settings.min_cutoff_hz + settings.speed_coefficient * abs(speed)
        alpha = 1 / (1 + 1 / (2 * np.pi * cutoff) / period)
        found.append(alpha * value + (1 - alpha) * found[-1])
    return found


def test_one_euro_of_one_coordinate_is_the_papers_over_gaps_and_uneven_frames():
    values = noisy_track(80)[:, 0]
    frames = np.cumsum(np.random.default_rng(3).integers(1, 4, 80))
    missing = np.array([0, 1, 20, 21, 22, 50])
    values[missing] = np.nan
    seen = np.isfinite(values)
    settings = OneEuro(1.3, 4.0, 0.8)
    found = filter_tracks(values[:, None], frames, FPS, settings)
    expected = one_euro_of_one_coordinate(values[seen], frames[seen] / FPS, settings)
    np.testing.assert_allclose(found.values[seen, 0], expected, atol=EXACT)
    assert np.isnan(found.values[~seen]).all()
    assert (found.filtered == seen).all()


def test_one_euro_does_not_depend_on_the_axes_nor_on_what_comes_later():
    track = noisy_track(60)
    turned = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    straight = filter_tracks(track, np.arange(60), FPS, OneEuro()).values
    np.testing.assert_allclose(
        filter_tracks(track @ turned, np.arange(60), FPS, OneEuro()).values, straight @ turned, atol=EXACT
    )
    np.testing.assert_array_equal(filter_tracks(track[:30], np.arange(30), FPS, OneEuro()).values, straight[:30])


def test_one_euro_is_surer_from_step_to_step():
    # At rest the cutoff is constant: y = a x + (1 - a) y, whose variance tends to a / (2 - a).
    found = filter_tracks(np.zeros((400, 1, 3)), np.arange(400), FPS, OneEuro(1.0), np.ones((400, 1, 6)))
    alpha = 1 / (1 + FPS / (2 * np.pi))
    assert found.covariance[0] == pytest.approx(1)
    assert found.covariance[1] == pytest.approx(alpha**2 + (1 - alpha) ** 2)
    assert found.covariance[-1] == pytest.approx(alpha / (2 - alpha))


def test_median_takes_a_spike_out_and_leaves_steady_motion_alone_up_to_its_ends():
    ramp = np.arange(20.0)[:, None] * (1, -2, 0.5)
    np.testing.assert_array_equal(filter_tracks(ramp, np.arange(20), FPS, Median(5)).values, ramp)
    spiked = ramp.copy()
    spiked[8] = 100
    np.testing.assert_array_equal(filter_tracks(spiked, np.arange(20), FPS, Median(5)).values[8, 1], ramp[7, 1])


def test_median_by_hand_with_a_missing_point_and_missing_frames():
    track = np.array([5, 1, 4, np.nan, 3, 9, 2, 8, 7.0])[:, None]
    found = filter_tracks(track, np.arange(9), FPS, Median(5)).values[:, 0]
    # Frame 1: (5, 1, 4). 2: its neighbour at 3 is missing, so 1 and 3 do not count, but 0 and 4: (5, 4, 3). 4: (4, 3, 2).
    # 5: (3, 9, 2), for 3 is missing and takes 7 with it. 6: all five. 7: (2, 8, 7).
    np.testing.assert_array_equal(found, [5, 4, 4, np.nan, 3, 3, 7, 7, 7])
    apart = filter_tracks(track[4:], np.array([4, 5, 6, 17, 18]), FPS, Median(3)).values[:, 0]
    np.testing.assert_array_equal(apart, [3, 3, 2, 8, 7])


def test_many_tracks_are_each_filtered_as_if_alone():
    tracks = np.stack([noisy_track(80, seed) for seed in range(6)], axis=1).reshape(80, 2, 3, 3)
    tracks[30:33, 0, 1] = np.nan
    for settings in (Butterworth(), OneEuro(), Median()):
        together = filter_tracks(tracks, np.arange(80), FPS, settings).values
        assert together.shape == tracks.shape
        for p in range(2):
            for j in range(3):
                alone = filter_tracks(tracks[:, p, j], np.arange(80), FPS, settings).values
                np.testing.assert_allclose(together[:, p, j], alone, atol=EXACT)


PAIR = Skeleton("PAIR", ("left_knee", "right_knee"), ((0, 1),), ((0, 1),), {"body": (0, 1)})


def pair_of_tracks() -> Keypoints3D:
    """Return one person of two joints; of the second, frames 20 to 22 were filled and 50 is missing."""
    xyz = np.stack((noisy_track(80), noisy_track(80, 1)), axis=1)[:, None]
    status = np.zeros((80, 1, 2), dtype=np.uint8)
    status[20:23, 0, 1] = PointStatus.FILLED
    status[50, 0, 1] = PointStatus.NO_AGREEMENT
    xyz[50, 0, 1] = np.nan
    return Keypoints3D(
        xyz=xyz,
        covariance=np.where((status == PointStatus.FILLED)[..., None], 4e-4, 1e-4) * (1, 0, 0, 1, 0, 1),
        inliers=np.ones((80, 1, 2, 3), dtype=bool),
        reprojection_px=np.full((80, 1, 2, 3), 2.0),
        status=status,
        cameras=("a", "b", "c"),
        frames=np.arange(80),
        skeleton=PAIR,
        fps=FPS,
    )


@pytest.mark.parametrize("settings", [Butterworth(), OneEuro(), Median()])
def test_people_keep_their_status_and_a_filled_point_its_covariance(settings):
    people = pair_of_tracks()
    result = filter_people(people, FPS, settings)
    filtered = result.people
    np.testing.assert_array_equal(filtered.status, people.status)
    np.testing.assert_array_equal(filtered.inliers, people.inliers)
    for joint in range(2):
        expected = filter_tracks(people.xyz[:, :, joint], people.frames, FPS, settings).values
        np.testing.assert_allclose(filtered.xyz[:, :, joint], expected, atol=EXACT)
    np.testing.assert_array_equal(filtered.covariance[20:23, 0, 1], people.covariance[20:23, 0, 1])
    present = np.isfinite(people.xyz[..., 0])
    assert (result.filtered == present).all()
    assert np.isnan(filtered.reprojection_px[present]).all()
    measured = filtered.covariance[10:70, 0, 0, 0]
    if isinstance(settings, Median):
        assert (measured == people.covariance[10:70, 0, 0, 0]).all()
    else:
        assert (measured < 0.6 * people.covariance[10:70, 0, 0, 0]).all()


def test_a_point_that_no_filter_saw_keeps_its_reprojection_error():
    people = pair_of_tracks()
    frames = np.where(np.arange(80) < 75, np.arange(80), np.arange(80) + 100)
    apart = Keypoints3D(**{**people.__dict__, "frames": frames})
    result = filter_people(apart, FPS, Butterworth())
    assert result.short_pieces == 2
    np.testing.assert_array_equal(result.people.reprojection_px[75:], people.reprojection_px[75:])
    np.testing.assert_array_equal(result.people.covariance[75:], people.covariance[75:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Butterworth(0), "cutoff 0 Hz is not a positive number"),
        (lambda: Butterworth(6, 3), "order 3: an even number"),
        (lambda: Butterworth(6, 40), "order 40 rings"),
        (lambda: Butterworth(30).sections(60), "30 Hz is not below half the frame rate, 30 Hz"),
        (lambda: OneEuro(0), "cutoffs of 0 and 1 Hz must be positive"),
        (lambda: OneEuro(speed_coefficient=-1), "speed coefficient -1"),
        (lambda: Median(4), "window 4: an odd number"),
        (lambda: filter_tracks(np.zeros((3, 3)), np.array([0, 2, 1]), 60, OneEuro()), "2 is followed by 1"),
    ],
)
def test_mistakes_are_said(make, message):
    with pytest.raises(PosekitError, match=message):
        make()
