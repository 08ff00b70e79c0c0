from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from posekit.calibration.boards.board import parse_board
from posekit.calibration.report.free_points import reprojection_errors, triangulate_freely
from posekit.calibration.world.frame import (
    WorldFrame,
    scale_by_bone,
    scale_by_points,
    transform_rig,
    world_from_board,
    world_from_points,
)
from posekit.calibration.world.from_people import world_from_people
from posekit.calibration.world.marked_points import MarkedPoints, read_marked_points
from posekit.camera import Rig
from posekit.errors import PosekitError, PosekitWarning
from posekit.geometry.alignment import Similarity
from posekit.keypoints import Keypoints3D
from posekit.point_status import PointStatus
from posekit.skeleton import BODY_25B, COCO_17, Skeleton
from scenes import PERSON, ring_rig, standing_person

BOARD = parse_board("charuco:5x4:0.06:0.045:DICT_4X4_50")

#: A world that means nothing: turned, moved and 0.4 times as large as the true one.
ASTRAY = Similarity(np.array(0.4), Rotation.from_rotvec((0.7, -1.1, 2.0)).as_matrix(), np.array((3.0, -1.0, 0.5)))
#: The same with its true size, as after a calibration on boards.
TURNED = Similarity(np.array(1.0), ASTRAY.rotation, ASTRAY.translation)


def assert_same_cameras(found: Rig, expected: Rig, metres: float) -> None:
    for one, other in zip(found.cameras, expected.cameras, strict=True):
        np.testing.assert_allclose(one.centre_world, other.centre_world, atol=metres)
        # A turn of 1 rad moves what is a metre off by a metre.
        np.testing.assert_allclose(one.rotation, other.rotation, atol=metres)


def people_of(xyz: NDArray[np.float64], skeleton: Skeleton, rig: Rig) -> Keypoints3D:
    present = np.isfinite(xyz).all(axis=-1)
    return Keypoints3D(
        xyz,
        np.zeros((*present.shape, 6)),
        np.ones((*present.shape, len(rig)), dtype=bool),
        np.zeros((*present.shape, len(rig))),
        np.where(present, PointStatus.OK, PointStatus.TOO_FEW_VIEWS),
        rig.names,
        np.arange(len(xyz)),
        skeleton,
        source="people.h5",
    )


def test_a_transformed_rig_sees_the_moved_points_in_the_same_pixels() -> None:
    rig = ring_rig(4)
    points = np.random.default_rng(0).normal(0, 0.5, (20, 3)) + np.array((0, 0, 1))
    moved = transform_rig(rig, ASTRAY)
    for before, after in zip(rig.cameras, moved.cameras, strict=True):
        # 1e-9 px: rounding.
        np.testing.assert_allclose(after.project(ASTRAY.apply(points)), before.project(points), atol=1e-9)


def test_points_placed_freely_are_those_of_least_squares() -> None:
    from scipy.optimize import least_squares

    rig = ring_rig(4)
    rng = np.random.default_rng(1)
    points = rng.normal(0, 0.4, (6, 3)) + np.array((0, 0, 1))
    pixels = np.stack([camera.project(points) for camera in rig.cameras], axis=1) + rng.normal(0, 2, (6, 4, 2))
    pixels[0, 1] += 80  # an outlier is not dropped
    pixels[1, 2:] = np.nan
    pixels[2, 1:] = np.nan
    found = triangulate_freely(rig, pixels)
    for n in (0, 1, 3, 4, 5):

        def residual(point: NDArray[np.float64], n: int = n) -> NDArray[np.float64]:
            off = np.stack([camera.project(point) for camera in rig.cameras]) - pixels[n]
            return off[np.isfinite(off)]

        # 1e-6 m: both stop when their steps are smaller than that.
        np.testing.assert_allclose(found[n], least_squares(residual, points[n], x_scale=0.1, ftol=1e-14).x, atol=1e-6)
    assert np.isnan(found[2]).all()
    errors = reprojection_errors(rig, found, pixels)
    assert np.isnan(errors[2]).all()
    assert np.isfinite(errors[1]).tolist() == [True, True, False, False]


def lying_board(still: slice, frames: int = 30) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """world_from_board of a board that is carried about, and for a while lies on the floor with its corner at 0, 0, 0."""
    rng = np.random.default_rng(3)
    rotation = Rotation.from_rotvec(rng.normal(0, 1, (frames, 3))).as_matrix()
    translation = rng.normal(0, 0.5, (frames, 3)) + np.array((0, 0, 1))
    rotation[still] = np.diag((1.0, -1.0, -1.0))
    translation[still] = 0
    return rotation, translation


@pytest.mark.parametrize("frame", [None, "112"])
def test_a_board_on_the_floor_is_the_world(frame: str | None) -> None:
    rig = ring_rig(4)
    rotation, translation = lying_board(slice(8, 16))
    rotation[[2, 20]], translation[[2, 20]] = np.nan, np.nan
    labels = [str(100 + f) for f in range(30)]
    moved_rotation = TURNED.rotation @ rotation
    moved_translation = translation @ TURNED.rotation.T + TURNED.translation
    world = world_from_board(transform_rig(rig, TURNED), BOARD, moved_rotation, moved_translation, labels, frame)
    # 1e-9: rounding.
    assert_same_cameras(world.rig, rig, 1e-9)
    assert "frames 108 to 115" in world.words[0]
    assert world.words[-1] == "The cameras are 1.30 to 2.90 m above the floor."


def test_a_resting_board_is_averaged_over_its_rest() -> None:
    rig = ring_rig(4)
    rotation, translation = lying_board(slice(0, 30))
    rng = np.random.default_rng(0)
    translation += rng.normal(0, 5e-4, translation.shape)
    world = world_from_board(rig, BOARD, rotation, translation, [str(f) for f in range(30)], "15")
    # 0.5 mm / sqrt(30) = 0.09 mm per axis; one moment would be off by five times as much.
    assert_same_cameras(world.rig, rig, 4 * 0.0005 / np.sqrt(30))


def test_a_board_that_is_not_there_or_never_rests_is_told() -> None:
    rotation, translation = lying_board(slice(0, 0))
    translation[5] = np.nan
    labels = [str(f) for f in range(30)]
    with pytest.raises(
        PosekitError, match="the ring: the board was not placed in frame 5; it was in frames 0 to 29, 29 of them"
    ):
        world_from_board(ring_rig(3), BOARD, rotation, translation, labels, "5")
    with pytest.raises(
        PosekitError, match=r"for 5 moments on end nowhere; it lies flattest, .* in \d+, \d+, \d+; name"
    ):
        world_from_board(ring_rig(3), BOARD, rotation, translation, labels)


def test_moments_without_the_board_do_not_end_its_rest() -> None:
    """It is placed in every other moment, and once in the hand: as lying still as in every one."""
    rig = ring_rig(4)
    rotation, translation = lying_board(slice(8, 19))
    translation[9:18:2] = np.nan
    translation[12] += 0.3
    labels = [str(100 + f) for f in range(30)]
    for times_s in (None, np.arange(30) * 0.125):
        world = world_from_board(rig, BOARD, rotation, translation, labels, times_s=times_s)
        # 1e-9: rounding; the moment in which it was elsewhere counts for nothing.
        assert_same_cameras(world.rig, rig, 1e-9)
        assert "in frames 108 to 118, where it lies still" in world.words[0]


def test_a_rest_lasts_a_second_where_times_are_known() -> None:
    rig = ring_rig(3)
    labels = [f"still_{f}" for f in range(30)]
    rotation, translation = lying_board(slice(10, 20))
    # Ten moments in the hand for a third of a second; the same at 10 per second are a rest.
    with pytest.raises(
        PosekitError, match="for 1 s on end nowhere; it does so longest in still_10 to still_19; name a frame"
    ):
        world_from_board(rig, BOARD, rotation, translation, labels, times_s=np.arange(30) / 30)
    world = world_from_board(rig, BOARD, rotation, translation, labels, times_s=np.arange(30) / 9)
    assert "still_10 to still_19" in world.words[0]
    # In one place at two times, a minute apart: no rest, and not longer than the rest of two seconds before.
    times_s = np.arange(30) / 5 + 60.0 * (np.arange(30) > 24)
    translation[[24, 25]], rotation[[24, 25]] = (1, 1, 1), rotation[24]
    world = world_from_board(rig, BOARD, rotation, translation, labels, times_s=times_s)
    assert "still_10 to still_19" in world.words[0]


def test_moments_in_which_a_board_may_lie_on_the_floor_are_named() -> None:
    """Two short rests, the longer one first; of stills, those in which the board faces up."""
    rotation, translation = lying_board(slice(20, 24))
    rotation[3:6], translation[3:6] = rotation[3], translation[3]
    labels = [str(f) for f in range(30)]
    with pytest.raises(PosekitError, match="it does so longest in 20 to 23, 3 to 5; name a frame"):
        world_from_board(ring_rig(3), BOARD, rotation, translation, labels)
    rotation, translation = lying_board(slice(0, 0))
    for place, tilt in ((4, 0.0), (17, 0.15), (11, 0.3), (16, 0.2)):  # 16 is beside 17
        rotation[place] = np.diag((1.0, -1.0, -1.0)) @ Rotation.from_rotvec((tilt, 0, 0)).as_matrix()
    with pytest.raises(
        PosekitError, match="it lies flattest, as far as the cameras are held upright, in 4, 17, 11; name"
    ):
        world_from_board(ring_rig(4), BOARD, rotation, translation, labels)


def test_a_scale_alone_says_nothing_of_up() -> None:
    rig = ring_rig(4)
    points = marked(rig, FLOOR, distance=(("origin", "x"), 1.4))
    scaled = scale_by_points(rig, points)
    assert not scaled.z_up
    assert scaled.followed_by(world_from_points(scaled.rig, points)).z_up


def test_a_board_face_down_is_warned_of() -> None:
    rotation, translation = lying_board(slice(0, 30))
    with pytest.warns(PosekitWarning, match="cam_1, cam_2, cam_3: below the floor"):
        world_from_board(ring_rig(3), BOARD, rotation @ np.diag((1, -1, -1)), translation, [str(f) for f in range(30)])


def marked(rig: Rig, places: dict[str, tuple[float, float, float]], **more: object) -> MarkedPoints:
    pixels = {
        name: {camera.name: tuple(camera.project(place).tolist()) for camera in rig.cameras[n % 2 : n % 2 + 3]}
        for n, (name, place) in enumerate(places.items())
    }
    return MarkedPoints(pixels, source="points.toml", **more)  # type: ignore[arg-type]


FLOOR = {"origin": (0.0, 0.0, 0.0), "x": (0.7, 0.0, 0.0), "plane": (0.2, 0.6, 0.0)}


@pytest.mark.parametrize("plane", [(0.2, 0.6, 0.0), (0.2, -0.6, 0.0)])
def test_three_marked_points_and_a_distance_are_the_world(plane: tuple[float, float, float]) -> None:
    """z is on the cameras' side whichever side of the x axis the third point is on."""
    rig = ring_rig(4)
    points = marked(rig, FLOOR | {"plane": plane}, distance=(("origin", "x"), 0.7))
    scaled = scale_by_points(transform_rig(rig, ASTRAY), points)
    assert float(scaled.world_from_old.scale) == pytest.approx(2.5)
    world = world_from_points(scaled.rig, points)
    # 1e-6: where the refinement of a point stops.
    assert_same_cameras(world.rig, rig, 1e-6)
    assert "mean error of 0.0 px" in world.words[1]
    both = scaled.followed_by(world)
    assert_same_cameras(transform_rig(transform_rig(rig, ASTRAY), both.world_from_old), rig, 1e-6)
    assert both.words == scaled.words + world.words


def test_the_distance_of_two_cameras_is_a_scale() -> None:
    rig = ring_rig(4)
    metres = float(np.linalg.norm(rig["cam_1"].centre_world - rig["cam_3"].centre_world))
    scaled = scale_by_points(transform_rig(rig, ASTRAY), MarkedPoints({}, (("cam_1", "cam_3"), metres), "points.toml"))
    assert float(scaled.world_from_old.scale) == pytest.approx(2.5)
    with pytest.raises(PosekitError, match="'door' is neither a marked point nor a camera"):
        scale_by_points(rig, MarkedPoints({}, (("cam_1", "door"), 1.0), "points.toml"))
    with pytest.raises(PosekitError, match=r"points.toml: \[distance\]: is missing"):
        scale_by_points(rig, MarkedPoints({}, None, "points.toml"))


def test_marked_points_that_make_no_world_are_told() -> None:
    rig = ring_rig(4)
    with pytest.raises(PosekitError, match="origin, x and plane are on one line"):
        world_from_points(rig, marked(rig, FLOOR | {"plane": (-0.9, 0.01, 0.0)}))
    with pytest.raises(PosekitError, match=r"points.toml: \[points.plane\]: is missing"):
        world_from_points(rig, marked(rig, {"origin": (0, 0, 0), "x": (1, 0, 0)}))
    with pytest.raises(PosekitError, match=r"\[points.x\] cam_9: the rig has no such camera; it has: cam_1"):
        world_from_points(rig, MarkedPoints({"x": {"cam_1": (5, 5), "cam_9": (5, 5)}}, source="points.toml"))
    with pytest.raises(PosekitError, match=r"cam_2: \(5000, 5\) is outside its picture of 1280 x 960 px"):
        world_from_points(rig, MarkedPoints({"x": {"cam_1": (5, 5), "cam_2": (5000, 5)}}, source="points.toml"))
    points = marked(rig, FLOOR)
    x, y = points.pixels["x"]["cam_3"]
    points.pixels["x"]["cam_3"] = (x, y + 90)
    with pytest.warns(PosekitWarning, match=r"\[points.x\]: its rays miss each other by \d\d px"):
        world_from_points(rig, points)


def test_a_points_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "points.toml"
    path.write_text(
        "[points.origin]\ncam_1 = [812.5, 455]\ncam_2 = [640, 310.5]\n[distance]\nbetween = ['cam_1', 'cam_2']\nmetres = 1.25\n"
    )
    points = read_marked_points(path)
    assert points.pixels == {"origin": {"cam_1": (812.5, 455.0), "cam_2": (640.0, 310.5)}}
    assert points.distance == (("cam_1", "cam_2"), 1.25)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[points.origin]\ncam_1 = [1, 2]", r"\[points.origin\]: is marked in 1 camera, two or more"),
        ("[points.origin]\ncam_1 = [1, 2]\ncam_2 = [1]", r"\[points.origin\] cam_2: \[1\] is no pixel"),
        ("[points.origin]\ncam_1 = [1, 2]\ncam_2 = [1, nan]", r"\[points.origin\] cam_2: \[1, nan\] is no pixel"),
        ("[points]\norigin = 3", r"\[points.origin\]: lines CAMERA = \[x, y\] were expected, found 3"),
        ("points = 3", r"points: tables \[points.NAME\] were expected, found 3"),
        ("distance = 3", r"\[distance\]: a table with between and metres was expected, found 3"),
        ("[distance]\nbetween = ['a']\nmetres = 1", r"\[distance\] between: \['a'\] where the names of two"),
        ("[distance]\nbetween = ['a', 'a']\nmetres = 1", r"\[distance\] between: twice 'a'"),
        ("[distance]\nbetween = ['a', 'b']\nmetres = -1", r"\[distance\] metres: -1 is no length"),
        ("[distance]\nbetween = ['a', 'b']\nmetres = true", r"\[distance\] metres: True is no length"),
        ("[point.origin]\ncam_1 = [1, 2]", r"\[point\]: is not known; tables are"),
        ("", "has neither a table"),
    ],
)
def test_a_points_file_that_is_none_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "points.toml"
    path.write_text(text)
    with pytest.raises(PosekitError, match=told):
        read_marked_points(path)


def walking_people(frames: int = 60, way: float = 3.0) -> NDArray[np.float64]:
    """Two people (F, 2, J, 3): one walks along x, swaying as people do; the other sits down after a third of the time."""
    rng = np.random.default_rng(5)
    person = standing_person()
    sway = np.radians(4) * np.sin(np.linspace(0, 12, frames))
    xyz = np.stack([person @ Rotation.from_rotvec((angle, 0.7 * angle, 0)).as_matrix().T for angle in sway])
    first = xyz + np.linspace((-way / 2, -0.5, 0), (way / 2, -0.5, 0), frames)[:, None]
    second = xyz + np.array((0, 0.5, 0))
    upper = [
        n for n, name in enumerate(PERSON.joints) if not any(word in name for word in ("knee", "ankle", "toe", "heel"))
    ]
    second[frames // 3 :, upper] -= (0, 0.45, 0.45)
    return np.stack((first, second), axis=1) + rng.normal(0, 0.005, (frames, 2, len(person), 3))


def up_error_degrees(world: WorldFrame, rig: Rig) -> float:
    """Between the z axes of the world found and of the true one."""
    turn = world.rig.cameras[0].rotation.T @ rig.cameras[0].rotation
    return float(np.degrees(np.arccos(np.clip(turn[2, 2], -1, 1))))


def test_people_who_stand_are_the_world() -> None:
    rig = ring_rig(4)
    people = people_of(TURNED.apply(walking_people().reshape(1, -1, 3)).reshape(60, 2, -1, 3), PERSON, rig)
    world = world_from_people(transform_rig(rig, TURNED), people)
    # The sway of 4 degrees has a mean of 0.3 degrees over the capture.
    assert up_error_degrees(world, rig) < 1.0
    # Heels and toes are 3 cm up in this person, 6 mm less for the lowest of six with 5 mm of noise each.
    np.testing.assert_allclose(
        np.mean([camera.centre_world[2] for camera in world.rig.cameras]),
        np.mean([camera.centre_world[2] for camera in rig.cameras]) - 0.024,
        atol=0.02,
    )
    turn = rig.cameras[0].rotation.T @ world.rig.cameras[0].rotation
    # x is the way that the first person walked; the hips sway by 7 cm at either end of the 2 m between the thirds' middles.
    assert turn[0, 0] > np.cos(np.arctan(0.14 / 2))
    assert "the way they walked" in world.words[0]


def test_ankles_stand_above_the_floor_and_a_camera_gives_x_to_who_stays() -> None:
    rig = ring_rig(4)
    joints = [PERSON.index(joint) for joint in COCO_17.joints]
    people = people_of(walking_people(way=0.0)[:, :, joints], COCO_17, rig)
    world = world_from_people(rig, people)
    heights = np.mean([camera.centre_world[2] for camera in world.rig.cameras])
    # The ankle is 9 cm up, of which the proportions of a body explain 0.05 * 1.36 m = 6.8 cm.
    assert heights == pytest.approx(np.mean([camera.centre_world[2] for camera in rig.cameras]) - 0.022, abs=0.02)
    # x is to the right in the first camera's picture, and nothing of it is towards or away.
    x_in_camera = world.rig.cameras[0].rotation[:, 0]
    assert abs(x_in_camera[2]) < 1e-9
    assert x_in_camera[0] > np.cos(np.radians(1))  # up is found to within a degree
    assert "to the right as cam_1 sees it" in world.words[0]


def test_nobody_who_stands_is_told() -> None:
    rig = ring_rig(4)
    sitting = walking_people()[30:, 1:]
    with pytest.raises(
        PosekitError, match=r"people\.h5: somebody stands upright, from ankles to shoulders, in 0 cases"
    ):
        world_from_people(rig, people_of(sitting, PERSON, rig))
    hips = [n for n, name in enumerate(BODY_25B.joints) if "ankle" not in name]
    parts = {"body": tuple(range(len(hips)))}
    trunk = people_of(
        sitting[:, :, hips], Skeleton("trunk", tuple(BODY_25B.joints[n] for n in hips), (), (), parts), rig
    )
    with pytest.raises(
        PosekitError, match="skeleton trunk has no joint 'left_ankle', which a world made by people takes"
    ):
        world_from_people(rig, trunk)
    upside_down = walking_people() * (1, -1, -1) + (0, 0, 1.8)
    with pytest.warns(PosekitWarning, match="the cameras hang upside down"):
        world_from_people(rig, people_of(upside_down, PERSON, rig))


def test_a_known_bone_is_a_scale() -> None:
    rig = ring_rig(4)
    xyz = ASTRAY.apply(walking_people().reshape(1, -1, 3)).reshape(60, 2, -1, 3)
    shin = float(
        np.linalg.norm(standing_person()[PERSON.index("left_knee")] - standing_person()[PERSON.index("left_ankle")])
    )
    scaled = scale_by_bone(transform_rig(rig, ASTRAY), people_of(xyz, PERSON, rig), ("left_knee", "left_ankle"), shin)
    # 7 mm of noise in 0.42 m, 120 times.
    assert float(scaled.world_from_old.scale) == pytest.approx(2.5, rel=4 * 0.007 / 0.42 / np.sqrt(120))
    with pytest.raises(PosekitError, match="left_knee and left_ankle were placed together 8 times"):
        scale_by_bone(rig, people_of(xyz[:4], PERSON, rig), ("left_knee", "left_ankle"), shin)
    with pytest.raises(PosekitError, match="has no joint 'shin'"):
        scale_by_bone(rig, people_of(xyz, PERSON, rig), ("left_knee", "shin"), shin)
    with pytest.raises(PosekitError, match="a distance of -1 m from left_knee"):
        scale_by_bone(rig, people_of(xyz, PERSON, rig), ("left_knee", "left_ankle"), -1.0)
    growing = xyz * np.linspace(1, 2, 60)[:, None, None, None]
    with pytest.warns(PosekitWarning, match="varies by"):
        scale_by_bone(rig, people_of(growing, PERSON, rig), ("left_knee", "left_ankle"), shin)
