import re
import tomllib
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import tomli_w
from scipy.spatial.transform import Rotation

from posekit.calibration.formats import Unsaid, find_format, read_rig, write_aniposelib
from posekit.calibration.formats.qualisys import read_qualisys
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError, PosekitWarning
from scenes import LENS, ring_rig

TABLE = {
    "name": "left",
    "size": [1280, 960],
    "matrix": [[900.0, 0.0, 640.0], [0.0, 910.0, 480.0], [0.0, 0.0, 1.0]],
    "distortions": [-0.1, 0.02, 1e-3, -1e-3, 0.003],
    "rotation": [0.1, -0.7, 0.3],
    "translation": [0.5, -0.25, 4.0],
}


def write_toml(folder: Path, *tables: dict, **others: dict) -> Path:
    path = folder / "calibration.toml"
    path.write_text(tomli_w.dumps({f"cam_{n}": table for n, table in enumerate(tables)} | others))
    return path


def metres(folder: Path, **changes) -> Path:
    return write_toml(folder, TABLE | changes, metadata={"units": "m"})


def assert_same(found: Rig, expected: Rig, tolerance: float) -> None:
    assert found.names == expected.names
    for a, b in zip(found.cameras, expected.cameras, strict=True):
        assert a.size == b.size
        for field in ("matrix", "distortion", "rotation", "translation"):
            assert np.abs(getattr(a, field) - getattr(b, field)).max() <= tolerance, field


@pytest.mark.parametrize("lens", [(), LENS[:4], LENS, (0.8, 0.3, 1e-4, 1e-4, 0.02, 1.0, 0.6, 0.1)])
def test_aniposelib_round_trip(tmp_path, lens):
    rig = ring_rig(12, distortion=lens)
    path = tmp_path / "calibration.toml"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_aniposelib(path, rig, "posekit calibrate")
        found = read_rig(path)
    # Numbers are written with all their digits; only rotations pass through a vector, good to a few 1e-16.
    assert_same(found, rig, 2e-15)
    assert found.source == str(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["calibration.toml"]


@pytest.mark.parametrize("angle", [0.0, 3e-9, 4e-6, 1e-3, np.pi - 1e-3, np.pi - 4e-6, np.pi - 3e-9, np.pi])
def test_rotations_near_none_and_near_a_half_turn_survive(tmp_path, angle):
    rotation = Rotation.from_rotvec(angle * np.array((0.36, -0.48, 0.8))).as_matrix()
    rig = Rig((Camera("a", (640, 480), np.diag((500.0, 500.0, 1.0)), (), rotation, np.zeros(3)),))
    write_aniposelib(tmp_path / "a.toml", rig)
    # 1e-9 rad is a millionth of a pixel; half turns lose half of the digits in the matrix itself, of which the axis is made.
    assert np.abs(read_rig(tmp_path / "a.toml")["a"].rotation - rotation).max() < 1e-9


def test_written_file_is_what_aniposelib_reads(tmp_path):
    write_aniposelib(tmp_path / "a.toml", ring_rig(3), "a test")
    content = tomllib.loads((tmp_path / "a.toml").read_text())
    assert list(content) == ["cam_0", "cam_1", "cam_2", "metadata"]
    assert content["metadata"] == {"units": "m", "made_by": "a test"}
    table = content["cam_1"]
    assert set(table) == {"name", "size", "matrix", "distortions", "rotation", "translation"}
    assert (table["name"], table["size"]) == ("cam_2", [1280, 960])
    assert table["distortions"] == list(LENS)  # aniposelib keeps 5
    rotation, _ = cv2.Rodrigues(np.array(table["rotation"]))
    assert np.abs(rotation - ring_rig(3).cameras[1].rotation).max() < 1e-12


@pytest.mark.parametrize(("units", "factor"), [("m", 1), ("cm", 100), ("mm", 1000)])
def test_units_become_metres(tmp_path, units, factor):
    translation = [factor * value for value in TABLE["translation"]]
    path = write_toml(tmp_path, TABLE | {"translation": translation}, metadata={"units": units})
    camera = read_rig(path)["left"]
    assert camera.translation == pytest.approx((0.5, -0.25, 4.0), abs=1e-12)
    assert camera.project((0, 0, 0)) == pytest.approx(read_rig(metres(tmp_path))["left"].project((0, 0, 0)))


def test_undeclared_units_are_metres_with_a_warning_or_refused(tmp_path):
    with pytest.warns(PosekitWarning, match=r"calibration\.toml: does not say its units; read as metres"):
        assert read_rig(write_toml(tmp_path, TABLE))["left"].translation.tolist() == TABLE["translation"]
    far = write_toml(tmp_path, TABLE, TABLE | {"name": "right", "translation": [500.0, -250.0, 4000.0]})
    with pytest.raises(
        PosekitError, match=r"translations up to 4039 are too long to be metres; say the unit: .* --units mm"
    ):
        read_rig(far)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_rig(far, unsaid=Unsaid(units="mm"))["right"].translation.tolist() == [0.5, -0.25, 4]
    with pytest.raises(
        PosekitError, match=r"calibration\.toml: says itself that its units are m, it cannot be read as mm"
    ):
        read_rig(metres(tmp_path), unsaid=Unsaid(units="mm"))
    with pytest.raises(PosekitError, match=r"units: 'inch' is not known; known are: m, cm, mm"):
        Unsaid(units="inch")


@pytest.mark.parametrize("units", ["inch", "", "M", 1, ["mm"], {"length": "mm"}])
def test_unknown_units_are_refused(tmp_path, units):
    with pytest.raises(
        PosekitError, match=r"calibration\.toml: \[metadata\] units: .* is not known; known are: m, cm, mm"
    ):
        read_rig(write_toml(tmp_path, TABLE, metadata={"units": units}))


def test_cameras_are_matched_by_name_wherever_they_stand(tmp_path):
    # aniposelib sorts the tables as text when it loads: cam_10 before cam_2.
    tables = {f"cam_{n}": TABLE | {"name": f"c{n}", "translation": [float(n), 0, 4]} for n in range(12)}
    path = tmp_path / "calibration.toml"
    path.write_text(tomli_w.dumps({key: tables[key] for key in sorted(tables)} | {"metadata": {"units": "m"}}))
    rig = read_rig(path).select([f"c{n}" for n in range(12)])
    assert [camera.translation[0] for camera in rig.cameras] == list(range(12))


def test_pose2sims_habits(tmp_path):
    # The table's name is the camera's, four coefficients, sizes as floats, tables of other things, extra keys.
    table = {key: value for key, value in TABLE.items() if key != "name"}
    table |= {"distortions": [-0.1, 0.02, 1e-3, -1e-3], "size": [1088.0, 1920.0], "fisheye": False, "moving": True}
    path = tmp_path / "Calib.toml"
    others = {"metadata": {"adjusted": False, "error": 0.0, "units": "m"}, "capture_volume": {"a": 1}, "charuco": {}}
    path.write_text(tomli_w.dumps({"int_cam_01": table} | others | {"checkerboard": {}}))
    rig = read_rig(path)
    assert rig.names == ("int_cam_01",)
    assert rig["int_cam_01"].size == (1088, 1920)
    assert rig["int_cam_01"].distortion.tolist() == [-0.1, 0.02, 1e-3, -1e-3, 0, 0, 0, 0]


@pytest.mark.parametrize("field", ["size", "matrix", "rotation", "translation"])
def test_missing_fields_are_named(tmp_path, field):
    path = write_toml(tmp_path, TABLE, {key: value for key, value in TABLE.items() if key != field})
    with pytest.raises(PosekitError, match=rf"calibration\.toml: \[cam_1\]: lacks {field}$"):
        read_rig(path)


def test_a_camera_without_distortions_has_none(tmp_path):
    path = write_toml(tmp_path, {key: TABLE[key] for key in TABLE if key != "distortions"}, metadata={"units": "m"})
    assert not read_rig(path)["left"].distortion.any()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"fisheye": True}, "distortion: a fisheye lens has 4 coefficients, found 5"),
        ({"fisheye": "yes"}, "fisheye: 'yes' is neither true nor false"),
        ({"size": [1280]}, r"size: finite numbers of shape \(2,\) were expected"),
        ({"size": [1280.5, 960]}, "size: "),
        ({"size": [-1280, 960]}, "size: "),
        ({"size": "large"}, "size: 'large' are not numbers"),
        ({"matrix": [[900.0, 0, 640], [0, 910, 480], [0, 34, 1]]}, "matrix: .* third row must be 0 0 1"),
        # As in the documentation of Lightning Pose.
        (
            {"matrix": [[1993.4, 0, 1408], [0, 1993.4, 704], [1451.1, 993, 1]]},
            "matrix: its third row has a second principal point, 1451.1 993, beside 1408 704 in its third column",
        ),
        ({"matrix": [[900.0, 0, 640], [0, 910, 480], [1e-5, 0, 1]]}, "matrix: .* third row must be 0 0 1"),
        ({"matrix": [[900.0, 0, 640], [0, 910, 480], [0, 0, -1]]}, "matrix: .* third row must be 0 0 1"),
        ({"matrix": [[900.0, 0, 640], [0, 910, 480], [0, 1, 1, 0]]}, "matrix: .* are not numbers"),
        ({"matrix": [[900.0, 0, 0], [0, 910, 0], [640, 480, 1]]}, "matrix: is stored transposed, as MATLAB does"),
        (
            {"matrix": [[[900.0, 0, 640], [0, 910, 480], [0, 0, 1]], np.eye(3).tolist()]},
            "matrix: holds 2 different values",
        ),
        ({"matrix": [[900.0, 0], [0, 910]]}, "matrix: finite numbers of shape"),
        ({"matrix": [[float("nan"), 0, 1], [0, 910, 1], [0, 0, 1]]}, "matrix: finite numbers were expected, found nan"),
        ({"name": ""}, "its name is empty"),
        ({"matrix": [[900.0, 0, 640], [0, 910], [0, 0, 1]]}, "matrix: .* are not numbers"),
        ({"distortions": [0.1, 0.2]}, "distortion: has 2 coefficients"),
        ({"distortions": [[0.1, 0.2, 0, 0], [0.1, 0.2, 0, 0.1]]}, "distortions: holds 2 different values"),
        ({"distortions": [0.0] * 13 + [0.1]}, "distortions: thin prisms and tilted sensors are not supported"),
        ({"distortions": ["a"]}, "distortions: .* are not numbers"),
        ({"distortions": [float("inf"), 0, 0, 0]}, "distortion: has values that are not finite"),
        ({"rotation": np.eye(4).tolist()}, "rotation: finite numbers of shape"),
        ({"rotation": (-np.eye(3)).tolist()}, "rotation: is no rotation matrix"),
        ({"translation": True}, "translation: True are not numbers"),
        ({"rotation": [float("inf"), 0, 0]}, "rotation: finite numbers"),
        ({"rotation": {"x": 1}}, "rotation: .* are not numbers"),
        ({"translation": [1, 2]}, "translation: finite numbers of shape"),
        ({"translation": [10**400, 0, 0]}, "translation: .* are not numbers"),
    ],
)
def test_impossible_fields_are_named(tmp_path, changes, reason):
    with pytest.raises(PosekitError, match=rf"calibration\.toml: .*{reason}") as error:
        read_rig(metres(tmp_path, **changes))
    assert "cam_0" in str(error.value) or "camera left" in str(error.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "has no camera table"),
        ("[metadata]\nunits = 'm'\n", "has no camera table"),
        ("[cam_0\n", "is no TOML file"),
        ("a = " + "[" * 20_000, "is no TOML file"),
        ("\udcff", "is no TOML file"),
    ],
)
def test_files_of_another_kind(tmp_path, content, reason):
    path = tmp_path / "calibration.toml"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(PosekitError, match=rf"calibration\.toml: {reason}"):
        read_rig(path)


def lens(k1: float) -> dict:
    """A full-HD camera with square pixels and the lens in the middle."""
    matrix = [[1100.0, 0, 959.5], [0, 1100.0, 539.5], [0, 0, 1]]
    return {"size": [1920, 1080], "matrix": matrix, "distortions": [k1, 0, 0, 0]}


def test_a_lens_that_folds_inside_its_picture_is_named_with_what_it_loses(tmp_path):
    with pytest.warns(PosekitWarning) as caught:
        read_rig(write_toml(tmp_path, TABLE, TABLE | lens(-0.37) | {"name": "right"}, metadata={"units": "m"}))
    (warning,) = caught
    # r (1 + k1 r^2) turns round at r = (-3 k1)^-1/2, two thirds of which is what it reaches: a disc of 696 px, cut off above
    # and below by the picture's 1080 px.
    radius = 1100 * 2 / 3 / np.sqrt(3 * 0.37)
    cap = radius**2 * np.arccos(540 / radius) - 540 * np.sqrt(radius**2 - 540**2)
    lost = 1 - (np.pi * radius**2 - 2 * cap) / (1920 * 1080)
    assert re.search(
        rf"calibration\.toml: camera 'right': .* in {100 * lost:.0f} % of its picture", str(warning.message)
    )


def test_a_lens_that_folds_in_the_last_corners_or_outside_is_no_matter(tmp_path, shared_data):
    # At -0.15 the lens reaches 1093 px from the middle, the corners are at 1101 px: a ten-thousandth of the picture.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k1 in (-0.15, -0.12, 0.0, 0.3):
            read_rig(metres(tmp_path, **lens(k1)))
        read_rig(shared_data / "pose2sim_balancing" / "Calib.qca.txt")


def test_namesakes_and_unknown_formats_are_refused(tmp_path):
    with pytest.raises(PosekitError, match=r"calibration\.toml: two cameras are called 'left'"):
        read_rig(write_toml(tmp_path, TABLE, TABLE, metadata={"units": "m"}))
    for name in ("rig.json", "rig.txt", "rig"):
        (tmp_path / name).write_text("{}")
        with pytest.raises(
            PosekitError, match=rf"{name}: is no camera file of a known name and content; known are: \*\.toml"
        ):
            read_rig(tmp_path / name)
    with pytest.raises(PosekitError, match=r"gone\.toml: no such file"):
        read_rig(tmp_path / "gone.toml")
    with pytest.raises(PosekitError, match="holds no cameras of a known format; known are"):
        read_rig(tmp_path)
    with pytest.raises(PosekitError, match="'vicon' is no format of camera files; known are: aniposelib, "):
        read_rig(metres(tmp_path), "vicon")
    assert find_format(metres(tmp_path)) == "aniposelib"
    assert find_format(tmp_path) is None


# A camera 2 m above the floor that looks along the world's y axis: its x is the world's, its y (Qualisys: up) is z, and it
# looks along its negative z, so world_from_camera has the columns x, z, -y. Of a sensor of 2048 x 1088, 1920 x 1080 is filmed.
QCA = """<?xml version='1.0' encoding='UTF-8'?>
<calibration type="regular"><results std-dev="0.5"/><cameras>
  <camera active="1" serial="21015" viewrotation="0">
    <fov_video left="64" top="4" right="1983" bottom="1083"/>
    <transform x="500" y="-3000" z="2000" r11="1" r12="0" r13="0" r21="0" r22="0" r23="1" r31="0" r32="-1" r33="0"/>
    <intrinsic focalLengthU="96000" focalLengthV="96640" centerPointU="65536" centerPointV="34816" skew="0"
      radialDistortion1="-0.05" radialDistortion2="0.14" radialDistortion3="0.01"
      tangentalDistortion1="0.0006" tangentalDistortion2="0.0007"/>
  </camera>
  <camera active="0" serial="broken"/>
</cameras></calibration>"""


def qca(folder: Path, *replacements: tuple[str, str]) -> Path:
    text = QCA
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "rig.qca.txt"
    path.write_text(text)
    return path


def test_qualisys_by_hand(tmp_path):
    rig = read_rig(qca(tmp_path))
    assert rig.names == ("21015",)
    camera = rig["21015"]
    assert camera.size == (1920, 1080)
    assert camera.matrix.tolist() == [[1500, 0, 1024 - 64], [0, 1510, 544 - 4], [0, 0, 1]]
    assert camera.distortion.tolist() == [-0.05, 0.14, 0.0006, 0.0007, 0.01, 0, 0, 0]
    assert camera.centre_world == pytest.approx((0.5, -3, 2), abs=1e-12)
    # A point 3 m ahead, 1 m below the camera: in the middle of the picture's width, in its lower half.
    straight = Camera("x", camera.size, camera.matrix, (), camera.rotation, camera.translation)
    assert straight.project((0.5, 0, 1)) == pytest.approx((960, 540 + 1510 / 3))
    assert straight.project((0.8, 0, 2)) == pytest.approx((960 + 150, 540))


@pytest.mark.parametrize(
    ("replacement", "reason"),
    [
        (('serial="21015"', ""), "a camera has no serial"),
        (('viewrotation="0"', 'viewrotation="90"'), "camera 21015: viewrotation is 90"),
        (('active="1"', 'active="0"'), "has no active camera"),
        (('x="500"', ""), "camera 21015: transform x: None is not a number"),
        (('r23="1"', 'r23="one"'), "camera 21015: transform r23: 'one' is not a number"),
        (('r23="1"', 'r23="nan"'), "camera 21015: transform r23: 'nan' is not finite"),
        (('r23="1"', 'r23="0"'), "camera 21015: rotation: is no rotation matrix"),
        (('right="1983"', 'right="10"'), "camera 21015: size: "),
        (('focalLengthU="96000"', 'focalLengthU="0"'), "camera 21015: matrix: focal lengths"),
        (("<fov_video", "<fov_other"), "camera 21015: fov_video left: None is not a number"),
        (("</cameras>", ""), "is no Qualisys calibration that can be read"),
        (("encoding='UTF-8'", "encoding='none'"), "is no Qualisys calibration that can be read"),
        (
            ("<calibration ", "<!DOCTYPE a [<!ENTITY b 'c'>]><calibration "),
            "is no Qualisys calibration that can be read",
        ),
    ],
)
def test_qualisys_files_that_cannot_be(tmp_path, replacement, reason):
    with pytest.raises(PosekitError, match=rf"rig\.qca\.txt: .*{reason}") as error:
        read_qualisys(qca(tmp_path, replacement))
    assert "\n" not in str(error.value)


def test_qualisys_agrees_with_pose2sims_conversion(shared_data):
    folder = shared_data / "pose2sim_balancing"
    ours = read_rig(folder / "Calib.qca.txt")
    assert ours.names == ("cam01", "cam02", "cam03", "cam04")
    theirs = tomllib.loads((folder / "Calib_pose2sim.toml").read_text())
    for number in (2, 3, 4):
        camera, table = ours[f"cam0{number}"], theirs[f"cam_0{number}"]
        assert camera.size == tuple(table["size"])
        assert np.abs(camera.matrix - table["matrix"]).max() < 1e-9
        rotation, _ = cv2.Rodrigues(np.array(table["rotation"]))
        # They rounded rotations and millimetres to eight decimals.
        assert np.abs(camera.rotation - rotation).max() < 5e-8
        assert np.abs(camera.translation - table["translation"]).max() < 5e-8
        # They divided the distortion by 64, too, which has no unit of pixels.
        assert np.abs(camera.distortion[:4] / 64 - table["distortions"]).max() < 1e-12


def test_a_real_file_with_every_value_three_times(shared_data):
    folder = shared_data / "pose2sim_balancing"
    with pytest.warns(PosekitWarning) as caught:
        found = read_rig(folder / "Calib_pose2sim.toml")
    told = [str(warning.message).partition("Calib_pose2sim.toml: ")[2] for warning in caught]
    assert len(told) == 3
    assert told[0].startswith("[cam_01], [cam_02], [cam_03], [cam_04]: distortions: are Qualisys's divided by 64")
    assert re.match(
        r"\[cam_01\]: holds 3 equal copies of .*size, matrix, rotation, translation; one of them is taken", told[1]
    )
    assert told[2] == "does not say its units; read as metres"
    for camera, original in zip(found.cameras, read_rig(folder / "Calib.qca.txt").cameras, strict=True):
        assert camera.name.replace("_", "") == original.name
        assert camera.size == original.size
        assert np.abs(camera.matrix - original.matrix).max() < 1e-9
        assert np.abs(camera.rotation - original.rotation).max() < 5e-8  # rounded, as above
        assert np.abs(camera.translation - original.translation).max() < 5e-8


def test_equal_copies_of_a_value_count_once(tmp_path):
    rotation = Rotation.from_rotvec(TABLE["rotation"]).as_matrix()
    changes = {key: [TABLE[key]] * 3 for key in ("matrix", "distortions", "translation", "rotation")}
    for rotations in (changes["rotation"], [rotation.tolist()] * 3):
        with pytest.warns(PosekitWarning, match="holds 3 equal copies of distortions, matrix, rotation, translation"):
            camera = read_rig(metres(tmp_path, **changes | {"rotation": rotations}))["left"]
        assert np.abs(camera.rotation - rotation).max() < 1e-15
        assert camera.matrix.tolist() == TABLE["matrix"]
        assert camera.distortion.tolist() == [*TABLE["distortions"], 0, 0, 0]


def test_a_third_row_that_is_0_0_1_but_for_noise(tmp_path):
    with pytest.warns(PosekitWarning, match=r"\.toml: \[cam_0\]: matrix: its third row is \[1e-09, .*; taken as 0 0 1"):
        camera = read_rig(metres(tmp_path, matrix=[*TABLE["matrix"][:2], [1e-9, -2e-8, 1.0]]))["left"]
    assert camera.matrix.tolist() == TABLE["matrix"]


def test_a_matrix_with_a_factor_is_divided_by_it(tmp_path):
    with pytest.warns(PosekitWarning, match=r"matrix: its third row is 0 0 2; all of it was divided by that"):
        camera = read_rig(metres(tmp_path, matrix=(2 * np.array(TABLE["matrix"])).tolist()))["left"]
    assert camera.matrix.tolist() == TABLE["matrix"]


def test_freemocaps_habits(tmp_path):
    # Extra keys, image_size, millimetres that only its metadata tell.
    table = {key: value for key, value in TABLE.items() if key != "size"} | {
        "image_size": [1280, 960],
        "translation": [500, -250, 4000],
    }
    table |= {"id": "left", "index": 0, "world_position": [0, 0, 0], "world_orientation": np.eye(3).tolist()}
    metadata = {"reprojection_error_px": 0.4, "n_observations_used": 9, "board": {"square_length_mm": 58.0}}
    path = write_toml(tmp_path, table, metadata=metadata)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        camera = read_rig(path)["left"]
    assert camera.size == (1280, 960)
    assert camera.translation.tolist() == [0.5, -0.25, 4]
    older = write_toml(tmp_path, table, metadata={"charuco_square_size": 58.0, "path_to_recorded_videos": "videos"})
    assert read_rig(older)["left"].translation.tolist() == [0.5, -0.25, 4]
    with pytest.raises(PosekitError, match="too long to be metres"):  # a board in metres, and so its cameras
        read_rig(write_toml(tmp_path, table, metadata={"charuco_square_size": 0.058}))


def test_fisheyes_are_read_and_written(tmp_path):
    lens = [-0.02, 0.012, -0.004, 0.0008]
    rig = read_rig(metres(tmp_path, fisheye=True, distortions=lens))
    assert rig["left"].fisheye
    write_aniposelib(tmp_path / "again.toml", rig)
    table = tomllib.loads((tmp_path / "again.toml").read_text())["cam_0"]
    assert (table["fisheye"], table["distortions"]) == (True, lens)
    found = read_rig(tmp_path / "again.toml")
    assert found["left"].fisheye
    assert_same(found, rig, 2e-15)


def test_a_fisheye_that_sees_its_rim_loses_the_corners(tmp_path):
    # 90 degrees at pi / 2 focal lengths: a disc of 471 px in a picture of 1280 x 960 whose corners are dark.
    matrix = [[300.0, 0, 639.5], [0, 300.0, 479.5], [0, 0, 1]]
    lost = round(100 * (1 - np.pi * (300 * np.pi / 2) ** 2 / (1280 * 960)))
    with pytest.warns(PosekitWarning, match=rf"undone in {lost} % of its picture, beyond 90 degrees or where"):
        read_rig(metres(tmp_path, matrix=matrix, fisheye=True, distortions=[0.0] * 4))


def test_skew_is_written_with_a_word_about_it(tmp_path):
    matrix = [[900.0, 2.0, 640.0], [0.0, 910.0, 480.0], [0.0, 0.0, 1.0]]
    rig = read_rig(metres(tmp_path, matrix=matrix))
    with pytest.warns(PosekitWarning, match=r"again\.toml: camera 'left' has a skew of 2 px; it is written, but "):
        write_aniposelib(tmp_path / "again.toml", rig)
    assert read_rig(tmp_path / "again.toml")["left"].matrix.tolist() == matrix
