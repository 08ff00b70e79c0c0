import numpy as np
import pytest
import torch

from posekit.errors import PosekitError
from posekit.training.composites import CompositedCrops, _over


def test_over_equals_the_formula_to_half_a_step():
    rng = np.random.default_rng(0)
    alpha = rng.integers(0, 256, (50, 8, 8, 1))
    colour = rng.integers(0, 256, (50, 8, 8, 3)) * alpha // 255
    behind = rng.integers(0, 256, (50, 8, 8, 3)).astype(np.uint8)
    found = _over(np.concatenate([colour, alpha], axis=-1).astype(np.uint8), behind)
    exact = np.minimum(colour + behind * (255 - alpha) / 255, 255)
    assert np.abs(found - exact).max() <= 0.5 + 1e-9
    assert np.array_equal(found, np.rint(exact))


def test_cut_outs_lie_over_backgrounds_and_keep_their_labels():
    rgba = np.zeros((20, 8, 8, 4), np.uint8)
    rgba[:, 2:4, 2:4] = np.arange(20, dtype=np.uint8)[:, None, None, None]
    rgba[:, 2:4, 2:4, 3] = 255
    labels = np.arange(20.0)[:, None, None] * np.ones((1, 21, 2))
    backgrounds = np.full((3, 12, 12, 3), 200, np.uint8)
    source = CompositedCrops(rgba, labels, labels[..., 0], backgrounds, second_share=0.0)
    batch = source.draw(30, np.random.default_rng(0))
    np.testing.assert_allclose(batch.images[:, 1, 2, 3].numpy() * 255, batch.joints[:, 5, 0].numpy(), atol=1e-4)
    np.testing.assert_allclose(batch.images[:, :, 0].numpy() * 255, 200, atol=1e-4)
    np.testing.assert_allclose(batch.weight.numpy(), batch.joints[..., 1].numpy())


def test_another_hand_behind_leaves_the_front_untouched():
    rgba = np.zeros((4, 16, 16, 4), np.uint8)
    rgba[:, 6:10, 6:10] = 255
    source = CompositedCrops(
        rgba, np.zeros((4, 21, 2)), np.ones((4, 21)), np.zeros((1, 16, 16, 3), np.uint8), second_share=1.0
    )
    images = source.draw(50, np.random.default_rng(0)).images
    assert (images[:, :, 6:10, 6:10] == 1).all()
    # 16 pixels in front and 16 more behind, less what is hidden.
    bright = images[:, 0].sum(dim=(-2, -1))
    assert (bright >= 16).all()
    assert bright.mean() > 24


def test_what_does_not_fit_is_refused():
    rgba, joints, weight = np.zeros((4, 16, 16, 4), np.uint8), np.zeros((4, 21, 2)), np.ones((4, 21))
    with pytest.raises(PosekitError, match="at least"):
        CompositedCrops(rgba, joints, weight, np.zeros((1, 12, 12, 3), np.uint8))
    with pytest.raises(PosekitError, match="expected"):
        CompositedCrops(rgba[..., :3], joints, weight, np.zeros((1, 16, 16, 3), np.uint8))
    with pytest.raises(PosekitError, match="4 cut-outs"):
        CompositedCrops(rgba, joints[:3], weight, np.zeros((1, 16, 16, 3), np.uint8))


def test_backgrounds_are_laid_down_in_all_eight_ways_and_visibility_stays_with_its_hand():
    corner = np.zeros((1, 8, 8, 3), np.uint8)
    corner[0, 0, 1] = 90
    rgba = np.zeros((6, 8, 8, 4), np.uint8)
    visible = np.arange(6)[:, None] % 2 == np.zeros((1, 21))
    joints = np.arange(6.0)[:, None, None] * np.ones((1, 21, 2))
    source = CompositedCrops(rgba, joints, np.ones((6, 21)), corner, 0.0, visible)
    batch = source.draw(200, np.random.default_rng(0))
    assert len({image.numpy().tobytes() for image in batch.images}) == 8
    assert torch.equal(batch.visible[:, 0], batch.joints[:, 0, 0] % 2 == 0)
