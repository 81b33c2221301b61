"""The interface of all image data sets: the images and labels of a split, by index.

Shapes: N images, C channels, H × W pixels, B images of a batch, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class ImageTask:
    """A classification task on images.

    Attributes:
        name: of the task.
        classes: number of classes; 2 for a yes/no attribute, which has one logit.
        labels: the name of each class, in order.
    """

    name: str
    classes: int
    labels: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """Logits: one for a yes/no attribute."""
        return 1 if self.classes == 2 else self.classes


class ImageSplit(Protocol):
    """The images of one split; the same index always gives the same image and labels."""

    tasks: tuple[ImageTask, ...]
    shape: tuple[int, int, int]
    """(C, H, W)."""

    def __len__(self) -> int:
        """N."""

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images and labels.

        Args:
            indices: (B,) int64, each below N.

        Returns:
            (B, C, H, W) float32, ready for a network; (B, T) int64 class numbers, −1 unlabelled.
        """

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits; other images, labels or settings give other ones."""
