"""Losses of heatmap networks."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def heatmap_loss(
    stages: Sequence[Float[Tensor, "B M h w"]],
    target: Float[Tensor, "B M h w"],
    weight: Float[Tensor, "B M"],
    foreground: float = 0.0,
) -> Float[Tensor, ""]:
    """Squared error of every stage's maps against the same target, averaged over labelled maps and cells, summed over stages.

    weight: >= 0; a map of weight 0 takes no part, not even if it holds NaN. All weights 0 give 0.
    foreground: extra weight of a cell where the target is 1 (in proportion where it is less). On a 32 x 32 map 99 % of the
    cells are background, so without it the first hundreds of steps only learn to answer zero.

    Intermediate supervision of Wei et al. 2016 with the masked labels of Simon et al. 2017.
    """
    total = weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)
    mask = (weight > 0)[..., None, None]
    cell_weight = weight[..., None, None] * (1.0 + foreground * target)
    loss = target.new_zeros(())
    for maps in stages:
        error = torch.where(mask, maps.to(target.dtype) - target, 0.0)
        loss = loss + (cell_weight * error.square()).mean(dim=(-2, -1)).sum() / total
    return loss


def distribution_loss(
    stages: Sequence[Float[Tensor, "B J h w"]], target: Float[Tensor, "B J h w"], weight: Float[Tensor, "B J"]
) -> Float[Tensor, ""]:
    """Divergence (Kullback-Leibler, nats) of every stage's distributions from the target's, mean over labels, sum over stages.

    stages: logits. target: Gaussian heights of any scale. A joint of whose bump less than half lies in the picture takes
    no part: its place is not among the cells. Weights and NaN as for `heatmap_loss`.
    """
    height = target.flatten(2)
    mass = height.sum(dim=-1)
    # A bump in the open has one mass; half of it outside means that the joint itself is.
    inside = mass > 0.5 * mass.amax()
    weight = torch.where(inside, weight, 0.0)
    total = weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)
    wanted = height / mass.clamp_min(torch.finfo(mass.dtype).tiny)[..., None]
    entropy = torch.special.entr(wanted).sum(dim=-1)
    mask = weight > 0
    loss = target.new_zeros(())
    for maps in stages:
        logs = torch.log_softmax(torch.where(mask[..., None], maps.to(target.dtype).flatten(2), 0.0), dim=-1)
        loss = loss + (weight * (-(wanted * logs).sum(dim=-1) - entropy)).sum() / total
    return loss
