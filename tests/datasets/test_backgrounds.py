import numpy as np
import torch

from posekit.datasets.background_scenes import scene_background
from posekit.datasets.backgrounds import procedural_backgrounds


def test_backgrounds_are_pictures_that_chance_alone_decides():
    first, again = (procedural_backgrounds(np.random.default_rng(3), 12, 48) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (12, 3, 48, 48)
    assert first.dtype == torch.float32
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1
    # No two alike, and hardly any without something in it.
    flat = first.flatten(1)
    assert torch.cdist(flat, flat).add(torch.eye(12) * 100).min() > 1
    assert (flat.std(1) > 0.01).float().mean() > 0.9


def test_rooms_are_smoother_and_greyer_than_noise_and_have_edges():
    rooms = np.stack([scene_background(np.random.default_rng(seed), 64) for seed in range(40)])
    assert rooms.dtype == np.float32
    # Natural pictures are mostly low frequencies: neighbours differ by far less than strangers do.
    neighbours = np.abs(np.diff(rooms, axis=2)).mean()
    strangers = np.abs(rooms - rooms[:, :, np.random.default_rng(0).permutation(64)]).mean()
    assert neighbours < 0.35 * strangers
    assert np.abs(np.diff(rooms, axis=2)).max(axis=(1, 2, 3)).mean() > 0.05
    chroma = (rooms.max(-1) - rooms.min(-1)).mean()
    assert 0.02 < chroma < 0.3
