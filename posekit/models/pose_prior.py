"""A prior over 3D poses: a network that was taught to take noise out of them.

Where noise is Gaussian, what such a network adds to a noisy pose is the gradient of the logarithm of the density of all poses,
smoothed by that noise, times its variance (Vincent, 2011). So it knows which way a pose must go to become more likely, at every
scale, and needs no opponent to be taught against. It is taught on poses alone.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posekit.models.repnet import ResidualBlock

#: Standard deviation of a coordinate of poses whose bones have the mean length 1.
_DATA = 0.9
_FREQUENCIES = (0.7, 1.4, 2.1, 2.8)


class PosePrior(nn.Module):
    """Takes Gaussian noise out of poses of one size (`posekit.lifting.normalisation.to_one_size`), in camera axes.

    Scaled as in Karras et al., "Elucidating the design space of diffusion-based generative models", NeurIPS 2022: the network
    sees inputs of unit variance, and its output is blended with the noisy pose by how noisy that is.
    """

    def __init__(self, joints: int, width: int = 320, blocks: int = 2, slope: float = 0.1) -> None:
        super().__init__()
        self.joints = joints
        inputs = 3 * joints + 2 * len(_FREQUENCIES)
        self.layers = nn.Sequential(
            nn.Linear(inputs, width),
            nn.LeakyReLU(slope),
            *(ResidualBlock(width, slope) for _ in range(blocks)),
            nn.Linear(width, 3 * joints),
        )

    def forward(self, noisy: Float[Tensor, "B J 3"], noise: Float[Tensor, "B 1 1"]) -> Float[Tensor, "B J 3"]:
        """Return the most likely mean of the poses that these were before Gaussian noise of that standard deviation."""
        level = noise[:, :, 0]
        total = (level.square() + _DATA**2).sqrt()
        phase = level.log() * torch.tensor(_FREQUENCIES, device=noisy.device)
        change = self.layers(torch.cat((noisy.flatten(1) / total, phase.sin(), phase.cos()), dim=1))
        cleaned = (_DATA / total).square() * noisy.flatten(1) + level * _DATA / total * change
        return cleaned.view(-1, self.joints, 3)


def draw_noise_levels(chance: Float[Tensor, " B"], low: float, high: float) -> Float[Tensor, "B 1 1"]:
    """Return standard deviations between low and high, any ratio as likely as another. chance: 0 to 1, evenly spread."""
    return torch.exp(math.log(low) + chance * math.log(high / low))[:, None, None]


def denoising_loss(
    prior: PosePrior, poses: Float[Tensor, "B J 3"], noise: Float[Tensor, "B 1 1"], chance: Float[Tensor, "B J 3"]
) -> Float[Tensor, ""]:
    """Mean squared error of cleaned poses, each level's relative to what a blind guess errs at it.

    chance: normal, of variance 1.
    """
    cleaned = prior(poses + noise * chance, noise)
    weight = (noise.square() + _DATA**2) / (noise * _DATA).square()
    return (weight * (cleaned - poses).square()).mean()


def prior_loss(
    prior: PosePrior, poses: Float[Tensor, "B J 3"], noise: Float[Tensor, "B 1 1"], chance: Float[Tensor, "B J 3"]
) -> Float[Tensor, ""]:
    """Mean squared distance of the joints from where the prior would put them; its gradient is the prior's, over all noise.

    The prior's answer is taken as it is: nothing is differentiated through it, and it learns nothing (score distillation, Poole
    et al., "DreamFusion", ICLR 2023).
    """
    with torch.no_grad():
        cleaned = prior(poses + noise * chance, noise)
    return (poses - cleaned).square().sum(dim=-1).mean()
