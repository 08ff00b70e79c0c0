import dataclasses
import importlib.util
import itertools
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import small_training
from posekit.errors import PosekitError
from posekit.models.images import normalise_images
from posekit.training.loop import TrainProgress, train
from posekit.training.processes import Processes
from posekit.training.run import TrainingRun
from posekit.training.samples import CropBatch
from posekit.training.settings import TrainSettings, one_cycle
from small_training import SETTINGS, dot_batches, tiny_model


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
    ticks = itertools.count()
    timed = dataclasses.replace(SETTINGS, steps=10**6, seconds=4.0, clock=lambda: next(ticks) / 8)
    history = train(tiny_model(), dot_batches, timed)
    # Looked at once before the first step and once after each.
    assert history[-1]["step"] == 32
    # The clock drives the schedule: the last step is near the end of the cosine.
    assert history[-1]["learning_rate"] < 0.05 * SETTINGS.learning_rate


def test_one_cycle_by_hand():
    settings = TrainSettings(steps=100, learning_rate=1.0, warm_up=0.1, final_fraction=0.01)
    assert one_cycle(0.0, settings) == pytest.approx(0.05)
    assert one_cycle(0.05, settings) == pytest.approx(0.525)
    assert one_cycle(0.1, settings) == pytest.approx(1.0)
    assert one_cycle(0.55, settings) == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert one_cycle(1.0, settings) == pytest.approx(0.01)


SCRIPT = Path(__file__).parents[1] / "small_training.py"


def run_script(*arguments: object) -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, timeout=240, check=False).returncode


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    small_training.main(folder, 0)
    return folder


def test_a_killed_run_goes_on_bit_for_bit(whole_run, tmp_path):
    killed, whole = tmp_path, whole_run
    assert run_script(SCRIPT, killed, 5) == -signal.SIGKILL
    assert (killed / "run.pt").exists()
    assert not (killed / "weights_0.pt").exists()
    small_training.main(killed, 0)
    found, expected = (torch.load(folder / "weights_0.pt") for folder in (killed, whole))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    losses = [
        [json.loads(line)["loss"] for line in (f / "losses.jsonl").read_text().splitlines()] for f in (killed, whole)
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 7


def test_two_processes_end_with_the_same_weights_and_one_writes(whole_run, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    assert run_script(*launcher, SCRIPT, tmp_path, 0) == 0
    first, second = (torch.load(tmp_path / f"weights_{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    # Both processes' pictures count: alone, the first one comes to other weights.
    alone = torch.load(whole_run / "weights_0.pt")
    assert not torch.equal(alone["stages.0.0.weight"], first["stages.0.0.weight"])
    assert json.loads((tmp_path / "losses.jsonl").read_text().splitlines()[-1])["samples"] == 7 * 2 * 8


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    settings = dataclasses.replace(SETTINGS, steps=2, checkpoint=path, identity={"seed": 1})
    train(tiny_model(), dot_batches, settings)
    with pytest.raises(PosekitError, match="seed: found 1, expected 2"):
        train(tiny_model(), dot_batches, dataclasses.replace(settings, identity={"seed": 2}))


def test_batches_drawn_ahead_are_the_same(tmp_path):
    models = [tiny_model(), tiny_model()]
    for model, loaders in zip(models, (0, 3), strict=True):
        asked: list[tuple[int, float]] = []

        def batches(step: int, fraction: float, asked: list[tuple[int, float]] = asked) -> CropBatch:
            asked.append((step, fraction))
            return dot_batches(step)

        train(model, batches, dataclasses.replace(SETTINGS, steps=6, loaders=loaders))
        assert sorted(asked) == [(step, step / 6) for step in range(6)]
    for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_bfloat16_learns_as_float32_does():
    losses = []
    for precision in ("float32", "bfloat16"):
        settings = dataclasses.replace(SETTINGS, steps=12, report_every=4, precision=precision)
        losses.append([entry["loss"] for entry in train(tiny_model(), dot_batches, settings)])
    assert losses[0] != losses[1]
    # Eight bits of mantissa: 0.4 % a number, which twelve steps blow up to a few per cent.
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


def test_float16_needs_a_gpu():
    with pytest.raises(PosekitError, match="float16 on cpu"):
        train(tiny_model(), dot_batches, dataclasses.replace(SETTINGS, precision="float16"))


def test_a_group_of_slower_parameters_stays_slower():
    run = TrainingRun(tiny_model(), SETTINGS, None, Processes())
    run.optimizer.param_groups[1]["initial_lr"] = 0.1 * SETTINGS.learning_rate
    run.advance(dot_batches(0))
    rates = [group["lr"] for group in run.optimizer.param_groups]
    assert rates[0] == pytest.approx(one_cycle(0.0, SETTINGS))
    assert rates[1] == pytest.approx(0.1 * rates[0])


def test_tensorboard_files_are_written_or_missed_in_one_line(tmp_path):
    settings = dataclasses.replace(SETTINGS, steps=2, tensorboard=tmp_path / "log")
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(PosekitError, match=r"posekit\[tensorboard\]"):
            train(tiny_model(), dot_batches, settings)
        return
    train(tiny_model(), dot_batches, settings)
    assert list((tmp_path / "log").glob("events.out.tfevents.*"))
