import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import tomli_w

from posekit.calibration.formats import find_format, read_rig
from posekit.errors import PosekitError, PosekitWarning

TABLE = {
    "cam_id": 3,
    "rotation_count": 1,
    "error": 0.4,
    "size": [1280, 720],
    "matrix": [[900.0, 0.0, 640.0], [0.0, 910.0, 360.0], [0.0, 0.0, 1.0]],
    "distortions": [-0.1, 0.02, 1e-3, -1e-3, 0.003],
    "rotation": [0.1, -0.7, 0.3],
    "translation": [0.5, -0.25, 4.0],
}


def write(folder: Path, *tables: dict) -> Path:
    path = folder / "camera_array.toml"
    path.write_text(tomli_w.dumps({"cameras": {str(number): table for number, table in enumerate(tables)}}))
    return path


def without(*keys: str, **others) -> dict:
    return {key: value for key, value in TABLE.items() if key not in keys} | others


@pytest.mark.parametrize("as_matrix", [False, True])
def test_both_kinds_of_rotation(tmp_path, as_matrix):
    rotation, _ = cv2.Rodrigues(np.array(TABLE["rotation"]))
    path = write(tmp_path, TABLE | ({"rotation": rotation.tolist()} if as_matrix else {}))
    assert find_format(path) == "caliscope"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        camera = read_rig(path)["cam_3"]
    assert camera.size == (1280, 720)  # the turn is Caliscope's view of the video, not the video
    points = np.random.default_rng(0).uniform(-1, 1, (20, 3))
    expected, _ = cv2.projectPoints(
        points, rotation, np.array((0.5, -0.25, 4.0)), np.array(TABLE["matrix"]), np.array(TABLE["distortions"])
    )
    assert np.abs(camera.project(points) - expected[:, 0]).max() < 1e-9  # float64, pixels of 1e3


def test_older_files_say_port_and_a_table_without_either_is_named_by_its_key(tmp_path):
    assert read_rig(write(tmp_path, without("cam_id", port=0), without("cam_id"))).names == ("port_0", "cam_1")


def test_fisheyes(tmp_path):
    lens = [-0.02, 0.012, -0.004, 0.0008]
    camera = read_rig(write(tmp_path, TABLE | {"fisheye": True, "distortions": lens}))["cam_3"]
    assert camera.fisheye
    assert camera.distortion[:4].tolist() == lens


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (without("rotation", "translation", cam_id=4), "has no rotation, translation"),
        (without("matrix", cam_id=4), "has no matrix"),
        (without(cam_id=4, ignore=True), "is marked as ignored"),
    ],
)
def test_cameras_without_a_pose_are_left_out_with_a_word(tmp_path, table, reason):
    path = write(tmp_path, TABLE, table)
    with pytest.warns(PosekitWarning, match=rf"array\.toml: \[cameras\.1\]: {reason}; the camera is left out"):
        assert read_rig(path).names == ("cam_3",)
    with (
        pytest.warns(PosekitWarning, match=reason),
        pytest.raises(PosekitError, match=r"camera_array\.toml: has no camera with a pose"),
    ):
        read_rig(write(tmp_path, table))


def test_damaged_tables_are_named(tmp_path):
    with pytest.raises(
        PosekitError, match=r"camera_array\.toml: \[cameras\.0\]: translation: finite numbers of shape \(3,\)"
    ):
        read_rig(write(tmp_path, TABLE | {"translation": [1, 2]}))
    path = tmp_path / "empty.toml"
    for content in ("[cameras]\n", "[cameras]\na = 1\n"):
        path.write_text(content)
        with pytest.raises(PosekitError, match=r"empty\.toml: has no tables \[cameras\.<n>\]"):
            read_rig(path)


def test_a_real_one(shared_data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rig = read_rig(shared_data / "caliscope_charuco" / "desk_4cams" / "camera_array.toml")
    assert rig.names == ("cam_0", "cam_1", "cam_2", "cam_3")
    # A desk: all cameras within 1.5 m of the board's origin, looking at it.
    for camera in rig.cameras:
        assert 0.8 < np.linalg.norm(camera.translation) < 1.5
        assert camera.in_picture(camera.project((0, 0, 0)))
