import math
import tracemalloc

import cv2
import numpy as np
import pytest

from posekit.detection.hand_box import (
    HandBox,
    box_from_arm,
    box_from_hand,
    crop_from_image,
    cut_crops,
    direction_angle,
    image_from_crop,
    transform_points,
)


def some_boxes(count: int = 50, seed: int = 0) -> HandBox:
    rng = np.random.default_rng(seed)
    return HandBox(
        rng.uniform(-50, 500, (count, 2)),
        rng.uniform(20, 700, count),
        rng.uniform(-np.pi, np.pi, count),
        rng.random(count) < 0.5,
    )


def painted(xy: np.ndarray, size: tuple[int, int], sigma: float) -> np.ndarray:
    """Paint a soft white dot at xy (x, y) on black."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    dot = np.exp(-((columns - xy[0]) ** 2 + (rows - xy[1]) ** 2) / (2 * sigma**2))
    return np.round(255 * dot).astype(np.uint8)[..., None].repeat(3, axis=-1)


def centroid(crop: np.ndarray) -> np.ndarray:
    weight = crop[..., 0].astype(float)
    rows, columns = np.mgrid[: crop.shape[0], : crop.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


def test_angles_of_directions():
    directions = np.array([[0, -1], [1, 0], [0, 1], [-1, 0], [1, -1]], dtype=float)
    np.testing.assert_allclose(direction_angle(directions), [0, np.pi / 2, np.pi, -np.pi / 2, np.pi / 4], atol=1e-15)
    assert np.isnan(direction_angle(np.zeros(2)))


def test_rule_of_the_paper_by_hand():
    wrist, elbow = np.array([[100.0, 100.0]] * 2), np.array([[100.0, 200.0]] * 2)
    box = box_from_arm(wrist, elbow, rule="head", head_size=np.array([50.0, np.nan]))
    np.testing.assert_allclose(box.centre, [[100, 85]] * 2)
    # A head that is not known is 0.130 of the height where the forearm, here 100 px, is 0.146.
    np.testing.assert_allclose(box.side, [2.2 * 0.7 * 50, 2.2 * 0.7 * 100 * 0.130 / 0.146])
    assert (box.angle == 0).all()
    assert not box.left.any()


def test_rule_of_openpose_by_hand():
    wrist, elbow = np.array([[130.0, 100.0]] * 2), np.array([[100.0, 100.0]] * 2)
    shoulder = np.array([[100.0, 80.0], [100.0, 0.0]])
    box = box_from_arm(wrist, elbow, shoulder, left=[True, False], rule="openpose")
    np.testing.assert_allclose(box.centre, [[139.9, 100]] * 2)
    # The forearm is the longer in the first (30 > 18), the upper arm in the second (90 > 30).
    np.testing.assert_allclose(box.side, [45, 135])
    np.testing.assert_allclose(box.angle, [np.pi / 2] * 2)
    assert box.left.tolist() == [True, False]
    assert not box_from_arm(wrist, elbow, shoulder * np.nan, rule="openpose").found.any()


def test_our_own_rule_by_hand():
    wrist, elbow = np.array([[130.0, 100.0]] * 3), np.array([[100.0, 100.0]] * 3)
    shoulder = np.array([[100.0, 80.0], [100.0, 0.0], [np.nan, np.nan]])
    box = box_from_arm(wrist, elbow, shoulder)
    # 0.3 and 1.3 of the longer of forearm (30) and 0.9 of the upper arm (18 and 90); without a shoulder, of the forearm.
    np.testing.assert_allclose(box.centre, [[139, 100], [157, 100], [139, 100]])
    np.testing.assert_allclose(box.side, [39, 117, 39])
    np.testing.assert_allclose(box.angle, [np.pi / 2] * 3)


def test_an_arm_without_length_and_an_unknown_rule():
    point = np.array([5.0, 6.0])
    assert not box_from_arm(point, point, point + 3).found
    with pytest.raises(ValueError, match="forearm, openpose, head"):
        box_from_arm(point, point + 1, rule="palm")


def test_box_of_known_keypoints():
    keypoints = np.full((3, 21, 2), np.nan)
    keypoints[0, 0], keypoints[0, 9], keypoints[0, 12] = [10, 50], [30, 50], [60, 40]
    keypoints[1, 4] = [5, 5]
    keypoints[2, 3], keypoints[2, 4] = [5, 5], [9, 5]
    box = box_from_hand(keypoints)
    np.testing.assert_allclose(box.centre[0], [35, 45])
    assert box.side[0] == pytest.approx(2.2 * 50)
    assert box.angle[0] == pytest.approx(np.pi / 2)
    # One point is no box; two points without the wrist have no direction, unless it is given.
    assert box.found.tolist() == [True, False, False]
    assert box_from_hand(keypoints, angle=0.3).found.tolist() == [True, False, True]


def test_missing_arms_give_no_box():
    box = box_from_arm(np.array([np.nan, 3.0]), np.zeros(2), np.ones(2))
    assert not box.found
    assert not box_from_arm(np.zeros(2), np.zeros(2), np.ones(2)).found  # no direction


def test_crop_and_image_are_each_others_inverse():
    boxes = some_boxes()
    points = np.random.default_rng(1).uniform(-200, 700, (50, 21, 2))
    there = transform_points(crop_from_image(boxes, 128), points)
    np.testing.assert_allclose(transform_points(image_from_crop(boxes, 128), there), points, atol=1e-9)


def test_the_crops_edges_and_directions_are_the_boxs():
    box = HandBox([[40.0, 60.0]] * 2, 64.0, np.pi / 2, [False, True])
    corners = np.array([[-0.5, -0.5], [31.5, -0.5], [15.5, 15.5]])  # outer corners above, and the middle
    right, left = transform_points(image_from_crop(box, 32), corners)
    # Up in the crop is +x in the picture; the right hand's crop runs downwards in the picture, the left hand's upwards.
    np.testing.assert_allclose(right, [[72, 28], [72, 92], [40, 60]], atol=1e-12)
    np.testing.assert_allclose(left, [[72, 92], [72, 28], [40, 60]], atol=1e-12)


def test_the_forearm_points_up_in_the_crop():
    rng = np.random.default_rng(2)
    wrist, elbow, shoulder = rng.uniform(0, 500, (3, 40, 2))
    boxes = box_from_arm(wrist, elbow, shoulder, rng.random(40) < 0.5)
    ends = transform_points(crop_from_image(boxes, 128), np.stack([elbow, wrist], axis=1))
    forearm = ends[:, 1] - ends[:, 0]
    np.testing.assert_allclose(forearm[:, 0], 0, atol=1e-9)
    assert (forearm[:, 1] < 0).all()


@pytest.mark.parametrize("side", [40.0, 150.0, 333.0, 900.0])
@pytest.mark.parametrize("left", [False, True])
def test_a_dot_in_the_picture_is_found_at_its_place_in_the_crop(side, left):
    dot = np.array([612.3, 417.8])
    box = HandBox(dot[None] + np.array([[0.12, -0.2]]) * side, side, 0.7, left)
    crop = cut_crops(painted(dot, (1000, 800), sigma=side / 25), box, 128)[0]
    expected = transform_points(crop_from_image(box, 128), dot[None, None])[0, 0]
    # warpAffine works in 1/32 px, and pictures are whole numbers.
    np.testing.assert_allclose(centroid(crop), expected, atol=0.04)


def test_strong_shrinking_averages_instead_of_skipping():
    # One white pixel in 64: nearest or bilinear sampling at scale 8 would give 0 or 255, the mean is 255 / 64.
    image = np.zeros((1024, 1024, 3), np.uint8)
    image[3::8, 5::8] = 255
    crop = cut_crops(image, HandBox([[511.5, 511.5]], 1024.0), 128)[0]
    assert crop[8:-8, 8:-8].mean() == pytest.approx(255 / 64, abs=0.6)
    assert crop.max() < 12


def test_outside_the_picture_is_black_and_no_box_gives_a_black_crop():
    image = np.full((100, 100, 3), 200, np.uint8)
    boxes = HandBox([[0.0, 50.0], [500.0, 500.0], [np.nan, 5.0]], [64.0, 64.0, 64.0])
    crops = cut_crops(image, boxes, 32)
    # The picture begins at x = -0.5: exactly in the middle of the first crop but for half a pixel of 2.
    assert (crops[0][:, :15] == 0).all()
    assert (crops[0][:, 17:] == 200).all()
    assert crops[1].max() == 0
    assert crops[2].max() == 0
    # With blocks of several pixels, too.
    coarse = cut_crops(image, HandBox([[0.0, 50.0]], 96.0), 16)[0]
    assert (coarse[:, :7] == 0).all()
    assert (coarse[1:-1, 9:] == 200).all()


def test_moderate_crop_equals_opencvs_own_warp():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 255, (300, 400, 3), dtype=np.uint8), (0, 0), 2)
    box = HandBox([[200.0, 150.0]], 120.0, -0.4)
    expected = cv2.warpAffine(image, crop_from_image(box, 128)[0], (128, 128), flags=cv2.INTER_LINEAR)
    difference = np.abs(cut_crops(image, box, 128)[0].astype(int) - expected)
    assert difference.max() <= 2  # the region that is cut first shifts the 1/32 px rounding


@pytest.mark.parametrize(
    "picture",
    [np.full((80, 90, 3), 0.5, np.float32), np.full((80, 90), 9, np.uint8), np.full((80, 90, 4), 9, np.uint8)],
    ids=["in [0, 1]", "grey", "RGBA"],
)
def test_pictures_of_another_kind_are_refused(picture):
    # One in [0, 1] would be cut to black crops without a word.
    boxes = HandBox([[40.0, 40.0], [50.0, 40.0]], 60.0)
    for given in (picture, [np.zeros((80, 90, 3), np.uint8), picture]):
        with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\), not (float32|uint8) \(80, 90"):
            cut_crops(given, boxes, 32)


@pytest.mark.parametrize(("centre", "side"), [(30.0, 3e5), (30.0, 1e12), (1e30, 60.0), (-1e30, 60.0)])
def test_a_box_beyond_all_measure_takes_no_memory_for_it(centre, side):
    image = np.full((60, 60, 3), 200, np.uint8)
    tracemalloc.start()
    crop = cut_crops(image, HandBox([[centre, 30.0]], side), 32)[0]
    assert tracemalloc.get_traced_memory()[1] < 2e6  # a block of its scale would have 260 MB and more
    tracemalloc.stop()
    # Of 9000 px a pixel and more, a picture of 60 px is next to nothing.
    assert crop.mean() < 1


def test_boxes_can_be_picked_scaled_and_turned():
    boxes = some_boxes(6)
    part = boxes[np.array([1, 4])]
    assert part.shape == (2,)
    np.testing.assert_array_equal(part.centre, boxes.centre[[1, 4]])
    np.testing.assert_allclose(boxes.scaled(1.5).side, 1.5 * boxes.side)
    np.testing.assert_allclose(boxes.turned(math.pi / 3).angle, boxes.angle + math.pi / 3)
    with pytest.raises(ValueError, match=r"\(\.\.\., 2\)"):
        HandBox(np.zeros((4, 3)), 1.0)
