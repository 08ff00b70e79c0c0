import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posekit.calibration.formats import Unsaid, find_format, read_rig, write_rig
from posekit.camera import Camera, Rig
from posekit.errors import PosekitError, PosekitWarning
from scenes import LENS, ring_rig

MATRIX = np.array([[900.0, 0, 640], [0, 910, 480], [0, 0, 1]])
ROTATION = Rotation.from_rotvec((0.1, -0.7, 0.3)).as_matrix()


def storage(path: Path, **values) -> Path:
    """Write a file as OpenCV does; the suffix chooses YAML or XML."""
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for key, value in values.items():
        file.write(key, value)
    file.release()
    return path


def camera(path: Path, **changes) -> Path:
    values = {
        "image_width": 1280,
        "image_height": 960,
        "camera_matrix": MATRIX,
        "distortion_coefficients": np.array(LENS)[:, None],
        "R": ROTATION,
        "T": np.array((0.5, -0.25, 4.0))[:, None],
        "units": "m",
    } | changes
    return storage(path, **{key: value for key, value in values.items() if value is not None})


@pytest.mark.parametrize("suffix", [".yml", ".yaml", ".xml"])
def test_one_camera_as_opencv_writes_it(tmp_path, suffix):
    path = camera(tmp_path / f"left{suffix}")
    assert find_format(path) == "opencv"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_rig(path)["left"]
    assert found.size == (1280, 960)
    # OpenCV writes 17 digits.
    assert np.abs(found.matrix - MATRIX).max() == 0
    assert np.abs(found.distortion[:5] - LENS).max() < 1e-17
    assert np.abs(found.rotation - ROTATION).max() < 1e-16
    assert found.translation.tolist() == [0.5, -0.25, 4]


def test_other_names_of_the_same(tmp_path):
    vector = Rotation.from_matrix(ROTATION).as_rotvec()
    changes = dict.fromkeys(
        ("image_width", "image_height", "camera_matrix", "distortion_coefficients", "R", "T", "units")
    )
    path = camera(
        tmp_path / "a.yml",
        **changes,
        mtx=MATRIX,
        dist=np.array([LENS]),
        rvec=vector[:, None],
        tvec=np.array([[500.0, -250, 4000]]),
        camera_name="right",
        image_size=np.array([[1280.0, 960.0]]),
    )
    found = read_rig(path, unsaid=Unsaid(units="mm"))["right"]
    assert np.abs(found.rotation - ROTATION).max() < 1e-15
    assert found.size == (1280, 960)
    assert found.distortion[:5] == pytest.approx(LENS, abs=1e-17)
    assert found.translation == pytest.approx((0.5, -0.25, 4), abs=1e-15)


@pytest.mark.parametrize("key", [{"distortion_model": "equidistant"}, {"fisheye_model": 1}])
def test_fisheyes(tmp_path, key):
    lens = np.array([[-0.02, 0.012, -0.004, 0.0008]])
    found = read_rig(camera(tmp_path / "a.yml", distortion_coefficients=lens, **key))["a"]
    assert found.fisheye
    assert found.distortion[:4].tolist() == lens[0].tolist()


def test_a_folder_of_cameras_among_other_files(tmp_path):
    for number in (10, 2):
        camera(tmp_path / f"cam{number}.yml", T=np.array((0, 0, float(number))))
    storage(tmp_path / "pictures.xml", images="left01.jpg")
    (tmp_path / "notes.txt").write_text("")
    assert find_format(tmp_path) == "opencv"
    rig = read_rig(tmp_path)
    assert rig.names == ("cam2", "cam10")
    assert [found.translation[2] for found in rig.cameras] == [2, 10]
    camera(tmp_path / "cam3.yml", units="mm")
    with pytest.raises(PosekitError, match="its files have different units: m, mm"):
        read_rig(tmp_path)
    camera(tmp_path / "cam3.yml", R=None, T=None)
    with pytest.raises(PosekitError, match=r"camera cam3: has no pose \(R and T, world to camera\)"):
        read_rig(tmp_path)


def test_a_single_camera_without_a_pose_is_put_into_the_origin(tmp_path):
    with pytest.warns(PosekitWarning, match=r"camera left: has no pose \(R and T\); it is put into the origin"):
        found = read_rig(camera(tmp_path / "left.yml", R=None, T=None))["left"]
    assert found.rotation.tolist() == np.eye(3).tolist()
    with pytest.raises(PosekitError, match="camera left: has no pose"):
        read_rig(camera(tmp_path / "left.yml", T=None))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"camera_matrix": None}, "camera a: lacks camera_matrix"),
        (
            {"camera_matrix": None, "intrinsicMatrix": MATRIX},
            "camera a: lacks camera_matrix; intrinsicMatrix is JARVIS's",
        ),
        ({"camera_matrix": MATRIX.T.copy()}, "camera a: camera_matrix: is stored transposed"),
        (
            {"distortion_coefficients": np.arange(8.0).reshape(2, 4)},
            "camera a: distortion_coefficients: holds 2 different values",
        ),
        ({"T": np.array((400.0, 0, 0)), "units": None}, "translations up to 400 are too long to be metres"),
        ({"units": "feet"}, "units: 'feet' is not known"),
        ({"units": 3}, "units: 3 is no unit"),
        ({"R": np.ones((3, 4))}, r"camera a: R: finite numbers of shape \(3,\) were expected, found shape \(3, 4\)"),
    ],
)
def test_impossible_values_are_named(tmp_path, changes, reason):
    with pytest.raises(PosekitError, match=rf"a\.yml: {reason}"):
        read_rig(camera(tmp_path / "a.yml", **changes))


def stereo(folder: Path) -> None:
    storage(folder / "intrinsics.yml", M1=MATRIX, D1=np.zeros((1, 14)), M2=MATRIX * (1.1, 1.1, 1), D2=np.array([LENS]))
    eye, wide = np.eye(3), np.ones((3, 4))
    storage(folder / "extrinsics.yml", R=ROTATION, T=np.array((-0.1, 0, 0.01)), R1=eye, R2=eye, P1=wide, P2=wide)


def test_the_two_files_of_stereo_calib(tmp_path):
    stereo(tmp_path)
    for path in (tmp_path, tmp_path / "intrinsics.yml", tmp_path / "extrinsics.yml"):
        rig = read_rig(path, unsaid=Unsaid("m", (1280, 960)))
        assert rig.names == ("left", "right")
        # x_right = R x_left + T, and the left camera is the world.
        points = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (10, 3))
        expected, _ = cv2.projectPoints(
            points, ROTATION, np.array((-0.1, 0, 0.01)), MATRIX * (1.1, 1.1, 1), np.array(LENS)
        )
        seen = np.isfinite(rig["right"].project(points)).all(axis=-1)
        assert seen.sum() > 5
        assert np.abs(rig["right"].project(points) - expected[:, 0])[seen].max() < 1e-9  # float64, pixels of 1e3
        assert rig["left"].project((0.5, 0, 2)) == pytest.approx((640 + 225, 480))
    (tmp_path / "intrinsics.yml").unlink()
    with pytest.raises(PosekitError, match="the other one is not beside it"):
        read_rig(tmp_path / "extrinsics.yml")


def test_opencvs_own_stereo_pair(shared_data):
    with pytest.warns(PosekitWarning) as caught:
        rig = read_rig(shared_data / "opencv_stereo_chess")
    assert [str(warning.message).partition("yml: ")[2] for warning in caught] == [
        "camera left, camera right: does not say how large its picture is; 640 x 480 px is assumed",
        "does not say its units; read as metres",
    ]
    assert rig["right"].translation == pytest.approx((-3.3425631770444570, 0.046707313905958545, 0.0022128672072081849))
    assert rig["left"].distortion[7] == pytest.approx(-0.40469016613274594)  # k6, of 14 with zeros behind


def test_the_written_file_is_one_that_opencv_reads(tmp_path):
    lens = (0.8, 0.3, 1e-4, 1e-4, 0.02, 1.0, 0.6, 0.1)
    fisheye = Camera("eye 3", (640, 480), MATRIX, LENS[:4], ROTATION, np.ones(3), fisheye=True)
    rig = Rig((*ring_rig(1).cameras, *ring_rig(2, distortion=lens).cameras[1:], fisheye))
    write_rig(tmp_path / "rig.yml", rig)
    file = cv2.FileStorage(str(tmp_path / "rig.yml"), cv2.FILE_STORAGE_READ)
    nodes = file.getNode("cameras")
    assert file.getNode("units").string() == "m"
    assert nodes.size() == 3
    for number, (written, model) in enumerate(
        zip(rig.cameras, ("plumb_bob", "rational_polynomial", "fisheye"), strict=True)
    ):
        node = nodes.at(number)
        assert (node.getNode("camera_name").string(), node.getNode("distortion_model").string()) == (
            written.name,
            model,
        )
        assert (int(node.getNode("image_width").real()), int(node.getNode("image_height").real())) == written.size
        assert np.array_equal(node.getNode("camera_matrix").mat(), written.matrix)
        count = {"plumb_bob": 5, "rational_polynomial": 8, "fisheye": 4}[model]
        assert np.array_equal(node.getNode("distortion_coefficients").mat()[0], written.distortion[:count])
        assert np.array_equal(node.getNode("R").mat(), written.rotation)
        assert np.array_equal(node.getNode("T").mat()[:, 0], written.translation)


def test_names_that_do_not_go_into_the_file(tmp_path):
    rig = Rig((Camera('a"b', (640, 480), MATRIX, (), np.eye(3), np.zeros(3)),))
    with pytest.raises(PosekitError, match="has signs that do not go into OpenCV's YAML"):
        write_rig(tmp_path / "rig.yml", rig)
    assert not list(tmp_path.iterdir())
