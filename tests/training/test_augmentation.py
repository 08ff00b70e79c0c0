import dataclasses
import math

import numpy as np
import pytest
import torch

from posekit.training.augmentation import (
    Augmentation,
    augment,
    augment_seen,
    cover_with_patches,
    cut_at_edge,
    disturb_colours,
    draw_affine,
    draw_colours,
)


def dots(xy: torch.Tensor, size: int, sigma: float = 2.0) -> torch.Tensor:
    """Paint one soft red, green and blue dot per picture at xy (B, 3, 2)."""
    grid = torch.arange(size, dtype=torch.float32)
    across = (grid - xy[..., 0, None]).square()
    down = (grid - xy[..., 1, None]).square()
    return torch.exp(-(down[..., :, None] + across[..., None, :]) / (2 * sigma**2))


def centroids(images: torch.Tensor) -> torch.Tensor:
    weight = images.clamp_min(0)
    grid = torch.arange(images.shape[-1], dtype=torch.float32)
    total = weight.sum(dim=(-2, -1))
    x = (weight.sum(dim=-2) * grid).sum(-1) / total
    y = (weight.sum(dim=-1) * grid).sum(-1) / total
    return torch.stack([x, y], dim=-1)


GEOMETRY_ONLY = Augmentation(
    gain=0,
    channel_gain=0,
    contrast=0,
    saturation=0,
    tint=0,
    hue_share=0,
    grey_share=0,
    shuffle_share=0,
    inversion_share=0,
    gamma=1,
    noise=0,
    blur_share=0,
    motion_share=0,
    coarse_share=0,
    compression_share=0,
    patch_share=0,
    edge_share=0,
)


def test_joints_move_with_their_pixels():
    generator = torch.Generator().manual_seed(3)
    joints = 80 + 25 * (2 * torch.rand(64, 3, 2, generator=generator) - 1)
    images, moved = augment(dots(joints, 160), joints, 128, GEOMETRY_ONLY, generator)
    inside = ((moved > 14) & (moved < 113)).all(dim=-1)
    assert inside.float().mean() > 0.8
    found = centroids(images - 2e-3)
    # A dot shrunk by 1.3 still spans six pixels: bilinear sampling moves its centroid by hundredths of a pixel.
    assert (found - moved)[inside].abs().max() < 0.1
    # And it was no idle test: crops were turned and shifted.
    assert (moved - joints).abs().mean() > 5


def test_nothing_is_mirrored_and_zoom_and_turn_stay_in_their_range():
    settings = Augmentation(rotation=0.2, wide_share=0.5, wide_rotation=1.0, zoom=1.4)
    matrices = draw_affine(2000, (160, 160), 128, settings, torch.Generator().manual_seed(0))
    determinant = torch.linalg.det(matrices[:, :, :2])
    assert (determinant > 0).all()
    assert determinant.sqrt().min() >= 1 / 1.4 - 1e-5
    assert determinant.sqrt().max() <= 1.4 + 1e-5
    angle = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0])
    # Variance of half normal(0.2), half even on +-1: (0.04 + 1/3) / 2; 2000 draws give it within 10 %.
    assert angle.var().item() == pytest.approx((0.04 + 1 / 3) / 2, rel=0.1)
    # The middle of the input lands on the middle of the crop, but for the shift.
    middle = matrices @ torch.tensor([79.5, 79.5, 1.0])
    assert (middle.mean(dim=0) - 63.5).abs().max() < 0.6  # the shift's 6.4 px over sqrt(2000), times 4


def test_strength_zero_only_cuts_the_middle():
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    joints = torch.tensor([[[7.5, 7.5], [float("nan"), 1.0]]]).expand(2, -1, -1)
    cut, moved = augment(images, joints, 8, Augmentation().scaled(0.0), torch.Generator().manual_seed(1))
    torch.testing.assert_close(cut, images[:, :, 4:12, 4:12], rtol=0, atol=1e-5)
    torch.testing.assert_close(moved[:, 0], torch.tensor([[3.5, 3.5]]).expand(2, -1), rtol=0, atol=1e-5)
    assert moved[:, 1].isnan().any(dim=-1).all()


def test_full_augmentation_stays_in_range_and_is_repeatable():
    images = torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    joints = torch.rand(16, 21, 2, generator=torch.Generator().manual_seed(1)) * 64
    first = augment(images, joints, 48, Augmentation(), torch.Generator().manual_seed(2))
    second = augment(images, joints, 48, Augmentation(), torch.Generator().manual_seed(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert first[0].min() >= 0
    assert first[0].max() <= 1
    assert not torch.equal(first[0], augment(images, joints, 48, Augmentation(), torch.Generator().manual_seed(4))[0])


def test_a_patch_covers_its_share_of_crops_and_hides_the_joints_under_it():
    images = torch.zeros(600, 3, 32, 32)
    grid = torch.stack(torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="xy"), dim=-1).reshape(1, -1, 2)
    settings = Augmentation(patch_share=0.5, patch=0.4)
    covered, hidden = cover_with_patches(images, grid.expand(600, -1, -1), settings, torch.Generator().manual_seed(0))
    touched = (covered > 0).any(dim=1).flatten(1)
    share = touched.any(dim=1).float().mean().item()
    assert 0.18 < share < 0.32  # half of the crops, of which half get a colour (the others a black neighbour)
    # One joint on every pixel: those of the coloured patches are hidden exactly where the patch is seen.
    coloured = touched.any(dim=1)
    assert torch.equal(touched[coloured], hidden[coloured])
    assert 0.4 < hidden.any(dim=1).float().mean() < 0.6
    # Half axes of at most 0.2 of the side, area of |x|^4 + |y|^4 < 1 is 3.708; a bar is 1.4 sides long, 0.24 wide.
    assert hidden.float().mean(dim=1).max() <= 1.45 * 0.24


def test_beyond_the_edge_of_a_film_it_is_black_and_joints_are_hidden():
    images = torch.full((400, 3, 32, 32), 0.5)
    grid = torch.stack(torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="xy"), dim=-1).reshape(1, -1, 2)
    settings = Augmentation(edge_share=0.5)
    cut, hidden = cut_at_edge(images, grid.expand(400, -1, -1), settings, torch.Generator().manual_seed(0))
    black = (cut == 0).all(dim=1).flatten(1)
    assert torch.equal(black, hidden)
    assert (cut.flatten(2)[~black[:, None].expand(-1, 3, -1)] == 0.5).all()
    share = black.any(dim=1).float().mean()
    assert 0.4 < share < 0.6
    # A line through the middle leaves half; the furthest, half a side away, only corners.
    assert black.float().mean(dim=1).max() <= 0.55
    # Seen as half planes: the centre of what is black lies to every side.
    centres = torch.stack([(grid[0][row] - 15.5).mean(dim=0) for row in black if row.any()])
    assert ((centres > 0).float().mean(dim=0) - 0.5).abs().max() < 0.15


def test_joints_beyond_the_edge_keep_their_labels_but_are_not_visible():
    grid = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="xy"), dim=-1).reshape(1, -1, 2)
    joints = torch.cat([grid, torch.full((1, 1, 2), float("nan"))], dim=1).expand(20, -1, -1)
    settings = dataclasses.replace(Augmentation().scaled(0.0), edge_share=1.0)
    images, after, visible = augment_seen(
        torch.ones(20, 3, 16, 16),
        joints,
        torch.ones(20, 257, dtype=torch.bool),
        16,
        settings,
        torch.Generator().manual_seed(0),
    )
    torch.testing.assert_close(after, joints, equal_nan=True)
    assert not visible[:, 256].any()
    # Only what is cut is black: noise, colours and patches are off.
    assert torch.equal(images[:, 0].flatten(1) > 0.5, visible[:, :256])
    assert 0.1 < visible[:, :256].float().mean() < 0.95


def test_what_leaves_the_crop_or_was_hidden_is_not_visible():
    joints = torch.tensor([[[8.0, 8.0], [8.0, 8.0], [1.0, 8.0], [float("nan"), 8.0]]])
    visible = torch.tensor([[True, False, True, True]])
    cut = augment_seen(
        torch.zeros(1, 3, 16, 16), joints, visible, 8, Augmentation().scaled(0.0), torch.Generator().manual_seed(0)
    )
    assert cut[2].tolist() == [[True, False, False, False]]  # x = 1 lies 3 px left of a cut from 4 to 12


def test_a_turn_of_the_hue_keeps_grey_and_goes_all_the_way_round():
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand(400, 3, generator=generator)
    linear, offset = draw_colours(mean, dataclasses.replace(GEOMETRY_ONLY, hue_share=1.0), generator)
    torch.testing.assert_close(linear @ torch.ones(3), torch.ones(400, 3))
    assert offset.abs().max() < 1e-6
    # Turned red: its angle about the grey axis is even over the circle.
    red = linear[:, :, 0].numpy()
    angle = np.arctan2((red[:, 1] - red[:, 2]) * np.sqrt(3), 2 * red[:, 0] - red[:, 1] - red[:, 2])
    counts = np.histogram(angle, bins=8, range=(-np.pi, np.pi))[0]
    assert counts.min() > 25  # of 50 expected, standard deviation 7
    np.testing.assert_allclose(np.linalg.norm(linear.numpy(), axis=1), 1.0, atol=1e-5)  # a rotation


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"inversion_share": 1.0}, [0.8, 0.5, 0.3]),
        ({"grey_share": 1.0}, [1.4 / 3] * 3),
    ],
)
def test_false_colours_by_hand(settings, expected):
    images = torch.tensor([0.2, 0.5, 0.7])[None, :, None, None].expand(5, 3, 4, 4)
    found = disturb_colours(images, dataclasses.replace(GEOMETRY_ONLY, **settings), torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, torch.tensor(expected)[None, :, None, None].expand_as(found))


def test_a_shuffle_only_exchanges_channels():
    images = torch.tensor([0.2, 0.5, 0.7])[None, :, None, None].expand(60, 3, 2, 2)
    shuffled = dataclasses.replace(GEOMETRY_ONLY, shuffle_share=1.0)
    found = disturb_colours(images, shuffled, torch.Generator().manual_seed(0))[:, :, 0, 0]
    torch.testing.assert_close(found.sort(dim=1).values, images[:, :, 0, 0])
    assert len({tuple(row) for row in found.mul(10).round().tolist()}) == 6


def test_much_smaller_crops_are_averaged_first_and_keep_their_joints():
    generator = torch.Generator().manual_seed(3)
    joints = 80 + 25 * (2 * torch.rand(64, 3, 2, generator=generator) - 1)
    images, moved = augment(dots(joints, 160, sigma=4.0), joints, 64, GEOMETRY_ONLY, generator, 0.5)
    inside = ((moved > 10) & (moved < 53)).all(dim=-1)
    assert inside.float().mean() > 0.7
    assert (centroids(images - 2e-3) - moved)[inside].abs().max() < 0.1
    # A pattern finer than the small crop's pixels becomes grey, not a coarser pattern.
    checks = ((torch.arange(160)[:, None] + torch.arange(160)) % 2).float().expand(2, 3, 160, 160)
    still = augment(checks, joints[:2], 64, Augmentation().scaled(0.0), generator, 0.5)[0]
    assert (still - 0.5).abs().max() < 1e-4


def test_scaled_strengths_are_between_none_and_full():
    half = Augmentation().scaled(0.5)
    assert half.rotation == pytest.approx(math.radians(7.5))
    assert half.zoom == pytest.approx(math.sqrt(1.4))
    assert half.hue_share == pytest.approx(0.5 * Augmentation().hue_share)
    assert half.poorest_quality == Augmentation().poorest_quality


def test_somewhat_smaller_crops_keep_their_detail():
    images = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    joints = torch.full((4, 1, 2), 63.5)
    cut, _ = augment(images, joints, 96, Augmentation().scaled(0.0), torch.Generator().manual_seed(1), 0.75)
    # Bilinear sampling of independent pixels keeps 0.6 of their spread, 0.289; averaged by twos it would keep less than half.
    assert cut.std() > 0.16
