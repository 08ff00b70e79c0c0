"""How many cameras are needed: against the paper's analysis, against numbers drawn, and against posekit's triangulation."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from posekit.bootstrap.plan import (
    PlanSettings,
    PlanTarget,
    cameras_needed,
    chance_agreement,
    finger_chances,
    finger_pck,
    point_chances,
    views_that_must_agree,
)
from posekit.camera import Camera, CameraBatch, Rig
from posekit.errors import PosekitError
from posekit.geometry.triangulation import triangulate_robust

PAPER = PlanSettings(visibility=1.0, min_views=3)


@pytest.mark.parametrize(
    ("pck", "of_views"),
    [
        (0.2, {4: 0.027, 6: 0.099, 10: 0.322, 15: 0.602, 31: 0.963}),
        (0.4, {4: 0.179, 6: 0.456, 10: 0.833, 15: 0.973, 31: 1.0}),
        (0.6, {4: 0.475, 6: 0.821, 10: 0.988, 15: 1.0}),
        (0.8, {4: 0.819, 6: 0.983, 10: 1.0}),
    ],
)
def test_true_positives_are_those_of_the_papers_analysis(pck, of_views):
    for views, expected in of_views.items():
        # Where no wrong detection takes part, a point is right if enough views are. The table has three digits.
        chances = point_chances(pck, views, replace(PAPER, wrong_kept=0.0))
        assert chances.right == pytest.approx(expected, abs=6e-4)
        assert chances.false == 0


def test_the_epipolar_band_is_that_of_two_points_drawn_in_their_boxes():
    rng = np.random.default_rng(0)
    across = rng.random((2, 400_000))
    # 400,000 pairs: a standard error below 0.0008.
    for threshold in (0.02, 0.1, 0.2):
        drawn = (np.abs(across[0] - across[1]) <= 2 * threshold).mean()
        assert chance_agreement(2, threshold, 1.0) == pytest.approx(drawn, abs=0.003)


def test_a_third_view_must_be_in_the_disc():
    assert chance_agreement(3, 0.1, 1.0) == pytest.approx((1 - 0.8**2) * np.pi * 0.01)
    assert chance_agreement(5, 0.1, 1.0) == pytest.approx((1 - 0.8**2) * (np.pi * 0.01) ** 3)


def cameras_all_around(count: int, rng: np.random.Generator) -> Rig:
    """Cameras 3 m from the origin, in all directions but straight up and down."""
    cameras = []
    while len(cameras) < count:
        away = rng.normal(size=3)
        away /= np.linalg.norm(away)
        if abs(away[2]) < 0.8:
            right = np.cross(-away, (0, 0, 1))
            right /= np.linalg.norm(right)
            rotation = np.stack((right, np.cross(-away, right), -away))
            matrix = np.array([[3000.0, 0, 960], [0, 3000, 540], [0, 0, 1]])
            cameras.append(Camera(f"cam_{len(cameras)}", (1920, 1080), matrix, [], rotation, -3 * rotation @ away))
    return Rig(tuple(cameras))


def simulated(pck: float, cameras: int, settings: PlanSettings, joints: int = 1) -> tuple[float, float]:
    """Shares of points that posekit's triangulation makes right and false; B is 100 px. A group of joints is wrong as one."""
    rng = np.random.default_rng(0)
    right = false = total = 0
    limit, half = 100 * settings.threshold, 50 * settings.box
    needed = views_that_must_agree(cameras, settings)
    for _ in range(4):
        rig = cameras_all_around(cameras, rng)
        true = np.stack([camera.project(np.zeros(3)) for camera in rig.cameras])
        shape = (1500, cameras, 2)
        off = rng.uniform(-half, half, shape)
        while (lucky := np.linalg.norm(off, axis=-1) <= limit).any():
            off[lucky] = rng.uniform(-half, half, (int(lucky.sum()), 2))
        good = rng.random(shape[:2]) < pck
        xy = true + np.where(good[..., None], rng.normal(0, limit / 4, shape), off)
        xy[rng.random(shape[:2]) >= settings.visibility] = np.nan
        found = triangulate_robust(
            torch.from_numpy(xy)[:, None].repeat(1, joints, 1, 1),
            torch.ones(1500, joints, cameras, dtype=torch.float64),
            CameraBatch.from_rig(rig),
            limit,
            needed,
        )
        points = found.points_world[:, 0].numpy()
        there = np.isfinite(points).all(axis=-1)
        projected = np.stack([camera.project(np.where(there[:, None], points, 0)) for camera in rig.cameras], axis=1)
        near = (np.linalg.norm(projected - true, axis=-1) <= limit).all(axis=1)
        right, false, total = right + (there & near).sum(), false + (there & ~near).sum(), total + len(there)
    return right / total, false / total


@pytest.mark.parametrize(
    ("pck", "cameras", "settings"),
    [
        (0.6, 8, PlanSettings(visibility=1.0)),
        (0.6, 4, PlanSettings(visibility=1.0)),
        (0.5, 10, PlanSettings(visibility=0.7)),
        (0.8, 3, PlanSettings(visibility=1.0)),
        (0.5, 8, PlanSettings(visibility=1.0, min_views=4, threshold=0.3)),
    ],
)
def test_chances_are_those_of_posekits_triangulation(pck, cameras, settings):
    right, false = simulated(pck, cameras, settings)
    chances = point_chances(pck, cameras, settings)
    # The model knows nothing of how cameras stand, nor that views near the truth pull a wrong one in.
    assert chances.right == pytest.approx(right, abs=0.07)
    assert false / 2.5 < chances.false < false * 2.5


def test_a_finger_that_is_wrong_as_a_whole_is_as_a_point():
    settings = PlanSettings(finger_together=1.0, visibility=1.0)
    assert finger_chances(0.6, 8, settings) == point_chances(0.6, 8, settings)
    right, false = simulated(0.6, 8, settings, joints=4)
    assert finger_chances(0.6, 8, settings).right == pytest.approx(right, abs=0.07)
    assert false / 2.5 < finger_chances(0.6, 8, settings).false < false * 2.5


def test_a_finger_lies_between_four_joints_each_by_itself_and_one():
    assert finger_pck(0.8, 0.0) == pytest.approx(0.8**4)
    assert finger_pck(0.8, 1.0) == pytest.approx(0.8)
    # posekit's detector on 350 drawn hands: 82.0 % of the joints, 67.5 % of the fingers.
    assert finger_pck(0.82, PlanSettings().finger_together) == pytest.approx(0.675, abs=0.005)


def test_chances_add_up_and_grow_with_the_cameras():
    settings = PlanSettings()
    rows = [point_chances(0.6, cameras, settings) for cameras in range(4, 40)]
    assert all(min(one.right, one.false) >= 0 and one.right + one.false <= 1 + 1e-9 for one in rows)
    assert all(later.right > earlier.right for earlier, later in itertools.pairwise(rows))
    assert rows[-1].right > 0.999


def test_what_is_sure_is_sure():
    sure = PlanSettings(visibility=1.0)
    assert point_chances(1.0, 4, sure).right == pytest.approx(1.0)
    assert point_chances(1.0, 4, sure).false == 0.0
    assert point_chances(0.5, 8, PlanSettings(visibility=0.0)).right == 0.0
    assert point_chances(0.0, 8, PlanSettings(wrong_kept=0.0)).false == 0.0
    assert point_chances(0.9, 2, PlanSettings(min_views=3)).right == 0.0


def test_wrong_detections_that_are_dropped_make_no_false_point():
    kept, dropped = (point_chances(0.5, 8, PlanSettings(wrong_kept=share)).false for share in (1.0, 0.3))
    assert dropped < 0.2 * kept


def test_cameras_needed_are_the_fewest_that_meet_the_target():
    settings, target = PlanSettings(), PlanTarget(0.95, 0.01)
    for finger, chances_of in ((False, point_chances), (True, finger_chances)):
        needed = cameras_needed(0.8, target, settings, finger=finger)
        assert needed.chances == chances_of(0.8, needed.cameras, settings)
        assert target.met(needed.chances)
        assert not any(target.met(chances_of(0.8, fewer, settings)) for fewer in range(2, needed.cameras))
    assert cameras_needed(0.1, target, settings, most=40) is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"visibility": 1.2}, "visibility: 1.2"),
        ({"threshold": 0.0}, "threshold: 0 B"),
        ({"threshold": 1.1}, "threshold: 1.1 B"),
        ({"threshold": float("nan")}, "threshold: nan"),
        ({"min_views": 1}, "min_views: 1"),
        ({"finger_together": -0.1}, "finger_together: -0.1"),
    ],
)
def test_what_cannot_be_is_one_line(values, words):
    with pytest.raises(PosekitError, match=words):
        PlanSettings(**values)


def test_a_pck_is_a_probability():
    with pytest.raises(PosekitError, match="pck: 60"):
        point_chances(60, 8, PlanSettings())
