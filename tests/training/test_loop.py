import dataclasses
import math

import pytest
import torch

from posekit.errors import PosekitError
from posekit.models.cpm import ConvolutionalPoseMachine
from posekit.models.images import normalise_images
from posekit.models.trunks import ResidualTrunk
from posekit.training.loop import TrainProgress, TrainSettings, one_cycle, train
from posekit.training.samples import CropBatch


def tiny_model(seed: int = 0) -> ConvolutionalPoseMachine:
    torch.manual_seed(seed)
    return ConvolutionalPoseMachine(
        ResidualTrunk((8, 12, 16), (1, 1, 1), 16),
        16,
        joints=2,
        stages=2,
        stride=4,
        background=False,
        first_channels=16,
        stage_convolutions=1,
        kernel_size=5,
        stage_channels=16,
        batch_norm=True,
    )


def dot_batches(step: int, fraction: float = 0.0) -> CropBatch:
    """Grey pictures with a red and a blue dot: joint 0 is the red one."""
    generator = torch.Generator().manual_seed(step)
    joints = 6 + 36 * torch.rand(8, 2, 2, generator=generator)
    grid = torch.arange(48, dtype=torch.float32)
    squared = (grid - joints[..., 1, None]).square()[..., :, None] + (grid - joints[..., 0, None]).square()[
        ..., None, :
    ]
    spot = torch.exp(-squared / 18)
    images = 0.4 + 0.05 * torch.rand(8, 3, 48, 48, generator=generator)
    images[:, 0] += 0.5 * spot[:, 0]
    images[:, 2] += 0.5 * spot[:, 1]
    return CropBatch(images, joints, torch.ones(8, 2))


SETTINGS = TrainSettings(steps=120, learning_rate=5e-3, average_decay=0.95, report_every=40)


def test_a_tiny_model_learns_to_find_its_dots():
    model = tiny_model()
    seen: list[TrainProgress] = []
    history = train(model, dot_batches, SETTINGS, seen.append)
    assert [entry["step"] for entry in history] == [40, 80, 120]
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert seen[-1].fraction == 1.0
    batch = dot_batches(10_000)
    with torch.inference_mode():
        maps = model(normalise_images(batch.images))[-1]
    peak = maps.flatten(2).argmax(-1)
    found = torch.stack([peak % 12, peak // 12], -1) * 4 + 1.5
    distance = torch.linalg.vector_norm(found - batch.joints, dim=-1)
    # Rounding to cells of 4 px alone costs up to 2.8 px.
    assert distance.median() < 4.0


def test_same_seed_same_weights():
    settings = dataclasses.replace(SETTINGS, steps=6)
    first, second = tiny_model(), tiny_model()
    train(first, dot_batches, settings)
    train(second, dot_batches, settings)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = tiny_model()
    history = train(whole, dot_batches, dataclasses.replace(SETTINGS, steps=9, report_every=3))

    class StopError(Exception):
        pass

    def stop(progress: TrainProgress) -> None:
        if progress.step == 6:
            raise StopError

    settings = dataclasses.replace(
        SETTINGS, steps=9, report_every=3, checkpoint=tmp_path / "run.pt", checkpoint_every=4
    )
    with pytest.raises(StopError):
        train(tiny_model(), dot_batches, settings, stop)
    resumed = tiny_model(seed=5)
    resumed_history = train(resumed, dot_batches, settings)
    assert [entry["step"] for entry in resumed_history] == [entry["step"] for entry in history]
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_damaged_checkpoint_is_one_clear_line(tmp_path):
    path = tmp_path / "run.pt"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(PosekitError, match=r"run\.pt") as caught:
        train(tiny_model(), dot_batches, dataclasses.replace(SETTINGS, checkpoint=path))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"no checkpoint"


def test_a_loss_that_is_no_number_stops_the_run():
    def broken(step: int, fraction: float) -> CropBatch:
        batch = dot_batches(step)
        return CropBatch(batch.images * float("nan"), batch.joints, batch.weight)

    with pytest.raises(PosekitError, match="step 0"):
        train(tiny_model(), broken, SETTINGS)


def test_time_ends_a_run_early():
    history = train(tiny_model(), dot_batches, dataclasses.replace(SETTINGS, steps=10**6, seconds=0.5))
    assert history[-1]["step"] < 10**5
    # The clock drives the schedule: the last step is near the end of the cosine.
    assert history[-1]["learning_rate"] < 0.2 * SETTINGS.learning_rate


def test_one_cycle_by_hand():
    settings = TrainSettings(steps=100, learning_rate=1.0, warm_up=0.1, final_fraction=0.01)
    assert one_cycle(0.0, settings) == pytest.approx(0.05)
    assert one_cycle(0.05, settings) == pytest.approx(0.525)
    assert one_cycle(0.1, settings) == pytest.approx(1.0)
    assert one_cycle(0.55, settings) == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert one_cycle(1.0, settings) == pytest.approx(0.01)
