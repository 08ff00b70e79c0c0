from dataclasses import replace

import numpy as np
import pytest

from posekit.errors import PosekitError
from posekit.io import keypoint_copies
from posekit.io.keypoint_copies import copy_keypoints2d
from posekit.keypoints import Keypoints2D
from posekit.skeleton import HAND_21


def detections(frames: int, slots: int) -> Keypoints2D:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, (frames, 3, slots, 21)) * (rng.random((frames, 3, slots, 21)) > 0.2)
    xy = rng.uniform(0, 1000, (*confidence.shape, 2))
    return Keypoints2D(xy, confidence, ("a", "b", "c"), 7 + 2 * np.arange(frames), HAND_21, 25.0, "drawn")


class FewerSlotsAtFirst:
    """The same keypoints, whose pieces have as many slots as somebody is in; as OpenPose's folders give them."""

    def __init__(self, whole: Keypoints2D) -> None:
        self.whole = whole
        self.cameras, self.frames, self.skeleton = whole.cameras, whole.frames, whole.skeleton
        self.fps, self.source = whole.fps, whole.source

    def read(self, start: int, stop: int) -> Keypoints2D:
        piece = self.whole.read(start, stop)
        count = int((piece.confidence > 0).any(axis=(0, 1, 3)).sum())
        return replace(piece, xy=piece.xy[:, :, :count], confidence=piece.confidence[:, :, :count])


def test_pieces_of_other_numbers_of_people_make_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(keypoint_copies, "_PIECE", 4)
    whole = detections(10, 3)
    confidence = whole.confidence.copy()
    confidence[:4], confidence[4:8, :, 2] = 0, 0  # nobody, then two, then three
    whole = replace(whole, confidence=confidence)
    told: list[tuple[int, int]] = []
    slots = copy_keypoints2d(FewerSlotsAtFirst(whole), tmp_path / "k.h5", lambda *count: told.append(count))
    found = Keypoints2D.load(tmp_path / "k.h5")
    assert (slots, told) == (3, [(4, 10), (8, 10), (10, 10)])
    np.testing.assert_array_equal(found.xy, whole.xy)
    np.testing.assert_array_equal(found.confidence, whole.confidence)
    np.testing.assert_array_equal(found.frames, whole.frames)
    assert (found.cameras, found.skeleton, found.fps, found.source) == (("a", "b", "c"), HAND_21, 25.0, "drawn")
    assert [path.name for path in tmp_path.iterdir()] == ["k.h5"]


def test_frames_without_anybody_stay_frames(tmp_path):
    nobody = detections(5, 0)
    assert copy_keypoints2d(nobody, tmp_path / "k.h5") == 0
    assert Keypoints2D.load(tmp_path / "k.h5").xy.shape == (5, 3, 0, 21, 2)


class BreaksOff(FewerSlotsAtFirst):
    def read(self, start: int, stop: int) -> Keypoints2D:
        if start:
            raise PosekitError("the second piece is damaged")
        return super().read(start, stop)


def test_nothing_is_left_of_a_source_that_breaks_off_or_is_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(keypoint_copies, "_PIECE", 4)
    with pytest.raises(PosekitError, match="second piece"):
        copy_keypoints2d(BreaksOff(detections(10, 1)), tmp_path / "k.h5")
    with pytest.raises(PosekitError, match="drawn: holds no frame"):
        copy_keypoints2d(detections(0, 1), tmp_path / "k.h5")
    assert list(tmp_path.iterdir()) == []
