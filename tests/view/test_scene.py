from dataclasses import replace

import numpy as np
import pytest

from posekit.camera import Rig
from posekit.errors import PosekitError
from posekit.keypoints import Keypoints3D
from posekit.point_status import PointStatus
from posekit.view.mesh import camera_corners
from posekit.view.scene import Scene, show_window
from scenes import PERSON, looking_camera, ring_rig, standing_person, walk


def people_in_3d(xyz: np.ndarray, cameras: int = 3) -> Keypoints3D:
    """Put (F, P, 67, 3) into keypoints, all of them sure."""
    shape = xyz.shape[:3]
    return Keypoints3D(
        xyz,
        np.zeros((*shape, 6)),
        np.ones((*shape, cameras), bool),
        np.zeros((*shape, cameras)),
        np.where(np.isfinite(xyz).all(-1), PointStatus.OK, PointStatus.TOO_FEW_VIEWS).astype(np.uint8),
        ring_rig(cameras).names,
        np.arange(10, 10 + len(xyz)),
        PERSON,
        30.0,
        "people",
    )


@pytest.fixture
def walking() -> Keypoints3D:
    xyz = walk(6, (0, 0), (0.1, 0))[:, None]
    xyz[:3, :, PERSON.part("left_hand")] = np.nan
    return people_in_3d(xyz)


@pytest.mark.parametrize(
    ("up", "turn"),
    [
        ("y", lambda x, y, z: (x, -z, y)),
        ("-y", lambda x, y, z: (x, z, -y)),
        ("x", lambda x, y, z: (-z, y, x)),
        ("-z", lambda x, y, z: (x, -y, -z)),
    ],
)
def test_other_worlds_are_turned_upright_with_their_cameras(walking, up, turn):
    rig = ring_rig(3)
    # A world in which `up` points up: from z-up by the inverse of what the scene is to do.
    upright = Scene(walking, rig)
    away = np.array([turn(*axis) for axis in np.eye(3)])  # row i: where the other world's axis i points
    assert np.linalg.det(away) == pytest.approx(1)
    xyz = walking.xyz @ away.T
    cameras = [replace(camera, rotation=camera.rotation @ away.T) for camera in rig.cameras]
    scene = Scene(replace(walking, xyz=xyz), Rig(tuple(cameras)), up=up)
    height = scene.points[0, 0, PERSON.index("head_top"), 2] - scene.points[0, 0, PERSON.index("left_heel"), 2]
    assert height == pytest.approx(
        upright.points[0, 0, PERSON.index("head_top"), 2] - upright.points[0, 0, PERSON.index("left_heel"), 2]
    )
    for before, after in zip(rig.cameras, scene.cameras, strict=True):
        np.testing.assert_allclose(after.project(scene.points[2, 0]), before.project(walking.xyz[2, 0]), atol=1e-8)


def test_rows_are_found_by_frame_number_and_by_what_is_there(walking):
    scene = Scene(walking)
    assert scene.row(12) == 2
    assert scene.fullest_row("left_hand") == 3
    with pytest.raises(PosekitError, match=r"people: have no frame 3; they have 6, from 10 to 15"):
        scene.row(3)


def test_a_hand_is_followed_and_everything_else_stands_still(walking):
    scene = Scene(walking, ring_rig(3))
    hand = PERSON.part("left_hand")
    rows = list(range(6))
    for row, view in zip(rows, scene.viewpoints(rows, "left_hand", (300, 300)), strict=True):
        pixels = view.project(scene.points[row, 0, hand])
        if row >= 3:
            # The viewer goes along smoothly, so that the hand may be a little off the middle where it came into sight.
            assert (np.abs(pixels.mean(axis=0) - 150) < 100).all()
            assert np.ptp(pixels, axis=0).max() > 100
    still = scene.viewpoints(rows, "all", (300, 200))
    assert len({id(view) for view in still}) == 1
    everything = np.concatenate((scene.points.reshape(-1, 3), [camera.centre_world for camera in scene.cameras]))
    pixels = still[0].project(everything[np.isfinite(everything).all(axis=1)])
    assert (np.abs(pixels - (150, 100)) < (150, 100)).all()


def test_a_stray_point_neither_shrinks_the_people_nor_sinks_the_floor(walking):
    # One joint in one frame, a kilometre away.
    xyz = walking.xyz.copy()
    xyz[0, 0, PERSON.index("nose")] = (900, -400, -300)
    with_stray, without = Scene(replace(walking, xyz=xyz)), Scene(walking)
    a, b = (scene.viewpoints([1], "all", (300, 200))[0] for scene in (with_stray, without))
    np.testing.assert_allclose(a.project(without.points[1, 0, 8]), b.project(without.points[1, 0, 8]), atol=1)
    assert with_stray.still().vertices[:, 2].min() > -0.1


def test_what_cannot_be_shown_is_said(walking):
    with pytest.raises(PosekitError, match="hold not one point"):
        Scene(people_in_3d(np.full_like(walking.xyz, np.nan)))
    with pytest.raises(PosekitError, match="no point of 'left_hand' in frame 10"):
        Scene(walking).viewpoints([0], "left_hand", (100, 100))
    with pytest.raises(PosekitError, match="focus 'foot' is not known"):
        Scene(walking).viewpoints([0], "foot", (100, 100))
    with pytest.raises(PosekitError, match="axis 'w' is not known"):
        Scene(walking, up="w")


def test_the_hand_of_the_person_who_has_most_of_it_is_in_focus():
    xyz = np.stack((standing_person(), standing_person() + np.array((5, 0, 0))))[None].repeat(2, axis=0)
    xyz[:, 0, PERSON.part("right_hand")] = np.nan
    view = Scene(people_in_3d(xyz)).viewpoints([0], "right_hand", (200, 200))[0]
    pixels = view.project(xyz[0, 1, PERSON.part("right_hand")])
    assert (np.abs(pixels - 100) < 100).all()


def test_a_window_needs_a_screen(walking, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(PosekitError, match="no screen for a window"):
        show_window(Scene(walking))


def test_cameras_are_named_beside_them(walking):
    rig = Rig((looking_camera("north", (0, 4, 1.5), (0, 0, 1)),))
    scene = Scene(walking, rig)
    view = scene.viewpoints([0], "all", (640, 480))[0]
    image = np.full((480, 640, 3), 255, np.uint8)
    scene.label(image, view)
    y, x = np.nonzero((image < 200).any(axis=2))
    depth = np.linalg.norm(rig.cameras[0].centre_world - np.nanmedian(walking.xyz.reshape(-1, 3), axis=0)) / 8
    pyramid = view.project(camera_corners(rig.cameras[0], depth))
    assert len(x) > 50
    assert x.mean() == pytest.approx(pyramid[:, 0].mean(), abs=3)
    assert pyramid[:, 1].min() - 25 < y.max() < pyramid[:, 1].min()
