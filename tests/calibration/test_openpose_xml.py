import warnings

import cv2
import numpy as np
import pytest

from posekit.calibration.formats import Unsaid, find_format, read_rig
from posekit.errors import PosekitError, PosekitWarning

XML = """<?xml version="1.0"?>
<opencv_storage>
<CameraMatrix type_id="opencv-matrix">
  <rows>3</rows>
  <cols>4</cols>
  <dt>d</dt>
  <data>
    1. 0. 0. 0.5
    0. 0. -1. 1.
    0. 1. 0. {depth}</data></CameraMatrix>
<Intrinsics type_id="opencv-matrix">
  <rows>3</rows>
  <cols>3</cols>
  <dt>d</dt>
  <data>
    8.1e+02 0. 640. 0. 8.2e+02 512. 0. 0. 1.</data></Intrinsics>
<Distortion type_id="opencv-matrix">
  <rows>8</rows>
  <cols>1</cols>
  <dt>d</dt>
  <data>
    0.8 0.3 1e-4 1e-4 0.02 1.0 0.6 0.1</data></Distortion>
</opencv_storage>
"""
LENS = np.array((0.8, 0.3, 1e-4, 1e-4, 0.02, 1.0, 0.6, 0.1))


def write(folder, *serials: str):
    for number, serial in enumerate(serials):
        (folder / f"{serial}.xml").write_text(XML.format(depth=3 + number))
    return folder


def test_a_folder_of_cameras(tmp_path):
    write(tmp_path, "17012332", "9012333")
    assert find_format(tmp_path) == "openpose"
    with pytest.warns(PosekitWarning) as caught:
        rig = read_rig(tmp_path)
    (warning,) = caught
    assert str(warning.message).endswith(
        "camera 9012333, camera 17012332: does not say how large its picture is; 1280 x 1024 px is assumed"
    )
    assert rig.names == ("9012333", "17012332")
    assert rig["17012332"].translation.tolist() == [0.5, 1, 3]
    assert rig["9012333"].translation.tolist() == [0.5, 1, 4]


def test_one_file(tmp_path):
    path = write(tmp_path, "17012332") / "17012332.xml"
    assert find_format(path) == "openpose"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        camera = read_rig(path, unsaid=Unsaid(size=(1280, 1024)))["17012332"]
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))
    rotation = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    matrix = np.array([[810.0, 0, 640], [0, 820, 512], [0, 0, 1]])
    expected, _ = cv2.projectPoints(points, rotation, np.array((0.5, 1, 3)), matrix, LENS)
    assert np.abs(camera.project(points) - expected[:, 0]).max() < 1e-9  # float64, pixels of 1e3


def test_damaged_ones(tmp_path):
    path = tmp_path / "1.xml"
    for text, reason in (
        (XML.replace("Intrinsics", "Intrinsic"), "camera 1: lacks Intrinsics"),
        (XML.replace("<cols>4", "<cols>3"), "a matrix of 3 x 3 has 12 values"),
        (XML.replace("8.1e+02", "-8.1e+02"), "camera 1: matrix: focal lengths -810, 820 are not positive"),
    ):
        path.write_text(text.format(depth=3))
        with pytest.raises(PosekitError, match=rf"1\.xml: .*{reason}"):
            read_rig(path, "openpose", Unsaid(size=(1280, 1024)))
    path.unlink()
    with pytest.raises(PosekitError, match=r"has no \.xml file"):
        read_rig(tmp_path, "openpose")
