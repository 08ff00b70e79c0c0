import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from posekit.camera import Camera, CameraBatch, Rig, match_camera_names, rig_of_batch
from posekit.errors import PosekitError, PosekitWarning
from scenes import LENS, looking_camera, ring_rig

MATRIX = np.array([[900.0, 0, 640], [0, 910, 480], [0, 0, 1]])


def make(**changes) -> Camera:
    values = {
        "name": "left",
        "size": (1280, 960),
        "matrix": MATRIX,
        "distortion": (),
        "rotation": np.eye(3),
        "translation": np.zeros(3),
        **changes,
    }
    return Camera(**values)


def test_world_point_in_hand_computed_pixels():
    # The camera stands at (1, 2, 3), its axes are the world's; 4 m ahead, 0.5 m right, 0.25 m down.
    camera = make(translation=(-1, -2, -3))
    assert camera.centre_world.tolist() == [1, 2, 3]
    assert camera.project((1.5, 2.25, 7)).tolist() == [640 + 900 / 8, 480 + 910 / 16]


def test_axes_and_pixel_origin():
    # From (0, -3, 1) along y: x to the right stays right, what is high in the world is high in the picture.
    camera = looking_camera("front", (0, -3, 1), (0, 0, 1))
    assert camera.centre_world == pytest.approx((0, -3, 1), abs=1e-12)
    middle = camera.project((0, 0, 1))
    assert middle == pytest.approx((639.5, 479.5))  # the middle of 1280 pixels whose first has its centre at 0
    assert camera.project((0.3, 0, 1))[0] > middle[0]
    assert camera.project((0, 0, 1.3))[1] < middle[1]


def test_points_not_in_front_are_nan():
    points = [(0, 0, -1), (1, 1, 0), (0, 0, 1e-3), (np.nan, 0, 1)]
    assert np.isnan(make().project(points)).all(axis=-1).tolist() == [True, True, False, True]


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 5, 3)])
def test_shapes_pass_through(shape):
    points = np.random.default_rng(0).uniform(1, 2, shape)
    pixels = make().project(points)
    assert pixels.shape == (*shape[:-1], 2)
    assert make().undistort(pixels).shape == pixels.shape
    assert make().ray_directions(pixels).shape == points.shape


@pytest.mark.parametrize("distortion", [(), LENS[:4], LENS, (0.8, 0.3, 1e-4, 1e-4, 0.02, 1.0, 0.6, 0.1)])
def test_rays_go_through_the_points_they_picture(distortion):
    camera = looking_camera("a", (3, -2, 1.5), (0, 0, 1), distortion=distortion)
    points = np.random.default_rng(0).uniform((-0.8, -0.8, 0.2), (0.8, 0.8, 1.8), (50, 3))
    directions = camera.ray_directions(camera.project(points))
    expected = points - camera.centre_world
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    # Newton's method ends at rounding errors of the pixels' size, 1e3 * 2e-16, over the focal length.
    assert np.abs(directions - expected).max() < 1e-12


def test_a_batch_is_its_cameras():
    rig = ring_rig(3)
    points = np.random.default_rng(1).uniform(-1, 1, (4, 7, 3))
    batch = CameraBatch.from_rig(rig)
    pixels = batch.project(torch.from_numpy(points))
    assert pixels.shape == (4, 7, 3, 2)
    assert len(batch) == 3
    for c, camera in enumerate(rig.cameras):
        assert np.array_equal(pixels[:, :, c].numpy(), camera.project(points))
        assert np.allclose(batch.undistort(pixels)[:, :, c].numpy(), camera.undistort(pixels[:, :, c].numpy()), atol=0)
        assert np.allclose(batch.centres_world[c].numpy(), camera.centre_world, atol=1e-15)


def test_a_float32_batch_is_within_its_precision():
    rig = ring_rig(4)
    points = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (100, 3)))
    exact = CameraBatch.from_rig(rig).project(points)
    rough = CameraBatch.from_rig(rig, dtype=torch.float32).project(points.float())
    assert rough.dtype == torch.float32
    # 1000 px at 2^-24 relative are 6e-5 px, and a dozen operations.
    assert (rough - exact).abs().max() < 2e-3


def test_skew_counts():
    matrix = MATRIX.copy()
    matrix[0, 1] = 30.0
    camera = make(matrix=matrix)
    assert camera.project((0.2, 0.1, 1)).tolist() == pytest.approx([640 + 180 + 3, 480 + 91])
    assert camera.undistort(camera.project((0.2, 0.1, 1))) == pytest.approx((0.2, 0.1))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"size": (0, 960)}, "size"),
        ({"size": (1280,)}, "size"),
        ({"size": (1280.5, 960)}, "size"),
        ({"size": (np.nan, 960)}, "size"),
        ({"size": 1280}, "size"),
        ({"size": "wide"}, "size"),
        ({"matrix": np.eye(3)[:2]}, "matrix"),
        ({"matrix": np.diag((900.0, 900.0, 2.0))}, "matrix"),
        ({"matrix": np.diag((-900.0, 900.0, 1.0))}, "matrix"),
        ({"matrix": MATRIX.T}, "matrix"),
        ({"matrix": MATRIX + np.array([[0, 0, 0], [0, 0, 0], [640, 480, 0]])}, "matrix"),
        ({"matrix": np.full((3, 3), np.nan)}, "matrix"),
        ({"distortion": (0.1,) * 3}, "distortion"),
        ({"distortion": (0.1,) * 6}, "distortion"),
        ({"distortion": (0.1,) * 12}, "distortion"),
        ({"distortion": (0.1, np.inf, 0, 0)}, "distortion"),
        ({"distortion": ("a", "b", "c", "d")}, "distortion"),
        ({"rotation": 2 * np.eye(3)}, "rotation"),
        ({"rotation": np.diag((1.0, 1.0, -1.0))}, "rotation"),
        ({"rotation": (0.1, 0.2, 0.3)}, "rotation"),
        ({"translation": (0, 0)}, "translation"),
        ({"translation": (0, 0, np.nan)}, "translation"),
    ],
)
def test_impossible_cameras_are_refused_naming_the_field(changes, field):
    with pytest.raises(PosekitError, match=f"^camera left: {field}: "):
        make(**changes)


def test_cameras_cannot_be_changed_and_keep_no_link_to_their_makers_arrays():
    matrix = MATRIX.copy()
    camera = make(matrix=matrix)
    matrix[0, 0] = 1
    assert camera.matrix[0, 0] == 900
    for array in (camera.matrix, camera.distortion, camera.rotation, camera.translation):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_rig_finds_cameras_by_name_in_the_order_asked_for():
    rig = ring_rig(12)
    chosen = rig.select(("cam_10", "cam_2"))
    assert chosen.names == ("cam_10", "cam_2")
    assert chosen["cam_2"] is rig.cameras[1]
    assert chosen.source == rig.source
    with pytest.raises(PosekitError, match=r"^the ring: has no camera 'cam_13'; it has: cam_1, "):
        rig.select(("cam_1", "cam_13"))


def test_rigs_without_cameras_or_with_namesakes_are_refused():
    with pytest.raises(PosekitError, match=r"^a\.toml: the rig has no camera"):
        Rig((), "a.toml")
    with pytest.raises(PosekitError, match=r"^a\.toml: two cameras are called 'left'"):
        Rig((make(), make(size=(640, 480))), "a.toml")


def test_video_sizes_are_held_against_the_rig():
    rig = Rig((make(size=(1088, 1920)),), "a.toml")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rig.check_video_size("left", (1088, 1920), "left.mp4")
    with pytest.warns(PosekitWarning, match=r"left\.mp4: pictures are 1080 x 1920 px where the rig says 1088 x 1920"):
        rig.check_video_size("left", (1080, 1920), "left.mp4")
    for size in ((1920, 1088), (544, 960), (1088, 1870)):
        with pytest.raises(PosekitError, match=r"left\.mp4: pictures are .* resized, cropped or turned"):
            rig.check_video_size("left", size, "left.mp4")


def test_rotation_vectors_of_opencv_are_the_same_rotation():
    vector = np.array((0.3, -1.2, 0.7))
    camera = make(rotation=cv2.Rodrigues(vector)[0], translation=(0.1, -0.2, 4))
    points = np.random.default_rng(3).uniform(-1, 1, (20, 3))
    expected, _ = cv2.projectPoints(points, vector, np.array((0.1, -0.2, 4)), MATRIX, None)
    # Pixels of 1e3 have rounding errors of 1e-13; a dozen operations.
    assert np.abs(camera.project(points) - expected[:, 0]).max() < 1e-10


def test_the_picture_ends_half_a_pixel_outside_its_outermost_pixels():
    camera = Camera("a", (640, 480), np.array([[500, 0, 320], [0, 500, 240], [0, 0, 1.0]]), (), np.eye(3), np.zeros(3))
    places = [(0, 0), (-0.4, 479.4), (639.4, 0), (-0.6, 10), (10, 479.6), (639.6, 10), (np.nan, 10), (10, np.nan)]
    assert camera.in_picture(places).tolist() == [True] * 3 + [False] * 5
    assert camera.in_picture(np.zeros((2, 3, 2))).shape == (2, 3)


FISHEYE = (-0.02, 0.012, -0.004, 0.0008)


def test_a_fisheye_pictures_what_opencvs_does():
    camera = make(distortion=FISHEYE, fisheye=True)
    assert camera.distortion.tolist() == [*FISHEYE, 0, 0, 0, 0]
    points = np.array([(0, 0, 1), (0.5, 1, 3), (-4, 1, 1), (5, -5, 0.5)], dtype=float)
    expected, _ = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), MATRIX, np.array(FISHEYE))
    pixels = camera.project(points)
    assert np.abs(pixels - expected[:, 0]).max() < 1e-9  # float64 in both, pixels of 1e3
    unit = points / np.linalg.norm(points, axis=-1, keepdims=True)
    assert np.abs(camera.ray_directions(pixels) - unit).max() < 1e-13
    assert camera.in_picture(pixels).tolist() == [True, True, False, False]
    assert np.isnan(camera.project(((0.0, 0, -1), (1, 0, 0)))).all()


@pytest.mark.parametrize("distortion", [(0.1, 0, 0, 0, 0.01), (0,) * 7 + (0.1,)])
def test_a_fisheye_has_four_coefficients(distortion):
    with pytest.raises(PosekitError, match=r"^camera left: distortion: a fisheye lens has 4 coefficients"):
        make(distortion=distortion, fisheye=True)
    again = replace(make(distortion=FISHEYE, fisheye=True), name="right")  # from 8, of which the last are zeros
    assert (again.fisheye, again.distortion[3]) == (True, FISHEYE[3])
    assert not make(distortion=distortion).fisheye


def test_a_batch_of_fisheyes_and_others_is_its_cameras():
    rig = ring_rig(3)
    mixed = Rig((rig.cameras[0], replace(rig.cameras[1], distortion=FISHEYE, fisheye=True), rig.cameras[2]))
    assert CameraBatch.from_rig(rig).fisheye is None
    batch = CameraBatch.from_rig(mixed)
    points = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (40, 3)))
    pixels, jacobian = batch.project_with_jacobian(points)
    assert torch.allclose(pixels, batch.project(points), rtol=0, atol=1e-10)
    for c, camera in enumerate(mixed.cameras):
        assert np.array_equal(batch.project(points)[:, c].numpy(), camera.project(points.numpy()))
        assert np.array_equal(batch.undistort(pixels)[:, c].numpy(), camera.undistort(pixels[:, c].numpy()))
        assert jacobian[:, c].isfinite().all()


def named(*names: str) -> Rig:
    return Rig(tuple(make(name=name, translation=(number, 0, 0)) for number, name in enumerate(names)), "a.toml")


@pytest.mark.parametrize(
    ("rig", "names", "expected"),
    [
        (("cam_01", "cam_02"), ("cam01", "cam02"), ("cam01", "cam02")),
        (("cam_01", "cam_02", "cam_3"), ("Cam2", "Cam1"), ("Cam1", "Cam2", "cam_3")),
        (("cam_10", "cam_2", "cam_1"), ("cam2", "cam10", "cam_1"), ("cam10", "cam2", "cam_1")),
        (("1", "2"), ("0001", "2"), ("0001", "2")),
        (("Left-Hand Side", "b"), ("left_hand_side", "b"), ("left_hand_side", "b")),
    ],
)
def test_cameras_that_are_only_spelled_otherwise_are_renamed(rig, names, expected):
    with pytest.warns(
        PosekitWarning, match=r"^a\.toml: its cameras have other names than the capture's: .* is taken for "
    ):
        found = match_camera_names(named(*rig), names)
    assert found.names == expected
    assert [camera.translation[0] for camera in found.cameras] == list(range(len(rig)))  # each is still where it was
    assert found.source == "a.toml"


@pytest.mark.parametrize(
    ("rig", "names"),
    [
        (("a", "b"), ("b", "a")),  # nothing to rename
        (("a", "b"), ("a",)),
        (("cam_01", "cam_02"), ("left", "right")),  # never by place
        (("cam_01", "cam_02"), ("cam01", "cam03")),  # all or none
        (("cam_1", "cam_01"), ("cam1", "b")),  # which of the two?
        (("cam_1", "cam_01"), ("cam1", "cam_01")),
        (("cam_1", "b"), ("cam1", "cam01")),
        (("cam_1", "b"), ("cam_1", "cam01")),
        (("cam_12",), ("cam_1_2",)),
        (("__",), ("--x",)),
    ],
)
def test_cameras_are_left_alone_where_their_names_are_not_one_to_one(rig, names):
    before = named(*rig)
    assert match_camera_names(before, names) is before


def test_names_that_differ_by_the_word_they_share_are_matched_by_their_number():
    rig = ring_rig(3)  # cam_1, cam_2, cam_3
    with pytest.warns(PosekitWarning, match="cam_1 is taken for port_1, cam_3 is taken for port_3"):
        assert match_camera_names(rig, ("port_1", "port_3")).names == ("port_1", "cam_2", "port_3")
    assert match_camera_names(rig, ("left_1", "right_1")) is rig  # two words: their numbers tell nothing
    assert match_camera_names(rig, ("port_1", "port_4")) is rig


def test_a_batch_becomes_a_rig_again():
    rig = ring_rig(3)
    rig = Rig(
        (
            rig.cameras[0],
            replace(rig.cameras[1], time_offset_s=0.25),
            replace(rig.cameras[2], distortion=np.array((0.1, 0.02, 0.003, 0.0004)), fisheye=True),
        ),
        "three",
    )
    batch = CameraBatch.from_rig(rig)
    again = rig_of_batch(batch, rig)
    assert (again.names, again.source) == (rig.names, "three")
    for before, after in zip(rig.cameras, again.cameras, strict=True):
        for field in ("matrix", "rotation", "translation", "distortion"):
            np.testing.assert_array_equal(getattr(after, field), getattr(before, field))
        assert (after.size, after.fisheye, after.time_offset_s) == (before.size, before.fisheye, before.time_offset_s)
    moved = rig_of_batch(replace(batch, translation=batch.translation + 1), rig, [0.0, 0.5, -0.5])
    assert [camera.time_offset_s for camera in moved.cameras] == [0.0, 0.5, -0.5]
    np.testing.assert_array_equal(moved.cameras[1].translation, rig.cameras[1].translation + 1)
