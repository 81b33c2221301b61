"""ResNet-18 without its head, under the parameter names of torchvision's published weights.

Shapes: B images, I and O channels, H × W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl.vision.backbones.base import Backbone

_CHANNELS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut (He et al. 2016, figure 2).

    Args:
        inputs: I.
        outputs: O.
        stride: of the first convolution; where it or O changes the shape, the shortcut is a
            1 × 1 convolution.
    """

    downsample: nn.Sequential | None

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H / stride, W / stride), rounded up."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)) + shortcut, inplace=True)


class ResNet18(Backbone):
    """The 18-layer residual network (He et al. 2016, table 1), cut before its head.

    Any image size works. Training needs more than one value a channel in the last layer: a batch
    of at least two where the image has at most 32 × 32 pixels.

    Args:
        in_channels: of the images; published weights have 3.
    """

    out_features = _CHANNELS[-1]

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        first, *_ = _CHANNELS
        self.conv1 = nn.Conv2d(in_channels, first, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _layer(first, _CHANNELS[0], stride=1)
        self.layer2 = _layer(_CHANNELS[0], _CHANNELS[1], stride=2)
        self.layer3 = _layer(_CHANNELS[1], _CHANNELS[2], stride=2)
        self.layer4 = _layer(_CHANNELS[2], _CHANNELS[3], stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 512)."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(images)), inplace=True))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        features: Tensor = x.mean((2, 3))
        return features

    def group_of(self, name: str) -> str:
        """`stem`, `layer1`, …, `layer4`."""
        part = name.split(".")[0]
        return part if part.startswith("layer") else "stem"

    def stem(self) -> Sequence[nn.Module]:
        """The first convolution, its BatchNorm and the first layer of blocks."""
        return [self.conv1, self.bn1, self.layer1]

    def last_shared(self) -> list[nn.Parameter]:
        """The weight of the last convolution."""
        return [self.get_parameter("layer4.1.conv2.weight")]


def _layer(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    """Two blocks; the first changes the shape."""
    return nn.Sequential(
        BasicBlock(inputs, outputs, stride=stride), BasicBlock(outputs, outputs, stride=1)
    )
