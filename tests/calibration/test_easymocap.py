import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from posekit.calibration.formats import find_format, read_rig, write_rig
from posekit.camera import Camera, Rig
from posekit.errors import NoSpaceError, PosekitError, PosekitWarning
from scenes import ring_rig

# As a person writes it: whole numbers, the older D_, no size of the second camera.
INTRI = """%YAML:1.0
---
names:
  - "1"
  - "02"
K_1: !!opencv-matrix
  rows: 3
  cols: 3
  dt: d
  data: [900, 0, 640, 0, 910, 480, 0, 0, 1]
dist_1: !!opencv-matrix
  rows: 1
  cols: 5
  dt: d
  data: [-0.1, 0.02, 0.001, -0.001, 0.003]
H_1: 960
W_1: 1280
K_02: !!opencv-matrix
  rows: 3
  cols: 3
  dt: d
  data: [1000., 0., 959.5, 0., 1000., 539.5, 0., 0., 1.]
D_02: !!opencv-matrix
  rows: 5
  cols: 1
  dt: d
  data: [0., 0., 0., 0., 0.]
"""
EXTRI = """%YAML:1.0
---
names:
  - "1"
  - "02"
R_1: !!opencv-matrix
  rows: 3
  cols: 1
  dt: d
  data: [0.1, -0.7, 0.3]
T_1: !!opencv-matrix
  rows: 3
  cols: 1
  dt: d
  data: [0.5, -0.25, 4]
Rot_02: !!opencv-matrix
  rows: 3
  cols: 3
  dt: d
  data: [1, 0, 0, 0, 0, -1, 0, 1, 0]
T_02: !!opencv-matrix
  rows: 3
  cols: 1
  dt: d
  data: [0, 1, 3]
"""


def write(folder: Path, intri: str = INTRI, extri: str = EXTRI) -> Path:
    (folder / "intri.yml").write_text(intri)
    (folder / "extri.yml").write_text(extri)
    return folder


@pytest.mark.parametrize("which", ["", "intri.yml", "extri.yml"])
def test_by_the_folder_or_either_file(tmp_path, which):
    path = write(tmp_path) / which
    assert find_format(path) == "easymocap"
    with pytest.warns(PosekitWarning) as caught:
        rig = read_rig(path)
    (warning,) = caught
    assert str(warning.message).endswith("camera 02: does not say how large its picture is; 1920 x 1080 px is assumed")
    assert rig.names == ("1", "02")
    assert rig["1"].size == (1280, 960)
    points = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    lens = np.array((-0.1, 0.02, 0.001, -0.001, 0.003))
    matrix = np.array([[900.0, 0, 640], [0, 910, 480], [0, 0, 1]])
    expected, _ = cv2.projectPoints(points, np.array((0.1, -0.7, 0.3)), np.array((0.5, -0.25, 4)), matrix, lens)
    assert np.abs(rig["1"].project(points) - expected[:, 0]).max() < 1e-9  # float64, pixels of 1e3
    # Looks along the world's y; a point 2 m ahead of the world's middle and 0.5 m above it.
    assert rig["02"].project((0.5, 2, 0.5)) == pytest.approx((959.5 + 100, 539.5 + 1000 * 0.5 / 5))


@pytest.mark.parametrize(
    ("intri", "extri", "reason"),
    [
        (INTRI.replace("K_1:", "K_3:"), EXTRI, "camera 1: lacks K_1"),
        (INTRI, EXTRI.replace("R_1:", "R_3:"), "camera 1: lacks Rot_1"),
        (INTRI, EXTRI.replace("T_02:", "T_2:"), "camera 02: lacks T_02"),
        (INTRI, EXTRI.replace('"02"', '"2"'), r"the names in intri\.yml and extri\.yml are not the same"),
        (INTRI.replace("names:", "cameras:"), EXTRI, r"intri\.yml: has no list of names"),
        (INTRI.replace("640", "x"), EXTRI, r"intri\.yml: is no OpenCV file that can be read"),
        (INTRI, EXTRI.replace("0, 1, 0]", "0, 1, 1]"), "camera 02: rotation: is no rotation matrix"),
        (INTRI, EXTRI.replace("-0.25, 4]", "-0.25, 4000]"), "translations up to 4000 are too long to be metres"),
    ],
)
def test_impossible_files_are_named(tmp_path, intri, extri, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PosekitWarning)
        with pytest.raises(PosekitError, match=reason):
            read_rig(write(tmp_path, intri, extri))


def test_one_file_alone(tmp_path):
    write(tmp_path)
    (tmp_path / "extri.yml").unlink()
    with pytest.raises(
        PosekitError, match=r"extri\.yml: no such file; EasyMocap's cameras are intri\.yml and extri\.yml"
    ):
        read_rig(tmp_path / "intri.yml")


def test_written_as_easymocap_reads_it(tmp_path):
    rig = ring_rig(2)
    write_rig(tmp_path / "cameras", rig)
    files = (str(tmp_path / "cameras" / name) for name in ("intri.yml", "extri.yml"))
    intri, extri = (cv2.FileStorage(file, cv2.FILE_STORAGE_READ) for file in files)
    for file in (intri, extri):
        assert [file.getNode("names").at(number).string() for number in (0, 1)] == ["cam_1", "cam_2"]
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (10, 3))
    for camera in rig.cameras:
        node = {key: intri.getNode(f"{key}_{camera.name}").mat() for key in ("K", "dist")}
        node |= {key: extri.getNode(f"{key}_{camera.name}").mat() for key in ("R", "Rot", "T")}
        assert (node["dist"].shape, node["R"].shape, node["T"].shape) == ((1, 5), (3, 1), (3, 1))
        expected, _ = cv2.projectPoints(points, node["R"], node["T"], node["K"], node["dist"])
        assert np.abs(camera.project(points) - expected[:, 0]).max() < 1e-9  # float64, pixels of 1e3
        assert np.array_equal(node["Rot"], camera.rotation)
        assert int(intri.getNode(f"W_{camera.name}").real()) == 1280


def test_places_where_nothing_can_be_written(tmp_path):
    rig = ring_rig(2)
    (tmp_path / "file").write_text("")
    with pytest.raises(PosekitError, match="cannot be written: it is a file"):
        write_rig(tmp_path / "file", rig)
    with pytest.raises(PosekitError, match=r"cannot be written: the folder .*gone does not exist"):
        write_rig(tmp_path / "gone" / "cameras", rig)
    spaced = Rig((Camera("cam 1", (640, 480), np.eye(3), (), np.eye(3), np.zeros(3)),))
    with pytest.raises(PosekitError, match="camera 'cam 1': EasyMocap's names are of letters, digits, - and _ only"):
        write_rig(tmp_path / "cameras", spaced)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    write(tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(NoSpaceError, match="no space left"):
        write_rig(tmp_path, ring_rig(2))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before
