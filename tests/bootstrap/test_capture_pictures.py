from fractions import Fraction

import av
import numpy as np
import pytest

from posekit.bootstrap.capture_pictures import camera_frames, passes
from posekit.capture import Capture
from posekit.io.video import VideoReader

COUNT, GROUP = 400, 50


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """A camera of 400 pictures, a key frame every 50, a noise of its own in every picture."""
    folder = tmp_path_factory.mktemp("capture")
    (folder / "videos").mkdir()
    rng = np.random.default_rng(0)
    with av.open(str(folder / "videos" / "cam.mp4"), "w") as container:
        options = {"crf": "30", "g": str(GROUP), "keyint_min": str(GROUP), "x264-params": "scenecut=0"}
        stream = container.add_stream("libx264", rate=Fraction(30), options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(COUNT):
            picture = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return Capture.open(folder)


def test_pictures_far_apart_are_those_of_decoding_everything(capture):
    everything = list(VideoReader(capture.videos["cam"]).frames())
    wanted = np.array([60, 61, 130, 131, 180, 360, 399])
    found = list(camera_frames(capture, "cam", wanted))
    assert [place for place, _ in found] == list(range(len(wanted)))
    for place, picture in found:
        assert np.array_equal(picture, everything[wanted[place]])


@pytest.mark.parametrize(
    ("numbers", "longest", "expected"),
    [
        ([], None, []),
        (range(400), None, [(0, 400, None)]),
        (range(0, 400, 40), None, [(0, 10, None)]),  # near each other: one pass
        # 0 to 150 skips 149 pictures, 150 to 199 none that a key frame would save, 199 to 360 150.
        ([0, 150, 199, 360], None, [(0, 1, 0), (1, 3, 150), (3, 4, 350)]),
        ([120, 121], None, [(0, 2, 100)]),  # the beginning is left out, too
        ([10, 99, 140], None, [(0, 3, 0)]),  # key frames at 50 and 100 are 40 and 1 behind
        (range(100), 40, [(0, 40, 0), (40, 80, 0), (80, 100, 50)]),
    ],
)
def test_passes_begin_where_a_key_frame_saves_decoding(capture, numbers, longest, expected):
    found = passes(capture, "cam", np.array(numbers, dtype=np.int64), longest)
    assert [(part.start, part.stop, key if key is None else key.number) for part, key in found] == expected
