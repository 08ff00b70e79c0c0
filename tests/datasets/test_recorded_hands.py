from pathlib import Path

import numpy as np
import pytest

from posekit.datasets.recorded_hands import find_recorded_hands, find_videos
from posekit.errors import PosekitError
from posekit.io.video import write_video
from posekit.keypoints import Keypoints2D
from posekit.skeleton import BODY_25, HAND_21, with_hands

BODY = with_hands(BODY_25)


def people(frames: int = 4) -> Keypoints2D:
    """One person in two views: arms, a left hand that stands still, a right hand that is found in frame 2 of view b only."""
    xy = np.full((frames, 2, 1, BODY.joint_count, 2), np.nan)
    shape = np.random.default_rng(0).uniform(0, 40, (21, 2))
    xy[:, :, 0, BODY.part("left_hand")] = 100 + shape
    xy[2, 1, 0, BODY.part("right_hand")] = 300 + shape
    for side, x in (("left", 90.0), ("right", 290.0)):
        for joint, y in (("wrist", 90.0), ("elbow", 50.0), ("shoulder", 10.0)):
            xy[:, :, 0, BODY.index(f"{side}_{joint}")] = x, y
    confidence = np.where(np.isfinite(xy[..., 0]), 0.9, 0.0)
    confidence[1, :, 0, BODY.index("left_elbow")] = 0.05
    return Keypoints2D(xy, confidence, ("a", "b"), np.arange(frames), BODY, source="made")


def test_hands_with_their_sides_and_arms() -> None:
    videos = {"b": Path("b.mp4"), "a": Path("a.mp4")}
    hands = find_recorded_hands(videos, people())
    assert hands.camera.tolist() == ["b"] * 5 + ["a"] * 4
    assert hands.frame.tolist() == [0, 1, 2, 2, 3, 0, 1, 2, 3]
    right = np.flatnonzero(~hands.left)
    assert [(str(hands.camera[n]), int(hands.frame[n])) for n in right] == [("b", 2)]
    np.testing.assert_allclose(hands.arm[right[0]], [[290, 90], [290, 50], [290, 10]])
    assert hands.reference[right[0]].min() >= 300
    # The elbow of frame 1 is not sure.
    assert np.isnan(hands.arm[hands.frame == 1, 1]).all()
    assert np.isfinite(hands.arm[hands.frame == 1][:, [0, 2]]).all()
    assert np.isfinite(hands.arm[hands.frame != 1]).all()


def test_every_second_frame_and_cameras_with_videos_only() -> None:
    hands = find_recorded_hands({"a": Path("a.mp4")}, people(), every=2)
    assert hands.frame.tolist() == [0, 2]
    assert set(hands.camera.tolist()) == {"a"}


def test_one_hand_given_as_both_is_left_out() -> None:
    known = people()
    xy, confidence = known.xy.copy(), known.confidence.copy()
    xy[0, 0, 0, BODY.part("right_hand")] = xy[0, 0, 0, BODY.part("left_hand")] + 1
    confidence[0, 0, 0, BODY.part("right_hand")] = 0.9
    doubled = Keypoints2D(xy, confidence, known.cameras, known.frames, BODY)
    hands = find_recorded_hands({"a": Path("a.mp4")}, doubled)
    assert hands.frame.tolist() == [1, 2, 3]


def test_hands_alone_have_the_side_that_is_said() -> None:
    xy = np.random.default_rng(0).uniform(0, 50, (2, 1, 1, 21, 2))
    alone = Keypoints2D(xy, np.ones(xy.shape[:-1]), ("a",), np.arange(2), HAND_21)
    assert not find_recorded_hands({"a": Path("a.mp4")}, alone).left.any()
    hands = find_recorded_hands({"a": Path("a.mp4")}, alone, single_hand_left=True)
    assert hands.left.all()
    assert np.isnan(hands.arm).all()


def test_a_hand_that_nobody_has_seen_is_no_reference() -> None:
    known = people()
    xy, confidence = known.xy.copy(), known.confidence.copy()
    hand = BODY.part("right_hand")
    # As OpenPose writes them: 21 places of a few hundredths, here where the left hand is; and a hand of which a part is sure.
    xy[0, 0, 0, hand] = xy[0, 0, 0, BODY.part("left_hand")] + 1
    confidence[0, 0, 0, hand] = 0.03
    confidence[3, 0, 0, BODY.part("left_hand")[:4]] = 0.05
    given = Keypoints2D(xy, confidence, known.cameras, known.frames, BODY)
    hands = find_recorded_hands({"a": Path("a.mp4")}, given)
    assert hands.frame.tolist() == [0, 1, 2, 3]
    assert hands.left.all()
    assert np.isnan(hands.reference).all(axis=-1).sum(axis=1).tolist() == [0, 0, 0, 4]
    assert (hands.confidence[3, :4] == 0).all()


def test_keypoints_without_hands_are_refused() -> None:
    body = Keypoints2D(np.ones((1, 1, 1, 25, 2)), np.ones((1, 1, 1, 25)), ("a",), np.arange(1), BODY_25, source="body")
    with pytest.raises(PosekitError, match="body: has no hands, only the joints of BODY_25"):
        find_recorded_hands({"a": Path("a.mp4")}, body)
    few = np.full((1, 1, 1, 21, 2), np.nan)
    few[..., :10, :] = np.arange(20).reshape(10, 2)
    nearly = Keypoints2D(few, np.ones((1, 1, 1, 21)), ("a",), np.arange(1), HAND_21, source="few")
    with pytest.raises(PosekitError, match="few: holds no hand of at least 11 joints"):
        find_recorded_hands({"a": Path("a.mp4")}, nearly)


def test_pictures_come_with_their_hands(tmp_path: Path) -> None:
    for name, grey in (("a", 50), ("b", 150)):
        frames = [np.full((16, 16, 3), grey + 20 * number, dtype=np.uint8) for number in range(4)]
        write_video(tmp_path / f"{name}.mp4", 30, frames)
    hands = find_recorded_hands({name: tmp_path / f"{name}.mp4" for name in "ab"}, people())
    seen: list[int] = []
    for places, picture in hands.pictures():
        grey = {"a": 50, "b": 150}[str(hands.camera[places[0]])] + 20 * hands.frame[places[0]]
        assert abs(float(picture.mean()) - grey) < 6  # H.264 at crf 18 changes a plain grey by a few levels at most
        assert len(set(hands.frame[places])) == 1
        seen += places.tolist()
    assert seen == list(range(len(hands)))


def test_videos_by_the_names_of_cameras(tmp_path: Path) -> None:
    for name in ("cam0_test.mp4", "cam1_test.mp4", "cam10_test.avi", "notes.txt"):
        (tmp_path / name).touch()
    found = find_videos(tmp_path, ("cam1", "cam0", "cam7"))
    assert {camera: path.name for camera, path in found.items()} == {"cam1": "cam1_test.mp4", "cam0": "cam0_test.mp4"}
    (tmp_path / "cam1_again.mp4").touch()
    with pytest.raises(PosekitError, match="are both of camera 'cam1'"):
        find_videos(tmp_path, ("cam1", "cam0"))
    with pytest.raises(PosekitError, match="the keypoints are of cameras: left, top"):
        find_videos(tmp_path, ("left", "top"))


def test_videos_in_a_folder_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "cam_01.mp4").touch()
    assert list(find_videos(tmp_path, ("cam1",))) == ["cam1"]
    (tmp_path / "videos" / "cam_01.mp4").unlink()
    with pytest.raises(PosekitError, match="holds no video"):
        find_videos(tmp_path, ("cam1",))
