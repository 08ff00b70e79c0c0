"""A tool that a user defines, filmed by four cameras: a short round makes a detector that beats what it started from."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from posekit import __version__
from posekit.apps.bootstrap import BootstrapConfig, keep_settings
from posekit.apps.bootstrap_subject import prepare_subject
from posekit.apps.main import main
from posekit.bootstrap.rounds import bootstrap
from posekit.bootstrap.settings import BootstrapInput, BootstrapSettings
from posekit.bootstrap.steps import seconds_of
from posekit.bootstrap.subject_files import read_subject
from posekit.bootstrap.subject_target import SubjectTarget, fresh_detector
from posekit.calibration.formats import read_rig
from posekit.calibration.formats.aniposelib import write_aniposelib
from posekit.camera import Rig
from posekit.capture import Capture
from posekit.detection.detector_file import load_detector
from posekit.errors import PosekitError, PosekitWarning
from posekit.keypoints import Keypoints2D
from posekit.people.hands import hand_box_sides
from posekit.skeleton import COCO_17
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
    # Trained so briefly, the first detector is right in 0.73 to 0.96 of the joints, by the weights, the seed and the threads
    # that it began with, and the round takes a fifth to a half of its faults away: so a share is asked for.
    settings = BootstrapSettings(rounds=1, steps=40, batch_size=12, refine="off", seed=1)
    history = bootstrap(BootstrapInput(capture, rig, nothing, detector, target, labelled), tmp_path, settings)
    assert history[1]["kept"]
    before, after = (share_right(Keypoints2D.load(tmp_path / f"round_{n}" / "keypoints2d.h5"), truth) for n in (0, 1))
    assert 1 - after < 0.9 * (1 - before)
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


@pytest.fixture
def late(filmed, tmp_path):
    """A rig by which the second camera takes its pictures three frames later, and labels of two pictures of each video."""
    folder, truth = filmed
    rig = read_rig(folder / "capture" / "calibration.toml")
    cameras = tuple(replace(camera, time_offset_s=0.1 if camera.name == "cam_1" else 0.0) for camera in rig.cameras)
    write_aniposelib(tmp_path / "late.toml", Rig(cameras, rig.source))
    few = [8, 14]
    replace(truth, xy=truth.xy[few], confidence=truth.confidence[few], frames=truth.frames[few]).save(
        tmp_path / "few.h5"
    )
    return tmp_path / "late.toml", tmp_path / "few.h5"


def prepared(folder, rig, labels):
    return prepare_subject(folder / "capture", rig, None, str(folder / "cross.toml"), None, labels, None, 0)


def test_labels_stay_with_the_pictures_that_were_labelled_whenever_these_were_taken(filmed, late):
    folder, truth = filmed
    with pytest.warns(PosekitWarning, match="3 frames late"):
        start = prepared(folder, *late)
    assert start.labelled is not None
    labelled = np.isfinite(start.labelled.xy).all(axis=-1).all(axis=(2, 3))
    for c, camera in enumerate(truth.cameras):
        moments = start.labelled.frames[labelled[:, c]]
        assert start.capture.video_frames(camera, moments).tolist() == [8, 14]
        assert np.array_equal(start.labelled.xy[labelled[:, c], c], truth.xy[[8, 14], c])
    assert start.labelled.frames.tolist() == [8, 11, 14, 17]


def test_from_labels_alone_only_moments_that_all_cameras_filmed_are_looked_at(filmed, late):
    folder, _ = filmed
    with pytest.warns(PosekitWarning, match="3 frames late"):
        start = prepared(folder, *late)
    assert start.keypoints.frames.tolist() == list(range(3, FRAMES))
    for camera in start.capture.videos:
        assert (start.capture.video_frames(camera, start.keypoints.frames) >= 0).all()


def test_labelled_pictures_of_no_common_moment_are_told_of(filmed, late, tmp_path):
    folder, truth = filmed
    rig, _ = late
    early = replace(truth, xy=truth.xy[:5], confidence=truth.confidence[:5], frames=truth.frames[:5])
    early.save(tmp_path / "early.h5")
    # The other three cameras' pictures 0 to 2 were taken before the late one's first.
    with pytest.warns(PosekitWarning) as told:
        prepared(folder, rig, tmp_path / "early.h5")
    assert any("9 labelled pictures are of no moment" in str(one.message) for one in told)
    first = replace(truth, xy=truth.xy[:1], confidence=truth.confidence[:1], frames=truth.frames[:1])
    first.select_cameras(("cam_0",)).save(tmp_path / "first.h5")
    with (
        pytest.warns(PosekitWarning),
        pytest.raises(PosekitError, match=r"first\.h5: 1 labelled pictures are of no moment"),
    ):
        prepared(folder, rig, tmp_path / "first.h5")


def test_a_run_from_labels_alone_is_taken_up_again_and_times_that_are_gone_are_missed(filmed, tmp_path):
    folder, truth = filmed
    shutil.copytree(folder / "capture", tmp_path / "capture")
    truth.save(tmp_path / "labels.h5")
    config = BootstrapConfig(
        tmp_path / "capture", tmp_path, learn=str(folder / "cross.toml"), labels=tmp_path / "labels.h5"
    )
    videos = Capture.open(tmp_path / "capture").videos
    keep_settings(config, videos)
    keep_settings(config, videos)
    settings = tmp_path / "settings.json"
    settings.write_text(settings.read_text().replace(f'"posekit": "{__version__}"', '"posekit": "0.0.1"'))
    with pytest.warns(PosekitWarning, match=f"was begun with posekit 0.0.1, this is {__version__}"):
        keep_settings(config, videos)
    settings.unlink()
    times = tmp_path / "capture" / "timestamps.csv"
    times.write_text("cam_id,sync_index,frame_time\n0,0,0.0\n")
    keep_settings(config, videos)
    keep_settings(config, videos)
    times.unlink()
    with pytest.raises(PosekitError, match="from other timestamps than"):
        keep_settings(config, videos)


def test_a_damaged_file_of_a_run_is_named(tmp_path):
    (tmp_path / "seconds.json").write_text("{")
    with pytest.raises(PosekitError, match=r"seconds\.json: is damaged"):
        seconds_of(tmp_path)


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


def write_coco(folder, keypoints, joints):
    """Annotations as a labelling tool exports them, a file per camera, the joints without names."""
    folder.mkdir()
    for c, camera in enumerate(keypoints.cameras):
        images = [{"id": n, "file_name": f"{camera}_{frame:04d}.png"} for n, frame in enumerate(keypoints.frames)]
        labels = [
            {"id": n, "image_id": n, "keypoints": [float(v) for x, y in xy[:joints] for v in (x, y, 2)]}
            for n, xy in enumerate(keypoints.xy[:, c, 0])
        ]
        content = {"images": images, "annotations": labels, "categories": [{"id": 1, "name": "cross"}]}
        (folder / f"{camera}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("skeleton", [None, "cross"])
def test_labels_without_names_of_joints_have_the_order_of_the_skeleton(filmed, tmp_path, skeleton):
    folder, truth = filmed
    few = replace(truth, xy=truth.xy[[8, 14]], confidence=truth.confidence[[8, 14]], frames=truth.frames[[8, 14]])
    write_coco(tmp_path / "labels", few, truth.skeleton.joint_count)
    rig = folder / "capture" / "calibration.toml"
    toml = str(folder / "cross.toml")
    start = prepare_subject(folder / "capture", rig, None, toml, skeleton, tmp_path / "labels", None, 0)
    assert start.labelled.skeleton == start.target.skeleton
    np.testing.assert_allclose(start.labelled.xy, few.xy, atol=1e-3)
    write_coco(tmp_path / "fewer", few, truth.skeleton.joint_count - 1)
    with pytest.raises(PosekitError, match="points of cross were expected"):
        prepare_subject(folder / "capture", rig, None, toml, skeleton, tmp_path / "fewer", None, 0)


def test_as_many_joints_as_people_have_are_not_taken_for_people(tmp_path, filmed):
    folder, truth = filmed
    names = [f"{side}_part_{k}" for side in ("left", "right") for k in range(8)] + ["tail"]
    (tmp_path / "cat.toml").write_text(f'name = "cat"\njoints = {json.dumps(names)}\nbones = []\n')
    xy = np.random.default_rng(1).uniform(20, 100, (2, len(truth.cameras), 1, 17, 2)).astype(np.float32)
    few = replace(
        truth, xy=xy, confidence=np.ones(xy.shape[:-1], np.float32), frames=truth.frames[[8, 14]], skeleton=COCO_17
    )
    write_coco(tmp_path / "labels", few, 17)
    rig, toml = folder / "capture" / "calibration.toml", str(tmp_path / "cat.toml")
    for keypoints, labels in ((None, tmp_path / "labels"), (tmp_path / "labels", tmp_path / "labels")):
        start = prepare_subject(folder / "capture", rig, keypoints, toml, None, labels, None, 0)
        assert start.labelled.skeleton.joints == tuple(names)
        np.testing.assert_allclose(start.labelled.xy, few.xy, atol=1e-3)
    for said, reason in (("COCO17_typo", "is not known"), ("BODY_25", "25 points of BODY_25 were expected, found 17")):
        with pytest.raises(PosekitError, match=reason):
            prepare_subject(folder / "capture", rig, None, toml, said, tmp_path / "labels", None, 0)


def test_a_joint_that_labels_lack_is_named(filmed):
    folder, truth = filmed
    target = SubjectTarget(read_subject(folder / "cross.toml"))
    last = truth.skeleton.joints[-1]
    other = replace(truth.skeleton, name="other", joints=(*truth.skeleton.joints[:-1], "elsewhere"))
    with pytest.warns(PosekitWarning, match=f"has no {last}, of which nothing is learnt"):
        own = target.own_keypoints(replace(truth, skeleton=other))
    assert own.skeleton == target.skeleton
    assert np.isnan(own.xy[..., -1, :]).all()
    np.testing.assert_array_equal(own.xy[..., :-1, :], truth.xy[..., :-1, :])


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
