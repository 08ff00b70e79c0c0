"""A tool that a user defines, filmed by four cameras: a short round makes a detector that beats what it started from."""

from dataclasses import replace

import numpy as np
import pytest

from posekit.apps.main import main
from posekit.bootstrap.rounds import bootstrap
from posekit.bootstrap.settings import BootstrapInput, BootstrapSettings
from posekit.bootstrap.subject_files import read_subject
from posekit.bootstrap.subject_target import SubjectTarget, fresh_detector
from posekit.calibration.formats import read_rig
from posekit.capture import Capture
from posekit.detection.detector_file import load_detector
from posekit.keypoints import Keypoints2D
from posekit.people.hands import hand_box_sides
from tool_scene import DEFINITION, film_cross

FRAMES = 24


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cross")
    truth = film_cross(folder / "capture", FRAMES)
    (folder / "cross.toml").write_text(DEFINITION)
    return folder, truth


def share_right(keypoints, truth):
    """PCK at 0.2 B; what was not detected is wrong."""
    error = np.linalg.norm(keypoints.xy - truth.xy, axis=-1)
    with np.errstate(invalid="ignore"):
        return float((error <= 0.2 * hand_box_sides(truth.xy)[..., None]).mean())


def test_a_few_labelled_frames_make_a_detector_that_a_round_makes_better(filmed, tmp_path):
    folder, truth = filmed
    few = [0, 8, 14]
    labelled = replace(truth, xy=truth.xy[few], confidence=truth.confidence[few], frames=truth.frames[few])
    nothing = replace(truth, xy=np.full_like(truth.xy, np.nan), confidence=np.zeros_like(truth.confidence))
    target = SubjectTarget(read_subject(folder / "cross.toml"))
    # Crops of 64 px and few of them: the two trainings are most of the test's seconds.
    detector = replace(fresh_detector(target.skeleton, load_detector(), 0), crop_size=64)
    capture, rig = Capture.open(folder / "capture"), read_rig(folder / "capture" / "calibration.toml")
    settings = BootstrapSettings(rounds=1, steps=70, batch_size=12, refine="off")
    history = bootstrap(BootstrapInput(capture, rig, nothing, detector, target, labelled), tmp_path, settings)
    assert history[1]["kept"]
    before, after = (share_right(Keypoints2D.load(tmp_path / f"round_{n}" / "keypoints2d.h5"), truth) for n in (0, 1))
    assert after > before + 0.05  # 0.78 and 0.88 were seen
    again = load_detector(tmp_path / "round_1" / "detector.safetensors", target.skeleton)
    assert again.skeleton == target.skeleton


def refused(capsys, arguments, *words):
    assert main(arguments) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("posekit: error: ")
    for word in words:
        assert word in line


def command(folder, out, *more):
    return ["bootstrap", str(folder / "capture"), "--learn", str(folder / "cross.toml"), "--out", str(out), *more]


def test_nothing_to_start_from_is_one_line(filmed, tmp_path, capsys):
    folder, _ = filmed
    refused(capsys, command(folder, tmp_path / "run"), "--keypoints")
    assert not (tmp_path / "run").exists()


def test_labels_of_another_skeleton_are_one_line_and_leave_nothing(filmed, tmp_path, capsys):
    from scenes import observe, ring_rig, walk

    folder, truth = filmed
    people = observe(ring_rig(4), [walk(6, (-0.3, 0), (0.3, 0))]).keypoints
    replace(people, cameras=truth.cameras).save(tmp_path / "people.h5")
    arguments = command(folder, tmp_path / "run", "--labels", str(tmp_path / "people.h5"))
    refused(capsys, arguments, "people.h5", "none of which cross has")
    assert not (tmp_path / "run").exists()


def test_weights_of_another_skeleton_are_one_line(filmed, tmp_path, capsys):
    folder, truth = filmed
    truth.save(tmp_path / "labels.h5")
    from posekit.detection.detector_file import LIGHT_HAND_WEIGHTS

    arguments = command(folder, tmp_path / "run", "--labels", str(tmp_path / "labels.h5"))
    refused(capsys, [*arguments, "--detector", str(LIGHT_HAND_WEIGHTS)], "expected a detector of cross")
    assert not (tmp_path / "run").exists()


def test_one_camera_is_one_line_and_leaves_nothing(filmed, tmp_path, capsys):
    folder, truth = filmed
    capture = tmp_path / "capture"
    (capture / "videos").mkdir(parents=True)
    for name in ("videos/cam_0.mp4", "calibration.toml"):
        (capture / name).write_bytes((folder / "capture" / name).read_bytes())
    (tmp_path / "cross.toml").write_text(DEFINITION)
    truth.select_cameras(("cam_0",)).save(capture / "keypoints2d.h5")
    refused(capsys, command(tmp_path, tmp_path / "run"), "one camera")
    assert not (tmp_path / "run").exists()
