"""Layers that learn where to sample: modulated deformable convolution and RoI pooling with their own branches."""

from torch import Tensor, nn

from posekit.ops.autocast import no_autocast
from posekit.ops.deformable import modulated_deform_conv2d
from posekit.ops.deformable_roi import modulated_deform_roi_pool


class ModulatedDeformConv2d(nn.Conv2d):
    """A convolution whose kernel points are moved and scaled by what a second convolution of the same input says.

    As `nn.Conv2d`, in its arguments and in the names and shapes of weight and bias, so that a plain convolution's weights load.
    `conv_offset`, of the same kernel, stride, padding and dilation, answers 2 G K offsets (y, x), then G K modulations before
    the sigmoid (mmcv's name and order: its weights load too). Its weight and bias start at 0: nothing is moved yet, and
    every modulation is 0.5, which halves what a plain convolution with the same weights would say. Its parameters learn ten
    times slower in the paper: see `offset_parameters`.

    deformable_groups: G. `conv_offset` is never autocast: a bfloat16 offset of 4 px is only known to 1/32 px.

    Zhu, Hu, Lin, Dai, CVPR 2019, section 3.1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        deformable_groups: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        if in_channels % deformable_groups:
            raise ValueError(f"{in_channels} channels do not fall into {deformable_groups} deformable groups")
        self.points = deformable_groups * self.kernel_size[0] * self.kernel_size[1]
        self.conv_offset = nn.Conv2d(in_channels, 3 * self.points, kernel_size, stride, padding, dilation)
        self.reset_offsets()

    def reset_offsets(self) -> None:
        """Start again with nothing moved: also needed after a walk over all convolutions that draws their weights."""
        nn.init.zeros_(self.conv_offset.weight)
        assert self.conv_offset.bias is not None
        nn.init.zeros_(self.conv_offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, h, w)."""
        with no_autocast(x.device.type):
            answers = self.conv_offset(x.to(self.conv_offset.weight.dtype))
            offset, modulation = answers.split([2 * self.points, self.points], dim=1)
            mask = modulation.sigmoid()
        assert not isinstance(self.padding, str)
        return modulated_deform_conv2d(
            x, offset, mask, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class ModulatedDeformRoIPool(nn.Module):
    """RoI pooling whose bins are moved and scaled by what fully connected layers make of the plainly pooled RoI.

    channels: C of the map. bins: per side. spatial_scale: 1 / stride of the map. The branch: plain pooling, two layers of
    `hidden` (1024) with ReLU, one of 3 bins^2; the last starts at 0 (nothing moved, modulation 0.5), the others from a
    Gaussian of 0.01. An answer of 1 moves a bin by `gamma` heights or widths of the RoI (0.1: Dai et al., ICCV 2017).
    All learn at the usual rate.

    Zhu, Hu, Lin, Dai, CVPR 2019, section 3.2.
    """

    def __init__(
        self,
        channels: int,
        bins: int,
        spatial_scale: float,
        samples: int = 4,
        *,
        hidden: int = 1024,
        gamma: float = 0.1,
    ) -> None:
        super().__init__()
        self.bins, self.spatial_scale, self.samples, self.gamma = bins, spatial_scale, samples, gamma
        layers: list[nn.Module] = [nn.Flatten()]
        widths = (channels * bins**2, hidden, hidden, 3 * bins**2)
        for width, next_width, deviation in zip(widths, widths[1:], (0.01, 0.01, 0.0), strict=False):
            linear = nn.Linear(width, next_width)
            nn.init.normal_(linear.weight, std=deviation)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU(inplace=True)]
        self.branch = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor, rois: Tensor) -> Tensor:
        """Pool x (B, C, H, W) over rois (R, 5), as `modulated_deform_roi_pool` takes them, to (R, C, bins, bins)."""
        shape = (len(rois), self.bins, self.bins)
        still, full = rois.new_zeros(shape[0], 2, *shape[1:]), rois.new_ones(shape)
        plain = modulated_deform_roi_pool(x, rois, still, full, self.spatial_scale, self.samples)
        answers = self.branch(plain).view(len(rois), 3, self.bins, self.bins)
        offset, mask = self.gamma * answers[:, :2], answers[:, 2].sigmoid()
        return modulated_deform_roi_pool(x, rois, offset, mask, self.spatial_scale, self.samples)


def offset_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of all offset convolutions in a model, which learn ten times slower than the rest.

    As parameter groups of an optimizer: ``[{"params": others, "lr": rate}, {"params": offset_parameters(model), "lr": 0.1 *
    rate}]``. Empty for a model without deformable convolutions.
    """
    layers = (layer for layer in model.modules() if isinstance(layer, ModulatedDeformConv2d))
    return [parameter for layer in layers for parameter in layer.conv_offset.parameters()]
