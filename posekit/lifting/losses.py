"""The losses of RepNet and of what came after it, each a mean over the batch."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from posekit.lifting.skeletons import REPNET_16
from posekit.skeleton import Skeleton

Critic = Callable[[Tensor], Tensor]

#: The published script trusts its detector's pelvis not at all, its neck and top of the head a little.
_REPNET_WEIGHTS = {"mid_hip": 0.0, "upper_neck": 0.1, "head_top": 0.1}


def joint_weights(skeleton: Skeleton) -> Float[Tensor, " J"]:
    """Return what a joint counts in `reprojection_loss`: as published for `REPNET_16`; 1 for any other skeleton."""
    names = _REPNET_WEIGHTS if skeleton == REPNET_16 else {}
    return torch.tensor([names.get(joint, 1.0) for joint in skeleton.joints])


def reprojection_loss(
    reprojected: Float[Tensor, "B J 2"], xy: Float[Tensor, "B J 2"], weight: Float[Tensor, "B J"]
) -> Float[Tensor, ""]:
    """Weighted L1 between 2D poses, over all 2J coordinates: sum_j w_j |W - W'| / 2J, as in the published script.

    weight: of `joint_weights` times the detector's; a missing joint has 0.
    """
    return (weight[..., None] * (reprojected - xy).abs()).sum(dim=(1, 2)).mean() / (2 * xy.shape[1])


def camera_loss(cameras: Float[Tensor, "B 2 3"]) -> Float[Tensor, ""]:
    """How far cameras K are from weak perspective: the L1 sum of 2 / trace(K K^T) K K^T - I_2, as in the published script.

    Zero where the rows of K are orthogonal and of one length (Wandt and Rosenhahn, CVPR 2019).
    """
    product = cameras @ cameras.transpose(1, 2)
    trace = product.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=1e-9)
    identity = torch.eye(2, dtype=cameras.dtype, device=cameras.device)
    return (2 / trace[:, None, None] * product - identity).abs().sum(dim=(1, 2)).mean()


def wasserstein_loss(real: Float[Tensor, " B"], fake: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """The critic's loss without its penalty: minus the estimated distance between the two distributions."""
    return fake.mean() - real.mean()


def gradient_penalty(
    critic: Critic, real: Float[Tensor, "B J 3"], fake: Float[Tensor, "B J 3"], mix: Float[Tensor, "B 1 1"]
) -> Float[Tensor, ""]:
    """Mean of (|gradient| - 1)^2 of the critic, at mix real + (1 - mix) fake (Gulrajani et al., NeurIPS 2017)."""
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def bone_loss(
    lengths: Float[Tensor, "B b"],
    mirror: Int[Tensor, " b"],
    usual: Float[Tensor, " b"],
    spread: Float[Tensor, " b"],
) -> Float[Tensor, ""]:
    """How unlike people's the bones' lengths are: mean difference from the other side's, and a tenth of their mean squared z.

    lengths: at one size (`to_one_size`). mirror: number of the bone that each is in a mirror, its own in the middle. usual,
    spread: mean and standard deviation of the lengths of people's bones, who are shown without any view.
    """
    uneven = (lengths - lengths[:, mirror]).abs().mean()
    return uneven + 0.1 * ((lengths - usual) / spread).square().mean()


def consistency_loss(lifted_again: Float[Tensor, "B J 3"], turned: Float[Tensor, "B J 3"]) -> Float[Tensor, ""]:
    """Mean distance of a network's turned output, projected and lifted again, from that output.

    Only the network's own outputs meet each other here (Chen et al., "Unsupervised 3D pose estimation with geometric
    self-supervision", CVPR 2019). Both of one size (`to_one_size`).
    """
    return (lifted_again - turned).norm(dim=-1).mean()
