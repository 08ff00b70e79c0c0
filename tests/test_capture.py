import warnings
from pathlib import Path

import numpy as np
import pytest

from posekit.camera import Rig
from posekit.capture import Capture
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.video import write_video
from scenes import looking_camera


def film(path: Path, frames: int = 3, fps: float = 30, size: tuple[int, int] = (64, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, fps, [np.full((size[1], size[0], 3), 40 * f, dtype=np.uint8) for f in range(frames)])


@pytest.mark.parametrize("below", ["", "videos"])
def test_videos_are_found_by_camera_in_the_order_of_their_numbers(tmp_path, below):
    for name in ("cam_10.mp4", "cam_2.mp4", "cam_1.MP4"):
        film(tmp_path / below / name.lower(), size=(64, 48) if "10" not in name else (80, 48))
    (tmp_path / below / "cam_1.mp4").rename(tmp_path / below / "cam_1.MP4")
    (tmp_path / below / "._cam_2.mp4").write_bytes(b"of macOS")
    (tmp_path / below / "notes.txt").write_text("")
    (tmp_path / below / "old.mp4").mkdir()
    capture = Capture.open(str(tmp_path))
    assert list(capture.videos) == ["cam_1", "cam_2", "cam_10"]
    assert capture.videos["cam_1"] == tmp_path / below / "cam_1.MP4"
    assert capture.sizes == {"cam_1": (64, 48), "cam_2": (64, 48), "cam_10": (80, 48)}
    assert (capture.fps, capture.frame_count, capture.folder) == (30, 3, tmp_path)


@pytest.mark.parametrize(
    ("films", "reason"),
    [
        ((), "holds no video"),
        ((("a.mp4", {}), ("b.mp4", {"frames": 4})), r"b\.mp4: has 4 frames where a\.mp4 has 3"),
        ((("a.mp4", {}), ("b.mp4", {"fps": 60})), r"b\.mp4: runs at 60 frames/s where a\.mp4 has 30"),
        ((("a.mp4", {}), ("a.mkv", {})), r"a\.mp4 and a\.mkv are both of camera 'a'"),
    ],
)
def test_captures_that_cannot_be(tmp_path, films, reason):
    for name, how in films:
        film(tmp_path / name, **how)
    with pytest.raises(PosekitError, match=reason) as error:
        Capture.open(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_rates_that_differ_by_rounding_are_one_rate(tmp_path):
    film(tmp_path / "a.mp4", fps=60)
    film(tmp_path / "b.mp4", fps=59.94)
    assert Capture.open(tmp_path).fps == 60


def test_a_damaged_video_and_a_missing_folder_are_named(tmp_path):
    film(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:200])
    with pytest.raises(PosekitError, match=r"b\.mp4"):
        Capture.open(tmp_path)
    with pytest.raises(PosekitError, match="gone: no such folder"):
        Capture.open(tmp_path / "gone")


def test_the_rig_must_have_every_camera_and_its_size(tmp_path):
    film(tmp_path / "a.mp4", size=(128, 96))
    capture = Capture.open(tmp_path)

    def rig(name: str, size: tuple[int, int]) -> Rig:
        return Rig((looking_camera(name, (3, 0, 1), (0, 0, 1), size=size),), "rig.toml")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        capture.check_rig(rig("a", (128, 96)))
    with pytest.warns(PosekitWarning, match=r"a\.mp4: pictures are 128 x 96 px where the rig says 130 x 96"):
        capture.check_rig(rig("a", (130, 96)))
    with pytest.raises(PosekitError, match=r"a\.mp4: .*resized"):
        capture.check_rig(rig("a", (256, 192)))
    with pytest.raises(PosekitError, match=r"rig\.toml: has no camera 'a' for .*a\.mp4; it has: b"):
        capture.check_rig(rig("b", (128, 96)))
