"""The definitions, written as loops in NumPy float64: slow, plain, and what every other form is measured against."""

import numpy as np
from numpy.typing import NDArray


def _sample(image: NDArray[np.float64], y: float, x: float) -> NDArray[np.float64]:
    """Return the channels of image (C, H, W) at a place between its cells; cells outside are 0."""
    channels, height, width = image.shape
    total = np.zeros(channels)
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < height and 0 <= column < width:
                total += image[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def modulated_deform_conv2d(
    x: NDArray[np.float64],
    offset: NDArray[np.float64],
    mask: NDArray[np.float64],
    weight: NDArray[np.float64],
    bias: NDArray[np.float64] | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> NDArray[np.float64]:
    """Return `posekit.ops.deformable.modulated_deform_conv2d` of the same arguments, output pixel by output pixel."""
    channels_out, channels_per_group, kernel_height, kernel_width = weight.shape
    points = kernel_height * kernel_width
    moved_groups = mask.shape[1] // points
    moved_channels = x.shape[1] // moved_groups
    batch, _, height, width = mask.shape
    result = np.zeros((batch, channels_out, height, width))
    for b, row, column in np.ndindex(batch, height, width):
        sampled = np.zeros((x.shape[1], kernel_height, kernel_width))
        for g, i, j in np.ndindex(moved_groups, kernel_height, kernel_width):
            point = g * points + i * kernel_width + j
            moved = slice(g * moved_channels, (g + 1) * moved_channels)
            y_at = row * stride[0] - padding[0] + i * dilation[0] + offset[b, 2 * point, row, column]
            x_at = column * stride[1] - padding[1] + j * dilation[1] + offset[b, 2 * point + 1, row, column]
            sampled[moved, i, j] = _sample(x[b, moved], y_at, x_at) * mask[b, point, row, column]
        for group in range(groups):
            into = slice(group * channels_out // groups, (group + 1) * channels_out // groups)
            seen = sampled[group * channels_per_group : (group + 1) * channels_per_group]
            result[b, into, row, column] = np.tensordot(weight[into], seen, 3)
    return result if bias is None else result + bias[:, None, None]


def modulated_deform_roi_pool(
    x: NDArray[np.float64],
    rois: NDArray[np.float64],
    offset: NDArray[np.float64],
    mask: NDArray[np.float64],
    spatial_scale: float,
    samples: int,
) -> NDArray[np.float64]:
    """Return `posekit.ops.deformable_roi.modulated_deform_roi_pool` of the same arguments, sample by sample."""
    count, bins_y, bins_x = mask.shape
    result = np.zeros((count, x.shape[1], bins_y, bins_x))
    for roi, i, j in np.ndindex(count, bins_y, bins_x):
        image, (left, top, right, bottom) = int(rois[roi, 0]), (rois[roi, 1:] + 0.5) * spatial_scale - 0.5
        size_y, size_x = bottom - top, right - left
        for m, n in np.ndindex(samples, samples):
            y_at = top + (i + (m + 0.5) / samples) * size_y / bins_y + offset[roi, 0, i, j] * size_y
            x_at = left + (j + (n + 0.5) / samples) * size_x / bins_x + offset[roi, 1, i, j] * size_x
            result[roi, :, i, j] += _sample(x[image], y_at, x_at) * mask[roi, i, j] / samples**2
    return result
