"""Batches of labelled crops, and where they come from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from posekit.errors import PosekitError
from posekit.models.images import images_to_tensor
from posekit.training.augmentation import Augmentation, augment_seen
from posekit.training.size_schedule import SizeSchedule, batch_of_equal_cost

#: So many crops at a time stay in a processor's cache; a whole batch takes half as long again.
_CROPS_IN_CACHE = 8


@dataclass(frozen=True)
class CropBatch:
    """Pictures and labels that belong together.

    images: (B, 3, H, W) float32 RGB in [0, 1]. joints: (B, J, 2) px of these pictures, NaN without a label.
    weight: (B, J) >= 0, how much each label counts. visible: (B, J) bool, which joints can be seen; all where it is not known.
    """

    images: Tensor
    joints: Tensor
    weight: Tensor
    visible: Tensor = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        if self.visible is None:
            ones = torch.ones_like(self.weight, dtype=torch.bool)  # type: ignore[unreachable]  # None until here
            object.__setattr__(self, "visible", ones)

    @staticmethod
    def joined(parts: Sequence["CropBatch"]) -> "CropBatch":
        """Return the samples of several batches as one."""
        return CropBatch(*(torch.cat([getattr(part, item.name) for part in parts]) for item in fields(CropBatch)))

    def to(self, device: torch.device | str) -> "CropBatch":
        """Return the same on a device."""
        return CropBatch(*(getattr(self, item.name).to(device) for item in fields(CropBatch)))

    def __len__(self) -> int:
        return len(self.images)


class SampleSource(Protocol):
    """Anything that can draw labelled crops, all of one size, at random."""

    def draw(self, count: int, rng: np.random.Generator) -> CropBatch:
        """Return `count` samples; the same state of `rng` gives the same samples."""
        ...


def visible_or_all(
    visible: Bool[np.ndarray, "N J"] | None, weight: Float[np.ndarray, "N J"], what: str
) -> Bool[np.ndarray, "N J"]:
    """Check which joints are visible against the labels' weights; all where it is None. what: for the message."""
    if visible is None:
        return np.ones(weight.shape, dtype=bool)
    if visible.shape != weight.shape or visible.dtype != bool:
        raise PosekitError(f"{what}: visible is {visible.dtype} {visible.shape}, expected bool {weight.shape}")
    return visible


@dataclass(frozen=True)
class LabelledCrops:
    """Crops in memory (or a memory map).

    images: (N, S, S, 3). joints: (N, J, 2) px. weight: (N, J). visible: (N, J), which joints can be seen; all if not given.
    seen_px: (N,) B in pixels of the film, of which a crop may have been enlarged; None where it is not known.
    """

    images: UInt8[np.ndarray, "N S S 3"]
    joints: Float[np.ndarray, "N J 2"]
    weight: Float[np.ndarray, "N J"]
    visible: Bool[np.ndarray, "N J"] = None  # type: ignore[assignment]  # filled in below
    seen_px: Float[np.ndarray, " N"] | None = None

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
        object.__setattr__(self, "visible", visible_or_all(self.visible, self.weight, "labelled crops"))
        if self.seen_px is not None and self.seen_px.shape != (count,):
            raise PosekitError(f"labelled crops: seen_px is {self.seen_px.shape}, expected ({count},)")

    def draw(self, count: int, rng: np.random.Generator) -> CropBatch:
        """Return `count` crops, with replacement."""
        chosen = np.sort(rng.integers(0, len(self.images), count))
        return CropBatch(
            images=images_to_tensor(self.images[chosen]),
            joints=torch.from_numpy(self.joints[chosen].astype(np.float32)),
            weight=torch.from_numpy(self.weight[chosen].astype(np.float32)),
            visible=torch.from_numpy(self.visible[chosen]),
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
        return CropBatch.joined(parts)


def augmented_batches(
    source: SampleSource,
    batch_size: int,
    size: int,
    seed: int,
    augmentation: Callable[[float], Augmentation] | Augmentation,
    sizes: SizeSchedule | None = None,
    *,
    rank: int = 0,
    device: torch.device | str = "cpu",
) -> Callable[[int, float], CropBatch]:
    """Return the batch of a training step as a pure function of the step's number and the part of the run that is done.

    Being pure is what makes a resumed training equal to one that was never cut. size: side in px of the augmented crops, at the
    scale of the source. augmentation: the settings, or a function of the part done (strong first, light at the end).
    sizes: with it the same crops are shrunk to other sides, for less work each, and `batch_size` of `size` px becomes as many
    as have the same number of pixels. rank: of the process, each of which draws other crops, but of the same size in the same
    step. device: where crops are augmented.
    """
    device = torch.device(device)

    def batch(step: int, fraction: float) -> CropBatch:
        side = size if sizes is None else sizes.draw(fraction, np.random.default_rng((seed, step)))
        count = batch_of_equal_cost(batch_size, size, side)
        rng = np.random.default_rng((seed, step, rank))
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
        settings = augmentation(fraction) if callable(augmentation) else augmentation
        at_once = _CROPS_IN_CACHE if device.type == "cpu" else count
        parts = []
        for first in range(0, count, at_once):
            some = source.draw(min(at_once, count - first), rng).to(device)
            images, joints, visible = augment_seen(
                some.images, some.joints, some.visible, side, settings, generator, side / size
            )
            parts.append(CropBatch(images, joints, some.weight, visible))
        return CropBatch.joined(parts)

    return batch
