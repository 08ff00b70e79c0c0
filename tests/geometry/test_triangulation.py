from dataclasses import fields

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import optimize, stats

from posekit.camera import Camera, CameraBatch, Rig
from posekit.errors import PosekitError
from posekit.geometry import triangulation
from posekit.geometry.triangulation import Triangulation, triangulate_robust
from posekit.point_status import PointStatus
from scenes import looking_camera, ring_rig

NAN = float("nan")
# Up, nowhere and down in three views (3, 2): 80 px are 35 cm at 4.5 m.
APART = np.array(((0, 80), (0, 0), (0, -80)))


def points_around(count: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform((-0.8, -0.8, 0.1), (0.8, 0.8, 1.8), (count, 3))


def film(rig: Rig, points: NDArray[np.float64], noise_px: float = 0.0, seed: int = 1) -> NDArray[np.float64]:
    """Pixels (N, G, C, 2) of points (N, G, 3) or (N, 3), which are groups of one."""
    grouped = points if points.ndim == 3 else points[:, None]
    xy = np.stack([camera.project(grouped) for camera in rig.cameras], axis=2)
    return xy + np.random.default_rng(seed).normal(0, noise_px, xy.shape)


def solve(rig: Rig, xy, confidence=None, threshold_px=5.0, **settings) -> Triangulation:
    xy = torch.as_tensor(np.asarray(xy))
    weight = torch.ones(xy.shape[:-1], dtype=xy.dtype) if confidence is None else torch.as_tensor(confidence)
    threshold = torch.from_numpy(threshold_px) if isinstance(threshold_px, np.ndarray) else threshold_px
    return triangulate_robust(xy, weight, CameraBatch.from_rig(rig), threshold, **settings)


def statuses(found: Triangulation) -> list[list[PointStatus]]:
    return [[PointStatus(value) for value in group] for group in found.status.tolist()]


def assert_same(a: Triangulation, b: Triangulation, tolerance: float = 0.0) -> None:
    for field in fields(Triangulation):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert x.dtype == y.dtype
        assert torch.allclose(x.double(), y.double(), rtol=0, atol=tolerance, equal_nan=True), field.name


def linear_points(rig: Rig, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hartley & Zisserman 12.2, by SVD: the points whose algebraic distance to undistorted rays (N, C, 2) is least."""
    rows = []
    for c, camera in enumerate(rig.cameras):
        projection = np.column_stack((camera.rotation, camera.translation))
        x, y = np.moveaxis(camera.undistort(xy[:, c])[..., None], 1, 0)
        rows += [x * projection[2] - projection[0], y * projection[2] - projection[1]]
    last = np.linalg.svd(np.stack(rows, axis=1))[2][:, -1]
    return last[:, :3] / last[:, 3:]


@pytest.mark.parametrize("cameras", [2, 3, 8, 12])
def test_clean_views_give_the_point_back(cameras):
    points = points_around(300)
    rig = (
        ring_rig(cameras, distortion=(-0.12, 0.06, 8e-4, -5e-4))
        if cameras > 2
        else ring_rig(5).select(("cam_1", "cam_2"))
    )
    found = solve(rig, film(rig, points))
    # Rays are good to 1e-13 rad; at 5 m that is 1e-12 m, times the parallax.
    assert np.abs(found.points_world[:, 0].numpy() - points).max() < 1e-11
    assert (found.status == PointStatus.OK).all()
    assert found.inliers.all()
    assert found.reprojection_px.max() < 1e-9


def test_noisy_points_agree_with_linear_least_squares():
    rig = ring_rig(6)
    points = points_around(60)
    xy = film(rig, points, noise_px=0.05)
    found = solve(rig, xy)
    linear = linear_points(rig, xy[:, 0])
    # The algebraic cost weighs the views by their depth (4 to 5.5 m), so the two answers part by a share of the noise, which
    # is 0.05 px = 0.2 mm at 4.5 m; the noise itself moves both by the same.
    assert np.abs(found.points_world[:, 0].numpy() - linear).max() < 1e-4
    assert np.abs(linear - points).max() > 1e-4


def test_the_weighted_squared_reprojection_error_is_at_its_least():
    rig = ring_rig(5)
    points = points_around(4)
    xy = film(rig, points, noise_px=3.0)
    confidence = np.random.default_rng(4).uniform(0.2, 1.0, xy.shape[:-1])
    found = solve(rig, xy, confidence, threshold_px=50.0)
    assert found.inliers.all()
    for n in range(len(points)):

        def residuals(point: NDArray[np.float64], n: int = n) -> NDArray[np.float64]:
            projected = np.array([camera.project(point) for camera in rig.cameras])
            return ((projected - xy[n, 0]) * np.sqrt(confidence[n, 0])[:, None]).ravel()

        best = optimize.least_squares(residuals, points[n], xtol=1e-15, ftol=1e-15, gtol=1e-15).x
        # Gauss-Newton converges linearly where residuals are not 0: a step leaves a thousandth. 3 px are 13 mm; two steps with
        # the lens follow on those without. A micrometre is a ten-thousandth of what the noise does.
        assert np.abs(found.points_world[n, 0].numpy() - best).max() < 2e-6


@pytest.mark.parametrize(("cameras", "wrong"), [(3, 1), (5, 2), (8, 4), (12, 5)])
def test_wrong_views_are_left_out_and_change_nothing(cameras, wrong):
    # Three cameras of a ring of three would be enough for two lines that meet by accident: the fourth view decides.
    rig, points = ring_rig(cameras), points_around(200)
    xy = film(rig, points, noise_px=0.5)
    rng = np.random.default_rng(2)
    bad = np.zeros(xy.shape[:-1], dtype=bool)
    for n in range(len(points)):
        bad[n, 0, rng.permutation(cameras)[:wrong]] = True
    xy[bad] += rng.choice((-1, 1), (bad.sum(), 2)) * rng.uniform(80, 300, (bad.sum(), 2))
    found = solve(rig, xy, threshold_px=4.0)
    only_good = solve(rig, np.where(bad[..., None], np.nan, xy), threshold_px=4.0)
    right = (found.inliers.numpy() == ~bad).all(axis=(1, 2)) & (found.status[:, 0] == PointStatus.OK).numpy()
    # Two wrong rays may meet, or a wrong ray may pass by, once in a while: the more wrong views there are, the more often.
    assert right.mean() > (0.9 if wrong > 1 or cameras == 3 else 0.99)
    assert torch.allclose(found.points_world[right], only_good.points_world[right], rtol=0, atol=1e-7)
    # What was left out is told all the same.
    assert (found.reprojection_px[torch.from_numpy(bad)][torch.from_numpy(right).repeat_interleave(wrong)] > 50).all()


def test_clean_views_are_never_outvoted_by_two_cameras_that_face_each_other():
    # In a ring of 6 the rays of cameras 1 and 4 lie on one line for what is between them; they always meet, anywhere.
    rig, points = ring_rig(6), points_around(3000)
    xy = film(rig, points, noise_px=2.0)
    confidence = np.random.default_rng(3).uniform(0.3, 1.0, xy.shape[:-1])
    found = solve(rig, xy, confidence, threshold_px=4.4)
    error = np.linalg.norm(found.points_world[:, 0].numpy() - points, axis=-1)
    # 2 px at 4.5 m are 9 mm in each view; the worst of 3000 is six times that where only two views are left to agree.
    assert error.max() < 0.06
    assert np.quantile(error, 0.99) < 0.03


def test_covariance_is_honest():
    rig, points = ring_rig(4), points_around(4000)
    sigma = 1.5
    xy = film(rig, points, noise_px=sigma)
    confidence = np.random.default_rng(3).uniform(0.3, 1.0, xy.shape[:-1])
    found = solve(rig, xy, confidence, threshold_px=100.0, noise_px=sigma)
    error = found.points_world[:, 0].numpy() - points
    xx, xy_, xz, yy, yz, zz = found.covariance[:, 0].numpy().T
    covariance = np.stack((xx, xy_, xz, xy_, yy, yz, xz, yz, zz), axis=-1).reshape(-1, 3, 3)
    distance = np.einsum("ni,nij,nj->n", error, np.linalg.inv(covariance), error)
    for level in (0.5, 0.9, 0.99):
        inside = (distance < stats.chi2.ppf(level, 3)).mean()
        # 4000 draws leave +-0.025 (three standard deviations) at the middle. The noise is told to it, and its own residuals are
        # 5 more degrees of freedom to estimate it by, which widens the tails: the count may fall short by a few per cent.
        assert level - 0.04 < inside < level + 0.025
    # Not only in sum: each direction for itself, as the mean of squares over variances.
    assert (error**2 / np.stack((xx, yy, zz), axis=-1)).mean(axis=0) == pytest.approx(1, abs=0.15)


def test_covariance_of_two_views_by_hand():
    rig = Rig((looking_camera("a", (-0.3, -4, 1), (0, 0, 1)), looking_camera("b", (0.3, -4, 1), (0, 0, 1))))
    point = np.array([[0.05, 0.1, 1.1]])
    clean = film(rig, point)
    step = 1e-6 * np.eye(3)
    slope = [(camera.project(point + step) - camera.project(point - step)) / 2e-6 for camera in rig.cameras]
    inverse = np.linalg.inv(sum(J @ J.T for J in slope))
    # Rays 8.6 degrees apart: depth is worse than breadth by the cotangent of half of that, 13, squared.
    assert inverse[1, 1] / inverse[0, 0] > 100

    def covariance(xy: NDArray[np.float64], noise_px: float) -> NDArray[np.float64]:
        found = solve(rig, xy, threshold_px=20.0, noise_px=noise_px)
        return found.covariance[0, 0].numpy()

    upper = inverse[np.triu_indices(3)]  # xx xy xz yy yz zz
    # Two views have one degree of freedom left, the expected noise counts for three: (3 * 1 + 0) / 4, and (3 * 4 + 0) / 4.
    assert covariance(clean, 1.0) == pytest.approx(0.75 * upper, rel=1e-5)
    assert covariance(clean, 2.0) == pytest.approx(3.0 * upper, rel=1e-5)
    apart = clean.copy()
    apart[0, 0, :, 1] += (-4, 4)  # up in one view, down in the other, which no point explains: (3 * 1 + 2 * 16) / 4
    assert covariance(apart, 1.0) == pytest.approx(8.75 * upper, rel=0.01)


def facing_rig() -> Rig:
    return Rig((looking_camera("a", (4, 0, 1), (0, 0, 1)), looking_camera("b", (-4, 0, 1), (0, 0, 1))))


def near_rig() -> Rig:
    return Rig((looking_camera("a", (4, 0, 1), (0, 0, 1)), looking_camera("b", (4, 0.05, 1), (0, 0.05, 1))))


def test_a_point_seen_by_too_few_says_so():
    rig, points = ring_rig(4), points_around(4)
    xy = film(rig, points)
    xy[0] = NAN
    xy[1, :, 1:] = NAN
    xy[2, :, 2:] = NAN
    found = solve(rig, xy)
    few = PointStatus.TOO_FEW_VIEWS
    assert statuses(found) == [[few], [few], [PointStatus.OK], [PointStatus.OK]]
    assert statuses(solve(rig, xy, min_views=3)) == [[few], [few], [few], [PointStatus.OK]]


def test_views_that_do_not_agree_say_so():
    points = points_around(50)
    # Every two of the rays miss each other by 35 cm or more.
    assert (solve(ring_rig(3), film(ring_rig(3), points) + APART).status == PointStatus.NO_AGREEMENT).all()
    # Three agree, four are asked for.
    rig = ring_rig(4)
    xy = film(rig, points)
    xy[:, :, 3] += 100
    assert (solve(rig, xy, min_views=4).status == PointStatus.NO_AGREEMENT).all()
    assert (solve(rig, xy, min_views=3).status == PointStatus.OK).all()


@pytest.mark.parametrize("rig", [near_rig(), facing_rig()], ids=["side by side", "face to face"])
@pytest.mark.parametrize("noise_px", [0.0, 2.0])
def test_rays_along_one_line_say_so(rig, noise_px):
    points = np.random.default_rng(0).uniform((-0.5, -0.01, 0.99), (0.5, 0.01, 1.01), (200, 3))
    found = solve(rig, film(rig, points, noise_px), threshold_px=20.0)
    # Noise turns some pairs apart, so that they meet behind the cameras; it is still their angle that is at fault.
    assert (found.status == PointStatus.ILL_CONDITIONED).all()


def test_facing_cameras_place_what_is_beside_their_line():
    rig = facing_rig()
    points = np.array([[0.2, 0.8, 1.5]])
    found = solve(rig, film(rig, points))
    assert statuses(found) == [[PointStatus.OK]]
    assert np.abs(found.points_world[0, 0].numpy() - points[0]).max() < 1e-11


def test_rays_that_meet_behind_the_cameras_say_so():
    rig = Rig((looking_camera("a", (-0.5, -4, 1), (-0.5, 0, 1)), looking_camera("b", (0.5, -4, 1), (0.5, 0, 1))))
    # The left camera sees it far on the left, the right one far on the right.
    xy = np.array([[[[339.5, 479.5], [939.5, 479.5]]]])
    assert statuses(solve(rig, xy)) == [[PointStatus.BEHIND_CAMERA]]


def test_where_there_is_no_point_there_is_nothing():
    rig, points = ring_rig(3), points_around(4)
    xy = film(rig, points)
    xy[0, :, 1:] = NAN
    xy[1] += APART
    found = solve(rig, xy)
    assert found.status[:2, 0].tolist() == [PointStatus.TOO_FEW_VIEWS, PointStatus.NO_AGREEMENT]
    assert found.points_world[:2].isnan().all()
    assert found.covariance[:2].isnan().all()
    assert found.reprojection_px[:2].isnan().all()
    assert not found.inliers[:2].any()
    assert found.reprojection_px[2:].isfinite().all()


def test_missing_views_take_no_part_however_they_are_missing():
    rig, points = ring_rig(6), points_around(20)
    xy = film(rig, points, noise_px=1.0)
    confidence = np.random.default_rng(0).uniform(0.3, 1, xy.shape[:-1])
    expected = solve(rig.select(rig.names[2:]), xy[:, :, 2:], confidence[:, :, 2:])
    gone = xy.copy()
    gone[:, :, 0] = NAN
    gone[:, :, 1, 0] = np.inf
    zero, unknown, negative = confidence.copy(), confidence.copy(), confidence.copy()
    zero[:, :, :2], unknown[:, :, :2], negative[:, :, :2] = 0, NAN, -1
    for pixels, weight in ((gone, confidence), (xy, zero), (xy, unknown), (xy, negative)):
        found = solve(rig, pixels, weight)
        # Sums over more views round otherwise, and the refinement stops a nanometre from its end.
        assert torch.allclose(found.points_world, expected.points_world, rtol=0, atol=1e-7)
        assert torch.equal(found.inliers[:, :, 2:], expected.inliers)
        assert not found.inliers[:, :, :2].any()
        assert found.reprojection_px[:, :, :2].isnan().all()


@pytest.mark.parametrize("group", [1, 4])
def test_no_points_are_no_fault(group):
    found = solve(ring_rig(3), np.zeros((0, group, 3, 2)))
    assert found.points_world.shape == (0, group, 3)
    assert found.covariance.shape == (0, group, 6)
    assert found.inliers.shape == found.reprojection_px.shape == (0, group, 3)
    assert found.status.shape == (0, group)
    assert found.status.dtype == torch.uint8


def test_one_camera_sees_too_few_views():
    rig = ring_rig(3).select(("cam_2",))
    assert statuses(solve(rig, film(rig, points_around(2)))) == [[PointStatus.TOO_FEW_VIEWS]] * 2


@pytest.mark.parametrize("min_views", [-1, 0, 1])
def test_one_ray_has_no_point(min_views):
    rig = ring_rig(3)
    with pytest.raises(PosekitError, match=f"min_views: {min_views} views cannot place a point"):
        solve(rig, film(rig, points_around(2)), min_views=min_views)


@pytest.mark.parametrize("threshold", [0.0, NAN])
def test_a_threshold_that_nothing_meets(threshold):
    rig = ring_rig(4)
    xy = film(rig, points_around(5), noise_px=1.0)
    found = solve(rig, xy, threshold_px=np.full((5, 4), threshold))
    assert (found.status == PointStatus.NO_AGREEMENT).all()


def test_each_view_has_its_own_threshold():
    rig = ring_rig(5)
    xy = film(rig, points_around(20))
    xy[:, :, 4] += 20
    loose = np.full((20, 5), 5.0)
    loose[10:, 4] = 60.0
    found = solve(rig, xy, threshold_px=loose)
    assert found.inliers[:, 0, 4].tolist() == [False] * 10 + [True] * 10
    assert found.inliers[:, 0, :4].all()


def test_keypoints_in_float32_are_as_good_as_their_digits():
    rig, points = ring_rig(6), points_around(100)
    xy = film(rig, points, noise_px=1.0)
    exact = solve(rig, xy)
    found = solve(rig, xy.astype(np.float32), np.ones(xy.shape[:-1], dtype=np.float32))
    assert found.points_world.dtype == torch.float64
    # 1000 px in float32 are good to 3e-5 px, 1.4e-7 m at 4.5 m.
    assert (found.points_world - exact.points_world).abs().max() < 1e-6
    assert torch.equal(found.inliers, exact.inliers)


def test_runs_are_the_same_to_the_last_bit():
    rig = ring_rig(9)
    xy = film(rig, points_around(100), noise_px=3.0)
    assert_same(solve(rig, xy), solve(rig, xy))


@pytest.mark.parametrize("cameras", [5, 12])
def test_the_order_of_the_cameras_is_of_no_account(cameras):
    rig, points = ring_rig(cameras), points_around(150)
    xy = film(rig, points, noise_px=2.0)
    rng = np.random.default_rng(5)
    xy[rng.random(xy.shape[:-1]) < 0.2] += 120
    xy[rng.random(xy.shape[:-1]) < 0.1] = NAN
    confidence = rng.uniform(0.3, 1, xy.shape[:-1])
    order = rng.permutation(cameras)
    found = solve(rig, xy, confidence)
    turned = solve(Rig(tuple(rig.cameras[c] for c in order)), xy[:, :, order], confidence[:, :, order])
    assert torch.equal(turned.inliers, found.inliers[:, :, order])
    assert torch.equal(turned.status, found.status)
    # Sums over the views in another order round otherwise, and the refinement stops a nanometre from its end.
    assert torch.allclose(turned.points_world, found.points_world, rtol=0, atol=1e-7, equal_nan=True)
    assert torch.allclose(turned.reprojection_px, found.reprojection_px[:, :, order], rtol=0, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("chunk", [1, 4, 10, 11])
def test_chunks_are_of_no_account(chunk, monkeypatch):
    rig = ring_rig(4)
    xy = film(rig, points_around(40).reshape(10, 4, 3), noise_px=2.0)
    xy[np.random.default_rng(0).random(xy.shape[:-1]) < 0.2] = NAN
    threshold = np.random.default_rng(1).uniform(3, 9, (10, 4))
    whole = solve(rig, xy, threshold_px=threshold)
    monkeypatch.setattr(triangulation, "CHUNK_NUMBERS", chunk * 4 * 4 * 6)
    # Vectorised sums may round by where in the batch a point stands.
    assert_same(solve(rig, xy, threshold_px=threshold), whole, tolerance=1e-9)


def finger_film(noise_px: float = 0.0, count: int = 100, cameras: int = 5) -> tuple[Rig, NDArray, NDArray]:
    rig = ring_rig(cameras)
    base = points_around(count)
    points = base[:, None] + np.arange(4)[:, None] * (0.02, 0.01, -0.01)
    return rig, points, film(rig, points, noise_px)


def test_a_group_stands_and_falls_together():
    rig, points, xy = finger_film()
    # One joint is off by 24 px in view 0: the group's mean error there is 6 px. In view 1 by 48 px: 12 px.
    xy[:, 2, 0, 0] += 24
    xy[:, 1, 1, 0] += 48
    alone = solve(rig, xy.reshape(400, 1, 5, 2), threshold_px=8.0)
    assert alone.inliers.reshape(100, 4, 5)[:, 2, 0].sum() == 0
    found = solve(rig, xy, threshold_px=8.0)
    assert (found.status == PointStatus.OK).all()
    assert found.inliers[:, :, 0].all()
    assert not found.inliers[:, :, 1].any()
    assert found.inliers[:, :, 2:].all()
    error = np.linalg.norm(found.points_world.numpy() - points, axis=-1)
    assert error[:, [0, 1, 3]].max() < 1e-7  # single precision, and one step from there
    assert 0.005 < error[:, 2].mean() < 0.05  # the joint that its group kept in is pulled by a share of 24 px at 4.5 m


def test_a_joint_that_the_groups_best_views_miss_is_found_by_the_others():
    rig, points, xy = finger_film(noise_px=0.5, cameras=6)
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.4, 1, xy.shape[:-1])
    xy[:, :, 0] += rng.choice((-1, 1), (100, 1, 2)) * rng.uniform(
        100, 300, (100, 1, 2)
    )  # one view is of something else
    for n in range(100):
        xy[n, 3, rng.permutation(5)[:3] + 1] = NAN  # the tip is hidden in three of the good ones
    found = solve(rig, xy, confidence, threshold_px=6.0)
    assert (found.status == PointStatus.OK).all()
    assert not found.inliers[:, :, 0].any()
    assert (found.inliers[:, 3].sum(dim=-1) == 2).all()
    # Half a pixel is 2 mm; two views that face each other nearly see depth ten times worse.
    assert np.linalg.norm(found.points_world.numpy() - points, axis=-1).max() < 0.05


def test_a_joint_that_only_unconfident_views_see_is_found_among_many_cameras():
    rig, points, xy = finger_film(count=5, cameras=12)
    confidence = np.ones(xy.shape[:-1])
    confidence[:, :, 9:] = 0.3
    xy[:, 3, :9] = NAN
    found = solve(rig, xy, confidence)
    assert (found.status == PointStatus.OK).all()
    assert np.abs(found.points_world.numpy() - points).max() < 1e-11
    assert found.inliers[:, 3].sum(dim=-1).tolist() == [3] * 5


def test_a_joint_that_one_view_sees_does_not_hold_up_its_group():
    rig, points, xy = finger_film(count=5)
    xy[:, 1, 1:] = NAN
    xy[:, 2] = NAN
    found = solve(rig, xy)
    few, ok = PointStatus.TOO_FEW_VIEWS, PointStatus.OK
    assert statuses(found) == [[ok, few, few, ok]] * 5
    assert np.abs(found.points_world[:, [0, 3]].numpy() - points[:, [0, 3]]).max() < 1e-11


def test_points_near_a_camera_and_beyond_its_lens():
    # A detection beyond the fold of the lens has no ray, and takes no part.
    rig = ring_rig(4)
    folding = Camera(
        "x", (1280, 960), rig.cameras[0].matrix, (-0.5, 0.1, 0, 0), rig.cameras[0].rotation, rig.cameras[0].translation
    )
    rig = Rig((folding, *rig.cameras[1:]))
    points = points_around(10)
    xy = film(rig, points)
    xy[:, :, 0] = (5000.0, 479.5)
    found = solve(rig, xy)
    assert not found.inliers[:, :, 0].any()
    assert found.reprojection_px[:, :, 0].isnan().all()
    assert np.abs(found.points_world[:, 0].numpy() - points).max() < 1e-11


@pytest.mark.parametrize("chunk_numbers", [2**20, 64])
def test_keypoints_of_a_network_in_training_are_keypoints_like_others(chunk_numbers, monkeypatch):
    """No gradient is kept, whether one thread does it all or threads that know nothing of the caller's settings."""
    monkeypatch.setattr(triangulation, "CHUNK_NUMBERS", chunk_numbers)
    rig = ring_rig(4)
    xy = torch.from_numpy(film(rig, points_around(20), noise_px=1.0))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = triangulate_robust(
            xy.clone().requires_grad_(), torch.ones(xy.shape[:-1]), CameraBatch.from_rig(rig), 5.0
        )
    finally:
        torch.set_num_threads(before)
    assert not found.points_world.requires_grad
    assert_same(found, solve(rig, xy), tolerance=1e-9)  # m: chunks end their iterations a rounding apart


@pytest.mark.parametrize("cameras", [4, 8])
def test_a_view_that_is_wrong_on_one_joint_does_not_drag_that_joint_away(cameras):
    """Also where the pair that wins does not see the joint, or would put it behind a camera: no view is taken unjudged."""
    rig, points, xy = finger_film(noise_px=1.0, count=400, cameras=cameras)
    rng = np.random.default_rng(3)
    angle, reach = rng.uniform(0, 2 * np.pi, 400), rng.uniform(300, 1000, 400)
    xy[:, 0, 1] += np.column_stack((reach * np.cos(angle), reach * np.sin(angle)))
    for missing in (False, True):
        if missing:
            xy[:200, 0, 0] = np.nan
        found = solve(rig, xy, threshold_px=10.0)
        error = np.linalg.norm(found.points_world.numpy() - points, axis=-1)
        assert np.nanmax(np.where(found.inliers.numpy(), found.reprojection_px.numpy(), 0)) < 20
        assert np.nanmean(error > 0.05) < 0.005
        assert np.mean(np.isfinite(error)) > 0.99
