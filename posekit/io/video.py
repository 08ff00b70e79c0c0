"""Video files, by PyAV: decoded RGB frames with numbers that can be trusted, and H.264 files written whole.

Frame numbers count decoded frames from 0. What a container says of itself (its number of frames, its times) is only
used to notice that something is missing: a trimmed MP4 still counts the frames that were cut away.
"""

import contextlib
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

from posekit.errors import PosekitError, PosekitWarning
from posekit.io.files import require_file, write_whole

#: What libav may open: it would also take text, pictures, and playlists of other files (an HLS list of files that are
#: not there keeps it busy for minutes) for a video.
_VIDEO_FORMATS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,flv,asf,ogg,mxf,dv,gif,nut"
_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
#: Names of videos that can be written.
WRITTEN_VIDEO_SUFFIXES = tuple(_CONTAINERS)
#: Frames per second beyond which a file's times are not believed without a word: faster cameras write slower films.
_FASTEST = 1000
#: ITU-R BT.709, the number libav and the H.264 standard give it.
_BT709 = 1


@dataclass(frozen=True)
class _Promise:
    """What the container says it holds; 0 where it says nothing."""

    frame_count: int
    seconds: float


@dataclass(frozen=True)
class KeyFrame:
    """A frame at which decoding can begin. number: counted as `VideoReader` counts. time: in the stream's own unit."""

    number: int
    time: int


class VideoReader:
    """The first video stream of a file.

    Frames come upright: the rotation that telephones write into the container is carried out, as players and OpenCV do,
    and `size` is the size after it.

    A rate beyond 1,000 frames a second, which is what frames without times come to, is told in a PosekitWarning.

    threads: that decode; None for as many as the decoder finds best for the whole machine. The pictures are the same.

    Raises PosekitError where the file is missing, empty, not a video, or without a single frame that can be decoded.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.path = require_file(path, "a video")
        self._threads = threads
        if self.path.stat().st_size == 0:
            raise PosekitError(f"{self.path}: is empty (0 bytes), a video was expected")
        self._frame_count: int | None = None
        with _opened(self.path, threads) as (container, stream):
            rate = stream.average_rate or stream.guessed_rate
            if not rate:
                raise PosekitError(f"{self.path}: names no frame rate")
            self._rate = Fraction(rate)
            if self._rate > _FASTEST:
                warnings.warn(
                    PosekitWarning(
                        f"{self.path}: says that it has {self.fps:g} frames a second: its frames' times are missing or wrong"
                    ),
                    stacklevel=2,
                )
            self._promise = _read_promise(container, stream)
            try:
                first = next(container.decode(stream), None)
            except av.FFmpegError as error:
                raise PosekitError(f"{self.path}: damaged: not one frame can be decoded ({error.strerror})") from error
            if first is None:
                raise PosekitError(f"{self.path}: cut short or damaged: holds no frame that can be decoded")
            self._quarter_turns = self._read_rotation(first)
            width, height = first.width, first.height
        self._decoded_size = (width, height)
        self.size: tuple[int, int] = (height, width) if self._quarter_turns % 2 else (width, height)

    @property
    def fps(self) -> float:
        """Frames per second, on average."""
        return float(self._rate)

    @property
    def frame_count(self) -> int:
        """The number of frames that can be decoded.

        The container's own number is taken where all its packets are really there; otherwise all frames are decoded.
        """
        if self._frame_count is None:
            promised = self._promise.frame_count
            if promised and self._count_whole_packets() == promised:
                self._frame_count = promised
            else:
                count = 0
                with contextlib.suppress(av.FFmpegError), _opened(self.path) as (container, stream):
                    for _ in container.decode(stream):
                        count += 1
                self._frame_count = count
        return self._frame_count

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Yield the RGB frames start, start + 1, ... stop - 1 (or to the end).

        Raises PosekitError, after the last frame that can be had, where the file is cut short or damaged before `stop`;
        ``frames(stop=reader.frame_count)`` reads what there is of such a file. A frame that the decoder
        patched up is yielded with a PosekitWarning.
        """
        for _, frame in self._decode(start, stop):
            yield self._to_rgb(frame)

    def key_frames(self) -> tuple[KeyFrame, ...]:
        """Frames at which decoding can begin, ascending, found without decoding.

        None at all where the file's own marks cannot be relied on: times that are missing or used twice, packets that are
        broken or make no frame.
        """
        marks: list[tuple[int | None, bool]] = []
        with _opened(self.path) as (container, stream), contextlib.suppress(av.FFmpegError):
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    marks.append((packet.pts, packet.is_keyframe and not packet.is_corrupt))
        times = {time for time, _ in marks if time is not None}
        if not len(times) == len(marks) == self.frame_count:
            return ()
        number = {time: place for place, time in enumerate(sorted(times))}
        return tuple(
            sorted((KeyFrame(number[t], t) for t, key in marks if key and t is not None), key=lambda k: k.number)
        )

    def select(
        self, indices: Iterable[int], start: KeyFrame | None = None
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"]]]:
        """Yield (number, RGB frame) of the named frames, ascending, in one pass that ends with the last of them.

        start: one of `key_frames`, at or before the first of them, where decoding begins; the file's beginning if not given.
        The frames between are decoded (that is how video works) but not converted. Raises PosekitError where a frame is
        not in the file.
        """
        wanted = sorted(set(indices))
        if not wanted:
            return
        if wanted[0] < 0:
            raise PosekitError(f"{self.path}: frame {wanted[0]} was asked for; the first is 0")
        found = 0
        for number, frame in self._decode(stop=wanted[-1] + 1, key_frame=start):
            if number == wanted[found]:
                found += 1
                yield number, self._to_rgb(frame)
        if found < len(wanted):
            raise PosekitError(
                f"{self.path}: frame {wanted[found]} was asked for, the video has {self.frame_count} frames"
            )

    def _decode(
        self, start: int = 0, stop: int | None = None, key_frame: KeyFrame | None = None
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        if start < 0:
            raise PosekitError(f"{self.path}: frame {start} was asked for; the first is 0")
        number, end = -1, 0.0
        first = key_frame.number if key_frame else 0
        with _opened(self.path, self._threads) as (container, stream):
            try:
                frames = (
                    container.decode(stream)
                    if key_frame is None
                    else _decode_from(self.path, container, stream, key_frame)
                )
                for number, frame in enumerate(islice(frames, None if stop is None else stop - first), first):
                    end = self._check_frame(frame, number)
                    if number >= start:
                        yield number, frame
            except av.FFmpegError as error:
                raise PosekitError(
                    f"{self.path}: damaged: frame {number + 1} cannot be decoded ({error.strerror}); "
                    f"the frames before it can be read"
                ) from error
        self._check_end(number + 1, end, stop)

    def _check_frame(self, frame: av.VideoFrame, number: int) -> float:
        """Return the second at which the frame ends."""
        if (frame.width, frame.height) != self._decoded_size:
            raise PosekitError(
                f"{self.path}: frame {number} is {frame.width} x {frame.height} pixels, "
                f"the first one {self._decoded_size[0]} x {self._decoded_size[1]}: one size was expected"
            )
        if frame.is_corrupt:
            warnings.warn(
                PosekitWarning(f"{self.path}: frame {number} is damaged, the decoder patched its picture"), stacklevel=4
            )
        return 0.0 if frame.time is None else frame.time + 1 / self.fps

    def _check_end(self, count: int, end: float, stop: int | None) -> None:
        if stop is not None and count >= stop:
            return
        if count < self._promise.frame_count:
            raise PosekitError(
                f"{self.path}: cut short or damaged: {count} frames can be decoded, "
                f"its header promises {self._promise.frame_count}"
            )
        # Two frames of grace: containers differ in whether the last frame's duration counts, and rates are rounded.
        if end and end < self._promise.seconds - 2 / self.fps:
            raise PosekitError(
                f"{self.path}: cut short or damaged: {count} frames can be decoded, which end at {end:.3f} s; "
                f"its header promises {self._promise.seconds:.3f} s"
            )

    def _count_whole_packets(self) -> int:
        """Count the packets that make a frame, without decoding; a broken one stops the count."""
        count = 0
        with contextlib.suppress(av.FFmpegError), _opened(self.path) as (container, stream):
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    break
                count += bool(packet.size) and not packet.is_discard
        return count

    def _read_rotation(self, frame: av.VideoFrame) -> int:
        """Return the counter-clockwise quarter turns that set the frame upright."""
        turns = frame.rotation / 90
        if not math.isfinite(turns) or abs(turns - round(turns)) > 1 / 90:
            warnings.warn(
                PosekitWarning(
                    f"{self.path}: asks to be turned by {frame.rotation} degrees; only quarter turns are done"
                ),
                stacklevel=3,
            )
            return 0
        return round(turns) % 4

    def _to_rgb(self, frame: av.VideoFrame) -> UInt8[np.ndarray, "H W 3"]:
        image: np.ndarray = frame.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(image, self._quarter_turns)) if self._quarter_turns else image


def read_frames(path: str | Path, indices: Iterable[int]) -> dict[int, UInt8[np.ndarray, "H W 3"]]:
    """Read the named RGB frames in one pass; all of them are in memory at once. See `VideoReader.select`."""
    return dict(VideoReader(path).select(indices))


def write_video(path: str | Path, fps: float, frames: Iterable[UInt8[np.ndarray, "H W 3"]], *, crf: int = 18) -> int:
    """Write RGB frames as H.264 (yuv420p, BT.709), whole or not at all; return their number.

    frames: uint8, all of one size. An odd width or height grows by one pixel, which repeats the border: yuv420p has
    one colour sample for 2 x 2 pixels. crf: 0 (lossless) to 51; 18 is hard to tell from the original.

    Raises PosekitError where there is no frame, or the suffix is not .mp4, .m4v, .mov or .mkv.
    """
    path = Path(path)
    try:
        container_format = _CONTAINERS[path.suffix.lower()]
    except KeyError:
        raise PosekitError(f"{path}: a video is written as {', '.join(_CONTAINERS)}, not as '{path.suffix}'") from None
    if not (math.isfinite(fps) and fps > 0):
        raise PosekitError(f"{path}: the frame rate must be positive, it is {fps}")
    count = 0
    with write_whole(path) as temporary, av.open(f"file:{temporary}", "w", format=container_format) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": str(crf)})
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        shape: tuple[int, ...] = ()
        for image in frames:
            if count == 0:
                shape = image.shape
                stream.height, stream.width = (size + size % 2 for size in shape[:2])
                stream.pix_fmt = "yuv420p"
            if image.shape != shape or image.dtype != np.uint8 or image.shape[2:] != (3,):
                raise ValueError(
                    f"frame {count} is {image.dtype} {image.shape}, uint8 {shape} with 3 channels was expected"
                )
            padding = ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0))
            frame = av.VideoFrame.from_ndarray(np.pad(image, padding, mode="edge"), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=_BT709)))
            count += 1
        if count == 0:
            raise PosekitError(f"{path}: there is no frame to write")
        container.mux(stream.encode(None))
    return count


@contextlib.contextmanager
def _opened(path: Path, threads: int | None = None) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    # "file:" and its whitelist keep a name from being taken for an address.
    options = {"protocol_whitelist": "file", "format_whitelist": _VIDEO_FORMATS}
    try:
        container = av.open(f"file:{path}", metadata_errors="ignore", options=options)
    except av.FFmpegError as error:
        raise PosekitError(
            f"{path}: cannot be opened as a video ({error.strerror}): it is cut short, damaged, or no video file"
        ) from error
    with container:
        if not container.streams.video:
            raise PosekitError(f"{path}: holds no video stream ({container.format.long_name})")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if threads is not None:
            stream.codec_context.thread_count = threads
        yield container, stream


def _decode_from(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream, key_frame: KeyFrame
) -> Iterator[av.VideoFrame]:
    """Decode from a key frame on.

    Frames that are stored behind it but shown before it need what is not decoded here, and are dropped. A file in which one
    cannot jump to where one wants (a transport stream) is decoded from its beginning.
    """
    container.seek(key_frame.time, stream=stream)
    frames = container.decode(stream)
    first = next((frame for frame in frames if frame.pts is not None and frame.pts >= key_frame.time), None)
    if first is not None and first.pts == key_frame.time:
        yield first
        yield from frames
    else:
        with _opened(path) as (whole, whole_stream):
            yield from islice(whole.decode(whole_stream), key_frame.number, None)


def _read_promise(container: av.container.InputContainer, stream: av.VideoStream) -> _Promise:
    frame_count = stream.frames
    if frame_count and len(stream.index_entries) == frame_count:
        # An edit list hides frames that the container still counts.
        frame_count -= sum(entry.is_discard for entry in stream.index_entries)
    seconds = 0.0
    # Matroska counts no frames, but notes each stream's duration as a tag (the container's own may be the sound's).
    tag = stream.metadata.get("DURATION", "").split(":")
    if not frame_count and "matroska" in container.format.name and len(tag) == 3:
        with contextlib.suppress(ValueError):
            seconds = int(tag[0]) * 3600 + int(tag[1]) * 60 + float(tag[2])
    return _Promise(frame_count, seconds)
