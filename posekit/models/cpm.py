"""Convolutional Pose Machines: heatmaps that later stages correct with the maps of the stage before."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def _convolution(channels_in: int, channels_out: int, kernel_size: int, batch_norm: bool) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size, padding=kernel_size // 2, bias=not batch_norm)
    norm: list[nn.Module] = [nn.BatchNorm2d(channels_out)] if batch_norm else []
    return [convolution, *norm, nn.ReLU(inplace=True)]


class ConvolutionalPoseMachine(nn.Module):
    """A trunk, a first stage of 1x1 convolutions, and stages that see the trunk's features beside the last heatmaps.

    joints: J. stages: at least 1. background: one more map, the last, that is high where no joint is; then M = J + 1, else
    M = J. first_channels: width of stage 1. stage_convolutions, kernel_size, stage_channels: of each later stage, which ends
    in a 1x1 convolution of the same width and one of M maps. batch_norm: after every hidden convolution of the stages.
    distribution_sigma: if None, maps are heights, trained by squared error as in the papers. With a number, every map holds the
    logits of one distribution over its cells, trained by cross entropy against a Gaussian of so many cells; no background then.
    The best answer is the same map up to its scale, and it is learnt from fewer pictures.
    stride: of the backbone's features. subcells: every cell of the features holds subcells x subcells cells of each map (in
    channels, unfolded at the end), so that maps of stride 4 cost what convolutions of stride 8 do.

    Wei, Ramakrishna, Kanade, Sheikh, CVPR 2016; the hand network of Simon, Joo, Matthews, Sheikh, CVPR 2017.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_channels: int,
        joints: int,
        stages: int = 6,
        *,
        stride: int = 8,
        background: bool = True,
        first_channels: int = 512,
        stage_convolutions: int = 5,
        kernel_size: int = 7,
        stage_channels: int = 128,
        batch_norm: bool = False,
        distribution_sigma: float | None = None,
        subcells: int = 1,
    ) -> None:
        super().__init__()
        if distribution_sigma is not None and background:
            raise ValueError("a distribution over cells has no background map")
        if stages < 1 or kernel_size % 2 == 0:
            raise ValueError(f"a pose machine needs stages >= 1 and an odd kernel, not {stages} and {kernel_size}")
        self.backbone = backbone
        self.joints = joints
        if stride % subcells:
            raise ValueError(f"features of stride {stride} cannot be divided into {subcells} x {subcells} sub-cells")
        self.stride = stride // subcells
        self.subcells = subcells
        self.background = background
        self.distribution_sigma = distribution_sigma
        maps = (joints + int(background)) * subcells**2
        self.stages = nn.ModuleList(
            [
                nn.Sequential(
                    *_convolution(feature_channels, first_channels, 1, batch_norm), nn.Conv2d(first_channels, maps, 1)
                )
            ]
        )
        for _ in range(stages - 1):
            layers: list[nn.Module] = []
            channels = feature_channels + maps
            for _ in range(stage_convolutions):
                layers += _convolution(channels, stage_channels, kernel_size, batch_norm)
                channels = stage_channels
            layers += _convolution(channels, stage_channels, 1, batch_norm)
            self.stages.append(nn.Sequential(*layers, nn.Conv2d(stage_channels, maps, 1)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the heatmaps of every stage, the best last.

        images: (B, 3, H, W), normalised by `normalise_images`. Returns `stages` tensors (B, M, H / stride, W / stride), joints
        first and in their order, background (if any) last; cell (0, 0) covers the `stride` x `stride` pixels of the corner.
        The stride is that of the maps: the features' divided by the sub-cells.
        """
        features = self.backbone(images)
        maps = [self.stages[0](features)]
        for stage in self.stages[1:]:
            maps.append(stage(torch.cat([maps[-1], features], dim=1)))
        return maps if self.subcells == 1 else [functional.pixel_shuffle(m, self.subcells) for m in maps]

    def heatmaps(self, images: Tensor) -> Tensor:
        """Return the last stage's maps of the joints as heights: about 1 where a joint surely is, 0 where it is not.

        images: (B, 3, H, W), normalised. Returns (B, J, H / stride, W / stride). A distribution is scaled by 2 pi sigma^2,
        so that one that is as narrow as its targets has height 1.
        """
        maps: Tensor = self(images)[-1][:, : self.joints]
        if self.distribution_sigma is None:
            return maps
        return torch.softmax(maps.flatten(2), dim=-1).view_as(maps) * (2.0 * math.pi * self.distribution_sigma**2)


def in_channels_last(model: ConvolutionalPoseMachine) -> ConvolutionalPoseMachine:
    """Lay out the model's weights channels last, in place: training on a processor is a third faster."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
