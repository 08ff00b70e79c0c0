import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from posekit.geometry.alignment import align_similarity


def test_a_similarity_is_found_again():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(3, 4, 10, 3))
    rotation = Rotation.random(12, random_state=0).as_matrix().reshape(3, 4, 3, 3)
    scale, translation = rng.uniform(0.1, 10, (3, 4)), rng.normal(size=(3, 4, 3))
    target = scale[..., None, None] * source @ rotation.swapaxes(-1, -2) + translation[..., None, :]
    found = align_similarity(source, target)
    assert np.allclose(found.scale, scale)
    assert np.allclose(found.rotation, rotation)
    assert np.allclose(found.translation, translation)
    assert np.allclose(found.apply(source), target)


def test_of_noisy_points_the_turn_is_scipys():
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(2, 20, 3))
    found = align_similarity(source, target, with_scale=False)
    centred = source - source.mean(axis=0), target - target.mean(axis=0)
    expected, _ = Rotation.align_vectors(centred[1], centred[0])
    assert np.allclose(found.rotation, expected.as_matrix())
    assert found.scale == 1
    # With the best turn, the best scale is that of a plain least-squares fit.
    turned = centred[0] @ found.rotation.T
    scale = (turned * centred[1]).sum() / np.square(turned).sum()
    assert align_similarity(source, target).scale == pytest.approx(scale)


def test_no_small_change_is_better():
    rng = np.random.default_rng(2)
    source, target = rng.normal(size=(2, 8, 3))
    found = align_similarity(source, target)
    least = np.square(found.apply(source) - target).sum()
    for turn in Rotation.from_rotvec(1e-3 * rng.normal(size=(50, 3))).as_matrix():
        scale, shift = found.scale * (1 + 1e-3 * rng.normal()), 1e-3 * rng.normal(size=3)
        changed = scale * source @ (turn @ found.rotation).T + found.translation + shift
        assert np.square(changed - target).sum() > least


def test_a_mirror_image_is_turned_and_not_reflected():
    rng = np.random.default_rng(3)
    source = rng.normal(size=(10, 3))
    found = align_similarity(source, source * (1, 1, -1))
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    assert np.linalg.norm(found.apply(source) - source * (1, 1, -1), axis=-1).mean() > 0.3
    # Flat points and their image in a mirror are each other's by a turn, too.
    flat = source * (1, 1, 0)
    assert np.allclose(align_similarity(flat, flat * (-1, 1, 1)).apply(flat), flat * (-1, 1, 1))


def test_missing_points_take_no_part():
    rng = np.random.default_rng(4)
    source = rng.normal(size=(10, 3))
    target = 2 * source + (1, 2, 3)
    source[3], target[5, 1] = np.nan, np.nan
    found = align_similarity(source, target)
    assert found.scale == pytest.approx(2)
    assert np.allclose(found.rotation, np.eye(3))
    assert np.allclose(found.translation, (1, 2, 3))
    assert np.isnan(found.apply(source)[3]).all()


POINTS = np.random.default_rng(5).normal(size=(5, 3))
UNDETERMINED = {
    "two points": (POINTS[:2], POINTS[:2]),
    "three, of which one is missing": (np.where(np.arange(3)[:, None] == 1, np.nan, POINTS[:3]), POINTS[:3]),
    "a line": (np.linspace(0, 1, 5)[:, None] * POINTS[0], POINTS),
    "a line as the target": (POINTS, 3 + np.linspace(0, 1, 5)[:, None] * POINTS[0]),
    "one place": (np.ones((5, 3)), POINTS),
    "nothing": (np.full((5, 3), np.nan), POINTS),
}


@pytest.mark.parametrize(("source", "target"), UNDETERMINED.values(), ids=UNDETERMINED)
def test_what_is_not_determined_is_nan(source, target):
    # Beside one that is, which must not be touched.
    pad = np.full((5 - len(source), 3), np.nan)
    both = np.stack((np.concatenate((source, pad)), POINTS)), np.stack((np.concatenate((target, pad)), POINTS))
    found = align_similarity(*both)
    assert np.isnan(found.scale[0])
    assert np.isnan(found.rotation[0]).all()
    assert np.isnan(found.translation[0]).all()
    assert np.allclose(found.rotation[1], np.eye(3))
    assert found.scale[1] == pytest.approx(1)
