"""The common base of backbones: features of an image, named parts, a stem that can be frozen.

Shapes: B images, C channels, H × W pixels, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Turns images into features, which all tasks on images share.

    Attributes:
        out_features: F.
        stem_is_frozen: set by `freeze_stem`.
    """

    out_features: int

    def __init__(self) -> None:
        super().__init__()
        self.stem_is_frozen = False

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, F)."""

    @abstractmethod
    def group_of(self, name: str) -> str:
        """The part of the network that the parameter of that name belongs to."""

    @abstractmethod
    def stem(self) -> Sequence[nn.Module]:
        """The first layers, which `freeze_stem` freezes."""

    @abstractmethod
    def last_shared(self) -> list[nn.Parameter]:
        """The parameters of the last layer."""

    def train(self, mode: bool = True) -> Backbone:
        """Sets the mode; a frozen stem stays in eval mode, so its BatchNorm statistics stay."""
        super().train(mode)
        if self.stem_is_frozen:
            for module in self.stem():
                module.eval()
        return self


def freeze_stem(backbone: Backbone) -> None:
    """Freezes the first layers for good; without this all layers are fine-tuned."""
    backbone.stem_is_frozen = True
    for module in backbone.stem():
        module.requires_grad_(False)
    backbone.train(backbone.training)
