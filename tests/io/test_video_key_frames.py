"""Decoding from a key frame gives the frames that decoding from the beginning gives."""

from pathlib import Path

import av
import numpy as np
import pytest

from posekit.io.video import VideoReader

COUNT = 30
TASKS = Path("/proc/self/task")


def write(path, options, pixel_format="yuv420p", codec="libx264"):
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (48, 64 + COUNT, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for f in range(COUNT):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(base[:, f : f + 64]))))
        container.mux(stream.encode(None))


KINDS = {
    "b-frames": ("mp4", {"g": "7", "bf": "2"}, "libx264"),
    "open groups": ("mp4", {"g": "7", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}, "libx264"),
    "matroska": ("mkv", {"g": "9", "bf": "2"}, "libx264"),
    "transport stream": ("ts", {"g": "8", "bf": "2"}, "libx264"),
    "every frame": ("mp4", {"g": "1"}, "libx264"),
    "motion jpeg": ("avi", {}, "mjpeg"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_those_of_decoding_from_the_beginning(tmp_path, kind):
    suffix, options, codec = KINDS[kind]
    path = tmp_path / f"video.{suffix}"
    write(path, options, "yuvj420p" if codec == "mjpeg" else "yuv420p", codec)
    reader = VideoReader(path)
    frames = list(reader.frames(stop=reader.frame_count))
    assert len(frames) == COUNT
    keys = reader.key_frames()
    if kind in ("b-frames", "open groups", "matroska"):
        assert keys[0].number == 0
        assert len(keys) >= COUNT // 10
    for key in keys:
        wanted = [number for number in (key.number, key.number + 3, COUNT - 1) if number < COUNT]
        found = dict(reader.select(wanted, key))
        assert sorted(found) == sorted(set(wanted))
        for number, picture in found.items():
            assert np.array_equal(picture, frames[number])


def test_marks_of_a_video_that_is_cut_short_lead_to_its_frames(tmp_path):
    path = tmp_path / "video.ts"
    write(path, {"g": "7"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    reader = VideoReader(path)
    # Whatever can be decoded of it: what marks there are must lead to those frames.
    frames = list(reader.frames(stop=reader.frame_count))
    for key in reader.key_frames():
        assert np.array_equal(dict(reader.select([key.number], key))[key.number], frames[key.number])


def test_one_thread_decodes_the_same_pictures(tmp_path):
    write(tmp_path / "video.mp4", {"g": "7", "bf": "2"})
    one, four = (VideoReader(tmp_path / "video.mp4", threads) for threads in (1, 4))
    for first, second in zip(one.frames(), four.frames(), strict=True):
        assert np.array_equal(first, second)


@pytest.mark.skipif(not TASKS.exists(), reason="threads are counted as Linux tells them")
def test_as_many_threads_decode_as_were_asked_for(tmp_path):
    write(tmp_path / "video.mp4", {"g": "7", "bf": "2"})
    more = []
    for threads in (1, 4):
        pictures = VideoReader(tmp_path / "video.mp4", threads).frames()
        before = len(list(TASKS.iterdir()))
        next(pictures)
        more.append(len(list(TASKS.iterdir())) - before)
        pictures.close()
    assert more[1] - more[0] == 4  # one decodes in the caller's; what converts to RGB has some of its own
