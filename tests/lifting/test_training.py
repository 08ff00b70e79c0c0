"""Training: every term is there, runs repeat and resume, and it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from posekit.datasets.virtual_views import VirtualCameras, film
from posekit.errors import PosekitError
from posekit.lifting.chance import elevated_turns
from posekit.lifting.settings import PUBLISHED, RepNetSettings
from posekit.lifting.skeletons import LIFTER_15, REPNET_16
from posekit.lifting.sources import PosePool, ViewPool
from posekit.lifting.training import LifterRun, LifterTraining, train_lifter
from tests.lifting.small_sources import StickPeople, StickViews

SMALL = RepNetSettings(
    bones_weight=0.5, width=24, blocks=1, critic_width=24, prior_width=24, batch_size=16, penalty_every=2
)


def begin(settings: RepNetSettings = SMALL, skeleton=LIFTER_15, missing: float = 0.05, **run) -> LifterTraining:
    frames = settings.frames if settings.frames > 1 else None
    return LifterTraining(
        skeleton,
        settings,
        LifterRun(**{"steps": 8, "report_every": 4, **run}),
        StickPeople(skeleton),
        StickViews(skeleton, missing, frames),
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

    class Taller(StickPeople):
        def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
            return 1.1 * super().draw(count, rng)

    with pytest.raises(PosekitError, match="is of another run: poses: found"):
        LifterTraining(LIFTER_15, SMALL, LifterRun(8), Taller(), StickViews()).resume(path)
    begin().resume(path)
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


def test_a_temporal_lifter_trains_on_the_same_terms() -> None:
    training = begin(replace(SMALL, frames=5, prior_weight=0.0))
    train_lifter(training)
    assert set(training.history[-1]) - {"step", "seconds"} == {
        "critic", "gradient_penalty", "adversarial", "turned", "reprojection", "reprojection_weight", "consistency", "bones",
    }  # fmt: skip
    with pytest.raises(PosekitError, match="found views of 1 frames, expected 5"):
        LifterTraining(LIFTER_15, training.settings, LifterRun(4), StickPeople(), StickViews()).advance()


def test_who_stands_still_is_turned_as_a_still_motion() -> None:
    training = begin(replace(SMALL, frames=5, lost_joints=0.0), missing=0.0)
    xy, there = training._view(np.random.default_rng(0))
    assert xy.shape == (16, 5, 15, 2)
    lifted = training.generator(xy, there)
    motion = training._turned(lifted, (xy, there), np.random.default_rng(0))
    assert motion.shape == (16, 5, 15, 3)
    assert torch.allclose(motion, motion[:, 2:3].expand_as(motion), atol=1e-5)  # float32
    # The middle alone learns from what the critic says.
    lengths = (training._bones.T @ motion).norm(dim=-1).mean(dim=-1)
    assert torch.allclose(lengths, torch.ones(16, 5), atol=1e-5)
    gradients = [torch.autograd.grad(motion[:, t].square().sum(), lifted.pose, retain_graph=True)[0] for t in (1, 2)]
    assert [bool(gradient.abs().sum() > 0) for gradient in gradients] == [False, True]


def test_every_frame_of_a_window_is_lifted_from_its_own_surroundings() -> None:
    training = begin(replace(SMALL, frames=3))
    torch.manual_seed(0)
    xy, there = torch.randn(4, 3, 15, 2), torch.ones(4, 3, 15)
    around = training._lifted_around(xy, there)
    for frame, rows in enumerate(((0, 0, 1), (0, 1, 2), (1, 2, 2))):
        alone = training.generator(xy[:, rows], there).pose
        size = (training._bones.T @ alone).norm(dim=-1).mean(dim=-1)[:, None, None]
        expected = (alone - alone.mean(dim=1, keepdim=True)) / size
        assert torch.allclose(around[:, frame], expected, atol=1e-5)  # float32


def test_the_critic_teaches_the_elevation() -> None:
    training = begin(replace(SMALL, learned_elevation=True, prior_weight=0.0), steps=6, report_every=1)
    said = training.generator.layers[-1].bias
    before = said[-1].item()
    train_lifter(training)
    assert said[-1].item() != before
    assert {"elevation", "elevation_spread"} <= set(training.history[0])
    assert training.history[0]["elevation"] != training.history[-1]["elevation"]


def test_elevations_are_taken_out_and_drawn_from_those_of_the_batch() -> None:
    cameras = VirtualCameras(elevation=(0.3, 0.2), lowest=-1.0, highest=1.5, roll=0.0, off_axis=(0.0, 0.0))
    # mid_hip, a head above it and a front, filmed: Z is up.
    upright = np.zeros((20_000, 1, 3, 3), dtype=np.float32)
    upright[:, 0, 1], upright[:, 0, 2] = (0, 0, 1), (1, 0, 0)
    seen = torch.from_numpy(film(upright, cameras, np.random.default_rng(0))[0][:, 0])
    elevation = torch.asin(-seen[:, 1, 2]).requires_grad_()
    turned = seen @ elevated_turns(elevation, np.random.default_rng(1)).transpose(1, 2)
    new = torch.asin(-turned[:, 1, 2])
    # 20,000 draws: four standard deviations of the mean are 0.006, of the spread 0.004.
    assert new.mean().item() == pytest.approx(elevation.mean().item(), abs=0.006)
    assert new.std().item() == pytest.approx(elevation.std().item(), abs=0.005)
    assert abs(torch.corrcoef(torch.stack((new, elevation)))[0, 1].item()) < 0.03
    azimuth = torch.atan2(turned[:, 2, 0], turned[:, 2, 2]).detach().numpy()
    assert np.histogram(azimuth, bins=8, range=(-np.pi, np.pi))[0].min() > 2200
    # Where all are the same, all new ones are, too; and even there they have a gradient.
    flat = torch.full((50,), 0.4, requires_grad=True)
    head = torch.tensor([0.0, -np.cos(0.4), -np.sin(0.4)], dtype=torch.float32)
    again = elevated_turns(flat, np.random.default_rng(2)) @ head
    assert torch.allclose(again[:, 2], torch.full((50,), -np.sin(0.4)), atol=1e-3)  # 0.0001 rad of spread
    again[:, 2].sum().backward()
    assert torch.isfinite(flat.grad).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 4}, "frames: found 4, expected an odd number"),
        ({"frames": 0}, "frames: found 0"),
        ({"frames": 9, "generator": "published"}, "expected them with 'view' alone"),
        ({"learned_elevation": True, "generator": "published"}, "expected them with 'view' alone"),
        ({"learned_elevation": True, "turned_weight": 0.0}, "nothing else teaches it"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(change, message) -> None:
    with pytest.raises(PosekitError, match=message):
        RepNetSettings(**change)
