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


Broken = tuple[str, str]
"""Name of an image that cannot be used, and why."""
_NAMED = 5  # broken images in a text


@dataclass(frozen=True)
class LeftOut:
    """The listed images of a split that are not used.

    Attributes:
        listed: number of the split's images in the list.
        absent: those without a file, where they are left out first.
        broken: the images to use that are missing or unreadable.
        count: number of images to use, with the broken ones.
    """

    listed: int
    absent: int
    broken: tuple[Broken, ...]
    count: int

    @property
    def broken_text(self) -> str:
        """Number and names of the broken images."""
        first = ", ".join(f"{name} ({reason})" for name, reason in self.broken[:_NAMED])
        more = f" and {len(self.broken) - _NAMED} more" if len(self.broken) > _NAMED else ""
        return (
            f"{len(self.broken)} of {self.count} images that are missing or unreadable: "
            f"{first}{more}"
        )


class ImageSplit(Protocol):
    """The images of one split; the same index always gives the same image and labels."""

    tasks: tuple[ImageTask, ...]
    shape: tuple[int, int, int]
    """(C, H, W)."""
    left_out: LeftOut | None
    """None where the data set is complete by its nature."""

    def __len__(self) -> int:
        """N."""

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images and labels.

        Args:
            indices: (B,) int64, each below N.

        Returns:
            (B, C, H, W) float32, ready for a network; (B, T) int64 class numbers, −1 unlabelled.
        """

    def pixels(self, indices: Tensor) -> Tensor:
        """(B, C, H, W) uint8 images as people see them."""

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits; other images, labels or settings give other ones."""
