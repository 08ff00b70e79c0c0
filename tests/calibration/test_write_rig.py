import warnings

import numpy as np
import pytest

from posekit.calibration.formats import Unsaid, read_rig, write_rig
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError, PosekitWarning
from scenes import LENS, ring_rig

RATIONAL = (0.8, 0.3, 1e-4, 1e-4, 0.02, 1.0, 0.6, 0.1)


def fisheye_rig() -> Rig:
    lens = (-0.02, 0.012, -0.004, 0.0008)
    return Rig(
        tuple(
            Camera(f"eye_{c.name}", c.size, c.matrix * (0.6, 0.6, 1), lens, c.rotation, c.translation, fisheye=True)
            for c in ring_rig(3).cameras
        )
    )


def assert_same(found: Rig, expected: Rig) -> None:
    assert found.names == expected.names
    for a, b in zip(found.cameras, expected.cameras, strict=True):
        assert (a.size, a.fisheye) == (b.size, b.fisheye)
        for field in ("matrix", "distortion", "rotation", "translation"):
            # All digits are written; a rotation vector and a change of units cost the last one.
            assert np.abs(getattr(a, field) - getattr(b, field)).max() < 2e-15, field


@pytest.mark.parametrize(
    "name", ["calibration.toml", "calibration.json", "cameras", "rig.yml", "rig.yaml", "cameras/extri.yml"]
)
@pytest.mark.parametrize("lens", [(), LENS[:4], LENS])
def test_round_trips(tmp_path, name, lens):
    rig = ring_rig(12, distortion=lens)
    (tmp_path / "cameras").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_rig(tmp_path / name, rig)
        found = read_rig(tmp_path / name)
    assert_same(found, rig)


@pytest.mark.parametrize("name", ["calibration.toml", "rig.yml"])
@pytest.mark.parametrize("rig", [ring_rig(3, distortion=RATIONAL), fisheye_rig()], ids=["rational", "fisheye"])
def test_round_trips_of_other_lenses(tmp_path, name, rig):
    write_rig(tmp_path / name, rig)
    assert_same(read_rig(tmp_path / name), rig)


@pytest.mark.parametrize("name", ["calibration.json", "cameras"])
@pytest.mark.parametrize(
    ("rig", "reason"),
    [
        (ring_rig(3, distortion=RATIONAL), "camera 'cam_1' has 8 distortion coefficients, .* holds 5"),
        (fisheye_rig(), "camera 'eye_cam_1' is a fisheye, which .* cannot hold"),
    ],
)
def test_lenses_that_do_not_fit_are_refused(tmp_path, name, rig, reason):
    with pytest.raises(PosekitError, match=rf"{name}: {reason}"):
        write_rig(tmp_path / name, rig)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["calibration.toml", "cameras", "rig.yml"])
def test_skew_is_kept_with_a_word_where_programs_ignore_it(tmp_path, name):
    straight = ring_rig(1).cameras[0]
    matrix = straight.matrix + np.array([[0, 3, 0], [0, 0, 0], [0, 0, 0]])
    rig = Rig((Camera("a", straight.size, matrix, LENS, straight.rotation, straight.translation),))
    with pytest.warns(PosekitWarning, match=rf"{name}: camera 'a' has a skew of 3 px; it is written, but"):
        write_rig(tmp_path / name, rig)
    assert_same(read_rig(tmp_path / name), rig)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_rig(tmp_path / "calibration.json", rig)  # the toolbox multiplies by the whole matrix
    assert_same(read_rig(tmp_path / "calibration.json"), rig)


@pytest.mark.parametrize("name", ["rig.xml", "rig.qca.txt", "rig.c3d"])
def test_names_of_no_known_format_are_refused(tmp_path, name):
    with pytest.raises(PosekitError, match=r"is no format of cameras that can be written; known are: \.toml"):
        write_rig(tmp_path / name, ring_rig(2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["calibration.toml", "calibration.json", "rig.yml"])
def test_a_folder_that_is_not_there(tmp_path, name):
    with pytest.raises(PosekitError, match=r"cannot be written: the folder .*gone does not exist"):
        write_rig(tmp_path / "gone" / name, ring_rig(2))


def test_real_rigs_survive_every_format(tmp_path, shared_data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PosekitWarning)
        rigs = [
            read_rig(shared_data / "pose2sim_balancing" / "Calib.qca.txt"),
            read_rig(shared_data / "caliscope_charuco" / "desk_4cams" / "camera_array.toml"),
            read_rig(shared_data / "temugeb_hand_2cams" / "camera_parameters", unsaid=Unsaid("cm", (720, 720))),
        ]
    for number, rig in enumerate(rigs):
        for name in ("calibration.toml", "calibration.json", "cameras", "rig.yml"):
            path = tmp_path / f"{number}_{name}"
            write_rig(path, rig)
            again = read_rig(path)
            points = np.random.default_rng(0).uniform(-0.5, 0.5, (100, 3))
            for before, after in zip(rig.cameras, again.cameras, strict=True):
                assert before.name == after.name
                difference = np.abs(before.project(points) - after.project(points))
                # One of the files has rotations of 8 digits, of which a rotation vector makes proper ones.
                assert np.nanmax(difference) < 1e-5
