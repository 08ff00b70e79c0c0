import numpy as np
import pytest

from posekit.skeleton import BODY_25B, SKELETONS
from posekit.view.colours import LEFT, RIGHT, bone_colours, joint_colours
from posekit.view.mesh import (
    BODY_RADIUS,
    camera_corners,
    cylinders,
    floor_mesh,
    frustum_mesh,
    merge_meshes,
    skeleton_mesh,
    spheres,
)
from scenes import PERSON, looking_camera, standing_person

GREY = np.array([[90, 90, 90]], dtype=np.uint8)


def outward(mesh, inside: np.ndarray) -> bool:
    """Tell whether every triangle, by its winding, looks away from the place `inside`."""
    a, b, c = (mesh.vertices[mesh.triangles[:, corner]].astype(float) for corner in range(3))
    return bool((((np.cross(b - a, c - a)) * ((a + b + c) / 3 - inside)).sum(axis=1) > 0).all())


def test_a_ball_is_round_closed_and_looks_outward():
    centre = np.array([[0.3, -0.2, 1.0]])
    mesh = spheres(centre, np.array([0.05]), GREY)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - centre, axis=1), 0.05, atol=1e-6)
    np.testing.assert_allclose(mesh.normals, (mesh.vertices - centre) / 0.05, atol=1e-5)
    edges = {(int(t[i]), int(t[(i + 1) % 3])) for t in mesh.triangles for i in range(3)}
    assert edges == {(b, a) for a, b in edges}  # closed: every edge has its neighbour
    assert outward(mesh, centre[0])


@pytest.mark.parametrize("end", [(0, 0, 1), (1, 0, 0), (0.4, -0.3, 0.2)])
def test_a_tube_lies_round_its_line(end):
    start, end = np.array([[0.1, 0.2, 0.3]]), np.array([[0.1, 0.2, 0.3]]) + end
    mesh = cylinders(start, end, np.array([0.02]), GREY)
    along = (end - start)[0] / np.linalg.norm(end - start)
    offset = mesh.vertices - start[0]
    reach = offset @ along
    np.testing.assert_allclose(np.linalg.norm(offset - reach[:, None] * along, axis=1), 0.02, atol=1e-6)
    np.testing.assert_allclose(np.unique(np.round(reach, 5)), [0, np.linalg.norm(end - start)], atol=1e-5)
    assert outward(mesh, ((start + end) / 2)[0])


def test_a_tube_of_no_length_is_left_out():
    point = np.zeros((1, 3))
    assert len(cylinders(point, point, np.array([0.1]), GREY).triangles) == 0


def test_meshes_keep_their_triangles_when_merged():
    one, two = (spheres(np.full((1, 3), at), np.array([0.1]), GREY) for at in (0.0, 1.0))
    both = merge_meshes((one, two))
    np.testing.assert_array_equal(both.vertices[both.triangles[len(one.triangles) :]], two.vertices[two.triangles])
    assert merge_meshes(()).vertices.shape == (0, 3)


def test_joints_that_are_missing_are_not_drawn_nor_are_their_bones():
    whole = standing_person()
    body = whole[list(PERSON.part("body"))]
    lacking = body.copy()
    wrist = BODY_25B.index("left_wrist")
    lacking[wrist] = np.nan
    bones_there = sum(wrist in bone for bone in BODY_25B.bones)
    ball = len(spheres(np.zeros((1, 3)), np.ones(1), GREY).triangles)
    tube = len(cylinders(np.zeros((1, 3)), np.ones((1, 3)), np.ones(1), GREY).triangles)
    full, less = skeleton_mesh(body[None], BODY_25B), skeleton_mesh(lacking[None], BODY_25B)
    assert len(full.triangles) - len(less.triangles) == ball + bones_there * tube
    assert np.isfinite(less.vertices).all()
    distance = np.linalg.norm(full.vertices - body[wrist], axis=1).min()
    assert distance == pytest.approx(BODY_RADIUS, rel=0.01)  # the tubes begin in the middle of the ball


def test_sides_have_their_colours():
    colours = joint_colours(BODY_25B)
    assert tuple(colours[BODY_25B.index("left_knee")]) == LEFT
    assert tuple(colours[BODY_25B.index("right_knee")]) == RIGHT


def test_joints_that_were_filled_in_are_paler():
    body = standing_person()[list(PERSON.part("body"))][None]
    filled = np.zeros((1, 25), bool)
    wrist = BODY_25B.index("left_wrist")
    filled[0, wrist] = True
    sure, unsure = skeleton_mesh(body, BODY_25B), skeleton_mesh(body, BODY_25B, filled=filled)
    changed = (sure.colours != unsure.colours).any(axis=1)
    # The ball of the wrist and the one bone that leads there.
    elbow = body[0, BODY_25B.index("left_elbow")]
    away = np.linalg.norm(np.cross(sure.vertices[changed] - elbow, body[0, wrist] - elbow), axis=1)
    assert (away / np.linalg.norm(body[0, wrist] - elbow)).max() < 2 * BODY_RADIUS
    assert changed.sum() == len(spheres(np.zeros((1, 3)), np.ones(1), GREY).vertices) + 32
    assert (unsure.colours[changed].astype(int) > sure.colours[changed]).all()


@pytest.mark.parametrize("name", SKELETONS)
def test_every_skeleton_is_coloured_by_side(name):
    skeleton = SKELETONS[name]
    colours, bones = joint_colours(skeleton), bone_colours(skeleton)
    assert len(colours) == skeleton.joint_count
    assert len(bones) == len(skeleton.bones)
    for left, right in skeleton.left_right:
        assert colours[left][2] > colours[left][0]  # blue
        assert colours[right][0] > colours[right][2]  # orange
    rng = np.random.default_rng(0)
    mesh = skeleton_mesh(rng.normal(size=(1, skeleton.joint_count, 3)), skeleton)
    assert np.isfinite(mesh.vertices).all()


def test_a_cameras_pyramid_is_what_it_sees():
    camera = looking_camera("a", (3, 1, 1.5), (0, 0, 1))
    corners = camera_corners(camera, 0.5)
    np.testing.assert_allclose(corners[0], camera.centre_world, atol=1e-12)
    width, height = camera.size
    expected = [(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)]
    np.testing.assert_allclose(camera.project(corners[1:]), expected, atol=1e-8)
    # The mark is on the picture's upper edge: above all of the corners, for a camera that stands upright.
    assert frustum_mesh(camera, 0.5).vertices[:, 2].max() > corners[:, 2].max() + 0.03


def test_the_floor_lies_flat_below_everything():
    points = np.array([[-1.2, 0.4, 0.1], [0.7, 2.0, 1.5]])
    mesh = floor_mesh(points, 0.05, 0.5)
    np.testing.assert_allclose(mesh.vertices[:, 2], 0.05, atol=1e-7)
    assert (mesh.vertices[:, :2].min(axis=0) < points[:, :2].min(axis=0)).all()
    assert (mesh.vertices[:, :2].max(axis=0) > points[:, :2].max(axis=0)).all()
