"""Sums of bilinear samples of a map, and their derivatives: what the deformable operators share.

A sample reads four rows of the map laid out as rows of channels. Sums of weighted rows are what an embedding bag computes, so
samples are taken by that one operation, a vector of channels at a time, and nothing is scattered: the derivative with respect
to the map sorts the samples by the cell they fall in and is a sum of weighted rows again. Every sum has a fixed order, so that
the same input gives the same output, on a GPU as well; the usual `index_add` with atomics does not.

The map stands in a margin of two cells of zeros. Positions are first moved to at most two cells outside, where all four corners
are zeros. That is all that the border needs: a sample less than one cell outside blends with zero, one that is further out is
zero, and so are its derivatives.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

#: Cells of zeros around a map.
MARGIN = 2


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the type to compute in: 16 bits cannot tell positions apart (bfloat16 has steps of 1 px beyond 256)."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def stored_as(values: Tensor, like: Tensor) -> Tensor:
    """Return a contiguous copy of the values in the type of another tensor."""
    return torch.empty(like.shape, dtype=like.dtype, device=like.device).copy_(values)


@dataclass(frozen=True)
class RowMap:
    """A batch of maps as rows of channels, in their margin.

    rows: (B * Hp * Wp * G, C / G), Hp = H + 2 MARGIN; G groups of channels are sampled at places of their own.
    """

    rows: Tensor
    batch: int
    height: int
    width: int
    groups: int

    @classmethod
    def of(cls, images: Tensor, groups: int, dtype: torch.dtype) -> "RowMap":
        """Lay out images (B, C, H, W) of any strides and type."""
        batch, channels, height, width = images.shape
        padded = images.new_zeros((batch, height + 2 * MARGIN, width + 2 * MARGIN, channels), dtype=dtype)
        padded[:, MARGIN : MARGIN + height, MARGIN : MARGIN + width] = images.permute(0, 2, 3, 1)
        return cls(padded.view(-1, channels // groups), batch, height, width, groups)

    def like(self, rows: Tensor) -> Tensor:
        """Return rows of the same layout as images (B, C, H, W), without the margin."""
        padded = rows.view(self.batch, self.height + 2 * MARGIN, self.width + 2 * MARGIN, -1)
        return padded[:, MARGIN : MARGIN + self.height, MARGIN : MARGIN + self.width].permute(0, 3, 1, 2)

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """How many rows after a sample's first corner its four corners are: top left, top right, bottom left, bottom right."""
        below = (self.width + 2 * MARGIN) * self.groups
        return 0, self.groups, below, below + self.groups


@dataclass(frozen=True)
class Samples:
    """N samples, `per_bag` after each other summed into one row.

    first: (N,) int32, row of the top left corner. fraction: (2, N), how far below and right of it, in [0, 1). scale: (N,), what
    a sample counts in its sum.
    """

    first: Tensor
    fraction: Tensor
    scale: Tensor
    per_bag: int

    @classmethod
    def at(
        cls, position: Tensor, image: Tensor, group: Tensor, scale: Tensor, source: RowMap, per_bag: int = 1
    ) -> "Samples":
        """Place samples at position (2, ...) (y, x), in cells, of the maps `image` and the channel groups `group`.

        image and group broadcast against position[0], and so does scale. A position that is NaN reads the margin and gives NaN.
        """
        y = position[0].clamp(-MARGIN, source.height)
        x = position[1].clamp(-MARGIN, source.width)
        top, left = torch.floor(y), torch.floor(x)
        fraction = torch.stack([y - top, x - left])
        row = top.nan_to_num(-MARGIN).to(torch.int32) + (image * (source.height + 2 * MARGIN) + MARGIN)
        column = left.nan_to_num(-MARGIN).to(torch.int32) + MARGIN
        first = (row * (source.width + 2 * MARGIN) + column) * source.groups + group
        return cls(first.flatten(), fraction.flatten(1), scale.expand_as(y).flatten(), per_bag)

    @cached_property
    def weights(self) -> Tensor:
        """Return what each corner counts: (4, N), strided so that a sample's four lie side by side."""
        y, x = self.fraction
        weights = torch.empty((len(y), 4), dtype=y.dtype, device=y.device).t()
        lower = y * self.scale
        upper = self.scale - lower
        weights[1], weights[3] = upper * x, lower * x
        weights[0], weights[2] = upper - weights[1], lower - weights[3]
        return weights

    def _bags(self, source: RowMap) -> tuple[Tensor, Tensor]:
        """Return the row of every corner, and where each bag of them begins, with the end of the last."""
        corners = torch.tensor(source.corners, dtype=torch.int32, device=self.first.device)
        rows = (self.first[:, None] + corners).flatten()
        begins = torch.arange(0, rows.numel() + 1, 4 * self.per_bag, dtype=torch.int32, device=rows.device)
        return rows, begins

    def summed(self, source: RowMap) -> Tensor:
        """Return the sums of the samples: (N / per_bag, C / G)."""
        rows, begins = self._bags(source)
        return _weighted_sums(source.rows, rows, begins, self.weights.t().flatten())

    def derivatives(self, grad_sums: Tensor, source: RowMap) -> tuple[Tensor, Tensor]:
        """Return the derivatives with respect to position (2, N) and scale (N,), from those of the sums.

        Between two cells the slope is the one to the right, or below, of a position that is exactly on a cell.
        """
        rows, begins = self._bags(source)
        bag = torch.arange(len(begins) - 1, dtype=torch.int32, device=rows.device).repeat_interleave(4 * self.per_bag)
        # The scalar product of every sum's gradient with every row in it: what an embedding bag's weights get.
        products = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            grad_sums, source.rows, rows, begins, bag, 0
        )
        upper_left, upper_right, lower_left, lower_right = products.view(-1, 4).unbind(-1)
        y, x = self.fraction
        upper = torch.lerp(upper_left, upper_right, x)
        lower = torch.lerp(lower_left, lower_right, x)
        across = torch.lerp(upper_right - upper_left, lower_right - lower_left, y)
        return torch.stack([lower - upper, across]) * self.scale, torch.lerp(upper, lower, y)

    def spread(self, grad_sums: Tensor, source: RowMap) -> Tensor:
        """Return the derivative with respect to the map's rows, from that of the sums: the transpose of `summed`."""
        ordered, order = torch.sort(self.first, stable=True)
        begins = torch.searchsorted(
            ordered, torch.arange(len(source.rows) + 1, dtype=torch.int32, device=ordered.device), out_int32=True
        )
        bag = order.to(torch.int32) if self.per_bag == 1 else (order // self.per_bag).to(torch.int32)
        weights = self.weights.contiguous().index_select(1, order)
        total = _weighted_sums(grad_sums, bag, begins, weights[0])
        for corner, distance in enumerate(source.corners[1:], 1):
            sums = _weighted_sums(grad_sums, bag, begins, weights[corner])
            # No sample has its first corner in the last row and column of the margin: nothing is lost at the end.
            total[distance:] += sums[: len(sums) - distance]
        return total


def _weighted_sums(rows: Tensor, index: Tensor, begins: Tensor, weights: Tensor) -> Tensor:
    return functional.embedding_bag(
        index, rows, begins, mode="sum", per_sample_weights=weights, include_last_offset=True
    )
