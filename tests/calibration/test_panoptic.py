import json
import warnings

import cv2
import numpy as np
import pytest

from posekit.calibration.formats import Unsaid, read_rig, write_rig
from posekit.errors import PosekitError, PosekitWarning
from scenes import ring_rig

# A camera of the studio, its numbers rounded: 2.9 m from the middle of the dome's floor.
NODE = {
    "name": "00_05",
    "type": "hd",
    "resolution": [1920, 1080],
    "panel": 0,
    "node": 5,
    "K": [[1396.5, 0, 944.5], [0, 1393.1, 560.0], [0, 0, 1]],
    "distCoef": [-0.27, 0.17, 3e-4, -6e-4, 0.02],
    "R": cv2.Rodrigues(np.array((0.3, -1.2, 0.1)))[0].tolist(),
    "t": [[-12.0], [125.0], [260.0]],
}


def write(folder, *nodes):
    path = folder / "calibration_170407_haggling.json"
    path.write_text(json.dumps({"calibDataSource": "x", "cameras": nodes}))
    return path


def test_centimetres_become_metres(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rig = read_rig(write(tmp_path, NODE, NODE | {"name": "01_01", "resolution": [640, 480]}))
    assert rig.names == ("00_05", "01_01")
    assert rig["01_01"].size == (640, 480)
    points = np.random.default_rng(0).uniform(-50, 50, (20, 3))  # cm
    expected, _ = cv2.projectPoints(
        points, np.array(NODE["R"]), np.array(NODE["t"]), np.array(NODE["K"]), np.array(NODE["distCoef"])
    )
    assert np.abs(rig["00_05"].project(points / 100) - expected[:, 0]).max() < 1e-9  # float64, pixels of 1e3


def test_cameras_without_names_have_panel_and_node(tmp_path):
    nameless = {key: value for key, value in NODE.items() if key != "name"}
    assert read_rig(write(tmp_path, nameless)).names == ("00_05",)
    with pytest.raises(PosekitError, match="camera 0 has neither a name nor panel and node"):
        read_rig(write(tmp_path, {key: value for key, value in nameless.items() if key != "node"}))


def test_a_size_that_is_not_said_is_a_common_one_or_the_persons(tmp_path):
    sizeless = {key: value for key, value in NODE.items() if key != "resolution"}
    path = write(tmp_path, sizeless, sizeless | {"name": "01_01"})
    with pytest.warns(PosekitWarning) as caught:
        assert read_rig(path)["00_05"].size == (1920, 1080)
    (warning,) = caught
    assert str(warning.message).endswith(
        "camera 00_05, camera 01_01: does not say how large its picture is; 1920 x 1080 px is assumed"
    )
    assert read_rig(path, unsaid=Unsaid(size=(1936, 1096)))["00_05"].size == (1936, 1096)
    with pytest.raises(
        PosekitError, match=r"the picture of camera '00_05' is 1920 x 1080 px, it cannot be read as 640 x 480"
    ):
        read_rig(write(tmp_path, NODE), unsaid=Unsaid(size=(640, 480)))
    # In the middle of no common picture: twice the principal point.
    odd = sizeless | {"K": [[500, 0, 99.5], [0, 500, 149.5], [0, 0, 1]]}
    with pytest.warns(PosekitWarning, match="200 x 300 px is assumed"):
        read_rig(write(tmp_path, odd))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"R": None}, "camera 00_05: lacks R"),
        ({"K": [[1, 2], [3, 4]]}, "camera 00_05: K: finite numbers of shape"),
        ({"t": [[1], [2]]}, "camera 00_05: t: finite numbers of shape"),
        ({"distCoef": "none"}, "camera 00_05: distCoef: 'none' are not numbers"),
        ({"resolution": [0, 1080]}, r"camera 00_05: size: \(0.0, 1080.0\)"),
        ({"t": [[-1200], [1250], [260000]]}, "translations up to 260006 are too long to be centimetres"),
    ],
)
def test_impossible_values_are_named(tmp_path, changes, reason):
    with pytest.raises(PosekitError, match=rf"calibration_.*\.json: {reason}"):
        read_rig(write(tmp_path, NODE | changes))


def test_rounded_rotations_are_made_proper(tmp_path):
    exact = np.array(NODE["R"])
    with pytest.warns(
        PosekitWarning, match="camera 00_05: its rotation is rounded, by .*; the nearest that is one is taken"
    ):
        found = read_rig(write(tmp_path, NODE | {"R": exact.round(4).tolist()}))["00_05"].rotation
    assert np.abs(found @ found.T - np.eye(3)).max() < 1e-15
    assert np.abs(found - exact).max() < 1e-4  # four digits
    with pytest.raises(PosekitError, match="camera 00_05: rotation: is no rotation matrix"):
        read_rig(write(tmp_path, NODE | {"R": exact.round(1).tolist()}))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"distCoef": ', "is no JSON file"),
        ('["distCoef"]', 'has no list "cameras"'),
        ('{"distCoef": 1, "cameras": []}', 'has no list "cameras"'),
    ],
)
def test_other_json(tmp_path, content, reason):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(PosekitError, match=rf"a\.json: {reason}"):
        read_rig(path)


def test_written_as_the_toolbox_reads_it(tmp_path):
    rig = ring_rig(2)
    write_rig(tmp_path / "calibration_ours.json", rig)
    nodes = json.loads((tmp_path / "calibration_ours.json").read_text())["cameras"]
    assert [(node["name"], node["panel"], node["node"], node["resolution"]) for node in nodes] == [
        ("cam_1", 0, 0, [1280, 960]),
        ("cam_2", 0, 1, [1280, 960]),
    ]
    # The toolbox: X = R p + t in cm, then K.
    point, node = np.array((10.0, -20.0, 90.0)), nodes[1]
    in_camera = np.array(node["R"]) @ point + np.ravel(node["t"])
    x, y, _ = in_camera / in_camera[2]
    assert rig["cam_2"].undistort(rig["cam_2"].project(point / 100)) == pytest.approx((x, y), abs=1e-12)
    write_rig(tmp_path / "again.json", read_rig(write(tmp_path, NODE)))
    (node,) = json.loads((tmp_path / "again.json").read_text())["cameras"]
    assert (node["panel"], node["node"]) == (0, 5)
