from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from posekit.calibration.formats.aniposelib import read_aniposelib
from posekit.datasets.hand_looks import sample_looks
from posekit.datasets.hand_model import sample_shapes
from posekit.datasets.hand_motion import sample_hand_motion
from posekit.datasets.hand_renderer import CameraViews, render_hands
from posekit.datasets.held_objects import BOX, HeldObjects
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


def test_a_held_thing_stays_in_the_hand_through_the_lens():
    rng = np.random.default_rng(4)
    shape = sample_shapes(rng, 1)
    hands, things = sample_hand_motion(rng, shape, 5, 30.0, holding=True)
    assert things is not None
    # Rigid with the palm: distances from its middle to wrist and knuckles stay; 1e-5 m is single precision.
    apart = (hands.joints[:, [0, 5, 9]] - things.centre[:, None]).norm(dim=-1)
    torch.testing.assert_close(apart, apart[:1].expand(5, 3), atol=1e-5, rtol=0)
    assert sample_hand_motion(rng, shape, 5, 30.0, holding=False)[1] is None
    # A thing drawn through a lens lies where OpenCV projects its corners.
    box = HeldObjects(torch.tensor([BOX]), torch.tensor([[0.12, 0.1, 0.5]]), torch.eye(3)[None],
                      torch.full((1, 3), 0.02), torch.ones(1, 2, 3), torch.zeros(1, 2))  # fmt: skip
    hand = hands.take(slice(0, 1))
    away = hand.moved(torch.eye(3)[None], torch.tensor([[0.0, 0.0, 3.0]]))
    lens = torch.tensor([[-0.25, 0.05]])
    views = CameraViews(torch.tensor([200.0]), torch.tensor([[59.5, 59.5]]), lens)
    looks = sample_looks(rng, 1)
    alpha = [render_hands(away, views, looks, (160, 160), objects=o).rgba[0, 3] for o in (box, None)]
    rows, columns = torch.where(alpha[0] - alpha[1] > 0.5)
    front = np.array([[x, y, 0.48] for x in (0.10, 0.14) for y in (0.08, 0.12)])
    matrix = np.array([[200.0, 0, 59.5], [0, 200, 59.5], [0, 0, 1]])
    expected = cv2.projectPoints(front, np.zeros(3), np.zeros(3), matrix, np.array([-0.25, 0.05, 0, 0]))[0][:, 0]
    # One pixel: alpha's edge is half a pixel wide, and a far side may show beside the front.
    assert int(columns.max()) == pytest.approx(expected[:, 0].max(), abs=1)
    assert int(rows.max()) == pytest.approx(expected[:, 1].max(), abs=1)


def test_a_capture_of_a_hand_that_holds_something_tells_what_is_hidden(tmp_path):
    settings = replace(SETTINGS, cameras=1, holding=True, frames=2)
    truth = render_capture(tmp_path / "held", settings, tmp_path / "held.h5")
    free = render_capture(tmp_path / "free", replace(settings, holding=False), tmp_path / "free.h5")
    assert truth.visible.shape == free.visible.shape == (2, 1, 21)
    assert not truth.visible.all()
    assert truth.visible.any()


def test_truth_may_not_lie_in_the_capture(tmp_path):
    with pytest.raises(PosekitError, match="outside"):
        render_capture(tmp_path / "capture", SETTINGS, tmp_path / "capture" / "truth.h5")


def test_a_file_that_is_no_truth_is_named(tmp_path, capture):
    with pytest.raises(PosekitError, match="schema"):
        CaptureTruth.load(capture[0] / "keypoints2d.h5")
