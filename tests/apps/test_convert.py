import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tomli_w
import torch

from posekit.apps.convert import CameraFormat
from posekit.apps.main import main
from posekit.calibration.formats import READERS, read_rig, write_rig
from posekit.detection.detector_file import load_detector, save_detector
from posekit.detection.hand_detector import HandDetector
from posekit.errors import PosekitError, PosekitWarning
from posekit.keypoints import Keypoints2D
from posekit.models.hand_networks import SKELETON_NETWORKS
from posekit.skeleton import get_skeleton
from scenes import LENS, PERSON, observe, ring_rig, walk
from tool_scene import CROSS


def convert(capsys, *arguments) -> tuple[int, list[str], list[str]]:
    code = main(["convert", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err.splitlines()


def rig_file(folder: Path) -> Path:
    path = folder / "calibration.toml"
    write_rig(path, ring_rig(2, distortion=LENS))
    return path


@pytest.mark.parametrize("name", ["out.toml", "out.json", "out.yml", "cameras"])
def test_cameras_become_others_with_a_line_each(tmp_path, capsys, name):
    source = rig_file(tmp_path)
    code, out, err = convert(capsys, source, tmp_path / name)
    assert (code, err) == (0, [])
    # 4.5 m from the axis, 1.3 and 2.1 m high.
    assert out == [
        "cam_1  1280 x 960 px  focal 1000.0 px  4.68 m from the origin",
        "cam_2  1280 x 960 px  focal 1000.0 px  4.97 m from the origin",
    ]
    before, after = read_rig(source), read_rig(tmp_path / name)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))
    for camera in before.cameras:
        assert (
            np.abs(after[camera.name].project(points) - camera.project(points)).max() < 1e-9
        )  # float64, pixels of 1e3
    record = tmp_path / (f"{name}/run.json" if name == "cameras" else f"{name}.run.json")
    assert json.loads(record.read_text())["command"] == "convert"


def test_what_a_file_does_not_say_is_said(tmp_path, capsys):
    source = tmp_path / "17012332.json"
    camera = {"name": "a", "K": [[900, 0, 640], [0, 900, 480], [0, 0, 1]], "distCoef": [0] * 5, "R": np.eye(3).tolist()}
    source.write_text(json.dumps({"cameras": [camera | {"t": [[500.0], [0.0], [0.0]]}]}))
    arguments = ("--units", "mm", "--size", 1300, 970, "--from", "panoptic")
    code, out, err = convert(capsys, source, tmp_path / "a.toml", *arguments)
    assert (code, err) == (0, [])
    assert out == ["a  1300 x 970 px  focal 900.0 px  0.50 m from the origin"]
    code, out, err = convert(capsys, source, tmp_path / "b.toml")
    assert (code, out) == (0, ["a  1280 x 960 px  focal 900.0 px  5.00 m from the origin"])
    assert len(err) == 1
    assert err[0].startswith("posekit: warning: ")
    assert err[0].endswith("camera a: does not say how large its picture is; 1280 x 960 px is assumed")


def test_fisheyes_are_named(tmp_path, capsys):
    table = {"name": "a", "size": [1280, 960], "matrix": [[500, 0, 640], [0, 500, 480], [0, 0, 1]], "fisheye": True}
    table |= {"distortions": [0.01, 0, 0, 0], "rotation": [0, 0, 0], "translation": [0, 0, 1]}
    (tmp_path / "a.toml").write_text(tomli_w.dumps({"cam_0": table, "metadata": {"units": "m"}}))
    code, out, _ = convert(capsys, tmp_path / "a.toml", tmp_path / "b.yml")
    assert (code, out) == (0, ["a  1280 x 960 px  focal 500.0 px  1.00 m from the origin  fisheye"])
    code, _, err = convert(capsys, tmp_path / "a.toml", tmp_path / "b.json")
    assert code == 2
    assert err[-1].endswith("camera 'a' is a fisheye, which Panoptic's JSON cannot hold; write .toml or .yml")
    assert not (tmp_path / "b.json").exists()


def keypoints_file(folder: Path) -> Path:
    scene = observe(ring_rig(3), [walk(4, (-0.2, 0), (0.2, 0))])
    path = folder / "keypoints2d.h5"
    scene.keypoints.save(path)
    return path


def test_2d_keypoints(tmp_path, capsys):
    source = keypoints_file(tmp_path)
    code, out, err = convert(capsys, source, tmp_path / "again.h5", "--fps", "25")
    assert (code, err) == (0, [])
    joints = PERSON.joint_count
    assert out == [
        f"{tmp_path / 'again.h5'}: 4 frames at 25 per second, 3 cameras (cam_1, cam_2, cam_3), up to 1 people, {joints} joints"
    ]
    before, after = Keypoints2D.load(source), Keypoints2D.load(tmp_path / "again.h5")
    assert after.fps == 25
    assert np.array_equal(after.xy, before.xy, equal_nan=True)
    assert (tmp_path / "again.run.json").is_file()


def test_openpose_json(tmp_path, capsys):
    joints = get_skeleton("BODY_25").joint_count
    for camera in ("cam_1", "cam_2"):
        folder = tmp_path / "json" / f"{camera}_json"
        folder.mkdir(parents=True)
        for frame in range(2):
            person = {"pose_keypoints_2d": [100.0 + frame, 200.0, 0.9] * joints}
            (folder / f"{camera}_{frame:012d}_keypoints.json").write_text(json.dumps({"people": [person]}))
    code, out, _ = convert(capsys, tmp_path / "json", tmp_path / "a.h5", "--skeleton", "BODY_25", "--fps", "30")
    assert code == 0
    assert "2 frames at 30 per second, 2 cameras (cam_1, cam_2), up to 1 people" in out[-1]
    found = Keypoints2D.load(tmp_path / "a.h5")
    assert found.skeleton.name.startswith("BODY_25")
    assert found.xy[1, 0, 0, 0].tolist() == [101, 200]


def test_a_detector_of_a_users_own_skeleton_becomes_onnx(tmp_path, capsys):
    torch.manual_seed(0)
    network = SKELETON_NETWORKS["light_pose_machine"](CROSS).eval()
    source, out = tmp_path / "cross.safetensors", tmp_path / "cross.onnx"
    detector = HandDetector(network, 32, None, architecture="light_pose_machine", skeleton=CROSS)
    save_detector(source, detector, {"seed": 3})
    code, said, err = convert(capsys, source, out)
    assert (code, err) == (0, [])
    assert "light_pose_machine, crops of 32 px" in said[0]
    written, read = load_detector(out, CROSS), load_detector(source, CROSS)
    assert written.skeleton == CROSS
    crops = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(written.detect(crops)[1], read.detect(crops)[1], atol=1e-4)  # float32
    # It finds no hands, and a command that wants them says so.
    with pytest.raises(PosekitError, match=r"found cross \(4 joints\), expected a detector of HAND_21"):
        load_detector(out)


def test_mistakes_are_one_line(tmp_path, capsys):
    cameras, keypoints = rig_file(tmp_path), keypoints_file(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "no_rows.csv").write_text("scorer,s,s,s\nbodyparts,a,a,a\ncoords,x,y,likelihood\n")
    before = sorted(tmp_path.iterdir())
    for arguments, reason in (
        ((tmp_path / "gone.toml", "a.toml"), "no such file or folder (cameras or 2D keypoints were expected)"),
        ((cameras, cameras), "would be written over what is read"),
        ((keypoints, keypoints), "would be written over what is read"),
        ((cameras, tmp_path / "gone" / "a.toml"), "no such folder"),
        ((cameras, tmp_path / "gone" / "cameras" / "intri.yml"), "no such folder"),
        ((cameras, tmp_path / "a.c3d"), "'.c3d' is no format of cameras that can be written"),
        ((cameras, tmp_path / "a.yml", "--fps", "30"), "--fps: is for 2D keypoints"),
        ((cameras, tmp_path / "a.yml", "--skeleton", "BODY_25"), "--skeleton: is for 2D keypoints"),
        ((cameras, tmp_path / "a.yml", "--units", "mm"), "says itself that its units are m, it cannot be read as mm"),
        ((cameras, tmp_path / "a.yml", "--from", "panoptic"), "is no JSON file"),
        ((keypoints, tmp_path / "a.h5", "--units", "mm"), "--units: is for cameras"),
        ((keypoints, tmp_path / "a.h5", "--size", "10", "10"), "--size: is for cameras"),
        ((keypoints, tmp_path / "a.h5", "--fps", "0"), "--fps: 0 is not a positive number"),
        ((keypoints, tmp_path / "a.toml"), "and 2D keypoints are written as .h5, not as '.toml'"),
        ((tmp_path / "no_rows.csv", tmp_path / "a.h5"), "no_rows.csv: holds no frame"),
        ((tmp_path / "empty", tmp_path / "a.toml"), "and 2D keypoints are written as .h5, not as '.toml'"),
    ):
        code, out, err = convert(capsys, *arguments)
        assert (code, out, len(err)) == (2, [], 1), (arguments, err)
        assert reason in err[0]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("source", "out"), [("a", "a/intri.yml"), ("a/extri.yml", "a"), ("a/intri.yml", "a/extri.yml")]
)
def test_easymocaps_two_files_are_not_written_over_each_other(tmp_path, capsys, source, out):
    write_rig(tmp_path / "a", ring_rig(2))
    before = (tmp_path / "a" / "intri.yml").read_bytes()
    code, _, err = convert(capsys, tmp_path / source, tmp_path / out)
    assert code == 2
    assert "would be written over what is read" in err[0]
    assert (tmp_path / "a" / "intri.yml").read_bytes() == before


def test_the_formats_that_can_be_named_are_those_that_are_read():
    assert set(get_args(CameraFormat)) == set(READERS)


def test_a_real_odd_file_becomes_a_plain_one(tmp_path, capsys, shared_data):
    source = shared_data / "pose2sim_balancing" / "Calib_pose2sim.toml"
    code, out, err = convert(capsys, source, tmp_path / "calibration.toml", "--units", "m")
    assert (code, len(out), len(err)) == (0, 4, 2)
    assert all(line.startswith("posekit: warning: ") for line in err)
    with pytest.warns(PosekitWarning) as caught:
        assert read_rig(tmp_path / "calibration.toml").names == ("cam_01", "cam_02", "cam_03", "cam_04")
    # Copies and units are in order now; what the coefficients should have been, nobody knows.
    (warning,) = caught
    assert "distortions: are Qualisys's divided by 64" in str(warning.message)
