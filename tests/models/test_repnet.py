"""RepNet's networks: shapes, what they are blind to, and numbers against plain NumPy."""

import numpy as np
import pytest
import torch

from posekit.lifting.kcs import REPNET_BONES, body_parts, bone_matrix
from posekit.lifting.networks import build_critic, build_generator
from posekit.lifting.settings import PUBLISHED, RepNetSettings
from posekit.lifting.skeletons import LIFTER_15, REPNET_16
from posekit.models.pose_prior import PosePrior, denoising_loss, draw_noise_levels, prior_loss
from posekit.models.repnet import Lifted, PoseCritic, PublishedGenerator, ResidualBlock, ViewGenerator, nearest_rotation


def test_residual_block_by_hand() -> None:
    block = ResidualBlock(2, 0.5).double()
    with torch.no_grad():
        block.first.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        block.first.bias.copy_(torch.tensor([0.0, 1.0]))
        block.second.weight.copy_(torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
        block.second.bias.zero_()
        # (3, 5) -> (3, -4) -> (3, -2) -> (-2, 6) -> (-1, 6), plus (3, 5).
        assert block(torch.tensor([[3.0, 5.0]], dtype=torch.float64)).tolist() == [[2, 11]]


def test_published_network_is_the_papers() -> None:
    generator = build_generator(REPNET_16, PUBLISHED)
    assert isinstance(generator, PublishedGenerator)
    # Dense 32 -> 1000; 1 + 2 + 2 blocks of two 1000 x 1000; Dense 1000; 48 and 6 outputs.
    dense = 1000 * 1000 + 1000
    assert sum(value.numel() for value in generator.parameters()) == 33_000 + 10 * dense + dense + 48_048 + 6_006
    lifted = generator(torch.randn(3, 16, 2), torch.ones(3, 16))
    assert lifted.pose.shape == (3, 16, 3)
    assert lifted.cameras.shape == (3, 2, 3)
    K, X = lifted.cameras.detach().numpy(), lifted.pose.detach().numpy()
    expected = np.einsum("bik,bjk->bji", K, X)
    np.testing.assert_allclose(lifted.reprojection.detach().numpy(), expected, atol=1e-5)  # float32


def test_shipped_size_is_small() -> None:
    assert sum(value.numel() for value in build_generator(LIFTER_15, RepNetSettings()).parameters()) < 500_000


def test_camera_axes_of_a_published_pose() -> None:
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.linalg.det(rotation)
    pose = rng.normal(size=(1, 16, 3))
    cameras = torch.from_numpy(2.5 * rotation[None, :2])
    np.testing.assert_allclose(nearest_rotation(cameras)[0].numpy(), rotation, atol=1e-12)  # float64
    lifted = Lifted(torch.from_numpy(pose), torch.zeros(1, 16, 2), cameras, torch.zeros(1, 1, 1))
    np.testing.assert_allclose(lifted.in_camera_axes().numpy(), pose @ rotation.T, atol=1e-12)


def test_nearest_rotation_has_no_reflection() -> None:
    torch.manual_seed(0)
    turned = nearest_rotation(torch.randn(50, 2, 3, dtype=torch.float64))
    assert torch.allclose(torch.linalg.det(turned), torch.ones(50, dtype=torch.float64))


@pytest.mark.parametrize("mask", [True, False])
def test_missing_joints_may_be_anything(mask: bool) -> None:
    torch.manual_seed(0)
    generator = ViewGenerator(15, 16, 1, 0.1, mask=mask)
    there = torch.ones(2, 15)
    there[:, 3] = 0
    xy = torch.randn(2, 15, 2)
    other = xy.clone()
    other[:, 3] = 77.0
    assert torch.equal(generator(xy, there).pose, generator(other, there).pose)


def test_perspective_is_taken_out_of_the_view() -> None:
    torch.manual_seed(0)
    lifted = ViewGenerator(15, 16, 1, 0.1)(torch.randn(4, 15, 2), torch.ones(4, 15))
    assert (lifted.perspective > 0).all()
    seen = lifted.pose[..., :2] / (1 + lifted.perspective * lifted.pose[..., 2:])
    assert torch.allclose(seen, lifted.reprojection, atol=1e-5)  # float32
    weak = ViewGenerator(15, 16, 1, 0.1, perspective=False)(torch.randn(4, 15, 2), torch.ones(4, 15))
    assert torch.equal(weak.pose[..., :2], weak.reprojection)


def test_a_window_s_middle_is_lifted() -> None:
    torch.manual_seed(0)
    generator = ViewGenerator(15, 16, 1, 0.1, frames=5)
    xy, there = torch.randn(4, 5, 15, 2), torch.ones(4, 5, 15)
    there[:, 1] = 0
    other, moved = xy.clone(), xy.clone()
    other[:, 1], moved[:, 4] = 77.0, 0.5
    assert torch.equal(generator(xy, there).pose, generator(other, there).pose)
    assert not torch.allclose(generator(xy, there).pose, generator(moved, there).pose, atol=1e-3)
    with torch.no_grad():
        for value in generator.parameters():
            value.zero_()
    assert torch.equal(generator(xy, there).reprojection, xy[:, 2])
    alone = ViewGenerator(15, 16, 1, 0.1)
    single = torch.randn(4, 15, 2), torch.ones(4, 15)
    assert torch.equal(alone(*single).pose, alone(*(one[:, None] for one in single)).pose)


def test_the_elevation_is_a_number_of_its_own() -> None:
    torch.manual_seed(0)
    plain, tipped = ViewGenerator(15, 16, 1, 0.1), ViewGenerator(15, 16, 1, 0.1, elevation=True)
    weights = plain.state_dict()
    for name in ("layers.2.weight", "layers.2.bias"):
        weights[name] = torch.cat((weights[name], torch.zeros_like(weights[name][:1])))
    weights["layers.2.bias"][-1] = 0.3
    tipped.load_state_dict(weights)
    view = torch.randn(4, 15, 2), torch.ones(4, 15)
    here, there = plain(*view), tipped(*view)
    assert here.elevation is None
    assert there.elevation.tolist() == pytest.approx([0.3] * 4)
    assert torch.equal(here.pose, there.pose)
    assert torch.equal(here.perspective, there.perspective)


def test_critic_of_kcs_alone_is_blind_to_turns() -> None:
    torch.manual_seed(0)
    critic = PoseCritic(
        bone_matrix(REPNET_BONES, 16), body_parts(REPNET_16, REPNET_BONES), 32, 0.3, pose_path=False
    ).double()
    poses = torch.randn(5, 16, 3, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    assert torch.allclose(critic(poses @ turn + 3.0), critic(poses), atol=1e-10)  # float64
    with_pose = build_critic(REPNET_16, RepNetSettings(critic_width=32)).double()
    assert not torch.allclose(with_pose(poses @ turn), with_pose(poses), atol=1e-6)


def test_critic_has_the_paths_that_are_asked_for() -> None:
    def count(**switches: bool) -> int:
        settings = RepNetSettings(critic_width=32, **switches)
        return sum(value.numel() for value in build_critic(LIFTER_15, settings).parameters())

    assert count(part_kcs=False) < count()
    assert count(whole_kcs=False) < count()
    assert count(pose_path=False) < count()


def test_losses_of_the_prior_by_hand() -> None:
    prior = PosePrior(2, width=8, blocks=1).double()
    with torch.no_grad():
        for value in prior.parameters():
            value.zero_()
    # A network that says nothing leaves what Gaussian poses would be: 0.81 / (0.81 + noise^2) of the noisy pose.
    noise = torch.full((1, 1, 1), 1.2, dtype=torch.float64)
    share = 0.81 / (0.81 + 1.44)
    poses = torch.arange(6.0, dtype=torch.float64).view(1, 2, 3)
    zero = torch.zeros_like(poses)
    assert torch.allclose(prior(poses, noise), share * poses)
    # (1 - 0.36)^2 (0 + 1 + 4 + 9 + 16 + 25), over 6 coordinates and times (1.44 + 0.81) / (1.44 * 0.81), or over 2 joints.
    total = (1 - share) ** 2 * 55
    assert denoising_loss(prior, poses, noise, zero).item() == pytest.approx(total / 6 * 2.25 / (1.44 * 0.81))
    poses.requires_grad_()
    loss = prior_loss(prior, poses, noise, zero)
    assert loss.item() == pytest.approx(total / 2)
    loss.backward()
    # The prior's answer is a constant: 2 (1 - share) x / 2 joints.
    assert torch.allclose(poses.grad, (1 - share) * poses.detach())
    assert all(value.grad is None for value in prior.parameters())


def test_noise_levels_are_even_in_their_logarithm() -> None:
    levels = draw_noise_levels(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), 0.1, 10.0)
    assert levels.flatten().tolist() == pytest.approx([0.1, 1.0, 10.0])
