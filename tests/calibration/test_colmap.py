from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posekit.calibration.formats import Unsaid, find_format, read_rig
from posekit.errors import PosekitError, PosekitWarning

HEADER = "# Camera list with one line of data per camera:\n#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n"
ROTATION = Rotation.from_rotvec((0.1, -0.7, 0.3))
POSE = " ".join(repr(x) for x in (*ROTATION.as_quat(scalar_first=True).tolist(), 0.5, -0.25, 4.0))

#: The line of cameras.txt, and OpenCV's coefficients of the same lens.
MODELS = {
    "SIMPLE_PINHOLE": ("800 640.5 480.5", ()),
    "PINHOLE": ("800 810 640.5 480.5", ()),
    "SIMPLE_RADIAL": ("800 640.5 480.5 -0.1", (-0.1, 0, 0, 0)),
    "RADIAL": ("800 640.5 480.5 -0.1 0.02", (-0.1, 0.02, 0, 0)),
    "OPENCV": ("800 810 640.5 480.5 -0.1 0.02 1e-3 -2e-3", (-0.1, 0.02, 1e-3, -2e-3)),
    "FULL_OPENCV": ("800 810 640.5 480.5 0.8 0.3 1e-4 2e-4 0.02 1 0.6 0.1", (0.8, 0.3, 1e-4, 2e-4, 0.02, 1, 0.6, 0.1)),
    "OPENCV_FISHEYE": ("800 810 640.5 480.5 -0.02 0.012 -0.004 0.0008", (-0.02, 0.012, -0.004, 0.0008)),
    "SIMPLE_RADIAL_FISHEYE": ("800 640.5 480.5 -0.02", (-0.02, 0, 0, 0)),
    "RADIAL_FISHEYE": ("800 640.5 480.5 -0.02 0.012", (-0.02, 0.012, 0, 0)),
}


def write(folder: Path, cameras: str, *images: str) -> Path:
    (folder / "cameras.txt").write_text(HEADER + cameras)
    (folder / "images.txt").write_text("# Image list with two lines of data per image:\n" + "".join(images))
    return folder


def image(number: int, camera: int, name: str, points: str = "1.5 2.5 -1 7 8 3") -> str:
    return f"{number} {POSE} {camera} {name}\n{points}\n"


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_opencvs(tmp_path, model):
    parameters, lens = MODELS[model]
    write(tmp_path, f"1 {model} 1280 960 {parameters}\n", image(1, 1, "cam_1.jpg"))
    assert find_format(tmp_path) == find_format(tmp_path / "images.txt") == "colmap"
    with pytest.warns(PosekitWarning, match="COLMAP's reconstructions have no scale"):
        camera = read_rig(tmp_path)["cam_1"]
    assert camera.size == (1280, 960)
    assert camera.fisheye == model.endswith("FISHEYE")
    # The middle of the picture is (640.5, 480.5) where corners are counted, (640, 480) where centres are.
    matrix = np.array([[800.0, 0, 640], [0, 810 if parameters.startswith("800 810") else 800, 480], [0, 0, 1]])
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (20, 3))
    project = cv2.fisheye.projectPoints if camera.fisheye else cv2.projectPoints
    expected, _ = project(
        points[:, None], ROTATION.as_rotvec(), np.array((0.5, -0.25, 4)), matrix, np.array(lens, dtype=float)
    )
    assert np.abs(camera.project(points) - expected[:, 0]).max() < 1e-9  # float64, pixels of 1e3


@pytest.mark.filterwarnings("ignore:.*have no scale")
@pytest.mark.parametrize(
    ("pictures", "names"),
    [
        (("left.jpg", "right.png"), ("left", "right")),
        (("cam_1/0001.jpg", "cam_2/0001.jpg"), ("cam_1", "cam_2")),
        (("a b.jpg", "c.jpg"), ("a b", "c")),
    ],
)
def test_cameras_are_named_by_their_pictures(tmp_path, pictures, names):
    images = [image(2 - number, 1, picture, points="") for number, picture in enumerate(pictures)]
    write(tmp_path, "1 SIMPLE_PINHOLE 1280 960 800 640.5 480.5\n\n", *images)
    assert read_rig(tmp_path / "cameras.txt").names == names


def test_a_scale_may_be_said(tmp_path):
    write(tmp_path, "1 SIMPLE_PINHOLE 1280 960 800 640.5 480.5\n", image(1, 1, "a.jpg"))
    assert read_rig(tmp_path, unsaid=Unsaid(units="cm"))["a"].translation == pytest.approx((0.005, -0.0025, 0.04))


@pytest.mark.parametrize(
    ("camera", "images", "reason"),
    [
        (
            "1 THIN_PRISM_FISHEYE 1280 960 1 2 3",
            (image(1, 1, "a"),),
            r"cameras\.txt: line 3: the model THIN_PRISM_FISHEYE is not",
        ),
        (
            "1 PINHOLE 1280 960 800 640 480",
            (image(1, 1, "a"),),
            r"line 3: PINHOLE has the parameters fx fy cx cy, found 3",
        ),
        ("1 PINHOLE 1280 960 800 640 480 x", (image(1, 1, "a"),), r"line 3: .* are not numbers"),
        ("1 PINHOLE", (image(1, 1, "a"),), r"line 3: CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS\[\] were expected"),
        (
            "1 SIMPLE_PINHOLE 1280 960 800 640 480",
            (image(1, 2, "a"),),
            r"picture of a: its camera 2 is not in cameras\.txt",
        ),
        ("1 SIMPLE_PINHOLE 1280 960 800 640 480", (), r"images\.txt: holds no picture"),
        ("1 SIMPLE_PINHOLE 1280 960 800 640 480", ("1 2 3\n",), r"images\.txt: line 2: IMAGE_ID, QW"),
        (
            "1 SIMPLE_PINHOLE 1280 960 800 640 480",
            (image(1, 1, "a").partition("\n")[0] + "\n", image(2, 1, "b")),
            r"images\.txt: line 3: a picture's points",
        ),
        (
            "1 SIMPLE_PINHOLE 1280 960 800 640 480",
            ("1 0 0 0 0 1 2 3 1 a\n\n",),
            r"camera a: its quaternion \[0.0, 0.0, 0.0, 0.0\] is not of length 1",
        ),
        (
            "1 SIMPLE_PINHOLE 1280 960 800 640 480",
            (image(1, 1, "a/0.jpg"), image(2, 1, "a/1.jpg"), image(3, 1, "b/0.jpg")),
            "several pictures of one camera",
        ),
    ],
)
def test_damaged_models(tmp_path, camera, images, reason):
    with pytest.raises(PosekitError, match=reason) as error:
        read_rig(write(tmp_path, f"{camera}\n", *images))
    assert "\n" not in str(error.value)


def test_one_file_alone(tmp_path):
    (tmp_path / "cameras.txt").write_text("1 SIMPLE_PINHOLE 1280 960 800 640 480\n")
    with pytest.raises(PosekitError, match=r"images\.txt: no such file; COLMAP's text model is"):
        read_rig(tmp_path / "cameras.txt")
