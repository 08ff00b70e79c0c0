"""One round on a small capture of a drawn hand: what it writes, that it can be taken up again, what it refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from posekit.apps.bootstrap import BootstrapConfig, _holds_work, keep_settings, locked
from posekit.apps.bootstrap_subject import read_labels
from posekit.apps.main import main
from posekit.bootstrap.crop_files import load_crops
from posekit.bootstrap.evidence import AgreementChange
from posekit.bootstrap.hand_target import HandTarget
from posekit.bootstrap.rounds import without_neighbours
from posekit.calibration.formats import read_rig
from posekit.capture import Capture
from posekit.datasets.synthetic_capture import CaptureSettings, render_capture
from posekit.detection.detector_file import save_detector
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.models.hand_networks import light_hand_cpm
from posekit.skeleton import get_skeleton

FRAMES, CAMERAS = 8, 4


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A capture whose 2D keypoints have hands: the true ones with 2 px of noise, and none at all in the last camera."""
    folder = tmp_path_factory.mktemp("filmed")
    settings = CaptureSettings(
        cameras=CAMERAS, frames=FRAMES, size=(320, 240), hand_px=60, detection_gross=0, oversample=1
    )
    truth = render_capture(folder / "capture", settings, folder / "truth.h5")
    rig = read_rig(folder / "capture" / "calibration.toml")
    body = Keypoints2D.load(folder / "capture" / "keypoints2d.h5")
    full = get_skeleton("BODY_25B+hands")
    xy = np.full((FRAMES, CAMERAS, 1, full.joint_count, 2), np.nan)
    confidence = np.zeros(xy.shape[:-1])
    xy[..., :25, :], confidence[..., :25] = body.xy, body.confidence
    hand = full.part("right_hand")
    rng = np.random.default_rng(0)
    for c, camera in enumerate(rig.cameras[:-1]):
        xy[:, c, 0, hand] = camera.project(truth.joints_world) + rng.normal(0, 1, (FRAMES, 21, 2))
        confidence[:, c, 0, hand] = 0.9
    Keypoints2D(xy, confidence, rig.names, body.frames, full, 30.0, "truth and noise").save(
        folder / "capture" / "with_hands.h5"
    )
    torch.manual_seed(0)
    save_detector(folder / "untrained.safetensors", HandDetector(light_hand_cpm()))
    return folder, truth, rig


def command(folder, out, *more, weights=None):
    return [
        "bootstrap", str(folder / "capture"), "--keypoints", "with_hands.h5", "--skeleton", "BODY_25B",
        "--out", str(out), "--steps", "2", "--synthetic-hands", "16", "--no-report",
        "--detector", str(weights or folder / "untrained.safetensors"), *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(filmed, tmp_path_factory):
    folder, _, _ = filmed
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(command(folder, out, "--json", str(out.parent / "figures.json"))) == 0
    return out


def test_run_folder_holds_labels_weights_and_3d(run):
    for name in ("settings.json", "run.json", "keypoints3d.h5"):
        assert (run / name).is_file(), name
    for name in ("crops.h5", "hand-cpm.safetensors", "keypoints2d.h5", "keypoints3d.h5", "metrics.json", "labels.png"):
        assert (run / "round_1" / name).is_file(), name
    figures = json.loads((run.parent / "figures.json").read_text())
    assert figures["rounds"][1]["labels"] > 0
    # Also in the camera that detected nothing, where views have no threshold, there are labels.
    assert figures["rounds"][1]["threshold_px"] == pytest.approx(figures["rig"]["threshold_px"])
    assert figures["rounds"][0]["round"] == 0
    # 1 px of noise in hands of some 100 px; measured once, on what the run starts from.
    assert 0.005 < figures["rounds"][0]["detection_residual_b"] < 0.04
    assert figures["rounds"][1]["detection_residual_b"] == figures["rounds"][0]["detection_residual_b"]
    assert figures["hand_crops"] <= FRAMES * CAMERAS


def test_views_of_a_detector_that_errs_may_differ_more_but_judge_as_strictly(run, filmed, tmp_path, monkeypatch):
    folder, _, _ = filmed
    monkeypatch.setattr(HandTarget, "detection_residual_b", lambda *_: np.full(2, 0.15))
    assert main(command(folder, tmp_path / "run")) == 0
    before, after = (json.loads((place / "round_0" / "metrics.json").read_text()) for place in (run, tmp_path / "run"))
    assert after["agreement_px"] > 2 * before["agreement_px"]
    assert after["heldout_joints"] == before["heldout_joints"]
    labels = json.loads((tmp_path / "run" / "round_1" / "labels.json").read_text())
    assert labels["threshold_px"] == pytest.approx(after["agreement_px"], rel=0.2)


def test_labels_are_true_also_where_nothing_was_detected(run, filmed):
    _, truth, rig = filmed
    with h5py.File(run / "round_1" / "crops.h5") as file:
        camera, frame, joints = file["camera"][()], file["frame"][()], file["joints_px"][()]
        residual, inliers = file["residual_px"][()], file["inliers"][()]
        assert file.attrs["round"] == 1
    assert (camera == CAMERAS - 1).any()  # the camera that had no detection of its own
    assert np.isnan(residual[camera == CAMERAS - 1]).all()
    assert not inliers[..., CAMERAS - 1].any()
    true_px = np.stack([rig.cameras[c].project(truth.joints_world[f]) for c, f in zip(camera, frame, strict=True)])
    error = np.linalg.norm(joints - true_px, axis=-1)
    # 1 px of noise in three views; the median of a reprojection stays near that.
    assert np.nanmedian(error) < 2.0
    # No label from the block of frames that is held out, 2 of the 8.
    assert frame.max() < FRAMES - 2


def test_crops_read_back_show_the_labels_in_place(run):
    crops = load_crops(run / "round_1" / "crops.h5")
    size = crops.images.shape[1]
    labelled = np.isfinite(crops.joints).all(axis=-1)
    assert np.array_equal(labelled, crops.weight > 0)
    assert (crops.joints[labelled] > -0.5).all()
    assert (crops.joints[labelled] < size).all()


def test_taken_up_again_nothing_is_done_twice_and_the_result_is_the_same(run, filmed):
    folder, _, _ = filmed
    before = Keypoints3D.load(run / "keypoints3d.h5")
    weights = run / "round_1" / "hand-cpm.safetensors"
    stamp = weights.stat().st_mtime_ns
    # As if killed after training, before detection.
    (run / "round_1" / "keypoints2d.h5").unlink()
    (run / "keypoints3d.h5").unlink()
    (run / "round_1" / ".crops.0123abcd.part.h5").write_bytes(b"half")
    took = json.loads((run / "round_1" / "seconds.json").read_text())
    assert main(command(folder, run)) == 0
    assert not list(run.rglob(".*"))
    assert json.loads((run / "round_1" / "metrics.json").read_text())["seconds"] == took
    assert weights.stat().st_mtime_ns == stamp
    after = Keypoints3D.load(run / "keypoints3d.h5")
    assert np.array_equal(before.xyz, after.xyz, equal_nan=True)


def test_a_round_trained_by_two_processes_ends_and_is_not_done_again(filmed, tmp_path, capsys):
    folder, _, _ = filmed
    together = [*command(folder, tmp_path / "run"), "--rounds", "1", "--training-processes", "2"]
    assert main(together) == 0
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "round_1").iterdir()}
    assert (tmp_path / "run" / "round_1" / "hand-cpm.safetensors") in written
    assert main(together) == 0
    rewritten = ("gates.json", "metrics.json", "labels.png")
    assert not [p.name for p, at in written.items() if p.name not in rewritten and p.stat().st_mtime_ns != at]
    refused(capsys, command(folder, tmp_path / "run"), "with --training-processes 2, not 1")


def refused(capsys, arguments, *words):
    assert main(arguments) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("posekit: error: ")
    for word in words:
        assert word in line
    return line


def test_another_command_on_the_same_folder_is_refused(run, filmed, capsys):
    folder, _, _ = filmed
    refused(capsys, [*command(folder, run), "--seed", "5"], "seed", "5")


def test_fewer_rounds_than_there_were_are_refused_and_the_result_stays(run, filmed, capsys, tmp_path):
    # The 3D of the run would be of an earlier round than its report and its weights.
    folder, _, _ = filmed
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(run / "round_1", tmp_path / "run" / "round_2")
    before = (tmp_path / "run" / "keypoints3d.h5").stat().st_mtime_ns
    refused(capsys, [*command(folder, tmp_path / "run"), "--rounds", "1"], "holds a run of 2 rounds", "--rounds 1")
    assert (tmp_path / "run" / "keypoints3d.h5").stat().st_mtime_ns == before


def test_a_run_older_than_an_option_was_made_as_by_its_default(filmed, tmp_path):
    folder, _, _ = filmed
    weights = folder / "untrained.safetensors"
    config = BootstrapConfig(folder / "capture", tmp_path, keypoints=Path("with_hands.h5"), detector=weights)
    videos = Capture.open(folder / "capture").videos
    keep_settings(config, videos)
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert kept.pop("training_processes") == 1
    (tmp_path / "settings.json").write_text(json.dumps(kept))
    keep_settings(config, videos)
    with pytest.raises(PosekitError, match="with --training-processes 1, not 2"):
        keep_settings(replace(config, training_processes=2), videos)
    (tmp_path / "settings.json").write_text("[]")
    with pytest.raises(PosekitError, match=r"settings.json: is damaged"):
        keep_settings(config, videos)


@pytest.mark.parametrize("what", ["rig", "keypoints", "detector"])
def test_other_inputs_of_the_same_names_are_refused(run, filmed, capsys, tmp_path, what):
    folder, _, _ = filmed
    shutil.copytree(folder / "capture", tmp_path / "capture")
    weights = tmp_path / "untrained.safetensors"
    shutil.copy(folder / "untrained.safetensors", weights)
    if what == "rig":
        rig = tmp_path / "capture" / "calibration.toml"
        rig.write_text(rig.read_text() + "\n")
    elif what == "keypoints":
        keypoints = Keypoints2D.load(tmp_path / "capture" / "with_hands.h5")
        replace(keypoints, xy=keypoints.xy + 1).save(tmp_path / "capture" / "with_hands.h5")
    else:
        torch.manual_seed(1)
        save_detector(weights, HandDetector(light_hand_cpm()))
    refused(capsys, command(tmp_path, run, weights=weights), f"from other {what} than")


def test_the_same_inputs_elsewhere_go_on(run, filmed, tmp_path, monkeypatch):
    folder, _, _ = filmed
    shutil.copytree(folder / "capture", tmp_path / "capture")
    monkeypatch.chdir(tmp_path)
    assert main(command(Path(), run, weights=folder / "untrained.safetensors")) == 0


def test_a_second_process_on_a_run_is_refused_and_harms_nothing(filmed, tmp_path, capsys):
    folder, _, _ = filmed
    out = tmp_path / "run"
    assert main(command(folder, out)) == 0
    shutil.rmtree(out / "round_1")
    being_written = out / "round_0" / ".keypoints3d.0123abcd.part.h5"
    being_written.write_bytes(b"half")
    with locked(out):
        refused(capsys, command(folder, out), "another process is at work")
    assert (out / "round_0" / "keypoints3d.h5").is_file()
    assert being_written.is_file()


def test_a_folder_in_which_nothing_was_begun_is_begun(filmed, capsys, tmp_path):
    folder, _, _ = filmed
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".settings.0123abcd.part.json").write_text("{")
    assert main([*command(folder, tmp_path / "run"), "--rounds", "2", "--steps", "1"]) == 0
    assert (tmp_path / "run" / "settings.json").is_file()


def test_a_round_after_which_less_agrees_is_not_kept(filmed, tmp_path, capsys):
    # An untrained detector replaces true keypoints by noise: round 0 is the better one, and no third round follows.
    folder, _, _ = filmed
    assert main([*command(folder, tmp_path / "run"), "--rounds", "2"]) == 0
    assert "round 1 drifts and is not kept" in capsys.readouterr().err
    assert not (tmp_path / "run" / "round_2").exists()
    final, first = (Keypoints3D.load(tmp_path / "run" / name / "keypoints3d.h5") for name in (".", "round_0"))
    assert np.array_equal(final.xyz, first.xyz, equal_nan=True)


def test_a_worse_round_is_not_kept_where_nobody_is_there_in_the_held_out_frames(filmed, tmp_path, capsys):
    # Whoever leaves before the last fifth shows nothing in it, after any round: what all frames show then decides.
    folder, _, _ = filmed
    shutil.copytree(folder / "capture", tmp_path / "capture")
    keypoints = Keypoints2D.load(tmp_path / "capture" / "with_hands.h5")
    xy, confidence = keypoints.xy.copy(), keypoints.confidence.copy()
    xy[FRAMES - 2 :], confidence[FRAMES - 2 :] = np.nan, 0
    replace(keypoints, xy=xy, confidence=confidence).save(tmp_path / "capture" / "with_hands.h5")
    weights = folder / "untrained.safetensors"
    assert main([*command(tmp_path, tmp_path / "run", weights=weights), "--rounds", "1"]) == 0
    figures = json.loads((tmp_path / "run" / "round_1" / "metrics.json").read_text())
    assert figures["heldout_frames"]["heldout_joints"] == 0
    assert not figures["kept"]
    assert "joints of all frames agree" in capsys.readouterr().err


def test_no_label_is_made_of_the_frames_whose_own_labels_judge(filmed, tmp_path, monkeypatch):
    folder, _, _ = filmed
    monkeypatch.setattr("posekit.bootstrap.labelled_frames.ENOUGH_TO_MEASURE", 4)
    keypoints = Keypoints2D.load(folder / "capture" / "with_hands.h5")
    few = [0, 1, 2, 3]
    labels = replace(keypoints, xy=keypoints.xy[few], confidence=keypoints.confidence[few], frames=np.array(few))
    labels.save(tmp_path / "labels.h5")
    assert main([*command(folder, tmp_path / "run", "--rounds", "1"), "--labels", str(tmp_path / "labels.h5")]) == 0
    with h5py.File(tmp_path / "run" / "round_1" / "crops.h5") as file:
        # 3 is the last quarter of the labelled frames, and what lies right beside it looks too much like it.
        assert set(file["frame"][()].tolist()) & {0, 1, 2, 3, 4} == {1}
    figures = json.loads((tmp_path / "run" / "round_1" / "metrics.json").read_text())
    assert figures["true_labels"]["instances"] == 3  # of the right hand, in three cameras


def test_labels_whose_files_do_not_tell_their_joints_are_read_as_the_keypoints_order(filmed, tmp_path):
    folder, _, rig = filmed
    keypoints, capture = Keypoints2D.load(folder / "capture" / "with_hands.h5"), Capture.open(folder / "capture")
    xy, confidence = np.nan_to_num(keypoints.xy[2, 0, 0]), keypoints.confidence[2, 0, 0]
    values = np.column_stack([xy, confidence]).tolist()
    parts = {"pose": slice(25), "hand_left": slice(25, 46), "hand_right": slice(46, 67)}
    person = {f"{name}_keypoints_2d": np.ravel(values[part]).tolist() for name, part in parts.items()}
    place = tmp_path / "labels" / f"{keypoints.cameras[0]}_json"
    place.mkdir(parents=True)
    name = f"{keypoints.cameras[0]}_{2:012d}_keypoints.json"
    (place / name).write_text(json.dumps({"version": 1.3, "people": [person]}))
    with pytest.raises(PosekitError, match="name it with --skeleton"):
        read_labels(tmp_path / "labels", capture, rig, [None])
    labels = read_labels(tmp_path / "labels", capture, rig, [get_skeleton("BODY_25B")])
    hand = labels.skeleton.part("right_hand")
    assert labels.frames.tolist() == [2]
    np.testing.assert_allclose(labels.xy[0, 0, 0, hand], keypoints.xy[2, 0, 0, hand])


@pytest.mark.parametrize(
    ("count", "judging", "rate", "kept"),
    [
        # A tenth of a second: three frames of 30 a second, ten of 100, and one frame where there are only three a second.
        (40, [20], 30.0, {*range(17), *range(24, 40)}),
        (40, [20], 100.0, {*range(10), *range(31, 40)}),
        (40, [20], 3.0, {*range(19), *range(22, 40)}),
        (40, [0, 39], None, set(range(4, 36))),
        (40, [30, 8, 8], 30.0, {*range(5), *range(12, 27), *range(34, 40)}),
        # Of few frames: as far on both sides as leaves a third of them, and where nothing does, the judging ones alone.
        (7, [3], 30.0, {0, 1, 5, 6}),
        (6, [1, 3, 5], 30.0, {0, 2, 4}),
        (3, [0, 1, 2], 30.0, set()),
        (5, [], 30.0, set(range(5))),
        (0, [1], 30.0, set()),
    ],
)
def test_frames_beside_those_that_judge_are_kept_out_too(count, judging, rate, kept):
    found = without_neighbours(np.ones(count, dtype=bool), np.array(judging, dtype=np.int64), rate)
    assert set(np.flatnonzero(found).tolist()) == kept


def test_frames_that_were_kept_out_before_stay_out():
    candidates = np.arange(40) < 30
    found = without_neighbours(candidates, np.array([28, 35]), 30.0)
    assert np.array_equal(np.flatnonzero(found), np.arange(25))


def test_a_later_round_that_fails_leaves_the_rounds_before_it(filmed, tmp_path, capsys, monkeypatch):
    folder, _, _ = filmed
    gained = AgreementChange(0, 1, 0.0)
    monkeypatch.setattr("posekit.bootstrap.rounds.agreement_change", lambda *rounds: gained)
    monkeypatch.setattr("posekit.bootstrap.rounds.split_frames", lambda count, share: (np.ones(count, bool),) * 2)
    refused(capsys, [*command(folder, tmp_path / "run"), "--rounds", "2"], "round 2 made no label")
    assert (tmp_path / "run" / "round_1" / "hand-cpm.safetensors").is_file()


def _hands_in_one_view(capture, copy):
    """Copy a capture, its hands in the first camera alone."""
    shutil.copytree(capture, copy)
    keypoints = Keypoints2D.load(copy / "with_hands.h5")
    xy = keypoints.xy.copy()
    hand = keypoints.skeleton.part("right_hand")
    xy[:, 1:, :, hand] = np.nan
    replace(keypoints, xy=xy).save(copy / "with_hands.h5")


def test_what_was_detected_or_trained_is_work(tmp_path):
    assert not _holds_work(tmp_path)
    (tmp_path / "round_0").mkdir()
    (tmp_path / "round_0" / "seconds.json").write_text('{"gates": 99.0, "detection": 2.0}')
    assert not _holds_work(tmp_path)
    (tmp_path / "round_0" / "seconds.json").write_text('{"gates": 2.0, "detection": 3600.0}')
    assert _holds_work(tmp_path)


def test_what_took_long_is_kept_where_no_label_could_be_made(filmed, tmp_path, capsys, monkeypatch):
    folder, _, _ = filmed
    _hands_in_one_view(folder / "capture", tmp_path / "capture")
    monkeypatch.setattr("posekit.apps.bootstrap._LONG_S", 0.0)
    weights = folder / "untrained.safetensors"
    line = refused(capsys, command(tmp_path, tmp_path / "run", weights=weights), "round 1 made no label")
    assert line.endswith(f"; what was done is in {tmp_path / 'run'}")
    assert (tmp_path / "run" / "round_0" / "keypoints2d.h5").is_file()


def test_a_folder_with_other_things_in_it_is_refused_and_kept(filmed, capsys, tmp_path):
    folder, _, _ = filmed
    (tmp_path / "thesis.txt").write_text("years of work")
    refused(capsys, command(folder, tmp_path), "not empty")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_hands_that_no_three_cameras_agree_on_make_no_label_and_leave_nothing(filmed, capsys, tmp_path):
    folder, _, _ = filmed
    _hands_in_one_view(folder / "capture", tmp_path / "capture")
    weights = folder / "untrained.safetensors"
    refused(capsys, command(tmp_path, tmp_path / "run", weights=weights), "no label")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "what",
    [
        "no capture",
        "no rig",
        "no keypoints",
        "short video",
        "lacking camera",
        "other cameras",
        "no detector",
        "json is a folder",
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(filmed, capsys, tmp_path, what):
    folder, _, _ = filmed
    capture = tmp_path / "capture"
    shutil.copytree(folder / "capture", capture)
    arguments = command(tmp_path, tmp_path / "run", weights=folder / "untrained.safetensors")
    expected = ""
    if what == "no capture":
        arguments[1] = expected = str(tmp_path / "nowhere")
    elif what == "no rig":
        (capture / "calibration.toml").unlink()
        expected = "calibration.toml"
    elif what == "no keypoints":
        arguments[3] = expected = "nothing.h5"
    elif what == "short video":
        from posekit.io.video import VideoReader, write_video

        video = sorted((capture / "videos").iterdir())[1]
        frames = list(VideoReader(video).frames(stop=5))
        write_video(video, 30, frames)
        expected = video.name
    elif what == "lacking camera":
        text = (capture / "calibration.toml").read_text()
        (capture / "calibration.toml").write_text(text[: text.index("[cam_3]")] + '[metadata]\nunits = "m"\n')
        expected = "has no camera"
    elif what == "other cameras":
        keypoints = Keypoints2D.load(capture / "with_hands.h5")
        replace(keypoints, cameras=tuple(f"other{c}" for c in range(len(keypoints.cameras)))).save(
            tmp_path / "other.h5"
        )
        arguments[3] = str(tmp_path / "other.h5")
        expected = "other.h5: has keypoints of camera 'other0'"
    elif what == "no detector":
        arguments += ["--detector", str(tmp_path / "none.safetensors")]
        expected = "none.safetensors"
    elif what == "json is a folder":
        arguments += ["--json", str(capture)]
        expected = "it is a folder"
    refused(capsys, arguments, expected)
    assert not (tmp_path / "run").exists()
