import math

import pytest
import torch

from posekit.training.augmentation import Augmentation, augment, cover_with_patches, draw_affine


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
    gamma=1,
    noise=0,
    blur_share=0,
    motion_share=0,
    coarse_share=0,
    patch_share=0,
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


def test_a_patch_covers_its_share_of_crops_and_leaves_the_rest_alone():
    images = torch.zeros(400, 3, 32, 32)
    covered = cover_with_patches(images, Augmentation(patch_share=0.5, patch=0.4), torch.Generator().manual_seed(0))
    touched = (covered > 0).any(dim=1)
    share = touched.flatten(1).any(dim=1).float().mean().item()
    assert 0.15 < share < 0.35  # half of the crops, of which half get a colour (the others a black neighbour)
    area = touched.float().mean(dim=(-2, -1)).max().item()
    # Half axes of at most 0.2 of the side, area of |x|^4 + |y|^4 < 1 is 3.708.
    assert area <= 3.708 * 0.2**2 * 1.1


def test_scaled_strengths_are_between_none_and_full():
    half = Augmentation().scaled(0.5)
    assert half.rotation == pytest.approx(math.radians(7.5))
    assert half.zoom == pytest.approx(math.sqrt(1.3))
