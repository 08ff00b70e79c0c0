import itertools

import numpy as np
import pytest
import torch

from posekit.detection.decoding import BoneLengths, choose_peaks, decode_heatmaps, find_peaks, fit_bone_lengths
from posekit.models.heatmaps import gaussian_heatmaps
from posekit.skeleton import HAND_21, Skeleton

CHAIN = Skeleton("chain", ("a", "b", "c", "d"), ((0, 1), (1, 2), (1, 3)), (), {"all": (0, 1, 2, 3)})


def test_a_gaussian_bump_is_found_to_a_thousandth_of_a_cell():
    xy = 8 + 112 * torch.rand(10, 21, 2, generator=torch.Generator().manual_seed(0))
    found, height = decode_heatmaps(gaussian_heatmaps(xy, (32, 32), 4, sigma=1.5), 4)
    np.testing.assert_allclose(found, xy.numpy(), atol=4e-3)
    # The nearest cell is at most half a cell off in each direction: exp(-0.5 / 4.5) = 0.895.
    assert height.min() > 0.89


def test_peaks_come_best_first_and_only_local_maxima():
    maps = gaussian_heatmaps(torch.tensor([[[9.5, 9.5]]]), (16, 16), 4) + 0.6 * gaussian_heatmaps(
        torch.tensor([[[45.5, 33.5]]]), (16, 16), 4
    )
    xy, score = find_peaks(maps, 3)
    np.testing.assert_allclose(xy[0, 0, :2].numpy(), [[2, 2], [11, 8]], atol=1e-3)
    assert score[0, 0, :2].tolist() == pytest.approx([1.0, 0.6], abs=1e-4)
    assert score[0, 0, 2] < 0.01


def test_peaks_on_the_border_and_in_flat_maps_are_harmless():
    maps = torch.zeros(1, 2, 8, 8)
    maps[0, 0, 0, 7] = 1.0
    xy, height = decode_heatmaps(maps, 4)
    assert xy[0, 0].tolist() == [29.5, 1.5]
    assert np.isfinite(xy).all()
    assert height[0].tolist() == [1.0, 0.0]
    negative = decode_heatmaps(maps - 5, 4)
    assert np.isfinite(negative[0]).all()
    assert negative[1].max() == 0


def test_choosing_equals_trying_everything():
    generator = torch.Generator().manual_seed(1)
    xy = 32 * torch.rand(30, 4, 3, 2, generator=generator, dtype=torch.float64)
    score = torch.rand(30, 4, 3, generator=generator, dtype=torch.float64)
    lengths = BoneLengths(CHAIN, np.array([0.2, 0.3, 0.1]), spread=0.5)
    chosen = choose_peaks(xy, score, lengths, 32.0)
    for sample in range(30):
        best, best_value = None, -np.inf
        for choice in itertools.product(range(3), repeat=4):
            value = sum(np.log(max(score[sample, j, k].item(), 1e-3)) for j, k in enumerate(choice))
            for (parent, child), longest in zip(CHAIN.bones, lengths.longest, strict=True):
                gap = xy[sample, parent, choice[parent]] - xy[sample, child, choice[child]]
                excess = max(0.0, np.hypot(*gap.tolist()) / 32 / longest - 1) / lengths.spread
                value -= 0.5 * excess**2
            if value > best_value:
                best, best_value = choice, value
        assert tuple(chosen[sample].tolist()) == best


def test_an_exchanged_fingertip_is_put_right():
    # A flat hand: five straight fingers from the wrist at the bottom.
    joints = np.zeros((21, 2))
    joints[0] = [64, 120]
    for finger, x in enumerate((24.0, 44, 64, 84, 104)):
        for number in range(4):
            joints[1 + 4 * finger + number] = [x, 90 - 20 * number]
    lengths = fit_bone_lengths(joints[None], 128.0)
    maps = gaussian_heatmaps(torch.from_numpy(joints)[None], (32, 32), 4)
    # The index tip's map has a weaker peak in its place and a stronger one on the little finger's tip.
    maps[0, 8] = 0.6 * maps[0, 8] + 0.9 * maps[0, 20]
    alone, _ = decode_heatmaps(maps, 4)
    together, height = decode_heatmaps(maps, 4, lengths)
    assert np.linalg.norm(alone[0, 8] - joints[8]) == pytest.approx(60, abs=1)
    np.testing.assert_allclose(together[0], joints, atol=0.2)
    assert height[0, 8] == pytest.approx(0.6, abs=0.08)


def test_bone_lengths_are_the_longest_seen():
    joints = np.random.default_rng(0).uniform(0, 128, (500, 21, 2))
    joints[3, 4] = np.nan
    fitted = fit_bone_lengths(joints, 128.0, percentile=100)
    parent, child = HAND_21.bones[5]
    assert fitted.longest[5] == pytest.approx(np.linalg.norm(joints[:, parent] - joints[:, child], axis=-1).max() / 128)
    with pytest.raises(ValueError, match="20 bones"):
        BoneLengths(HAND_21, np.ones(3))
