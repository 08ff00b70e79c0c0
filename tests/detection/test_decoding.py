import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from posekit.detection.decoding import decode_heatmaps, find_peaks, share_about, smooth_heatmaps
from posekit.models.heatmaps import gaussian_heatmaps


def test_a_gaussian_bump_is_found_to_a_thousandth_of_a_cell():
    xy = 24 + 80 * torch.rand(10, 21, 2, generator=torch.Generator().manual_seed(0))
    maps = gaussian_heatmaps(xy, (32, 32), 4, sigma=1.5)
    found, score = decode_heatmaps(maps, 4)
    np.testing.assert_allclose(found, xy.numpy(), atol=4e-3)
    # 1 - exp(-r^2 / 2 sigma^2) of a Gaussian lies within r = 32 * 0.2 / 2.2 cells; whole cells at the border are 0.03 of it.
    expected = 1 - np.exp(-0.5 * (32 * 0.2 / 2.2 / 1.5) ** 2)
    np.testing.assert_allclose(score, expected, atol=0.035)


def test_the_highest_place_is_found_between_cells():
    maps = gaussian_heatmaps(torch.tensor([[[10.3, 8.9]]]), (16, 16), 4)
    maps += 0.6 * gaussian_heatmaps(torch.tensor([[[45.5, 33.5]]]), (16, 16), 4)
    xy, height = find_peaks(maps)
    np.testing.assert_allclose(xy[0, 0].numpy(), [2.2, 1.85], atol=1e-3)
    assert height[0, 0] == pytest.approx(float(maps.max()))


def test_peaks_on_the_border_and_in_flat_maps_are_harmless():
    maps = torch.zeros(1, 2, 8, 8)
    maps[0, 0, 0, 7] = 1.0
    xy, score = decode_heatmaps(maps, 4, smoothing=0.0)
    assert xy[0, 0].tolist() == [29.5, 1.5]
    assert np.isfinite(xy).all()
    assert score[0].tolist() == [1.0, 0.0]
    negative = decode_heatmaps(maps - 5, 4)
    assert np.isfinite(negative[0]).all()
    assert negative[1].max() == 0


def test_smoothing_is_a_gaussian_with_nothing_beyond_the_border():
    maps = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = smooth_heatmaps(maps, 1.4)
    theirs = gaussian_filter(maps.numpy(), (0, 0, 1.4, 1.4), mode="constant", radius=(0, 0, 5, 5))
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-9, atol=1e-12)
    assert smooth_heatmaps(maps, 0.0) is maps


def test_of_two_peaks_the_one_with_more_about_it_wins():
    # A lone high cell against a broad hill: what is wanted is the place with most of the map about it.
    maps = 0.7 * gaussian_heatmaps(torch.tensor([[[90.0, 60.0]]]), (32, 32), 4, sigma=2.5)
    maps[0, 0, 5, 5] = 1.0
    smoothed, _ = decode_heatmaps(maps, 4)
    np.testing.assert_allclose(smoothed[0, 0], [90, 60], atol=0.1)
    alone, _ = decode_heatmaps(maps, 4, smoothing=0.0)
    np.testing.assert_allclose(alone[0, 0], [21.5, 21.5])


def test_the_share_of_a_map_about_a_place_by_hand():
    maps = torch.zeros(1, 1, 9, 9)
    maps[0, 0, 4, 4], maps[0, 0, 4, 6], maps[0, 0, 0, 0] = 2.0, 1.0, 1.0
    place = torch.tensor([[[4.0, 4.0]]])
    assert share_about(maps, place, 1.5).item() == pytest.approx(0.5)
    assert share_about(maps, place, 2.0).item() == pytest.approx(0.75)
    assert share_about(maps * 0, place, 2.0).item() == 0
