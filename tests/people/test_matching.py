import numpy as np
import pytest

from posekit.people.matching import common_frames, match_people, mean_distances, pixel_distances, project_people
from scenes import BODY_25B, ring_rig, walk

BODY = slice(0, BODY_25B.joint_count)


@pytest.fixture
def people() -> np.ndarray:
    """Three people for 10 frames, metres apart, (10, 3, 25, 3)."""
    paths = [((-2, 0), (-1, 0)), ((0, 0), (1, 0)), ((2, 3), (1, 3))]
    return np.stack([walk(10, *path)[:, BODY] for path in paths], axis=1)


def there(people: np.ndarray) -> np.ndarray:
    return np.isfinite(people).all(axis=-1).any(axis=-1)


def test_mean_distances_by_hand():
    first = np.zeros((2, 1, 3, 3))
    second = np.zeros((2, 2, 3, 3))
    second[0, 0, :, 0] = (1, 2, 6)
    second[0, 1, 0, 1] = 3
    second[0, 1, 1:] = np.nan
    second[1, 1] = np.nan
    assert np.array_equal(mean_distances(first, second), [[[3, 3]], [[0, np.nan]]], equal_nan=True)


def test_everyone_is_found_in_any_order(people):
    order = [2, 0, 1]
    match = match_people(mean_distances(people[:, order] + (0.03, 0, 0), people), there(people))
    assert match.person_of.tolist() == [1, 2, 0]
    assert np.allclose(match.distance, 0.03)
    assert match.same.all()
    assert match.identities.tolist() == [1, 1, 1]


def test_frames_of_another_identity_are_not_the_same(people):
    estimate = people[:, :2].copy()
    estimate[7:] = estimate[7:, ::-1]  # exchanged in the last three frames
    match = match_people(mean_distances(estimate, people), there(people))
    assert match.person_of.tolist() == [0, 1, -1]
    assert match.same.sum(axis=0).tolist() == [7, 7, 0]
    assert match.nearest_of[:, 0].tolist() == [0] * 7 + [1] * 3
    assert (match.nearest_of[:, 2] == -1).all()
    assert match.identities.tolist() == [2, 2, 0]
    assert np.isnan(match.distance[:, 2]).all()


def test_frames_that_are_too_far_or_missing_do_not_count(people):
    estimate = people.copy()
    estimate[0, 0] += (0.4, 0, 0)
    estimate[1, 0] = np.nan
    match = match_people(mean_distances(estimate, people), there(people), max_distance=0.25)
    assert match.person_of.tolist() == [0, 1, 2]
    assert match.same[:, 0].tolist() == [False, False] + [True] * 8
    assert match.distance[0, 0] == pytest.approx(0.4)
    assert np.isnan(match.distance[1, 0])
    assert match_people(mean_distances(estimate, people), there(people), max_distance=0.5).same[:, 0].sum() == 9


def test_who_is_there_for_a_moment_is_not_the_person(people):
    # A stray result that lies exactly right in two frames must not win over the one that is there all the time, 5 cm off.
    stray = np.full_like(people[:, :1], np.nan)
    stray[:2] = people[:2, :1]
    estimate = np.concatenate((stray, people[:, :1] + (0.05, 0, 0)), axis=1)
    assert match_people(mean_distances(estimate, people[:, :1]), there(people[:, :1])).person_of.tolist() == [1]


def test_nobody_at_all(people):
    nobody = np.full_like(people, np.nan)
    match = match_people(mean_distances(people, nobody), there(nobody))
    assert match.person_of.tolist() == [-1, -1, -1]
    assert not match.same.any()
    none = match_people(mean_distances(people, people[:, :0]), there(people[:, :0]))
    assert none.same.shape == (10, 0)


def test_pixel_distances_tell_people_apart(people):
    rig = ring_rig(4)
    projected = project_people(people, rig)
    assert np.array_equal(projected[:, 2], rig.cameras[2].project(people), equal_nan=True)
    detected = projected[:, :, ::-1] + (3, 4)
    detected[:, :, 0, 0] += 500  # one wrong joint
    detected[4, :, 1] = np.nan
    between = pixel_distances(projected, detected)
    assert between.shape == (10, 3, 3)
    assert np.allclose(between[:, 2, 0], 5)
    assert np.isnan(between[4, :, 1]).all()
    assert np.nanmin(between[:, 0, 0]) > 50


def test_common_frames_stand_in_order():
    own, others = common_frames(np.array([5, 3, 9]), np.array([1, 9, 5]))
    assert own.tolist() == [0, 2]
    assert others.tolist() == [2, 1]


def test_the_only_person_is_matched_to_the_reference_that_is_there_not_to_one_that_hardly_or_never_is() -> None:
    between = np.full((10, 1, 3), np.nan)
    between[:, 0, 0], between[:2, 0, 1] = 0.05, 0.2
    there = np.zeros((10, 3), dtype=np.bool_)
    there[:, 0] = there[:2, 1] = True
    assert match_people(between, there).person_of.tolist() == [0, -1, -1]
