"""Poses without the picture's scale and place, and without the person's size."""

import torch
from jaxtyping import Float
from torch import Tensor

from posekit.lifting.kcs import bone_vectors

#: Below this a pose is one point, whatever its unit: it gets the scale 1 instead of a division by nothing.
_LEAST_SCALE = 1e-6


def normalise_views(
    xy: Float[Tensor, "*B J 2"], there: Float[Tensor, "*B J"]
) -> tuple[Float[Tensor, "*B J 2"], Float[Tensor, "*B 1 2"], Float[Tensor, "*B 1 1"]]:
    """Centre 2D poses on the mean of their joints and divide by the standard deviation of their coordinates.

    there: 1 for joints that were seen, 0 for missing ones, whose xy may be anything, NaN too; they count for nothing and come
    out as 0. Returns the poses, the centres and the scales, in px; ``xy = centre + scale * normalised``. The published
    normalisation (Wandt and Rosenhahn, CVPR 2019) where all joints are there.
    """
    there = there[..., None]
    xy = torch.where(there > 0, xy, 0.0)
    count = there.sum(dim=-2, keepdim=True).clamp(min=1)
    centre = xy.sum(dim=-2, keepdim=True) / count
    centred = (xy - centre) * there
    scale = (centred.square().sum(dim=(-2, -1), keepdim=True) / (2 * count)).sqrt()
    scale = torch.where(scale > _LEAST_SCALE, scale, 1.0)
    return centred / scale, centre, scale


def mean_bone_length(poses: Float[Tensor, "B J 3"], matrix: Float[Tensor, "J b"]) -> Float[Tensor, "B 1 1"]:
    """Return how large each person is: the mean length of the bones, in the unit of the poses. matrix: of `bone_matrix`."""
    return bone_vectors(poses, matrix).norm(dim=-1).mean(dim=1)[:, None, None]


def to_one_size(poses: Float[Tensor, "B J 3"], matrix: Float[Tensor, "J b"]) -> Float[Tensor, "B J 3"]:
    """Centre poses on the mean of their joints and give their bones the mean length 1."""
    size = mean_bone_length(poses, matrix).clamp(min=_LEAST_SCALE)
    return (poses - poses.mean(dim=1, keepdim=True)) / size


def align_to_template(
    poses: Float[Tensor, "B J 3"], template: Float[Tensor, "J 3"], on: Float[Tensor, " n"]
) -> Float[Tensor, "B J 3"]:
    """Turn poses, about the mean of the joints `on` (hips and shoulders), onto a template: the published canonical frame.

    Rotation of least squared distance without reflection (Kabsch); poses keep their size.
    """
    source = poses[:, on] - poses[:, on].mean(dim=1, keepdim=True)
    target = template[on] - template[on].mean(dim=0)
    u, _, vt = torch.linalg.svd(source.transpose(1, 2) @ target)
    sign = torch.det(u @ vt)
    # The axis of least spread turns round where the best fit would be a mirror image.
    flip = torch.diag_embed(torch.stack((torch.ones_like(sign), torch.ones_like(sign), sign), dim=-1))
    return (poses - poses[:, on].mean(dim=1, keepdim=True)) @ (u @ flip @ vt)
