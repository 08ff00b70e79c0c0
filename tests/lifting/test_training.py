"""Training: every term is there, runs repeat and resume, and it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from posekit.errors import PosekitError
from posekit.lifting.settings import PUBLISHED, RepNetSettings
from posekit.lifting.skeletons import LIFTER_15, REPNET_16
from posekit.lifting.sources import PosePool, ViewPool
from posekit.lifting.training import LifterRun, LifterTraining, train_lifter
from tests.lifting.small_sources import StickPeople, StickViews

SMALL = RepNetSettings(
    bones_weight=0.5, width=24, blocks=1, critic_width=24, prior_width=24, batch_size=16, penalty_every=2
)


def begin(settings: RepNetSettings = SMALL, skeleton=LIFTER_15, **run) -> LifterTraining:
    return LifterTraining(
        skeleton,
        settings,
        LifterRun(**{"steps": 8, "report_every": 4, **run}),
        StickPeople(skeleton),
        StickViews(skeleton),
    )


def test_every_term_is_in_the_history() -> None:
    training = begin(replace(SMALL, prior_share=0.5))
    train_lifter(training)
    assert [entry["step"] for entry in training.history] == [4, 8]
    assert {"denoising"} == set(training.history[0]) - {"step", "seconds"}
    assert {
        "critic", "gradient_penalty", "adversarial", "turned", "prior", "reprojection", "reprojection_weight", "consistency",
        "bones",
    } == set(training.history[1]) - {"step", "seconds"}  # fmt: skip


def test_the_published_variant_trains_on_the_published_terms() -> None:
    small = replace(PUBLISHED, width=24, critic_width=24, batch_size=8)
    training = begin(small, REPNET_16)
    train_lifter(training)
    assert set(training.history[0]) - {"step", "seconds"} == {
        "critic", "gradient_penalty", "adversarial", "reprojection", "reprojection_weight", "camera",
    }  # fmt: skip
    assert training.history[0]["reprojection_weight"] == 1


def test_the_reprojection_weight_rises() -> None:
    training = begin(replace(SMALL, prior_weight=0.0, reprojection_weight=(2.0, 8.0)), steps=9, report_every=1)
    train_lifter(training)
    weights = [entry["reprojection_weight"] for entry in training.history]
    assert weights[0] == 2
    assert weights[-1] == pytest.approx(2 * 4 ** (8 / 9))
    assert weights == sorted(weights)


def test_two_runs_agree_and_the_seed_counts() -> None:
    first, second, third = (train_lifter(begin(seed=seed)).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path) -> None:
    whole = begin()
    train_lifter(whole)
    stopped = begin()
    for _ in range(5):
        stopped.advance()
    stopped.save(tmp_path / "run.pt")
    resumed = begin(checkpoint=tmp_path / "run.pt")
    train_lifter(resumed)
    assert resumed.step == 8
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name])


def test_a_checkpoint_of_another_run_is_refused(tmp_path) -> None:
    path = tmp_path / "run.pt"
    begin().save(path)
    with pytest.raises(PosekitError, match="is of another run: seed: found 0, expected 3"):
        train_lifter(begin(seed=3, checkpoint=path))
    path.write_bytes(b"no checkpoint")
    with pytest.raises(PosekitError, match="found no checkpoint"):
        train_lifter(begin(checkpoint=path))


def test_poses_that_are_no_numbers_are_told() -> None:
    class Broken(StickPeople):
        def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
            return np.full((count, 15, 3), np.nan)

    training = LifterTraining(LIFTER_15, replace(SMALL, prior_weight=0.0), LifterRun(4), Broken(), StickViews())
    with pytest.raises(PosekitError, match="critic became no number at step 0"):
        train_lifter(training)


def test_it_learns_to_reproject() -> None:
    settings = replace(SMALL, prior_share=0.2, prior_weight=0.3, learning_rate=3e-3)
    training = begin(settings, steps=60, report_every=12)
    train_lifter(training)
    # Half of where it began: far more than the noise of twelve batches of 16.
    assert training.history[-1]["reprojection"] < 0.5 * training.history[1]["reprojection"]


def test_pools_hold_what_their_sources_gave() -> None:
    poses, views = PosePool(StickPeople(), 5000, 0), ViewPool(StickViews(), 300, 1)
    assert poses.poses.shape == (5000, 15, 3)
    drawn = views.draw(50, np.random.default_rng(0))
    assert drawn.xy.shape == (50, 15, 2)
    known = {view.tobytes() for view in views.views.xy}
    assert all(view.tobytes() in known for view in drawn.xy)
    again = PosePool(StickPeople(), 5000, 0)
    assert np.array_equal(poses.poses, again.poses)
