"""VGG-19, and the trunk that OpenPose's hand network makes of it."""

from torch import Tensor, nn

from posekit.models.backbones.levels import Backbone, check_levels, initialise_convolutions

#: Width and number of the 3x3 convolutions of each stage; a pool of stride 2 stands between stages.
_STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


def _convolutions(channels: int, width: int, count: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
        channels = width
    return layers


class Vgg19(Backbone):
    """VGG-19 without batch norm, conv1_1 to conv5_4; its levels are conv3_4, conv4_4 and conv5_4 (strides 4, 8 and 16).

    levels: 2 end with conv4_4. classes: with three fully connected layers behind conv5_4, for pictures of 224 px; then
    143.67 M parameters and 19.63 G multiplications.

    Simonyan & Zisserman, ICLR 2015, configuration E.
    """

    def __init__(self, classes: int | None = None, levels: int = 3) -> None:
        super().__init__()
        check_levels(levels, 3, classes)
        self.strides, self.channels = (4, 8, 16)[:levels], (256, 512, 512)[:levels]
        widths = (3, *(width for width, _ in _STAGES))
        self.stages = nn.ModuleList(
            nn.Sequential(*([nn.MaxPool2d(2)] if number else []), *_convolutions(widths[number], width, count))
            for number, (width, count) in enumerate(_STAGES[: levels + 2])
        )
        self.classifier = None
        if classes is not None:
            self.classifier = nn.Sequential(
                nn.MaxPool2d(2),
                nn.AdaptiveAvgPool2d(7),
                nn.Flatten(),
                *(nn.Linear(512 * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5)),
                *(nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5)),
                nn.Linear(4096, classes),
            )
        initialise_convolutions(self)

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> conv3_4 (256 channels), conv4_4 (512), conv5_4 (512), each after its ReLU."""
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return maps[2:]


class VggTrunk(nn.Module):
    """VGG-19 up to conv4_4 (stride 8), then 3x3 convolutions to 512, 512 and `feature_channels`, each with a ReLU.

    As in OpenPose's released hand network (``pose_deploy.prototxt``), which goes two 512-channel convolutions beyond the text
    of Simon et al. 2017. No batch norm.
    """

    stride = 8

    def __init__(self, feature_channels: int = 128) -> None:
        super().__init__()
        self.vgg = Vgg19(levels=2)
        self.head = nn.Sequential(*_convolutions(512, 512, 2), *_convolutions(512, feature_channels, 1))
        initialise_convolutions(self.head)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, feature_channels, H / 8, W / 8)."""
        features: Tensor = self.head(self.vgg.features(images)[-1])
        return features
