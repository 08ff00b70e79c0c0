"""Batches of labelled crops, and where they come from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from posekit.errors import PosekitError
from posekit.models.images import images_to_tensor
from posekit.training.augmentation import Augmentation, augment


@dataclass(frozen=True)
class CropBatch:
    """Pictures and labels that belong together.

    images: (B, 3, H, W) float32 RGB in [0, 1]. joints: (B, J, 2) px of these pictures, NaN without a label.
    weight: (B, J) >= 0, how much each label counts.
    """

    images: Tensor
    joints: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.images)


class SampleSource(Protocol):
    """Anything that can draw labelled crops, all of one size, at random."""

    def draw(self, count: int, rng: np.random.Generator) -> CropBatch:
        """Return `count` samples; the same state of `rng` gives the same samples."""
        ...


@dataclass(frozen=True)
class LabelledCrops:
    """Crops in memory (or a memory map). images: (N, S, S, 3). joints: (N, J, 2) px. weight: (N, J)."""

    images: UInt8[np.ndarray, "N S S 3"]
    joints: Float[np.ndarray, "N J 2"]
    weight: Float[np.ndarray, "N J"]

    def __post_init__(self) -> None:
        count = len(self.images)
        if count == 0 or self.images.dtype != np.uint8 or self.images.shape[1:2] * 2 + (3,) != self.images.shape[1:]:
            raise PosekitError(
                f"labelled crops: images are {self.images.dtype} {self.images.shape}, not uint8 (N, S, S, 3)"
            )
        if self.joints.shape[::2] != (count, 2) or self.weight.shape != self.joints.shape[:2]:
            raise PosekitError(
                f"labelled crops: joints {self.joints.shape} and weight {self.weight.shape} do not fit {count} images"
            )

    def draw(self, count: int, rng: np.random.Generator) -> CropBatch:
        """Return `count` crops, with replacement."""
        chosen = np.sort(rng.integers(0, len(self.images), count))
        return CropBatch(
            images=images_to_tensor(self.images[chosen]),
            joints=torch.from_numpy(self.joints[chosen].astype(np.float32)),
            weight=torch.from_numpy(self.weight[chosen].astype(np.float32)),
        )


@dataclass(frozen=True)
class MixedSource:
    """Several sources drawn together in fixed shares, as T0 U T_i of multiview bootstrapping.

    shares: > 0, need not sum to 1. What the shares leave over in a batch is drawn by chance, so that a small share is not lost.
    """

    sources: Sequence[SampleSource]
    shares: Sequence[float]
    _fractions: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shares = np.asarray(self.shares, dtype=float)
        if len(shares) != len(self.sources) or len(shares) == 0 or not np.all(np.isfinite(shares) & (shares > 0)):
            raise PosekitError(
                f"sample mix: found shares {list(self.shares)} for {len(self.sources)} sources, expected one > 0 each"
            )
        object.__setattr__(self, "_fractions", shares / shares.sum())

    def draw(self, count: int, rng: np.random.Generator) -> CropBatch:
        """Return `count` samples, source after source."""
        exact = self._fractions * count
        counts = np.floor(exact).astype(int)
        rest = count - counts.sum()
        if rest:
            counts += rng.multinomial(rest, (exact - counts) / (exact - counts).sum())
        parts = [source.draw(int(n), rng) for source, n in zip(self.sources, counts, strict=True) if n]
        return CropBatch(
            torch.cat([part.images for part in parts]),
            torch.cat([part.joints for part in parts]),
            torch.cat([part.weight for part in parts]),
        )


def augmented_batches(
    source: SampleSource,
    batch_size: int,
    size: int,
    seed: int,
    augmentation: Callable[[float], Augmentation] | Augmentation,
    small_size: Callable[[float], int] | None = None,
) -> Callable[[int, float], CropBatch]:
    """Return the batch of a training step as a pure function of the step's number and the part of the run that is done.

    Being pure is what makes a resumed training equal to one that was never cut. size: side in px of the augmented crops, at the
    scale of the source. augmentation: the settings, or a function of the part done (strong first, light at the end).
    small_size: with it, a function of the part done, the same crops are shrunk to this many px, for less work.
    """

    def batch(step: int, fraction: float) -> CropBatch:
        rng = np.random.default_rng((seed, step))
        samples = source.draw(batch_size, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        settings = augmentation(fraction) if callable(augmentation) else augmentation
        side = size if small_size is None else small_size(fraction)
        images, joints = augment(samples.images, samples.joints, side, settings, generator, side / size)
        return CropBatch(images, joints, samples.weight)

    return batch
