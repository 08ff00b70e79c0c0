import numpy as np
import pytest
import torch

from posekit.errors import PosekitError
from posekit.models.images import images_to_tensor
from posekit.training.augmentation import Augmentation
from posekit.training.samples import CropBatch, LabelledCrops, MixedSource, augmented_batches
from posekit.training.size_schedule import SizeSchedule


def plain_crops(value: int, count: int = 10) -> LabelledCrops:
    return LabelledCrops(
        np.full((count, 16, 16, 3), value, dtype=np.uint8), np.full((count, 2, 2), float(value)), np.ones((count, 2))
    )


def test_images_become_channels_first_in_zero_to_one():
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    tensor = images_to_tensor(images)
    assert tensor.shape == (2, 3, 4, 5)
    assert tensor[1, 2, 3, 4].item() == pytest.approx(images[1, 3, 4, 2] / 255)


def test_a_mix_holds_its_shares_exactly_where_they_fit_and_on_average_elsewhere():
    mix = MixedSource([plain_crops(10), plain_crops(200)], [3, 1])
    rng = np.random.default_rng(0)
    joints = mix.draw(8, rng).joints[:, 0, 0]
    assert joints.tolist() == [10.0] * 6 + [200.0] * 2
    counts = [int((mix.draw(2, rng).joints[:, 0, 0] == 200).sum()) for _ in range(400)]
    assert np.mean(counts) == pytest.approx(0.5, abs=0.1)  # standard error 0.025


def test_pictures_and_labels_stay_together():
    source = LabelledCrops(
        np.arange(50, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), dtype=np.uint8),
        np.arange(50.0)[:, None, None] * np.ones((1, 2, 2)),
        np.arange(50.0)[:, None] * np.ones((1, 2)),
    )
    batch = source.draw(20, np.random.default_rng(1))
    torch.testing.assert_close(batch.images[:, 0, 0, 0] * 255, batch.joints[:, 0, 0])
    torch.testing.assert_close(batch.weight, batch.joints[..., 0])


def test_a_batch_is_a_pure_function_of_seed_and_step():
    batches = augmented_batches(plain_crops(90), 4, 8, 7, Augmentation())
    first = batches(3, 0.0)
    batches(4, 0.0)
    again = batches(3, 0.0)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.joints, again.joints)
    assert not torch.equal(first.images, batches(4, 0.0).images)


def test_arrays_that_do_not_fit_are_refused_in_one_line():
    with pytest.raises(PosekitError, match=r"joints \(9, 2, 2\)") as caught:
        LabelledCrops(np.zeros((10, 16, 16, 3), np.uint8), np.zeros((9, 2, 2)), np.zeros((9, 2)))
    assert "\n" not in str(caught.value)
    with pytest.raises(PosekitError, match="uint8"):
        LabelledCrops(np.zeros((10, 16, 16, 3)), np.zeros((10, 2, 2)), np.zeros((10, 2)))
    with pytest.raises(PosekitError, match=r"seen_px is \(9,\), expected \(10,\)"):
        LabelledCrops(np.zeros((10, 16, 16, 3), np.uint8), np.zeros((10, 2, 2)), np.zeros((10, 2)), seen_px=np.zeros(9))
    with pytest.raises(PosekitError, match="shares"):
        MixedSource([plain_crops(1)], [0.0])


def test_small_crops_show_the_same_and_settings_follow_the_run():
    source = LabelledCrops(
        np.full((4, 32, 32, 3), 100, np.uint8),
        np.tile(np.array([[[15.5, 15.5], [19.5, 11.5]]]), (4, 1, 1)),
        np.ones((4, 2)),
    )
    still = Augmentation().scaled(0.0)
    schedule = SizeSchedule([(0.5, 8), (0.5, 16)], blend=0.0)
    batches = augmented_batches(source, 2, 16, 0, lambda part: still, schedule)
    early, late = batches(0, 0.2), batches(0, 0.7)
    assert early.images.shape == (8, 3, 8, 8)
    assert late.images.shape == (2, 3, 16, 16)
    torch.testing.assert_close(late.joints[0], torch.tensor([[7.5, 7.5], [11.5, 3.5]]))
    # Half the size about the crop's outer edges: (x + 0.5) / 2 - 0.5.
    torch.testing.assert_close(early.joints[0], (late.joints[0] + 0.5) / 2 - 0.5)


def test_every_process_draws_other_crops_of_the_same_size():
    schedule = SizeSchedule([(0.5, 8), (0.5, 16)], blend=1.0)
    rng = np.random.default_rng(0)
    source = LabelledCrops(
        rng.integers(0, 255, (50, 16, 16, 3), dtype=np.uint8), np.zeros((50, 2, 2)), np.ones((50, 2))
    )
    first, second = (augmented_batches(source, 4, 16, 0, Augmentation(), schedule, rank=rank) for rank in (0, 1))
    sizes = [(first(step, 0.5).images, second(step, 0.5).images) for step in range(12)]
    assert all(a.shape == b.shape for a, b in sizes)
    assert len({a.shape[-1] for a, _ in sizes}) == 2
    assert not any(torch.equal(a, b) for a, b in sizes)


def test_visible_is_all_where_unknown_and_goes_with_its_crop():
    known = np.arange(20)[:, None] % 2 == np.array([0, 1])
    images = np.zeros((20, 16, 16, 3), np.uint8)
    images[:] = np.arange(20)[:, None, None, None]
    joints = np.full((20, 2, 2), 7.5)
    source = MixedSource(
        [LabelledCrops(images, joints, np.ones((20, 2)), known), LabelledCrops(images, joints, np.ones((20, 2)))],
        [1, 1],
    )
    batch = augmented_batches(source, 16, 16, 3, Augmentation().scaled(0.0))(0, 0.0)
    number = (batch.images[:, 0, 8, 8] * 255).round().long()
    of_first = torch.arange(16) % 8 < 4  # eight at a time, source after source
    assert batch.visible[~of_first].all()
    assert torch.equal(batch.visible[of_first], number[of_first, None] % 2 == torch.tensor([0, 1]))
    assert CropBatch(torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 2), torch.zeros(1, 2)).visible.all()
    with pytest.raises(PosekitError, match="visible is float64"):
        LabelledCrops(images, joints, np.ones((20, 2)), known.astype(float))
