"""The vote and the refinement by themselves; what comes of them is in test_triangulation."""

import numpy as np
import pytest
import torch

from posekit.camera import CameraBatch, Rig
from posekit.geometry.consensus import HYPOTHESIS_VIEWS, Views, find_consensus
from posekit.geometry.views import PinholeRows
from scenes import ring_rig

#: Single precision on coordinates of a few metres and pictures of a thousand pixels.
PRECISION_M = 5e-5


def points_in(N: int = 60, G: int = 1, seed: int = 0) -> np.ndarray:
    """Points (N, G, 3); those of a group are centimetres apart."""
    rng = np.random.default_rng(seed)
    return rng.uniform((-0.8, -0.8, 0.1), (0.8, 0.8, 1.8), (N, 1, 3)) + rng.normal(0, 0.02, (N, G, 3))


def look(rig: Rig, points: np.ndarray, threshold_px: float = 8.0, move=None, weight=None) -> tuple[Views, PinholeRows]:
    """What the rig sees of points (N, G, 3); move: (C, G, N, 2) px, weight: (C, G, N)."""
    pinholes = PinholeRows.of(CameraBatch.from_rig(rig), torch.float32)
    pixels = np.stack([camera.project(points) - camera.matrix[:2, 2] for camera in rig.cameras])  # (C, N, G, 2)
    pixels = torch.from_numpy(pixels).transpose(1, 2) + (0 if move is None else torch.as_tensor(move))
    x, y = pixels.float().unbind(-1)
    weight = torch.ones_like(x) if weight is None else torch.as_tensor(weight).float()
    fx, fy = pinholes.focal[..., None, None]
    threshold = torch.full((len(rig), len(points)), threshold_px)
    directions = pinholes.ray_directions(x / fx, y / fy)
    return Views(x, y, (weight > 0).float(), weight, directions, threshold), pinholes


def errors(found: torch.Tensor, pinholes: PinholeRows, points: np.ndarray) -> np.ndarray:
    """Distance (N, G) of points (3, G, N) from the truth, m."""
    world = found.double() + pinholes.shift[:, None, None]
    return np.linalg.norm(world.permute(2, 1, 0).numpy() - points, axis=-1)


def pinhole_ring(count: int) -> Rig:
    return ring_rig(count, distortion=())


@pytest.mark.parametrize("cameras", [2, 3, HYPOTHESIS_VIEWS, HYPOTHESIS_VIEWS + 1, 31])
@pytest.mark.parametrize("group", [1, 4])
def test_clean_views_give_the_points_back(cameras, group):
    points = points_in(G=group)
    views, pinholes = look(pinhole_ring(cameras), points)
    found, known, behind = find_consensus(views, pinholes)
    assert (known == 1).all()
    assert (behind == 0).all()
    # Two cameras that face each other know little of the depth of what is near their line.
    assert errors(found, pinholes, points).max() < (PRECISION_M if cameras > 2 else 1e-3)


@pytest.mark.parametrize(("cameras", "wrong"), [(4, 1), (5, 2), (8, 4), (16, 9)])
def test_wrong_views_are_outvoted(cameras, wrong):
    """Each wrong view errs by itself: no two agree, so that even a majority of them loses."""
    points, rng = points_in(), np.random.default_rng(1)
    move = np.zeros((cameras, 1, len(points), 2))
    for n in range(len(points)):
        angle = rng.uniform(0, 2 * np.pi, wrong)
        reach = rng.uniform(100, 300, wrong)
        move[rng.permutation(cameras)[:wrong], 0, n] = np.column_stack((reach * np.cos(angle), reach * np.sin(angle)))
    # Of 16 views, the 8 surest are tried in pairs: the right ones are among them as likely as not.
    found, known, _ = find_consensus(*look(pinhole_ring(cameras), points, move=move))
    pinholes = look(pinhole_ring(cameras), points)[1]
    right = errors(found, pinholes, points) < PRECISION_M
    assert known.all()
    assert right.mean() > 0.9  # chance may let two wrong rays meet in a third right one


def test_a_vote_counts_as_much_as_its_confidence():
    """Cameras 0 and 1 see one point, 2 and 3 another: whoever is surer has it."""
    rig, here = pinhole_ring(4), points_in(N=30)
    there = here + np.array((0.4, 0.0, 0.3))
    at_here, pinholes = look(rig, here)
    at_there, _ = look(rig, there)
    for sure, expected in ((0, here), (2, there)):
        weight = torch.full((4, 1, 30), 0.4)
        weight[sure : sure + 2] = 0.9
        x, y = torch.cat((at_here.x[:2], at_there.x[2:])), torch.cat((at_here.y[:2], at_there.y[2:]))
        directions = torch.cat((at_here.directions[:, :2], at_there.directions[:, 2:]), dim=1)
        found, _, _ = find_consensus(Views(x, y, torch.ones_like(x), weight, directions, at_here.threshold), pinholes)
        assert errors(found, pinholes, expected).max() < PRECISION_M


def test_rays_that_meet_behind_the_cameras_are_told():
    rig = pinhole_ring(3)
    points = points_in(N=20)
    views, pinholes = look(rig, points)
    # The picture point-reflected through its middle, with rays turned by 180 degrees: the lines meet at the point as before,
    # but on the other side of every camera.
    views = Views(views.x, views.y, views.seen, views.weight, -views.directions, views.threshold)
    _, known, behind = find_consensus(views, pinholes)
    assert (behind == 1).all()
    assert behind.shape == known.shape == (1, 20)


def test_what_nobody_or_one_view_sees_is_not_known():
    points = points_in(N=3)
    weight = np.ones((4, 1, 3))
    weight[:, 0, 0] = 0
    weight[1:, 0, 1] = 0
    found, known, behind = find_consensus(*look(pinhole_ring(4), points, weight=weight))
    assert known.tolist() == [[0, 0, 1]]
    assert (behind == 0).all()
    assert torch.isfinite(found).all()


def test_a_joint_that_is_seen_by_one_view_stands_amid_its_group():
    points = points_in(N=5, G=4)
    weight = np.ones((4, 4, 5))
    weight[1:, 2] = 0
    views, pinholes = look(pinhole_ring(4), points, weight=weight)
    found, known, _ = find_consensus(views, pinholes)
    assert known.tolist() == [[1] * 5, [1] * 5, [0] * 5, [1] * 5]
    error = errors(found, pinholes, points)
    assert error[:, [0, 1, 3]].max() < PRECISION_M
    middle = points[:, [0, 1, 3]].mean(axis=1, keepdims=True)
    assert errors(found[:, 2:3], pinholes, middle).max() < PRECISION_M


def test_the_threshold_narrows_onto_views_that_two_alone_would_leave_out():
    """Noise of a third of the threshold: nearly all views are found, as a least-squares fit to all of them would."""
    rig, points = pinhole_ring(8), points_in(N=400)
    noise = np.random.default_rng(2).normal(0, 2.0, (8, 1, 400, 2))
    views, pinholes = look(rig, points, threshold_px=6.0, move=noise)
    found, _, _ = find_consensus(views, pinholes)
    u, v, _ = pinholes.project(found)
    kept = ((u - views.x) ** 2 + (v - views.y) ** 2 < 36).double().mean()
    # 1 - exp(-3^2 / 2) of true errors lie within 3 sigma; those of a fit to 8 views are sqrt(13/16) as large.
    assert float(kept) == pytest.approx(1 - np.exp(-4.5 * 16 / 13), abs=0.01)


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("cameras", [1, 3])
def test_no_points_and_one_camera_are_no_fault(cameras, group):
    for N in (0, 2):
        found, known, behind = find_consensus(*look(pinhole_ring(cameras), points_in(N=N, G=group)))
        assert found.shape == (3, group, N)
        assert (known == (cameras > 1)).all()
        assert not behind.any()
