import cv2
import numpy as np
import pytest
import torch

from posekit.training.lost_detail import add_noise, blur, coarsen, compress, smear


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spot(count: int, size: int = 64) -> torch.Tensor:
    images = torch.zeros(count, 3, size, size)
    images[:, :, size // 2, size // 2] = 1.0
    return images


def spread(images: torch.Tensor) -> torch.Tensor:
    """Second moment of every picture's first channel about its centroid, (B, 2, 2)."""
    size = images.shape[-1]
    grid = (
        torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="xy"), -1).double().reshape(-1, 2)
    )
    weight = images[:, 0].double().flatten(1) / images[:, 0].double().sum((-2, -1))[:, None]
    centred = grid - (weight @ grid)[:, None]
    return torch.einsum("bn,bni,bnj->bij", weight, centred, centred)


def test_blur_spreads_a_spot_evenly_and_keeps_its_light():
    found = blur(spot(40), chance())
    torch.testing.assert_close(found.sum((-2, -1)), torch.ones(40, 3), rtol=0, atol=1e-5)
    moments = spread(found)
    torch.testing.assert_close(moments[:, 0, 0], moments[:, 1, 1])
    # 0.3 to 2 px; seven taps cut the widest to a variance of 2.6.
    assert moments[:, 0, 0].min() < 0.5
    assert 2.0 < moments[:, 0, 0].max() < 4.0


def test_motion_smears_along_a_line():
    values = torch.linalg.eigvalsh(spread(smear(spot(40), chance(3))))
    assert (values[:, 1] > 0.4).all()  # three pixels in a row have a variance of 2 / 3, turned ones a little less
    assert (values[:, 0] < 0.5 * values[:, 1]).all()


def test_coarse_pictures_have_lost_their_fine_pattern_and_kept_their_mean():
    generator = chance()
    images = torch.rand(30, 3, 64, 64, generator=generator)
    found = coarsen(images, 4.0, 0.0, 0.0, 75.0, generator)
    torch.testing.assert_close(found.mean((-2, -1)), images.mean((-2, -1)), rtol=0, atol=0.02)
    assert (found.std((-2, -1)) < images.std((-2, -1))).all()


def test_coarse_pictures_are_compressed_while_they_are_small():
    images = torch.rand(40, 3, 64, 64, generator=chance())
    plain, some = (coarsen(images, 4.0, 0.0, share, 15.0, chance(1)) for share in (0.0, 0.5))
    changed = (some != plain).flatten(1).any(dim=1)
    assert 10 <= changed.sum() <= 30  # of 40, half
    # Up to the last pixel, whatever the small pictures' side.
    assert (some != plain)[changed][..., -1, :].any(dim=(1, 2)).all()
    # Blocks of the small picture are larger than 8 px once it is blown up: compressing afterwards would change less of it.
    lost, later = ((one - plain)[changed].square().mean() for one in (some, compress(plain, 15.0, chance(1))))
    assert lost > 1.5 * later


def test_noise_has_its_strength_and_no_two_neighbours_share_it():
    found = add_noise(torch.zeros(64, 3, 32, 32), 0.05, chance())
    deviation = found.std((-3, -2, -1))
    assert deviation.max() < 0.052
    assert deviation.mean().item() == pytest.approx(
        0.025, abs=0.006
    )  # even on 0 to 0.05, 64 draws: standard error 0.002
    assert abs(torch.corrcoef(found[:2].flatten(1))[0, 1]) < 0.1


def test_compression_loses_about_what_a_jpeg_loses():
    rng = np.random.default_rng(0)
    small = rng.random((24, 8, 8, 3)).astype(np.float32)
    pictures = np.stack([cv2.resize(one, (64, 64), interpolation=cv2.INTER_CUBIC) for one in small]).clip(0, 1)
    pictures = (0.9 * pictures + 0.1 * rng.random(pictures.shape)).astype(np.float32)
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    found = compress(images, 30.0, chance())
    lost = (found - images).square().mean((-3, -2, -1)).sqrt().numpy()
    rates = {}
    for quality in (30, 75):
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
        coded = [cv2.imencode(".jpg", (255 * one).astype(np.uint8), options)[1] for one in pictures]
        decoded = np.stack([cv2.imdecode(one, cv2.IMREAD_COLOR) for one in coded]) / 255
        rates[quality] = np.sqrt(np.square(decoded - pictures).mean((1, 2, 3)))
    # Quality is drawn between the two; OpenCV's coarser table for colours may lose half as much again.
    assert (lost > 0.6 * rates[75]).all()
    assert (lost < 1.2 * rates[30]).all()


def test_compression_of_a_flat_picture_changes_it_by_a_step_at_most_and_keeps_it_flat_into_the_last_block():
    images = torch.full((6, 3, 20, 20), 0.37)
    found = compress(images, 15.0, chance())
    assert found.shape == images.shape
    torch.testing.assert_close(found, found[..., :1, :1].expand_as(found), rtol=0, atol=1e-5)
    assert (found - images).abs().amax(dim=(1, 2, 3)).max() > 1e-3
    # A grey block has one coefficient, 8 times its grey, which is rounded to 16 x 50 / 15 levels at quality 15.
    assert (found - images).abs().max() <= 16 * 50 / 15 / 2 / 8 / 255 + 1e-5
