import numpy as np
import pytest

from posekit.calibration.formats.aniposelib import read_aniposelib
from posekit.datasets.synthetic_capture import CaptureSettings, CaptureTruth, render_capture
from posekit.errors import PosekitError
from posekit.io.video import read_frames
from posekit.keypoints import Keypoints2D

SETTINGS = CaptureSettings(seed=1, cameras=2, frames=3, size=(160, 120), hand_px=40.0, detection_missing=0.0,
                           detection_gross=0.0, oversample=1.0)  # fmt: skip


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("capture")
    return folder / "hand", render_capture(folder / "hand", SETTINGS, folder / "truth.h5"), folder / "truth.h5"


def test_files_say_what_the_truth_says(capture):
    folder, truth, truth_path = capture
    rig = read_aniposelib(folder / "calibration.toml")
    assert rig.names == ("cam_1", "cam_2") == truth.cameras
    stored = CaptureTruth.load(truth_path)
    for name in ("joints_world", "elbow_world", "shoulder_world", "visible"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(truth, name))
    assert truth.visible.shape == (3, 2, 21)
    assert truth.visible.any()
    detections = Keypoints2D.load(folder / "keypoints2d.h5")
    joints = detections.skeleton.joints
    arm = [joints.index(name) for name in ("right_wrist", "right_elbow", "right_shoulder")]
    others = np.delete(np.arange(len(joints)), arm)
    assert np.isnan(detections.xy[..., others, :]).all()
    assert not detections.confidence[..., others].any()
    for c, camera in enumerate(rig.cameras):
        error = np.abs(detections.xy[:, c, 0, arm[0]] - camera.project(truth.wrist_world))
        # Five standard deviations of the 3 px that were asked for.
        assert error.max() < 15
    inside = {path.name for path in folder.rglob("*") if path.is_file()}
    assert inside == {"cam_1.mp4", "cam_2.mp4", "calibration.toml", "keypoints2d.h5"}


def test_the_hand_is_drawn_where_the_calibration_says(capture):
    folder, truth, _ = capture
    rig = read_aniposelib(folder / "calibration.toml")
    for c, camera in enumerate(rig.cameras):
        frames = read_frames(folder / "videos" / f"{camera.name}.mp4", range(3))
        assert frames[0].shape == (120, 160, 3)
        pixels = camera.project(truth.joints_world).round().astype(int)
        seen = pixels[0][truth.visible[0, c]]
        patch = frames[0][seen[:, 1], seen[:, 0]].astype(float)
        # Skin: red leads blue on nearly every joint, whatever the light.
        assert (patch[:, 0] > patch[:, 2]).mean() > 0.9


def test_truth_may_not_lie_in_the_capture(tmp_path):
    with pytest.raises(PosekitError, match="outside"):
        render_capture(tmp_path / "capture", SETTINGS, tmp_path / "capture" / "truth.h5")


def test_a_file_that_is_no_truth_is_named(tmp_path, capture):
    with pytest.raises(PosekitError, match="schema"):
        CaptureTruth.load(capture[0] / "keypoints2d.h5")
