"""A round's training in two processes: one model, the same in both, that is taken up again where it was cut."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load

from bootstrap_processes import weights_of_all
from posekit.bootstrap.initial_samples import InitialSamples
from posekit.bootstrap.round_training import RoundTraining, train_round
from posekit.bootstrap.settings import BootstrapSettings
from posekit.bootstrap.steps import train_detector
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


def test_of_the_first_detectors_weights_a_share_stays_where_there_is_a_t0(job):
    settings = dataclasses.replace(SETTINGS, steps=3, training_processes=1)
    first, crops = HandDetector(tiny_model(seed=5), 48, None), job.source
    present, with_t0 = dataclasses.replace(job.detector, shapes=None), InitialSamples((crops,), crops)

    def trained(initial, share=0.3):
        changed = dataclasses.replace(settings, first_share=share)
        detector, _ = train_detector(present, crops, initial, changed, 1, lambda *_: None, first=first)
        return detector.model.state_dict()

    alone, mixed, other = trained(with_t0, 0.0), trained(with_t0), first.model.state_dict()
    for name, value in alone.items():
        if value.is_floating_point():
            expected = 0.7 * value.double() + 0.3 * other[name].double()
            np.testing.assert_allclose(mixed[name].double(), expected, rtol=1e-5, atol=1e-7)
        else:
            assert torch.equal(mixed[name], value)
    assert not torch.equal(alone["stages.0.0.weight"], mixed["stages.0.0.weight"])
    # A skeleton of which nothing can be drawn was learnt from a few labels: there is nothing to keep.
    without_t0 = InitialSamples((), None)
    assert all(torch.equal(trained(without_t0)[name], value) for name, value in trained(without_t0, 0.0).items())
