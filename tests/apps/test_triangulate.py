import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posekit.apps.main import main
from posekit.calibration.formats import write_aniposelib
from posekit.camera import Camera, Rig
from posekit.io.trc import marker_name
from posekit.io.video import write_video
from posekit.keypoints import Keypoints2D, Keypoints3D
from posekit.skeleton import BODY_25B
from scenes import PERSON, Scene, observe, ring_rig, walk

BODY = PERSON.part("body")


@pytest.fixture(scope="module")
def scene() -> Scene:
    people = [walk(4, (-0.8, 0), (-0.6, 0)), walk(4, (0.8, 0), (0.6, 0))]
    # The first is seen a little less well.
    return observe(ring_rig(4), [people[0], people[1]], noise_px=1.0, missing_share=0.02)


@pytest.fixture
def inputs(tmp_path, scene) -> tuple[Path, Path, Path]:
    """Return keypoints2d.h5, calibration.toml, and an empty folder for the results."""
    scene.keypoints.save(tmp_path / "keypoints2d.h5")
    write_aniposelib(tmp_path / "calibration.toml", scene.rig)
    (tmp_path / "out").mkdir()
    return tmp_path / "keypoints2d.h5", tmp_path / "calibration.toml", tmp_path / "out"


def triangulate(keypoints: Path, rig: Path, out: Path, *more: str) -> int:
    return main(["triangulate", str(keypoints), "--rig", str(rig), "--out", str(out), *more])


def write_json(folder: Path, keypoints: Keypoints2D, order: np.random.Generator | None = None) -> None:
    """Write OpenPose JSON of a BODY_25B, the people of every file shuffled where an order is given."""
    values = np.concatenate((keypoints.xy, keypoints.confidence[..., None]), axis=-1)
    values = np.nan_to_num(values, nan=0.0)[:, :, :, :25]
    for c, camera in enumerate(keypoints.cameras):
        place = folder / f"{camera}_json"
        place.mkdir(parents=True)
        for f, frame in enumerate(keypoints.frames):
            people = [{"pose_keypoints_2d": person.ravel().tolist()} for person in values[f, c]]
            if order is not None:
                order.shuffle(people)
            (place / f"{camera}.{frame:04d}.json").write_text(json.dumps({"version": 1.3, "people": people}))


def test_a_result_its_record_its_figures_and_its_table(inputs, scene, capsys):
    keypoints, rig, out = inputs
    assert triangulate(keypoints, rig, out / "a.h5", "--json", str(out / "figures.json"), "--fps", "50") == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.h5", "a.run.json", "figures.json"]
    people = Keypoints3D.load(out / "a.h5")
    assert (people.fps, people.cameras, people.skeleton) == (50.0, scene.rig.names, PERSON)
    distance = np.linalg.norm(people.xyz[:, :, None] - scene.xyz[:, None], axis=-1)
    assert (np.nanmedian(distance, axis=(0, 3)).min(axis=1) < 0.01).all()  # 1 px at 4.5 m is 4.5 mm a view

    figures = json.loads((out / "figures.json").read_text())
    joints = [joint for joint in BODY_25B.joints if not joint.endswith(("_eye", "_ear"))]
    assert figures["joints"] == joints
    places = people.skeleton.indices(tuple(joints))
    found = np.isfinite(people.xyz[:, 0, places, 0])
    kept = people.inliers[:, 0, places]
    assert figures["people"] == len(figures["persons"]) == 2
    assert figures["points"] == found.sum()
    assert figures["points_failed"] == (~found).sum()
    assert figures["frames"] == 4
    assert figures["views_per_point"] == pytest.approx(kept.sum() / found.sum())
    assert figures["mean_reprojection_px"] == pytest.approx(people.reprojection_px[:, 0, places][kept].mean())
    assert figures["median_reprojection_px"] == pytest.approx(np.median(people.reprojection_px[:, 0, places][kept]))
    # All views that are at all believed, kept or not; all of the scene's are.
    assert figures["mean_all_views_px"] == pytest.approx(np.nanmean(people.reprojection_px[:, 0, places]))
    assert figures["mean_all_views_px"] >= figures["mean_reprojection_px"]
    assert figures["points_per_second"] > 0

    record = json.loads((out / "a.run.json").read_text())
    assert record["command"] == "triangulate"
    assert record["settings"]["fps"] == 50
    assert record["settings"]["rig"] == str(rig)
    assert record["figures"] == figures
    assert record["inputs"] == {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in (keypoints, rig)}
    assert {"numpy", "torch"} <= set(record["versions"])

    printed, told = capsys.readouterr()
    assert told == ""
    assert f"{figures['mean_reprojection_px']:.2f}" in printed


def test_figures_over_chosen_joints_and_a_chosen_threshold(inputs):
    keypoints, rig, out = inputs
    more = (
        "--joints",
        "nose",
        "left_wrist",
        "--threshold-px",
        "100",
        "--min-views",
        "3",
        "--json",
        str(out / "f.json"),
    )
    assert triangulate(keypoints, rig, out / "a.h5", *more) == 0
    figures = json.loads((out / "f.json").read_text())
    assert figures["joints"] == ["nose", "left_wrist"]
    assert figures["points"] + figures["points_failed"] == 8
    assert figures["threshold_px"] == 100
    views = Keypoints3D.load(out / "a.h5").inliers.sum(axis=-1)
    assert set(views.ravel().tolist()) <= {0, 3, 4}


def test_openpose_folders_give_what_the_same_keypoints_give(tmp_path, inputs, scene):
    _, rig, out = inputs
    body = replace(
        scene.keypoints,
        xy=scene.keypoints.xy[..., BODY, :],
        confidence=scene.keypoints.confidence[..., BODY],
        skeleton=BODY_25B,
    )
    body.save(tmp_path / "body.h5")
    write_json(tmp_path / "json", body)
    write_json(tmp_path / "shuffled", body, np.random.default_rng(0))
    assert triangulate(tmp_path / "body.h5", rig, out / "a.h5") == 0
    expected = Keypoints3D.load(out / "a.h5")
    assert expected.fps == scene.keypoints.fps
    for folder in ("json", "shuffled"):
        # Each replaces the result before it.
        assert triangulate(tmp_path / folder, rig, out / "a.h5", "--skeleton", "BODY_25B") == 0
        assert sorted(path.name for path in out.iterdir()) == ["a.h5", "a.run.json"]
        found = Keypoints3D.load(out / "a.h5")
        assert found.skeleton == BODY_25B
        assert found.fps is None
        # JSON spells every digit of a float32.
        assert np.array_equal(found.xyz, expected.xyz, equal_nan=True)
        assert np.array_equal(found.inliers, expected.inliers)
    # JSON says nothing of its rate: the capture's videos do, or the person.
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "cam_1.mp4", 50, [np.zeros((16, 16, 3), np.uint8)] * 2)
    (tmp_path / "videos" / "audio.txt").write_text("no video")
    for more, fps in (((), 50), (("--fps", "25"), 25)):
        assert triangulate(tmp_path / "json", rig, out / "a.h5", "--skeleton", "BODY_25B", *more) == 0
        assert Keypoints3D.load(out / "a.h5").fps == fps


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-100])
    return path


def with_rig(rig: Rig, folder: Path, text: str | None = None) -> Path:
    path = folder / "other.toml"
    write_aniposelib(path, rig)
    if text is not None:
        path.write_text(path.read_text().replace('units = "m"', text))
    return path


def in_millimetres(rig: Rig) -> Rig:
    return Rig(
        tuple(Camera(c.name, c.size, c.matrix, c.distortion, c.rotation, c.translation * 1000) for c in rig.cameras),
        "in mm",
    )


def damage(folder: Path, scene: Scene, content: bytes) -> Path:
    write_json(folder / "json", scene.keypoints)
    (folder / "json" / "cam_2_json" / "cam_2.0002.json").write_bytes(content)
    return folder / "json"


def no_keypoints(scene: Scene, folder: Path) -> Path:
    empty = replace(scene.keypoints, xy=np.full(scene.keypoints.xy.shape, np.nan))
    empty.save(folder / "empty.h5")
    return folder / "empty.h5"


# What is wrong -> (keypoints, rig, out, further arguments) from what the fixtures give, and what the one line says.
MISTAKES = {
    "rig lacks a camera": (
        lambda k, r, o, s: (k, with_rig(s.rig.select(("cam_1", "cam_2")), o.parent), o / "a.h5"),
        r"other\.toml: has no camera 'cam_3'; it has: cam_1, cam_2",
    ),
    "JSON that is damaged": (
        lambda k, r, o, s: (damage(o.parent, s, b'{"people":['), r, o / "a.h5"),
        r"cam_2\.0002\.json: is damaged \(11 bytes",
    ),
    "JSON that is empty": (
        lambda k, r, o, s: (damage(o.parent, s, b""), r, o / "a.h5"),
        r"cam_2\.0002\.json: is damaged \(0 bytes",
    ),
    "no such keypoints": (lambda k, r, o, s: (o.parent / "gone", r, o / "a.h5"), "gone: no such file or folder"),
    "no such rig": (lambda k, r, o, s: (k, o.parent / "gone.toml", o / "a.h5"), r"gone\.toml: no such file"),
    "a rig of an unknown format": (
        lambda k, r, o, s: (k, k, o / "a.h5"),
        r"keypoints2d\.h5: is no camera file of a known",
    ),
    "keypoints that are none": (lambda k, r, o, s: (r, r, o / "a.h5"), r"calibration\.toml: holds no 2D keypoints"),
    "keypoints cut short": (lambda k, r, o, s: (cut(k), r, o / "a.h5"), r"keypoints2d\.h5: is no keypoint file"),
    "an empty folder": (lambda k, r, o, s: (o, r, o / "a.h5"), "out: holds no 2D keypoints that are known"),
    "no such place": (lambda k, r, o, s: (k, r, o / "below" / "a.h5"), "below: no such folder"),
    "figures to no such place": (
        lambda k, r, o, s: (k, r, o / "a.h5", "--json", str(o / "below" / "a.json")),
        "below: no such folder",
    ),
    "out is a folder": (lambda k, r, o, s: (k, r, o), "out: cannot be written: it is a folder"),
    "out is no .h5": (lambda k, r, o, s: (k, r, o / "a.trc"), r"a\.trc: the result is an HDF5 file"),
    "out over the input": (lambda k, r, o, s: (k, r, k), r"keypoints2d\.h5: would be written over"),
    "figures over the record": (
        lambda k, r, o, s: (k, r, o / "a.h5", "--json", str(o / "a.run.json")),
        r"a\.run\.json: would be written over",
    ),
    "figures over the rig": (
        lambda k, r, o, s: (k, r, o / "a.h5", "--json", str(r)),
        r"calibration\.toml: would be written over",
    ),
    "an unknown joint": (
        lambda k, r, o, s: (k, r, o / "a.h5", "--joints", "nose", "tail"),
        r"skeleton BODY_25B\+hands has no joint 'tail'; it has: nose, left_eye",
    ),
    "an unknown skeleton": (
        lambda k, r, o, s: (damage(o.parent, s, b"{}"), r, o / "a.h5", "--skeleton", "BODY_26"),
        "skeleton 'BODY_26' is not known; known are: BODY_25, BODY_25B",
    ),
    "a skeleton of a hand, for bodies alone": (
        lambda k, r, o, s: (damage(o.parent, s, b'{"people": []}'), r, o / "a.h5", "--skeleton", "HAND_21"),
        r"json: has no detection in any frame",
    ),
    "nobody at all": (lambda k, r, o, s: (no_keypoints(s, o.parent), r, o / "a.h5"), r"has no detection in any frame"),
    "millimetres that are not declared": (
        lambda k, r, o, s: (k, with_rig(in_millimetres(s.rig), o.parent, ""), o / "a.h5"),
        r"other\.toml: translations up to \d+ are too long to be metres",
    ),
    "millimetres that are declared to be metres": (
        lambda k, r, o, s: (k, with_rig(in_millimetres(s.rig), o.parent), o / "a.h5"),
        r"other\.toml: people come out .* m across: the rig's units are not metres",
    ),
    "one view": (
        lambda k, r, o, s: (k, r, o / "a.h5", "--min-views", "1"),
        "--min-views: 1 views cannot place a point",
    ),
    "no threshold": (
        lambda k, r, o, s: (k, r, o / "a.h5", "--threshold-px", "0"),
        "--threshold-px: 0 is not a positive",
    ),
    "a threshold that is no number": (
        lambda k, r, o, s: (k, r, o / "a.h5", "--threshold-px", "nan"),
        "--threshold-px: nan is not a positive number",
    ),
    "no time": (lambda k, r, o, s: (k, r, o / "a.h5", "--fps", "-30"), "--fps: -30 is not a positive number"),
}


@pytest.mark.parametrize(("arguments", "line"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_one_line_and_leave_nothing(inputs, scene, capsys, arguments, line):
    keypoints, rig, out = inputs
    given = arguments(keypoints, rig, out, scene)
    before = {path.name: path.read_bytes() for path in out.parent.iterdir() if path.is_file()}
    assert triangulate(*given) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert told.startswith("posekit: error: ")
    assert told.count("\n") == 1
    assert told.endswith("\n")
    assert re.search(line, told)
    assert list(out.iterdir()) == []
    assert {path.name: path.read_bytes() for path in out.parent.iterdir() if path.is_file()} == before


def test_a_mistake_leaves_an_older_result_alone(inputs, scene):
    keypoints, _, out = inputs
    (out / "a.h5").write_text("older")
    assert triangulate(keypoints, with_rig(in_millimetres(scene.rig), out.parent), out / "a.h5") == 2
    assert [path.name for path in out.iterdir()] == ["a.h5"]
    assert (out / "a.h5").read_text() == "older"


def test_an_undeclared_unit_is_told_as_a_warning(inputs, scene, capsys):
    keypoints, _, out = inputs
    assert triangulate(keypoints, with_rig(scene.rig, out.parent, ""), out / "a.h5") == 0
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("posekit: warning: ")
    assert told[0].endswith("other.toml: does not say its units; read as metres")


# Figures over these 21 joints are what the capture's peers report.
COUNTED = tuple(joint for joint in BODY_25B.joints if not joint.endswith(("_eye", "_ear")))


def check_balancing_man(figures: dict, people: Keypoints3D, shared_data: Path) -> None:
    assert figures["joints"] == list(COUNTED)
    assert figures["mean_reprojection_px"] <= 10.0
    assert figures["points"] >= 2080  # of 100 frames x 21 joints
    assert figures["views_per_point"] >= 3.2
    assert figures["mean_all_views_px"] < 14.9  # what Pose2Sim's own result leaves
    assert figures["frames"] == 100
    trc = shared_data / "pose2sim_balancing" / "peer_3d" / "balancing_raw_0-100.trc"
    markers = [name for name in trc.read_text().splitlines()[3].split("\t")[2:] if name]
    peer = np.loadtxt(trc, skiprows=5)[:, 2:].reshape(100, 21, 3)[..., [2, 0, 1]]  # its (z, x, y) is the Z-up world
    joint_of = {marker_name(joint): joint for joint in COUNTED}
    ours = people.xyz[:, 0, people.skeleton.indices(tuple(joint_of[marker] for marker in markers))]
    distance = np.linalg.norm(ours - peer, axis=-1)
    # Both solve from the same detections; cameras kept or not make centimetres. The bystander stands 3 m away.
    assert np.nanmedian(distance, axis=1).max() < 0.1
    assert np.nanmedian(distance) < 0.03


@pytest.fixture(scope="module")
def balancing(shared_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("balancing")
    folder = shared_data / "pose2sim_balancing"
    more = ("--skeleton", "BODY_25B", "--fps", "60", "--json", str(out / "figures.json"))
    assert triangulate(folder / "openpose", folder / "Calib.qca.txt", out / "a.h5", *more) == 0
    return json.loads((out / "figures.json").read_text()), Keypoints3D.load(out / "a.h5")


def test_a_real_capture(balancing, shared_data):
    figures, people = balancing
    assert people.fps == 60
    check_balancing_man(figures, people, shared_data)


def test_a_real_capture_whose_people_are_shuffled(balancing, shared_data, tmp_path):
    folder = shared_data / "pose2sim_balancing"
    rng = np.random.default_rng(0)
    for path in sorted((folder / "openpose").glob("*_json/*.json")):
        content = json.loads(path.read_text())
        rng.shuffle(content["people"])
        copy = tmp_path / "openpose" / path.relative_to(folder / "openpose")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(json.dumps(content))
    more = ("--skeleton", "BODY_25B", "--json", str(tmp_path / "figures.json"))
    assert triangulate(tmp_path / "openpose", folder / "Calib.qca.txt", tmp_path / "a.h5", *more) == 0
    _, expected = balancing
    found = Keypoints3D.load(tmp_path / "a.h5")
    assert np.array_equal(found.xyz, expected.xyz, equal_nan=True)
    assert np.array_equal(found.inliers, expected.inliers)
