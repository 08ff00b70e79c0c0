import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lifted_people import moving_person
from posekit.apps.main import main
from posekit.calibration.formats import write_aniposelib
from posekit.io.trc import marker_name, write_trc
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.lifting.skeletons import LIFTER_15
from posekit.metrics import keypoint_errors, pa_mpjpe_errors, pck_3d
from posekit.skeleton import BODY_25B
from scenes import PERSON, Scene, observe, ring_rig, walk

BODY = PERSON.part("body")
#: What the figures count: the body's joints without eyes and ears.
COUNTED = tuple(joint for joint in BODY_25B.joints if not joint.endswith(("_eye", "_ear")))
PLACES = PERSON.indices(COUNTED)
FRAMES = 12
FPS = 30.0


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Two people, one of whom walks a centimetre or two a frame, so that a frame too many or few shows."""
    people = [walk(FRAMES, (-0.8, 0), (-0.5, 0.2)), walk(FRAMES, (0.8, 0), (0.5, 0))]
    return observe(ring_rig(4), people, noise_px=1.0)


def as_keypoints(xyz: np.ndarray, first: int = 0) -> Keypoints3D:
    F, P, J = xyz.shape[:3]
    return Keypoints3D(
        xyz=xyz,
        covariance=np.zeros((F, P, J, 6)),
        inliers=np.zeros((F, P, J, 4), dtype=bool),
        reprojection_px=np.zeros((F, P, J, 4)),
        status=np.where(np.isfinite(xyz).all(axis=-1), 0, 1),
        cameras=("cam_1", "cam_2", "cam_3", "cam_4"),
        frames=first + np.arange(F),
        skeleton=PERSON,
        fps=FPS,
        source="the scene",
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory, scene) -> Path:
    """Return a folder of files: what is true, and a result that is 3 cm off for person 0 and 1 cm for person 1."""
    folder = tmp_path_factory.mktemp("evaluate")
    scene.keypoints.save(folder / "keypoints2d.h5")
    write_aniposelib(folder / "calibration.toml", scene.rig)
    truth = as_keypoints(scene.xyz)
    truth.save(folder / "truth.h5")
    estimate = scene.xyz.copy()
    estimate[:, 0] += (0.03, 0, 0)
    estimate[:, 1] += (0, 0, 0.01)
    estimate[2, 0, PERSON.index("nose")] = np.nan
    as_keypoints(estimate).save(folder / "result.h5")
    for person in (0, 1):
        write_trc(folder / f"truth_p{person}.trc", truth, person)
    return folder


def evaluate(folder: Path, *arguments: str) -> dict:
    """Run the command in the folder's files, which the arguments name, and return its JSON."""
    given = [str(folder / one) if (folder / one).exists() else one for one in arguments]
    figures = folder / "figures.json"
    assert main(["evaluate", *given, "--json", str(figures)]) == 0
    content = json.loads(figures.read_text())
    figures.unlink()
    return content


VIEWS = ("--rig", "calibration.toml", "--keypoints", "keypoints2d.h5")


def test_against_the_truth(files, scene, capsys):
    figures = evaluate(files, "result.h5", "truth.h5")
    assert figures["joints"] == list(COUNTED)
    assert figures["people_matched"] == 2
    first, second = figures["references"]
    assert (first["person"], second["person"]) == (0, 1)
    assert first["mpjpe_mm"] == pytest.approx(30)
    assert second["mpjpe_mm"] == pytest.approx(10)
    total = FRAMES * len(COUNTED)
    assert figures["mpjpe_mm"] == pytest.approx((30 * (total - 1) + 10 * total) / (2 * total - 1))
    # A shift is all that is wrong.
    for key in ("mpjpe_root_mm", "pa_mpjpe_mm", "n_mpjpe_mm", "bone_length_error_mm"):
        assert figures[key] == pytest.approx(0, abs=1e-6)
    # The nose that is missing is wrong, and so are its two bones' ends where a part needs both: to the neck (no eyes counted).
    assert figures["pck150"] == pytest.approx(1 - 1 / (2 * total))
    assert first["share_found"] == pytest.approx(1 - 1 / total)
    # Thresholds 0 to 150 in steps of 5: 30 mm is right at 25 of 31, but for rounding at 30 itself; 10 mm at 29.
    assert second["auc150"] == pytest.approx(29 / 31, abs=1.01 / 31)
    assert first["frames_same_identity"] == second["frames_same_identity"] == FRAMES
    assert figures["frame_offsets"] == {str(files / "truth.h5"): 0}
    assert figures["people_per_frame"] == {"2": FRAMES}
    assert max(len(line) for line in capsys.readouterr().out.splitlines() if "/" not in line) <= 80


def test_poses_that_are_turned_and_torn(files, scene, tmp_path):
    rng = np.random.default_rng(0)
    estimate = 1.1 * scene.xyz + rng.normal(0, 0.03, scene.xyz.shape)
    as_keypoints(estimate).save(tmp_path / "noisy.h5")
    figures = evaluate(files, str(tmp_path / "noisy.h5"), "truth.h5", "--match-distance", "1")
    pair = estimate[:, :, PLACES], scene.xyz[:, :, PLACES]
    errors = keypoint_errors(*pair)
    assert figures["mpjpe_mm"] == pytest.approx(1e3 * errors.mean())
    assert figures["median_error_mm"] == pytest.approx(1e3 * np.median(errors))
    assert figures["pck150"] == pytest.approx(pck_3d(errors))
    assert 0.1 < figures["pck150"] < 0.99
    assert figures["pa_mpjpe_mm"] == pytest.approx(1e3 * pa_mpjpe_errors(*pair).mean())
    # 30 mm per axis: the mean of their norm is 48 mm, less what the alignment takes up.
    assert 40 < figures["pa_mpjpe_mm"] < 48
    hips = [COUNTED.index("left_hip"), COUNTED.index("right_hip")]
    rooted = [poses - poses[:, :, hips].mean(axis=2, keepdims=True) for poses in pair]
    assert figures["mpjpe_root_mm"] == pytest.approx(1e3 * keypoint_errors(*rooted).mean())
    assert figures["pa_mpjpe_mm"] < figures["n_mpjpe_mm"] < figures["mpjpe_root_mm"] < figures["mpjpe_mm"]


def save_pair(folder, lifted, truth):
    """Write people (F, P, J, 3) that one camera's picture was lifted to, and the true ones, NaN where there is nothing."""
    for name, xyz in (("lifted.h5", lifted), ("true.h5", truth)):
        F, P, J = xyz.shape[:3]
        nothing = np.zeros((F, P, J, 6)), np.zeros((F, P, J, 1), dtype=bool), np.zeros((F, P, J, 1))
        status = np.where(np.isfinite(xyz).all(axis=-1), 0, 1)
        Keypoints3D(xyz, *nothing, status, ("cam",), np.arange(F), LIFTER_15, FPS, name).save(folder / name)


def test_the_root_of_one_view_is_no_joint_for_3dpck(tmp_path):
    truth = moving_person(FRAMES)[:, None]
    root = LIFTER_15.index("mid_hip")
    wrong = truth + np.array((0.2, 0, 0))
    wrong[..., root, :] = truth[..., root, :]
    save_pair(tmp_path, wrong, truth)
    figures = evaluate(tmp_path, "lifted.h5", "true.h5")
    # Every joint but the root is 200 mm off; the root, which is 0 mm from itself, would make it 1 of 15.
    assert (figures["pck150"], figures["auc150"]) == (0, 0)
    assert figures["mpjpe_mm"] == pytest.approx(200 * 14 / 15)  # as papers on Human3.6M count it


def test_who_sits_at_a_desk_is_measured_from_the_shoulders(tmp_path):
    truth = moving_person(FRAMES)[:, None]
    below = LIFTER_15.indices([joint for joint in LIFTER_15.joints if joint.endswith(("hip", "knee", "ankle"))])
    truth[FRAMES // 4 :, :, below] = np.nan  # hips in a quarter of the frames
    lifted = moving_person(FRAMES)[:, None] + np.array((0, 3.0, 0))
    lifted[..., LIFTER_15.index("nose"), :] += (0, 0, 0.2)
    save_pair(tmp_path, lifted, truth)
    figures = evaluate(tmp_path, "lifted.h5", "true.h5")
    # The nose alone is off its place against the shoulders; there are 8 joints in each frame, and 7 more in a quarter of them.
    assert figures["mpjpe_mm"] == pytest.approx(200 * FRAMES / (8 * FRAMES + 7 * FRAMES // 4))
    assert figures["share_found"] == 1


def test_poses_whose_root_the_reference_lacks_do_not_count_as_wrong(tmp_path):
    truth = moving_person(FRAMES)[:, None]
    lifted = truth.copy()
    below = LIFTER_15.indices([joint for joint in LIFTER_15.joints if joint.endswith(("hip", "knee", "ankle"))])
    truth[: 2 * FRAMES // 5, :, below] = np.nan
    save_pair(tmp_path, lifted, truth)
    figures = evaluate(tmp_path, "lifted.h5", "true.h5")
    assert (figures["mpjpe_mm"], figures["pck150"], figures["auc150"], figures["share_found"]) == (0, 1, 1, 1)
    assert figures["root"] == ["mid_hip"]


def test_actions_count_alike_in_their_mean(files, tmp_path, capsys):
    actions = tmp_path / "actions.csv"
    actions.write_text("0,1,short\n2,11,long\n")
    figures = evaluate(files, "result.h5", "truth.h5", "--actions", str(actions))
    for name in ("mpjpe_mm", "pa_mpjpe_mm", "share_found"):
        mean = sum(figures["actions"][action][name] for action in ("short", "long")) / 2
        assert figures["actions_mean"][name] == pytest.approx(mean)
    # The nose is missing in one of the ten frames of one action, and in one of twelve.
    assert figures["actions_mean"]["share_found"] > figures["share_found"]
    for wrong in ("9,3,walking", "0,9,"):
        actions.write_text(wrong + "\n")
        given = [str(files / name) for name in ("result.h5", "truth.h5")]
        assert main(["evaluate", *given, "--actions", str(actions)]) == 2
        assert f"line 1: found '{wrong}', expected first to last and a name" in " ".join(
            capsys.readouterr().err.split()
        )


def test_several_marker_files_are_several_people_in_any_order(files):
    figures = evaluate(files, "result.h5", "truth_p1.trc", "truth_p0.trc")
    assert [one["person"] for one in figures["references"]] == [1, 0]
    assert [one["mpjpe_mm"] for one in figures["references"]] == pytest.approx([10, 30])
    # Rows count from 1, the video's frames from 0.
    assert list(figures["frame_offsets"].values()) == [-1, -1]


def test_frames_are_found_where_the_files_number_them_otherwise(files, scene, tmp_path, capsys):
    as_keypoints(scene.xyz, first=100).save(tmp_path / "late.h5")
    # What stands in row 1 is frame 100, as the file's time says too; and a file that begins in the middle.
    write_trc(tmp_path / "late.trc", as_keypoints(scene.xyz, first=100))
    write_trc(tmp_path / "part.trc", as_keypoints(scene.xyz[4:8], first=104))
    for name, offset, frames in (("late.trc", 99, FRAMES), ("part.trc", 103, 4)):
        figures = evaluate(files, str(tmp_path / "late.h5"), str(tmp_path / name))
        assert figures["frame_offsets"] == {str(tmp_path / name): offset}
        assert figures["mpjpe_mm"] == pytest.approx(0, abs=1e-6)
        assert figures["references"][0]["frames_common"] == frames
        assert f"row n is taken as frame n + {offset}" in capsys.readouterr().out
    # The time begins one frame late in Pose2Sim's files: rows 1 to 12 at 1/60 s and on, of the frames 0 to 11.
    text = (files / "truth_p0.trc").read_text().splitlines()
    for number, line in enumerate(text[5:], start=5):
        row, time, rest = line.split("\t", 2)
        text[number] = f"{row}\t{float(time) + 1 / FPS!r}\t{rest}"
    (tmp_path / "pose2sim.trc").write_text("\n".join(text) + "\n")
    figures = evaluate(files, "truth.h5", str(tmp_path / "pose2sim.trc"))
    assert figures["frame_offsets"] == {str(tmp_path / "pose2sim.trc"): -1}
    assert figures["mpjpe_mm"] == pytest.approx(0, abs=1e-6)


def test_an_offset_that_is_given_is_taken(files):
    figures = evaluate(files, "truth.h5", "truth_p0.trc", "--frame-offset", "0")
    assert list(figures["frame_offsets"].values()) == [0]
    assert figures["references"][0]["frames_common"] == FRAMES - 1
    assert figures["mpjpe_mm"] > 10


def test_identities_that_are_exchanged_are_counted(files, scene, tmp_path):
    exchanged = scene.xyz.copy()
    exchanged[9:] = exchanged[9:, ::-1]
    as_keypoints(exchanged).save(tmp_path / "exchanged.h5")
    figures = evaluate(files, str(tmp_path / "exchanged.h5"), "truth.h5")
    for one in figures["references"]:
        assert one["frames_same_identity"] == 9
        assert one["frames_matched"] == FRAMES
        assert one["identities"] == 2
    # A person too many in the reference is nobody's.
    three = np.concatenate((scene.xyz, scene.xyz[:, :1] + (0, 5, 0)), axis=1)
    as_keypoints(three).save(tmp_path / "three.h5")
    figures = evaluate(files, "truth.h5", str(tmp_path / "three.h5"))
    assert figures["people_matched"] == 2
    lost = figures["references"][2]
    assert (lost["person"], lost["frames_same_identity"], lost["mpjpe_mm"], lost["pck150"]) == (None, 0, None, 0)


def test_against_the_detections(files, scene):
    figures = evaluate(files, "truth.h5", *VIEWS)
    xy = np.stack([camera.project(scene.xyz) for camera in scene.rig.cameras], axis=1)
    error = np.linalg.norm(scene.keypoints.xy - xy, axis=-1)[:, :, :, PLACES]
    by_person = sorted(np.nanmean(error, axis=(0, 1, 3)))
    # All of the scene's confidences are above 0.3.
    assert sorted(one["mean_all_views_px"] for one in figures["persons"]) == pytest.approx(by_person)
    assert figures["mean_all_views_px"] == figures["persons"][0]["mean_all_views_px"]
    assert figures["persons"][0]["median_all_views_px"] == pytest.approx(np.nanmedian(error[:, :, 0]))
    assert figures["persons"][0]["detections"] == np.isfinite(error[:, :, 0]).sum()
    # This file names no view that its points are made of.
    assert figures["mean_reprojection_px"] is None
    # A marker file of the same is measured alike.
    trc = evaluate(files, "truth_p1.trc", *VIEWS)
    assert trc["mean_all_views_px"] == pytest.approx(figures["persons"][1]["mean_all_views_px"])
    assert trc["frame_offsets"] == {str(files / "truth_p1.trc"): -1}


def test_as_triangulate_measures_it(files, tmp_path):
    out, told = str(tmp_path / "out.h5"), str(tmp_path / "told.json")
    paths = [str(files / one) for one in ("keypoints2d.h5", "calibration.toml")]
    assert main(["triangulate", paths[0], "--rig", paths[1], "--out", out, "--json", told]) == 0
    expected = json.loads(Path(told).read_text())
    figures = evaluate(files, out, *VIEWS)
    for key in ("mean_reprojection_px", "median_reprojection_px", "mean_all_views_px"):
        for one, other in zip(figures["persons"], expected["persons"], strict=True):
            assert one[key] == pytest.approx(other[key], rel=1e-5)  # the file's own errors are float32
    assert figures["points"] == expected["points"]


def test_detections_of_little_confidence_do_not_count(files, scene, tmp_path):
    confidence = scene.keypoints.confidence.copy()
    confidence[:, 2] = 0.29
    replace(scene.keypoints, confidence=confidence).save(tmp_path / "unsure.h5")
    paths = ("--rig", "calibration.toml", "--keypoints", str(tmp_path / "unsure.h5"))
    figures = evaluate(files, "truth.h5", *paths)
    xy = np.stack([camera.project(scene.xyz) for camera in scene.rig.cameras], axis=1)
    error = np.linalg.norm(scene.keypoints.xy - xy, axis=-1)[:, [0, 1, 3]][:, :, 0, PLACES]
    assert figures["mean_all_views_px"] == pytest.approx(np.nanmean(error))


def test_every_camera_left_out(files, scene):
    figures = evaluate(files, "truth.h5", *VIEWS, "--held-out")["held_out"]
    assert list(figures["cameras"]) == list(scene.rig.names)
    assert sum(one["detections"] for one in figures["cameras"].values()) == figures["detections"]
    assert figures["detections"] > 0.9 * 4 * 2 * FRAMES * len(COUNTED)
    for one in figures["cameras"].values():
        # The median error of a detection by itself is 1.18 px, that of what three others foretell about the same again.
        assert 1.2 < one["median_px"] < 3
    assert min(one["mean_px"] for one in figures["cameras"].values()) < figures["mean_px"] < 4


def test_bones_by_themselves(files, scene, tmp_path):
    figures = evaluate(files, "truth.h5")
    assert figures["bone_std_mm"] == pytest.approx(0, abs=1e-6)
    assert figures["symmetry_mm"] == pytest.approx(0, abs=1e-6)
    assert {part: one["bones"] for part, one in figures["parts"].items()}["left_hand"] == 20
    limp = scene.xyz.copy()
    # Every other frame, the left ankle and what hangs on it are 2 cm lower: one bone of those counted changes.
    lower = [
        j
        for j, name in enumerate(PERSON.joints)
        if name in ("left_ankle", "left_heel", "left_big_toe", "left_small_toe")
    ]
    limp[::2, :, lower] -= (0, 0, 0.02)
    as_keypoints(limp).save(tmp_path / "limp.h5")
    figures = evaluate(files, str(tmp_path / "limp.h5"), "truth.h5")
    shin = next(one for one in figures["bones"] if one["bone"] == "left_knee left_ankle")
    # Shins are upright in the scene but for 4 cm; two values 2 cm apart, six times each: 1 cm * sqrt(12 / 11).
    assert shin["std_mm"] == pytest.approx(10 * np.sqrt(12 / 11), rel=0.01)
    assert shin["frames"] == FRAMES
    others = [one["std_mm"] for one in figures["bones"] if one is not shin]
    assert max(others) == pytest.approx(0, abs=1e-6)
    assert figures["symmetry_mm"] > 0.5
    assert figures["references"][0]["parts"]["body"]["symmetry_mm"] == pytest.approx(0, abs=1e-6)


def test_chosen_joints_and_an_account_of_the_rest(files, tmp_path):
    text = (files / "truth_p0.trc").read_text()
    (tmp_path / "study.trc").write_text(text.replace("\tNose\t", "\tC7\t"))
    figures = evaluate(files, "result.h5", str(tmp_path / "study.trc"))
    assert "nose" not in figures["joints"]
    assert figures["joints_without_counterpart"] == {
        str(files / "result.h5"): ["nose"],
        str(tmp_path / "study.trc"): ["C7"],
    }
    figures = evaluate(files, "result.h5", "truth.h5", "--joints", "left_index_4", "nose")
    assert figures["joints"] == ["left_index_4", "nose"]
    assert figures["points"] == 2 * FRAMES - 1
    assert marker_name("left_index_4") in text


def test_2d_keypoints_against_2d_keypoints(files, scene, tmp_path, capsys):
    truth = np.stack([camera.project(scene.xyz) for camera in scene.rig.cameras], axis=1)
    estimate = truth[:, :, ::-1].copy()  # people in another order
    estimate[:, :2] += (3, 4)
    estimate[:, 2:] += (0, 12)
    nose = PERSON.index("nose")
    estimate[:, 0, :, nose] = np.nan
    kept = {"cameras": scene.rig.names, "frames": np.arange(FRAMES), "skeleton": PERSON}
    for name, xy in (("truth", truth), ("estimate", estimate)):
        Keypoints2D(xy, np.ones(xy.shape[:-1]), **kept, source=name).save(tmp_path / f"{name}.h5")
    figures = evaluate(files, str(tmp_path / "estimate.h5"), str(tmp_path / "truth.h5"))
    there = np.isfinite(truth).all(axis=-1)
    first, second, third, fourth = figures["cameras"].values()
    assert first["keypoints"] == there[:, 0].sum()
    assert first["keypoints_found"] == there[:, 0].sum() - there[:, 0, :, nose].sum()
    # Files hold float32.
    assert (second["epe_px"], third["median_px"]) == pytest.approx((5, 12), rel=1e-3)
    lost = there[:, 0, :, nose].sum() / there[:, 0].sum()
    assert first["pck_10px"] == pytest.approx(1 - lost)
    assert (second["pck_10px"], third["pck_10px"], third["pck_20px"], fourth["pck_5px"]) == (1, 0, 1, 0)
    # Straight between the thresholds of 4 and 5 px or, as rounding has it, of 5 and 6 px: half a pixel to either side, of 20.
    assert second["auc_20px"] == pytest.approx((20 - 5) / 20, abs=0.026)
    assert fourth["auc_20px"] == pytest.approx((20 - 12) / 20, abs=0.026)
    assert figures["keypoints"] == sum(one["keypoints"] for one in figures["cameras"].values())
    # People are some 350 px tall, their heads 70 px from the neck up, a torso 100 px: 12 px are within each.
    assert (third["pck_box_0.2"], third["pck_head_0.5"], third["pck_torso_0.2"]) == (1, 1, 1)
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 80
    hands = evaluate(
        files, str(tmp_path / "estimate.h5"), str(tmp_path / "truth.h5"), "--joints", "nose", "left_index_4"
    )
    assert hands["joints"] == ["nose", "left_index_4"]
    assert hands["pck_head_0.5"] is None


def cut(path: Path, to: Path) -> str:
    to.write_bytes(path.read_bytes()[:-200])
    return str(to)


# Arguments, with files of the folder and of an empty one, and what the one line says.
MISTAKES = {
    "no such result": (lambda f, e: ["gone.h5"], r"gone\.h5: no such file"),
    "a result of another kind": (
        lambda f, e: [f / "calibration.toml"],
        r"calibration\.toml: '\.toml' is no file of people",
    ),
    "2D against nothing": (
        lambda f, e: [f / "keypoints2d.h5"],
        r"keypoints2d\.h5: is of 2D keypoints; one reference of 2D keypoints was expected",
    ),
    "2D against 3D": (
        lambda f, e: [f / "keypoints2d.h5", f / "truth.h5"],
        r"truth\.h5: schema is 'posekit\.keypoints3d",
    ),
    "3D against 2D": (
        lambda f, e: [f / "truth.h5", f / "keypoints2d.h5"],
        r"keypoints2d\.h5: schema is 'posekit\.keypoints2d",
    ),
    "a result cut short": (lambda f, e: [cut(f / "result.h5", e / "a.h5")], r"a\.h5: is no keypoint file"),
    "no such reference": (lambda f, e: [f / "result.h5", f / "gone.trc"], r"gone\.trc: no such file"),
    "a rig without keypoints": (
        lambda f, e: [f / "result.h5", "--rig", f / "calibration.toml"],
        "--rig: is of use with --keypoints only",
    ),
    "keypoints without a rig": (
        lambda f, e: [f / "result.h5", "--keypoints", f / "keypoints2d.h5"],
        "--keypoints: is of use with --rig only",
    ),
    "held out without cameras": (
        lambda f, e: [f / "result.h5", "--held-out"],
        "--held-out: needs the cameras' detections",
    ),
    "no distance": (lambda f, e: [f / "result.h5", "--match-distance", "0"], "--match-distance: 0 is not a positive"),
    "an unknown joint": (
        lambda f, e: [f / "result.h5", "--joints", "tail"],
        r"result\.h5: has no joint 'tail'; it has: nose, left_eye",
    ),
    "no frame in common": (
        lambda f, e: [f / "result.h5", f / "truth_p0.trc", "--frame-offset", "100"],
        r"truth_p0\.trc: none of its frames 101 to 112 is among the frames 0 to 11",
    ),
    "figures to no such place": (
        lambda f, e: [f / "result.h5", "--json", e / "below" / "a.json"],
        "below: no such folder",
    ),
    "figures over the result": (
        lambda f, e: [f / "result.h5", "--json", f / "result.h5"],
        r"result\.h5: would be written over",
    ),
}


@pytest.mark.parametrize(("arguments", "line"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_one_line(files, tmp_path, capsys, arguments, line):
    given = [str(one) for one in arguments(files, tmp_path)]
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    assert main(["evaluate", *given]) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert told.startswith("posekit: error: ")
    assert told.count("\n") == 1
    assert re.search(line, told)
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


def test_nothing_in_common_is_told(files, tmp_path, capsys):
    text = (files / "truth_p0.trc").read_text().splitlines()
    names = text[3].split("\t")
    text[3] = "\t".join(f"study_{name}" if name and number > 1 else name for number, name in enumerate(names))
    (tmp_path / "study.trc").write_text("\n".join(text) + "\n")
    assert main(["evaluate", str(files / "result.h5"), str(tmp_path / "study.trc")]) == 2
    assert "have no joint of BODY_25B+hands in common" in capsys.readouterr().err


def test_pose2sims_own_result_on_a_real_capture(shared_data, tmp_path):
    folder = shared_data / "pose2sim_balancing"
    given = [folder / "peer_3d" / "balancing_raw_0-100.trc", "--rig", folder / "Calib.qca.txt"]
    more = ["--keypoints", folder / "openpose", "--skeleton", "BODY_25B", "--json", tmp_path / "a.json"]
    assert main(["evaluate", *map(str, given + more)]) == 0
    figures = json.loads((tmp_path / "a.json").read_text())
    assert figures["joints"] == list(COUNTED)  # its 21 markers
    assert figures["points"] == 2100
    assert figures["mean_all_views_px"] == pytest.approx(14.9, abs=0.1)  # as it was measured by others
    assert list(figures["frame_offsets"].values()) == [-1]


def test_two_people_of_a_real_capture(shared_data, tmp_path):
    folder = shared_data / "pose2sim_two_people"
    out = str(tmp_path / "out.h5")
    views = [str(folder / "openpose"), "--rig", str(folder / "Calib.qca.txt"), "--skeleton", "BODY_25B"]
    assert main(["triangulate", *views, "--out", out]) == 0
    peers = [str(folder / "peer_3d" / f"multi_P{number}_raw.trc") for number in (1, 2)]
    assert main(["evaluate", out, *peers, "--json", str(tmp_path / "a.json")]) == 0
    figures = json.loads((tmp_path / "a.json").read_text())
    assert [one["frames"] for one in figures["references"]] == [100, 100]
    assert min(one["frames_same_identity"] for one in figures["references"]) >= 95
    assert len({one["person"] for one in figures["references"]}) == 2
    assert sum(figures["people_per_frame"].values()) == 100
