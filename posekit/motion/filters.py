"""Low-pass filters for tracks of points: zero-phase Butterworth, One-Euro, median.

A filter leaves what is missing missing, and changes neither the status of a point nor the views that it came from. What a
filter takes away of the motion itself is in no covariance: a cutoff that is too low for a movement makes its points
wrong and sure.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from scipy.signal import butter, sosfiltfilt

from posekit.errors import PosekitError
from posekit.keypoints import Keypoints3D
from posekit.motion.gaps import frame_step, is_present
from posekit.point_status import PointStatus

#: What lies further off than the impulse response takes to fall to this share counts nothing in a covariance.
_NEGLIGIBLE = 1e-5


@dataclass(frozen=True)
class Butterworth:
    """Zero-phase Butterworth low-pass: forwards and backwards, so nothing is delayed.

    cutoff_hz: where both passes together leave 1/sqrt(2) of an amplitude (-3 dB). order: of both passes together, even; 4, the
    field's "fourth-order zero-lag", is a filter of order 2 run twice. each_pass: take cutoff_hz as the cutoff of each of the
    passes, which leaves half of an amplitude there (-6 dB), as Pose2Sim and many scripts do. Otherwise each pass gets a higher
    one, corrected as in Winter, Biomechanics and Motor Control of Human Movement, 2.2.4.4: in the bilinear
    transform's frequencies, tan(pi f / rate), by 1 / (sqrt(2) - 1)^(1 / (2 n)) for passes of order n.
    """

    cutoff_hz: float = 6.0
    order: int = 4
    each_pass: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.cutoff_hz < math.inf:
            raise PosekitError(f"butterworth: cutoff {self.cutoff_hz:g} Hz is not a positive number")
        if self.order < 2 or self.order % 2:
            raise PosekitError(
                f"butterworth: order {self.order}: an even number was expected, half of it for each of the two passes"
            )
        if self.order > 20:
            raise PosekitError(f"butterworth: order {self.order} rings more than it filters; 20 is the most")

    def sections(self, rate: float) -> NDArray[np.float64]:
        """Return one pass as second-order sections, (n, 6), for samples at `rate` Hz.

        Raises PosekitError where the cutoff is not below half the rate, the Nyquist frequency.
        """
        if self.cutoff_hz >= rate / 2:
            raise PosekitError(
                f"butterworth: a cutoff of {self.cutoff_hz:g} Hz is not below half the frame rate, {rate / 2:g} Hz"
            )
        share = 2 * self.cutoff_hz / rate
        if not self.each_pass:
            correction = (math.sqrt(2) - 1) ** (1 / self.order)
            share = 2 / math.pi * math.atan(math.tan(math.pi / 2 * share) / correction)
        sections: NDArray[np.float64] = butter(self.order // 2, share, output="sos")
        return sections


@dataclass(frozen=True)
class OneEuro:
    """One-Euro filter, which uses no later frame: Casiez, Roussel & Vogel, CHI 2012, algorithm 1.

    A low-pass of first order whose cutoff rises with the speed: min_cutoff_hz + speed_coefficient * speed (m/s), the paper's
    mincutoff and beta. derivative_cutoff_hz smooths the speed. More than one coordinate has one speed, the length of its
    vector, so that the result does not depend on how the axes lie; for one coordinate it is the paper's filter.
    """

    min_cutoff_hz: float = 1.0
    speed_coefficient: float = 5.0
    derivative_cutoff_hz: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.min_cutoff_hz < math.inf and 0 < self.derivative_cutoff_hz < math.inf):
            raise PosekitError(
                f"one-euro: cutoffs of {self.min_cutoff_hz:g} and {self.derivative_cutoff_hz:g} Hz must be positive"
            )
        if not 0 <= self.speed_coefficient < math.inf:
            raise PosekitError(f"one-euro: speed coefficient {self.speed_coefficient:g} is less than 0 or no number")


@dataclass(frozen=True)
class Median:
    """Median of a window of frames, an odd number, coordinate by coordinate.

    A frame before counts only where the frame as long after is there, too: so the ends of a track and of a gap are not pulled
    to one side, and steady motion stays as it is.
    """

    window: int = 5

    def __post_init__(self) -> None:
        if self.window < 3 or self.window % 2 == 0:
            raise PosekitError(f"median: window {self.window}: an odd number of frames, 3 or more, was expected")


Filter = Butterworth | OneEuro | Median


@dataclass(frozen=True, eq=False)
class FilteredTracks:
    """What a filter made of tracks.

    values: (F, ..., D). covariance: (F, ..., K) of the filtered values, where that of the tracks was given. filtered:
    (F, ...), the points that the filter saw; not those of pieces too short for it, which are as they were. short_pieces:
    how many of those there are.
    """

    values: NDArray[np.float64]
    covariance: NDArray[np.floating] | None
    filtered: NDArray[np.bool_]
    short_pieces: int


def filter_tracks(
    values: NDArray[np.floating],
    frames: NDArray[np.int64],
    fps: float,
    settings: Filter,
    covariance: NDArray[np.floating] | None = None,
) -> FilteredTracks:
    """Filter tracks (F, ..., D), NaN where missing; frames (F,) ascend, fps is frame numbers per second.

    covariance: (F, ..., K), any entries of the points' covariances; K = 1 for a variance. What becomes of it assumes that
    the noise of one frame is independent of the next frame's:

    - Butterworth: every filtered value is a sum of w times the values of its piece, and the covariance the sum of w^2 times
      theirs. In the middle of a piece w is the impulse response; at an end, where SciPy continues the track by its
      mirror image, a filtered value is hardly surer than the one it was made of.
    - One-Euro: the same, step by step, with the cutoffs taken as given.
    - Median: stays as it was. How much surer a median is depends on the noise's distribution.

    Butterworth filters every piece between gaps alone, frames that are not there being gaps. A piece needs more frames than
    SciPy pads it with, 3 * (order / 2 + 1). One-Euro runs on over gaps, with their length as its time step.

    Raises PosekitError where the frames do not ascend, or the cutoff is not below half the frame rate.
    """
    shape = values.shape[:-1]
    F, N, D = len(frames), math.prod(values.shape[1:-1]), values.shape[-1]
    tracks: NDArray[np.float64] = np.asarray(values, dtype=np.float64).reshape(F, N, D)
    noise = None if covariance is None else np.asarray(covariance).reshape(F, N, covariance.shape[-1])
    if isinstance(settings, Butterworth):
        result = _butterworth(tracks, noise, frames, fps, settings)
    elif isinstance(settings, OneEuro):
        result = _one_euro(tracks, noise, frames, fps, settings)
    else:
        result = _median(tracks, noise, frames, settings)
    return FilteredTracks(
        result.values.reshape(values.shape),
        None if covariance is None or result.covariance is None else result.covariance.reshape(covariance.shape),
        result.filtered.reshape(shape),
        result.short_pieces,
    )


def _butterworth(
    tracks: NDArray[np.float64],
    noise: NDArray[np.floating] | None,
    frames: NDArray[np.int64],
    fps: float,
    settings: Butterworth,
) -> FilteredTracks:
    step = frame_step(frames)
    sections = settings.sections(fps / step)
    shortest = _padding(sections) + 1
    reach = _reach(sections)
    values = tracks.copy()
    covariance = None if noise is None else noise.copy()
    filtered = np.zeros(tracks.shape[:2], dtype=np.bool_)
    short_pieces = 0
    for n in range(tracks.shape[1]):
        starts, lengths = _pieces(is_present(tracks[:, n]), frames, step)
        short_pieces += int((lengths < shortest).sum())
        # Pieces of one length go together: a track full of holes is filtered in a few calls, not in thousands.
        for length in np.unique(lengths[lengths >= shortest]):
            places = starts[lengths == length, None] + np.arange(length)
            values[places, n] = sosfiltfilt(sections, tracks[places, n], axis=1)
            filtered[places, n] = True
            if covariance is not None and noise is not None:
                covariance[places, n] = _noise_through(sections, reach, noise[places, n].astype(np.float64))
    return FilteredTracks(values, covariance, filtered, short_pieces)


def _pieces(
    present: NDArray[np.bool_], frames: NDArray[np.int64], step: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the pieces without a gap of one track start, and how long they are."""
    goes_on = np.zeros(len(present) + 1, dtype=np.bool_)
    goes_on[1:-1] = present[1:] & present[:-1] & (np.diff(frames) == step)
    starts = np.flatnonzero(present & ~goes_on[:-1])
    ends = np.flatnonzero(present & ~goes_on[1:])
    return starts, ends - starts + 1


def _padding(sections: NDArray[np.float64]) -> int:
    """Frames by which `sosfiltfilt` continues a piece at each end when it is not told; a piece must be longer."""
    taps = 2 * len(sections) + 1
    taps -= min(int((sections[:, 2] == 0).sum()), int((sections[:, 5] == 0).sum()))
    return 3 * taps


def _reach(sections: NDArray[np.float64]) -> int:
    """How many frames to each side have a part in a filtered value that counts."""
    poles = np.concatenate([np.roots(section[3:]) for section in sections])
    slowest = float(np.abs(poles).max())
    return max(1, math.ceil(math.log(_NEGLIGIBLE) / math.log(slowest))) if slowest > 0 else 1


def _noise_through(sections: NDArray[np.float64], reach: int, noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Carry covariances of independent frames, (n, L, K), through both passes."""
    length = noise.shape[1]
    # A long piece is the same everywhere but near its ends, and its two ends mirror each other.
    sample = min(length, max(2 * reach + 1, _padding(sections) + 1))
    weights = sosfiltfilt(sections, np.eye(sample), axis=0) ** 2
    if sample == length:
        return np.einsum("fk,nkc->nfc", weights, noise)
    impulse = np.zeros(4 * reach + 1 + 2 * _padding(sections))
    impulse[len(impulse) // 2] = 1
    response = sosfiltfilt(sections, impulse) ** 2
    middle = len(impulse) // 2
    result: NDArray[np.float64] = convolve1d(noise, response[middle - reach : middle + reach + 1], axis=1)
    edge = min(reach, sample)
    result[:, :edge] = np.einsum("fk,nkc->nfc", weights[:edge], noise[:, :sample])
    result[:, length - edge :] = np.einsum("fk,nkc->nfc", weights[sample - edge :], noise[:, length - sample :])
    return result


def _one_euro(
    tracks: NDArray[np.float64],
    noise: NDArray[np.floating] | None,
    frames: NDArray[np.int64],
    fps: float,
    settings: OneEuro,
) -> FilteredTracks:
    frame_step(frames)  # refuses frames that do not ascend
    present = is_present(tracks)
    values = np.full(tracks.shape, np.nan)
    covariance = None if noise is None else noise.copy()
    N, D = tracks.shape[1:]
    last, speed, last_noise = np.zeros((N, D)), np.zeros((N, D)), np.zeros((N, 0 if noise is None else noise.shape[-1]))
    seen = np.full(N, -1, dtype=np.int64)  # frame number at which each track was last there; -1 before its first
    started = np.zeros(N, dtype=np.bool_)
    # Each frame needs the one before: this loop is the filter. It runs over all tracks at once.
    for f, frame in enumerate(frames):
        here = present[f]
        seconds = np.where(started, frame - seen, 1) / fps
        new = np.where(here[:, None], tracks[f], last)
        velocity = np.where(started[:, None], (new - last) / seconds[:, None], 0)
        smoothing = _smoothing(settings.derivative_cutoff_hz, seconds)[:, None]
        # The first frame says nothing of the speed; the paper starts it at 0.
        new_speed = np.where(started[:, None], smoothing * velocity + (1 - smoothing) * speed, 0)
        cutoff = settings.min_cutoff_hz + settings.speed_coefficient * np.linalg.norm(new_speed, axis=-1)
        weight = np.where(started, _smoothing(cutoff, seconds), 1)[:, None]
        last = np.where(here[:, None], weight * new + (1 - weight) * last, last)
        speed = np.where(here[:, None], new_speed, speed)
        if covariance is not None:
            mixed = weight**2 * covariance[f] + (1 - weight) ** 2 * last_noise
            last_noise = np.where(here[:, None], mixed, last_noise)
            covariance[f, here] = last_noise[here]
        values[f, here] = last[here]
        seen[here] = frame
        started |= here
    return FilteredTracks(values, covariance, present, 0)


def _smoothing(cutoff_hz: float | NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of the new value in a low-pass of first order; the paper's alpha."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * seconds))


def _median(
    tracks: NDArray[np.float64], noise: NDArray[np.floating] | None, frames: NDArray[np.int64], settings: Median
) -> FilteredTracks:
    half = settings.window // 2
    step = frame_step(frames)
    present = is_present(tracks)
    values = np.full(tracks.shape, np.nan)
    # Pairs of frames at equal distances that belong into a frame's window, where no frame is absent in between.
    offsets = np.arange(1, half + 1)
    places = np.arange(len(frames))[:, None]
    before, after = np.maximum(places - offsets, 0), np.minimum(places + offsets, len(frames) - 1)
    even = (frames[:, None] - frames[before] == offsets * step) & (frames[after] - frames[:, None] == offsets * step)
    for n in range(tracks.shape[1]):
        track = tracks[:, n]
        paired = even & present[before, n] & present[after, n]
        window = np.concatenate((track[before], track[after], track[:, None]), axis=1)  # (F, W, D)
        counted = np.concatenate((paired, paired, present[:, n, None]), axis=1)
        window = np.sort(np.where(counted[..., None], window, np.inf), axis=1)
        middle = paired.sum(axis=1)  # of 2 * pairs + 1 values
        values[present[:, n], n] = np.take_along_axis(window, middle[:, None, None], axis=1)[present[:, n], 0]
    covariance = None if noise is None else noise.copy()
    return FilteredTracks(values, covariance, present, 0)


@dataclass(frozen=True, eq=False)
class FilteredPeople:
    """People after a filter. filtered: (F, P, J), the points that it saw. short_pieces: pieces of tracks too short for it."""

    people: Keypoints3D
    filtered: NDArray[np.bool_]
    short_pieces: int


def filter_people(people: Keypoints3D, fps: float, settings: Filter) -> FilteredPeople:
    """Filter every joint of everyone over time.

    Status and inliers stay: they say how a point came to be. The covariance becomes that of the filtered point, as
    `filter_tracks` says; a filled point keeps its own, since its error is not independent of its neighbours'.
    reprojection_px is NaN where a point was filtered, for it is not true of the new place any more.

    Raises PosekitError as `filter_tracks`.
    """
    xyz, covariance = np.empty_like(people.xyz), people.covariance.copy()
    filtered = np.zeros(people.status.shape, dtype=np.bool_)
    short_pieces = 0
    # One-Euro takes as long for one track as for many, and the others go through them one by one anyhow.
    joints = np.arange(people.skeleton.joint_count)
    for block in np.array_split(joints, 1 if isinstance(settings, OneEuro) else len(joints)):
        result = filter_tracks(
            people.xyz[:, :, block], people.frames, fps, settings, covariance=people.covariance[:, :, block]
        )
        xyz[:, :, block], filtered[:, :, block] = result.values, result.filtered
        covariance[:, :, block] = result.covariance
        short_pieces += result.short_pieces
    kept = people.status == PointStatus.FILLED
    covariance[kept] = people.covariance[kept]
    reprojection = np.where(filtered[..., None], np.float32(np.nan), people.reprojection_px)
    for array in (xyz, covariance, reprojection):
        array.flags.writeable = False  # given away: Keypoints3D copies what somebody could still change
    changed = replace(people, xyz=xyz, covariance=covariance, reprojection_px=reprojection)
    return FilteredPeople(changed, filtered, short_pieces)
