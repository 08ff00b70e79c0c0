import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posekit.apps.in_step import keypoints_of_capture
from posekit.bootstrap.capture_pictures import camera_frames
from posekit.camera import Rig
from posekit.capture import Capture
from posekit.errors import PosekitError, PosekitWarning
from posekit.io.video import write_video
from posekit.keypoints import Keypoints2D
from posekit.skeleton import HAND_21
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


def test_times_say_which_frames_of_unequal_videos_belong_together(tmp_path):
    film(tmp_path / "videos/cam_0.mp4", frames=4)
    film(tmp_path / "videos/cam_1.mp4", frames=3)
    rows = ["sync_index,cam_id,frame_time"]
    rows += [f"{7 + f},{c},{f / 30:.6f}" for f in range(4) for c in range(2) if (f, c) != (1, 1)]
    (tmp_path / "videos/timestamps.csv").write_text("\n".join(rows) + "\n")
    capture = Capture.open(tmp_path)
    assert (capture.frame_count, capture.frame_counts) == (4, {"cam_0": 4, "cam_1": 3})
    rig = Rig(tuple(looking_camera(name, (c + 1, 2, 1), (0, 0, 1)) for c, name in enumerate(("cam_0", "cam_1"))))
    stepped = capture.in_step_with(rig)
    assert stepped.video_frames("cam_0", np.arange(4)).tolist() == [0, 1, 2, 3]
    assert stepped.video_frames("cam_1", np.arange(4)).tolist() == [0, -1, 1, 2]
    assert stepped.video_frames("cam_1", np.array([7, 9])).tolist() == [0, 1]  # by sync_index
    brightness = {place: picture.mean() for place, picture in camera_frames(stepped, "cam_1", np.array([0, 2, 3]))}
    assert [round(brightness[place] / 40) for place in range(3)] == [0, 1, 2]  # 40 a frame
    with pytest.raises(PosekitError, match=r"cam_1.mp4: has no picture of frame 1"):
        list(camera_frames(stepped, "cam_1", np.arange(3)))
    film(tmp_path / "videos/cam_0.mp4", frames=3)
    with pytest.raises(
        PosekitError, match=r"cam_0.mp4: has 3 frames where .*timestamps.csv has 4 rows of camera 'cam_0'"
    ):
        Capture.open(tmp_path)


def test_offsets_say_which_frame_is_nearest(tmp_path):
    for name in ("a", "b"):
        film(tmp_path / f"{name}.mp4", frames=5)
    cameras = [looking_camera(name, (c + 1, 2, 1), (0, 0, 1)) for c, name in enumerate(("a", "b"))]
    capture = Capture.open(tmp_path)
    assert capture.in_step_with(Rig(tuple(cameras))).synchrony is None
    assert capture.video_frames("b", np.array([0, 4, 5])).tolist() == [0, 4, -1]
    late = Rig((cameras[0], replace(cameras[1], time_offset_s=1.4 / 30)))
    stepped = capture.in_step_with(late)
    assert stepped.video_frames("a", np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert stepped.video_frames("b", np.arange(5)).tolist() == [
        -1,
        0,
        1,
        2,
        3,
    ]  # -0.4 is frame 0's neighbour, -1.4 none
    # Keypoints of every frame are brought into step, at the moments of which there are pictures.
    keypoints = Keypoints2D(
        np.arange(5)[:, None, None, None, None] * np.ones((5, 2, 1, 21, 2)) + np.arange(21)[:, None],
        np.ones((5, 2, 1, 21)),
        ("b", "a"),
        np.arange(5),
        HAND_21,
        30.0,
        "hands",
    )
    with pytest.warns(
        PosekitWarning, match=r"b is 1.4 frames late: brought into step; pictures .* up to 0.4 frames off"
    ):
        found = keypoints_of_capture(keypoints, stepped)
    assert found.frames.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(found.xy[1:, 0, 0, 0, 0], [0.6, 1.6, 2.6], rtol=1e-6)  # float32
    np.testing.assert_array_equal(found.xy[:, 1, 0, 0, 0], [1, 2, 3, 4])
    assert keypoints_of_capture(keypoints, capture).frames.tolist() == [0, 1, 2, 3, 4]
