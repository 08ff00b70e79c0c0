"""Keypoints whose cameras the capture calls by other names."""

import warnings

import numpy as np
import pytest

from posekit.errors import PosekitWarning
from posekit.keypoints import Keypoints2D
from posekit.people.camera_names import match_keypoint_cameras
from posekit.skeleton import HAND_21


def keypoints_of(*cameras: str) -> Keypoints2D:
    xy = np.arange(3 * len(cameras) * 21 * 2, dtype=np.float32).reshape(3, len(cameras), 1, 21, 2)
    return Keypoints2D(xy, np.ones(xy.shape[:-1]), cameras, np.arange(10, 13), HAND_21, 30.0, "hands")


def test_cameras_take_the_names_of_the_videos_and_say_so():
    keypoints = keypoints_of("cam1", "cam0")
    with pytest.warns(PosekitWarning, match="hands: .* cam1 is taken for cam1_test, cam0 is taken for cam0_test"):
        found = match_keypoint_cameras(keypoints, ("cam0_test", "cam1_test"))
    assert (found.cameras, found.fps, found.source) == (("cam1_test", "cam0_test"), 30.0, "hands")
    with pytest.warns(PosekitWarning, match="hands: .* cam1 is taken for cam1_test"):
        some = match_keypoint_cameras(keypoints_of("cam1"), ("cam0_test", "cam1_test", "cam2_test"))
    assert some.cameras == ("cam1_test",)
    piece = found.read(1, 3)
    assert piece.cameras == ("cam1_test", "cam0_test")
    assert piece.frames.tolist() == [11, 12]
    np.testing.assert_array_equal(piece.xy, keypoints.xy[1:])


@pytest.mark.parametrize("names", [("cam0", "cam1"), ("left", "right"), ("cam0", "cam1", "cam2"), ("cam0_a",)])
def test_names_that_are_the_same_or_unlike_stay(names):
    keypoints = keypoints_of("cam0", "cam1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert match_keypoint_cameras(keypoints, names) is keypoints
