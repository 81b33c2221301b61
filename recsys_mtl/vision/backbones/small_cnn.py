"""A small convolutional network that a CPU trains in seconds an epoch.

Shapes: B images, C channels, S × S pixels, W features.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl.errors import wrong
from recsys_mtl.vision.backbones.base import Backbone


class SmallCNN(Backbone):
    """Stages of 3 × 3 convolution, halving and ReLU, then one linear layer and ReLU.

    Pooling comes before ReLU, which gives the same numbers from a quarter of the work, and the
    activations are kept in channels-last order: together they halve a step on a CPU.

    Args:
        in_channels: C.
        size: S; each stage halves it, rounding down.
        channels: of each stage, at least one.
        width: W.

    Raises:
        UserError: so many stages that no pixel is left.
    """

    def __init__(
        self,
        in_channels: int,
        size: int,
        *,
        channels: tuple[int, ...] = (16, 32),
        width: int = 64,
    ) -> None:
        super().__init__()
        edge = size >> len(channels)
        if edge < 1:
            raise wrong(
                f"too many stages for images of {size} pixels, each halves them", where="channels",
                expected=f"at most {size.bit_length() - 1}", found=len(channels),
            )  # fmt: skip
        self.out_features = width
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, kernel_size=3, padding=1) for i, o in pairwise((in_channels, *channels))
        )
        self.linear = nn.Linear(channels[-1] * edge * edge, width)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, S, S) to (B, W)."""
        x = images.contiguous(memory_format=torch.channels_last)
        for conv in self.convs:
            x = F.relu(F.max_pool2d(conv(x), 2))
        return F.relu(self.linear(x.flatten(1)))

    def group_of(self, name: str) -> str:
        """`stage1`, `stage2`, …, `linear`."""
        part, index, *_ = name.split(".")
        return f"stage{int(index) + 1}" if part == "convs" else part

    def stem(self) -> Sequence[nn.Module]:
        """The first convolution."""
        return [self.convs[0]]

    def last_shared(self) -> list[nn.Parameter]:
        """Weight and bias of the linear layer."""
        return list(self.linear.parameters())
