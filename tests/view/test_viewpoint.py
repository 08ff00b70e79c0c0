import numpy as np
import pytest

from posekit.view.viewpoint import MARGIN, front_of, three_quarter_view, viewpoint_on, widest_view
from scenes import PERSON, standing_person, walk


@pytest.mark.parametrize("size", [(640, 480), (300, 700)])
@pytest.mark.parametrize("towards", [(1, 0.2, 0.3), (-0.5, 1, -0.2)])
def test_everything_is_inside_the_margins_and_touches_them(size, towards):
    points = np.random.default_rng(0).normal(size=(200, 3)) * (1, 2, 0.5) + (5, -3, 1)
    view = viewpoint_on(points, np.array(towards), size)
    pixels = view.project(points)
    assert np.isfinite(pixels).all()
    share = (pixels + 0.5) / size
    assert share.min() > MARGIN - 0.01
    assert share.max() < 1 - MARGIN + 0.01
    # As near as that allows: one direction is filled from margin to margin.
    assert np.ptp(share, axis=0).max() == pytest.approx(1 - 2 * MARGIN, abs=0.02)


def test_up_is_up_and_a_moved_view_moves_along():
    view = viewpoint_on(np.array([[0.0, 0, 0], [0, 0, 1]]), np.array([1.0, 0.5, 0.2]), (320, 240))
    low, high = view.project(np.array([[0.0, 0, 0], [0, 0, 1]]))
    assert high[1] < low[1]
    assert high[0] == pytest.approx(low[0])
    offset = np.array([0.3, -2.0, 0.1])
    np.testing.assert_allclose(view.moved(offset).project(np.array([[0.0, 0, 1]]) + offset)[0], high)
    assert np.isnan(view.project(-1e3 * view.rotation[2])).all()  # behind the viewer
    in_camera = view.camera_from_world @ np.array([0.0, 0, 1, 1])
    np.testing.assert_allclose(in_camera[:3], view.rotation @ (0, 0, 1) + view.translation)


@pytest.mark.parametrize("heading", [0.0, 1.0, -2.5])
def test_people_are_seen_from_before_them(heading):
    people = walk(3, (0, 0), (0.1, 0), heading)[:, None]
    # They look along y, turned by the heading.
    azimuth = front_of(people, PERSON)
    assert np.angle(np.exp(1j * (azimuth - heading - np.pi / 2))) == pytest.approx(0, abs=0.02)
    view = viewpoint_on(people.reshape(-1, 3), three_quarter_view(people, PERSON), (640, 480))
    left, right = (view.project(people[0, 0, PERSON.index(f"{side}_shoulder")]) for side in ("left", "right"))
    assert left[0] > right[0]


def test_a_front_that_cannot_be_told_is_any():
    assert front_of(np.full((2, 1, PERSON.joint_count, 3), np.nan), PERSON) == 0.0


def test_a_flat_shape_is_seen_from_its_broad_side():
    hand = standing_person()[PERSON.part("left_hand")]
    flat = hand * (1, 0.001, 1)  # in the plane of x and z
    towards = widest_view(flat[None])
    assert abs(towards[1]) > 0.9
    assert np.isfinite(widest_view(np.full((1, 21, 3), np.nan))).all()
