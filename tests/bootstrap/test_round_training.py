"""A round's training in two processes: one model, the same in both, that is taken up again where it was cut."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load

from bootstrap_processes import weights_of_all
from posekit.bootstrap.round_training import RoundTraining, train_round
from posekit.bootstrap.settings import BootstrapSettings
from posekit.detection.hand_detector import HandDetector
from posekit.training.processes import run_together
from posekit.training.samples import LabelledCrops
from small_training import tiny_model

SETTINGS = BootstrapSettings(steps=12, batch_size=4, training_processes=2, checkpoint_steps=1)


@pytest.fixture(scope="module")
def job():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (16, 48, 48, 3), dtype=np.uint8)
    crops = LabelledCrops(images, rng.uniform(8, 40, (16, 2, 2)), np.ones((16, 2)))
    return RoundTraining(HandDetector(tiny_model(), 48), crops, SETTINGS, 1)


@pytest.fixture(scope="module")
def of_both(job):
    return [load(weights) for weights in run_together(weights_of_all, job, 2, "cpu", lambda _: None)]


def test_both_processes_end_with_the_same_weights(job, of_both):
    first, second = of_both
    assert all(torch.equal(first[name], second[name]) for name in first)
    # Each has seen crops of its own: alone, the first one comes to other weights.
    alone, _ = train_round(
        dataclasses.replace(job, settings=dataclasses.replace(SETTINGS, training_processes=1)), lambda *_: None
    )
    assert not torch.equal(alone.state_dict()["stages.0.0.weight"], first["stages.0.0.weight"])


def test_cut_off_it_goes_on_from_its_checkpoint(job, of_both, tmp_path):
    cut = dataclasses.replace(job, checkpoint=tmp_path / "training.pt")
    steps: list[int] = []

    def interrupt(step: int, loss: float) -> None:
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_round(cut, interrupt)
    model, history = train_round(cut, lambda step, loss: steps.append(step))
    assert steps[0] >= 10  # step 5 is told of by a run from the beginning
    assert [entry["step"] for entry in history] == [5, 10, 12]
    found = model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in of_both[0].items())
